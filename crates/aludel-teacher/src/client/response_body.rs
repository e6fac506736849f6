//! The body of a response, read as it arrives: server-sent events, lines of JSON, or one JSON value. Memory is bounded; what is
//! incomplete, not UTF-8 or not JSON is a failure.

use std::mem;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer_builder::PartialAnswer;
use super::failure::ServerError;
use super::sse::{BadBytes, Events, Lines};
use super::{Answer, Dialect, Endpoint, Failure, ollama, openai};
use aludel_data::json::Json;

/// Reads a body that is in memory, in the given chunks: the answer that [`super::HttpTeacher`] would return, without a server.
///
/// # Errors
/// As [`super::Teacher::ask`], for failures of the body.
pub fn read_body(endpoint: &Endpoint, content_type: &str, pieces: &[&[u8]]) -> Result<Answer, Failure> {
    let (mut reader, started) = (Reader::new(endpoint, content_type), Instant::now());
    for piece in pieces {
        reader.push(piece, started)?;
    }
    reader.finish(started)
}

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Events,
    Lines,
    Whole,
}

/// A body that is being read into an answer.
pub(super) struct Reader {
    shape: Shape,
    lines: Lines,
    events: Events,
    whole: Vec<u8>,
    bytes: usize,
    bytes_allowed: usize,
    answer: Growing,
}

/// What the body has said so far.
struct Growing {
    dialect: Dialect,
    gathered: PartialAnswer,
    first_token: Option<Duration>,
    is_done: bool,
}

impl Reader {
    /// A reader for a body of the content type `kind`, or else of the format that was requested. Some servers answer in the other
    /// one.
    pub(super) fn new(endpoint: &Endpoint, kind: &str) -> Reader {
        let shape = match (kind.split(';').next().unwrap_or_default().trim(), endpoint.stream, endpoint.dialect) {
            ("text/event-stream", ..) => Shape::Events,
            ("application/x-ndjson", ..) => Shape::Lines,
            ("application/json", ..) | (_, false, _) => Shape::Whole,
            (_, true, Dialect::OpenAi) => Shape::Events,
            (_, true, Dialect::Ollama) => Shape::Lines,
        };
        let answer = Growing {
            dialect: endpoint.dialect,
            gathered: PartialAnswer::default(),
            first_token: None,
            is_done: false,
        };
        Reader {
            shape,
            lines: Lines::default(),
            events: Events::default(),
            whole: Vec::new(),
            bytes: 0,
            bytes_allowed: endpoint.max_answer_bytes,
            answer,
        }
    }

    /// Refuses a body whose declared length is too large.
    pub(super) fn expect(&self, bytes: Option<u64>) -> Result<(), Failure> {
        match bytes {
            Some(bytes) if bytes > self.bytes_allowed as u64 => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], started: Instant) -> Result<(), Failure> {
        self.bytes += bytes.len();
        if self.bytes > self.bytes_allowed {
            return Err(self.too_long());
        }
        let Reader { lines, events, answer, .. } = self;
        // The first failure in the bytes; what follows it is ignored.
        let mut failed = Ok(());
        let mut take = |text: &str| {
            if failed.is_ok() && !answer.is_done {
                failed = answer.take(text, started);
            }
        };
        let cut = match self.shape {
            Shape::Events => lines.push(bytes, &mut |line| events.line(line, &mut take)),
            Shape::Lines => lines.push(bytes, &mut |line| {
                take(std::str::from_utf8(line).map_err(|_| BadBytes::Encoding)?);
                Ok(())
            }),
            Shape::Whole => {
                self.whole.extend_from_slice(bytes);
                Ok(())
            }
        };
        failed.and(cut.map_err(|bad| match bad {
            BadBytes::Encoding => Failure::broken("the answer is not UTF-8"),
            BadBytes::TooLong => Failure::broken("a line of the answer is too long to be honest; it was given up"),
        }))
    }

    /// Whether the server gave a finish reason.
    pub(super) fn has_ended(&self) -> bool {
        self.answer.gathered.finish.is_some()
    }

    /// Whether nothing more will follow.
    pub(super) fn is_done(&self) -> bool {
        self.answer.is_done
    }

    /// The answer, once the body has ended.
    pub(super) fn finish(mut self, started: Instant) -> Result<Answer, Failure> {
        let rest = match self.shape {
            Shape::Events => Vec::new(),
            // The last line may lack its line break.
            Shape::Lines if !self.answer.is_done => self.lines.rest().to_vec(),
            Shape::Lines => Vec::new(),
            Shape::Whole => mem::take(&mut self.whole),
        };
        if !rest.is_empty() || self.shape == Shape::Whole {
            let text = std::str::from_utf8(&rest).map_err(|_| Failure::broken("the answer is not UTF-8"))?;
            self.answer.take(text, started)?;
        }
        let elapsed = started.elapsed();
        self.answer.gathered.into_answer(self.answer.first_token.unwrap_or(elapsed), elapsed)
    }

    fn too_long(&self) -> Failure {
        Failure::broken(format!("the answer is longer than {} bytes; it was given up", self.bytes_allowed))
    }
}

impl Growing {
    /// Reads an event, a line or the complete body.
    fn take(&mut self, text: &str, started: Instant) -> Result<(), Failure> {
        let is_stream_end = self.dialect == Dialect::OpenAi && text.trim() == "[DONE]";
        if is_stream_end {
            self.is_done = true;
            return Ok(());
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        let broken = |reason| Failure::broken(format!("the answer is not JSON as it should be ({reason})"));
        let json = Json::parse(text).map_err(broken)?;
        let value: Value = json.value().map_err(broken)?;
        if let Some(said) = ServerError::in_body(&value) {
            return Err(Failure::from_body(&said));
        }
        match self.dialect {
            Dialect::OpenAi => openai::take(value, json, &mut self.gathered)?,
            Dialect::Ollama => {
                ollama::take(value, json, &mut self.gathered)?;
                self.is_done = self.gathered.finish.is_some();
            }
        }
        if self.first_token.is_none() && self.gathered.has_text() {
            self.first_token = Some(started.elapsed());
        }
        Ok(())
    }
}
