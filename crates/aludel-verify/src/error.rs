//! The one error type of this crate. An answer that cannot be judged is no error: its verdict is undecided.

/// What can be wrong with a verifier itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A verifier's settings make no sense.
    #[error("the verifier's {setting}: {reason}")]
    Verifier {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// A verifier's command cannot be started.
    #[error("the verifier `{command}` cannot be started ({reason}); check its path and that it may be executed")]
    VerifierCommand {
        /// The command as it was to be run.
        command: String,
        /// What the system said.
        reason: String,
    },
}
