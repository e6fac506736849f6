//! `[trace]`: which teachers are asked what, how fast, and for how much. Keys have no place in a recipe, only the names of the
//! variable or file that holds one. `check` says which values are refused, `options` turns them into the options of `collect`.

mod check;
mod options;

use aludel_settings::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Table;

/// Which teachers are asked what, how fast, and for how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Files of prompts, of any shape that data may have; answers are not needed. `data.columns` and `data.skip_bad_rows` hold
    /// for them, too.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub prompts: Vec<PathBuf>,
    /// The store of traces, a file that any number of runs may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// Addresses of teachers that serve the same model, such as "http://127.0.0.1:8000/v1"; or one model that runs here: a GGUF file, a
    /// Hugging Face model folder, or a name on the Hub such as `hf:owner/name`. What has no `://` is a model.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub teacher: Vec<String>,
    /// What is known of a server beforehand (address, dialect, key variable, prices): "deepseek", "ollama", "vllm" or
    /// "llama.cpp".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What the teachers speak: "openai" (/v1/chat/completions), or "ollama" for its own /api/chat. From the preset or the
    /// address where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Speech>,
    /// Name of the model on the teachers' servers; for a model that runs here, its name in the store: that of its file or folder where
    /// not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Environment variable that holds the API key; the preset's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// File that holds the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Further headers of each request, for what is no secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Further fields of each request, for example `{ chat_template_kwargs = { enable_thinking = true } }`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub extra_body: Table,
    /// Text to append to each question: "boxed" asks for the final answer within \boxed{}, any other text stands for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_suffix: Option<String>,
    /// Number of answers per prompt.
    #[schemars(range(min = 1, max = 10_000))]
    pub samples: u32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Sample from the most likely tokens whose probabilities add up to this; 1 takes all.
    pub top_p: f64,
    /// Maximum number of tokens of an answer, including reasoning; the server's own limit where not given, and 5,000 for a model that
    /// runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u32>,
    /// Where the servers' random numbers start; sample i is asked with seed + i. For a model that runs here, a new one each time where
    /// not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keep the log probability of each token.
    pub logprobs: bool,
    /// Keep those of this many alternatives to each token, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub top_logprobs: Option<u8>,
    /// Take answers as a stream, so that a stalled server shows early.
    pub stream: bool,
    /// Maximum concurrent requests per teacher; lowered while more concurrency brings no throughput, and where a model that runs here has
    /// no memory for so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: usize,
    /// Maximum requests per minute and teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Maximum tokens per minute and teacher, input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Price in dollars per million input tokens; the preset's where not given, and 0 for a model that runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_price: Option<f64>,
    /// Price in dollars per million output tokens, including reasoning; the preset's where not given, and 0 for a model that runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_price: Option<f64>,
    /// Budget in dollars for all traces in the store, earlier runs included; the run stops before it is exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// Budget in tokens for all traces in the store, earlier runs included; the run stops before it is exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_tokens: Option<u64>,
    /// Seconds to wait for a connection.
    pub connect_timeout: f64,
    /// Seconds to wait for the next piece of a stream.
    pub idle_timeout: f64,
    /// Seconds to wait for a whole answer.
    pub request_timeout: f64,
    /// Failures of one question, refusals for load aside, after which it is left for another run.
    #[schemars(range(min = 1))]
    pub max_attempts: u32,
    /// Seconds without any answer after which the run stops.
    pub give_up_after: f64,
    /// Seconds that a stopped run waits for answers on their way.
    pub grace: f64,
}

/// What a teacher speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Speech {
    /// `/v1/chat/completions`.
    OpenAi,
    /// Ollama's own `/api/chat`.
    Ollama,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            store: None,
            teacher: Vec::new(),
            preset: None,
            dialect: None,
            model: None,
            api_key_env: None,
            api_key_file: None,
            headers: BTreeMap::new(),
            extra_body: Table::new(),
            prompt_suffix: None,
            samples: 1,
            temperature: 0.6,
            top_p: 0.95,
            max_new_tokens: None,
            seed: None,
            logprobs: false,
            top_logprobs: None,
            stream: true,
            concurrency: 64,
            requests_per_minute: None,
            tokens_per_minute: None,
            prompt_price: None,
            completion_price: None,
            max_cost: None,
            max_total_tokens: None,
            connect_timeout: 10.0,
            idle_timeout: 300.0,
            request_timeout: 3600.0,
            max_attempts: 12,
            give_up_after: 1800.0,
            grace: 30.0,
        }
    }
}
