//! Writing a config as GGUF metadata, the counterpart of `gguf`: llama.cpp's keys of each family, and the tensors that are settings
//! there. What GGUF files of a family have no place for is refused.

use std::path::Path;

use aludel_formats::gguf::Value;

use super::rope::{self, RopeScaling};
use super::window::{self, Windows};
use super::{Config, LayerType};
use crate::error::{Error, Result};
use crate::files::{LONGROPE_FACTORS, ROPE_DIVISORS};
use crate::module::Module;

/// A config as a GGUF file has it.
#[derive(Clone, Debug, Default)]
pub struct GgufConfig {
    /// Keys and values, each key with the architecture before it.
    pub keys: Vec<(String, Value)>,
    /// Tensors of one dimension that are settings, by name.
    pub tensors: Vec<(&'static str, Vec<f32>)>,
    /// The positions that the file names, where a window which it cannot hold makes them fewer than the model has.
    pub shortened_to: Option<usize>,
}

impl Config {
    /// The metadata of a GGUF file of this model, of which `path` is named in messages.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that GGUF files of the architecture have no place for.
    pub fn to_gguf(&self, path: &Path) -> Result<GgufConfig> {
        let architecture = self.family.gguf;
        let wrong = |key: &str, reason: String| Error::Config { path: path.to_owned(), key: key.to_owned(), reason };
        let no_place = |what: &str| {
            format!(
                "{what}, and GGUF files of the architecture {architecture:?} have no place for that; use the model's Hugging Face folder, \
                 with vLLM or transformers"
            )
        };
        for &module in self.modules() {
            if self.has_bias(module) != self.family.has_bias(module, false, false) {
                let key = if module < Module::GateProj { "attention_bias" } else { "mlp_bias" };
                return Err(wrong(key, no_place("linear layers have biases")));
            }
        }
        let share = self.hidden_size / self.num_attention_heads.max(1);
        if self.query_pre_attn_scalar != self.family.gguf_query_scalar(self.num_hidden_layers, share, self.head_dim) {
            let reason = no_place(&format!("scores are divided by the root of {}", self.query_pre_attn_scalar));
            return Err(wrong("query_pre_attn_scalar", reason));
        }
        if self.rotary_dim != self.head_dim && !self.family.has_longrope {
            return Err(wrong("partial_rotary_factor", no_place("a part of each head is rotated")));
        }
        let mut out = GgufConfig::default();
        let mut positions = match &self.rope_scaling {
            RopeScaling::LongRope { max_position_embeddings, .. } => *max_position_embeddings,
            _ => self.max_position_embeddings,
        };
        if let Some(window) = self.sliding_window.filter(|window| *window < positions) {
            // A file that cannot say it is right for texts which no window cuts.
            if matches!(self.family.windows, Windows::UpperLayers | Windows::EveryLayer(Some(_))) {
                (positions, out.shortened_to) = (window, Some(window));
            }
        }
        out.sizes(self, positions);
        out.windows(self);
        out.rope(self).map_err(|what| wrong("rope_scaling", no_place(what)))?;
        Ok(out)
    }
}

impl GgufConfig {
    fn put(&mut self, config: &Config, key: &str, value: impl Into<Value>) {
        self.keys.push((format!("{}.{key}", config.family.gguf), value.into()));
    }

    fn sizes(&mut self, config: &Config, positions: usize) {
        let sizes = [
            ("block_count", config.num_hidden_layers),
            ("context_length", positions),
            ("embedding_length", config.hidden_size),
            ("feed_forward_length", config.intermediate_size),
            ("attention.head_count", config.num_attention_heads),
            ("attention.head_count_kv", config.num_key_value_heads),
            ("attention.key_length", config.head_dim),
            ("attention.value_length", config.head_dim),
            ("rope.dimension_count", config.rotary_dim),
            ("vocab_size", config.vocab_size),
        ];
        for (key, size) in sizes {
            // a config's sizes are bounded when it is read
            self.put(config, key, size as u32);
        }
        self.put(config, "attention.layer_norm_rms_epsilon", config.rms_norm_eps as f32);
        self.put(config, "rope.freq_base", config.rope_theta as f32);
    }

    fn windows(&mut self, config: &Config) {
        let window = config.sliding_window.unwrap_or(0) as u32;
        match config.family.windows {
            Windows::Pattern if window > 0 => {
                self.put(config, "attention.sliding_window", window);
                if config.layer_types != window::by_pattern(config.num_hidden_layers, window::PATTERN) {
                    let is_sliding = |kind: &LayerType| *kind == LayerType::SlidingAttention;
                    let types: Vec<bool> = config.layer_types.iter().map(is_sliding).collect();
                    self.put(config, "attention.sliding_window_pattern", types);
                }
                let default = config.family.default_thetas.map(|[_, local]| local);
                if let Some(theta) = config.rope_local_base_freq.filter(|theta| Some(*theta) != default) {
                    self.put(config, "rope.freq_base_swa", theta as f32);
                }
            }
            // llama.cpp tells Phi-4 from Phi-3 by the number 0
            Windows::EveryLayer(None) => self.put(config, "attention.sliding_window", window),
            Windows::None | Windows::Pattern | Windows::UpperLayers | Windows::EveryLayer(Some(_)) => {}
        }
    }

    /// How the rotary frequencies are changed, or what of it has no place.
    fn rope(&mut self, config: &Config) -> Result<(), &'static str> {
        match &config.rope_scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                self.put(config, "rope.scaling.type", "linear");
                self.put(config, "rope.scaling.factor", *factor as f32);
            }
            RopeScaling::Llama3 { .. } | RopeScaling::Divided { .. } => {
                if !config.family.gguf_has_rope_divisors {
                    return Err("each rotary frequency is divided by a number of its own");
                }
                let plain = rope::frequencies(config.rope_theta, config.rotary_dim);
                let scaled = config.rope_scaling.scaled(&plain);
                let divisors = plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect();
                self.tensors.push((ROPE_DIVISORS, divisors));
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                attention_factor,
                original_max_position_embeddings,
                max_position_embeddings: _,
            } => {
                // The two tensors say that it is LongRoPE: files of this family have no type.
                self.put(config, "rope.scaling.original_context_length", *original_max_position_embeddings as u32);
                self.put(config, "rope.scaling.attn_factor", *attention_factor as f32);
                let as_f32 = |factors: &[f64]| factors.iter().map(|factor| *factor as f32).collect();
                let [short, long] = LONGROPE_FACTORS;
                self.tensors.push((short, as_f32(short_factor)));
                self.tensors.push((long, as_f32(long_factor)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::path::Path;

    use aludel_formats::gguf::{File, Writer};
    use aludel_formats::{Dtype, TensorSpec};
    use serde_json::{Value as Json, json};

    use super::*;

    fn config(class: &str, model_type: &str, more: Json) -> Config {
        let mut json = json!({
            "architectures": [class], "model_type": model_type, "vocab_size": 10, "hidden_size": 32, "intermediate_size": 12,
            "num_hidden_layers": 7, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 1e-6,
            "max_position_embeddings": 4096, "rope_theta": 500_000.0, "tie_word_embeddings": true, "eos_token_id": 3, "bos_token_id": 1,
        });
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Config::from_hf(&json, Path::new("config.json")).unwrap()
    }

    /// The config that the reader makes of the written metadata.
    fn read_back(config: &Config) -> Config {
        let written = config.to_gguf(Path::new("config.json")).unwrap();
        let mut writer = Writer::new().with("general.architecture", config.family.gguf);
        for (key, value) in &written.keys {
            writer = writer.with(key, value.clone());
        }
        writer = writer.with("tokenizer.ggml.eos_token_id", 3u32).with("tokenizer.ggml.bos_token_id", 1u32);
        writer = writer.with_tensor(TensorSpec::new("token_embd.weight", Dtype::F32, [10, config.hidden_size]));
        for (name, values) in &written.tensors {
            writer = writer.with_tensor(TensorSpec::new(*name, Dtype::F32, [values.len()]));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gguf");
        let bytes = |tensor: &TensorSpec| {
            let values =
                written.tensors.iter().find(|(name, _)| *name == tensor.name).map(|(_, values)| values.clone());
            let values = values.unwrap_or_else(|| vec![0.0; tensor.shape.iter().product()]);
            Ok::<_, aludel_formats::Error>(Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
        };
        writer.write(&path, bytes).unwrap();
        Config::from_gguf(&File::open(&path).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_the_same_model() {
        let check = |class: &str, model_type: &str, more: Json| {
            let config = config(class, model_type, more);
            assert_eq!(read_back(&config), config, "{class}");
        };
        let llama3 = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 1024 });
        check("LlamaForCausalLM", "llama", json!({}));
        check("LlamaForCausalLM", "llama", json!({ "rope_scaling": { "rope_type": "linear", "factor": 2.0 } }));
        check("LlamaForCausalLM", "llama", json!({ "rope_scaling": llama3, "head_dim": 32 }));
        check("Qwen2ForCausalLM", "qwen2", json!({}));
        check("Qwen3ForCausalLM", "qwen3", json!({ "head_dim": 24 }));
        let gemma =
            json!({ "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "sliding_window": 512 });
        check("Gemma3ForCausalLM", "gemma3_text", gemma.clone());
        let mut other = gemma;
        other["sliding_window_pattern"] = json!(3);
        other["rope_local_base_freq"] = json!(20_000.0);
        check("Gemma3ForCausalLM", "gemma3_text", other);
        let factors: Vec<f64> = (0..6).map(|i| 1.0 + f64::from(i) / 2.0).collect();
        let phi = json!({ "partial_rotary_factor": 0.75, "original_max_position_embeddings": 1024, "sliding_window": null,
                          "rope_scaling": { "type": "longrope", "short_factor": factors, "long_factor": factors } });
        check("Phi3ForCausalLM", "phi3", phi);
    }

    #[test]
    fn a_window_that_the_file_cannot_hold_ends_its_positions() {
        let mistral = config("MistralForCausalLM", "mistral", json!({ "sliding_window": 1024 }));
        let written = mistral.to_gguf(Path::new("config.json")).unwrap();
        assert_eq!(written.shortened_to, Some(1024));
        assert_eq!(read_back(&mistral).max_position_embeddings, 1024);
        let whole = config("MistralForCausalLM", "mistral", json!({ "sliding_window": 4096 }));
        assert_eq!(whole.to_gguf(Path::new("config.json")).unwrap().shortened_to, None);
    }

    #[test]
    fn what_has_no_place_is_refused_by_name() {
        let refused = |class: &str, model_type: &str, more: Json| {
            config(class, model_type, more).to_gguf(Path::new("config.json")).unwrap_err().to_string()
        };
        let said = [
            refused("LlamaForCausalLM", "llama", json!({ "attention_bias": true })),
            refused("LlamaForCausalLM", "llama", json!({ "mlp_bias": true })),
            refused("Gemma3ForCausalLM", "gemma3_text", json!({ "query_pre_attn_scalar": 100 })),
        ];
        for (said, key) in said.iter().zip(["attention_bias", "mlp_bias", "query_pre_attn_scalar"]) {
            assert!(
                said.starts_with(&format!("config.json: {key}: ")) && said.contains("Hugging Face folder"),
                "{said}"
            );
        }
    }
}
