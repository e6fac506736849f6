//! Reads rows for their prompts alone: an answer may exist, and is kept as a column or left out. Shapes, names and precedence are
//! those of `columns`; which teacher is asked is decided elsewhere.

use std::path::PathBuf;

use aludel_text::message::{Message, Role};

use super::column::{Column, text_of};
use super::column_map::ColumnMap;
use super::columns::{self, named};
use super::messages::{history_from, messages_from, prompt_from};
use super::pairs;
use super::problem::{Problem, ProblemKind};
use super::read::RawRow;
use super::{Columns, Provenance, ReadOptions, Records, Unusable, open, parse, prompt_columns, tool_use};
use crate::Error;
use crate::column_names::{called, same};

/// What one row asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The conversation up to the last turn that is not the assistant's, the system message first.
    pub messages: Vec<Message>,
    /// All other columns: reference answers, sources, and existing answers.
    pub columns: Columns,
    /// Where the row stands.
    pub provenance: Provenance,
}

/// The prompts of a list of data files, in order. After an error it ends.
pub struct Prompts {
    records: Records,
    ended: bool,
}

/// Opens data files to read their prompts, as [`open`] does to read training rows.
///
/// # Errors
/// As [`open`].
pub fn open_prompts(paths: &[PathBuf], options: &ReadOptions) -> Result<Prompts, Error> {
    Ok(Prompts { records: open(paths, options)?, ended: false })
}

impl Prompts {
    /// Counts so far; complete once the iterator has ended.
    pub fn counts(&self) -> &super::Counts {
        self.records.counts()
    }

    fn next_prompt(&mut self) -> Result<Option<Prompt>, Error> {
        while let Some((raw, provenance)) = self.records.next_raw()? {
            match prompt_of(raw, self.records.options.columns.as_ref()) {
                Ok((messages, columns)) => {
                    self.records.counts.rows += 1;
                    return Ok(Some(Prompt { messages, columns, provenance }));
                }
                Err(problem) if self.records.options.skip_bad_rows => {
                    self.records.counts.add_bad(problem.kind, &provenance.file, provenance.line, problem.detail);
                }
                Err(problem) => return Err(Unusable::from(problem).into_error(&provenance)),
            }
        }
        match self.records.counts.nothing_left() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

impl Iterator for Prompts {
    type Item = Result<Prompt, Error>;

    fn next(&mut self) -> Option<Result<Prompt, Error>> {
        if self.ended {
            return None;
        }
        let next = self.next_prompt().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The prompt of a row, and the columns that are no part of it.
fn prompt_of(raw: RawRow, map: Option<&ColumnMap>) -> Result<(Vec<Message>, Columns), Problem> {
    let mut row = raw.bytes.and_then(|bytes| parse(&bytes))?;
    let (messages, used) = asked(&row, map)?.ok_or_else(|| columns::no_shape(&row))?;
    if map.is_none_or(ColumnMap::is_empty) {
        prompt_columns::no_question_left(&row, &used)?;
    }
    let used: Vec<String> = used.into_iter().map(str::to_string).collect();
    row.retain(|name| !used.iter().any(|used| used == name));
    Ok((messages, row))
}

/// The prompt of a row of any shape: the conversation up to the last turn that is not the assistant's, and the columns that it was
/// read from. `None` if no column holds a prompt. Columns that would be missing from the prompt
/// ([`left_of_question`](super::left_of_question)) must be found by the caller.
///
/// # Errors
/// What is wrong with the columns.
pub fn question_of<'a>(row: &'a Columns, map: Option<&ColumnMap>) -> Result<Option<QuestionColumns<'a>>, String> {
    asked(row, map).map_err(|problem| problem.detail)
}

/// A prompt, and the names of the columns that it was read from.
pub type QuestionColumns<'a> = (Vec<Message>, Vec<&'a str>);

fn asked<'a>(row: &'a Columns, map: Option<&ColumnMap>) -> Result<Option<QuestionColumns<'a>>, Problem> {
    let found = found(row, map)?;
    if let Some((messages, used)) = &found {
        tool_use::no_tools_asked(messages)?;
        columns::no_other_spelling(row, used, map)?;
    }
    Ok(found)
}

fn found<'a>(row: &'a Columns, map: Option<&ColumnMap>) -> Result<Option<QuestionColumns<'a>>, Problem> {
    let system = columns::system_named(row, map.and_then(|map| map.system.as_deref()))?;
    let names_prompt = map.is_some_and(|map| map.prompt.is_some() || map.text.is_some());
    let list = match map.and_then(|map| map.messages.as_ref()) {
        Some(name) => Some(named(row, "messages", name)?),
        None if names_prompt => None,
        None => columns::conversation_of(row)?,
    };
    if let Some(list) = list {
        let used = [Some(list), system].into_iter().flatten().map(|(name, _)| name).collect();
        return Ok(Some((ending_in_question(messages_from(list)?, system)?, used)));
    }
    let name = map.and_then(|map| map.prompt.as_ref().or(map.text.as_ref()));
    let prompt = match name {
        Some(name) => Some(named(row, "prompt", name)?),
        None => pairs::prompt_of(row)?.or_else(|| called(row, "text")),
    };
    let Some(prompt) = prompt else { return Ok(None) };
    let is_instruction = same(prompt.0, "instruction");
    let beside = |name: &str| called(row, name).filter(|_| is_instruction);
    let (history, input) = (beside("history"), beside("input"));
    let mut messages = history.map(history_from).transpose()?.unwrap_or_default();
    messages.extend(prompt_from(prompt)?);
    if let Some(input) = input
        && let Some(last) = messages.last_mut()
    {
        columns::append_input(last, input)?;
    }
    let used = [history, Some(prompt), input, system].into_iter().flatten().map(|(name, _)| name).collect();
    Ok(Some((ending_in_question(messages, system)?, used)))
}

/// Ends the conversation with the question, and puts the system message first.
fn ending_in_question(mut messages: Vec<Message>, system: Option<Column<'_>>) -> Result<Vec<Message>, Problem> {
    let asks = |message: &Message| !matches!(message.role, Role::Assistant | Role::System);
    let Some(last) = messages.iter().rposition(|message| asks(message) && !message.content.trim().is_empty()) else {
        return Err(Problem::new(ProblemKind::Value, "the conversation has no user message; a prompt needs one"));
    };
    messages.truncate(last + 1);
    // A system message inside the conversation takes precedence over a column.
    if !messages.iter().any(|message| message.role == Role::System)
        && let Some(system) = system
    {
        let content = text_of(system)?;
        if !content.trim().is_empty() {
            messages.insert(0, Message::system(content));
        }
    }
    Ok(messages)
}
