//! Adapters: one that PEFT wrote is read, and written ones have the same fields, names and bytes.
#![allow(clippy::unwrap_used)] // A test's helpers fail by panicking too.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_formats::peft::{
    self, AdapterConfig, Rows, Rules, TargetModules, TensorName, TrainedTokens, lora_a_name, lora_b_name, parse_name,
    trained_rows_name,
};
use aludel_formats::{Error, TensorSpec};
use serde_json::Value;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapter")
}

#[test]
fn an_adapter_of_peft_is_read() {
    let adapter = peft::read(&fixture()).unwrap();
    let config = &adapter.config;
    assert_eq!((config.r, config.lora_alpha, config.lora_dropout), (2, 16.0, 0.2));
    assert!(config.inference_mode && !config.use_rslora);
    assert_eq!(config.target_modules, Some(TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()])));
    assert_eq!((config.embedding_tokens(), config.head_tokens()), ([14, 15].as_slice(), [14, 15].as_slice()));

    assert_eq!(adapter.weights.get(&lora_a_name("model.layers.0.self_attn.q_proj")).unwrap().shape, [2, 8]);
    assert_eq!(adapter.weights.get(&lora_b_name("model.layers.0.self_attn.v_proj")).unwrap().shape, [4, 2]);
    assert_eq!(adapter.weights.get(trained_rows_name(Rows::Embedding)).unwrap().shape, [2, 8]);
    assert_eq!(adapter.weights.get(trained_rows_name(Rows::Head)).unwrap().shape, [2, 8]);
    assert!(adapter.weights.names().all(|name| parse_name(name).is_some()));
    let outer = adapter.weights.names().filter(|name| !matches!(parse_name(name), Some(TensorName::Lora { .. })));
    assert_eq!(outer.count(), 2);
}

#[test]
fn writing_what_was_read_gives_the_same_files() {
    let adapter = peft::read(&fixture()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tensors: Vec<TensorSpec> = adapter.weights.tensors().map(|tensor| tensor.unwrap().spec()).collect();
    let bytes_of = |tensor: &TensorSpec| Ok::<_, Error>(Cow::Borrowed(adapter.weights.get(&tensor.name)?.bytes));
    peft::write(folder.path(), &adapter.config, &tensors, bytes_of).unwrap();
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    let config = |folder: &Path| String::from_utf8(read(folder, "adapter_config.json")).unwrap();
    assert_eq!(config(folder.path()).trim_end(), config(&fixture()).trim_end());
    let weights = "adapter_model.safetensors";
    assert!(read(folder.path(), weights) == read(&fixture(), weights), "the weights differ");
}

#[test]
fn the_default_config_has_the_fields_of_peft() {
    let theirs: Value = serde_json::from_slice(&fs::read(fixture().join("adapter_config.json")).unwrap()).unwrap();
    let ours = AdapterConfig {
        r: 2,
        lora_alpha: 16.0,
        lora_dropout: 0.2,
        target_modules: Some(TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()])),
        trainable_token_indices: Some(TrainedTokens::ByModule(
            [("embed_tokens", vec![14, 15]), ("lm_head", vec![14, 15])]
                .map(|(name, ids)| (name.to_owned(), ids))
                .into(),
        )),
        ..AdapterConfig::default()
    };
    assert_eq!(serde_json::to_value(&ours).unwrap(), theirs);
}

#[test]
fn whole_alphas_are_written_as_whole_numbers() {
    // not in order of the alphabet: the first that matches counts
    let alpha_pattern = [("q_proj".to_owned(), 32.0), ("k_proj".to_owned(), 0.5)].into_iter().collect();
    let json = serde_json::to_value(AdapterConfig { alpha_pattern, ..AdapterConfig::default() }).unwrap();
    assert_eq!(
        (&json["lora_alpha"], json["alpha_pattern"].to_string()),
        (&8.into(), r#"{"q_proj":32,"k_proj":0.5}"#.to_owned())
    );
}

#[test]
fn a_config_with_what_is_not_computed_here_is_refused() {
    fn check(field: &str, wanted: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(r#"{{"peft_type": "LORA", "r": 8, "target_modules": "all-linear", {field}}}"#);
        fs::write(folder.path().join("adapter_config.json"), text).unwrap();
        fs::copy(fixture().join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
        match (peft::read(folder.path()), wanted) {
            (Ok(_), None) => {}
            (Err(error), Some(key)) => assert!(error.to_string().contains(&format!("key \"{key}\"")), "{error}"),
            (found, wanted) => panic!("{field}: wanted {wanted:?}, found {found:?}"),
        }
    }
    check(r#""bias": "none", "megatron_core": "megatron.core", "loftq_config": {}"#, None);
    check(r#""a_later_field": null, "another": false, "eva_config": {"rho": 2}"#, None);
    check(r#""layers_to_transform": [0, 1]"#, None);
    // harmless: PEFT sets the first back on a linear, and no trained bias is there
    check(r#""fan_in_fan_out": true, "bias": "all""#, None);
    check(r#""rank_pattern": null, "alpha_pattern": null, "use_rslora": null, "lora_dropout": null"#, None);
    check(r#""exclude_modules": null, "trainable_token_indices": null, "inference_mode": null"#, None);
    check(r#""init_lora_weights": "gaussian", "bias": "lora_only""#, None);
    check(r#""bias": "some""#, Some("bias"));
    check(r#""lora_alpha": null"#, Some("lora_alpha"));
    check(r#""lora_alpha": "16""#, Some("lora_alpha"));
    for start in ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "PiSSA", "of_later"] {
        check(&format!(r#""init_lora_weights": "{start}""#), Some("init_lora_weights"));
    }
    check(r#""use_dora": true"#, None);
    check(r#""lora_bias": true"#, Some("lora_bias"));
    check(r#""arrow_config": {"top_k": 3}"#, Some("arrow_config"));
    check(r#""trainable_token_indices": [3, -1]"#, Some("trainable_token_indices"));
    check(r#""trainable_token_indices": [3.5]"#, Some("trainable_token_indices"));
    check(r#""trainable_token_indices": [4294967296]"#, Some("trainable_token_indices"));
    check(r#""trainable_token_indices": {"q_proj": [1]}"#, Some("trainable_token_indices"));
    let twice = r#""trainable_token_indices": {"embed_tokens": [1], "model.embed_tokens": [2]}"#;
    check(twice, Some("trainable_token_indices"));
    check(r#""alpha_pattern": {"q_proj": "16"}"#, Some("alpha_pattern.q_proj"));
    check(r#""alpha_pattern": ["q_proj"]"#, Some("alpha_pattern"));
    check(r#""modules_to_save": ["lm_head"]"#, Some("modules_to_save"));
    check(r#""layer_replication": [[0, 4]]"#, Some("layer_replication"));
    check(r#""a_later_field": {"on": 1}"#, Some("a_later_field"));
    check(r#""lora_dropout": 1.5"#, Some("lora_dropout"));
    check(r#""rank_pattern": {"q_proj": 0}"#, Some("rank_pattern"));
}

#[test]
fn adapters_of_other_kinds_are_told_what_they_are() {
    fn check(config: &str, wanted: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adapter_config.json"), config).unwrap();
        let message = peft::read(folder.path()).unwrap_err().to_string();
        for part in wanted {
            assert!(message.contains(part), "{message}\nlacks {part}");
        }
    }
    check(r#"{"fine_tune_type": "lora", "lora_parameters": {"rank": 8}}"#, &["MLX", "mlx_lm.fuse"]);
    check(r#"{"r": 8}"#, &["peft_type", "missing"]);
    check(r#"{"peft_type": "VERA", "r": 8}"#, &["VERA", "merge_and_unload"]);
    check(r#"{"peft_type": "PREFIX_TUNING"}"#, &["PREFIX_TUNING", "before a prompt"]);
    check(r#"{"peft_type": "LORA", "init_lora_weights": "pissa"}"#, &["path_initial_model_for_weight_conversion"]);
    let message = peft::read(&fixture().join("adapter_config.json")).unwrap_err().to_string();
    assert!(message.contains("this is a file"), "{message}");
    for (name, wanted) in [
        ("base_model.model.model.embed_tokens.weight", "whole table"),
        ("base_model.model.lm_head.modules_to_save.weight", "whole table"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector.mine.weight", "name of its own"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "lora_bias"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.mine.weight", "name of its own"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "on the embedding"),
        ("model.layers.0.self_attn.q_proj.lora_a", "MLX"),
        ("something.else", "not part of a LoRA adapter"),
    ] {
        let said = peft::what_tensor_is(name);
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

/// The modules of a model of `layers` layers with LoRA's paths, and what `value_of` says of them, by short name and value.
fn by_name(layers: u64, value_of: &dyn Fn(&str) -> Option<String>) -> Value {
    let mut found = serde_json::Map::new();
    for layer in 0..layers {
        for module in [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ] {
            let Some(value) = value_of(&format!("model.layers.{layer}.{module}")) else { continue };
            let name = module.split_once('.').unwrap().1;
            let of_name = found.entry(name).or_insert_with(|| serde_json::json!({}));
            let layers = of_name.as_object_mut().unwrap().entry(value).or_insert_with(|| serde_json::json!([]));
            layers.as_array_mut().unwrap().push(layer.into());
        }
    }
    Value::Object(found)
}

/// A config with these fields beside what must be there, read from a file with them in this order.
fn with_fields(fields: &str) -> AdapterConfig {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adapter_config.json"), format!(r#"{{"peft_type": "LORA"{fields}}}"#)).unwrap();
    fs::copy(fixture().join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
    peft::read(folder.path()).unwrap().config
}

/// Against what PEFT gave each module of a model of twelve layers (`tools/golden/adapters.py`).
#[test]
fn modules_ranks_and_alphas_are_those_of_peft() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures/adapters/rules.json");
    let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let layers = golden["layers"].as_u64().unwrap();
    let rules = |config: &AdapterConfig| Rules::new(config, Path::new("c"), &["q_proj", "v_proj"]).unwrap();
    let cases = golden["patterns"].as_array().unwrap();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let pairs = case["patterns"].as_array().unwrap().iter().map(|pair| format!("{}: {}", pair[0], pair[1]));
        let patterns = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
        let config =
            with_fields(&format!(r#", "rank_pattern": {patterns}, "alpha_pattern": {patterns}, "use_rslora": true"#));
        let rules = rules(&config);
        let ranks = by_name(layers, &|module| Some(rules.rank(module).unwrap().to_string()));
        assert_eq!(ranks, case["modules"], "ranks by {patterns}");
        let alphas = by_name(layers, &|module| Some(rules.alpha(module).unwrap().to_string()));
        assert_eq!(alphas, case["modules"], "alphas by {patterns}");
        let scale = rules.scale("model.layers.3.self_attn.q_proj").unwrap();
        let rank = rules.rank("model.layers.3.self_attn.q_proj").unwrap() as f64;
        assert!((scale - rank.sqrt()).abs() <= 1e-12, "alpha and rank are equal here");
    }
    let cases = golden["targets"].as_array().unwrap();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let fields = case["config"].as_object().unwrap().iter().map(|(key, value)| format!(r#", "{key}": {value}"#));
        let rules = rules(&with_fields(&fields.collect::<String>()));
        let targets = by_name(layers, &|module| rules.is_target(module).unwrap().then(|| "True".to_owned()));
        assert_eq!(targets, case["modules"], "{}", case["config"]);
        assert!(!rules.is_target("lm_head").unwrap(), "{}", case["config"]);
    }
}

#[test]
fn rules_that_peft_refuses_or_reads_otherwise_are_refused_by_name() {
    for (fields, key, said) in [
        (r#""alpha_pattern": {"(?i)q_proj": 3}"#, "alpha_pattern", "`(?i)q_proj`"),
        (r#""rank_pattern": {"(q": 3}"#, "rank_pattern", "no regular expression"),
        (r#""rank_pattern": {"*.q_proj": 3}"#, "rank_pattern", "repeats nothing"),
        (r##""target_modules": "q_proj[""##, "target_modules", "no end"),
        (r#""target_modules": ".*q_proj", "layers_to_transform": [1]"#, "layers_to_transform", "list of names"),
        (r#""target_modules": ["q_proj"], "layers_pattern": "layers""#, "layers_pattern", "only together"),
        (r#""target_modules": ["q_proj"], "layers_to_transform": [-1]"#, "layers_to_transform", "-1"),
        (r#""target_modules": ["q_proj"], "layers_to_transform": "1""#, "layers_to_transform", "no layer's number"),
    ] {
        let config = with_fields(&format!(", {fields}"));
        let Err(error) = Rules::new(&config, Path::new("c"), &[]) else { panic!("{fields} was read") };
        let error = error.to_string();
        assert!(error.contains(&format!("key \"{key}\"")) && error.contains(said), "{fields}: {error}");
    }
    // Each of these takes some thousand steps for a path, and is refused for what all take.
    let patterns: Vec<String> = (0..400).map(|number| format!(r#"".*(?=.).*(?=.).*!{number}": 3"#)).collect();
    let slow = with_fields(&format!(r#", "target_modules": ["q_proj"], "rank_pattern": {{{}}}"#, patterns.join(", ")));
    let rules = Rules::new(&slow, Path::new("c"), &[]).unwrap();
    let ranks: Result<Vec<usize>, _> =
        (0..100).map(|layer| rules.rank(&format!("model.layers.{layer}.self_attn.q_proj"))).collect();
    let error = ranks.unwrap_err().to_string();
    let said = "with all patterns before it, it takes more than 20 million steps, since it looks around itself";
    assert!(error.contains("key \"rank_pattern\"") && error.contains(said), "{error}");
    let usual = with_fields(
        r#", "target_modules": "(?!.*embed).*\\bq_proj", "rank_pattern": {"(?<!k)_proj": 3, "(?=q)q_proj": 4}"#,
    );
    let rules = Rules::new(&usual, Path::new("c"), &[]).unwrap();
    for layer in 0..1_000 {
        let path = format!("model.layers.{layer}.self_attn.q_proj");
        assert!(rules.is_target(&path).unwrap() && rules.rank(&path).unwrap() == 4);
    }
    let slow = with_fields(r#", "target_modules": "(?:(?=.).|(?=.).)+!""#);
    let rules = Rules::new(&slow, Path::new("c"), &[]).unwrap();
    let error = rules.is_target("model.layers.0.self_attn.q_proj").unwrap_err().to_string();
    assert!(error.contains("target_modules") && error.contains("cannot be matched"), "{error}");
}
