//! How asking fails, in the server's own words, and who else would fail the same way. Status and words decide; what is done
//! about it is the caller's.

use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no time (408, 409, 425, 429, 5xx): ask again later.
    #[error("the server is busy{}: {words}", shown(*status))]
    Busy {
        /// The HTTP status, or the one that stood in an error inside a stream.
        status: Option<u16>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// What it said.
        words: String,
    },

    /// The connection failed, or what came was no whole answer (reset, stall, cut stream, bad UTF-8, wrong JSON, too long):
    /// ask again.
    #[error("{words}")]
    Broken {
        /// What happened.
        words: String,
    },

    /// This question will never be answered here (context too long, content policy, 413, 422): skip it.
    #[error("the server does not take this question ({status}): {words}")]
    Question {
        /// The HTTP status, or the one that stood in an error inside a stream.
        status: u16,
        /// What the server said.
        words: String,
    },

    /// Nobody will be answered here (401, 402, 403, 404, an unknown model, a redirect, a certificate): stop asking.
    #[error("the server refuses{}: {words}", shown(*status))]
    Refused {
        /// The HTTP status, if it came to one.
        status: Option<u16>,
        /// What the server said, or what is wrong with it.
        words: String,
    },
}

fn shown(status: Option<u16>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}
