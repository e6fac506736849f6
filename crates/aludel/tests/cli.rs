//! Complete outputs of the binary: each snapshot has exit code, standard output and standard error.
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
    assert_snapshot!("help_train_short", workshop.run(&["train", "-h"]));
    assert_snapshot!("help_train", workshop.run(&["help", "train"]));
    assert_snapshot!("help_trace_status", workshop.run(&["help", "trace", "status"]));
    assert_snapshot!("version", workshop.run(&["-V"]));
    let after_command = |said: String| said.split_once('\n').unwrap().1.to_owned();
    assert_eq!(after_command(workshop.run(&["train", "--help"])), after_command(workshop.run(&["help", "train"])));
}

/// What a bug report needs.
#[test]
fn the_long_version_names_commit_target_and_instruction_set() {
    let said = Workshop::new().run(&["--version"]);
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("aludel ")).collect();
    let [version, commit, target, isa] = lines[..] else { panic!("{said}") };
    assert_eq!(version, "aludel [version]");
    let commit = commit.strip_prefix("commit: ").unwrap();
    let is_hash = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash || commit == "unknown", "{commit}");
    // In a repository, and with git installed, it is git's commit.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let asked = std::process::Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    if let Some(asked) = asked.ok().filter(|asked| asked.status.success())
        && std::path::Path::new(root).join(".git").exists()
        && std::env::var_os("ALUDEL_COMMIT").is_none()
    {
        assert_eq!(commit, String::from_utf8(asked.stdout).unwrap().trim());
    }
    assert!(target.strip_prefix("target: ").unwrap().contains(std::env::consts::ARCH), "{target}");
    let isa = isa.strip_prefix("instruction set found here: ").unwrap();
    assert!(["portable", "avx2", "avx512", "avx512-bf16", "amx"].contains(&isa), "{isa}");
}

/// The list of commands has one line for each, on a terminal of 80 columns.
#[test]
fn each_command_has_one_line() {
    let output = Workshop::new().command(&["-h"]).env("COLUMNS", "80").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let listed = text.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    assert!(listed.lines().count() >= 18, "{listed}");
    for line in listed.lines() {
        assert!(line.starts_with("  ") && !line.starts_with("   "), "{line:?} goes on from the line before");
    }
}

/// Each command's help at 80 columns: what it prints fits, and no word is broken.
#[test]
fn help_fits_a_terminal_of_80_columns() {
    let workshop = Workshop::new();
    let commands = [
        "trace",
        "trace status",
        "trace export",
        "plan trace",
        "curate",
        "train",
        "merge",
        "export",
        "eval",
        "compare",
        "chat",
        "demo",
        "tasks make",
        "inspect",
        "logits",
        "gradients",
        "bench train",
        "bench generate",
        "schema",
        "completions",
        "man",
    ];
    for command in commands {
        for form in ["-h", "--help"] {
            let words: Vec<&str> = command.split(' ').chain([form]).collect();
            let output = workshop.command(&words).env("COLUMNS", "80").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let long = text.lines().find(|line| line.chars().count() > 80);
            assert!(output.status.success() && long.is_none(), "{words:?}: {long:?}");
            let is_short = text.contains("aludel ") || command == "schema";
            assert!(is_short, "{words:?} shows no usage:\n{text}");
        }
    }
}

#[test]
fn completions_are_scripts_that_their_shell_reads() {
    let workshop = Workshop::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = workshop.command(&["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        for part in ["learning-rate", "completions", "generate"] {
            assert!(script.contains(part), "{part} is not in the script for {shell}");
        }
        workshop.write(shell, &script);
    }
    let read = std::process::Command::new("bash").arg("-n").arg(workshop.path("bash")).output().unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_snapshot!("completions_unknown_shell", workshop.run(&["completions", "csh"]));
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let workshop = Workshop::new();
    let said = workshop.run(&["man", "--output-dir", "man"]);
    let mut names: Vec<String> = std::fs::read_dir(workshop.path("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert!(said.contains(&format!("{} pages in man", names.len())), "{said}");
    for (page, parts) in [
        ("aludel.1", &["aludel\\-train(1)", "telemetry"][..]),
        (
            "aludel-train.1",
            &[
                "\\-\\-learning\\-rate",
                "aludel train",
                "aludel\\-train",
                "When to colour the output",
                "Precision of matrix products",
            ],
        ),
        ("aludel-trace-status.1", &["\\-\\-store"]),
        ("aludel-bench-generate.1", &["\\-\\-batch\\-sizes"]),
        ("aludel-man.1", &["\\-\\-output\\-dir"]),
    ] {
        let text = std::fs::read_to_string(workshop.path("man").join(page)).unwrap();
        for part in parts {
            assert!(text.contains(part), "{part} is not in {page}:\n{text}");
        }
    }
    // As many as help lists, those below other commands among them, and the page of all.
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    let listed = workshop.run(&["--help"]);
    for name in names.iter().filter(|name| name.matches('-').count() == 1) {
        let command = name.trim_start_matches("aludel-").trim_end_matches(".1");
        assert!(listed.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}");
    }
}

/// Names of other tools through the whole command: the value arrives, or the right option is named.
#[test]
fn options_of_other_tools_are_taken_or_answered() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS);
    let taken =
        workshop.json(&["inspect", "--model", "student", "--data", "rows.jsonl", "--max_length", "99", "--json"]);
    assert_eq!(taken["max_length"], 99);
    workshop.write("recipe.toml", "[train]\nlr = 0.1\nsequence_len = 77\n[lora]\nlora_rank = 4\n");
    let read = ["inspect", "--recipe", "recipe.toml", "--student", "student", "--data", "rows.jsonl", "--rows", "0"];
    assert_snapshot!("settings_renamed", workshop.run(&read));
    assert_snapshot!("usage_foreign_flag", workshop.run(&["train", "--cutoff-len", "2048"]));
    assert_snapshot!("usage_foreign_precision", workshop.run(&["train", "--fp16"]));
}

#[test]
fn wrong_usage_ends_with_2() {
    let workshop = Workshop::new();
    assert_snapshot!("usage_nothing", workshop.run(&[]));
    assert_snapshot!("usage_unknown_command", workshop.run(&["inspekt"]));
    assert_snapshot!("usage_foreign_command", workshop.run(&["convert", "--format", "gguf"]));
    assert_snapshot!("usage_loss_forgotten", workshop.run(&["eval", "--model", "m", "--data", "rows.jsonl"]));
    assert_snapshot!("usage_negative", workshop.run(&["tasks", "make", "dice", "--count", "-5", "--output", "o"]));
    assert_snapshot!(
        "usage_near_task",
        workshop.run(&["eval", "--model", "m", "--tasks", "gsm8", "--output-dir", "o"])
    );
    assert_snapshot!("usage_unknown_flag", workshop.run(&["inspect", "--studnet", "x"]));
    assert_snapshot!("usage_missing", workshop.run(&["merge", "--adapter", "run/adapter"]));
    assert_snapshot!(
        "usage_conflict",
        workshop.run(&["eval", "--loss", "--model", "m", "--data", "d", "--tasks", "dice"])
    );
    assert_snapshot!("usage_value", workshop.run(&["eval", "--model", "m", "--tasks", "dice", "--batch", "0"]));
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

/// What a command does not read would have no effect, and is refused before any file is opened.
#[test]
fn settings_and_options_that_would_have_no_effect_are_refused() {
    let workshop = Workshop::new();
    let eval = ["eval", "--model", "m.gguf", "--tasks", "dice", "--output-dir", "out"];
    let mut said = String::new();
    for typed in [
        [&eval[..], &["--set", "generate.max_new_tokens=64", "--set", "train.seed=1", "--set", "curate.verify=off"]]
            .concat(),
        vec!["eval", "--loss", "--model", "m.gguf", "--data", "rows.jsonl", "--set", "generate.temperature=0"],
        vec!["eval", "--loss", "--model", "m.gguf", "--data", "rows.jsonl", "--limit", "10"],
        vec!["eval", "--kl-to", "t.gguf", "--model", "m.gguf", "--data", "rows.jsonl", "--max-new-tokens", "10"],
        vec![
            "eval",
            "--endpoint",
            "http://127.0.0.1:9/v1",
            "--tasks",
            "dice",
            "--output-dir",
            "out",
            "--set",
            "trace.temperature=0",
        ],
        vec!["curate", "--input", "a.jsonl", "--output-dir", "out", "--set", "train.max_length=9"],
        vec![
            "cache",
            "--teacher",
            "t.gguf",
            "--student",
            "m.gguf",
            "--data",
            "a.jsonl",
            "--output-dir",
            "out",
            "--set",
            "lora.r=8",
        ],
        vec!["chat", "--model", "m.gguf", "--set", "trace.temperature=0"],
        vec!["trace", "--prompts", "p.jsonl", "--set", "generate.top_k=5"],
        vec!["plan", "trace", "--prompts", "p.jsonl", "--set", "data.files=b.jsonl"],
        vec!["train", "--student", "m.gguf", "--set", "generate.top_k=5"],
        vec!["inspect", "--student", "m.gguf", "--set", "curate.keep=all"],
        vec!["bench", "train", "--student", "m.gguf", "--set", "train.max_length=64"],
    ] {
        let told = workshop.run(&typed);
        assert!(told.contains("exit code: 2"), "{told}");
        said += &(told + "\n");
    }
    assert_snapshot!("settings_without_effect", said);
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
    workshop.write(
        "sft.yml",
        "### model\nmodel_name_or_path: org/model\ntrust_remote_code: true\n\n### method\nstage: sft\nfinetuning_type: lora\n\
         lora_rank: 8\nlora_target: all\n\n### dataset\ndataset: identity\ntemplate: llama3\ncutoff_len: 2048\n\n### train\n\
         output_dir: out\nlogging_steps: 10\nlearning_rate: 1.0e-4\nnum_train_epochs: 3.0\nbf16: true\nzzz: 1\n",
    );
    workshop.write(
        "half.toml",
        "lora_alpha = 16\ncutoff_len = 2048\n[train]\nlearning_rate = 2.0\nsequence_length = 9\ndeepspeed = \"z3\"\n[dataset]\nname = 1\n",
    );
    assert_snapshot!("settings_half_converted", workshop.run(&["train", "--recipe", "half.toml"]));
    assert_snapshot!("settings_other_tool", workshop.run(&["train", "--recipe", "sft.yml"]));
}

#[test]
fn files_that_are_missing_or_broken_end_with_1() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", ROWS).write("empty.jsonl", "").write("broken.jsonl", &format!("{ROWS}{{\"text\": \n"));
    workshop.write("odd.jsonl", "{\"Questions\": \"2+2?\", \"Replied\": \"4\"}\n");
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
    assert_eq!(sections, ["student", "lora", "train", "distill", "data", "generate", "trace", "curate"]);
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
