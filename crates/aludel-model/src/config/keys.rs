//! The rule for every key of a family's config: read, harmless, or allowed only where its value changes nothing. One table for
//! `config.json`, two for GGUF metadata; what a family says otherwise stands in `family`. A key that stands in none is refused, since it may change the
//! arithmetic or the ids.

use aludel_files::shortened;
use serde_json::Value;

use super::Config;

/// What a key may say. null says nothing and is always allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    /// Anything: it is read and checked where the config is made.
    Read,
    /// Anything: it changes nothing that is computed here.
    Harmless,
    /// That the feature is off: false, zero, or nothing.
    Off,
    /// true.
    On,
    /// 1: it multiplies, or is a share of the whole.
    One,
    /// Head channels, D.
    HeadDim,
    /// 1/√D, by which scores are multiplied.
    ScoreScale,
    /// At least the context, so that no position is left out; or off.
    WholeContext,
    /// This text, or a list of nothing else.
    Text(&'static str),
    /// An object whose values are some of these texts.
    Texts(&'static [&'static str]),
    /// A list of this text, one for each layer.
    EachLayer(&'static str),
    /// Nothing; the text is the mend.
    Never(&'static str),
}

pub(super) type Table = &'static [(Rule, &'static [&'static str])];

const UNQUANTISED: &str =
    "weights that are stored this way are not read; use the model's unquantised folder, or a GGUF file";

/// The keys of a `config.json`. transformers gives a Llama none but those of its class and its base class; the others are here
/// because they are met with in files.
const HF: Table = &[
    (
        Rule::Read,
        &[
            "architectures",
            "model_type",
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "hidden_act",
            "rms_norm_eps",
            "max_position_embeddings",
            "original_max_position_embeddings",
            "rope_theta",
            "rope_scaling",
            "rope_parameters",
            "tie_word_embeddings",
            "attention_bias",
            "mlp_bias",
            "bos_token_id",
            "eos_token_id",
        ],
    ),
    // pretraining_tp only cuts the same products into parts
    (
        Rule::Harmless,
        &[
            "_name_or_path",
            "_attn_implementation",
            "_attn_implementation_autoset",
            "_attn_implementation_internal",
            "_flash_attn_2_enabled",
            "_commit_hash",
            "_from_auto",
            "attn_implementation",
            "use_flash_attention",
            "use_flash_attention_2",
            "use_flash_attn",
            "use_cache",
            "transformers_version",
            "transformers.js_config",
            "unsloth_fixed",
            "unsloth_version",
            "is_llama_config",
            "torch_dtype",
            "dtype",
            "use_bfloat16",
            "torchscript",
            "initializer_range",
            "initializer_factor",
            "pretraining_tp",
            "gradient_checkpointing",
            "pad_token_id",
            "unk_token_id",
            "sep_token_id",
            "cls_token_id",
            "mask_token_id",
            "decoder_start_token_id",
            "tokenizer_class",
            "prefix",
            "finetuning_task",
            "task_specific_params",
            "id2label",
            "label2id",
            "num_labels",
            "problem_type",
            "classifier_dropout",
            "return_dict",
            "output_attentions",
            "output_hidden_states",
            "chunk_size_feed_forward",
            "is_decoder",
            "tf_legacy_loss",
            "max_length",
            "min_length",
            "max_new_tokens",
            "do_sample",
            "early_stopping",
            "num_beams",
            "num_beam_groups",
            "diversity_penalty",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
            "repetition_penalty",
            "length_penalty",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "bad_words_ids",
            "num_return_sequences",
            "output_scores",
            "return_dict_in_generate",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "remove_invalid_values",
            "exponential_decay_length_penalty",
            "suppress_tokens",
            "begin_suppress_tokens",
            "max_sequence_length",
            "model_max_length",
            "language",
            "license",
        ],
    ),
    (
        Rule::Off,
        &[
            "bias",
            "use_bias",
            "qkv_bias",
            "add_qkv_bias",
            "attention_out_bias",
            "attention_output_bias",
            "lm_head_bias",
            "use_qk_norm",
            "qk_norm",
            "qk_layernorm",
            "alibi",
            "use_alibi",
            "clip_qkv",
            "parallel_residual",
            "use_parallel_residual",
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "num_experts",
            "num_local_experts",
            "n_routed_experts",
            "n_shared_experts",
            "num_experts_per_tok",
            "q_lora_rank",
            "kv_lora_rank",
            "num_nextn_predict_layers",
            "use_sliding_window",
            "rope_interleaved",
            "attention_dropout",
            "attn_pdrop",
            "hidden_dropout",
            "hidden_dropout_prob",
            "resid_pdrop",
            "embd_pdrop",
            "is_encoder_decoder",
            "add_cross_attention",
            "cross_attention_hidden_size",
            "tie_encoder_decoder",
            "pruned_heads",
            "sparse_attention_config",
        ],
    ),
    (Rule::On, &["is_causal", "causal", "use_rope"]),
    (
        Rule::One,
        &[
            "partial_rotary_factor",
            "rotary_pct",
            "embedding_multiplier",
            "residual_multiplier",
            "logits_scaling",
            "logit_scale",
            "scale_emb",
        ],
    ),
    (Rule::HeadDim, &["query_pre_attn_scalar", "v_head_dim", "qk_head_dim", "kv_channels", "attention_head_dim"]),
    (Rule::ScoreScale, &["attention_multiplier"]),
    (Rule::WholeContext, &["sliding_window"]),
    (Rule::EachLayer("full_attention"), &["layer_types"]),
    (Rule::Text("silu"), &["hidden_activation", "activation_function"]),
    (Rule::Never(UNQUANTISED), &["quantization_config", "compression_config", "quantization"]),
    (
        Rule::Never(
            "the model brings code of its own, which is never run; if transformers' own Llama computes the same, take the \
             key out of the file",
        ),
        &["auto_map"],
    ),
];

/// The keys of GGUF metadata, behind the architecture's name. Only `rope.scaling.type` = "yarn" and "longrope" look at the betas
/// and at the original context, and they are refused. Rows of the embedding go before `vocab_size`.
const GGUF: Table = &[
    (
        Rule::Read,
        &[
            "context_length",
            "embedding_length",
            "block_count",
            "feed_forward_length",
            "attention.head_count",
            "attention.head_count_kv",
            "attention.layer_norm_rms_epsilon",
            "attention.key_length",
            "rope.freq_base",
            "rope.scaling.type",
            "rope.scaling.factor",
            "rope.scale_linear",
        ],
    ),
    (
        Rule::Harmless,
        &[
            "vocab_size",
            "rope.scaling.finetuned",
            "rope.scaling.original_context_length",
            "rope.scaling.yarn_beta_fast",
            "rope.scaling.yarn_beta_slow",
        ],
    ),
    (
        Rule::Off,
        &[
            "expert_count",
            "expert_used_count",
            "expert_shared_count",
            "expert_feed_forward_length",
            "expert_shared_feed_forward_length",
            "expert_group_count",
            "expert_group_used_count",
            "leading_dense_block_count",
            "interleave_moe_layer_step",
            "nextn_predict_layers",
            "use_parallel_residual",
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "swin_norm",
            "pooling_type",
            "attention.clamp_kqv",
            "attention.max_alibi_bias",
            "attention.q_lora_rank",
            "attention.kv_lora_rank",
            "attention.sliding_window_pattern",
            "rope.scaling.yarn_log_multiplier",
            "rope.scaling.yarn_ext_factor",
        ],
    ),
    (Rule::On, &["attention.causal"]),
    (
        Rule::One,
        &[
            "logit_scale",
            "residual_scale",
            "embedding_scale",
            "attention.output_scale",
            "rope.scaling.attn_factor",
            "rope.scaling.yarn_attn_factor",
        ],
    ),
    (Rule::HeadDim, &["rope.dimension_count", "attention.value_length"]),
    (Rule::ScoreScale, &["attention.scale"]),
    (Rule::WholeContext, &["attention.sliding_window"]),
    (Rule::Text("Meta AI original pth"), &["tensor_data_layout"]),
];

/// The keys of GGUF metadata behind `tokenizer.`; chat templates under further names are known by their beginning.
const TOKENIZER: Table = &[
    (
        Rule::Read,
        &[
            "ggml.model",
            "ggml.pre",
            "ggml.tokens",
            "ggml.token_type",
            "ggml.scores",
            "ggml.merges",
            "ggml.bos_token_id",
            "ggml.eos_token_id",
            "ggml.eot_token_id",
            "ggml.eom_token_id",
            "ggml.unknown_token_id",
            "ggml.padding_token_id",
            "ggml.add_bos_token",
            "ggml.add_space_prefix",
            "chat_template",
        ],
    ),
    // an end token is put behind plain text always, and rows of chats have their template's
    (
        Rule::Harmless,
        &[
            "chat_templates",
            "huggingface.json",
            "ggml.add_eos_token",
            "ggml.add_sep_token",
            "ggml.token_type_count",
            "ggml.seperator_token_id",
            "ggml.separator_token_id",
            "ggml.cls_token_id",
            "ggml.mask_token_id",
            "ggml.prefix_token_id",
            "ggml.suffix_token_id",
            "ggml.middle_token_id",
            "ggml.fim_pre_token_id",
            "ggml.fim_suf_token_id",
            "ggml.fim_mid_token_id",
            "ggml.fim_pad_token_id",
            "ggml.fim_rep_token_id",
            "ggml.fim_sep_token_id",
        ],
    ),
    (
        Rule::Off,
        &[
            "ggml.remove_extra_whitespaces",
            "ggml.precompiled_charsmap",
            "ggml.treat_whitespace_as_suffix",
            "ggml.normalizer.lowercase",
        ],
    ),
    (Rule::On, &["ggml.escape_whitespaces"]),
];

/// Whether a key of `config.json` may say this; else why not, and the mend.
pub(super) fn check_hf(key: &str, value: &Value, config: &Config) -> Result<(), String> {
    check(&[config.family.hf_keys, HF], key, value, config, "if it changes nothing, take it out of the file")
}

/// Whether a key of GGUF metadata, given without the architecture's name, may say this; else why not, and the mend.
pub(super) fn check_gguf(key: &str, value: &Value, config: &Config) -> Result<(), String> {
    let mend = "if it changes nothing, write the file without it: gguf-new-metadata --remove-metadata, of the Python package gguf";
    check(&[config.family.gguf_keys, GGUF], key, value, config, mend)
}

/// Whether the value of a key of GGUF metadata, given without `tokenizer.`, must be looked at.
pub(super) fn is_tokenizer_checked(key: &str) -> bool {
    let rule = TOKENIZER.iter().find(|(_, keys)| keys.contains(&key)).map(|(rule, _)| rule);
    !key.starts_with("chat_template.") && !matches!(rule, Some(Rule::Read | Rule::Harmless))
}

/// Whether such a key may say this; else why not, and the mend.
pub(super) fn check_tokenizer(key: &str, value: &Value, config: &Config) -> Result<(), String> {
    check(&[TOKENIZER], key, value, config, "load the model's Hugging Face folder instead").map_err(|reason| {
        reason
            .replace("change what the model computes", "change ids")
            .replace("changes what the model computes", "changes ids")
    })
}

fn check(tables: &[Table], key: &str, value: &Value, config: &Config, removal: &str) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let Some((rule, _)) = tables.iter().copied().flatten().find(|(_, keys)| keys.contains(&key)) else {
        let value = shown(value);
        return Err(format!("{value}: this key is not known here, and may change what the model computes; {removal}"));
    };
    let head_dim = config.head_dim as f64;
    let wanted = match rule {
        Rule::Read | Rule::Harmless => return Ok(()),
        Rule::Never(_) if is_off(value) => return Ok(()),
        Rule::Never(mend) => return Err((*mend).to_owned()),
        Rule::Off => (is_off(value), "it must be off".to_owned()),
        Rule::On => (*value == Value::Bool(true), "it must be true".to_owned()),
        Rule::One => (is_number(value, 1.0), "it must be 1".to_owned()),
        Rule::HeadDim => (is_number(value, head_dim), format!("it must be {head_dim}, the channels of a head")),
        Rule::ScoreScale => {
            let scale = 1.0 / config.query_pre_attn_scalar.sqrt();
            (is_number(value, scale), format!("it must be {scale}, 1/√{}", config.query_pre_attn_scalar))
        }
        Rule::WholeContext => {
            let positions = config.max_position_embeddings;
            let is_whole = value.as_f64().is_some_and(|window| window >= positions as f64);
            (is_whole || is_off(value), format!("it must be off, or at least the {positions} positions of the model"))
        }
        Rule::Text(text) => {
            let is_text = |value: &Value| value.as_str() == Some(text);
            let is_allowed = value.as_array().map_or_else(|| is_text(value), |items| items.iter().all(is_text));
            (is_allowed, format!("it must be {text:?}"))
        }
        Rule::Texts(texts) => {
            // The tokenizer is read from its own file, whatever class would read it elsewhere.
            let is_known = |(name, value): (&String, &Value)| {
                name == "AutoTokenizer" || value.as_str().is_some_and(|text| texts.contains(&text))
            };
            let is_allowed = value.as_object().is_some_and(|object| object.iter().all(is_known));
            (is_allowed, format!("it may name {}", texts.join(" and ")))
        }
        Rule::EachLayer(text) => {
            let layers = config.num_hidden_layers;
            let is_each = |items: &Vec<Value>| items.len() == layers && items.iter().all(|item| item == text);
            let wanted = format!("it must list {text:?} for each of the {layers} layers");
            (value.as_array().is_some_and(is_each), wanted)
        }
    };
    match wanted {
        (true, _) => Ok(()),
        (false, wanted) => Err(format!(
            "{} changes what the model computes in a way that is not supported; {wanted}, so use a model without it",
            shown(value)
        )),
    }
}

/// Whether a value switches a feature off: false, zero, or nothing; of a list, each of its items.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_off),
        Value::Object(items) => items.is_empty(),
    }
}

/// Whether a value is this number, which GGUF files store as f32.
fn is_number(value: &Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|number| (number - wanted).abs() <= 1e-6 * wanted)
}

/// A value in a message, of which a long one shows its beginning.
fn shown(value: &Value) -> String {
    shortened(&value.to_string(), 60).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::family::FAMILIES;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_key_has_one_rule() {
        let of_families = FAMILIES.iter().flat_map(|family| [family.hf_keys, family.gguf_keys]);
        for table in of_families.chain([HF, GGUF, TOKENIZER]) {
            let mut seen = HashSet::new();
            for key in table.iter().flat_map(|(_, keys)| *keys) {
                assert!(seen.insert(key), "{key} stands in two places");
            }
        }
    }
}
