//! The folder for inputs that are read from files.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder for inputs that are read from files.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new folder, which goes when this is dropped.
    ///
    /// # Panics
    /// If the system has no place for temporary files.
    pub fn create() -> Scratch {
        Scratch(tempfile::tempdir().expect("a folder for temporary files"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("room for a temporary file");
        path
    }
}
