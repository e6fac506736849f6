//! `aludel serve` through the binary, on a student of one layer: what is answered in each protocol, what is refused and how, clients that
//! go away or never end, and the end of the server.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

#[path = "../common/mod.rs"]
mod common;
mod http;
mod protocols;
mod refusals;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use common::Workshop;
use http::{Served, read};
use serde_json::{Value, json};

/// A student whose context holds a long answer.
fn roomy() -> Workshop {
    let workshop = Workshop::with_student();
    let config = fs::read_to_string(workshop.path("student/config.json")).unwrap();
    let config = config.replace("\"max_position_embeddings\":512", "\"max_position_embeddings\":200000");
    assert!(config.contains("200000"));
    workshop.write("student/config.json", &config);
    workshop
}

/// A question whose answer is long: the student repeats itself.
fn endless(stream: bool) -> Value {
    json!({
        "messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 190_000, "stream": stream,
    })
}

fn short() -> Value {
    json!({"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 4})
}

#[test]
fn clients_that_go_away_give_back_what_they_held_and_too_many_are_told_to_wait() {
    let workshop = roomy();
    let served = Served::start(&workshop, &["--max-clients", "1", "--context-length", "200000"]);
    let blocks = served.metric("aludel_cache_blocks");
    let is_all = |free| free == blocks;
    served.wait_for("aludel_cache_blocks_free", is_all);
    for is_stream in [true, false] {
        let mut endless_one = served.connect();
        endless_one
            .write_all(&served.posted("/v1/chat/completions", endless(is_stream).to_string().as_bytes()))
            .unwrap();
        served.wait_for("aludel_cache_blocks_free", |free| free < blocks);
        let refused = served.post("/v1/chat/completions", &short());
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
        assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
        drop(endless_one);
        served.wait_for("aludel_cache_blocks_free", is_all);
        served.wait_for("aludel_sequences", |sequences| sequences == 0);
    }
    assert_eq!(served.metric("aludel_answers_cancelled_total"), 2);
    let answered = served.post("/v1/chat/completions", &short());
    assert_eq!((answered.status, &answered.json()["usage"]["completion_tokens"]), (200, &json!(4)));
    let too_many = served.post("/v1/chat/completions", &json!({"messages": short()["messages"], "n": 2}));
    assert_eq!((too_many.status, &too_many.json()["error"]["param"]), (400, &json!("n")));
}

/// An answer does not depend on what else runs; and of many clients, a third of whom go away, nothing is left.
#[test]
fn many_clients_at_once_get_what_each_would_get_alone() {
    let workshop = roomy();
    let served = Served::start(&workshop, &["--context-length", "2000"]);
    let ask = |seed: u64| {
        json!({"messages": [{"role": "user", "content": "hello ".repeat(seed as usize)}], "temperature": 1, "seed": seed,
            "max_tokens": 40})
    };
    let answer = |seed: u64| served.post("/v1/chat/completions", &ask(seed)).json()["choices"].take();
    let alone: Vec<Value> = (1..=12).map(answer).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let asked = (1..=12).map(|seed| {
            if seed % 2 == 0 {
                let mut leaving = served.connect();
                leaving
                    .write_all(&served.posted("/v1/chat/completions", endless(true).to_string().as_bytes()))
                    .unwrap();
            }
            scope.spawn(move || answer(seed))
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
    served.wait_for("aludel_sequences", |sequences| sequences == 0);
    assert_eq!(served.metric("aludel_cache_blocks_free"), served.metric("aludel_cache_blocks"));
}

#[test]
fn a_server_that_is_told_to_end_ends_its_answers_first() {
    let workshop = roomy();
    let mut served = Served::start(&workshop, &["--context-length", "200000"]);
    let mut long = endless(true);
    long["max_tokens"] = json!(3000);
    let mut stream = served.connect();
    stream.write_all(&served.posted("/v1/chat/completions", long.to_string().as_bytes())).unwrap();
    // the answer has begun
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    served.terminate();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]") && rest.contains("\"finish_reason\":\"length\""), "{rest}");
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    assert!(std::net::TcpStream::connect(served.address).is_err(), "nobody listens any more");
}

#[test]
fn slow_senders_keep_nobody_waiting() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let slow: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = served.connect();
            let request = served.posted("/v1/chat/completions", short().to_string().as_bytes());
            // some stop within the head, some within the body
            let part = if number % 2 == 0 { 20 } else { request.len() - 5 };
            stream.write_all(&request[..part]).unwrap();
            stream
        })
        .collect();
    assert_eq!(served.post("/v1/chat/completions", &short()).status, 200);
    // one that sends the rest is answered
    let mut late = slow.into_iter().nth(1).unwrap();
    let request = served.posted("/v1/chat/completions", short().to_string().as_bytes());
    late.write_all(&request[request.len() - 5..]).unwrap();
    assert_eq!(read(late).status, 200);
}

#[test]
fn addresses_that_cannot_be_served_are_refused_before_the_model_is_read() {
    let workshop = Workshop::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |more: &[&str]| workshop.run(&[&["serve", "--model", "./student"], more].concat());
    let said = run(&["--port", &port]);
    assert!(said.contains("exit code: 1") && said.contains("give another --port"), "{said}");
    let said = run(&["--host", "0.0.0.0", "--port", "0"]);
    assert!(said.contains("exit code: 1") && said.contains("--api-key-file"), "{said}");
    workshop.write("key", "one\ntwo");
    let said = run(&["--api-key-file", "key"]);
    assert!(said.contains("does not hold a key") && !said.contains("two"), "{said}");
    let said = run(&["--port", "0", "--adapter", "student=run"]);
    assert!(said.contains("could not be told apart"), "{said}");
}

#[test]
fn a_key_opens_the_server_and_nothing_else_does() {
    let workshop = Workshop::with_student();
    workshop.write("key", "sk-canary-1\n");
    let served = Served::start(&workshop, &["--api-key-file", "key"]);
    for (path, headers, status) in [
        ("/v1/models", "", 401),
        ("/v1/models", "Authorization: Bearer sk-canary-2\r\n", 401),
        ("/v1/models", "Authorization: Bearer sk-canary-1\r\n", 200),
        ("/v1/models", "X-Api-Key: sk-canary-1\r\n", 200),
        ("/metrics", "", 401),
        ("/health", "", 200),
        ("/", "", 200),
    ] {
        assert_eq!(served.get(path, headers).status, status, "{path} {headers}");
    }
    assert!(!served.get("/v1/models", "").body.contains("canary"));
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let page = served.get("/", "");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    let nonce = page.head.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(nonce.len() == 16 && page.body.contains(&format!("<script nonce=\"{nonce}\">")), "{}", page.head);
    assert!(!served.get("/", "").body.contains(nonce), "each answer has its own");
    for outside in ["http://", "https://", "//cdn", " src=", "@import", "url(", "innerHTML", "eval("] {
        assert!(!page.body.contains(outside), "{outside}");
    }
}

/// Our own client against our own server: what it asks is answered, and nothing that it reads is unknown to it.
#[test]
fn aludel_trace_and_eval_ask_it_as_they_ask_others() {
    let workshop = Workshop::with_student();
    let rows: String =
        (0..3).map(|n| format!("{}\n", json!({"question": format!("{n} + 1?"), "answer": n + 1}))).collect();
    workshop.write("sums.jsonl", &rows);
    let served = Served::start(&workshop, &[]);
    let url = format!("{}/v1", served.url());
    let asked = ["--max-new-tokens", "6", "--temperature", "0", "--json"];
    let eval = ["eval", "--endpoint", &url, "--model", "student", "--tasks", "sums.jsonl", "--output-dir", "served"];
    let found = workshop.json(&[&eval[..], &asked].concat());
    let local = ["eval", "--model", "student", "--dtype", "f32", "--tasks", "sums.jsonl", "--output-dir", "local"];
    workshop.json(&[&local[..], &asked].concat());
    assert_eq!(found["tasks"][0]["mean_completion_tokens"], 6.0, "{found}");
    let texts = |folder: &str| -> Vec<Value> {
        let text = fs::read_to_string(workshop.path(folder).join("samples.jsonl")).unwrap();
        let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        rows.sort_by_key(|row| row["problem"].as_u64());
        rows.into_iter().map(|mut row| row["content"].take()).collect()
    };
    // an evaluation trims what a server leaves as it is
    let trimmed =
        |texts: Vec<Value>| texts.iter().map(|text| text.as_str().unwrap().trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(texts("served")), trimmed(texts("local")), "the same answers, served or not");
    let trace = ["trace", "--prompts", "sums.jsonl", "--teacher", &url, "--model", "student", "--store", "traces.db"];
    let traced = workshop.json(&[&trace[..], &asked].concat());
    assert_eq!(traced["run"]["warnings"].as_array().map_or(0, Vec::len), 0, "{traced}");
    let status = workshop.json(&["trace", "status", "--store", "traces.db", "--json"]);
    assert_eq!((&status["prompts"], &status["cut"]), (&json!(3), &json!(3)), "{status}");
}
