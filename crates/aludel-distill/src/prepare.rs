//! From a record to the rows that are trained on: encoded, weighed, checked, cut or dropped, in one place that training and
//! `aludel inspect` share.

mod key;
mod teacher_context;

use std::borrow::Cow;

use aludel_data::dataset::{Content, Record, unclosed};
use aludel_data::token_cache::{DropReason, EncodedRow};
use aludel_model::student::Student;
use aludel_text::{EncodeOptions, Encoded, Message, Part, PreflightOptions, Role, encode, encode_text, preflight};

use crate::error::Result;
use crate::settings::{LongRows, Recipe, TeacherContext};

/// An encoded row and how it is handled.
#[derive(Debug)]
pub struct Prepared {
    /// The whole row, before any cut; none where it could not be encoded.
    pub encoded: Option<Encoded>,
    /// Whether and how it is trained on.
    pub fate: RowStatus,
    /// What a teacher reads in place of the tokens before the first supervised one; empty where it reads the same.
    pub context: Vec<u32>,
}

/// Whether a row is trained on, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowStatus {
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

impl RowStatus {
    /// Whether the row is trained on.
    pub fn is_trained(&self) -> bool {
        matches!(self, RowStatus::Kept | RowStatus::Cut { .. })
    }

    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            RowStatus::Kept => "kept",
            RowStatus::Cut { .. } => "cut",
            RowStatus::TooLong => "too_long",
            RowStatus::Unsupervised => "unsupervised",
            RowStatus::Refused(_) => "refused",
        }
    }
}

impl Prepared {
    fn refused(reason: String) -> Prepared {
        Prepared { encoded: None, fate: RowStatus::Refused(reason), context: Vec::new() }
    }

    /// Tokens of the row before any cut.
    pub fn tokens(&self) -> usize {
        self.encoded.as_ref().map_or(0, Encoded::len)
    }

    /// Tokens of the row that are there after the cut, if it is cut.
    pub fn tokens_left(&self) -> usize {
        match self.fate {
            RowStatus::Cut { lost } => self.tokens() - lost,
            _ => self.tokens(),
        }
    }

    /// Leaves the row out if it has more than `max_length` tokens.
    pub fn limit(&mut self, max_length: usize) {
        if self.fate.is_trained() && self.tokens_left() > max_length {
            self.fate = RowStatus::TooLong;
        }
    }

    /// Supervised tokens among those.
    pub fn supervised_left(&self) -> usize {
        let weights = self.encoded.iter().flat_map(|encoded| &encoded.weights);
        weights.take(self.tokens_left()).filter(|&&weight| weight > 0.0).count()
    }
}

/// Turns records into rows.
pub struct Preparer<'a> {
    student: &'a Student,
    encode: EncodeOptions,
    preflight: PreflightOptions,
    /// Where rows are cut, if they are.
    cut_at: Option<usize>,
    long_rows: LongRows,
    context: Option<TeacherContext>,
}

impl<'a> Preparer<'a> {
    /// For a student (with its added tokens, if any) and the recipe's `[data]`. `train.max_length` says where rows are cut, if they
    /// are; otherwise rows of any length are prepared, and [`Prepared::limit`] leaves out those that are too long.
    pub fn new(student: &'a Student, recipe: &Recipe) -> Preparer<'a> {
        let preflight = recipe.preflight_options();
        let cut_at = preflight.max_length;
        let (encode, long_rows) = (recipe.encode_options(), recipe.data.long_rows);
        Preparer {
            student,
            encode,
            preflight,
            cut_at,
            long_rows,
            // A loss on the data's own tokens asks no teacher, whatever columns there are for one.
            context: recipe.distill.teacher_context().filter(|_| recipe.distill.names_teacher()),
        }
    }

    /// The rows of a record; a conversation may make several.
    ///
    /// # Errors
    /// The student has no chat template, and the record needs one.
    pub fn prepare(&self, record: &Record) -> Result<Vec<Prepared>> {
        if let Some(flaw) = record.flaw.as_ref().filter(|flaw| !(flaw.is_cut && self.preflight.allow_cut_reasoning)) {
            let detail = &flaw.detail;
            let reason = match flaw.is_cut {
                true => format!(
                    "the row is not whole ({detail}), and the student would learn to end where its teacher did not; drop such rows with \
                     `aludel curate`, or set data.allow_cut_reasoning = true to learn what is there"
                ),
                false => format!(
                    "the row is not to be learnt ({detail}); drop such rows with `aludel curate`, or rename the column if it says something \
                     else"
                ),
            };
            return Ok(vec![Prepared::refused(reason)]);
        }
        let tokenizer = &self.student.text.tokenizer;
        let messages = match &record.content {
            Content::Messages(messages) => reasoning_apart(messages),
            Content::Text(_) => Cow::Borrowed(&[][..]),
        };
        // What was cut off may be learnt without its end where it is the last of all; before another turn an end is in the text.
        let earlier = messages.split_last().map_or(&[][..], |(_, earlier)| earlier);
        if earlier.iter().any(|turn| turn.role == Role::Assistant && turn.weight > 0.0 && unclosed(turn).is_some()) {
            let reason = "an earlier answer's reasoning is never closed, and the student would learn to end it there; give that turn \
                          weight 0, or take it out"
                .to_owned();
            return Ok(vec![Prepared::refused(reason)]);
        }
        let encoded = match &record.content {
            Content::Messages(_) => encode(self.student.chat_template()?, tokenizer, &messages, &self.encode),
            Content::Text(text) => {
                let (before, after) = (self.student.text.bos_id(), self.student.eos_token_ids.first().copied());
                encode_text(tokenizer, text, before, after).map(|row| vec![row])
            }
        };
        Ok(match encoded {
            Ok(mut rows) => {
                let contexts = match &self.context {
                    Some(context) => context.tokens(self.student, &self.encode, record, &messages, &rows),
                    None => Ok(vec![Vec::new(); rows.len()]),
                };
                let contexts = match contexts {
                    Ok(contexts) => contexts,
                    Err(reason) => return Ok(vec![Prepared::refused(reason)]),
                };
                rows.iter_mut().flat_map(|row| &mut row.weights).for_each(|weight| *weight *= record.weight);
                let last = rows.len().saturating_sub(1);
                // Only the end of the record was cut off, and it is in its last row.
                let end = |number: usize, row: &Encoded| {
                    if record.flaw.is_some() && number == last { end_of_cut(row, &messages) } else { row.len() }
                };
                let fates = rows.into_iter().zip(contexts).enumerate().map(|(number, (row, context))| {
                    let end = end(number, &row);
                    Prepared { fate: self.fate(&row, &messages, end), encoded: Some(row), context }
                });
                fates.collect()
            }
            Err(reason) => vec![Prepared::refused(self.reason(&reason))],
        })
    }

    /// A template that fails is the student's fault, not the row's: then the message names the student.
    fn reason(&self, error: &aludel_text::Error) -> String {
        use aludel_text::Error::{TemplateBudget, TemplateRun};
        match error {
            TemplateRun { .. } | TemplateBudget { .. } => format!("{}: {error}", self.student.path.display()),
            _ => error.to_string(),
        }
    }

    /// The rows of a record as the token cache takes them.
    ///
    /// # Errors
    /// The reason why a row is refused.
    pub fn token_rows(&self, record: &Record) -> Result<Vec<EncodedRow>, String> {
        let prepared = self.prepare(record).map_err(|error| error.to_string())?;
        prepared.into_iter().map(cached).collect()
    }

    /// How a row is handled whose tokens before `end` may be trained on.
    fn fate(&self, row: &Encoded, messages: &[Message], end: usize) -> RowStatus {
        if let Err(reason) = preflight(row, messages, &self.preflight) {
            return RowStatus::Refused(reason.to_string());
        }
        let end = end.min(self.cut_at.unwrap_or(usize::MAX));
        if end == row.len() {
            return RowStatus::Kept;
        }
        let is_supervised = row.weights[..end].iter().any(|&weight| weight > 0.0);
        if is_supervised { RowStatus::Cut { lost: row.len() - end } } else { RowStatus::Unsupervised }
    }
}

/// The messages with reasoning that never closes in its own place.
fn reasoning_apart(messages: &[Message]) -> Cow<'_, [Message]> {
    let Some(reasoning) = messages.last().and_then(unclosed) else { return Cow::Borrowed(messages) };
    let mut apart = messages.to_vec();
    if let Some(last) = apart.last_mut() {
        *last = Message { weight: last.weight, ..Message::assistant("").with_reasoning(reasoning) };
    }
    Cow::Owned(apart)
}

/// Where an answer ends that was cut off: before what the model never wrote, which is the end of the turn and, where there is no
/// answer, the end of the reasoning.
fn end_of_cut(row: &Encoded, messages: &[Message]) -> usize {
    let Some(turn) = row.turns.last() else {
        return row.parts.iter().rposition(|&part| part != Part::EndOfTurn).map_or(row.len(), |last| last + 1);
    };
    let answers = |message: &Message| !message.content.trim().is_empty() || !message.tool_calls.is_empty();
    let has_answer = messages.get(turn.message).is_some_and(answers);
    let end = match (has_answer, turn.close.is_empty()) {
        (false, false) => turn.close.start,
        _ => turn.end_of_turn.start,
    };
    row.spans.iter().position(|span| span.start >= end).unwrap_or(row.len())
}

fn cached(row: Prepared) -> Result<EncodedRow, String> {
    let (left, context) = (row.tokens_left(), row.context);
    let kept = |encoded: Encoded, truncated| {
        let Encoded { mut ids, mut weights, parts, .. } = encoded;
        ids.truncate(left);
        weights.truncate(left);
        let reasoning = parts.iter().zip(&weights).any(|(part, weight)| *part == Part::Reasoning && *weight > 0.0);
        EncodedRow::Kept { ids, weights, context, truncated, reasoning }
    };
    match (row.fate, row.encoded) {
        (RowStatus::Refused(reason), _) => Err(reason),
        // No limit was set here.
        (RowStatus::TooLong | RowStatus::Unsupervised, _) | (_, None) => {
            Ok(EncodedRow::Dropped(DropReason::Unsupervised))
        }
        (RowStatus::Kept, Some(encoded)) => Ok(kept(encoded, false)),
        (RowStatus::Cut { .. }, Some(encoded)) => Ok(kept(encoded, true)),
    }
}
