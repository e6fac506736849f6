//! Whether a file that is there already may be replaced: the option, and the refusal without it. Writing is `atomic`'s matter.

use crate::report::Helped;
use clap::Args;
use std::path::Path;

/// The option of commands that write one file.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Overwrite {
    /// Replace the output file if it exists
    #[arg(long)]
    overwrite: bool,
}

impl Overwrite {
    /// # Errors
    /// The file is there, and the option was not given.
    pub(crate) fn check(self, output: &Path) -> Result<(), Helped> {
        match self.overwrite || !aludel_files::is_there(output) {
            true => Ok(()),
            false => Err(Helped {
                message: format!("{}: the file exists already, and is not overwritten", output.display()),
                help: "give --overwrite to replace it, or name another --output".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_not_there_is_written_without_asking() {
        let folder = tempfile::tempdir().unwrap();
        let (there, missing) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
        std::fs::write(&there, "").unwrap();
        let check = |overwrite, path: &Path| Overwrite { overwrite }.check(path).is_ok();
        let found = [check(false, &missing), check(true, &missing), check(false, &there), check(true, &there)];
        assert_eq!(found, [true, true, false, true]);
    }
}
