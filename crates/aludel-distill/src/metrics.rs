//! Records of a run: `metrics.jsonl`, a line for each step, each evaluation and each set of sample answers, and `trainer_state.json` as
//! Hugging Face's Trainer writes it. A resumed run first drops the records after its checkpoint, so that each step and each evaluation is
//! recorded once, in order, wherever the run was stopped or killed before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use aludel_formats::atomic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::settings::TrainSettings;
use crate::supervision::LossTerm;

/// One line for each step, each evaluation and each time that sample answers were given.
pub const METRICS_FILE_NAME: &str = "metrics.jsonl";

/// One optimiser step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// From 1.
    pub step: u64,
    /// Epochs after it.
    pub epoch: f64,
    /// Loss per supervised token, before the step.
    pub loss: f64,
    /// Its terms, each without its weight in the loss, where it is not cross-entropy alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<LossTerm, f64>,
    /// The norm of each term's gradient at the residual stream, with its weight, where terms are balanced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gradient_norms: BTreeMap<LossTerm, f64>,
    /// Norm of the mean gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Supervised tokens of the step.
    pub supervised_tokens: u64,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Of these, those in which a teacher read the rows, or what it said of them was read from disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_seconds: Option<f64>,
    /// The answers that the student wrote for the step, where it was on-policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_answers: Option<OwnAnswersRecord>,
    /// Records (from 0, over all data files) that the step was taken on, in order.
    pub rows: Vec<u64>,
}

/// Answers that the student wrote for a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnAnswersRecord {
    /// Tokens of the answers.
    pub tokens: u64,
    /// Answers that were cut, by `distill.max_new_tokens` or because a row may not be longer.
    pub cut: u64,
    /// Wall time of writing them, seconds.
    pub seconds: f64,
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// Loss per supervised token on the rows held back.
    pub eval_loss: f64,
    /// Its terms, as in steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub eval_terms: BTreeMap<LossTerm, f64>,
    /// Supervised tokens that were evaluated.
    pub eval_supervised_tokens: u64,
    /// Wall time, seconds.
    pub eval_seconds: f64,
}

/// The answers to `train.sample_prompts` at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// In the order of the prompts.
    pub samples: Vec<SampleAnswer>,
    /// Wall time, seconds.
    pub sample_seconds: f64,
}

/// What the student answers to one of `train.sample_prompts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleAnswer {
    /// The question.
    pub prompt: String,
    /// What was thought, if anything.
    pub reasoning: Option<String>,
    /// What was said.
    pub content: String,
    /// Tokens of both.
    pub tokens: u64,
    /// Whether it was cut, by `train.sample_max_new_tokens` or because the model has no more positions.
    pub truncated: bool,
}

/// What a checkpoint knows of the records before it, so that a file that was edited or lost since is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsDigest {
    /// How many lines.
    pub lines: u64,
    /// The hash of them all.
    pub blake3: String,
}

impl MetricsDigest {
    fn of(kept: &str) -> MetricsDigest {
        MetricsDigest { lines: kept.lines().count() as u64, blake3: blake3::hash(kept.as_bytes()).to_hex().to_string() }
    }
}

/// Refuses a file whose records are not those of a run in this state. `recorded` is what its checkpoint knows of them; those of
/// earlier versions know nothing, and then each step has to be there.
///
/// # Errors
/// [`Error::Damaged`] with the difference, and how to resume.
pub fn check(folder: &Path, state: &TrainerState, recorded: Option<&MetricsDigest>, start: &str) -> Result<()> {
    let path = folder.join(METRICS_FILE_NAME);
    let KeptRecords { records, .. } = kept(&path, state)?;
    let steps = records.iter().filter(|(record, _)| matches!(record, Record::Step(_))).count() as u64;
    let own = MetricsDigest::of(&text_of(&records));
    let other = match recorded {
        Some(recorded) if own.lines != recorded.lines => {
            format!(
                "of {} lines that were recorded up to step {}, it holds {}",
                recorded.lines, state.global_step, own.lines
            )
        }
        Some(recorded) if own != *recorded => "it was changed since the run wrote it".to_owned(),
        None if steps != state.global_step => format!("of {} steps it holds {steps}", state.global_step),
        _ => return Ok(()),
    };
    let other = if aludel_files::is_there(&path) { other } else { "it is missing".to_owned() };
    let reason = format!(
        "the run's record is not what it was ({other}), and the reported metrics would be wrong; restore the file, or start another \
         run from the weights that are there: {start}"
    );
    Err(Error::Damaged { path, reason })
}

/// How many lines the file holds beyond what a run in this state has done.
///
/// # Errors
/// The file cannot be read, or a line in the middle of it is no record.
pub fn surplus(folder: &Path, state: &TrainerState) -> Result<u64> {
    Ok(kept(&folder.join(METRICS_FILE_NAME), state)?.left_out)
}

/// The open `metrics.jsonl`.
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// The hash of its lines, and their number.
    hasher: blake3::Hasher,
    lines: u64,
    /// Steps that were recorded so far.
    pub steps: Vec<StepRecord>,
    /// Lines that the file had beyond what a run in this state has done.
    pub left_out: u64,
}

impl Metrics {
    /// Opens the file, keeping of it what a run in this state has done.
    ///
    /// # Errors
    /// The file cannot be read or written, or a line in the middle of it is no record.
    pub fn open(folder: &Path, state: &TrainerState) -> Result<Metrics> {
        let path = folder.join(METRICS_FILE_NAME);
        let KeptRecords { records, left_out } = kept(&path, state)?;
        let kept = text_of(&records);
        let (mut hasher, lines) = (blake3::Hasher::new(), records.len() as u64);
        hasher.update(kept.as_bytes());
        let steps = records.into_iter().filter_map(|(record, _)| match record {
            Record::Step(step) => Some(step),
            Record::Evaluation(_) | Record::Samples(_) => None,
        });
        let steps = steps.collect();
        atomic::write_bytes(&path, kept.as_bytes())?;
        let file = aludel_files::append(&path).map_err(aludel_formats::Error::io(&path, "write the metrics"))?;
        Ok(Metrics { path, file, hasher, lines, steps, left_out })
    }

    /// What is recorded so far.
    pub fn recorded(&self) -> MetricsDigest {
        MetricsDigest { lines: self.lines, blake3: self.hasher.finalize().to_hex().to_string() }
    }

    /// Makes sure that all records are on disk: before a checkpoint is, which a power failure must not leave without them.
    ///
    /// # Errors
    /// The disk cannot take them.
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data().map_err(aludel_formats::Error::io(&self.path, "write the metrics"))?)
    }

    /// Appends a step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.line(&json!(record))?;
        self.steps.push(StepRecord { rows: Vec::new(), ..record.clone() });
        Ok(())
    }

    /// Appends an evaluation.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn evaluation(&mut self, record: &EvalRecord) -> Result<()> {
        self.line(&json!(record))
    }

    /// Appends sample answers.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn samples(&mut self, record: &SampleRecord) -> Result<()> {
        self.line(&json!(record))
    }

    /// The norms of the terms' gradients in the last step that is recorded.
    pub fn last_gradient_norms(&self) -> Option<&BTreeMap<LossTerm, f64>> {
        self.steps.last().map(|step| &step.gradient_norms)
    }

    /// Mean loss of the recorded steps after step `after`.
    pub fn mean_loss_since(&self, after: u64) -> f64 {
        let losses: Vec<f64> = self.steps.iter().rev().take_while(|r| r.step > after).map(|r| r.loss).collect();
        losses.iter().rev().sum::<f64>() / losses.len().max(1) as f64
    }

    fn line(&mut self, value: &Value) -> Result<()> {
        let text = format!("{value}\n");
        self.hasher.update(text.as_bytes());
        self.lines += 1;
        Ok(self.file.write_all(text.as_bytes()).map_err(aludel_formats::Error::io(&self.path, "write the metrics"))?)
    }
}

/// A line of the file.
enum Record {
    Step(StepRecord),
    Evaluation(EvalRecord),
    Samples(SampleRecord),
}

impl Record {
    /// Where it belongs in the file.
    fn place(&self) -> (u64, u8) {
        match self {
            Record::Step(step) => (step.step, 0),
            Record::Evaluation(evaluation) => (evaluation.step, 1),
            Record::Samples(samples) => (samples.step, 2),
        }
    }

    /// Whether a run in this state has done it. A run that was stopped in an evaluation goes on from a checkpoint of its step without it.
    fn is_known(&self, state: &TrainerState) -> bool {
        match self {
            Record::Step(step) => step.step <= state.global_step,
            Record::Evaluation(evaluation) => state.evaluation_at(evaluation.step).is_some(),
            Record::Samples(samples) => state.is_sampled_at(samples.step),
        }
    }
}

/// The part of the file that is kept.
#[derive(Default)]
struct KeptRecords {
    /// The records that a run in this state has made, in order, with their lines.
    records: Vec<(Record, String)>,
    /// How many other lines there are.
    left_out: u64,
}

/// The part of a file that belongs to a run in this state; empty if there is no file.
fn kept(path: &Path, state: &TrainerState) -> Result<KeptRecords> {
    if !aludel_files::is_there(path) {
        return Ok(KeptRecords::default());
    }
    let (mut records, torn) = records(path)?;
    let lines = records.len() as u64 + u64::from(torn);
    records.retain(|(record, _)| record.is_known(state));
    // An evaluation follows its step, and sample answers follow both.
    records.sort_by_key(|(record, _)| record.place());
    records.dedup_by_key(|(record, _)| record.place());
    Ok(KeptRecords { left_out: lines - records.len() as u64, records })
}

fn text_of(records: &[(Record, String)]) -> String {
    records.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect()
}

/// The records of the file with their lines, and whether an incomplete last line was left out: its work is repeated.
fn records(path: &Path) -> Result<(Vec<(Record, String)>, bool)> {
    let file = aludel_files::open(path).map_err(aludel_formats::Error::io(path, "read the metrics"))?;
    let mut records = Vec::new();
    let mut torn = None;
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(aludel_formats::Error::io(path, "read the metrics"))?;
        if let Some(reason) = torn {
            return Err(Error::Damaged {
                path: path.to_owned(),
                reason: format!(
                    "line {index} is no record of a step, an evaluation or sample answers ({reason}); restore the file, or remove the line"
                ),
            });
        }
        match parse(&line) {
            Ok(record) => records.push(record),
            Err(reason) => torn = Some(reason),
        }
    }
    Ok((records, torn.is_some()))
}

fn parse(line: &[u8]) -> Result<(Record, String), String> {
    let text = std::str::from_utf8(line).map_err(|reason| reason.to_string())?;
    let value: Value = serde_json::from_str(text).map_err(|reason| reason.to_string())?;
    let has = |key: &str| value.get(key).is_some();
    let record = match (has("eval_loss"), has("samples")) {
        (true, _) => serde_json::from_value(value).map(Record::Evaluation),
        (false, true) => serde_json::from_value(value).map(Record::Samples),
        (false, false) => {
            serde_json::from_value(value).map(|step| Record::Step(StepRecord { rows: Vec::new(), ..step }))
        }
    };
    Ok((record.map_err(|reason| reason.to_string())?, text.to_owned()))
}

/// The steps and evaluations that a run folder has recorded, in order. A torn last line is left out.
///
/// # Errors
/// There is no `metrics.jsonl`, it cannot be read, or a line in the middle of it is no record.
pub fn read(folder: &Path) -> Result<(Vec<StepRecord>, Vec<EvalRecord>)> {
    let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
    for (record, _) in records(&folder.join(METRICS_FILE_NAME))?.0 {
        match record {
            Record::Step(step) => steps.push(step),
            Record::Evaluation(evaluation) => evaluations.push(evaluation),
            Record::Samples(_) => {}
        }
    }
    Ok((steps, evaluations))
}

/// The sample answers that a run folder has recorded, in order; none where none were asked for.
///
/// # Errors
/// As [`read`].
pub fn read_samples(folder: &Path) -> Result<Vec<SampleRecord>> {
    let records = records(&folder.join(METRICS_FILE_NAME))?;
    let samples = records.0.into_iter().filter_map(|(record, _)| match record {
        Record::Samples(samples) => Some(samples),
        Record::Step(_) | Record::Evaluation(_) => None,
    });
    Ok(samples.collect())
}

/// `trainer_state.json`, with the fields of Hugging Face's Trainer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainerState {
    /// Step of the best evaluation so far.
    pub best_global_step: Option<u64>,
    /// Its loss.
    pub best_metric: Option<f64>,
    /// Its checkpoint.
    pub best_model_checkpoint: Option<String>,
    /// Epochs done.
    pub epoch: f64,
    /// Steps between evaluations.
    pub eval_steps: u64,
    /// Steps done.
    pub global_step: u64,
    /// Always false.
    pub is_hyper_param_search: bool,
    /// Always true: one process.
    pub is_local_process_zero: bool,
    /// Always true: one process.
    pub is_world_process_zero: bool,
    /// Logged losses and evaluations, in order.
    pub log_history: Vec<Value>,
    /// Steps between logged losses.
    pub logging_steps: u64,
    /// Steps of the run.
    pub max_steps: u64,
    /// Tokens seen, prompts included.
    pub num_input_tokens_seen: u64,
    /// Epochs of the run, rounded up.
    pub num_train_epochs: u64,
    /// Steps between checkpoints.
    pub save_steps: u64,
    /// Rows of a micro-batch.
    pub train_batch_size: usize,
}

impl TrainerState {
    /// Notes what the settings say of the run.
    pub(crate) fn describe(&mut self, settings: &TrainSettings, total_steps: u64) {
        self.eval_steps = settings.steps_between_evaluations();
        self.logging_steps = settings.logging_steps;
        self.save_steps = settings.save_steps;
        self.max_steps = total_steps;
        self.num_train_epochs = settings.num_train_epochs.ceil() as u64;
        self.train_batch_size = settings.per_device_train_batch_size;
        self.is_local_process_zero = true;
        self.is_world_process_zero = true;
    }

    /// The last step whose loss was logged.
    pub fn last_logged_step(&self) -> u64 {
        self.log_history
            .iter()
            .rev()
            .find(|entry| entry["loss"].is_number())
            .and_then(|entry| entry["step"].as_u64())
            .unwrap_or(0)
    }

    /// The evaluation at a step, if there was one.
    pub fn evaluation_at(&self, step: u64) -> Option<f64> {
        self.log_history.iter().find(|entry| entry["step"] == step && entry["eval_loss"].is_number())?["eval_loss"]
            .as_f64()
    }

    /// Whether sample answers were recorded at a step: a run that resumes there does not generate them again.
    pub fn is_sampled_at(&self, step: u64) -> bool {
        self.log_history.iter().any(|entry| entry["step"] == step && entry["sample_answers"].is_number())
    }

    /// The last evaluation of what was trained: that at step 0 is of what was there before.
    pub fn last_evaluation(&self) -> Option<f64> {
        let trained = self.log_history.iter().rev().filter(|entry| entry["step"].as_u64() != Some(0));
        trained.filter_map(|entry| entry["eval_loss"].as_f64()).next()
    }

    /// Reads a checkpoint's state.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn read(path: &Path) -> Result<TrainerState> {
        let bytes = aludel_files::read(path, aludel_files::SMALL)
            .map_err(aludel_formats::Error::io(path, "read the trainer's state"))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            reason: format!(
                "it is not a trainer state ({error}); delete this checkpoint and resume from the one before"
            ),
        })
    }
}
