//! What a scripted server does, and what becomes of it. Expectations come from the documentation of [`Failure`] and
//! [`Finish`]; each failure is searched for the key.

mod said;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use aludel_scripted_teacher::{
    Request, ScriptedTeacher, Step, chunk, event, json, ollama_line, response, stream, stream_of,
};
use aludel_text::message::Message;
use serde_json::{Value, json as value};

use super::*;

const CANARY: &str = "sk-canary-5f1d0c7e93";

fn endpoint(url: &str) -> Endpoint {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        idle: Duration::from_millis(500),
        request: Duration::from_secs(30),
    };
    Endpoint { key: Secret::new(CANARY), timeouts, ..Endpoint::new(url, Dialect::OpenAi) }
}

fn whole(url: &str) -> Endpoint {
    Endpoint { stream: false, ..endpoint(url) }
}

fn ollama(url: &str) -> Endpoint {
    Endpoint { dialect: Dialect::Ollama, ..endpoint(url) }
}

fn question() -> Question {
    Question { messages: vec![Message::system("be brief"), Message::user("6 times 7?")] }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Asks once; the key must show in nothing that comes back.
fn ask_with(endpoint: Endpoint, asking: &Asking) -> Result<Answer, Failure> {
    let shown = format!("{endpoint:?}");
    let result = run(HttpTeacher::new(endpoint).unwrap().ask(&question(), asking, 0));
    let shown = shown + &format!("{result:?}") + &result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(!shown.contains("canary"), "{shown}");
    result
}

fn ask(endpoint: Endpoint) -> Result<Answer, Failure> {
    ask_with(endpoint, &Asking::new("scripted"))
}

fn serve(steps: Vec<Step>) -> ScriptedTeacher {
    ScriptedTeacher::start(move |_| steps.clone()).unwrap()
}

fn says(delta: Value) -> Step {
    event(&chunk(delta, None))
}

fn ends(why: &str) -> Step {
    event(&chunk(value!({}), Some(why)))
}

fn done() -> Step {
    Step::send("data: [DONE]\n\n")
}

/// A stream of these steps, then the end of the connection.
fn streamed(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![stream("text/event-stream")];
    all.extend(steps);
    all.push(Step::Close);
    all
}

fn message(message: Value, finish: &str) -> Vec<Step> {
    vec![json(
        "200 OK",
        &value!({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}),
    )]
}

/// What a failure is, without its words.
fn kind(result: &Result<Answer, Failure>) -> String {
    match result {
        Ok(answer) => format!("answer {}", answer.finish.as_str()),
        Err(Failure::Busy { status, retry_after, .. }) => format!("busy {status:?} {retry_after:?}"),
        Err(Failure::Broken { .. }) => "broken".to_owned(),
        Err(Failure::Question { status, .. }) => format!("question {status}"),
        Err(Failure::Refused { status, .. }) => format!("refused {status:?}"),
    }
}

#[test]
fn statuses_are_read_before_bodies() {
    let check = |status: &str, headers: &str, body: &str, expected: &str, words: &str| {
        let server = serve(vec![response(status, headers, body)]);
        for endpoint in [endpoint(&server.url()), whole(&server.url()), ollama(&server.url())] {
            let result = ask(endpoint);
            assert_eq!(kind(&result), expected, "{status} {body}: {result:?}");
            let shown = result.unwrap_err().to_string();
            assert!(shown.contains(words), "{shown:?} lacks {words:?}");
        }
    };
    let answer = r#"{"choices":[{"message":{"content":"42"},"finish_reason":"stop"}]}"#;
    check("429 Too Many Requests", "", "slow down", "busy Some(429) None", "slow down");
    check("429 Too Many Requests", "retry-after: 7\r\n", "", "busy Some(429) Some(7s)", "Too Many Requests");
    check("429 Too Many Requests", "retry-after-ms: 250\r\n", "", "busy Some(429) Some(250ms)", "");
    check("429 Too Many Requests", "content-type: application/json\r\n", answer, "busy Some(429) None", "");
    check(
        "429 Too Many Requests",
        "",
        r#"{"error":{"message":"no money","code":"insufficient_quota"}}"#,
        "refused Some(429)",
        "no money",
    );
    check("500 Internal Server Error", "", "oh", "busy Some(500) None", "oh");
    check("503 Service Unavailable", "", "<html>page</html>", "busy Some(503) None", "Service Unavailable");
    check("408 Request Timeout", "", "", "busy Some(408) None", "");
    check("409 Conflict", "", "", "busy Some(409) None", "");
    check("529 Overloaded", "", r#"{"error":{"message":"overloaded"}}"#, "busy Some(529) None", "overloaded");
    check(
        "401 Unauthorized",
        "",
        r#"{"error":{"message":"bad key sk-canary-5f1d0c7e93"}}"#,
        "refused Some(401)",
        "bad key …",
    );
    check("403 Forbidden", "", "\u{1b}[31mno\u{7}", "refused Some(403)", "[31mno");
    check(
        "402 Payment Required",
        "",
        r#"{"error":{"message":"Insufficient Balance"}}"#,
        "refused Some(402)",
        "Balance",
    );
    check("404 Not Found", "", r#"{"error":"model 'm' not found"}"#, "refused Some(404)", "model 'm' not found");
    check(
        "400 Bad Request",
        "",
        r#"{"error":{"message":"no such thing","code":"model_not_found"}}"#,
        "refused Some(400)",
        "no such thing",
    );
    check(
        "400 Bad Request",
        "",
        r#"{"error":{"message":"not known","param":"top_k"}}"#,
        "refused Some(400)",
        "not known",
    );
    check(
        "422 Unprocessable Entity",
        "",
        r#"{"detail":[{"loc":["body","top_k"],"msg":"extra"}]}"#,
        "refused Some(422)",
        "extra",
    );
    check(
        "400 Bad Request",
        "",
        r#"{"error":{"message":"This model's maximum context length is 8 tokens","param":"max_tokens"}}"#,
        "question 400",
        "context",
    );
    check("400 Bad Request", "", r#"{"error":{"message":"Content Exists Risk"}}"#, "question 400", "Risk");
    check("413 Content Too Large", "", "", "question 413", "");
    check("422 Unprocessable Entity", "", "odd", "question 422", "odd");
}

#[test]
fn broken_streams_are_never_answers() {
    let check = |steps: Vec<Step>, expected: &str, words: &str| {
        let server = serve(steps.clone());
        let result = ask(endpoint(&server.url()));
        assert_eq!(kind(&result), expected, "{steps:?}: {result:?}");
        let shown = result.unwrap_err().to_string();
        assert!(shown.contains(words), "{shown:?} lacks {words:?}");
    };
    let word = || says(value!({"content": "42"}));
    let error = |error: Value| event(&value!({"error": error}));
    check(vec![Step::Reset], "broken", "");
    check(vec![Step::Close], "broken", "");
    check(vec![Step::Stall], "broken", "no answer began within 0.5 s");
    check(vec![stream("text/event-stream"), word(), Step::Reset], "broken", "");
    check(vec![stream("text/event-stream"), word(), Step::Stall], "broken", "nothing came for 0.5 s");
    check(streamed(vec![word()]), "broken", "without a reason");
    check(streamed(vec![word(), done()]), "broken", "without a reason");
    check(streamed(vec![Step::send("data: {\"choices\": [\n\n")]), "broken", "not JSON");
    check(
        streamed(vec![Step::send(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n".to_vec())]),
        "broken",
        "UTF-8",
    );
    check(streamed(vec![word(), ends("abort"), done()]), "broken", "gave up");
    check(streamed(vec![word(), ends("insufficient_system_resource"), done()]), "busy None None", "");
    check(streamed(vec![word(), error(value!({"message": "wait", "code": 429}))]), "busy Some(429) None", "wait");
    check(streamed(vec![word(), error(value!({"message": "Rate limit reached"}))]), "busy None None", "Rate");
    check(streamed(vec![word(), error(value!("it fell over"))]), "broken", "it fell over");
    check(vec![json("200 OK", &value!({"error": {"message": "no key", "code": 401}}))], "refused Some(401)", "no key");
    check(
        vec![json("200 OK", &value!({"object": "error", "message": "who?", "code": 404}))],
        "refused Some(404)",
        "who?",
    );
    check(vec![json("200 OK", &value!({"choices": []}))], "broken", "without a reason");
    check(vec![response("200 OK", "content-type: text/html\r\n", "<html>log in</html>")], "broken", "");
}

/// The end of the answer is what counts; the end of the stream only brings the count of tokens.
#[test]
fn what_happens_after_the_end_of_an_answer_loses_nothing() {
    for after in [Step::Reset, Step::Stall, Step::Close] {
        let steps = vec![stream("text/event-stream"), says(value!({"content": "42"})), ends("stop"), after];
        let answer = ask(endpoint(&serve(steps).url())).unwrap();
        assert_eq!((answer.content.as_str(), answer.finish), ("42", Finish::Stop));
    }
    // DeepSeek sends empty lines to keep a connection awake.
    let body = r#"{"choices":[{"message":{"content":"42"},"finish_reason":"stop"}]}"#;
    let server = serve(vec![response("200 OK", "content-type: application/json\r\n", &format!("\n\n\n{body}"))]);
    assert_eq!(ask(whole(&server.url())).unwrap().content, "42");
}

#[test]
fn memory_is_bounded() {
    let megabyte: std::sync::Arc<[u8]> = vec![b'x'; 1 << 20].into();
    let line = vec![stream("text/event-stream"), Step::send("data: "), Step::Repeat(megabyte, 100), Step::Close];
    let server = serve(line);
    let result = ask(endpoint(&server.url()));
    assert!(result.as_ref().unwrap_err().to_string().contains("too long"), "{result:?}");

    let Step::Send(word) = says(value!({"content": "again "})) else { unreachable!() };
    let server = serve(vec![stream("text/event-stream"), Step::Repeat(word, 1_000_000), Step::Close]);
    let result = ask(Endpoint { max_answer_bytes: 1 << 20, ..endpoint(&server.url()) });
    assert!(result.as_ref().unwrap_err().to_string().contains("1048576 bytes"), "{result:?}");

    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    let server = serve(vec![Step::send(head), Step::Stall]);
    let result = ask(whole(&server.url()));
    assert!(result.as_ref().unwrap_err().to_string().contains("longer than"), "{result:?}");
}

#[test]
fn a_slow_drip_ends_with_the_request() {
    let mut steps = vec![stream("text/event-stream")];
    steps.extend((0..1_000).flat_map(|_| [Step::send(": still here\n\n"), Step::Wait(Duration::from_millis(20))]));
    let server = serve(steps);
    let mut endpoint = endpoint(&server.url());
    endpoint.timeouts.request = Duration::from_secs(1);
    let result = ask(endpoint);
    assert!(result.as_ref().unwrap_err().to_string().contains("not whole after 1 s"), "{result:?}");
    assert!(result.unwrap_err().tells_of_server());
}

/// A stream cut after each of its bytes: either nothing is kept, or the answer had ended and is whole.
#[test]
fn a_cut_keeps_all_or_nothing() {
    let pieces = [
        Step::send(": a comment\n\n"),
        says(value!({"role": "assistant", "content": null})),
        says(value!({"reasoning_content": "größer"})),
        says(value!({"content": "4"})),
        says(value!({"content": "2 😀"})),
        ends("stop"),
        event(&value!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})),
        done(),
    ];
    check_cuts(&pieces, endpoint, "text/event-stream");
    let line = |message: Value| ollama_line(&value!({"model": "m", "message": message, "done": false}));
    let last =
        value!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"});
    let pieces = [
        line(value!({"role": "assistant", "content": "", "thinking": "größer"})),
        line(value!({"content": "42 😀"})),
        ollama_line(&last),
    ];
    check_cuts(&pieces, ollama, "application/x-ndjson");
}

fn check_cuts(pieces: &[Step], endpoint: fn(&str) -> Endpoint, content_type: &'static str) {
    let bytes_of = |step: &Step| match step {
        Step::Send(bytes) => bytes.to_vec(),
        _ => unreachable!(),
    };
    let body: Vec<u8> = pieces.iter().flat_map(bytes_of).collect();
    let length = body.len();
    let cut = move |request: &Request| {
        let at = usize::try_from(request.number).unwrap();
        vec![stream(content_type), Step::send(body[..at.min(body.len())].to_vec()), Step::Close]
    };
    let server = ScriptedTeacher::start(cut).unwrap();
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    let mut kept = 0;
    run(async {
        for at in 0..=length {
            match teacher.ask(&question(), &Asking::new("m"), 0).await {
                Ok(answer) => {
                    kept += 1;
                    assert_eq!(
                        (answer.reasoning.as_deref(), answer.content.as_str()),
                        (Some("größer"), "42 😀"),
                        "{at}"
                    );
                }
                Err(failure) => {
                    assert!(matches!(failure, Failure::Broken { .. }), "{at}: {failure}");
                    assert_eq!(kept, 0, "{at}: an answer that had ended was lost");
                }
            }
        }
    });
    assert!(kept > 0);
}

#[test]
fn reasoning_is_found_wherever_it_stands() {
    let check = |steps: Vec<Step>, reasoning: Option<&str>, content: &str| {
        let server = serve(steps);
        let answer = ask(endpoint(&server.url())).unwrap();
        assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (reasoning, content));
        assert_eq!(answer.finish, Finish::Stop);
    };
    for name in ["reasoning_content", "reasoning", "thinking"] {
        check(message(value!({"content": "42", name: "why"}), "stop"), Some("why"), "42");
        let pieces = vec![says(value!({name: "wh"})), says(value!({name: "y"})), says(value!({"content": "42"}))];
        check(streamed([pieces, vec![ends("stop"), done()]].concat()), Some("why"), "42");
    }
    check(
        message(value!({"content": "42", "reasoning": "why", "reasoning_content": "why"}), "stop"),
        Some("why"),
        "42",
    );
    check(message(value!({"content": "<think>\nwhy\n</think>\n\n42"}), "stop"), Some("why"), "42");
    check(message(value!({"content": "why\n</think>\n\n42", "reasoning_content": ""}), "stop"), Some("why"), "42");
    check(message(value!({"content": "<think>\n\n</think>\n\n42"}), "stop"), None, "42");
    check(message(value!({"content": "42", "reasoning_content": null}), "stop"), None, "42");
    check(message(value!({"content": "42"}), "stop"), None, "42");
    let parts =
        value!([{"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}, {"type": "text", "text": "42"}]);
    check(message(value!({"content": parts}), "stop"), Some("why"), "42");
}

#[test]
fn only_stop_is_complete() {
    let check = |why: &str, finish: Finish| {
        let server = serve(streamed(vec![says(value!({"content": "<think>so far"})), ends(why), done()]));
        let answer = ask(endpoint(&server.url())).unwrap();
        assert_eq!(answer.finish.is_complete(), why == "stop");
        assert_eq!((answer.finish, answer.reasoning.as_deref()), (finish, Some("so far")));
    };
    check("stop", Finish::Stop);
    check("length", Finish::Length);
    check("content_filter", Finish::ContentFilter);
    check("tool_calls", Finish::ToolCalls);
    check("bored", Finish::Other("bored".to_owned()));
}

/// Two tokens that are the same look like one chunk sent twice, so that all are kept; with an id of the event's own they
/// can be told apart.
#[test]
fn chunks_that_come_twice() {
    let word = || says(value!({"content": "a"}));
    let server = serve(streamed(vec![word(), word(), ends("stop"), ends("stop"), done(), done()]));
    assert_eq!(ask(endpoint(&server.url())).unwrap().content, "aa");
    let numbered = || Step::send(format!("id: 7\ndata: {}\n\n", chunk(value!({"content": "a"}), None)));
    let server = serve(streamed(vec![numbered(), numbered(), ends("stop"), done()]));
    assert_eq!(ask(endpoint(&server.url())).unwrap().content, "a");
}

#[test]
fn the_key_goes_to_no_other_host() {
    let other = serve(vec![stream_of("why", "42")]);
    let location = format!("location: {}/v1/chat/completions\r\n", other.url());
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = serve(vec![response(status, &location, "")]);
        let result = ask(endpoint(&server.url()));
        assert_eq!(kind(&result), format!("refused Some({})", &status[..3]));
        assert!(result.unwrap_err().to_string().contains("127.0.0.1"));
        let checked = run(HttpTeacher::new(endpoint(&server.url())).unwrap().check());
        assert!(matches!(checked, Err(Failure::Refused { .. })), "{checked:?}");
    }
    assert_eq!((other.requests(), other.connections()), (0, 0));
}

#[test]
fn failing_tls_is_said_plainly() {
    let own = ScriptedTeacher::start_tls(|_| vec![stream_of("why", "42")]).unwrap();
    let result = ask(endpoint(&own.url()));
    assert_eq!(kind(&result), "refused None", "{result:?}");
    assert!(result.unwrap_err().to_string().contains("signed by nobody whom this machine trusts"));
    assert_eq!(own.requests(), 0);

    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let result = ask(endpoint(&url));
    assert_eq!(kind(&result), "refused None", "{result:?}");
    assert!(result.unwrap_err().to_string().contains("http://"));
}

#[test]
fn nobody_there_is_broken() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = ask(endpoint(&format!("http://{free}")));
    assert!(result.as_ref().unwrap_err().to_string().contains("cannot connect"), "{result:?}");
    assert!(result.unwrap_err().tells_of_server());
}

#[test]
fn what_is_sent() {
    let server = serve(vec![stream_of("why", "42")]);
    let extra = value!({"top_k": 20, "top_p": null, "stream_options": {"more": 1}});
    let asking = Asking {
        max_tokens: Some(9),
        seed: Some(40),
        top_logprobs: Some(3),
        extra_body: extra.as_object().unwrap().clone(),
        ..Asking::new("m")
    };
    let header = ("x-more".to_owned(), Secret::new("canary-two").unwrap());
    let teacher = HttpTeacher::new(Endpoint { headers: vec![header], ..endpoint(&server.url()) }).unwrap();
    let question = Question {
        messages: vec![Message::user("a"), Message::assistant("b").with_reasoning("hidden"), Message::user("c")],
    };
    let answer = run(teacher.ask(&question, &asking, 2)).unwrap();
    assert_eq!((answer.prompt_tokens, answer.completion_tokens), (Some(3), Some(5)));
    assert_eq!(answer.model.as_deref(), Some("scripted"));
    let request = &server.seen()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/chat/completions"));
    assert!(
        request.head.contains(&format!("authorization: Bearer {CANARY}"))
            && request.head.contains("x-more: canary-two")
    );
    let expected = value!({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}], "temperature": 0.6, "stream": true, "max_tokens": 9, "seed": 42,
        "stream_options": {"include_usage": true, "more": 1}, "logprobs": true, "top_logprobs": 3, "top_k": 20});
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);

    let own = Asking { extra_body: value!({"stream": false}).as_object().unwrap().clone(), ..Asking::new("m") };
    assert_eq!(kind(&ask_with(endpoint(&server.url()), &own)), "refused None");
    assert_eq!(server.requests(), 1);
}

#[test]
fn usage_is_asked_for_only_where_it_is_taken() {
    let refuses = |request: &Request| match String::from_utf8_lossy(&request.body).contains("stream_options") {
        true => {
            vec![json("400 Bad Request", &value!({"error": {"message": "unknown field", "param": "stream_options"}}))]
        }
        false => vec![stream_of("why", "42")],
    };
    let server = ScriptedTeacher::start(refuses).unwrap();
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    run(async {
        for _ in 0..3 {
            assert!(teacher.ask(&question(), &Asking::new("m"), 0).await.is_ok());
        }
    });
    assert_eq!(server.requests(), 4, "one refusal and three answers");
}

#[test]
fn connections_are_used_again() {
    let server = serve(vec![stream_of("why", "42")]);
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    run(async {
        for _ in 0..20 {
            assert!(teacher.ask(&question(), &Asking::new("m"), 0).await.is_ok());
        }
    });
    assert_eq!((server.requests(), server.connections()), (20, 1));
}

#[test]
fn log_probabilities_are_kept_as_they_are() {
    let token = |id: u32| value!({"id": id, "token": "x", "bytes": [120], "logprob": -0.25, "top_logprobs": []});
    let part = |id: u32| {
        let choice =
            value!({"index": 0, "delta": {"content": "x"}, "token_ids": [id], "logprobs": {"content": [token(id)]}});
        event(&value!({"prompt_token_ids": if id == 1 { value!([7, 8]) } else { Value::Null }, "choices": [choice]}))
    };
    let server = serve(streamed(vec![part(1), part(2), ends("stop"), done()]));
    let expected = value!({"prompt_token_ids": [7, 8], "token_ids": [1, 2], "content": [token(1), token(2)]});
    assert_eq!(ask(endpoint(&server.url())).unwrap().logprobs, Some(expected));
}

#[test]
fn ollama_is_asked_in_its_own_way() {
    let last = value!({"model": "m", "message": {"content": "42", "thinking": "why"}, "done": true, "done_reason": "length",
        "prompt_eval_count": 3, "eval_count": 5});
    let server = serve(vec![json("200 OK", &last)]);
    let asking = Asking { max_tokens: Some(9), ..Asking::new("m") };
    let answer = ask_with(Endpoint { stream: false, ..ollama(&server.url()) }, &asking).unwrap();
    assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (Some("why"), "42"));
    assert_eq!((answer.finish, answer.prompt_tokens, answer.completion_tokens), (Finish::Length, Some(3), Some(5)));
    let request = &server.seen()[0];
    let options = value!({"temperature": 0.6, "top_p": 0.95, "num_predict": 9});
    assert_eq!(request.path, "/api/chat");
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap()["options"], options);
}

#[test]
fn health() {
    let check = |status: &str, is_well: bool| {
        let server = serve(vec![response(status, "", "{}")]);
        let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
        assert_eq!(run(teacher.check()).is_ok(), is_well, "{status}");
        assert_eq!(server.seen()[0].path, "/v1/models");
    };
    check("200 OK", true);
    check("404 Not Found", true);
    check("401 Unauthorized", false);
    check("503 Service Unavailable", false);
}

#[test]
fn addresses() {
    let check = |url: &str, dialect: Dialect, chat: &str, models: &str, name: &str| {
        let routes = Endpoint::new(url, dialect).routes().unwrap();
        assert_eq!((routes.chat.as_str(), routes.models.as_str(), routes.name.as_str()), (chat, models, name), "{url}");
    };
    for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions"] {
        check(url, Dialect::OpenAi, "http://h:1/v1/chat/completions", "http://h:1/v1/models", "http://h:1/v1");
    }
    let (chat, models) = ("https://h/api/chat/completions?key=x", "https://h/api/models?key=x");
    check("https://h/api?key=x", Dialect::OpenAi, chat, models, "https://h/api");
    for url in ["http://h:1", "http://h:1/api", "http://h:1/api/chat"] {
        check(url, Dialect::Ollama, "http://h:1/api/chat", "http://h:1/api/tags", "http://h:1");
    }
    for url in ["h:1", "ftp://h", "", "http://me:canary@h", "https://me@h/v1?key=canary"] {
        let shown = HttpTeacher::new(Endpoint::new(url, Dialect::OpenAi)).err().unwrap().to_string();
        assert!(!shown.contains("canary"), "{shown}");
    }
    let bad = Endpoint {
        headers: vec![("a b".to_owned(), Secret::new("canary").unwrap())],
        ..Endpoint::new("http://h", Dialect::OpenAi)
    };
    assert!(HttpTeacher::new(bad).err().unwrap().to_string().contains("`a b`"));
}

#[test]
fn presets_are_known_by_name() {
    for preset in Preset::ALL {
        assert_eq!(Preset::named(preset.name()), Some(preset));
        assert!(preset.endpoint().routes().is_ok());
    }
    assert!(Preset::DeepSeek.prices("deepseek-flash").is_some() && Preset::Vllm.prices("m").is_none());
}

#[test]
fn secrets_are_what_a_header_can_carry() {
    assert!(Secret::new(" a-key\n").is_some());
    for text in ["", " \n", "a\nb", "ключ", "a\u{7}b"] {
        assert!(Secret::new(text).is_none(), "{text:?}");
    }
}
