//! The body of an answer, read as it comes: a stream of events, lines of JSON, or one JSON value. Memory is bounded, and what
//! is not whole, not UTF-8 or not JSON is a failure.

use std::mem;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer_builder::PartialAnswer;
use super::failure::ServerError;
use super::sse::{BadBytes, Events, Lines};
use super::{Answer, Dialect, Endpoint, Failure, ollama, openai};
use aludel_data::json::Json;

/// Reads a body that is there already, cut into pieces as it came: what [`super::HttpTeacher`] makes of an answer, without a server.
///
/// # Errors
/// As [`super::Teacher::ask`], for what a body can say.
pub fn read_body(endpoint: &Endpoint, content_type: &str, pieces: &[&[u8]]) -> Result<Answer, Failure> {
    let (mut reader, started) = (Reader::new(endpoint, content_type), Instant::now());
    for piece in pieces {
        reader.push(piece, started)?;
    }
    reader.finish(started)
}

/// What a body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Events,
    Lines,
    Whole,
}

/// A body on its way to an answer.
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
    /// A reader for a body of the content type `kind`; where that says nothing, of what was asked for. Some servers answer
    /// the one when asked for the other.
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

    /// Refuses a body that says beforehand that it is too long.
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
        // The first failure inside the bytes; what follows it counts no more.
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

    /// Whether the server said why the answer ended.
    pub(super) fn has_ended(&self) -> bool {
        self.answer.gathered.finish.is_some()
    }

    /// Whether nothing more is to come.
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
    /// Takes an event, a line or the whole.
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
