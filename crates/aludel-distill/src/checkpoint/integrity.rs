//! Checks that a checkpoint is as it was written, by the hashes of its files. A damaged one is reported with the file and with the command
//! that resumes from the checkpoint before it.

use std::path::{Path, PathBuf};

use aludel_formats::manifest::{self, MANIFEST_FILE_NAME};
use aludel_formats::{peft, safetensors};

use super::{ADAPTER_FOLDER_NAME, OPTIMIZER_FILE_NAME, PREFIX, STATE_FILE_NAME, claim, list, path};
use crate::error::{Error, Result};
use crate::metrics::TrainerState;

/// The trainer's state in the checkpoint of a step, all of whose files are as they were written.
///
/// # Errors
/// [`Error::Damaged`] naming the file, what is wrong with it, and how to resume.
pub fn read(folder: &Path, step: u64) -> Result<TrainerState> {
    sound(folder, step).map_err(|flaw| Error::Damaged {
        path: path(folder, step),
        reason: format!("this checkpoint cannot be resumed from: {flaw}; {}", way_out(folder, step)),
    })
}

/// Refuses an adapter in the run folder that is not what a run wrote, since the end of the run replaces it.
///
/// # Errors
/// [`Error::Output`] naming the file.
pub fn check_replaced(folder: &Path) -> Result<()> {
    let adapter = folder.join(ADAPTER_FOLDER_NAME);
    if !aludel_files::is_there(&adapter) {
        return Ok(());
    }
    let Some(flaw) = altered(&adapter).err() else { return Ok(()) };
    let aside = aside(folder, ADAPTER_FOLDER_NAME);
    let reason = format!(
        "the end of the run writes this folder anew, but what is there is not what a run wrote: {flaw}; move it aside: mv {} {}",
        shell_word(&adapter),
        shell_word(&aside)
    );
    Err(Error::Output { path: adapter, reason })
}

/// What is wrong with a checkpoint, if anything is.
fn sound(folder: &Path, step: u64) -> Result<TrainerState, String> {
    let checkpoint = path(folder, step);
    altered(&checkpoint)?;
    // Complete files of another kind do not arise by accident; the error names them.
    peft::read(&checkpoint).map_err(|error| error.to_string())?;
    safetensors::Weights::open_file(checkpoint.join(OPTIMIZER_FILE_NAME)).map_err(|error| error.to_string())?;
    let state = TrainerState::read(&checkpoint.join(STATE_FILE_NAME)).map_err(|error| error.to_string())?;
    match state.global_step {
        own if own == step => Ok(state),
        own => Err(format!("by its {STATE_FILE_NAME} it is the checkpoint of step {own}")),
    }
}

/// What is other in a folder than it was written.
fn altered(folder: &Path) -> Result<(), String> {
    match manifest::check(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(match claim::whose(folder) {
            Some(whose) => format!("it has no {MANIFEST_FILE_NAME}, and looks like {whose}"),
            None => format!("it has no {MANIFEST_FILE_NAME}, so that nothing says what was written there"),
        }),
        Err(aludel_formats::Error::Altered { path, found }) => {
            Err(format!("{}: {found}", path.file_name().unwrap_or_default().to_string_lossy()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// How to resume if the checkpoint of `step` is damaged: from the last intact one before it, else from the beginning.
fn way_out(folder: &Path, step: u64) -> String {
    let steps = list(folder);
    let before = steps.iter().rev().copied().filter(|&other| other < step).find(|&other| sound(folder, other).is_ok());
    let mut commands: Vec<String> = steps
        .iter()
        .filter(|&&other| before.is_none_or(|before| other > before))
        .map(|&other| {
            let checkpoint = path(folder, other);
            format!("mv {} {}", shell_word(&checkpoint), shell_word(&aside(folder, &format!("{PREFIX}{other}"))))
        })
        .collect();
    commands.push(format!("aludel train --output-dir {} --resume", shell_word(folder)));
    let commands = commands.join(" && ");
    match before {
        Some(before) => {
            format!("{PREFIX}{before}, the last one before it that is whole, is resumed from by `{commands}`")
        }
        None => format!("none before it is whole; to begin again at the first step: `{commands}`"),
    }
}

/// A name in the run folder for what is moved out of the way.
fn aside(folder: &Path, name: &str) -> PathBuf {
    let names = std::iter::once(format!("damaged-{name}")).chain((2..).map(|n| format!("damaged-{name}-{n}")));
    names.map(|name| folder.join(name)).find(|path| !aludel_files::is_there(path)).unwrap_or_default()
}

/// A path as a shell takes it.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
