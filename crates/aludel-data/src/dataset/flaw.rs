//! Why a row is incomplete. It is found in `completeness` and `finish_columns`.

/// Why a row is incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What exactly.
    pub detail: String,
    /// Of what kind it is.
    pub kind: FlawKind,
    /// What is there was cut off at a limit, and is good so far.
    pub is_cut: bool,
}

/// The kinds of flaw that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// The row is not complete.
    Incomplete,
    /// A label marks its answer as a bad one (KTO).
    BadLabel,
    /// Its weight in training is 0.
    ZeroWeight,
}

impl Flaw {
    /// A row that is not complete.
    pub(super) fn incomplete(detail: impl Into<String>, is_cut: bool) -> Flaw {
        Flaw { detail: detail.into(), kind: FlawKind::Incomplete, is_cut }
    }
}
