//! What distinguishes one model from another: sizes, rotary settings and special tokens, read from a Hugging Face
//! `config.json` (`hf`) or from GGUF metadata (`gguf`, which `to_gguf` writes). `family` says what families fix, `keys` has the rule for every key that is
//! not read, `rope` the rotary frequencies. A family is a set of values here, never a second decoder.

mod family;
mod gguf;
mod hf;
mod hf_rope;
mod keys;
mod rope;
mod to_gguf;
mod window;

use std::path::Path;

use aludel_kernels::rowwise::gated::Activation;

use crate::error::{Error, Result};
use crate::module::{MODULES, Module};

pub use family::Family;
pub use hf::ids;
pub use rope::RopeScaling;
pub use to_gguf::GgufConfig;
pub use window::LayerType;

/// The sizes and constants of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What its files are called, and what its class fixes.
    pub family: &'static Family,
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
    /// How many positions a token sees in layers that are [`LayerType::SlidingAttention`], its own included.
    pub sliding_window: Option<usize>,
    /// What each layer attends to.
    pub layer_types: Vec<LayerType>,
    /// Base of the rotary frequencies of layers with a window, which are not scaled; where there is no number, those of all layers are
    /// the same.
    pub rope_local_base_freq: Option<f64>,
    /// The number whose inverse root is the factor on scores.
    pub query_pre_attn_scalar: f64,
    /// What the gate of the gated layer goes through.
    pub activation: Activation,
    /// Whether what attention and the gated layer add to the residual stream is normed first.
    pub has_output_norms: bool,
    /// Whether embeddings are multiplied by √C.
    pub scales_embeddings: bool,
    /// Whether queries, keys and values are one linear, and gate and up another.
    pub has_fused_linears: bool,
    /// How many channels of a head are rotated, the first ones.
    pub rotary_dim: usize,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether queries and keys are normed, each head alone, before they are rotated.
    pub has_head_norms: bool,
    /// Which linears have biases, in the order of [`Module::ALL`].
    pub biases: [bool; MODULES],
    /// The token before a text, if the model knows one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
}

impl Config {
    /// Whether a linear has a bias.
    pub fn has_bias(&self, module: Module) -> bool {
        self.biases[module as usize]
    }

    /// How many positions a token sees in a layer, its own included; where there is no number, all up to its own.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.layer_types[layer] == LayerType::SlidingAttention)
    }

    /// The linears of a layer, in the order of a forward.
    pub fn modules(&self) -> &'static [Module] {
        if self.has_fused_linears { Module::FUSED } else { Module::APART }
    }

    /// Rotary inverse frequencies, one per pair of channels that are rotated: `θ^(−2i/D)`, scaled. With LongRoPE they are those of texts
    /// up to the original positions.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        self.rope_scaling.scaled(&rope::frequencies(self.rope_theta, self.rotary_dim))
    }

    /// The original positions, and the rotary inverse frequencies of texts longer than these, where they are others (LongRoPE).
    pub fn long_frequencies(&self) -> Option<(usize, Vec<f64>)> {
        self.rope_scaling.scaled_beyond(&rope::frequencies(self.rope_theta, self.rotary_dim))
    }

    /// Rotary inverse frequencies of layers with a window, where they have their own.
    pub fn local_inverse_frequencies(&self) -> Option<Vec<f64>> {
        Some(rope::frequencies(self.rope_local_base_freq?, self.head_dim))
    }

    const MOST_LAYERS: usize = 4096;

    fn senseless_size(value: usize, limit: usize) -> String {
        format!("{value} makes no sense; 1 to {limit} would")
    }

    fn check(&self, path: &Path) -> Result<()> {
        let wrong =
            |key: &str, reason: String| Err(Error::Config { path: path.to_owned(), key: key.to_owned(), reason });
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.num_hidden_layers, Config::MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, 4096),
            ("num_key_value_heads", self.num_key_value_heads, 4096),
            ("head_dim", self.head_dim, 4096),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 28),
        ];
        for (key, value, limit) in sizes {
            if value == 0 || value > limit {
                return wrong(key, Config::senseless_size(value, limit));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
            return wrong("num_key_value_heads", format!("{kv} does not divide num_attention_heads, {heads}"));
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong("head_dim", format!("{} is odd; rotary positions need an even number", self.head_dim));
        }
        if self.rotary_dim == 0 || self.rotary_dim > self.head_dim || !self.rotary_dim.is_multiple_of(2) {
            let (rotary, head) = (self.rotary_dim, self.head_dim);
            let reason = format!(
                "makes {rotary} of the {head} channels of a head rotate; an even number of them would be right"
            );
            return wrong("partial_rotary_factor", reason);
        }
        if !(self.rms_norm_eps >= 0.0 && self.rms_norm_eps < 1.0) {
            return wrong(
                "rms_norm_eps",
                format!("{} makes no sense; a small positive number would", self.rms_norm_eps),
            );
        }
        let positive = [
            ("rope_theta", Some(self.rope_theta)),
            ("rope_local_base_freq", self.rope_local_base_freq),
            ("query_pre_attn_scalar", Some(self.query_pre_attn_scalar)),
        ];
        for (key, value) in positive {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return wrong(key, format!("{value} makes no sense; a positive number would"));
            }
        }
        let vocab_size = self.vocab_size;
        if let Some(id) = self.eos_token_ids.iter().find(|id| **id as usize >= vocab_size) {
            let reason = format!(
                "{id} is outside the vocabulary of {vocab_size}; the file was changed or is damaged: convert or download it again"
            );
            return wrong("eos_token_id", reason);
        }
        Ok(())
    }
}
