//! Students whose frozen weights are quantised: what is computed, what is refused, and how much memory it takes.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/mod.rs"]
mod common;

use aludel_kernels::Context;
use aludel_kernels::check::{assert_close, cosine, random, wide};
use aludel_kernels::linear::{Precision, Quantization};
use aludel_model::decoder::{Decoder, WeightFormat};
use aludel_model::student::Student;
use common::{Model, assert_holds, ids, logits_in};

/// A model whose linears have whole blocks of 64 inputs.
fn model() -> Model {
    let mut model = Model::open().with("intermediate_size", 128.into());
    for layer in 0..2 {
        for (module, shape) in [("gate_proj", [128, 64]), ("up_proj", [128, 64]), ("down_proj", [64, 128])] {
            let values = random(layer + shape[1] as u64, 128 * 64).iter().map(|x| x * 0.05).collect();
            model = model.with_tensor(&format!("model.layers.{layer}.mlp.{module}.weight"), &shape, values);
        }
    }
    model
}

#[test]
fn a_quantised_model_computes_what_its_decoded_weights_give() {
    let folder = tempfile::tempdir().unwrap();
    model().write_folder(folder.path());
    let (student, ids) = (Student::open(folder.path()).unwrap(), ids("llama3_rope"));
    let exact = logits_in(Context::cpu(2), &student, Precision::F32.into(), &ids);
    for (how, nearest) in [(Quantization::Nf4, 0.97), (Quantization::Int8, 0.9999)] {
        let format = WeightFormat::Quantized(how, Precision::F32);
        // the reference decodes all weights when it loads them
        let expected = logits_in(Context::reference(), &student, format, &ids);
        let got = logits_in(Context::cpu(2), &student, format, &ids);
        assert_close(&format!("{how:?}"), &got, &wide(&expected), 2e-5);
        let likeness = cosine(&got, &exact);
        assert!(likeness >= nearest && likeness < 0.999_999_9, "{how:?}: cosine {likeness}");
        let rounded = logits_in(Context::cpu(2), &student, WeightFormat::Quantized(how, Precision::Bf16), &ids);
        assert!(cosine(&rounded, &got) >= 0.999, "{how:?} in bf16");
    }
}

#[test]
fn memory_is_known_before_a_weight_is_read_and_is_small() {
    let folder = tempfile::tempdir().unwrap();
    model().write_folder(folder.path());
    let student = Student::open(folder.path()).unwrap();
    let bytes = |format: WeightFormat| {
        let (mut ctx, mut other) = (Context::cpu(1), Context::cpu(1));
        let outline = Decoder::outline(&mut other, &student.config, &student.weights, format).unwrap();
        let loaded = Decoder::load(&mut ctx, &student.config, &student.weights, format, 64).unwrap();
        assert_eq!(outline.weight_bytes(), loaded.weight_bytes(), "{format:?}");
        assert!(ctx.bytes() >= loaded.weight_bytes());
        loaded.weight_bytes() as f64
    };
    let packed = bytes(Precision::Bf16.into());
    let quantised =
        [Quantization::Nf4, Quantization::Int8].map(|how| bytes(WeightFormat::Quantized(how, Precision::Bf16)));
    // the linears of two layers; the head and the embedding stay as they are
    let linears = model().tensors.into_iter().filter(|(name, _)| name.contains("proj"));
    let values = linears.map(|(_, (_, values))| values.len()).sum::<usize>() as f64;
    assert_eq!(packed - quantised[0], values * (2.0 - 0.5625));
    assert_eq!(packed - quantised[1], values * (2.0 - 1.125));
}

#[test]
fn weights_that_have_no_blocks_are_refused_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    model().write_folder(folder.path());
    let student = Student::open(folder.path()).unwrap();
    let format = WeightFormat::AsStored(Precision::Bf16);
    let loaded = Decoder::load(&mut Context::cpu(1), &student.config, &student.weights, format, 64);
    assert_holds(&loaded.err().unwrap().to_string(), &["as-is", "F32", "can keep nothing", "nf4"]);
}

#[test]
fn values_beyond_eight_bits_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = model();
    model.tensors.get_mut("model.layers.1.mlp.up_proj.weight").unwrap().1[70] = 9e4;
    model.write_folder(folder.path());
    let student = Student::open(folder.path()).unwrap();
    let load = |how| {
        let format = WeightFormat::Quantized(how, Precision::Bf16);
        Decoder::load(&mut Context::cpu(1), &student.config, &student.weights, format, 64).err()
    };
    let error = load(Quantization::Int8).unwrap().to_string();
    assert_holds(&error, &["model.layers.1.mlp.up_proj.weight", "too large", "nf4"]);
    assert!(load(Quantization::Nf4).is_none());
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    Model::open().write_folder(folder.path()); // 112 inputs of down_proj
    let student = Student::open(folder.path()).unwrap();
    for (how, block) in [(Quantization::Nf4, "64"), (Quantization::Int8, "32")] {
        let format = WeightFormat::Quantized(how, Precision::Bf16);
        for is_outline in [false, true] {
            let mut ctx = Context::cpu(1);
            let loaded = match is_outline {
                true => Decoder::outline(&mut ctx, &student.config, &student.weights, format),
                false => Decoder::load(&mut ctx, &student.config, &student.weights, format, 64),
            };
            let error = loaded.err().unwrap().to_string();
            assert_holds(&error, &["model.layers.0.mlp.down_proj.weight", "112", block, "student.quantize", "none"]);
        }
    }
}
