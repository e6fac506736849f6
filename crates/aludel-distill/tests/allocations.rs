//! A steady step allocates nothing. Training: forward, head, loss, backward, optimiser. Generation: a pass, the choice of tokens, and
//! what is told of them. Counted is what all threads ask of the allocator, once each kind of step has run before. Reading rows,
//! writing metrics and turning tokens into text are outside. There is one test here, since another beside it would be counted, too.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_data::dataset::PromptKey;
use aludel_data::token_cache::{RowInfo, TokenRow};
use aludel_distill::learner::Learner;
use aludel_distill::objective::CrossEntropy;
use aludel_formats::hf;
use aludel_kernels::Context;
use aludel_kernels::check::{CountingAllocator, random};
use aludel_kernels::linear::{self, FrozenWeight, Input, Precision, Start};
use aludel_kernels::optim;
use aludel_kernels::quant::BlockType;
use aludel_model::adapter::Adapter;
use aludel_model::config::Config;
use aludel_model::decoder::{Decoder, StepDropout};
use aludel_model::generate::{Engine, Request, Sampling};
use aludel_model::weights::{Files, Weights};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[test]
fn a_steady_step_allocates_nothing() {
    assert!(ALLOCATOR.count(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "nothing is counted");
    for precision in [Precision::F32, Precision::Bf16] {
        for (model, adapter) in [("tied", "all_linear"), ("tied", "rows"), ("untied", "rows")] {
            for gradient_checkpointing in [false, true] {
                training(precision, model, adapter, gradient_checkpointing);
            }
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

fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures").join(model)
}

fn load(ctx: &mut Context, model: &str, precision: Precision) -> Decoder {
    let folder = hf::Folder::open(fixture(model).join("model")).unwrap();
    let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
    let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
    Decoder::load(ctx, &config, &weights, precision, 512).unwrap()
}

fn load_adapter(ctx: &mut Context, decoder: &Decoder, model: &str, name: &str) -> Adapter {
    Adapter::load(ctx, decoder.config(), &fixture(model).join(format!("adapter_{name}"))).unwrap()
}

fn tokens(seed: u32, count: u32) -> Vec<u32> {
    (0..count).map(|i| (seed + i * 37) % 160).collect()
}

/// A row whose second half is learnt.
fn row(number: u32, length: u32) -> (u32, TokenRow) {
    let weights = (0..length).map(|t| if t < length / 2 { 0.0 } else { 1.0 }).collect();
    let info = RowInfo {
        tokens: length,
        supervised: length.div_ceil(2),
        example: number.into(),
        prompt_key: PromptKey(0),
        file_index: 0,
        line: 0,
    };
    (number, TokenRow { ids: tokens(number, length), weights, info })
}

fn training(precision: Precision, model: &str, adapter: &str, gradient_checkpointing: bool) {
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, model, precision);
    let named = load_adapter(&mut ctx, &decoder, model, adapter);
    let mut learner = Learner::new(ctx, decoder, named, gradient_checkpointing);
    learner.plan(400);
    // passes of other rows than those before, but no larger than was planned
    let passes = [vec![row(0, 400)], vec![row(1, 70), row(2, 130), row(3, 1), row(4, 64)], vec![row(5, 2)]];
    let mut step = |number: u64| {
        learner.zero_gradients();
        let mut supervised = 0;
        for pass in &passes {
            let dropout = Some(StepDropout { probability: 0.1, key: number });
            supervised += learner.accumulate(pass, &CrossEntropy, dropout).supervised;
        }
        let numbers = optim::Step { inverse_count: 1.0 / supervised as f32, number, ..optim::Step::default() };
        assert!(learner.step(&numbers) > 0.0);
    };
    step(1);
    let what = format!("training {model}, adapter {adapter}, {precision:?}, checkpointing {gradient_checkpointing}");
    check(&what, || (2..5).for_each(&mut step));
    check(&format!("evaluation, {what}"), || {
        learner.evaluate(&passes[1], &CrossEntropy);
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
        let request = Request { prompt: tokens(9, length), max_new_tokens: 200, sampling, stop_ids: vec![] };
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
    let weight = FrozenWeight::keep(BlockType::Q8_0, d_out, d_in, |_| &bytes).unwrap();
    let mut ctx = Context::cpu(2);
    let x = ctx.upload_persistent(rows, d_in, &random(1, rows * d_in));
    let y = ctx.persistent(rows, d_out);
    let run = |ctx: &mut Context| {
        ctx.reset();
        let input = Input::new(ctx, x, std::iter::once(&weight), false);
        linear::forward(ctx, &input, &[linear::Product { weight: &weight, lora: None, start: Start::Zero, y }]);
    };
    ctx.plan(run);
    check("a weight in its file's quantisation", || (0..3).for_each(|_| run(&mut ctx)));
}
