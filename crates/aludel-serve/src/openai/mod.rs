//! OpenAI's protocol: the models, and what its endpoints share. Each endpoint has a file of its own.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod logprobs;
pub(crate) mod messages;
pub(crate) mod responses;

use std::sync::Arc;

use aludel_text::Tokenizer;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{End, Whole};
use crate::error::{ApiError, Protocol, json_response};
use crate::server::{Server, now};
use crate::stream;

/// `/v1/models`.
pub(crate) async fn models(State(server): State<Arc<Server>>) -> Response {
    let data: Vec<Value> = (0..server.models.len()).map(|at| described(&server, at)).collect();
    json_response(&json!({"object": "list", "data": data}))
}

/// `/v1/models/NAME`.
pub(crate) async fn model(State(server): State<Arc<Server>>, Path(name): Path<String>) -> Response {
    match server.model(Some(&name)) {
        Ok(at) => json_response(&described(&server, at)),
        Err(error) => error.response(Protocol::OpenAi),
    }
}

fn described(server: &Server, at: usize) -> Value {
    let parent = (at > 0).then(|| server.models[0].name.as_str());
    json!({
        "id": server.models[at].name, "object": "model", "created": server.created, "owned_by": "aludel",
        "parent": parent, "max_model_len": server.context_tokens,
    })
}

/// Refuses fields that would change an answer and are not supported. Null, and what `is_neutral` says, change nothing.
pub(crate) fn refuse(
    name: &str,
    value: Option<&Value>,
    is_neutral: impl Fn(&Value) -> bool,
    help: &str,
) -> Result<(), ApiError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(value) if is_neutral(value) => Ok(()),
        Some(_) => Err(ApiError::field(name, format!("not supported here; {help}")).with_code("unsupported_parameter")),
    }
}

/// Zero, of any kind of number.
pub(crate) fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

/// An empty object or list.
pub(crate) fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub(crate) include_usage: bool,
}

/// What all parts of an answer have in common, in the chat and in completions.
pub(crate) struct Envelope {
    server: Arc<Server>,
    id: String,
    created: u64,
    model: usize,
    prompt_tokens: usize,
    /// Whether tokens are told with their log-probabilities.
    pub(crate) wants_logprobs: bool,
}

impl Envelope {
    /// Of an answer by a model, whose id begins with `prefix`.
    pub(crate) fn new(
        server: &Arc<Server>,
        prefix: &str,
        model: usize,
        prompt_tokens: usize,
        wants_logprobs: bool,
    ) -> Envelope {
        let (id, created) = (server.id(prefix), now());
        Envelope { server: Arc::clone(server), id, created, model, prompt_tokens, wants_logprobs }
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.server.models[self.model].format.tokenizer()
    }

    /// An object with these choices.
    pub(crate) fn around(&self, object: &str, choices: Value) -> Value {
        let model = &self.server.models[self.model].name;
        json!({"id": self.id, "object": object, "created": self.created, "model": model, "choices": choices})
    }

    /// A complete answer.
    pub(crate) fn complete(&self, object: &str, choices: Value, wholes: &[Whole]) -> Value {
        let mut answer = self.around(object, choices);
        answer["usage"] = usage(self.prompt_tokens, wholes.iter().map(|whole| whole.count).sum());
        answer
    }

    /// The last events of a stream in which so many tokens were written.
    pub(crate) fn ending(&self, object: &str, options: StreamOptions, written: usize) -> String {
        let mut text = String::new();
        if options.include_usage {
            let mut chunk = self.around(object, json!([]));
            chunk["usage"] = usage(self.prompt_tokens, written);
            text = stream::event(&chunk);
        }
        text + "data: [DONE]\n\n"
    }
}

/// `finish_reason`.
pub(crate) fn finish_reason(end: &End) -> &'static str {
    match end {
        End::Turn | End::StopText(_) => "stop",
        End::Length => "length",
    }
}

/// `usage` of a prompt and the tokens of all its samples.
pub(crate) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}
