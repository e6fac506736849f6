//! The identity of an evaluated model: a fingerprint that changes with the files, so that samples of a model that was trained further are
//! not mixed with those before; and the request settings of a served model. Nothing of the model is interpreted here.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aludel_formats::gguf;

use crate::error::{Error, Result};

/// 16 hexadecimal digits for a model and its adapter.
///
/// # Errors
/// Files that cannot be read.
pub fn fingerprint(model: &Path, adapter: Option<&Path>) -> Result<String> {
    fingerprint_watched(model, adapter, &|_| ControlFlow::Continue(()))
}

/// As [`fingerprint`]; `watch` is called with the number of bytes of each piece, and may cancel.
///
/// # Errors
/// Files that cannot be read, and [`Error::Stopped`] where `watch` broke off.
pub fn fingerprint_watched(
    model: &Path,
    adapter: Option<&Path>,
    watch: &dyn Fn(u64) -> ControlFlow<()>,
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in [Some(model), adapter].into_iter().flatten() {
        for file in files(path)? {
            absorb(&mut hasher, &file, &file, watch)?;
        }
    }
    Ok(digits(&hasher))
}

/// Bytes that are hashed for the fingerprint of a model.
///
/// # Errors
/// Files that are not there.
pub fn bytes(model: &Path) -> Result<u64> {
    let size = |file: &PathBuf| {
        let about = aludel_files::metadata(file).map_err(aludel_formats::Error::io(file, "read the model"))?;
        Ok(about.len())
    };
    files(model)?.iter().map(size).sum()
}

/// The fingerprint that a model would have if its file, where it is one, were called as another path ends: a file that was renamed or
/// moved is the same model.
///
/// # Errors
/// Files that cannot be read.
pub fn fingerprint_as(model: &Path, named: &Path) -> Result<String> {
    if model.is_dir() || files(model)?.len() > 1 {
        return fingerprint(model, None);
    }
    let mut hasher = blake3::Hasher::new();
    absorb(&mut hasher, model, named, &|_| ControlFlow::Continue(()))?;
    Ok(digits(&hasher))
}

fn digits(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}

/// 16 hexadecimal digits for the further fields that a server is asked with; none without such.
pub fn fields_fingerprint(fields: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    let text = serde_json::to_vec(fields).unwrap_or_default();
    (!fields.is_empty()).then(|| blake3::hash(&text).to_hex()[..16].to_owned())
}

/// A file itself, with the other parts where it was split; of a folder the weights, the config and what makes its text.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        let parts = gguf::parts_by_name(path);
        return Ok(parts.into_iter().filter(|part| part == path || aludel_files::is_there(part)).collect());
    }
    let entries = std::fs::read_dir(path).map_err(aludel_formats::Error::io(path, "read the model's folder"))?;
    let counts = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("safetensors" | "json" | "jinja"))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(counts).collect();
    files.sort();
    Ok(files)
}

/// All of a file, under the name that a path ends in: two trainings may differ in the middle of it alone.
fn absorb(
    hasher: &mut blake3::Hasher,
    path: &Path,
    named: &Path,
    watch: &dyn Fn(u64) -> ControlFlow<()>,
) -> Result<()> {
    let unread = || aludel_formats::Error::io(path, "read the model");
    let length = aludel_files::metadata(path).map_err(unread())?.len();
    hasher.update(named.file_name().unwrap_or_default().as_encoded_bytes()).update(&length.to_le_bytes());
    let mut take = |piece: &[u8]| {
        hasher.update(piece);
        watch(piece.len() as u64)
    };
    match aludel_files::read_in_pieces(path, &mut take).map_err(unread())? {
        ControlFlow::Break(()) => Err(Error::Stopped),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs and evaluations are resumed by it.
    #[test]
    fn a_fingerprint_is_the_same_in_every_version() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("config.json", "{}"), ("model.safetensors", "weights"), ("README.md", "words")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(fingerprint(folder.path(), None).unwrap(), "110025a3e797ace6");
    }

    #[test]
    fn hashing_a_large_file_can_be_broken_off_in_the_middle_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.gguf");
        std::fs::write(&path, vec![7_u8; 5 << 20]).unwrap();
        let asked = std::cell::Cell::new(0);
        let watch = |_| {
            asked.set(asked.get() + 1);
            if asked.get() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert!(matches!(fingerprint_watched(&path, None, &watch), Err(Error::Stopped)));
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn a_bit_anywhere_in_a_file_makes_another_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.gguf");
        let mut bytes = vec![7_u8; 5 << 20];
        std::fs::write(&path, &bytes).unwrap();
        let before = fingerprint(&path, None).unwrap();
        for place in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_ne!(fingerprint(&path, None).unwrap(), before, "byte {place}");
            bytes[place] ^= 1;
        }
    }
}
