//! The key of a cache: a hash over everything that its rows depend on.

use std::ffi::OsStr;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::Error;
use crate::dataset::{AnswerTag, ColumnMap, READER, ReadOptions};
use crate::key_fields::Fields;

/// Identifies a cache by content: equal data, tokenizer, template and options give equal keys, independent of file names and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey(pub(super) [u8; 32]);

/// Increased when the layout of the file or the meaning of its rows changes.
const FORMAT: &[u8] = b"aludel token rows 3";

/// The hashes of data files, from which several keys can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataHashes(Vec<[u8; 32]>);

impl DataHashes {
    /// Hashes the files' content. `watch` gets the number of bytes of each piece, and may stop it.
    ///
    /// # Errors
    /// [`Error::Read`] if a file cannot be read, [`Error::Stopped`] if `watch` stopped it.
    pub fn of(files: &[PathBuf], watch: &dyn Fn(u64) -> ControlFlow<()>) -> Result<DataHashes, Error> {
        let hash = |path: &PathBuf| {
            let mut content = blake3::Hasher::new();
            let mut take = |piece: &[u8]| {
                content.update(piece);
                watch(piece.len() as u64)
            };
            match aludel_files::read_in_pieces(path, &mut take) {
                Err(reason) => Err(Error::Read { path: path.clone(), reason }),
                Ok(ControlFlow::Break(())) => Err(Error::Stopped),
                Ok(ControlFlow::Continue(())) => Ok(*content.finalize().as_bytes()),
            }
        };
        Ok(DataHashes(files.iter().map(hash).collect::<Result<_, Error>>()?))
    }

    /// The key for these files, the options that they are read with, and named parts for everything else that the rows depend on
    /// (the tokenizer's fingerprint, the template, which tokens are supervised).
    pub fn key(&self, options: &ReadOptions, parts: &[(&str, &str)]) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(FORMAT);
        for file in &self.0 {
            absorb(&mut hasher, "file", file);
        }
        absorb(&mut hasher, "reading", reading(options, READER).as_bytes());
        for (name, value) in parts {
            absorb(&mut hasher, name, value.as_bytes());
        }
        CacheKey(*hasher.finalize().as_bytes())
    }
}

impl CacheKey {
    /// Whether a file name is that of a key with this suffix.
    pub(super) fn names(file_name: &OsStr, suffix: &str) -> bool {
        let key = file_name.to_str().and_then(|name| name.strip_suffix(suffix));
        key.is_some_and(|key| {
            key.len() == 2 * NAME_BYTES && key.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

/// How files are read, as far as rows depend on it: the options, and the version of the reader.
fn reading(options: &ReadOptions, reader: u32) -> Fields {
    let ReadOptions { columns, skip_bad_rows, max_row_bytes, answer_tags, context_column } = options;
    let tags: Vec<Vec<&str>> = answer_tags.iter().map(|(word, tag)| vec![word.as_str(), tag_name(*tag)]).collect();
    Fields::new("reading", reader)
        .with("columns", &columns.as_ref().map(parts))
        .with("skip_bad_rows", skip_bad_rows)
        .with("max_row_bytes", max_row_bytes)
        .with_unless("answer_tags", &tags, &Vec::new())
        .with_unless("context_column", context_column, &None)
}

fn tag_name(tag: AnswerTag) -> &'static str {
    match tag {
        AnswerTag::Reasoning => "reasoning",
        AnswerTag::Text => "text",
    }
}

fn parts(columns: &ColumnMap) -> Fields {
    let ColumnMap { messages, prompt, response, reasoning, system, text } = columns;
    Fields::new("columns", 1)
        .with("messages", messages)
        .with("prompt", prompt)
        .with("response", response)
        .with("reasoning", reasoning)
        .with("system", system)
        .with("text", text)
}

/// Half of the hash is in the file's name; all of it is in the file.
const NAME_BYTES: usize = 16;

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..NAME_BYTES].iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Lengths separate neighbouring parts.
fn absorb(hasher: &mut blake3::Hasher, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_makes_other_keys() {
        let options = ReadOptions::default();
        assert_eq!(reading(&options, READER), reading(&options, READER));
        assert_ne!(reading(&options, READER), reading(&options, READER + 1));
        assert_ne!(reading(&options, READER), reading(&options, READER - 1));
        let with = |word: &str, tag| ReadOptions { answer_tags: [(word.to_owned(), tag)].into(), ..options.clone() };
        let all = [
            options.clone(),
            with("analysis", AnswerTag::Text),
            with("analysis", AnswerTag::Reasoning),
            with("plan", AnswerTag::Text),
        ]
        .map(|options| reading(&options, READER).hash());
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
