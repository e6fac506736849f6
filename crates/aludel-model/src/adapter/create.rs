//! New adapters: where each of their tensors starts. Which linears have one is for `targets`.

use aludel_formats::peft::{self, AdapterConfig, Rows, TrainedTokens};
use aludel_kernels::{Context, rng};

use super::parts::Blocks;
use super::targets::{Target, resolved, rules, targets};
use super::{Adapter, Base, Buffer, Slot, biases};
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
            ..resolved(model, &options.config, &targets)?
        };
        // the scales are those that a reader of the saved config finds, to the bit
        let rules = rules(model, &config)?;
        let mut buffer = Buffer::new(model);
        let mut values: Vec<f32> = Vec::new();
        for &Target { layer, module, r, part_ranks, .. } in &targets {
            let (d_in, d_out) = linear_shape(model, module);
            let path = module_path(layer, module);
            let a = buffer.push(peft::lora_a_name(&path), r, d_in);
            let b = buffer.push(peft::lora_b_name(&path), d_out, r);
            // a part draws what it would if it stood alone
            let parts: Vec<(Module, usize)> = match part_ranks {
                Some(ranks) => module.parts().iter().copied().zip(ranks).collect(),
                None => vec![(module, r)],
            };
            let bound = 1.0 / (d_in as f32).sqrt();
            for (part, r) in parts {
                let name = peft::lora_a_name(&module_path(layer, part));
                let key = name.bytes().fold(options.seed, |key, byte| rng::mix(key, u64::from(byte)));
                values.extend((0..(r * d_in) as u64).map(|i| match options.init {
                    AdapterInit::Kaiming => (2.0 * rng::uniform(key, i) - 1.0) * bound,
                    AdapterInit::Gaussian => rng::normal(key, i) / r as f32,
                }));
            }
            values.resize(values.len() + d_out * r, 0.0);
            let dora = config.use_dora.then(|| buffer.push_dora(ctx, base, layer, module));
            if let Some(dora) = dora {
                let squares = dora.squares.expect("a new adapter of DoRA needs the weights of its base");
                values.extend(ctx.download(squares).iter().map(|square| square.sqrt()));
            }
            let scale = rules.scale(&path)? as f32;
            let blocks = part_ranks.map(|ranks| Blocks::new(model, module, ranks));
            buffer.slots[layer][module as usize] = Some(Slot { a, b, scale, dora, blocks });
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
    use crate::config::Config;

    fn model() -> Config {
        let text = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 8,
            "intermediate_size": 8, "num_hidden_layers": 12, "num_attention_heads": 1, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5}"#;
        Config::from_hf(&serde_json::from_str(text).unwrap(), "config.json".as_ref()).unwrap()
    }

    #[test]
    fn biases_of_a_model_without_any_are_refused() {
        let config = AdapterConfig { bias: Bias::All, ..AdapterConfig::default() };
        let options = AdapterOptions { config, init: AdapterInit::Kaiming, seed: 0, rows: None };
        let error = Adapter::new(&mut Context::cpu(1), &model(), &options, "base").unwrap_err().to_string();
        assert!(error.contains("no biases to train") && error.contains("lora.bias = \"none\""), "{error}");
    }
}
