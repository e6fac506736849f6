//! Anthropic's protocol: `/v1/messages` and the count of a prompt's tokens. Reasoning is in blocks of thinking, which are taken back.

use std::sync::Arc;

use aludel_distill::inference::Prompt;
use aludel_text::{Message, Piece, Role};
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{self, Ask, Chunk, End, Whole};
use crate::body;
use crate::error::{ApiError, Protocol, json_response};
use crate::openai::messages::{kind, template_variables, text};
use crate::openai::{is_empty, refuse};
use crate::sampling::{self, Asked};
use crate::server::Server;
use crate::stream::{self, Framing};

#[derive(Debug, Deserialize)]
struct MessagesRequest {
    model: Option<String>,
    messages: Vec<Value>,
    system: Option<Value>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    stop_sequences: Option<Value>,
    thinking: Option<Thinking>,
    chat_template_kwargs: Option<Map<String, Value>>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
}

impl MessagesRequest {
    async fn prompt(&mut self, server: &Server, model: usize) -> Result<Prompt, ApiError> {
        let is_none = |choice: &Value| choice["type"] == "none";
        if !self.tool_choice.as_ref().is_some_and(is_none) {
            let help = "calls of tools are not read out of answers; leave it out";
            refuse("tools", self.tools.as_ref(), is_empty, help)?;
            refuse("tool_choice", self.tool_choice.as_ref(), |choice| choice["type"] == "auto", help)?;
        }
        let mut messages: Vec<Message> =
            text("system", self.system.as_ref())?.into_iter().map(Message::system).collect();
        if self.messages.is_empty() {
            return Err(ApiError::field("messages", "there is none; a conversation has at least a user message"));
        }
        for (at, value) in self.messages.iter().enumerate() {
            messages.push(message(&format!("messages[{at}]"), value)?);
        }
        if messages.last().is_some_and(|message| message.role == Role::Assistant) {
            let place = format!("messages[{}]", self.messages.len() - 1);
            let message = "not supported here as the last message: an answer that has begun is not continued; \
                           end with a user message";
            return Err(ApiError::field(place, message).with_code("unsupported_parameter"));
        }
        let mut variables = template_variables("chat_template_kwargs", self.chat_template_kwargs.take())?;
        if let Some(thinking) = &self.thinking {
            let is_wanted = match thinking.kind.as_str() {
                "enabled" | "adaptive" => true,
                "disabled" => false,
                other => {
                    let message = format!("{other:?} is unknown; give enabled, adaptive or disabled");
                    return Err(ApiError::field("thinking.type", message));
                }
            };
            variables.entry("enable_thinking").or_insert(Value::Bool(is_wanted));
        }
        server.prompt(model, messages, variables).await
    }
}

fn message(place: &str, value: &Value) -> Result<Message, ApiError> {
    let role = match value.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            let given = value.get("role").unwrap_or(&Value::Null);
            let message = format!("{given} is no role; give user or assistant, and system beside the messages");
            return Err(ApiError::field(format!("{place}.role"), message));
        }
    };
    let (mut content, mut reasoning) = (String::new(), String::new());
    match value.get("content") {
        Some(Value::String(text)) => content.push_str(text),
        Some(Value::Array(blocks)) => {
            for (at, block) in blocks.iter().enumerate() {
                let place = format!("{place}.content[{at}]");
                let (name, to) = match block.get("type").and_then(Value::as_str) {
                    Some("text") => ("text", &mut content),
                    Some("thinking") if role == Role::Assistant => ("thinking", &mut reasoning),
                    other => {
                        let message =
                            format!("blocks of type {} are not read here; send text", other.unwrap_or("null"));
                        return Err(ApiError::field(format!("{place}.type"), message));
                    }
                };
                let text = block.get(name).and_then(Value::as_str);
                to.push_str(text.ok_or_else(|| ApiError::field(format!("{place}.{name}"), "it is not a text"))?);
            }
        }
        other => {
            let given = kind(other.unwrap_or(&Value::Null));
            return Err(ApiError::field(
                format!("{place}.content"),
                format!("{given} is neither a text nor a list of blocks"),
            ));
        }
    }
    let message = Message::new(role, content);
    Ok(if reasoning.is_empty() { message } else { message.with_reasoning(reasoning) })
}

/// `/v1/messages/count_tokens`.
pub(crate) async fn count_tokens(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let counted = async {
        let mut asked: MessagesRequest = body::read(request).await?;
        let model = server.model(asked.model.as_deref())?;
        let prompt = asked.prompt(&server, model).await?;
        Ok(json_response(&json!({"input_tokens": prompt.ids.len()})))
    };
    counted.await.unwrap_or_else(|error: ApiError| error.response(Protocol::Anthropic))
}

/// `/v1/messages`.
pub(crate) async fn handle(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request).await.unwrap_or_else(|error| error.response(Protocol::Anthropic))
}

async fn answered(server: &Arc<Server>, request: Request<Body>) -> Result<Response, ApiError> {
    let mut asked: MessagesRequest = body::read(request).await?;
    let model = server.model(asked.model.as_deref())?;
    let defaults = &server.defaults;
    let sampling = Asked { temperature: asked.temperature, top_p: asked.top_p, top_k: asked.top_k, ..Asked::default() };
    let sampling = sampling.sampling(defaults)?;
    if asked.max_tokens.is_none() {
        return Err(ApiError::field("max_tokens", "it is missing"));
    }
    let max_new_tokens = sampling::max_tokens("max_tokens", asked.max_tokens, defaults)?;
    let stop = sampling::stops("stop_sequences", asked.stop_sequences.as_ref(), defaults)?;
    let prompt = asked.prompt(server, model).await?;
    let mut writer = Writer {
        id: server.id("msg_"),
        model: server.models[model].name.clone(),
        prompt_tokens: prompt.ids.len(),
        open: None,
        blocks: 0,
    };
    let ask = Ask { model, prompt, sampling, max_new_tokens, stop, samples: 1, logprobs: None, tells_reasoning: true };
    let chunks = answer::start(server, ask)?;
    if asked.stream.unwrap_or(false) {
        let start = json!({"type": "message_start", "message": writer.message(&[], None, 0)});
        let first = stream::named_event("message_start", &start);
        return Ok(stream::response(Framing::Events, first, chunks, move |chunk| writer.events(chunk)));
    }
    let wholes = answer::collect(chunks, 1).await?;
    let Some(Whole { reasoning, content, end, count, .. }) = wholes.into_iter().next() else {
        return Err(ApiError::engine_stopped());
    };
    let mut blocks = Vec::new();
    if !reasoning.is_empty() {
        blocks.push(json!({"type": "thinking", "thinking": reasoning, "signature": ""}));
    }
    if !content.is_empty() {
        blocks.push(json!({"type": "text", "text": content}));
    }
    Ok(json_response(&writer.message(&blocks, end.as_ref(), count)))
}

/// Reason and stop text of an end.
fn stop_reason(end: Option<&End>) -> (Option<&'static str>, Option<&str>) {
    match end {
        None => (None, None),
        Some(End::Turn) => (Some("end_turn"), None),
        Some(End::Length) => (Some("max_tokens"), None),
        Some(End::StopText(stop)) => (Some("stop_sequence"), Some(stop)),
    }
}

/// Writes an answer as events.
struct Writer {
    id: String,
    model: String,
    prompt_tokens: usize,
    /// The type of the block that is being written.
    open: Option<&'static str>,
    blocks: usize,
}

impl Writer {
    fn message(&self, content: &[Value], end: Option<&End>, count: usize) -> Value {
        let (stop_reason, stop_sequence) = stop_reason(end);
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop_reason, "stop_sequence": stop_sequence,
            "usage": {"input_tokens": self.prompt_tokens, "output_tokens": count},
        })
    }

    fn events(&mut self, chunk: Option<Chunk>) -> String {
        match chunk {
            Some(Chunk::Text { pieces, .. }) => pieces.into_iter().map(|piece| self.piece(piece)).collect(),
            Some(Chunk::End { end, count, .. }) => {
                let (stop_reason, stop_sequence) = stop_reason(Some(&end));
                let delta = json!({
                    "type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": stop_sequence},
                    "usage": {"output_tokens": count},
                });
                self.close() + &stream::named_event("message_delta", &delta)
            }
            Some(Chunk::Failed(error)) => stream::named_event("error", &error.json(Protocol::Anthropic)),
            None => stream::named_event("message_stop", &json!({"type": "message_stop"})),
        }
    }

    fn piece(&mut self, piece: Piece) -> String {
        let (kind, delta, text) = match piece {
            Piece::Reasoning(text) => ("thinking", "thinking_delta", text),
            Piece::Answer(text) => ("text", "text_delta", text),
        };
        let mut events = String::new();
        if self.open != Some(kind) {
            events += &self.close();
            self.open = Some(kind);
            let mut block = json!({"type": kind, kind: ""});
            if kind == "thinking" {
                block["signature"] = "".into();
            }
            let start = json!({"type": "content_block_start", "index": self.blocks, "content_block": block});
            events += &stream::named_event("content_block_start", &start);
        }
        let delta = json!({"type": "content_block_delta", "index": self.blocks, "delta": {"type": delta, kind: text}});
        events + &stream::named_event("content_block_delta", &delta)
    }

    fn close(&mut self) -> String {
        if self.open.take().is_none() {
            return String::new();
        }
        let stop = json!({"type": "content_block_stop", "index": self.blocks});
        self.blocks += 1;
        stream::named_event("content_block_stop", &stop)
    }
}
