//! `run.json`: the inputs of a run and the format version of its folder. It is written first, and read first when the run is resumed.
//! Checkpoints are read and written in the other files.

use std::path::Path;

use aludel_data::token_cache::CacheKey;
use aludel_formats::atomic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RECIPE_FILE_NAME, list, path};
use crate::error::{Error, Result};
use crate::settings::{Recipe, differences};

/// What else identifies the run.
pub const RUN_FILE_NAME: &str = "run.json";

/// The form of run folders. It rises when what an older one holds no longer means what it meant: 1 named rows by a text that changed
/// with every new option, and its checkpoints had no hashes.
const FORMAT: u64 = 2;

/// `run.json`. A field that is added needs a default for folders that lack it, and no new format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The form of the folder.
    pub format: u64,
    /// The version that started the run.
    pub aludel_version: String,
    /// Identifies the tokenised rows: data, tokenizer, template and options.
    pub rows_key: String,
    /// Identifies the student's files.
    pub student: String,
    /// Identifies the files of the teacher whose distributions are learnt, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The recipe at the start, in TOML: `recipe.toml` beside it may be edited where that changes no weight.
    pub recipe: String,
    /// Of all this, so that damage is noticed.
    hash: String,
}

/// What the models of a run are recognised by: hashes of their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the student.
    pub student: String,
    /// Of the teacher and its adapter, where distributions are learnt.
    pub teacher: Option<String>,
}

/// Whether a folder's `run.json` is one of these, of any format.
pub(super) fn is_ours(folder: &Path) -> bool {
    value(folder).is_ok_and(|value| value["aludel_version"].is_string() && value["rows_key"].is_string())
}

fn value(folder: &Path) -> Result<Value> {
    let path = folder.join(RUN_FILE_NAME);
    let bytes = aludel_files::read(&path, aludel_files::SMALL)
        .map_err(aludel_formats::Error::io(&path, "read the run's file"))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error.to_string()))
}

fn damaged(path: &Path, reason: &str) -> Error {
    let reason = format!(
        "it does not say what the run was started on ({reason}); restore it, or start a new run in another folder"
    );
    Error::Damaged { path: path.to_owned(), reason }
}

/// The recipe that the run in `folder` was begun with; `None` where no run was.
pub fn begun_with(folder: &Path) -> Option<Recipe> {
    let run = RunFile::read(folder).ok()?;
    Some(Recipe::from_toml(&run.recipe).ok()?.recipe)
}

impl RunFile {
    /// What a run is started on now; the models by the fingerprints of their files.
    ///
    /// # Errors
    /// A recipe that TOML cannot hold.
    pub fn new(models: &Fingerprints, recipe: &Recipe, rows_key: CacheKey) -> Result<RunFile> {
        let run = RunFile {
            format: FORMAT,
            aludel_version: env!("CARGO_PKG_VERSION").to_owned(),
            rows_key: rows_key.to_string(),
            student: models.student.clone(),
            teacher: models.teacher.clone(),
            recipe: recipe.to_toml()?,
            hash: String::new(),
        };
        Ok(RunFile { hash: run.hash(), ..run })
    }

    /// What the run in `folder` was started on.
    ///
    /// # Errors
    /// [`Error::OtherVersion`] for a run of another format, [`Error::Damaged`] for a file that is none any more.
    pub fn read(folder: &Path) -> Result<RunFile> {
        let file = folder.join(RUN_FILE_NAME);
        let value = value(folder)?;
        let format = if value["format"].is_null() { 1 } else { value["format"].as_u64().unwrap_or_default() };
        if format != FORMAT {
            let version = value["aludel_version"].as_str().unwrap_or_default().to_owned();
            let last = list(folder).last().map(|&step| path(folder, step).display().to_string());
            let start = last.map(|last| format!(" with --init-adapter {last}")).unwrap_or_default();
            return Err(Error::OtherVersion { path: folder.to_owned(), version, format, known: FORMAT, start });
        }
        let run: RunFile = serde_json::from_value(value).map_err(|error| damaged(&file, &error.to_string()))?;
        if run.hash != run.hash() {
            return Err(damaged(&file, "its hash does not agree with the rest"));
        }
        Ok(run)
    }

    /// Records what a new run is started on. Called when everything is loaded, so that a run that could not start leaves no claim.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn begin(&self, folder: &Path) -> Result<()> {
        atomic::write_json(&folder.join(RUN_FILE_NAME), self)?;
        Ok(atomic::write_bytes(&folder.join(RECIPE_FILE_NAME), self.recipe.as_bytes())?)
    }

    /// Keeps the recipe that the run goes on with, whose changes [`RunFile::check`] allowed: writes `recipe.toml` where it says
    /// anything else, or is missing (after a kill between the two files, or because somebody removed it). A file that says the same is
    /// left as it is, with its comments. Gives what is other than before, in words.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_recipe(&self, folder: &Path, recipe: &Recipe) -> Result<Vec<String>> {
        let (is_there, changed) = self.changes(folder, recipe)?;
        if !is_there || !changed.is_empty() {
            atomic::write_bytes(&folder.join(RECIPE_FILE_NAME), recipe.to_toml()?.as_bytes())?;
        }
        Ok(changed)
    }

    /// Whether the folder's `recipe.toml` says the same as the recipe, so that [`RunFile::keep_recipe`] would write nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn has_kept(&self, folder: &Path, recipe: &Recipe) -> Result<bool> {
        let (is_there, changed) = self.changes(folder, recipe)?;
        Ok(is_there && changed.is_empty())
    }

    /// Whether there is a `recipe.toml`, and what is other in the recipe, in words.
    fn changes(&self, folder: &Path, recipe: &Recipe) -> Result<(bool, Vec<String>)> {
        let (is_there, before) = match own_recipe(folder)? {
            Some((_, own)) => (true, own),
            None => (false, Recipe::from_toml(&self.recipe)?.recipe),
        };
        Ok((is_there, differences(&before, recipe)?.iter().map(ToString::to_string).collect()))
    }

    /// Checks that the run in `folder`, which was started on this, can go on with the recipe and on what a run is started on `now`.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`], [`Error::OtherStudent`], [`Error::OtherData`] or [`Error::Damaged`].
    pub fn check(&self, folder: &Path, recipe: &Recipe, now: &RunFile) -> Result<()> {
        let begun = Recipe::from_toml(&self.recipe).map_err(|problems| {
            let version = &self.aludel_version;
            damaged(
                &folder.join(RUN_FILE_NAME),
                &format!("its recipe, by Aludel {version}, cannot be read: {problems}"),
            )
        })?;
        if let Some((path, own)) = own_recipe(folder)? {
            same(&path, &begun.recipe, &own)?;
        }
        same(folder, &begun.recipe, recipe)?;
        if self.student != now.student {
            let student = recipe.student_model()?.to_owned();
            return Err(Error::OtherStudent { path: folder.to_owned(), student });
        }
        if self.teacher != now.teacher {
            let teacher =
                recipe.distill.teacher.as_ref().or(recipe.distill.cache.as_ref()).cloned().unwrap_or_default();
            return Err(Error::OtherTeacher { path: folder.to_owned(), teacher });
        }
        if self.rows_key != now.rows_key {
            return Err(Error::OtherData { path: folder.to_owned() });
        }
        Ok(())
    }

    /// The identity of the run, which does not change when it is resumed.
    pub fn identity(&self) -> &str {
        &self.hash
    }

    fn hash(&self) -> String {
        let RunFile { format, aludel_version, rows_key, student, teacher, recipe, hash: _ } = self;
        let mut hasher = blake3::Hasher::new();
        let parts = [&format.to_string(), aludel_version, rows_key, student, recipe];
        for part in parts.into_iter().chain(teacher) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The recipe in the run folder, if there is one.
fn own_recipe(folder: &Path) -> Result<Option<(std::path::PathBuf, Recipe)>> {
    let path = folder.join(RECIPE_FILE_NAME);
    if !aludel_files::is_there(&path) {
        return Ok(None);
    }
    let text = aludel_files::read_to_string(&path, aludel_files::SMALL)
        .map_err(aludel_formats::Error::io(&path, "read the recipe"))?;
    match Recipe::from_toml(&text) {
        Ok(parsed) => Ok(Some((path, parsed.recipe))),
        Err(problems) => Err(Error::Damaged {
            path,
            reason: format!(
                "the run's own recipe cannot be read ({problems}); restore it, or remove it and give the run's settings again"
            ),
        }),
    }
}

/// Refuses a recipe with which the weights would become others.
fn same(path: &Path, begun: &Recipe, now: &Recipe) -> Result<()> {
    let changed: Vec<String> = differences(begun, now)?
        .into_iter()
        .filter(|difference| difference.changes_training())
        .map(|difference| format!("  {difference}"))
        .collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(Error::OtherRecipe { path: path.to_owned(), differences: changed.join("\n") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A later version reads what an earlier one wrote: a field that it adds must join the hash only where it is given.
    #[test]
    fn the_hash_is_the_same_in_every_version() {
        let folder = tempfile::tempdir().unwrap();
        let written = r#"{"format": 2, "aludel_version": "0.1.0", "rows_key": "ab", "student": "cd", "recipe": "[lora]\nr = 4\n",
            "hash": "a698de3bd62a12dcc7fdf56f05731344b5c69353b5c0e9eb86775e3466d7fd84", "of_a_later_version": 1}"#;
        std::fs::write(folder.path().join(RUN_FILE_NAME), written).unwrap();
        let run = RunFile::read(folder.path()).unwrap();
        assert_eq!((run.rows_key.as_str(), run.student.as_str()), ("ab", "cd"));
    }
}
