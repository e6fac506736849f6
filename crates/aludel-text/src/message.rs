//! Roles and messages: the canonical form of every dataset row and every chat turn before it is rendered. Reasoning has
//! a field of its own; `thinking` finds it inside a text. Reading datasets is left to the caller.

use serde::{Deserialize, Serialize};

use crate::tools::{Tool, ToolCall};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    #[serde(alias = "developer")]
    System,
    /// The user.
    #[serde(alias = "human")]
    User,
    /// The model.
    #[serde(alias = "gpt", alias = "model")]
    Assistant,
    /// The result of a tool that the model called.
    #[serde(alias = "function", alias = "observation")]
    Tool,
}

impl Role {
    /// The name that templates know the role by.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MessageJson", into = "MessageJson")]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text; for an assistant, the answer without its reasoning.
    pub content: String,
    /// The content is `null` where a call stands alone: some templates tell it from an empty text.
    pub is_content_null: bool,
    /// The reasoning that led to the answer, without tags.
    pub reasoning: Option<String>,
    /// How much the turn counts in training: 1 as a rule, 0 for one that is only read.
    pub weight: f32,
    /// What an assistant calls, behind its content.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's result answers.
    pub tool_call_id: Option<String>,
    /// The name of the tool whose result it is.
    pub tool_name: Option<String>,
    /// Tools that the model may call. Those of a row are with its first message; templates get those of all messages.
    pub tools: Vec<Tool>,
}

/// A message as JSON.
#[derive(Serialize, Deserialize)]
struct MessageJson {
    role: Role,
    content: Option<String>,
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        alias = "thinking",
        skip_serializing_if = "Option::is_none"
    )]
    reasoning: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool>,
    #[serde(default = "usual_weight", skip_serializing_if = "is_usual")]
    weight: f32,
}

impl TryFrom<MessageJson> for Message {
    type Error = String;

    fn try_from(written: MessageJson) -> Result<Message, String> {
        let MessageJson { role, content, reasoning, tool_calls, tool_call_id, name, tools, weight } = written;
        if content.is_none() && tool_calls.is_empty() {
            return Err("a message without `content`".to_owned());
        }
        let is_content_null = content.is_none();
        let content = content.unwrap_or_default();
        Ok(Message {
            role,
            content,
            is_content_null,
            reasoning,
            weight,
            tool_calls,
            tool_call_id,
            tool_name: name,
            tools,
        })
    }
}

impl From<Message> for MessageJson {
    fn from(message: Message) -> MessageJson {
        let Message { role, content, is_content_null, reasoning, weight, tool_calls, tool_call_id, tool_name, tools } =
            message;
        let content = (!is_content_null).then_some(content);
        MessageJson { role, content, reasoning, tool_calls, tool_call_id, name: tool_name, tools, weight }
    }
}

fn usual_weight() -> f32 {
    1.0
}

fn is_usual(weight: &f32) -> bool {
    *weight == 1.0
}

impl Message {
    /// A message without reasoning.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message {
            role,
            content: content.into(),
            is_content_null: false,
            reasoning: None,
            weight: 1.0,
            tool_calls: Vec::new(),
            tool_call_id: None,
            tool_name: None,
            tools: Vec::new(),
        }
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new(Role::System, content)
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new(Role::User, content)
    }

    /// An assistant message without reasoning.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new(Role::Assistant, content)
    }

    /// The same message with reasoning.
    #[must_use]
    pub fn with_reasoning(mut self, reasoning: impl Into<String>) -> Message {
        self.reasoning = Some(reasoning.into());
        self
    }

    /// Neither content nor reasoning nor calls.
    pub fn says_nothing(&self) -> bool {
        let has_reasoning = self.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty());
        self.content.trim().is_empty() && !has_reasoning && self.tool_calls.is_empty()
    }

    /// Whether it has a part in the use of tools: definitions, calls, or a call's result.
    pub fn uses_tools(&self) -> bool {
        !self.tool_calls.is_empty() || !self.tools.is_empty() || self.role == Role::Tool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_takes_the_usual_names() {
        let message: Message =
            serde_json::from_str(r#"{"role":"gpt","content":"4","reasoning":"2+2"}"#).expect("valid");
        assert_eq!(message, Message::assistant("4").with_reasoning("2+2"));
        assert_eq!(
            serde_json::to_string(&message).expect("serialises"),
            r#"{"role":"assistant","content":"4","reasoning_content":"2+2"}"#
        );
    }

    #[test]
    fn calls_and_results_come_back_as_they_were() {
        for text in [
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\": 1.10}"}}]}"#,
            r#"{"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"role":"tool","content":"5","tool_call_id":"c","name":"f"}"#,
            r#"{"role":"user","content":"q","tools":[{"type":"function","function":{"name":"f"}}]}"#,
        ] {
            let message: Message = serde_json::from_str(text).expect("valid");
            assert_eq!(serde_json::to_string(&message).expect("serialises"), text);
        }
        for text in [
            r#"{"role":"assistant","content":null}"#,
            r#"{"role":"user"}"#,
            r#"{"role":"user","content":"q","tools":[{}]}"#,
        ] {
            assert!(serde_json::from_str::<Message>(text).is_err(), "{text}");
        }
    }
}
