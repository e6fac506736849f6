//! The run folder and its checkpoints. A checkpoint is a PEFT adapter folder that also holds the optimiser's moments and the
//! trainer's state; the data position follows from the step. Each appears whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aludel_formats::{Dtype, TensorSpec, atomic, peft, safetensors};
use aludel_kernels::quant;
use aludel_text::{Date, TextBundle};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metrics::TrainerState;
use crate::settings::{Recipe, differences};

/// The recipe that a run was started with, every setting spelled out.
pub const RECIPE_FILE_NAME: &str = "recipe.toml";
/// What else identifies the run.
pub const RUN_FILE_NAME: &str = "run.json";
/// The folder of the final adapter.
pub const ADAPTER_FOLDER_NAME: &str = "adapter";
const STATE_FILE_NAME: &str = "trainer_state.json";
const OPTIMIZER_FILE_NAME: &str = "optimizer.safetensors";
const PREFIX: &str = "checkpoint-";

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The version that started the run.
    pub aludel_version: String,
    /// Identifies the tokenised rows: data, tokenizer, template and options.
    pub rows_key: String,
}

/// Whether a run was begun in `folder`.
pub fn is_begun(folder: &Path) -> bool {
    folder.join(RECIPE_FILE_NAME).exists()
}

/// Records what a new run is started on. Called when everything is loaded, so that a run that could not start leaves no claim.
///
/// # Errors
/// The files cannot be written.
pub fn begin(folder: &Path, recipe: &Recipe, run: &RunFile) -> Result<()> {
    atomic::write_json(&folder.join(RUN_FILE_NAME), run)?;
    Ok(atomic::write_bytes(&folder.join(RECIPE_FILE_NAME), recipe.to_toml()?.as_bytes())?)
}

/// The template's date in the recipe of the run begun in `folder`, which may have been begun without one; `None` where no run has.
pub fn begun_on(folder: &Path) -> Option<Option<Date>> {
    let text = aludel_files::read_to_string(folder.join(RECIPE_FILE_NAME), aludel_files::SMALL).ok()?;
    Some(Recipe::from_toml(&text).ok()?.recipe.data.template_date)
}

/// Checks that the run begun in `folder` can go on with this recipe and these rows.
///
/// # Errors
/// [`Error::OtherRecipe`], [`Error::OtherData`] or [`Error::Damaged`].
pub fn check_resumable(folder: &Path, recipe: &Recipe, run: &RunFile) -> Result<()> {
    let (recipe_path, run_path) = (folder.join(RECIPE_FILE_NAME), folder.join(RUN_FILE_NAME));
    let text = aludel_files::read_to_string(&recipe_path, aludel_files::SMALL)
        .map_err(aludel_formats::Error::io(&recipe_path, "read the recipe"))?;
    let old = Recipe::from_toml(&text).map_err(|problems| Error::Damaged {
        path: recipe_path,
        reason: format!(
            "the run's own recipe cannot be read ({problems}); restore it, or start a new run in another folder"
        ),
    })?;
    let changed: Vec<String> = differences(&old.recipe, recipe)?
        .into_iter()
        .filter(|difference| difference.changes_training())
        .map(|difference| format!("  {difference}"))
        .collect();
    if !changed.is_empty() {
        return Err(Error::OtherRecipe { path: folder.to_owned(), differences: changed.join("\n") });
    }
    let bytes = aludel_files::read(&run_path, aludel_files::SMALL)
        .map_err(aludel_formats::Error::io(&run_path, "read the run's file"))?;
    let old: RunFile = serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
        path: run_path,
        reason: format!("it does not say what the run was started on ({error}); start a new run in another folder"),
    })?;
    if old.rows_key != run.rows_key {
        return Err(Error::OtherData { path: folder.to_owned() });
    }
    Ok(())
}

/// Where the checkpoint of a step lies.
pub fn path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{step}"))
}

/// The steps of all whole checkpoints, in order.
pub fn list(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut steps: Vec<u64> = entries
        .filter(|entry| entry.path().join(STATE_FILE_NAME).is_file())
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok())
        .collect();
    steps.sort_unstable();
    steps
}

/// Writes the final adapter.
///
/// # Errors
/// It cannot be written; an adapter that was there is still there.
pub fn save_adapter(target: &Path, learner: &Learner, text: &TextBundle) -> Result<()> {
    write_dir(target, |folder| write_adapter(folder, learner, text))
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

/// Writes an adapter folder that loads by itself: adapter, tokenizer and template.
fn write_adapter(folder: &Path, learner: &Learner, text: &TextBundle) -> Result<()> {
    learner.adapter.save(&learner.ctx, folder)?;
    for file in text.to_files()? {
        atomic::write_bytes(&folder.join(file.name), file.contents.as_bytes())?;
    }
    Ok(())
}

/// Saves a checkpoint, replacing one of the same step.
///
/// # Errors
/// It cannot be written; then the checkpoints that were there are still there.
pub fn save(folder: &Path, learner: &Learner, text: &TextBundle, state: &TrainerState) -> Result<PathBuf> {
    let target = path(folder, state.global_step);
    write_dir(&target, |folder| {
        write_adapter(folder, learner, text)?;
        let moments = [("first", learner.state.first), ("second", learner.state.second)];
        let specs: Vec<TensorSpec> =
            moments.iter().map(|(name, mat)| TensorSpec::new(*name, Dtype::F32, [mat.cols()])).collect();
        let metadata = BTreeMap::from([("optim".to_owned(), "adamw".to_owned())]);
        safetensors::save_file(&folder.join(OPTIMIZER_FILE_NAME), &specs, &metadata, |spec| -> Result<_> {
            let mat = if spec.name == "first" { learner.state.first } else { learner.state.second };
            Ok(Cow::Owned(quant::encode_f32(&learner.ctx.download(mat))))
        })?;
        Ok(atomic::write_json(&folder.join(STATE_FILE_NAME), state)?)
    })?;
    Ok(target)
}

/// The trainer's state in a checkpoint, whose other files are opened and looked at too: what is damaged in them is told as this
/// checkpoint's fault, with what can be done.
///
/// # Errors
/// A file is missing or damaged.
pub fn read_state(checkpoint: &Path) -> Result<TrainerState> {
    let damaged = |error: aludel_formats::Error| Error::Damaged {
        path: checkpoint.to_owned(),
        reason: format!(
            "this checkpoint is damaged ({error}); delete its folder, and the run resumes from the one before"
        ),
    };
    peft::read(checkpoint).map_err(damaged)?;
    safetensors::Weights::open_file(checkpoint.join(OPTIMIZER_FILE_NAME)).map_err(damaged)?;
    TrainerState::read(&checkpoint.join(STATE_FILE_NAME))
}

/// Loads the optimiser's moments of a checkpoint; the adapter is loaded with the learner.
///
/// # Errors
/// The file is damaged or of another adapter.
pub fn restore_moments(checkpoint: &Path, learner: &mut Learner) -> Result<()> {
    let path = checkpoint.join(OPTIMIZER_FILE_NAME);
    let weights = safetensors::Weights::open_file(&path)?;
    for (name, mat) in [("first", learner.state.first), ("second", learner.state.second)] {
        let view = weights.get(name)?;
        let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
        if view.shape != [mat.cols()] || view.dtype != Dtype::F32 {
            let reason = format!(
                "tensor {name} has {:?} elements, the adapter {}; delete this checkpoint",
                view.shape,
                mat.cols()
            );
            return Err(damaged(reason));
        }
        let mut values = vec![0f32; mat.cols()];
        quant::decode(quant::BlockType::F32, view.bytes, &mut values).map_err(|error| damaged(error.to_string()))?;
        learner.ctx.write(mat, &values);
    }
    Ok(())
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
