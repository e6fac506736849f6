//! Unusual run folders: incomplete runs, other tools' runs, files with a flipped bit, stops and kills at any point. Each is refused by name
//! without a change, or the run resumes bit for bit and records everything once.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_distill::settings::Recipe;
use aludel_distill::train::{Event, Summary, train};
use common::Workshop;
use serde_json::{Value, json};

/// Six steps: an evaluation before them and after each, a checkpoint after each second, a log line after steps 4 and 6.
const RECIPE: &str = r#"
[student]
dtype = "f32"
threads = 1
[lora]
r = 8
alpha = 16
dropout = 0.2
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
    /// The process is killed in the middle of an event.
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

/// Refused with all these words, and no file changed.
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
fn wherever_a_run_is_stopped_or_killed_each_record_stands_once() {
    let workshop = workshop();
    let straight = recipe(&workshop, "straight");
    let (events, _) = drive(&straight, false, None);
    let wanted = records(&workshop.path("straight"));
    let of = |name: &str| wanted.0.iter().filter(|line| line.get(name).is_some()).count();
    assert_eq!((of("loss"), of("eval_loss")), (6, 7));
    let order: Vec<_> = wanted.0.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(events > 20, "{events}");
    for first in 0..events {
        for how in [Cut::Kill, Cut::Stop] {
            let cut = recipe(&workshop, "cut");
            drive(&cut, false, Some((first, how)));
            // About one step further, and then to the end.
            drive(&cut, true, Some((2 + first % 7, Cut::Kill)));
            whole(&cut, true);
            let run = workshop.path("cut");
            assert_eq!(records(&run), wanted, "{how:?} at event {first}");
            assert_eq!(adapter(&run), adapter(&workshop.path("straight")), "{how:?} at event {first}");
            fs::remove_dir_all(&run).unwrap();
        }
    }
}
