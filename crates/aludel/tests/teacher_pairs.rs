//! A teacher in the training loop, through the binary on models of one layer: what a run of a pair that fits leaves, and what is said
//! of pairs that do not.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, train_args, train_args_of, write_student};
use serde_json::Value;

const SETTINGS: &[&str] = &[
    "--dtype",
    "f32",
    "--learning-rate",
    "0.05",
    "--json",
    "--set",
    "lora.dropout=0",
    "--set",
    "train.save_strategy=steps",
    "--set",
    "train.save_steps=3",
    "--set",
    "train.lr_scheduler_type=constant",
];

/// A student, rows, and a teacher that has learnt them.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |i| serde_json::json!({"prompt": format!("{i}+1?"), "response": format!("the sum is {}", i + 1)});
    workshop.write("rows.jsonl", &(0..20).map(|i| format!("{}\n", row(i))).collect::<String>());
    write_student(&workshop.path("base"), 32);
    succeed(&workshop, &train_args_of("base", "learnt", &[SETTINGS, &["--max-steps", "120"]].concat()));
    let merge = ["merge", "--adapter", "learnt/adapter", "--output-dir", "teacher", "--dtype", "f32"];
    succeed(&workshop, &merge);
    workshop
}

fn succeed(workshop: &Workshop, arguments: &[&str]) -> String {
    let output = workshop.command(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn args<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let teacher = ["--set", "distill.kind=[\"ce\",\"logits\"]", "--set", "distill.teacher=teacher", "--max-steps", "6"];
    train_args(run, &[SETTINGS, &teacher, more].concat())
}

/// Changes the text of a file of the teacher.
fn replace(workshop: &Workshop, file: &str, from: &str, to: &str) {
    let path = workshop.path("teacher").join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_pair_that_fits_is_trained_and_resumed() {
    let workshop = workshop();
    let terms = |run: &str| -> Vec<Value> {
        let text = fs::read_to_string(workshop.path(run).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["rows"].is_array()).map(|line| line["terms"].clone()).collect()
    };
    let adapter = |run: &str| fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    let said = succeed(&workshop, &args("whole", &[]));
    assert!(!said.contains("distill.teacher:"), "{said}");
    let whole = terms("whole");
    assert_eq!(whole.len(), 6);
    let of = |terms: &Value| ["ce", "logits"].map(|term| terms[term].as_f64().unwrap());
    let (first, last) = (of(&whole[0]), of(&whole[5]));
    assert!(last[0] < first[0] && last[1] < first[1] && last.iter().all(|term| *term > 0.0), "{whole:?}");
    succeed(&workshop, &args("killed", &[]));
    for folder in ["adapter", "checkpoint-6"] {
        fs::remove_dir_all(workshop.path("killed").join(folder)).unwrap();
    }
    succeed(&workshop, &args("killed", &["--resume"]));
    assert_eq!(adapter("whole"), adapter("killed"));
    assert_eq!(terms("whole"), terms("killed"));
    let kl = ["eval", "--kl-to", "teacher", "--model", "student", "--data", "rows.jsonl", "--json"];
    assert!(workshop.json(&kl)["kl_per_token"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_pair_that_does_not_fit_is_refused_or_told() {
    let workshop = workshop();
    replace(&workshop, "chat_template.jinja", "<|im_end|>", "<|im_start|>");
    for file in ["config.json", "generation_config.json"] {
        replace(&workshop, file, "257", "256");
    }
    replace(&workshop, "tokenizer_config.json", "\"eos_token\": \"<|im_end|>\"", "\"eos_token\": \"<|im_start|>\"");
    replace(&workshop, "special_tokens_map.json", "<|im_end|>", "<|im_start|>");
    let plain: Vec<&str> = args("run", &[]).into_iter().filter(|argument| *argument != "--json").collect();
    insta::assert_snapshot!("end_of_turn", workshop.run(&plain));
    assert!(!workshop.path("run/recipe.toml").exists());
    let kl = ["eval", "--kl-to", "teacher", "--model", "student", "--data", "rows.jsonl"];
    insta::assert_snapshot!("end_of_turn_kl", workshop.run(&kl));
    let told = succeed(&workshop, &args("run", &["--set", "distill.pair_check=warn"]));
    assert!(told.contains("distill.teacher: answers of the rows end with \"<|im_end|>\" (257)"), "{told}");
}

#[test]
fn other_tokens_are_refused_whatever_is_set() {
    let workshop = workshop();
    // The letters of two bytes change their places.
    let path = workshop.path("teacher/tokenizer.json");
    let mut tokenizer: Value =
        serde_json::from_slice(&fs::read(workshop.path("base/tokenizer.json")).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (vocabulary["7"].clone(), vocabulary["8"].clone());
    vocabulary.insert("7".to_owned(), b);
    vocabulary.insert("8".to_owned(), a);
    fs::write(path, tokenizer.to_string()).unwrap();
    let plain: Vec<&str> = args("run", &["--set", "distill.pair_check=warn"])
        .into_iter()
        .filter(|argument| *argument != "--json")
        .collect();
    insta::assert_snapshot!("other_ids", workshop.run(&plain));
}

/// What a teacher said of other places of its rows: found where the cache is read.
#[test]
fn a_cache_is_written_of_a_pair_that_fits_and_checked_where_it_is_read() {
    let workshop = workshop();
    let cache = |run: &str, student: &str, teacher: &str| -> Vec<String> {
        let data = ["--data", "rows.jsonl", "--top-k", "32", "--output-dir", run];
        ["cache", "--teacher", teacher, "--student", student].iter().chain(&data).map(|&part| part.to_owned()).collect()
    };
    let run = |arguments: &[String]| workshop.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = run(&cache("cache", "student", "base"));
    assert!(refused.contains("exit code: 1") && refused.contains("it does not predict the rows"), "{refused}");
    let written = run(&cache("cache", "student", "teacher"));
    assert!(written.contains("exit code: 0"), "{written}");
    let learns = ["--set", "distill.kind=logits", "--set", "distill.cache=cache", "--max-steps", "3"];
    succeed(&workshop, &train_args("from_cache", &[SETTINGS, &learns].concat()));
    // A cache of a teacher that predicts nothing, which its writer took all the same.
    let mut noise = cache("noise", "student", "base");
    noise.extend(["--set", "distill.pair_check=warn"].map(str::to_owned));
    assert!(run(&noise).contains("exit code: 0"), "{}", run(&noise));
    let learns = ["--set", "distill.kind=logits", "--set", "distill.cache=noise", "--max-steps", "3"];
    let refused = workshop.run(&train_args("from_noise", &[SETTINGS, &learns].concat()));
    assert!(
        refused.contains("exit code: 1") && refused.contains("distill.cache was written by a teacher"),
        "{refused}"
    );
}

/// A run that learns a wider teacher's hidden states keeps its projections in checkpoints alone, and goes on from them bit for bit.
#[test]
fn hidden_states_are_learnt_and_resumed() {
    let workshop = workshop();
    let args = |run: &'static str, more: &[&'static str]| {
        let own = ["--set", "distill.kind=[\"ce\",\"hidden\"]", "--set", "distill.weights.hidden=2"];
        let balance = ["--set", "distill.balance=gradient"];
        let teacher = ["--set", "distill.teacher=teacher", "--max-steps", "6"];
        train_args(run, &[SETTINGS, &own, &balance, &teacher, more].concat())
    };
    let steps = |run: &str| -> Vec<Value> {
        let text = fs::read_to_string(workshop.path(run).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["rows"].is_array()).collect()
    };
    let bytes = |run: &str, file: &str| fs::read(workshop.path(run).join(file)).unwrap();
    succeed(&workshop, &args("whole", &[]));
    let whole = steps("whole");
    let of = |step: &Value, term: &str| step["terms"][term].as_f64().unwrap();
    for step in &whole {
        let sum = of(step, "ce") + 2.0 * of(step, "hidden");
        assert!((sum - step["loss"].as_f64().unwrap()).abs() <= 1e-5 * sum, "{step}");
        assert!(["ce", "hidden"].iter().all(|term| step["gradient_norms"][term].as_f64().unwrap() > 0.0), "{step}");
    }
    assert!(of(&whole[5], "hidden") < 0.8 * of(&whole[0], "hidden"), "{whole:?}");
    let projections = "checkpoint-6/projections.safetensors";
    assert!(
        !bytes("whole", projections).is_empty() && !workshop.path("whole/adapter/projections.safetensors").exists()
    );
    let merge = ["merge", "--adapter", "whole/checkpoint-6", "--output-dir", "merged"];
    succeed(&workshop, &merge);
    assert!(!workshop.path("merged/projections.safetensors").exists());

    succeed(&workshop, &args("killed", &[]));
    for folder in ["adapter", "checkpoint-6"] {
        fs::remove_dir_all(workshop.path("killed").join(folder)).unwrap();
    }
    succeed(&workshop, &args("killed", &["--resume"]));
    for file in ["adapter/adapter_model.safetensors", projections, "checkpoint-6/optimizer.safetensors"] {
        assert!(bytes("whole", file) == bytes("killed", file), "{file} differs after a resumption");
    }
    assert_eq!(
        whole.iter().map(|step| &step["terms"]).collect::<Vec<_>>(),
        steps("killed").iter().map(|step| &step["terms"]).collect::<Vec<_>>()
    );
    fs::remove_dir_all(workshop.path("killed/adapter")).unwrap();
    fs::remove_file(workshop.path("killed").join(projections)).unwrap();
    let refused = workshop.run(&args("killed", &["--resume"]));
    assert!(refused.contains("exit code: 1") && refused.contains("projections.safetensors"), "{refused}");

    let refused = workshop.run(&args("layers", &["--set", "distill.hidden_layers=[[2, 1]]"]));
    assert!(refused.contains("the student has no layer 2: its layers are 1 to 1"), "{refused}");
    assert!(!workshop.path("layers/recipe.toml").exists());
}
