//! Answers that are sent while they are written: events of the server (SSE) or lines of JSON. What a chunk looks like is the protocols'.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;

use crate::answer::{Chunk, Chunks};

/// While nothing is written, a comment is sent after this time, so that nobody between takes the connection for dead.
const SILENCE: Duration = Duration::from_secs(15);

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `data:` lines.
    Events,
    /// JSON, one value a line.
    Lines,
}

/// One event with data alone.
pub(crate) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// One event with a name, which is also the `type` of its data.
pub(crate) fn named_event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// One line of JSON.
pub(crate) fn line(data: &Value) -> String {
    format!("{data}\n")
}

/// A response that begins with `first` and goes on with what `write` makes of each chunk; at the end it gets none. Dropping the response,
/// as hyper does when the client has gone, drops `chunks`. Where chunks
/// are missing, the connection is broken off, so that no client takes what it has for the whole answer.
pub(crate) fn response(
    framing: Framing,
    first: String,
    chunks: Chunks,
    write: impl FnMut(Option<Chunk>) -> String + Send + 'static,
) -> Response {
    let state = (chunks, write, Some(first).filter(|first| !first.is_empty()), false);
    let parts = futures_util::stream::unfold(state, move |(mut chunks, mut write, mut first, is_over)| async move {
        if let Some(first) = first.take() {
            return Some((Ok::<_, io::Error>(Bytes::from(first)), (chunks, write, None, is_over)));
        }
        if is_over {
            return None;
        }
        loop {
            let text = match tokio::time::timeout(SILENCE, chunks.recv()).await {
                Err(_) if framing == Framing::Events => ": still writing\n\n".to_owned(),
                Err(_) => continue,
                Ok(Some(chunk)) => write(Some(chunk)),
                Ok(None) if chunks.is_incomplete() => {
                    let broken = io::Error::new(io::ErrorKind::TimedOut, "the client did not read its answer");
                    return Some((Err(broken), (chunks, write, None, true)));
                }
                Ok(None) => {
                    let last = write(None);
                    return Some((Ok(Bytes::from(last)), (chunks, write, None, true)));
                }
            };
            if !text.is_empty() {
                return Some((Ok(Bytes::from(text)), (chunks, write, None, false)));
            }
        }
    });
    let mut response = Response::new(Body::from_stream(parts));
    let kind = match framing {
        Framing::Events => "text/event-stream",
        Framing::Lines => "application/x-ndjson",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::End;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    #[test]
    fn an_answer_without_its_end_breaks_the_connection_off() {
        let body = |is_ended: bool| {
            let (sink, receiver) = mpsc::channel(4);
            sink.try_send(Chunk::Text { sample: 0, pieces: Vec::new(), tokens: Vec::new() }).unwrap();
            if is_ended {
                sink.try_send(Chunk::End { sample: 0, end: End::Turn, count: 1 }).unwrap();
            }
            drop(sink);
            let write = |chunk: Option<Chunk>| if chunk.is_some() { "chunk\n" } else { "over\n" }.to_owned();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let response = response(Framing::Lines, "first\n".to_owned(), Chunks::new(receiver, 1), write);
            runtime.block_on(response.into_body().collect()).map(http_body_util::Collected::to_bytes)
        };
        assert_eq!(body(true).unwrap(), "first\nchunk\nchunk\nover\n");
        assert!(body(false).is_err());
    }
}
