//! One request to a teacher: the question, the answer, and how it can fail. [`HttpTeacher`] asks servers over HTTP; other sources
//! of answers implement [`Teacher`]. One call is one attempt: waiting, retrying, budgets and storing answers are left to the
//! caller, and so is reading keys.

mod answer_builder;
mod endpoint;
mod failure;
mod http;
mod mask;
mod ollama;
mod openai;
mod preset;
mod response_body;
mod retry_after;
mod secret;
mod sse;

use std::future::Future;
use std::pin::Pin;

use aludel_data::dataset::{Flaw, flaw_of_answer};
use aludel_data::finish_reason::Finish;
use aludel_text::message::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use answer_builder::MOST_TOKENS;

pub use endpoint::{Dialect, Endpoint, Timeouts};
pub use failure::Failure;
pub use http::HttpTeacher;
pub use preset::{Preset, Prices};
pub use response_body::read_body;
pub use secret::Secret;

/// A boxed future, so that teachers of several kinds can be in one list.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that answers messages.
pub trait Teacher: Send + Sync {
    /// Asks once. `sample` is the number of the answer among those to the same question; where `asking` has a seed, it is
    /// added to it, so that the answers differ.
    ///
    /// # Errors
    /// A [`Failure`] says which other requests would fail: this attempt, this question, or all. An answer without one ended
    /// regularly according to the server; only [`Finish::Stop`] makes it complete.
    fn ask<'a>(
        &'a self,
        question: &'a Question,
        asking: &'a RequestParams,
        sample: u32,
    ) -> BoxFuture<'a, Result<Answer, Failure>>;

    /// Its name in messages; contains no secret.
    fn name(&self) -> &str;

    /// Checks whether the server responds, without a question. A server without such a route passes.
    ///
    /// # Errors
    /// As [`Teacher::ask`].
    fn check(&self) -> BoxFuture<'_, Result<(), Failure>>;
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The conversation so far. Reasoning in earlier turns is not sent: servers refuse it or do not expect it.
    pub messages: Vec<Message>,
}

/// How it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestParams {
    /// The model, as the server calls it.
    pub model: String,
    /// Sampling temperature.
    pub temperature: f64,
    /// Top-p of nucleus sampling.
    pub top_p: f64,
    /// Maximum tokens of an answer, including reasoning; the server's own limit if `None`.
    pub max_tokens: Option<u32>,
    /// Seed of the server's sampling. Sample `i` is asked with `seed + i`.
    pub seed: Option<u64>,
    /// Ask for the log probability of each token.
    pub logprobs: bool,
    /// Ask for this many alternatives to each token, too; implies `logprobs`.
    pub top_logprobs: Option<u8>,
    /// Further fields of the request. Objects are merged; a `null` removes a field that would be sent otherwise.
    pub extra_body: Map<String, Value>,
}

impl RequestParams {
    /// DeepSeek's recommendation for its reasoning models: temperature 0.6, top-p 0.95; nothing else set.
    pub fn new(model: impl Into<String>) -> RequestParams {
        RequestParams {
            model: model.into(),
            temperature: 0.6,
            top_p: 0.95,
            max_tokens: None,
            seed: None,
            logprobs: false,
            top_logprobs: None,
            extra_body: Map::new(),
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The reasoning, without tags and surrounding blank lines; never `Some` of an empty text.
    pub reasoning: Option<String>,
    /// The model reasoned, according to the server, which did not show any of it.
    pub hides_reasoning: bool,
    /// The answer without its reasoning.
    pub content: String,
    /// Unknown fields of the response, in words for people; they are not stored.
    pub unread: Vec<String>,
    /// Why the answer ended.
    pub finish: Finish,
    /// Tokens of the question, as the server counts them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of reasoning and answer, as the server counts them.
    pub completion_tokens: Option<u64>,
    /// The model, as the server calls it in its answer.
    pub model: Option<String>,
    /// Log probabilities as the server gave them, with ids or bytes where it gives those: `content` holds one object a token;
    /// `token_ids` and `prompt_token_ids` come from vLLM's `return_token_ids`.
    pub logprobs: Option<Value>,
    /// Milliseconds until the first text came.
    pub first_token_ms: u64,
    /// Milliseconds until the end.
    pub elapsed_ms: u64,
}

impl Answer {
    /// Why it is incomplete, by the rule for rows of data files; `None` if it is complete.
    pub fn flaw(&self) -> Option<Flaw> {
        flaw_of_answer(self.reasoning.as_deref(), &self.content, &self.finish)
    }
}

#[cfg(test)]
mod tests;
