//! Tools in conversations: what a model may call, and its calls, in OpenAI's shape, which chat templates read. What makes a
//! definition or a call malformed is decided here; which columns and fields hold them is left to whoever reads rows.

mod json_text;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use json_text::read_json;

/// What may stand beside `name` and `arguments` and says nothing of the call.
const NOTES_OF_CALLS: [&str; 3] = ["id", "type", "index"];

/// A tool that the model may call: a JSON object with `type` and `function`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Tool(Value);

/// A call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct ToolCall {
    /// Identifies the call for its result.
    pub id: Option<String>,
    /// Name of the tool.
    pub name: String,
    /// The arguments.
    pub arguments: Arguments,
}

/// The arguments of a call: an object, and the JSON text of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    object: Map<String, Value>,
    text: String,
}

impl Tool {
    /// A definition, with or without `{"type": "function", "function": …}` around it. Templates get it with that.
    ///
    /// # Errors
    /// What is missing, without its place.
    pub fn new(definition: Value) -> Result<Tool, String> {
        let Value::Object(members) = &definition else {
            return Err(format!("holds {}, and the object of a tool's definition is wanted", kind(&definition)));
        };
        let tool = match members.get("function") {
            Some(Value::Object(_)) => match members.contains_key("type") {
                true => Tool(definition),
                false => Tool(json!({"type": "function", "function": members["function"]})),
            },
            Some(other) => return Err(format!("has `function` with {}, and an object is wanted", kind(other))),
            None => Tool(json!({"type": "function", "function": definition})),
        };
        let function = &tool.0["function"];
        match function.get("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => {}
            _ => return Err("has no `name`, which a tool is called by".to_owned()),
        }
        match function.get("parameters") {
            None | Some(Value::Null | Value::Object(_)) => Ok(tool),
            Some(other) => Err(format!("has `parameters` with {}, and a JSON schema is wanted", kind(other))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0["function"]["name"].as_str().unwrap_or_default()
    }

    /// The definition in OpenAI's shape.
    pub fn definition(&self) -> &Value {
        &self.0
    }

    pub(crate) fn definition_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl TryFrom<Value> for Tool {
    type Error = String;

    fn try_from(definition: Value) -> Result<Tool, String> {
        Tool::new(definition).map_err(|what| format!("a tool {what}"))
    }
}

impl From<Tool> for Value {
    fn from(tool: Tool) -> Value {
        tool.0
    }
}

impl ToolCall {
    /// A call, with or without `function` around its name and arguments.
    ///
    /// # Errors
    /// What is malformed, without its place.
    pub fn new(call: &Value) -> Result<ToolCall, String> {
        let Value::Object(outer) = call else {
            return Err(format!("holds {}, and the object of a call is wanted", kind(call)));
        };
        let function = match outer.get("function") {
            Some(Value::Object(function)) => Some(function),
            None | Some(Value::Null) => None,
            Some(other) => return Err(format!("has `function` with {}, and an object is wanted", kind(other))),
        };
        let inner = function.unwrap_or(outer);
        let name = match inner.get("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
            _ if function.is_none() => return Err("has neither `function` nor `name`".to_owned()),
            _ => return Err("has no `name` in its `function`".to_owned()),
        };
        match outer.get("type") {
            None | Some(Value::Null) => {}
            Some(Value::String(of)) if of == "function" => {}
            Some(other) => return Err(format!("is of type {other}, and only functions are known")),
        }
        let notes = outer.iter().filter(|(name, _)| !NOTES_OF_CALLS.contains(&name.as_str()) && *name != "function");
        let in_function = function.into_iter().flatten();
        let unknown = match function.is_some() {
            true => notes.chain(in_function.filter(|(name, _)| !is_of_function(name))).next(),
            false => notes.chain(in_function).find(|(name, _)| !is_of_function(name)),
        };
        // A table of calls has `null` where a call has no such member.
        if let Some((name, _)) = unknown.filter(|(_, value)| !value.is_null()) {
            return Err(format!("has `{}`, which is not understood", name.escape_debug()));
        }
        let given = inner.get("arguments").filter(|value| !value.is_null());
        let other = inner.get("parameters").filter(|value| !value.is_null());
        let arguments = match (given, other) {
            (Some(_), Some(_)) => return Err("has `arguments` and `parameters`; take one out".to_owned()),
            (given, other) => Arguments::new(given.or(other).unwrap_or(&Value::Null))?,
        };
        let id = match outer.get("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(other) => return Err(format!("has `id` with {}, and text is wanted", kind(other))),
        };
        Ok(ToolCall { id, name, arguments })
    }

    /// The call as templates read it, its arguments as an object or as text.
    pub(crate) fn shown(&self, as_text: bool) -> Value {
        let arguments = match as_text {
            true => Value::String(self.arguments.text.clone()),
            false => Value::Object(self.arguments.object.clone()),
        };
        let mut call = Map::new();
        if let Some(id) = &self.id {
            call.insert("id".to_owned(), json!(id));
        }
        call.insert("type".to_owned(), json!("function"));
        call.insert("function".to_owned(), json!({"name": self.name, "arguments": arguments}));
        Value::Object(call)
    }
}

fn is_of_function(name: &str) -> bool {
    ["name", "arguments", "parameters"].contains(&name)
}

impl TryFrom<Value> for ToolCall {
    type Error = String;

    fn try_from(call: Value) -> Result<ToolCall, String> {
        ToolCall::new(&call).map_err(|what| format!("a call {what}"))
    }
}

/// Written with its arguments as text, as OpenAI's servers do: a table would give each call the members of all others.
impl From<ToolCall> for Value {
    fn from(call: ToolCall) -> Value {
        call.shown(true)
    }
}

impl Arguments {
    /// An object, or the JSON text of one. Neither `null` nor blank text holds any.
    ///
    /// # Errors
    /// What is malformed, without its place.
    pub fn new(given: &Value) -> Result<Arguments, String> {
        let wrong =
            |what: &str| Err(format!("has `arguments` with {what}, and an object of named arguments is wanted"));
        match given {
            Value::Null => Ok(Arguments::of(Map::new())),
            Value::Object(object) => Ok(Arguments::of(object.clone())),
            Value::String(text) if text.trim().is_empty() => Ok(Arguments::of(Map::new())),
            Value::String(text) => match read_json(text) {
                Ok(Value::Object(object)) => Ok(Arguments { object, text: text.clone() }),
                Ok(other) => wrong(&format!("the JSON text of {}", kind(&other))),
                Err(reason) => Err(format!("has `arguments` that are not JSON ({reason})")),
            },
            other => wrong(kind(other)),
        }
    }

    fn of(object: Map<String, Value>) -> Arguments {
        let text = spaced_json(&Value::Object(object.clone()));
        Arguments { object, text }
    }

    /// The arguments by name.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The JSON text that the row has, or one of the object.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn replaced(object: Map<String, Value>) -> Arguments {
        Arguments::of(object)
    }
}

/// JSON text with a space behind commas and colons, as Python writes it.
pub fn spaced_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing);
    // Writing to memory does not fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&bytes).into_owned()
}

struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The texts in a value: the names of members, and strings.
pub(crate) fn texts_in<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, texts)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            texts.push(name);
            texts_in(value, texts);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_any_shape_and_written_in_one() {
        for (call, id) in [
            (json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}), Some("c1")),
            (json!({"function": {"name": "f", "arguments": {"a": 1}}}), None),
            (json!({"name": "f", "arguments": {"a": 1}}), None),
            (json!({"name": "f", "parameters": {"a": 1}, "id": null}), None),
        ] {
            let read = ToolCall::new(&call).unwrap();
            let arguments = Arguments::new(&json!({"a": 1})).unwrap();
            assert_eq!(read, ToolCall { id: id.map(str::to_owned), name: "f".to_owned(), arguments }, "{call}");
            let written = serde_json::to_value(&read).unwrap();
            assert_eq!(written["function"]["arguments"], json!("{\"a\": 1}"), "{call}");
            assert_eq!(serde_json::from_value::<ToolCall>(written).unwrap(), read);
        }
        for none in [json!(null), json!(""), json!(" "), json!("{}"), json!({})] {
            assert_eq!(Arguments::new(&none).unwrap().text(), "{}");
        }
    }

    #[test]
    fn malformed_calls_and_tools_are_told() {
        for (call, words) in [
            (json!(5), "holds a number"),
            (json!({}), "neither `function` nor `name`"),
            (json!({"function": "f"}), "`function` with text"),
            (json!({"function": {"arguments": "{}"}}), "no `name` in its `function`"),
            (json!({"name": "f", "arguments": "{a: 1}"}), "not JSON"),
            (json!({"name": "f", "arguments": "[1]"}), "the JSON text of a list"),
            (json!({"name": "f", "arguments": 5}), "`arguments` with a number"),
            (json!({"name": "f", "arguments": "{\"a\": 123456789012345678901}"}), "123456789012345678901"),
            (json!({"name": "f", "arguments": "{\"a\": NaN}"}), "not JSON"),
            (json!({"name": "f", "output": "x"}), "`output`"),
            (json!({"function": {"name": "f", "output": "x"}}), "`output`"),
            (json!({"name": "f", "type": "custom"}), "of type \"custom\""),
            (json!({"name": "f", "id": 5}), "`id` with a number"),
            (json!({"name": "f", "arguments": {}, "parameters": {}}), "take one out"),
        ] {
            let reason = ToolCall::new(&call).expect_err(&call.to_string());
            assert!(reason.contains(words), "{call}: {reason}");
        }
        for (tool, words) in [
            (json!("f"), "holds text"),
            (json!({"type": "function", "function": {"description": "d"}}), "no `name`"),
            (json!({"description": "d"}), "no `name`"),
            (json!({"function": []}), "`function` with a list"),
            (json!({"name": "f", "parameters": "{}"}), "`parameters` with text"),
        ] {
            let reason = Tool::new(tool.clone()).expect_err(&tool.to_string());
            assert!(reason.contains(words), "{tool}: {reason}");
        }
        let bare = Tool::new(json!({"name": "f", "description": "d"})).unwrap();
        assert_eq!(bare.definition(), &json!({"type": "function", "function": {"name": "f", "description": "d"}}));
    }

    #[test]
    fn text_is_as_python_writes_it_and_digits_stay() {
        assert_eq!(
            spaced_json(&json!({"a": [1, 2.5, null], "b": {"c": "é\n"}})),
            r#"{"a": [1, 2.5, null], "b": {"c": "é\n"}}"#
        );
    }
}
