//! The supported families of models: what their files are called, and what their classes fix beyond the keys of a config. All
//! that a family is stands here, in `keys`, and in the values of a `Config`; the decoder never asks for a family.

use serde_json::Value;

use super::keys;
use super::window::Windows;
use crate::module::Module;

/// A family, as transformers' classes and llama.cpp's architectures divide models.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Among the `architectures` of `config.json`.
    pub class: &'static str,
    /// `model_type` of `config.json`, and of transformers' config class.
    pub model_type: &'static str,
    /// `general.architecture` of GGUF metadata, before each of the family's keys.
    pub gguf: &'static str,
    /// Whether a GGUF file rotates neighbouring channels of queries and keys together.
    pub gguf_rows_are_paired: bool,
    /// Whether a GGUF file may hold divisors of the rotary frequencies.
    pub gguf_has_rope_divisors: bool,
    /// Whether queries and keys are normed, each head alone, before they are rotated.
    pub(super) has_head_norms: bool,
    /// Which linears have biases.
    pub(super) biases: Biases,
    /// Key and value heads where `config.json` has no number; none stands for as many as query heads.
    pub(super) default_key_value_heads: Option<usize>,
    /// Channels of a head where `config.json` has no number; none stands for those that make up the residual stream.
    pub(super) default_head_dim: Option<usize>,
    /// Positions where `config.json` has no number.
    pub(super) default_positions: usize,
    /// Which layers see a window of the past alone.
    pub(super) windows: Windows,
    /// Keys of `config.json` that mean something else than elsewhere.
    pub(super) hf_keys: keys::Table,
}

/// Which linears have biases.
#[derive(Debug, PartialEq)]
pub(super) enum Biases {
    /// As `attention_bias` and `mlp_bias` say.
    ByKey,
    /// Queries, keys and values.
    QueryKeyValue,
}

/// Llama, and whoever uses its class: SmolLM2, TinyLlama, DeepSeek-R1-Distill-Llama.
const LLAMA: Family = Family {
    class: "LlamaForCausalLM",
    model_type: "llama",
    gguf: "llama",
    gguf_rows_are_paired: true,
    gguf_has_rope_divisors: true,
    has_head_norms: false,
    biases: Biases::ByKey,
    default_key_value_heads: None,
    default_head_dim: None,
    default_positions: 2048,
    windows: Windows::None,
    hf_keys: &[],
};

/// Mistral, with a window in its first version. Its GGUF files are Llama's, and say nothing of windows.
const MISTRAL: Family = Family {
    class: "MistralForCausalLM",
    model_type: "mistral",
    default_key_value_heads: Some(8),
    default_positions: 131_072,
    windows: Windows::EveryLayer(Some(4096)),
    hf_keys: keys::MISTRAL_HF,
    ..LLAMA
};

/// Qwen2 and Qwen2.5, and DeepSeek-R1-Distill-Qwen.
const QWEN2: Family = Family {
    class: "Qwen2ForCausalLM",
    model_type: "qwen2",
    gguf: "qwen2",
    gguf_rows_are_paired: false,
    gguf_has_rope_divisors: false,
    has_head_norms: false,
    biases: Biases::QueryKeyValue,
    default_key_value_heads: Some(32),
    default_head_dim: None,
    default_positions: 32_768,
    windows: Windows::UpperLayers,
    hf_keys: keys::QWEN2_HF,
};

/// Qwen3, dense.
const QWEN3: Family = Family {
    class: "Qwen3ForCausalLM",
    model_type: "qwen3",
    gguf: "qwen3",
    has_head_norms: true,
    biases: Biases::ByKey,
    default_head_dim: Some(128),
    windows: Windows::UpperLayers,
    hf_keys: keys::QWEN3_HF,
    ..QWEN2
};

/// Of families that share a GGUF architecture, the first is that of its files.
static FAMILIES: [Family; 4] = [LLAMA, MISTRAL, QWEN2, QWEN3];

/// The supported families, for messages.
pub(super) const SUPPORTED: &str = "LlamaForCausalLM (Llama, SmolLM2, TinyLlama and others of the Llama family), MistralForCausalLM, \
                                    Qwen2ForCausalLM (Qwen2, Qwen2.5) and Qwen3ForCausalLM, in GGUF files \"llama\", \"qwen2\" and \
                                    \"qwen3\"; use one of these, for example hf:HuggingFaceTB/SmolLM2-135M-Instruct";

impl Family {
    /// Whether a linear has a bias, where the config has these two values.
    pub(super) fn has_bias(&self, module: Module, attention_bias: bool, mlp_bias: bool) -> bool {
        match self.biases {
            Biases::ByKey if module < Module::GateProj => attention_bias,
            Biases::ByKey => mlp_bias,
            Biases::QueryKeyValue => matches!(module, Module::QProj | Module::KProj | Module::VProj),
        }
    }

    /// The family of a `config.json`; if there is none, the name that stands there. transformers goes by the type, so class and
    /// type must not contradict each other.
    pub(super) fn of_hf(json: &Value) -> Result<&'static Family, String> {
        let classes: Vec<&str> =
            json["architectures"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let model_type = json["model_type"].as_str();
        let by_class = FAMILIES.iter().find(|family| classes.contains(&family.class));
        let by_type = FAMILIES.iter().find(|family| Some(family.model_type) == model_type);
        match (by_class, by_type) {
            (Some(family), _) if model_type.is_none_or(|model_type| model_type == family.model_type) => Ok(family),
            (None, Some(family)) if classes.is_empty() => Ok(family),
            (Some(_), _) => Err(model_type.unwrap_or("(none named)").to_owned()),
            (None, _) => Err(classes.first().copied().or(model_type).unwrap_or("(none named)").to_owned()),
        }
    }

    /// The family of a GGUF file.
    pub(super) fn of_gguf(architecture: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.gguf == architecture)
    }
}
