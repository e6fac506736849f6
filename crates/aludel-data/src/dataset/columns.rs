//! Recognises the shape of a row by the names of its columns and turns it into messages or plain text. The shapes and their
//! precedence are one table; for a row that matches none, the error names the nearest.

use aludel_text::message::{Message, Role};

use super::column::{Column, first_called, found, present, text_of};
use super::column_map::{ColumnMap, naming, unseen};
use super::messages::{give_reasoning, history_from, messages_from, prompt_from, reply_from};
use super::pairs::{ANSWER, PROMPTS, RESPONSES, no_text_beside, prompt_of, response_of, response_of_set};
use super::problem::{Problem, ProblemKind};
use super::reasoning::{Reasoning, reasoning_named, reasoning_of};
use super::record::Content;
use super::tool_use::{give_tools, tools_of};
use super::{Columns, Json, Kind, prompt_columns};
use crate::column_names::{called, is_among, same};

/// The usual names of question and answer columns: the name of the shape, its prompt and its response.
const PAIR_SHAPES: [(&str, [&str; 2]); 5] = [
    ("prompt/reasoning/response", ["prompt", "response"]),
    ("prompt/completion", ["prompt", "completion"]),
    ("instruction/response", ["instruction", "response"]),
    ("instruction/input/output", ["instruction", "output"]),
    ("question/answer", ["question", "answer"]),
];

/// Less usual names of prompt columns.
const PROBLEMS: [&str; 2] = ["problem", "query"];

pub(super) const SYSTEM_COLUMNS: [&str; 5] =
    ["system", "system_prompt", "system_message", "system_instruction", "system_instructions"];

/// The content of a row, and the names of the columns that it was read from.
pub(super) struct RowContent<'a> {
    pub(super) content: Content,
    pub(super) columns: Vec<&'a str>,
}

/// Reads the content of a row. The column `context` is for a teacher, whatever its name.
pub(super) fn content_of<'a>(
    row: &'a Columns,
    columns: Option<&ColumnMap>,
    context: Option<&str>,
) -> Result<RowContent<'a>, Problem> {
    let map = columns.filter(|columns| !columns.is_empty());
    let mut found = map.map_or_else(|| detected(row), |columns| mapped(row, columns))?;
    let mut in_text = Vec::new();
    // Whoever names question and answer has decided what the other columns are.
    if map.is_none_or(|map| map.messages.is_some() || (map.prompt.is_none() && map.response.is_none()))
        && let Content::Messages(messages) = &mut found.content
        && let Some((names, tools)) = tools_of(row)?
    {
        match give_tools(messages, names[0], tools)? {
            true => found.columns.extend(names),
            false => in_text = names,
        }
    }
    no_other_spelling(row, &found.columns, map)?;
    if map.is_none() {
        let aside = context.map(|name| vec![name]).unwrap_or_default();
        prompt_columns::no_question_left(row, &[&found.columns[..], &in_text, &aside].concat())?;
    }
    Ok(found)
}

/// Refuses a row in which another spelling of a column that is read holds something else, unless the user assigned the column.
pub(super) fn no_other_spelling(row: &Columns, used: &[&str], map: Option<&ColumnMap>) -> Result<(), Problem> {
    let is_named = |name: &str| map.is_some_and(|map| map.names().any(|named| named == name));
    for (name, value) in used.iter().filter(|name| !is_named(name)).filter_map(|name| row.entry(name)) {
        let differs = |(other, held): &(&str, Json<'_>)| {
            *other != name && same(other, name) && !held.is_empty() && held.written() != value.written()
        };
        if !value.is_empty()
            && let Some((other, _)) = row.iter().find(differs)
        {
            return Err(Problem::new(
                ProblemKind::Columns,
                format!(
                    "the row has `{}` and `{}`, two spellings of one name, and they do not say the same; take one out, give it another \
                     name, or name the one that counts in data.columns",
                    name.escape_debug(),
                    other.escape_debug()
                ),
            ));
        }
    }
    Ok(())
}

/// The system message beside a conversation: the first column that is not empty. Another one must agree.
pub(super) fn system_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    let mut full = SYSTEM_COLUMNS.iter().filter_map(|name| called(row, name)).filter(|(_, value)| !value.is_empty());
    let Some(first) = full.next() else { return Ok(first_called(row, &SYSTEM_COLUMNS)) };
    match full.find(|(_, value)| value.written() != first.1.written()) {
        None => Ok(Some(first)),
        Some((other, _)) => Err(Problem::new(
            ProblemKind::Columns,
            format!(
                "the row has `{}` and `{other}`, and they do not say the same; name the one that counts: {}",
                first.0,
                naming(&[("system", first.0)])
            ),
        )),
    }
}

/// The same where the user may have assigned the column.
pub(super) fn system_named<'a>(row: &'a Columns, name: Option<&str>) -> Result<Option<Column<'a>>, Problem> {
    let Some(name) = name else { return system_of(row) };
    let is_full = |column: &Column<'_>| !column.1.is_empty();
    let own = present(row, name);
    if own.as_ref().is_some_and(is_full) {
        return Ok(own);
    }
    match system_of(row)?.filter(is_full) {
        Some((other, _)) => Err(unseen("system", name, other)),
        None => Ok(own),
    }
}

/// The column of the conversation. If two hold one, they must agree.
pub(super) fn conversation_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    const NAMES: [&str; 2] = ["messages", "conversations"];
    let full: Vec<Column<'_>> =
        NAMES.iter().filter_map(|name| called(row, name)).filter(|(_, value)| !value.is_empty()).collect();
    let [first, second] = full[..] else { return Ok(full.first().copied().or_else(|| first_called(row, &NAMES))) };
    let is_other = |own: &Vec<Message>| messages_from(second).map_or(true, |other| other != *own);
    match second.1.kind() == Kind::List && messages_from(first).is_ok_and(|own| is_other(&own)) {
        true => Err(Problem::new(
            ProblemKind::Columns,
            format!(
                "the row has `{}` and `{}`, and they do not say the same; name the one that counts: {}",
                first.0,
                second.0,
                naming(&[("messages", first.0)])
            ),
        )),
        false => Ok(Some(first)),
    }
}

/// Whether a row that matches no shape has a question and lacks only the answer.
pub(super) fn lacks_answer_only(row: &Columns, columns: Option<&ColumnMap>) -> bool {
    let prompt = columns.and_then(|columns| columns.prompt.as_deref());
    let asks = prompt.map_or_else(|| first_called(row, &PROMPTS), |name| present(row, name)).is_some();
    let names_response = columns.is_some_and(|columns| columns.response.is_some());
    let has_column =
        has_answer_column(row, columns) || (!names_response && row.names().any(|name| same(name, "reasoning")));
    asks && has_column && !has_answer(row, columns)
}

/// Whether an unreadable row has an answer, so that something else is wrong with it.
fn has_answer(row: &Columns, columns: Option<&ColumnMap>) -> bool {
    let is_full = |name: &str| called(row, name).is_some_and(|(_, value)| !value.is_empty());
    match columns.and_then(|columns| columns.response.as_deref()) {
        Some(name) => present(row, name).is_some_and(|(_, value)| !value.is_empty()),
        None => RESPONSES.iter().any(|name| is_full(name)) || (is_full("question") && is_full(ANSWER)),
    }
}

/// Whether a row has a column for its answer, empty or not.
fn has_answer_column(row: &Columns, columns: Option<&ColumnMap>) -> bool {
    match columns.and_then(|columns| columns.response.as_deref()) {
        Some(name) => row.contains(name),
        None => row.names().any(|name| is_among(&RESPONSES, name) || same(name, ANSWER)),
    }
}

fn detected(row: &Columns) -> Result<RowContent<'_>, Problem> {
    let reasoning = reasoning_of(row)?;
    let system = system_of(row)?;
    if let Some(list) = conversation_of(row)? {
        return match answer_behind(row, list, reasoning.is_some())? {
            Some(answer) => answered(list, answer, reasoning, system),
            None => conversation(list, reasoning, system),
        };
    }
    match pair_of(row, reasoning.as_ref())? {
        Some((prompt, response)) => {
            let parts = Parts::new(row, prompt, response, reasoning, system);
            let columns: Vec<Column<'_>> = [Some(prompt), parts.input, response].into_iter().flatten().collect();
            no_text_beside(row, &columns)?;
            parts.into_content()
        }
        None => match (called(row, "text"), reasoning) {
            (Some(text), Some(reasoning)) => Err(Problem::new(
                ProblemKind::Columns,
                format!(
                    "the row has plain text in `{}` and reasoning in `{}`, and it cannot be told what the model is to say; name \
                     one: {}",
                    text.0,
                    reasoning.columns.join("`, `"),
                    naming(&[("text", text.0)])
                ),
            )),
            (Some(text), None) => plain_text(text),
            (None, _) => Err(no_shape(row)),
        },
    }
}

/// With `data.columns`: the assigned columns must exist; prompt and answer that are not assigned have their usual names.
fn mapped<'a>(row: &'a Columns, columns: &ColumnMap) -> Result<RowContent<'a>, Problem> {
    if let Some(name) = &columns.text {
        return plain_text(named(row, "text", name)?);
    }
    // Single rows may lack reasoning and system message; a name that no row has is detected when all are read.
    let reasoning = match &columns.reasoning {
        Some(name) => reasoning_named(row, name)?,
        None => reasoning_of(row)?,
    };
    let system = system_named(row, columns.system.as_deref())?;
    if let Some(name) = &columns.messages {
        return conversation(named(row, "messages", name)?, reasoning, system);
    }
    if columns.prompt.is_none()
        && columns.response.is_none()
        && let Some(list) = conversation_of(row)?
    {
        return conversation(list, reasoning, system);
    }
    let prompt = match &columns.prompt {
        Some(name) => named(row, "prompt", name)?,
        None => prompt_of(row)?.ok_or_else(|| no_shape(row))?,
    };
    let response = match &columns.response {
        Some(name) => present(row, name),
        None => response_of(row)?,
    };
    // Reasoning alone is a row of Aludel's own traces, if it was assigned and the answer's column exists and is empty.
    let is_own = columns.prompt.is_none() && columns.response.is_none() && same(prompt.0, "prompt");
    let is_row = is_own || columns.reasoning.is_some() || has_answer_column(row, Some(columns));
    if response.is_none() && (reasoning.is_none() || !is_row) {
        return Err(missing_answer(row, columns));
    }
    Parts::new(row, prompt, response, reasoning, system).into_content()
}

/// The question and the answer of a row; in Aludel's own traces it may consist of reasoning alone.
fn pair_of<'a>(row: &'a Columns, reasoning: Option<&Reasoning<'a>>) -> Result<Option<Pair<'a>>, Problem> {
    // Beside `prompt` alone, `answer` is a reference answer.
    let is_learnt = |(name, _): &Column<'_>| !same(name, ANSWER) || called(row, "question").is_some();
    let response = match response_of(row)?.filter(is_learnt) {
        None => response_of_set(row, reasoning)?,
        usual => usual,
    };
    let is_pair = response.is_some() || (reasoning.is_some() && called(row, "prompt").is_some());
    // Other names of the question in collections of problems.
    let other = || PROBLEMS.iter().find_map(|name| called(row, name));
    let prompt = if is_pair { prompt_of(row)?.or_else(other) } else { None };
    Ok(prompt.map(|prompt| (prompt, response)))
}

/// A question and its answer.
type Pair<'a> = (Column<'a>, Option<Column<'a>>);

/// The columns of a prompt-and-answer row.
struct Parts<'a> {
    /// Earlier questions with their answers.
    history: Option<Column<'a>>,
    prompt: Column<'a>,
    input: Option<Column<'a>>,
    response: Option<Column<'a>>,
    reasoning: Option<Reasoning<'a>>,
    system: Option<Column<'a>>,
}

impl<'a> Parts<'a> {
    fn new(
        row: &'a Columns,
        prompt: Column<'a>,
        response: Option<Column<'a>>,
        reasoning: Option<Reasoning<'a>>,
        system: Option<Column<'a>>,
    ) -> Parts<'a> {
        let beside = |name: &str| called(row, name).filter(|_| same(prompt.0, "instruction"));
        Parts { history: beside("history"), prompt, input: beside("input"), response, reasoning, system }
    }

    fn into_content(self) -> Result<RowContent<'a>, Problem> {
        let parts = [self.history, Some(self.prompt), self.input, self.response, self.system];
        let mut columns: Vec<&str> = parts.into_iter().flatten().map(|(name, _)| name).collect();
        columns.extend(self.reasoning.iter().flat_map(|reasoning| &reasoning.columns));
        let mut messages = self.history.map(history_from).transpose()?.unwrap_or_default();
        messages.extend(prompt_from(self.prompt)?);
        if let Some(input) = self.input
            && let Some(last) = messages.last_mut()
        {
            append_input(last, input)?;
        }
        messages.extend(reply_from(self.response, self.reasoning.map(|reasoning| reasoning.text))?);
        Ok(RowContent { content: finished(messages, self.system)?, columns })
    }
}

/// The input of an instruction follows it after a blank line.
pub(super) fn append_input(prompt: &mut Message, input: Column<'_>) -> Result<(), Problem> {
    let input = text_of(input)?;
    if !input.trim().is_empty() {
        prompt.content.push_str("\n\n");
        prompt.content.push_str(&input);
    }
    Ok(())
}

/// The column that answers a conversation which ends in its question, as in Dolphin-R1. A reference answer alone is only compared
/// with.
fn answer_behind<'a>(row: &'a Columns, list: Column<'a>, has_reasoning: bool) -> Result<Option<Column<'a>>, Problem> {
    let is_open = messages_from(list).is_ok_and(|messages| messages.iter().all(|one| one.role != Role::Assistant));
    if !is_open {
        return Ok(None);
    }
    let is_answer = |column: &Column<'_>| !column.1.is_empty() && (has_reasoning || is_among(&RESPONSES, column.0));
    Ok(response_of(row)?.filter(is_answer))
}

fn answered<'a>(
    list: Column<'a>,
    answer: Column<'a>,
    reasoning: Option<Reasoning<'a>>,
    system: Option<Column<'a>>,
) -> Result<RowContent<'a>, Problem> {
    let mut columns: Vec<&str> =
        [Some(list), Some(answer), system].into_iter().flatten().map(|(name, _)| name).collect();
    columns.extend(reasoning.iter().flat_map(|reasoning| &reasoning.columns));
    let mut messages = messages_from(list)?;
    messages.extend(reply_from(Some(answer), reasoning.map(|reasoning| reasoning.text))?);
    Ok(RowContent { content: finished(messages, system)?, columns })
}

fn conversation<'a>(
    list: Column<'a>,
    reasoning: Option<Reasoning<'a>>,
    system: Option<Column<'a>>,
) -> Result<RowContent<'a>, Problem> {
    let mut columns: Vec<&str> = [Some(list), system].into_iter().flatten().map(|(name, _)| name).collect();
    let mut messages = messages_from(list)?;
    if let Some(reasoning) = reasoning {
        if !give_reasoning(&mut messages, reasoning.text.trim().to_string()) {
            return Err(Problem::new(
                ProblemKind::Value,
                format!(
                    "the last answer in `{}` has reasoning of its own, and column `{}` another; give one of them, or the column \
                     another name",
                    list.0,
                    reasoning.columns.join("`, `")
                ),
            ));
        }
        columns.extend(reasoning.columns);
    }
    Ok(RowContent { content: finished(messages, system)?, columns })
}

/// Puts the system message first and checks that there is something to train on.
fn finished(mut messages: Vec<Message>, system: Option<Column<'_>>) -> Result<Content, Problem> {
    // A system message inside the conversation takes precedence over a column.
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
    // Turns after the last answer are not context for anything.
    messages.truncate(last + 1);
    let nothing = |detail: &str| Err(Problem::new(ProblemKind::NothingToLearn, detail));
    let learnt = |message: &&Message| message.role == Role::Assistant && message.weight > 0.0;
    if !messages.iter().any(|message| learnt(&message)) {
        let detail = "no assistant message of the conversation is to be learnt: the weights of all are 0";
        return Err(Problem::new(ProblemKind::ZeroWeight, detail));
    }
    if messages.last().is_some_and(Message::says_nothing) {
        return nothing("answer and reasoning are both empty");
    }
    Ok(Content::Messages(messages))
}

fn plain_text(column: Column<'_>) -> Result<RowContent<'_>, Problem> {
    let text = text_of(column)?;
    match text.trim().is_empty() {
        true => Err(Problem::new(ProblemKind::NothingToLearn, format!("column `{}` is empty", column.0))),
        false => Ok(RowContent { content: Content::Text(text), columns: vec![column.0] }),
    }
}

pub(super) fn named<'a>(row: &'a Columns, part: &str, name: &str) -> Result<Column<'a>, Problem> {
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

fn missing_answer(row: &Columns, columns: &ColumnMap) -> Problem {
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

/// The error for a row that matches no shape: its columns, the nearest shape, what that lacks, and the remedy.
pub(super) fn no_shape(row: &Columns) -> Problem {
    let lists: [(&str, Vec<&str>); 3] =
        [("messages", vec!["messages"]), ("conversations", vec!["conversations"]), ("text", vec!["text"])];
    let shapes: Vec<(&str, Vec<&str>)> =
        PAIR_SHAPES.iter().map(|(name, columns)| (*name, columns.to_vec())).chain(lists).collect();
    // The first of equals wins, by precedence.
    let score = |names: &[&str]| names.iter().filter(|name| called(row, name).is_some()).count();
    let mut nearest = &shapes[0];
    for shape in &shapes {
        if score(&shape.1) > score(&nearest.1) {
            nearest = shape;
        }
    }
    let mut detail = format!("the row's columns are {}, and they fit no known shape", found(row));
    let lacking: Vec<String> =
        nearest.1.iter().filter(|name| called(row, name).is_none()).map(|name| lack(row, name)).collect();
    if lacking.is_empty() {
        // It matches by itself, and not what data.columns names a part of.
        detail = format!(
            "data.columns names a part of a question with its answer, and the row is {}, which has no such part; name its columns, or \
             none; it has {}",
            nearest.0,
            found(row)
        );
    } else if score(&nearest.1) > 0 {
        detail.push_str(&format!("; the nearest is {}, which lacks {}", nearest.0, lacking.join(" and ")));
    }
    let known: Vec<&str> = ["messages", "conversations"]
        .into_iter()
        .chain(PAIR_SHAPES.iter().map(|(name, _)| *name))
        .chain(["text"])
        .collect();
    detail.push_str(&format!(
        "; rename the columns, or say which is which: {}. Known shapes: {}",
        naming(&[("prompt", "…"), ("response", "…"), ("reasoning", "…")]),
        known.join(", ")
    ));
    Problem::new(ProblemKind::Columns, detail)
}

fn lack(row: &Columns, name: &str) -> String {
    match row.names().any(|own| same(own, name)) {
        true => format!("`{name}` (it is null)"),
        false => format!("`{name}`"),
    }
}
