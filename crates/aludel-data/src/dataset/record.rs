//! The one record that every input shape becomes: messages (or plain text), its file and line, and the key of its prompt. Reading
//! files and recognising columns is left to the neighbouring modules.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aludel_text::message::{Message, Role};

use super::flaw::Flaw;

/// One row of data in its canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What is trained on.
    pub content: Content,
    /// Where the row stands.
    pub provenance: Provenance,
    /// Equal for rows that ask the same thing; see [`PromptKey`].
    pub prompt_key: PromptKey,
    /// Its weight in training, by which the weights of its messages are multiplied.
    pub weight: f32,
    /// Why it is incomplete, if it is.
    pub flaw: Option<Flaw>,
    /// What only a teacher sees of it: the text of [`ReadOptions::context_column`](super::ReadOptions::context_column).
    pub context: Option<String>,
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A conversation with at least one assistant turn, which is what is trained on.
    Messages(Vec<Message>),
    /// Plain text without roles; all of it is trained on.
    Text(String),
}

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The data file.
    pub file: Arc<Path>,
    /// The index of its data file, from 0.
    pub file_index: u32,
    /// The line, counted from 1, on which the row begins.
    pub line: u64,
}

/// Identifies a prompt across rows and files: 128 bits of a hash over everything before the first assistant turn, including the
/// system message, ignoring letter case and runs of white space. Rows of plain text and conversations that begin with the assistant
/// have no prompt, and are identified by their complete content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptKey(pub u128);

impl Record {
    /// A complete record of weight 1, whose key is computed from its content.
    pub fn new(content: Content, provenance: Provenance) -> Record {
        let prompt_key = PromptKey::of(&content);
        Record { content, provenance, prompt_key, weight: 1.0, flaw: None, context: None }
    }

    /// The conversation, or `None` for a row of plain text.
    pub fn messages(&self) -> Option<&[Message]> {
        match &self.content {
            Content::Messages(messages) => Some(messages),
            Content::Text(_) => None,
        }
    }

    /// Bytes of text in the row, for progress and batching.
    pub fn text_bytes(&self) -> usize {
        match &self.content {
            Content::Text(text) => text.len(),
            Content::Messages(messages) => messages
                .iter()
                .map(|message| {
                    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments.text().len());
                    let tools = message.tools.iter().map(|tool| tool.definition().to_string().len());
                    let reasoning = message.reasoning.as_ref().map_or(0, String::len);
                    message.content.len() + reasoning + calls.chain(tools).sum::<usize>()
                })
                .sum(),
        }
    }
}

impl PromptKey {
    /// The key of a row's prompt.
    pub fn of(content: &Content) -> PromptKey {
        let mut hasher = blake3::Hasher::new();
        match content {
            Content::Text(text) => absorb(&mut hasher, "text", text),
            Content::Messages(messages) => {
                let first_assistant = messages.iter().position(|message| message.role == Role::Assistant);
                let before = &messages[..first_assistant.unwrap_or(messages.len())];
                let asks =
                    before.iter().any(|message| message.role != Role::System && !message.content.trim().is_empty());
                for message in if asks { before } else { messages } {
                    // An empty system message is equal to none.
                    if message.role == Role::System && message.content.trim().is_empty() && message.tools.is_empty() {
                        continue;
                    }
                    absorb(&mut hasher, message.role.as_str(), &message.content);
                    for tool in &message.tools {
                        absorb(&mut hasher, "tool definition", &tool.definition().to_string());
                    }
                    for call in message.tool_calls.iter().filter(|_| !asks) {
                        absorb(&mut hasher, "call", &call.name);
                        absorb(&mut hasher, "arguments", call.arguments.text());
                    }
                    if !asks && let Some(reasoning) = &message.reasoning {
                        absorb(&mut hasher, "reasoning", reasoning);
                    }
                }
            }
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        PromptKey(u128::from_le_bytes(bytes))
    }
}

impl fmt::Display for PromptKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Adds one part to the hash. Words are joined by one space and lower-cased; parts are separated by the byte 0xff, which occurs in
/// no UTF-8 text.
fn absorb(hasher: &mut blake3::Hasher, tag: &str, text: &str) {
    hasher.update(tag.as_bytes()).update(&[0xff]);
    let mut normalised = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normalised.is_empty() {
            normalised.push(' ');
        }
        normalised.extend(word.chars().flat_map(char::to_lowercase));
    }
    hasher.update(normalised.as_bytes()).update(&[0xff]);
}
