//! Paths quoted for a shell or for Python, for commands that are suggested to the user. The commands are composed elsewhere.

use aludel_distill::checkpoint::shell_word;
use std::path::{Path, PathBuf};

/// A path quoted for a shell, relative to the working directory if it is below it.
pub(crate) fn shell_quoted(path: &Path) -> String {
    shell_word(&from_here(path))
}

/// The same path as a Python string.
pub(crate) fn python_quoted(path: &Path) -> String {
    // Python reads JSON's escapes as JSON does.
    serde_json::Value::from(from_here(path).to_string_lossy()).to_string()
}

/// A path relative to the working directory, if it is below it.
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
            assert_eq!(shell_quoted(&path), typed);
        }
        assert_eq!(python_quoted(&here.join("my run")), "\"my run\"");
        assert_eq!(python_quoted(Path::new("/a \"b\"\\c")), r#""/a \"b\"\\c""#);
    }
}
