//! TensorBoard's event file of a run: the scalars that transformers logs, under its names, and sample answers as texts. A resumed run first
//! truncates the records after its checkpoint, so that no step occurs twice. `event` encodes a record.

mod event;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aludel_formats::atomic;

use crate::error::{Error, Result};
use crate::metrics::{EvalRecord, SampleRecord, StepRecord, TrainerState};
use crate::settings::{Recipe, ReportTo};
use event::{Record, Value};

/// The folder in the run folder, where `train.logging_dir` names no other.
pub(crate) const LOGGING_FOLDER_NAME: &str = "runs";

/// TensorBoard reads every file whose name has "tfevents" in it. The name is always this one: a run finds its own again.
pub(crate) const EVENT_FILE_NAME: &str = "events.out.tfevents.0000000000.aludel";

/// Beyond this no run gets, and a file that is not ours ends.
const LARGEST_FILE: u64 = 1 << 31;

const LOSS: &str = "train/loss";
const EVAL_LOSS: &str = "eval/loss";
const SAMPLE: &str = "sample_prompts/";

/// The path of a run's event file, if it has one.
pub(crate) fn path(recipe: &Recipe, run_folder: &Path) -> Option<PathBuf> {
    let folder = || recipe.train.logging_dir.clone().unwrap_or_else(|| run_folder.join(LOGGING_FOLDER_NAME));
    (recipe.train.report_to == ReportTo::TensorBoard).then(|| folder().join(EVENT_FILE_NAME))
}

/// Refuses an event file of another run: `run` is the identity of a resumed run, `None` for a new one.
///
/// # Errors
/// [`Error::Output`], or the file cannot be read.
pub(crate) fn check(path: &Path, run: Option<&str>) -> Result<()> {
    if !aludel_files::is_there(path) {
        return Ok(());
    }
    let own = run.map(writer);
    match event::read(&bytes(path)?) {
        Some((Record::Version { writer }, _)) if Some(&writer) == own.as_ref() => Ok(()),
        _ => Err(Error::Output {
            path: path.to_owned(),
            reason: "another run has written its events there, or the file is damaged; move it away, or give another \
                     train.logging_dir"
                .to_owned(),
        }),
    }
}

/// How a run's event file says whose it is.
fn writer(run: &str) -> String {
    format!("aludel {run}")
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let io = aludel_formats::Error::io(path, "read TensorBoard's events");
    Ok(aludel_files::read(path, LARGEST_FILE).map_err(io)?)
}

/// The open event file.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens the file, keeping of it what a run in this state has done.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(path: &Path, run: &str, state: &TrainerState) -> Result<EventFile> {
        let io = |what: &'static str| aludel_formats::Error::io(path, what);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io("make the folder of TensorBoard's events"))?;
        }
        let mut bytes = if aludel_files::is_there(path) { bytes(path)? } else { Vec::new() };
        bytes.truncate(known(&bytes, state));
        if bytes.is_empty() {
            bytes = event::version(now(), &writer(run));
        }
        atomic::write_bytes(path, &bytes)?;
        let file = aludel_files::append(path).map_err(io("write TensorBoard's events"))?;
        Ok(EventFile { path: path.to_owned(), file })
    }

    /// A logged step, with the mean loss since the one before it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn step(&mut self, record: &StepRecord, loss: f64) -> Result<()> {
        let scalars = [
            (LOSS, loss),
            ("train/grad_norm", record.grad_norm),
            ("train/learning_rate", record.learning_rate),
            ("train/epoch", record.epoch),
            ("train/tokens_per_second", record.tokens as f64 / record.seconds.max(1e-9)),
        ];
        self.put(record.step, &scalars.map(|(tag, value)| (tag.to_owned(), Value::Scalar(value as f32))))
    }

    /// An evaluation.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn evaluation(&mut self, record: &EvalRecord) -> Result<()> {
        self.put(record.step, &[(EVAL_LOSS.to_owned(), Value::Scalar(record.eval_loss as f32))])
    }

    /// Sample answers, each prompt's under a tag of its own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn samples(&mut self, record: &SampleRecord) -> Result<()> {
        let texts: Vec<(String, Value)> = record
            .samples
            .iter()
            .enumerate()
            .map(|(index, sample)| {
                // TensorBoard reads Markdown: blocks of code keep a text as it is.
                let mut text = format!("{}\n\n", block(&sample.prompt));
                if let Some(reasoning) = &sample.reasoning {
                    text += &format!("{}\n\n", block(reasoning));
                }
                (format!("{SAMPLE}{}", index + 1), Value::Text(text + &block(&sample.content)))
            })
            .collect();
        self.put(record.step, &texts)
    }

    fn put(&mut self, step: u64, values: &[(String, Value)]) -> Result<()> {
        let bytes = event::summary(now(), step, values);
        let io = aludel_formats::Error::io(&self.path, "write TensorBoard's events");
        Ok(self.file.write_all(&bytes).map_err(io)?)
    }
}

/// A text as a block of Markdown that shows it letter for letter: each line set in by four spaces.
fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// How many bytes at the beginning of a file hold whole records of what a run in this state has done.
fn known(bytes: &[u8], state: &TrainerState) -> usize {
    let mut end = 0;
    while let Some((record, length)) = event::read(&bytes[end..]) {
        let is_known = match &record {
            Record::Version { .. } => end == 0,
            Record::Summary { step, tag } => {
                end > 0
                    && match tag.as_str() {
                        EVAL_LOSS => state.evaluation_at(*step).is_some(),
                        tag if tag.starts_with(SAMPLE) => state.is_sampled_at(*step),
                        _ => *step <= state.global_step,
                    }
            }
        };
        if !is_known {
            break;
        }
        end += length;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::metrics::SampleAnswer;
    use serde_json::json;

    fn step(step: u64) -> StepRecord {
        let (epoch, loss, grad_norm) = (step as f64 / 4.0, 1.5, 0.25);
        let (tokens, supervised_tokens) = (100, 50);
        let (learning_rate, seconds, rows) = (2e-4, 0.5, Vec::new());
        let (terms, gradient_norms) = (BTreeMap::new(), BTreeMap::new());
        StepRecord {
            step,
            epoch,
            loss,
            terms,
            gradient_norms,
            grad_norm,
            learning_rate,
            tokens,
            supervised_tokens,
            seconds,
            teacher_seconds: None,
            own_answers: None,
            rows,
        }
    }

    fn evaluation(step: u64) -> EvalRecord {
        let eval_terms = BTreeMap::new();
        EvalRecord { step, epoch: 1.0, eval_loss: 1.25, eval_terms, eval_supervised_tokens: 9, eval_seconds: 0.1 }
    }

    fn samples(step: u64) -> SampleRecord {
        let answer = |prompt: &str, content: &str| SampleAnswer {
            prompt: prompt.to_owned(),
            reasoning: Some("one\nmore".to_owned()),
            content: content.to_owned(),
            tokens: 3,
            truncated: false,
        };
        let samples = vec![answer("1+1?", "2"), answer("# é?", "*3*")];
        SampleRecord { step, epoch: 0.0, samples, sample_seconds: 0.1 }
    }

    fn written(path: &Path) -> Vec<(i64, String, Read)> {
        decode(&std::fs::read(path).unwrap())
    }

    /// A value as the decoder of these tests reads it.
    #[derive(Debug, PartialEq)]
    enum Read {
        Version(String),
        Scalar(f32),
        Text(String),
    }

    /// CRC-32C bit by bit, as its definition has it (RFC 3720, Castagnoli's polynomial reflected), masked as TensorFlow does.
    fn masked_crc(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
    }

    /// The fields of a protobuf message: number, wire type and contents; of a number its eight bytes, least first.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let length = match key & 7 {
                0 => {
                    fields.push((key >> 3, 0, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, key & 7, bytes[..length].to_vec()));
            bytes = &bytes[length..];
        }
        fields
    }

    fn field(message: &[u8], number: u64) -> Vec<u8> {
        let found: Vec<_> = fields(message).into_iter().filter(|field| field.0 == number).collect();
        assert_eq!(found.len(), 1, "field {number}");
        found[0].2.clone()
    }

    /// Step, tag and value of all records, every byte accounted for, by the definitions of TFRecord, Event and Summary.
    fn decode(mut bytes: &[u8]) -> Vec<(i64, String, Read)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let mut read = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(number(&bytes[8..12]), masked_crc(&bytes[..8]));
            let event = &bytes[12..12 + length];
            assert_eq!(number(&bytes[12 + length..16 + length]), masked_crc(event));
            bytes = &bytes[16 + length..];
            let time = f64::from_le_bytes(field(event, 1).try_into().unwrap());
            assert!((1.7e9..1e11).contains(&time), "{time}");
            if let Some(version) = fields(event).into_iter().find(|field| field.0 == 3) {
                assert_eq!(text(field(&field(event, 10), 1)), "aludel ab");
                read.push((0, String::new(), Read::Version(text(version.2))));
                continue;
            }
            let step = i64::from_le_bytes(field(event, 2).try_into().unwrap());
            for value in fields(&field(event, 5)) {
                assert_eq!((value.0, value.1), (1, 2));
                let tag = text(field(&value.2, 1));
                let scalar = fields(&value.2).into_iter().find(|field| field.0 == 2);
                read.push((
                    step,
                    tag,
                    match scalar {
                        Some(scalar) => Read::Scalar(f32::from_le_bytes(scalar.2.try_into().unwrap())),
                        None => {
                            assert_eq!(text(field(&field(&field(&value.2, 9), 1), 1)), "text");
                            let tensor = field(&value.2, 8);
                            assert_eq!(field(&tensor, 1)[0], 7, "DT_STRING");
                            assert_eq!(field(&field(&field(&tensor, 2), 2), 1)[0], 1, "one text");
                            Read::Text(text(field(&tensor, 8)))
                        }
                    },
                ));
            }
        }
        read
    }

    #[test]
    fn what_is_written_is_what_the_format_says() {
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs").join(EVENT_FILE_NAME);
        check(&path, None).unwrap();
        let mut file = EventFile::open(&path, "ab", &TrainerState::default()).unwrap();
        check(&path, Some("ab")).unwrap();
        for other in [None, Some("cd")] {
            assert!(check(&path, other).unwrap_err().to_string().contains("train.logging_dir"));
        }
        file.samples(&samples(0)).unwrap();
        file.step(&step(300), 1.75).unwrap();
        file.evaluation(&evaluation(300)).unwrap();
        let text = |text: &str| Read::Text(text.to_owned());
        let at = |step: i64, tag: &str, value: Read| (step, tag.to_owned(), value);
        assert_eq!(
            written(&path),
            [
                at(0, "", Read::Version("brain.Event:2".to_owned())),
                at(0, "sample_prompts/1", text("    1+1?\n\n    one\n    more\n\n    2")),
                at(0, "sample_prompts/2", text("    # é?\n\n    one\n    more\n\n    *3*")),
                at(300, "train/loss", Read::Scalar(1.75)),
                at(300, "train/grad_norm", Read::Scalar(0.25)),
                at(300, "train/learning_rate", Read::Scalar(2e-4)),
                at(300, "train/epoch", Read::Scalar(75.0)),
                at(300, "train/tokens_per_second", Read::Scalar(200.0)),
                at(300, "eval/loss", Read::Scalar(1.25)),
            ]
        );
    }

    /// A run resumes from step 4, whose evaluation is recorded and whose sample answers are not.
    #[test]
    fn a_run_that_goes_on_has_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVENT_FILE_NAME);
        let mut file = EventFile::open(&path, "ab", &TrainerState::default()).unwrap();
        let log_history = vec![json!({"step": 4, "eval_loss": 1.25}), json!({"step": 0, "sample_answers": 2})];
        let state = TrainerState { global_step: 4, log_history, ..TrainerState::default() };
        file.samples(&samples(0)).unwrap();
        for number in [2, 4] {
            file.step(&step(number), 1.0).unwrap();
        }
        file.evaluation(&evaluation(4)).unwrap();
        let kept = std::fs::read(&path).unwrap();
        file.samples(&samples(4)).unwrap();
        file.step(&step(6), 1.0).unwrap();
        // killed while a record was being written
        let whole = std::fs::read(&path).unwrap();
        for cut in [whole.len(), whole.len() - 1, whole.len() - 40, kept.len() + 3, kept.len()] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            check(&path, Some("ab")).unwrap();
            let mut again = EventFile::open(&path, "ab", &state).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), kept, "{cut}");
            again.step(&step(6), 1.0).unwrap();
            let steps = written(&path).iter().filter(|(step, tag, _)| (*step, tag.as_str()) == (6, LOSS)).count();
            assert_eq!(steps, 1);
        }
        // A flipped bit in the first record, a file that is none, and one of another tool's: they are not touched.
        for bytes in [
            kept.iter().enumerate().map(|(at, byte)| if at == 20 { byte ^ 1 } else { *byte }).collect(),
            b"no events at all, and more of them".to_vec(),
            vec![0xff; 100],
            Vec::new(),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(check(&path, Some("ab")).is_err());
        }
        // A flipped bit after it: an unreadable record is dropped, and so are those after it.
        let first = event::read(&kept).unwrap().1;
        let flipped: Vec<u8> = kept.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == first + 20)).collect();
        std::fs::write(&path, flipped).unwrap();
        EventFile::open(&path, "ab", &state).unwrap();
        assert_eq!(written(&path).len(), 1);
    }
}
