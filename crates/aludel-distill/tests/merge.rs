//! Merging into a GGUF student: its rotary frequencies are kept, or it is refused without leaving a file.
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../aludel-model/tests/common/mod.rs"]
mod common;

use std::path::Path;

use aludel_distill::merge::{self, Stored};
use aludel_formats::peft::{AdapterConfig, TargetModules};
use aludel_formats::{Dtype, safetensors};
use aludel_kernels::Context;
use aludel_kernels::check::{assert_close, wide};
use aludel_model::adapter::{Adapter, AdapterInit, AdapterOptions};
use aludel_model::student::Student;
use common::{Model, fixture, ids, llama3, logits, tensor};
use serde_json::{Value, json};

/// An adapter whose B is zero, so that the merged model is the student.
fn write_adapter(student: &Student, folder: &Path) {
    let options = AdapterOptions {
        config: AdapterConfig {
            r: 1,
            lora_alpha: 1.0,
            target_modules: Some(TargetModules::Names(vec!["q_proj".to_owned()])),
            ..AdapterConfig::default()
        },
        init: AdapterInit::Kaiming,
        seed: 0,
        rows: None,
    };
    let mut ctx = Context::cpu(1);
    let adapter = Adapter::new(&mut ctx, &student.config, &options, "").unwrap();
    std::fs::create_dir(folder).unwrap();
    adapter.save(&ctx, folder).unwrap();
}

#[test]
fn rotary_settings_of_a_gguf_file_are_kept() {
    let golden = safetensors::Weights::open_file(fixture("rope/golden.safetensors")).unwrap();
    let ids = ids("llama3_rope");
    let divisors = |name: &str| tensor(&golden, &format!("divisors.{name}"));
    let folder = tempfile::tempdir().unwrap();
    let (gguf, adapter) = (folder.path().join("model.gguf"), folder.path().join("adapter"));
    let merge = |model: Model, name: &str| {
        model.write_gguf(&gguf);
        let student = Student::open(&gguf).unwrap();
        if !adapter.exists() {
            write_adapter(&student, &adapter);
        }
        let merged = folder.path().join(name);
        let mut told = Vec::new();
        merge::merge(
            &student,
            &adapter,
            &merged,
            Stored::new(Dtype::F32),
            &mut |done, all| told.push((done, all)),
            |_| Ok(()),
        )
        .map(|()| {
            let all = told[0].1;
            assert!(all > 0 && told.is_sorted() && (told[0].0, told[told.len() - 1]) == (0, (all, all)), "{told:?}");
            merged
        })
    };
    let with = |name: &str| Model::open().with_gguf_tensor("rope_freqs.weight", divisors(name));
    let linear = json!({"rope_type": "linear", "factor": 2.5});
    for (name, model, wanted) in [
        ("llama3", with("llama3"), llama3()),
        ("linear", Model::open().with_key("llama.rope.scale_linear", 2.5f32), linear),
    ] {
        let merged = merge(model, name).unwrap();
        let config: Value = serde_json::from_slice(&std::fs::read(merged.join("config.json")).unwrap()).unwrap();
        for (key, value) in wanted.as_object().unwrap() {
            for generation in ["rope_scaling", "rope_parameters"] {
                let found = &config[generation][key];
                let is_equal = found == value || (found.is_number() && found.as_f64() == value.as_f64());
                assert!(is_equal, "{name}: {generation}.{key}: {found}, not {value}");
            }
        }
        let again = logits(&Student::open(&merged).unwrap(), &ids);
        assert_eq!(again, logits(&Student::open(&gguf).unwrap(), &ids), "{name}");
        let file = if name == "llama3" {
            tensor(
                &safetensors::Weights::open_file(fixture("llama3_rope/golden.safetensors")).unwrap(),
                "logits.base.1",
            )
        } else {
            tensor(&golden, "logits.linear")
        };
        assert_close(name, &again, &wide(&file), 2e-5);
    }
    let error = merge(with("other"), "other").unwrap_err().to_string();
    assert!(error.contains("model.gguf: tensor rope_freqs.weight") && error.contains("--adapter"), "{error}");
    assert!(!folder.path().join("other").exists());
}

/// Adapters of PEFT on each family, merged: what PEFT computes with base and adapter.
#[test]
fn a_merged_model_of_each_family_computes_what_peft_does() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "tied",
        "untied",
        "mistral",
        "qwen2_tied",
        "qwen2_untied",
        "qwen3_tied",
        "qwen3_untied",
        "qwen3_window",
        "gemma3",
        "phi3",
        "phi3_long",
    ] {
        let (base, gguf) = (folder.path().join(name), folder.path().join(format!("{name}.gguf")));
        Model::of(name).write_folder(&base);
        Model::of(name).write_gguf(&gguf);
        let golden = safetensors::Weights::open_file(fixture(name).join("golden.safetensors")).unwrap();
        for (from, adapter) in [(&base, "all_linear"), (&base, "rows"), (&gguf, "all_linear")] {
            let kind = from.extension().map_or("folder", |_| "gguf");
            // a GGUF file of this architecture says nothing of a window
            if kind == "gguf" && name == "qwen3_window" {
                continue;
            }
            let what = format!("{name} from a {kind}, {adapter}");
            let merged = folder.path().join(format!("{name}-{kind}-{adapter}"));
            let student = Student::open(from).unwrap();
            let adapter_folder = fixture(name).join(format!("adapter_{adapter}"));
            let is_sharded = adapter == "rows";
            let mut stored = Stored::new(Dtype::F32);
            stored.max_shard_bytes = if is_sharded { 50_000 } else { stored.max_shard_bytes };
            merge::merge(&student, &adapter_folder, &merged, stored, &mut |_, _| {}, |_| Ok(())).unwrap();
            assert_eq!(merged.join("model.safetensors").exists(), !is_sharded, "{what}");
            assert_eq!(merged.join("model.safetensors.index.json").exists(), is_sharded, "{what}");
            let wanted = tensor(&golden, &format!("logits.{adapter}.1"));
            assert_close(&what, &logits(&Student::open(&merged).unwrap(), &ids(name)), &wide(&wanted), 3e-5);
        }
    }
}
