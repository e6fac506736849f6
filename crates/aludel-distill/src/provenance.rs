//! The provenance of a result: version, command line, processor and time; and `sessions.jsonl`, which has it for each session of a run,
//! with the counts of its rows. Reports show it; training and resuming do not depend on it. The caller collects the values.

use std::io::Write;
use std::path::Path;

use aludel_data::token_cache::Outcomes;
use aludel_formats::atomic;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One line for each time that the run was started or resumed.
pub const SESSIONS_FILE_NAME: &str = "sessions.jsonl";

/// What made a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Aludel's version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The command line, a word each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The processor's name, if a model ran on this machine and the system reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Hardware threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// When, UTC: `2026-11-24T16:30:00Z`.
    pub date: String,
}

/// What a session's time went to, in seconds. The rest of the total is what comes before the first step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// Optimiser steps.
    pub steps: f64,
    /// The loss on rows held back.
    pub evaluation: f64,
    /// Sample answers.
    pub samples: f64,
    /// Checkpoints, and the adapter.
    pub saving: f64,
    /// From the beginning to the end.
    pub total: f64,
}

/// A session of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// What made it.
    #[serde(flatten)]
    pub made_by: Provenance,
    /// The working directory: relative paths are reported as they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Steps that were done before.
    pub resumed_at: u64,
    /// Rows that are trained on.
    pub train_rows: u64,
    /// Rows held back.
    pub eval_rows: u64,
    /// Counts of all rows of the data, by outcome.
    pub outcomes: Outcomes,
    /// Trained parameters.
    pub trained_parameters: u64,
    /// What its time went to; none of a session that was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

impl Session {
    /// Adds it to the run's sessions.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&self, folder: &Path) -> Result<()> {
        let path = folder.join(SESSIONS_FILE_NAME);
        let mut line = serde_json::to_vec(self)
            .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
        line.push(b'\n');
        let written = aludel_files::append(&path).and_then(|mut file| file.write_all(&line));
        Ok(written.map_err(aludel_formats::Error::io(&path, "write the run's sessions"))?)
    }

    /// Takes the place of the last of the run's sessions, which is this one and has ended.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn ended(&mut self, folder: &Path, times: Times) -> Result<()> {
        self.times = Some(times);
        let path = folder.join(SESSIONS_FILE_NAME);
        let text = aludel_files::read_to_string(&path, aludel_files::SMALL)
            .map_err(aludel_formats::Error::io(&path, "read the run's sessions"))?;
        let before = text.trim_end().rfind('\n').map_or("", |end| &text[..=end]);
        let own = serde_json::to_string(self)
            .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
        Ok(atomic::write_bytes(&path, format!("{before}{own}\n").as_bytes())?)
    }
}

/// The sessions of the run in a folder, in order; none of runs by versions that did not keep them. Lines that are none are left out: a
/// crash may have torn one.
///
/// # Errors
/// The file is there and cannot be read.
pub fn sessions(folder: &Path) -> Result<Vec<Session>> {
    let path = folder.join(SESSIONS_FILE_NAME);
    if !aludel_files::is_there(&path) {
        return Ok(Vec::new());
    }
    let text = aludel_files::read_to_string(&path, aludel_files::SMALL)
        .map_err(aludel_formats::Error::io(&path, "read the run's sessions"))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_kept_in_order_and_a_torn_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(sessions(folder.path()).unwrap(), []);
        let made_by = Provenance {
            version: "0.1.0".to_owned(),
            command: vec!["aludel".to_owned(), "train".to_owned()],
            threads: Some(2),
            ..Provenance::default()
        };
        let first = Session { made_by, train_rows: 72, ..Session::default() };
        let second = Session { resumed_at: 9, ..first.clone() };
        first.append(folder.path()).unwrap();
        second.append(folder.path()).unwrap();
        let path = folder.path().join(SESSIONS_FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"version\": \"0.1")).unwrap();
        assert_eq!(sessions(folder.path()).unwrap(), [first.clone(), second.clone()]);
        std::fs::write(&path, text).unwrap();
        let (mut ended, times) = (second.clone(), Times { steps: 3.0, total: 4.5, ..Times::default() });
        ended.ended(folder.path(), times).unwrap();
        let kept = sessions(folder.path()).unwrap();
        assert_eq!((&kept[0], &kept[1].times, kept.len()), (&first, &Some(times), 2));
        assert_eq!(Session { times: None, ..kept[1].clone() }, second);
        std::fs::write(&path, "{\"later\": 1}\n").unwrap();
        assert_eq!(sessions(folder.path()).unwrap(), [Session::default()], "fields may come and go");
    }
}
