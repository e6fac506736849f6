//! Predictions that are shifted: a teacher whose answers belong to other places of a row.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use aludel_data::dataset::{self, PromptKey};
use aludel_data::token_cache::{RowInfo, TokenRow};
use aludel_distill::Result;
use aludel_distill::learner::context;
use aludel_distill::prepare::Preparer;
use aludel_distill::settings::Recipe;
use aludel_distill::supervision::LossTerm;
use aludel_distill::supervision::SupervisedBatch;
use aludel_distill::teacher::preflight::{Check, Predictions, check_texts, sampled_rows};
use aludel_distill::teacher::{Loading, OnlineTeacher, Teacher};
use aludel_kernels::loss::divergence::DivergenceArgs;
use aludel_kernels::{Context, Mat};
use aludel_model::student::Student;
use serde_json::json;

use crate::model::recipe;
use crate::{Pair, teacher};

struct Shifted {
    teacher: OnlineTeacher,
    /// Which token of the row is predicted at the place of each: 0 the one after it, as it should be.
    by: i32,
}

impl Teacher for Shifted {
    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()> {
        self.teacher.begin(ctx, batch)
    }

    fn divergence(&self, _: &mut Context, _: Mat, _: Range<usize>, _: Mat, _: DivergenceArgs, _: Mat, _: bool) {
        unreachable!("nothing is trained")
    }

    /// What the teacher says at the neighbour's place.
    fn target_losses(
        &mut self,
        ctx: &mut Context,
        batch: &SupervisedBatch,
        targets: &[&[u32]],
    ) -> Result<Option<Vec<Vec<f32>>>> {
        let mut moved = SupervisedBatch::default();
        moved.pass = batch.pass.clone();
        let ends: Vec<u32> = batch.pass.rows.iter().map(|row| row.end as u32 - 1).collect();
        for (&place, &target) in batch.chosen.iter().zip(&batch.targets) {
            let end = ends.iter().copied().find(|&end| place <= end).unwrap();
            moved.chosen.push(place.saturating_add_signed(self.by).min(end));
            moved.targets.push(target);
            moved.weights.push(1.0);
        }
        self.teacher.target_losses(ctx, &moved, targets)
    }

    fn vocab(&self) -> usize {
        self.teacher.vocab()
    }

    fn weight_bytes(&self) -> usize {
        0
    }

    fn max_length(&self) -> Option<usize> {
        None
    }

    fn reach(&mut self, _: &mut Context, _: usize) {}
}

/// What the right teacher of a recipe predicts, as if shifted.
fn predictions(recipe: &Recipe, by: i32) -> (Predictions, usize) {
    let student = Student::open(recipe.student_model().unwrap()).unwrap();
    let mut ctx = context(&recipe.student).unwrap();
    let loading = Loading::Read(&|_, _| ControlFlow::Continue(()));
    let length = recipe.train.max_length.limit();
    let teacher = OnlineTeacher::load(&mut ctx, &student, &recipe.distill, length, loading).unwrap();
    let rows = rows(&student, recipe);
    let sample = sampled_rows(rows.len(), |row| Ok(rows[row].clone())).unwrap();
    let mut shifted = Shifted { teacher, by };
    let found =
        Predictions::ask(&mut ctx, &mut shifted, &sample, 512, &mut || ControlFlow::Continue(())).unwrap().unwrap();
    (found, shifted.vocab())
}

fn rows(student: &Student, recipe: &Recipe) -> Vec<TokenRow> {
    let preparer = Preparer::new(student, recipe);
    let records = dataset::open(&recipe.data.files, &recipe.data.read_options()).unwrap();
    let rows = records.map(|record| preparer.prepare(&record.unwrap()).unwrap().remove(0).encoded.unwrap());
    let info = RowInfo { tokens: 0, supervised: 0, example: 0, prompt_key: PromptKey(0), file_index: 0, line: 0 };
    rows.map(|row| TokenRow { ids: row.ids, weights: row.weights, context: Vec::new(), info }).collect()
}

#[test]
fn predictions_that_are_shifted_by_one() {
    let pair = Pair::of(&teacher());
    let (right, vocab) = predictions(&pair.recipe, 0);
    assert_eq!(right.judge(vocab, &pair.recipe.distill), None, "{right:?}");
    for (by, which) in [(-1, "before"), (1, "after")] {
        let (found, vocab) = predictions(&pair.recipe, by);
        let finding = found.judge(vocab, &pair.recipe.distill).unwrap();
        assert_eq!(finding.check, Check::Shift, "{finding}");
        assert!(finding.what.contains(&format!("they fit the token {which} the one")), "{finding}");
    }
}

#[test]
fn a_real_model_teaches_itself_and_not_when_it_is_shifted() {
    let Some(path) = std::env::var_os("ALUDEL_TEST_STUDENT") else {
        assert!(std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(), "ALUDEL_TEST_STUDENT is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let row = json!({"prompt": "What is the capital of France?", "response": "The capital of France is Paris. It lies on the river Seine, and more than two million people live there."});
    fs::write(&data, format!("{row}\n")).unwrap();
    let mut recipe = recipe(Path::new(&path), &data, &folder.path().join("run"), 1);
    recipe.distill.kind = vec![LossTerm::Logits];
    recipe.distill.teacher = Some(path.into());
    let student = Student::open(recipe.student_model().unwrap()).unwrap();
    assert_eq!(check_texts(&student, &recipe).unwrap(), []);
    for by in [-1, 0, 1] {
        let (found, vocab) = predictions(&recipe, by);
        let check = found.judge(vocab, &recipe.distill).map(|finding| finding.check);
        assert_eq!(check, (by != 0).then_some(Check::Shift), "{found:?}");
        let guessing = (vocab as f64).ln();
        assert!(by != 0 || found.own.value() < 0.3 * guessing, "{found:?}");
    }
}
