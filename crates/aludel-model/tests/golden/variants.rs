//! DoRA and trained biases against PEFT (`tools/golden/variants.py`), however the base is held, and what is refused of them.

use aludel_formats::peft::{AdapterConfig, TargetModules};
use aludel_kernels::linear::Quantization;
use aludel_model::adapter::{AdapterInit, AdapterOptions};
use aludel_model::decoder::{StepDropout, WeightFormat};

use super::*;

#[test]
fn dora_and_biases_agree_with_peft() {
    for adapter in ["dora", "bias_all", "dora_bias"] {
        check_adapter("variants_qwen2_tied", adapter, false);
    }
    check_adapter("variants_qwen2_tied", "dora_bias", true);
    check_adapter("variants_phi3", "dora", false);
}

/// PEFT drops from what the frozen weight reads, too, where it is DoRA.
#[test]
fn dora_with_dropout_agrees_with_peft_under_the_same_masks() {
    let golden = Golden::open("variants_qwen2_tied");
    let facts = &golden.json["dropout"];
    let dropout = StepDropout {
        probability: facts["probability"].as_f64().unwrap() as f32,
        key: facts["key"].as_str().unwrap().parse().unwrap(),
    };
    for mut ctx in contexts() {
        let what = device(&ctx);
        let decoder = golden.load(&mut ctx, Precision::F32);
        let adapter = Adapter::load(&mut ctx, &decoder, &golden.folder.join("adapter_dora_bias")).unwrap();
        let flat = ctx.persistent(1, adapter.parameter_count());
        let active = Active { adapter: &adapter, dropout: Some(dropout) };
        let (loss, supervised) =
            gradients(&mut ctx, &decoder, active, &golden.rows(), flat, SavedActivations::new(false));
        let (loss, expected) = (loss / supervised as f64, facts["loss"].as_f64().unwrap());
        assert!((loss - expected).abs() <= 5e-5, "{what}: loss {loss}, PEFT {expected}");
        let without = golden.json["adapters"]["dora_bias"]["losses"][0].as_f64().unwrap();
        assert!((loss - without).abs() >= 1e-3, "{what}: dropout changed nothing");
        let values: Vec<f32> = ctx.download(flat).iter().map(|g| g / supervised as f32).collect();
        for (entry, got) in adapter.named(&values) {
            let expected = golden.tensor(&format!("dropout.dora_bias.{}", entry.name));
            let cosine = cosine(got, &expected);
            assert!(cosine >= 0.999_999, "{what} {}: cosine {cosine}", entry.name);
            let size = |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            assert!((size(got) - size(&expected)).abs() <= 1e-4 * size(&expected), "{what} {}", entry.name);
        }
    }
}

#[test]
fn an_adapter_of_each_kind_comes_back_from_its_folder() {
    let golden = Golden::open("variants_qwen2_tied");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    for name in ["dora", "bias_all", "dora_bias"] {
        let source = golden.folder.join(format!("adapter_{name}"));
        let adapter = Adapter::load(&mut ctx, &decoder, &source).unwrap();
        let folder = tempfile::tempdir().unwrap();
        adapter.save(&ctx, folder.path()).unwrap();
        let [theirs, ours] = [&source, folder.path()].map(|folder| {
            let file = safetensors::Weights::open_file(folder.join("adapter_model.safetensors")).unwrap();
            let tensors = file.tensors().map(|tensor| tensor.unwrap());
            let mut tensors: Vec<_> = tensors.map(|t| (t.name.to_owned(), t.shape.clone(), t.bytes.to_vec())).collect();
            tensors.sort();
            tensors
        });
        assert!(ours == theirs, "{name}: names, shapes and bytes are PEFT's");
        let read = |folder: &Path| std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        let [theirs, ours]: [Value; 2] =
            [&source, folder.path()].map(|folder| serde_json::from_str(&read(folder)).unwrap());
        assert_eq!(ours, theirs, "{name}");
    }
}

/// A new adapter of DoRA changes nothing: each magnitude is the norm of its row, as the base is held.
#[test]
fn a_new_adapter_of_dora_changes_nothing_however_the_base_is_held() {
    let golden = Golden::open("tied");
    let folder = hf::Folder::open(&golden.model).unwrap();
    let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
    let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
    let formats = [
        WeightFormat::Packed(Precision::F32),
        WeightFormat::Packed(Precision::Bf16),
        WeightFormat::Quantized(Quantization::Int8, Precision::F32),
    ];
    let contexts = || [Context::cpu(2), Context::reference()].into_iter();
    for (format, mut ctx) in formats.into_iter().flat_map(|format| contexts().map(move |ctx| (format, ctx))) {
        let decoder = match Decoder::load(&mut ctx, &config, &weights, format, 512) {
            Ok(decoder) => decoder,
            // rows of 112 are no whole blocks
            Err(error) if error.to_string().contains("no whole blocks") => continue,
            Err(error) => panic!("{error}"),
        };
        let adapter_config = AdapterConfig {
            use_dora: true,
            target_modules: Some(TargetModules::Pattern("all-linear".to_owned())),
            ..AdapterConfig::default()
        };
        let options = AdapterOptions { config: adapter_config, init: AdapterInit::Kaiming, seed: 1, rows: None };
        let adapter = Adapter::new(&mut ctx, &decoder, &options, "base").unwrap();
        let ids = &golden.rows()[1].ids;
        let base = logits(&mut ctx, &decoder, None, ids);
        let adapted = logits(&mut ctx, &decoder, Some(&adapter), ids);
        let tolerance = if format == WeightFormat::Packed(Precision::Bf16) { 2e-2 } else { 1e-5 };
        assert_close(&format!("{format:?} {}", device(&ctx)), &adapted, &wide(&base), tolerance);
    }
}

/// Fields of a config that contradict the tensors beside it.
#[test]
fn magnitudes_and_biases_that_contradict_the_config_are_refused_by_name() {
    let golden = Golden::open("variants_qwen2_tied");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let llama = Golden::open("tied").load(&mut ctx, Precision::F32);
    let mut check = |decoder: &Decoder, adapter: &str, fields: &[(&str, Value)], said: &[&str]| {
        let (source, folder) = (golden.folder.join(format!("adapter_{adapter}")), tempfile::tempdir().unwrap());
        let text = std::fs::read(source.join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        for (key, value) in fields {
            config[key] = value.clone();
        }
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        let weights = "adapter_model.safetensors";
        std::fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
        let error = Adapter::load(&mut ctx, decoder, folder.path()).unwrap_err().to_string();
        for part in said {
            assert!(error.contains(part), "{adapter} {fields:?}: {error}\nlacks {part}");
        }
    };
    check(&decoder, "dora", &[("use_dora", json!(false))], &["lora_magnitude_vector: its use_dora is false"]);
    let dora = ("use_dora", json!(true));
    check(&decoder, "bias_all", &[dora], &["no magnitude for model.layers.0.self_attn.q_proj"]);
    check(&decoder, "bias_all", &[("bias", json!("none"))], &["its \"bias\" is \"none\"", "q_proj.base_layer.bias"]);
    check(&decoder, "bias_all", &[("bias", json!("lora_only"))], &["its \"bias\" is \"lora_only\"", "k_proj.bias"]);
    check(&decoder, "dora", &[("bias", json!("all"))], &["it has none of model.layers.0.self_attn.q_proj"]);
    check(&decoder, "dora", &[("bias", json!("some"))], &["key \"bias\"", "\"lora_only\""]);
    check(&decoder, "dora", &[("lora_bias", json!(true))], &["key \"lora_bias\"", "merge"]);
    check(&llama, "bias_all", &[], &["this model has no biases"]);
    // PEFT's default for Qwen2
    let null = ("target_modules", Value::Null);
    check(&decoder, "dora", &[null], &["target_modules leave model.layers.0.self_attn.k_proj out"]);
}

#[test]
fn a_model_for_which_peft_has_no_default_targets_is_named() {
    let golden = Golden::open("variants_phi3");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let (source, folder) = (golden.folder.join("adapter_dora"), tempfile::tempdir().unwrap());
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(source.join("adapter_config.json")).unwrap()).unwrap();
    config["target_modules"] = Value::Null;
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    std::fs::copy(source.join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
    let error = Adapter::load(&mut ctx, &decoder, folder.path()).unwrap_err().to_string();
    assert!(error.contains("target_modules are null") && error.contains("models of type phi3"), "{error}");
}

/// Tokens after a prompt reuse the scales of its pass; another text begins with those of the parameters as they are then.
#[test]
fn an_engine_answers_with_the_magnitudes_of_the_moment() {
    let golden = Golden::open("variants_qwen2_tied");
    let mut ctx = Context::cpu(2);
    let decoder = Arc::new(golden.load(&mut ctx, Precision::F32));
    let adapter = Arc::new(Adapter::load(&mut ctx, &*decoder, &golden.folder.join("adapter_dora")).unwrap());
    let prompt = vec![7, 21, 9, 90, 33];
    let mut engine = Engine::new(&mut ctx, Arc::clone(&decoder), Some(Arc::clone(&adapter)), 128, 16);
    let mut answer = |ctx: &mut Context| {
        let (prompt, sampling) = (prompt.clone(), Sampling::default());
        engine.submit(Request { prompt, max_new_tokens: 12, sampling, stop_ids: vec![], top_logprobs: 0 }).unwrap();
        let mut tokens = Vec::new();
        while !engine.is_idle() {
            for event in engine.step(ctx).to_vec() {
                let Event::Token { token, .. } = event else { panic!("{event:?}") };
                tokens.push(token);
            }
        }
        tokens
    };
    // by the whole text each time, which nothing is kept from
    let expected = |ctx: &mut Context| {
        let mut ids = prompt.clone();
        for _ in 0..12 {
            let logits = logits(ctx, &decoder, Some(&adapter), &ids);
            let last = &logits[logits.len() - decoder.vocab_size(Some(&adapter))..];
            let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
            ids.push(best as u32);
        }
        ids.split_off(prompt.len())
    };
    let before = answer(&mut ctx);
    assert_eq!(before, expected(&mut ctx));
    for entry in adapter.entries().iter().filter(|entry| entry.name.ends_with("lora_magnitude_vector")) {
        let view = entry.view(adapter.parameters());
        let doubled: Vec<f32> = ctx.download(view).iter().enumerate().map(|(i, m)| m * (1 + i % 3) as f32).collect();
        ctx.write(view, &doubled);
    }
    let after = answer(&mut ctx);
    assert_ne!(after, before);
    assert_eq!(after, expected(&mut ctx));
}
