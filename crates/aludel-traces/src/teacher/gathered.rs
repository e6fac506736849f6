//! An answer as it grows, piece by piece or at once, whatever dialect it comes in; and what it is in the end.

use std::time::Duration;

use aludel_text::thinking::{ThinkTags, split};
use serde_json::{Map, Value};

use super::finish::plain;
use super::{Answer, Failure, Finish};
use crate::said::{Said, text_of};

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Reasoning, content and refusal.
    pub(super) said: Said,
    /// The model wants a tool to be called.
    pub(super) calls_tools: bool,
    /// Tokens of reasoning, as the server counts them.
    pub(super) reasoning_tokens: u64,
    /// Why it ended, in the server's words; an answer without it is not whole.
    pub(super) finish: Option<String>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    pub(super) model: Option<String>,
    /// Log probabilities by the name of their list.
    pub(super) logprobs: Map<String, Value>,
}

impl Gathered {
    /// Whether any text has come.
    pub(super) fn has_text(&self) -> bool {
        !self.said.reasoning.is_empty() || !self.said.content.is_empty()
    }

    /// Appends what a piece says.
    pub(super) fn add(&mut self, piece: Said) {
        self.said.reasoning.extend(piece.reasoning);
        self.said.content.extend(piece.content);
        self.said.refusal.extend(piece.refusal);
        self.said.is_withheld |= piece.is_withheld;
    }

    /// Appends to a list of the log probabilities; what is no list is kept as it is.
    pub(super) fn add_logprobs(&mut self, name: &str, part: Value) {
        match (self.logprobs.get_mut(name), part) {
            (_, Value::Null) => {}
            (Some(Value::Array(whole)), Value::Array(part)) => whole.extend(part),
            (_, part) => {
                self.logprobs.insert(name.to_owned(), part);
            }
        }
    }

    /// The answer, if the server said why it ended.
    pub(super) fn into_answer(self, first_token: Duration, elapsed: Duration) -> Result<Answer, Failure> {
        let Some(words) = self.finish else {
            return Err(Failure::broken("the answer ends without a reason why it ended, so it may be cut"));
        };
        match plain(&words).as_str() {
            // DeepSeek's word for having no more room.
            "insufficient_system_resource" => {
                return Err(Failure::Busy { status: None, retry_after: None, words });
            }
            "abort" | "error" | "cancelled" | "user_cancel" | "malformed_function_call" => {
                return Err(Failure::broken(format!("the server gave up (finish_reason {words})")));
            }
            _ => {}
        }
        let Said { reasoning, content, refusal, is_withheld } = self.said;
        let text = |bytes, what: &str| {
            text_of(bytes, what).map_err(|reason| Failure::broken(format!("{reason}; its other half never came")))
        };
        let reasoning = text(reasoning, "the reasoning")?;
        let content = text(content, "the answer")?;
        let (inline, content) = match reasoning.trim().is_empty() {
            true => split(&content, &ThinkTags::default()),
            false => (None, content),
        };
        let mut content = if inline.is_some() { content.trim_start().to_owned() } else { content };
        let reasoning = inline.unwrap_or(reasoning);
        let reasoning = reasoning.trim();
        let mut finish = Finish::of(&words);
        if finish.is_complete() && self.calls_tools {
            finish = Finish::ToolCalls;
        }
        if !refusal.is_empty() {
            // Servers say that such an answer has come to its end; it is none.
            finish = Finish::Other("refusal".to_owned());
            content.push_str(&text(refusal, "the refusal")?);
        }
        Ok(Answer {
            hides_reasoning: reasoning.is_empty() && (is_withheld || self.reasoning_tokens > 0),
            reasoning: (!reasoning.is_empty()).then(|| reasoning.to_owned()),
            content,
            finish,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            model: self.model,
            logprobs: (!self.logprobs.is_empty()).then(|| Value::Object(self.logprobs)),
            first_token_ms: milliseconds(first_token),
            elapsed_ms: milliseconds(elapsed),
        })
    }
}

/// No question and no answer has more tokens: a count beyond it is a mistake of the server's.
pub(crate) const MOST_TOKENS: u64 = 1 << 32;

/// A count of tokens, if it is one: a whole number that can be. Whatever else a server says there, it does not say how many.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    value.as_u64().or(whole.map(|number| number as u64)).filter(|count| *count <= MOST_TOKENS)
}

/// Puts fields of `from` into `into`: objects are merged, a null takes a field out.
pub(super) fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (_, Value::Null) => {
                into.remove(name);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
