//! The run folder and its checkpoints. A checkpoint is a PEFT adapter folder that also holds the optimiser's moments, the trainer's state
//! and hashes of all that; the data position follows from the step. Each appears completely or not at all. Other contents of the folder,
//! the inputs of the run and damage are in files of their own.

mod claim;
mod integrity;
mod projections;
mod run;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aludel_formats::{Dtype, TensorSpec, atomic, manifest, safetensors};
use aludel_kernels::quant;
use aludel_text::TextBundle;

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metrics::{self, MetricsDigest, TrainerState};
use crate::training_facts::TrainedOn;

pub use claim::{is_begun, whose};
pub use integrity::{check_replaced, read, shell_word};
pub use run::{Fingerprints, RUN_FILE_NAME, RunFile, begun_with};

/// The recipe that a run was started with, every setting spelled out.
pub const RECIPE_FILE_NAME: &str = "recipe.toml";
/// How the run ended, in the run folder.
pub const SUMMARY_FILE_NAME: &str = "summary.json";
/// The folder of the final adapter.
pub const ADAPTER_FOLDER_NAME: &str = "adapter";
/// The folder of the tokenised rows.
pub const ROWS_FOLDER_NAME: &str = "rows";
const STATE_FILE_NAME: &str = "trainer_state.json";
/// What the checkpoint knows of `metrics.jsonl`.
const RECORDED_FILE_NAME: &str = "aludel_metrics.json";
const OPTIMIZER_FILE_NAME: &str = "optimizer.safetensors";
const PREFIX: &str = "checkpoint-";

/// The path of the checkpoint of a step.
pub fn path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{step}"))
}

/// The steps of all checkpoints, in order. Whether one is whole is found out where it is read.
pub fn list(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let step = |name: &str| name.strip_prefix(PREFIX)?.parse().ok().filter(|&step| path(folder, step).ends_with(name));
    let mut steps: Vec<u64> = entries.filter_map(|entry| step(entry.file_name().to_str()?)).collect();
    steps.sort_unstable();
    steps
}

/// Writes the final adapter; `complete` adds what no manifest covers.
///
/// # Errors
/// It cannot be written; an adapter that was there is still there.
pub(crate) fn save_adapter(
    target: &Path,
    learner: &Learner,
    text: &TextBundle,
    trained_on: &TrainedOn,
    complete: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    write_dir(target, |folder| {
        write_adapter(folder, learner, text, trained_on)?;
        manifest::write(folder)?;
        complete(folder)
    })
}

/// A folder that appears whole or not at all, and whose files are named in errors as if they lay in it already.
fn write_dir(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    atomic::write_dir(target, |folder| {
        fill(folder).map_err(|error| match error {
            Error::Format(error) | Error::Model(aludel_model::Error::Format(error)) => {
                Error::Format(error.under_final_name(folder, target))
            }
            other => other,
        })
    })
}

/// Writes an adapter folder that loads by itself: adapter, tokenizer and template, which student it is for, and how it was trained.
fn write_adapter(folder: &Path, learner: &Learner, text: &TextBundle, trained_on: &TrainedOn) -> Result<()> {
    learner.adapter.save(&learner.ctx, folder)?;
    trained_on.write(folder)?;
    for file in text.to_files()? {
        atomic::write_bytes(&folder.join(file.name), file.contents.as_bytes())?;
    }
    Ok(())
}

/// Saves a checkpoint, replacing one of the same step.
///
/// # Errors
/// It cannot be written; then the checkpoints that were there are still there.
pub(crate) fn save(
    folder: &Path,
    learner: &Learner,
    text: &TextBundle,
    trained_on: &TrainedOn,
    state: &TrainerState,
    recorded: &MetricsDigest,
) -> Result<PathBuf> {
    let target = path(folder, state.global_step);
    write_dir(&target, |folder| {
        write_adapter(folder, learner, text, trained_on)?;
        let moments = [("first", learner.state.first), ("second", learner.state.second)];
        let specs: Vec<TensorSpec> =
            moments.iter().map(|(name, mat)| TensorSpec::new(*name, Dtype::F32, [mat.cols()])).collect();
        let metadata = BTreeMap::from([("optim".to_owned(), "adamw".to_owned())]);
        safetensors::save_file(&folder.join(OPTIMIZER_FILE_NAME), &specs, &metadata, |spec| -> Result<_> {
            let mat = if spec.name == "first" { learner.state.first } else { learner.state.second };
            Ok(Cow::Owned(quant::encode_f32(&learner.ctx.download(mat))))
        })?;
        if let Some(own) = learner.projections() {
            projections::save(folder, &learner.ctx, own)?;
        }
        atomic::write_json(&folder.join(STATE_FILE_NAME), state)?;
        atomic::write_json(&folder.join(RECORDED_FILE_NAME), recorded)?;
        Ok(manifest::write(folder)?)
    })?;
    Ok(target)
}

/// Refuses to resume from the checkpoint of a step if `metrics.jsonl` differs from what was recorded before it.
///
/// # Errors
/// [`Error::Damaged`] naming what is other.
pub fn check_recorded(folder: &Path, step: u64, state: &TrainerState) -> Result<()> {
    let checkpoint = path(folder, step);
    let file = checkpoint.join(RECORDED_FILE_NAME);
    let recorded = match aludel_files::is_there(&file) {
        true => {
            let bytes = aludel_files::read(&file, aludel_files::SMALL)
                .map_err(aludel_formats::Error::io(&file, "read what was recorded"))?;
            let damaged = |error: serde_json::Error| Error::Damaged { path: file.clone(), reason: error.to_string() };
            Some(serde_json::from_slice(&bytes).map_err(damaged)?)
        }
        false => None,
    };
    metrics::check(folder, state, recorded.as_ref(), &format!("--init-adapter {}", shell_word(&checkpoint)))
}

/// Loads what a checkpoint holds beside the adapter, which is loaded with the learner: the optimiser's moments, and projections.
///
/// # Errors
/// A file is damaged or of another adapter.
pub fn restore(checkpoint: &Path, learner: &mut Learner) -> Result<()> {
    let path = checkpoint.join(OPTIMIZER_FILE_NAME);
    let weights = safetensors::Weights::open_file(&path)?;
    for (name, mat) in [("first", learner.state.first), ("second", learner.state.second)] {
        let values = read_f32(&path, &weights, &TensorSpec::new(name, Dtype::F32, [mat.cols()]))?;
        learner.ctx.write(mat, &values);
    }
    learner.restore_projections(|ctx, own| projections::restore(checkpoint, ctx, own))
}

/// The values of a tensor in a checkpoint's file, which must be of the shape that this run has.
fn read_f32(path: &Path, weights: &safetensors::Weights, spec: &TensorSpec) -> Result<Vec<f32>> {
    let view = weights.get(&spec.name)?;
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    if view.shape != spec.shape || view.dtype != Dtype::F32 {
        let reason = format!(
            "tensor {} is {:?}, and this run trains {:?}; delete this checkpoint",
            spec.name, view.shape, spec.shape
        );
        return Err(damaged(reason));
    }
    let mut values = vec![0f32; spec.shape.iter().product()];
    quant::decode(quant::BlockType::F32, view.bytes, &mut values).map_err(|error| damaged(error.to_string()))?;
    Ok(values)
}

/// Deletes the oldest checkpoints beyond `limit`, never the best nor the newest.
///
/// # Errors
/// One cannot be deleted.
pub fn prune(folder: &Path, limit: Option<usize>, best: Option<u64>) -> Result<()> {
    let steps = list(folder);
    let Some(limit) = limit else { return Ok(()) };
    let newest = steps.last().copied();
    let mut excess = steps.len().saturating_sub(limit.max(1));
    for step in steps {
        if excess == 0 {
            break;
        }
        if Some(step) == best || Some(step) == newest {
            continue;
        }
        let target = path(folder, step);
        std::fs::remove_dir_all(&target).map_err(aludel_formats::Error::io(&target, "delete the old checkpoint"))?;
        excess -= 1;
    }
    Ok(())
}
