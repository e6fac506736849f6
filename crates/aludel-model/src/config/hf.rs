//! Reading and writing `config.json`, in both generations of its rotary keys. What every other key means is in `keys`.

use std::path::Path;

use serde_json::{Value, json};

use super::family::{Biases, Family, supported_instead_of};
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
        let reader = Reader { json, path };
        let family = Family::of_hf(json).map_err(|found| Error::Architecture {
            path: path.to_owned(),
            supported: supported_instead_of(&found),
            found,
        })?;
        let (key, names) = family.activation_key;
        if !json[key].is_null() && !json[key].as_str().is_some_and(|name| names.contains(&name)) {
            return Err(reader.wrong(key, format!("{} is not supported; {:?} is", json[key], names[0])));
        }
        let num_attention_heads = reader.size("num_attention_heads")?;
        let hidden_size = reader.size("hidden_size")?;
        // transformers tells null from a key that is not there
        let is_given = json.get("num_key_value_heads").is_some();
        let key_value_heads = family.default_key_value_heads.filter(|_| !is_given).unwrap_or(num_attention_heads);
        let head_dim = family.default_head_dim.unwrap_or(hidden_size / num_attention_heads.max(1));
        let head_dim = reader.size_or("head_dim", head_dim)?;
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
            max_position_embeddings: reader.size_or("max_position_embeddings", family.default_positions)?,
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
            tie_word_embeddings: reader.flag_or("tie_word_embeddings", family.default_tied)?,
            has_head_norms: family.has_head_norms,
            biases: Module::ALL.map(|module| family.has_bias(module, attention_bias, mlp_bias)),
            bos_token_id: reader.id("bos_token_id")?,
            eos_token_ids: reader.ids("eos_token_id")?,
        };
        config.check(path)?;
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
        window::write(&self.family.windows, self, &mut config);
        if self.rope_scaling != RopeScaling::None {
            config["rope_scaling"] = config["rope_parameters"].clone();
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
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

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

    fn number(&self, object: &Value, key: &str) -> Result<Option<f64>> {
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

    /// θ and scaling. transformers 5 keeps both in `rope_parameters`, transformers 4 has `rope_theta` and `rope_scaling`. A file
    /// may have both generations, since each reader takes its own, but they must agree. Without θ a family's own is taken; transformers
    /// takes null for no number, and fails.
    fn rope(&self) -> Result<(Option<f64>, RopeScaling)> {
        self.rope_of([("rope_scaling", &self.json["rope_scaling"]), ("rope_parameters", &self.json["rope_parameters"])])
    }

    /// As [`Reader::rope`], where layers with a window have frequencies of their own: `rope_parameters` then has two parts.
    fn global_rope(&self) -> Result<(Option<f64>, RopeScaling)> {
        let parts = &self.json["rope_parameters"];
        if let Some(key) =
            parts.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| ![FULL, SLIDING].contains(&&***key))
        {
            let reason = format!("is not known here; {FULL:?} and {SLIDING:?} are, one set of parameters in each");
            return Err(self.wrong(&format!("rope_parameters.{key}"), reason));
        }
        if !(parts.is_null() || parts.is_object()) {
            return Err(self.wrong("rope_parameters", format!("{parts} should be an object")));
        }
        self.rope_of([("rope_scaling", &self.json["rope_scaling"]), ("rope_parameters.full_attention", &parts[FULL])])
    }

    /// θ of layers with a window, whose frequencies are not scaled.
    fn local_theta(&self) -> Result<Option<f64>> {
        let name = "rope_parameters.sliding_attention";
        let older = self.number(self.json, "rope_local_base_freq")?;
        let object = match &self.json["rope_parameters"][SLIDING] {
            Value::Null => return Ok(older),
            object @ Value::Object(_) => object,
            other => return Err(self.wrong(name, format!("{other} should be an object"))),
        };
        if self.rope_scaling(name, object)? != RopeScaling::None {
            let reason = "is scaled, which is not supported for layers with a window; use a model without it";
            return Err(self.wrong(name, reason.to_owned()));
        }
        let theta = self.number(object, "rope_theta")?;
        if older.zip(theta).is_some_and(|(older, theta)| older != theta) {
            let reason = "contradicts rope_local_base_freq, and versions of transformers read one or the other; keep the right one";
            return Err(self.wrong(name, reason.to_owned()));
        }
        Ok(theta.or(older))
    }

    fn rope_of(&self, objects: [(&str, &Value); 2]) -> Result<(Option<f64>, RopeScaling)> {
        let mut theta = self.number(self.json, "rope_theta")?;
        let is_null = |object: &Value| object.get("rope_theta").is_some_and(Value::is_null);
        let no_theta =
            |key: &str| Err(self.wrong(key, "null should be a number; take the key out for the default".to_owned()));
        let mut scaling: Option<RopeScaling> = None;
        for (name, object) in objects {
            match object {
                Value::Null => continue,
                Value::Object(entries) if entries.is_empty() => continue,
                Value::Object(_) => {}
                other => return Err(self.wrong(name, format!("{other} should be an object"))),
            }
            if is_null(object) {
                return no_theta(&format!("{name}.rope_theta"));
            }
            let here = self.rope_scaling(name, object)?;
            let theta_here = self.number(object, "rope_theta")?;
            let theta_agrees = theta.zip(theta_here).is_none_or(|(one, other)| one == other);
            if !theta_agrees || scaling.as_ref().is_some_and(|before| *before != here) {
                let reason = "contradicts rope_theta or rope_scaling, and versions of transformers read one or the other; \
                              keep the right one";
                return Err(self.wrong(name, reason.to_owned()));
            }
            theta = theta.or(theta_here);
            scaling = Some(here);
        }
        if theta.is_none() && is_null(self.json) {
            return no_theta("rope_theta");
        }
        Ok((theta, scaling.unwrap_or(RopeScaling::None)))
    }

    fn rope_scaling(&self, name: &str, rope: &Value) -> Result<RopeScaling> {
        let wrong = |key: &str, reason: String| Err(self.wrong(&format!("{name}.{key}"), reason));
        let mut kind = None;
        for key in ["rope_type", "type"] {
            match &rope[key] {
                Value::Null => {}
                Value::String(text) if kind.is_none_or(|other| other == text) => kind = Some(text.as_str()),
                other => {
                    return wrong(
                        key,
                        format!("{other} should be the name of the scaling, one name under rope_type and type"),
                    );
                }
            }
        }
        let needed = |key: &str| match rope[key].as_f64().filter(|x| x.is_finite() && *x > 0.0) {
            Some(number) => Ok(number),
            None => {
                let reason = format!("{} scaling needs a positive number here", kind.unwrap_or_default());
                Err(self.wrong(&format!("{name}.{key}"), reason))
            }
        };
        let (scaling, read): (_, &[&str]) = match kind {
            None | Some("default") => (RopeScaling::None, &[]),
            Some("linear") => (RopeScaling::Linear { factor: needed("factor")? }, &["factor"]),
            Some("llama3") => {
                let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
                let positions = needed("original_max_position_embeddings")?;
                if high <= low {
                    return wrong("high_freq_factor", format!("{high} should be above low_freq_factor, {low}"));
                }
                let outer = "original_max_position_embeddings";
                if self.number(self.json, outer)?.is_some_and(|outer| outer != positions) {
                    return Err(
                        self.wrong(outer, format!("contradicts {name}, which has {positions}; keep the right one"))
                    );
                }
                let scaling = RopeScaling::Llama3 {
                    factor: needed("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: positions,
                };
                (scaling, &["factor", "low_freq_factor", "high_freq_factor"])
            }
            Some(other) => {
                let reason = format!(
                    "{other:?} is not supported; \"default\", \"linear\" and \"llama3\" are, so use a model with one of them"
                );
                return wrong("rope_type", reason);
            }
        };
        // what no kind reads, or reads as one, changes nothing
        for (key, value) in rope.as_object().into_iter().flatten() {
            let is_known = match key.as_str() {
                "rope_type" | "type" | "rope_theta" | "original_max_position_embeddings" => true,
                "partial_rotary_factor" | "attention_factor" => value.as_f64() == Some(1.0),
                "factor" if !read.contains(&"factor") => value.as_f64() == Some(1.0),
                other => read.contains(&other),
            };
            if !is_known && !value.is_null() {
                let kind = kind.unwrap_or("default");
                let reason = format!(
                    "{value} is not supported with rope_type {kind:?}; take it out of the file if it is a leftover, else use another model"
                );
                return wrong(key, reason);
            }
        }
        Ok(scaling)
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
        check("architectures", json!(["MambaForCausalLM"]), "supported are LlamaForCausalLM");
        check("model_type", json!("qwen2"), "qwen2");
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
        check("rope_theta", Value::Null, "rope_theta: null should be a number");
        check("rope_parameters", json!({"rope_theta": null}), "rope_parameters.rope_theta: null should be a number");
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
        read(json!({"layer_types": null}));
        assert_eq!(read(json!({})).rope_theta, 10_000.0);
        // The newer generation has the number that the older one lacks.
        assert_eq!(read(json!({"rope_theta": null, "rope_parameters": {"rope_theta": 5e5}})).rope_theta, 5e5);
        assert_eq!(read(json!({"rope_theta": 5e5, "rope_parameters": null})).rope_theta, 5e5);
    }
}
