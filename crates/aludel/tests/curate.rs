//! `aludel curate` through the binary: what it prints and writes, that training reads it, and its errors.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use common::Workshop;
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Ten prompts with a right and a wrong answer each, one answer that was cut off, and a row said twice.
fn traces() -> String {
    let row = |a: u32, answer: u32| {
        json!({"id": format!("{a}-{answer}"), "prompt": format!("What is {a} + 1?"), "reasoning": format!("One more than {a}."),
            "response": format!("It is \\boxed{{{answer}}}."), "gold": (a + 1).to_string(), "model": "teacher"})
    };
    let mut rows: Vec<Value> = (0..10).flat_map(|a| [row(a, a + 1), row(a, a + 2)]).collect();
    rows.push(json!({"id": "cut", "prompt": "What is 5 + 5?", "reasoning": "Let me", "response": "", "gold": "10"}));
    rows.push(rows[0].clone());
    rows.iter().map(|row| format!("{row}\n")).collect()
}

const CURATE: &[&str] = &["curate", "--input", "traces.jsonl", "--output-dir", "out"];

fn run(workshop: &Workshop, more: &[&str]) -> String {
    workshop.run(&[CURATE, more].concat())
}

fn rows(workshop: &Workshop, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(workshop.path("out").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_help_has_examples() {
    assert_snapshot!("help_curate", Workshop::new().run(&["curate", "--help"]));
}

#[test]
fn a_curation_says_what_became_of_the_rows() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces());
    assert_snapshot!("curate", run(&workshop, &[]));
    let report: Value = serde_json::from_slice(&fs::read(workshop.path("out/report.json")).unwrap()).unwrap();
    let printed = workshop.json(&[CURATE, &["--json"]].concat());
    assert_eq!(printed, report["report"]);
    assert_eq!((&printed["rows"], &printed["kept"], &printed["train"]), (&json!(22), &json!(10), &json!(9)));
    assert_eq!(report["about"]["curate"]["verifier"], json!({"kind": "maths"}));
    let dropped: Vec<(Value, Value)> =
        rows(&workshop, "dropped.jsonl").iter().map(|row| (row["reason"].clone(), row["verified"].clone())).collect();
    assert_eq!(dropped.iter().filter(|row| **row == (json!("wrong"), json!(false))).count(), 10);
    assert!(
        dropped.contains(&(json!("incomplete"), Value::Null)) && dropped.contains(&(json!("duplicate"), json!(true)))
    );
    assert!(rows(&workshop, "train.jsonl").iter().all(|row| row["verified"] == true && row["model"] == "teacher"));
    let names: Vec<_> = fs::read_dir(workshop.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn what_was_held_back_can_be_evaluated_on_and_trained_on() {
    let workshop = Workshop::with_student();
    workshop.write("traces.jsonl", &traces());
    run(&workshop, &["--test-size", "3"]);
    let held_back = rows(&workshop, "eval.jsonl");
    assert_eq!(held_back.len(), 3);
    let usual = ["eval", "--model", "student", "--output-dir", "scores", "--max-new-tokens", "4", "--json", "--tasks"];
    let results = workshop.json(&[&usual[..], &["out/eval.jsonl"]].concat());
    assert_eq!((&results["tasks"][0]["name"], &results["tasks"][0]["n"]), (&json!("eval"), &json!(3)));
    let samples = fs::read_to_string(workshop.path("scores/samples.jsonl")).unwrap();
    for (sample, row) in samples.lines().zip(&held_back) {
        let sample: Value = serde_json::from_str(sample).unwrap();
        assert_eq!((&sample["question"], &sample["gold"]), (&row["messages"][0]["content"], &row["gold"]));
    }
    let totals = ["inspect", "--student", "student", "--data", "out/eval.jsonl", "--rows", "0", "--json"];
    let totals = workshop.json(&totals);
    assert_eq!((&totals["totals"]["kept"], &totals["totals"]["refused"]), (&json!(3), &json!(0)));
}

#[test]
fn training_reads_what_was_curated() {
    let workshop = Workshop::with_student();
    workshop.write("traces.jsonl", &traces());
    run(&workshop, &["--parquet"]);
    for name in ["out/train.jsonl", "out/train.parquet"] {
        let totals = workshop.json(&["inspect", "--student", "student", "--data", name, "--rows", "0", "--json"]);
        assert_eq!((&totals["totals"]["kept"], &totals["totals"]["refused"]), (&json!(9), &json!(0)), "{name}");
    }
    let said = workshop.run(&[
        "train",
        "--student",
        "student",
        "--data",
        "out/train.parquet",
        "--output-dir",
        "run",
        "--max-length",
        "256",
        "--max-steps",
        "2",
        "--dtype",
        "f32",
    ]);
    assert!(said.contains("exit code: 0") && said.contains("2 steps"), "{said}");
}

#[test]
fn settings_come_from_recipe_flags_and_assignments() {
    let workshop = Workshop::with_student();
    workshop.write("traces.jsonl", &traces());
    workshop.write(
        "recipe.toml",
        "[curate]\ninput = \"traces.jsonl\"\noutput_dir = \"out\"\nverify = \"label\"\nduplicates = false\n",
    );
    let json = |more: &[&str]| workshop.json(&[&["curate", "--recipe", "recipe.toml", "--json"], more].concat());
    assert_eq!(json(&["--set", "curate.near_duplicates=false"])["kept"], 21);
    assert_eq!(json(&["--max-per-prompt", "1", "--test-size", "0"])["train"], 10);
    let report = json(&["--student", "student", "--max-length", "130", "--set", "curate.complete=false"]);
    let length = report["filters"].as_array().unwrap().iter().find(|filter| filter["reason"] == "length").unwrap();
    assert_eq!((&length["seen"], &report["tokenised"]), (&json!(22), &json!(0)), "{report}");
    assert_eq!(length["dropped"], 0, "a token a byte, and every row is shorter");
}

/// Rows excluded by their own marks, label or weight are counted as such, and not as incomplete; other columns with similar names are not
/// taken for marks.
#[test]
fn rows_that_the_data_excludes_are_counted_by_what_excludes_them() {
    let workshop = Workshop::new();
    let row = |number: usize, more: Value| {
        let mut row = json!({"prompt": format!("What is {number} + 1?"), "response": (number + 1).to_string()});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{row}\n")
    };
    let marks = [
        json!({"label": false}),
        json!({"label": 0}),
        json!({"kto_label": 0}),
        json!({"weight": 0}),
        json!({"weight": 0.5}),
        json!({"skip": true}),
        json!({"finish_reason": "length"}),
        json!({"stop_type": "limit", "end_reason": "incomplete"}),
    ];
    let traces: String = (0..24).map(|number| row(number, marks[number % marks.len()].clone())).collect();
    workshop.write("traces.jsonl", &traces);
    assert_snapshot!("curate_excluded", run(&workshop, &[]));
    workshop.write("traces.jsonl", &row(1, json!({"weight": 72.5})));
    let said = run(&workshop, &[]);
    assert!(said.contains("column `weight` is 72.5, and a weight is true, false or a number from 0 to 10"), "{said}");
    let turns = json!([{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1", "weight": 0}]);
    workshop.write("traces.jsonl", &format!("{}\n", json!({"messages": turns})));
    let said = run(&workshop, &["--set", "curate.test_size=0"]);
    assert!(said.contains("zero_weight: no assistant message of the conversation is to be learnt"), "{said}");
    assert!(said.contains("all 1 were dropped, most of them as zero_weight"), "{said}");
}

#[test]
fn lengths_are_those_of_training() {
    let workshop = Workshop::with_student();
    workshop.write("traces.jsonl", &traces());
    let inspected =
        workshop.json(&["inspect", "--student", "student", "--data", "traces.jsonl", "--rows", "99", "--json"]);
    let lengths: Vec<u64> =
        inspected["rows"].as_array().unwrap().iter().map(|row| row["tokens"].as_u64().unwrap()).collect();
    let bound = lengths.iter().max().unwrap() - 1;
    let off = ["complete", "duplicates", "near_duplicates"].map(|name| format!("curate.{name}=false"));
    let set: Vec<&str> = off.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let written = bound.to_string();
    let more = ["--json", "--student", "student", "--max-length", &written, "--set", "curate.verify=off"];
    let report = workshop.json(&[CURATE, &more, &set].concat());
    let longer = lengths.iter().filter(|length| **length > bound).count();
    assert_eq!(report["rows"].as_u64().unwrap() - report["kept"].as_u64().unwrap(), longer as u64, "{report}");
}

#[test]
fn what_cannot_be_is_told_and_nothing_is_written() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces()).write("broken.jsonl", "{\"prompt\": \"?\",\n");
    workshop.write("foreign.jsonl", "{\"Question\": \"?\"}\n");
    assert_snapshot!("curate_nothing_named", workshop.run(&["curate", "--max-length", "9"]));
    assert_snapshot!("curate_unknown_setting", run(&workshop, &["--set", "curate.decontamination=x.jsonl"]));
    let verifier = ["--set", "curate.verifier={kind=\"numeric\", relativ=1}"];
    assert_snapshot!("curate_wrong_verifier", run(&workshop, &verifier));
    let input = |name: &str| workshop.run(&["curate", "--input", name, "--output-dir", "out"]);
    assert_snapshot!("curate_broken_row", input("broken.jsonl"));
    assert_snapshot!("curate_unknown_columns", input("foreign.jsonl"));
    assert_snapshot!("curate_no_evaluation", run(&workshop, &["--decontaminate", "nowhere.jsonl"]));
    assert_snapshot!("curate_mixture", run(&workshop, &["--set", "curate.mixture={math=1}"]));
    assert!(!workshop.path("out").exists());
}

#[test]
fn a_folder_of_somebody_s_is_not_replaced() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces());
    fs::create_dir(workshop.path("out")).unwrap();
    workshop.write("out/thesis.tex", "years of work");
    assert_snapshot!("curate_foreign_folder", run(&workshop, &[]));
    assert_eq!(fs::read_to_string(workshop.path("out/thesis.tex")).unwrap(), "years of work");
}

#[test]
fn what_was_curated_before_is_replaced_aloud() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces());
    run(&workshop, &[]);
    assert_snapshot!("curate_replaced", run(&workshop, &["--test-size", "3"]));
}

#[test]
fn rows_too_few_to_hold_some_back_are_told_with_what_became_of_the_others() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces().lines().take(2).map(|line| format!("{line}\n")).collect::<String>());
    assert_snapshot!("curate_too_few", run(&workshop, &[]));
    assert!(!workshop.path("out").exists());
}

/// A limit on file sizes simulates a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_older_folder() {
    let workshop = Workshop::new();
    let row = |number: u32| {
        let words: Vec<String> = (0..200).map(|word| (number * 1_000 + word).to_string()).collect();
        json!({"prompt": format!("{number}?"), "response": words.join(" ")})
    };
    let traces: String = (0..50).map(|number| format!("{}\n", row(number))).collect();
    workshop.write("traces.jsonl", &traces);
    run(&workshop, &["--test-size", "0"]);
    let older = rows(&workshop, "train.jsonl");
    assert_eq!(older.len(), 50);
    let script = "ulimit -f 20; exec \"$0\" curate --input traces.jsonl --output-dir out --test-size 0.5";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_aludel")])
        .current_dir(workshop.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["/out/train.jsonl\nbecause: cannot be written", "File too large"] {
        assert!(said.contains(part), "lacks {part:?}:\n{said}");
    }
    assert_eq!(rows(&workshop, "train.jsonl"), older);
    let names: Vec<_> = fs::read_dir(workshop.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn where_nothing_is_left_the_reasons_are() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", "{\"prompt\": \"2+2?\", \"response\": \"5\", \"gold\": 4}\n");
    assert_snapshot!("curate_nothing_left", run(&workshop, &[]));
    assert_eq!(rows(&workshop, "dropped.jsonl")[0]["reason"], "wrong");
}

/// A Hub with the data set `owner/name`, whose one file holds the traces.
fn hub(traces: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = head.next().unwrap().unwrap();
            head.find(|line| line.as_ref().is_ok_and(String::is_empty));
            let body = match first.split(' ').nth(1).unwrap() {
                "/api/datasets/owner/name/revision/main" => {
                    r#"{"sha": "abc", "siblings": [{"rfilename": "train.jsonl"}]}"#
                }
                "/datasets/owner/name/resolve/abc/train.jsonl" => &traces,
                other => panic!("{other}"),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\netag: \"e7a9\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // A client that requests the first byte closes the connection before the last.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    endpoint
}

#[test]
fn data_come_from_the_hub_and_then_from_its_cache() {
    let workshop = Workshop::new();
    let endpoint = hub(traces());
    let curate = |variables: &[(&str, &str)]| {
        let mut command = workshop.command(&["curate", "--input", "hf:owner/name", "--output-dir", "out", "--json"]);
        for name in ["HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let home = workshop.path("huggingface").display().to_string();
    let (code, said) = curate(&[("HF_HOME", &home), ("HF_ENDPOINT", &endpoint)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(workshop.path("huggingface/hub/datasets--owner--name/snapshots/abc/train.jsonl").exists());
    let cache = format!("{home}/hub");
    let (code, said) =
        curate(&[("HF_HUB_CACHE", &cache), ("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", "http://127.0.0.1:1")]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = curate(&[("HF_HOME", "empty"), ("HF_HUB_OFFLINE", "yes")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("hf:owner/name\nbecause: it is not in the cache (empty/hub)"), "{said}");
}

/// A number below its range is no option, and is told the range: by an option that takes words, too.
#[test]
fn a_count_outside_of_its_range_is_told_the_range() {
    let workshop = Workshop::new();
    workshop.write("traces.jsonl", &traces());
    for (given, told) in [
        (&["--keep", "-1"][..], "curate.keep = -1 (--keep)"),
        (&["--keep", "0"], "curate.keep = 0 (--keep)"),
        (&["--keep", "1.5"], "curate.keep = 1.5 (--keep)"),
        (&["--keep", "nan"], "curate.keep = nan (--keep)"),
        (&["--max-per-prompt", "-2"], "curate.max_per_prompt = -2 (--max-per-prompt)"),
    ] {
        let said = run(&workshop, given);
        assert!(said.contains("exit code: 2") && said.contains(told) && said.contains(" of 1 or more\n"), "{said}");
        assert!(!workshop.path("out").exists());
    }
}
