//! The one error type of this crate. Each message names the file, key or value, says what is wrong with it and what would be right.
//! Display and exit codes are left to the binary.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between a user's files and training rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("{path}: cannot be read ({reason}); check that it exists and that you may read it", path = path.display())]
    Read {
        /// The file that was to be read.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },

    /// A cache folder cannot be written to.
    #[error("{path}: cannot be written ({reason}); {mend}", path = path.display(), mend = write_mend(reason))]
    Write {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },

    /// A file could not be put in place.
    #[error(transparent)]
    File(#[from] aludel_formats::Error),

    /// A source of traces that is not a data file failed.
    #[error(transparent)]
    Traces(Box<dyn std::error::Error + Send + Sync>),

    /// A data file of an unsupported kind.
    #[error("{path}: this is {kind}, and data files must be JSONL, a JSON array or Parquet; {mend}", path = path.display())]
    FileKind {
        /// The data file.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
        /// How to convert it, or what to give in its place.
        mend: String,
    },

    /// A compressed data file that cannot be decompressed.
    #[error("{path}: this file is damaged ({reason}); fetch it or write it again", path = path.display())]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// What does not agree.
        reason: String,
    },

    /// A Parquet file with an unsupported compression.
    #[error("{path}: the columns of this Parquet file are packed with {packing}, which is not supported; write it again with zstd, snappy, gzip or lz4, which are", path = path.display())]
    ParquetPacking {
        /// The data file.
        path: PathBuf,
        /// The packing.
        packing: &'static str,
    },

    /// Rows that cannot be written as Parquet.
    #[error("{path}: cannot be written as Parquet ({reason}); make each column hold values of one kind, or write JSONL alone", path = path.display())]
    Parquet {
        /// The file that was to be written.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },

    /// No data file was named.
    #[error("data.files is empty; name at least one JSONL, JSON or Parquet file")]
    NoFiles,

    /// A data file without a single row.
    #[error("{path}: holds no row; a data file needs at least one JSON object", path = path.display())]
    EmptyFile {
        /// The data file.
        path: PathBuf,
    },

    /// Every row of every file was skipped.
    #[error("no usable row: all {rows} rows were left out, {alike}{reason}", rows = aludel_files::grouped(*rows), alike = most_alike(*rows, *alike, path, *line))]
    NoUsableRows {
        /// How many rows were read.
        rows: u64,
        /// How many of them for the most frequent reason.
        alike: u64,
        /// The file of the first of those.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// Why it was left out.
        reason: String,
    },

    /// One row is broken.
    #[error("{path}, line {line}: {reason}; fix the row, or leave such rows out with --skip-bad-rows", path = path.display())]
    Row {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1, on which the row begins.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },

    /// One row cannot be turned into tokens.
    #[error("{path}, line {line}: {reason}; fix the row, leave such rows out with --skip-bad-rows, or have `aludel inspect` count them by reason", path = path.display())]
    NotEncoded {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1, on which the row begins.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },

    /// The columns of a row match no known shape.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Columns {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1, on which the row begins.
        line: u64,
        /// The columns found, the nearest shape, what it lacks and the remedy.
        reason: String,
    },

    /// `data.columns` names columns that do not go together.
    #[error("data.columns: {reason}")]
    ColumnMap {
        /// What does not go together, and what would.
        reason: String,
    },

    /// Rows were read, and none of them can be trained on.
    #[error(
        "no row is left to train on: {too_long} are longer than train.max_length, {unsupervised} have no supervised token; raise train.max_length, and look at rows with `aludel inspect`"
    )]
    NothingToTrain {
        /// Rows that are too long.
        too_long: u64,
        /// Rows without a supervised token.
        unsupervised: u64,
    },

    /// `data.test_size` cannot be met.
    #[error("data.test_size = {value}: {reason}")]
    TestSize {
        /// The value as asked for.
        value: String,
        /// Why it cannot be met, and what can.
        reason: String,
    },

    /// A row of the token cache differs from what was written.
    #[error("{path}: row {row} is damaged ({reason}); delete this file, and the next run builds it again", path = path.display())]
    CacheRow {
        /// The cache file.
        path: PathBuf,
        /// The row asked for.
        row: usize,
        /// What does not agree.
        reason: String,
    },

    /// Tokenising was stopped by its progress callback.
    #[error("tokenising was stopped; nothing of it was kept, so run the command again")]
    Stopped,

    /// The threads for tokenising could not be started.
    #[error("cannot start {threads} threads for tokenising ({reason}); ask for fewer with student.threads")]
    Threads {
        /// The requested number.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// Which rows were left out for the reason that is told: of one reason the first, of several how many have the most frequent.
fn most_alike(rows: u64, alike: u64, path: &Path, line: u64) -> String {
    let place = format!("{}, line {line}", path.display());
    match alike < rows {
        true => format!("{} of them as the row in {place}: ", aludel_files::grouped(alike)),
        false => format!("the first ({place}) because "),
    }
}

/// The remedy for a failed write depends on its cause.
fn write_mend(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose a folder on another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder that you may write to, or change its permissions"
        }
        _ => "check that the folder exists and has room",
    }
}
