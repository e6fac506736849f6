//! Writing the folder of results: one writer, a plan that a resumed evaluation must repeat, and a line for each sample the moment it
//! ends. A killed evaluation loses the samples that were under way and no others.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use aludel_formats::atomic;
use aludel_formats::lock::FolderLock;
use serde_json::{Value, json};

use super::results::{
    ModelName, PLAN_FILE_NAME, Plan, PlannedTask, RESULTS_FILE_NAME, SAMPLES_FILE_NAME, Sample, Settings,
    parse_samples, read_json,
};
use crate::checkpoint;
use crate::error::{Error, Result};

/// Samples that a power failure may cost.
const SAMPLES_PER_SYNC: usize = 32;

/// The open folder.
pub(super) struct Folder {
    path: PathBuf,
    file: Option<File>,
    samples: HashMap<Key, Sample>,
    unsynced: usize,
    /// What the plan here says of it; none of plans by versions that did not keep it.
    context: Option<usize>,
    /// Released last.
    _lock: FolderLock,
}

/// Task, problem, sample.
type Key = (String, String, u32);

impl Folder {
    /// Locks the folder and reads the samples that are there. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::OtherEvaluation`] if it holds the results of another one; [`Error::Output`] for a folder that is somebody's; a folder
    /// that cannot be written.
    pub(super) fn open(path: &Path, plan: &Plan) -> Result<Folder> {
        if !aludel_files::is_there(path.join(PLAN_FILE_NAME))
            && let Some(whose) = checkpoint::whose(path)
        {
            let reason =
                format!("it looks like {whose}, and results would be mixed with that; give another --output-dir");
            return Err(Error::Output { path: path.to_owned(), reason });
        }
        let lock = FolderLock::acquire(path)?;
        atomic::recover(path);
        let (path_here, samples) = (path.to_owned(), HashMap::new());
        let mut folder = Folder { path: path_here, file: None, samples, unsynced: 0, context: None, _lock: lock };
        if !aludel_files::is_there(path.join(PLAN_FILE_NAME)) {
            return match [SAMPLES_FILE_NAME, RESULTS_FILE_NAME]
                .into_iter()
                .find(|name| aludel_files::is_there(path.join(name)))
            {
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
        folder.context = old.context;
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

    /// The context length, in tokens, as recorded in the plan.
    pub(super) fn context(&self) -> Option<usize> {
        self.context
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
        if !aludel_files::is_there(&path) || (self.context.is_none() && plan.context.is_some()) {
            atomic::write_json(&path, plan)?;
            self.context = plan.context;
        }
        let path = self.path.join(SAMPLES_FILE_NAME);
        let file = aludel_files::append(&path);
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

/// All that an evaluation is known by, under names of its own. What is not given adds nothing, so that a setting that later versions add
/// leaves begun evaluations as they are; each struct is taken apart whole, so that it does not compile before it is here.
fn flat(plan: &Plan) -> BTreeMap<String, String> {
    let Plan { model, settings, tasks, context: _ } = plan;
    let ModelName { path, endpoint, served, adapter, name, fingerprint } = model;
    let Settings { samples, temperature, top_p, max_new_tokens, seed, dtype, template_date, template_variables } =
        settings;
    let values = [
        ("model.path", json!(path)),
        ("model.endpoint", json!(endpoint)),
        ("model.served", json!(served)),
        ("model.adapter", json!(adapter)),
        ("model.name", json!(name)),
        ("model.fingerprint", json!(fingerprint)),
        ("settings.samples", json!(samples)),
        ("settings.temperature", json!(temperature)),
        ("settings.top_p", json!(top_p)),
        ("settings.max_new_tokens", json!(max_new_tokens)),
        ("settings.seed", json!(seed)),
        ("settings.dtype", json!(dtype)),
        ("settings.template_date", json!(template_date)),
        ("settings.template_variables", json!(template_variables)),
    ];
    let is_given = |value: &Value| !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty());
    let given = values.into_iter().filter(|(_, value)| is_given(value));
    let mut values: BTreeMap<String, String> =
        given.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    for PlannedTask { name, n, fingerprint } in tasks {
        values.insert(format!("tasks.{name}"), format!("{n} problems with fingerprint {fingerprint}"));
    }
    values
}
