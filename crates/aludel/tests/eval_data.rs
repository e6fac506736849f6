//! Rows to evaluate on that the user brings, and what is said where an evaluation asks what was trained on.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::Output;

use common::Workshop;
use serde_json::{Value, json};

/// Twenty rows to train on and five to evaluate on, of which two ask the same; and as many questions.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row =
        |number: u32| format!("{}\n", json!({"prompt": format!("{number}+1?"), "response": format!("{}", number + 1)}));
    let question =
        |number: u32| format!("{}\n", json!({"question": format!("{number}+1?"), "answer": format!("{}", number + 1)}));
    workshop.write("rows.jsonl", &(0..20).map(row).collect::<String>());
    workshop.write("held.jsonl", &(18..23).map(row).collect::<String>());
    workshop.write("questions.jsonl", &(18..23).map(question).collect::<String>());
    workshop
}

fn train(workshop: &Workshop, more: &[&str]) -> Output {
    let arguments =
        ["train", "--student", "student", "--data", "rows.jsonl", "--dtype", "f32", "--max-steps", "4", "--json"];
    workshop.command(&[&arguments[..], more].concat()).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn rows_of_ones_own_are_evaluated_on_and_all_others_trained_on() {
    let workshop = workshop();
    let output = train(&workshop, &["--eval-data", "held.jsonl", "--output-dir", "run"]);
    let lines = lines(&output);
    assert_eq!((&lines[0]["run"]["train_rows"], &lines[0]["run"]["eval_rows"]), (&json!(20), &json!(5)));
    assert!(
        errors(&output).contains("2 of 5 rows to evaluate on have a prompt that is trained on"),
        "{}",
        errors(&output)
    );
    let told = lines.last().unwrap()["eval_loss"].as_f64().unwrap();
    // The very loss that those rows have under the adapter.
    let loss = ["eval", "--loss", "--model", "student", "--adapter", "run/adapter", "--data", "held.jsonl"];
    let output = workshop.command(&[&loss[..], &["--set", "student.dtype=f32", "--json"]].concat()).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let apart = (found["loss"].as_f64().unwrap() - told).abs();
    assert!(apart <= 1e-6, "{apart}");
    assert_eq!(found["known"], 2);
    assert!(
        errors(&output).contains("2 of 5 rows have a prompt that the adapter was trained on"),
        "{}",
        errors(&output)
    );
}

#[test]
fn without_files_of_ones_own_nothing_that_is_held_back_is_known() {
    let workshop = workshop();
    lines(&train(&workshop, &["--set", "data.test_size=5", "--output-dir", "run"]));
    let known = fs::read_to_string(workshop.path("run/trained_prompts.txt")).unwrap();
    assert_eq!(known.lines().count(), 15);
}

#[test]
fn files_of_which_no_row_is_short_enough_are_refused() {
    let workshop = workshop();
    workshop.write("held.jsonl", &format!("{}\n", json!({"prompt": "long?", "response": "x".repeat(400)})));
    let output = train(&workshop, &["--eval-data", "held.jsonl", "--output-dir", "run", "--max-length", "100"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no row of them can be evaluated on: 1 are longer"), "{}", errors(&output));
}

#[test]
fn an_evaluation_says_what_was_trained_on() {
    let workshop = workshop();
    lines(&train(&workshop, &["--set", "data.test_size=0", "--set", "train.eval_strategy=no", "--output-dir", "run"]));
    let said = |more: &[&str], results: &str| {
        let asked =
            ["eval", "--model", "student", "--tasks", "questions.jsonl", "--max-new-tokens", "4", "--output-dir"];
        let output = workshop.command(&[&asked[..], &[results], more].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        errors(&output)
    };
    let warning = "questions: 2 of 5 problems were trained on";
    assert!(said(&["--adapter", "run/adapter"], "one").contains(warning));
    assert!(said(&["--run", "run"], "two").contains(warning));
    assert!(!said(&[], "three").contains("trained on"));
    let output = workshop.run(&[
        "eval",
        "--model",
        "student",
        "--run",
        "student",
        "--tasks",
        "questions.jsonl",
        "--output-dir",
        "r",
    ]);
    assert!(output.contains("exit code: 1") && output.contains("which prompts were trained on"), "{output}");
}
