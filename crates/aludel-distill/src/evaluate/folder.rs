//! Writing the folder of results: one writer, a plan that a resumed evaluation must repeat, and a line for each sample the moment it
//! ends. A killed evaluation loses the samples that were under way and no others.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use aludel_formats::atomic;
use aludel_formats::lock::FolderLock;
use serde_json::Value;

use super::results::{PLAN_FILE_NAME, Plan, RESULTS_FILE_NAME, SAMPLES_FILE_NAME, Sample, parse_samples, read_json};
use crate::error::{Error, Result};

/// Samples that a power failure may cost.
const SAMPLES_PER_SYNC: usize = 32;

/// The open folder.
pub(super) struct Folder {
    path: PathBuf,
    file: Option<File>,
    samples: HashMap<Key, Sample>,
    unsynced: usize,
    /// Released last.
    _lock: FolderLock,
}

/// Task, problem, sample.
type Key = (String, String, u32);

impl Folder {
    /// Locks the folder and reads the samples that are there. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::OtherEvaluation`] if it holds the results of another one; a folder that cannot be written.
    pub(super) fn open(path: &Path, plan: &Plan) -> Result<Folder> {
        let lock = FolderLock::acquire(path)?;
        atomic::recover(path);
        let mut folder =
            Folder { path: path.to_owned(), file: None, samples: HashMap::new(), unsynced: 0, _lock: lock };
        if !path.join(PLAN_FILE_NAME).exists() {
            return match [SAMPLES_FILE_NAME, RESULTS_FILE_NAME].into_iter().find(|name| path.join(name).exists()) {
                Some(name) => {
                    let reason = format!("it holds a {name} of something else; give another --output-dir");
                    Err(Error::Output { path: path.to_owned(), reason })
                }
                None => Ok(folder),
            };
        }
        let old: Plan = read_json(&path.join(PLAN_FILE_NAME), "plan of an evaluation")?;
        let differences = differences(&old, plan);
        if !differences.is_empty() {
            return Err(Error::OtherEvaluation { path: path.to_owned(), differences: differences.join("\n") });
        }
        folder.read()?;
        Ok(folder)
    }

    /// Takes in the samples that are there, and cuts off a torn last line.
    fn read(&mut self) -> Result<()> {
        let path = self.path.join(SAMPLES_FILE_NAME);
        let bytes = match aludel_files::read(&path, aludel_files::LARGE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(aludel_formats::Error::io(&path, "read the samples"))?,
        };
        let (samples, whole) = parse_samples(&path, &bytes)?;
        if whole < bytes.len() {
            let file = OpenOptions::new().write(true).open(&path);
            file.and_then(|file| file.set_len(whole as u64))
                .map_err(aludel_formats::Error::io(&path, "cut off a torn line"))?;
        }
        for sample in samples {
            self.samples.entry(key(&sample)).or_insert(sample);
        }
        Ok(())
    }

    /// Whether a sample is there.
    pub(super) fn has(&self, task: &str, problem: &str, sample: u32) -> bool {
        self.samples.contains_key(&(task.to_owned(), problem.to_owned(), sample))
    }

    /// A sample that is there.
    pub(super) fn get(&self, task: &str, problem: &str, sample: u32) -> Option<&Sample> {
        self.samples.get(&(task.to_owned(), problem.to_owned(), sample))
    }

    /// Writes the plan and opens the samples for appending, the first time.
    pub(super) fn begin(&mut self, plan: &Plan) -> Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let path = self.path.join(PLAN_FILE_NAME);
        if !path.exists() {
            atomic::write_json(&path, plan)?;
        }
        let path = self.path.join(SAMPLES_FILE_NAME);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        self.file = Some(file.map_err(aludel_formats::Error::io(&path, "write the samples"))?);
        Ok(())
    }

    /// Appends a sample: from here on it outlives the process.
    pub(super) fn add(&mut self, sample: Sample) -> Result<()> {
        let path = self.path.join(SAMPLES_FILE_NAME);
        let failed = aludel_formats::Error::io(&path, "write the samples");
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&sample)
                .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
            line.push(b'\n');
            let written = file.write_all(&line);
            self.unsynced += 1;
            let synced = if self.unsynced >= SAMPLES_PER_SYNC { file.sync_data() } else { Ok(()) };
            self.unsynced %= SAMPLES_PER_SYNC;
            written.and(synced).map_err(failed)?;
        }
        self.samples.insert(key(&sample), sample);
        Ok(())
    }

    /// Makes sure that all samples are on disk.
    pub(super) fn sync(&mut self) -> Result<()> {
        let path = self.path.join(SAMPLES_FILE_NAME);
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        Ok(synced.map_err(aludel_formats::Error::io(&path, "write the samples"))?)
    }

    /// Puts the finished samples in this order, so that the file depends on no batch.
    pub(super) fn put_in_order(&self, order: &[&Sample]) -> Result<()> {
        let path = self.path.join(SAMPLES_FILE_NAME);
        atomic::write_file(&path, |output| {
            for sample in order {
                let mut line = serde_json::to_vec(sample)
                    .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
                line.push(b'\n');
                output.put(&line)?;
            }
            Ok(())
        })
    }
}

fn key(sample: &Sample) -> Key {
    (sample.task.clone(), sample.problem.clone(), sample.sample)
}

/// In what two plans differ, a line each.
fn differences(old: &Plan, new: &Plan) -> Vec<String> {
    let (old, new) = (flat(old), flat(new));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not there".to_owned());
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("  {key}: {} → {}", shown(old.get(key)), shown(new.get(key))))
        .collect()
}

fn flat(plan: &Plan) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (section, value) in
        [("model", serde_json::to_value(&plan.model)), ("settings", serde_json::to_value(&plan.settings))]
    {
        for (name, value) in value.ok().as_ref().and_then(Value::as_object).into_iter().flatten() {
            values.insert(format!("{section}.{name}"), value.to_string());
        }
    }
    for task in &plan.tasks {
        let what = format!("{} problems with fingerprint {}", task.n, task.fingerprint);
        values.insert(format!("tasks.{}", task.name), what);
    }
    values
}
