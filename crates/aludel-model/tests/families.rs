//! What the configs of families with windows say of their layers, as transformers reads them.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::path::Path;

use aludel_model::config::Config;
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
