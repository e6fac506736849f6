//! Reads lists of messages in the notations of data sets (`role`/`content`, `from`/`value`, content in parts), with their reasoning
//! and weights. Which fields of a message are read and which are refused is decided here; which column holds the list, in
//! `columns`.

use aludel_text::message::{Message, Role};
use aludel_text::thinking::{InlineReasoning, bare, inline};

use super::column::text_of;
use super::completeness;
use super::finish_columns;
use super::loss_weight::{self, weight_in};
use super::problem::{Problem, ProblemKind};
use super::row_marks;
use super::tool_use::{self, ToolFields};
use crate::json::{Fields, Json, Kind};
use crate::message_fields::{self, CONTENT, MessageParts};
use crate::unknown_fields::{self, NOT_LEARNT, ROLE};

/// All messages of a list column.
pub(super) fn messages_from((name, value): (&str, Json<'_>)) -> Result<Vec<Message>, Problem> {
    if value.kind() != Kind::List {
        let kind = value.kind().named();
        return Err(wrong(format!("column `{name}` holds {kind}, and a list of messages is wanted")));
    }
    let items = value.items();
    if items.is_empty() {
        return Err(Problem::new(ProblemKind::NothingToLearn, format!("column `{name}` is an empty list")));
    }
    let place = |index: usize| format!("{name}[{index}]");
    let read = items.iter().enumerate().map(|(index, item)| message_from(*item, &place(index)));
    let messages = read.collect::<Result<Vec<Message>, Problem>>()?;
    tool_use::check_results(&messages, place)?;
    // The last answer may be missing; an earlier one must not be empty.
    let before_last = &messages[..messages.len() - 1];
    match before_last.iter().position(|message| message.role == Role::Assistant && message.says_nothing()) {
        Some(index) => Err(wrong(format!(
            "{} is an assistant's turn without content, reasoning or calls, with other turns behind it",
            place(index)
        ))),
        None => Ok(messages),
    }
}

/// The messages of a prompt: text, or a list of its parts, is one user message; a list of messages is read as it is.
pub(super) fn prompt_from(column: (&str, Json<'_>)) -> Result<Vec<Message>, Problem> {
    let content = match column.1.kind() {
        Kind::List if is_parts(column.1) => match parts_from(column)? {
            (content, None) => content,
            (_, Some(_)) => {
                return Err(wrong(format!("column `{}` has reasoning, which only an answer can have", column.0)));
            }
        },
        Kind::List => return messages_from(column),
        _ => text_of(column)?,
    };
    match content.trim().is_empty() {
        true => Err(wrong(format!("column `{}` is empty; a row needs a prompt", column.0))),
        false => Ok(vec![Message::user(content)]),
    }
}

/// Earlier turns in LLaMA-Factory's format: a list of pairs of a question and its answer.
pub(super) fn history_from((name, value): (&str, Json<'_>)) -> Result<Vec<Message>, Problem> {
    let pair = |(index, pair): (usize, Json<'_>)| {
        let place = format!("{name}[{index}]");
        let texts: Vec<String> =
            pair.items().into_iter().map(|text| text_of((&place, text))).collect::<Result<_, _>>()?;
        match <[String; 2]>::try_from(texts) {
            Ok([question, answer]) => Ok([Message::user(question), assistant(answer, None, &place)?]),
            Err(_) => Err(wrong(format!("{place} is no pair of a question and its answer"))),
        }
    };
    if !value.is_empty() && value.kind() != Kind::List {
        return Err(wrong(format!("column `{name}` holds {}, and a list of pairs is wanted", value.kind().named())));
    }
    Ok(value.items().into_iter().enumerate().map(pair).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The messages of an answer: text, or a list of its parts, is one assistant message, whose reasoning may be in its own column, or
/// in the text between think tags.
pub(super) fn reply_from(column: Option<(&str, Json<'_>)>, reasoning: Option<String>) -> Result<Vec<Message>, Problem> {
    let reasoning = reasoning.as_deref().and_then(bare_reasoning);
    let place = column.map_or_else(String::new, |(name, _)| format!("column `{name}`"));
    let mut messages = match column {
        Some(column) if is_parts(column.1) => {
            let (content, own) = parts_from(column)?;
            vec![assistant(content, own, &place)?]
        }
        Some(column) if column.1.kind() == Kind::List => messages_from(column)?,
        Some(column) => return Ok(vec![assistant(text_of(column)?, reasoning, &place)?]),
        None => return Ok(vec![assistant(String::new(), reasoning, &place)?]),
    };
    match reasoning.is_none_or(|reasoning| give_reasoning(&mut messages, reasoning)) {
        true => Ok(messages),
        false => Err(wrong("the answer has reasoning of its own, and a column another; give one of them".to_string())),
    }
}

/// Whether a list holds parts of one message, and no messages.
fn is_parts(value: Json<'_>) -> bool {
    let is_part = |item: &Json<'_>| item.get("type").is_some() && ROLE.iter().all(|name| item.get(name).is_none());
    let items = if value.kind() == Kind::List { value.items() } else { Vec::new() };
    !items.is_empty() && items.iter().all(is_part)
}

/// Content and reasoning of a list of parts.
fn parts_from((name, value): (&str, Json<'_>)) -> Result<(String, Option<String>), Problem> {
    let in_column = |reason: String| wrong(format!("column `{name}`: {reason}"));
    let said = message_fields::said_in_parts(value).map_err(in_column)?;
    if !said.refusal.is_empty() {
        return Err(not_learnt(&format!("column `{name}`"), "refusal"));
    }
    let content = message_fields::text_of(said.content, "its content").map_err(in_column)?;
    let reasoning = message_fields::text_of(said.reasoning, "its reasoning").map_err(in_column)?;
    message_fields::no_setting("its reasoning", &reasoning).map_err(in_column)?;
    Ok((content, bare_reasoning(&reasoning)))
}

/// Adds the reasoning beside the conversation to the last answer; `false` if it has another one.
pub(super) fn give_reasoning(messages: &mut [Message], reasoning: String) -> bool {
    let Some(last) = messages.iter_mut().rev().find(|message| message.role == Role::Assistant) else { return true };
    match &last.reasoning {
        Some(own) if !own.trim().is_empty() && own.trim() != reasoning => false,
        _ => {
            last.reasoning = Some(reasoning);
            true
        }
    }
}

fn message_from(item: Json<'_>, place: &str) -> Result<Message, Problem> {
    if item.kind() != Kind::Object {
        return Err(wrong(format!("{place} holds {}, and a message object is wanted", item.kind().named())));
    }
    let fields = item.fields();
    let at_place = |reason: String| wrong(format!("{place}: {reason}"));
    message_fields::once_each(&fields).map_err(at_place)?;
    let (role, is_call) = role_from(&fields, place)?;
    let tool_fields = ToolFields::of(&fields, role).map_err(at_place)?;
    check_fields(&fields, !tool_fields.calls.is_empty() || is_call, place)?;
    let weight = weight_in(&fields).map_err(at_place)?.unwrap_or(1.0);
    let said = MessageParts::of(&fields, false).map_err(at_place)?;
    if !said.refusal.is_empty() {
        return Err(not_learnt(place, "refusal"));
    }
    let content = message_fields::text_of(said.content, "its content").map_err(at_place)?;
    if role != Role::Assistant {
        let is_there = CONTENT.iter().any(|name| fields.get(name).is_some());
        // A system message may be empty, and so may a tool's result; a question may not.
        if !is_there || (role == Role::User && content.trim().is_empty()) {
            let role = role.as_str();
            return Err(wrong(format!("{place} ({role}) has no content; give it in `content`")));
        }
        if !said.reasoning.is_empty() {
            let role = role.as_str();
            return Err(wrong(format!("{place} ({role}) has reasoning, which only an assistant's turn can have")));
        }
        let mut message = Message { weight, tools: tool_fields.tools, ..Message::new(role, content) };
        if role == Role::Tool {
            message.tool_call_id = text_in(&fields, "tool_call_id").map_err(at_place)?;
            message.tool_name = text_in(&fields, "name").map_err(at_place)?;
        }
        return Ok(message);
    }
    let reasoning = message_fields::text_of(said.reasoning, "its reasoning").map_err(at_place)?;
    message_fields::no_setting("its reasoning", &reasoning).map_err(at_place)?;
    let mut message = assistant(content, bare_reasoning(&reasoning), place)?;
    (message.weight, message.tools, message.tool_calls) = (weight, tool_fields.tools, tool_fields.calls);
    if is_call {
        call_from_content(&mut message).map_err(at_place)?;
    }
    if !message.tool_calls.is_empty() {
        message.is_content_null = CONTENT.iter().all(|name| fields.get(name).is_none()) || message.is_content_null;
        if message.reasoning.is_none() && matches!(inline(&message.content), InlineReasoning::Open(_)) {
            return Err(at_place("its reasoning is never closed, and calls stand behind it".to_owned()));
        }
    }
    Ok(message)
}

/// Takes the text of a turn that is a call as one, as ShareGPT's role `function_call` means it.
fn call_from_content(message: &mut Message) -> Result<(), String> {
    if !message.tool_calls.is_empty() {
        return Err("it is a `function_call` by its role and has calls of its own; take one out".to_owned());
    }
    let text = serde_json::to_string(&message.content).map_err(|error| error.to_string())?;
    let text = Json::parse(&text).map_err(|error| error.to_string())?;
    message.tool_calls = tool_use::calls_from("function_call", text)?;
    message.content.clear();
    message.is_content_null = true;
    Ok(())
}

/// A note of a result that templates read.
fn text_in(fields: &Fields<'_>, name: &str) -> Result<Option<String>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.scalar() {
        Ok(Some(text)) => Ok(Some(text.into_owned()).filter(|text| !text.is_empty())),
        Ok(None) => Err(format!("`{name}` holds {}, and text is wanted", value.kind().named())),
        Err(half) => Err(format!("`{name}` holds {half}")),
    }
}

/// Refuses fields of a message beside its text and its calls that cannot be ignored.
fn check_fields(fields: &Fields<'_>, calls: bool, place: &str) -> Result<(), Problem> {
    let ends = fields.iter().filter(|field| !calls || !completeness::says_called(*field));
    if let Some(flaw) = finish_columns::flaw_in(ends) {
        return Err(wrong(format!("{place} was not answered to its end ({})", flaw.detail)));
    }
    let unknown = unknown_fields::unknown(fields).find(|(name, value)| {
        !loss_weight::is_name(name)
            && !tool_use::FIELDS.contains(name)
            && !finish_columns::is_mark((name, *value))
            && !row_marks::is_in_favour(name, *value)
    });
    let Some((name, value)) = unknown else { return Ok(()) };
    if NOT_LEARNT.contains(&name) {
        return Err(not_learnt(place, name));
    }
    if value.written() == "true" || value.written() == "false" {
        let shown = name.escape_debug();
        return Err(wrong(format!(
            "{place} has `{shown}`: {}, which may say that it does not count; take it out",
            value.written()
        )));
    }
    let shown = name.escape_debug();
    Err(wrong(format!(
        "{place} has `{shown}`, which Aludel does not know, so that it may be text or change what is learnt; take it out of the \
         messages, or call it `metadata` if it is only a note"
    )))
}

fn not_learnt(place: &str, name: &str) -> Problem {
    wrong(format!("{place} holds `{name}`, which cannot be learnt yet"))
}

/// Who speaks, and whether the role says that the text is a call.
fn role_from(fields: &Fields<'_>, place: &str) -> Result<(Role, bool), Problem> {
    let said = ROLE.map(|name| fields.get(name).and_then(|role| role.text().ok().flatten()));
    match said {
        [None, None] => Err(wrong(format!("{place} says neither `role` nor `from`, so the speaker is unknown"))),
        [Some(name), None] | [None, Some(name)] => Ok((role_called(&name, place)?, is_call_role(&name))),
        [Some(name), Some(other)] => match (role_called(&name, place)?, role_called(&other, place)) {
            (role, Ok(of_other)) if role == of_other => Ok((role, is_call_role(&name) || is_call_role(&other))),
            _ => Err(wrong(format!(
                "{place} has the `role` `{}` and is `from` `{}`, which contradict each other; take one out",
                name.escape_debug(),
                other.escape_debug()
            ))),
        },
    }
}

fn is_call_role(name: &str) -> bool {
    name.eq_ignore_ascii_case(tool_use::CALL_ROLE)
}

fn role_called(name: &str, place: &str) -> Result<Role, Problem> {
    role_of(name).ok_or_else(|| {
        wrong(format!(
            "{place} has the role `{}`; known are system, user (human), assistant (gpt, model, function_call) and tool (function, observation)",
            name.escape_debug()
        ))
    })
}

fn role_of(name: &str) -> Option<Role> {
    Some(match name.to_ascii_lowercase().as_str() {
        "system" | "developer" => Role::System,
        "user" | "human" => Role::User,
        "assistant" | "gpt" | "model" | "bot" | "chatgpt" | "ai" | tool_use::CALL_ROLE => Role::Assistant,
        "tool" | "function" | "observation" | "function_response" | "ipython" => Role::Tool,
        _ => return None,
    })
}

/// Whether a role of this name is the assistant's; `None` for an unknown role.
pub fn is_assistant(name: &str) -> Option<bool> {
    role_of(name).map(|role| role == Role::Assistant)
}

/// An assistant message. Reasoning between tags in its content is separated from it; if there is reasoning beside the content, the
/// content is the answer, whatever tags it contains. A data set may contain both, word for word.
fn assistant(content: String, reasoning: Option<String>, place: &str) -> Result<Message, Problem> {
    let said = |reasoning: String, answer: &str| {
        let reasoning = Some(reasoning.trim().to_owned()).filter(|text| !text.is_empty());
        Message { reasoning, ..Message::assistant(answer.trim_start()) }
    };
    match (inline(&content), reasoning) {
        (InlineReasoning::Closed { reasoning, answer }, None) => Ok(said(reasoning, answer)),
        (InlineReasoning::Closed { reasoning: own, answer }, Some(reasoning)) if own.trim() == reasoning => {
            Ok(said(own, answer))
        }
        (_, Some(reasoning)) => Ok(Message::assistant(content).with_reasoning(reasoning)),
        (InlineReasoning::Absent | InlineReasoning::Open(_), None) => Ok(Message::assistant(content)),
        (InlineReasoning::Unclear(what), None) => Err(Problem::new(
            ProblemKind::NotWhole,
            format!(
                "{place}: {what}, so reasoning cannot be told from the answer; write tags that are only spoken of as code (`…`), or the \
                 reasoning beside the content"
            ),
        )),
    }
}

/// Reasoning without the tags that some data sets leave around it, or `None` if it is empty.
fn bare_reasoning(text: &str) -> Option<String> {
    let text = bare(text);
    (!text.is_empty()).then(|| text.to_string())
}

fn wrong(detail: String) -> Problem {
    Problem::new(ProblemKind::Value, detail)
}
