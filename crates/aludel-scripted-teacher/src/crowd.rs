//! Ordinary answers to thousands of questions, with a share of errors and an outage where they are wanted; always the same
//! for the same number of a request.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::json as value;

use crate::{Request, Step, json, response, stream_of};

/// How a crowd is answered.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// The share of requests that fail, from 0 to 1: with 429, 500, 503, a reset and a cut stream in turn.
    pub errors: f64,
    /// From when on nobody is answered, counted from the first request, and for how long.
    pub outage: Option<(Duration, Duration)>,
    /// How long each answer takes.
    pub delay: Duration,
    /// The reasoning in each answer.
    pub reasoning: String,
    /// The answer in each answer.
    pub content: String,
}

impl Default for Crowd {
    /// At once, without errors, `because` and `42`.
    fn default() -> Crowd {
        let (reasoning, content) = ("because".to_owned(), "42".to_owned());
        Crowd { errors: 0.0, outage: None, delay: Duration::ZERO, reasoning, content }
    }
}

impl Crowd {
    /// The script that answers so.
    pub fn script(self) -> impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static {
        let streamed = stream_of(&self.reasoning, &self.content);
        let message = value!({"role": "assistant", "content": self.content, "reasoning_content": self.reasoning});
        let whole = value!({"model": "scripted", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}});
        let whole = json("200 OK", &whole);
        let first = OnceLock::new();
        move |request| {
            let elapsed = first.get_or_init(Instant::now).elapsed();
            let is_out = self.outage.is_some_and(|(from, length)| elapsed >= from && elapsed < from + length);
            if request.method == "GET" {
                return vec![json("200 OK", &value!({"object": "list", "data": [{"id": "scripted"}]}))];
            }
            if is_out {
                return vec![Step::Reset];
            }
            let mut steps = Vec::new();
            if !self.delay.is_zero() {
                steps.push(Step::Wait(self.delay));
            }
            if share(request.number) < self.errors {
                steps.extend(trouble(request.number));
            } else {
                let wants_stream = request.body.windows(13).any(|bytes| bytes == b"\"stream\":true");
                steps.push(if wants_stream { streamed.clone() } else { whole.clone() });
            }
            steps
        }
    }
}

fn trouble(number: u64) -> Vec<Step> {
    let error = |status: &str| vec![json(status, &value!({"error": {"message": "not now", "type": "overloaded"}}))];
    match (share(number) * 1e9) as u64 % 5 {
        0 => error("429 Too Many Requests"),
        1 => error("500 Internal Server Error"),
        2 => vec![response("503 Service Unavailable", "retry-after: 1\r\n", "busy")],
        3 => vec![Step::Reset],
        _ => vec![
            crate::stream("text/event-stream"),
            crate::event(&crate::chunk(value!({"content": "4"}), None)),
            Step::Close,
        ],
    }
}

/// A number from 0 to 1 that looks random (the finaliser of SplitMix64).
fn share(number: u64) -> f64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
