//! `aludel train` through the binary, on a student of one layer: the files of a run, resuming bit for bit, stopping on a signal, merging,
//! and refusals.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use aludel_formats::safetensors::Weights;
use aludel_kernels::quant;
use common::{Workshop, train_args};
use serde_json::Value;

const SETTINGS: &[&str] = &[
    "--dtype",
    "f32",
    "--learning-rate",
    "0.05",
    "--set",
    "lora.dropout=0.2",
    "--set",
    "train.logging_steps=1",
    "--set",
    "train.save_strategy=steps",
    "--set",
    "train.save_steps=3",
    "--set",
    "train.lr_scheduler_type=constant",
];

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let rows: String = (0..20)
        .map(|i| format!("{}\n", serde_json::json!({"prompt": format!("{i}+1?"), "reasoning": "one more", "response": format!("{}", i + 1)})))
        .collect();
    workshop.write("rows.jsonl", &rows);
    workshop
}

fn train(workshop: &Workshop, output_dir: &str, more: &[&str]) -> Output {
    workshop.command(&train_args(output_dir, &[SETTINGS, &["--json"], more].concat())).output().unwrap()
}

/// The summary of a run that must end with `code`.
fn summary(output: &Output, code: i32) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn adapter(workshop: &Workshop, run: &str) -> Vec<u8> {
    fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap()
}

#[test]
fn a_next_round_goes_on_from_the_last_adapter() {
    let workshop = workshop();
    summary(&train(&workshop, "first", &["--max-steps", "6"]), 0);
    let more = ["--max-steps", "6", "--set", "train.init_adapter=first/adapter"];
    summary(&train(&workshop, "second", &more), 0);
    let loss = |run: &str, index: usize| steps(&workshop, run)[index].1.as_f64().unwrap();
    // As trained as the first round ended, up to the rows of one step; dropout is drawn anew.
    assert!(loss("second", 0) < loss("first", 0) - 0.2, "{} {}", loss("first", 0), loss("second", 0));
    assert!(loss("second", 5) < loss("second", 0), "{} {}", loss("second", 0), loss("second", 5));
    assert_ne!(adapter(&workshop, "first"), adapter(&workshop, "second"));
    for (setting, said) in [
        ("lora.r=4", "its r is 16, but lora.r = 4\nhelp: set lora.r=16"),
        ("lora.alpha=8", "its alpha is 32, but lora.alpha = 8\nhelp: set lora.alpha=32"),
        ("lora.target_modules=q_proj", "but lora.target_modules = [\"q_proj\"]"),
    ] {
        let refused = failure(&train(&workshop, "third", &[&more[..], &["--set", setting]].concat()), 1);
        assert!(refused.contains(said), "{refused}");
    }
    assert!(!workshop.path("third/recipe.toml").exists());
}

/// The training loss of a run does not depend on how often it logs.
#[test]
fn the_training_loss_that_is_told_does_not_depend_on_logging() {
    let workshop = workshop();
    let losses = |run: &str, every: &str| {
        let said = summary(&train(&workshop, run, &["--set", &format!("train.logging_steps={every}")]), 0);
        (said["train_loss"].as_f64().unwrap(), said["final_train_loss"].as_f64().unwrap())
    };
    let often = losses("often", "1");
    assert_eq!(often, losses("seldom", "4"));
    assert!(often.1 < often.0, "it fell: {often:?}");
}

/// The steps of metrics.jsonl: number, loss, rows.
fn steps(workshop: &Workshop, run: &str) -> Vec<(Value, Value, Value)> {
    let text = fs::read_to_string(workshop.path(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|l| l["rows"].is_array()).map(|l| (l["step"].clone(), l["loss"].clone(), l["rows"].clone())).collect()
}

fn logits(workshop: &Workshop, arguments: &[&str]) -> Vec<f32> {
    logits_of(workshop, "256,65,66,67,257,10", arguments)
}

fn logits_of(workshop: &Workshop, ids: &str, arguments: &[&str]) -> Vec<f32> {
    let target = workshop.path("logits.safetensors");
    let to = ["logits", "--ids", ids, "--output", "logits.safetensors"];
    if target.is_file() {
        let refused = workshop.run(&[&to, arguments].concat());
        assert!(refused.contains("exit code: 1") && refused.contains("give --overwrite to replace it"), "{refused}");
    }
    let mut command = workshop.command(&[&to[..], &["--overwrite"], arguments].concat());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weights = Weights::open_file(&target).unwrap();
    let view = weights.get("logits").unwrap();
    let mut values = vec![0.0; view.elements()];
    quant::decode(quant::BlockType::F32, view.bytes, &mut values).unwrap();
    values
}

#[test]
fn a_run_learns_and_its_merged_model_answers_as_base_and_adapter_do() {
    let workshop = workshop();
    let summary = summary(&train(&workshop, "run", &["--set", "data.test_size=0.2"]), 0);
    assert_eq!((&summary["finished"], &summary["steps"]), (&Value::Bool(true), &Value::from(6)));
    let steps = steps(&workshop, "run");
    assert_eq!(steps.len(), 6);
    let loss = |i: usize| steps[i].1.as_f64().unwrap();
    assert!(loss(5) < loss(0) - 0.2, "{} → {}", loss(0), loss(5));
    assert!(summary["eval_loss"].as_f64().unwrap() < loss(0));
    assert!(summary["peak_rss_bytes"].as_u64().unwrap() > 0);
    let mean = |from: usize| (from..6).map(loss).sum::<f64>() / (6 - from) as f64;
    // 16 rows, 8 in a step: two steps an epoch.
    for (name, wanted) in [("train_loss", mean(0)), ("final_train_loss", mean(4))] {
        let said = summary[name].as_f64().unwrap();
        assert!((said - wanted).abs() <= 1e-12, "{name}: {said}, {wanted}");
    }
    let state: Value =
        serde_json::from_slice(&fs::read(workshop.path("run/checkpoint-6/trainer_state.json")).unwrap()).unwrap();
    assert_eq!((&state["global_step"], &state["max_steps"]), (&Value::from(6), &Value::from(6)));

    workshop.json(&["merge", "--adapter", "run/adapter", "--output-dir", "merged", "--json"]);
    let apart = logits(&workshop, &["--model", "student", "--adapter", "run/adapter"]);
    let merged = logits(&workshop, &["--model", "merged"]);
    let largest = apart.iter().zip(&merged).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= 1e-4, "{largest}");
    assert_ne!(logits(&workshop, &["--model", "student"]), apart);
    let answer = workshop.json(&[
        "chat",
        "--model",
        "merged",
        "--prompt",
        "1+1?",
        "--temperature",
        "0",
        "--max-new-tokens",
        "5",
        "--dtype",
        "f32",
        "--json",
    ]);
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 5);
    let again = workshop.run(&["merge", "--adapter", "run/adapter", "--output-dir", "merged"]);
    assert!(again.contains("exit code: 1") && again.contains("merged"), "{again}");
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let workshop = workshop();
    summary(&train(&workshop, "whole", &["--set", "data.test_size=0.2"]), 0);
    summary(&train(&workshop, "killed", &["--set", "data.test_size=0.2", "--threads", "1"]), 0);
    assert_eq!(adapter(&workshop, "whole"), adapter(&workshop, "killed"), "threads change bits");
    // as a kill between steps 5 and 6 leaves it: a checkpoint of step 3, two steps more in the metrics, a torn third
    let killed = workshop.path("killed");
    for folder in ["adapter", "checkpoint-6"] {
        fs::remove_dir_all(killed.join(folder)).unwrap();
    }
    let metrics = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    let cut = metrics.find("\"step\":6").unwrap() + 12;
    fs::write(killed.join("metrics.jsonl"), &metrics[..cut]).unwrap();
    let resumed = train(&workshop, "killed", &["--set", "data.test_size=0.2", "--resume"]);
    summary(&resumed, 0);
    let recorded: Value =
        serde_json::from_slice(&fs::read(killed.join("checkpoint-3/aludel_metrics.json")).unwrap()).unwrap();
    let beyond = metrics[..cut].lines().count() - recorded["lines"].as_u64().unwrap() as usize;
    let told = format!(
        "lines that do not belong to the 3 steps of the checkpoint were taken out: {beyond}; steps that were done after it are done again"
    );
    let said = String::from_utf8_lossy(&resumed.stderr);
    assert!(beyond >= 3 && said.contains(&told), "{said}");
    assert_eq!(adapter(&workshop, "whole"), adapter(&workshop, "killed"));
    assert_eq!(steps(&workshop, "whole"), steps(&workshop, "killed"));
    // by its own recipe, a finished run has nothing left to do, and no file of it changes
    let before = files(&killed);
    let again = workshop.command(&["train", "--recipe", "killed/recipe.toml", "--resume", "--json"]).output().unwrap();
    assert_eq!(summary(&again, 0)["steps"], 6);
    for key in ["tokens_per_second", "times", "eval_loss", "tokens"] {
        assert_eq!(summary(&again, 0)[key], summary(&resumed, 0)[key], "{key}");
    }
    let told = "this run is complete: all 6 steps are done, and nothing is left to train";
    assert!(String::from_utf8_lossy(&again.stderr).contains(told));
    let said = workshop.run(&["train", "--output-dir", "killed", "--resume"]);
    assert!(
        said.contains("exit code: 0") && said.contains(told) && said.contains("next: aludel merge --adapter "),
        "{said}"
    );
    assert_eq!(files(&killed), before);
    // what a finished run lacks is written again, and the times of its training are kept
    fs::remove_dir_all(killed.join("adapter")).unwrap();
    let again = train(&workshop, "killed", &["--set", "data.test_size=0.2", "--resume"]);
    assert_eq!(summary(&again, 0)["times"], summary(&resumed, 0)["times"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("all 6 steps of this run were done before"));
    assert!(killed.join("adapter/README.md").is_file());
    assert_eq!(adapter(&workshop, "whole"), adapter(&workshop, "killed"));
    assert!(!String::from_utf8_lossy(&again.stderr).contains("were taken out"));
    // a line that was put there between two runs
    let metrics = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    let line = metrics.lines().next().unwrap().replacen("\"step\":1", "\"step\":7", 1);
    fs::write(killed.join("metrics.jsonl"), metrics + &line + "\n").unwrap();
    let again = workshop.command(&["train", "--recipe", "killed/recipe.toml", "--resume", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("lines that do not belong to the 6 steps of the checkpoint were taken out: 1;"), "{said}");
}

/// Every file below a folder: its path, what it holds, and when that was written.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false => found.push((
                entry.clone(),
                fs::read(&entry).unwrap(),
                fs::metadata(&entry).unwrap().modified().unwrap(),
            )),
        }
    }
    found.sort();
    found
}

/// Runs until the metrics have grown by a line at least, and then sends SIGTERM.
fn stopped(workshop: &Workshop, arguments: &[&str]) -> Output {
    stopped_after(&mut workshop.command(arguments), &workshop.path("run/metrics.jsonl"))
}

/// As [`stopped`], for any command and its metrics.
fn stopped_after(command: &mut Command, metrics: &Path) -> Output {
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let length = || fs::metadata(metrics).map_or(0, |about| about.len());
    let before = length();
    while length() <= before {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its first step");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// A run of days.
const ENDLESS: &[&str] = &[
    "--max-steps",
    "1000000",
    "--set",
    "train.save_strategy=no",
    "--set",
    "data.test_size=0",
    "--set",
    "train.eval_strategy=no",
    "--set",
    "train.logging_steps=1000000",
];

#[test]
fn sigterm_saves_the_last_whole_step_and_ends_with_75() {
    let workshop = workshop();
    let summary = summary(&stopped(&workshop, &train_args("run", &[SETTINGS, &["--json"], ENDLESS].concat())), 75);
    let step = summary["steps"].as_u64().unwrap();
    assert!(summary["adapter"].is_null() && step > 0);
    assert!(workshop.path("run").join(format!("checkpoint-{step}/optimizer.safetensors")).is_file());
    assert_eq!(steps(&workshop, "run").len() as u64, step);
}

#[test]
fn a_stopped_run_says_the_command_that_goes_on_with_it() {
    let workshop = workshop();
    let output = stopped(&workshop, &train_args("run", &[SETTINGS, ENDLESS].concat()));
    let said = String::from_utf8(output.stdout).unwrap();
    let next = said.lines().find_map(|line| line.strip_prefix("continue with: aludel ")).unwrap();
    assert_eq!(next, "train --output-dir run --resume");
    let before = steps(&workshop, "run").len();
    let output = stopped(&workshop, &next.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(steps(&workshop, "run").len() > before);
}

/// The command that a stopped run suggests resumes it, whatever the path and name of its folder.
#[test]
#[cfg(unix)]
fn the_command_that_goes_on_is_one_that_a_shell_takes() {
    for folder in ["my run", "below/the run's", "-run", "$HOME", "."] {
        let workshop = workshop();
        fs::create_dir(workshop.path("here")).unwrap();
        let binary = env!("CARGO_BIN_EXE_aludel");
        let shell = |script: &str| {
            let script = format!("aludel() {{ '{binary}' \"$@\"; }}; {script}");
            let mut command = Command::new("sh");
            command.args(["-c", &script]).current_dir(workshop.path("here"));
            command.output().unwrap()
        };
        let output_dir = format!("--output-dir={folder}");
        let student = ["--student", "../student", "--data", "../rows.jsonl"];
        let ends = [&["train", &output_dir, "--dtype", "f32", "--max-steps", "100000"], &student[..]].concat();
        let mut command = workshop.command(&[&ends[..], &ENDLESS[2..]].concat());
        command.current_dir(workshop.path("here"));
        let metrics = workshop.path("here").join(folder).join("metrics.jsonl");
        let output = stopped_after(&mut command, &metrics);
        let said = String::from_utf8(output.stdout).unwrap();
        let next = said.lines().find_map(|line| line.strip_prefix("continue with: ")).unwrap();
        // One step more than were taken, so that it ends; the number of steps is part of the run.
        let refused = shell(&format!("{next} --max-steps 7"));
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(errors.contains("train.max_steps: 100000 → 7"), "{folder}: {errors}");
    }
}

#[test]
fn resuming_says_what_it_lacks() {
    let workshop = workshop();
    insta::assert_snapshot!("resume_no_folder", workshop.run(&["train", "--resume"]));
    insta::assert_snapshot!("resume_no_run", workshop.run(&["train", "--resume", "--output-dir", "nowhere"]));
}

#[test]
fn sigterm_while_the_data_is_tokenised_ends_with_75_and_leaves_nothing() {
    let workshop = workshop();
    let row = serde_json::json!({"prompt": "a ".repeat(1000), "response": "b"});
    workshop.write("rows.jsonl", &format!("{row}\n").repeat(10_000));
    let mut command = workshop.command(&train_args("run", &[SETTINGS, &["--json"]].concat()));
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !workshop.path("run/rows").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its data was tokenised");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let summary = summary(&child.wait_with_output().unwrap(), 75);
    assert_eq!((&summary["finished"], &summary["steps"]), (&Value::Bool(false), &Value::from(0)));
    assert!(!workshop.path("run").exists());
}

#[test]
fn added_tokens_are_trained_merged_and_known() {
    let workshop = workshop();
    let tokens = ["--set", r#"student.add_tokens=["<think>", "</think>"]"#];
    summary(&train(&workshop, "run", &tokens), 0);
    workshop.json(&["merge", "--adapter", "run/adapter", "--output-dir", "merged", "--json"]);
    let config: Value = serde_json::from_slice(&fs::read(workshop.path("merged/config.json")).unwrap()).unwrap();
    assert_eq!(config["vocab_size"], 260);
    let tokenizer = aludel_text::Tokenizer::from_file(workshop.path("merged/tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode("<think>").unwrap(), [258]);
    let apart = logits(&workshop, &["--model", "student", "--adapter", "run/adapter"]);
    let merged = logits(&workshop, &["--model", "merged"]);
    assert_eq!(apart.len(), 6 * 260);
    let largest = apart.iter().zip(&merged).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= 1e-4, "{largest}");
}

#[test]
fn a_new_token_is_likely_in_its_place_before_the_first_step() {
    let workshop = workshop();
    let row = serde_json::json!({"prompt": "1+1?", "reasoning": "one more", "response": "2"});
    workshop.write("rows.jsonl", &format!("{row}\n"));
    let tokens = ["--set", r#"student.add_tokens=["<think>", "</think>"]"#, "--set", "data.test_size=0"];
    let still =
        ["--set", "train.learning_rate=1e-30", "--set", "train.num_train_epochs=1", "--set", "train.eval_strategy=no"];
    summary(&train(&workshop, "run", &[&tokens[..], &still[..]].concat()), 0);
    let rows =
        workshop.json(&[&["inspect", "--student", "student", "--data", "rows.jsonl", "--json"], &tokens[..2]].concat());
    let ids: Vec<u64> = serde_json::from_value(rows["rows"][0]["ids"].clone()).unwrap();
    let text: Vec<String> = ids.iter().map(u64::to_string).collect();
    let all = logits_of(&workshop, &text.join(","), &["--model", "student", "--adapter", "run/adapter"]);
    for token in [258, 259] {
        let leads: Vec<f32> = all
            .chunks_exact(260)
            .map(|logits| {
                // beside the tokens that the student knows
                logits[token] - logits[..258].iter().map(|logit| logit.exp()).sum::<f32>().ln()
            })
            .collect();
        let at = ids.iter().position(|&id| id == token as u64).unwrap() - 1;
        assert!((leads[at] - 2.0).abs() < 0.1, "token {token} leads by {} in its place", leads[at]);
        let elsewhere = leads.iter().enumerate().filter(|&(t, _)| t != at).map(|(_, lead)| lead);
        let likelier = elsewhere.filter(|&&lead| lead > 0.0).count();
        assert!(likelier * 4 < leads.len(), "token {token} is likely at {likelier} of {} other places", leads.len());
    }
}

/// A run with a learning rate of 0 changes nothing if the "added" token is already in the vocabulary.
#[test]
fn a_token_of_the_vocabulary_keeps_its_row() {
    let workshop = workshop();
    let still = ["--set", "train.learning_rate=1e-30", "--set", r#"student.add_tokens=["o", "n"]"#];
    summary(&train(&workshop, "run", &still), 0);
    let [alone, adapted] = [&[][..], &["--adapter", "run/adapter"]]
        .map(|more| logits_of(&workshop, "256,111,110,101,32,111", &[&["--model", "student"], more].concat()));
    let largest = alone.iter().zip(&adapted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(alone.len() == adapted.len() && largest <= 1e-5, "{largest}");
}

#[test]
fn what_would_spoil_a_run_is_refused_by_name() {
    let workshop = workshop();
    summary(&train(&workshop, "run", &[]), 0);
    let check = |output: Output, code: i32, parts: &[&str]| {
        let error = failure(&output, code);
        for part in parts {
            assert!(error.contains(part), "lacks {part:?}:\n{error}");
        }
    };
    check(train(&workshop, "run", &[]), 1, &["already holds a run", "--resume"]);
    check(train(&workshop, "run", &["--resume", "--lora-r", "4"]), 1, &["lora.r: 16 → 4"]);
    check(train(&workshop, "other", &["--set", "lora.target_modules=w_proj"]), 1, &["w_proj", "q_proj"]);
    check(train(&workshop, "other", &["--set", "train.max_length=1000"]), 1, &["train.max_length = 1000", "512"]);
    // a damaged weight: the last one of the file is not a number
    let weights = workshop.path("student/model.safetensors");
    let good = fs::read(&weights).unwrap();
    let (mut bytes, end) = (good.clone(), good.len());
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    check(train(&workshop, "nan", &[]), 1, &["mlp.down_proj.weight", "holds NaN or infinity", "load another copy"]);
    assert!(!workshop.path("nan/adapter").exists() && !workshop.path("nan/checkpoint-3").exists());
    fs::write(&weights, good).unwrap();
    workshop.write(
        "rows.jsonl",
        "{\"prompt\": \"new\", \"response\": \"data\"}\n{\"prompt\": \"b\", \"response\": \"c\"}\n",
    );
    check(train(&workshop, "run", &["--resume"]), 1, &["is not what the run was started on"]);
}

/// The variable selects the instruction set; the run records it and resumes with it when the variable is unset.
#[test]
fn a_run_keeps_the_instruction_set_that_it_began_with() {
    let workshop = workshop();
    let run = |folder: &str, isa: &str, more: &[&str]| {
        let mut command =
            workshop.command(&train_args(folder, &[SETTINGS, &["--json", "--max-steps", "4"], more].concat()));
        command.env("ALUDEL_ISA", isa);
        command.output().unwrap()
    };
    summary(&run("portable", "portable", &[]), 0);
    let recipe = fs::read_to_string(workshop.path("portable/recipe.toml")).unwrap();
    assert!(recipe.contains("instruction_set = \"portable\"") && recipe.contains("dtype = \"f32\""), "{recipe}");

    // truncated after the checkpoint of step 3 and resumed without the variable: the same bits
    let cut = run("cut", "portable", &["--set", "train.save_total_limit=5"]);
    summary(&cut, 0);
    fs::remove_dir_all(workshop.path("cut/checkpoint-4")).ok();
    fs::remove_dir_all(workshop.path("cut/adapter")).ok();
    summary(&run("cut", "", &["--set", "train.save_total_limit=5", "--resume"]), 0);
    let adapter = |folder: &str| fs::read(workshop.path(folder).join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("cut"), adapter("portable"));

    // without a choice, the instruction set is detected once
    summary(&run("auto", "", &[]), 0);
    let recipe = fs::read_to_string(workshop.path("auto/recipe.toml")).unwrap();
    assert!(recipe.contains("instruction_set = ") && !recipe.contains("instruction_set = \"auto\""), "{recipe}");

    let refused = run("other", "sse9", &[]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains("ALUDEL_ISA") && errors.contains("sse9") && errors.contains("avx512-bf16"), "{errors}");
    let other = run("portable", "avx2", &["--resume"]);
    let errors = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1), "{errors}");
    assert!(errors.contains("ALUDEL_ISA names another") && errors.contains("unset ALUDEL_ISA"), "{errors}");
    let other = train(&workshop, "portable", &["--resume", "--set", "student.instruction_set=avx2"]);
    let errors = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(errors.contains("student.instruction_set: \"portable\" → \"avx2\""), "{errors}");
}
