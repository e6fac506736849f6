//! `/v1/chat/completions`: a conversation in, its next message out, whole or while it is written.

use std::sync::Arc;

use aludel_text::Piece;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::messages::{messages, template_variables};
use super::{Envelope, StreamOptions, finish_reason, is_empty, is_zero, logprobs, refuse};
use crate::answer::{self, Ask, Chunk, Whole};
use crate::body;
use crate::error::{ApiError, Protocol, json_response};
use crate::sampling::{self, Asked, samples};
use crate::server::Server;
use crate::stream::{self, Framing};

#[derive(Debug, Deserialize)]
struct ChatRequest {
    model: Option<String>,
    messages: Vec<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Value>,
    n: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u64>,
    chat_template_kwargs: Option<Map<String, Value>>,
    reasoning_effort: Option<String>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
    functions: Option<Value>,
    function_call: Option<Value>,
    response_format: Option<Value>,
    logit_bias: Option<Value>,
    presence_penalty: Option<Value>,
    frequency_penalty: Option<Value>,
    modalities: Option<Value>,
    audio: Option<Value>,
    prompt_logprobs: Option<Value>,
}

impl ChatRequest {
    /// Refuses what would be asked for in vain.
    fn check(&self) -> Result<(), ApiError> {
        refuse_tools(self.tools.as_ref(), self.tool_choice.as_ref())?;
        refuse("functions", self.functions.as_ref(), is_empty, "leave it out")?;
        refuse("function_call", self.function_call.as_ref(), |value| value == "none", "leave it out")?;
        refuse_format("response_format", self.response_format.as_ref())?;
        refuse("prompt_logprobs", self.prompt_logprobs.as_ref(), |_| false, "leave it out")?;
        refuse("logit_bias", self.logit_bias.as_ref(), is_empty, "leave it out")?;
        let penalty = "leave it out or give 0; repetition_penalty is supported";
        refuse("presence_penalty", self.presence_penalty.as_ref(), is_zero, penalty)?;
        refuse("frequency_penalty", self.frequency_penalty.as_ref(), is_zero, penalty)?;
        refuse("modalities", self.modalities.as_ref(), |value| *value == json!(["text"]), "answers are text")?;
        refuse("audio", self.audio.as_ref(), |_| false, "answers are text")
    }
}

/// Calls are not read out of answers, so a request that lets the model call something is refused rather than answered with text.
pub(crate) fn refuse_tools(tools: Option<&Value>, choice: Option<&Value>) -> Result<(), ApiError> {
    match choice {
        // the tools are there and not to be used
        Some(Value::String(choice)) if choice == "none" => Ok(()),
        None | Some(Value::Null) => refuse("tools", tools, is_empty, "leave it out, or set tool_choice to \"none\""),
        Some(Value::String(choice)) if choice == "auto" => {
            refuse("tools", tools, is_empty, "leave it out, or set tool_choice to \"none\"")
        }
        Some(_) => {
            refuse("tool_choice", choice, |_| false, "calls of tools are not read out of answers; give \"none\"")
        }
    }
}

/// Refuses formats other than text.
pub(crate) fn refuse_format(name: &str, format: Option<&Value>) -> Result<(), ApiError> {
    refuse(
        name,
        format,
        |format| format["type"] == "text",
        "answers are not held to a format; ask for it in the prompt",
    )
}

/// What the template is told of how much to reason.
pub(crate) fn with_effort(mut variables: Map<String, Value>, effort: Option<String>) -> Map<String, Value> {
    if let Some(effort) = effort {
        if effort == "none" {
            variables.entry("enable_thinking").or_insert(Value::Bool(false));
        }
        variables.entry("reasoning_effort").or_insert(Value::String(effort));
    }
    variables
}

/// Answers.
pub(crate) async fn handle(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request).await.unwrap_or_else(|error| error.response(Protocol::OpenAi))
}

async fn answered(server: &Arc<Server>, request: Request<Body>) -> Result<Response, ApiError> {
    let asked: ChatRequest = body::read(request).await?;
    asked.check()?;
    let model = server.model(asked.model.as_deref())?;
    let defaults = &server.defaults;
    let (max_name, max_tokens) = match asked.max_completion_tokens {
        Some(tokens) => ("max_completion_tokens", Some(tokens)),
        None => ("max_tokens", asked.max_tokens),
    };
    let top = asked.top_logprobs.map(|top| logprobs::top("top_logprobs", top)).transpose()?;
    let wants_logprobs = asked.logprobs.unwrap_or(false);
    if top.is_some_and(|top| top > 0) && !wants_logprobs {
        return Err(ApiError::field("top_logprobs", "it needs logprobs to be true"));
    }
    let sampling = Asked {
        temperature: asked.temperature,
        top_p: asked.top_p,
        top_k: asked.top_k,
        min_p: asked.min_p,
        repetition_penalty: asked.repetition_penalty,
        seed: asked.seed,
    };
    let (sampling, samples) = (sampling.sampling(defaults)?, samples(asked.n)?);
    let max_new_tokens = sampling::max_tokens(max_name, max_tokens, defaults)?;
    let stop = sampling::stops("stop", asked.stop.as_ref(), defaults)?;
    let messages = messages("messages", &asked.messages)?;
    let variables = template_variables("chat_template_kwargs", asked.chat_template_kwargs)?;
    let variables = with_effort(variables, asked.reasoning_effort);
    let prompt = server.prompt(model, messages, variables).await?;
    let prompt_tokens = prompt.ids.len();
    let ask = Ask {
        model,
        prompt,
        sampling,
        max_new_tokens,
        stop,
        samples,
        logprobs: wants_logprobs.then(|| top.unwrap_or(0)),
        tells_reasoning: true,
    };
    let chunks = answer::start(server, ask)?;
    let shape = ChatAnswer(Envelope::new(server, "chatcmpl-", model, prompt_tokens, wants_logprobs));
    if asked.stream.unwrap_or(false) {
        let options = asked.stream_options.unwrap_or_default();
        let mut written = 0;
        let first = (0..samples).map(|sample| stream::event(&shape.first(sample))).collect();
        let write = move |chunk: Option<Chunk>| shape.event(chunk, options, &mut written);
        return Ok(stream::response(Framing::Events, first, chunks, write));
    }
    let wholes = answer::collect(chunks, samples).await?;
    Ok(json_response(&shape.whole(&wholes)))
}

/// What `object` says of a part of a stream.
const CHUNK: &str = "chat.completion.chunk";

/// Writes the answers of the chat.
struct ChatAnswer(Envelope);

impl ChatAnswer {
    fn whole(&self, wholes: &[Whole]) -> Value {
        let tokenizer = self.0.tokenizer();
        let choices = wholes.iter().enumerate().map(|(index, whole)| {
            let mut message = json!({"role": "assistant", "content": whole.content, "refusal": null});
            if !whole.reasoning.is_empty() {
                message["reasoning"] = Value::String(whole.reasoning.clone());
                message["reasoning_content"] = Value::String(whole.reasoning.clone());
            }
            let logprobs = self.0.wants_logprobs.then(|| logprobs::chat(tokenizer, &whole.tokens));
            let finish_reason = whole.end.as_ref().map(finish_reason);
            json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason})
        });
        self.0.complete("chat.completion", choices.collect(), wholes)
    }

    /// The event that begins a sample.
    fn first(&self, sample: u32) -> Value {
        let delta = json!({"role": "assistant", "content": ""});
        self.chunk(json!([{"index": sample, "delta": delta, "logprobs": null, "finish_reason": null}]))
    }

    fn chunk(&self, choices: Value) -> Value {
        self.0.around(CHUNK, choices)
    }

    /// The events of a chunk; `written` counts the tokens of the samples that have ended.
    fn event(&self, chunk: Option<Chunk>, options: StreamOptions, written: &mut usize) -> String {
        match chunk {
            Some(Chunk::Text { sample, pieces, tokens }) => {
                let mut delta = Map::new();
                let mut add = |name: &str, text: &str| match delta.get_mut(name) {
                    Some(Value::String(before)) => before.push_str(text),
                    _ => drop(delta.insert(name.to_owned(), text.into())),
                };
                for piece in &pieces {
                    match piece {
                        Piece::Reasoning(text) => {
                            ["reasoning", "reasoning_content"].iter().for_each(|name| add(name, text))
                        }
                        Piece::Answer(text) => add("content", text),
                    }
                }
                let tokenizer = self.0.tokenizer();
                let logprobs = self.0.wants_logprobs.then(|| logprobs::chat(tokenizer, &tokens));
                let choice = json!({"index": sample, "delta": delta, "logprobs": logprobs, "finish_reason": null});
                stream::event(&self.chunk(json!([choice])))
            }
            Some(Chunk::End { sample, end, count }) => {
                *written += count;
                let reason = finish_reason(&end);
                let choice = json!({"index": sample, "delta": {}, "logprobs": null, "finish_reason": reason});
                stream::event(&self.chunk(json!([choice])))
            }
            Some(Chunk::Failed(error)) => stream::event(&error.json(Protocol::OpenAi)),
            None => self.0.ending(CHUNK, options, *written),
        }
    }
}
