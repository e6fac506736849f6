//! Damaged checkpoints and adapters: every command that reads them refuses with the file's name and the command that resumes from an earlier
//! checkpoint.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use aludel_distill::train::{Event, train};
use serde_json::Value;

use crate::{adapter, check_refused, copy, drive, files, killed_after_five, recipe, records, refused, whole, workshop};

#[test]
fn a_flipped_bit_of_a_checkpoint_is_refused_by_name_or_changes_nothing() {
    let workshop = workshop();
    whole(&recipe(&workshop, "whole"), false);
    killed_after_five(&workshop, "killed");
    let names: Vec<String> = fs::read_dir(workshop.path("killed/checkpoint-4"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    let (mut refusals, mut state) = (0, 1u64);
    for flip in 0..72 {
        let name = &names[flip % names.len()];
        copy(&workshop.path("killed"), &workshop.path("run"));
        let file = workshop.path("run/checkpoint-4").join(name);
        let mut bytes = fs::read(&file).unwrap();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (state >> 16) as usize % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, bytes).unwrap();
        let before = files(&workshop.path("run"));
        match drive(&recipe(&workshop, "run"), true, None).1.unwrap() {
            Err(error) => {
                refusals += 1;
                assert!(error.contains("checkpoint-4: ") && error.contains(name), "bit {bit} of {name}:\n{error}");
                assert!(
                    error.contains("checkpoint-2, the last one before it that is whole"),
                    "bit {bit} of {name}:\n{error}"
                );
                assert_eq!(before, files(&workshop.path("run")), "bit {bit} of {name}:\n{error}");
            }
            Ok(_) => {
                assert_eq!(name, "aludel_manifest.json", "bit {bit} was not noticed");
                assert_eq!(adapter(&workshop.path("run")), adapter(&workshop.path("whole")), "bit {bit} of {name}");
            }
        }
        fs::remove_dir_all(workshop.path("run")).unwrap();
    }
    assert!(refusals >= 64, "{refusals}");
}

#[test]
fn the_command_that_is_offered_goes_on_from_the_checkpoint_before() {
    let workshop = workshop();
    whole(&recipe(&workshop, "whole"), false);
    killed_after_five(&workshop, "a run");
    workshop.write("a run/checkpoint-4/optimizer.safetensors", "torn");
    let output = workshop.command(&["train", "--output-dir", "a run", "--resume"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("optimizer.safetensors: it is 4 bytes long"), "{said}");
    let offered = said.split_once("is resumed from by `").unwrap().1.split_once('`').unwrap().0.to_owned();
    let script = offered.replace("aludel train", &format!("'{}' train", env!("CARGO_BIN_EXE_aludel")));
    let output = Command::new("sh").args(["-c", &script]).current_dir(workshop.path("")).output().unwrap();
    assert!(output.status.success(), "{offered}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(adapter(&workshop.path("a run")), adapter(&workshop.path("whole")));
    assert_eq!(records(&workshop.path("a run")), records(&workshop.path("whole")));
    assert!(workshop.path("a run/damaged-checkpoint-4").exists());
}

#[test]
fn a_checkpoint_must_be_of_this_run_and_of_its_step() {
    let workshop = workshop();
    killed_after_five(&workshop, "killed");
    let spoilt = |spoil: &dyn Fn(&Path), said: &[&str]| {
        copy(&workshop.path("killed"), &workshop.path("run"));
        spoil(&workshop.path("run"));
        check_refused(&workshop, "run", true, said);
        fs::remove_dir_all(workshop.path("run")).unwrap();
    };
    spoilt(
        &|run| fs::remove_file(run.join("checkpoint-4/aludel_manifest.json")).unwrap(),
        &["checkpoint-4", "no aludel_manifest.json", "checkpoint-2"],
    );
    spoilt(&|run| fs::remove_file(run.join("checkpoint-4/tokenizer.json")).unwrap(), &["tokenizer.json: it is gone"]);
    spoilt(
        &|run| fs::write(run.join("checkpoint-4/generation_config.json"), "{}").unwrap(),
        &["generation_config.json: it was put here after the folder was written"],
    );
    spoilt(
        &|run| fs::rename(run.join("checkpoint-4"), run.join("checkpoint-5")).unwrap(),
        &["checkpoint-5", "by its trainer_state.json it is the checkpoint of step 4"],
    );
    spoilt(
        &|run| {
            for step in ["checkpoint-2", "checkpoint-4"] {
                fs::write(run.join(step).join("adapter_model.safetensors"), "torn").unwrap();
            }
        },
        &["none before it is whole", "damaged-checkpoint-2", "damaged-checkpoint-4"],
    );
    spoilt(
        &|run| {
            copy(&run.join("checkpoint-2"), &run.join("adapter"));
            fs::write(run.join("adapter/notes.json"), "{}").unwrap();
        },
        &["run/adapter", "notes.json", "mv ", "damaged-adapter"],
    );
}

#[test]
fn the_best_checkpoint_is_looked_at_before_the_rest_is_trained() {
    let workshop = workshop();
    let mut recipe = recipe(&workshop, "run");
    recipe.train.load_best_model_at_end = true;
    recipe.train.eval_steps = Some(1);
    // Worse with each step, so that the first checkpoint stays the best.
    recipe.train.learning_rate = 1.0;
    let mut saved = 0;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        train(&recipe, false, &AtomicBool::new(false), &mut |event| {
            saved += usize::from(matches!(event, Event::Saved(_)));
            if saved == 2 {
                resume_unwind(Box::new("killed"));
            }
        })
    }));
    assert!(ended.is_err());
    let state = fs::read(workshop.path("run/checkpoint-4/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["best_global_step"], 2, "{state}");
    let weights = workshop.path("run/checkpoint-2/adapter_model.safetensors");
    let good = fs::read(&weights).unwrap();
    workshop.write("run/checkpoint-2/adapter_model.safetensors", "torn");
    let error = refused(&recipe, true);
    assert!(error.contains("checkpoint-2: ") && error.contains("begin again at the first step"), "{error}");
    fs::write(&weights, &good).unwrap();
    whole(&recipe, true);
    assert_eq!(adapter(&workshop.path("run")), good);
}

#[test]
fn an_adapter_that_is_not_what_was_written_is_refused_by_every_command() {
    let workshop = workshop();
    whole(&recipe(&workshop, "run"), false);
    workshop.write("questions.jsonl", "{\"question\": \"1+1?\", \"answer\": \"2\"}\n");
    let commands: [&[&str]; 6] = [
        &["chat", "--model", "student", "--adapter", "run/adapter", "--prompt", "1+1?", "--max-new-tokens", "2"],
        &[
            "eval",
            "--model",
            "student",
            "--adapter",
            "run/adapter",
            "--tasks",
            "questions.jsonl",
            "--output-dir",
            "out",
        ],
        &["eval", "--loss", "--model", "student", "--adapter", "run/adapter", "--data", "rows.jsonl"],
        &["merge", "--student", "student", "--adapter", "run/adapter", "--output-dir", "out"],
        &["logits", "--model", "student", "--adapter", "run/adapter", "--ids", "65", "--output", "out"],
        &[
            "train",
            "--recipe",
            "recipe.toml",
            "--student",
            "student",
            "--data",
            "rows.jsonl",
            "--output-dir",
            "out",
            "--init-adapter",
            "run/adapter",
        ],
    ];
    for name in ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"] {
        let path = workshop.path("run/adapter").join(name);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        // The last bit of a weight; a letter, a space or a digit of a text.
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        for arguments in commands {
            let said = workshop.run(arguments);
            assert!(said.contains("exit code: 1"), "{said}");
            assert!(
                said.contains(&format!("run/adapter/{name}\nbecause: its bytes are not those that were written")),
                "{said}"
            );
            assert!(said.contains("remove its aludel_manifest.json"), "{said}");
            assert!(!workshop.path("out").exists(), "{said}");
        }
        fs::write(&path, good).unwrap();
    }
    // One that was changed on purpose loads as the message says.
    fs::remove_file(workshop.path("run/adapter/aludel_manifest.json")).unwrap();
    for arguments in commands {
        let said = workshop.run(arguments);
        assert!(said.contains("exit code: 0"), "{said}");
        let out = workshop.path("out");
        if out.is_dir() {
            fs::remove_dir_all(out).unwrap();
        } else if out.exists() {
            fs::remove_file(out).unwrap();
        }
    }
}

/// The record of a run is distinguished from a changed one; records after the checkpoint are not part of it.
#[test]
fn a_record_that_is_not_what_was_written_is_refused_by_name() {
    let workshop = workshop();
    let recipe = killed_after_five(&workshop, "run");
    let (metrics, note) = (workshop.path("run/metrics.jsonl"), workshop.path("run/checkpoint-4/aludel_metrics.json"));
    let good = fs::read_to_string(&metrics).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let refused = |text: Option<String>, said: &str| {
        match text {
            Some(text) => fs::write(&metrics, text).unwrap(),
            None => fs::remove_file(&metrics).unwrap(),
        }
        let mend = "restore the file, or start another run from the weights that are there: --init-adapter";
        check_refused(&workshop, "run", true, &["metrics.jsonl", said, mend, "run/checkpoint-4"]);
        fs::write(&metrics, &good).unwrap();
    };
    refused(None, "it is missing");
    refused(Some(String::new()), "of 9 lines that were recorded up to step 4, it holds 0");
    refused(Some(lines[1..].join("\n") + "\n"), "of 9 lines that were recorded up to step 4, it holds 8");
    refused(Some(good.replacen("\"loss\":", "\"loss\":1", 1)), "it was changed since the run wrote it");
    assert!(note.exists());
    // Records after the checkpoint are written again.
    fs::write(&metrics, lines[..9].join("\n") + "\n").unwrap();
    whole(&recipe, true);
}
