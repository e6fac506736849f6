//! Paths as they would be typed, for commands that are told. How a command is put together stands with who tells it.

use aludel_distill::checkpoint::shell_word;
use std::path::{Path, PathBuf};

/// A path as a shell takes it, from the folder that the command was typed in where it lies below that.
pub(crate) fn as_typed(path: &Path) -> String {
    shell_word(&from_here(path))
}

/// The same path as a string of Python.
pub(crate) fn in_python(path: &Path) -> String {
    // Python reads JSON's escapes as JSON does.
    serde_json::Value::from(from_here(path).to_string_lossy()).to_string()
}

/// A path from the folder that the command was typed in, where it lies below that.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(below) if below.as_os_str().is_empty() => ".".into(),
        // What looks like an option is none behind a folder's name.
        Ok(below) if below.to_string_lossy().starts_with('-') => Path::new(".").join(below),
        Ok(below) => below.to_owned(),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_from_the_folder_that_one_types_in() {
        let here = std::env::current_dir().unwrap();
        for (path, typed) in [
            (here.clone(), "."),
            (here.join("run/adapter"), "run/adapter"),
            (here.join("my run"), "'my run'"),
            (here.join("-run"), "./-run"),
            ("/elsewhere/run".into(), "/elsewhere/run"),
        ] {
            assert_eq!(as_typed(&path), typed);
        }
        assert_eq!(in_python(&here.join("my run")), "\"my run\"");
        assert_eq!(in_python(Path::new("/a \"b\"\\c")), r#""/a \"b\"\\c""#);
    }
}
