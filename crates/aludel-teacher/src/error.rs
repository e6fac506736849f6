//! The one error type of this crate. A [`Failure`](crate::client::Failure) of a request is not an error: it is a result that
//! collecting works with.

use std::path::PathBuf;

/// What can go wrong with a store, an endpoint or a collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of prompts, or one that was to be written.
    #[error(transparent)]
    Data(#[from] aludel_data::Error),

    /// A file that could not be put in place.
    #[error(transparent)]
    File(#[from] aludel_formats::Error),

    /// A store of traces that cannot be opened, read or written.
    #[error("{path}: {reason}; {mend}", path = path.display())]
    Store {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What helps.
        mend: &'static str,
    },

    /// An address or setting of a teacher's server that is invalid.
    #[error("{url}: {reason}")]
    Endpoint {
        /// The address as the user wrote it, without secrets.
        url: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A thread of a collection could not be started.
    #[error(
        "cannot start a thread for collecting traces ({reason}); close other programs, or raise the limit on threads (`ulimit -u`)"
    )]
    Threads {
        /// What the system said.
        reason: String,
    },
}

/// A store is a source of traces, and readers of traces know only the errors of `aludel-data`.
impl From<Error> for aludel_data::Error {
    fn from(error: Error) -> aludel_data::Error {
        match error {
            Error::Data(error) => error,
            Error::File(error) => aludel_data::Error::File(error),
            error => aludel_data::Error::Traces(Box::new(error)),
        }
    }
}
