//! Ready-made replies: whole responses, and the pieces of a stream.

use serde_json::{Value, json as value};

use crate::Step;

/// A whole response with its length, after which the connection stays. `headers` are lines, each with its line break.
pub fn response(status: &str, headers: &str, body: &str) -> Step {
    let length = body.len();
    Step::send(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
}

/// A response that is JSON.
pub fn json(status: &str, body: &Value) -> Step {
    response(status, "content-type: application/json\r\n", &body.to_string())
}

/// The head of a response whose body lasts until the connection ends.
pub fn stream(kind: &str) -> Step {
    Step::send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"))
}

/// One server-sent event.
pub fn event(data: &Value) -> Step {
    Step::send(format!("data: {data}\n\n"))
}

/// One piece of an answer in OpenAI's protocol: what is added, and why it ended.
pub fn chunk(delta: Value, finish: Option<&str>) -> Value {
    value!({"id": "answer", "object": "chat.completion.chunk", "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

/// One line of Ollama's stream.
pub fn ollama_line(body: &Value) -> Step {
    Step::send(format!("{body}\n"))
}

/// A whole stream in chunked encoding, after which the connection stays: reasoning, answer, count of tokens, end.
pub fn stream_of(reasoning: &str, content: &str) -> Step {
    let usage = value!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}});
    let events = [
        chunk(value!({"role": "assistant", "content": ""}), None),
        chunk(value!({"reasoning_content": reasoning}), None),
        chunk(value!({"content": content}), None),
        chunk(value!({}), Some("stop")),
        usage,
    ];
    let body: String = events.iter().map(|data| format!("data: {data}\n\n")).collect();
    let body = body + "data: [DONE]\n\n";
    let length = body.len();
    Step::send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    ))
}
