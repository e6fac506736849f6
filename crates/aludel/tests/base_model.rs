//! The base model that an adapter names, for other tools and for `merge`, through the binary: by a setting, by the Hub's cache, by a path;
//! and the errors for a student that was moved or changed.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{Workshop, train_args_of};
use serde_json::{Value, json};

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |a: u32| format!("{}\n", json!({"prompt": format!("{a}+1?"), "response": format!("{}", a + 1)}));
    workshop.write("rows.jsonl", &(0..20).map(row).collect::<String>());
    workshop
}

fn train(workshop: &Workshop, student: &str, run: &str, more: &[&str]) -> String {
    let more = [&["--dtype", "f32", "--max-steps", "2"], more].concat();
    let said = workshop.run(&train_args_of(student, run, &more));
    assert!(said.contains("exit code: 0"), "{said}");
    said
}

/// Resumes a run by its folder alone.
fn train_again(workshop: &Workshop, run: &str, more: &[&str]) -> String {
    let said = workshop.run(&[&["train", "--output-dir", run, "--resume"], more].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    said
}

fn base(workshop: &Workshop, adapter: &str) -> String {
    let config = fs::read(workshop.path(adapter).join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    config["base_model_name_or_path"].as_str().unwrap().to_owned()
}

fn merge(workshop: &Workshop, adapter: &str, more: &[&str]) -> String {
    let merged = workshop.path("merged");
    if merged.exists() {
        fs::remove_dir_all(merged).unwrap();
    }
    workshop.run(&[&["merge", "--adapter", adapter, "--output-dir", "merged"], more].concat())
}

fn mv(workshop: &Workshop, from: &str, to: &str) {
    let to = workshop.path(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(workshop.path(from), to).unwrap();
}

#[test]
fn other_tools_are_told_a_name_where_one_is_known() {
    let workshop = workshop();
    train(&workshop, "student", "plain", &[]);
    let path = base(&workshop, "plain/adapter");
    assert!(Path::new(&path).is_absolute() && path.ends_with("/student"), "{path}");
    train(&workshop, "student", "named", &["--set", "student.base_model=owner/tiny"]);
    for adapter in ["named/adapter", "named/checkpoint-2"] {
        assert_eq!(base(&workshop, adapter), "owner/tiny", "{adapter}");
    }
    // A run that is finished gets its name by the same command; a name that is there is not given up for a path.
    train(&workshop, "student", "plain", &["--resume", "--set", "student.base_model=owner/later"]);
    assert_eq!(base(&workshop, "plain/adapter"), "owner/later");
    // The run keeps it: the next command need not say it again.
    train_again(&workshop, "plain", &[]);
    assert_eq!(base(&workshop, "plain/adapter"), "owner/later");
    let init = ["--set", "train.init_adapter=named/adapter"];
    train(&workshop, "student", "next", &init);
    assert_eq!(base(&workshop, "next/adapter"), "owner/tiny");
    mv(&workshop, "student", "hub/models--owner--cached/snapshots/12fd");
    train(&workshop, "hub/models--owner--cached/snapshots/12fd", "cached", &[]);
    assert_eq!(base(&workshop, "cached/adapter"), "owner/cached");
    let refused = workshop.run(&["train", "--student", "s", "--set", "student.base_model=hf:owner/name"]);
    assert!(refused.contains("exit code: 2") && refused.contains("owner/name, such as"), "{refused}");
}

/// A setting that changes no weight may be given when a run resumes, and its recipe keeps it; others are refused by name.
#[test]
fn what_may_change_when_a_run_goes_on_is_kept() {
    let workshop = workshop();
    train(&workshop, "student", "run", &[]);
    let recipe = || fs::read_to_string(workshop.path("run/recipe.toml")).unwrap();
    let commented = format!("# mine\n{}", recipe());
    workshop.write("run/recipe.toml", &commented);
    let said = train_again(&workshop, "run", &[]);
    assert!(
        recipe() == commented && !said.contains("keeps what is other"),
        "a recipe that says the same is left alone: {said}"
    );
    let kept = ["--set", "student.base_model=owner/name", "--set", "train.save_total_limit=1", "--threads", "1"];
    let said = train_again(&workshop, "run", &kept);
    for told in [
        "recipe.toml keeps what is other now: student.base_model: not given → \"owner/name\"",
        "recipe.toml keeps what is other now: student.threads: 0 → 1",
        "recipe.toml keeps what is other now: train.save_total_limit: not given → 1",
    ] {
        assert!(said.contains(told), "lacks {told:?}:\n{said}");
    }
    let kept = recipe();
    for line in ["base_model = \"owner/name\"\n", "threads = 1\n", "save_total_limit = 1\n"] {
        assert!(kept.contains(line), "lacks {line:?}:\n{kept}");
    }
    let said = train_again(&workshop, "run", &[]);
    assert!(!said.contains("keeps what is other"), "{said}");
    assert_eq!((base(&workshop, "run/adapter").as_str(), recipe()), ("owner/name", kept.clone()));
    let refused = workshop.run(&["train", "--output-dir", "run", "--resume", "--seed", "7", "--threads", "2"]);
    assert!(refused.contains("exit code: 1") && refused.contains("train.seed: 42 → 7"), "{refused}");
    assert!(!refused.contains("student.threads") && recipe() == kept, "{refused}");
}

#[test]
fn merge_finds_the_student_wherever_the_adapter_lies() {
    let workshop = workshop();
    train(&workshop, "student", "run", &["--set", "student.base_model=owner/tiny"]);
    mv(&workshop, "run/adapter", "elsewhere/mine");
    let said = merge(&workshop, "elsewhere/mine", &[]);
    assert!(said.contains("exit code: 0") && !said.contains("WARN"), "{said}");
    mv(&workshop, "student", "moved/student");
    let said = merge(&workshop, "elsewhere/mine", &[]);
    for part in ["exit code: 1", "[folder]/student", "is not there", "--student PATH, or --student hf:owner/tiny"] {
        assert!(said.contains(part), "lacks {part:?}:\n{said}");
    }
    let said = merge(&workshop, "elsewhere/mine", &["--student", "moved/student"]);
    assert!(said.contains("exit code: 0") && !said.contains("WARN"), "a student that moved is the same: {said}");
    let weights = workshop.path("moved/student/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(weights, bytes).unwrap();
    let said = merge(&workshop, "elsewhere/mine", &["--student", "moved/student"]);
    assert!(said.contains("exit code: 0") && said.contains("not the files that the adapter was trained on"), "{said}");
    mv(&workshop, "moved/student", "student");
    let said = merge(&workshop, "elsewhere/mine", &[]);
    assert!(said.contains("exit code: 1") && said.contains("has changed since"), "{said}");
}

/// By whatever command, and whatever the adapter is called: its weights would be added twice.
#[test]
fn an_adapter_is_not_applied_to_a_model_that_contains_it() {
    let workshop = workshop();
    train(&workshop, "student", "run", &[]);
    let said = merge(&workshop, "run/adapter", &[]);
    assert!(said.contains("exit code: 0"), "{said}");
    mv(&workshop, "run/adapter", "mine");
    mv(&workshop, "merged", "first");
    workshop.write("tasks.jsonl", "{\"question\": \"1+1?\", \"answer\": \"2\"}\n");
    let eval = ["eval", "--model", "first", "--adapter", "mine", "--max-new-tokens", "2"];
    let again = train_args_of("first", "again", &["--init-adapter", "mine", "--max-steps", "1"]);
    for typed in [
        &["merge", "--adapter", "mine", "--student", "first", "--output-dir", "second"][..],
        &["chat", "--model", "first", "--adapter", "mine", "--prompt", "1+1?"],
        &[&eval[..], &["--tasks", "tasks.jsonl", "--output-dir", "out"]].concat(),
        &["eval", "--loss", "--model", "first", "--adapter", "mine", "--data", "rows.jsonl"],
        &again,
    ] {
        let said = workshop.run(typed);
        for part in [
            "exit code: 1\n",
            "error: ",
            "first\nbecause: the adapter ",
            "mine is merged into this model already",
            "student\n",
        ] {
            assert!(said.contains(part), "lacks {part:?}:\n{said}");
        }
    }
    for left in ["second", "out", "again/adapter"] {
        assert!(!workshop.path(left).exists(), "{left}");
    }
    // Another adapter that was trained on the merged model is merged into it, and then neither fits again.
    train(&workshop, "first", "next", &[]);
    let said = merge(&workshop, "next/adapter", &[]);
    assert!(said.contains("exit code: 0"), "{said}");
    mv(&workshop, "merged", "both");
    for adapter in ["mine", "next/adapter"] {
        let said = merge(&workshop, adapter, &["--student", "both"]);
        assert!(said.contains("exit code: 1") && said.contains("is merged into this model already"), "{said}");
    }
}

#[test]
fn an_adapter_of_peft_s_names_its_base_itself() {
    let workshop = workshop();
    train(&workshop, "student", "run", &[]);
    for name in ["aludel_manifest.json", "aludel_student.json"] {
        fs::remove_file(workshop.path("run/adapter").join(name)).unwrap();
    }
    let said = merge(&workshop, "run/adapter", &[]);
    assert!(said.contains("exit code: 0"), "{said}");
    let path = workshop.path("run/adapter/adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["base_model_name_or_path"] = json!("owner/name");
    fs::write(path, config.to_string()).unwrap();
    let said = merge(&workshop, "run/adapter", &[]);
    assert!(said.contains("exit code: 1") && said.contains("--student hf:owner/name"), "{said}");
}
