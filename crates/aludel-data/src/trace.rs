//! Traces from any source, as curation reads them. Data files are one source; others implement [`TraceSource`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aludel_text::message::{Message, Role};

use crate::Error;
use crate::dataset::{self, Columns, Content, ProblemKind, Provenance, ReadOptions, Row};

/// One trace: question, answer, and its other columns.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The conversation, or why there is none: a reason to drop the row.
    pub content: Result<Content, UnusableTrace>,
    /// All other columns; they stay with the row. `finish_reason` and the columns of reference answers are read.
    pub columns: Columns,
    /// The model reasoned, according to the row, and the row holds none of it.
    pub hides_reasoning: bool,
    /// End-of-turn tokens were removed from the end of an answer.
    pub ended_by_mark: bool,
    /// A mark by which the data calls its answer wrong.
    pub called_wrong: Option<String>,
    /// The column that gives it another weight in training than 1.
    pub weighted_by: Option<String>,
    /// Where it stands.
    pub origin: Provenance,
}

/// Why a row holds no usable conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnusableTrace {
    /// The answer is missing.
    Incomplete(String),
    /// The weights of all its answers are 0.
    ZeroWeight(String),
    /// The row cannot be read.
    Unreadable(String),
    /// The row is marked as not to be used.
    SetAside(String),
}

/// Yields the same traces in the same order each time. Curation reads them twice: once to judge, once to write.
pub trait TraceSource: Sync {
    /// The traces from the first on.
    ///
    /// # Errors
    /// The source cannot be opened.
    fn traces(&self) -> Result<Box<dyn Iterator<Item = Result<Trace, Error>> + Send + '_>, Error>;

    /// How much was read since traces were last called for, and the total, in bytes or a similar unit; none if unknown.
    fn bytes_read(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The share of a source that was read.
pub fn share_read(source: &dyn TraceSource) -> Option<f64> {
    let (read, all) = source.bytes_read()?;
    (all > 0).then(|| (read as f64 / all as f64).min(1.0))
}

/// Data files of any shape that [`dataset`] reads.
pub struct Files {
    paths: Vec<PathBuf>,
    options: ReadOptions,
    bytes_total: u64,
    bytes_read: AtomicU64,
}

impl Files {
    /// Checks each file, so that an unreadable one is reported at once.
    ///
    /// # Errors
    /// As [`dataset::open`].
    pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Files, Error> {
        let bytes_total = dataset::open(paths, options)?.bytes_total();
        Ok(Files { paths: paths.to_vec(), options: options.clone(), bytes_total, bytes_read: AtomicU64::new(0) })
    }
}

impl TraceSource for Files {
    fn traces(&self) -> Result<Box<dyn Iterator<Item = Result<Trace, Error>> + Send + '_>, Error> {
        let mut records = dataset::open(&self.paths, &self.options)?;
        let skip_bad_rows = self.options.skip_bad_rows;
        Ok(Box::new(std::iter::from_fn(move || {
            let row = records.next_row().transpose()?;
            self.bytes_read.store(records.bytes_read(), Ordering::Relaxed);
            Some(row.and_then(|row| trace_of(row, skip_bad_rows)))
        })))
    }

    fn bytes_read(&self) -> Option<(u64, u64)> {
        Some((self.bytes_read.load(Ordering::Relaxed), self.bytes_total))
    }
}

/// A row without an answer is a trace that was cut off; any other unusable row is an error, unless such rows are to be skipped.
pub fn trace_of(row: Row, skip_bad_rows: bool) -> Result<Trace, Error> {
    let content = match row.content {
        Ok(content) => Ok(content),
        Err(unusable) if matches!(unusable.kind, ProblemKind::NothingToLearn | ProblemKind::NotWhole) => {
            Err(UnusableTrace::Incomplete(unusable.reason))
        }
        Err(unusable) if unusable.kind == ProblemKind::ZeroWeight => Err(UnusableTrace::ZeroWeight(unusable.reason)),
        Err(unusable) if unusable.kind == ProblemKind::SetAside && !unusable.lacks_answer => {
            Err(UnusableTrace::SetAside(unusable.reason))
        }
        Err(unusable) if unusable.lacks_answer => Err(UnusableTrace::Incomplete("the row has no answer".to_string())),
        Err(unusable) if skip_bad_rows => Err(UnusableTrace::Unreadable(unusable.reason)),
        Err(unusable) => return Err(unusable.into_error(&row.provenance)),
    };
    let Row { columns, hides_reasoning, ended_by_mark, called_wrong, weighted_by, provenance, .. } = row;
    Ok(Trace { content, columns, hides_reasoning, ended_by_mark, called_wrong, weighted_by, origin: provenance })
}

/// The assistant's turns.
pub fn replies(content: &Content) -> impl Iterator<Item = &Message> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    messages.iter().filter(|message| message.role == Role::Assistant)
}

/// The messages before the first answer, without system messages: the question. Plain text has none.
pub fn questions(content: &Content) -> impl Iterator<Item = &str> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    let before = messages.iter().take_while(|message| message.role != Role::Assistant);
    before.filter(|message| message.role != Role::System).map(|message| message.content.as_str())
}

/// All text that is trained on: reasoning and answers of a conversation without its calls, or all of a plain text.
pub fn learnt_words(content: &Content) -> impl Iterator<Item = &str> {
    let text = match content {
        Content::Text(text) => Some(text.as_str()),
        Content::Messages(_) => None,
    };
    let turns = replies(content).filter(|turn| turn.weight > 0.0);
    let turns = turns.flat_map(|turn| [turn.reasoning.as_deref(), Some(turn.content.as_str())]);
    text.into_iter().chain(turns.flatten())
}

/// All that is learnt: reasoning, answers and calls of a conversation, or the whole of a plain text.
pub fn learnt(content: &Content) -> impl Iterator<Item = &str> {
    let calls = replies(content).filter(|turn| turn.weight > 0.0).flat_map(|turn| &turn.tool_calls);
    learnt_words(content).chain(calls.flat_map(|call| [call.name.as_str(), call.arguments.text()]))
}
