//! The tensors of a student under Hugging Face names, whatever file they come from: names are translated, rows are decoded to
//! f32 one at a time, and the row order that GGUF files of the Llama family use for q and k is turned back. Which tensors a model
//! may hold is in `inventory`.

use std::path::{Path, PathBuf};

use aludel_formats::{Dtype, TensorView, gguf, safetensors};
use aludel_kernels::linear::FrozenWeight;
use aludel_kernels::quant::{self, BlockType};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::module::Module;

/// The embedding's name.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// The name of an untied head.
pub const HEAD: &str = "lm_head.weight";
/// The last norm's name.
pub const NORM: &str = "model.norm.weight";

/// What a GGUF file divides each rotary frequency by. `config.json` has keys for it.
pub const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// A linear's weight, or with `bias` its bias.
pub fn linear_name(layer: usize, module: Module, suffix: &str) -> String {
    format!("model.layers.{layer}.{}.{suffix}", module.path())
}

/// The norm before attention or before the gated layer.
pub fn norm_name(layer: usize, norm: &str) -> String {
    format!("model.layers.{layer}.{norm}.weight")
}

/// The norm before attention.
pub const INPUT_NORM: &str = "input_layernorm";
/// The norm before the gated layer.
pub const POST_ATTENTION_NORM: &str = "post_attention_layernorm";

/// An open weight file or folder.
#[derive(Debug)]
pub enum Weights {
    /// A Hugging Face folder.
    Folder(safetensors::Weights),
    /// A GGUF file.
    Gguf(gguf::File),
}

impl Weights {
    /// The file or folder.
    pub fn path(&self) -> PathBuf {
        match self {
            Weights::Folder(weights) => weights.path().to_owned(),
            Weights::Gguf(file) => file.path().to_owned(),
        }
    }

    /// The tensor with that Hugging Face name, of the shape that the config asks for.
    ///
    /// # Errors
    /// If the tensor is missing, has another shape, or a type that is not decoded here.
    pub fn tensor(&self, name: &str, shape: &[usize], config: &Config) -> Result<Tensor<'_>> {
        let is_permuted = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
        let head_dim = (is_permuted && matches!(self, Weights::Gguf(_))).then_some(config.head_dim);
        Tensor::new(self.path_of(name), self.view(name)?, shape, head_dim)
    }

    /// The tensor with that Hugging Face name, as it is stored.
    pub(crate) fn view(&self, name: &str) -> Result<TensorView<'_>> {
        Ok(match self {
            Weights::Folder(weights) => weights.get(name)?,
            Weights::Gguf(file) => file.tensor(&gguf_name(name))?,
        })
    }

    /// The file that holds the tensor of that name.
    pub(crate) fn path_of(&self, name: &str) -> &Path {
        match self {
            Weights::Folder(weights) => weights.path_of(name),
            Weights::Gguf(file) => file.path(),
        }
    }

    /// The names of all tensors, as the file has them.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Weights::Folder(weights) => weights.names().collect(),
            Weights::Gguf(file) => file.tensors().map(|tensor| tensor.name).collect(),
        }
    }

    /// The name that a tensor has in this file.
    pub(crate) fn stored_name(&self, name: &str) -> String {
        match self {
            Weights::Folder(_) => name.to_owned(),
            Weights::Gguf(_) => gguf_name(name),
        }
    }

    /// The bytes of all tensors as they are stored.
    ///
    /// # Errors
    /// If a tensor's place in its file makes no sense.
    pub fn bytes(&self) -> Result<u64> {
        match self {
            Weights::Folder(weights) => {
                weights.tensors().map(|tensor| Ok(tensor?.bytes.len() as u64)).sum::<Result<u64>>()
            }
            Weights::Gguf(file) => Ok(file.tensors().map(|tensor| tensor.bytes.len() as u64).sum()),
        }
    }

    /// How most of the weights are stored: the type of the first layer's query weight.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn dtype(&self) -> Result<Dtype> {
        Ok(self.view(&linear_name(0, Module::QProj, "weight"))?.dtype)
    }
}

fn is_decoded(dtype: Dtype) -> bool {
    dtype.ggml_type_id().and_then(BlockType::from_ggml_id).is_some()
}

fn gguf_name(name: &str) -> String {
    match name {
        EMBEDDING => return "token_embd.weight".to_owned(),
        HEAD => return "output.weight".to_owned(),
        NORM => return "output_norm.weight".to_owned(),
        _ => {}
    }
    let translated = (|| {
        let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let (path, suffix) = rest.rsplit_once('.')?;
        let inner = match path {
            INPUT_NORM => "attn_norm",
            POST_ATTENTION_NORM => "ffn_norm",
            path => Module::from_path(path)?.gguf_name(),
        };
        Some(format!("blk.{layer}.{inner}.{suffix}"))
    })();
    translated.unwrap_or_else(|| name.to_owned())
}

/// A tensor of the file, read row by row.
#[derive(Debug)]
pub struct Tensor<'a> {
    path: &'a Path,
    view: TensorView<'a>,
    block_type: BlockType,
    permuted_head_dim: Option<usize>,
}

impl<'a> Tensor<'a> {
    /// A tensor of the file at `path`, of this shape; with rows in the order of GGUF files for heads of so many channels.
    pub(crate) fn new(
        path: &'a Path,
        view: TensorView<'a>,
        shape: &[usize],
        permuted_head_dim: Option<usize>,
    ) -> Result<Tensor<'a>> {
        let wrong = |reason: String| Error::Tensor { path: path.to_owned(), name: view.name.to_owned(), reason };
        if view.shape != shape {
            return Err(wrong(format!(
                "has shape {:?}, but the config asks for {shape:?}; config and weights are of different models, so get both from one place",
                view.shape
            )));
        }
        let block_type = view.dtype.ggml_type_id().and_then(BlockType::from_ggml_id).ok_or_else(|| {
            let known: Vec<&str> = Dtype::all().filter(|d| is_decoded(*d)).map(Dtype::name).collect();
            wrong(format!(
                "is stored as {}, which is not decoded here; store it as one of {}",
                view.dtype,
                known.join(", ")
            ))
        })?;
        Ok(Tensor { path, view, block_type, permuted_head_dim })
    }

    /// The shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.view.shape
    }

    /// Decodes one row (of the last dimension) to f32.
    ///
    /// # Errors
    /// If the bytes do not make up whole rows, or hold NaN or infinity.
    pub fn row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        let row = self.permuted_head_dim.map_or(row, |head_dim| gguf_row(row, head_dim));
        quant::decode_row(self.block_type, self.view.bytes, row, out).map_err(|e| self.error(&e))?;
        // all of them, without a way out, so that it is one pass of vector instructions
        if out.iter().fold(true, |finite, x| finite & x.is_finite()) {
            return Ok(());
        }
        Err(self.error(&"holds NaN or infinity; the file is damaged or was badly converted, so load another copy"))
    }

    /// Decodes each row once, for what reads the stored bytes.
    fn check_finite(&self) -> Result<()> {
        let mut row = vec![0f32; self.view.shape.last().copied().unwrap_or(1)];
        let rows = self.view.elements() / row.len().max(1);
        (0..rows).try_for_each(|n| self.row(n, &mut row))
    }

    /// Decodes everything to f32.
    ///
    /// # Errors
    /// As [`Tensor::row`].
    pub fn values(&self) -> Result<Vec<f32>> {
        let columns = self.view.shape.last().copied().unwrap_or(1);
        let mut values = vec![0f32; self.view.elements()];
        for (row, out) in values.chunks_exact_mut(columns.max(1)).enumerate() {
            self.row(row, out)?;
        }
        Ok(values)
    }

    /// The stored bytes and how to decode them; only for tensors whose rows are in order (not q and k of a GGUF).
    ///
    /// # Errors
    /// If they hold NaN or infinity.
    pub(crate) fn stored(&self) -> Result<(BlockType, &[u8])> {
        assert!(self.permuted_head_dim.is_none(), "rows of {} are permuted", self.view.name);
        self.check_finite()?;
        Ok((self.block_type, self.view.bytes))
    }

    /// The weight in the file's own quantisation, where products can read it.
    ///
    /// # Errors
    /// If it holds NaN or infinity.
    pub(crate) fn keep(&self) -> Result<Option<FrozenWeight>> {
        let kept = self.kept();
        if kept.is_some() {
            self.check_finite()?;
        }
        Ok(kept)
    }

    fn kept(&self) -> Option<FrozenWeight> {
        let &[d_out, d_in] = &self.view.shape[..] else { return None };
        let row_bytes = self.block_type.bytes_for(d_in)?;
        if self.view.bytes.len() != row_bytes.checked_mul(d_out)? {
            return None;
        }
        FrozenWeight::keep(self.block_type, d_out, d_in, |row| {
            let row = self.permuted_head_dim.map_or(row, |head_dim| gguf_row(row, head_dim));
            &self.view.bytes[row * row_bytes..(row + 1) * row_bytes]
        })
    }

    fn error(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Tensor { path: self.path.to_owned(), name: self.view.name.to_owned(), reason: reason.to_string() }
    }
}

/// The row of a GGUF q or k weight that holds row `row` of the Hugging Face one. GGUF files of the Llama family pair channels
/// (2i, 2i + 1) for the rotation where Hugging Face pairs (i, i + D/2).
fn gguf_row(row: usize, head_dim: usize) -> usize {
    let (head, channel) = (row / head_dim, row % head_dim);
    let (half, i) = (channel / (head_dim / 2), channel % (head_dim / 2));
    head * head_dim + 2 * i + half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_cpp() {
        let check = |hf: &str, gguf: &str| assert_eq!(gguf_name(hf), gguf);
        check("model.embed_tokens.weight", "token_embd.weight");
        check("model.layers.12.self_attn.o_proj.weight", "blk.12.attn_output.weight");
        check("model.layers.0.mlp.down_proj.bias", "blk.0.ffn_down.bias");
        check("model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight");
        check("model.norm.weight", "output_norm.weight");
    }

    #[test]
    fn the_permutation_is_one() {
        let rows: Vec<usize> = (0..16).map(|row| gguf_row(row, 8)).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
    }
}
