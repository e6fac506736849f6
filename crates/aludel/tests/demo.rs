//! `aludel demo` through the binary, on a byte-level student: every stage runs, a second demo finds the same numbers, and only right
//! answers of a teacher are trained on. What a real student learns is in `bench/`.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use aludel_scripted_teacher::{Request, ScriptedTeacher, Step, json, stream_of};
use aludel_verify::tasks::{ProblemSplit, families, generate};
use common::Workshop;
use serde_json::{Value, json as value};

/// The last line that a demo prints.
fn told(workshop: &Workshop, more: &[&str]) -> Value {
    let mut arguments = vec!["demo", "--student", "student", "--json"];
    arguments.extend(more);
    let output = workshop.command(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

#[test]
fn the_whole_story_is_told_and_the_same_seed_tells_the_same() {
    let workshop = Workshop::with_student();
    let output = workshop.command(&["demo", "--student", "student", "--output-dir", "one"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Before: What's the probability of rolling a 7 with two dice?"), "{said}");
    assert!(said.contains("  dice: 0% → ") && said.contains("all together: ") && said.contains("n = 240"), "{said}");
    for file in ["before/results.json", "after/results.json", "run/metrics.jsonl", "merged/config.json"] {
        assert!(workshop.path("one").join(file).exists(), "{file}");
    }
    let report = fs::read_to_string(workshop.path("one/report.html")).unwrap();
    assert!(
        report.contains("Learning rate") && report.contains("student, before") && report.contains("student, after")
    );

    // the question that is asked before and after training is not in the training data
    let problems = fs::read_to_string(workshop.path("one/problems.jsonl")).unwrap();
    assert!(problems.lines().count() > 900 && problems.contains("6x6/"));
    assert!(!problems.contains("6x6/sum-is-7\"") && !problems.contains("probability of rolling a 7 with two dice?"));

    let other = told(&workshop, &["--output-dir", "two"]);
    let (pooled, steps) = (&other["comparison"]["pooled"], other["train"]["steps"].as_u64().unwrap());
    assert!(pooled["n"] == 240 && steps > 50, "{pooled} {steps}");
    let samples = |folder: &str| fs::read(workshop.path(folder).join("after/samples.jsonl")).unwrap();
    assert_eq!(samples("one"), samples("two"));
    let again = told(&workshop, &["--output-dir", "one"]);
    assert_eq!(again["comparison"], other["comparison"]);

    // A merged model that this demo did not write is not shown as its result.
    let merged = workshop.path("one/merged");
    let config = fs::read_to_string(merged.join("config.json")).unwrap();
    for change in ["student", "one/run/adapter", "config"] {
        match change {
            "config" => fs::write(merged.join("config.json"), format!("{config} ")).unwrap(),
            other => {
                fs::remove_dir_all(&merged).unwrap();
                copy(&workshop.path(other), &merged);
            }
        }
        let refused = workshop.run(&["demo", "--student", "student", "--output-dir", "one"]);
        assert!(
            refused.contains("exit code: 1") && refused.contains("this is not what a demo in this folder merged"),
            "{refused}"
        );
        assert!(refused.contains("mv ") && refused.contains("one/merged-before"), "{refused}");
        fs::remove_dir_all(&merged).unwrap();
        told(&workshop, &["--output-dir", "one"]);
        assert_eq!(fs::read_to_string(merged.join("config.json")).unwrap(), config);
    }
    let refused = workshop.run(&["demo", "--student", "student", "--output-dir", "one", "--seed", "2"]);
    assert!(refused.contains("holds other problems") && refused.contains("--output-dir"), "{refused}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Answers problems of the training side, two of three rightly.
fn teacher() -> ScriptedTeacher {
    let known: HashMap<String, String> = families()
        .iter()
        .flat_map(|family| generate(family.as_ref(), ProblemSplit::Train, 280, 1))
        .map(|problem| (problem.question, problem.answer))
        .collect();
    ScriptedTeacher::start(move |request: &Request| {
        if request.method == "GET" {
            return vec![json("200 OK", &value!({"object": "list", "data": [{"id": "scripted"}]}))];
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let asked = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        let question = asked.split("\nPlease reason").next().unwrap_or(asked).trim();
        let right = known.get(question).map_or("no idea", String::as_str);
        let answer = if request.number.is_multiple_of(3) { "minus a million" } else { right };
        vec![Step::clone(&stream_of(&format!("It must be {answer}."), &format!("\\boxed{{{answer}}}")))]
    })
    .unwrap()
}

#[test]
fn a_teacher_is_asked_once_and_only_its_right_answers_are_learnt() {
    let workshop = Workshop::with_student();
    // a teacher's answers are longer than the problems' own solutions
    let config = fs::read_to_string(workshop.path("student/config.json")).unwrap();
    workshop.write("student/config.json", &config.replace("_embeddings\":512", "_embeddings\":2048"));
    let teacher = teacher();
    let url = teacher.url();
    let arguments = ["--output-dir", "taught", "--model", "scripted", "--teacher", &url];
    let first = told(&workshop, &arguments);
    let asked = teacher.requests();
    let lessons = fs::read_to_string(workshop.path("taught/curated/train.jsonl")).unwrap();
    assert!(lessons.lines().count() > 300, "{}", lessons.lines().count());
    assert!(!lessons.contains("minus a million"));
    let dropped = fs::read_to_string(workshop.path("taught/curated/dropped.jsonl")).unwrap();
    assert!(dropped.contains("minus a million"));
    assert_eq!(first["comparison"]["pooled"]["n"], 240);
    let again = told(&workshop, &arguments);
    assert_eq!(again["comparison"], first["comparison"]);
    assert!(teacher.requests() <= asked + 1, "whether it is there is asked again, and nothing else");
}

#[test]
fn a_teacher_needs_a_model() {
    let said = Workshop::new().run(&["demo", "--teacher", "http://127.0.0.1:9"]);
    assert!(said.contains("--model"), "{said}");
}
