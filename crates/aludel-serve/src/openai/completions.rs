//! `/v1/completions`: a text, or ids, to be continued without a chat template.

use std::sync::Arc;

use aludel_distill::inference::Prompt;
use aludel_text::Piece;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::refuse_format;
use super::messages::kind;
use super::{Envelope, StreamOptions, finish_reason, is_empty, is_zero, logprobs, refuse};
use crate::answer::{self, Ask, Chunk, Whole};
use crate::body;
use crate::error::{ApiError, Protocol, json_response};
use crate::sampling::{self, Asked, samples};
use crate::server::Server;
use crate::stream::{self, Framing};

/// The most tokens of a completion where a request does not say: OpenAI's number.
const USUAL_TOKENS: u64 = 16;

#[derive(Debug, Deserialize)]
struct CompletionRequest {
    model: Option<String>,
    prompt: Value,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Value>,
    n: Option<u32>,
    logprobs: Option<u64>,
    best_of: Option<Value>,
    echo: Option<Value>,
    suffix: Option<Value>,
    response_format: Option<Value>,
    logit_bias: Option<Value>,
    presence_penalty: Option<Value>,
    frequency_penalty: Option<Value>,
    prompt_logprobs: Option<Value>,
}

impl CompletionRequest {
    fn check(&self) -> Result<(), ApiError> {
        let samples = json!(self.n.unwrap_or(1));
        refuse("best_of", self.best_of.as_ref(), |best_of| *best_of == samples, "leave it out; n is supported")?;
        refuse("echo", self.echo.as_ref(), |echo| *echo == false, "leave it out")?;
        refuse("suffix", self.suffix.as_ref(), |suffix| suffix == "", "leave it out")?;
        refuse("prompt_logprobs", self.prompt_logprobs.as_ref(), |_| false, "leave it out")?;
        refuse_format("response_format", self.response_format.as_ref())?;
        refuse("logit_bias", self.logit_bias.as_ref(), is_empty, "leave it out")?;
        let penalty = "leave it out or give 0; repetition_penalty is supported";
        refuse("presence_penalty", self.presence_penalty.as_ref(), is_zero, penalty)?;
        refuse("frequency_penalty", self.frequency_penalty.as_ref(), is_zero, penalty)
    }
}

/// Answers.
pub(crate) async fn handle(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    answered(&server, request).await.unwrap_or_else(|error| error.response(Protocol::OpenAi))
}

/// A text or ids; a list of one of these is one, too.
async fn prompt_ids(server: &Server, model: usize, prompt: Value) -> Result<Vec<u32>, ApiError> {
    match prompt {
        Value::String(text) => server.plain_prompt(model, text).await,
        Value::Array(mut parts) if parts.len() == 1 && !parts[0].is_number() => match parts.remove(0) {
            Value::String(text) => server.plain_prompt(model, text).await,
            Value::Array(ids) => token_ids(server, model, &ids),
            other => Err(ApiError::field("prompt", format!("{} is neither a text nor ids", kind(&other)))),
        },
        Value::Array(ids) if ids.iter().all(Value::is_number) => token_ids(server, model, &ids),
        Value::Array(_) => {
            Err(ApiError::field("prompt", "several prompts at once are not taken; send a request for each"))
        }
        other => Err(ApiError::field("prompt", format!("{} is neither a text nor ids", kind(&other)))),
    }
}

fn token_ids(server: &Server, model: usize, ids: &[Value]) -> Result<Vec<u32>, ApiError> {
    let vocab_size = server.models[model].format.tokenizer().vocab_size() as u64;
    let id = |id: &Value| match id.as_u64() {
        Some(known) if known < vocab_size => u32::try_from(known).ok(),
        _ => None,
    };
    let known = |value: &Value| {
        let message = || format!("{value} is no id; the model has {vocab_size} tokens, from 0");
        id(value).ok_or_else(|| ApiError::field("prompt", message()))
    };
    ids.iter().map(known).collect()
}

async fn answered(server: &Arc<Server>, request: Request<Body>) -> Result<Response, ApiError> {
    let asked: CompletionRequest = body::read(request).await?;
    asked.check()?;
    let model = server.model(asked.model.as_deref())?;
    let defaults = &server.defaults;
    let sampling = Asked {
        temperature: asked.temperature,
        top_p: asked.top_p,
        top_k: asked.top_k,
        min_p: asked.min_p,
        repetition_penalty: asked.repetition_penalty,
        seed: asked.seed,
    };
    let (sampling, samples) = (sampling.sampling(defaults)?, samples(asked.n)?);
    let max_tokens = Some(asked.max_tokens.unwrap_or(USUAL_TOKENS));
    let max_new_tokens = sampling::max_tokens("max_tokens", max_tokens, defaults)?;
    let stop = sampling::stops("stop", asked.stop.as_ref(), defaults)?;
    let logprobs = asked.logprobs.map(|top| logprobs::top("logprobs", top)).transpose()?;
    let ids = prompt_ids(server, model, asked.prompt).await?;
    let prompt_tokens = ids.len();
    let prompt = Prompt { ids, opens_thinking: false };
    let ask = Ask { model, prompt, sampling, max_new_tokens, stop, samples, logprobs, tells_reasoning: false };
    let chunks = answer::start(server, ask)?;
    let shape = CompletionAnswer(Envelope::new(server, "cmpl-", model, prompt_tokens, logprobs.is_some()));
    if asked.stream.unwrap_or(false) {
        let options = asked.stream_options.unwrap_or_default();
        let (mut written, mut offsets) = (0, vec![0; samples as usize]);
        let write = move |chunk: Option<Chunk>| shape.event(chunk, options, &mut written, &mut offsets);
        return Ok(stream::response(Framing::Events, String::new(), chunks, write));
    }
    let wholes = answer::collect(chunks, samples).await?;
    Ok(json_response(&shape.whole(&wholes)))
}

/// What `object` says of an answer and its parts.
const OBJECT: &str = "text_completion";

/// Writes the answers of completions.
struct CompletionAnswer(Envelope);

impl CompletionAnswer {
    fn whole(&self, wholes: &[Whole]) -> Value {
        let tokenizer = self.0.tokenizer();
        let choices = wholes.iter().enumerate().map(|(index, whole)| {
            let logprobs = self.0.wants_logprobs.then(|| logprobs::completion(tokenizer, &whole.tokens, &mut 0));
            let finish_reason = whole.end.as_ref().map(finish_reason);
            json!({"index": index, "text": whole.content, "logprobs": logprobs, "finish_reason": finish_reason})
        });
        self.0.complete(OBJECT, choices.collect(), wholes)
    }

    fn event(
        &self,
        chunk: Option<Chunk>,
        options: StreamOptions,
        written: &mut usize,
        offsets: &mut [usize],
    ) -> String {
        match chunk {
            Some(Chunk::Text { sample, pieces, tokens }) => {
                let text: String = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Reasoning(text) | Piece::Answer(text) => text.as_str(),
                    })
                    .collect();
                let tokenizer = self.0.tokenizer();
                let offset = &mut offsets[sample as usize];
                let logprobs = self.0.wants_logprobs.then(|| logprobs::completion(tokenizer, &tokens, offset));
                let choice = json!({"index": sample, "text": text, "logprobs": logprobs, "finish_reason": null});
                stream::event(&self.0.around(OBJECT, json!([choice])))
            }
            Some(Chunk::End { sample, end, count }) => {
                *written += count;
                let choice =
                    json!({"index": sample, "text": "", "logprobs": null, "finish_reason": finish_reason(&end)});
                stream::event(&self.0.around(OBJECT, json!([choice])))
            }
            Some(Chunk::Failed(error)) => stream::event(&error.json(Protocol::OpenAi)),
            None => self.0.ending(OBJECT, options, *written),
        }
    }
}
