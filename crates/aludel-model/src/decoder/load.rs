//! From a student's files to a decoder: every weight is read once and packed, or kept, as [`Hold`] says.

use aludel_kernels::attention::Heads;
use aludel_kernels::embedding::Embedding;
use aludel_kernels::linear::{FrozenWeight, Precision};
use aludel_kernels::rowwise::rope;
use aludel_kernels::{Context, Mat};

use super::{Decoder, Layer, Linear};
use crate::adapter::linear_shape;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::module::{MODULES, Module};
use crate::weights::{self, Weights, linear_name, norm_name};

/// How the weights of linears are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Packed in this precision, for training and generation.
    Packed(Precision),
    /// In the file's own quantisation where products can read it, else packed as bf16. For generation: there is no backward.
    Stored,
}

impl From<Precision> for Hold {
    fn from(precision: Precision) -> Hold {
        Hold::Packed(precision)
    }
}

impl Hold {
    fn precision(self) -> Precision {
        match self {
            Hold::Packed(precision) => precision,
            Hold::Stored => Precision::Bf16,
        }
    }
}

impl Decoder {
    /// Loads and packs a student's weights. `max_positions` bounds the rotary table (and so the length of a row).
    ///
    /// # Errors
    /// If a tensor is missing or does not fit the config.
    pub fn load(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        hold: impl Into<Hold>,
        max_positions: usize,
    ) -> Result<Decoder> {
        Decoder::make(ctx, config, weights, (hold.into(), false), max_positions)
    }

    /// A decoder of the same shape without the large weights, which are not read: to plan passes with, and not to compute.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn outline(ctx: &mut Context, config: &Config, weights: &Weights, hold: impl Into<Hold>) -> Result<Decoder> {
        Decoder::make(ctx, config, weights, (hold.into(), true), 1)
    }

    /// Makes the rotary table reach so many positions.
    pub fn set_positions(&mut self, ctx: &mut Context, max_positions: usize) {
        let positions = max_positions.min(self.config.max_position_embeddings);
        self.rope = rope::Table::new(ctx, &self.config.inverse_frequencies(), positions, 1.0);
    }

    fn make(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        (hold, is_outline): (Hold, bool),
        max_positions: usize,
    ) -> Result<Decoder> {
        let precision = hold.precision();
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let vector = |ctx: &mut Context, name: &str, len: usize| -> Result<Mat> {
            let values = weights.tensor(name, &[len], config)?.values()?;
            Ok(ctx.upload_persistent(1, len, &values))
        };
        let pack = |name: &str, d_out: usize, d_in: usize| -> Result<FrozenWeight> {
            let tensor = weights.tensor(name, &[d_out, d_in], config)?;
            if is_outline {
                return Ok(FrozenWeight::outline(precision, d_out, d_in));
            }
            if hold == Hold::Stored
                && let Some(kept) = tensor.keep()?
            {
                return Ok(kept);
            }
            FrozenWeight::pack(precision, d_out, d_in, |row, out| tensor.row(row, out))
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for n in 0..config.num_hidden_layers {
            let mut linears = Vec::with_capacity(MODULES);
            for module in Module::ALL {
                let (d_in, d_out) = linear_shape(config, module);
                let weight = pack(&linear_name(n, module, "weight"), d_out, d_in)?;
                let bias = if config.has_bias(module) {
                    Some(vector(ctx, &linear_name(n, module, "bias"), d_out)?)
                } else {
                    None
                };
                linears.push(Linear { weight, bias });
            }
            layers.push(Layer {
                input_layernorm: vector(ctx, &norm_name(n, weights::INPUT_NORM), hidden)?,
                post_attention_layernorm: vector(ctx, &norm_name(n, weights::POST_ATTENTION_NORM), hidden)?,
                linears,
            });
        }
        let table = weights.tensor(weights::EMBEDDING, &[vocab, hidden], config)?;
        let (block_type, bytes) = table.stored()?;
        let bytes = if is_outline { vec![0; bytes.len()] } else { bytes.to_vec() };
        let embedding = Embedding::new(block_type, bytes, vocab, hidden).map_err(|e| Error::Tensor {
            path: weights.path(),
            name: weights::EMBEDDING.to_owned(),
            reason: e.to_string(),
        })?;
        let head_name = if config.tie_word_embeddings { weights::EMBEDDING } else { weights::HEAD };
        let positions = max_positions.min(config.max_position_embeddings);
        Ok(Decoder {
            precision,
            heads: Heads {
                query: config.num_attention_heads,
                key: config.num_key_value_heads,
                dim: config.head_dim,
                scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
                precision,
            },
            embedding,
            layers,
            norm: vector(ctx, weights::NORM, hidden)?,
            head: pack(head_name, vocab, hidden)?,
            rope: rope::Table::new(ctx, &config.inverse_frequencies(), positions, 1.0),
            config: config.clone(),
        })
    }
}
