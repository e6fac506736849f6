//! The learner and the generation engine give the same results on every device, because they use only handles.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/learning.rs"]
mod learning;

use std::sync::Arc;

use aludel_data::token_cache::TokenRow;
use aludel_distill::learner::Learner;
use aludel_kernels::check::{assert_close, wide};
use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, optim};
use aludel_model::decoder::StepDropout;
use aludel_model::generate::{Engine, Event, Request, Sampling};
use learning::{load, load_adapter, row, tokens};

/// Losses and gradient norms of three steps with dropout, an evaluation, and the adapter at the end.
fn train(mut ctx: Context, model: &str, gradient_checkpointing: bool) -> (Vec<f64>, Vec<f32>) {
    let decoder = load(&mut ctx, model, Precision::F32);
    let adapter = load_adapter(&mut ctx, &decoder, model, "rows");
    let mut learner = Learner::new(ctx, decoder, adapter, gradient_checkpointing);
    learner.plan(100);
    let passes = [vec![row(0, 40), row(1, 60)], vec![row(2, 17)]];
    let mut figures = Vec::new();
    for number in 1..=3 {
        learner.zero_gradients();
        let mut supervised = 0;
        for pass in &passes {
            let dropout = Some(StepDropout { probability: 0.1, key: number });
            let sums = learner.accumulate(pass, dropout).unwrap();
            figures.push(sums.mean_loss());
            supervised += sums.supervised;
        }
        let inverse_count = 1.0 / supervised as f32;
        let step = optim::Step { inverse_count, number, max_grad_norm: 0.5, ..optim::Step::default() };
        figures.push(learner.step(&step));
    }
    figures.push(learner.evaluate(&passes[0]).unwrap().mean_loss());
    (figures, learner.ctx.download(learner.adapter.parameters()))
}

#[test]
fn a_learner_learns_the_same() {
    for model in ["tied", "untied"] {
        for gradient_checkpointing in [false, true] {
            let (expected, adapter) = train(Context::cpu(2), model, gradient_checkpointing);
            let (figures, same) = train(Context::reference(), model, gradient_checkpointing);
            for (got, expected) in figures.iter().zip(&expected) {
                assert!((got - expected).abs() <= 1e-4 * expected.abs(), "{model}: {figures:?} {expected:?}");
            }
            assert!(expected[0] > expected[6], "{model}: the loss does not fall: {expected:?}");
            assert_close(model, &same, &wide(&adapter), 1e-3);
        }
    }
}

/// Memory is planned with one long row, and a pass may have as many short ones as it has tokens.
#[test]
fn a_pass_of_many_short_rows_fits_where_one_long_row_was_planned() {
    for (rows, length) in [(13, 2), (26, 1), (2, 13), (9, 3)] {
        let mut ctx = Context::cpu(2);
        let decoder = load(&mut ctx, "tied", Precision::F32);
        let adapter = load_adapter(&mut ctx, &decoder, "tied", "all_linear");
        let mut learner = Learner::new(ctx, decoder, adapter, false);
        learner.plan(rows * length);
        let rows: Vec<_> = (0..rows as u32).map(|number| row(number, length as u32)).map(all_learnt).collect();
        learner.zero_gradients();
        learner.accumulate(&rows, None).unwrap();
    }
}

/// A row of which every token counts.
fn all_learnt((number, mut row): (u32, TokenRow)) -> (u32, TokenRow) {
    row.weights.fill(1.0);
    (number, row)
}

/// Tokens of several sequences that run at once, and their log-probabilities.
fn generate(mut ctx: Context, model: &str) -> Vec<(u64, u32, f32)> {
    let decoder = Arc::new(load(&mut ctx, model, Precision::F32));
    let adapter = Arc::new(load_adapter(&mut ctx, &decoder, model, "rows"));
    let mut engine = Engine::new(&mut ctx, decoder, Some(adapter), 512, 48);
    let likely = Sampling { temperature: 0.8, top_k: 20, repetition_penalty: 1.3, seed: 3, ..Sampling::default() };
    let nucleus = Sampling { temperature: 1.0, top_p: 0.9, min_p: 0.01, seed: 4, ..Sampling::default() };
    for (sampling, length) in [Sampling::default(), likely, nucleus].into_iter().zip([5, 80, 30]) {
        let request =
            Request { prompt: tokens(9, length), max_new_tokens: 20, sampling, stop_ids: vec![], top_logprobs: 0 };
        engine.submit_many(request, 0..2).unwrap();
    }
    let mut all = Vec::new();
    while !engine.is_idle() {
        for event in engine.step(&mut ctx) {
            let &Event::Token { request, token, log_probability, .. } = event else { panic!("{event:?}") };
            all.push((request.0, token, log_probability));
        }
    }
    all
}

#[test]
fn an_engine_generates_the_same() {
    for model in ["tied", "untied"] {
        let (expected, got) = (generate(Context::cpu(2), model), generate(Context::reference(), model));
        assert_eq!(expected.len(), 6 * 20);
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!((got.0, got.1), (expected.0, expected.1), "{model}");
            assert!((got.2 - expected.2).abs() <= 1e-4, "{model}: {got:?} {expected:?}");
        }
    }
}
