//! Answers that are sent while they are written: events of the server (SSE) or lines of JSON. What a chunk looks like is the protocols'.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::answer::Chunk;

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
/// as hyper does when the client has gone, drops `chunks`.
pub(crate) fn response(
    framing: Framing,
    first: String,
    chunks: Receiver<Chunk>,
    write: impl FnMut(Option<Chunk>) -> String + Send + 'static,
) -> Response {
    let state = (chunks, write, Some(first).filter(|first| !first.is_empty()), false);
    let parts = futures_util::stream::unfold(state, move |(mut chunks, mut write, mut first, is_over)| async move {
        if let Some(first) = first.take() {
            return Some((Ok::<_, Infallible>(Bytes::from(first)), (chunks, write, None, is_over)));
        }
        if is_over {
            return None;
        }
        loop {
            let text = match tokio::time::timeout(SILENCE, chunks.recv()).await {
                Err(_) if framing == Framing::Events => ": still writing\n\n".to_owned(),
                Err(_) => continue,
                Ok(Some(chunk)) => write(Some(chunk)),
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
