//! `adapter_config.json`, field for field as PEFT 0.21 writes it. Fields that matter here have types; all others are
//! kept as they came, and refused where they would change what the adapter computes. Matching target modules with a
//! model's is left to `aludel-model`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// PEFT's `LoraConfig`. The default is PEFT's, with the fields that its own writer adds for a causal language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// The method; only `LORA` is read.
    pub peft_type: String,
    /// `CAUSAL_LM` for every adapter written here.
    #[serde(default)]
    pub task_type: Option<String>,
    /// The model that the adapter was trained on: a path or a Hub id.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// The Hub revision of the base model.
    #[serde(default)]
    pub revision: Option<String>,
    /// Whether the adapter is frozen when it is loaded; saved adapters say yes.
    #[serde(default)]
    pub inference_mode: bool,
    /// The rank, where `rank_pattern` has no other.
    pub r: usize,
    /// The scale's numerator, where `alpha_pattern` has no other: `s = lora_alpha / r`, or over `√r` with rsLoRA.
    #[serde(default = "default_alpha", serialize_with = "whole_if_possible")]
    pub lora_alpha: f64,
    /// The probability with which an input feature is dropped in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Which linears have an adapter.
    #[serde(default)]
    pub target_modules: Option<TargetModules>,
    /// Linears that `target_modules` would match and that are left out.
    #[serde(default)]
    pub exclude_modules: Option<TargetModules>,
    /// Other ranks, by module name or pattern.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other alphas, by module name or pattern.
    #[serde(default, serialize_with = "whole_values_if_possible")]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Whether the scale is `lora_alpha / √r`.
    #[serde(default)]
    pub use_rslora: bool,
    /// How A and B began: true for PEFT's usual way, or a method's name.
    #[serde(default = "default_init")]
    pub init_lora_weights: Value,
    /// The embedding rows that are trained, if any.
    #[serde(default)]
    pub trainable_token_indices: Option<TrainedTokens>,
    /// All other fields, as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which modules are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// `all-linear`, or a regular expression for the whole module path.
    Pattern(String),
    /// Ends of module paths: `q_proj` means every module whose path ends in `.q_proj`.
    Names(Vec<String>),
}

/// Which embedding rows are trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrainedTokens {
    /// Token ids of the input embedding, with tied weights of the head too.
    Embedding(Vec<u32>),
    /// Token ids by module name; an untied head needs `{"embed_tokens": …, "lm_head": …}`.
    ByModule(BTreeMap<String, Vec<u32>>),
}

impl Default for AdapterConfig {
    fn default() -> Self {
        AdapterConfig {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: None,
            revision: None,
            inference_mode: true,
            r: 8,
            lora_alpha: default_alpha(),
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            use_rslora: false,
            init_lora_weights: default_init(),
            trainable_token_indices: None,
            other: default_other(),
        }
    }
}

impl AdapterConfig {
    /// The token ids whose embedding rows are trained, in the order of the saved rows.
    pub fn embedding_tokens(&self) -> &[u32] {
        match &self.trainable_token_indices {
            Some(TrainedTokens::Embedding(tokens)) => tokens,
            Some(TrainedTokens::ByModule(modules)) => tokens_of(modules, "embed_tokens"),
            None => &[],
        }
    }

    /// The token ids whose rows of an untied head are trained, in the order of the saved rows.
    pub fn head_tokens(&self) -> &[u32] {
        match &self.trainable_token_indices {
            Some(TrainedTokens::ByModule(modules)) => tokens_of(modules, "lm_head"),
            _ => &[],
        }
    }

    /// Refuses values out of range and features that would change the result and are not computed here.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let wrong = |key: &str, found: &dyn std::fmt::Display, mend: &str| Error::Malformed {
            path: path.to_owned(),
            place: format!("key \"{key}\""),
            reason: format!("{found} is not supported; {mend}"),
        };
        if self.peft_type != "LORA" {
            return Err(wrong("peft_type", &self.peft_type, "\"LORA\" would be right"));
        }
        if self.r == 0 || self.rank_pattern.values().any(|rank| *rank == 0) {
            return Err(wrong("r", &0, "1 or more would be right"));
        }
        let alphas = || self.alpha_pattern.values().chain([&self.lora_alpha]);
        if let Some(alpha) = alphas().find(|alpha| !alpha.is_finite()) {
            return Err(wrong("lora_alpha", alpha, "a finite number would be right"));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(wrong("lora_dropout", &self.lora_dropout, "at least 0 and less than 1 would be right"));
        }
        match self.other.iter().find(|(key, value)| !is_harmless(key, value)) {
            Some((key, value)) => {
                Err(wrong(key, value, "merge the adapter into its base with PEFT, or train without it"))
            }
            None => Ok(()),
        }
    }

    /// As PEFT writes it: keys in order of the alphabet.
    pub(super) fn to_sorted_json(&self, path: &Path) -> Result<BTreeMap<String, Value>> {
        let json_error = |reason: serde_json::Error| Error::Json { path: path.to_owned(), reason: reason.to_string() };
        let text = serde_json::to_string(self).map_err(json_error)?;
        serde_json::from_str(&text).map_err(json_error)
    }
}

/// PEFT takes a module's name or any longer end of its path: `embed_tokens` or `model.embed_tokens`.
fn tokens_of<'c>(modules: &'c BTreeMap<String, Vec<u32>>, name: &str) -> &'c [u32] {
    let found = modules.iter().find(|(path, _)| path.rsplit('.').next() == Some(name));
    found.map_or(&[], |(_, tokens)| tokens)
}

/// Whether a field without a type of its own leaves the adapter's result alone: one of those that only matter while
/// training or loading, or any that is switched off, so that fields of later versions pass where they are not used.
fn is_harmless(key: &str, value: &Value) -> bool {
    const NEVER_CHANGE_THE_RESULT: [&str; 12] = [
        "arrow_config",
        "auto_mapping",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "loftq_config",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "runtime_config",
    ];
    let is_off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || (key == "bias" && text == "none"),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    // Which layers have an adapter is told by the tensors themselves.
    let is_told_by_tensors = matches!(key, "layers_to_transform" | "layers_pattern");
    is_off || is_told_by_tensors || NEVER_CHANGE_THE_RESULT.contains(&key)
}

fn default_alpha() -> f64 {
    8.0
}

fn default_init() -> Value {
    Value::Bool(true)
}

/// What PEFT 0.21 writes for the fields that have no type of their own here.
fn default_other() -> Map<String, Value> {
    let fields = json!({
        "alora_invocation_tokens": null,
        "arrow_config": null,
        "auto_mapping": null,
        "bias": "none",
        "corda_config": null,
        "ensure_weight_tying": false,
        "eva_config": null,
        "fan_in_fan_out": false,
        "kasa_config": null,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        "lora_bias": false,
        "lora_ga_config": null,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": null,
        "monteclora_config": null,
        "peft_version": "0.21.2",
        "qalora_group_size": 16,
        "target_parameters": null,
        "use_bdlora": null,
        "use_dora": false,
        "use_qalora": false,
        "velora_config": null,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// 16 rather than 16.0, as PEFT's own fields are whole numbers.
fn whole_if_possible<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    whole(*number).serialize(serializer)
}

fn whole_values_if_possible<S: Serializer>(pattern: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pattern.iter().map(|(module, alpha)| (module, whole(*alpha))))
}

fn whole(number: f64) -> Value {
    const LARGEST_WHOLE: f64 = 9e15;
    if number.fract() == 0.0 && number.abs() < LARGEST_WHOLE { Value::from(number as i64) } else { Value::from(number) }
}
