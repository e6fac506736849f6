//! Why a single row cannot be used. A problem knows neither file nor line: the reader adds them when it turns one into an error or
//! counts it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reason for skipping a row.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) detail: String,
}

/// The kinds of reason that [`Counts`](super::Counts) distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Not UTF-8.
    NotUtf8,
    /// Not a JSON object.
    NotJson,
    /// Longer than a row may be.
    TooLong,
    /// The columns match no known shape.
    Columns,
    /// A column has a type that its shape does not allow.
    Value,
    /// Neither an answer nor reasoning to train on.
    NothingToLearn,
    /// The weights of all that could be learnt are 0.
    ZeroWeight,
    /// It is unclear where its reasoning ends and its answer begins.
    NotWhole,
    /// It is marked as not to be used.
    SetAside,
    /// The row could not be turned into tokens.
    Encode,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into() }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ProblemKind::NotUtf8 => "not UTF-8",
            ProblemKind::NotJson => "not a JSON object",
            ProblemKind::TooLong => "row too long",
            ProblemKind::Columns => "columns fit no shape",
            ProblemKind::Value => "a column of the wrong kind",
            ProblemKind::NothingToLearn => "nothing to learn",
            ProblemKind::ZeroWeight => "all weights are 0",
            ProblemKind::NotWhole => "not whole",
            ProblemKind::SetAside => "marked as not to be used",
            ProblemKind::Encode => "could not be encoded",
        })
    }
}
