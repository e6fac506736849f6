//! Reads small JSON files with a limit on their size, and with messages that name file, line and column. The meaning of
//! the values is left to the callers.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_text(path)?;
    // Python's writers and some editors put a byte-order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).map_err(|reason| Error::Json { path: path.to_owned(), reason: reason.to_string() })
}

pub(crate) fn read_optional_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if aludel_files::is_there(path) { read_json(path).map(Some) } else { Ok(None) }
}

pub(crate) fn read_text(path: &Path) -> Result<String> {
    let about = aludel_files::metadata(path).map_err(Error::io(path, "read the file"))?;
    if about.is_dir() {
        let wanted = "a file of that name belongs here";
        return Err(Error::WrongKind { path: path.to_owned(), found: "this is a folder", wanted });
    }
    if about.len() > aludel_files::SMALL {
        let (what, count, limit) = ("the file's length in bytes".to_owned(), about.len(), aludel_files::SMALL);
        return Err(Error::HugeCount { path: path.to_owned(), what, count, limit });
    }
    aludel_files::read_to_string(path, aludel_files::SMALL).map_err(Error::io(path, "read the file as text"))
}
