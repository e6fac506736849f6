//! The error type of this crate. Each message names the file, then the place in it (tensor, key, byte), what was found,
//! and what would be correct. Turning it into an exit code or a coloured line is left to the binary.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can be wrong with a model file or with writing one.
///
/// The reason is part of each message (no `source`), so that printing the chain never repeats it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read, write, rename or create.
    #[error("{}: cannot {action}: {reason}; {}", path.display(), mend_for(reason.kind()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as the end of "cannot …".
        action: &'static str,
        /// The system's own error.
        reason: std::io::Error,
    },
    /// A file was expected and something else is there, or the other way round.
    #[error("{}: {found}; {wanted}", path.display())]
    WrongKind {
        /// The path as given.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What would be right.
        wanted: &'static str,
    },
    /// The file ends before something that it announces.
    #[error("{}: the file ends inside {what}: {needed_bytes} bytes wanted from byte {offset}, but the file has only {file_bytes}; it was cut short, so download or copy it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: u64,
        /// How many bytes it takes.
        needed_bytes: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// The first four bytes are not `GGUF`.
    #[error("{}: not a GGUF file: it starts with {found} instead of \"GGUF\"; {mend}", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped.
        found: String,
        /// What the user probably meant.
        mend: &'static str,
    },
    /// A part of a GGUF file that was split is not beside the others.
    #[error("{}: the model is in {count} parts, of which {} is missing; download it to the same folder", path.display(), part.display())]
    MissingPart {
        /// The part that was opened.
        path: PathBuf,
        /// The part that is not there.
        part: PathBuf,
        /// All parts.
        count: usize,
    },
    /// A GGUF version that is not read here.
    #[error("{}: GGUF version {version} is not supported; convert it to version 3 (versions 2 and 3 are read)", path.display())]
    GgufVersion {
        /// The file.
        path: PathBuf,
        /// The version that it states.
        version: u32,
    },
    /// A GGUF file written for a big-endian machine.
    #[error("{}: a big-endian GGUF file; take the little-endian one, which is the usual kind", path.display())]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// A count that the rest of the file could not hold, refused before anything is allocated for it.
    #[error("{}: {what} claims {count} entries, but at most {limit} can be there; the file is damaged or made to do harm, so get it again from its source", path.display())]
    HugeCount {
        /// The file.
        path: PathBuf,
        /// What claims the count.
        what: String,
        /// The claim.
        count: u64,
        /// The most that is possible or allowed.
        limit: u64,
    },
    /// A header longer than the file or than any real header.
    #[error("{}: its header claims {claimed_bytes} bytes, but at most {limit_bytes} can be right; it is no safetensors file or it is damaged, so get it again from its source", path.display())]
    HeaderSize {
        /// The file.
        path: PathBuf,
        /// The claim.
        claimed_bytes: u64,
        /// The most that is possible or allowed.
        limit_bytes: u64,
    },
    /// A header or file that breaks its format's rules in some other way.
    #[error("{}: {place}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// The rule that is broken, and what would be right.
        reason: String,
    },
    /// JSON or text that cannot be parsed, or parses into something else than expected.
    #[error("{}: not the JSON expected here: {reason}; fix the file, or get it again from its source", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        reason: String,
    },
    /// A tensor's data lies (partly) outside of the file.
    #[error("{}: tensor \"{tensor}\" lies at bytes {start}..{end}, past the end of the file ({file_bytes} bytes); the file was cut short or is damaged, so get it again", path.display())]
    OffsetOutside {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// First byte, counted in the file.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// A tensor's offset breaks the file's alignment.
    #[error("{}: tensor \"{tensor}\" starts at offset {offset}, which is no multiple of the alignment {alignment}; the file is damaged or its writer is broken, so get it again or write it anew", path.display())]
    Misaligned {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its offset in the data part.
        offset: u64,
        /// The alignment that the file states.
        alignment: u64,
    },
    /// Two tensors claim the same bytes.
    #[error("{}: tensors \"{first}\" and \"{second}\" overlap; the file is damaged or its writer is broken, so get it again or write it anew", path.display())]
    Overlap {
        /// The file.
        path: PathBuf,
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside of it.
        second: String,
    },
    /// A key or a tensor that occurs twice.
    #[error("{}: {what} \"{name}\" occurs twice; which one is meant cannot be known, so get the file again or write it anew", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// "tensor" or "key".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A shape that no tensor of this type can have, or that does not go with the number of bytes.
    #[error("{}: tensor \"{tensor}\" ({dtype}, shape {shape:?}): {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: String,
        /// Its shape, outermost dimension first.
        shape: Vec<u64>,
        /// What is wrong with it.
        reason: String,
    },
    /// An element type that is not read here.
    #[error("{}: tensor \"{tensor}\" has type {dtype}, which is not supported; convert the file to one of {supported}", path.display())]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The type's name, or its number where it has no name.
        dtype: String,
        /// The types that are read.
        supported: String,
    },
    /// A tensor that is required and missing.
    #[error("{}: no tensor \"{name}\"{}", path.display(), nearest_words(nearest))]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The most similar names that are there.
        nearest: Vec<String>,
    },
    /// A metadata key that is required and missing.
    #[error("{}: no metadata key \"{key}\"{}", path.display(), nearest_words(nearest))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The requested key.
        key: String,
        /// The most similar keys that are there.
        nearest: Vec<String>,
    },
    /// A metadata value of another type than expected.
    #[error("{}: metadata key \"{key}\" should be {wanted}, but it is {found}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What was expected.
        wanted: &'static str,
        /// The type, and for a number the value, that is there.
        found: String,
    },
    /// A folder without the file that makes it a model or an adapter.
    #[error("{}: no {wanted} in this folder (found: {found}); {mend}", path.display())]
    IncompleteFolder {
        /// The folder.
        path: PathBuf,
        /// The missing file or files.
        wanted: &'static str,
        /// What is there.
        found: String,
        /// What the user probably meant.
        mend: String,
    },
    /// A shard index that names a file outside of its folder.
    #[error("{}: tensor \"{tensor}\" is said to be in \"{shard}\", which is no plain file name; a shard lies beside its index, so this index is damaged or made to do harm, so get it again from its source", path.display())]
    ShardName {
        /// The index file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The name that was refused.
        shard: String,
    },
    /// A file that differs from the manifest of its folder.
    #[error("{}: {found}; get the folder again from where it was made, or, if the change is meant, remove its {}", path.display(), crate::folder::MANIFEST_FILE_NAME)]
    Altered {
        /// The file.
        path: PathBuf,
        /// How it differs from what was written.
        found: String,
    },
    /// Another process works in the folder.
    #[error("{}: in use by {}; wait until it ends, stop it, or choose another folder", path.display(), match holder { Some(pid) => format!("process {pid}"), None => "another process".to_owned() })]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, where its number could be read.
        holder: Option<u32>,
    },
    /// A caller's tensor bytes do not fit what it announced.
    #[error("{}: tensor \"{tensor}\" was announced with {wanted_bytes} bytes, but {found_bytes} were given, so that nothing was written", path.display())]
    ByteCount {
        /// The file that was being written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The bytes that type and shape need.
        wanted_bytes: u64,
        /// The bytes that came.
        found_bytes: u64,
    },
}

impl Error {
    /// Wraps a system error together with what was attempted: `file.sync_all().map_err(Error::io(path, "save"))`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |reason| Error::Io { path: path.to_owned(), action, reason }
    }

    /// The same error under the name that a file written into a temporary folder was to get: the temporary is gone when the user reads
    /// of it.
    #[must_use]
    pub fn under_final_name(self, temporary: &Path, target: &Path) -> Error {
        match self {
            Error::Io { path, action, reason } => {
                let path = path.strip_prefix(temporary).map(|rest| target.join(rest)).unwrap_or(path);
                Error::Io { path, action, reason }
            }
            other => other,
        }
    }

    /// The file or folder that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Error::Io { path, .. }
            | Error::WrongKind { path, .. }
            | Error::Truncated { path, .. }
            | Error::NotGguf { path, .. }
            | Error::MissingPart { path, .. }
            | Error::GgufVersion { path, .. }
            | Error::BigEndian { path }
            | Error::HugeCount { path, .. }
            | Error::HeaderSize { path, .. }
            | Error::Malformed { path, .. }
            | Error::Json { path, .. }
            | Error::OffsetOutside { path, .. }
            | Error::Misaligned { path, .. }
            | Error::Overlap { path, .. }
            | Error::Duplicate { path, .. }
            | Error::Shape { path, .. }
            | Error::UnsupportedDtype { path, .. }
            | Error::MissingTensor { path, .. }
            | Error::MissingKey { path, .. }
            | Error::WrongType { path, .. }
            | Error::IncompleteFolder { path, .. }
            | Error::ShardName { path, .. }
            | Error::Altered { path, .. }
            | Error::Locked { path, .. }
            | Error::ByteCount { path, .. } => path,
        }
    }
}

/// The names most similar to `name`, best first, at most three.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    // Similarity is quadratic in the length, and both ends may come from a hostile file.
    const LONGEST_NAME_BYTES: usize = 256;
    const MOST_NAMES: usize = 4096;
    let mut scored: Vec<(f64, &str)> = names
        .filter(|other| other.len() <= LONGEST_NAME_BYTES && name.len() <= LONGEST_NAME_BYTES)
        .take(MOST_NAMES)
        .map(|other| (strsim::normalized_damerau_levenshtein(name, other), other))
        .filter(|(similarity, _)| *similarity > 0.5)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    scored.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

fn nearest_words(nearest: &[String]) -> String {
    match nearest {
        [] => "; the file is of another kind or incomplete, so get it again or give another".to_owned(),
        names => format!(
            "; the nearest there: {}; the file is incomplete or of another kind, so get it again or give another",
            names.join(", ")
        ),
    }
}

fn mend_for(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "check the spelling of the path",
        ErrorKind::PermissionDenied => "give this user the permission, or choose a path that it may use",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space or choose another disk, then run again (an older version of the file is untouched)"
        }
        ErrorKind::ReadOnlyFilesystem => "choose a path on a disk that can be written",
        ErrorKind::NotADirectory => "a part of this path is a file, so choose another path",
        ErrorKind::AlreadyExists => "remove it or choose another path",
        _ => "check the disk and the path, then run again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_comes_with_its_mend() {
        fn check(kind: ErrorKind, wanted: &str) {
            let error = Error::io(Path::new("out/model.safetensors"), "write the file")(kind.into());
            let message = error.to_string();
            assert!(message.starts_with("out/model.safetensors: cannot write the file: "), "{message}");
            assert!(message.contains(wanted), "{message}");
            assert_eq!(error.path(), Path::new("out/model.safetensors"));
        }
        check(ErrorKind::StorageFull, "free some space");
        check(ErrorKind::QuotaExceeded, "free some space");
        check(ErrorKind::PermissionDenied, "give this user the permission");
        check(ErrorKind::ReadOnlyFilesystem, "can be written");
        check(ErrorKind::NotFound, "spelling");
    }

    #[test]
    fn the_nearest_names_come_best_first_and_hostile_ones_cost_nothing() {
        let names = ["blk.0.attn_k.weight", "blk.0.attn_q.bias", "blk.10.attn_q.weight", "unlike"];
        let long = "x".repeat(1 << 20);
        let found = nearest("blk.0.attn_q.weight", names.into_iter().chain([long.as_str()]));
        assert_eq!(found, ["blk.10.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_q.bias"]);
        assert!(nearest(&long, names.into_iter()).is_empty());
    }
}
