//! How a request fails, in the server's own words, and which other requests would fail in the same way. The status and the message
//! decide; what is done about it is decided by the caller.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server is overloaded or busy (408, 409, 425, 429, 5xx): retry later.
    #[error("the server is busy{}: {words}", shown(*status))]
    Busy {
        /// The HTTP status, or the one in an error inside a stream.
        status: Option<u16>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// What it said.
        words: String,
    },

    /// The connection failed, or the response was not a complete answer (reset, stall, cut stream, bad UTF-8, wrong JSON, too
    /// long): retry.
    #[error("{words}")]
    Broken {
        /// What happened.
        words: String,
    },

    /// This question will never be answered by this server (context too long, content policy, 413, 422): skip it.
    #[error("the teacher does not take this question{}: {words}", shown(*status))]
    Question {
        /// The HTTP status, or the one in an error inside a stream; none of a model on this machine.
        status: Option<u16>,
        /// What the teacher said.
        words: String,
    },

    /// The server will answer no question at all (401, 402, 403, 404, an unknown model, a redirect, a certificate): stop.
    #[error("the server refuses{}: {words}", shown(*status))]
    Refused {
        /// The HTTP status, if there was a response.
        status: Option<u16>,
        /// The server's message, or what is wrong with it.
        words: String,
    },
}

fn shown(status: Option<u16>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}

impl Failure {
    /// The failure of a response with an error status, or of an error inside a body.
    pub(super) fn from_status(status: u16, retry_after: Option<Duration>, said: &ServerError) -> Failure {
        let words = said.words.clone();
        match status {
            _ if said.is_for_everyone() => Failure::Refused { status: Some(status), words },
            _ if said.is_for_this_question() => Failure::Question { status: Some(status), words },
            408 | 409 | 425 | 429 | 500.. => Failure::Busy { status: Some(status), retry_after, words },
            400 | 413 | 414 | 422 | 451 => Failure::Question { status: Some(status), words },
            _ => Failure::Refused { status: Some(status), words },
        }
    }

    /// The failure of an error object in a body with status 200, or in the middle of a stream.
    pub(super) fn from_body(said: &ServerError) -> Failure {
        match said.status {
            Some(status) => Failure::from_status(status, None, said),
            None if said.is_for_everyone() => Failure::Refused { status: None, words: said.words.clone() },
            None if said.is_for_this_question() => Failure::Question { status: Some(400), words: said.words.clone() },
            None if said.has(&[
                "rate limit",
                "rate_limit",
                "too many requests",
                "overload",
                "busy",
                "unavailable",
                "capacity",
                "try again",
            ]) =>
            {
                Failure::Busy { status: None, retry_after: None, words: said.words.clone() }
            }
            None => Failure::Broken { words: format!("the server broke off: {}", said.words) },
        }
    }

    /// Whether the server or the connection failed, so that other requests would fail, too. A response that is not an answer says
    /// something about this question alone.
    pub(crate) fn tells_of_server(&self) -> bool {
        match self {
            Failure::Broken { words } => OF_CONNECTION.iter().any(|beginning| words.starts_with(beginning)),
            Failure::Busy { .. } | Failure::Refused { .. } => true,
            Failure::Question { .. } => false,
        }
    }

    pub(super) fn broken(words: impl Into<String>) -> Failure {
        Failure::Broken { words: words.into() }
    }
}

/// How messages of failures begin that concern the connection and not the response.
const OF_CONNECTION: [&str; 6] = [
    "cannot connect",
    "the connection broke",
    "no connection within",
    "no answer began within",
    "nothing came for",
    "the answer was not whole after",
];

/// The error object of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerError {
    /// Its message, shortened and without control characters.
    pub(super) words: String,
    /// Message, code and type in lower case, to search for known words.
    known_by: String,
    /// The field of the request that is wrong.
    field: Option<String>,
    /// The status that the error itself names.
    status: Option<u16>,
}

impl ServerError {
    /// Reads the body of a response with an error status.
    pub(super) fn from_bytes(status: u16, body: &[u8]) -> ServerError {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => ServerError::from_error(value.get("error").filter(|error| !error.is_null()).unwrap_or(&value)),
            // An HTML page says little more than its status.
            Err(_) if text.trim().is_empty() || text.trim_start().starts_with('<') => {
                let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                ServerError::from_words(reason.unwrap_or("no reason given"))
            }
            Err(_) => ServerError::from_words(&text),
        }
    }

    /// The error in a body with status 200, if it holds one.
    pub(super) fn in_body(value: &Value) -> Option<ServerError> {
        match value.get("error") {
            Some(error) if !error.is_null() => Some(ServerError::from_error(error)),
            _ if value.get("object").is_some_and(|object| object == "error") => Some(ServerError::from_error(value)),
            _ => None,
        }
    }

    fn from_words(words: &str) -> ServerError {
        ServerError { words: harmless(words), known_by: words.to_lowercase(), ..ServerError::default() }
    }

    fn from_error(error: &Value) -> ServerError {
        let part = |name: &str| error.get(name).and_then(Value::as_str);
        let message = error.as_str().or_else(|| part("message")).or_else(|| part("detail"));
        let message = message.map(str::to_owned).unwrap_or_else(|| error.to_string());
        let code = error.get("code").or_else(|| error.get("status"));
        let kinds = [part("code"), part("type"), Some(message.as_str())];
        let known_by = kinds.into_iter().flatten().collect::<Vec<_>>().join("\n").to_lowercase();
        // FastAPI names the field as the last part of `loc`.
        let place = error.pointer("/detail/0/loc/1").and_then(Value::as_str);
        let status = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        ServerError {
            words: harmless(&message),
            known_by,
            field: part("param").or(place).map(str::to_owned),
            status: status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status)),
        }
    }

    /// Whether the error contains any of these words.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.known_by.contains(word))
    }

    /// Whether every request would fail like this one: an unknown model, an invalid key, no credit, an unknown setting.
    fn is_for_everyone(&self) -> bool {
        let about_model = self.known_by.contains("model")
            && self.has(&["not found", "not_found", "not exist", "unknown model", "invalid model", "no such model"]);
        let about_setting = self.field.as_deref().is_some_and(|field| {
            !matches!(field.split(['.', '[']).next(), Some("messages" | "input" | "prompt" | "input_tokens"))
        });
        about_model
            || self.has(&["invalid_api_key", "api_key_invalid", "insufficient_quota", "insufficient balance"])
            || (!self.is_for_this_question()
                && (about_setting || self.has(&["unsupported parameter", "unknown parameter"])))
    }

    /// Whether only this question fails: too long, or not allowed.
    fn is_for_this_question(&self) -> bool {
        self.has(&[
            "context_length",
            "context length",
            "context size",
            "context window",
            "maximum context",
            "too many tokens",
            "content_policy",
            "content policy",
            "content_filter",
            "content exists risk",
        ])
    }
}

/// Text from a server as it is shown: one line, at most 400 characters, without characters that control a terminal or reorder text.
fn harmless(text: &str) -> String {
    let is_mark = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().take(400).filter(|&c| !c.is_control() && !is_mark(c)).collect();
    if words.chars().nth(400).is_some() {
        shown.push('…');
    }
    shown
}
