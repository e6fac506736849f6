//! Runs the walk-throughs in `docs/` as they are written: each line of their `sh` blocks, in order, in one folder, with a tiny student. Every
//! command must work on the output of those before it.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use common::Workshop;
use serde_json::{Value, json};

/// Additional options for a tiny student: few steps and short answers.
const BESIDE: [(&str, &[&str]); 3] = [
    ("train", &["--max-length", "2048", "--max-steps", "3", "--dtype", "f32"]),
    ("eval", &["--max-new-tokens", "4"]),
    ("chat", &["--max-new-tokens", "4"]),
];

/// The lines of a document's `sh` blocks, those that end in a backslash joined with the next.
fn commands(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let (block, _) = block.split_once("```").expect("a block that is never closed");
        let block = block.replace("\\\n", " ");
        found.extend(block.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    found
}

/// The words of a line, split as a shell does. A line that needs more of a shell than quotes fails.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '$' | '`' | '|' | '&' | ';' | '<' | '>' | '#' | '~' | '(' | '{') => {
                panic!("{line}: more than words")
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "{line}: a quote that is never closed");
    words.extend(word);
    words
}

/// Runs a document in the folder, with its student in place of `student.gguf`, and returns the command lines.
fn walk(workshop: &Workshop, document: &str, placeholders: &[(&str, &str)]) -> Vec<Vec<String>> {
    let lines = commands(document);
    assert!(lines.len() >= 5, "{document}: {lines:?}");
    let mut said = String::new();
    let mut walked = Vec::new();
    for line in &lines {
        let words: Vec<String> = words(line);
        let placed = words.iter().map(|word| {
            let places = placeholders.iter().chain(&[("student.gguf", "student")]);
            places.fold(word.clone(), |word, (name, place)| if word == *name { (*place).to_owned() } else { word })
        });
        let placed: Vec<String> = placed.collect();
        assert_eq!(placed[0], "aludel", "{document}: {line}");
        let beside = BESIDE.iter().find(|(command, _)| *command == placed[1]).map_or(&[][..], |(_, beside)| beside);
        let all: Vec<&str> = placed[1..].iter().map(String::as_str).chain(beside.iter().copied()).collect();
        let answer = if placed[1] == "serve" { served(workshop, &all) } else { workshop.run(&all) };
        writeln!(said, "{answer}").unwrap();
        assert!(answer.contains("exit code: 0"), "{document}: `{line}` fails after this:\n{said}");
        walked.push(words);
    }
    walked
}

/// Starts a server on a free port, and ends it once it says that it serves.
fn served(workshop: &Workshop, arguments: &[&str]) -> String {
    let arguments = [arguments, &["--port", "0"]].concat();
    let mut child = workshop.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("serving "), "{said}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    format!(
        "$ aludel {}\nexit code: {}\n{said}{}",
        arguments.join(" "),
        ended.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&ended.stderr)
    )
}

/// A byte-level student with room for the rows of the documents.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let path = workshop.path("student/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(4096);
    fs::write(path, config.to_string()).unwrap();
    workshop
}

fn rows(workshop: &Workshop, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(workshop.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The prompts that a curated folder trains on and those that it holds out.
fn prompts(workshop: &Workshop, name: &str) -> HashSet<String> {
    rows(workshop, name).iter().map(|row| row["messages"][0]["content"].as_str().unwrap().to_owned()).collect()
}

/// Rows with a question, the reasoning and the answer of a larger model.
fn write_traces(workshop: &Workshop) {
    let row = |a: u32| {
        json!({"prompt": format!("What is {a} + 7?"), "reasoning": format!("{a} and 7 more make {}.", a + 7),
            "response": format!("It is \\boxed{{{}}}.", a + 7), "gold": (a + 7).to_string()})
    };
    workshop.write("traces.jsonl", &(0..60).map(|a| format!("{}\n", row(a))).collect::<String>());
}

#[test]
fn the_readme_tells_the_story_in_order() {
    let workshop = workshop();
    write_traces(&workshop);
    let walked = walk(&workshop, "../README.md", &[]);
    let order: Vec<&str> = walked.iter().map(|words| words[1].as_str()).collect();
    assert_eq!(order, ["curate", "inspect", "eval", "train", "eval", "compare", "merge", "chat", "serve"]);
    let config = fs::read(workshop.path("run/adapter/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "HuggingFaceTB/SmolLM2-135M-Instruct");
    assert!(workshop.path("report/report.html").is_file());
}

#[test]
fn from_traces_to_a_student_that_runs_elsewhere() {
    let workshop = workshop();
    write_traces(&workshop);
    let walked = walk(&workshop, "FROM_TRACES.md", &[]);
    assert!(walked.len() <= 12, "a first student takes {} commands", walked.len());
    let (trained, held_back) = (prompts(&workshop, "curated/train.jsonl"), prompts(&workshop, "curated/eval.jsonl"));
    assert!(trained.is_disjoint(&held_back) && trained.len() + held_back.len() == 60, "{held_back:?}");
    for folder in ["before", "after"] {
        let asked = rows(&workshop, &format!("{folder}/samples.jsonl"));
        let asked: HashSet<_> = asked.iter().map(|sample| sample["question"].as_str().unwrap().to_owned()).collect();
        assert_eq!(asked, held_back, "{folder}: what was held back is what is asked");
    }
    for left in ["merged/config.json", "merged/model.safetensors", "merged/tokenizer.json", "report/report.html"] {
        assert!(workshop.path(left).is_file(), "{left}");
    }
}

#[test]
fn from_a_served_teacher_to_a_student() {
    let workshop = workshop();
    let question = |a: u32| format!("{}\n", json!({"question": format!("What is {a} + {}?", 42 - a), "answer": "42"}));
    workshop.write("questions.jsonl", &(0..40).map(question).collect::<String>());
    let crowd = Crowd { content: "\\boxed{42}".to_owned(), ..Crowd::default() };
    let teacher = ScriptedTeacher::start(crowd.script()).unwrap();
    let url = teacher.url();
    walk(&workshop, "FROM_A_TEACHER.md", &[("http://127.0.0.1:8000/v1", &url), ("NAME", "scripted")]);
    let status = workshop.json(&["trace", "status", "--store", "traces.db", "--json"]);
    assert_eq!(status["complete"], 40, "nothing is asked twice: {status}");
    let held_back = rows(&workshop, "curated/eval.jsonl").len();
    let results: Value = serde_json::from_slice(&fs::read(workshop.path("teacher/results.json")).unwrap()).unwrap();
    assert_eq!((&results["tasks"][0]["n"], &results["tasks"][0]["pass_at_1"]), (&json!(held_back), &json!(1.0)));
}

#[test]
fn the_next_round() {
    let workshop = workshop();
    walk(&workshop, "NEXT_ROUND.md", &[]);
    for left in ["next/prompts.jsonl", "round2/adapter/adapter_model.safetensors", "report2/report.html"] {
        assert!(workshop.path(left).is_file(), "{left}");
    }
}

#[test]
fn lines_are_parted_as_a_shell_does() {
    assert_eq!(words("aludel chat --prompt \"What is '1'?\" ''"), ["aludel", "chat", "--prompt", "What is '1'?", ""]);
    for line in ["aludel schema > a.json", "aludel a | b", "aludel \"a"] {
        assert!(std::panic::catch_unwind(|| words(line)).is_err(), "{line}");
    }
}
