//! Adapters: one that PEFT wrote is read here, and what is written here has the same fields, names and bytes.
#![allow(clippy::unwrap_used)] // A test's helpers fail by panicking too.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_formats::peft::{
    self, AdapterConfig, Rows, TargetModules, TensorName, TrainedTokens, lora_a_name, lora_b_name, parse_name,
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

    assert_eq!(adapter.weights.get(&lora_a_name(0, "self_attn.q_proj")).unwrap().shape, [2, 8]);
    assert_eq!(adapter.weights.get(&lora_b_name(0, "self_attn.v_proj")).unwrap().shape, [4, 2]);
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
    let alpha_pattern = [("q_proj".to_owned(), 32.0), ("k_proj".to_owned(), 0.5)].into();
    let json = serde_json::to_value(AdapterConfig { alpha_pattern, ..AdapterConfig::default() }).unwrap();
    assert_eq!(
        (&json["lora_alpha"], json["alpha_pattern"].to_string()),
        (&8.into(), r#"{"k_proj":0.5,"q_proj":32}"#.to_owned())
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
    check(r#""bias": "all""#, Some("bias"));
    check(r#""use_dora": true"#, Some("use_dora"));
    check(r#""fan_in_fan_out": true"#, Some("fan_in_fan_out"));
    check(r#""modules_to_save": ["lm_head"]"#, Some("modules_to_save"));
    check(r#""layer_replication": [[0, 4]]"#, Some("layer_replication"));
    check(r#""a_later_field": {"on": 1}"#, Some("a_later_field"));
    check(r#""lora_dropout": 1.5"#, Some("lora_dropout"));
    check(r#""rank_pattern": {"q_proj": 0}"#, Some("r"));
}
