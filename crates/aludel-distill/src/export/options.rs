//! What an export is told, and what it tells while it goes on.

use super::file_type::FileType;
use super::general::Lineage;

/// How a model is exported.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// What most weights are stored as.
    pub file_type: FileType,
    /// What the file says of where the model comes from.
    pub lineage: Lineage,
    /// Whether the written file is held against its source.
    pub has_gate: bool,
    /// Threads; at least one.
    pub threads: usize,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Weights are written, so many of so many.
    Writing(u64, u64),
    /// Tokens are compared, so many of so many.
    Comparing(u64, u64),
}
