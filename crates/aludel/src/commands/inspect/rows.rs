//! The sums over all rows that inspection shows. What becomes of a row is decided where training decides it.

use aludel_distill::prepare::{Fate, Prepared};
use aludel_traces::dataset::{BadRows, Counts, Provenance};
use serde::Serialize;

/// Sums over all rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    /// Records that were read.
    pub(super) records: u64,
    /// Rows that they made.
    pub(super) rows: u64,
    /// Rows that are trained on whole.
    pub(super) kept: u64,
    /// Rows that are trained on without their last tokens.
    pub(super) cut: u64,
    /// Rows left out for their length.
    pub(super) too_long: u64,
    /// Rows left out because nothing in them would be trained on.
    pub(super) unsupervised: u64,
    /// Rows that training refuses.
    pub(super) refused: u64,
    /// The first of those.
    pub(super) first_refused: Option<FirstRefused>,
    /// Records whose model reasoned, as they say, and that hold none of its reasoning.
    pub(super) without_reasoning: u64,
    /// Rows that could not be read, by reason.
    pub(super) bad_rows: Vec<BadRows>,
    /// Tokens that are trained with, prompts included.
    pub(super) tokens: u64,
    /// Tokens among them that are trained on.
    pub(super) supervised_tokens: u64,
    /// Tokens cut off.
    pub(super) tokens_lost: u64,
    /// Tokens of the rows before any cut: the shortest, the median, the longest.
    pub(super) lengths: Lengths,
    #[serde(skip)]
    all_lengths: Vec<u32>,
}

/// The first row that training would stop at.
#[derive(Debug, Serialize)]
pub(super) struct FirstRefused {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) reason: String,
}

/// How long rows are.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lengths {
    pub(super) shortest: u32,
    pub(super) median: u32,
    pub(super) longest: u32,
}

impl Totals {
    pub(super) fn add_record(&mut self) {
        self.records += 1;
    }

    pub(super) fn add(&mut self, row: &Prepared, place: &Provenance) {
        self.rows += 1;
        match &row.fate {
            Fate::Kept => self.kept += 1,
            Fate::Cut { lost } => {
                self.cut += 1;
                self.tokens_lost += *lost as u64;
            }
            Fate::TooLong => self.too_long += 1,
            Fate::Unsupervised => self.unsupervised += 1,
            Fate::Refused(reason) => {
                self.refused += 1;
                self.first_refused.get_or_insert_with(|| FirstRefused {
                    file: place.file.display().to_string(),
                    line: place.line,
                    reason: reason.clone(),
                });
            }
        }
        if row.fate.is_trained() {
            self.tokens += row.tokens_left() as u64;
            self.supervised_tokens += row.supervised_left() as u64;
        }
        if row.encoded.is_some() {
            self.all_lengths.push(u32::try_from(row.tokens()).unwrap_or(u32::MAX));
        }
    }

    /// Adds what only the end tells.
    pub(super) fn finish(&mut self, counts: &Counts) {
        self.bad_rows = counts.bad.clone();
        self.without_reasoning = counts.without_reasoning;
        self.all_lengths.sort_unstable();
        if let (Some(&shortest), Some(&longest)) = (self.all_lengths.first(), self.all_lengths.last()) {
            let median = self.all_lengths[self.all_lengths.len() / 2];
            self.lengths = Lengths { shortest, median, longest };
        }
    }
}
