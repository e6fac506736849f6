//! `aludel eval --endpoint` through the binary, against a scripted server: what is scored, what is retried and what is not, what
//! is refused, and that the key does not leak. Expected numbers follow from the scripts.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aludel_scripted_teacher::{Crowd, Request, ScriptedTeacher, Step, json, ollama_line, response, stream, stream_of};
use common::Workshop;
use serde_json::{Value, json as value};

const CANARY: &str = "sk-canary-eval-51d7";

/// This number of sums, the answer of each one more than its number.
fn workshop(count: u32) -> Workshop {
    let workshop = Workshop::new();
    let row = |number| format!("{}\n", value!({"question": format!("{number} + 1?"), "answer": number + 1}));
    workshop.write("sums.jsonl", &(0..count).map(row).collect::<String>());
    workshop
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// The number that is asked about.
fn number(request: &Request) -> u32 {
    let body = body(request);
    let question = body["messages"][0]["content"].as_str().unwrap();
    question.split(' ').next().unwrap().parse().unwrap()
}

fn models(names: &[&str]) -> Vec<Step> {
    let models: Vec<Value> = names.iter().map(|name| value!({"id": name})).collect();
    vec![json("200 OK", &value!({"data": models}))]
}

/// A server whose answers this gives; its one model is called `scripted`.
fn server(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> ScriptedTeacher {
    ScriptedTeacher::start(move |request| match request.method.as_str() {
        "GET" => models(&["scripted"]),
        _ => answer(request),
    })
    .unwrap()
}

/// Knows the answers to even numbers.
fn knows_even(request: &Request) -> Vec<Step> {
    let number = number(request);
    let said = if number.is_multiple_of(2) { number + 1 } else { 9 };
    vec![stream_of("because", &format!("\\boxed{{{said}}}"))]
}

fn command(workshop: &Workshop, url: &str, folder: &str, more: &[&str]) -> Command {
    let usual = ["eval", "--endpoint", url, "--tasks", "sums.jsonl", "--output-dir", folder];
    workshop.command(&[&usual[..], more].concat())
}

fn results(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Both outputs.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn eval(workshop: &Workshop, teacher: &ScriptedTeacher, folder: &str, more: &[&str]) -> Value {
    results(&command(workshop, &teacher.url(), folder, &[more, &["--json"]].concat()).output().unwrap())
}

fn samples(workshop: &Workshop, folder: &str) -> Vec<Value> {
    let text = fs::read_to_string(workshop.path(folder).join("samples.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bodies of all requests.
fn questions(teacher: &ScriptedTeacher) -> Vec<Value> {
    teacher.seen().iter().filter(|request| request.method == "POST").map(body).collect()
}

#[test]
fn a_served_model_is_scored_as_one_here_is() {
    let workshop = workshop(5);
    let teacher = server(knows_even);
    let asked = ["--samples", "2", "--max-new-tokens", "99", "--temperature", "0.7", "--top-p", "0.9", "--seed", "3"];
    let found = eval(&workshop, &teacher, "out", &asked);
    let url = format!("{}/v1", teacher.url());
    assert_eq!(found["model"], value!({"endpoint": url, "served": "scripted", "name": "scripted"}));
    assert_eq!((&found["settings"]["dtype"], &found["machine"]), (&Value::Null, &Value::Null));
    let task = &found["tasks"][0];
    // 0, 2 and 4 of 0 to 4; answers of 5 tokens, 7 of whose 16 letters are reasoning
    for (key, expected) in [
        ("pass_at_1", 0.6),
        ("maj_at_k", 0.6),
        ("truncated", 0.0),
        ("no_answer", 0.0),
        ("mean_thinking_tokens", 2.0),
        ("mean_completion_tokens", 5.0),
    ] {
        assert!((task[key].as_f64().unwrap() - expected).abs() <= 1e-12, "{key}: {task}");
    }
    assert!(task["tokens_per_second"].as_f64().unwrap() > 0.0);
    let lines = samples(&workshop, "out");
    assert_eq!(lines.len(), 10);
    assert_eq!((&lines[0]["reasoning"], &lines[0]["extracted"]), (&value!("because"), &value!("1")));
    let bodies = questions(&teacher);
    let fields = ["model", "temperature", "top_p", "max_tokens"].map(|name| bodies[0][name].clone());
    assert_eq!(fields, [value!("scripted"), value!(0.7), value!(0.9), value!(99)]);
    let seeds = |bodies: &[Value]| {
        let mut seeds: Vec<u64> = bodies.iter().map(|body| body["seed"].as_u64().unwrap()).collect();
        seeds.sort_unstable();
        seeds
    };
    let mut distinct = seeds(&bodies);
    distinct.dedup();
    assert!(distinct.len() == 10 && distinct[9] < 1 << 31, "{distinct:?}");
    let again = server(knows_even);
    eval(&workshop, &again, "again", &asked);
    assert_eq!(seeds(&questions(&again)), seeds(&bodies), "a seed asks for the same draws");
}

#[test]
fn cut_answers_inline_reasoning_and_servers_that_do_not_count() {
    let workshop = workshop(4);
    let whole = |content: &str, finish: &str| {
        let choice = value!({"index": 0, "message": {"content": content}, "finish_reason": finish});
        vec![json("200 OK", &value!({"choices": [choice]}))]
    };
    let teacher = server(move |request| match number(request) {
        0 => whole("<think>Let me see</think>\\boxed{1}", "stop"),
        1 => whole("<think>Let me", "length"),
        number => whole(&format!("\\boxed{{{}}}", number + 1), "stop"),
    });
    let output = command(&workshop, &teacher.url(), "out", &[]).output().unwrap();
    assert!(said(&output).contains("sums: the server does not count tokens"), "{}", said(&output));
    let found = eval(&workshop, &teacher, "out", &[]);
    assert_eq!(questions(&teacher).len(), 4, "what is done is not asked again");
    let task = &found["tasks"][0];
    assert_eq!(
        (&task["truncated"], &task["no_answer"], &task["pass_at_1"]),
        (&value!(0.25), &value!(0.25), &value!(0.75))
    );
    assert_eq!((&task["mean_completion_tokens"], &task["tokens_per_second"]), (&value!(0.0), &Value::Null));
    let lines = samples(&workshop, "out");
    assert_eq!((&lines[0]["reasoning"], &lines[0]["content"]), (&value!("Let me see"), &value!("\\boxed{1}")));
    let cut = ["truncated", "finish_reason", "reasoning", "content"].map(|key| lines[1][key].clone());
    assert_eq!(cut, [value!(true), value!("length"), value!("Let me"), value!("")]);
}

#[test]
fn ollama_is_asked_in_its_own_words() {
    let workshop = workshop(2);
    let teacher = server(|request| {
        let content =
            value!({"message": {"thinking": "abc", "content": format!("\\boxed{{{}}}", number(request) + 1)}});
        let end =
            value!({"message": {}, "done": true, "done_reason": "length", "prompt_eval_count": 4, "eval_count": 24});
        vec![stream("application/x-ndjson"), ollama_line(&content), ollama_line(&end), Step::Close]
    });
    let url = format!("{}/api/chat", teacher.url());
    let more = ["--model", "qwen3:8b", "--max-new-tokens", "24", "--json"];
    let found = results(&command(&workshop, &url, "out", &more).output().unwrap());
    assert_eq!((&found["tasks"][0]["pass_at_1"], &found["tasks"][0]["truncated"]), (&value!(1.0), &value!(1.0)));
    // 3 letters of 12
    assert_eq!(found["tasks"][0]["mean_thinking_tokens"], 6.0);
    let body = &questions(&teacher)[0];
    assert_eq!((&body["model"], &body["options"]["num_predict"]), (&value!("qwen3:8b"), &value!(24)));
}

#[test]
fn a_kill_costs_no_more_than_the_questions_on_their_way() {
    const AT_ONCE: usize = 4;
    let workshop = workshop(40);
    let slow = || Crowd { content: "\\boxed{8}".to_owned(), delay: Duration::from_millis(40), ..Crowd::default() };
    let teacher = ScriptedTeacher::start(slow().script()).unwrap();
    let more = ["--concurrency", "4", "--json"];
    let mut child = command(&workshop, &teacher.url(), "out", &more);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let path = workshop.path("out/samples.jsonl");
    let begun = Instant::now();
    while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no answers come");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = fs::read_to_string(&path).unwrap();
    let found = eval(&workshop, &teacher, "out", &more[..2]);
    assert_eq!(found["tasks"][0]["pass_at_1"], 1.0 / 40.0);
    assert!(questions(&teacher).len() <= 40 + AT_ONCE, "{}", questions(&teacher).len());
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after.lines().count(), 40);
    assert!(kept.split_inclusive('\n').filter(|line| line.ends_with('\n')).all(|line| after.contains(line)));
}

#[cfg(unix)]
#[test]
fn a_signal_stops_after_answers_on_their_way_and_nothing_is_asked_twice() {
    let workshop = workshop(60);
    let slow = Crowd { delay: Duration::from_millis(60), ..Crowd::default() };
    let teacher = ScriptedTeacher::start(slow.script()).unwrap();
    let mut child = command(&workshop, &teacher.url(), "out", &["--concurrency", "3"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while questions(&teacher).len() < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    let before = samples(&workshop, "out").len();
    assert!(before < 60 && before == questions(&teacher).len(), "{before}");
    eval(&workshop, &teacher, "out", &[]);
    assert_eq!(questions(&teacher).len(), 60);
}

#[test]
fn a_server_that_was_busy_is_asked_again() {
    let workshop = workshop(3);
    let count = AtomicU64::new(0);
    let teacher = server(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => vec![response("503 Service Unavailable", "retry-after: 0\r\n", "loading the model")],
        1 => vec![Step::Reset],
        _ => knows_even(request),
    });
    // One at a time: of failures at once only the first is told.
    let more = ["--json", "--concurrency", "1", "--api-key-env", "CANARY"];
    let mut command = command(&workshop, &teacher.url(), "out", &more);
    let output = command.env("CANARY", CANARY).env("ALUDEL_LOG", "trace").output().unwrap();
    assert_eq!(results(&output)["tasks"][0]["pass_at_1"], 2.0 / 3.0);
    assert!(said(&output).contains("the server is busy (503): loading the model"), "{}", said(&output));
    assert_eq!(questions(&teacher).len(), 3 + 2);
    assert!(teacher.seen().iter().all(|request| request.head.contains(CANARY)), "the key is sent");
    let files = fs::read_dir(workshop.path("out")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    for bytes in files.chain([output.stdout, output.stderr]) {
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY));
    }
}

#[test]
fn a_refusal_ends_it_in_the_servers_words_and_the_key_shows_nowhere() {
    let workshop = workshop(5);
    let refuse = |request: &Request| {
        let echoed = request.head.lines().find(|line| line.contains(CANARY)).unwrap_or("no key").to_owned();
        vec![json("401 Unauthorized", &value!({"error": {"message": format!("bad key: {echoed}")}}))]
    };
    // whether it refuses to list its models or only to answer
    for teacher in [ScriptedTeacher::start(refuse).unwrap(), server(refuse)] {
        workshop.write("key", &format!("{CANARY}\n"));
        for flags in [["--api-key-env", "CANARY"], ["--api-key-file", "key"]] {
            let mut command = command(&workshop, &teacher.url(), "out", &[&flags[..], &["--model", "m"]].concat());
            let output = command.env("CANARY", CANARY).env("ALUDEL_LOG", "trace").output().unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            for line in
                ["error: http://127.0.0.1:", "because: the server refuses (401): bad key", "help: fix what it says"]
            {
                assert!(said.contains(line), "{line}: {said}");
            }
            assert!(!said.contains(CANARY), "{said}");
        }
        assert!(teacher.seen().iter().any(|request| request.head.contains(CANARY)), "the key was sent");
    }
    assert!(!workshop.path("out").exists(), "a corrected command finds what the first one found");
}

#[test]
fn questions_that_are_not_taken_count_as_wrong_unless_all_are() {
    let workshop = workshop(4);
    let too_long = || {
        let error =
            value!({"error": {"message": "maximum context length exceeded", "code": "context_length_exceeded"}});
        vec![json("400 Bad Request", &error)]
    };
    let teacher = server(move |request| if number(request) == 0 { too_long() } else { knows_even(request) });
    let output = command(&workshop, &teacher.url(), "out", &["--json"]).output().unwrap();
    let task = &results(&output)["tasks"][0];
    assert_eq!((&task["pass_at_1"], &task["no_answer"]), (&value!(0.25), &value!(0.25)));
    assert!(said(&output).contains("1 answer was refused, and counts as wrong"), "{}", said(&output));
    assert_eq!(samples(&workshop, "out")[0]["finish_reason"], "refused");
    let none = server(move |_| too_long());
    let output = command(&workshop, &none.url(), "none", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("maximum context length exceeded"), "{}", said(&output));
    assert!(!workshop.path("none").exists());
}

#[test]
fn a_score_of_answers_that_were_cut_is_warned_of() {
    let workshop = workshop(40);
    let cut = |request: &Request| {
        let finish = if number(request).is_multiple_of(4) { "stop" } else { "length" };
        let choice = value!({"index": 0, "message": {"content": "Let me see"}, "finish_reason": finish});
        vec![json("200 OK", &value!({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 64}}))]
    };
    let teacher = server(cut);
    let more = ["--max-new-tokens", "64", "--json"];
    let output = command(&workshop, &teacher.url(), "out", &more).output().unwrap();
    let words = "30 of 40 answers (75%) were cut at max_new_tokens = 64, and the score says little of the model; \
                 give --max-new-tokens 1024, with which most would end, as the 10 that did end tell";
    assert_eq!(results(&output)["tasks"][0]["warnings"], value!([words]));
    assert!(said(&output).contains(&format!("sums: {words}")), "{}", said(&output));
    let kept: Value = serde_json::from_slice(&fs::read(workshop.path("out/results.json")).unwrap()).unwrap();
    assert_eq!(kept["tasks"][0]["warnings"], value!([words]));
    let whole = eval(&workshop, &server(knows_even), "whole", &[]);
    assert_eq!(whole["tasks"][0]["warnings"], Value::Null);
}

#[test]
fn which_model_and_what_is_no_business_of_a_server() {
    let workshop = workshop(2);
    let many = ScriptedTeacher::start(|_| models(&["small", "large"])).unwrap();
    let told = |more: &[&str]| {
        let output = command(&workshop, &many.url(), "out", more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        said(&output)
    };
    assert!(told(&[]).contains("the server has 2 models: small, large"));
    let local = told(&["--model", "small", "--adapter", "run/adapter", "--dtype", "f32"]);
    assert!(local.contains("--adapter = run/adapter\nbecause: the server has loaded its model already"), "{local}");
    assert!(local.contains("--dtype = f32\nbecause: it says how a model runs here"), "{local}");
    let loss = workshop.run(&["eval", "--endpoint", &many.url(), "--loss", "--data", "sums.jsonl"]);
    assert!(loss.contains("error: --loss\nbecause: a server does not tell"), "{loss}");
    assert!(!workshop.path("out").exists(), "a refused command leaves nothing");
    let gone = command(&workshop, "http://127.0.0.1:9", "out", &["--model", "m"]).output().unwrap();
    assert!(said(&gone).contains("because: cannot connect"), "{}", said(&gone));
    let url = format!("http://me:{CANARY}@127.0.0.1:9");
    let password = command(&workshop, &url, "out", &["--model", "m"]).output().unwrap();
    assert!(said(&password).contains("must not hold a password") && !said(&password).contains(CANARY));
}

#[test]
fn settings_of_a_template_are_refused_where_the_server_has_its_own() {
    let (workshop, teacher) = (workshop(1), server(knows_even));
    for (setting, key) in [
        ("data.template_date=2026-01-01", "data.template_date"),
        ("data.template_variables.enable_thinking=false", "data.template_variables"),
    ] {
        let output =
            command(&workshop, &teacher.url(), "results", &["--model", "scripted", "--set", setting]).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for words in [key, "the template of a served model is its server's", "trace.extra_body", "chat_template_kwargs"]
        {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
        assert!(!workshop.path("results").exists());
    }
    assert!(teacher.seen().is_empty(), "{:?}", teacher.seen());
}

#[test]
fn what_a_server_sends_beside_its_answers_is_told_once() {
    let (workshop, teacher) = (
        workshop(3),
        server(|request| {
            let message = value!({"content": format!("\\boxed{{{}}}", number(request) + 1), "deep_thought": "because"});
            vec![json("200 OK", &value!({"choices": [{"message": message, "finish_reason": "stop"}]}))]
        }),
    );
    let output = command(&workshop, &teacher.url(), "results", &["--model", "scripted"]).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("it sends `deep_thought` beside its answer").count(), 1, "{said}");
}
