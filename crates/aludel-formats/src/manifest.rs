//! `aludel_manifest.json`: names, lengths and hashes of the files of a folder that was written at once, so that a
//! flipped bit or an exchanged file is noticed before the folder is used. What the files hold, and whether a folder
//! must have a manifest, is left to the callers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use aludel_files::counted;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic;
use crate::error::{Error, Result};

pub use crate::folder::MANIFEST_FILE_NAME;

/// Rises when what is written below can no longer be checked by the rules below.
const VERSION: u64 = 1;

/// A model card: people edit it, and nothing of it is loaded.
const CARD_FILE_NAME: &str = "README.md";

/// Files of these kinds are read wherever they lie in a model's or an adapter's folder, so one that is not listed would change it.
/// Others (a README, a `.gitattributes`) change nothing.
const READ_KINDS: [&str; 3] = ["jinja", "json", "safetensors"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u64,
    files: BTreeMap<String, Entry>,
    /// Of the files' entries, so that damage to the manifest is distinguished from damage to a file.
    hash: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    /// BLAKE3, hexadecimal.
    hash: String,
}

/// Writes the manifest of the files in `folder`, without a model card: the last thing to do before the folder is put into place.
///
/// # Errors
/// A file cannot be read, or the manifest not be written.
pub fn write(folder: &Path) -> Result<()> {
    let files = files_of(folder)?;
    let hash = hash_of(&files);
    atomic::write_json(&folder.join(MANIFEST_FILE_NAME), &Manifest { version: VERSION, files, hash })
}

/// What a manifest of the folder as it is now would say of its files: for one whose record is kept elsewhere.
///
/// # Errors
/// A file cannot be read.
pub fn hash(folder: &Path) -> Result<String> {
    Ok(hash_of(&files_of(folder)?))
}

fn files_of(folder: &Path) -> Result<BTreeMap<String, Entry>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list the folder"))? {
        let path = entry.map_err(Error::io(folder, "list the folder"))?.path();
        if let Some(name) = listed_name(&path)
            && !path.is_dir()
        {
            files.insert(name.to_owned(), entry_of(&path)?);
        }
    }
    Ok(files)
}

/// Checks the files of a folder against its manifest; `false` where it has none. Memory does not grow with the files.
///
/// # Errors
/// [`Error::Altered`] naming the first file that is not what was written; those of reading.
pub fn check(folder: &Path) -> Result<bool> {
    let path = folder.join(MANIFEST_FILE_NAME);
    if !aludel_files::is_there(&path) {
        return Ok(false);
    }
    let manifest = read(&path)?;
    for (name, wanted) in &manifest.files {
        let path = folder.join(name);
        let altered = |found: String| Err(Error::Altered { path: path.clone(), found });
        let length = match aludel_files::metadata(&path) {
            Ok(about) => about.len(),
            Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => {
                return altered(format!("it is gone, though {MANIFEST_FILE_NAME} lists it"));
            }
            Err(reason) => return Err(Error::io(&path, "read the file")(reason)),
        };
        if length != wanted.bytes {
            return altered(format!(
                "it is {} long, and {} were written",
                counted(length, "byte", "bytes"),
                wanted.bytes
            ));
        }
        if entry_of(&path)? != *wanted {
            let found = format!(
                "its bytes are not those that were written (their hash is not the one in {MANIFEST_FILE_NAME})"
            );
            return altered(found);
        }
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list the folder"))? {
        let path = entry.map_err(Error::io(folder, "list the folder"))?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        let is_read = kind.is_some_and(|kind| READ_KINDS.contains(&kind));
        if is_read && listed_name(&path).is_some_and(|name| !manifest.files.contains_key(name)) {
            return Err(Error::Altered {
                path,
                found: "it was put here after the folder was written, and would be read with it".to_owned(),
            });
        }
    }
    Ok(true)
}

fn read(path: &Path) -> Result<Manifest> {
    let altered = |found: String| Error::Altered { path: path.to_owned(), found };
    let no_manifest = |reason: serde_json::Error| altered(format!("it is no manifest any more ({reason})"));
    let bytes = aludel_files::read(path, aludel_files::SMALL).map_err(Error::io(path, "read the manifest"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(no_manifest)?;
    if let Some(version) = value["version"].as_u64().filter(|&version| version > VERSION) {
        return Err(altered(format!(
            "it says that it is a manifest of version {version}, and this Aludel knows only version {VERSION}"
        )));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(no_manifest)?;
    let is_plain = |name: &String| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    if manifest.version != VERSION || manifest.hash != hash_of(&manifest.files) || !manifest.files.keys().all(is_plain)
    {
        return Err(altered("the manifest itself is damaged (its own hash does not agree)".to_owned()));
    }
    Ok(manifest)
}

/// The name under which a file is listed; none for the manifest itself, for a model card, and for what is hidden, locks and temporaries
/// among it.
fn listed_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    (![MANIFEST_FILE_NAME, CARD_FILE_NAME].contains(&name) && !name.starts_with('.')).then_some(name)
}

fn entry_of(path: &Path) -> Result<Entry> {
    let failed = |reason| Error::io(path, "read the file")(reason);
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(aludel_files::open(path).map_err(failed)?).map_err(failed)?;
    Ok(Entry { bytes: hasher.count(), hash: hasher.finalize().to_hex().to_string() })
}

fn hash_of(files: &BTreeMap<String, Entry>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, Entry { bytes, hash }) in files {
        for part in [name.as_bytes(), &bytes.to_le_bytes(), hash.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.json", "{}"), ("b.safetensors", "weights"), ("README.md", "words"), (".hidden", "")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        write(folder.path()).unwrap();
        folder
    }

    fn refusal(folder: &Path) -> (String, String) {
        let Err(Error::Altered { path, found }) = check(folder) else { panic!("{:?}", check(folder)) };
        (path.file_name().unwrap().to_str().unwrap().to_owned(), found)
    }

    #[test]
    fn a_folder_as_it_was_written_passes_and_one_without_a_manifest_is_told() {
        let folder = folder();
        assert!(check(folder.path()).unwrap());
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        fs::write(folder.path().join(".gitattributes"), "mine").unwrap();
        let before = hash(folder.path()).unwrap();
        fs::write(folder.path().join("README.md"), "better words").unwrap();
        assert!(check(folder.path()).unwrap(), "what nobody reads changes nothing");
        assert_eq!(hash(folder.path()).unwrap(), before);
        assert!(!check(tempfile::tempdir().unwrap().path()).unwrap());
    }

    #[test]
    fn a_file_that_changed_went_or_came_is_named() {
        let changed = |name: &str, change: &dyn Fn(&Path)| {
            let folder = folder();
            change(&folder.path().join(name));
            let (file, found) = refusal(folder.path());
            assert_eq!(file, name);
            found
        };
        let found = changed("b.safetensors", &|path| fs::write(path, "weighs").unwrap());
        assert!(found.contains("6 bytes long, and 7 were written"), "{found}");
        let found = changed("b.safetensors", &|path| fs::write(path, "weightS").unwrap());
        assert!(found.contains("not those that were written"), "{found}");
        let found = changed("a.json", &|path| fs::remove_file(path).unwrap());
        assert!(found.contains("gone"), "{found}");
        let found = changed("chat_template.jinja", &|path| fs::write(path, "").unwrap());
        assert!(found.contains("put here after"), "{found}");
    }

    #[test]
    fn a_bit_of_the_manifest_is_noticed_or_changes_nothing() {
        let folder = folder();
        let path = folder.path().join(MANIFEST_FILE_NAME);
        let good = fs::read(&path).unwrap();
        let mut noticed = 0;
        for bit in 0..8 * good.len() {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            match check(folder.path()) {
                // spaces between the parts of JSON
                Ok(true) => assert!(good[bit / 8].is_ascii_whitespace(), "bit {bit} of {:?}", good[bit / 8] as char),
                Ok(false) => panic!("bit {bit}: the manifest was not seen"),
                Err(_) => {
                    noticed += 1;
                    assert_eq!(refusal(folder.path()).0, MANIFEST_FILE_NAME, "bit {bit}");
                }
            }
        }
        assert!(noticed > 4 * good.len(), "{noticed}");
    }

    #[test]
    fn a_manifest_of_an_earlier_version_goes_on_to_hold() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.json"), "{}").unwrap();
        let written = r#"{"version": 1, "files": {"a.json": {"bytes": 2, "hash": "6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c279"}}, "hash": "c37c37be6ddc3f53242f497984e2d2b9dfd6361bc8d3cf5a19802a01fc8fb8a7"}"#;
        fs::write(folder.path().join(MANIFEST_FILE_NAME), written).unwrap();
        assert!(check(folder.path()).unwrap());
    }

    #[test]
    fn a_manifest_reaches_no_file_outside_of_its_folder() {
        let folder = folder();
        for name in ["../b", "/etc/passwd", "a/b", ""] {
            let files = BTreeMap::from([(name.to_owned(), Entry { bytes: 1, hash: String::new() })]);
            let manifest = Manifest { version: VERSION, hash: hash_of(&files), files };
            atomic::write_json(&folder.path().join(MANIFEST_FILE_NAME), &manifest).unwrap();
            assert_eq!(refusal(folder.path()).0, MANIFEST_FILE_NAME, "{name:?}");
        }
    }
}
