//! What becomes of a record in training: its encoded rows, each kept, cut, dropped or refused; and the sums over all.

use aludel_distill::settings::{LongRows, Recipe};
use aludel_model::student::Student;
use aludel_text::{EncodeOptions, Encoded, Message, PreflightOptions, encode, encode_text, preflight};
use aludel_traces::dataset::{BadRows, Content, Counts, Provenance, Record};
use serde::Serialize;

/// An encoded row and what becomes of it.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The whole row, before any cut; none where it could not be encoded.
    pub(super) encoded: Option<Encoded>,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of a row in training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is trained on as it is.
    Kept,
    /// It is trained on without its last tokens.
    Cut {
        /// How many tokens are lost.
        lost: usize,
    },
    /// It is left out, being longer than `train.max_length`.
    TooLong,
    /// It is left out, since none of its tokens would be trained on.
    Unsupervised,
    /// It ends the run, or with `data.skip_bad_rows` it is left out.
    Refused(String),
}

impl Fate {
    /// Whether the row is trained on.
    pub(super) fn is_trained(&self) -> bool {
        matches!(self, Self::Kept | Self::Cut { .. })
    }

    /// Its name in JSON.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Cut { .. } => "cut",
            Self::TooLong => "too_long",
            Self::Unsupervised => "unsupervised",
            Self::Refused(_) => "refused",
        }
    }
}

impl Prepared {
    /// Tokens of the row before any cut.
    pub(super) fn tokens(&self) -> usize {
        self.encoded.as_ref().map_or(0, Encoded::len)
    }

    /// Tokens of the row that are there after the cut, if it is cut.
    pub(super) fn tokens_left(&self) -> usize {
        match self.fate {
            Fate::Cut { lost } => self.tokens() - lost,
            _ => self.tokens(),
        }
    }

    /// Supervised tokens among those.
    pub(super) fn supervised_left(&self) -> usize {
        let weights = self.encoded.iter().flat_map(|encoded| &encoded.weights);
        weights.take(self.tokens_left()).filter(|&&weight| weight > 0.0).count()
    }
}

/// Turns records into rows as training does.
pub(super) struct Preparer<'a> {
    student: &'a Student,
    encode: EncodeOptions,
    preflight: PreflightOptions,
    max_length: usize,
    long_rows: LongRows,
}

impl<'a> Preparer<'a> {
    pub(super) fn new(student: &'a Student, recipe: &Recipe) -> Self {
        Self {
            student,
            encode: recipe.encode_options(),
            preflight: recipe.preflight_options(),
            max_length: recipe.train.max_length,
            long_rows: recipe.data.long_rows,
        }
    }

    /// The rows of a record; a conversation may make several.
    ///
    /// # Errors
    /// The student has no chat template, and the record needs one.
    pub(super) fn prepare(&self, record: &Record) -> anyhow::Result<Vec<Prepared>> {
        let (encoded, messages): (_, &[Message]) = match &record.content {
            Content::Messages(messages) => {
                let template = self.student.chat_template()?;
                (encode(template, &self.student.text.tokenizer, messages, &self.encode), messages)
            }
            Content::Text(text) => {
                let end = self.student.eos_token_ids.first().copied();
                (encode_text(&self.student.text.tokenizer, text, None, end).map(|row| vec![row]), &[])
            }
        };
        Ok(match encoded {
            Ok(rows) => {
                rows.into_iter().map(|row| Prepared { fate: self.fate(&row, messages), encoded: Some(row) }).collect()
            }
            Err(reason) => vec![Prepared { encoded: None, fate: Fate::Refused(reason.to_string()) }],
        })
    }

    fn fate(&self, row: &Encoded, messages: &[Message]) -> Fate {
        let is_long = row.len() > self.max_length;
        if is_long && self.long_rows == LongRows::Drop {
            return Fate::TooLong;
        }
        if let Err(reason) = preflight(row, messages, &self.preflight) {
            return Fate::Refused(reason.to_string());
        }
        if !is_long {
            return Fate::Kept;
        }
        let is_supervised = row.weights[..self.max_length].iter().any(|&weight| weight > 0.0);
        if is_supervised { Fate::Cut { lost: row.len() - self.max_length } } else { Fate::Unsupervised }
    }
}

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
        self.all_lengths.sort_unstable();
        if let (Some(&shortest), Some(&longest)) = (self.all_lengths.first(), self.all_lengths.last()) {
            let median = self.all_lengths[self.all_lengths.len() / 2];
            self.lengths = Lengths { shortest, median, longest };
        }
    }
}
