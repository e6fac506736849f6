//! Known servers, so that a user need not look them up: address, dialect, environment variable of the key, prices. Each can be
//! overridden.

use super::{Dialect, Endpoint};

/// A server that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// DeepSeek's own service. Its reasoning models ignore temperature and top-p, and refuse `logprobs`.
    DeepSeek,
    /// Ollama on this machine, with its own protocol.
    Ollama,
    /// `vllm serve` on this machine.
    Vllm,
    /// llama.cpp's `llama-server` on this machine.
    LlamaCpp,
}

/// What tokens cost, in US dollars a million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Input tokens without a cache hit.
    pub prompt_dollars: f64,
    /// Tokens of reasoning and answer.
    pub completion_dollars: f64,
    /// The date of the price, as `YYYY-MM-DD`; prices change.
    pub known_for: &'static str,
}

impl Preset {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Preset; 4] = [Preset::DeepSeek, Preset::Ollama, Preset::Vllm, Preset::LlamaCpp];

    /// The name by which a user asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Preset::DeepSeek => "deepseek",
            Preset::Ollama => "ollama",
            Preset::Vllm => "vllm",
            Preset::LlamaCpp => "llama.cpp",
        }
    }

    /// The preset of a name.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.name().eq_ignore_ascii_case(name))
    }

    /// The server at its default address, without a key.
    pub fn endpoint(self) -> Endpoint {
        let (url, dialect) = match self {
            Preset::DeepSeek => ("https://api.deepseek.com/v1", Dialect::OpenAi),
            Preset::Ollama => ("http://127.0.0.1:11434", Dialect::Ollama),
            Preset::Vllm => ("http://127.0.0.1:8000/v1", Dialect::OpenAi),
            Preset::LlamaCpp => ("http://127.0.0.1:8080/v1", Dialect::OpenAi),
        };
        Endpoint::new(url, dialect)
    }

    /// The usual environment variable of the key.
    pub fn key_variable(self) -> Option<&'static str> {
        match self {
            Preset::DeepSeek => Some("DEEPSEEK_API_KEY"),
            Preset::Vllm => Some("VLLM_API_KEY"),
            Preset::LlamaCpp => Some("LLAMA_API_KEY"),
            Preset::Ollama => None,
        }
    }

    /// Whether the server requires a key.
    pub fn needs_key(self) -> bool {
        matches!(self, Preset::DeepSeek)
    }

    /// The price of a model, as far as it is known: DeepSeek's prices in peak hours, for input without a cache hit, from a public
    /// summary of its price page (the repository `deepseek-api-pricing-2026`), not from the page itself.
    pub fn prices(self, model: &str) -> Option<Prices> {
        let (prompt_dollars, completion_dollars) = match (self, model) {
            (Preset::DeepSeek, "deepseek-flash" | "deepseek-v4-flash") => (0.30, 1.20),
            (Preset::DeepSeek, "deepseek-v4-pro") => (1.32, 3.96),
            _ => return None,
        };
        Some(Prices { prompt_dollars, completion_dollars, known_for: "2026-10-27" })
    }
}
