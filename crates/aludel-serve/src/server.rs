//! What all handlers share: the models and their names, the way to the engine, limits and counters. Which path leads where is `router`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{SystemTime, UNIX_EPOCH};

use aludel_distill::inference::{ChatFormat, Prompt};
use aludel_distill::settings::GenerateSettings;
use aludel_text::Message;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;

use crate::engine::Job;
use crate::error::ApiError;
use crate::guard::Guard;
use crate::metrics::Metrics;

/// Prompts that are rendered and tokenised at once; further ones wait.
pub(crate) const RENDERINGS: usize = 2;
/// The most bytes of a prompt's texts for each token of the context: several times what text has.
const BYTES_PER_TOKEN: usize = 16;
/// The most messages of a prompt. The time that a template takes grows with their square.
const MOST_MESSAGES: usize = 4096;
/// The fewest tokens that a message takes, in the mean: its text and what the template writes around it.
const TOKENS_PER_MESSAGE: usize = 4;

/// A model that clients can name.
pub(crate) struct ServedModel {
    pub(crate) name: String,
    pub(crate) format: Arc<ChatFormat>,
}

/// The state of the server.
pub(crate) struct Server {
    /// The base first, then its adapters; in the engine's order.
    pub(crate) models: Vec<ServedModel>,
    pub(crate) jobs: Sender<Job>,
    /// One for each answer under way.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) max_clients: usize,
    pub(crate) context_tokens: usize,
    pub(crate) defaults: GenerateSettings,
    pub(crate) metrics: Arc<Metrics>,
    /// The server ends as soon as the answers under way have.
    pub(crate) is_stopping: watch::Sender<bool>,
    /// One for each prompt that may be rendered at once.
    pub(crate) renderings: Arc<Semaphore>,
    pub(crate) guard: Guard,
    /// Seconds since 1970 at the start.
    pub(crate) created: u64,
    pub(crate) numbers: AtomicU64,
}

impl Server {
    /// The place of a model by its name; the first where none is named.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<usize, ApiError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(0) };
        // Ollama's clients may write a tag
        let untagged = name.strip_suffix(":latest").unwrap_or(name);
        let found = self.models.iter().position(|model| model.name == name || model.name == untagged);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            let message = format!("there is no {name:?} here; this server has {}", names.join(", "));
            let error = ApiError::field("model", message).with_code("model_not_found");
            ApiError { status: StatusCode::NOT_FOUND, ..error }
        })
    }

    /// The prompt of a conversation. Long ones take a while, in which others are answered.
    ///
    /// # Errors
    /// A conversation that the model's template refuses, or that is far longer than the context.
    pub(crate) async fn prompt(
        &self,
        model: usize,
        messages: Vec<Message>,
        variables: Map<String, Value>,
    ) -> Result<Prompt, ApiError> {
        let format = Arc::clone(&self.models[model].format);
        let most = (self.context_tokens / TOKENS_PER_MESSAGE).clamp(1, MOST_MESSAGES);
        if messages.len() > most {
            let message = format!(
                "the conversation has {} messages; at most {most} are taken with a context of {} tokens; send fewer",
                messages.len(),
                self.context_tokens
            );
            return Err(ApiError::field("messages", message).with_code("context_length_exceeded"));
        }
        let values: usize = variables.values().map(json_bytes).sum();
        self.check_bytes(values + messages.iter().map(message_bytes).sum::<usize>())?;
        self.render(move || format.prompt(&messages, &variables)).await
    }

    /// The ids of a text without a template.
    ///
    /// # Errors
    /// A text that the tokenizer cannot read.
    pub(crate) async fn plain_prompt(&self, model: usize, text: String) -> Result<Vec<u32>, ApiError> {
        let format = Arc::clone(&self.models[model].format);
        self.check_bytes(text.len())?;
        self.render(move || format.plain_prompt(&text)).await
    }

    /// Refuses what would take long to tokenise only to be refused then.
    fn check_bytes(&self, bytes: usize) -> Result<(), ApiError> {
        let most = self.context_tokens.saturating_mul(BYTES_PER_TOKEN);
        if bytes <= most {
            return Ok(());
        }
        let message = format!(
            "the texts of the prompt have {bytes} bytes; at most {most} are taken with a context of {} tokens; send less",
            self.context_tokens
        );
        Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_code("context_length_exceeded"))
    }

    /// Renders and tokenises on another thread, a few at once. The end of the server waits for none of them.
    async fn render<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> aludel_distill::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let rendered = async {
            // The semaphore is never closed. The work keeps its place even if its client has gone.
            let permit = Arc::clone(&self.renderings).acquire_owned().await;
            let work = move || {
                let _permit = permit;
                work()
            };
            tokenized(tokio::task::spawn_blocking(work).await)
        };
        let mut stopping = self.is_stopping.subscribe();
        let stopped = async {
            // An error would say that the server is gone.
            drop(stopping.wait_for(|is_stopping| *is_stopping).await);
        };
        tokio::select! {
            biased;
            rendered = rendered => rendered,
            () = stopped => Err(ApiError::stopping()),
        }
    }

    /// An identifier that no other answer of this server has.
    pub(crate) fn id(&self, prefix: &str) -> String {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::hash(format!("{}-{number}", self.created).as_bytes()).to_hex();
        format!("{prefix}{}", &hash[..24])
    }
}

/// What the texts of a message take.
fn message_bytes(message: &Message) -> usize {
    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments.text().len());
    message.content.len() + message.reasoning.as_ref().map_or(0, String::len) + calls.sum::<usize>()
}

fn json_bytes(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

fn tokenized<T>(result: Result<aludel_distill::Result<T>, JoinError>) -> Result<T, ApiError> {
    match result {
        Ok(Ok(prompt)) => Ok(prompt),
        Ok(Err(error)) => Err(ApiError::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the prompt could not be tokenised: a bug in Aludel"))
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
