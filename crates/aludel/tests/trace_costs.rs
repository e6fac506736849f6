//! Costs and their failure modes in `aludel trace`, through the binary and against a scripted teacher: unknown prices, a misspelt model,
//! an interruption, missing keys, repeated warnings, and what `forget` removes from a store.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::HashMap;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use aludel_files::grouped;
use aludel_scripted_teacher::{Crowd, Request, ScriptedTeacher, Step, json};
use common::Workshop;
use serde_json::{Value, json as value};

fn prompts(count: u32) -> Workshop {
    let workshop = Workshop::new();
    let rows = (0..count).map(|number| format!("{}\n", value!({"question": format!("What is {number} + 1?")})));
    workshop.write("prompts.jsonl", &rows.collect::<String>());
    workshop
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn error(status: &str, words: &str, code: &str) -> Vec<Step> {
    vec![json(status, &value!({"error": {"message": words, "type": "invalid_request_error", "code": code}}))]
}

/// A server with one model, `scripted`; another is answered by these steps.
fn server(delay: Duration, other: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> ScriptedTeacher {
    let answers = Crowd { delay, ..Crowd::default() }.script();
    ScriptedTeacher::start(move |request| match body(request)["model"].as_str() {
        Some(model) if model != "scripted" => other(model),
        _ => answers(request),
    })
    .unwrap()
}

fn unknown(model: &str) -> Vec<Step> {
    error("404 Not Found", &format!("The model `{model}` does not exist"), "model_not_found")
}

/// How often each question was asked of a model.
fn asked(teacher: &ScriptedTeacher, model: &str) -> HashMap<String, u32> {
    let bodies = teacher.seen().iter().filter(|request| request.method == "POST").map(body).collect::<Vec<_>>();
    let mut times = HashMap::new();
    for body in bodies.iter().filter(|body| body["model"] == model) {
        *times.entry(body["messages"][0]["content"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times
}

fn command(workshop: &Workshop, teacher: &ScriptedTeacher, model: &str, more: &[&str]) -> Command {
    let url = teacher.url();
    let usual = ["trace", "--prompts", "prompts.jsonl", "--store", "traces.db", "--teacher", &url, "--model", model];
    workshop.command(&[&usual[..], more].concat())
}

fn trace(workshop: &Workshop, teacher: &ScriptedTeacher, more: &[&str]) -> Output {
    command(workshop, teacher, "scripted", more).output().unwrap()
}

/// Exit code, and all that was printed.
fn told(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn status(workshop: &Workshop) -> Value {
    workshop.json(&["trace", "status", "--store", "traces.db", "--json"])
}

/// Prompts, answers wanted, complete, failed and missing.
fn numbers(workshop: &Workshop) -> [u64; 5] {
    let status = status(workshop);
    ["prompts", "wanted", "complete", "failed", "missing"].map(|key| status[key].as_u64().unwrap())
}

/// A first collection step by step: 500 questions, a misspelt model first, Ctrl-C in the middle, unknown prices.
#[cfg(unix)]
#[test]
fn five_hundred_questions_with_a_slip_and_a_stop() {
    let workshop = prompts(500);
    let teacher = server(Duration::from_millis(10), unknown);
    let (code, said) = told(&command(&workshop, &teacher, "scriptd", &["--concurrency", "8"]).output().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no teacher answers") && said.contains("The model `scriptd` does not exist"), "{said}");
    assert!(said.contains("has no model scriptd in its list, which is: scripted"), "{said}");
    assert_eq!(said.matches("is asked no more").count(), 1, "{said}");
    assert_eq!(numbers(&workshop), [500, 0, 0, 0, 0], "a misspelt model is waited for by nobody");

    let seen = || teacher.requests();
    let start = seen();
    let running = command(&workshop, &teacher, "scripted", &["--concurrency", "8"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while seen() < start + 200 {
        sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    let (code, said) = told(&running.wait_with_output().unwrap());
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("stopping: ") && said.contains("continue with: aludel trace "), "{said}");
    assert!(said.contains("price unknown") && !said.contains('$'), "{said}");
    let [prompts, wanted, complete, failed, missing] = numbers(&workshop);
    assert_eq!((prompts, wanted, failed, complete + missing), (500, 500, 0, 500));
    assert!((1..500).contains(&complete), "{complete}");

    let (code, said) = told(&trace(&workshop, &teacher, &["--concurrency", "8"]));
    assert_eq!(code, Some(0), "{said}");
    let rest = 500 - complete;
    let kept =
        format!("kept: {rest} of {rest} answers ({complete} others were there already); 0 questions not answered");
    assert!(said.contains(&kept), "{said}");
    assert!(said.contains(&format!("{} + {} tokens, price unknown", grouped(3 * rest), grouped(5 * rest))), "{said}");
    let asked = asked(&teacher, "scripted");
    assert_eq!((asked.len(), asked.values().max()), (500, Some(&1)), "nothing is asked twice");

    assert!(said.contains(&format!("({complete} others were there already)")), "{said}");
    assert!(said.contains("next: aludel curate --input traces.db --output-dir curated"), "{said}");
    let (code, said) = told(&trace(&workshop, &teacher, &[]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing to ask: all 500 answers are there already, in "), "{said}");
    assert!(said.contains("next: aludel curate --input traces.db"), "{said}");

    assert_eq!(numbers(&workshop), [500, 500, 500, 0, 0]);
    let now = status(&workshop);
    let runs = now["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["teacher"]), (1, &value!("scripted")));
    assert_eq!((&now["cost"], &now["unpriced"], &now["claimed"]), (&Value::Null, &value!(500), &value!(0)));
    let said = workshop.run(&["trace", "status", "--store", "traces.db"]);
    assert!(said.contains("500 prompts, 500 answers wanted: 500 complete, 0 cut, 0 failed, 0 missing"), "{said}");
    assert!(said.contains("1,500 prompt tokens, 2,500 completion tokens, price unknown"), "{said}");
}

#[test]
fn a_plan_without_a_price_says_so_and_wants_nothing() {
    let workshop = prompts(50);
    let teacher = server(Duration::from_millis(1), unknown);
    let url = teacher.url();
    let usual = ["--prompts", "prompts.jsonl", "--store", "traces.db", "--teacher", &url, "--model", "scripted"];
    let (code, said) = told(&workshop.command(&[&["plan", "trace"], &usual[..]].concat()).output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("20 asked now (price unknown); still missing: 30"), "{said}");
    assert!(!said.contains('$') && !said.contains("hours"), "{said}");
    let next = format!("next: aludel trace {}", usual.join(" "));
    assert!(said.ends_with(&format!("{next}\n")), "{said}");
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("cost").contains("price unknown"), "{said}");
    assert!(line("time").ends_with(" ms") || line("time").ends_with(" s"), "{said}");
    // A plan requests only the pilot's answers, which are paid.
    assert_eq!(numbers(&workshop), [50, 20, 20, 0, 0]);
    let json = workshop.json(&[&["plan", "trace", "--json"], &usual[..]].concat());
    assert_eq!(json["prediction"]["cost"], Value::Null);
    assert!(json["prediction"]["seconds"]["expected"].is_number(), "{json}");
    // A price of nothing is known.
    let free = ["--prompt-price", "0", "--completion-price", "0", "--temperature", "1"];
    let (code, said) = told(&trace(&workshop, &teacher, &free));
    assert!(code == Some(0) && said.contains("tokens, $0, "), "{said}");
    let now = status(&workshop);
    assert_eq!((&now["cost"], &now["unpriced"]), (&value!(0.0), &value!(20)));
}

#[test]
fn half_a_price_and_the_earlier_name_of_a_budget_are_refused() {
    let workshop = prompts(3);
    let teacher = server(Duration::ZERO, unknown);
    let (code, said) = told(&trace(&workshop, &teacher, &["--completion-price", "2"]));
    assert!(code == Some(2) && said.contains("trace.prompt_price") && said.contains("0 costs nothing"), "{said}");
    let (code, said) = told(&trace(&workshop, &teacher, &["--max-tokens", "100"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--max-new-tokens N for one answer") && said.contains("--max-total-tokens N"), "{said}");
    let (code, said) = told(&trace(&workshop, &teacher, &["--set", "trace.max_tokens=100"]));
    assert!(code == Some(2) && said.contains("trace.max_total_tokens"), "{said}");
    assert!(teacher.requests() == 0 && !workshop.path("traces.db").exists());
}

#[test]
fn a_bound_on_the_cost_tells_what_it_does_not_count() {
    let workshop = prompts(8);
    let teacher = server(Duration::ZERO, unknown);
    assert_eq!(told(&trace(&workshop, &teacher, &[])).0, Some(0));
    let bound = ["--temperature", "1", "--prompt-price", "1", "--completion-price", "1", "--max-cost", "1"];
    let (code, said) = told(&trace(&workshop, &teacher, &bound));
    assert!(code == Some(0) && said.contains("8 answers in the store have no known price"), "{said}");
}

#[test]
fn a_key_that_is_not_set_is_told_before_anything_is_asked() {
    let workshop = prompts(8);
    let run = |more: &[&str]| {
        let usual = ["trace", "--prompts", "prompts.jsonl", "--store", "traces.db", "--model", "scripted"];
        let mut command = workshop.command(&[&usual[..], more].concat());
        told(&command.env_remove("DEEPSEEK_API_KEY").env_remove("VLLM_API_KEY").output().unwrap())
    };
    let (code, said) = run(&["--preset", "deepseek"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("DEEPSEEK_API_KEY is not set, and deepseek requires a key"), "{said}");
    assert!(said.contains("--api-key-env VAR") && !workshop.path("traces.db").exists(), "{said}");
    // Another address may belong to a server that accepts the key, or needs none.
    let refuses = ScriptedTeacher::start(|request| match request.method.as_str() {
        "GET" => vec![json("200 OK", &value!({"data": [{"id": "scripted"}]}))],
        _ => error("401 Unauthorized", "no key was given", "invalid_api_key"),
    })
    .unwrap();
    let (code, said) = run(&["--preset", "deepseek", "--teacher", &refuses.url()]);
    assert_eq!((code, said.matches("DEEPSEEK_API_KEY is not set").count()), (Some(1), 1), "{said}");
    assert_eq!(
        said.matches("is asked no more").count(),
        1,
        "one refusal is told, however many questions met it: {said}"
    );
    let before = said.find("DEEPSEEK_API_KEY is not set").unwrap();
    assert!(before < said.find("is asked no more").unwrap(), "{said}");
    let teacher = server(Duration::ZERO, unknown);
    let (code, said) = run(&["--preset", "vllm", "--teacher", &teacher.url()]);
    assert_eq!((code, said.matches("VLLM_API_KEY is not set").count()), (Some(0), 1), "{said}");
}

#[test]
fn a_warning_is_told_once_with_its_count() {
    let workshop = prompts(12);
    let answers = Crowd::default().script();
    let teacher = ScriptedTeacher::start(move |request| {
        let is_long = (0..5).any(|number| String::from_utf8_lossy(&request.body).contains(&format!("is {number} +")));
        if is_long { error("400 Bad Request", "too long", "context_length_exceeded") } else { answers(request) }
    })
    .unwrap();
    let output = trace(&workshop, &teacher, &["--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["warnings"], value!([{"warning": "not answered: too long (400)", "count": 5}]));
    let (code, said) = told(&output);
    assert_eq!((code, said.matches("prompts.jsonl, line ").count()), (Some(0), 1), "{said}");
    assert!(said.contains("5 times: not answered: too long (400)"), "{said}");
    assert_eq!(numbers(&workshop), [12, 12, 7, 5, 0], "what one model does not take is on record once it has answered");
}

/// A server that refuses an unknown model with the error of a bad request.
#[test]
fn questions_that_nobody_takes_are_not_on_record_until_one_is_answered() {
    let workshop = prompts(6);
    let teacher = server(Duration::ZERO, |_| error("400 Bad Request", "cannot do that", "bad_request"));
    let (code, said) = told(&command(&workshop, &teacher, "scriptd", &[]).output().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("none of the first 6 questions was taken: cannot do that"), "{said}");
    assert_eq!(numbers(&workshop), [6, 0, 0, 0, 0]);
    assert_eq!(told(&trace(&workshop, &teacher, &[])).0, Some(0));
    assert_eq!(numbers(&workshop), [6, 6, 6, 0, 0]);
}

#[test]
fn what_is_forgotten_is_told_first_and_wanted_no_more() {
    let workshop = prompts(30);
    let teacher = server(Duration::ZERO, unknown);
    let forget = |more: &[&str]| {
        let usual = ["trace", "forget", "--store", "traces.db"];
        told(&workshop.command(&[&usual[..], more].concat()).output().unwrap())
    };
    assert_eq!(told(&trace(&workshop, &teacher, &["--max-total-tokens", "80", "--concurrency", "1"])).0, Some(75));
    assert_eq!(numbers(&workshop), [30, 30, 10, 0, 20]);
    assert_eq!(forget(&[]).0, Some(2), "what is to be forgotten has to be said");
    let (code, said) = forget(&["--unanswered"]);
    assert_eq!(code, Some(0), "{said}");
    let told_first =
        "would be forgotten: 20 answers that are wanted and not there, 20 prompts without any other answer";
    assert!(said.contains(told_first) && said.contains("nothing is forgotten yet"), "{said}");
    assert!(said.contains("--yes") && !said.contains("error"), "{said}");
    assert_eq!(numbers(&workshop), [30, 30, 10, 0, 20], "telling forgets nothing");
    let output =
        workshop.command(&["trace", "forget", "--store", "traces.db", "--unanswered", "--yes", "--json"]).output();
    let json: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!((&json["done"], &json["missing"], &json["prompts"]), (&value!(true), &value!(20), &value!(20)));
    assert_eq!(numbers(&workshop), [10, 10, 10, 0, 0]);
    let (code, said) = forget(&["--unanswered", "--yes"]);
    assert!(code == Some(0) && said.contains("nothing of the kind"), "{said}");

    // The same command requests the rest again, and nothing that is stored.
    assert_eq!(told(&trace(&workshop, &teacher, &[])).0, Some(0));
    assert_eq!((numbers(&workshop), asked(&teacher, "scripted").values().max()), ([30, 30, 30, 0, 0], Some(&1)));
    // A run without an answer leaves only its record.
    assert_eq!(told(&command(&workshop, &teacher, "scriptd", &[]).output().unwrap()).0, Some(1));
    let (code, said) = forget(&["--unanswered", "--yes"]);
    assert!(code == Some(0) && said.contains("forgotten: the record of 1 run that got no answer"), "{said}");
    workshop.run(&["trace", "export", "--store", "traces.db", "--output", "all.jsonl"]);
    let text = std::fs::read_to_string(workshop.path("all.jsonl")).unwrap();
    let hashes: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["hash"].as_str().unwrap().to_owned())
        .collect();
    let (code, said) = forget(&["--id", &hashes[0], "nothing", "--yes"]);
    assert!(code == Some(1) && said.contains("no trace has the hash nothing"), "{said}");
    assert_eq!(numbers(&workshop)[2], 30, "one that is not there keeps the others");
    let (code, said) = forget(&["--id", &hashes[0], &hashes[1], "--yes"]);
    assert!(
        code == Some(0) && said.contains("forgotten: 2 answers (0 of them cut off; 6 + 10 tokens, price unknown)"),
        "{said}"
    );
    assert_eq!(numbers(&workshop), [28, 28, 28, 0, 0]);
    let (code, said) = forget(&["--model", "scriptd", "--yes"]);
    assert!(code == Some(1) && said.contains("it holds traces of scripted"), "{said}");
    let (code, said) = forget(&["--model", "scripted", "--yes"]);
    assert!(code == Some(0) && said.contains("28 answers"), "{said}");
    assert_eq!(numbers(&workshop), [0, 0, 0, 0, 0]);
}

#[test]
fn the_help_of_forget_has_examples() {
    insta::assert_snapshot!("help_trace_forget", Workshop::new().run(&["trace", "forget", "--help"]));
}

#[cfg(unix)]
#[test]
fn nothing_is_forgotten_while_a_process_asks() {
    let workshop = prompts(100);
    let teacher = server(Duration::from_millis(100), unknown);
    let mut running = command(&workshop, &teacher, "scripted", &["--concurrency", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while teacher.requests() < 6 {
        sleep(Duration::from_millis(5));
    }
    let said = workshop.run(&["trace", "forget", "--store", "traces.db", "--model", "scripted", "--yes"]);
    assert!(said.contains("exit code: 1") && said.contains("a process is asking"), "{said}");
    running.kill().unwrap();
    running.wait().unwrap();
    let said = workshop.run(&["trace", "forget", "--store", "traces.db", "--model", "scripted", "--yes"]);
    assert!(said.contains("exit code: 0") && said.contains("forgotten: "), "{said}");
    assert_eq!(numbers(&workshop), [0, 0, 0, 0, 0]);
}
