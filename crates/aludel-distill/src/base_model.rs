//! The base model of an adapter, recorded twice: for other tools by the name that they find it under (`adapter_config.json`), and for
//! Aludel by the file or folder that it was trained on (`aludel_student.json`). The callers load either.

use std::path::{Path, PathBuf};

use aludel_formats::{atomic, manifest};
use aludel_model::adapter::Adapter;
use aludel_model::hub_name::is_hub_name;
use aludel_model::student::Student;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::identity;
use crate::settings::StudentSettings;

/// The student of an adapter folder. PEFT and transformers pass over it.
pub const STUDENT_FILE_NAME: &str = "aludel_student.json";

/// The name of the student for other tools: from the settings, else from its files, else its path.
pub fn name(student: &Student, settings: &StudentSettings) -> String {
    let told = settings.base_model.clone().or_else(|| student.hub_name());
    told.unwrap_or_else(|| student.path.display().to_string())
}

/// Gives a loaded adapter this run's name of its base. A name on the Hub is not given up for a path, which other machines lack.
pub(crate) fn rename(adapter: &mut Adapter, name: &str) {
    let has_better = adapter.config().base_model_name_or_path.as_deref().is_some_and(is_hub_name);
    if is_hub_name(name) || !has_better {
        adapter.set_base(name);
    }
}

/// `aludel_student.json`: the student that an adapter was trained on, as it was here. A field that is added needs a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterStudent {
    /// The file or folder.
    model: PathBuf,
    /// Of its files.
    fingerprint: String,
}

impl AdapterStudent {
    /// A student, and the fingerprint of its files.
    pub fn new(model: &Path, fingerprint: String) -> AdapterStudent {
        AdapterStudent { model: model.to_owned(), fingerprint }
    }

    /// Where the student lay.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// Whether a model is the student, file by file, whatever its path and name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is(&self, model: &Path) -> Result<bool> {
        Ok(identity::fingerprint_as(model, &self.model)? == self.fingerprint)
    }

    pub(crate) fn write(&self, adapter: &Path) -> Result<()> {
        Ok(atomic::write_json(&adapter.join(STUDENT_FILE_NAME), self)?)
    }

    /// The student of an adapter folder, whose files must be as they were written; `None` where it does not tell, as PEFT's do not.
    ///
    /// # Errors
    /// The folder's files are not those that were written, or this one cannot be read.
    pub fn read(adapter: &Path) -> Result<Option<AdapterStudent>> {
        manifest::check(adapter)?;
        let path = adapter.join(STUDENT_FILE_NAME);
        if !aludel_files::is_there(&path) {
            return Ok(None);
        }
        let bytes = aludel_files::read(&path, aludel_files::SMALL)
            .map_err(aludel_formats::Error::io(&path, "read which student the adapter is for"))?;
        let damaged = |error: serde_json::Error| Error::Damaged { path: path.clone(), reason: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }
}
