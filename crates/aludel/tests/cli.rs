//! What the binary says and how it ends, whole: each snapshot holds exit code, standard output and standard error.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use common::Workshop;
use insta::assert_snapshot;
use std::process::Stdio;

/// Every part of a row: system, user, reasoning, answer; with an escape sequence that must not reach the terminal.
const ROWS: &str = concat!(
    r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}, "#,
    r#"{"role": "assistant", "reasoning_content": "Two and two\nmake four.", "content": "4"}]}"#,
    "\n",
    r#"{"prompt": "\u001b[31mRed <|im_end|>?", "response": "No."}"#,
    "\n",
    r#"{"text": "plain text"}"#,
    "\n",
);

#[test]
fn help() {
    let workshop = Workshop::new();
    assert_snapshot!("help", workshop.run(&["--help"]));
    assert_snapshot!("help_inspect", workshop.run(&["inspect", "--help"]));
    assert_snapshot!("help_chat", workshop.run(&["chat", "--help"]));
    assert_snapshot!("help_schema", workshop.run(&["schema", "--help"]));
    assert_snapshot!("version", workshop.run(&["--version"]));
}

#[test]
fn wrong_usage_ends_with_2() {
    let workshop = Workshop::new();
    assert_snapshot!("usage_nothing", workshop.run(&[]));
    assert_snapshot!("usage_unknown_command", workshop.run(&["inspekt"]));
    assert_snapshot!("usage_unknown_flag", workshop.run(&["inspect", "--studnet", "x"]));
    assert_snapshot!("usage_nothing_to_inspect", workshop.run(&["inspect"]));
    assert_snapshot!("usage_wrong_log_level", {
        let output = workshop.command(&["schema"]).env("ALUDEL_LOG", "loud=very=much").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    });
}

#[test]
fn wrong_settings_end_with_2_and_are_named_all_at_once() {
    let workshop = Workshop::new();
    workshop.write("recipe.toml", "[lora]\nr = 0\nlora_alpha = 16\n\n[train]\nlearning_rat = 1e-4\noptim = \"sgd\"\n");
    let arguments = ["inspect", "--recipe", "recipe.toml", "--set", "lora.dropout=1.5", "--max-length", "long"];
    assert_snapshot!("settings_problems", workshop.run(&arguments));
    workshop.write("broken.toml", "[lora]\nr = 8\nalpha = = 3\n");
    assert_snapshot!("settings_broken_file", workshop.run(&["inspect", "--recipe", "broken.toml"]));
    assert_snapshot!("settings_missing_file", workshop.run(&["inspect", "--recipe", "missing.toml"]));
    assert_snapshot!("settings_no_built_in", workshop.run(&["inspect", "--recipe", "builtin:sead"]));
}

#[test]
fn settings_of_other_trainers_are_answered() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    workshop.write(
        "recipe.toml",
        "[student]\nmodel = \"student\"\ndevice_map = \"auto\"\n[train]\nfp16 = true\noptim = \"paged_adamw_32bit\"\n\
         [data]\nfiles = \"rows.jsonl\"\n",
    );
    assert_snapshot!("settings_foreign", workshop.run(&["inspect", "--recipe", "recipe.toml", "--rows", "0"]));
}

#[test]
fn files_that_are_missing_or_broken_end_with_1() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS).write("empty.jsonl", "").write("broken.jsonl", &format!("{ROWS}{{\"text\": \n"));
    workshop.write("odd.jsonl", "{\"Question\": \"2+2?\", \"Answer\": \"4\"}\n");
    let inspect = |student: &str, data: &str| workshop.run(&["inspect", "--student", student, "--data", data]);
    assert_snapshot!("files_no_student", inspect("nowhere", "rows.jsonl"));
    assert_snapshot!("files_no_data", inspect("student", "nowhere.jsonl"));
    assert_snapshot!("files_empty_data", inspect("student", "empty.jsonl"));
    assert_snapshot!("files_unknown_columns", inspect("student", "odd.jsonl"));
    assert_snapshot!("files_student_is_data", inspect("rows.jsonl", "rows.jsonl"));
    let broken = ["inspect", "--student", "student", "--data", "broken.jsonl", "--rows", "0"];
    assert_snapshot!("files_broken_row", workshop.run(&broken));
    assert_snapshot!("files_broken_row_skipped", workshop.run(&[&broken[..], &["--skip-bad-rows"]].concat()));
}

#[test]
fn inspect_shows_parts_marks_and_totals() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    let inspect =
        |more: &[&str]| workshop.run(&[&["inspect", "--student", "student", "--data", "rows.jsonl"], more].concat());
    assert_snapshot!("inspect", inspect(&[]));
    assert_snapshot!("inspect_tokens", inspect(&["--rows", "1", "--tokens"]));
    assert_snapshot!("inspect_dropped", inspect(&["--rows", "1", "--max-length", "80"]));
    assert_snapshot!(
        "inspect_cut",
        inspect(&["--max-length", "70", "--set", "data.long_rows=truncate", "--set", "data.allow_cut_reasoning=true"])
    );
    assert_snapshot!(
        "inspect_refused",
        inspect(&["--rows", "1", "--max-length", "80", "--set", "data.long_rows=truncate"])
    );
    assert_snapshot!("inspect_all_trained", inspect(&["--rows", "1", "--set", "data.loss_on=all"]));
    assert_snapshot!("inspect_colour", inspect(&["--rows", "2", "--color", "always"]).replace('\u{1b}', "␛"));
}

#[test]
fn inspect_in_json_holds_the_same() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    let report = workshop.json(&["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "1", "--json"]);
    assert_eq!(report["totals"]["rows"], 3);
    assert_eq!(report["totals"]["kept"], 3);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row["line"].as_u64(), row["fate"].as_str()), (Some(1), Some("kept")));
    let (ids, weights) = (row["ids"].as_array().unwrap(), row["weights"].as_array().unwrap());
    let supervised = weights.iter().filter(|weight| weight.as_f64().unwrap() > 0.0).count();
    assert_eq!((ids.len() as u64, weights.len()), (row["tokens"].as_u64().unwrap(), ids.len()));
    assert_eq!(supervised as u64, row["supervised_tokens"].as_u64().unwrap());
    let trained: String = row["segments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|segment| segment["supervised"] == true)
        .map(|segment| segment["text"].as_str().unwrap())
        .collect();
    assert_eq!(trained, "<think>\nTwo and two\nmake four.\n</think>\n\n4<|im_end|>");
}

#[test]
fn a_literal_control_token_in_a_prompt_stays_text() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    let report = workshop.json(&["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "2", "--json"]);
    let ids: Vec<u64> = report["rows"][1]["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    assert_eq!(ids.iter().filter(|&&id| id == 257).count(), 2, "one end for each turn, none for the literal: {ids:?}");
}

#[test]
fn the_schema_describes_every_section() {
    let schema = Workshop::new().json(&["schema"]);
    let sections: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(sections, ["student", "lora", "train", "data", "generate", "trace", "curate"]);
    assert_eq!(schema["properties"]["lora"]["properties"]["r"]["default"], 16);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let workshop = Workshop::new();
    let mut child = workshop.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn no_colour_reaches_a_pipe() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    for arguments in [&["inspect", "--student", "student", "--data", "rows.jsonl"][..], &["inspect"], &["--help"]] {
        let said = workshop.run(arguments);
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn a_real_student_s_rows_are_masked_as_they_should_be() {
    let Some(student) = real_student() else { return };
    let workshop = Workshop::new();
    workshop.write("rows.jsonl", ROWS);
    let report = workshop.json(&["inspect", "--student", &student, "--data", "rows.jsonl", "--rows", "1", "--json"]);
    let parts: Vec<(&str, bool)> = report["rows"][0]["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| (segment["part"].as_str().unwrap(), segment["supervised"] == true))
        .collect();
    let expected = [
        ("markup", false),
        ("system", false),
        ("markup", false),
        ("user", false),
        ("markup", false),
        ("reasoning", true),
        ("answer", true),
        ("end_of_turn", true),
        ("markup", false),
    ];
    assert_eq!(parts, expected);
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
