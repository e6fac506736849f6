//! `aludel trace` with a model on this machine: the same store, budget and resumption as with a served one, and answers that are what
//! `aludel chat` says. The model is the student of one layer; SQLite is read through `trace status` and `trace export`.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Workshop, write_student};
use serde_json::{Value, json};

/// A student, and this number of prompts.
fn workshop(prompts: u32) -> Workshop {
    let workshop = Workshop::with_student();
    let row = |number: u32| json!({"question": format!("What is {number} + 1?"), "answer": (number + 1).to_string()});
    let rows: String = (0..prompts).map(|number| format!("{}\n", row(number))).collect();
    workshop.write("prompts.jsonl", &rows);
    workshop
}

fn command(workshop: &Workshop, more: &[&str]) -> Command {
    let own = ["trace", "--prompts", "prompts.jsonl", "--teacher", "student", "--json"];
    let short = if more.contains(&"--max-new-tokens") { &[][..] } else { &["--max-new-tokens", "12"] };
    let f32 =
        if more.contains(&"distill.teacher_dtype=bf16") { &[][..] } else { &["--set", "distill.teacher_dtype=f32"] };
    workshop.command(&[&own[..], short, f32, more].concat())
}

fn summary(output: &Output, code: i32) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn trace(workshop: &Workshop, more: &[&str], code: i32) -> Value {
    summary(&command(workshop, more).output().unwrap(), code)
}

fn status(workshop: &Workshop, store: &str) -> Value {
    workshop.json(&["trace", "status", "--store", store, "--json"])
}

/// Answers that a store holds, complete or cut.
fn kept(workshop: &Workshop, store: &str) -> u64 {
    let status = status(workshop, store);
    status["complete"].as_u64().unwrap() + status["cut"].as_u64().unwrap()
}

/// The answers of a store by prompt and sample, cut ones included.
fn answers(workshop: &Workshop, store: &str) -> BTreeMap<String, Vec<Value>> {
    let output = format!("{store}.jsonl");
    let export = ["trace", "export", "--store", store, "--output", &output, "--all", "--overwrite"];
    let told = workshop.run(&export);
    assert!(told.contains("exit code: 0"), "{told}");
    let mut answers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in fs::read_to_string(workshop.path(&output)).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let prompt = row["prompt"].as_str().unwrap().to_owned();
        answers.entry(prompt).or_default().push(row);
    }
    answers
}

#[test]
fn a_second_run_asks_only_for_what_is_missing_and_of_the_same_model() {
    let workshop = workshop(20);
    let store = &["--store", "traces.db"][..];
    let run = trace(&workshop, store, 0)["run"].clone();
    assert_eq!((&run["wanted"], &run["done"], &run["failed"]), (&json!(20), &json!(20), &json!(0)), "{run}");
    assert_eq!((&run["cost"], &run["endpoints"][0]["name"]), (&json!(0.0), &json!("local")));
    assert!(run["completion_tokens"].as_u64().unwrap() <= 20 * 12);
    let again = trace(&workshop, store, 0)["run"].clone();
    assert_eq!((&again["wanted"], &again["there"]), (&json!(0), &json!(20)));
    assert_eq!(trace(&workshop, &[store, &["--samples", "3"]].concat(), 0)["run"]["done"], 40);
    assert_eq!(kept(&workshop, "traces.db"), 60);
    assert_eq!(status(&workshop, "traces.db")["cost"], 0.0);
    // Another model in the same place, and another precision, are other teachers.
    fs::remove_dir_all(workshop.path("student")).unwrap();
    write_student(&workshop.path("student"), 16);
    assert_eq!(trace(&workshop, store, 0)["run"]["done"], 20);
    let bf16 = [store, &["--set", "distill.teacher_dtype=bf16"]].concat();
    assert_eq!(trace(&workshop, &bf16, 0)["run"]["done"], 20);
}

#[test]
fn an_answer_is_what_the_model_says_in_a_chat_and_a_seed_repeats_it() {
    let workshop = workshop(6);
    trace(&workshop, &["--store", "greedy.db", "--temperature", "0", "--logprobs"], 0);
    for (prompt, rows) in answers(&workshop, "greedy.db") {
        let chat = ["chat", "--model", "student", "--prompt", &prompt, "--temperature", "0", "--max-new-tokens", "12"];
        let said = workshop.json(&[&chat[..], &["--dtype", "f32", "--json"]].concat());
        assert_eq!(rows[0]["response"], said["content"], "{prompt}");
        assert_eq!(rows[0]["usage"], said["usage"], "{prompt}");
    }
    let seeded = ["--temperature", "1", "--top-p", "1", "--set", "trace.seed=3"];
    let four = [&seeded[..], &["--samples", "4"]].concat();
    trace(&workshop, &[&four[..], &["--store", "all.db"]].concat(), 0);
    // Sample by sample, and one at a time: what runs beside an answer does not change it.
    trace(&workshop, &[&seeded[..], &["--store", "parts.db", "--concurrency", "1"]].concat(), 0);
    trace(&workshop, &[&four[..], &["--store", "parts.db"]].concat(), 0);
    let texts = |store: &str| {
        let text = |row: &Value| row["response"].as_str().unwrap().to_owned();
        let sorted = |rows: Vec<Value>| {
            let mut texts: Vec<String> = rows.iter().map(text).collect();
            texts.sort();
            texts
        };
        answers(&workshop, store).into_iter().map(|(prompt, rows)| (prompt, sorted(rows))).collect::<BTreeMap<_, _>>()
    };
    let all = texts("all.db");
    assert_eq!(all, texts("parts.db"));
    let mut different: Vec<&String> = all.values().flatten().collect();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 24, "each sample of each prompt is drawn by itself: {all:?}");
    // Without a seed, another run draws others.
    for store in ["one.db", "other.db"] {
        trace(&workshop, &["--temperature", "1", "--top-p", "1", "--store", store], 0);
    }
    assert_ne!(texts("one.db"), texts("other.db"));
}

/// Until `traces.db` holds more answers, or two minutes are over.
fn wait_for_more(workshop: &Workshop, before: u64) {
    let begun = Instant::now();
    let has_more = || {
        let there = fs::metadata(workshop.path("traces.db")).is_ok_and(|file| file.len() > 0);
        // What is being written for the first time may not be a store yet.
        let status = workshop.command(&["trace", "status", "--store", "traces.db", "--json"]).output().unwrap();
        there && status.status.success() && kept(workshop, "traces.db") > before
    };
    while !has_more() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_kill_loses_no_answer_that_is_kept() {
    const PROMPTS: u64 = 1200;
    let workshop = workshop(PROMPTS as u32);
    let long = ["--store", "traces.db", "--max-new-tokens", "120", "--concurrency", "4"];
    let mut before = 0;
    for kill in 0..3 {
        if before == PROMPTS {
            break; // a machine so fast that nothing is left to kill
        }
        let mut child = command(&workshop, &long).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Until there are further answers, so that each round tells something.
        wait_for_more(&workshop, before);
        child.kill().unwrap();
        child.wait().unwrap();
        let now = kept(&workshop, "traces.db");
        assert!(now > before, "kill {kill}: {now} of {before} answers");
        before = now;
    }
    let run = trace(&workshop, &long, 0)["run"].clone();
    assert_eq!((run["there"].as_u64(), run["done"].as_u64()), (Some(before), Some(PROMPTS - before)), "{run}");
    assert_eq!(kept(&workshop, "traces.db"), PROMPTS);
}

#[cfg(unix)]
#[test]
fn a_stop_keeps_answers_on_their_way_and_a_budget_is_kept() {
    let workshop = workshop(600);
    let long = ["--store", "traces.db", "--max-new-tokens", "60", "--concurrency", "4"];
    let child = command(&workshop, &long).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_more(&workshop, 0);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let stopped = summary(&child.wait_with_output().unwrap(), 75);
    assert_eq!(stopped["end"], "stopped");
    let done = stopped["run"]["done"].as_u64().unwrap();
    assert!(done > 0 && done < 600 && stopped["run"]["asked"] == done, "{stopped}");
    assert_eq!(kept(&workshop, "traces.db"), done);
    let spent = |workshop: &Workshop| {
        let tokens = status(workshop, "budget.db")["tokens"].clone();
        tokens["prompt"].as_u64().unwrap() + tokens["completion"].as_u64().unwrap()
    };
    let budget = ["--store", "budget.db", "--max-total-tokens", "1000"];
    assert_eq!(trace(&workshop, &budget, 75)["end"], "budget");
    assert!((800..=1000).contains(&spent(&workshop)), "{}", spent(&workshop));
}

#[test]
fn what_a_model_here_cannot_do_is_refused() {
    let workshop = workshop(2);
    let refused = |more: &[&str], words: &[&str]| {
        let own = ["trace", "--prompts", "prompts.jsonl", "--store", "traces.db"];
        let told = workshop.run(&[&own[..], more].concat());
        assert!(!told.contains("exit code: 0"), "{told}");
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|words| assert!(flat.contains(words), "{words}: {told}"));
        assert!(!workshop.path("traces.db").exists(), "{told}");
    };
    refused(&["--teacher", "student", "--preset", "vllm"], &["trace.preset", "a model that runs on this machine"]);
    refused(&["--teacher", "student", "--api-key-env", "KEY"], &["trace.api_key_env", "it is for servers"]);
    refused(&["--teacher", "student", "http://127.0.0.1:1/v1"], &["another teacher beside it"]);
    refused(&["--teacher", "student", "--set", "trace.top_logprobs=4"], &["aludel cache"]);
    refused(&["--teacher", "localhost:8000"], &["no such file or folder", "http://"]);
    refused(&["--teacher", "prompts.jsonl"], &["prompts.jsonl"]);
    // A prompt that leaves no room is on record, and the others are answered.
    let long = json!({"question": "x".repeat(600)});
    workshop.write("prompts.jsonl", &format!("{long}\n{}\n{}\n", json!({"question": "a?"}), json!({"question": "b?"})));
    let output = command(&workshop, &["--store", "traces.db"]).output().unwrap();
    let run = summary(&output, 0)["run"].clone();
    assert_eq!((&run["done"], &run["failed"]), (&json!(2), &json!(1)));
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("share a context of 512"), "{said}");
    assert_eq!(status(&workshop, "traces.db")["failed"], 1);
}

#[test]
fn a_pilot_predicts_what_a_model_here_will_take() {
    let workshop = workshop(40);
    let own = ["plan", "trace", "--prompts", "prompts.jsonl", "--teacher", "student", "--store", "traces.db", "--json"];
    let told = workshop.json(&[&own[..], &["--max-new-tokens", "12"]].concat());
    assert_eq!((&told["pilot"]["done"], &told["prediction"]["missing"]), (&json!(20), &json!(20)), "{told}");
    assert_eq!(told["prediction"]["cost"]["expected"], 0.0);
}
