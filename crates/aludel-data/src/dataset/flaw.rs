//! Why a row is incomplete. It is found in `completeness` and `finish_columns`.

/// Why a row is incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What exactly.
    pub detail: String,
    /// It was cut off at a limit, and is usable up to there.
    pub is_cut: bool,
}
