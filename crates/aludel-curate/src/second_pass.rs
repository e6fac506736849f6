//! The second pass: rows are read again and each is written to the file that its judgement selects, with the findings about it. A row that
//! changed since it was judged ends the writing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use aludel_formats::atomic;
use rayon::ThreadPool;
use serde_json::{Value, json};

use super::first_pass::{FirstPassResult, ProgressMeter, TOLD_ROWS, for_each_batch, hash_of};
use super::{JudgedRow, Progress, Report};
use crate::Error;
use aludel_data::dataset::{self, Columns, Content};
use aludel_data::message_fields;
use aludel_data::split::Split;
use aludel_data::trace::{Trace, TraceSource};

const TRAIN: &str = "train.jsonl";
const EVAL: &str = "eval.jsonl";
const DROPPED: &str = "dropped.jsonl";
/// The outcome of the rows, and the settings.
pub const REPORT: &str = "report.json";
/// The next round's prompts, which the command writes where no traces are curated.
pub const PROMPTS: &str = "prompts.jsonl";
const PARQUET: [(&str, &str); 2] = [(TRAIN, "train.parquet"), (EVAL, "eval.parquet")];

/// Whether a file of this name in an output folder is one that curation writes.
pub fn is_written_here(name: &OsStr) -> bool {
    let names = [TRAIN, EVAL, DROPPED, REPORT, PARQUET[0].1, PARQUET[1].1, PROMPTS];
    names.iter().any(|own| name == *own) || name.to_string_lossy().starts_with(".aludel")
}

pub(super) fn write(
    source: &dyn TraceSource,
    judgement: &FirstPassResult,
    split: &Split,
    parquet: bool,
    folder: &Path,
    report: &Report,
    about: &Value,
    pool: &ThreadPool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), Error> {
    atomic::write_dir(folder, |inside| {
        let mut train = Lines::create(inside, folder, TRAIN)?;
        let mut eval = Lines::create(inside, folder, EVAL)?;
        let mut dropped = Lines::create(inside, folder, DROPPED)?;
        let mut judged = judgement.rows.iter();
        let mut written = 0;
        for_each_batch(
            source,
            pool,
            &ProgressMeter::new(),
            |trace| trace.content.as_ref().map_or(0, hash_of),
            |trace, hash| {
                let row = judged.next().filter(|row| row.hash == hash).ok_or_else(|| changed(trace))?;
                let file = match (row.is_kept(), split.is_test(row.prompt)) {
                    (false, _) => &mut dropped,
                    (true, true) => &mut eval,
                    (true, false) => &mut train,
                };
                file.put(&columns_of(trace, row))?;
                written += 1;
                if written % TOLD_ROWS as u64 == 0 {
                    let total = judgement.rows.len() as u64;
                    let share = Some(written as f64 / total.max(1) as f64);
                    progress(Progress { writing: true, rows: written, rows_total: Some(total), share });
                }
                Ok(())
            },
        )?;
        for file in [train, eval, dropped] {
            file.finish()?;
        }
        for (lines, table) in PARQUET.iter().filter(|_| parquet) {
            dataset::write_parquet(&inside.join(lines), &inside.join(table), &folder.join(table))?;
        }
        let text = json!({ "report": report, "about": about });
        let mut file = Lines::create(inside, folder, REPORT)?;
        file.put_pretty(&text)?;
        file.finish()
    })
}

fn changed(trace: &Trace) -> Error {
    Error::Data(aludel_data::Error::Row {
        path: trace.origin.file.to_path_buf(),
        line: trace.origin.line,
        reason: "the row changed while it was being curated".to_string(),
    })
}

/// A row as it is written: what it says, its other columns, and what was found about it.
fn columns_of(trace: &Trace, row: &JudgedRow) -> Columns {
    let mut columns = Columns::default();
    match &trace.content {
        Ok(Content::Messages(messages)) => {
            let (messages, tools) = dataset::tools_apart(messages);
            columns.set("messages", &messages);
            if let Some(tools) = tools {
                columns.set("tools", &tools);
            }
        }
        Ok(Content::Text(text)) => columns.set("text", text),
        Err(_) => {}
    }
    // What was no part of the row must not become one when it is read again.
    let is_read = |name: &str| trace.content.is_ok() && message_fields::is_reasoning(name);
    columns.take_on(&trace.columns, |name| if is_read(name) { format!("other_{name}") } else { name.to_string() });
    let file = trace.origin.file.file_name().unwrap_or_default().to_string_lossy();
    columns.set_missing("prompt_id", &row.prompt.to_string());
    columns.set_missing("hash", &format!("{:032x}", row.hash));
    columns.set("origin", &format!("{file}:{}", trace.origin.line));
    columns.set("verdict", &row.verdict);
    columns.set("verified", &row.verdict.and_then(aludel_verify::Verdict::verified));
    if let Some(dropped) = &row.dropped {
        columns.set("reason", &dropped.reason);
        columns.set("detail", &dropped.detail);
    }
    columns
}

/// A file of JSON lines; an error names it where it will stand, not where it is being written.
struct Lines {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Lines {
    fn create(inside: &Path, folder: &Path, name: &str) -> Result<Lines, Error> {
        let path = folder.join(name);
        match File::create(inside.join(name)) {
            Ok(file) => Ok(Lines { file: BufWriter::with_capacity(1 << 20, file), path }),
            Err(reason) => Err(aludel_data::Error::Write { path, reason }.into()),
        }
    }

    fn put(&mut self, row: &Columns) -> Result<(), Error> {
        let mut line = serde_json::to_vec(row).map_err(|error| self.failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|reason| self.failed(reason))
    }

    fn put_pretty(&mut self, value: &Value) -> Result<(), Error> {
        writeln!(self.file, "{value:#}").map_err(|reason| self.failed(reason))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.file.flush().map_err(|reason| self.failed(reason))
    }

    fn failed(&self, reason: std::io::Error) -> Error {
        aludel_data::Error::Write { path: self.path.clone(), reason }.into()
    }
}
