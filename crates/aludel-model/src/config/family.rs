//! The supported families of models: what their files are called, and what their classes fix beyond the keys of a config. All
//! that a family is stands here and in the values of a `Config`; the decoder never asks for a family.

use std::path::Path;

use aludel_kernels::rowwise::gated::Activation;
use serde_json::Value;

use super::keys::{Rule, Table};
use super::window::Windows;
use crate::error::{Error, Result};
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
    /// What is added to the weights of norms in a folder.
    pub(crate) norm_offset: f32,
    /// Whether queries and keys are normed, each head alone, before they are rotated.
    pub(super) has_head_norms: bool,
    /// Whether what attention and the gated layer add to the residual stream is normed first.
    pub(super) has_output_norms: bool,
    /// Whether embeddings are multiplied by √C.
    pub(super) scales_embeddings: bool,
    /// Whether queries, keys and values are one linear, and gate and up another.
    pub(super) has_fused_linears: bool,
    /// Whether the rotary frequencies may be those of LongRoPE, and not all channels of a head be rotated.
    pub(crate) has_longrope: bool,
    /// What the gate goes through.
    pub(super) activation: Activation,
    /// The key of `config.json` that says so, and the names that it may have there, the first of which is written.
    pub(super) activation_key: (&'static str, &'static [&'static str]),
    /// Rotary bases of layers without and with a window where `config.json` has no number, if they have different ones.
    pub(super) default_thetas: Option<[f64; 2]>,
    /// Whether the head is the embedding where `config.json` does not speak of it.
    pub(super) default_tied: bool,
    /// What the factor on scores is made from where `config.json` has no number; none stands for the channels of a head.
    pub(super) default_query_scalar: Option<f64>,
    /// Which linears have biases.
    pub(super) biases: Biases,
    /// The linears that PEFT puts an adapter on where its config names none; without a list it refuses to.
    pub(crate) default_targets: Option<&'static [&'static str]>,
    /// Key and value heads where `config.json` has no number; none stands for as many as query heads.
    pub(super) default_key_value_heads: Option<usize>,
    /// Channels of a head where `config.json` has no number; none stands for those that make up the residual stream.
    pub(super) default_head_dim: Option<usize>,
    /// Positions where `config.json` has no number.
    pub(super) default_positions: usize,
    /// Which layers see a window of the past alone.
    pub(super) windows: Windows,
    /// Keys of `config.json` that mean something else than elsewhere.
    pub(super) hf_keys: Table,
    /// Keys of GGUF metadata that mean something else than elsewhere.
    pub(super) gguf_keys: Table,
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
    norm_offset: 0.0,
    has_head_norms: false,
    has_output_norms: false,
    scales_embeddings: false,
    has_fused_linears: false,
    has_longrope: false,
    activation: Activation::Silu,
    // two names of one function
    activation_key: ("hidden_act", &["silu", "swish"]),
    default_thetas: None,
    default_tied: false,
    default_query_scalar: None,
    biases: Biases::ByKey,
    default_targets: Some(&["q_proj", "v_proj"]),
    default_key_value_heads: None,
    default_head_dim: None,
    default_positions: 2048,
    windows: Windows::None,
    hf_keys: &[],
    gguf_keys: &[],
};

/// Mistral, with a window in its first version. Its GGUF files are Llama's, and say nothing of windows.
const MISTRAL: Family = Family {
    class: "MistralForCausalLM",
    model_type: "mistral",
    default_key_value_heads: Some(8),
    default_positions: 131_072,
    windows: Windows::EveryLayer(Some(4096)),
    hf_keys: MISTRAL_HF,
    ..LLAMA
};

/// Qwen2 and Qwen2.5, and DeepSeek-R1-Distill-Qwen.
const QWEN2: Family = Family {
    class: "Qwen2ForCausalLM",
    model_type: "qwen2",
    gguf: "qwen2",
    gguf_rows_are_paired: false,
    gguf_has_rope_divisors: false,
    biases: Biases::QueryKeyValue,
    default_key_value_heads: Some(32),
    default_positions: 32_768,
    windows: Windows::UpperLayers,
    hf_keys: QWEN2_HF,
    ..LLAMA
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
    hf_keys: QWEN3_HF,
    ..QWEN2
};

/// The text models of Gemma 3.
const GEMMA3: Family = Family {
    class: "Gemma3ForCausalLM",
    model_type: "gemma3_text",
    gguf: "gemma3",
    gguf_rows_are_paired: false,
    gguf_has_rope_divisors: false,
    norm_offset: 1.0,
    has_head_norms: true,
    has_output_norms: true,
    scales_embeddings: true,
    activation: Activation::GeluTanh,
    activation_key: ("hidden_activation", &["gelu_pytorch_tanh"]),
    default_thetas: Some([1_000_000.0, 10_000.0]),
    default_tied: true,
    default_query_scalar: Some(256.0),
    default_key_value_heads: Some(4),
    default_head_dim: Some(256),
    default_positions: 131_072,
    windows: Windows::Pattern,
    hf_keys: GEMMA3_HF,
    gguf_keys: GEMMA3_GGUF,
    ..LLAMA
};

/// What the class of Qwen2 does otherwise: it has windows, and biases are not asked for.
const QWEN2_HF: Table = &[
    (Rule::Read, &["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"]),
    (Rule::On, &["qkv_bias", "add_qkv_bias"]),
    (Rule::Off, &["attention_bias", "mlp_bias", "use_mrope"]),
];

/// The class of Qwen3 has windows as that of Qwen2, and norms of heads.
const QWEN3_HF: Table = &[
    (Rule::Read, &["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"]),
    (Rule::On, &["use_qk_norm", "qk_norm"]),
    (Rule::Off, &["mlp_bias", "use_mrope"]),
];

/// The class of Mistral has a window in every layer, and no biases.
const MISTRAL_HF: Table =
    &[(Rule::Read, &["sliding_window", "layer_types"]), (Rule::Off, &["attention_bias", "mlp_bias"])];

/// The class of Gemma 3 has windows, two rotary bases, a scale of scores, and names of its own.
const GEMMA3_HF: Table = &[
    (
        Rule::Read,
        &[
            "sliding_window",
            "sliding_window_pattern",
            "layer_types",
            "rope_local_base_freq",
            "query_pre_attn_scalar",
            "hidden_activation",
        ],
    ),
    // the pattern was used up when the layers were listed; which cache there is changes nothing
    (Rule::Harmless, &["_sliding_window_pattern", "cache_implementation"]),
    (Rule::Text("gelu_pytorch_tanh"), &["hidden_act"]),
    (Rule::Off, &["mlp_bias", "use_bidirectional_attention"]),
];

/// What llama.cpp reads of a Gemma 3 beside the keys of all.
const GEMMA3_GGUF: Table =
    &[(Rule::Read, &["attention.sliding_window", "attention.sliding_window_pattern", "rope.freq_base_swa"])];

/// Phi-3, Phi-3.5-mini and Phi-4-mini.
const PHI3: Family = Family {
    class: "Phi3ForCausalLM",
    model_type: "phi3",
    gguf: "phi3",
    gguf_rows_are_paired: false,
    gguf_has_rope_divisors: false,
    has_fused_linears: true,
    default_targets: None,
    has_longrope: true,
    default_positions: 4096,
    windows: Windows::EveryLayer(None),
    hf_keys: PHI3_HF,
    gguf_keys: PHI3_GGUF,
    ..LLAMA
};

/// The class of Phi-3 has a window in every layer, rotates a part of each head, and no biases. Its files name code that they bring, which
/// transformers has by itself. The modifiers are 1 in every file, and nobody reads them.
const PHI3_HF: Table = &[
    (Rule::Read, &["sliding_window", "layer_types", "partial_rotary_factor"]),
    (Rule::Texts(&["configuration_phi3.Phi3Config", "modeling_phi3.Phi3ForCausalLM"]), &["auto_map"]),
    (Rule::One, &["full_attn_mod", "interpolate_factor"]),
    (Rule::Off, &["attention_bias", "mlp_bias"]),
];

const PHI3_GGUF: Table = &[(
    Rule::Read,
    &[
        "attention.sliding_window",
        "rope.dimension_count",
        "rope.scaling.attn_factor",
        "rope.scaling.original_context_length",
    ],
)];

/// Of families that share a GGUF architecture, the first is that of its files.
pub(super) static FAMILIES: [Family; 6] = [LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA3, PHI3];

/// The supported families, for messages: what to use in place of another.
pub(super) const SUPPORTED: &str = "\
use a model of one of these families, for example hf:HuggingFaceTB/SmolLM2-135M-Instruct:
  LlamaForCausalLM    GGUF \"llama\"   Llama, SmolLM2, TinyLlama and others
  MistralForCausalLM  GGUF \"llama\"   Mistral
  Qwen2ForCausalLM    GGUF \"qwen2\"   Qwen2, Qwen2.5
  Qwen3ForCausalLM    GGUF \"qwen3\"   Qwen3
  Gemma3ForCausalLM   GGUF \"gemma3\"  Gemma 3, text
  Phi3ForCausalLM     GGUF \"phi3\"    Phi-3, Phi-4-mini";

/// What stands in for [`SUPPORTED`] where a folder is of a family whose text models are.
const GEMMA3_VISION: &str = "use a text model (Gemma3ForCausalLM, without vision weights), such as gemma-3-270m or gemma-3-1b, or a GGUF \
                             file of this model, which holds its text part alone";

/// What is supported in place of a class or type, for messages.
fn supported_instead_of(found: &str) -> &'static str {
    match found {
        "Gemma3ForConditionalGeneration" | "gemma3" => GEMMA3_VISION,
        _ => SUPPORTED,
    }
}

impl Family {
    /// What the factor on scores is made from in a GGUF file, which does not say it: llama.cpp knows the one Gemma 3 (27B, by its
    /// layers) that goes by the share of the residual stream and not by the channels of a head.
    pub(super) fn gguf_query_scalar(&self, layers: usize, share: usize, head_dim: usize) -> f64 {
        let is_27b = self.default_query_scalar.is_some() && layers == 62;
        if is_27b { share as f64 } else { head_dim as f64 }
    }

    /// Whether a linear has a bias, where the config has these two values.
    pub(super) fn has_bias(&self, module: Module, attention_bias: bool, mlp_bias: bool) -> bool {
        match self.biases {
            Biases::ByKey if module < Module::GateProj => attention_bias,
            Biases::ByKey => mlp_bias,
            Biases::QueryKeyValue => matches!(module, Module::QProj | Module::KProj | Module::VProj),
        }
    }

    /// The family of a `config.json`. transformers goes by the type, so class and type must not contradict each other.
    ///
    /// # Errors
    /// The file names no family, one that is not supported, or two.
    pub(super) fn of_hf(json: &Value, path: &Path) -> Result<&'static Family> {
        let classes: Vec<&str> =
            json["architectures"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let model_type = json["model_type"].as_str();
        let by_class = FAMILIES.iter().find(|family| classes.contains(&family.class));
        let by_type = FAMILIES.iter().find(|family| Some(family.model_type) == model_type);
        let wrong = |reason: String| Error::Config { path: path.to_owned(), key: "architectures".to_owned(), reason };
        match (by_class, by_type) {
            (Some(family), _) if model_type.is_none_or(|model_type| model_type == family.model_type) => Ok(family),
            (None, Some(family)) if classes.is_empty() => Ok(family),
            (Some(family), _) => Err(wrong(format!(
                "{:?} contradicts model_type = {:?}; correct whichever is wrong, or take the config.json that came with the weights",
                family.class,
                model_type.unwrap_or_default()
            ))),
            (None, _) => match classes.first().copied().or(model_type) {
                Some(found) => Err(Error::Architecture {
                    path: path.to_owned(),
                    found: found.to_owned(),
                    instead: supported_instead_of(found),
                }),
                None => Err(wrong(format!(
                    "is missing, and so is `model_type`, so the family of the model is unknown; take the config.json that came \
                     with the weights (`save_pretrained` writes both), or name the class yourself, such as \"architectures\": [\"{}\"]",
                    LLAMA.class
                ))),
            },
        }
    }

    /// The family of a GGUF file.
    pub(super) fn of_gguf(architecture: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.gguf == architecture)
    }
}
