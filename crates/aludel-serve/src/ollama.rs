//! Ollama's protocol: chat, generate, and what its clients ask of models. Answers are lines of JSON unless a request wants them whole.

use std::sync::Arc;
use std::time::Instant;

use aludel_distill::inference::Prompt;
use aludel_text::{Date, Message, Piece};
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{self, Ask, Chunk, End};
use crate::body;
use crate::error::{ApiError, Protocol, json_response};
use crate::openai::messages::{messages, template_variables};
use crate::openai::{is_empty, is_zero, refuse};
use crate::sampling::{self, Asked};
use crate::server::{Server, now};
use crate::stream::{self, Framing};

#[derive(Debug, Deserialize)]
struct OllamaRequest {
    model: Option<String>,
    messages: Option<Vec<Value>>,
    prompt: Option<String>,
    system: Option<String>,
    raw: Option<bool>,
    stream: Option<bool>,
    think: Option<Value>,
    options: Option<Options>,
    format: Option<Value>,
    tools: Option<Value>,
    images: Option<Value>,
    suffix: Option<Value>,
    template: Option<Value>,
    context: Option<Value>,
}

/// `options`. Those that are about memory and threads are the server's, and ignored.
#[derive(Debug, Default, Deserialize)]
struct Options {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    repeat_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Value>,
    num_predict: Option<i64>,
    presence_penalty: Option<Value>,
    frequency_penalty: Option<Value>,
    mirostat: Option<Value>,
    typical_p: Option<Value>,
}

impl Options {
    fn check(&self) -> Result<(), ApiError> {
        let penalty = "leave it out or give 0; repeat_penalty is supported";
        refuse("options.presence_penalty", self.presence_penalty.as_ref(), is_zero, penalty)?;
        refuse("options.frequency_penalty", self.frequency_penalty.as_ref(), is_zero, penalty)?;
        refuse("options.mirostat", self.mirostat.as_ref(), is_zero, "leave it out or give 0")?;
        let is_one = |value: &Value| value.as_f64() == Some(1.0);
        refuse(
            "options.typical_p",
            self.typical_p.as_ref(),
            is_one,
            "leave it out or give 1; top_p and min_p are supported",
        )
    }
}

impl OllamaRequest {
    fn check(&self) -> Result<(), ApiError> {
        refuse(
            "format",
            self.format.as_ref(),
            |format| format == "",
            "answers are not held to a format; ask for it in the prompt",
        )?;
        refuse("tools", self.tools.as_ref(), is_empty, "calls of tools are not read out of answers; leave it out")?;
        refuse("images", self.images.as_ref(), is_empty, "send text")?;
        for (at, message) in self.messages.iter().flatten().enumerate() {
            refuse(&format!("messages[{at}].images"), message.get("images"), is_empty, "send text")?;
        }
        self.options.as_ref().map_or(Ok(()), Options::check)?;
        refuse("suffix", self.suffix.as_ref(), |suffix| suffix == "", "leave it out")?;
        refuse("template", self.template.as_ref(), |template| template == "", "the model's own template is used")?;
        refuse("context", self.context.as_ref(), is_empty, "send the conversation to /api/chat")
    }

    /// What the template is told of reasoning.
    fn variables(&self) -> Result<Map<String, Value>, ApiError> {
        let mut variables = Map::new();
        match &self.think {
            None | Some(Value::Null) => {}
            Some(Value::Bool(is_wanted)) => drop(variables.insert("enable_thinking".to_owned(), (*is_wanted).into())),
            Some(Value::String(effort)) => {
                drop(variables.insert("reasoning_effort".to_owned(), effort.as_str().into()))
            }
            Some(other) => return Err(ApiError::field("think", format!("{other} is neither a boolean nor an effort"))),
        }
        template_variables("think", Some(variables))
    }
}

/// The date and time of a number of seconds since 1970, as Ollama writes it.
fn timestamp(seconds: u64) -> String {
    let date = Date::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let of_day = seconds % 86_400;
    format!("{date}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// `/api/version`, by which clients find out that somebody is there.
pub(crate) async fn version() -> Response {
    json_response(&json!({"version": env!("CARGO_PKG_VERSION")}))
}

/// `/api/tags`.
pub(crate) async fn tags(State(server): State<Arc<Server>>) -> Response {
    let modified_at = timestamp(server.created);
    let model = |name: &str| json!({"name": name, "model": name, "modified_at": modified_at});
    let models: Vec<Value> = server.models.iter().map(|served| model(&served.name)).collect();
    json_response(&json!({"models": models}))
}

/// `/api/show`.
pub(crate) async fn show(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    #[derive(Deserialize)]
    struct Shown {
        model: Option<String>,
        name: Option<String>,
    }
    let shown = async {
        let asked: Shown = body::read(request).await?;
        let at = server.model(asked.model.as_deref().or(asked.name.as_deref()))?;
        let parent = if at > 0 { server.models[0].name.as_str() } else { "" };
        Ok(json_response(&json!({
            "modified_at": timestamp(server.created), "capabilities": ["completion"],
            "details": {"parent_model": parent},
            "model_info": {"general.name": server.models[at].name, "aludel.context_length": server.context_tokens},
        })))
    };
    shown.await.unwrap_or_else(|error: ApiError| error.response(Protocol::Ollama))
}

/// `/api/chat`.
pub(crate) async fn chat(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request, Endpoint::Chat).await.unwrap_or_else(|error| error.response(Protocol::Ollama))
}

/// `/api/generate`.
pub(crate) async fn generate(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request, Endpoint::Generate).await.unwrap_or_else(|error| error.response(Protocol::Ollama))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Chat,
    Generate,
}

async fn answered(server: &Arc<Server>, request: Request<Body>, endpoint: Endpoint) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let asked: OllamaRequest = body::read(request).await?;
    asked.check()?;
    let model = server.model(asked.model.as_deref())?;
    let mut writer = Writer {
        model: server.models[model].name.clone(),
        endpoint,
        prompt_tokens: 0,
        begun,
        first: None,
        reasoning: String::new(),
        content: String::new(),
        is_whole: !asked.stream.unwrap_or(true),
    };
    let variables = asked.variables()?;
    let is_raw = endpoint == Endpoint::Generate && asked.raw.unwrap_or(false);
    let prompt = match (endpoint, asked.messages, asked.prompt) {
        (Endpoint::Chat, Some(values), _) if !values.is_empty() => {
            server.prompt(model, messages("messages", &values)?, variables).await?
        }
        (Endpoint::Generate, _, Some(text)) if !text.is_empty() && is_raw => {
            Prompt { ids: server.plain_prompt(model, text).await?, opens_thinking: false }
        }
        (Endpoint::Generate, _, Some(text)) if !text.is_empty() => {
            let mut conversation: Vec<Message> = asked.system.iter().map(Message::system).collect();
            conversation.push(Message::user(text));
            server.prompt(model, conversation, variables).await?
        }
        // clients load a model by asking nothing of it
        _ => return Ok(json_response(&writer.line("", "", Some("load")))),
    };
    let Options { temperature, top_p, top_k, min_p, repeat_penalty, seed, stop, num_predict, .. } =
        asked.options.unwrap_or_default();
    let sampling = Asked { temperature, top_p, top_k, min_p, repetition_penalty: repeat_penalty, seed };
    let defaults = &server.defaults;
    let max_new_tokens = match num_predict {
        // without end
        Some(..0) => usize::MAX,
        asked => sampling::max_tokens("options.num_predict", asked.map(i64::unsigned_abs), defaults)?,
    };
    let in_options = |error: ApiError| match &error.param {
        Some(param) if !param.starts_with("options.") => {
            ApiError { message: format!("options.{}", error.message), param: Some(format!("options.{param}")), ..error }
        }
        _ => error,
    };
    let ask = Ask {
        model,
        sampling: sampling.sampling(defaults).map_err(in_options)?,
        max_new_tokens,
        stop: sampling::stops("options.stop", stop.as_ref(), defaults)?,
        samples: 1,
        logprobs: None,
        tells_reasoning: !is_raw,
        prompt,
    };
    writer.prompt_tokens = ask.prompt.ids.len();
    let mut chunks = answer::start(server, ask)?;
    if !writer.is_whole {
        return Ok(stream::response(Framing::Lines, String::new(), chunks, move |chunk| writer.lines(chunk)));
    }
    let mut last = String::new();
    while let Some(chunk) = chunks.recv().await {
        if let Chunk::Failed(error) = chunk {
            return Err(error);
        }
        last = writer.lines(Some(chunk));
    }
    let whole: Value = serde_json::from_str(&last).map_err(|_| ApiError::engine_stopped())?;
    Ok(json_response(&whole))
}

/// Writes an answer as lines.
struct Writer {
    model: String,
    endpoint: Endpoint,
    prompt_tokens: usize,
    begun: Instant,
    /// When the first text came.
    first: Option<Instant>,
    /// What is kept for a whole answer.
    reasoning: String,
    content: String,
    is_whole: bool,
}

impl Writer {
    fn line(&self, reasoning: &str, content: &str, done_reason: Option<&str>) -> Value {
        let mut line = json!({"model": self.model, "created_at": timestamp(now())});
        match self.endpoint {
            Endpoint::Chat => {
                line["message"] = json!({"role": "assistant", "content": content});
                if !reasoning.is_empty() {
                    line["message"]["thinking"] = reasoning.into();
                }
            }
            Endpoint::Generate => {
                line["response"] = content.into();
                if !reasoning.is_empty() {
                    line["thinking"] = reasoning.into();
                }
            }
        }
        line["done"] = done_reason.is_some().into();
        if let Some(reason) = done_reason {
            line["done_reason"] = reason.into();
        }
        line
    }

    fn lines(&mut self, chunk: Option<Chunk>) -> String {
        match chunk {
            Some(Chunk::Text { pieces, .. }) => {
                self.first.get_or_insert_with(Instant::now);
                let (mut reasoning, mut content) = (String::new(), String::new());
                for piece in pieces {
                    match piece {
                        Piece::Reasoning(text) => reasoning.push_str(&text),
                        Piece::Answer(text) => content.push_str(&text),
                    }
                }
                if self.is_whole {
                    self.reasoning.push_str(&reasoning);
                    self.content.push_str(&content);
                    return String::new();
                }
                stream::line(&self.line(&reasoning, &content, None))
            }
            Some(Chunk::End { end, count, .. }) => {
                let reason = if end == End::Length { "length" } else { "stop" };
                let mut line = self.line(&self.reasoning, &self.content, Some(reason));
                let (now, first) = (Instant::now(), self.first.unwrap_or_else(Instant::now));
                let nanos = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
                line["total_duration"] = nanos(self.begun, now).into();
                line["load_duration"] = 0.into();
                line["prompt_eval_count"] = self.prompt_tokens.into();
                line["prompt_eval_duration"] = nanos(self.begun, first).into();
                line["eval_count"] = count.into();
                line["eval_duration"] = nanos(first, now).into();
                stream::line(&line)
            }
            Some(Chunk::Failed(error)) => stream::line(&error.json(Protocol::Ollama)),
            None => String::new(),
        }
    }
}
