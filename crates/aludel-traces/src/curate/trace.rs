//! What curation reads: traces one after the other, from whatever keeps them. Data files and stores of traces
//! are sources, in any mixture; whatever implements [`TraceSource`] is another.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aludel_text::message::{Message, Role};

use crate::Error;
use crate::dataset::{self, Columns, Content, ProblemKind, Provenance, ReadOptions, Row};
use crate::store;

/// One trace: what was asked and answered, and what else is known of it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The conversation, or why there is none: a reason for dropping the row.
    pub content: Result<Content, Unfit>,
    /// All other columns; they stay with the row. `finish_reason` and the columns of right answers are looked at.
    pub columns: Columns,
    /// Its model reasoned, as it says, and it holds none of that.
    pub hides_reasoning: bool,
    /// Marks that end a turn were taken off an answer's end.
    pub ended_by_mark: bool,
    /// Where it stands.
    pub origin: Provenance,
}

/// Why a row holds no conversation that could be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The answer is missing.
    Incomplete(String),
    /// The row cannot be read.
    Unreadable(String),
    /// The row is marked as not to be used.
    SetAside(String),
}

/// Gives the same traces, in the same order, each time it is asked. It is asked twice: once to judge them, once to write them.
pub trait TraceSource: Sync {
    /// The traces from the first on.
    ///
    /// # Errors
    /// What keeps them cannot be opened.
    fn traces(&self) -> Result<Box<dyn Iterator<Item = Result<Trace, Error>> + Send + '_>, Error>;

    /// How much of the traces was read since they were last asked for, and how much there is, in bytes or a like measure; none where
    /// nobody can tell.
    fn bytes_read(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The share of a source that is read.
pub(super) fn share_read(source: &dyn TraceSource) -> Option<f64> {
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
    /// Looks at each file, so that one that cannot be read is found at once.
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

/// Data files and stores of traces, told apart by their first bytes, in the order given.
pub struct Inputs(Vec<Box<dyn TraceSource>>);

impl Inputs {
    /// Looks at each file.
    ///
    /// # Errors
    /// As [`Files::open`] and [`store::Snapshot::open`]; [`Error::Store`] for a store without traces.
    pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Inputs, Error> {
        let mut sources: Vec<Box<dyn TraceSource>> = Vec::new();
        let mut rest = paths;
        while let Some(first) = rest.first() {
            if is_store(first) {
                let rows = store::Rows::open(first, false)?;
                if rows.is_empty() {
                    return Err(Error::Store {
                        path: first.clone(),
                        reason: "this store holds no traces yet".to_string(),
                        mend: "collect some with `aludel trace --prompts FILE --teacher URL --model NAME --store FILE`; `aludel trace status` \
                               tells what was asked for",
                    });
                }
                sources.push(Box::new(rows.with_tags_of(options)));
                rest = &rest[1..];
                continue;
            }
            let files = rest.iter().position(|path| is_store(path)).unwrap_or(rest.len());
            sources.push(Box::new(Files::open(&rest[..files], options)?));
            rest = &rest[files..];
        }
        match sources.is_empty() {
            true => Err(Error::NoFiles),
            false => Ok(Inputs(sources)),
        }
    }
}

/// What cannot be read is left to the reader of files, which says why.
fn is_store(path: &Path) -> bool {
    store::is_sqlite(path).unwrap_or(false)
}

impl TraceSource for Inputs {
    fn traces(&self) -> Result<Box<dyn Iterator<Item = Result<Trace, Error>> + Send + '_>, Error> {
        let sources = self.0.iter().map(|source| source.traces()).collect::<Result<Vec<_>, Error>>()?;
        Ok(Box::new(sources.into_iter().flatten()))
    }

    fn bytes_read(&self) -> Option<(u64, u64)> {
        self.0.iter().try_fold((0, 0), |(read, all), source| {
            let of_source = source.bytes_read()?;
            Some((read + of_source.0, all + of_source.1))
        })
    }
}

/// A row without an answer is a trace that was cut off; any other row that cannot be used is an error, unless such rows are
/// to be left out.
pub(crate) fn trace_of(row: Row, skip_bad_rows: bool) -> Result<Trace, Error> {
    let content = match row.content {
        Ok(content) => Ok(content),
        Err(unusable) if matches!(unusable.kind, ProblemKind::NothingToLearn | ProblemKind::NotWhole) => {
            Err(Unfit::Incomplete(unusable.reason))
        }
        Err(unusable) if unusable.kind == ProblemKind::SetAside && !unusable.lacks_answer => {
            Err(Unfit::SetAside(unusable.reason))
        }
        Err(unusable) if unusable.lacks_answer => Err(Unfit::Incomplete("the row has no answer".to_string())),
        Err(unusable) if skip_bad_rows => Err(Unfit::Unreadable(unusable.reason)),
        Err(unusable) => return Err(unusable.into_error(&row.provenance)),
    };
    let Row { columns, hides_reasoning, ended_by_mark, provenance, .. } = row;
    Ok(Trace { content, columns, hides_reasoning, ended_by_mark, origin: provenance })
}

/// The assistant's turns.
pub(super) fn replies(content: &Content) -> impl Iterator<Item = &Message> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    messages.iter().filter(|message| message.role == Role::Assistant)
}

/// The messages before the first answer that are not instructions for all conversations: what is asked. Plain text asks
/// nothing.
pub(super) fn questions(content: &Content) -> impl Iterator<Item = &str> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    let before = messages.iter().take_while(|message| message.role != Role::Assistant);
    before.filter(|message| message.role != Role::System).map(|message| message.content.as_str())
}

/// All that is learnt: reasoning and answers of a conversation, or the whole of a plain text.
pub(super) fn learnt(content: &Content) -> impl Iterator<Item = &str> {
    let text = match content {
        Content::Text(text) => Some(text.as_str()),
        Content::Messages(_) => None,
    };
    let turns = replies(content).filter(|turn| turn.weight > 0.0);
    let turns = turns.flat_map(|turn| [turn.reasoning.as_deref(), Some(turn.content.as_str())]);
    text.into_iter().chain(turns.flatten())
}
