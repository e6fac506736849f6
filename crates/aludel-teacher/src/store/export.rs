//! A store's traces as rows of columns, in the shape that the data reader knows: written to a file, or passed to curation, which
//! therefore reads both in the same way.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aludel_formats::atomic;
use aludel_text::message::Role;
use serde_json::{Value, json};

use super::TraceKey;
use super::check::Damage;
use super::open::is_sqlite;
use super::snapshot::{Snapshot, Stored};
use crate::Error;
use aludel_data::column_names::is_among;
use aludel_data::dataset::{self, Columns, Provenance, ReadOptions};
use aludel_data::message_fields;
use aludel_data::trace::{Trace, TraceSource, trace_of};

/// A store's traces as rows: all of them, or those that are complete.
pub struct Rows {
    snapshot: Snapshot,
    complete_alone: bool,
    runs: HashMap<i64, (String, Value)>,
    /// Traces that do not match their hashes, by their row ids.
    left_out: HashSet<i64>,
    /// The store's hash.
    store: String,
    single_questions: bool,
    file_bytes: u64,
    traces: u64,
    traces_read: AtomicU64,
    /// How its rows are read as traces.
    reading: ReadOptions,
}

impl Rows {
    /// The rows of an intact store.
    ///
    /// # Errors
    /// As [`Snapshot::open`], and [`Error::Store`] for a store that is damaged.
    pub fn open(path: &Path, complete_alone: bool) -> Result<Rows, Error> {
        let (rows, damage) = Rows::open_damaged(path, complete_alone)?;
        match damage.is_none() {
            true => Ok(rows),
            false => Err(Error::Store { path: path.to_path_buf(), reason: damage.words(), mend: MEND }),
        }
    }

    /// The intact rows of a store, and which rows are damaged.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn open_damaged(path: &Path, complete_alone: bool) -> Result<(Rows, Damage), Error> {
        let snapshot = Snapshot::open(path)?;
        let damage = snapshot.check()?;
        let left_out = damage.traces.iter().map(|trace| trace.id).collect();
        let (mut runs, store) = (snapshot.runs()?, snapshot.hash()?);
        for settings in runs.values_mut().filter_map(|(_, settings)| settings.as_object_mut()) {
            // Parquet has no place for an object without fields.
            settings.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty()));
        }
        let single_questions = snapshot.asks_single_questions()?;
        let traces = snapshot.trace_count(complete_alone)?;
        let file_bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        let traces_read = AtomicU64::new(0);
        let rows = Rows {
            snapshot,
            complete_alone,
            runs,
            left_out,
            store,
            single_questions,
            file_bytes,
            traces,
            traces_read,
            reading: ReadOptions::default(),
        };
        Ok((rows, damage))
    }

    /// The same, with the answer tags of these options. Other column options do not apply: its columns are known.
    #[must_use]
    pub fn with_tags_of(self, options: &ReadOptions) -> Rows {
        let reading = ReadOptions { answer_tags: options.answer_tags.clone(), ..self.reading };
        Rows { reading, ..self }
    }

    /// Whether there are no traces, or no complete ones where only those count.
    pub fn is_empty(&self) -> bool {
        self.traces == 0
    }

    /// The rows, by run, prompt and sample.
    pub fn iter(&self) -> impl Iterator<Item = Result<Columns, Error>> + Send + '_ {
        let mut after: TraceKey = (0, 0, 0);
        let mut page = Vec::new().into_iter();
        let mut ended = false;
        std::iter::from_fn(move || {
            if page.len() == 0 && !ended {
                match self.snapshot.page(after, self.complete_alone, &self.left_out) {
                    Ok(next) => page = next.into_iter(),
                    Err(error) => {
                        ended = true;
                        return Some(Err(error));
                    }
                }
            }
            let stored: Stored = page.next()?;
            after = stored.place;
            Some(Ok(self.columns(stored)))
        })
    }

    fn columns(&self, stored: Stored) -> Columns {
        let mut row = Columns::default();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                row.set(name, &value);
            }
        };
        if self.single_questions {
            let text =
                |role| stored.messages.iter().find(|message| message.role == role).map(|message| &message.content);
            put("prompt", json!(text(Role::User)));
            put("system", json!(text(Role::System)));
        } else {
            put("prompt", json!(stored.messages));
        }
        put("reasoning", json!(stored.reasoning));
        put("response", json!(stored.content.unwrap_or_default()));
        put("finish_reason", json!(stored.finish_reason));
        if let Some((teacher, settings)) = self.runs.get(&stored.place.0) {
            put("teacher", json!(teacher));
            put("sampling", settings.clone());
        }
        put("sample", json!(stored.place.2));
        if stored.prompt_tokens.is_some() || stored.completion_tokens.is_some() {
            put("usage", json!({"prompt_tokens": stored.prompt_tokens, "completion_tokens": stored.completion_tokens}));
        }
        put("prompt_id", json!(stored.prompt_hash));
        put("hash", json!(stored.hash));
        put("store", json!(self.store));
        if !self.complete_alone {
            put("status", json!(stored.status));
            put("error", json!(stored.error));
        }
        for (name, value) in stored.columns.iter() {
            let mut free = name.to_string();
            // A prompt's own column must neither replace one of these nor be read as part of the question or answer, or as metadata
            // of the answer.
            let is_taken = |name: &str| {
                is_among(&PARTS, name)
                    || message_fields::is_reasoning(name)
                    || dataset::speaks_of_answer(name, value)
                    || dataset::may_be_asked(name)
            };
            while row.contains(&free) || is_taken(&free) {
                free.insert_str(0, "prompt_");
            }
            row.set(&free, &value);
        }
        row
    }
}

/// The remedy for a damaged store.
const MEND: &str = "`aludel trace --replace-damaged` with the same settings asks for damaged and missing traces again; \
    `aludel trace export --skip-damaged` writes the others";

/// Column names that have a meaning in a trace, whether a row has them or not.
const PARTS: [&str; 24] = [
    "prompt",
    "instruction",
    "question",
    "text",
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "messages",
    "conversations",
    "response",
    "completion",
    "output",
    "finish_reason",
    "teacher",
    "sampling",
    "sample",
    "usage",
    "prompt_id",
    "hash",
    "store",
    "status",
    "error",
];

impl TraceSource for Rows {
    fn traces(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, aludel_data::Error>> + Send + '_>, aludel_data::Error> {
        let file: Arc<Path> = Arc::from(self.snapshot.path());
        let rows = self.iter().zip(1..).map(move |(columns, line)| {
            self.traces_read.store(line, Ordering::Relaxed);
            let provenance = Provenance { file: Arc::clone(&file), file_index: 0, line };
            trace_of(dataset::row_of(columns?, &self.reading, provenance), true)
        });
        Ok(Box::new(rows))
    }

    fn bytes_read(&self) -> Option<(u64, u64)> {
        let share = self.traces_read.load(Ordering::Relaxed) as f64 / self.traces.max(1) as f64;
        Some(((share.min(1.0) * self.file_bytes as f64) as u64, self.file_bytes))
    }
}

/// Writes rows to a file atomically: Parquet if its name ends in `.parquet`, else JSON lines. Returns the number of rows; without
/// rows no file is written.
///
/// # Errors
/// [`Error::Store`], [`Error::File`], [`Error::Data`].
pub fn export(rows: &Rows, output: &Path) -> Result<u64, Error> {
    if output.is_file() && is_sqlite(output)? {
        return Err(Error::Store {
            path: output.to_path_buf(),
            reason: "this is a SQLite file, and it would be replaced".to_string(),
            mend: "name another output file",
        });
    }
    let is_parquet = output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    if !is_parquet {
        return write_lines(rows, output);
    }
    // Parquet's columns are known only when all rows are: they wait as JSON lines beside it.
    let beside = atomic::Scratch::beside(output)?;
    let (lines, table) = (beside.path().join("rows.jsonl"), beside.path().join("table"));
    let count = write_lines(rows, &lines)?;
    if count > 0 {
        dataset::write_parquet(&lines, &table, output)?;
        let failed = |reason| Error::Data(aludel_data::Error::Write { path: output.to_path_buf(), reason });
        let mut table = aludel_files::open(&table).map_err(failed)?;
        atomic::write_file(output, |file| io::copy(&mut table, file).map(|_| ()).map_err(failed))?;
    }
    Ok(count)
}

fn write_lines(rows: &Rows, output: &Path) -> Result<u64, Error> {
    let mut count = 0;
    // An existing file is not replaced.
    let mut all = rows.iter().peekable();
    if all.peek().is_none() {
        return Ok(0);
    }
    atomic::write_file(output, |file| {
        for row in all {
            let mut line = serde_json::to_vec(&row?).expect("a row is JSON");
            line.push(b'\n');
            file.put(&line)?;
            count += 1;
        }
        Ok::<(), Error>(())
    })?;
    Ok(count)
}
