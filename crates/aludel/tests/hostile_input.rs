//! Untrusted input: pipes and devices in place of files, and names and texts with terminal control sequences.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Workshop;
use serde_json::json;

/// Long enough for a busy machine, and finite.
const PATIENCE: Duration = Duration::from_secs(60);

/// The output of the command, which must terminate.
fn output(workshop: &Workshop, arguments: &[&str]) -> Output {
    let mut command = workshop.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() >= PATIENCE {
            child.kill().unwrap();
            panic!("{arguments:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// A pipe without a writer, and endless devices, in place of each file that a command reads.
#[test]
fn pipes_and_devices_are_refused_before_they_are_opened() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", "{\"prompt\": \"1+1?\", \"response\": \"2\", \"answer\": \"2\"}\n");
    assert!(Command::new("mkfifo").arg(workshop.path("pipe")).status().unwrap().success());
    symlink("/dev/zero", workshop.path("zero")).unwrap();
    symlink("/dev/urandom", workshop.path("noise")).unwrap();
    let folder = |name: &str, file: &str, target: &str| {
        fs::create_dir(workshop.path(name)).unwrap();
        for entry in fs::read_dir(workshop.path("student")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), workshop.path(name).join(entry.file_name())).unwrap();
        }
        let place = workshop.path(name).join(file);
        let _ = fs::remove_file(&place);
        symlink(workshop.path(target), place).unwrap();
    };
    for (name, target) in [("pipe", "pipe"), ("zero", "zero"), ("noise", "noise")] {
        for file in
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"]
        {
            let student = format!("{name}-{file}");
            folder(&student, file, target);
            refused(
                &workshop,
                &["inspect", "--student", &student, "--data", "rows.jsonl", "--set", "student.dtype=f32"],
                file,
            );
        }
        let adapter = format!("{name}-adapter");
        folder(&adapter, "adapter_config.json", target);
        for arguments in [
            &["inspect", "--student", name, "--data", "rows.jsonl"][..],
            &["inspect", "--student", "student", "--data", name],
            &["inspect", "--recipe", name],
            &["curate", "--input", name, "--output-dir", "out"],
            &["curate", "--input", "rows.jsonl", "--decontaminate", name, "--output-dir", "out"],
            &["eval", "--model", "student", "--tasks", name, "--output-dir", "out"],
            &["eval", "--model", "student", "--tasks", &format!("gsm8k={name}"), "--output-dir", "out"],
            &["trace", "status", "--store", name],
            &["trace", "export", "--store", name, "--output", "out.jsonl"],
            &[
                "trace",
                "--prompts",
                "rows.jsonl",
                "--teacher",
                "http://127.0.0.1:9/v1",
                "--model",
                "m",
                "--store",
                name,
            ],
            &["trace", "--prompts", name, "--teacher", "http://127.0.0.1:9/v1", "--model", "m", "--store", "out.db"],
            &["chat", "--model", "student", "--adapter", &adapter, "--prompt", "?"],
            &["compare", name, "student", "--output-dir", "out"],
        ] {
            refused(&workshop, arguments, name);
        }
    }
}

fn refused(workshop: &Workshop, arguments: &[&str], named: &str) {
    let output = output(workshop, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?} ended with {}: {said}", output.status);
    assert!(said.contains(named) || said.contains("pipe") || said.contains("folder"), "{arguments:?}: {said}");
}

/// All control characters of terminals, and marks that change the text direction.
const BAD: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[8mhidden\u{9b}1m\u{61c}\u{202e}\u{2066}\u{e0041}\r";

/// Checks that none of it was printed unescaped; colours are on and are our own.
fn check(workshop: &Workshop, arguments: &[&str]) -> String {
    let output = output(workshop, &[arguments, &["--color", "always"]].concat());
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let ours = text.split("\u{1b}[").enumerate().map(|(index, part)| match index {
        0 => part,
        // A style: digits and semicolons up to the letter m.
        _ => part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').strip_prefix('m').unwrap_or("\u{1b}"),
    });
    let shown: String = ours.collect();
    let bad = shown.chars().find(|c| BAD.contains(*c) && !c.is_ascii_graphic() && *c != ' ' && *c != '\n');
    assert!(bad.is_none(), "{arguments:?} printed {bad:?} in {text:?}");
    assert!(!text.contains("\u{1b}[8m") && !text.contains("\u{1b}[2J"), "{arguments:?} printed a stranger's: {text:?}");
    text
}

#[test]
fn no_text_of_a_stranger_reaches_the_terminal_as_it_is() {
    let workshop = Workshop::with_student();
    let row = |i: usize| {
        let reasoning = format!("{BAD} <think>");
        json!({"id": format!("{BAD}{i}"), "prompt": format!("{BAD}{i}?"), "reasoning": reasoning, "response": format!("{BAD}{i}"),
            "answer": format!("{BAD}{i}"), format!("column{BAD}"): BAD})
        .to_string()
            + "\n"
    };
    let rows: String = (0..8).map(row).collect();
    // File names may contain everything but a zero byte and a slash.
    let (data, out) = (format!("data{BAD}.jsonl"), format!("out{BAD}"));
    workshop.write(&data, &rows);
    workshop.write("broken.jsonl", &format!("{{\"prompt\": \"{BAD}"));
    workshop.write(
        "columns.jsonl",
        &format!("{{\"{BAD}\": 1}}\n", BAD = BAD.escape_debug().to_string().replace("\\u{", "\\\\u{")),
    );
    workshop.write(&format!("recipe{BAD}.toml"), "[lora]\nr = \"\\u001b[2J\"\n\"key\\u001b[2J\" = 1\n");
    let path = |name: &str| workshop.path(name).display().to_string();
    let (run, curated, merged) =
        (path(&format!("run{BAD}")), path(&format!("curated{BAD}")), path(&format!("merged{BAD}")));
    let recipe = format!("recipe{BAD}.toml");
    let (eval, report) = (path(&format!("eval{BAD}")), path(&format!("report{BAD}")));
    let missing = format!("missing{BAD}");
    let train = [
        "train",
        "--student",
        "student",
        "--data",
        &data,
        "--output-dir",
        &run,
        "--dtype",
        "f32",
        "--max-length",
        "500",
        "--set",
        "train.max_steps=1",
        "--set",
        "train.warmup_ratio=0",
        "--set",
        "data.test_size=0",
        "--set",
        "train.eval_strategy=no",
    ];
    let evaluate = ["eval", "--model", "student", "--tasks", &data, "--max-new-tokens", "4", "--output-dir", &eval];
    let named = [&evaluate[..], &["--name", BAD]].concat();
    let again = path(&format!("again{BAD}"));
    let twice = [&named[..named.len() - 3], &[&again, "--name", BAD]].concat();
    let steps: &[&[&str]] = &[
        &[BAD],
        &["inspect", BAD],
        &["inspect", &format!("--{BAD}")],
        &["inspect", "--set", BAD],
        &["inspect", "--set", &format!("lora.r={BAD}")],
        &["inspect", "--student", &missing, "--data", &data],
        &["inspect", "--student", "student", "--data", &missing],
        &["inspect", "--student", "student", "--data", &data],
        &["inspect", "--student", "student", "--data", &data, "--json"],
        &["inspect", "--student", "student", "--data", &data, "--tokens", "--full"],
        &["inspect", "--student", "student", "--data", "broken.jsonl"],
        &["inspect", "--student", "student", "--data", "columns.jsonl"],
        &["inspect", "--recipe", &recipe],
        &["inspect", "--recipe", &missing],
        &train,
        &train,
        &["curate", "--input", &data, "--output-dir", &curated],
        &["curate", "--input", &data, "--output-dir", &out, "--json"],
        &["merge", "--adapter", &format!("{run}/adapter"), "--output-dir", &merged],
        &["merge", "--adapter", &missing, "--output-dir", &out],
        &named,
        &[&named[..], &["--json"]].concat(),
        &["eval", "--model", "student", "--tasks", BAD, "--output-dir", &out],
        &["eval", "--loss", "--model", "student", "--data", &data],
        &[
            "eval",
            "--endpoint",
            "http://127.0.0.1:9/v1",
            "--model",
            BAD,
            "--api-key-env",
            BAD,
            "--tasks",
            &data,
            "--output-dir",
            &out,
        ],
        &twice,
        &["compare", &eval, &eval, "--output-dir", &report],
        &["compare", &eval, &again, "--output-dir", &report],
        &["compare", &eval, &again, "--output-dir", &path(&format!("report2{BAD}")), "--json"],
        &["compare", &missing, &eval, "--output-dir", &out],
        &["chat", "--model", "student", "--prompt", BAD, "--max-new-tokens", "200", "--temperature", "5"],
        &["chat", "--model", "student", "--prompt", BAD, "--max-new-tokens", "200", "--temperature", "5", "--json"],
        &["chat", "--model", &missing, "--prompt", "?"],
        &["tasks", "make", BAD],
        &["tasks", "make", "dice", "--count", "2", "--output", &path(&format!("tasks{BAD}.jsonl"))],
        &[
            "trace",
            "--prompts",
            &data,
            "--teacher",
            &format!("http://127.0.0.1:9/{BAD}"),
            "--model",
            BAD,
            "--store",
            &format!("store{BAD}.db"),
        ],
        &["trace", "status", "--store", &data],
        &["trace", "export", "--store", &missing, "--output", &missing],
        &["trace", "forget", "--store", &format!("store{BAD}.db"), "--model", &format!("other{BAD}")],
        &["trace", "forget", "--store", &format!("store{BAD}.db"), "--id", BAD],
        &["trace", "forget", "--store", &format!("store{BAD}.db"), "--unanswered"],
        &[
            "plan",
            "trace",
            "--prompts",
            &missing,
            "--teacher",
            "http://127.0.0.1:9/v1",
            "--model",
            BAD,
            "--store",
            "p.db",
        ],
        &["logits", "--model", &missing, "--ids", "1", "--output", &out],
        &["gradients", "--model", "student", "--adapter", &missing, "--ids", "1,2", "--output", &out],
        &["bench", "train", "--student", &missing],
        &["demo", "--student", &missing, "--output-dir", &out],
        &["schema", BAD],
        &["completions", BAD],
        &["man", "--output-dir", &path(&format!("man{BAD}"))],
        &["man", "--output-dir", &data],
        &["help", BAD],
        &["train", &format!("--lr={BAD}")],
        &["train", &format!("--cutoff-len={BAD}")],
        &["eval", "--loss", "--model", BAD, "--data", BAD, "--tasks", BAD],
        &["merge", "--adapter", BAD, "--output-dir", BAD, "--dtype", BAD],
        &["chat", "--model", BAD, "--model", BAD],
        &["inspect", "--rows", BAD],
    ];
    let said: Vec<String> = steps.iter().map(|arguments| check(&workshop, arguments)).collect();
    // All steps were reached.
    let made = ["/adapter/adapter_config.json", "/train.jsonl", "/config.json", "/results.json", "/report.html"];
    for (folder, file) in [&run, &curated, &merged, &eval, &report].into_iter().zip(made) {
        assert!(fs::exists(format!("{folder}{file}")).unwrap(), "no {file}: {said:#?}");
    }
    assert!(said.iter().filter(|text| text.contains("\\u{1b}[2J")).count() > 20, "{said:#?}");
}

/// Far more than anybody writes, and still reported in one message.
#[test]
fn a_recipe_of_thousands_of_tables_is_refused_at_once() {
    let workshop = Workshop::new();
    let recipe: String = (0..8000).map(|i| format!("[section{i}]\n")).collect();
    workshop.write("recipe.toml", &recipe);
    let said = check(&workshop, &["inspect", "--recipe", "recipe.toml"]);
    assert!(said.contains("8,000 names (recipe.toml)") && said.contains("and 7,800 further ones"), "{said}");
}

#[test]
fn numbers_that_no_machine_has_room_for_are_refused() {
    let workshop = Workshop::with_student();
    for arguments in [
        &["eval", "--model", "student", "--tasks", "dice", "--output-dir", "out", "--batch", "100000000"][..],
        &[
            "eval",
            "--endpoint",
            "http://127.0.0.1:9/v1",
            "--tasks",
            "dice",
            "--output-dir",
            "out",
            "--concurrency",
            "100000000",
        ],
    ] {
        let output = output(&workshop, arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("from 1 to 1,024"));
    }
}
