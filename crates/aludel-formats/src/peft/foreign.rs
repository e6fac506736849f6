//! Identifies adapters that are not applied here: by method, by setting, by tensor name, by folder. Each gets an error
//! that says what it is and what to do with it. Harmless differences are recognised here as well.

use serde_json::{Map, Value};

use super::fields::shown;

/// What to do with an adapter that changes weights in a way that is not computed here.
const MERGE: &str = "merge it into its base with PEFT (merge_and_unload) and give the merged folder as the model";

/// Why an adapter of this `peft_type` cannot be applied.
pub(super) fn method(peft_type: &str) -> Option<String> {
    const PROMPTS: [&str; 7] = [
        "PROMPT_TUNING",
        "MULTITASK_PROMPT_TUNING",
        "P_TUNING",
        "PREFIX_TUNING",
        "ADAPTION_PROMPT",
        "CPT",
        "CARTRIDGE",
    ];
    match peft_type {
        "LORA" => None,
        "" => Some("it is missing; \"LORA\" would be right".to_owned()),
        _ if PROMPTS.contains(&peft_type) => Some(format!(
            "{peft_type:?} is a method that puts learnt tokens before a prompt and changes no weight, which is not supported; train a \
             \"LORA\" adapter"
        )),
        _ => Some(format!("{peft_type:?} is another method than \"LORA\", and not supported; {MERGE}")),
    }
}

/// Why weights with this initialisation are no ordinary LoRA.
pub(super) fn start(init_lora_weights: &Value) -> Option<String> {
    let name = match init_lora_weights {
        Value::Null | Value::Bool(_) => return None,
        Value::String(name) => name.to_lowercase(),
        other => return Some(format!("{} is no way to start that PEFT knows", shown(other))),
    };
    // These leave the base as it is.
    if ["gaussian", "eva", "orthogonal", "mica", "true", "false"].contains(&name.as_str()) {
        return None;
    }
    // PEFT writes true in its place once the adapter is converted.
    Some(format!(
        "{name:?} changes the base's weights before training (as PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA do), so that this adapter is wrong \
         on the base as it is; save it again with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…), or {MERGE}"
    ))
}

/// Why a field without a type of its own changes what an adapter computes; `None` if it does not, or if it is switched off, so that
/// fields of later versions pass where they are not used.
pub(super) fn field(key: &str, value: &Value) -> Option<String> {
    const NEVER_CHANGE_THE_RESULT: [&str; 15] = [
        "auto_mapping",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        // a linear has none; PEFT sets it back
        "fan_in_fan_out",
        // read by `rules`
        "layers_pattern",
        "layers_to_transform",
        // settings of an initialisation, which `start` checks
        "loftq_config",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "runtime_config",
        "_custom_modules",
    ];
    if NEVER_CHANGE_THE_RESULT.contains(&key) {
        return None;
    }
    let is_off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    if is_off {
        return None;
    }
    let what = match key {
        "modules_to_save" => "these modules were trained whole beside LoRA",
        "lora_bias" => "its B has biases",
        "layer_replication" => "it is for a base whose layers were repeated",
        "target_parameters" => "it adapts parameters that are no linears",
        "alora_invocation_tokens" => "this is aLoRA, which acts from certain tokens on",
        "arrow_config" => "this is Arrow, which chooses among several adapters",
        _ => "",
    };
    let what = if what.is_empty() { String::new() } else { format!(": {what}") };
    Some(format!("{} is not supported{what}; {MERGE}", shown(value)))
}

/// What a tensor is if it belongs to no LoRA on a linear, and what to do about it.
pub fn tensor(name: &str) -> String {
    let is_whole_table = (name.contains("embed_tokens") || name.contains("lm_head")) && name.ends_with(".weight");
    let what = if name.ends_with(".lora_a") || name.ends_with(".lora_b") {
        return format!("this tensor is named as in an adapter of MLX; {FUSE}");
    } else if name.contains("lora_embedding_") {
        "this is LoRA on the embedding, which is not supported; give an adapter on linears of layers alone"
    } else if is_whole_table && !name.contains(".lora_") {
        "this is the whole table of tokens, saved beside LoRA (modules_to_save, or save_embedding_layers because the vocabulary was \
         resized), which is not supported; give one that trains rows by trainable_token_indices instead"
    } else if name.contains(".lora_") && name.ends_with(".bias") {
        "this is a bias of LoRA's own (lora_bias), which is not supported"
    } else if [".lora_A.", ".lora_B.", ".lora_magnitude_vector."].iter().any(|part| name.contains(part)) {
        return "this tensor is of an adapter with a name of its own, which PEFT leaves out of a saved folder; take the name out".to_owned();
    } else if name.contains("modules_to_save") {
        "this module was trained whole beside LoRA (modules_to_save), which is not supported"
    } else {
        "this tensor is not part of a LoRA adapter"
    };
    format!("{what}; {MERGE}")
}

const FUSE: &str =
    "fuse it into its base (`mlx_lm.fuse --model BASE --adapter-path FOLDER`) and give the fused folder as the model";

/// Identifies a folder whose config is not PEFT's.
pub(super) fn config(fields: &Map<String, Value>) -> Option<String> {
    let is_mlx = ["lora_parameters", "lora_layers", "fine_tune_type"].iter().any(|key| fields.contains_key(*key));
    (is_mlx && !fields.contains_key("peft_type")).then(|| format!("this is an adapter of MLX and not of PEFT; {FUSE}"))
}
