//! PEFT's tensor names, built and parsed. Which modules a model has is left to `aludel-model`, the meaning of other
//! names to `foreign`.

use std::borrow::Cow;

/// Every name starts with PEFT's two wrappers and the inner model of a causal language model.
const MODEL_PREFIX: &str = "base_model.model.";
const LORA_A_SUFFIX: &str = ".lora_A.weight";
const LORA_B_SUFFIX: &str = ".lora_B.weight";
/// PEFT takes the ".weight" off when it saves.
const MAGNITUDE_SUFFIX: &str = ".lora_magnitude_vector";
/// Of a linear that PEFT has wrapped, since an adapter is on it.
const WRAPPED_BIAS_SUFFIX: &str = ".base_layer.bias";
const BIAS_SUFFIX: &str = ".bias";
const EMBEDDING_ROWS_NAME: &str = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
const HEAD_ROWS_NAME: &str = "base_model.model.lm_head.token_adapter.trainable_tokens_delta";

/// A tensor of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorName {
    /// What an adapter has of a linear.
    Lora {
        /// The module inside of the causal language model, `model.layers.3.self_attn.q_proj`.
        module: String,
        /// Which part of the adapter.
        part: LoraPart,
    },
    /// The trained bias of a linear, shape `[out]`.
    Bias {
        /// The module, as above.
        module: String,
    },
    /// Trained rows of an embedding; the values are the rows themselves, not differences.
    TrainedRows(Rows),
}

/// A part of an adapter on a linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoraPart {
    /// `lora_A`, shape `[r, in]`.
    A,
    /// `lora_B`, shape `[out, r]`.
    B,
    /// `lora_magnitude_vector` of DoRA, shape `[out]`.
    Magnitude,
}

/// The table whose rows were trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The input embedding, and with tied weights the head with it: PEFT then saves this one alone.
    Embedding,
    /// An untied head.
    Head,
}

/// The name of `lora_A` of the module at a path inside of the causal language model:
/// `base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight`.
pub fn lora_a_name(module: &str) -> String {
    format!("{MODEL_PREFIX}{module}{LORA_A_SUFFIX}")
}

/// The name of `lora_B` of such a module.
pub fn lora_b_name(module: &str) -> String {
    format!("{MODEL_PREFIX}{module}{LORA_B_SUFFIX}")
}

/// The name of the magnitude of DoRA of such a module.
pub fn magnitude_name(module: &str) -> String {
    format!("{MODEL_PREFIX}{module}{MAGNITUDE_SUFFIX}")
}

/// The name of the trained bias of such a module, which depends on whether there is an adapter on it.
pub fn bias_name(module: &str, is_adapted: bool) -> String {
    format!("{MODEL_PREFIX}{module}{}", if is_adapted { WRAPPED_BIAS_SUFFIX } else { BIAS_SUFFIX })
}

/// The name of the trained rows of the embedding or of an untied head, shape `[rows, d]`.
pub fn trained_rows_name(rows: Rows) -> &'static str {
    match rows {
        Rows::Embedding => EMBEDDING_ROWS_NAME,
        Rows::Head => HEAD_ROWS_NAME,
    }
}

/// The meaning of a tensor name; `None` if it is no name of a supported adapter. PEFT's name for the only adapter of a
/// model, "default", may be in it, as it does in a state that was saved without PEFT.
pub fn parse_name(name: &str) -> Option<TensorName> {
    let plain = match name.strip_suffix(".default.weight") {
        Some(stem) => Cow::Owned(format!("{stem}.weight")),
        None => Cow::Borrowed(name.strip_suffix(".default").unwrap_or(name)),
    };
    let name = plain.as_ref();
    match name {
        EMBEDDING_ROWS_NAME => return Some(TensorName::TrainedRows(Rows::Embedding)),
        HEAD_ROWS_NAME => return Some(TensorName::TrainedRows(Rows::Head)),
        _ => {}
    }
    let name = name.strip_prefix(MODEL_PREFIX)?;
    let module = |suffix: &str| name.strip_suffix(suffix).filter(|module| !module.is_empty()).map(str::to_owned);
    let magnitude = format!("{MAGNITUDE_SUFFIX}.weight");
    let parts = [
        (LORA_A_SUFFIX, LoraPart::A),
        (LORA_B_SUFFIX, LoraPart::B),
        (MAGNITUDE_SUFFIX, LoraPart::Magnitude),
        (&magnitude, LoraPart::Magnitude),
    ];
    if let Some((module, part)) = parts.into_iter().find_map(|(suffix, part)| Some((module(suffix)?, part))) {
        return Some(TensorName::Lora { module, part });
    }
    let module = module(WRAPPED_BIAS_SUFFIX).or_else(|| module(BIAS_SUFFIX))?;
    // LoRA's own biases are other ones: "q_proj.lora_B.bias"
    (!format!(".{module}").contains(".lora_")).then_some(TensorName::Bias { module })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_peft_writes() {
        fn check(name: &str, wanted: Option<TensorName>) {
            assert_eq!(parse_name(name), wanted, "{name}");
        }
        let lora = |layer: usize, module: &str, part| {
            Some(TensorName::Lora { module: format!("model.layers.{layer}.{module}"), part })
        };
        let in_layers = "base_model.model.model.layers";
        check(&format!("{in_layers}.0.self_attn.q_proj.lora_A.weight"), lora(0, "self_attn.q_proj", LoraPart::A));
        check(&format!("{in_layers}.11.mlp.down_proj.lora_B.weight"), lora(11, "mlp.down_proj", LoraPart::B));
        check(
            "base_model.model.lm_head.lora_A.weight",
            Some(TensorName::Lora { module: "lm_head".to_owned(), part: LoraPart::A }),
        );
        check(
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
            Some(TensorName::TrainedRows(Rows::Embedding)),
        );
        check(
            "base_model.model.lm_head.token_adapter.trainable_tokens_delta",
            Some(TensorName::TrainedRows(Rows::Head)),
        );
        check(
            &format!("{in_layers}.0.self_attn.q_proj.lora_A.default.weight"),
            lora(0, "self_attn.q_proj", LoraPart::A),
        );
        check(&format!("{in_layers}.0.self_attn.q_proj.lora_A.other.weight"), None);
        check(&format!("{in_layers}.0.self_attn.q_proj.lora_A.default.default.weight"), None);
        let magnitude = lora(1, "self_attn.q_proj", LoraPart::Magnitude);
        for end in ["", ".weight", ".default", ".default.weight"] {
            check(&format!("{in_layers}.1.self_attn.q_proj.lora_magnitude_vector{end}"), magnitude.clone());
        }
        check(&format!("{in_layers}.1.self_attn.q_proj.lora_magnitude_vector.other.weight"), None);
        let bias = Some(TensorName::Bias { module: "model.layers.1.self_attn.q_proj".to_owned() });
        check(&format!("{in_layers}.1.self_attn.q_proj.bias"), bias.clone());
        check(&format!("{in_layers}.1.self_attn.q_proj.base_layer.bias"), bias);
        check(&format!("{in_layers}.1.self_attn.q_proj.lora_B.bias"), None);
        check(&format!("{in_layers}.1.self_attn.q_proj.lora_B.default.bias"), None);
        check("base_model.model.bias", None);
        check("model.layers.0.self_attn.q_proj.lora_A.weight", None);
        check("", None);
    }

    #[test]
    fn making_and_taking_apart_agree() {
        for module in ["model.layers.0.self_attn.qkv_proj", "model.layers.127.mlp.gate_up_proj", "lm_head"] {
            let parts = [
                (lora_a_name(module), LoraPart::A),
                (lora_b_name(module), LoraPart::B),
                (magnitude_name(module), LoraPart::Magnitude),
            ];
            for (name, part) in parts {
                assert_eq!(parse_name(&name), Some(TensorName::Lora { module: module.to_owned(), part }));
            }
            for name in [bias_name(module, true), bias_name(module, false)] {
                assert_eq!(parse_name(&name), Some(TensorName::Bias { module: module.to_owned() }));
            }
        }
    }
}
