//! Tokenised rows on disk: built once from the data files, found again by a key, and read row by row, so that training on gigabytes
//! needs megabytes of memory. How a record is tokenised is passed in; the layout of the file is described in `file`.

mod build;
mod file;
mod key;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aludel_formats::{atomic, lock::FolderLock};
use serde::{Deserialize, Serialize};

pub use key::{CacheKey, DataHashes};

use crate::Error;
use crate::dataset::{Counts, PromptKey, Record, Records};

/// The rows of a record, as the function passed to [`Cache::open_or_build`] returns them.
#[derive(Clone, Debug, PartialEq)]
pub enum EncodedRow {
    /// A row to train on.
    Kept {
        /// Token ids.
        ids: Vec<u32>,
        /// The weight of each token in the loss, 0 for unsupervised tokens; as long as `ids`.
        weights: Vec<f32>,
        /// What a teacher reads in place of the tokens before the first supervised one; empty where it reads the same.
        context: Vec<u32>,
        /// Whether it was truncated.
        truncated: bool,
        /// Whether reasoning is supervised in it.
        reasoning: bool,
    },
    /// A row that is left out.
    Dropped(DropReason),
}

/// Why a row that could be encoded is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// No token of it is supervised.
    Unsupervised,
}

/// A row of tokens, ready for training.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRow {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The weight of each token in the loss.
    pub weights: Vec<f32>,
    /// What a teacher reads in place of the tokens before the first supervised one; empty where it reads the same.
    pub context: Vec<u32>,
    /// Where it comes from.
    pub info: RowInfo,
}

/// Information on a row that needs no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowInfo {
    /// Its number of tokens.
    pub tokens: u32,
    /// Its number of tokens with a weight other than 0.
    pub supervised: u32,
    /// The index of its record over all files; a conversation may yield several rows.
    pub example: u64,
    /// The prompt of that record.
    pub prompt_key: PromptKey,
    /// The index of its data file.
    pub file_index: u32,
    /// The line of the record in that file.
    pub line: u64,
}

/// Counts over all records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Rows in the cache.
    pub rows: u64,
    /// Truncated rows among them.
    pub truncated: u64,
    /// Rows in the cache with reasoning that is trained on.
    #[serde(default)]
    pub reasoning: u64,
    /// Rows dropped because they are too long. The cache holds rows of any length: the caller counts those that it drops.
    pub too_long: u64,
    /// Rows dropped because none of their tokens is supervised.
    pub unsupervised: u64,
    /// Tokens in the cache.
    pub tokens: u64,
    /// Supervised tokens in the cache.
    pub supervised_tokens: u64,
    /// Records read and dropped, with reasons.
    pub records: Counts,
}

/// Progress of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildProgress {
    /// Records tokenised.
    pub records: u64,
    /// Tokens written.
    pub tokens: u64,
    /// Bytes of the data files read.
    pub bytes_read: u64,
    /// Total bytes of the data files.
    pub bytes_total: u64,
}

const SUFFIX: &str = ".rows";

/// The tokenised rows of some data files.
#[derive(Debug)]
pub struct Cache {
    file: file::RowFile,
    lengths: Vec<u32>,
}

impl Cache {
    /// Opens the cache for a key, or builds it if there is none or the file is incomplete.
    ///
    /// Records are read in order and encoded in batches on `threads` threads; the file is the same for any number of them. If
    /// several processes open one cache, one builds it and the others wait.
    ///
    /// A folder holds one cache, the one that was built last: otherwise each change of data or settings would leave a file of
    /// gigabytes behind. A process that has an older one open can still read it.
    ///
    /// `progress` is called before the first batch and after each, and may stop the build.
    ///
    /// # Errors
    /// Errors of reading the data; a record that cannot be encoded (unless bad rows are skipped); no row left; a folder that cannot
    /// be written; [`Error::Stopped`] if `progress` stopped the build.
    pub fn open_or_build<E: Display + Send>(
        folder: &Path,
        key: CacheKey,
        threads: usize,
        records: impl FnOnce() -> Result<Records, Error>,
        encode: impl Fn(&Record) -> Result<Vec<EncodedRow>, E> + Sync,
        progress: &mut dyn FnMut(BuildProgress) -> ControlFlow<()>,
    ) -> Result<Cache, Error> {
        let path = Cache::path(folder, key);
        if let Some(file) = file::RowFile::open(&path, key)? {
            return Ok(Cache::new(file));
        }
        let _lock = FolderLock::wait(folder)?;
        // Another process may have built it while holding the lock.
        if let Some(file) = file::RowFile::open(&path, key)? {
            return Ok(Cache::new(file));
        }
        let records = records()?;
        atomic::write_file(&path, |output| build::build(output, key, threads, records, &encode, progress))?;
        remove_others(folder, &path);
        match file::RowFile::open(&path, key)? {
            Some(file) => Ok(Cache::new(file)),
            None => {
                Err(Error::CacheRow { path, row: 0, reason: "the file changed right after it was written".to_string() })
            }
        }
    }

    /// The path of the cache for a key.
    pub fn path(folder: &Path, key: CacheKey) -> PathBuf {
        folder.join(format!("{key}{SUFFIX}"))
    }

    /// The number of rows; never 0.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The number of tokens of each row.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Information on a row without reading it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn info(&self, row: usize) -> RowInfo {
        self.file.info(row)
    }

    /// Reads one row; may be called from several threads.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::CacheRow`] if the file was damaged since it was opened.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> Result<TokenRow, Error> {
        self.file.row(row)
    }

    /// Counts over the records when the cache was built.
    pub fn outcomes(&self) -> &Outcomes {
        self.file.outcomes()
    }

    fn new(file: file::RowFile) -> Cache {
        let lengths = (0..file.len()).map(|row| file.info(row).tokens).collect();
        Cache { file, lengths }
    }
}

/// Removes the caches of other keys. Only files with names of caches are touched; one that cannot be removed only takes disk space.
fn remove_others(folder: &Path, kept: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path != kept && CacheKey::names(&entry.file_name(), SUFFIX) {
            let _ = fs::remove_file(path);
        }
    }
}
