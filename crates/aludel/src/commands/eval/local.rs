//! A model that runs on this machine: its name in results, and its evaluation.

use super::{show_progress, tell_kept};
use crate::hub::local_model;
use crate::progress::{Phase, Position, Progress, WorkKind};
use crate::provenance::current_provenance;
use aludel_distill::evaluate::identity::{bytes, fingerprint_watched};
use aludel_distill::evaluate::local::LocalBackend;
use aludel_distill::evaluate::results::{ModelName, Results, Settings};
use aludel_distill::evaluate::task::{Problem, Task};
use aludel_distill::evaluate::{Evaluation, evaluate};
use aludel_distill::settings::StudentSettings;
use aludel_distill::training_facts::TrainingFacts;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A model on this machine.
pub(crate) struct LocalModel {
    path: PathBuf,
    adapter: Option<PathBuf>,
    /// What results say of it.
    pub(crate) model: ModelName,
}

impl LocalModel {
    /// The model that the user named, fetched if it is a name on the Hub; `name` is what tables are to call it.
    pub(crate) fn new(named: &Path, adapter: Option<&Path>, name: Option<&String>) -> anyhow::Result<LocalModel> {
        let path = local_model(named)?;
        let (shown, hashed) = (Progress::new(), Cell::new(0));
        let total = bytes(&path)?;
        let watch = |piece: u64| {
            hashed.set((hashed.get() + piece).min(total));
            let at = Position::of_bytes(hashed.get(), total);
            shown.reach_of(WorkKind::Hashing, hashed.get() as f64, total as f64, at);
            ControlFlow::Continue(())
        };
        let model = ModelName {
            path: Some(named.display().to_string()),
            adapter: adapter.map(|adapter| adapter.display().to_string()),
            name: name.cloned().unwrap_or_else(|| usual_name(named, adapter)),
            fingerprint: Some(fingerprint_watched(&path, adapter, &watch)?),
            ..ModelName::default()
        };
        Ok(LocalModel { path, adapter: adapter.map(Path::to_owned), model })
    }

    /// How it was trained, where it tells.
    pub(crate) fn training_facts(&self) -> anyhow::Result<Option<TrainingFacts>> {
        Ok(TrainingFacts::of(&self.path, self.adapter.as_deref())?)
    }

    /// Evaluates into a folder, or goes on there. `None` if it was stopped.
    pub(crate) fn evaluate(
        &self,
        tasks: &[Task],
        settings: Settings,
        student: &StudentSettings,
        batch: Option<usize>,
        folder: &Path,
        part: Phase,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Results>> {
        let shown = Progress::of(part);
        let evaluation = Evaluation { tasks, model: self.model.clone(), settings, made_by: current_provenance() };
        let open = || {
            let bytes = |task: &Task| {
                let of =
                    |problem: &Problem| problem.messages.iter().map(|message| message.content.len()).sum::<usize>();
                task.problems.iter().map(of).max().unwrap_or(0)
            };
            let longest = tasks.iter().map(bytes).max().unwrap_or(0);
            let adapter = self.adapter.as_deref();
            let watch = |done, total| {
                shown.loading(done, total);
                if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let local = LocalBackend::open(&self.path, adapter, student, &evaluation.settings, longest, batch, &watch)?;
            Ok(Box::new(local) as Box<_>)
        };
        shown.begin(WorkKind::Loading);
        let mut kept = None;
        let mut observe = |told| {
            show_progress(&shown, &told, false);
            kept = Some(told);
        };
        let results = evaluate(&evaluation, folder, open, stop, &mut observe)?;
        if results.is_none() {
            tell_kept(kept, folder);
        }
        Ok(results)
    }
}

/// What tables call a model that was given no name.
pub(crate) fn usual_name(model: &Path, adapter: Option<&Path>) -> String {
    let last = |path: &Path| match path.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        // `.` and `..` have the name of the folder that they are
        None => path
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default(),
    };
    let name = last(model).trim_end_matches(".gguf").to_owned();
    let Some(adapter) = adapter else { return name };
    // `run/adapter` is named after its run; reports do not show its path on this machine
    let run = adapter.parent().map(last).filter(|run| !run.is_empty() && adapter.ends_with("adapter"));
    format!("{name} + {}", run.unwrap_or_else(|| last(adapter)))
}
