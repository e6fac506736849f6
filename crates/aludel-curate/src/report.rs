//! The results of a curation in numbers: for each filter the rows that reached it and those that it dropped, verdicts, sources, and the
//! rows that are left. `counts` does the counting.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Reason;

/// The numbers of a curation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that are kept.
    pub kept: u64,
    /// Rows among them whose model reasoned, as they say, and that hold none of its reasoning.
    pub without_reasoning: u64,
    /// Rows among them without the marks at the ends of their answers.
    pub end_marks_removed: u64,
    /// Rows among them that have tools, or calls of them.
    pub with_tools: u64,
    /// Rows among them that the data calls wrong, and whose answers are right by their gold.
    pub untrue_claims: u64,
    /// Different prompts among them.
    pub prompts: u64,
    /// Rows in `train.jsonl`.
    pub train: u64,
    /// Rows in `eval.jsonl`.
    pub eval: u64,
    /// The filters that were on, in the order in which they were asked, and those of them that drop what cannot be written.
    pub filters: Vec<FilterCount>,
    /// The most frequent reasons for dropping a row, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// Verdicts on the answers that came to the verifier.
    pub verdicts: VerdictCounts,
    /// Where the rows come from.
    pub sources: Vec<SourceCount>,
    /// Rows that had to be tokenised to know their length.
    pub tokenised: u64,
    /// Rows that a column gives another weight in training than 1, by column.
    pub weighted: BTreeMap<String, u64>,
    /// Non-empty columns that are not used; they are copied to the output.
    pub columns_not_used: Vec<String>,
    /// Columns that are read in some rows, and in others hold values of another kind.
    pub columns_used_in_part: Vec<String>,
}

/// What a filter did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterCount {
    /// The reason that it gives.
    pub reason: Reason,
    /// Rows that came to it.
    pub seen: u64,
    /// Rows that it dropped.
    pub dropped: u64,
}

/// Rows that were dropped for one reason, in words; numbers and quoted answers in them may differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The filter.
    pub reason: Reason,
    /// The `detail` of the first of these rows.
    pub detail: String,
    /// Whether the details of the others are the same, letter for letter.
    pub is_same: bool,
    /// How many rows.
    pub rows: u64,
}

/// Verdicts on the answers that came to the verifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerdictCounts {
    /// Right ones.
    pub right: u64,
    /// Wrong ones.
    pub wrong: u64,
    /// Texts without an answer.
    pub no_answer: u64,
    /// Those that could not be compared.
    pub undecided: u64,
    /// Rows without a right answer to compare with.
    pub not_known: u64,
}

/// A source's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCount {
    /// Its name.
    pub source: String,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that are kept.
    pub kept: u64,
}

impl Report {
    /// Rows that were dropped.
    pub fn dropped(&self) -> u64 {
        self.rows - self.kept
    }

    /// The filter that dropped the most rows.
    pub fn strictest(&self) -> Option<&FilterCount> {
        self.filters.iter().filter(|filter| filter.dropped > 0).max_by_key(|filter| filter.dropped)
    }
}
