//! Whoever loads a model is told how far it is, from the first weight to the last, and may break it off where that is of use.
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "pair_preflight/model.rs"]
#[expect(dead_code, reason = "it also makes what tests of pairs need")]
mod model;

use std::cell::RefCell;
use std::ops::ControlFlow;

use aludel_distill::Error;
use aludel_distill::chat::ChatModel;
use aludel_distill::evaluate::local::LocalBackend;
use aludel_distill::evaluate::loss::{RowsProgress, held_out_loss};
use aludel_distill::evaluate::results::Settings;
use aludel_distill::settings::{StudentSettings, TemplateInputs};
use model::{Model, recipe, write_rows};

/// What was told rises from nothing to all.
fn check(told: &[(u64, u64)]) {
    let (Some(&(first, total)), Some(&(last, _))) = (told.first(), told.last()) else { panic!("nothing was told") };
    assert!(told.len() > 4 && first == 0 && last == total && total > 0, "{told:?}");
    assert!(told.is_sorted() && told.iter().all(|&(_, of)| of == total), "{told:?}");
}

#[test]
fn models_tell_how_far_they_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let student = Model::new(1).write(&folder.path().join("student"));
    let told = RefCell::new(Vec::new());
    let (settings, inputs) = (StudentSettings::default(), TemplateInputs::default());
    ChatModel::open(&student, None, &settings, inputs, &|done, total| told.borrow_mut().push((done, total))).unwrap();
    check(&told.take());

    let sampling = Settings {
        samples: 1,
        temperature: 0.0,
        top_p: 1.0,
        max_new_tokens: 4,
        seed: 0,
        dtype: None,
        template_date: None,
        template_variables: serde_json::Map::new(),
    };
    let open = |most: usize| {
        let watch = |done, total| {
            told.borrow_mut().push((done, total));
            if told.borrow().len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        LocalBackend::open(&student, None, &settings, &sampling, 100, None, &watch)
    };
    assert!(open(usize::MAX).is_ok());
    check(&told.take());
    assert!(matches!(open(2), Err(Error::Model(aludel_model::Error::Stopped))));
    assert_eq!(told.take().len(), 2);

    let data = folder.path().join("rows.jsonl");
    write_rows(&data);
    let rows = RefCell::new(Vec::new());
    let tell = |progress| match progress {
        RowsProgress::Loading { done, total } => told.borrow_mut().push((done, total)),
        RowsProgress::Rows { done, total } => rows.borrow_mut().push((done, total)),
    };
    let loss = held_out_loss(&recipe(&student, &data, &folder.path().join("run"), 1), &tell).unwrap();
    check(&told.take());
    assert_eq!(rows.borrow().last(), Some(&(loss.rows, loss.rows)));
}
