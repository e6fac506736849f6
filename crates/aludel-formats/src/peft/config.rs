//! `adapter_config.json`, field for field as PEFT 0.21 writes it. Fields that matter here have types; all others are
//! kept as they are, and refused if they would change what the adapter computes. `fields` reads it, and `rules` selects
//! the modules.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::foreign;
use super::selection::{Bias, Patterns, TargetModules, TrainedTokens};
use crate::error::{Error, Result};

/// PEFT's `LoraConfig`. The default is PEFT's, with the fields that its own writer adds for a causal language model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterConfig {
    /// The method; only `LORA` is read.
    pub peft_type: String,
    /// `CAUSAL_LM` for every adapter written here.
    pub task_type: Option<String>,
    /// The model that the adapter was trained on: a path or a Hub id.
    pub base_model_name_or_path: Option<String>,
    /// The Hub revision of the base model.
    pub revision: Option<String>,
    /// Whether the adapter is frozen when it is loaded; saved adapters say yes.
    pub inference_mode: bool,
    /// The rank, where `rank_pattern` has no other.
    pub r: usize,
    /// The scale's numerator, where `alpha_pattern` has no other: `s = lora_alpha / r`, or over `√r` with rsLoRA.
    #[serde(serialize_with = "whole_if_possible")]
    pub lora_alpha: f64,
    /// The probability with which an input feature is dropped in training.
    pub lora_dropout: f64,
    /// Which linears have an adapter.
    pub target_modules: Option<TargetModules>,
    /// Linears that `target_modules` would match and that are left out.
    pub exclude_modules: Option<TargetModules>,
    /// Other ranks, by module name or pattern.
    pub rank_pattern: Patterns<usize>,
    /// Other alphas, by module name or pattern.
    #[serde(serialize_with = "whole_values_if_possible")]
    pub alpha_pattern: Patterns<f64>,
    /// Whether the scale is `lora_alpha / √r`.
    pub use_rslora: bool,
    /// Whether the weight is decomposed into magnitude and direction.
    pub use_dora: bool,
    /// Which biases of the base are trained.
    pub bias: Bias,
    /// How A and B were initialised: true for PEFT's usual way, or a method's name.
    pub init_lora_weights: Value,
    /// The embedding rows that are trained, if any.
    pub trainable_token_indices: Option<TrainedTokens>,
    /// All other fields, as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
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
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            use_rslora: false,
            use_dora: false,
            bias: Bias::None,
            init_lora_weights: Value::Bool(true),
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

    /// Reads a config. Fields that are missing, and nullable ones that are null, are PEFT's defaults.
    pub(super) fn read(fields: Map<String, Value>, path: &Path) -> Result<AdapterConfig> {
        let mut fields = Fields::new(fields, path);
        let default = AdapterConfig::default();
        let config = AdapterConfig {
            peft_type: fields.text("peft_type")?.unwrap_or_default(),
            task_type: fields.text("task_type")?,
            base_model_name_or_path: fields.text("base_model_name_or_path")?,
            revision: fields.text("revision")?,
            inference_mode: fields.flag("inference_mode")?,
            r: fields.rank("r")?.unwrap_or(default.r),
            lora_alpha: fields.number("lora_alpha")?.unwrap_or(default.lora_alpha),
            lora_dropout: fields.number_or_null("lora_dropout")?.unwrap_or(default.lora_dropout),
            target_modules: fields.modules("target_modules")?,
            exclude_modules: fields.modules("exclude_modules")?,
            rank_pattern: fields.ranks("rank_pattern")?,
            alpha_pattern: fields.numbers("alpha_pattern")?,
            use_rslora: fields.flag("use_rslora")?,
            use_dora: fields.flag("use_dora")?,
            bias: fields.bias("bias")?,
            init_lora_weights: fields.any("init_lora_weights").unwrap_or(default.init_lora_weights),
            trainable_token_indices: fields.tokens("trainable_token_indices")?,
            other: fields.rest(),
        };
        config.check(path)?;
        Ok(config)
    }

    /// Refuses values out of range and features that would change the result and are not computed here.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let wrong = |key: &str, reason: String| {
            Err(Error::Malformed { path: path.to_owned(), place: format!("key \"{key}\""), reason })
        };
        if let Some(reason) = foreign::method(&self.peft_type) {
            return wrong("peft_type", reason);
        }
        if self.r == 0 {
            return wrong("r", "0 is not supported; 1 or more would be right".to_owned());
        }
        if let Some((pattern, _)) = self.rank_pattern.iter().find(|(_, rank)| *rank == 0) {
            return wrong("rank_pattern", format!("{pattern:?}: 0 is not supported; 1 or more would be right"));
        }
        let finite = "a finite number would be right";
        if !self.lora_alpha.is_finite() {
            return wrong("lora_alpha", format!("{} is not supported; {finite}", self.lora_alpha));
        }
        if let Some((pattern, alpha)) = self.alpha_pattern.iter().find(|(_, alpha)| !alpha.is_finite()) {
            return wrong("alpha_pattern", format!("{pattern:?}: {alpha} is not supported; {finite}"));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let found = self.lora_dropout;
            return wrong(
                "lora_dropout",
                format!("{found} is not supported; at least 0 and less than 1 would be right"),
            );
        }
        if let Some(reason) = foreign::start(&self.init_lora_weights) {
            return wrong("init_lora_weights", reason);
        }
        match self.other.iter().find_map(|(key, value)| Some((key, foreign::field(key, value)?))) {
            Some((key, reason)) => wrong(key, reason),
            None => Ok(()),
        }
    }

    /// As PEFT writes it: keys sorted alphabetically.
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

/// What PEFT 0.21 writes for the fields that have no type of their own here.
fn default_other() -> Map<String, Value> {
    let fields = json!({
        "alora_invocation_tokens": null,
        "arrow_config": null,
        "auto_mapping": null,
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
        "use_qalora": false,
        "velora_config": null,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// 16 rather than 16.0, as PEFT's own fields are integers.
fn whole_if_possible<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    whole(*number).serialize(serializer)
}

fn whole_values_if_possible<S: Serializer>(patterns: &Patterns<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(patterns.iter().map(|(pattern, alpha)| (pattern, whole(*alpha))))
}

fn whole(number: f64) -> Value {
    const LARGEST_WHOLE: f64 = 9e15;
    if number.fract() == 0.0 && number.abs() < LARGEST_WHOLE { Value::from(number as i64) } else { Value::from(number) }
}
