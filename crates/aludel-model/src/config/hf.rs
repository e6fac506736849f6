//! Reading and writing `config.json`. Its rotary keys, of both generations, are read in `hf_rope`; what every other key means is in `keys`.

use std::path::Path;

use serde_json::{Value, json};

use super::family::{Biases, Family};
use super::rope::RopeScaling;
use super::{Config, keys, window};
use crate::error::{Error, Result};
use crate::files::ROPE_DIVISORS;
use crate::module::Module;

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Architecture`] for a family that is not supported; [`Error::Config`] naming the key that is missing or senseless.
    pub fn from_hf(json: &Value, path: &Path) -> Result<Config> {
        let family = Family::of_hf(json, path)?;
        let reader = Reader { json, path, family };
        let (activation, names) = family.activation_key;
        for key in [activation, "rms_norm_eps", "max_position_embeddings"] {
            if json.get(key).is_some_and(Value::is_null) {
                return Err(reader.null(key));
            }
        }
        if !json[activation].is_null() && !json[activation].as_str().is_some_and(|name| names.contains(&name)) {
            let reason = format!("{} is not supported; {:?} is", json[activation], names[0]);
            return Err(reader.wrong(activation, reason));
        }
        let num_attention_heads = reader.size("num_attention_heads")?;
        let hidden_size = reader.size("hidden_size")?;
        // transformers tells null from a key that is not there
        let is_given = json.get("num_key_value_heads").is_some();
        let key_value_heads = family.default_key_value_heads.filter(|_| !is_given).unwrap_or(num_attention_heads);
        let head_dim = family.default_head_dim.unwrap_or(hidden_size / num_attention_heads.max(1));
        let head_dim = reader.size_or("head_dim", head_dim)?;
        let rotary_dim = reader.rotary_dim(head_dim)?;
        let default_theta = family.default_thetas.map_or(10_000.0, |[theta, _]| theta);
        let has_local = family.default_thetas.is_some();
        let (rope_theta, rope_scaling) = if has_local { reader.global_rope()? } else { reader.rope()? };
        let query_scalar = family.default_query_scalar.unwrap_or(head_dim as f64);
        let num_hidden_layers = reader.layers()?;
        let (sliding_window, layer_types) = window::read(&family.windows, json, num_hidden_layers)
            .map_err(|(key, reason)| reader.wrong(key, reason))?;
        let (attention_bias, mlp_bias) = (reader.flag("attention_bias")?, reader.flag("mlp_bias")?);
        let config = Config {
            family,
            vocab_size: reader.size("vocab_size")?,
            hidden_size,
            intermediate_size: reader.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: reader.size_or("num_key_value_heads", key_value_heads)?,
            head_dim,
            rms_norm_eps: reader.number(json, "rms_norm_eps")?.unwrap_or(1e-6),
            max_position_embeddings: reader.positions()?,
            rope_theta: rope_theta.unwrap_or(default_theta),
            rope_scaling,
            sliding_window,
            layer_types,
            rope_local_base_freq: match family.default_thetas {
                Some([_, default]) => Some(reader.local_theta()?.unwrap_or(default)),
                None => None,
            },
            query_pre_attn_scalar: match family.default_query_scalar {
                Some(_) => reader.number(json, "query_pre_attn_scalar")?.unwrap_or(query_scalar),
                None => query_scalar,
            },
            activation: family.activation,
            has_output_norms: family.has_output_norms,
            scales_embeddings: family.scales_embeddings,
            has_fused_linears: family.has_fused_linears,
            rotary_dim,
            tie_word_embeddings: reader.flag_or("tie_word_embeddings", family.default_tied)?,
            has_head_norms: family.has_head_norms,
            biases: Module::ALL.map(|module| family.has_bias(module, attention_bias, mlp_bias)),
            bos_token_id: reader.id("bos_token_id")?,
            eos_token_ids: reader.ids("eos_token_id")?,
        };
        config.check(path)?;
        if let RopeScaling::LongRope { short_factor, long_factor, .. } = &config.rope_scaling
            && let Some(factors) =
                [short_factor, long_factor].into_iter().find(|factors| factors.len() != rotary_dim / 2)
        {
            let (count, pairs) = (factors.len(), rotary_dim / 2);
            let reason = format!("has {count} factors, but {pairs} pairs of channels are rotated; get the file again");
            return Err(reader.wrong("rope_scaling", reason));
        }
        for (key, value) in json.as_object().into_iter().flatten() {
            keys::check_hf(key, value, &config).map_err(|reason| reader.wrong(key, reason))?;
        }
        Ok(config)
    }

    /// The `config.json` that transformers reads, for the model at `path`.
    ///
    /// # Errors
    /// [`Error::Tensor`] for rotary divisors that no `config.json` can hold.
    pub fn to_hf(&self, dtype: &str, path: &Path) -> Result<Value> {
        let Some(rope) = self.rope_scaling.to_hf(self.rope_theta) else {
            return Err(Error::Tensor {
                path: path.to_owned(),
                name: ROPE_DIVISORS.to_owned(),
                reason: "its divisors are not those of Llama 3's scaling, which is all that a config.json can hold; keep the \
                         GGUF file and give the adapter beside it, with --adapter"
                    .to_owned(),
            });
        };
        let eos = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        // Both generations of the rotary and dtype keys: readers of either find theirs.
        let mut config = json!({
            "architectures": [self.family.class],
            "model_type": self.family.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "rms_norm_eps": self.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope_theta,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "torch_dtype": dtype,
            "dtype": dtype,
        });
        let (key, names) = self.family.activation_key;
        config[key] = json!(names[0]);
        if self.family.biases == Biases::ByKey {
            config["attention_bias"] = json!(self.has_bias(Module::QProj));
            config["mlp_bias"] = json!(self.has_bias(Module::GateProj));
        }
        let rope_of_longrope = config["rope_parameters"].clone();
        window::write(&self.family.windows, self, &mut config);
        if self.rope_scaling != RopeScaling::None {
            config["rope_scaling"] = config["rope_parameters"].clone();
            if let RopeScaling::LongRope { .. } = self.rope_scaling {
                // transformers 4 takes no other keys here than these
                let mut older = json!({ "type": "longrope" });
                for key in ["short_factor", "long_factor", "attention_factor"] {
                    if !rope_of_longrope[key].is_null() {
                        older[key] = rope_of_longrope[key].clone();
                    }
                }
                config["rope_scaling"] = older;
            }
        }
        if self.family.has_longrope {
            let factor = json!(self.rotary_dim as f64 / self.head_dim as f64);
            config["partial_rotary_factor"] = factor.clone();
            config["rope_parameters"]["partial_rotary_factor"] = factor;
            let original = match &self.rope_scaling {
                RopeScaling::LongRope { original_max_position_embeddings, .. } => *original_max_position_embeddings,
                _ => self.max_position_embeddings,
            };
            config["original_max_position_embeddings"] = json!(original);
        }
        if let Some(theta) = self.rope_local_base_freq {
            config["rope_local_base_freq"] = json!(theta);
            config["rope_parameters"] = json!({
                FULL: config["rope_parameters"],
                SLIDING: { "rope_theta": theta, "rope_type": "default" },
            });
        }
        if self.family.default_query_scalar.is_some() {
            config["query_pre_attn_scalar"] = json!(whole_if_possible(self.query_pre_attn_scalar));
        }
        Ok(config)
    }
}

/// A number of a model as people write it: transformers wants whole ones without a point.
fn whole_if_possible(number: f64) -> Value {
    if number.fract() == 0.0 && number < 1e15 { json!(number as u64) } else { json!(number) }
}

/// The parts of `rope_parameters` where layers with a window have frequencies of their own.
pub(super) const FULL: &str = "full_attention";
pub(super) const SLIDING: &str = "sliding_attention";

/// A `config.json` and what its class fixes. Its rotary keys are read in `hf_rope`.
pub(super) struct Reader<'a> {
    pub(super) json: &'a Value,
    pub(super) path: &'a Path,
    pub(super) family: &'static Family,
}

impl Reader<'_> {
    pub(super) fn wrong(&self, key: &str, reason: String) -> Error {
        Error::Config { path: self.path.to_owned(), key: key.to_owned(), reason }
    }

    /// What to say of null where transformers takes a value or no key at all.
    pub(super) fn null(&self, key: &str) -> Error {
        self.wrong(key, "null should be a value; take the key out of the file for the default".to_owned())
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

    /// Positions that the file speaks of.
    pub(super) fn positions(&self) -> Result<usize> {
        self.size_or("max_position_embeddings", self.family.default_positions)
    }

    /// The number of layers, bounded before anything is made for each of them.
    fn layers(&self) -> Result<usize> {
        let layers = self.size("num_hidden_layers")?;
        match layers {
            1..=Config::MOST_LAYERS => Ok(layers),
            _ => Err(self.wrong("num_hidden_layers", Config::senseless_size(layers, Config::MOST_LAYERS))),
        }
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.json.get(key).is_none_or(Value::is_null) { Ok(default) } else { self.size(key) }
    }

    pub(super) fn number(&self, object: &Value, key: &str) -> Result<Option<f64>> {
        match object.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => {
                value.as_f64().map(Some).ok_or_else(|| self.wrong(key, format!("{value} should be a number")))
            }
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        self.flag_or(key, false)
    }

    fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.json.get(key).filter(|v| !v.is_null()) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, format!("{value} should be true or false"))),
        }
    }

    /// One id, or none.
    fn id(&self, key: &str) -> Result<Option<u32>> {
        let value = &self.json[key];
        match ids(value).filter(|_| !value.is_array()) {
            Some(ids) => Ok(ids.first().copied()),
            None => Err(self.wrong(key, format!("{value} should be a token id, or null"))),
        }
    }

    /// One id or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        ids(&self.json[key])
            .ok_or_else(|| self.wrong(key, format!("{} should be a token id or a list of them", self.json[key])))
    }
}

/// A token id or a list of them, as `eos_token_id` stands in a config. null is an empty list, and a negative number is no token, as
/// transformers has it: no id ever equals it. Anything else is none.
pub fn ids(value: &Value) -> Option<Vec<u32>> {
    let one = |v: &Value| match v.as_i64() {
        Some(..0) => Some(None),
        id => id.and_then(|id| u32::try_from(id).ok()).map(Some),
    };
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => Some(list.iter().map(one).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()),
        other => one(other).map(|id| id.into_iter().collect()),
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
        assert_eq!(
            Config::from_hf(&config.to_hf("bfloat16", Path::new("m")).unwrap(), Path::new("c")).unwrap(),
            config
        );
        let scaled = Config {
            rope_scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192.0,
            },
            ..config
        };
        assert_eq!(Config::from_hf(&scaled.to_hf("float32", Path::new("m")).unwrap(), Path::new("c")).unwrap(), scaled);
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
        check("architectures", json!(["MambaForCausalLM"]), "is not supported; use a model of one of these families");
        check("architectures", json!(null), "architectures: is missing, and so is `model_type`");
        check("architectures", json!([]), "such as \"architectures\": [\"LlamaForCausalLM\"]");
        check("model_type", json!("qwen2"), "architectures: \"LlamaForCausalLM\" contradicts model_type = \"qwen2\"");
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
        check("eos_token_id", json!([1.5]), "eos_token_id: [1.5]");
        check("bos_token_id", json!([1]), "bos_token_id: [1] should be a token id");
        check("bos_token_id", json!("1"), "bos_token_id: \"1\" should be a token id");
        let layers = "it must list \"full_attention\" for each of the 1 layers";
        check("layer_types", json!(["full_attention", "full_attention"]), layers);
        check("layer_types", json!([]), layers);
        check("layer_types", json!("full_attention"), layers);
        check("rms_norm_eps", Value::Null, "rms_norm_eps: null should be a value");
        check("max_position_embeddings", Value::Null, "max_position_embeddings: null");
        check("hidden_act", Value::Null, "hidden_act: null");
        check("rope_theta", Value::Null, "rope_theta: null should be a value");
        check("rope_parameters", json!({"rope_theta": null}), "rope_parameters.rope_theta: null should be a value");
    }

    /// Each as transformers 5.23 takes it.
    #[test]
    fn what_transformers_takes_is_taken() {
        let read = |changes: Value| {
            let mut json = valid();
            json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            Config::from_hf(&json, Path::new("config.json")).unwrap()
        };
        // A number below 0 is no token: no id equals it.
        let config = read(json!({"bos_token_id": -1, "eos_token_id": [2, -1]}));
        assert_eq!((config.bos_token_id, config.eos_token_ids.as_slice()), (None, [2].as_slice()));
        assert_eq!(read(json!({"eos_token_id": -1})).eos_token_ids, [0; 0]);
        assert_eq!(read(json!({"bos_token_id": 3})).bos_token_id, Some(3));
        read(json!({"layer_types": ["full_attention"]}));
        read(json!({"layer_types": null, "head_dim": null, "num_key_value_heads": null}));
        assert_eq!(read(json!({})).rope_theta, 10_000.0);
        // The newer generation has the number that the older one lacks.
        assert_eq!(read(json!({"rope_theta": null, "rope_parameters": {"rope_theta": 5e5}})).rope_theta, 5e5);
        assert_eq!(read(json!({"rope_theta": 5e5, "rope_parameters": null})).rope_theta, 5e5);
    }
}
