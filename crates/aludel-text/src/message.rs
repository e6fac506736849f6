//! Roles and messages: the canonical form of every dataset row and every chat turn before it is rendered. Reasoning has
//! a field of its own; `thinking` finds it inside a text. Reading datasets is left to the caller.

use serde::{Deserialize, Serialize};

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
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text; for an assistant, the answer without its reasoning.
    pub content: String,
    /// The reasoning that led to the answer, without tags.
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        alias = "thinking",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
    /// The turn's weight in training: usually 1, 0 for a turn that is only context.
    #[serde(default = "usual_weight", skip_serializing_if = "is_usual")]
    pub weight: f32,
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
        Message { role, content: content.into(), reasoning: None, weight: 1.0 }
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
}
