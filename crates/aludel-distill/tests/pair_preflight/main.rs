//! Pairs of a teacher and a student that do not fit, made on purpose: each is found and named before the first step, and pairs that fit
//! pass.
#![allow(clippy::unwrap_used)] // helpers of tests

mod fitting;
mod mismatched;
mod model;
mod shifted;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use aludel_distill::settings::{PairCheck, Recipe};
use aludel_distill::supervision::LossTerm;
use aludel_distill::teacher::preflight::{Check, Finding};
use aludel_distill::train::{Event, Stage, train};
use aludel_distill::{Error, merge};
use aludel_formats::Dtype;
use aludel_model::student::Student;
use model::{Model, recipe, write_rows};
use tempfile::TempDir;

/// Files that all tests share: rows, a student that knows nothing, and a teacher that has learnt the rows.
struct Shared {
    folder: TempDir,
    student: Model,
    teacher: Model,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_rows(&at("rows.jsonl"));
        let student = Model::new(1);
        student.write(&at("student"));
        let base = Model::new(2).write(&at("base"));
        let mut learnt = recipe(&base, &at("rows.jsonl"), &at("learnt"), 60);
        learnt.lora.r = 16;
        let summary = train(&learnt, false, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(summary.final_train_loss.unwrap() < 2.0, "{:?}", summary.final_train_loss);
        let merged = at("merged");
        let opened = Student::open(&base).unwrap();
        merge::merge(&opened, &at("learnt/adapter"), &merged, merge::Stored::new(Dtype::F32), &mut |_, _| {}, |_| {
            Ok(())
        })
        .unwrap();
        let teacher = student.with_weights_of(&merged);
        drop(opened);
        Shared { folder, student, teacher }
    })
}

/// A pair in a folder of its own.
struct Pair {
    folder: TempDir,
    recipe: Recipe,
}

impl Pair {
    fn new(student: &Model, teacher: &Model) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let student = student.write(&folder.path().join("student"));
        let teacher = teacher.write(&folder.path().join("teacher"));
        let rows = shared().folder.path().join("rows.jsonl");
        let mut recipe = recipe(&student, &rows, &folder.path().join("run"), 1);
        recipe.distill.kind = vec![LossTerm::Logits];
        recipe.distill.teacher = Some(teacher);
        Pair { folder, recipe }
    }

    fn of(teacher: &Model) -> Pair {
        Pair::new(&shared().student, teacher)
    }

    fn with(mut self, change: impl FnOnce(&mut Recipe)) -> Pair {
        change(&mut self.recipe);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a run says of the teacher, or how it ends.
    fn run(&self) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        let (mut is_told, mut began) = (false, false);
        let ended = train(&self.recipe, false, &AtomicBool::new(false), &mut |event| match event {
            Event::Started(started) => notes = started.pair_notes.clone(),
            Event::Stage(Stage::CheckingTeacher) => is_told = true,
            Event::Pass { .. } => began = true,
            _ => {}
        });
        assert!(is_told, "progress says what goes on");
        assert_eq!(began, ended.is_ok(), "a pair that does not fit is found before the first step");
        if ended.is_err() {
            assert!(!self.path("run/metrics.jsonl").exists() && !self.path("run/rows").exists());
        }
        ended.map(|_| notes)
    }

    /// What is found of a pair that does not fit.
    fn findings(&self) -> Vec<Finding> {
        match self.run() {
            Err(Error::Pair { mismatch, .. }) => mismatch.findings().to_vec(),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it was trained"),
        }
    }

    /// That a pair is refused for this, above all, in these words.
    fn assert_refused(&self, check: Check, words: &[&str]) {
        let findings = self.findings();
        let [first, ..] = findings.as_slice() else { panic!("no finding") };
        assert_eq!(first.check, check, "{findings:#?}");
        for word in words {
            assert!(first.to_string().contains(word), "{first}\nlacks {word}");
        }
        let warned = Pair { folder: tempfile::tempdir().unwrap(), recipe: self.recipe.clone() };
        let output_dir = Some(warned.path("run"));
        let warned = warned.with(|recipe| {
            recipe.distill.pair_check = PairCheck::Warn;
            recipe.train.output_dir = output_dir;
        });
        match check {
            Check::Ids | Check::MissingTokens => assert!(matches!(warned.run(), Err(Error::Pair { .. }))),
            _ => assert!(warned.run().unwrap().contains(&first.to_string())),
        }
    }
}

fn teacher() -> Model {
    shared().teacher.clone()
}
