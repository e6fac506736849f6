//! A server's address, dialect and timeouts, and the routes that follow from the address.

use std::time::Duration;

use reqwest::Url;

use super::Secret;
use crate::Error;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/chat/completions`, as OpenAI, DeepSeek, vLLM, llama.cpp and many others serve it.
    OpenAi,
    /// Ollama's own `POST /api/chat`.
    Ollama,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// Between two chunks of a stream, and before the first. Without a stream nothing arrives before the end, so that only
    /// `request` applies.
    pub idle: Duration,
    /// For all of it.
    pub request: Duration,
}

impl Default for Timeouts {
    /// 10 seconds, 5 minutes (a queue may be long), 1 hour (so may be the reasoning).
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            request: Duration::from_secs(3600),
        }
    }
}

/// One server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its address: `http://host:8000`, optionally with `/v1` or another path, or the full address of the chat route.
    pub url: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Sent as `Authorization: Bearer …`.
    pub key: Option<Secret>,
    /// Further headers. Their values may be secrets, and are protected like one.
    pub headers: Vec<(String, Secret)>,
    /// Ask for a stream, so that a stalled server is noticed early. Without it the answer arrives in one piece.
    pub stream: bool,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Maximum bytes of one response; a longer one is aborted.
    pub max_answer_bytes: usize,
}

impl Endpoint {
    /// A server with streaming, default timeouts, at most 64 MiB an answer, and no key.
    pub fn new(url: impl Into<String>, dialect: Dialect) -> Endpoint {
        Endpoint {
            url: url.into(),
            dialect,
            key: None,
            headers: Vec::new(),
            stream: true,
            timeouts: Timeouts::default(),
            max_answer_bytes: 64 << 20,
        }
    }

    /// The addresses of the chat route and of the list of models.
    pub(super) fn routes(&self) -> Result<Routes, Error> {
        let url = Url::parse(&self.url)
            .map_err(|reason| self.refuse(format!("this is no address ({reason}); write it as http://host:8000/v1")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(self.refuse("only http:// and https:// addresses can be asked".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                self.refuse("an address must not hold a password; give the key by its variable or file".to_owned())
            );
        }
        let (chat, models) = match self.dialect {
            Dialect::OpenAi => ("/chat/completions", "/models"),
            Dialect::Ollama => ("/api/chat", "/api/tags"),
        };
        let path = url.path().trim_end_matches('/');
        let base = match (path.strip_suffix(chat), self.dialect) {
            (Some(base), _) => base.to_owned(),
            (None, Dialect::OpenAi) if path.is_empty() => "/v1".to_owned(),
            (None, Dialect::Ollama) => path.trim_end_matches("/api").to_owned(),
            (None, _) => path.to_owned(),
        };
        let at = |route: &str| {
            let mut there = url.clone();
            there.set_path(&format!("{base}{route}"));
            there
        };
        let mut name = at("");
        name.set_query(None);
        name.set_fragment(None);
        Ok(Routes { chat: at(chat), models: at(models), name: name.as_str().trim_end_matches('/').to_owned() })
    }

    pub(super) fn refuse(&self, reason: String) -> Error {
        // What precedes an @ may be a password, and what follows a ? may be a key.
        let shown = self.url.rsplit('@').next().unwrap_or_default().split('?').next().unwrap_or_default();
        Error::Endpoint { url: shown.to_owned(), reason }
    }
}

/// The routes of one server.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    /// Where questions go.
    pub(super) chat: Url,
    /// Its list of models.
    pub(super) models: Url,
    /// Its name in messages: the address without its query.
    pub(super) name: String,
}
