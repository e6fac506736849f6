//! Roles and messages: the canonical shape that every dataset row and every chat turn is brought into before it meets a
//! template. Reasoning stands in its own field; text that carries it inline is split here. Reading datasets is left to
//! the caller.

use serde::{Deserialize, Serialize};

use crate::thinking::{ThinkTags, split};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    #[serde(alias = "developer")]
    System,
    /// The person who asks.
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
    /// What is said; for an assistant, the answer without its reasoning.
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
    /// How much the turn counts in training: 1 as a rule, 0 for one that is only read.
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

    /// Moves reasoning that stands inline in an assistant's content (`<think>…</think>answer`, the opening tag may be
    /// missing) into the field. A message of another role, with reasoning already, or without a closing tag stays as it is.
    #[must_use]
    pub fn split_reasoning(mut self, tags: &ThinkTags) -> Message {
        let has_reasoning = self.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty());
        if self.role != Role::Assistant || has_reasoning || !self.content.contains(&tags.close) {
            return self;
        }
        let (reasoning, answer) = split(&self.content, tags);
        self.reasoning = reasoning.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        self.content = answer.trim_start().to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, reasoning: Option<&str>, answer: &str) {
        let message = Message::assistant(content).split_reasoning(&ThinkTags::default());
        assert_eq!(message.reasoning.as_deref(), reasoning, "{content:?}");
        assert_eq!(message.content, answer, "{content:?}");
    }

    #[test]
    fn inline_reasoning_is_split() {
        check("<think>\nwhy\n</think>\n\nbecause", Some("why"), "because");
        check("why\n</think>\n\nbecause", Some("why"), "because");
        check("<think>\n\n</think>\n\nbecause", None, "because");
        check("because", None, "because");
        check("<think>cut off", None, "<think>cut off");
        check("<think>a</think>b</think>c", Some("a"), "b</think>c");
    }

    #[test]
    fn other_roles_and_separate_reasoning_stay() {
        let tags = ThinkTags::default();
        let user = Message::user("a</think>b");
        assert_eq!(user.clone().split_reasoning(&tags), user);
        let both = Message::assistant("a</think>b").with_reasoning("r");
        assert_eq!(both.clone().split_reasoning(&tags), both);
    }

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
