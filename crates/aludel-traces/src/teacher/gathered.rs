//! An answer as it grows, piece by piece or at once, whatever dialect it comes in; and what it is in the end.

use std::time::Duration;

use aludel_text::thinking::{ThinkTags, split};
use serde_json::{Map, Value};

use super::{Answer, Failure, Finish};

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) reasoning: String,
    pub(super) content: String,
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
        !self.reasoning.is_empty() || !self.content.is_empty()
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
        let finish = match words.as_str() {
            "stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn" => Finish::Stop,
            "length" | "max_tokens" | "model_length" => Finish::Length,
            "content_filter" | "safety" => Finish::ContentFilter,
            "tool_calls" | "function_call" => Finish::ToolCalls,
            // DeepSeek's word for having no more room.
            "insufficient_system_resource" => {
                return Err(Failure::Busy { status: None, retry_after: None, words });
            }
            "abort" | "error" => return Err(Failure::broken(format!("the server gave up (finish_reason {words})"))),
            _ => Finish::Other(words),
        };
        let (inline, content) = match self.reasoning.trim().is_empty() {
            true => split(&self.content, &ThinkTags::default()),
            false => (None, self.content),
        };
        let content = if inline.is_some() { content.trim_start().to_owned() } else { content };
        let reasoning = inline.unwrap_or(self.reasoning);
        let reasoning = reasoning.trim();
        Ok(Answer {
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
