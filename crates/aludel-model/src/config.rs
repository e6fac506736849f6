//! What distinguishes one model from another: sizes, rotary settings and special tokens, read from a Hugging Face
//! `config.json` (both generations of keys) or from GGUF metadata. A family is a set of values here, never a second decoder.

use std::f64::consts::TAU;
use std::path::Path;

use aludel_formats::gguf::Metadata;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The supported architectures, for messages.
const SUPPORTED: &str = "LlamaForCausalLM (Llama, SmolLM2 and others of the Llama family); in GGUF files \"llama\"";

/// The sizes and constants of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// C, channels of the residual stream.
    pub hidden_size: usize,
    /// Channels of the gated layer.
    pub intermediate_size: usize,
    /// L, layers.
    pub num_hidden_layers: usize,
    /// H, query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// D, channels of a head.
    pub head_dim: usize,
    /// ε of the norms.
    pub rms_norm_eps: f64,
    /// Positions that the model was trained for.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Change of the rotary frequencies for long texts.
    pub rope_scaling: RopeScaling,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// The token before a text, if the model knows one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
}

/// How rotary frequencies are changed.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by a factor, short ones kept, a ramp between.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Where the ramp ends towards long wavelengths.
        low_freq_factor: f64,
        /// Where the ramp ends towards short wavelengths.
        high_freq_factor: f64,
        /// Positions of the original training.
        original_max_position_embeddings: f64,
    },
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Architecture`] for a family that is not supported; [`Error::Config`] naming the key that is missing or senseless.
    pub fn from_hf(json: &Value, path: &Path) -> Result<Config> {
        let reader = Reader { json, path };
        let architectures = json["architectures"].as_array().cloned().unwrap_or_default();
        let is_llama = architectures.iter().any(|a| a == "LlamaForCausalLM")
            || (architectures.is_empty() && json["model_type"] == "llama");
        if !is_llama {
            let found =
                architectures.first().or(json.get("model_type")).and_then(Value::as_str).unwrap_or("(none named)");
            return Err(Error::Architecture { path: path.to_owned(), found: found.to_owned(), supported: SUPPORTED });
        }
        if let Some(activation) = json["hidden_act"].as_str().filter(|a| *a != "silu") {
            return Err(reader.wrong("hidden_act", format!("{activation:?} is not supported; \"silu\" is")));
        }
        let num_attention_heads = reader.size("num_attention_heads")?;
        let hidden_size = reader.size("hidden_size")?;
        // transformers 5 moved all rotary settings into one object
        let rope = if json["rope_parameters"].is_object() { &json["rope_parameters"] } else { &json["rope_scaling"] };
        let config = Config {
            vocab_size: reader.size("vocab_size")?,
            hidden_size,
            intermediate_size: reader.size("intermediate_size")?,
            num_hidden_layers: reader.size("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: reader.size_or("num_key_value_heads", num_attention_heads)?,
            head_dim: reader.size_or("head_dim", hidden_size / num_attention_heads.max(1))?,
            rms_norm_eps: reader.number_or(json, "rms_norm_eps", 1e-6)?,
            max_position_embeddings: reader.size_or("max_position_embeddings", 2048)?,
            rope_theta: reader.number_or(rope, "rope_theta", reader.number_or(json, "rope_theta", 10_000.0)?)?,
            rope_scaling: reader.rope_scaling(rope)?,
            tie_word_embeddings: reader.flag("tie_word_embeddings")?,
            attention_bias: reader.flag("attention_bias")?,
            mlp_bias: reader.flag("mlp_bias")?,
            bos_token_id: reader.ids("bos_token_id")?.first().copied(),
            eos_token_ids: reader.ids("eos_token_id")?,
        };
        config.check(path)?;
        Ok(config)
    }

    /// Reads GGUF metadata. Whether the head is tied is decided by the presence of `output.weight`.
    ///
    /// # Errors
    /// As [`Config::from_hf`].
    pub fn from_gguf(metadata: &Metadata, vocab_size: usize, tied: bool, path: &Path) -> Result<Config> {
        let architecture = metadata.string("general.architecture")?;
        if architecture != "llama" {
            let found = architecture.to_owned();
            return Err(Error::Architecture { path: path.to_owned(), found, supported: SUPPORTED });
        }
        let wrong = |key: &str, reason: &str| Error::Config {
            path: path.to_owned(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        };
        let size = |key: &str| metadata.u64(key).map(|value| value as usize);
        let heads = size("llama.attention.head_count")?;
        let hidden_size = size("llama.embedding_length")?;
        let head_dim = match metadata.find::<u64>("llama.rope.dimension_count")? {
            Some(dimensions) => dimensions as usize,
            None => hidden_size / heads.max(1),
        };
        if metadata.find::<u64>("llama.expert_count")?.is_some_and(|count| count > 0) {
            return Err(wrong("llama.expert_count", "mixtures of experts are not supported; use a dense model"));
        }
        let scaling = metadata.find::<&str>("llama.rope.scaling.type")?.unwrap_or("none");
        let rope_scaling = match scaling {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: f64::from(metadata.f32("llama.rope.scaling.factor")?) },
            _ => {
                return Err(wrong(
                    "llama.rope.scaling.type",
                    "this scaling is not supported; \"none\" and \"linear\" are",
                ));
            }
        };
        let config = Config {
            vocab_size,
            hidden_size,
            intermediate_size: size("llama.feed_forward_length")?,
            num_hidden_layers: size("llama.block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: metadata.find::<u64>("llama.attention.head_count_kv")?.map_or(heads, |n| n as usize),
            head_dim,
            // stored as f32: the shortest decimal that rounds to it is what the model's own config says
            rms_norm_eps: shortest(metadata.f32("llama.attention.layer_norm_rms_epsilon")?),
            max_position_embeddings: size("llama.context_length")?,
            rope_theta: metadata.find::<f32>("llama.rope.freq_base")?.map_or(10_000.0, shortest),
            rope_scaling,
            tie_word_embeddings: tied,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: metadata.find::<u32>("tokenizer.ggml.bos_token_id")?,
            eos_token_ids: metadata.find::<u32>("tokenizer.ggml.eos_token_id")?.into_iter().collect(),
        };
        config.check(path)?;
        Ok(config)
    }

    /// The `config.json` that transformers reads.
    pub fn to_hf(&self, dtype: &str) -> Value {
        let mut rope = json!({ "rope_theta": self.rope_theta, "rope_type": "default" });
        match self.rope_scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                rope["rope_type"] = json!("linear");
                rope["factor"] = json!(factor);
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                rope["rope_type"] = json!("llama3");
                rope["factor"] = json!(factor);
                rope["low_freq_factor"] = json!(low_freq_factor);
                rope["high_freq_factor"] = json!(high_freq_factor);
                rope["original_max_position_embeddings"] = json!(original_max_position_embeddings as u64);
            }
        }
        let eos = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        // Both generations of the rotary and dtype keys: readers of either find theirs.
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope_theta,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "torch_dtype": dtype,
            "dtype": dtype,
        });
        if self.rope_scaling != RopeScaling::None {
            config["rope_scaling"] = config["rope_parameters"].clone();
        }
        config
    }

    /// Rotary inverse frequencies, one per pair of channels of a head: `θ^(−2i/D)`, scaled.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        let half = self.head_dim / 2;
        let plain = (0..half).map(|i| self.rope_theta.powf(-2.0 * i as f64 / self.head_dim as f64));
        match self.rope_scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                plain
                    .map(|frequency| {
                        let turns = original_max_position_embeddings * frequency / TAU;
                        let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        let smooth = smooth.clamp(0.0, 1.0);
                        (1.0 - smooth) * frequency / factor + smooth * frequency
                    })
                    .collect()
            }
        }
    }

    fn check(&self, path: &Path) -> Result<()> {
        let wrong =
            |key: &str, reason: String| Err(Error::Config { path: path.to_owned(), key: key.to_owned(), reason });
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.num_hidden_layers, 4096),
            ("num_attention_heads", self.num_attention_heads, 4096),
            ("num_key_value_heads", self.num_key_value_heads, 4096),
            ("head_dim", self.head_dim, 4096),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 28),
        ];
        for (key, value, limit) in sizes {
            if value == 0 || value > limit {
                return wrong(key, format!("{value} makes no sense; 1 to {limit} would"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
            return wrong("num_key_value_heads", format!("{kv} does not divide num_attention_heads, {heads}"));
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong("head_dim", format!("{} is odd; rotary positions need an even number", self.head_dim));
        }
        if !(self.rms_norm_eps >= 0.0 && self.rms_norm_eps < 1.0) {
            return wrong(
                "rms_norm_eps",
                format!("{} makes no sense; a small positive number would", self.rms_norm_eps),
            );
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return wrong("rope_theta", format!("{} makes no sense; a positive number would", self.rope_theta));
        }
        let vocab_size = self.vocab_size;
        if let Some(id) = self.eos_token_ids.iter().find(|id| **id as usize >= vocab_size) {
            return wrong("eos_token_id", format!("{id} is outside the vocabulary of {vocab_size}"));
        }
        Ok(())
    }
}

/// The shortest decimal that rounds to this f32, as f64.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

struct Reader<'a> {
    json: &'a Value,
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, reason: String) -> Error {
        Error::Config { path: self.path.to_owned(), key: key.to_owned(), reason }
    }

    fn size(&self, key: &str) -> Result<usize> {
        match self.json.get(key).filter(|v| !v.is_null()) {
            None => Err(self.wrong(key, "is missing; it should be a positive whole number".to_owned())),
            Some(value) => {
                let number = value.as_u64().map(|n| n as usize);
                number.ok_or_else(|| self.wrong(key, format!("{value} should be a positive whole number")))
            }
        }
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.json.get(key).is_none_or(Value::is_null) { Ok(default) } else { self.size(key) }
    }

    fn number_or(&self, object: &Value, key: &str, default: f64) -> Result<f64> {
        match object.get(key).filter(|v| !v.is_null()) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, format!("{value} should be a number"))),
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.json.get(key).filter(|v| !v.is_null()) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, format!("{value} should be true or false"))),
        }
    }

    /// One id or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        ids(&self.json[key])
            .ok_or_else(|| self.wrong(key, format!("{} should be a token id or a list of them", self.json[key])))
    }

    fn rope_scaling(&self, rope: &Value) -> Result<RopeScaling> {
        let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
        let needed = |key: &str| {
            let missing = || self.wrong(&format!("rope_scaling.{key}"), format!("{kind} scaling needs this number"));
            rope[key].as_f64().filter(|x| x.is_finite() && *x > 0.0).ok_or_else(missing)
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: needed("factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: needed("low_freq_factor")?,
                high_freq_factor: needed("high_freq_factor")?,
                original_max_position_embeddings: needed("original_max_position_embeddings")?,
            }),
            _ => {
                let reason = format!("{kind:?} is not supported; \"default\", \"linear\" and \"llama3\" are");
                Err(self.wrong("rope_scaling.rope_type", reason))
            }
        }
    }
}

/// A token id or a list of them, as `eos_token_id` stands in a config; null is an empty list, anything else is none.
pub fn ids(value: &Value) -> Option<Vec<u32>> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.iter().map(one).collect(),
        other => one(other).map(|id| vec![id]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "vocab_size": 10, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5, "eos_token_id": [1, 2],
        })
    }

    #[test]
    fn a_config_comes_back_from_its_own_json() {
        let config = Config::from_hf(&valid(), Path::new("config.json")).unwrap();
        assert_eq!((config.head_dim, config.num_key_value_heads, config.eos_token_ids.len()), (4, 2, 2));
        assert_eq!(Config::from_hf(&config.to_hf("bfloat16"), Path::new("c")).unwrap(), config);
        let scaled = Config {
            rope_scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192.0,
            },
            ..config
        };
        assert_eq!(Config::from_hf(&scaled.to_hf("float32"), Path::new("c")).unwrap(), scaled);
    }

    #[test]
    fn wrong_values_are_named_with_their_key() {
        let check = |key: &str, value: Value, part: &str| {
            let mut json = valid();
            json[key] = value;
            let message = Config::from_hf(&json, Path::new("dir/config.json")).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("dir/config.json"), "{message}");
        };
        check("architectures", json!(["MambaForCausalLM"]), "MambaForCausalLM");
        check("architectures", json!(["MambaForCausalLM"]), "supported are LlamaForCausalLM");
        check("vocab_size", json!(null), "vocab_size: is missing");
        check("hidden_size", json!("big"), "hidden_size: \"big\"");
        check("num_hidden_layers", json!(0), "num_hidden_layers: 0");
        check("num_hidden_layers", json!(1_000_000_000), "num_hidden_layers: 1000000000");
        check("num_key_value_heads", json!(3), "num_key_value_heads: 3 does not divide");
        check("hidden_act", json!("gelu"), "hidden_act");
        check("rope_scaling", json!({"rope_type": "yarn"}), "yarn");
        check("rope_scaling", json!({"rope_type": "llama3", "factor": 8}), "low_freq_factor");
        check("eos_token_id", json!(11), "eos_token_id: 11");
        check("rms_norm_eps", json!("x"), "rms_norm_eps");
    }
}
