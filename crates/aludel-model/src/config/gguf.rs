//! Reading the metadata of a GGUF file, and the one tensor of it that is a setting: the divisors of the rotary frequencies. The
//! rules are those of llama.cpp, which writes and reads these files.

use std::path::Path;

use aludel_formats::gguf::{Array, File, Metadata, Value as Stored};
use serde_json::Value;

use super::family::{Family, SUPPORTED};
use super::rope::{self, RopeScaling};
use super::window::Windows;
use super::{Config, LayerType, keys, window};
use crate::error::{Error, Result};
use crate::files::{LONGROPE_FACTORS, ROPE_DIVISORS};
use crate::layout::RowOrder;
use crate::module::Module;
use crate::weights::Tensor;

impl Config {
    /// The family of GGUF files of this `general.architecture`.
    ///
    /// # Errors
    /// [`Error::Architecture`] for a family that is not supported.
    pub fn check_gguf_architecture(architecture: &str, path: &Path) -> Result<&'static Family> {
        Family::of_gguf(architecture).ok_or_else(|| Error::Architecture {
            path: path.to_owned(),
            found: architecture.to_owned(),
            instead: SUPPORTED,
        })
    }

    /// Reads a GGUF file's metadata and rotary divisors. Whether the head is tied is decided by the presence of `output.weight`.
    ///
    /// # Errors
    /// As [`Config::from_hf`].
    pub fn from_gguf(file: &File) -> Result<Config> {
        let metadata = file.metadata();
        let family = Config::check_gguf_architecture(metadata.string("general.architecture")?, file.path())?;
        let reader = Reader { file, metadata, family };
        reader.whole_model()?;
        let size = |key: &str| metadata.u64(&reader.key(key)).map(|value| value as usize);
        let heads = reader.size("attention.head_count")?;
        let hidden_size = size("embedding_length")?;
        let head_dim =
            metadata.find::<usize>(&reader.key("attention.key_length"))?.unwrap_or_else(|| hidden_size / heads.max(1));
        let kv_heads = "attention.head_count_kv";
        // bounded before anything is made for each of them
        let num_hidden_layers = size("block_count")?;
        if num_hidden_layers > Config::MOST_LAYERS {
            let reason = Config::senseless_size(num_hidden_layers, Config::MOST_LAYERS);
            return Err(reader.wrong(&reader.key("block_count"), reason));
        }
        let (sliding_window, layer_types) = reader.windows(num_hidden_layers)?;
        let rotary_dim = match family.has_longrope {
            true => metadata.find::<usize>(&reader.key("rope.dimension_count"))?.unwrap_or(head_dim),
            false => head_dim,
        };
        let mut config = Config {
            family,
            vocab_size: file.tensor("token_embd.weight")?.shape.first().copied().unwrap_or(0),
            hidden_size,
            intermediate_size: reader.size("feed_forward_length")?,
            num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: if metadata.contains(&reader.key(kv_heads)) { reader.size(kv_heads)? } else { heads },
            head_dim,
            // stored as f32: the shortest decimal that rounds to it is what the model's own config says
            rms_norm_eps: shortest(metadata.f32(&reader.key("attention.layer_norm_rms_epsilon"))?),
            max_position_embeddings: size("context_length")?,
            has_fused_linears: family.has_fused_linears,
            rotary_dim,
            rope_theta: metadata.find::<f32>(&reader.key("rope.freq_base"))?.map_or(10_000.0, shortest),
            rope_scaling: RopeScaling::None,
            sliding_window,
            rope_local_base_freq: match family.default_thetas.filter(|_| sliding_window.is_some()) {
                Some([_, default]) => {
                    Some(metadata.find::<f32>(&reader.key("rope.freq_base_swa"))?.map_or(default, shortest))
                }
                None => None,
            },
            layer_types,
            query_pre_attn_scalar: family.gguf_query_scalar(num_hidden_layers, hidden_size / heads.max(1), head_dim),
            activation: family.activation,
            has_output_norms: family.has_output_norms,
            scales_embeddings: family.scales_embeddings,
            tie_word_embeddings: file.find_tensor("output.weight").is_none(),
            has_head_norms: family.has_head_norms,
            biases: Module::ALL.map(|module| family.has_bias(module, false, false)),
            bos_token_id: metadata.find::<u32>("tokenizer.ggml.bos_token_id")?,
            eos_token_ids: metadata.find::<u32>("tokenizer.ggml.eos_token_id")?.into_iter().collect(),
        };
        config.check(file.path())?;
        let prefix = reader.key("");
        for (key, value) in metadata.iter() {
            if let Some(name) = key.strip_prefix(&prefix) {
                keys::check_gguf(name, &to_json(value), &config).map_err(|reason| reader.wrong(key, reason))?;
            }
            if let Some(name) = key.strip_prefix("tokenizer.").filter(|name| keys::is_tokenizer_checked(name)) {
                keys::check_tokenizer(name, &to_json(value), &config).map_err(|reason| reader.wrong(key, reason))?;
            }
        }
        // llama.cpp divides by both
        let factor = reader.linear_factor()?;
        let divisors = reader.divisors(rotary_dim / 2)?.into_iter().map(|divisor| divisor * factor).collect();
        config.rope_scaling = RopeScaling::from_divisors(&rope::frequencies(config.rope_theta, rotary_dim), divisors);
        if let Some(longrope) = reader.longrope(rotary_dim / 2, config.max_position_embeddings)? {
            config.rope_scaling = longrope;
        }
        Ok(config)
    }
}

struct Reader<'a> {
    file: &'a File,
    metadata: &'a Metadata,
    family: &'static Family,
}

impl Reader<'_> {
    /// A key of the family.
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family.gguf)
    }

    fn wrong(&self, key: &str, reason: String) -> Error {
        Error::Config { path: self.file.path().to_owned(), key: key.to_owned(), reason }
    }

    /// That the file is a model, and all of it.
    fn whole_model(&self) -> Result<()> {
        if let Some(kind) = self.metadata.find::<&str>("general.type")?.filter(|kind| *kind != "model") {
            return Err(self.wrong("general.type", format!("{kind:?} is not a model; give the GGUF file of the model")));
        }
        match self.metadata.find::<usize>("split.count")? {
            Some(parts @ 2..) => {
                let reason = format!(
                    "this file is one of {parts} parts; join them first, with llama-gguf-split --merge, and give the whole"
                );
                Err(self.wrong("split.count", reason))
            }
            _ => Ok(()),
        }
    }

    /// A count that may be given once or layer by layer, but is the same for every layer.
    fn size(&self, name: &str) -> Result<usize> {
        let key = &self.key(name);
        let Some(Stored::Array(_)) = self.metadata.value(key) else { return Ok(self.metadata.get(key)?) };
        let counts: Vec<usize> = self.metadata.get(key)?;
        match counts.first() {
            Some(&first) if counts.iter().all(|count| *count == first) => Ok(first),
            _ => Err(self.wrong(
                key,
                "differs from layer to layer, which is not supported; use a model of equal layers".to_owned(),
            )),
        }
    }

    /// LongRoPE's numbers, where the file has its tensors.
    fn longrope(&self, pairs: usize, positions: usize) -> Result<Option<RopeScaling>> {
        let [short, long] =
            LONGROPE_FACTORS.map(|name| self.file.find_tensor(name).filter(|_| self.family.has_longrope));
        let (short, long) = match (short, long) {
            (None, None) => return Ok(None),
            (Some(short), Some(long)) => (short, long),
            _ => {
                let reason = format!("one of {} is missing; convert the model again", LONGROPE_FACTORS.join(" and "));
                return Err(self.wrong("rope factors", reason));
            }
        };
        let factors = |view| -> Result<Vec<f64>> {
            let values = Tensor::new(self.file.path(), view, &[pairs], RowOrder::Same)?.values()?;
            match values.iter().find(|factor| **factor <= 0.0) {
                None => Ok(values.into_iter().map(shortest).collect()),
                Some(factor) => {
                    Err(self.wrong("rope factors", format!("{factor} makes no sense; a positive number would")))
                }
            }
        };
        let key = self.key("rope.scaling.original_context_length");
        let original = self.metadata.get::<usize>(&key)?;
        if original < 2 {
            return Err(self.wrong(&key, format!("{original} makes no sense; a number of positions would")));
        }
        let key = self.key("rope.scaling.attn_factor");
        let of_formula = RopeScaling::longrope_attention_factor(positions, original);
        let attention_factor = self.metadata.find::<f32>(&key)?.map_or(1.0, shortest);
        // stored as f32
        let is_of_formula = (attention_factor - of_formula).abs() <= 1e-6 * of_formula;
        let attention_factor = if is_of_formula { of_formula } else { attention_factor };
        if !(attention_factor.is_finite() && attention_factor > 0.0) {
            return Err(self.wrong(&key, format!("{attention_factor} makes no sense; a positive number would")));
        }
        Ok(Some(RopeScaling::LongRope {
            short_factor: factors(short)?,
            long_factor: factors(long)?,
            attention_factor,
            original_max_position_embeddings: original,
            max_position_embeddings: positions,
        }))
    }

    /// The window, and the layers that have it: of Phi-3 all, as in its own config, though llama.cpp leaves it out; of Gemma 3 those of a
    /// period or a list. Files of other families do not speak of it.
    fn windows(&self, layers: usize) -> Result<(Option<usize>, Vec<LayerType>)> {
        let window = match self.family.windows {
            Windows::Pattern | Windows::EveryLayer(None) => {
                self.metadata.find::<usize>(&self.key("attention.sliding_window"))?.filter(|size| *size > 0)
            }
            _ => None,
        };
        let Some(window) = window else { return Ok((None, vec![LayerType::FullAttention; layers])) };
        if matches!(self.family.windows, Windows::EveryLayer(_)) {
            return Ok((Some(window), vec![LayerType::SlidingAttention; layers]));
        }
        let key = self.key("attention.sliding_window_pattern");
        let types = match self.metadata.value(&key) {
            None => window::by_pattern(layers, window::PATTERN),
            Some(list @ Stored::Array(_)) => {
                let listed = to_json(list).as_array().cloned().unwrap_or_default();
                if listed.len() != layers {
                    return Err(self.wrong(&key, format!("names {} layers, but there are {layers}", listed.len())));
                }
                let is_sliding = |item: &Value| item.as_bool().or(item.as_i64().map(|n| n != 0)).unwrap_or(false);
                listed.iter().map(|item| LayerType::sliding_if(is_sliding(item))).collect()
            }
            Some(_) => match self.metadata.get::<usize>(&key)? {
                0 => vec![LayerType::SlidingAttention; layers],
                pattern => window::by_pattern(layers, pattern),
            },
        };
        Ok((Some(window), types))
    }

    /// What all frequencies are divided by. Without a type a factor is linear, and `rope.scale_linear` is its older name.
    fn linear_factor(&self) -> Result<f64> {
        let kind = self.metadata.find::<&str>(&self.key("rope.scaling.type"))?.unwrap_or("linear");
        match kind {
            "none" => return Ok(1.0),
            "linear" => {}
            _ => {
                let reason =
                    format!("{kind:?} is not supported; \"none\" and \"linear\" are, so use a model with one of them");
                return Err(self.wrong(&self.key("rope.scaling.type"), reason));
            }
        }
        let mut found = None;
        let names = ["rope.scaling.factor", "rope.scale_linear"];
        for key in names.map(|name| self.key(name)) {
            let key = key.as_str();
            let Some(factor) = self.metadata.find::<f32>(key)? else { continue };
            if !(factor.is_finite() && factor > 0.0) {
                return Err(self.wrong(key, format!("{factor} makes no sense; a positive number would")));
            }
            match found {
                Some(other) if other != factor => {
                    let reason =
                        format!("{factor} contradicts {}, which is {other}; keep the right one", self.key(names[0]));
                    return Err(self.wrong(key, reason));
                }
                _ => found = Some(factor),
            }
        }
        Ok(found.map_or(1.0, shortest))
    }

    /// What each frequency is divided by, one number for each pair of channels.
    fn divisors(&self, pairs: usize) -> Result<Vec<f64>> {
        let view = self.file.find_tensor(ROPE_DIVISORS).filter(|_| self.family.gguf_has_rope_divisors);
        let Some(view) = view else { return Ok(vec![1.0; pairs]) };
        let values = Tensor::new(self.file.path(), view, &[pairs], RowOrder::Same)?.values()?;
        match values.iter().find(|divisor| !(divisor.is_finite() && **divisor > 0.0)) {
            None => Ok(values.into_iter().map(f64::from).collect()),
            Some(divisor) => Err(Error::Tensor {
                path: self.file.path().to_owned(),
                name: ROPE_DIVISORS.to_owned(),
                reason: format!("{divisor} makes no sense as a divisor of a frequency; a positive number would"),
            }),
        }
    }
}

/// A stored value for the rule of its key. What JSON has no number for is a text, and no rule allows it.
fn to_json(value: &Stored) -> Value {
    match value {
        Stored::Bool(truth) => Value::from(*truth),
        Stored::String(text) => Value::from(text.as_str()),
        Stored::F32(number) => float(f64::from(*number)),
        Stored::F64(number) => float(*number),
        Stored::Array(Array::Bool(items)) => Value::from(items.as_slice()),
        Stored::Array(Array::String(items)) => Value::from(items.as_slice()),
        Stored::Array(Array::F32(items)) => items.iter().map(|item| float(f64::from(*item))).collect(),
        Stored::Array(Array::F64(items)) => items.iter().map(|item| float(*item)).collect(),
        Stored::Array(items) => items.to_integers().unwrap_or_default().into_iter().map(integer).collect(),
        number => number.as_integer().map_or(Value::Null, integer),
    }
}

fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number)
}

fn integer(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number as f64), Value::from)
}

/// The shortest decimal that rounds to this f32, as f64.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}
