//! What the server counts, and how Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

/// Counters and gauges.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests for answers, refused ones included.
    pub(crate) requests: AtomicU64,
    /// Of these, refused because too many were under way.
    pub(crate) busy: AtomicU64,
    /// Answers whose client has gone before their end.
    pub(crate) cancelled: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    /// Sequences that the engine has, running or waiting.
    pub(crate) sequences: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) free_blocks: AtomicU64,
}

impl Metrics {
    /// The text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("aludel_requests_total", "counter", "Requests for answers.", &self.requests),
            (
                "aludel_requests_refused_busy_total",
                "counter",
                "Requests refused since too many were under way.",
                &self.busy,
            ),
            ("aludel_answers_cancelled_total", "counter", "Answers whose client went away.", &self.cancelled),
            ("aludel_prompt_tokens_total", "counter", "Tokens of prompts.", &self.prompt_tokens),
            ("aludel_generated_tokens_total", "counter", "Tokens generated.", &self.generated_tokens),
            ("aludel_sequences", "gauge", "Sequences running or waiting.", &self.sequences),
            ("aludel_cache_blocks", "gauge", "Blocks of the cache, of 64 tokens each.", &self.blocks),
            ("aludel_cache_blocks_free", "gauge", "Blocks of the cache that no sequence holds.", &self.free_blocks),
        ] {
            let value = value.load(Ordering::Relaxed);
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text
    }

    pub(crate) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.text()));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
