//! OpenAI's protocol: the models, and what its endpoints share. Each endpoint has a file of its own.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod logprobs;
pub(crate) mod messages;
pub(crate) mod responses;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::answer::{End, Whole};
use crate::error::{ApiError, Protocol, json_response};
use crate::server::Server;

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

/// The tokens of all samples.
pub(crate) fn count(wholes: &[Whole]) -> usize {
    wholes.iter().map(|whole| whole.count).sum()
}
