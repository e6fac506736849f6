//! The generation engine on a small random model, and on the real student: a sequence does not depend on those beside it, and a failed one
//! does not affect the others.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_formats::hf;
use aludel_formats::peft::{AdapterConfig, TargetModules};
use aludel_kernels::linear::{Precision, Quantization};
use aludel_kernels::{Context, Region};
use aludel_model::adapter::{Adapter, AdapterInit, AdapterOptions, NewRows};
use aludel_model::config::Config;
use aludel_model::decoder::{Attention, Decoder, PackedBatch, WeightFormat};
use aludel_model::generate::{Engine, Event, Finish, Request, RequestId, Sampling};
use aludel_model::student::Student;
use aludel_model::weights::{Files, Weights};

/// A model of two layers, 160 tokens and 512 positions, whose head is not tied to the embedding.
fn small_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/untied/model")
}

fn load(ctx: &mut Context, folder: &Path, precision: Precision) -> Arc<Decoder> {
    let folder = hf::Folder::open(folder).unwrap();
    let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
    let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
    Arc::new(Decoder::load(ctx, &config, &weights, precision, 512).unwrap())
}

/// An engine without an adapter.
fn engine(ctx: &mut Context, decoder: &Arc<Decoder>, context_tokens: usize, tokens_per_pass: usize) -> Engine {
    Engine::new(ctx, Arc::clone(decoder), None, context_tokens, tokens_per_pass)
}

fn request(prompt: Vec<u32>, max_new_tokens: usize, sampling: Sampling) -> Request {
    Request { prompt, max_new_tokens, sampling, stop_ids: vec![], top_logprobs: 0 }
}

/// `length` tokens that differ with `number`.
fn prompt(number: u32, length: u32) -> Vec<u32> {
    (0..length).map(|i| (i * i * 31 + i * 7 + number * 13 + 3) % 160).collect()
}

fn sampled(seed: u64) -> Sampling {
    Sampling { temperature: 1.0, top_p: 0.95, top_k: 40, repetition_penalty: 1.1, seed, ..Sampling::default() }
}

/// All events of an engine until it is idle, by sequence.
#[derive(Default)]
struct Said {
    tokens: BTreeMap<u64, Vec<(u32, f32)>>,
    finish: BTreeMap<u64, Finish>,
    failed: Vec<(RequestId, usize)>,
}

fn run(engine: &mut Engine, ctx: &mut Context) -> Said {
    let mut said = Said::default();
    while !engine.is_idle() {
        for &event in engine.step(ctx) {
            let id = event.request().0;
            assert!(!said.finish.contains_key(&id), "{id} went on after its end");
            match event {
                Event::Token { token, log_probability, finish, .. } => {
                    said.tokens.entry(id).or_default().push((token, log_probability));
                    said.finish.extend(finish.map(|finish| (id, finish)));
                }
                Event::Failed { request, position } => said.failed.push((request, position)),
            }
        }
    }
    let (free, all) = engine.free_blocks();
    assert_eq!(free, all, "blocks were lost");
    said
}

/// The requests of one job: a prompt and the samples wanted of it.
fn job() -> Vec<(Request, Range<u32>)> {
    vec![
        (request(prompt(1, 130), 40, sampled(5)), 0..4),
        (request(prompt(2, 64), 90, sampled(5)), 0..3),
        (request(prompt(3, 1), 70, sampled(5)), 0..2),
        (request(prompt(4, 200), 25, Sampling::default()), 0..1),
    ]
}

/// The order in which the requests of the job are submitted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Forwards,
    Backwards,
}

/// Each sample of each request of the job, generated alone.
fn alone(precision: Precision) -> BTreeMap<(usize, u32), Vec<(u32, f32)>> {
    let mut ctx = Context::cpu(1);
    let decoder = load(&mut ctx, &small_model(), precision);
    let mut all = BTreeMap::new();
    for (number, (request, samples)) in job().into_iter().enumerate() {
        for sample in samples {
            let mut engine = engine(&mut ctx, &decoder, 512, 512);
            let ids = engine.submit_many(request.clone(), sample..sample + 1).unwrap();
            let mut said = run(&mut engine, &mut ctx);
            all.insert((number, sample), said.tokens.remove(&ids[0].0).unwrap());
        }
    }
    all
}

#[test]
fn a_sample_is_the_same_alone_shared_crowded_and_on_any_thread_count() {
    for precision in [Precision::F32, Precision::Bf16] {
        let expected = alone(precision);
        assert_ne!(expected[&(0, 0)], expected[&(0, 1)], "samples of one seed must differ");
        let check = |threads: usize, (context_tokens, tokens_per_pass): (usize, usize), order: Order, split: bool| {
            let what = format!(
                "{precision:?}, {threads} threads, {context_tokens} tokens, {tokens_per_pass} a pass, {order:?}"
            );
            let mut ctx = Context::cpu(threads);
            let decoder = load(&mut ctx, &small_model(), precision);
            let mut engine = engine(&mut ctx, &decoder, context_tokens, tokens_per_pass);
            let mut jobs: Vec<_> = job().into_iter().enumerate().collect();
            if order == Order::Backwards {
                jobs.reverse();
            }
            let mut names = BTreeMap::new();
            for (number, (request, samples)) in jobs {
                let parts = if split { samples.map(|sample| sample..sample + 1).collect() } else { vec![samples] };
                for samples in parts {
                    let ids = engine.submit_many(request.clone(), samples.clone()).unwrap();
                    names.extend(ids.iter().map(|id| id.0).zip(samples.map(|sample| (number, sample))));
                }
            }
            let said = run(&mut engine, &mut ctx);
            for (id, tokens) in said.tokens {
                let name = names[&id];
                assert!(tokens == expected[&name], "{what}: sample {name:?} differs");
                names.remove(&id);
            }
            assert!(names.is_empty(), "{what}: nothing was said by {names:?}");
        };
        check(1, (4096, 512), Order::Forwards, false);
        check(2, (4096, 512), Order::Backwards, false);
        check(3, (4096, 512), Order::Forwards, true);
        check(2, (4096, 7), Order::Forwards, false);
        // room for about two at a time: sequences wait, leave for older ones, and come back
        check(2, (448, 100), Order::Forwards, false);
        check(1, (448, 33), Order::Backwards, true);
    }
}

/// Every token's log-probability under the unchanged logits, from a pass without a cache.
#[test]
fn log_probabilities_are_those_of_the_model() {
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    for ((number, _), said) in alone(Precision::F32) {
        let mut row = job()[number].0.prompt.clone();
        let start = row.len();
        row.extend(said.iter().map(|&(token, _)| token));
        let mut pass = PackedBatch::default();
        pass.push(0, &row);
        let run = |ctx: &mut Context| {
            let forward = decoder.forward(ctx, &pass, Attention::Rows, None, None);
            let logits = ctx.alloc(Region::Io, row.len(), decoder.vocab_size(None));
            decoder.logits(ctx, forward.hidden, None, logits);
            ctx.download(logits)
        };
        ctx.plan(run);
        let logits = run(&mut ctx);
        for (i, &(token, log_probability)) in said.iter().enumerate() {
            let logits = &logits[(start + i - 1) * 160..(start + i) * 160];
            let log_sum = logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            let off = (f64::from(log_probability) - f64::from(logits[token as usize]) + log_sum).abs();
            assert!(off <= 1e-5, "request {number}, token {i}: off by {off}");
        }
    }
}

#[test]
fn cancelling_frees_blocks_and_disturbs_nobody() {
    let expected = alone(Precision::F32);
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let mut engine = engine(&mut ctx, &decoder, 1024, 64);
    let (request, samples) = job().remove(0);
    let ids = engine.submit_many(request, samples).unwrap();
    assert_eq!(engine.free_blocks(), (16, 16));
    engine.step(&mut ctx);
    // two blocks that all share, and one for each; the first sample leaves while it computes the prompt for the others
    assert_eq!(engine.free_blocks(), (10, 16));
    engine.cancel(ids[0]);
    assert_eq!(engine.free_blocks(), (11, 16));
    engine.cancel(ids[0]);
    assert_eq!(engine.free_blocks(), (11, 16), "a second time means nothing");
    let said = run(&mut engine, &mut ctx);
    assert_eq!(said.tokens.len(), 3);
    for (sample, id) in ids.iter().enumerate().skip(1) {
        assert!(said.tokens[&id.0] == expected[&(0, sample as u32)], "sample {sample} differs");
    }
}

/// The adapter belongs to the engine: one with and one without take turns on one decoder, and neither reads the other's keys.
#[test]
fn engines_with_and_without_an_adapter_take_turns() {
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let folder = small_model().with_file_name("adapter_all_linear");
    let adapter = Arc::new(Adapter::load(&mut ctx, decoder.config(), &folder).unwrap());
    let ask = || request(prompt(1, 70), 12, Sampling::default());
    let make = |ctx: &mut Context, adapter: &Option<Arc<Adapter>>| {
        let mut engine = Engine::new(ctx, Arc::clone(&decoder), adapter.clone(), 256, 64);
        engine.submit(ask()).unwrap();
        engine
    };
    let both = [None, Some(adapter)];
    let alone = both.each_ref().map(|adapter| {
        let mut engine = make(&mut ctx, adapter);
        run(&mut engine, &mut ctx).tokens
    });
    assert_ne!(alone[0], alone[1], "the adapter changes nothing");
    let mut engines = both.each_ref().map(|adapter| make(&mut ctx, adapter));
    let mut said = [BTreeMap::<u64, Vec<(u32, f32)>>::new(), BTreeMap::new()];
    while engines.iter().any(|engine| !engine.is_idle()) {
        for (engine, said) in engines.iter_mut().zip(&mut said) {
            for event in engine.step(&mut ctx) {
                let Event::Token { token, log_probability, .. } = *event else { panic!("{event:?}") };
                said.entry(event.request().0).or_default().push((token, log_probability));
            }
        }
    }
    assert_eq!(said, alone);
}

#[test]
fn each_end_has_its_name() {
    let mut ctx = Context::cpu(1);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let mut engine = engine(&mut ctx, &decoder, 128, 64);
    assert_eq!(engine.context_tokens(), 128);
    let free = request(prompt(1, 120), 3, Sampling::default());
    let ids = [
        engine.submit(free.clone()).unwrap(),
        engine.submit(Request { max_new_tokens: 8, ..free.clone() }).unwrap(),
        engine.submit(Request { max_new_tokens: usize::MAX, ..free.clone() }).unwrap(),
    ];
    let said = run(&mut engine, &mut ctx);
    let ends = ids.map(|id| (said.tokens[&id.0].len(), said.finish[&id.0]));
    assert_eq!(ends, [(3, Finish::Length), (8, Finish::Length), (8, Finish::Context)]);
    let third = said.tokens[&ids[2].0][2].0;
    let first = said.tokens[&ids[2].0].iter().position(|&(token, _)| token == third).unwrap() + 1;
    let id = engine.submit(Request { stop_ids: vec![third], max_new_tokens: first, ..free }).unwrap();
    let said = run(&mut engine, &mut ctx);
    assert_eq!(
        (said.tokens[&id.0].len(), said.finish[&id.0]),
        (first, Finish::Stop),
        "a stop token comes before a length"
    );
}

/// The likeliest tokens of all the vocabulary are a distribution; of fewer, its beginning. Who asks for none gets none, beside others too.
#[test]
fn the_likeliest_tokens_are_told_to_those_who_ask() {
    let mut ctx = Context::cpu(1);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let mut engine = engine(&mut ctx, &decoder, 512, 64);
    let asked = |top_logprobs| Request { top_logprobs, ..request(prompt(1, 20), 4, sampled(3)) };
    let ids = [160, 3, 0].map(|count| engine.submit(asked(count)).unwrap());
    let mut steps = 0;
    while !engine.is_idle() {
        let events = engine.step(&mut ctx).to_vec();
        let [all, some, none] = ids.map(|id| engine.top_logprobs(id));
        assert!(none.is_empty());
        if events.is_empty() {
            continue;
        }
        steps += 1;
        assert_eq!((all.len(), some), (160, &all[..3]));
        let sum: f64 = all.iter().map(|&(_, logprob)| f64::from(logprob).exp()).sum();
        assert!((sum - 1.0).abs() <= 1e-5, "{sum}");
        assert!(all.windows(2).all(|two| two[0].1 >= two[1].1), "{all:?}");
        let Some(Event::Token { token, log_probability, .. }) = events.iter().find(|event| event.request() == ids[0])
        else {
            panic!("{events:?}")
        };
        let told = all.iter().find(|(id, _)| id == token).unwrap().1;
        assert!((told - log_probability).abs() <= 1e-6, "{told} and {log_probability}");
    }
    assert_eq!(steps, 4);
}

#[test]
fn prompts_that_cannot_be_answered_are_refused_each_in_its_words() {
    let mut ctx = Context::cpu(1);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let mut engine = engine(&mut ctx, &decoder, 128, 64);
    for (prompt, words) in [(vec![], "no tokens"), (prompt(1, 128), "128 tokens"), (vec![1, 160], "token id 160")] {
        let error = engine.submit(request(prompt, 1, Sampling::default())).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(engine.is_idle());
}

/// An adapter that changes nothing but the embedding of one token, which becomes NaN. A model file with a NaN is not loaded.
fn damage(ctx: &mut Context, decoder: &Decoder, token: u32) -> Adapter {
    let options = AdapterOptions {
        config: AdapterConfig {
            r: 1,
            lora_alpha: 1.0,
            target_modules: Some(TargetModules::Names(vec!["o_proj".to_owned()])),
            ..AdapterConfig::default()
        },
        init: AdapterInit::Kaiming,
        seed: 0,
        rows: Some(NewRows { ids: vec![token], embedding: vec![f32::NAN; decoder.config().hidden_size], head: None }),
    };
    Adapter::new(ctx, decoder.config(), &options, "").unwrap()
}

#[test]
fn a_sequence_whose_logits_are_nan_fails_alone() {
    let expected = alone(Precision::F32);
    let clean: Vec<(usize, u32)> = expected.keys().copied().collect();
    let used: Vec<u32> = job().iter().flat_map(|(request, _)| request.prompt.clone()).collect();
    let said: Vec<u32> = expected.values().flatten().map(|&(token, _)| token).collect();
    let poison = (0..160).find(|token| !used.contains(token) && !said.contains(token)).unwrap();
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, &small_model(), Precision::F32);
    let adapter = Arc::new(damage(&mut ctx, &decoder, poison));
    let mut engine = Engine::new(&mut ctx, Arc::clone(&decoder), Some(adapter), 4096, 256);
    let mut names = BTreeMap::new();
    let mut bad = Vec::new();
    for (number, (request, samples)) in job().into_iter().enumerate() {
        let poisoned = Request { prompt: vec![1, poison, 2], ..request.clone() };
        bad.push((engine.submit(poisoned).unwrap(), 3));
        let ids = engine.submit_many(request, samples.clone()).unwrap();
        names.extend(samples.map(|sample| (number, sample)).zip(ids));
    }
    let said = run(&mut engine, &mut ctx);
    assert_eq!(said.failed, bad);
    for name in clean {
        assert!(said.tokens[&names[&name].0] == expected[&name], "{name:?} was disturbed");
    }
    assert_eq!(said.tokens.len(), names.len());
}

/// The real student that the environment names, if there is one.
fn real_student() -> Option<PathBuf> {
    let named = std::env::var_os("ALUDEL_TEST_STUDENT").map(PathBuf::from).filter(|path| path.exists());
    if named.is_none() {
        assert!(std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(), "ALUDEL_TEST_STUDENT names no student");
        eprintln!("skipped: ALUDEL_TEST_STUDENT names no student");
    }
    named
}

#[test]
fn the_real_student_says_the_same_alone_and_among_three() {
    let Some(path) = real_student() else { return };
    let student = Student::open(&path).unwrap();
    let formats = [
        (Precision::F32.into(), 2),
        (Precision::Bf16.into(), 1),
        (WeightFormat::Integers, 2),
        (WeightFormat::AsStored(Precision::Bf16), 2),
        (WeightFormat::Quantized(Quantization::Nf4, Precision::Bf16), 1),
        (WeightFormat::Quantized(Quantization::Int8, Precision::Bf16), 2),
    ];
    for (format, threads) in formats {
        let mut ctx = Context::cpu(threads);
        let decoder = Arc::new(Decoder::load(&mut ctx, &student.config, &student.weights, format, 512).unwrap());
        let questions = ["What is 17 + 25?", "Name three colours.", "Tell me a very short story about a lighthouse."];
        let requests = questions.map(|question| {
            let text = format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
            let prompt = student.text.tokenizer.encode(&text).unwrap();
            Request { stop_ids: student.eos_token_ids.clone(), ..request(prompt, 24, Sampling::default()) }
        });
        let mut engine = engine(&mut ctx, &decoder, 1024, 256);
        let ids = requests.clone().map(|request| engine.submit(request).unwrap());
        let together = run(&mut engine, &mut ctx);
        for (request, id) in requests.into_iter().zip(ids) {
            let alone_id = engine.submit(request).unwrap();
            let alone = run(&mut engine, &mut ctx);
            let said = &alone.tokens[&alone_id.0];
            assert!(
                *said == together.tokens[&id.0],
                "{format:?}: {said:?} alone, {:?} among three",
                together.tokens[&id.0]
            );
            assert!(said.len() > 1, "{format:?}");
        }
    }
}
