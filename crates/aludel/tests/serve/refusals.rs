//! What is refused, with which status and words: malformed bodies, values out of range, what this server cannot do, and where it is asked
//! by a page of somebody else.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::Workshop;
use crate::http::Served;

#[test]
fn each_refusal_names_the_field_and_what_to_do() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let mut told = String::new();
    let mut check = |path: &str, body: &Value| {
        let reply = served.post(path, body);
        assert!((400..500).contains(&reply.status), "{path} {body}: {reply:?}");
        let mut shown = body.to_string();
        if shown.len() > 160 {
            shown = format!("{}… ({} bytes)", &shown[..80], shown.len());
        }
        writeln!(told, "{path} {shown}\n  {} {}", reply.status, reply.body).unwrap();
    };
    let chat = "/v1/chat/completions";
    let hello = json!([{"role": "user", "content": "hello"}]);
    for body in [
        json!({}),
        json!([]),
        json!({"messages": []}),
        json!({"messages": "hello"}),
        json!({"messages": [{"role": "user"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
        json!({"messages": [{"role": "user", "content": "x".repeat(600)}]}),
        json!({"messages": [{"role": "user", "content": "x".repeat(9000)}]}),
        json!({"messages": vec![json!({"role": "user", "content": "x"}); 129]}),
    ] {
        check(chat, &body);
    }
    for (name, value) in [
        ("model", json!("gpt-4o")),
        ("temperature", json!(-1)),
        ("temperature", json!("hot")),
        ("top_p", json!(2)),
        ("top_p", json!(0)),
        ("top_k", json!(-5)),
        ("n", json!(0)),
        ("n", json!(65)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(-1)),
        ("stop", json!([""])),
        ("stop", json!(7)),
        ("top_logprobs", json!(2)),
        ("top_logprobs", json!(21)),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
        ("tool_choice", json!("required")),
        ("tool_choice", json!({"type": "function", "function": {"name": "f"}})),
        ("response_format", json!({"type": "json_object"})),
        ("logit_bias", json!({"1": 5})),
        ("presence_penalty", json!(0.5)),
        ("modalities", json!(["text", "audio"])),
        ("chat_template_kwargs", json!({"messages": []})),
        ("stream_options", json!({"include_usage": "yes"})),
        ("min_tokens", json!(5)),
        ("ignore_eos", json!(true)),
        ("stop_token_ids", json!([1])),
        ("guided_json", json!({"type": "object"})),
    ] {
        check(chat, &json!({"messages": hello, name: value}));
    }
    check("/v1/completions", &json!({"prompt": ["a", "b"]}));
    check("/v1/completions", &json!({"prompt": [1, 99999]}));
    check("/v1/completions", &json!({"prompt": "a", "echo": true}));
    check("/v1/responses", &json!({"input": "a", "previous_response_id": "resp_1"}));
    check("/v1/responses", &json!({"input": [{"type": "item_reference", "id": "x"}]}));
    check("/v1/messages", &json!({"messages": hello}));
    check("/v1/messages", &json!({"messages": hello, "max_tokens": 5, "tools": [{"name": "f", "input_schema": {}}]}));
    check("/v1/messages", &json!({"messages": [{"role": "system", "content": "a"}], "max_tokens": 5}));
    check("/api/chat", &json!({"messages": hello, "options": {"temperature": -1}}));
    check("/v1/messages/count_tokens", &json!({"messages": [{"role": "user", "content": "x".repeat(9000)}]}));
    let begun = json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "The"}]);
    check("/v1/messages", &json!({"messages": begun, "max_tokens": 5}));
    check("/v1/messages", &json!({"messages": hello, "max_tokens": 5, "output_format": {"type": "json_schema"}}));
    check("/v1/completions", &json!({"prompt": "x".repeat(9000)}));
    check("/api/chat", &json!({"messages": hello, "format": "json"}));
    check("/api/chat", &json!({"messages": [{"role": "user", "content": "hello", "images": ["aGk="]}]}));
    for (name, value) in [
        ("presence_penalty", json!(0.5)),
        ("frequency_penalty", json!(0.5)),
        ("mirostat", json!(1)),
        ("typical_p", json!(0.5)),
    ] {
        check("/api/chat", &json!({"messages": hello, "options": {name: value}}));
    }
    check("/api/generate", &json!({"model": "llama3", "prompt": "a"}));
    check("/v1/embeddings", &json!({"input": "a"}));
    assert_snapshot!("refusals", told);
    // what changes nothing is no reason to refuse
    let neutral = json!({"messages": hello, "max_tokens": 1, "tools": [], "tool_choice": "none", "logit_bias": {}, "seed": null,
        "presence_penalty": 0, "frequency_penalty": 0.0, "response_format": {"type": "text"}, "user": "me", "unheard_of": 1});
    assert_eq!(served.post(chat, &neutral).status, 200);
    let neutral = json!({"messages": hello, "max_tokens": 1, "min_tokens": 0, "ignore_eos": false, "stop_token_ids": [],
        "guided_json": null});
    assert_eq!(served.post(chat, &neutral).status, 200);
    let message = json!([{"role": "user", "content": "hello", "images": []}]);
    for options in [
        json!(null),
        json!({"presence_penalty": 0, "frequency_penalty": 0.0, "mirostat": 0, "typical_p": 1.0, "num_predict": 1}),
    ] {
        let neutral = json!({"messages": message, "options": options, "stream": false});
        assert_eq!(served.post("/api/chat", &neutral).status, 200, "{neutral}");
    }
}

#[test]
fn bytes_that_are_no_request_are_answered_with_a_reason() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let chat = "/v1/chat/completions";
    for (body, status, part) in [
        (&b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}"[..], 400, "not UTF-8"),
        (b"{\"messages\": [", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"{\"messages\": [{\"role\": \"user\", \"content\": \"\\ud800\"}]}", 400, "not JSON"),
        (&[b'['; 100_000], 400, ""),
    ] {
        let reply = served.send(&served.posted(chat, body));
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains(part), "{reply:?}");
    }
    let address = served.address;
    let head = format!("POST {chat} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let declared = served.send(format!("{head}Content-Length: 99999999\r\n\r\n").as_bytes());
    assert_eq!(declared.status, 413, "{declared:?}");
    // the server has read all that was sent when it sees that it is too much
    let (size, blank) = (64 << 20, " ".repeat((8 << 20) + 1));
    let chunked = served.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{blank}").as_bytes());
    assert_eq!(chunked.status, 413, "{chunked:?}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(served.send(many.as_bytes()).status, 431);
    for (bytes, status) in [(31 << 10, "200"), (33 << 10, "431")] {
        let long = format!("GET /health HTTP/1.1\r\nHost: {address}\r\na: {}\r\n\r\n", "b".repeat(bytes));
        let (mut stream, mut line) = (served.connect(), [0; 12]);
        stream.write_all(long.as_bytes()).unwrap();
        // the connection may break off after the answer, as not all of the head is read
        stream.read_exact(&mut line).unwrap();
        assert_eq!(line, format!("HTTP/1.1 {status}").as_bytes(), "{bytes}");
    }
    assert_eq!(served.send(b"NONSENSE\r\n\r\n").status, 400);
    assert_eq!(served.get(chat, "").status, 405);
    assert_eq!(served.get("/../../etc/passwd", "").status, 404);
    assert_eq!(served.get("/health", "").status, 200, "nothing of it harms the server");
}

/// Bodies with a few bytes changed are answered or refused, never by a fault of the server.
#[test]
fn damaged_bodies_harm_nobody() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let bodies = [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            "max_tokens": 2, "logprobs": true, "top_logprobs": 2, "stop": ["b"], "seed": 1, "top_p": 0.5}),
        ),
        ("/v1/messages", json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "system": "b"})),
        ("/v1/responses", json!({"input": [{"role": "user", "content": "a"}], "max_output_tokens": 2})),
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "a"}], "options": {"num_predict": 2}, "stream": false}),
        ),
    ];
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    const BYTES: &[u8] = b"\"{}[]:,0129-.eEntrufalse\\u \n\x00\x7f\xc3\xff";
    for round in 0..300 {
        let (path, body) = &bodies[round % bodies.len()];
        let mut body = body.to_string().into_bytes();
        for _ in 0..=next(3) {
            let at = next(body.len());
            match next(3) {
                0 => body[at] = BYTES[next(BYTES.len())],
                1 => body.insert(at, BYTES[next(BYTES.len())]),
                _ => drop(body.remove(at)),
            }
        }
        let reply = served.send(&served.posted(path, &body));
        let shown = String::from_utf8_lossy(&body);
        assert!(reply.status == 200 || (400..500).contains(&reply.status), "{shown}: {reply:?}");
        // without its `stream`, a request of Ollama's is answered in lines
        let lines: Result<Vec<Value>, _> = reply.body.lines().map(serde_json::from_str).collect();
        assert!(lines.is_ok_and(|lines| lines.iter().all(Value::is_object)), "{shown}: {reply:?}");
    }
    // A client may have its answer a moment before the engine has let go of it.
    served.wait_for("aludel_sequences", |sequences| sequences == 0);
}

#[test]
fn pages_of_others_are_refused() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let get = |host: &str, more: &str| {
        served.send(format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n").as_bytes())
    };
    let own = served.address.to_string();
    assert_eq!(get(&own, "").status, 200);
    assert_eq!(get(&own, &format!("Origin: http://{own}\r\n")).status, 200);
    for (host, origin) in [
        (own.as_str(), "Origin: https://evil.example\r\n"),
        ("evil.example", ""),
        ("evil.example", "Origin: http://evil.example\r\n"),
    ] {
        let refused = get(host, origin);
        assert_eq!(refused.status, 403, "{host} {origin}");
        assert!(!refused.head.contains("access-control"), "{}", refused.head);
    }
}
