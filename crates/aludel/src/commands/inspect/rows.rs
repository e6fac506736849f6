//! Totals over all rows for `aludel inspect`. Training decides how a row is handled; this file only counts.

use aludel_data::dataset::{
    BadRows, Counts, MarkedRows, ProblemKind, PromptKey, Record, classes_told, columns_not_used, columns_used_in_part,
};
use aludel_distill::prepare::{Prepared, RowStatus};
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
    /// Why, and how often.
    pub(super) refusals: Vec<BadRows>,
    /// Records whose model reasoned, as they say, and that hold none of its reasoning.
    pub(super) without_reasoning: u64,
    /// Rows that could not be read, by reason.
    pub(super) bad_rows: Vec<BadRows>,
    /// Rows left out since their own marks say so.
    pub(super) set_aside: Vec<MarkedRows>,
    /// Records that spell marks of turns, which are text in them.
    pub(super) turn_marks: Vec<MarkedRows>,
    /// Records that a column gives another weight than 1.
    pub(super) weighted: Vec<MarkedRows>,
    /// Records without the marks at the ends of their answers.
    pub(super) end_marks_removed: u64,
    /// Non-empty columns that are not used.
    pub(super) columns_not_used: Vec<String>,
    /// Columns that are read in some rows, and in others hold values of another kind.
    pub(super) columns_used_in_part: Vec<String>,
    /// What is told of rows, a line each.
    #[serde(skip)]
    pub(super) told: Vec<String>,
    /// What is told of columns, whatever the number of rows.
    #[serde(skip)]
    pub(super) told_of_columns: Vec<String>,
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
    #[serde(skip)]
    trained: Vec<Trained>,
}

/// A row that is trained on unless it is too long.
#[derive(Debug)]
struct Trained {
    prompt: PromptKey,
    tokens: u32,
    supervised: u32,
    lost: u32,
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

    pub(super) fn add(&mut self, row: &Prepared, record: &Record) {
        let place = &record.provenance;
        self.rows += 1;
        match &row.fate {
            RowStatus::Kept => self.trained(row, record, 0),
            RowStatus::Cut { lost } => self.trained(row, record, *lost),
            RowStatus::TooLong => self.too_long += 1,
            RowStatus::Unsupervised => self.unsupervised += 1,
            RowStatus::Refused(reason) => {
                self.refused += 1;
                BadRows::add(&mut self.refusals, ProblemKind::Encode, &place.file, place.line, reason.clone());
                self.first_refused.get_or_insert_with(|| FirstRefused {
                    file: place.file.display().to_string(),
                    line: place.line,
                    reason: reason.clone(),
                });
            }
        }
        if row.encoded.is_some() {
            self.all_lengths.push(u32::try_from(row.tokens()).unwrap_or(u32::MAX));
        }
    }

    fn trained(&mut self, row: &Prepared, record: &Record, lost: usize) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (tokens, supervised) = (narrow(row.tokens_left()), narrow(row.supervised_left()));
        let prompt = PromptKey::of(&record.content);
        self.trained.push(Trained { prompt, tokens, supervised, lost: narrow(lost) });
    }

    /// The lengths of the rows that are taken unless they are too long.
    pub(super) fn lengths_taken(&self) -> Vec<u32> {
        self.trained.iter().map(|row| row.tokens).collect()
    }

    /// The same, each with its prompt.
    pub(super) fn prompts(&self) -> impl Iterator<Item = (u32, PromptKey)> {
        self.trained.iter().map(|row| (row.tokens, row.prompt))
    }

    /// Adds what is only known at the end.
    pub(super) fn finish(&mut self, counts: &Counts, max_length: usize) {
        for row in std::mem::take(&mut self.trained) {
            if row.tokens as usize > max_length {
                self.too_long += 1;
                continue;
            }
            match row.lost {
                0 => self.kept += 1,
                _ => self.cut += 1,
            }
            self.tokens_lost += u64::from(row.lost);
            self.tokens += u64::from(row.tokens);
            self.supervised_tokens += u64::from(row.supervised);
        }
        self.bad_rows = counts.bad.clone();
        self.without_reasoning = counts.without_reasoning;
        self.set_aside = counts.set_aside.clone();
        self.turn_marks = counts.turn_marks.clone();
        self.end_marks_removed = counts.end_marks_removed;
        self.columns_not_used = counts.columns_not_used.clone();
        self.columns_used_in_part = counts.columns_used.in_part.clone();
        let (not_used, in_part) = (&counts.columns_not_used, &counts.columns_used.in_part);
        let columns = [columns_not_used(not_used), columns_used_in_part(in_part), classes_told(not_used, in_part)];
        self.weighted = counts.weighted.clone();
        let marks = [counts.set_aside_told(), counts.turn_marks_told(), counts.end_marks_told()];
        self.told = marks.into_iter().chain([counts.weighted_told()]).flatten().collect();
        self.told_of_columns = columns.into_iter().flatten().collect();
        self.all_lengths.sort_unstable();
        if let (Some(&shortest), Some(&longest)) = (self.all_lengths.first(), self.all_lengths.last()) {
            let median = self.all_lengths[self.all_lengths.len() / 2];
            self.lengths = Lengths { shortest, median, longest };
        }
    }
}
