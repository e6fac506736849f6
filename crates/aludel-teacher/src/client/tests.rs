//! Failure modes of a scripted server and how they are handled. Expectations come from the documentation of [`Failure`] and
//! [`Finish`]; each failure is searched for the key.

mod requests;
mod responses;
mod server_messages;

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
fn ask_with(endpoint: Endpoint, asking: &RequestParams) -> Result<Answer, Failure> {
    let shown = format!("{endpoint:?}");
    let result = run(HttpTeacher::new(endpoint).unwrap().ask(&question(), asking, 0));
    let shown = shown + &format!("{result:?}") + &result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(!shown.contains("canary"), "{shown}");
    result
}

fn ask(endpoint: Endpoint) -> Result<Answer, Failure> {
    ask_with(endpoint, &RequestParams::new("scripted"))
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
        Err(Failure::Question { status, .. }) => format!("question {}", status.unwrap_or_default()),
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
            match teacher.ask(&question(), &RequestParams::new("m"), 0).await {
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
fn failing_tls_is_said_plainly() {
    let own = ScriptedTeacher::start_tls(|_| vec![stream_of("why", "42")]).unwrap();
    let result = ask(endpoint(&own.url()));
    assert_eq!(kind(&result), "refused None", "{result:?}");
    assert!(result.unwrap_err().to_string().contains("signed by an authority that this machine does not trust"));
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
