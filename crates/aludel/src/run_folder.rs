//! Resolves the folder of a training run that is given in place of its adapter, and the error with the command to use if a model is
//! expected and an adapter, or such a folder, is given. Nothing is loaded here.

use crate::console::harmless;
use crate::report::ErrorWithHelp;
use crate::shell_path::shell_quoted;
use aludel_distill::base_model::AdapterStudent;
use aludel_distill::checkpoint::{self, ADAPTER_FOLDER_NAME, RECIPE_FILE_NAME, RUN_FILE_NAME};
use aludel_distill::settings::StudentSettings;
use aludel_distill::training_facts::TrainingFacts;
use aludel_formats::{hf, peft};
use std::path::{Path, PathBuf};

/// Whether a run was begun in this folder.
pub(crate) fn is_run(path: &Path) -> bool {
    [RUN_FILE_NAME, RECIPE_FILE_NAME].iter().all(|name| aludel_files::is_there(path.join(name)))
}

/// The adapter folder that is meant: the one that is named, or the adapter of the run that is named, which is then said. Whether it is
/// whole is found out where it is read.
///
/// # Errors
/// A run that has no adapter yet.
pub(crate) fn adapter_of(path: &Path) -> anyhow::Result<PathBuf> {
    let adapter = meant(path)?;
    if adapter != path {
        tracing::info!("{}: taking the adapter of this run, {}", shown(path), shown(&adapter));
    }
    Ok(adapter)
}

fn meant(path: &Path) -> anyhow::Result<PathBuf> {
    if aludel_files::is_there(path.join(peft::CONFIG_FILE_NAME)) || !is_run(path) {
        return Ok(path.to_owned());
    }
    let adapter = path.join(ADAPTER_FOLDER_NAME);
    if aludel_files::is_there(adapter.join(peft::CONFIG_FILE_NAME)) {
        return Ok(adapter);
    }
    let last = checkpoint::list(path).last().map(|&step| shell_quoted(&checkpoint::path(path, step)));
    let last = last.map(|last| format!(", or give its last checkpoint, {last}")).unwrap_or_default();
    Err(anyhow::Error::new(ErrorWithHelp {
        message: format!("{}: this run has no adapter yet, since it has not come to its end", shown(path)),
        help: format!("resume it: aludel train --output-dir {} --resume{last}", shell_quoted(path)),
    }))
}

/// [`adapter_of`], where an adapter may be named.
///
/// # Errors
/// As [`adapter_of`].
pub(crate) fn adapter_if_named(path: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    path.map(adapter_of).transpose()
}

/// Warns where an adapter is used on weights that are held otherwise than those that it was trained on.
///
/// # Errors
/// As [`adapter_of`], and a file of the adapter that is damaged.
pub(crate) fn warn_of_other_weights(adapter: Option<&Path>, student: &StudentSettings) -> anyhow::Result<()> {
    let Some(adapter) = adapter.map(meant).transpose()? else { return Ok(()) };
    if let Some(told) = TrainingFacts::read(&adapter)?.and_then(|facts| facts.other_weights(student.quantize)) {
        tracing::warn!("{told}");
    }
    Ok(())
}

/// Refuses an adapter, and a run, where a model is wanted.
///
/// # Errors
/// One of these, with the two ways to use it.
pub(crate) fn refuse_as_model(path: &Path) -> anyhow::Result<()> {
    let holds = |name: &str| aludel_files::is_there(path.join(name));
    let what = match () {
        () if holds(hf::CONFIG_FILE_NAME) => return Ok(()),
        () if holds(peft::CONFIG_FILE_NAME) => "an adapter",
        () if is_run(path) => "the folder of a training run",
        () => return Ok(()),
    };
    let adapter = meant(path)?;
    let of_ours = AdapterStudent::read(&adapter).ok().flatten().map(|trained_on| shell_quoted(trained_on.model()));
    let base = || peft::read(&adapter).ok()?.config.base_model_name_or_path;
    let student = of_ours.or_else(base).map(|student| format!(", {},", harmless(&student))).unwrap_or_default();
    let adapter = shell_quoted(&adapter);
    Err(anyhow::Error::new(ErrorWithHelp {
        message: format!("{}: this is {what}, and a model is wanted here", shown(path)),
        help: format!(
            "make a model of it: aludel merge --adapter {adapter} --output-dir merged; or give the model that it was trained on{student} \
             with --adapter {adapter} (in training, --init-adapter {adapter})"
        ),
    }))
}

fn shown(path: &Path) -> String {
    harmless(&shell_quoted(path)).to_string()
}
