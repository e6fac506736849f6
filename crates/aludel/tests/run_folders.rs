//! Run folders that are not as a run left them: parts of a run, other tools' runs, files in which a bit flipped, stops and kills in any
//! place. Each is refused by name with nothing touched, or the run goes on bit for bit and records each thing once.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_distill::settings::Recipe;
use aludel_distill::train::{Event, Summary, train};
use common::Workshop;
use serde_json::{Value, json};

/// Six steps: an evaluation after each, a checkpoint after each second, a log line after steps 4 and 6.
const RECIPE: &str = r#"
[student]
dtype = "f32"
threads = 1
[lora]
target_modules = "all-linear"
[data]
test_size = 0.2
template_date = "2026-01-01"
[train]
max_steps = 6
max_length = 256
learning_rate = 0.05
lr_scheduler_type = "constant"
eval_strategy = "steps"
eval_steps = 1
save_strategy = "steps"
save_steps = 2
logging_steps = 4
"#;

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let rows: String = (0..20)
        .map(|i| format!("{}\n", json!({"prompt": format!("{i}+1?"), "response": format!("{}", i + 1)})))
        .collect();
    workshop.write("rows.jsonl", &rows).write("recipe.toml", RECIPE);
    workshop
}

fn recipe(workshop: &Workshop, run: &str) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE).unwrap().recipe;
    recipe.student.model = Some(workshop.path("student"));
    recipe.data.files = vec![workshop.path("rows.jsonl")];
    recipe.train.output_dir = Some(workshop.path(run));
    recipe
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The process is gone in the middle of an event.
    Kill,
    /// The user asks the run to stop.
    Stop,
}

/// Trains in this process until the event of this number, if one is given. Gives the number of events, and what a run that was not
/// killed said.
fn drive(recipe: &Recipe, resume: bool, cut: Option<(usize, Cut)>) -> (usize, Option<Result<Summary, String>>) {
    let (stop, mut events) = (AtomicBool::new(false), 0);
    let mut observe = |_: Event<'_>| {
        match cut {
            Some((at, Cut::Kill)) if at == events => resume_unwind(Box::new("killed")),
            Some((at, Cut::Stop)) if at == events => stop.store(true, Ordering::Relaxed),
            _ => {}
        }
        events += 1;
    };
    let ended = catch_unwind(AssertUnwindSafe(|| train(recipe, resume, &stop, &mut observe)));
    (events, ended.ok().map(|ended| ended.map_err(|error| error.to_string())))
}

/// A run to the end.
fn whole(recipe: &Recipe, resume: bool) -> Summary {
    let summary = drive(recipe, resume, None).1.unwrap().unwrap();
    assert!(summary.finished);
    summary
}

fn refused(recipe: &Recipe, resume: bool) -> String {
    drive(recipe, resume, None).1.unwrap().unwrap_err()
}

/// A run that was killed after its fifth step: checkpoints of steps 2 and 4.
fn killed_after_five(workshop: &Workshop, run: &str) -> Recipe {
    let recipe = recipe(workshop, run);
    let mut steps = 0;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        train(&recipe, false, &AtomicBool::new(false), &mut |event| {
            steps += usize::from(matches!(event, Event::Step { .. }));
            if steps == 5 {
                resume_unwind(Box::new("killed"));
            }
        })
    }));
    assert!(ended.is_err());
    assert!(workshop.path(run).join("checkpoint-4").exists() && !workshop.path(run).join("checkpoint-6").exists());
    recipe
}

fn adapter(run: &Path) -> Vec<u8> {
    fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

/// What a run recorded, but for times: its lines, and the log history of its last checkpoint.
fn records(run: &Path) -> (Vec<Value>, Value) {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().retain(|name, _| !name.ends_with("seconds"));
        value
    });
    let state = fs::read(run.join("checkpoint-6/trainer_state.json")).unwrap();
    (lines.collect(), serde_json::from_slice::<Value>(&state).unwrap()["log_history"].clone())
}

#[test]
fn wherever_a_run_is_stopped_or_killed_each_record_stands_once() {
    let workshop = workshop();
    let straight = recipe(&workshop, "straight");
    let (events, _) = drive(&straight, false, None);
    let wanted = records(&workshop.path("straight"));
    let of = |name: &str| wanted.0.iter().filter(|line| line.get(name).is_some()).count();
    assert_eq!((of("loss"), of("eval_loss")), (6, 6));
    let order: Vec<_> = wanted.0.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(events > 20, "{events}");
    for first in 0..events {
        for how in [Cut::Kill, Cut::Stop] {
            let cut = recipe(&workshop, "cut");
            drive(&cut, false, Some((first, how)));
            // As far as a step or so into what is left, and then to the end.
            drive(&cut, true, Some((2 + first % 7, Cut::Kill)));
            whole(&cut, true);
            let run = workshop.path("cut");
            assert_eq!(records(&run), wanted, "{how:?} at event {first}");
            assert_eq!(adapter(&run), adapter(&workshop.path("straight")), "{how:?} at event {first}");
            fs::remove_dir_all(&run).unwrap();
        }
    }
}

/// Every file below a folder with its content; folders with none.
fn files(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        let content = fs::read(&path).ok();
        found.insert(path, content);
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { _ = fs::copy(&path, target).unwrap() }
    }
}

/// Refused with all these words, and with every file as it was.
fn check_refused(workshop: &Workshop, run: &str, resume: bool, said: &[&str]) -> String {
    let before = files(&workshop.path(run));
    let error = refused(&recipe(workshop, run), resume);
    for part in said {
        assert!(error.contains(part), "lacks {part:?}:\n{error}");
    }
    assert_eq!(before, files(&workshop.path(run)), "touched:\n{error}");
    error
}

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
    // What the message offers is there to be had.
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
    // And where it lies among the checkpoints of a run of ours.
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
    check_refused(&workshop, "run", true, &["begun by Aludel 7.0.0", "format 3", "goes on with format 2 alone"]);
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
    let offered = said.split_once("is resumed from by: ").unwrap().1.trim().replace("\n  ", " ");
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
            assert!(said.contains(&format!("run/adapter/{name}: its bytes are not those that were written")), "{said}");
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
    // Data of somebody who calls it as curate does, and a report of somebody's.
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
        (eval("student"), "student: it looks like a model's folder (told by config.json)"),
        (eval("run/adapter"), "adapter: it looks like an adapter's folder (told by adapter_config.json)"),
        (eval("curated"), "curated: it looks like a data set of `aludel curate` (told by dropped.jsonl)"),
        ([&curate[..], &["data"]].concat(), "data: holds train.jsonl, which curate did not write"),
        (again.to_vec(), "curated/train.jsonl: lies in the output folder"),
        (failed.to_vec(), "asked: holds prompts.jsonl, which curate did not write"),
        (compare.to_vec(), "pages: holds a report.html that compare did not write"),
        ([&train[..], &["student"]].concat(), "student: it looks like a model's folder (told by config.json)"),
        ([&train[..], &["run/adapter"]].concat(), "adapter: it looks like an adapter's folder"),
        ([&train[..], &["run/checkpoint-6"]].concat(), "checkpoint-6: it looks like an adapter's folder"),
        (
            [&train[..], &["before"]].concat(),
            "before: it looks like results of `aludel eval` (told by evaluation.json)",
        ),
        ([&train[..], &["curated"]].concat(), "curated: it looks like a data set of `aludel curate`"),
    ];
    for (arguments, said) in cases {
        let before = files(&workshop.path(""));
        let answer = workshop.run(&arguments);
        assert!(answer.contains("exit code: 1") && answer.contains(said), "lacks {said:?}:\n{answer}");
        assert!(before == files(&workshop.path("")), "touched:\n{answer}");
    }
    // What a command wrote itself it writes again.
    for arguments in
        [[&curate[..], &["curated"]].concat(), vec!["compare", "before", "after", "--output-dir", "report"]]
    {
        for _ in 0..2 {
            let said = workshop.run(&arguments);
            assert!(said.contains("exit code: 0"), "{said}");
        }
    }
}
