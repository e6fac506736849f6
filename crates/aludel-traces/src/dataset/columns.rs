//! Recognises the shape of a row by the names of its columns and turns it into messages or plain text. The shapes and
//! their order are one table; a row that fits none gets an answer that names the nearest.

use aludel_text::message::{Message, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::messages::{messages_from, prompt_from, reply_from};
use super::problem::{Problem, ProblemKind};
use super::record::Content;
use crate::Error;

/// `data.columns`: which of the file's columns plays which part. Parts that are not named are found by their usual
/// names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMap {
    /// A list of messages (`role`/`content` or `from`/`value`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// What is asked: text, or a list of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The answer: text, or a list of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The reasoning that leads to the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Plain text, all of it learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ColumnMap {
    /// The map of `data.columns`, as a recipe gives it: part to column.
    ///
    /// # Errors
    /// [`Error::ColumnMap`] for a part that there is not, and as [`ColumnMap::validate`].
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<ColumnMap, Error> {
        let mut map = ColumnMap::default();
        for (part, column) in parts {
            let place = match part {
                "messages" => &mut map.messages,
                "prompt" => &mut map.prompt,
                "response" => &mut map.response,
                "reasoning" => &mut map.reasoning,
                "system" => &mut map.system,
                "text" => &mut map.text,
                _ => {
                    let reason = format!(
                        "`{part}` is no part of a row; the parts are messages, prompt, response, reasoning, system and text"
                    );
                    return Err(Error::ColumnMap { reason });
                }
            };
            *place = Some(column.to_string());
        }
        map.validate()?;
        Ok(map)
    }

    /// Whether no column is named.
    pub fn is_empty(&self) -> bool {
        *self == ColumnMap::default()
    }

    /// Refuses maps whose parts cannot make a row together.
    ///
    /// # Errors
    /// [`Error::ColumnMap`] says which parts and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        let parts = [
            ("messages", &self.messages),
            ("prompt", &self.prompt),
            ("response", &self.response),
            ("reasoning", &self.reasoning),
            ("system", &self.system),
            ("text", &self.text),
        ];
        let named: Vec<&str> = parts.iter().filter(|(_, column)| column.is_some()).map(|(part, _)| *part).collect();
        let refuse = |reason: String| Err(Error::ColumnMap { reason });
        if let Some((part, _)) = parts.iter().find(|(_, column)| column.as_ref().is_some_and(String::is_empty)) {
            return refuse(format!("`{part}` is an empty name; give the column's name or leave `{part}` out"));
        }
        if self.text.is_some() && named.len() > 1 {
            return refuse(format!("`text` stands alone, but {} are named; name either", listed(&named)));
        }
        let beside_messages = ["prompt", "response", "reasoning"].into_iter().find(|part| named.contains(part));
        match (&self.messages, beside_messages) {
            (Some(_), Some(part)) => refuse(format!(
                "`messages` already holds the whole conversation, so `{part}` has no place; name either"
            )),
            _ => Ok(()),
        }
    }
}

/// A prompt, an answer, and what they are usually called.
struct PairShape {
    /// How messages to the user call it.
    name: &'static str,
    prompt: &'static str,
    /// Further text that belongs to the prompt.
    input: Option<&'static str>,
    response: &'static str,
    /// In the traces' own shape a row may consist of reasoning alone.
    reasoning_suffices: bool,
}

/// In order of precedence; `messages` and `conversations` come before, `text` after.
const PAIR_SHAPES: [PairShape; 5] = [
    PairShape {
        name: "prompt/reasoning/response",
        prompt: "prompt",
        input: None,
        response: "response",
        reasoning_suffices: true,
    },
    PairShape {
        name: "prompt/completion",
        prompt: "prompt",
        input: None,
        response: "completion",
        reasoning_suffices: false,
    },
    PairShape {
        name: "instruction/response",
        prompt: "instruction",
        input: None,
        response: "response",
        reasoning_suffices: false,
    },
    PairShape {
        name: "instruction/input/output",
        prompt: "instruction",
        input: Some("input"),
        response: "output",
        reasoning_suffices: false,
    },
    PairShape {
        name: "question/answer",
        prompt: "question",
        input: None,
        response: "answer",
        reasoning_suffices: false,
    },
];

const REASONING_COLUMNS: [&str; 3] = ["reasoning", "reasoning_content", "thinking"];
pub(super) const SYSTEM_COLUMNS: [&str; 2] = ["system", "system_prompt"];

/// What is learnt from a row, and the names of the columns that it stands in.
pub(super) struct Found<'a> {
    pub(super) content: Content,
    pub(super) columns: Vec<&'a str>,
}

/// Turns a row into what is learnt from it.
pub(super) fn content_of<'a>(row: &'a Map<String, Value>, columns: Option<&ColumnMap>) -> Result<Found<'a>, Problem> {
    match columns {
        Some(columns) if !columns.is_empty() => mapped(row, columns),
        _ => detected(row),
    }
}

/// Whether a row that fits no shape asks something and lacks no more than the answer.
pub(super) fn lacks_answer_only(row: &Map<String, Value>, columns: Option<&ColumnMap>) -> bool {
    let prompt = columns.and_then(|columns| columns.prompt.as_deref());
    let usual = ["prompt", "instruction", "question"];
    let asks = prompt.map_or_else(|| first_present(row, &usual), |name| present(row, name)).is_some();
    let responses = ["response", "completion", "output", "answer", "reasoning"];
    let response = columns.and_then(|columns| columns.response.as_deref());
    let has_column =
        response.map_or_else(|| responses.iter().any(|name| row.contains_key(*name)), |name| row.contains_key(name));
    asks && has_column
}

fn detected(row: &Map<String, Value>) -> Result<Found<'_>, Problem> {
    let reasoning = first_present(row, &REASONING_COLUMNS);
    let system = first_present(row, &SYSTEM_COLUMNS);
    if let Some((name, list)) = first_present(row, &["messages", "conversations"]) {
        return conversation((name, list), system);
    }
    match PAIR_SHAPES.iter().find(|shape| shape.fits(row)) {
        Some(shape) => {
            let parts = Parts {
                prompt: named(row, "prompt", shape.prompt)?,
                input: shape.input.and_then(|name| first_present(row, &[name])),
                response: first_present(row, &[shape.response]),
                reasoning,
                system,
            };
            parts.into_content()
        }
        None => match first_present(row, &["text"]) {
            Some(text) => plain_text(text),
            None => Err(no_shape(row)),
        },
    }
}

/// With `data.columns`: the named columns must be there; prompt and answer that are not named go by their usual names.
fn mapped<'a>(row: &'a Map<String, Value>, columns: &ColumnMap) -> Result<Found<'a>, Problem> {
    if let Some(name) = &columns.text {
        return plain_text(named(row, "text", name)?);
    }
    // Single rows may lack reasoning and system message; a name that no row has is found when all are read.
    let reasoning = match &columns.reasoning {
        Some(name) => present(row, name),
        None => first_present(row, &REASONING_COLUMNS),
    };
    let system = match &columns.system {
        Some(name) => present(row, name),
        None => first_present(row, &SYSTEM_COLUMNS),
    };
    if let Some(name) = &columns.messages {
        return conversation(named(row, "messages", name)?, system);
    }
    if columns.prompt.is_none()
        && columns.response.is_none()
        && let Some(list) = first_present(row, &["messages", "conversations"])
    {
        return conversation(list, system);
    }
    let prompt = match &columns.prompt {
        Some(name) => named(row, "prompt", name)?,
        None => first_present(row, &["prompt", "instruction", "question"]).ok_or_else(|| no_shape(row))?,
    };
    let response = match &columns.response {
        Some(name) => present(row, name),
        None => first_present(row, &["response", "completion", "output", "answer"]),
    };
    if response.is_none() && reasoning.is_none() {
        return Err(missing_answer(row, columns));
    }
    let input = if prompt.0 == "instruction" { first_present(row, &["input"]) } else { None };
    Parts { prompt, input, response, reasoning, system }.into_content()
}

impl PairShape {
    fn fits(&self, row: &Map<String, Value>) -> bool {
        let has = |name| present(row, name).is_some();
        let reasoning_alone = self.reasoning_suffices && has("reasoning") && !has("completion");
        has(self.prompt) && (has(self.response) || reasoning_alone)
    }

    fn columns(&self) -> Vec<&'static str> {
        [Some(self.prompt), Some(self.response)].into_iter().flatten().collect()
    }
}

pub(super) type Column<'a> = (&'a str, &'a Value);

/// The columns of a prompt-and-answer row.
struct Parts<'a> {
    prompt: Column<'a>,
    input: Option<Column<'a>>,
    response: Option<Column<'a>>,
    reasoning: Option<Column<'a>>,
    system: Option<Column<'a>>,
}

impl<'a> Parts<'a> {
    fn into_content(self) -> Result<Found<'a>, Problem> {
        let parts = [Some(self.prompt), self.input, self.response, self.reasoning, self.system];
        let columns = parts.into_iter().flatten().map(|(name, _)| name).collect();
        let mut messages = prompt_from(self.prompt)?;
        if let Some(input) = self.input
            && let Some(last) = messages.last_mut()
        {
            append_input(last, input)?;
        }
        let reasoning = self.reasoning.map(text_of).transpose()?;
        messages.extend(reply_from(self.response, reasoning)?);
        Ok(Found { content: finished(messages, self.system)?, columns })
    }
}

/// What an instruction is about stands below it, apart from it by a blank line.
pub(super) fn append_input(prompt: &mut Message, input: Column<'_>) -> Result<(), Problem> {
    let input = text_of(input)?;
    if !input.trim().is_empty() {
        prompt.content.push_str("\n\n");
        prompt.content.push_str(&input);
    }
    Ok(())
}

fn conversation<'a>(list: Column<'a>, system: Option<Column<'a>>) -> Result<Found<'a>, Problem> {
    let columns = [Some(list), system].into_iter().flatten().map(|(name, _)| name).collect();
    Ok(Found { content: finished(messages_from(list)?, system)?, columns })
}

/// Puts the system message in front and checks that there is something to learn.
fn finished(mut messages: Vec<Message>, system: Option<Column<'_>>) -> Result<Content, Problem> {
    // A system message inside the conversation is closer to it than a column beside it.
    if !messages.iter().any(|message| message.role == Role::System)
        && let Some(system) = system
    {
        let content = text_of(system)?;
        if !content.trim().is_empty() {
            messages.insert(0, Message::system(content));
        }
    }
    let Some(last) = messages.iter().rposition(|message| message.role == Role::Assistant) else {
        return Err(Problem::new(
            ProblemKind::NothingToLearn,
            "the conversation has no assistant message, so there is nothing to learn from it",
        ));
    };
    // Turns after the last answer are context for nothing.
    messages.truncate(last + 1);
    let teaches = |message: &Message| {
        message.role == Role::Assistant
            && (!message.content.trim().is_empty()
                || message.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty()))
    };
    match messages.iter().any(teaches) {
        true => Ok(Content::Messages(messages)),
        false => Err(Problem::new(ProblemKind::NothingToLearn, "answer and reasoning are both empty")),
    }
}

fn plain_text(column: Column<'_>) -> Result<Found<'_>, Problem> {
    let text = text_of(column)?;
    match text.trim().is_empty() {
        true => Err(Problem::new(ProblemKind::NothingToLearn, format!("column `{}` is empty", column.0))),
        false => Ok(Found { content: Content::Text(text), columns: vec![column.0] }),
    }
}

/// A column's text; a number or a truth value is taken as it is written.
pub(super) fn text_of((name, value): Column<'_>) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(Problem::new(
            ProblemKind::Value,
            format!(
                "column `{name}` holds {}, and text is wanted; flatten it, or choose other columns with data.columns",
                kind_of(other)
            ),
        )),
    }
}

/// A JSON value's kind with its article, for messages.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn present<'a>(row: &'a Map<String, Value>, name: &str) -> Option<Column<'a>> {
    // A null is what tables write for "not there".
    row.get_key_value(name).filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
}

pub(super) fn first_present<'a>(row: &'a Map<String, Value>, names: &[&str]) -> Option<Column<'a>> {
    names.iter().find_map(|name| present(row, name))
}

pub(super) fn named<'a>(row: &'a Map<String, Value>, part: &str, name: &str) -> Result<Column<'a>, Problem> {
    present(row, name).ok_or_else(|| {
        Problem::new(
            ProblemKind::Columns,
            format!(
                "data.columns says that `{part}` is column `{name}`, which this row lacks; it has {}; name one of these",
                found(row)
            ),
        )
    })
}

fn missing_answer(row: &Map<String, Value>, columns: &ColumnMap) -> Problem {
    let wanted = match (&columns.response, &columns.reasoning) {
        (Some(response), Some(reasoning)) => {
            format!("neither `{response}` nor `{reasoning}`, as data.columns names them")
        }
        (Some(response), None) => format!("no `{response}`, as data.columns names the response"),
        (None, Some(reasoning)) => {
            format!("no `{reasoning}`, as data.columns names the reasoning, and no known answer column")
        }
        (None, None) => "no known answer column (response, completion, output, answer)".to_string(),
    };
    Problem::new(
        ProblemKind::Columns,
        format!("the row has {wanted}; it has {}; name the answer's column in data.columns", found(row)),
    )
}

/// What to say of a row that fits no shape: its columns, the nearest shape, what that lacks, and the way out.
pub(super) fn no_shape(row: &Map<String, Value>) -> Problem {
    let lists: [(&str, Vec<&str>); 3] =
        [("messages", vec!["messages"]), ("conversations", vec!["conversations"]), ("text", vec!["text"])];
    let shapes: Vec<(&str, Vec<&str>)> =
        PAIR_SHAPES.iter().map(|shape| (shape.name, shape.columns())).chain(lists).collect();
    // An exact name counts for more than one that differs in case only; the first of equals wins, by precedence.
    let score = |names: &[&str]| -> usize {
        let points = names.iter().map(|name| match (present(row, name), other_case(row, name)) {
            (Some(_), _) => 3,
            (None, Some(_)) => 2,
            (None, None) => 0,
        });
        points.sum()
    };
    let mut nearest = &shapes[0];
    for shape in &shapes {
        if score(&shape.1) > score(&nearest.1) {
            nearest = shape;
        }
    }
    let mut detail = format!("the row's columns are {}, and they fit no known shape", found(row));
    if score(&nearest.1) > 0 {
        let lacking: Vec<String> =
            nearest.1.iter().filter(|name| present(row, name).is_none()).map(|name| lack(row, name)).collect();
        detail.push_str(&format!("; the nearest is {}, which lacks {}", nearest.0, lacking.join(" and ")));
    }
    let known: Vec<&str> = ["messages", "conversations"]
        .into_iter()
        .chain(PAIR_SHAPES.iter().map(|shape| shape.name))
        .chain(["text"])
        .collect();
    detail.push_str(&format!(
        ". Rename the columns, or say which is which: data.columns = {{ prompt = \"…\", response = \"…\", reasoning = \"…\" }}. Known shapes: {}",
        known.join(", ")
    ));
    Problem::new(ProblemKind::Columns, detail)
}

fn lack(row: &Map<String, Value>, name: &str) -> String {
    match (row.contains_key(name), other_case(row, name)) {
        (true, _) => format!("`{name}` (it is null)"),
        (false, Some(written)) => format!("`{name}` (there is `{written}`)"),
        (false, None) => format!("`{name}`"),
    }
}

fn other_case<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    row.keys().map(String::as_str).find(|key| *key != name && key.eq_ignore_ascii_case(name))
}

/// The names of a row's columns, at most twelve of them.
fn found(row: &Map<String, Value>) -> String {
    const SHOWN: usize = 12;
    if row.is_empty() {
        return "no columns".to_string();
    }
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => listed(&names),
        Some(more) => format!("{} and {more} more", listed(&names[..SHOWN])),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ")
}
