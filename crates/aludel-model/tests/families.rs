//! What the configs of Gemma 3, of Phi-3, and of families with windows, say of their layers, as transformers and llama.cpp read them.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::path::Path;

use aludel_formats::gguf::{Array, Value as Stored};
use aludel_formats::peft::{AdapterConfig, TargetModules};
use aludel_model::adapter::targets;
use aludel_model::config::{Config, LayerType, RopeScaling};
use aludel_model::student::Student;
use common::{Model, assert_holds};
use serde_json::{Value, json};

#[test]
fn layers_have_the_windows_that_transformers_gives_them() {
    let read = |model: &Model| Config::from_hf(&model.config, Path::new("config.json")).map_err(|e| e.to_string());
    let windows = |model: &Model| {
        let config = read(model).unwrap();
        let again = config.to_hf("float32", Path::new("model")).unwrap();
        assert_eq!(Config::from_hf(&again, Path::new("config.json")).unwrap(), config);
        [0, 1].map(|layer| config.window(layer))
    };
    let without = |name: &str, keys: &[&str]| {
        let mut model = Model::of(name);
        keys.iter().for_each(|key| drop(model.config.as_object_mut().unwrap().remove(*key)));
        model
    };
    assert_eq!(windows(&Model::of("mistral")), [None, None]);
    assert_eq!(windows(&Model::of("mistral_window")), [Some(16), Some(16)]);
    assert_eq!(windows(&without("mistral", &["sliding_window"])), [Some(4096), Some(4096)]);
    assert_eq!(windows(&Model::of("qwen3_window")), [None, Some(12)]);
    assert_eq!(
        windows(&Model::of("qwen3_window").with("use_sliding_window", json!(false)).with("layer_types", Value::Null)),
        [None, None]
    );
    // older files have no list
    let older = || without("qwen3_window", &["layer_types"]);
    assert_eq!(windows(&older()), [None, Some(12)]);
    assert_eq!(windows(&older().with("max_window_layers", json!(0))), [Some(12), Some(12)]);
    assert_eq!(windows(&without("qwen3_window", &["layer_types", "max_window_layers"])), [None, None]);
    assert_eq!(windows(&without("qwen3_window", &["sliding_window"])), [None, Some(4096)]);
    let first = json!(["sliding_attention", "full_attention"]);
    assert_eq!(windows(&Model::of("qwen3_window").with("layer_types", first.clone())), [Some(12), None]);

    let refused =
        |model: Model, parts: &[&str]| assert_holds(&read(&model).unwrap_err(), &[&["config.json"], parts].concat());
    let full = json!(["full_attention", "full_attention"]);
    refused(Model::of("mistral_window").with("layer_types", full), &["layer_types", "contradicts sliding_window"]);
    refused(Model::of("mistral").with("layer_types", first.clone()), &["layer_types", "contradicts sliding_window"]);
    refused(Model::of("qwen3_tied").with("layer_types", first), &["layer_types", "use_sliding_window is off"]);
    refused(Model::of("qwen3_window").with("sliding_window", Value::Null), &["layer_types", "use_sliding_window"]);
    refused(Model::of("qwen3_window").with("layer_types", json!(["full_attention"])), &["names 1 layers", "is 2"]);
    refused(
        Model::of("qwen3_window").with("layer_types", json!(["full_attention", "chunked_attention"])),
        &["chunked"],
    );
    refused(Model::of("qwen3_window").with("layer_types", json!("sliding_attention")), &["layer_types", "a list"]);
    refused(Model::of("mistral_window").with("sliding_window", json!(0)), &["sliding_window: 0 makes no sense"]);
    refused(Model::of("mistral_window").with("sliding_window", json!("wide")), &["sliding_window: \"wide\""]);
    refused(Model::of("qwen3_window").with("use_sliding_window", json!(1)), &["use_sliding_window: 1"]);
    refused(Model::of("qwen3_window").with("max_window_layers", json!("all")), &["max_window_layers: \"all\""]);
    // the class of Llama has none
    refused(Model::of("tied").with("sliding_window", json!(16)), &["sliding_window: 16"]);
}

#[test]
fn gemma3_has_keys_and_defaults_of_its_own() {
    let read = |model: &Model| Config::from_hf(&model.config, Path::new("config.json")).map_err(|e| e.to_string());
    let without = |keys: &[&str]| {
        let mut model = Model::of("gemma3");
        keys.iter().for_each(|key| drop(model.config.as_object_mut().unwrap().remove(*key)));
        model
    };
    let config = read(&Model::of("gemma3")).unwrap();
    assert_eq!([config.window(0), config.window(1)], [Some(12), None]);
    assert_eq!((config.rope_theta, config.rope_local_base_freq), (1_000_000.0, Some(10_000.0)));
    // what the class takes where nothing is said
    let silent = without(&[
        "head_dim",
        "hidden_activation",
        "layer_types",
        "num_key_value_heads",
        "query_pre_attn_scalar",
        "rope_parameters",
        "sliding_window",
        "tie_word_embeddings",
        "max_position_embeddings",
    ]);
    let config = read(&silent.with("num_hidden_layers", json!(13))).unwrap();
    let global: Vec<usize> = (0..13).filter(|&n| config.layer_types[n] == LayerType::FullAttention).collect();
    assert_eq!((global, config.sliding_window), (vec![5, 11], Some(4096)));
    assert_eq!((config.head_dim, config.num_key_value_heads, config.query_pre_attn_scalar), (256, 4, 256.0));
    assert_eq!((config.rope_theta, config.rope_local_base_freq), (1_000_000.0, Some(10_000.0)));
    assert!(config.tie_word_embeddings);
    assert_eq!(config.max_position_embeddings, 131_072);
    // the keys of transformers 4
    let config = read(&Model::of("gemma3_scaled")).unwrap();
    assert_eq!([0, 1, 2].map(|layer| config.window(layer)), [Some(12), Some(12), None]);
    assert_eq!((config.rope_theta, config.rope_local_base_freq), (100_000.0, Some(5000.0)));
    assert_eq!(config.query_pre_attn_scalar, 20.0);
    let again = config.to_hf("float32", Path::new("model")).unwrap();
    assert_eq!(Config::from_hf(&again, Path::new("config.json")).unwrap(), config);

    let refused = |key: &str, value: Value, parts: &[&str]| {
        let error = read(&Model::of("gemma3").with(key, value)).unwrap_err();
        assert_holds(&error, &[&["config.json"], parts].concat());
    };
    refused("hidden_activation", json!("gelu"), &["hidden_activation", "\"gelu_pytorch_tanh\" is"]);
    refused("final_logit_softcapping", json!(30.0), &["final_logit_softcapping"]);
    refused("attn_logit_softcapping", json!(50.0), &["attn_logit_softcapping"]);
    refused("use_bidirectional_attention", json!(true), &["use_bidirectional_attention"]);
    refused("query_pre_attn_scalar", json!(0), &["query_pre_attn_scalar", "positive"]);
    refused("rope_local_base_freq", json!(5000.0), &["rope_parameters.sliding_attention", "contradicts"]);
    refused("rope_theta", json!(5000.0), &["rope_parameters.full_attention", "contradicts"]);
    refused("rope_parameters", json!({"rope_type": "default"}), &["rope_parameters.rope_type", "sliding_attention"]);
    refused("rope_parameters", json!([]), &["rope_parameters", "an object"]);
    let scaled = json!({"sliding_attention": {"rope_type": "linear", "factor": 2.0}});
    refused("rope_parameters", scaled, &["rope_parameters.sliding_attention", "scaled"]);
    let yarn = json!({"full_attention": {"rope_type": "yarn", "factor": 2.0}});
    refused("rope_parameters", yarn, &["rope_parameters.full_attention.rope_type", "yarn"]);
    refused("sliding_window", Value::Null, &["sliding_window", "layers with a window"]);
    refused("sliding_window_pattern", json!(0), &["sliding_window_pattern"]);
    let vision = json!(["Gemma3ForConditionalGeneration"]);
    refused("architectures", vision, &["Gemma3ForConditionalGeneration", "Gemma3ForCausalLM", "gemma-3-1b", "GGUF"]);
}

#[test]
fn gguf_files_of_gemma3_are_read_as_llama_cpp_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let open = |model: Model| {
        model.write_gguf(&path);
        Student::open(&path).map(|student| student.config).map_err(|error| error.to_string())
    };
    let (window, pattern) = ("gemma3.attention.sliding_window", "gemma3.attention.sliding_window_pattern");
    let types = |config: &Config| [0, 1].map(|layer| config.window(layer));
    assert_eq!(types(&open(Model::of("gemma3")).unwrap()), [Some(12), None]);
    // each second layer, each layer, and as the layers of a list say
    assert_eq!(types(&open(Model::of("gemma3").with_key(pattern, 2u32)).unwrap()), [Some(12), None]);
    assert_eq!(types(&open(Model::of("gemma3").with_key(pattern, 6u32)).unwrap()), [Some(12), Some(12)]);
    let list = Stored::Array(Array::U32(vec![0, 1]));
    assert_eq!(types(&open(Model::of("gemma3").with_key(pattern, list)).unwrap()), [None, Some(12)]);
    let wrong = Stored::Array(Array::Bool(vec![true]));
    assert_holds(&open(Model::of("gemma3").with_key(pattern, wrong)).unwrap_err(), &[pattern, "names 1 layers"]);
    let without = open(Model::of("gemma3").with_key(window, 0u32)).unwrap();
    assert_eq!((types(&without), without.rope_local_base_freq), ([None, None], None));
    let softcapped = Model::of("gemma3").with_key("gemma3.final_logit_softcapping", 30.0f32);
    assert_holds(&open(softcapped).unwrap_err(), &["gemma3.final_logit_softcapping"]);
}

#[test]
fn phi3_has_fused_linears_and_longrope() {
    let read = |model: &Model| Config::from_hf(&model.config, Path::new("config.json")).map_err(|e| e.to_string());
    let config = read(&Model::of("phi3")).unwrap();
    assert_eq!((config.window(0), config.rotary_dim, config.modules().len()), (Some(16), 16, 4));
    let config = read(&Model::of("phi3_long")).unwrap();
    assert_eq!((config.rotary_dim, config.max_position_embeddings), (12, 1024));
    let RopeScaling::LongRope { attention_factor, .. } = &config.rope_scaling else { panic!() };
    assert_eq!(*attention_factor, 1.25f64.sqrt());
    let (original, long) = config.long_frequencies().unwrap();
    assert_eq!(original, 256);
    let ratios = config.inverse_frequencies().iter().zip(&long).map(|(short, long)| short / long).collect::<Vec<_>>();
    assert!((ratios[0] - 1.0).abs() < 1e-12 && (ratios[5] - 24.0 / 2.5).abs() < 1e-12, "{ratios:?}");

    // the keys of transformers 4, under both names of the scaling, and the code that real files name
    let mut older = Model::of("phi3_long").with("partial_rotary_factor", json!(0.75));
    let mut rope = older.config["rope_parameters"].take();
    rope.as_object_mut().unwrap().retain(|key, _| ["short_factor", "long_factor"].contains(&key.as_str()));
    rope["type"] = json!("su");
    older = older.with("rope_scaling", rope).with("rope_theta", json!(10000.0));
    let code = json!({
        "AutoConfig": "configuration_phi3.Phi3Config",
        "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
        "AutoTokenizer": "Xenova/gpt-4o"
    });
    older = older.with("auto_map", code).with("sliding_window", json!(262_144));
    let again = read(&older).unwrap();
    assert_eq!(
        (again.inverse_frequencies(), again.rotary_dim),
        (read(&Model::of("phi3_long")).unwrap().inverse_frequencies(), 12)
    );

    let refused = |model: Model, parts: &[&str]| {
        let error = read(&model).unwrap_err();
        assert_holds(&error, &[&["config.json"], parts].concat());
    };
    let other_code = json!({"AutoModelForCausalLM": "modeling_other.Model"});
    refused(Model::of("phi3").with("auto_map", other_code), &["auto_map", "modeling_phi3.Phi3ForCausalLM"]);
    refused(Model::of("phi3").with("attention_bias", json!(true)), &["attention_bias"]);
    refused(
        Model::of("phi3_long").with("partial_rotary_factor", json!(0.5)),
        &["partial_rotary_factor", "contradicts"],
    );
    refused(
        Model::of("phi3_long").with("original_max_position_embeddings", json!(64)),
        &["original_max", "contradicts"],
    );
    let with = |key: &str, value: Value| {
        let mut model = Model::of("phi3_long");
        model.config["rope_parameters"][key] = value;
        model
    };
    refused(with("short_factor", json!([1.0])), &["1 factors, but 6 pairs"]);
    refused(with("short_factor", json!([1, 1, 1, 1, 1, 0])), &["short_factor", "positive"]);
    refused(with("long_factor", Value::Null), &["long_factor", "positive"]);
    refused(with("partial_rotary_factor", json!(1.5)), &["partial_rotary_factor", "24 of the 16"]);
    refused(with("rope_type", json!("yarn")), &["rope_type", "yarn"]);
    // another class has no such frequencies
    refused(
        Model::of("phi3_long").with("model_type", Value::Null).with("architectures", json!(["LlamaForCausalLM"])),
        &["longrope"],
    );

    let names = |names: &[&str]| {
        let names = names.iter().map(|&name| name.into()).collect();
        let config = AdapterConfig { target_modules: Some(TargetModules::Names(names)), ..AdapterConfig::default() };
        targets(&config_of("phi3"), &config)
    };
    let error = names(&["w_proj"]).unwrap_err().to_string();
    assert_holds(&error, &["\"w_proj\"", "qkv_proj (with its parts q_proj, k_proj, v_proj), o_proj"]);
    let default = AdapterConfig { target_modules: None, ..AdapterConfig::default() };
    let error = targets(&config_of("phi3"), &default).unwrap_err().to_string();
    assert_holds(&error, &["qkv_proj (with its parts q_proj, k_proj, v_proj), o_proj"]);
}

fn config_of(name: &str) -> Config {
    Config::from_hf(&Model::of(name).config, Path::new("config.json")).unwrap()
}

#[test]
fn longrope_of_a_gguf_file_needs_both_sets_of_factors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let refusal = |model: Model| {
        model.write_gguf(&path);
        Student::open(&path).map(|student| student.config).unwrap_err().to_string()
    };
    Model::of("phi3_long").write_gguf(&path);
    let (config, of_folder) = (Student::open(&path).unwrap().config, config_of("phi3_long"));
    let ((original, long), (expected, of_folder)) =
        (config.long_frequencies().unwrap(), of_folder.long_frequencies().unwrap());
    assert_eq!((original, config.max_position_embeddings), (expected, 1024));
    assert!(long.iter().zip(&of_folder).all(|(a, b)| (a / b - 1.0).abs() < 1e-6), "{long:?}");
    let one = Model::of("phi3").with_gguf_tensor("rope_factors_long.weight", vec![1.0; 8]);
    assert_holds(&refusal(one), &["model.gguf", "rope_factors_short.weight"]);
    let both = |values: Vec<f32>| {
        Model::of("phi3")
            .with_gguf_tensor("rope_factors_short.weight", values)
            .with_gguf_tensor("rope_factors_long.weight", vec![1.0; 8])
    };
    assert_holds(&refusal(both(vec![1.0; 4])), &["rope_factors_short.weight", "[4]", "[8]"]);
    assert_holds(&refusal(both(vec![0.0; 8])), &["0 makes no sense"]);
    let factor = both(vec![1.0; 8]).with_key("phi3.rope.scaling.attn_factor", f32::NAN);
    assert_holds(&refusal(factor), &["phi3.rope.scaling.attn_factor"]);
    // no other architecture has them
    let llama = Model::of("tied").with_gguf_tensor("rope_factors_short.weight", vec![1.0; 8]);
    assert_holds(&refusal(llama), &["rope_factors_short.weight", "no part of"]);
}
