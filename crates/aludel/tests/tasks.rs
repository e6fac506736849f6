//! `aludel tasks` through the binary: what it lists and writes, that training reads it, and its errors.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::HashSet;
use std::fs;

use common::Workshop;
use insta::assert_snapshot;
use serde_json::{Value, json};

const MAKE: &[&str] = &["tasks", "make", "ages", "dice", "--count", "30", "--output", "problems.jsonl"];

fn rows(workshop: &Workshop) -> Vec<Value> {
    let text = fs::read_to_string(workshop.path("problems.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_help_has_examples() {
    assert_snapshot!("help_tasks", Workshop::new().run(&["tasks", "--help"]));
    assert_snapshot!("help_tasks_make", Workshop::new().run(&["tasks", "make", "--help"]));
}

#[test]
fn the_families_are_listed() {
    let workshop = Workshop::new();
    assert_snapshot!("tasks_list", workshop.run(&["tasks", "list"]));
    let listed = workshop.json(&["tasks", "list", "--json"]);
    let families = listed["families"].as_array().unwrap();
    assert_eq!(families.len(), 12);
    for family in families {
        let of = |name: &str| family[name].as_u64().unwrap();
        assert!(of("problems") >= 1_000 && of("easy") + of("medium") + of("hard") == of("problems"), "{family}");
    }
}

#[test]
fn problems_are_written_for_training_and_for_testing() {
    let workshop = Workshop::with_student();
    assert_snapshot!("tasks_make", workshop.run(&[MAKE, &["--seed", "3"]].concat()));
    let train = rows(&workshop);
    assert_eq!(train.len(), 60);
    assert!(train.iter().all(|row| row["difficulty"] == "easy" && row["reasoning"].is_string()));
    let totals =
        workshop.json(&["inspect", "--student", "student", "--data", "problems.jsonl", "--rows", "0", "--json"]);
    assert_eq!((&totals["totals"]["kept"], &totals["totals"]["refused"]), (&json!(60), &json!(0)));
    let again = workshop.run(MAKE);
    assert!(
        again.contains("exit code: 1") && again.contains("the file exists already, and is not overwritten"),
        "{again}"
    );
    assert_eq!(rows(&workshop), train);
    let written = workshop.json(&[MAKE, &["--overwrite", "--split", "test", "--difficulty", "2", "--json"]].concat());
    let test = rows(&workshop);
    assert!(test.iter().all(|row| row["difficulty"] == "medium"));
    let ids = |rows: &[Value]| -> HashSet<String> { rows.iter().map(|row| row["id"].to_string()).collect() };
    assert!(ids(&train).is_disjoint(&ids(&test)));
    // One of the two has fewer than 30 that are kept for testing.
    assert_eq!((&written["problems"], &written["distinct"]), (&json!(ids(&test).len()), &json!(test.len())));
    assert!((30..60).contains(&test.len()) && written["fewer_than_asked"].as_object().unwrap().len() == 1, "{written}");
}

#[test]
fn no_problem_comes_twice_unless_in_other_words() {
    let workshop = Workshop::new();
    let make = |more: &[&str], output: &str| {
        let usual = ["tasks", "make", "dice", "fractions", "--split", "test", "--count", "2000", "--output", output];
        workshop.run(&[&usual[..], more].concat())
    };
    assert_snapshot!("tasks_make_fewer", make(&[], "problems.jsonl"));
    let ids: HashSet<String> = rows(&workshop).iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids.len(), rows(&workshop).len());
    let said = make(&["--reworded"], "reworded.jsonl");
    assert!(said.contains(&format!("4,000 problems, {} of them different", ids.len())), "{said}");
    let json = make(&["--json"], "again.jsonl");
    assert!(json.contains("\"fewer_than_asked\":{\"dice\":"), "{json}");
}

/// The answer format that a question asks for is stored with the row and decides in an evaluation.
#[test]
fn rows_carry_what_their_question_asks_for() {
    let workshop = Workshop::new();
    workshop.run(&["tasks", "make", "fractions", "units", "--count", "300", "--output", "problems.jsonl"]);
    let rows = rows(&workshop);
    let of = |asks: &str| rows.iter().find(|row| row["prompt"].as_str().unwrap().contains(asks)).unwrap();
    assert_eq!(of("reduce the result")["verifier"], json!({"kind": "maths", "lowest_terms": true}));
    assert_eq!(of("Calculate 1/")["verifier"], Value::Null);
    assert_eq!(of("in minutes")["verifier"], json!({"kind": "maths", "unit": "minute"}));
}

#[test]
fn all_is_every_family_once() {
    let workshop = Workshop::new();
    let arguments = ["tasks", "make", "all", "dice", "--count", "2", "--output", "problems.jsonl", "--json"];
    assert_eq!(workshop.json(&arguments)["problems"], 24);
}

#[test]
fn bad_input_is_told() {
    let workshop = Workshop::new();
    let make = |more: &[&str]| workshop.run(&[&["tasks", "make"], more, &["--count", "3"]].concat());
    assert_snapshot!("tasks_unknown_family", make(&["algebra", "--output", "a.jsonl"]));
    assert_snapshot!("tasks_unknown_difficulty", make(&["dice", "--difficulty", "4", "--output", "a.jsonl"]));
    assert_snapshot!("tasks_unknown_split", make(&["dice", "--split", "validation", "--output", "a.jsonl"]));
    assert_snapshot!("tasks_no_folder", make(&["dice", "--output", "nowhere/a.jsonl"]));
    assert_snapshot!(
        "tasks_count_out_of_range",
        workshop.run(&["tasks", "make", "dice", "--count", "0", "--output", "a.jsonl"])
    );
    let most = workshop.run(&["tasks", "make", "dice", "--count", "1000001", "--output", "a.jsonl"]);
    assert!(most.contains("because: it must be a whole number from 1 to 1,000,000"), "{most}");
    assert_snapshot!("tasks_no_name", make(&["--output", "a.jsonl"]));
}
