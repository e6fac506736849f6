//! Reads lists of messages in the notations that data sets use (`role`/`content`, `from`/`value`, content in parts) and
//! puts reasoning in its own place. Which column holds the list is `columns`' matter.

use aludel_text::message::{Message, Role};
use aludel_text::thinking::ThinkTags;
use serde_json::{Map, Value};

use super::columns::{kind_of, text_of};
use super::problem::{Problem, ProblemKind};

/// All messages of a list column.
pub(super) fn messages_from((name, value): (&str, &Value)) -> Result<Vec<Message>, Problem> {
    let Value::Array(list) = value else {
        return Err(wrong(format!("column `{name}` holds {}, and a list of messages is wanted", kind_of(value))));
    };
    if list.is_empty() {
        return Err(Problem::new(ProblemKind::NothingToLearn, format!("column `{name}` is an empty list")));
    }
    list.iter().enumerate().map(|(index, item)| message_from(item, &format!("{name}[{index}]"))).collect()
}

/// The messages of a prompt: text is one user message, a list is taken as it stands.
pub(super) fn prompt_from(column: (&str, &Value)) -> Result<Vec<Message>, Problem> {
    if column.1.is_array() {
        return messages_from(column);
    }
    let content = text_of(column)?;
    match content.trim().is_empty() {
        true => Err(wrong(format!("column `{}` is empty; a row needs a prompt", column.0))),
        false => Ok(vec![Message::user(content)]),
    }
}

/// The messages of an answer: text is one assistant message, whose reasoning may stand in its own column, in the text
/// between think tags, or in both.
pub(super) fn reply_from(column: Option<(&str, &Value)>, reasoning: Option<String>) -> Result<Vec<Message>, Problem> {
    let mut messages = match column {
        Some(column) if column.1.is_array() => messages_from(column)?,
        Some(column) => vec![assistant(text_of(column)?, None)],
        None => vec![assistant(String::new(), None)],
    };
    // A data set that gives both repeats itself; the column is the deliberate one.
    if let Some(reasoning) = reasoning.as_deref().and_then(bare_reasoning)
        && let Some(last) = messages.iter_mut().rev().find(|message| message.role == Role::Assistant)
    {
        last.reasoning = Some(reasoning);
    }
    Ok(messages)
}

fn message_from(item: &Value, place: &str) -> Result<Message, Problem> {
    let Value::Object(fields) = item else {
        return Err(wrong(format!("{place} holds {}, and a message object is wanted", kind_of(item))));
    };
    let role = role_from(fields, place)?;
    if fields
        .get("tool_calls")
        .is_some_and(|calls| calls.as_array().is_none_or(|list| !list.is_empty()) && !calls.is_null())
    {
        return Err(wrong(format!("{place} holds `tool_calls`, which cannot be learnt yet; leave such rows out")));
    }
    let content = match field(fields, &["content", "value"]) {
        Some(value) => content_from(value, place)?,
        None => String::new(),
    };
    if role != Role::Assistant {
        return Ok(Message::new(role, content));
    }
    let reasoning = field(fields, &["reasoning_content", "reasoning", "thinking"])
        .map(|value| text_of((&format!("{place}.reasoning"), value)))
        .transpose()?;
    Ok(assistant(content, reasoning.as_deref().and_then(bare_reasoning)))
}

fn role_from(fields: &Map<String, Value>, place: &str) -> Result<Role, Problem> {
    let Some(Value::String(name)) = field(fields, &["role", "from"]) else {
        return Err(wrong(format!("{place} says neither `role` nor `from`, so nobody knows who speaks")));
    };
    match name.to_ascii_lowercase().as_str() {
        "system" | "developer" => Ok(Role::System),
        "user" | "human" => Ok(Role::User),
        "assistant" | "gpt" | "model" | "bot" | "chatgpt" | "ai" => Ok(Role::Assistant),
        "tool" | "function" | "observation" | "function_response" | "ipython" => Ok(Role::Tool),
        _ => Err(wrong(format!(
            "{place} has the role `{}`; known are system, user (human), assistant (gpt, model) and tool (function, observation)",
            name.escape_debug()
        ))),
    }
}

/// Content is text, or a list of parts of which only text can be learnt.
fn content_from(value: &Value, place: &str) -> Result<String, Problem> {
    let Value::Array(parts) = value else {
        return text_of((place, value));
    };
    let mut content = String::new();
    for part in parts {
        match (part, part.get("text")) {
            (Value::String(text), _) | (_, Some(Value::String(text))) => content.push_str(text),
            _ => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("unknown");
                return Err(wrong(format!("{place} has a part of type `{kind}`, and only text can be learnt")));
            }
        }
    }
    Ok(content)
}

/// An assistant message; reasoning between tags in its content moves to its own place, where reasoning that stands
/// beside the content takes precedence.
fn assistant(content: String, reasoning: Option<String>) -> Message {
    let mut message = Message::assistant(content).split_reasoning(&ThinkTags::default());
    if reasoning.is_some() {
        message.reasoning = reasoning;
    }
    message
}

/// Reasoning without the tags that some data sets leave around it, or `None` if nothing is left.
fn bare_reasoning(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("<think>").unwrap_or(text);
    let text = text.strip_suffix("</think>").unwrap_or(text).trim();
    (!text.is_empty()).then(|| text.to_string())
}

fn field<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| fields.get(*name).filter(|value| !value.is_null()))
}

fn wrong(detail: String) -> Problem {
    Problem::new(ProblemKind::Value, detail)
}
