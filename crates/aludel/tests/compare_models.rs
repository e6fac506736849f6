//! `aludel compare` on models: they are evaluated first, once, also beside folders of results; errors for missing paths and other folders.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, write_student};
use serde_json::{Value, json};

const SUMS: &str = "{\"question\": \"1+1?\", \"answer\": 2}\n{\"question\": \"2+2?\", \"answer\": 4}\n{\"question\": \"Say 8.\", \"answer\": 8}\n";

/// Two students, and some sums.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    write_student(&workshop.path("wide"), 16);
    workshop.write("sums.jsonl", SUMS);
    workshop
}

const ASKED: &[&str] = &["--tasks", "sums.jsonl", "--samples", "3", "--max-new-tokens", "12", "--seed", "5", "--json"];

fn compare(workshop: &Workshop, named: &[&str]) -> Value {
    workshop.json(&[&["compare"], named, &["--output-dir", "out"], ASKED].concat())
}

#[test]
fn models_are_evaluated_first_and_only_once() {
    let workshop = workshop();
    let found = compare(&workshop, &["student", "wide"]);
    let comparison = &found["comparisons"][0];
    assert_eq!((&comparison["baseline"], &comparison["model"]), (&json!("student"), &json!("wide")));
    assert_eq!((&comparison["pooled"]["n"], &comparison["differs"]), (&json!(3), &json!([])));
    let folder = workshop.path("out/evaluations");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["student", "wide"]);
    let text = |path: &str| fs::read_to_string(workshop.path(path)).unwrap();
    // the same as by hand
    workshop.json(&[&["eval", "--model", "wide", "--output-dir", "by-hand"], ASKED].concat());
    assert_eq!(text("out/evaluations/wide/samples.jsonl"), text("by-hand/samples.jsonl"));
    // a second run uses existing results, also those of `aludel eval`; the date shows that they were not evaluated again
    let results = text("out/evaluations/student/results.json");
    let date = results.find("\"date\"").unwrap();
    let marked =
        format!("{}\"machine\":\"marked\",{}", &results[..date], &results[date..].replace("\"machine\"", "\"was\""));
    workshop.write("out/evaluations/student/results.json", &marked);
    let again = compare(&workshop, &["student", "by-hand"]);
    assert_eq!(again["comparisons"][0]["pooled"], comparison["pooled"]);
    assert_eq!(text("out/evaluations/student/results.json"), marked);
    assert!(text("out/report.html").contains("marked"));
    // the same folder with other questions would not be the same evaluation
    let other = workshop.run(&["compare", "student", "wide", "--output-dir", "out", "--tasks", "sums.jsonl"]);
    assert!(other.contains("exit code: 1") && other.contains("settings.samples: 3 → 1"), "{other}");
}

#[test]
fn models_of_one_name_are_told_apart_by_their_folders() {
    let workshop = Workshop::new();
    workshop.write("sums.jsonl", SUMS);
    for (parent, width) in [("one", 8), ("two", 16)] {
        fs::create_dir(workshop.path(parent)).unwrap();
        write_student(&workshop.path(&format!("{parent}/merged")), width);
    }
    let found = compare(&workshop, &["one/merged", "two/merged"]);
    assert_eq!(
        (&found["comparisons"][0]["baseline"], &found["comparisons"][0]["model"]),
        (&json!("one-merged"), &json!("two-merged"))
    );
    assert!(workshop.path("out/evaluations/two-merged/results.json").exists());
}

#[test]
fn what_models_need_is_asked_for_and_nothing_is_written() {
    let workshop = workshop();
    let said =
        |named: &[&str], more: &[&str]| workshop.run(&[&["compare"], named, &["--output-dir", "out"], more].concat());
    let silent = said(&["student", "wide"], &[]);
    assert!(silent.contains("exit code: 2"), "{silent}");
    assert!(
        silent.contains(
            "error: --tasks\nbecause: student is a model, and nothing says what it is to be asked\nhelp: give --tasks"
        ),
        "{silent}"
    );
    fs::create_dir(workshop.path("adapter")).unwrap();
    workshop.write("adapter/adapter_config.json", "{}");
    let adapter = said(&["student", "adapter"], ASKED);
    assert!(
        adapter.contains("because: this is an adapter without its model\nhelp: merge it first: aludel merge"),
        "{adapter}"
    );
    let twice = said(&["student", "student"], ASKED);
    assert!(twice.contains("it is named twice, and would be compared with itself"), "{twice}");
    let missing = said(&["student", "nowhere"], ASKED);
    assert!(missing.contains("nowhere/results.json\nbecause: cannot read the results"), "{missing}");
    let task = said(&["student", "wide"], &["--tasks", "gsm9k"]);
    assert!(task.contains("there is no such task"), "{task}");
    assert!(!workshop.path("out").exists());
}
