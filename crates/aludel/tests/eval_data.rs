//! Evaluation rows of the user, and the warning if an evaluation contains prompts that were trained on.
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
    let arguments = ["train", "--student", "student", "--data", "rows.jsonl", "--dtype", "f32", "--json"];
    let steps: &[&str] = if more.contains(&"--max-steps") { &[] } else { &["--max-steps", "4"] };
    workshop.command(&[&arguments[..], steps, more].concat()).output().unwrap()
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
    let summary = lines.last().unwrap();
    let card = fs::read_to_string(workshop.path("run/adapter/README.md")).unwrap();
    assert!(!card.contains("held.jsonl"), "paths of files are not shown: {card}");
    // The very losses that those rows have, under the adapter and without it.
    let loss = |more: &[&str]| {
        let asked = ["eval", "--loss", "--model", "student", "--data", "held.jsonl", "--set", "student.dtype=f32"];
        workshop.command(&[&asked[..], &["--json"], more].concat()).output().unwrap()
    };
    let apart = |output: &Output, told: &Value| {
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (found["loss"].as_f64().unwrap() - told.as_f64().unwrap()).abs()
    };
    let before = apart(&loss(&[]), &summary["eval_loss_before"]);
    assert!(before <= 1e-6, "{before}");
    let output = loss(&["--adapter", "run/adapter"]);
    let after = apart(&output, &summary["eval_loss"]);
    assert!(after <= 1e-6, "{after}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["known"], 2);
    assert!(
        errors(&output).contains("2 of 5 rows have a prompt that the adapter was trained on"),
        "{}",
        errors(&output)
    );
}

/// The evaluations of a run's metrics: step and loss.
fn evaluations(workshop: &Workshop, run: &str) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(workshop.path(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line["eval_loss"].as_f64()?))).collect()
}

#[test]
fn the_loss_before_the_first_step_is_measured_once_and_told_at_the_end() {
    let workshop = workshop();
    let learn = ["--learning-rate", "0.05", "--set", "data.test_size=5"];
    let quiet = ["train", "--student", "student", "--data", "rows.jsonl", "--dtype", "f32", "--max-steps", "4"];
    let said = workshop.run(&[&quiet[..], &learn, &["--output-dir", "run"]].concat());
    let found = evaluations(&workshop, "run");
    let steps: Vec<u64> = found.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 2, 4]);
    let (before, after) = (found[0].1, found[2].1);
    assert!(after < before, "{before} → {after}");
    for told in [
        format!("step 0, before training: held-out loss {before:.4}"),
        format!("; held-out loss {before:.4} → {after:.4} (−{:.1}%)", 100.0 * (1.0 - after / before)),
    ] {
        assert!(said.contains(&told), "lacks {told:?}:\n{said}");
    }
    // A resumed run reads it from its records and does not measure it again.
    let again = workshop.run(&["train", "--output-dir", "run", "--resume"]);
    assert!(!again.contains("before training") && again.contains(&format!("{before:.4} → {after:.4}")), "{again}");
    assert_eq!(evaluations(&workshop, "run"), found);
    for (run, setting, wanted) in
        [("without", "train.eval_on_start=false", &[2, 4][..]), ("never", "train.eval_strategy=no", &[])]
    {
        let output = train(&workshop, &[&learn[..], &["--set", setting, "--output-dir", run]].concat());
        assert!(lines(&output).last().unwrap()["eval_loss_before"].is_null());
        let steps: Vec<u64> = evaluations(&workshop, run).iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, wanted, "{setting}");
    }
}

/// There is no checkpoint of it, so it is never the best one, even where training does harm.
#[test]
fn the_loss_before_the_first_step_is_no_best_model() {
    let workshop = workshop();
    let rows = |response: &str| {
        let row =
            |number: u32| format!("{}\n", json!({"prompt": format!("{number}?"), "response": response.repeat(20)}));
        (0..16).map(row).collect::<String>()
    };
    let learn = ["--learning-rate", "0.05", "--set", "train.lr_scheduler_type=constant"];
    workshop.write("rows.jsonl", &rows("a")).write("held.jsonl", &rows("a"));
    lines(&train(&workshop, &[&learn[..], &["--max-steps", "60", "--output-dir", "first"]].concat()));
    // Later steps make it worse again.
    workshop.write("rows.jsonl", &rows("ZQ"));
    let best = ["--set", "train.load_best_model_at_end=true", "--init-adapter", "first/adapter"];
    let more = ["--max-steps", "4", "--eval-data", "held.jsonl", "--output-dir", "run"];
    let output = train(&workshop, &[&learn[..], &best, &more].concat());
    let summary = lines(&output).last().unwrap().clone();
    let (before, best) = (summary["eval_loss_before"].as_f64().unwrap(), summary["eval_loss"].as_f64().unwrap());
    assert!(best > before, "{before} → {best}");
    let state = fs::read(workshop.path("run/checkpoint-4/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert!(state["best_global_step"].as_u64().unwrap() >= 2 && state["best_metric"] == best, "{state}");
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
    assert!(errors(&output).contains("1 of 1 row to evaluate on (100%) is longer than"), "{}", errors(&output));
    let allowed = ["--max-length", "100", "--set", "data.max_rows_left_out=1"];
    let output = train(&workshop, &[&["--eval-data", "held.jsonl", "--output-dir", "run"][..], &allowed].concat());
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
