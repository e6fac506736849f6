//! A steady step allocates nothing. Training: forward, head, loss, backward, optimiser. Generation: a pass, sampling, and its results. The
//! allocations of all threads are counted, after each kind of step has run once. Reading rows, writing metrics and decoding tokens are not
//! included. There is only one test here, because a second one at the same time would be counted, too.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/learning.rs"]
mod learning;

use std::sync::Arc;

use aludel_distill::learner::Learner;
use aludel_distill::objective::{Distillation, HiddenStates};
use aludel_distill::supervision::LossTerm;
use aludel_distill::teacher::OnlineTeacher;
use aludel_kernels::Context;
use aludel_kernels::check::{CountingAllocator, random};
use aludel_kernels::linear::{self, FrozenWeight, Input, Precision, Start};
use aludel_kernels::loss::divergence::{Divergence, DivergenceArgs, Softmax};
use aludel_kernels::loss::hidden::HiddenLoss;
use aludel_kernels::optim;
use aludel_kernels::quant::BlockType;
use aludel_model::decoder::StepDropout;
use aludel_model::generate::{Engine, Request, Sampling};
use learning::{load, load_adapter, row, tokens};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[test]
fn a_steady_step_allocates_nothing() {
    assert!(ALLOCATOR.count(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "nothing is counted");
    for precision in [Precision::F32, Precision::Bf16] {
        for (model, adapter) in [("tied", "all_linear"), ("tied", "rows"), ("untied", "rows")] {
            for gradient_checkpointing in [false, true] {
                training(precision, model, adapter, gradient_checkpointing, false);
            }
            training(precision, model, adapter, true, true);
        }
        generation(precision, "untied", None);
        generation(precision, "tied", Some("rows"));
    }
    kept_weights();
}

/// Fails if `work` allocates.
fn check(what: &str, work: impl FnOnce()) {
    let allocations = ALLOCATOR.count(work);
    assert_eq!(allocations, 0, "{what}: the step asked the allocator {allocations} times");
}

fn training(precision: Precision, model: &str, adapter: &str, gradient_checkpointing: bool, has_teacher: bool) {
    let mut ctx = Context::cpu(2);
    // of another width, so that projections are trained
    let teacher = has_teacher.then(|| OnlineTeacher::new(load(&mut ctx, "head_dim", precision), None, 100, 160));
    let decoder = load(&mut ctx, model, precision);
    let named = load_adapter(&mut ctx, &decoder, model, adapter);
    let mut learner = Learner::new(ctx, decoder, named, gradient_checkpointing);
    if let Some(mut teacher) = teacher {
        let widths = [learner.decoder.config().hidden_size, teacher.config().hidden_size];
        let (pairs, loss) = (vec![[1, 1], [2, 2]], HiddenLoss::NormalisedMse);
        let states = HiddenStates::new(&mut learner.ctx, pairs, loss, widths, precision, 1);
        teacher.keep_layers(states.teacher_layers());
        let terms = vec![(LossTerm::Ce, 0.5), (LossTerm::Hidden, 0.5), (LossTerm::Logits, 0.5)];
        let softmax = Softmax { vocab: 160, temperature: 2.0 };
        let divergence = DivergenceArgs { divergence: Divergence::ForwardKl, softmax };
        let objective = Distillation::new(terms, divergence, Box::new(teacher)).with_hidden(states);
        learner = learner.with_objective(Box::new(objective.balanced(widths[0])));
    }
    learner.plan(400);
    // passes of other rows than those before, but no larger than was planned
    let passes = [vec![row(0, 400)], vec![row(1, 70), row(2, 130), row(3, 1), row(4, 64)], vec![row(5, 2)]];
    let mut step = |number: u64| {
        learner.zero_gradients();
        let mut supervised = 0;
        for pass in &passes {
            let dropout = Some(StepDropout { probability: 0.1, key: number });
            supervised += learner.accumulate(pass, dropout).unwrap().supervised;
        }
        let numbers = optim::Step { inverse_count: 1.0 / supervised as f32, number, ..optim::Step::default() };
        assert!(learner.step(&numbers) > 0.0);
    };
    step(1);
    let what = format!(
        "training {model}, adapter {adapter}, {precision:?}, checkpointing {gradient_checkpointing}, teacher {has_teacher}"
    );
    check(&what, || (2..5).for_each(&mut step));
    check(&format!("evaluation, {what}"), || {
        learner.evaluate(&passes[1]).unwrap();
    });
}

fn generation(precision: Precision, model: &str, adapter: Option<&str>) {
    let mut ctx = Context::cpu(2);
    let decoder = Arc::new(load(&mut ctx, model, precision));
    let adapter = adapter.map(|name| Arc::new(load_adapter(&mut ctx, &decoder, model, name)));
    let mut engine = Engine::new(&mut ctx, decoder, adapter, 1024, 256);
    let likely = Sampling { temperature: 0.8, top_k: 20, repetition_penalty: 1.1, seed: 3, ..Sampling::default() };
    let nucleus = Sampling { temperature: 1.0, top_p: 0.9, min_p: 0.01, seed: 4, ..Sampling::default() };
    let samplings = [Sampling::default(), likely, nucleus];
    for (sampling, length) in samplings.into_iter().zip([5, 60, 120]) {
        let request =
            Request { prompt: tokens(9, length), max_new_tokens: 200, sampling, stop_ids: vec![], top_logprobs: 0 };
        engine.submit(request).unwrap();
    }
    let mut steps = |count: usize| {
        for _ in 0..count {
            assert_eq!(engine.step(&mut ctx).len(), 3);
        }
    };
    steps(2);
    // far enough for each sequence to need another block of the cache
    check(&format!("generation with {model}, {precision:?}"), || steps(80));
}

/// Products with weights in their file's quantisation, which the small models do not have.
fn kept_weights() {
    let (rows, d_out, d_in) = (3, 96, 64);
    let bytes = vec![0x11; BlockType::Q8_0.bytes_for(d_in).unwrap()];
    let mut ctx = Context::cpu(2);
    let weight = FrozenWeight::keep(&mut ctx, BlockType::Q8_0, d_out, d_in, |_| &bytes).unwrap();
    let x = ctx.upload_persistent(rows, d_in, &random(1, rows * d_in));
    let y = ctx.persistent(rows, d_out);
    let run = |ctx: &mut Context| {
        ctx.reset();
        let input = Input::new(ctx, x, std::iter::once(weight), false);
        linear::forward(ctx, &input, &[linear::Product { weight, lora: None, start: Start::Zero, y }]);
    };
    ctx.plan(run);
    check("a weight in its file's quantisation", || (0..3).for_each(|_| run(&mut ctx)));
}
