//! Errors for bad students, data, settings, adapters and run folders, through the binary: each message in full, in
//! snapshots, and no file created, changed or deleted.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aludel_formats::gguf::Writer;
use aludel_formats::{Dtype, TensorSpec};
use common::{Workshop, train_args};
use insta::assert_snapshot;
use serde_json::{Map, Value, json};

const TRAIN: &[&str] = &["train", "--output-dir", "out", "--dtype", "f32"];

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let rows: String = (0..20)
        .map(|i| format!("{}\n", json!({"prompt": format!("{i}+1?"), "response": format!("{}", i + 1)})))
        .collect();
    workshop.write("rows.jsonl", &rows);
    workshop
}

/// Runs a command that must fail with `code`, checks that no file was created, changed or deleted, and returns its output.
fn check(workshop: &Workshop, code: i32, arguments: &[&str]) -> String {
    let before = files(&workshop.path(""));
    let said = workshop.run(arguments);
    assert!(said.contains(&format!("exit code: {code}\n")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let after = files(&workshop.path(""));
    let touched: Vec<&String> =
        before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(touched.is_empty(), "{touched:?} made, changed or lost:\n{said}");
    said + "\n"
}

/// Every file below a folder with its content; folders with none.
fn files(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path.display().to_string(), fs::read(&path).ok());
    }
    found
}

fn train(workshop: &Workshop, code: i32, student: &str, data: &str, more: &[&str]) -> String {
    check(workshop, code, &[TRAIN, &["--max-length", "256", "--student", student, "--data", data], more].concat())
}

/// A copy of the student to be damaged.
fn copy_student(workshop: &Workshop, name: &str) {
    fs::create_dir(workshop.path(name)).unwrap();
    for entry in fs::read_dir(workshop.path("student")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), workshop.path(name).join(entry.file_name())).unwrap();
    }
}

/// A student whose `config.json` or another JSON file differs.
fn with_json(workshop: &Workshop, name: &str, file: &str, change: impl Fn(&mut Value)) {
    copy_student(workshop, name);
    let path = workshop.path(name).join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A student whose safetensors header differs.
fn with_header(workshop: &Workshop, name: &str, change: impl Fn(&mut Map<String, Value>)) {
    copy_student(workshop, name);
    let path = workshop.path(name).join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    change(&mut header);
    let header = Value::Object(header).to_string();
    fs::write(path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()).unwrap();
}

const Q: &str = "model.layers.0.self_attn.q_proj.weight";

#[test]
fn students_that_cannot_be_used() {
    let workshop = workshop();
    let config = |name: &str, key: &str, value: Value| {
        with_json(&workshop, name, "config.json", |config| config[key] = value.clone());
    };
    fs::create_dir(workshop.path("empty")).unwrap();
    config("architecture", "architectures", json!(["MambaForCausalLM"]));
    with_json(&workshop, "no-family", "config.json", |config| {
        config.as_object_mut().unwrap().retain(|key, _| !["architectures", "model_type"].contains(&key.as_str()));
    });
    config("no-sizes", "hidden_size", json!("wide"));
    copy_student(&workshop, "cut");
    fs::write(
        workshop.path("cut/model.safetensors"),
        &fs::read(workshop.path("student/model.safetensors")).unwrap()[..3000],
    )
    .unwrap();
    copy_student(&workshop, "bomb");
    fs::write(workshop.path("bomb/model.safetensors"), [&[0xff; 7][..], &[0x0f], b"{}"].concat()).unwrap();
    with_header(&workshop, "overlap", |header| header[Q]["data_offsets"] = json!([0, 256]));
    with_header(&workshop, "past-the-end", |header| {
        header[Q]["data_offsets"] = json!([1_u64 << 40, (1_u64 << 40) + 256])
    });
    with_header(&workshop, "huge", |header| header[Q]["shape"] = json!([1_u64 << 40, 1_u64 << 40]));
    with_header(&workshop, "dtype", |header| header[Q]["dtype"] = json!("I32"));
    with_header(&workshop, "shape", |header| header[Q]["shape"] = json!([4, 16]));
    with_header(&workshop, "lacking", |header| {
        let tensor = header.remove(Q).unwrap();
        header.insert("elsewhere".to_owned(), tensor);
    });
    with_json(&workshop, "vocabulary", "tokenizer.json", |tokenizer| {
        let mut token = tokenizer["added_tokens"][1].clone();
        (token["id"], token["content"]) = (json!(258), json!("<|more|>"));
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    });
    let students = [
        "nowhere",
        "empty",
        "architecture",
        "no-family",
        "no-sizes",
        "cut",
        "bomb",
        "overlap",
        "past-the-end",
        "huge",
        "dtype",
        "shape",
        "lacking",
        "vocabulary",
    ];
    let said: String = students.iter().map(|student| train(&workshop, 1, student, "rows.jsonl", &[])).collect();
    assert_snapshot!("students", said);
}

#[test]
fn gguf_files_that_cannot_be_used() {
    let workshop = workshop();
    let path = workshop.path("good.gguf");
    let name = "token_embd.weight";
    let writer = |architecture: &str| {
        Writer::new().with("general.architecture", architecture).with_tensor(TensorSpec::new(name, Dtype::F32, [4, 8]))
    };
    let bytes_of = |_: &TensorSpec| Ok::<_, aludel_formats::Error>(Cow::Owned(vec![0; 128]));
    writer("mamba").write(&workshop.path("mamba.gguf"), bytes_of).unwrap();
    writer("llama").write(&path, bytes_of).unwrap();
    let good = fs::read(&path).unwrap();
    let name_at = good.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    // Behind the name stand the number of dimensions, the dimensions and the type; then the offset.
    let (dimensions_at, offset_at) = (name_at + name.len() + 4, name_at + name.len() + 4 + 2 * 8 + 4);
    let mut said = String::new();
    let mut spoil = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(workshop.path(file), bytes).unwrap();
        said += &train(&workshop, 1, file, "rows.jsonl", &[]);
    };
    let put = |bytes: &mut Vec<u8>, at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    spoil("cut-in-header.gguf", &|bytes| bytes.truncate(40));
    spoil("cut-in-data.gguf", &|bytes| bytes.truncate(bytes.len() - 10));
    spoil("many-tensors.gguf", &|bytes| put(bytes, 8, u64::MAX));
    spoil("many-keys.gguf", &|bytes| put(bytes, 16, 1 << 40));
    spoil("huge.gguf", &|bytes| put(bytes, dimensions_at, 1 << 62));
    spoil("far-away.gguf", &|bytes| put(bytes, offset_at, 1 << 40));
    spoil("old.gguf", &|bytes| bytes[4] = 1);
    spoil("mamba.gguf", &|bytes| *bytes = fs::read(workshop.path("mamba.gguf")).unwrap());
    spoil("keyless.gguf", &|_| {});
    assert_snapshot!("gguf", said);
}

#[test]
fn templates_that_fail() {
    let workshop = workshop();
    let said: String = [
        ("loops", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
        ("recurses", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        ("calls", "{% for message in messages %}\n{{ message.content | no_such_filter }}{% endfor %}"),
        ("asks", "{{ no_such_function(messages) }}"),
        ("refuses", "{{ raise_exception('Only one user turn, please') }}"),
        ("broken", "{% for message in messages %}\n{{ message.content }"),
        ("silent", "{% for message in messages %}{% endfor %}"),
    ]
    .iter()
    .map(|(name, template)| {
        copy_student(&workshop, name);
        fs::write(workshop.path(name).join("chat_template.jinja"), template).unwrap();
        train(&workshop, 1, name, "rows.jsonl", &[])
    })
    .collect();
    assert_snapshot!("templates", said);
}

#[test]
fn data_that_cannot_be_used() {
    let workshop = workshop();
    let rows = fs::read_to_string(workshop.path("rows.jsonl")).unwrap();
    workshop.write("empty.jsonl", "").write("blank.jsonl", "\n \n").write("array.json", "[]");
    workshop.write("broken.jsonl", &format!("{rows}{{\"prompt\": \"x\",\n{rows}"));
    workshop.write("array-broken.json", "[{\"text\": \"a\"},\n {\"text\":\n  nil}]");
    workshop.write("null.jsonl", &format!("{rows}{{\"prompt\": \"x\", \"response\": null}}\n"));
    let mut said = String::new();
    for data in [
        "nowhere.jsonl",
        "student",
        "empty.jsonl",
        "blank.jsonl",
        "array.json",
        "broken.jsonl",
        "array-broken.json",
        "null.jsonl",
    ] {
        said += &train(&workshop, 1, "student", data, &[]);
    }
    said +=
        &check(&workshop, 1, &[TRAIN, &["--student", "student", "--data", "rows.jsonl", "--max-length", "5"]].concat());
    assert_snapshot!("data", said);
}

#[test]
fn settings_out_of_range() {
    let workshop = workshop();
    let mut said = String::new();
    for (code, more) in [
        (2, &["--lora-r", "0", "--lora-dropout", "1.5"][..]),
        (2, &["--learning-rate", "-1", "--set", "data.test_size=1.5", "--set", "data.long_rows=keep"]),
        (2, &["--set", "train.max_steps=many", "--set", "lora.rank=8"]),
        (1, &["--set", "lora.target_modules=w_proj"]),
    ] {
        said += &train(&workshop, code, "student", "rows.jsonl", more);
    }
    let more_positions = ["--student", "student", "--data", "rows.jsonl", "--max-length", "1000"];
    said += &check(&workshop, 1, &[TRAIN, &more_positions].concat());
    assert_snapshot!("settings", said);
}

#[test]
fn adapters_that_do_not_fit() {
    let workshop = workshop();
    run(&workshop, &["--max-steps", "2"]);
    common::write_student(&workshop.path("wider"), 16);
    let adapter = "run/adapter";
    for name in ["cut", "nameless"] {
        fs::create_dir(workshop.path(name)).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(workshop.path(adapter).join(file), workshop.path(name).join(file)).unwrap();
        }
    }
    fs::File::options().write(true).open(workshop.path("cut/adapter_model.safetensors")).unwrap().set_len(500).unwrap();
    fs::remove_file(workshop.path("nameless/adapter_config.json")).unwrap();
    let mut said = train(&workshop, 1, "wider", "rows.jsonl", &["--init-adapter", adapter]);
    for (student, adapter) in
        [("wider", adapter), ("student", "cut"), ("student", "nameless"), ("student", "nowhere"), ("nowhere", adapter)]
    {
        said += &check(&workshop, 1, &["merge", "--student", student, "--adapter", adapter, "--output-dir", "merged"]);
    }
    let logits = ["logits", "--model", "wider", "--adapter", adapter, "--ids", "65", "--output", "logits.safetensors"];
    said += &check(&workshop, 1, &logits);
    assert_snapshot!("adapters", said);
}

#[test]
fn runs_that_cannot_be_resumed() {
    let workshop = workshop();
    run(&workshop, &["--max-steps", "2"]);
    let resume = |more: &[&str]| {
        check(&workshop, 1, &[&["train", "--recipe", "recipe.toml", "--output-dir", "run"], more].concat())
    };
    fs::copy(workshop.path("run/recipe.toml"), workshop.path("recipe.toml")).unwrap();
    let mut said = resume(&[]);
    // All that shows before rows are read is told at once.
    said += &resume(&["--data", "rows.jsonl", "missing.jsonl", "--max-length", "9999"]);
    said += &resume(&["--resume", "--lora-r", "4", "--learning-rate", "1e-3"]);
    // The state after a kill: a checkpoint, and no adapter yet. Then each file is damaged in turn and repaired again.
    fs::remove_dir_all(workshop.path("run/adapter")).unwrap();
    for (file, content) in [
        ("run/checkpoint-2/trainer_state.json", "{"),
        ("run/checkpoint-2/optimizer.safetensors", "torn"),
        ("run/checkpoint-2/adapter_config.json", "{\"r\": 8"),
        ("run/recipe.toml", "r = = 8"),
        ("run/run.json", "{}"),
        ("rows.jsonl", "{\"prompt\": \"other\", \"response\": \"data\"}\n{\"prompt\": \"b\", \"response\": \"c\"}\n"),
    ] {
        let good = fs::read(workshop.path(file)).unwrap();
        workshop.write(file, content);
        said += &resume(&["--resume"]);
        fs::write(workshop.path(file), good).unwrap();
    }
    // the number of digits in this file depends on the processor
    let length = fs::metadata(workshop.path("run/checkpoint-2/trainer_state.json")).unwrap().len();
    assert_snapshot!("resume", said.replace(&format!("and {length} were"), "and LENGTH were"));
    let output =
        workshop.command(&["train", "--recipe", "recipe.toml", "--output-dir", "run", "--resume"]).output().unwrap();
    assert!(output.status.success(), "undamaged, it goes on");
}

#[test]
fn what_is_left_out_or_cut_is_counted() {
    let workshop = workshop();
    let rows = fs::read_to_string(workshop.path("rows.jsonl")).unwrap();
    let long = json!({"prompt": "long?", "response": "so ".repeat(200)});
    workshop.write("mixed.jsonl", &format!("{rows}broken\n{long}\n"));
    let outcomes = |output: &str, more: &[&str]| {
        let data =
            ["--student", "student", "--data", "mixed.jsonl", "--max-length", "256", "--json", "--skip-bad-rows"];
        let steps = ["train", "--output-dir", output, "--dtype", "f32", "--max-steps", "2"];
        let output = workshop.command(&[&steps[..], &data, more].concat()).output().unwrap();
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{warnings}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let started: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
        let warnings = warnings.lines().filter(|line| line.contains("WARN")).map(|line| format!("{}\n", line.trim()));
        let folder = workshop.path("").canonicalize().unwrap().display().to_string();
        let told = warnings.collect::<String>().replace(&folder, "[folder]");
        let outcomes = &started["run"]["outcomes"];
        (["rows", "too_long", "truncated"].map(|key| outcomes[key].as_u64().unwrap()), told)
    };
    let (dropped, told) = outcomes("drop", &[]);
    assert_eq!(dropped, [20, 1, 0]);
    let (cut, told_of_cut) = outcomes("cut", &["--set", "data.long_rows=truncate"]);
    assert_eq!(cut, [21, 0, 1]);
    assert_snapshot!("left_out", told + "\n" + &told_of_cut);
}

#[test]
fn folders_that_cannot_be_written() {
    let workshop = workshop();
    workshop.write("file", "mine");
    let to = |output: &str| check(&workshop, 1, &train_args(output, &[]));
    let said = to("file") + &to("file/below");
    assert_snapshot!("folders", said);
    fs::create_dir(workshop.path("closed")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let allow = |mode| fs::set_permissions(workshop.path("closed"), fs::Permissions::from_mode(mode)).unwrap();
        allow(0o500);
        if fs::write(workshop.path("closed/probe"), "").is_ok() {
            fs::remove_file(workshop.path("closed/probe")).unwrap();
            eprintln!("skipped: this user may write everywhere");
        } else {
            let said = to("closed/below");
            assert!(
                said.contains("closed/below\nbecause: cannot create the folder") && said.contains("permission"),
                "{said}"
            );
        }
        allow(0o700);
    }
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let workshop = workshop();
    let run = train_args("run", &[]);
    let endless = ["--max-steps", "1000000", "--set", "train.save_strategy=no", "--set", "train.eval_strategy=no"];
    let mut first = workshop.command(&[&run[..], &endless].concat());
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let metrics = workshop.path("run/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |about| about.len()) == 0 {
        assert!(first.try_wait().unwrap().is_none(), "the run ended before its first step");
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = workshop.run(&[&run[..], &["--resume"]].concat()) + "\n" + &workshop.run(&run);
    assert_snapshot!("in_use", said.replace(&format!("process {}", first.id()), "process [number]"));
    assert!(first.try_wait().unwrap().is_none(), "the first run goes on");
    assert!(Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap().success());
    assert_eq!(first.wait().unwrap().code(), Some(75));
}

/// A limit on file sizes simulates a full disk: the write fails in the middle of a checkpoint.
#[test]
#[cfg(unix)]
fn a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_bit_for_bit() {
    let workshop = workshop();
    let settings = [
        "--max-steps",
        "6",
        "--set",
        "train.save_strategy=steps",
        "--set",
        "train.save_steps=3",
        "--set",
        "lora.dropout=0.2",
    ];
    run(&workshop, &settings);
    let adapter = |run: &str| fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    let whole = adapter("run");
    // The state after a kill between the two checkpoints.
    for folder in ["run/adapter", "run/checkpoint-6"] {
        fs::remove_dir_all(workshop.path(folder)).unwrap();
    }
    let checkpoint = files(&workshop.path("run/checkpoint-3"));
    let limited = |blocks: u32| {
        let script = format!("ulimit -f {blocks}; exec \"$0\" train --recipe run/recipe.toml --resume");
        let program = env!("CARGO_BIN_EXE_aludel");
        let output = Command::new("sh").args(["-c", &script, program]).current_dir(workshop.path("")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
        String::from_utf8(output.stderr).unwrap()
    };
    let said = limited(6);
    for part in ["/run/checkpoint-6/", "cannot write the file", "free some space"] {
        assert!(said.contains(part), "lacks {part:?}:\n{said}");
    }
    assert_eq!(files(&workshop.path("run/checkpoint-3")), checkpoint);
    let names: Vec<_> = fs::read_dir(workshop.path("run")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "checkpoint-6" || name.to_string_lossy().starts_with('.')), "{names:?}");
    let output = workshop.command(&["train", "--recipe", "run/recipe.toml", "--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(adapter("run") == whole, "the resumed run's adapter differs");
}

/// A run that must succeed, in `run`.
fn run(workshop: &Workshop, more: &[&str]) {
    let output = workshop.command(&train_args("run", &[&["--dtype", "f32"], more].concat())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
