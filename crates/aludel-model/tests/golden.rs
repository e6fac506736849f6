//! The decoder, its adapters and ten optimiser steps against numbers that PyTorch and PEFT wrote (`tools/golden/`).

#![allow(clippy::unwrap_used)] // helpers of tests

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_formats::safetensors::hf_metadata;
use aludel_formats::{TensorSpec, hf, safetensors};
use aludel_kernels::check::{assert_close, cosine, wide};
use aludel_kernels::linear::Precision;
use aludel_kernels::optim::{self, State, Step};
use aludel_kernels::{Context, Device, Isa, Mat, Region, loss, quant};
use aludel_model::adapter::Adapter;
use aludel_model::config::Config;
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch, SavedActivations};
use aludel_model::generate::{Engine, Event, Finish, Request, Sampling};
use aludel_model::weights::{Files, Weights};
use serde_json::{Value, json};

#[path = "golden/folders.rs"]
mod folders;
#[path = "golden/longrope.rs"]
mod longrope;
#[path = "golden/parts.rs"]
mod parts;
#[path = "golden/training.rs"]
mod training;
#[path = "golden/variants.rs"]
mod variants;

/// A fixture of each family, tied and untied, one of Llama 3's rotary scaling, and one of heads as wide as nothing else is.
const FAMILIES: &str = "tied untied llama3_rope mistral mistral_window qwen2_tied qwen2_untied qwen3_tied qwen3_untied qwen3_window gemma3 gemma3_scaled phi3 phi3_long head_dim";

/// A context for each instruction set of this processor.
fn processor_contexts() -> impl Iterator<Item = Context> {
    Isa::supported().iter().map(|&isa| Context::cpu(2).with_isa(isa))
}

/// Those, and one of the reference.
fn contexts() -> impl Iterator<Item = Context> {
    processor_contexts().chain([Context::reference()])
}

/// What a context computes with.
fn device(ctx: &Context) -> &'static str {
    match ctx.device() {
        Device::Cpu => ctx.isa().name(),
        Device::Reference => "reference",
    }
}

struct Golden {
    folder: PathBuf,
    model: PathBuf,
    json: Value,
    tensors: safetensors::Weights,
}

struct Row {
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl Golden {
    fn open(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let json = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let tensors = safetensors::Weights::open_file(folder.join("golden.safetensors")).unwrap();
        // adapters of other kinds are on the model of another fixture
        let model = folder.with_file_name(name.trim_start_matches("variants_")).join("model");
        Golden { folder, model, json, tensors }
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        let view = self.tensors.get(name).unwrap();
        let mut out = vec![0.0; view.elements()];
        quant::decode(quant::BlockType::F32, view.bytes, &mut out).unwrap();
        out
    }

    fn rows(&self) -> Vec<Row> {
        let numbers = |v: &Value| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
        let rows = self.json["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| Row {
                ids: numbers(&row["ids"]).iter().map(|&x| x as u32).collect(),
                weights: numbers(&row["weights"]).iter().map(|&x| x as f32).collect(),
            })
            .collect()
    }

    fn load(&self, ctx: &mut Context, precision: Precision) -> Decoder {
        let folder = hf::Folder::open(&self.model).unwrap();
        let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
        let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
        Decoder::load(ctx, &config, &weights, precision, 512).unwrap()
    }
}

/// Logits of every token of one row.
fn logits(ctx: &mut Context, decoder: &Decoder, adapter: Option<&Adapter>, ids: &[u32]) -> Vec<f32> {
    let mut pass = PackedBatch::default();
    pass.push(0, ids);
    decoder.check(ids, ids.len(), adapter).unwrap();
    let run = |ctx: &mut Context| {
        let active = adapter.map(|adapter| Active { adapter, dropout: None });
        let forward = decoder.forward(ctx, &pass, Attention::Rows, active, None);
        let out = ctx.alloc(Region::Io, ids.len(), decoder.vocab_size(adapter));
        decoder.logits(ctx, forward.hidden, adapter, out);
        ctx.download(out)
    };
    ctx.plan(run);
    run(ctx)
}

/// An adapter without dropout.
fn plain(adapter: &Adapter) -> Active<'_> {
    Active { adapter, dropout: None }
}

/// Adds the gradients of Σ weight·CE over the rows to `gradients`; returns the summed loss and the supervised count.
fn gradients(
    ctx: &mut Context,
    decoder: &Decoder,
    active: Active<'_>,
    rows: &[Row],
    flat: Mat,
    mut kept: SavedActivations,
) -> (f64, usize) {
    let mut pass = PackedBatch::default();
    let (mut chosen, mut targets, mut weights) = (vec![], vec![], vec![]);
    for (n, row) in rows.iter().enumerate() {
        let start = pass.len() as u32;
        pass.push(n as u32, &row.ids);
        for t in 1..row.ids.len() {
            if row.weights[t] != 0.0 {
                chosen.push(start + t as u32 - 1);
                targets.push(row.ids[t]);
                weights.push(row.weights[t]);
            }
        }
    }
    let mut run = |ctx: &mut Context| {
        let forward = decoder.forward(ctx, &pass, Attention::Rows, Some(active), Some(&mut kept));
        let losses = ctx.alloc(Region::Io, 1, chosen.len());
        let dhidden = decoder.head_chunks(ctx, &forward, &chosen, Some(flat), |ctx, logits, range| {
            let ids = ctx.upload_indices(&targets[range.clone()]);
            let weights = ctx.upload(Region::Io, 1, range.len(), &weights[range.clone()]);
            loss::cross_entropy(ctx, logits, ids, weights, losses.col_range(range.start, range.len()), true);
        });
        decoder.backward(ctx, forward, dhidden.unwrap(), flat);
        ctx.download(losses).iter().map(|&l| f64::from(l)).sum::<f64>()
    };
    ctx.plan(&mut run);
    (run(ctx), chosen.len())
}

#[test]
fn logits_agree_with_transformers() {
    for name in FAMILIES.split(' ') {
        let golden = Golden::open(name);
        for mut ctx in contexts() {
            let decoder = golden.load(&mut ctx, Precision::F32);
            for (i, row) in golden.rows().iter().enumerate() {
                let expected = golden.tensor(&format!("logits.base.{i}"));
                let got = logits(&mut ctx, &decoder, None, &row.ids);
                assert_close(&format!("{name} row {i} {}", device(&ctx)), &got, &wide(&expected), 2e-5);
            }
        }
    }
}

#[test]
fn bf16_logits_stay_near() {
    for name in ["untied", "gemma3", "phi3_long"] {
        let golden = Golden::open(name);
        for mut ctx in contexts() {
            let decoder = golden.load(&mut ctx, Precision::Bf16);
            let got = logits(&mut ctx, &decoder, None, &golden.rows()[0].ids);
            let cosine = cosine(&got, &golden.tensor("logits.base.0"));
            assert!(cosine >= 0.999, "{name} {}: {cosine}", device(&ctx));
        }
    }
}

/// Logits, every gradient, ten losses, the final adapter: for one model and one adapter, under every instruction set and by the reference.
fn check_adapter(name: &str, adapter_name: &str, gradient_checkpointing: bool) {
    contexts().for_each(|ctx| check_adapter_in(ctx, name, adapter_name, gradient_checkpointing));
}

fn check_adapter_in(mut ctx: Context, name: &str, adapter_name: &str, gradient_checkpointing: bool) {
    let golden = Golden::open(name);
    let what = format!("{name}/{adapter_name} {}", device(&ctx));
    let decoder = golden.load(&mut ctx, Precision::F32);
    let folder = golden.folder.join(format!("adapter_{adapter_name}"));
    let mut adapter = Adapter::load(&mut ctx, &decoder, &folder).unwrap();
    if let Some(names) = golden.json["adapters"][adapter_name]["parts"].as_array() {
        parts::train_parts(&ctx, &decoder, &mut adapter, names, &folder);
    }
    let rows = golden.rows();
    for (i, row) in rows.iter().enumerate() {
        let expected = golden.tensor(&format!("logits.{adapter_name}.{i}"));
        assert_close(&what, &logits(&mut ctx, &decoder, Some(&adapter), &row.ids), &wide(&expected), 3e-5);
    }
    let count = adapter.parameter_count();
    let [flat, first, second] = [(); 3].map(|()| ctx.persistent(1, count));
    let state = State { parameters: adapter.parameters(), gradients: flat, first, second, undecayed: 0 };
    let recorded = &golden.json["adapters"][adapter_name];
    for number in 1..=10 {
        ctx.zero(flat);
        let (loss, supervised) =
            gradients(&mut ctx, &decoder, plain(&adapter), &rows, flat, SavedActivations::new(gradient_checkpointing));
        if number == 1 {
            let values: Vec<f32> = ctx.download(flat).iter().map(|g| g / supervised as f32).collect();
            for (entry, got) in adapter.named(&values) {
                let expected = golden.tensor(&format!("gradient.{adapter_name}.{}", entry.name));
                let norm = expected.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let cosine = cosine(got, &expected);
                assert!(cosine >= 0.999_999, "{what} {}: cosine {cosine}", entry.name);
                let off: f64 = got.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
                assert!(off <= 1e-4 * norm, "{what} {}: off by {off} of {norm}", entry.name);
            }
        }
        let expected = recorded["losses"][number as usize - 1].as_f64().unwrap();
        let loss = loss / supervised as f64;
        // without fused multiply-adds more is rounded, and AdamW makes more of it with each step (see the end)
        let tolerance = if ctx.isa() == Isa::Portable && number > 1 { 2e-4 } else { 5e-5 };
        assert!((loss - expected).abs() <= tolerance, "{what} step {number}: loss {loss}, PEFT {expected}");
        let step = Step {
            learning_rate: golden.json["learning_rate"].as_f64().unwrap() as f32,
            inverse_count: 1.0 / supervised as f32,
            max_grad_norm: golden.json["max_grad_norm"].as_f64().unwrap() as f32,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            number,
        };
        let norm = ctx.persistent(1, 1);
        ctx.plan(|ctx| optim::step(ctx, &[state], &step, norm));
        optim::step(&mut ctx, &[state], &step, norm);
        let norm = f64::from(ctx.download_value(norm));
        let expected = recorded["grad_norms"][number as usize - 1].as_f64().unwrap();
        assert!((norm - expected).abs() <= 1e-3 * expected, "{what} step {number}: norm {norm}, PEFT {expected}");
    }
    let values = ctx.download(adapter.parameters());
    for (entry, got) in adapter.named(&values) {
        let expected = golden.tensor(&format!("final.{adapter_name}.{}", entry.name));
        // AdamW turns a gradient of the size of its rounding error into a full step: compare directions and sizes, not bits.
        let cosine = cosine(got, &expected);
        assert!(cosine >= 0.999, "{what} {}: final cosine {cosine}", entry.name);
    }
}

#[test]
fn adapters_agree_with_peft_on_a_tied_model() {
    for adapter in ["attention", "all_linear", "rows"] {
        check_adapter("tied", adapter, false);
    }
}

#[test]
fn adapters_agree_with_peft_on_an_untied_model() {
    for adapter in ["attention", "all_linear", "rows"] {
        check_adapter("untied", adapter, false);
    }
}

#[test]
fn adapters_agree_with_peft_in_other_families() {
    // The others have tests of their own, or no adapter of each kind.
    let others = ["tied", "untied", "llama3_rope", "gemma3_scaled", "head_dim"];
    for name in FAMILIES.split(' ').filter(|name| !others.contains(name)) {
        for adapter in ["attention", "all_linear", "rows"] {
            check_adapter(name, adapter, false);
        }
    }
}

#[test]
fn an_adapter_agrees_with_peft_where_heads_are_as_wide_as_nothing_else() {
    check_adapter("head_dim", "all_linear", false);
}

#[test]
fn recompute_changes_nothing() {
    for name in ["tied", "qwen2_tied", "qwen3_untied", "qwen3_window", "gemma3", "phi3"] {
        check_adapter(name, "all_linear", true);
    }
}

#[test]
fn a_packed_row_has_the_loss_and_gradient_it_has_alone() {
    let golden = Golden::open("untied");
    let mut ctx = Context::cpu(2);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let adapter = Adapter::load(&mut ctx, decoder.config(), &golden.folder.join("adapter_all_linear")).unwrap();
    let rows = golden.rows();
    let flat = ctx.persistent(1, adapter.parameter_count());
    let (packed_loss, _) = gradients(&mut ctx, &decoder, plain(&adapter), &rows, flat, SavedActivations::new(false));
    let packed = ctx.download(flat);
    ctx.zero(flat);
    let mut alone_loss = 0.0;
    for row in rows {
        alone_loss += gradients(&mut ctx, &decoder, plain(&adapter), &[row], flat, SavedActivations::new(false)).0;
    }
    assert!((packed_loss - alone_loss).abs() <= 1e-5 * packed_loss, "{packed_loss} {alone_loss}");
    assert_close("gradients", &ctx.download(flat), &wide(&packed), 1e-5);
}

#[test]
fn an_adapter_comes_back_from_its_folder() {
    let golden = Golden::open("untied");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let adapter = Adapter::load(&mut ctx, decoder.config(), &golden.folder.join("adapter_rows")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    adapter.save(&ctx, folder.path()).unwrap();
    let again = Adapter::load(&mut ctx, decoder.config(), folder.path()).unwrap();
    assert_eq!(again.entries(), adapter.entries());
    assert_eq!(ctx.download(again.parameters()), ctx.download(adapter.parameters()));
    assert_eq!(again.config().embedding_tokens(), adapter.config().embedding_tokens());
}

#[test]
fn an_adapter_for_another_base_is_refused() {
    let (tied, rope) = (Golden::open("tied"), Golden::open("llama3_rope"));
    let mut ctx = Context::cpu(1);
    let decoder = rope.load(&mut ctx, Precision::F32);
    let error = Adapter::load(&mut ctx, decoder.config(), &tied.folder.join("adapter_attention")).unwrap_err();
    assert!(error.to_string().contains("another base"), "{error}");
    let untied = Golden::open("untied");
    let decoder = tied.load(&mut ctx, Precision::F32);
    let error = Adapter::load(&mut ctx, decoder.config(), &untied.folder.join("adapter_rows")).unwrap_err();
    assert!(error.to_string().contains("ties its head"), "{error}");
}

/// Greedy tokens of PyTorch, alone and among other sequences, through a cache in small passes.
#[test]
fn generation_agrees_with_transformers_alone_and_batched() {
    for (name, adapter_name) in [
        ("tied", None),
        ("untied", Some("all_linear")),
        ("llama3_rope", None),
        ("qwen2_tied", None),
        ("qwen2_untied", Some("all_linear")),
        ("qwen3_tied", None),
        ("qwen3_untied", Some("all_linear")),
        ("mistral", Some("attention")),
        ("mistral_window", Some("attention")),
        ("qwen3_window", Some("all_linear")),
        ("gemma3", Some("all_linear")),
        ("gemma3_scaled", None),
        ("head_dim", Some("all_linear")),
        ("phi3", Some("all_linear")),
        ("phi3_long", None),
        ("variants_qwen2_tied", Some("dora")),
        ("variants_qwen2_tied", Some("dora_bias")),
        ("variants_phi3", Some("dora")),
    ] {
        contexts().for_each(|ctx| check_generation(ctx, name, adapter_name));
    }
}

fn check_generation(mut ctx: Context, name: &str, adapter_name: Option<&str>) {
    let golden = Golden::open(name);
    let decoder = Arc::new(golden.load(&mut ctx, Precision::F32));
    let adapter = adapter_name.map(|a| {
        let folder = golden.folder.join(format!("adapter_{a}"));
        Arc::new(Adapter::load(&mut ctx, &*decoder, &folder).unwrap())
    });
    let ids = |v: &Value| v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect::<Vec<_>>();
    let prompt = ids(&golden.json["prompt"]);
    let expected = match adapter_name {
        None => ids(&golden.json["base"]["greedy"]),
        Some(a) => ids(&golden.json["adapters"][a]["greedy"]),
    };
    let mut engine = Engine::new(&mut ctx, decoder, adapter, 256, 16);
    let request = |prompt: Vec<u32>, max_new_tokens| Request {
        prompt,
        max_new_tokens,
        sampling: Sampling::default(),
        stop_ids: vec![],
        top_logprobs: 0,
    };
    let long = golden.rows()[0].ids.clone();
    let others = [request(long.clone(), 30), request(long, 3)];
    let mut cancelled = None;
    for other in others {
        cancelled = Some(engine.submit(other).unwrap());
    }
    let wanted = engine.submit(request(prompt, expected.len())).unwrap();
    let mut got = Vec::new();
    let mut finish = None;
    while !engine.is_idle() {
        for event in engine.step(&mut ctx).to_vec() {
            let Event::Token { request, token, finish: end, .. } = event else { panic!("{event:?}") };
            if request == wanted {
                got.push(token);
                finish = end;
                engine.cancel(cancelled.unwrap());
            }
        }
    }
    assert_eq!(got, expected, "{name}");
    assert_eq!(finish, Some(Finish::Length));
}

/// Passes of many tokens with one row of logits, then of few tokens with many rows, are no plan for many of both.
#[test]
fn generation_has_room_for_many_tokens_and_many_rows_at_once() {
    let golden = Golden::open("untied");
    let mut ctx = Context::cpu(1);
    let decoder = Arc::new(golden.load(&mut ctx, Precision::F32));
    let mut engine = Engine::new(&mut ctx, decoder, None, 1024, 512);
    for (lengths, max_new_tokens) in [(&[200][..], 1), (&[1, 1, 1], 3), (&[66, 67, 67], 2)] {
        for &length in lengths {
            let prompt = (0..length).map(|i| i * 7 % 100).collect();
            let request =
                Request { prompt, max_new_tokens, sampling: Sampling::default(), stop_ids: vec![], top_logprobs: 0 };
            engine.submit(request).unwrap();
        }
        let mut tokens = 0;
        while !engine.is_idle() {
            tokens += engine.step(&mut ctx).len();
        }
        assert_eq!(tokens, lengths.len() * max_new_tokens, "{lengths:?}");
    }
}
