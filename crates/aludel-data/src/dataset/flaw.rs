//! What a row lacks. How it is found is `completeness`'s and `finish_columns`'s matter.

/// What a row lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What exactly.
    pub detail: String,
    /// What is there was cut off at a limit, and is good so far.
    pub is_cut: bool,
}
