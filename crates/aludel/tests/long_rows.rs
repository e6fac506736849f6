//! The maximum row length, through the binary: the length that "auto" derives, the rows that it excludes, when that is refused, that
//! `inspect` and `train` agree, and that the memory they state is what the process takes.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::Output;

use common::Workshop;
use insta::assert_snapshot;
use serde_json::{Value, json};

const TRAIN: &[&str] =
    &["train", "--student", "student", "--data", "rows.jsonl", "--dtype", "f32", "--max-steps", "2", "--json"];

/// Rows whose answers have these many letters, each a token.
fn rows(letters: &[usize]) -> String {
    let row = |(number, &letters): (usize, &usize)| {
        format!("{}\n", json!({"prompt": format!("{number}?"), "response": "x".repeat(letters)}))
    };
    letters.iter().enumerate().map(row).collect()
}

/// A student, and such rows.
fn workshop(letters: &[usize]) -> Workshop {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", &rows(letters));
    workshop
}

fn train(workshop: &Workshop, output_dir: &str, more: &[&str]) -> Output {
    workshop.command(&[TRAIN, &["--output-dir", output_dir], more].concat()).output().unwrap()
}

/// The record of a run's start; the run must have succeeded.
fn started(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(|line| line["event"] == "started").unwrap()["run"].clone()
}

#[test]
fn the_data_decides_the_length_and_a_run_keeps_it() {
    // 200 rows of some 70 tokens and one of 400: one in a hundred may be left out.
    let workshop = workshop(&[&[10; 200][..], &[360]].concat());
    let run = started(&train(&workshop, "run", &[]));
    let longest = run["max_length"].as_u64().unwrap();
    assert!(longest < 100, "{longest}");
    assert_eq!((&run["outcomes"]["rows"], &run["outcomes"]["too_long"]), (&json!(200), &json!(1)));
    let recipe = fs::read_to_string(workshop.path("run/recipe.toml")).unwrap();
    assert!(recipe.contains(&format!("max_length = {longest}\n")), "{recipe}");

    // The same run again, by the same command, and by its own recipe. A run that lacks its adapter is not complete.
    for again in [
        &[TRAIN, &["--output-dir", "run", "--resume"]].concat()[..],
        &["train", "--output-dir", "run", "--resume", "--json"],
    ] {
        fs::remove_dir_all(workshop.path("run/adapter")).unwrap();
        assert_eq!(started(&workshop.command(again).output().unwrap())["max_length"], longest);
    }
    // "auto" gives the same bits as the number that it derived.
    let given = longest.to_string();
    started(&train(&workshop, "given", &["--max-length", &given]));
    let adapter = |run: &str| fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(adapter("run") == adapter("given"));
    // The rows were tokenised once, whatever the length.
    let cache = |run: &str| fs::read_dir(workshop.path(run).join("rows")).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(cache("run"), cache("given"));
}

#[test]
fn a_run_that_would_leave_out_much_does_not_begin() {
    let workshop = workshop(&[[10; 12], [200; 12]].concat());
    let refused = train(&workshop, "run", &["--max-length", "150"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_snapshot!("refused", String::from_utf8(refused.stderr).unwrap());
    assert!(!workshop.path("run/run.json").exists());
    let more = ["--max-length", "150", "--set", "data.max_rows_left_out=0.5"];
    let told = train(&workshop, "run", &more);
    let run = started(&told);
    assert_eq!((&run["outcomes"]["rows"], &run["outcomes"]["too_long"]), (&json!(12), &json!(12)));
    assert!(run["left_out"][0].as_str().unwrap().starts_with("12 of 24 rows (50%) left out"), "{run}");
    // A run that was begun goes on, whatever is allowed.
    fs::remove_dir_all(workshop.path("run/adapter")).unwrap();
    started(&train(&workshop, "run", &["--max-length", "150", "--resume"]));
}

#[test]
fn inspect_tells_the_numbers_of_training() {
    let workshop = workshop(&[&[10; 200][..], &[360]].concat());
    let run = started(&train(&workshop, "run", &[]));
    let inspect = ["inspect", "--student", "student", "--data", "rows.jsonl", "--set", "student.dtype=f32", "--json"];
    let told = workshop.json(&inspect);
    assert_eq!((&told["max_length"], &told["left_out"]), (&run["max_length"], &run["left_out"]));
    assert_eq!(
        (&told["totals"]["kept"], &told["totals"]["too_long"], &told["totals"]["tokens"]),
        (&run["outcomes"]["rows"], &run["outcomes"]["too_long"], &run["outcomes"]["tokens"])
    );
    // Rows to evaluate on are planned for, too.
    workshop.write("held.jsonl", &rows(&[40, 90]));
    let held = ["--eval-data", "held.jsonl"];
    let run = started(&train(&workshop, "held", &held));
    let told = workshop.json(&[&inspect[..], &held].concat());
    assert_eq!((&told["max_length"], &told["left_out"]), (&run["max_length"], &run["left_out"]));
    assert_eq!((&told["totals"]["rows"], &told["evaluation"]["kept"]), (&json!(201), &json!(2)));
    let short = ["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "0", "--max-length", "60"];
    assert_snapshot!("inspect_evaluation", workshop.run(&[&short[..], &held].concat()));
    let said = workshop.run(&short);
    assert_snapshot!("inspect_too_long", said);
}

#[test]
fn rows_to_evaluate_on_decide_the_length_too() {
    let workshop = workshop(&[10; 40]);
    workshop.write("held.jsonl", &rows(&[10, 10, 200, 210]));
    let held = ["--eval-data", "held.jsonl"];
    let run = started(&train(&workshop, "run", &held));
    assert!(run["max_length"].as_u64().unwrap() > 210, "{run}");
    assert_eq!((&run["eval_rows"], &run["left_out"]), (&json!(4), &json!([])));
    // A length that leaves many of them out is refused as it is for rows to train on.
    let short = [&held[..], &["--max-length", "100"]].concat();
    let refused = train(&workshop, "short", &short);
    assert_eq!(refused.status.code(), Some(1));
    assert_snapshot!("refused_evaluation", String::from_utf8(refused.stderr).unwrap());
    assert!(!workshop.path("short/run.json").exists());
    let told = train(&workshop, "short", &[&short[..], &["--set", "data.max_rows_left_out=0.5"]].concat());
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(said.contains("2 of 4 rows to evaluate on (50%) left out, longer than"), "{said}");
    assert_eq!((&started(&told)["eval_rows"], &started(&told)["train_rows"]), (&json!(2), &json!(40)));
}

#[test]
fn where_to_cut_is_never_decided_by_the_data() {
    let workshop = workshop(&[10; 10]);
    let said =
        workshop.run(&["inspect", "--student", "student", "--data", "rows.jsonl", "--set", "data.long_rows=truncate"]);
    assert_snapshot!("cut_where", said);
}

/// The memory that `inspect` and `train` predict is what the system reports at the end.
#[test]
fn the_memory_that_is_told_is_what_is_taken() {
    let Some(student) = real_student() else { return };
    let words = |times: usize| {
        "It is so because each of the numbers is the sum of the two before it, and so on. ".repeat(times)
    };
    let alike = vec![words(40); 2];
    // A row that no step reaches, and a length that no row has.
    let one_is_long = [vec![words(10); 11], vec![words(80)]].concat();
    let never = ["data.test_size=0", "train.eval_strategy=no", "train.max_steps=2", "train.max_length=8192"];
    let cases = [
        (&alike, &["data.test_size=0", "train.eval_strategy=no", "train.max_steps=2"][..]),
        (&one_is_long, &never[..]),
        // Where little is taken, what is counted twice shows.
        (
            &vec![words(5); 2],
            &["train.tokens_per_pass=128", "data.test_size=0", "train.eval_strategy=no", "train.max_steps=2"][..],
        ),
        // Rows that are only evaluated on take less than rows that are trained on.
        (&vec![words(5); 2], &["train.max_steps=1", "train.warmup_ratio=0", "data.eval_files=held.jsonl"][..]),
    ];
    for (rows, settings) in cases {
        let workshop = Workshop::new();
        let row = |(number, words): (usize, &String)| {
            format!("{}\n", json!({"prompt": format!("{number}?"), "response": words}))
        };
        workshop.write("rows.jsonl", &rows.iter().enumerate().map(row).collect::<String>());
        workshop.write("held.jsonl", &row((100, &words(40))));
        let given = ["--student", &student, "--data", "rows.jsonl", "--json"];
        let steps = ["train.per_device_train_batch_size=1", "train.gradient_accumulation_steps=1"];
        let settings: Vec<&str> = steps.iter().chain(settings).flat_map(|setting| ["--set", setting]).collect();
        let run = [&["train", "--output-dir", "run"], &given[..], &settings].concat();
        let output = workshop.command(&run).output().unwrap();
        let told = started(&output)["process_bytes"].as_f64().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let taken = summary["peak_rss_bytes"].as_f64().unwrap();
        let inspected = workshop.json(&[&["inspect"], &given[..], &settings].concat());
        let inspected = inspected["memory_bytes"].as_f64().unwrap();
        for (who, told) in [("train", told), ("inspect", inspected)] {
            let off = told / taken - 1.0;
            eprintln!("{who} {settings:?}: {told} told, {taken} taken, {:.1}% off", 100.0 * off);
            assert!(off.abs() <= 0.05, "{who} {settings:?}: {told} told, {taken} taken, {:.1}% off", 100.0 * off);
        }
    }
}

/// The real student that the environment names, if there is one.
fn real_student() -> Option<String> {
    let named = std::env::var("ALUDEL_TEST_STUDENT").ok().filter(|path| std::path::Path::new(path).exists());
    if named.is_none() {
        assert!(std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(), "ALUDEL_TEST_STUDENT names no student");
        eprintln!("skipped: ALUDEL_TEST_STUDENT names no student");
    }
    named
}
