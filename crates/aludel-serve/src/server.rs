//! What all handlers share: the models and their names, the way to the engine, limits and counters. Which path leads where is `router`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{SystemTime, UNIX_EPOCH};

use aludel_distill::inference::{ChatFormat, Prompt};
use aludel_distill::settings::GenerateSettings;
use aludel_text::Message;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::engine::Job;
use crate::error::ApiError;
use crate::guard::Guard;
use crate::metrics::Metrics;

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
    pub(crate) is_stopping: AtomicBool,
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
    /// A conversation that the model's template refuses.
    pub(crate) async fn prompt(
        &self,
        model: usize,
        messages: Vec<Message>,
        variables: Map<String, Value>,
    ) -> Result<Prompt, ApiError> {
        let format = Arc::clone(&self.models[model].format);
        let prompt = tokio::task::spawn_blocking(move || format.prompt(&messages, &variables));
        tokenized(prompt.await)
    }

    /// The ids of a text without a template.
    ///
    /// # Errors
    /// A text that the tokenizer cannot read.
    pub(crate) async fn plain_prompt(&self, model: usize, text: String) -> Result<Vec<u32>, ApiError> {
        let format = Arc::clone(&self.models[model].format);
        tokenized(tokio::task::spawn_blocking(move || format.plain_prompt(&text)).await)
    }

    /// An identifier that no other answer of this server has.
    pub(crate) fn id(&self, prefix: &str) -> String {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::hash(format!("{}-{number}", self.created).as_bytes()).to_hex();
        format!("{prefix}{}", &hash[..24])
    }
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
