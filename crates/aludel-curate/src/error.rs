//! The one error type of this crate.

use crate::Report;

/// What can go wrong between traces and a training set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The traces, or the files that were to be written.
    #[error(transparent)]
    Data(#[from] aludel_data::Error),

    /// A file that could not be put in place.
    #[error(transparent)]
    File(#[from] aludel_formats::Error),

    /// A verifier that the rows or the settings name.
    #[error(transparent)]
    Verify(#[from] aludel_verify::Error),

    /// A setting of curation that makes no sense, or does not fit the rows.
    #[error("curate.{setting}: {reason}")]
    Curate {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// Rows of which none can be held back as `curate.test_size` asks for.
    #[error("curate.test_size: {reason}")]
    NotSplit {
        /// Why not, and what would be right.
        reason: String,
        /// What was found of the rows up to there; none is trained on or held back.
        report: Box<Report>,
    },
}
