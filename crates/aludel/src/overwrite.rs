//! Whether an existing file may be replaced: the option, and the refusal without it. `atomic` writes the file.

use crate::report::ErrorWithHelp;
use clap::Args;
use std::io::Read;
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
    /// The file is there, and the option was not given, or it holds a model.
    pub(crate) fn check(self, output: &Path) -> Result<(), ErrorWithHelp> {
        if self.overwrite && holds_model(output) {
            return Err(ErrorWithHelp {
                message: format!("{}: the file holds a model's weights, and is not overwritten", output.display()),
                help: "name another --output".to_owned(),
            });
        }
        match self.overwrite || !aludel_files::is_there(output) {
            true => Ok(()),
            false => Err(ErrorWithHelp {
                message: format!("{}: the file exists already, and is not overwritten", output.display()),
                help: "give --overwrite to replace it, or name another --output".to_owned(),
            }),
        }
    }
}

/// Whether a file is a GGUF file, or the weights of a model or adapter folder: the option never replaces these.
fn holds_model(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut magic = [0; 4];
    let mut is_gguf =
        || aludel_files::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"GGUF";
    let of_folder =
        ["model", "adapter_model"].iter().any(|stem| name.starts_with(stem)) && name.ends_with(".safetensors");
    aludel_files::is_there(path) && (of_folder || is_gguf())
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
        for (name, content) in
            [("a.gguf", "GGUF\u{3}"), ("adapter_model.safetensors", ""), ("model-00001-of-00002.safetensors", "")]
        {
            let path = folder.path().join(name);
            assert!(check(true, &path), "{name} is not there yet");
            std::fs::write(&path, content).unwrap();
            assert!(!check(true, &path), "{name}");
        }
    }
}
