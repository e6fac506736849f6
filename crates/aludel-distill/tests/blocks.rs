//! Training on a GGUF file's own blocks, of types that are mixed as real files mix them, against training on the same weights
//! dequantised; and merging from such a file.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../aludel-model/tests/common/mod.rs"]
mod common;
#[path = "common/learning.rs"]
#[expect(dead_code, reason = "this test makes its own model")]
mod learning;

use std::path::Path;

use aludel_distill::learner::Learner;
use aludel_distill::merge::{self, Stored};
use aludel_distill::settings::{Dtype, MaxLength, Quantize, Recipe};
use aludel_formats::{Dtype as StoredDtype, safetensors};
use aludel_kernels::check::{random, random_blocks};
use aludel_kernels::optim;
use aludel_kernels::quant::BlockType;
use aludel_model::student::Student;
use common::Model;
use learning::row;
use serde_json::json;

const HIDDEN: usize = 256;
const INNER: usize = 512;
const HEAD: usize = 64;
const VOCABULARY: usize = 160;

/// A model of two layers whose linears have every type of blocks that a GGUF file can have.
fn write_mixed(path: &Path) {
    use StoredDtype as T;
    let mut model = Model::open();
    for (key, value) in [
        ("hidden_size", HIDDEN),
        ("intermediate_size", INNER),
        ("num_attention_heads", HIDDEN / HEAD),
        ("num_key_value_heads", 2),
        ("head_dim", HEAD),
    ] {
        model = model.with(key, json!(value));
    }
    let linears = |layer: usize| {
        let keys = 2 * HEAD;
        let types = [
            [T::Q4_K, T::Q5_K, T::Q6_K, T::Q4_0, T::Q2_K, T::Q3_K, T::Q8_0],
            [T::Q4_1, T::Q5_0, T::Q5_1, T::Q6_K, T::Q4_K, T::Q2_K, T::Q3_K],
        ][layer];
        let shapes = [
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", keys, HIDDEN),
            ("self_attn.v_proj", keys, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", INNER, HIDDEN),
            ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER),
        ];
        shapes
            .map(|(name, rows, columns)| (format!("model.layers.{layer}.{name}.weight"), rows, columns))
            .into_iter()
            .zip(types)
    };
    let table = ("model.embed_tokens.weight".to_owned(), VOCABULARY, HIDDEN);
    let all: Vec<_> = linears(0).chain(linears(1)).chain([(table, T::Q6_K)]).collect();
    for (seed, ((name, rows, columns), dtype)) in all.into_iter().enumerate() {
        let block_type = BlockType::from_ggml_id(dtype.ggml_type_id().unwrap()).unwrap();
        let bytes = random_blocks(block_type, rows * columns, 0.15, seed as u64);
        model = model.with_tensor(&name, &[rows, columns], vec![0.0; rows * columns]).with_blocks(&name, dtype, bytes);
    }
    for layer in 0..2 {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            let weights = random(7, HIDDEN).iter().map(|x| 1.0 + 0.1 * x).collect();
            model = model.with_tensor(&format!("model.layers.{layer}.{norm}.weight"), &[HIDDEN], weights);
        }
    }
    model.with_tensor("model.norm.weight", &[HIDDEN], vec![1.0; HIDDEN]).write_gguf(path);
}

fn recipe(dtype: Dtype, quantize: Quantize) -> Recipe {
    let mut recipe = Recipe::default();
    (recipe.student.dtype, recipe.student.quantize, recipe.student.threads) = (dtype, quantize, 2);
    recipe.train.max_length = MaxLength::Tokens(64);
    recipe.train.gradient_checkpointing = true;
    (recipe.lora.r, recipe.lora.dropout) = (4, 0.0);
    recipe
}

/// The losses of a few steps on the same rows, and the bytes of the weights.
fn train(student: &Student, recipe: &Recipe) -> (Vec<f64>, usize) {
    let mut learner = Learner::load(student, &[], recipe, None).unwrap();
    learner.plan(100);
    let rows = [row(0, 40), row(1, 60)];
    let mut losses = Vec::new();
    for number in 1..=4 {
        learner.zero_gradients();
        let sums = learner.accumulate(&rows, None).unwrap();
        losses.push(sums.mean_loss());
        let inverse_count = 1.0 / sums.supervised as f32;
        learner.step(&optim::Step { learning_rate: 2e-3, inverse_count, number, ..optim::Step::default() });
    }
    (losses, learner.decoder.weight_bytes())
}

#[test]
fn training_on_mixed_blocks_is_training_on_the_dequantised_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, adapter, merged) =
        (folder.path().join("mixed.gguf"), folder.path().join("adapter"), folder.path().join("merged"));
    write_mixed(&gguf);
    let student = Student::open(&gguf).unwrap();
    // an adapter that has not learnt anything yet: merged, it leaves the weights
    let untrained = Learner::load(&student, &[], &recipe(Dtype::F32, Quantize::AsIs), None).unwrap();
    std::fs::create_dir(&adapter).unwrap();
    untrained.adapter.save(&untrained.ctx, &adapter).unwrap();
    let stored = Stored { max_shard_bytes: 1_000_000, ..Stored::new(StoredDtype::F32) };
    merge::merge(&student, &adapter, &merged, stored, &mut |_, _| {}, |_| Ok(())).unwrap();
    assert!(merged.join(safetensors::INDEX_FILE_NAME).exists());
    let dequantised = Student::open(&merged).unwrap();
    // scales of the K encodings are rounded to f16
    for (dtype, tolerance) in [(Dtype::F32, 1e-3), (Dtype::Bf16, 5e-3)] {
        let (expected, packed_bytes) = train(&dequantised, &recipe(dtype, Quantize::None));
        let (losses, bytes) = train(&student, &recipe(dtype, Quantize::AsIs));
        for (got, expected) in losses.iter().zip(&expected) {
            assert!((got - expected).abs() <= tolerance * expected, "{dtype:?}: {losses:?} {expected:?}");
        }
        assert!(losses[3] < 0.95 * losses[0], "the loss does not fall: {losses:?}");
        assert!(bytes * 2 < packed_bytes, "{bytes} of {packed_bytes}");
    }
}
