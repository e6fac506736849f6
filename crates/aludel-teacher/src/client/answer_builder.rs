//! Builds an answer from chunks or at once, in any dialect, and decides its finish reason.

use std::time::Duration;

use aludel_text::thinking::{InlineReasoning, inline};
use serde_json::{Map, Value};

use super::{Answer, Failure, Finish};
use aludel_data::finish_reason::plain;
use aludel_data::json::{Fields, Json, Kind};
use aludel_data::message_fields::{MessageParts, is_nothing, is_setting, text_of};

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct PartialAnswer {
    /// Reasoning, content and refusal.
    pub(super) said: MessageParts,
    /// The model asks for a tool call.
    pub(super) calls_tools: bool,
    /// Tokens of reasoning, as the server counts them.
    pub(super) reasoning_tokens: u64,
    /// The finish reason, in the server's words; without it, an answer is incomplete.
    pub(super) finish: Option<String>,
    /// The same from another source: the upstream server, or the stop text that was met.
    finish_beside: Vec<String>,
    /// What is unknown, in words for people.
    unread: Vec<String>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    pub(super) model: Option<String>,
    /// Log probabilities by the name of their list.
    pub(super) logprobs: Map<String, Value>,
}

impl PartialAnswer {
    /// Whether any text has arrived.
    pub(super) fn has_text(&self) -> bool {
        !self.said.reasoning.is_empty() || !self.said.content.is_empty()
    }

    /// Appends a chunk.
    pub(super) fn add(&mut self, piece: MessageParts) {
        self.said.reasoning.extend(piece.reasoning);
        self.said.content.extend(piece.content);
        self.said.refusal.extend(piece.refusal);
        self.said.is_withheld |= piece.is_withheld;
    }

    /// Records the finish reason. Where a server gives two, the one that is worse for the answer counts.
    pub(super) fn end(&mut self, words: String) {
        if self.finish.as_ref().is_none_or(|own| severity(&words) > severity(own)) {
            self.finish = Some(words);
        }
    }

    /// Records another finish reason beside it. Of these, only known ones count.
    pub(super) fn end_beside(&mut self, words: String) {
        if !matches!(Finish::of(&words), Finish::Other(_)) {
            self.finish_beside.push(words);
        }
    }

    /// Records something unknown, once.
    pub(super) fn leave(&mut self, words: String) {
        const MOST: usize = 8;
        if self.unread.len() < MOST && !self.unread.contains(&words) {
            self.unread.push(words);
        }
    }

    /// A token count of this name, if it exists and is valid.
    pub(super) fn tokens(&mut self, place: &str, fields: &Fields<'_>, name: &str) -> Option<u64> {
        let value = fields.get(name)?;
        let count = count(value);
        if count.is_none() {
            self.leave(format!("`{place}{name}` is no count of tokens, so that they are guessed"));
        }
        count
    }

    /// Appends to a list of log probabilities; anything but a list is kept as it is.
    pub(super) fn add_logprobs(&mut self, name: &str, part: Value) {
        match (self.logprobs.get_mut(name), part) {
            (_, Value::Null) => {}
            (Some(Value::Array(whole)), Value::Array(part)) => whole.extend(part),
            (_, part) => {
                self.logprobs.insert(name.to_owned(), part);
            }
        }
    }

    /// The answer, if the server gave a finish reason.
    pub(super) fn into_answer(mut self, first_token: Duration, elapsed: Duration) -> Result<Answer, Failure> {
        if self.finish.is_some() {
            std::mem::take(&mut self.finish_beside).into_iter().for_each(|words| self.end(words));
        }
        let Some(words) = self.finish.take() else {
            return Err(Failure::broken("the answer ends without a reason why it ended, so it may be cut"));
        };
        match plain(&words).as_str() {
            // DeepSeek's finish reason when it runs out of resources.
            "insufficient_system_resource" => {
                return Err(Failure::Busy { status: None, retry_after: None, words });
            }
            given_up if GIVEN_UP.contains(&given_up) => {
                return Err(Failure::broken(format!("the server gave up (finish_reason {words})")));
            }
            _ => {}
        }
        let MessageParts { reasoning, content, refusal, is_withheld } = std::mem::take(&mut self.said);
        let text = |bytes, what: &str| {
            text_of(bytes, what).map_err(|reason| Failure::broken(format!("{reason}; its other half never came")))
        };
        let reasoning = text(reasoning, "the reasoning")?;
        let content = text(content, "the answer")?;
        let (reasoning, mut content) = match reasoning.trim() {
            "" => apart(content),
            setting if is_setting(setting) => {
                self.leave(format!(
                    "its reasoning is {setting:?}, which is a setting and no reasoning, and is left out"
                ));
                (String::new(), content)
            }
            nothing if is_nothing(nothing) => (String::new(), content),
            _ => (reasoning, content),
        };
        let reasoning = reasoning.trim();
        let mut finish = Finish::of(&words);
        if finish.is_complete() && self.calls_tools {
            finish = Finish::ToolCalls;
        }
        if !refusal.is_empty() {
            // Servers report such an answer as complete; it is not an answer.
            finish = Finish::Other("refusal".to_owned());
            content.push_str(&text(refusal, "the refusal")?);
        }
        Ok(Answer {
            hides_reasoning: reasoning.is_empty() && (is_withheld || self.reasoning_tokens > 0),
            reasoning: (!reasoning.is_empty()).then(|| reasoning.to_owned()),
            content,
            unread: self.unread,
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

/// No question and no answer has more tokens: a larger count is a mistake of the server.
pub(crate) const MOST_TOKENS: u64 = 1 << 32;

/// Words by which a server says that there is no answer.
const GIVEN_UP: [&str; 5] = ["abort", "error", "cancelled", "user_cancel", "malformed_function_call"];

/// How bad a finish reason is for the answer.
fn severity(words: &str) -> u8 {
    match (plain(words).as_str(), Finish::of(words)) {
        ("insufficient_system_resource", _) => 3,
        (given_up, _) if GIVEN_UP.contains(&given_up) => 3,
        (_, Finish::Stop) => 0,
        (_, Finish::Length) => 1,
        _ => 2,
    }
}

/// Reasoning and answer of a text that holds both. If the end of the reasoning is unclear, the text stays as it is.
fn apart(content: String) -> (String, String) {
    match inline(&content) {
        InlineReasoning::Closed { reasoning, answer } => (reasoning, answer.trim_start().to_owned()),
        InlineReasoning::Open(reasoning) => (reasoning.to_owned(), String::new()),
        InlineReasoning::Absent | InlineReasoning::Unclear(_) => (String::new(), content),
    }
}

/// A token count, if it is valid: a whole number in range. Other values are ignored.
fn count(value: Json<'_>) -> Option<u64> {
    let written = Some(value).filter(|value| value.kind() == Kind::Number)?.written();
    let whole = || written.parse().ok().filter(|number: &f64| number.fract() == 0.0 && *number >= 0.0);
    let count = written.parse().ok().or_else(|| whole().map(|number| number as u64));
    count.filter(|count| *count <= MOST_TOKENS)
}

/// Merges the fields of `from` into `into`: objects are merged, a null removes a field.
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
