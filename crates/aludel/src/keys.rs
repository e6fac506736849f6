//! Where the keys of teachers, and that of our own server, come from: a variable of the environment or a file, never the command line, which every user of
//! a machine can read. A key is never shown; messages name the place where it should be.

use aludel_teacher::client::Secret;
use std::env;
use std::path::Path;

use crate::report::ErrorWithHelp;

/// The key in the environment variable `variable`.
///
/// # Errors
/// Where it is not set, or holds what cannot be a key.
pub(crate) fn key_from_variable(variable: &str) -> anyhow::Result<Secret> {
    let text = env::var_os(variable).ok_or_else(|| ErrorWithHelp {
        message: format!("{variable} is not set, and the teacher's key should be in it"),
        help: format!("set it (`export {variable}=…`), or put the key into a file"),
    })?;
    Ok(text.to_str().and_then(Secret::new).ok_or_else(|| not_a_key(variable))?)
}

/// The key in a file, alone on its one line.
///
/// # Errors
/// Where the file cannot be read, or holds what cannot be a key.
pub(crate) fn key_from_file(path: &Path) -> anyhow::Result<Secret> {
    let text = text_of(path, "the teacher's key")?;
    Ok(Secret::new(&text).ok_or_else(|| not_a_key(&path.display().to_string()))?)
}

/// The key that this machine's own server asks for, alone on the one line of a file.
///
/// # Errors
/// As [`key_from_file`].
pub(crate) fn own_key_from_file(path: &Path) -> anyhow::Result<String> {
    let text = text_of(path, "the server's key")?;
    let is_key = Secret::new(&text).is_some();
    Ok(is_key.then(|| text.trim().to_owned()).ok_or_else(|| not_a_key(&path.display().to_string()))?)
}

fn text_of(path: &Path, wanted: &str) -> anyhow::Result<String> {
    let shown = path.display().to_string();
    let text = aludel_files::read(path, aludel_files::SMALL).map_err(|reason| ErrorWithHelp {
        message: format!("{shown}: cannot be read ({reason}), and {wanted} should be in it"),
        help: "check that it exists and that you may read it".to_owned(),
    })?;
    Ok(String::from_utf8(text).map_err(|_| not_a_key(&shown))?)
}

fn not_a_key(place: &str) -> ErrorWithHelp {
    ErrorWithHelp {
        message: format!("{place} does not hold a key"),
        help: "a key is one line of ASCII letters, digits and signs, and nothing else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_with_a_key_and_files_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            key_from_file(&path)
        };
        assert_eq!(check(b"sk-canary\r\n").unwrap(), Secret::new("sk-canary").unwrap());
        for bytes in [b"".as_slice(), b"canary\ntwo lines\n", b"canary \xff"] {
            let error = check(bytes).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            assert!(!format!("{:?}", own_key_from_file(&path).unwrap_err()).contains("canary"));
        }
        fs::remove_file(&path).unwrap();
        assert!(key_from_file(&path).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn a_variable_that_is_not_set() {
        let error = key_from_variable("ALUDEL_NO_SUCH_KEY").unwrap_err();
        assert!(error.to_string().starts_with("ALUDEL_NO_SUCH_KEY is not set"));
    }
}
