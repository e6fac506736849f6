//! On-policy distillation through the binary: the student learns a teacher's distributions on its own answers, at the steps that
//! `distill.lambda` says, and a run that was stopped goes on bit for bit.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, train_args};
use serde_json::{Value, json};

const ON_POLICY: [&str; 18] = [
    "--dtype",
    "f32",
    "--learning-rate",
    "0.02",
    "--set",
    "distill.kind=logits",
    "--set",
    "distill.teacher=teacher",
    "--set",
    "distill.teacher_dtype=f32",
    "--set",
    "distill.pair_check=warn",
    "--set",
    "distill.max_new_tokens=12",
    "--set",
    "distill.lambda=1",
    "--set",
    "train.num_train_epochs=2",
];

fn train(workshop: &Workshop, folder: &str, more: &[&str]) {
    let arguments = train_args(folder, &[&ON_POLICY[..], more].concat());
    let output = workshop.command(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The records of the steps of a run.
fn steps(workshop: &Workshop, folder: &str) -> Vec<Value> {
    let metrics = fs::read_to_string(workshop.path(&format!("{folder}/metrics.jsonl"))).unwrap();
    metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["loss"].is_f64())
        .collect()
}

/// Nats a token from the teacher, at the tokens of the student's own answers.
fn kl_of_own_answers(workshop: &Workshop, more: &[&str]) -> f64 {
    let own = ["eval", "--kl-to", "teacher", "--own-answers", "--model", "student", "--data", "rows.jsonl", "--json"];
    let settings = [
        "--set",
        "distill.teacher_dtype=f32",
        "--set",
        "student.dtype=f32",
        "--set",
        "distill.pair_check=warn",
        "--set",
        "distill.max_new_tokens=12",
    ];
    let told = workshop.json(&[&own[..], &settings, more].concat());
    assert!(told["own_answers_cut"].as_u64().unwrap() <= 24, "{told}");
    assert!(told["tokens"].as_u64().unwrap() <= 24 * 12, "{told}");
    told["kl_per_token"].as_f64().unwrap()
}

#[test]
fn a_student_learns_from_its_own_answers() {
    let workshop = Workshop::with_teacher();
    train(&workshop, "run", &[]);
    let (before, after) =
        (kl_of_own_answers(&workshop, &[]), kl_of_own_answers(&workshop, &["--adapter", "run/adapter"]));
    assert!(after < 0.8 * before, "{before} to {after}");
    let again = kl_of_own_answers(&workshop, &["--adapter", "run/adapter"]);
    assert!(again == after, "draws depend on the seed: {again}");
    assert_ne!(kl_of_own_answers(&workshop, &["--adapter", "run/adapter", "--seed", "1"]), after);
    for step in steps(&workshop, "run") {
        let written = step["own_answers"]["tokens"].as_u64().unwrap();
        assert_eq!(written, step["supervised_tokens"].as_u64().unwrap(), "each token that was written counts: {step}");
        assert!(step["own_answers"]["seconds"].as_f64().unwrap() + step["teacher_seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_share_of_the_steps_is_on_policy_and_the_run_resumes() {
    let workshop = Workshop::with_teacher();
    let both =
        ["--set", "distill.kind=[\"ce\", \"logits\"]", "--set", "distill.lambda=0.5", "--set", "lora.dropout=0.1"];
    let saving = ["--set", "train.save_strategy=steps", "--set", "train.save_steps=2"];
    let more = [&both[..], &saving].concat();
    train(&workshop, "whole", &more);
    let all = steps(&workshop, "whole");
    let (own, data): (Vec<_>, Vec<_>) = all.iter().partition(|step| step["own_answers"].is_object());
    assert!(!own.is_empty() && !data.is_empty(), "{all:?}");
    assert!(own.iter().all(|step| step["terms"]["ce"].is_null() && step["terms"]["logits"].is_f64()), "{own:?}");
    assert!(data.iter().all(|step| step["terms"]["ce"].is_f64()), "{data:?}");
    // Killed after each of its checkpoints: what came later is computed again.
    let adapter = || fs::read(workshop.path("whole/adapter/adapter_model.safetensors")).unwrap();
    let (expected, losses) = (adapter(), all.iter().map(|step| step["loss"].clone()).collect::<Vec<_>>());
    let last = all.len() as u64;
    for kept in (2..last).step_by(2).collect::<Vec<_>>().into_iter().rev() {
        fs::remove_dir_all(workshop.path("whole/adapter")).unwrap();
        for step in (kept + 1..=last).filter(|step| step.is_multiple_of(2) || *step == last) {
            fs::remove_dir_all(workshop.path(&format!("whole/checkpoint-{step}"))).unwrap();
        }
        train(&workshop, "whole", &[&more[..], &["--resume"]].concat());
        assert!(adapter() == expected, "after {kept} steps");
        let again: Vec<Value> = steps(&workshop, "whole").iter().map(|step| step["loss"].clone()).collect();
        assert_eq!(again, losses);
    }
}

/// A student may have tokens that its teacher lacks; it does not write them.
#[test]
fn tokens_that_the_teacher_lacks_are_not_written() {
    let workshop = Workshop::with_teacher();
    let hot = ["--set", "student.add_tokens=[\"<think>\", \"</think>\"]", "--set", "distill.sampling_temperature=100"];
    train(&workshop, "run", &hot);
    let told = kl_of_own_answers(&workshop, &["--adapter", "run/adapter", "--set", "distill.sampling_temperature=100"]);
    assert!(told.is_finite());
}

#[test]
fn rows_keep_their_weights_and_rows_without_prompts_are_refused() {
    let workshop = Workshop::with_teacher();
    train(&workshop, "plain", &[]);
    let row = |i: usize| {
        let weight = if i.is_multiple_of(2) { 0.01 } else { 1.0 };
        json!({"prompt": format!("{i}+1?"), "response": format!("It is {}.", i + 1), "weight": weight})
    };
    workshop.write("rows.jsonl", &(0..24).map(|i| format!("{}\n", row(i))).collect::<String>());
    train(&workshop, "weighted", &[]);
    let adapter = |run: &str| fs::read(workshop.path(&format!("{run}/adapter/adapter_model.safetensors"))).unwrap();
    assert!(adapter("plain") != adapter("weighted"));
    let told = workshop.run(&train_args("all", &[&ON_POLICY[..], &["--set", "data.loss_on=all"]].concat()));
    let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("rows.jsonl:") && flat.contains("the row has no prompt"), "{told}");
}

#[test]
fn what_cannot_be_on_policy_is_refused() {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", "{\"prompt\": \"1+1?\", \"response\": \"2\"}\n");
    let refused = |settings: &[&str], words: &[&str]| {
        let sets: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
        let told = workshop.run(&train_args("run", &sets));
        assert!(!told.contains("exit code: 0"), "{told}");
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|words| assert!(flat.contains(words), "{words}: {told}"));
    };
    refused(&["distill.lambda=0.5"], &["distill.lambda", "none that does"]);
    refused(
        &["distill.kind=logits", "distill.cache=cache", "distill.lambda=0.5"],
        &["distill.lambda", "yet to be written", "distill.teacher in place of distill.cache"],
    );
    refused(
        &["distill.kind=[\"ce\", \"logits\"]", "distill.teacher=student", "distill.lambda=1"],
        &["distill.lambda", "a number below 1"],
    );
    refused(
        &[
            "distill.kind=[\"ce\", \"logits\"]",
            "distill.teacher=student",
            "distill.lambda=0.5",
            "distill.balance=gradient",
        ],
        &["distill.balance", "have no cross-entropy"],
    );
    refused(
        &[
            "distill.kind=[\"ce\", \"hidden\"]",
            "distill.teacher=student",
            "distill.lambda=0.5",
            "distill.hidden_layers=[[2, 1]]",
        ],
        &["distill.hidden_layers"],
    );
    refused(&["distill.kind=logits", "distill.teacher=student", "distill.lambda=2"], &["it is a share of the steps"]);
    refused(
        &["distill.kind=logits", "distill.teacher=student", "distill.max_new_tokens=0"],
        &["distill.max_new_tokens", "for example 256"],
    );
    refused(&["distill.teacher=student"], &["distill.teacher", "nothing of this teacher"]);
    let told = workshop.run(&["eval", "--own-answers", "--model", "student", "--data", "rows.jsonl"]);
    assert!(told.contains("--kl-to"), "{told}");
}
