//! What kind of folder a path is, determined by its files, and its files as messages list them. The files are read by the modules of their formats.

use std::fs;
use std::path::Path;

/// The file that makes a folder a model.
pub const CONFIG_FILE_NAME: &str = "config.json";
/// The file that makes a folder an adapter.
pub const ADAPTER_CONFIG_FILE_NAME: &str = "adapter_config.json";
/// The manifest's name in its folder. PEFT and transformers pass over it.
pub const MANIFEST_FILE_NAME: &str = "aludel_manifest.json";

/// Whether this looks like a model folder, so that a path can be distinguished from a GGUF file or an adapter.
pub fn is_model_folder(path: &Path) -> bool {
    aludel_files::is_there(path.join(CONFIG_FILE_NAME))
}

/// The names of a folder's visible files, for messages.
pub(crate) fn list_files(folder: &Path) -> String {
    const MOST_NAMES: usize = 8;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}
