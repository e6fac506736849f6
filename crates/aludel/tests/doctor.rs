//! `aludel doctor`: what it says of the machine, of models, data and teachers that are as they should be, and of those that are not.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::net::TcpListener;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use common::Workshop;
use serde_json::Value;

/// Exit code and findings.
fn doctor(workshop: &Workshop, more: &[&str]) -> (Option<i32>, Value) {
    let output = workshop.command(&[&["doctor", "--json"], more].concat()).output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), told)
}

/// Each finding about something, as level and all its words.
fn about(told: &Value, name: &str) -> Vec<(String, String)> {
    let all = told["findings"].as_array().unwrap().iter().filter(|finding| finding["about"] == name);
    all.map(|finding| (finding["level"].as_str().unwrap().to_owned(), finding.to_string())).collect()
}

fn says(told: &Value, name: &str, level: &str, words: &[&str]) {
    let findings = about(told, name);
    let is_said = findings.iter().any(|(own, text)| own == level && words.iter().all(|words| text.contains(words)));
    assert!(is_said, "{name}, {level}, {words:?}: {told}");
}

#[test]
fn the_machine_is_told() {
    let workshop = Workshop::new();
    let (code, told) = doctor(&workshop, &[]);
    assert_eq!((code, &told["ok"]), (Some(0), &Value::Bool(true)), "{told}");
    says(&told, "processor", "ok", &["instruction sets"]);
    says(&told, "speed", "ok", &["GFLOP/s", "GB/s"]);
    says(&told, "Hub", "ok", &["cache"]);
    // What is not as it should be has a reason and a remedy.
    for finding in told["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] != "ok") {
        assert!(finding["why"].is_string() && finding["mend"].is_string(), "{finding}");
    }
    let text = workshop.run(&["doctor"]);
    assert!(text.contains("exit code: 0") && text.contains("processor") && !text.contains('{'), "{text}");
}

#[test]
fn models_and_data_are_checked() {
    let workshop = Workshop::with_student();
    workshop.write(
        "rows.jsonl",
        "{\"prompt\": \"1+1?\", \"response\": \"2\"}\n{\"prompt\": \"2+1?\", \"response\": \"3\"}\n",
    );
    let (code, told) = doctor(&workshop, &["--model", "student", "--data", "rows.jsonl"]);
    assert_eq!(code, Some(0), "{told}");
    says(&told, "model", "ok", &["a Hugging Face folder, 1 layer of 8 channels, 258 tokens"]);
    says(&told, "data", "ok", &["rows.jsonl: 2 rows"]);

    workshop.write("bad.jsonl", "{\"prompt\": \"1+1?\", \"response\": \"2\"}\n{\"prompt\": \"2+1?\"}\nnot JSON\n");
    workshop.write("none.gguf", "GGUF");
    let (code, told) = doctor(&workshop, &["--model", "none.gguf", "--data", "bad.jsonl"]);
    assert_eq!((code, &told["ok"]), (Some(1), &Value::Bool(false)), "{told}");
    says(&told, "model", "error", &["none.gguf", "\"mend\""]);
    says(&told, "rows that cannot be read", "error", &["bad.jsonl:2", "--skip-bad-rows"]);
    says(&told, "rows that cannot be read", "error", &["bad.jsonl:3"]);
    let text = workshop.run(&["doctor", "--data", "bad.jsonl"]);
    assert!(text.contains("because: ") && text.contains("help: mend them"), "{text}");

    let (code, told) = doctor(&workshop, &["--model", "nowhere", "--data", "nowhere.jsonl"]);
    assert_eq!(code, Some(1), "{told}");
    says(&told, "model", "error", &["nowhere"]);
    says(&told, "data", "error", &["nowhere.jsonl"]);
}

#[test]
fn teachers_are_asked() {
    let workshop = Workshop::new();
    let crowd = Crowd { content: "yes".to_owned(), ..Crowd::default() };
    let teacher = ScriptedTeacher::start(crowd.script()).unwrap();
    let (code, told) = doctor(&workshop, &["--teacher", &teacher.url(), "--teacher-model", "scripted"]);
    assert_eq!(code, Some(0), "{told}");
    says(&told, "teacher", "ok", &["answers"]);
    says(&told, "answer", "ok", &["scripted: a token after"]);

    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, told) = doctor(&workshop, &["--teacher", &format!("http://{closed}/v1")]);
    assert_eq!(code, Some(1), "{told}");
    says(&told, "teacher", "error", &["start the server"]);
    let (code, told) = doctor(&workshop, &["--teacher", "not an address"]);
    assert_eq!(code, Some(1), "{told}");
    says(&told, "teacher", "error", &["http://host:8000/v1"]);
}
