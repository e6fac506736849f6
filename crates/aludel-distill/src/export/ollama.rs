//! A folder that `ollama create` takes: the GGUF file, and a Modelfile with template, stop texts and licence.

use std::fmt::Write as _;
use std::path::Path;

use aludel_formats::atomic;
use aludel_model::student::Student;

use super::chat_formats;
use super::metadata::EndTokens;
use super::options::{ExportOptions, Progress};
use super::{Exported, export_gguf};
use crate::error::Result;
use crate::merged_weights::MergedWeights;

/// What Ollama looks for in the folder.
pub const MODELFILE: &str = "Modelfile";

/// Files of a model folder that hold its licence.
const LICENCES: [&str; 4] = ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"];

/// Writes the folder, which must not hold anything yet, with a GGUF file of this name.
///
/// # Errors
/// As [`export_gguf`]; a folder that is in use. Then nothing is left behind.
pub fn export_ollama(
    student: &Student,
    adapter: Option<&Path>,
    folder: &Path,
    file_name: &str,
    options: &ExportOptions,
    tell: &mut dyn FnMut(Progress),
) -> Result<Exported> {
    let mut exported = None;
    atomic::write_new_dir(folder, |folder| -> Result<()> {
        let mut of_file = export_gguf(student, adapter, &folder.join(file_name), options, tell)?;
        let modelfile = modelfile(student, adapter, file_name, options, &mut of_file.notes)?;
        atomic::write_bytes(&folder.join(MODELFILE), modelfile.as_bytes())?;
        exported = Some(of_file);
        Ok(())
    })?;
    Ok(exported.unwrap_or_default())
}

fn modelfile(
    student: &Student,
    adapter: Option<&Path>,
    file_name: &str,
    options: &ExportOptions,
    notes: &mut Vec<String>,
) -> Result<String> {
    let text = MergedWeights::open(student, adapter)?.text;
    let mut out = format!("FROM ./{file_name}\n");
    // Writing to a string cannot fail.
    match text.chat_template.as_ref().and_then(|_| chat_formats::recognise(&text, &student.path.display().to_string())) {
        Some(found) => {
            let _ = write!(out, "\n# {}\nTEMPLATE {}\n", found.format.name, quoted(&found.go));
            if let Some(system) = &found.system {
                let _ = write!(out, "\nSYSTEM {}\n", quoted(system));
            }
        }
        None if text.chat_template.is_none() => {
            notes.push("the model has no chat template, so the Modelfile has no TEMPLATE: it continues texts".to_owned());
        }
        None => notes.push(
            "the model's template is none of the formats that are known in Go's template language, so the Modelfile has no TEMPLATE, and \
             Ollama goes by the template in the GGUF file; write one if its answers look wrong"
                .to_owned(),
        ),
    }
    let ends = EndTokens::new(student, &text);
    out.push('\n');
    for id in ends.ids().chain(ends.left_over.iter().copied()) {
        if let Some(token) = text.tokenizer.id_to_token(id) {
            let _ = writeln!(out, "PARAMETER stop {}", quoted(&token));
        }
    }
    let _ = writeln!(out, "PARAMETER num_ctx {}", student.config.max_position_embeddings.min(LONGEST_CONTEXT));
    let of_file = LICENCES.iter().find_map(|name| {
        let path = student.path.join(name);
        aludel_files::read_to_string(path, aludel_files::SMALL).ok()
    });
    if let Some(licence) = of_file.or_else(|| options.lineage.license.clone()) {
        let _ = write!(out, "\nLICENSE {}\n", quoted(licence.trim_end()));
    }
    Ok(out)
}

/// A longer context is the user's to ask for: its memory is taken when the model is loaded.
const LONGEST_CONTEXT: usize = 8192;

/// A text of a Modelfile, which ends at three quotation marks.
fn quoted(text: &str) -> String {
    format!("\"\"\"{}\"\"\"", text.replace("\"\"\"", "\" \" \""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_quotation() {
        assert_eq!(quoted("a \"\"\" b"), "\"\"\"a \" \" \" b\"\"\"");
        assert_eq!(quoted("<|im_end|>\n"), "\"\"\"<|im_end|>\n\"\"\"");
    }
}
