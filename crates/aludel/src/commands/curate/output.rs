//! Whether a curation may replace its output folder: only one that a curation wrote, and none that holds its own input.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use aludel_curate::{PROMPTS, REPORT, is_written_here};
use anyhow::Context as _;
use serde_json::Value;

use crate::report::ErrorWithHelp;

/// What an earlier curation left in the folder, in words. A folder with anything but a curation's files is somebody's: it is not replaced.
/// Names alone are not enough, since `train.jsonl` is a common name: there must be a report, or prompts, written by a curation.
pub(super) fn to_be_replaced(folder: &Path) -> anyhow::Result<Option<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(reason) => {
            return Err(reason).with_context(|| ErrorWithHelp {
                message: format!("{}: cannot be used as the output folder", folder.display()),
                help: "name a folder that does not exist yet".to_owned(),
            });
        }
    };
    let report = report(&folder.join(REPORT));
    let has_report = report.is_some();
    let is_own = |name: &OsStr| {
        let is_sure = has_report || name.to_string_lossy().starts_with(".aludel");
        is_written_here(name) && (is_sure || (name == PROMPTS && are_prompts(&folder.join(PROMPTS))))
    };
    match entries.flatten().find(|entry| !is_own(&entry.file_name())) {
        None => Ok(match report {
            Some(report) => Some(format!(
                "an earlier curation: {} rows to train on and {} held back",
                report["train"].as_u64().unwrap_or_default(),
                report["eval"].as_u64().unwrap_or_default()
            )),
            None => are_prompts(&folder.join(PROMPTS)).then(|| "the prompts of an earlier round".to_owned()),
        }),
        Some(entry) => Err(ErrorWithHelp {
            message: format!(
                "{}: holds {}, which curate did not write, and the whole folder would be replaced",
                folder.display(),
                entry.file_name().display()
            ),
            help: "name another output folder".to_owned(),
        }
        .into()),
    }
}

/// The numbers of a file that is the report that a curation ends with.
fn report(path: &Path) -> Option<Value> {
    let bytes = aludel_files::read(path, aludel_files::SMALL).unwrap_or_default();
    let mut report: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let is_report = report["report"].is_object() && report["about"]["curate"].is_object();
    is_report.then(|| report["report"].take())
}

/// Whether a file begins with a prompt of a next round.
fn are_prompts(path: &Path) -> bool {
    let Ok(file) = aludel_files::open(path) else { return false };
    let mut line = Vec::new();
    let read = BufReader::new(file.take(aludel_files::SMALL)).read_until(b'\n', &mut line);
    let row: Value = serde_json::from_slice(&line).unwrap_or_default();
    read.is_ok() && ["id", "prompt", "answer", "task", "solved"].iter().all(|name| row.get(name).is_some())
}

/// Traces in the output folder would be gone with it.
pub(super) fn refuse_input_inside(folder: &Path, inputs: &[PathBuf]) -> anyhow::Result<()> {
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    match inputs.iter().find(|input| input.canonicalize().is_ok_and(|input| input.starts_with(&folder))) {
        None => Ok(()),
        Some(input) => Err(ErrorWithHelp {
            message: format!(
                "{}: lies in the output folder, {}, which is replaced as a whole",
                input.display(),
                folder.display()
            ),
            help: "name another output folder".to_owned(),
        }
        .into()),
    }
}
