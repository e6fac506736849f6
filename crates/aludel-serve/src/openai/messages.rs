//! Messages as requests have them: contents of text or of parts of text, reasoning under either name, calls of tools and their results.
//! What a message is otherwise is `aludel_text`'s.

use aludel_text::{Message, Role, ToolCall};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The names of reasoning beside the content. It is taken back as it was given.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];
/// Types of parts that are text.
const TEXT_PARTS: [&str; 3] = ["text", "input_text", "output_text"];

/// The messages of a request.
///
/// # Errors
/// What a message has that is not text, and where.
pub(crate) fn messages(field: &str, values: &[Value]) -> Result<Vec<Message>, ApiError> {
    if values.is_empty() {
        return Err(ApiError::field(field, "there is none; a conversation has at least a user message"));
    }
    values.iter().enumerate().map(|(at, value)| message(&format!("{field}[{at}]"), value)).collect()
}

fn message(place: &str, value: &Value) -> Result<Message, ApiError> {
    let Value::Object(members) = value else {
        return Err(ApiError::field(place, format!("{} is not a message", kind(value))));
    };
    let role = role(&format!("{place}.role"), members.get("role"))?;
    let tool_calls = tool_calls(&format!("{place}.tool_calls"), members.get("tool_calls"))?;
    let content = text(&format!("{place}.content"), members.get("content"))?;
    if content.is_none() && tool_calls.is_empty() {
        return Err(ApiError::field(format!("{place}.content"), "it is missing"));
    }
    let mut reasoning = None;
    for name in REASONING {
        match members.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.trim().is_empty() => {}
            Some(Value::String(text)) => reasoning = reasoning.or_else(|| Some(text.clone())),
            Some(other) => {
                return Err(ApiError::field(format!("{place}.{name}"), format!("{} is not a text", kind(other))));
            }
        }
    }
    let named = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Message {
        is_content_null: content.is_none(),
        reasoning,
        tool_calls,
        tool_call_id: named("tool_call_id"),
        tool_name: (role == Role::Tool).then(|| named("name").or_else(|| named("tool_name"))).flatten(),
        ..Message::new(role, content.unwrap_or_default())
    })
}

/// A role by its name.
pub(crate) fn role(place: &str, value: Option<&Value>) -> Result<Role, ApiError> {
    match value.and_then(Value::as_str) {
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("tool" | "function") => Ok(Role::Tool),
        _ => {
            let given = value.unwrap_or(&Value::Null);
            let message = format!("{given} is no role; give system, developer, user, assistant or tool");
            Err(ApiError::field(place, message))
        }
    }
}

fn tool_calls(place: &str, value: Option<&Value>) -> Result<Vec<ToolCall>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(calls)) => {
            let call = |call| ToolCall::new(call).map_err(|what| ApiError::field(place, format!("a call {what}")));
            calls.iter().map(call).collect()
        }
        Some(other) => Err(ApiError::field(place, format!("{} is not a list of calls", kind(other)))),
    }
}

/// A text, or parts that are all text; none where it is null.
///
/// # Errors
/// Another type of part, by name.
pub(crate) fn text(place: &str, value: Option<&Value>) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().enumerate().map(|(at, part)| part_text(&format!("{place}[{at}]"), part));
            Ok(Some(texts.collect::<Result<Vec<_>, _>>()?.concat()))
        }
        Some(other) => Err(ApiError::field(place, format!("{} is neither a text nor a list of parts", kind(other)))),
    }
}

fn part_text(place: &str, part: &Value) -> Result<String, ApiError> {
    let kind_of_part = part.get("type").and_then(Value::as_str).unwrap_or("text");
    if !TEXT_PARTS.contains(&kind_of_part) {
        let message = format!("parts of type {kind_of_part:?} are not read here; send text");
        return Err(ApiError::field(format!("{place}.type"), message));
    }
    let text = part.get("text").and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| ApiError::field(format!("{place}.text"), "it is not a text"))
}

/// Variables for the chat template.
///
/// # Errors
/// A name that a template cannot have, or has from the server.
pub(crate) fn template_variables(
    place: &str,
    variables: Option<Map<String, Value>>,
) -> Result<Map<String, Value>, ApiError> {
    let variables = variables.unwrap_or_default();
    for name in variables.keys() {
        if let Some(reason) = aludel_distill::settings::refused_template_variable(name) {
            return Err(ApiError::field(format!("{place}.{name}"), reason));
        }
    }
    Ok(variables)
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_parts_and_reasoning_are_read() {
        let values = [
            json!({"role": "developer", "content": "Be brief."}),
            json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            json!({"role": "assistant", "content": "c", "reasoning": "d", "reasoning_content": "d", "refusal": null}),
            json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
            json!({"role": "tool", "content": "5", "tool_call_id": "1"}),
        ];
        let read = messages("messages", &values).unwrap();
        assert_eq!(
            read[..3],
            [Message::system("Be brief."), Message::user("ab"), Message::assistant("c").with_reasoning("d"),]
        );
        assert!(read[3].is_content_null && read[3].tool_calls[0].name == "f");
        assert_eq!(read[4].tool_call_id.as_deref(), Some("1"));
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        let check = |value: Value, param: &str| {
            let error = messages("messages", &[json!({"role": "user", "content": "q"}), value]).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{error:?}");
        };
        check(json!("hi"), "messages[1]");
        check(json!({"role": "robot", "content": "q"}), "messages[1].role");
        check(json!({"content": "q"}), "messages[1].role");
        check(json!({"role": "user"}), "messages[1].content");
        check(json!({"role": "user", "content": 5}), "messages[1].content");
        let image = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        check(json!({"role": "user", "content": image}), "messages[1].content[1].type");
        check(json!({"role": "assistant", "content": "a", "reasoning": 1}), "messages[1].reasoning");
        check(json!({"role": "assistant", "content": "a", "tool_calls": [{}]}), "messages[1].tool_calls");
        assert_eq!(messages("messages", &[]).unwrap_err().param.as_deref(), Some("messages"));
    }
}
