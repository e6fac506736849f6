//! `aludel eval` through the binary, on a student too small to answer anything right: what is asked, stored and scored.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use common::Workshop;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const SUMS: &str = "{\"question\": \"1+1?\", \"answer\": 2}\n{\"question\": \"2+2?\", \"answer\": 4}\n{\"question\": \"3+3?\", \"answer\": 6}\n\
                    {\"question\": \"Say 8.\", \"answer\": 8}\n{\"question\": \"Say 9.\", \"answer\": 9}\n";

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    workshop.write("sums.jsonl", SUMS);
    workshop
}

fn arguments<'a>(folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["eval", "--model", "student", "--tasks", "sums.jsonl", "--output-dir", folder, "--samples", "4"];
    usual.into_iter().chain(["--max-new-tokens", "40", "--json"]).chain(more.iter().copied()).collect()
}

/// The scores, without what depends on the clock.
fn timeless(mut results: Value) -> Value {
    for other in ["date", "command"] {
        results.as_object_mut().unwrap().remove(other);
    }
    for task in results["tasks"].as_array_mut().unwrap() {
        task.as_object_mut().unwrap().remove("tokens_per_second");
    }
    results
}

#[test]
fn samples_depend_on_the_seed_and_on_nothing_else() {
    let workshop = workshop();
    let samples = |folder: &str, more: &[&str]| {
        workshop.json(&arguments(folder, more));
        fs::read_to_string(workshop.path(folder).join("samples.jsonl")).unwrap()
    };
    let wanted = samples("a", &["--seed", "3"]);
    assert_eq!(wanted.lines().count(), 5 * 4);
    for (folder, more) in [("b", ["--batch", "1"]), ("c", ["--batch", "3"]), ("d", ["--threads", "1"])] {
        assert_eq!(samples(folder, &[["--seed", "3"], more].concat()), wanted, "{more:?}");
    }
    assert_ne!(samples("e", &["--seed", "4"]), wanted);
    let lines: Vec<Value> = wanted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_ne!(lines[0]["content"], lines[1]["content"], "samples of a problem differ");
    assert!(lines.iter().all(|line| line["truncated"] == (line["finish_reason"] == "length")));
    // fewer problems are the same problems
    let first: Vec<Value> = samples("f", &["--seed", "3", "--limit", "2"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(first, lines[..8]);
}

#[test]
fn a_killed_evaluation_goes_on_and_ends_with_the_same_numbers() {
    let workshop = workshop();
    let more = ["--max-new-tokens", "400", "--batch", "2"];
    let shape = |folder| -> Vec<&str> {
        let usual =
            ["eval", "--model", "student", "--tasks", "sums.jsonl", "--output-dir", folder, "--samples", "8", "--json"];
        usual.into_iter().chain(more).collect()
    };
    let wanted = timeless(workshop.json(&shape("whole")));
    let path = workshop.path("killed").join("samples.jsonl");
    let mut child = workshop.command(&shape("killed")).spawn().unwrap();
    let begun = Instant::now();
    // killed as soon as some answers are stored, at an arbitrary point
    while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < 5
        && begun.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = fs::read_to_string(&path).unwrap();
    let whole: Vec<&str> = before.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    assert!(whole.len() >= 5);
    assert_eq!(timeless(workshop.json(&shape("killed"))), wanted);
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after, fs::read_to_string(workshop.path("whole").join("samples.jsonl")).unwrap());
    assert!(whole.iter().all(|line| after.contains(line)), "what was there is there still");
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_what_helps() {
    let workshop = workshop();
    workshop.write("unanswered.jsonl", "{\"question\": \"1+1?\"}\n");
    let said = |arguments: &[&str]| workshop.run(arguments);
    let task = |name: &str| said(&["eval", "--model", "student", "--tasks", name, "--output-dir", "out"]);
    let unknown = task("gsm9k");
    assert!(unknown.contains("exit code: 1") && unknown.contains("gsm8k, math500, aime24, gpqa-diamond"), "{unknown}");
    let unanswered = task("unanswered.jsonl");
    assert!(
        unanswered.contains("unanswered.jsonl, line 1\nbecause: 1 of 1 row has no reference answer"),
        "{unanswered}"
    );
    assert!(!workshop.path("out").exists(), "a refused command leaves nothing");
    workshop.json(&arguments("out", &[]));
    let other = said(&arguments("out", &["--temperature", "0.7"]));
    assert!(other.contains("settings.temperature: 0.6 → 0.7"), "{other}");
    let greedy = said(&arguments("greedy", &["--temperature", "0"]));
    assert!(greedy.contains("exit code: 2") && greedy.contains("all samples of a problem are the same"), "{greedy}");
    let nothing = said(&["eval", "--model", "student"]);
    assert!(nothing.contains("exit code: 2"), "{nothing}");
}

#[test]
fn a_gated_benchmark_says_how_to_get_access() {
    let workshop = workshop();
    let offline = workshop
        .command(&["eval", "--model", "student", "--tasks", "gpqa-diamond", "--output-dir", "out"])
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", workshop.path("home"))
        .output()
        .unwrap();
    let said = String::from_utf8(offline.stderr).unwrap();
    assert!(said.contains("gpqa-diamond=FILE") && said.contains("HF_TOKEN"), "{said}");
}

#[test]
fn a_model_that_never_stops_and_a_loss() {
    let workshop = workshop();
    let results = workshop.json(&arguments("out", &[]));
    let task = &results["tasks"][0];
    assert_eq!((task["n"].as_u64(), task["k"].as_u64()), (Some(5), Some(4)));
    assert!(task["truncated"].as_f64().unwrap() > 0.0, "random weights seldom end a turn: {task}");
    workshop.write(
        "rows.jsonl",
        "{\"prompt\": \"1+1?\", \"response\": \"2\"}\n{\"prompt\": \"2+2?\", \"response\": \"4\"}\n",
    );
    let found = workshop.json(&["eval", "--loss", "--model", "student", "--data", "rows.jsonl", "--json"]);
    let (loss, perplexity) = (found["loss"].as_f64().unwrap(), found["perplexity"].as_f64().unwrap());
    // 258 tokens and random weights
    assert!(loss > 2.0 && loss < 9.0 && (perplexity - loss.exp()).abs() <= 1e-9, "{found}");
    assert_eq!((found["rows"].as_u64(), found["supervised_tokens"].as_u64()), (Some(2), Some(4)));
}
