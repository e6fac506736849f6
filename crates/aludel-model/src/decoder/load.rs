//! From a student's files to a decoder: every weight is read once and held as [`WeightFormat`] says.

use std::cell::Cell;
use std::ops::ControlFlow;

use aludel_kernels::attention::Heads;
use aludel_kernels::embedding::Embedding;
use aludel_kernels::linear::{FrozenWeight, Precision, Quantization};
use aludel_kernels::quant::{self, BlockType};
use aludel_kernels::{Context, Mat};

use super::rotary::Rotary;
use super::{Decoder, Layer, Linear};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::module::MODULES;
use crate::weights::{Tensor, Weights};

/// How the weights of linears are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// Packed in this precision.
    Packed(Precision),
    /// Quantised while they are read, and decoded in each product of this precision. The head stays packed in it.
    Quantized(Quantization, Precision),
    /// In the file's own quantisation, and decoded in each product of this precision; packed in it where the file has none.
    AsStored(Precision),
    /// In the file's own quantisation, multiplied as integers, else packed as bf16. For generation: there is no backward.
    Integers,
}

impl From<Precision> for WeightFormat {
    fn from(precision: Precision) -> WeightFormat {
        WeightFormat::Packed(precision)
    }
}

impl WeightFormat {
    fn precision(self) -> Precision {
        match self {
            WeightFormat::Packed(precision)
            | WeightFormat::Quantized(_, precision)
            | WeightFormat::AsStored(precision) => precision,
            WeightFormat::Integers => Precision::Bf16,
        }
    }

    /// Reads one weight; of an outline, nothing but its shape.
    fn load(self, ctx: &mut Context, tensor: &Tensor<'_>, role: Role, is_outline: bool) -> Result<FrozenWeight> {
        let &[d_out, d_in] = tensor.shape() else { unreachable!("{role:?} is no matrix") };
        let (shape, precision) = ((d_out, d_in), self.precision());
        match self {
            WeightFormat::Quantized(how, _) if matches!(role, Role::Weight(..)) => {
                if !d_in.is_multiple_of(how.block()) {
                    return Err(tensor.error(&format!(
                        "has rows of {d_in} values, which are no whole blocks of {}, so it cannot be quantised like this; set \
                         student.quantize to {}",
                        how.block(),
                        if d_in.is_multiple_of(Quantization::Int8.block()) { "\"int8\" or \"none\"" } else { "\"none\"" }
                    )));
                }
                if is_outline {
                    return Ok(FrozenWeight::outline_quantized(ctx, how, precision, shape));
                }
                let quantized = FrozenWeight::quantize(ctx, how, precision, shape, |row, out| tensor.row(row, out))?;
                return quantized.ok_or_else(|| {
                    tensor.error(&"holds values too large for 8-bit codes; set student.quantize to \"nf4\" or \"none\"")
                });
            }
            WeightFormat::AsStored(_) => {
                if let Some(kept) = tensor.keep_decoded(ctx, precision, is_outline)? {
                    return Ok(kept);
                }
            }
            WeightFormat::Integers if !is_outline => {
                if let Some(kept) = tensor.keep(ctx)? {
                    return Ok(kept);
                }
            }
            WeightFormat::Packed(_) | WeightFormat::Quantized(..) | WeightFormat::Integers => {}
        }
        match is_outline {
            true => Ok(FrozenWeight::outline(ctx, precision, d_out, d_in)),
            false => FrozenWeight::pack(ctx, precision, d_out, d_in, |row, out| tensor.row(row, out)),
        }
    }
}

impl Decoder {
    /// Loads and packs a student's weights. `max_positions` bounds the rotary tables (and so the length of a row).
    ///
    /// # Errors
    /// If a tensor is missing or does not fit the config.
    pub fn load(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        format: impl Into<WeightFormat>,
        max_positions: usize,
    ) -> Result<Decoder> {
        Decoder::load_watched(ctx, config, weights, format, max_positions, &|_, _| ControlFlow::Continue(()))
    }

    /// As [`Decoder::load`]; before each tensor and after the last, `watch` is told how many weights of how many are read, and may break
    /// it off.
    ///
    /// # Errors
    /// As [`Decoder::load`], and [`Error::Stopped`] where `watch` broke off.
    pub fn load_watched(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        format: impl Into<WeightFormat>,
        max_positions: usize,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<Decoder> {
        Decoder::make(ctx, config, weights, (format.into(), false), max_positions, watch)
    }

    /// A decoder of the same shape without the large weights, which are not read: to plan passes with, and not to compute.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn outline(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        format: impl Into<WeightFormat>,
    ) -> Result<Decoder> {
        Decoder::make(ctx, config, weights, (format.into(), true), 1, &|_, _| ControlFlow::Continue(()))
    }

    fn make(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        (format, is_outline): (WeightFormat, bool),
        max_positions: usize,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<Decoder> {
        let precision = format.precision();
        let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        // a tied table is read for the embedding and for the head
        let roles = weights.layout().tensors().map(|(role, _)| role).chain(tied_head(weights));
        let total = roles.map(|role| size(&weights.layout().tensor(role).shape)).sum();
        let done = Cell::new(0);
        let ask = |more: u64| {
            done.set(done.get() + more);
            if watch(done.get(), total).is_break() { Err(Error::Stopped) } else { Ok(()) }
        };
        let vector = |ctx: &mut Context, role: Role| -> Result<Mat> {
            let values = weights.tensor(role)?.values()?;
            ask(values.len() as u64)?;
            Ok(ctx.upload_persistent(1, values.len(), &values))
        };
        let pack = |ctx: &mut Context, role: Role| -> Result<FrozenWeight> {
            ask(0)?;
            let tensor = weights.tensor(role)?;
            let weight = format.load(ctx, &tensor, role, is_outline)?;
            ask(size(tensor.shape())).map(|()| weight)
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for n in 0..config.num_hidden_layers {
            let mut linears = [const { None }; MODULES];
            for &module in config.modules() {
                let weight = pack(ctx, Role::Weight(n, module))?;
                let bias = if config.has_bias(module) { Some(vector(ctx, Role::Bias(n, module))?) } else { None };
                linears[module as usize] = Some(Linear { weight, bias });
            }
            layers.push(Layer {
                input_layernorm: vector(ctx, Role::InputNorm(n))?,
                feed_forward_norm: vector(ctx, Role::FeedForwardNorm(n))?,
                output_norms: if config.has_output_norms {
                    Some([vector(ctx, Role::AttentionOutputNorm(n))?, vector(ctx, Role::FeedForwardOutputNorm(n))?])
                } else {
                    None
                },
                head_norms: if config.has_head_norms {
                    Some([vector(ctx, Role::QueryNorm(n))?, vector(ctx, Role::KeyNorm(n))?])
                } else {
                    None
                },
                window: config.window(n),
                linears,
            });
        }
        if matches!(format, WeightFormat::AsStored(_)) {
            check_kept(&layers, weights)?;
        }
        let embedding = {
            let table = weights.tensor(Role::Embedding)?;
            let (block_type, bytes) = table.stored(is_outline)?;
            let bytes = if is_outline { vec![0; bytes.len()] } else { bytes.to_vec() };
            ask(size(table.shape()))?;
            Embedding::new(ctx, block_type, bytes, config.vocab_size, config.hidden_size)
                .map_err(|error| table.error(&error))?
        };
        weights.release_all();
        let rotary = Rotary::new(ctx, config, max_positions);
        Ok(Decoder {
            precision,
            heads: Heads {
                query: config.num_attention_heads,
                key: config.num_key_value_heads,
                dim: config.head_dim,
                scale: (1.0 / config.query_pre_attn_scalar.sqrt()) as f32,
                window: None,
                precision,
            },
            embedding,
            embedding_scale: config.scales_embeddings.then(|| embedding_scale(config.hidden_size, precision)),
            layers,
            is_outline,
            norm: vector(ctx, Role::OutputNorm)?,
            head: pack(ctx, weights.layout().head())?,
            rotary,
            config: config.clone(),
        })
    }
}

/// The embedding where the head has no weights of its own.
fn tied_head(weights: &Weights) -> Option<Role> {
    Some(weights.layout().head()).filter(|role| matches!(role, Role::Embedding))
}

/// Refuses files none of whose linears could be held in their own quantisation.
fn check_kept(layers: &[Layer], weights: &Weights) -> Result<()> {
    let mut linears = layers.iter().flat_map(|layer| layer.linears.iter().flatten());
    match linears.any(|linear| linear.weight.is_decoded()) {
        true => Ok(()),
        false => Err(Error::NotQuantized { path: weights.path(), dtype: weights.dtype()?.to_string() }),
    }
}

/// √C, which transformers rounds to the type of the weights that it computes with.
fn embedding_scale(channels: usize, precision: Precision) -> f32 {
    let scale = (channels as f64).sqrt() as f32;
    match precision {
        Precision::F32 => scale,
        Precision::Bf16 => {
            let mut rounded = [0.0];
            quant::decode(BlockType::BF16, &quant::encode_bf16(&[scale]), &mut rounded).expect("two bytes are a bf16");
            rounded[0]
        }
    }
}
