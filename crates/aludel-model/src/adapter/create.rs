//! New adapters: which linears and biases are trained, by PEFT's own rules, and where each tensor starts.

use std::path::Path;

use aludel_formats::peft::{self, AdapterConfig, Rows, Rules, TargetModules, TrainedTokens};
use aludel_kernels::{Context, rng};
use serde_json::Value;

use super::{Adapter, Base, Buffer, Slot, biases};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::{linear_shape, module_path};
use crate::module::Module;

/// How A of a new adapter starts; B starts at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterInit {
    /// Uniform within ±1/√d_in, PEFT's default.
    Kaiming,
    /// Normal with standard deviation 1/r.
    Gaussian,
}

/// What a new adapter is made from.
#[derive(Clone, Debug)]
pub struct AdapterOptions {
    /// Its description in PEFT's terms; [`Adapter::new`] fills in the name of the base and the trained rows.
    pub config: AdapterConfig,
    /// How A starts.
    pub init: AdapterInit,
    /// For the random start.
    pub seed: u64,
    /// Vocabulary rows to train, if any.
    pub rows: Option<NewRows>,
}

/// Vocabulary rows to train and where they start.
#[derive(Clone, Debug)]
pub struct NewRows {
    /// Token ids, distinct; ids beyond the vocabulary extend it.
    pub ids: Vec<u32>,
    /// Initial embedding rows, [ids, C].
    pub embedding: Vec<f32>,
    /// Initial rows of an untied head, [ids, C].
    pub head: Option<Vec<f32>>,
}

/// A linear that gets an adapter: its layer, its rank and its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The layer's number.
    pub layer: usize,
    /// The linear in it.
    pub module: Module,
    /// The rank of its adapter.
    pub r: usize,
    /// The factor before B·A.
    pub scale: f64,
}

/// The linears that a config means, by PEFT's rules, layer by layer.
///
/// # Errors
/// [`Error::Target`] for a name that matches nothing, or if nothing is matched; [`Error::Layer`]; those of [`Rules::new`].
pub fn targets(model: &Config, adapter: &AdapterConfig) -> Result<Vec<Target>> {
    check_layers(model, adapter)?;
    let rules = Rules::new(adapter, Path::new("lora"), model.family.default_targets.unwrap_or_default())?;
    let mut targets = Vec::new();
    for layer in 0..model.num_hidden_layers {
        for &module in model.modules() {
            let path = module_path(layer, module);
            if rules.is_target(&path)? {
                targets.push(Target { layer, module, r: rules.rank(&path)?, scale: rules.scale(&path)? });
            }
        }
    }
    let unknown = |name: &str| Error::Target { name: name.to_owned(), known: known(model) };
    if let Some(TargetModules::Names(names)) = &adapter.target_modules {
        let is_known = |name: &&String| !is_end_of_a_path(model, name);
        if let Some(name) = names.iter().find(is_known) {
            return Err(unknown(name));
        }
    }
    let name = match &adapter.target_modules {
        Some(TargetModules::Pattern(pattern)) => pattern.clone(),
        Some(TargetModules::Names(names)) => names.join(", "),
        None => String::new(),
    };
    if targets.is_empty() { Err(unknown(&name)) } else { Ok(targets) }
}

/// PEFT would say nothing of layers that do not exist.
fn check_layers(model: &Config, adapter: &AdapterConfig) -> Result<()> {
    let layers = model.num_hidden_layers;
    let given = adapter.other.get("layers_to_transform").and_then(Value::as_array);
    match given.into_iter().flatten().filter_map(Value::as_u64).find(|&layer| layer >= layers as u64) {
        Some(layer) => Err(Error::Layer { layer, layers }),
        None => Ok(()),
    }
}

fn is_end_of_a_path(model: &Config, name: &str) -> bool {
    let mut paths =
        (0..model.num_hidden_layers).flat_map(|layer| model.modules().iter().map(move |&m| module_path(layer, m)));
    paths.any(|path| path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

/// The names of a model's linears, for messages.
fn known(config: &Config) -> String {
    config.modules().iter().map(|module| module.name()).collect::<Vec<_>>().join(", ")
}

impl Adapter {
    /// A new adapter: A random, B zero, magnitudes the norms of the base's rows, biases the base's, trained rows as given. Draws depend
    /// on the seed and on each tensor's name only.
    ///
    /// # Errors
    /// Those of [`targets`], [`Error::Adapter`] for rows that the vocabulary has no place for, [`Error::Bias`].
    ///
    /// # Panics
    /// If there are not as many initial rows as tokens to train, or if magnitudes or biases are to be trained and the weights of the base
    /// are not at hand.
    pub fn new(ctx: &mut Context, base: &impl Base, options: &AdapterOptions, name: &str) -> Result<Adapter> {
        let model = base.config();
        let targets = targets(model, &options.config)?;
        let wrong = |reason: String| Error::Adapter { path: name.into(), reason: format!("a new adapter: {reason}") };
        if let Some(rows) = &options.rows {
            let head = if rows.head.is_some() { &rows.ids[..] } else { &[] };
            super::rows::check(model, &rows.ids, head).map_err(wrong)?;
        }
        let trained = options.rows.as_ref().map(|rows| {
            if rows.head.is_some() {
                let by_module = ["embed_tokens", "lm_head"].map(|name| (name.to_owned(), rows.ids.clone()));
                TrainedTokens::ByModule(by_module.into_iter().collect())
            } else {
                TrainedTokens::Embedding(rows.ids.clone())
            }
        });
        let config = AdapterConfig {
            base_model_name_or_path: Some(name.to_owned()),
            trainable_token_indices: trained,
            ..options.config.clone()
        };
        let mut buffer = Buffer::new(model);
        let mut values: Vec<f32> = Vec::new();
        for &Target { layer, module, r, scale } in &targets {
            let (d_in, d_out) = linear_shape(model, module);
            let path = module_path(layer, module);
            let a = buffer.push(peft::lora_a_name(&path), r, d_in);
            let b = buffer.push(peft::lora_b_name(&path), d_out, r);
            let key = buffer.entries[a].name.bytes().fold(options.seed, |key, byte| rng::mix(key, u64::from(byte)));
            let bound = 1.0 / (d_in as f32).sqrt();
            values.extend((0..(r * d_in) as u64).map(|i| match options.init {
                AdapterInit::Kaiming => (2.0 * rng::uniform(key, i) - 1.0) * bound,
                AdapterInit::Gaussian => rng::normal(key, i) / r as f32,
            }));
            values.resize(values.len() + d_out * r, 0.0);
            let dora = config.use_dora.then(|| buffer.push_dora(ctx, base, layer, module));
            if let Some(dora) = dora {
                let squares = dora.squares.expect("a new adapter of DoRA needs the weights of its base");
                values.extend(ctx.download(squares).iter().map(|square| square.sqrt()));
            }
            buffer.slots[layer][module as usize] = Some(Slot { a, b, scale: scale as f32, dora });
        }
        if let Some(rows) = &options.rows {
            buffer.push_rows(Rows::Embedding, &rows.ids, model.hidden_size);
            values.extend(&rows.embedding);
            if let Some(head) = &rows.head {
                buffer.push_rows(Rows::Head, &rows.ids, model.hidden_size);
                values.extend(head);
            }
        }
        for (layer, module, is_adapted) in biases::trained(model, config.bias, &buffer.slots) {
            let bias = base.bias(ctx, layer, module).expect("trained biases need the weights of the base");
            buffer.push_bias(layer, module, is_adapted, bias.len());
            values.extend(bias);
        }
        if config.bias != peft::Bias::None && !buffer.has_biases() {
            return Err(Error::Bias { reason: biases::nothing_to_train(model, config.bias) });
        }
        assert_eq!(values.len(), buffer.len, "initial rows of the wrong size");
        Ok(buffer.into_adapter(ctx, config, &values))
    }
}

#[cfg(test)]
mod tests {
    use aludel_formats::peft::Bias;

    use super::*;

    fn model() -> Config {
        let text = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 8,
            "intermediate_size": 8, "num_hidden_layers": 12, "num_attention_heads": 1, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5}"#;
        Config::from_hf(&serde_json::from_str(text).unwrap(), "config.json".as_ref()).unwrap()
    }

    #[test]
    fn targets_are_those_that_peft_means() {
        let names = |names: &[&str]| Some(TargetModules::Names(names.iter().map(|&name| name.to_owned()).collect()));
        let pattern = |pattern: &str| Some(TargetModules::Pattern(pattern.to_owned()));
        let found = |target_modules| {
            let config = AdapterConfig { target_modules, ..AdapterConfig::default() };
            targets(&model(), &config).map(|targets| targets.iter().map(|t| (t.layer, t.module)).collect::<Vec<_>>())
        };
        let of = |layers: &[usize], module| layers.iter().map(|&layer| (layer, module)).collect::<Vec<_>>();
        assert_eq!(found(names(&["layers.1.mlp.up_proj"])).unwrap(), of(&[1], Module::UpProj));
        assert_eq!(found(pattern(r"model\.layers\.1[01]\.self_attn\.k_proj")).unwrap(), of(&[10, 11], Module::KProj));
        assert_eq!(found(pattern(r".*\.[0-1]\..*q_proj")).unwrap(), of(&[0, 1], Module::QProj));
        assert_eq!(found(pattern("all-linear")).unwrap().len(), 12 * 7);
        assert_eq!(found(None).unwrap().len(), 12 * 2, "PEFT's default: queries and values");
        for (nothing, said) in [
            (names(&["q_proj", "qkv_proj"]), "\"qkv_proj\" matches no linear"),
            // the whole path has to match
            (pattern("q_proj"), "\"q_proj\" matches no linear"),
            (names(&["proj"]), "\"proj\" matches no linear"),
            (names(&["layers.12.mlp.up_proj"]), "matches no linear"),
        ] {
            let error = found(nothing).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("q_proj, k_proj"), "{error}");
        }
    }

    #[test]
    fn biases_of_a_model_without_any_are_refused() {
        let config = AdapterConfig { bias: Bias::All, ..AdapterConfig::default() };
        let options = AdapterOptions { config, init: AdapterInit::Kaiming, seed: 0, rows: None };
        let error = Adapter::new(&mut Context::cpu(1), &model(), &options, "base").unwrap_err().to_string();
        assert!(error.contains("no biases to train") && error.contains("lora.bias = \"none\""), "{error}");
    }
}
