//! The owner of a folder and the inputs of its run: foreign folders are not touched, and a run resumes only with the same inputs.

use std::cell::RefCell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_distill::train::{Event, Stage, train};
use serde_json::{Value, json};

use crate::{check_refused, copy, files, killed_after_five, recipe, whole, workshop};

#[test]
fn parts_of_a_run_are_not_gone_on_from() {
    let workshop = workshop();
    killed_after_five(&workshop, "run");
    let run = workshop.path("run");
    for file in ["recipe.toml", "run.json"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    for resume in [false, true] {
        check_refused(
            &workshop,
            "run",
            resume,
            &[
                "it holds checkpoint-2, checkpoint-4, metrics.jsonl",
                "no run.json",
                "--init-adapter",
                "run/checkpoint-4",
            ],
        );
    }
    // One kind of file is enough.
    for name in ["checkpoint-2", "metrics.jsonl"] {
        let folder = workshop.path("part");
        let (from, to) = (run.join(name), folder.join(name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::create_dir(&folder).unwrap();
            fs::copy(from, to).unwrap();
        }
        check_refused(&workshop, "part", false, &[&format!("it holds {name}, but no run.json")]);
        fs::remove_dir_all(folder).unwrap();
    }
    // The option that the message suggests works.
    let mut recipe = recipe(&workshop, "next");
    recipe.train.init_adapter = Some(run.join("checkpoint-4"));
    whole(&recipe, false);
}

#[test]
fn the_recipe_alone_may_be_missing() {
    let workshop = workshop();
    let recipe = killed_after_five(&workshop, "run");
    let file = workshop.path("run/recipe.toml");
    let text = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    check_refused(&workshop, "run", false, &["already holds a run"]);
    whole(&recipe, true);
    assert_eq!(fs::read(&file).unwrap(), text);
}

#[test]
fn another_tools_run_is_left_alone() {
    let workshop = workshop();
    killed_after_five(&workshop, "ours");
    let trained = |run: &str, files: &[(&str, &[u8])]| {
        let folder = workshop.path(run);
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        for name in ["adapter_config.json", "adapter_model.safetensors", "trainer_state.json"] {
            if folder.join("checkpoint-500").exists() {
                fs::copy(workshop.path("ours/checkpoint-4").join(name), folder.join("checkpoint-500").join(name))
                    .unwrap();
            }
        }
    };
    trained("trainer", &[("checkpoint-500/optimizer.pt", b""), ("checkpoint-500/rng_state.pth", b"")]);
    trained("trl", &[("checkpoint-500/training_args.bin", b"PK\x03\x04 trl.trainer.sft_config SFTConfig")]);
    trained("plain", &[("checkpoint-500/README.md", b"")]);
    trained("deepspeed", &[("checkpoint-500/global_step500/mp_rank_00_model_states.pt", b"")]);
    trained("mlx", &[("adapters.safetensors", b""), ("adapter_config.json", b"{\"lora_parameters\": {}}")]);
    for (run, whose) in [
        ("trainer", "transformers' Trainer (told by checkpoint-500/optimizer.pt)"),
        ("trl", "a run of TRL (told by checkpoint-500/training_args.bin)"),
        ("plain", "transformers' Trainer (told by checkpoint-500/trainer_state.json)"),
        ("deepspeed", "DeepSpeed (told by checkpoint-500/global_step500)"),
        ("mlx", "MLX (told by adapters.safetensors)"),
    ] {
        for resume in [false, true] {
            check_refused(&workshop, run, resume, &[whose, "nothing of it was touched", "give another --output-dir"]);
        }
    }
    // Also if it is among the checkpoints of a run of ours.
    copy(&workshop.path("trl/checkpoint-500"), &workshop.path("ours/checkpoint-500"));
    check_refused(
        &workshop,
        "ours",
        true,
        &["checkpoint-500", "no aludel_manifest.json", "a run of TRL", "checkpoint-4"],
    );
}

#[test]
fn a_run_of_another_format_is_told_with_its_version() {
    let workshop = workshop();
    killed_after_five(&workshop, "run");
    let file = workshop.path("run/run.json");
    let mut run: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    workshop.write("run/run.json", r#"{"aludel_version": "0.0.9", "rows_key": "ab"}"#);
    check_refused(&workshop, "run", false, &["already holds a run"]);
    check_refused(&workshop, "run", true, &["begun by Aludel 0.0.9", "format 1", "--init-adapter", "run/checkpoint-4"]);
    (run["format"], run["aludel_version"]) = (json!(3), json!("7.0.0"));
    workshop.write("run/run.json", &run.to_string());
    check_refused(&workshop, "run", true, &["begun by Aludel 7.0.0", "format 3", "continues format 2 alone"]);
}

#[test]
fn what_a_run_was_started_on_is_held_on_to() {
    let workshop = workshop();
    let recipe = killed_after_five(&workshop, "run");
    let restored = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, said: &[&str]| {
        let path = workshop.path(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, change(good.clone())).unwrap();
        check_refused(&workshop, "run", true, said);
        fs::write(&path, good).unwrap();
    };
    let replaced = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{text}");
            text.replace(from, to).into_bytes()
        }
    };
    restored(
        "run/recipe.toml",
        &replaced("learning_rate = 0.05", "learning_rate = 0.04"),
        &["run/recipe.toml", "train.learning_rate: 0.05 → 0.04"],
    );
    restored(
        "run/run.json",
        &replaced("learning_rate = 0.05", "learning_rate = 0.04"),
        &["run.json", "hash does not agree"],
    );
    restored("run/run.json", &|_| b"{}".to_vec(), &["run.json does not say which run this is", "restore it"]);
    restored(
        "student/model.safetensors",
        &|mut bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bytes
        },
        &["files of the student", "student, are not those that the run was started on"],
    );
    restored("rows.jsonl", &replaced("\"20\"", "\"21\""), &["the data"]);
    // What changes no weight may be changed.
    let text = fs::read_to_string(workshop.path("run/recipe.toml")).unwrap();
    workshop.write("run/recipe.toml", &text.replace("save_steps = 2", "save_steps = 3"));
    whole(&recipe, true);
}

#[test]
fn no_command_writes_into_a_folder_of_somebody_else() {
    let workshop = workshop();
    whole(&recipe(&workshop, "run"), false);
    workshop.write("questions.jsonl", "{\"question\": \"1+1?\", \"answer\": \"2\"}\n");
    let eval = |output| {
        let question = ["eval", "--model", "student", "--tasks", "questions.jsonl", "--max-new-tokens", "2"];
        [&question[..], &["--temperature", "0", "--output-dir", output]].concat()
    };
    for results in ["before", "after"] {
        let said = workshop.run(&eval(results));
        assert!(said.contains("exit code: 0"), "{said}");
    }
    // Foreign data with the file names of `curate`, and a foreign report.
    fs::create_dir(workshop.path("data")).unwrap();
    fs::create_dir(workshop.path("pages")).unwrap();
    fs::copy(workshop.path("rows.jsonl"), workshop.path("data/train.jsonl")).unwrap();
    workshop.write("pages/report.html", "mine");
    fs::create_dir(workshop.path("asked")).unwrap();
    workshop.write("asked/prompts.jsonl", "{\"prompt\": \"mine\"}\n");
    let curate = ["curate", "--input", "data/train.jsonl", "--output-dir"];
    let said = workshop.run(&[&curate[..], &["curated"]].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    let again = ["curate", "--input", "curated/train.jsonl", "--output-dir", "curated"];
    let failed = ["curate", "--only-failed", "before", "--output-dir", "asked"];
    let compare = ["compare", "before", "after", "--output-dir", "pages"];
    let train = ["train", "--recipe", "recipe.toml", "--student", "student", "--data", "rows.jsonl", "--output-dir"];
    let cases: [(Vec<&str>, &str); 12] = [
        (eval("student"), "student\nbecause: it looks like a model's folder (told by config.json)"),
        (eval("run/adapter"), "adapter\nbecause: it looks like an adapter's folder (told by adapter_config.json)"),
        (eval("curated"), "curated\nbecause: it looks like a data set of `aludel curate` (told by dropped.jsonl)"),
        ([&curate[..], &["data"]].concat(), "data\nbecause: holds train.jsonl, which curate did not write"),
        (again.to_vec(), "curated/train.jsonl\nbecause: lies in the output folder"),
        (failed.to_vec(), "asked\nbecause: holds prompts.jsonl, which curate did not write"),
        (compare.to_vec(), "pages\nbecause: holds a report.html that compare did not write"),
        ([&train[..], &["student"]].concat(), "student\nbecause: it looks like a model's folder (told by config.json)"),
        ([&train[..], &["run/adapter"]].concat(), "adapter\nbecause: it looks like an adapter's folder"),
        ([&train[..], &["run/checkpoint-6"]].concat(), "checkpoint-6\nbecause: it looks like an adapter's folder"),
        (
            [&train[..], &["before"]].concat(),
            "before\nbecause: it looks like results of `aludel eval` (told by evaluation.json)",
        ),
        ([&train[..], &["curated"]].concat(), "curated\nbecause: it looks like a data set of `aludel curate`"),
    ];
    for (arguments, said) in cases {
        let before = files(&workshop.path(""));
        let answer = workshop.run(&arguments);
        assert!(answer.contains("exit code: 1") && answer.contains(said), "lacks {said:?}:\n{answer}");
        assert!(before == files(&workshop.path("")), "touched:\n{answer}");
    }
    // A command replaces its own output.
    for arguments in
        [[&curate[..], &["curated"]].concat(), vec!["compare", "before", "after", "--output-dir", "report"]]
    {
        for _ in 0..2 {
            let said = workshop.run(&arguments);
            assert!(said.contains("exit code: 0"), "{said}");
        }
    }
}

/// An evaluation before training is no claim of a run that never reached a step.
#[test]
fn a_stop_before_the_first_step_measures_no_change() {
    let workshop = workshop();
    let recipe = recipe(&workshop, "run");
    let stop = AtomicBool::new(false);
    let summary = train(&recipe, false, &stop, &mut |event| {
        stop.fetch_or(matches!(event, Event::Evaluated(record) if record.step == 0), Ordering::Relaxed);
    });
    let summary = summary.unwrap();
    assert_eq!((summary.finished, summary.steps, summary.eval_loss), (false, 0, None));
    assert!(summary.eval_loss_before.is_some());
}

/// Work before the first step stops at once and leaves nothing that would block the next start.
#[test]
fn a_run_that_is_stopped_before_its_first_step_leaves_nothing() {
    let workshop = workshop();
    let recipe = recipe(&workshop, "run");
    let hashed = RefCell::new(Vec::new());
    let stages = |stop_at: Option<usize>| {
        let (stop, mut seen) = (AtomicBool::new(false), Vec::new());
        let summary = train(&recipe, false, &stop, &mut |event| {
            match event {
                Event::Stage(stage @ (Stage::Hashing | Stage::Loading)) => seen.push(format!("{stage:?}")),
                Event::Hashing { done, total } => {
                    hashed.borrow_mut().push((done, total));
                    return;
                }
                Event::Tokenising(_) => seen.push("Tokenising".to_owned()),
                Event::Step { .. } => seen.push("Step".to_owned()),
                _ => return,
            }
            if Some(seen.len()) == stop_at {
                stop.store(true, Ordering::Relaxed);
            }
        });
        (summary.unwrap(), seen)
    };
    let all = ["Hashing", "Loading", "Tokenising"];
    for (stop_at, wanted) in (1..=3).map(|stop_at| (stop_at, &all[..stop_at])) {
        let (summary, seen) = stages(Some(stop_at));
        assert_eq!((summary.finished, summary.steps), (false, 0));
        assert_eq!(seen, wanted);
        assert!(!workshop.path("run").exists(), "{wanted:?} left something behind");
    }
    hashed.borrow_mut().clear();
    assert!(stages(None).0.finished);
    // All bytes of student and data, and no more.
    let hashed = hashed.into_inner();
    assert!(hashed.iter().all(|(done, total)| done <= total) && hashed.is_sorted(), "{hashed:?}");
    assert!(hashed.last().is_some_and(|(done, total)| done == total), "{hashed:?}");
}
