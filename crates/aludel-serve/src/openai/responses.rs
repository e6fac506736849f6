//! `/v1/responses`, without state: nothing is stored, so a conversation is sent as a whole each time. Reasoning is an item of its own, and is
//! taken back as one.

use std::sync::Arc;

use aludel_text::{Message, Piece, Role};
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chat::{refuse_format, refuse_tools, with_effort};
use super::messages::{kind, role, template_variables, text};
use super::refuse;
use crate::answer::{self, Ask, Chunk, End};
use crate::body;
use crate::error::{ApiError, Protocol, json_response};
use crate::sampling::{self, Asked};
use crate::server::{Server, now};
use crate::stream::{self, Framing};

#[derive(Debug, Deserialize)]
struct ResponsesRequest {
    model: Option<String>,
    input: Value,
    instructions: Option<String>,
    stream: Option<bool>,
    max_output_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    reasoning: Option<Reasoning>,
    chat_template_kwargs: Option<Map<String, Value>>,
    text: Option<TextOptions>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
    prompt: Option<Value>,
    background: Option<Value>,
    top_logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Reasoning {
    effort: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TextOptions {
    format: Option<Value>,
}

impl ResponsesRequest {
    fn check(&self) -> Result<(), ApiError> {
        refuse_tools(self.tools.as_ref(), self.tool_choice.as_ref())?;
        refuse_format("text.format", self.text.as_ref().and_then(|text| text.format.as_ref()))?;
        let state = "nothing is stored here; send the conversation as input";
        refuse("previous_response_id", self.previous_response_id.as_ref(), |_| false, state)?;
        refuse("conversation", self.conversation.as_ref(), |_| false, state)?;
        refuse("prompt", self.prompt.as_ref(), |_| false, state)?;
        refuse("background", self.background.as_ref(), |value| *value == false, "leave it out")?;
        refuse("top_logprobs", self.top_logprobs.as_ref(), super::is_zero, "/v1/chat/completions has log-probabilities")
    }
}

/// The conversation that instructions and input are.
fn conversation(instructions: Option<&str>, input: &Value) -> Result<Vec<Message>, ApiError> {
    let mut messages: Vec<Message> = instructions.map(Message::system).into_iter().collect();
    match input {
        Value::String(text) => messages.push(Message::user(text)),
        Value::Array(items) => {
            let mut reasoning = None;
            for (at, item) in items.iter().enumerate() {
                let place = format!("input[{at}]");
                match item.get("type").and_then(Value::as_str).unwrap_or("message") {
                    "message" => {
                        let role = role(&format!("{place}.role"), item.get("role"))?;
                        let content = text(&format!("{place}.content"), item.get("content"))?;
                        let content =
                            content.ok_or_else(|| ApiError::field(format!("{place}.content"), "it is missing"))?;
                        let mut message = Message::new(role, content);
                        if role == Role::Assistant {
                            message.reasoning = reasoning.take();
                        }
                        messages.push(message);
                    }
                    "reasoning" => reasoning = reasoning_text(item),
                    other => {
                        let message = format!("items of type {other:?} are not read here; send messages");
                        return Err(ApiError::field(format!("{place}.type"), message));
                    }
                }
            }
        }
        other => {
            return Err(ApiError::field("input", format!("{} is neither a text nor a list of items", kind(other))));
        }
    }
    match messages.iter().any(|message| message.role != Role::System) {
        true => Ok(messages),
        false => Err(ApiError::field("input", "there is no message; a conversation has at least a user message")),
    }
}

/// What an item of reasoning says; its summary where nothing else is shown.
fn reasoning_text(item: &Value) -> Option<String> {
    let parts = |name: &str| -> Option<String> {
        let texts = item.get(name)?.as_array()?.iter().filter_map(|part| part.get("text")?.as_str());
        Some(texts.collect::<Vec<_>>().concat()).filter(|text| !text.is_empty())
    };
    parts("content").or_else(|| parts("summary"))
}

/// Answers.
pub(crate) async fn handle(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request).await.unwrap_or_else(|error| error.response(Protocol::OpenAi))
}

async fn answered(server: &Arc<Server>, request: Request<Body>) -> Result<Response, ApiError> {
    let asked: ResponsesRequest = body::read(request).await?;
    asked.check()?;
    let model = server.model(asked.model.as_deref())?;
    let defaults = &server.defaults;
    let sampling = Asked { temperature: asked.temperature, top_p: asked.top_p, ..Asked::default() };
    let sampling = sampling.sampling(defaults)?;
    let max_new_tokens = sampling::max_tokens("max_output_tokens", asked.max_output_tokens, defaults)?;
    let messages = conversation(asked.instructions.as_deref(), &asked.input)?;
    let effort = asked.reasoning.and_then(|reasoning| reasoning.effort);
    let variables = template_variables("chat_template_kwargs", asked.chat_template_kwargs)?;
    let prompt = server.prompt(model, messages, with_effort(variables, effort.clone())).await?;
    let mut writer = Writer {
        id: server.id("resp_"),
        reasoning_id: server.id("rs_"),
        message_id: server.id("msg_"),
        created: now(),
        model,
        prompt_tokens: prompt.ids.len(),
        settings: json!({
            "instructions": asked.instructions, "max_output_tokens": asked.max_output_tokens,
            "temperature": sampling.temperature, "top_p": sampling.top_p, "reasoning": {"effort": effort, "summary": null},
        }),
        server: Arc::clone(server),
        reasoning: String::new(),
        content: String::new(),
        open: None,
        sequence: 0,
        end: None,
        count: 0,
    };
    let stop = defaults.stop.clone();
    let ask = Ask { model, prompt, sampling, max_new_tokens, stop, samples: 1, logprobs: None, tells_reasoning: true };
    let mut chunks = answer::start(server, ask)?;
    if asked.stream.unwrap_or(false) {
        let response = writer.response("in_progress");
        let first = writer.event("response.created", json!({"response": response}))
            + &writer.event("response.in_progress", json!({"response": response}));
        return Ok(stream::response(Framing::Events, first, chunks, move |chunk| writer.events(chunk)));
    }
    while let Some(chunk) = chunks.recv().await {
        if let Chunk::Failed(error) = chunk {
            return Err(error);
        }
        writer.events(Some(chunk));
    }
    match writer.end {
        Some(_) => Ok(json_response(&writer.response(writer.status()))),
        None => Err(ApiError::engine_stopped()),
    }
}

/// Which item is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Reasoning,
    Message,
}

/// What was written so far, and how it is told.
struct Writer {
    id: String,
    reasoning_id: String,
    message_id: String,
    created: u64,
    model: usize,
    prompt_tokens: usize,
    settings: Value,
    server: Arc<Server>,
    reasoning: String,
    content: String,
    open: Option<Item>,
    /// Of the next event.
    sequence: u64,
    end: Option<End>,
    count: usize,
}

impl Writer {
    fn events(&mut self, chunk: Option<Chunk>) -> String {
        match chunk {
            Some(Chunk::Text { pieces, .. }) => pieces.into_iter().map(|piece| self.piece(piece)).collect(),
            Some(Chunk::End { end, count, .. }) => {
                (self.end, self.count) = (Some(end), count);
                // an answer has a message, if only an empty one
                let mut events =
                    if self.open == Some(Item::Message) { String::new() } else { self.begin(Item::Message) };
                events += &self.close();
                let status = self.status();
                let response = self.response(status);
                events + &self.event(&format!("response.{status}"), json!({"response": response}))
            }
            Some(Chunk::Failed(error)) => {
                let mut response = self.response("failed");
                response["error"] = json!({"code": "server_error", "message": error.message});
                self.event("response.failed", json!({"response": response}))
            }
            None => String::new(),
        }
    }

    fn status(&self) -> &'static str {
        if self.end == Some(End::Length) { "incomplete" } else { "completed" }
    }

    fn piece(&mut self, piece: Piece) -> String {
        let (item, text) = match piece {
            Piece::Reasoning(text) => (Item::Reasoning, text),
            Piece::Answer(text) => (Item::Message, text),
        };
        let mut events = if self.open == Some(item) { String::new() } else { self.begin(item) };
        let kind = match item {
            Item::Reasoning => {
                self.reasoning.push_str(&text);
                "response.reasoning_text.delta"
            }
            Item::Message => {
                self.content.push_str(&text);
                "response.output_text.delta"
            }
        };
        events += &self.of_part(kind, item, &[("delta", text.into())]);
        events
    }

    fn begin(&mut self, item: Item) -> String {
        let mut events = self.close();
        self.open = Some(item);
        let mut empty = self.item(item, "in_progress");
        empty["content"] = json!([]);
        events += &self.event("response.output_item.added", json!({"output_index": self.index(item), "item": empty}));
        let mut part = self.part(item);
        part["text"] = "".into();
        events + &self.of_part("response.content_part.added", item, &[("part", part)])
    }

    /// Ends the item that is being written.
    fn close(&mut self) -> String {
        let Some(item) = self.open.take() else { return String::new() };
        let (kind, text) = match item {
            Item::Reasoning => ("response.reasoning_text.done", &self.reasoning),
            Item::Message => ("response.output_text.done", &self.content),
        };
        let text = Value::from(text.as_str());
        let (part, whole) = (self.part(item), self.item(item, "completed"));
        let mut events = self.of_part(kind, item, &[("text", text)]);
        events += &self.of_part("response.content_part.done", item, &[("part", part)]);
        events + &self.event("response.output_item.done", json!({"output_index": self.index(item), "item": whole}))
    }

    /// The place of an item in the output.
    fn index(&self, item: Item) -> usize {
        usize::from(item == Item::Message && !self.reasoning.is_empty())
    }

    fn part(&self, item: Item) -> Value {
        match item {
            Item::Reasoning => json!({"type": "reasoning_text", "text": self.reasoning}),
            Item::Message => json!({"type": "output_text", "text": self.content, "annotations": [], "logprobs": []}),
        }
    }

    fn item(&self, item: Item, status: &str) -> Value {
        let content = json!([self.part(item)]);
        match item {
            Item::Reasoning => {
                json!({"type": "reasoning", "id": self.reasoning_id, "summary": [], "content": content, "status": status})
            }
            Item::Message => json!({
                "type": "message", "id": self.message_id, "role": "assistant", "content": content, "status": status,
            }),
        }
    }

    /// An event of the one part of an item.
    fn of_part(&mut self, kind: &str, item: Item, fields: &[(&str, Value)]) -> String {
        let id = if item == Item::Reasoning { &self.reasoning_id } else { &self.message_id };
        let mut data = json!({"item_id": id, "output_index": self.index(item), "content_index": 0});
        for (name, value) in fields {
            data[*name] = value.clone();
        }
        if kind.starts_with("response.output_text") {
            data["logprobs"] = json!([]);
        }
        self.event(kind, data)
    }

    fn event(&mut self, kind: &str, mut data: Value) -> String {
        data["type"] = kind.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        stream::named_event(kind, &data)
    }

    fn response(&self, status: &str) -> Value {
        let model = &self.server.models[self.model];
        let (mut output, mut usage) = (Vec::new(), Value::Null);
        if self.end.is_some() {
            if !self.reasoning.is_empty() {
                output.push(self.item(Item::Reasoning, "completed"));
            }
            output.push(self.item(Item::Message, status));
            // that of a text, which may differ by a token or two from what was generated
            let reasoning_tokens = model.format.tokenizer().count_plain(&self.reasoning).unwrap_or(0);
            usage = json!({
                "input_tokens": self.prompt_tokens, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": self.count, "output_tokens_details": {"reasoning_tokens": reasoning_tokens.min(self.count)},
                "total_tokens": self.prompt_tokens + self.count,
            });
        }
        let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": null,
            "incomplete_details": incomplete, "model": model.name, "output": output, "usage": usage,
            "parallel_tool_calls": false, "previous_response_id": null, "store": false, "tool_choice": "none", "tools": [],
            "text": {"format": {"type": "text"}}, "truncation": "disabled", "metadata": {},
        });
        if let (Value::Object(response), Value::Object(settings)) = (&mut response, &self.settings) {
            response.extend(settings.clone());
        }
        response
    }
}
