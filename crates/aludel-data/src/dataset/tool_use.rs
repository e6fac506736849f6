//! Tools in rows: the definitions beside a conversation, the calls of a message and whose result a message is, in the notations of
//! OpenAI and ShareGPT. What a well-formed call or definition is stands in `aludel_text::tools`.

use aludel_text::message::{Message, Role};
use aludel_text::tools::{Tool, ToolCall, read_json};
use serde_json::Value;

use super::problem::{Problem, ProblemKind};
use super::{Columns, Kind};
use crate::column_names::called;
use crate::json::{Fields, Json};

/// The columns and the fields of a message that hold definitions.
pub(super) const TOOLS: [&str; 2] = ["tools", "functions"];

/// The fields of a message that are read here.
pub(super) const FIELDS: [&str; 4] = ["tool_calls", "function_call", "tools", "functions"];

/// The role by which ShareGPT's notation tells a call: the message's text is the call.
pub(super) const CALL_ROLE: &str = "function_call";

/// How calls are written out in answers by models whose calls are text, so that a result behind them answers something.
const CALLS_IN_TEXT: [&str; 8] = [
    "<tool_call",
    "<function",
    "[TOOL_CALLS]",
    "<|python_tag|>",
    "<tool_use",
    "<|tool_call",
    "<tool_code",
    "```tool_code",
];

/// Tools, and the columns that hold them.
type ToolColumns<'a> = (Vec<&'a str>, Vec<Tool>);

/// The tools of a row: a list, or the JSON text of one. The second column has to say the same as the first.
pub(super) fn tools_of(row: &Columns) -> Result<Option<ToolColumns<'_>>, Problem> {
    let mut found: Option<ToolColumns<'_>> = None;
    for (name, value) in TOOLS.iter().filter_map(|name| called(row, name)) {
        let tools = tools_from(value).map_err(|reason| wrong(format!("column `{name}`{reason}")))?;
        match &mut found {
            _ if tools.is_empty() => {}
            None => found = Some((vec![name], tools)),
            Some((names, own)) if *own == tools => names.push(name),
            Some((names, _)) => {
                return Err(wrong(format!("columns `{}` and `{name}` hold different tools; take one out", names[0])));
            }
        }
    }
    Ok(found)
}

/// Gives a conversation the tools of its row; `false` where its system message tells of all of them already, so that the template would
/// render them twice.
pub(super) fn give_tools(messages: &mut [Message], column: &str, tools: Vec<Tool>) -> Result<bool, Problem> {
    if messages.iter().any(|message| !message.tools.is_empty() && message.tools != tools) {
        return Err(wrong(format!("column `{column}` and a message of the row hold different tools; take one out")));
    }
    let is_told = |message: &&Message| message.role == Role::System && message.content.contains("<tools>");
    if let Some(system) = messages.iter().find(is_told) {
        return match tools.iter().find(|tool| !system.content.contains(tool.name())) {
            None => Ok(false),
            Some(tool) => Err(wrong(format!(
                "the system message tells of tools (`<tools>`), and not of `{}` in column `{column}`; give all tools in one of the two",
                tool.name().escape_debug()
            ))),
        };
    }
    if messages.iter().all(|message| message.tools.is_empty())
        && let Some(first) = messages.first_mut()
    {
        first.tools = tools;
    }
    Ok(true)
}

/// Definitions, with what is wrong with them put behind a name.
fn tools_from(value: Json<'_>) -> Result<Vec<Tool>, String> {
    let read = |text: &str| read_json(text).map_err(|reason| format!(" is not JSON: {reason}"));
    let list = match value.kind() {
        Kind::Text => {
            let text = value.text().map_err(|half| format!(" holds {half}"))?.unwrap_or_default();
            match text.trim() {
                "" => return Ok(Vec::new()),
                nothing if ["{}", "none", "null"].iter().any(|known| nothing.eq_ignore_ascii_case(known)) => {
                    return Ok(Vec::new());
                }
                text => read(text)?,
            }
        }
        _ if value.is_empty() => return Ok(Vec::new()),
        _ => read(value.written())?,
    };
    let Value::Array(items) = list else {
        return Err(" holds no list, and a list of tools, or the JSON text of one, is wanted".to_owned());
    };
    let tool = |(index, item): (usize, Value)| {
        // A tool may be written as the JSON text of one, as tables do it.
        let item = match item {
            Value::String(text) => read_json(&text).map_err(|reason| format!("[{index}] is not JSON: {reason}"))?,
            item => item,
        };
        Tool::new(item).map_err(|reason| format!("[{index}] {reason}"))
    };
    items.into_iter().enumerate().map(tool).collect()
}

/// What a message says of tools beside its text.
#[derive(Default)]
pub(super) struct ToolFields {
    pub(super) calls: Vec<ToolCall>,
    pub(super) tools: Vec<Tool>,
}

impl ToolFields {
    /// # Errors
    /// What is malformed, without the message's place.
    pub(super) fn of(fields: &Fields<'_>, role: Role) -> Result<ToolFields, String> {
        let mut read = ToolFields::default();
        let full = |name: &str| fields.get(name).filter(|value| !value.is_empty());
        for name in TOOLS {
            let Some(value) = full(name) else { continue };
            let tools = tools_from(value).map_err(|reason| format!("`{name}`{reason}"))?;
            if !read.tools.is_empty() && read.tools != tools {
                return Err("`tools` and `functions` are not the same; take one out".to_owned());
            }
            read.tools = tools;
        }
        if let Some(value) = full("tool_calls") {
            read.calls = calls_from("tool_calls", value)?;
        }
        if let Some(value) = fields.get("function_call").filter(|value| !value.is_null()) {
            let calls = match value.kind() {
                Kind::Text if value.is_empty() => Vec::new(),
                _ => calls_from("function_call", value)?,
            };
            if !read.calls.is_empty() && !calls.is_empty() && !same_calls(&read.calls, &calls) {
                return Err("`tool_calls` and `function_call` are not the same; take one out".to_owned());
            }
            if read.calls.is_empty() {
                read.calls = calls;
            }
        }
        match (role, read.calls.is_empty()) {
            (Role::Assistant, _) | (_, true) => Ok(read),
            (other, false) => Err(format!("has calls, and its role is {}; only an assistant calls", other.as_str())),
        }
    }
}

fn same_calls(one: &[ToolCall], other: &[ToolCall]) -> bool {
    let is_same = |(a, b): (&ToolCall, &ToolCall)| a.name == b.name && a.arguments.object() == b.arguments.object();
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// One call or a list of them, or the JSON text of either.
pub(super) fn calls_from(name: &str, value: Json<'_>) -> Result<Vec<ToolCall>, String> {
    let read = |text: &str| read_json(text).map_err(|reason| format!("`{name}` is not JSON: {reason}"));
    let value = match value.kind() {
        Kind::Text => read(&value.text().map_err(|half| format!("`{name}` holds {half}"))?.unwrap_or_default())?,
        _ => read(value.written())?,
    };
    let call = |place: String, call: &Value| ToolCall::new(call).map_err(|reason| format!("`{place}` {reason}"));
    match &value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| call(format!("{name}[{index}]"), item)).collect()
        }
        one => Ok(vec![call(name.to_owned(), one)?]),
    }
}

/// Refuses results that answer no call: each stands behind the turn that calls, or behind another of its results.
pub(super) fn check_results(messages: &[Message], place: impl Fn(usize) -> String) -> Result<(), Problem> {
    let mut calling: Option<&Message> = None;
    for (index, message) in messages.iter().enumerate() {
        if message.role != Role::Tool {
            calling = Some(message).filter(|message| message.role == Role::Assistant && calls(message));
            continue;
        }
        let Some(turn) = calling else {
            return Err(wrong(format!(
                "{} (tool) is a result, and no assistant's turn with `tool_calls` stands before it; put the call there, or take the result \
                 out",
                place(index)
            )));
        };
        let ids: Vec<&str> = turn.tool_calls.iter().filter_map(|call| call.id.as_deref()).collect();
        if let Some(id) = message.tool_call_id.as_deref().filter(|id| !id.is_empty())
            && !ids.is_empty()
            && !ids.contains(&id)
        {
            return Err(wrong(format!(
                "{} (tool) has the `tool_call_id` `{}`, and the calls before it have `{}`",
                place(index),
                id.escape_debug(),
                ids.join("`, `").escape_debug()
            )));
        }
    }
    Ok(())
}

/// Whether a turn calls, in a field or in its text.
fn calls(message: &Message) -> bool {
    let text = message.content.trim();
    let is_json = || text.starts_with(['{', '[']) && text.contains("\"name\"");
    !message.tool_calls.is_empty() || CALLS_IN_TEXT.iter().any(|mark| text.contains(mark)) || is_json()
}

/// The messages as they are written to a file, and the tools that go into a column of their own, as JSON text: a table would give
/// each schema the members of all others.
pub fn apart(messages: &[Message]) -> (Vec<Message>, Option<String>) {
    let tools: Vec<&Tool> = messages.iter().flat_map(|message| &message.tools).collect();
    let bare = messages.iter().map(|message| Message { tools: Vec::new(), ..message.clone() });
    let written = (!tools.is_empty()).then(|| {
        let list: Vec<&Value> = tools.into_iter().map(Tool::definition).collect();
        aludel_text::tools::spaced_json(&Value::Array(list.into_iter().cloned().collect()))
    });
    (bare.collect(), written)
}

/// Refuses a question with tools: teachers and tasks are asked without them.
pub(super) fn no_tools_asked(messages: &[Message]) -> Result<(), Problem> {
    match messages.iter().any(|message| !message.tool_calls.is_empty() || !message.tools.is_empty()) {
        true => Err(wrong(
            "the conversation has tools or calls of tools, and questions are asked without them; take `tools`, `tool_calls` and their \
             results out of the row, or leave it out"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

fn wrong(detail: String) -> Problem {
    Problem::new(ProblemKind::Value, detail)
}
