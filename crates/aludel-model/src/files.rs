//! The files that hold a model's weights: an open Hugging Face folder or GGUF file, and its tensors by their names in it. Which tensors a
//! model has is in `layout`, how their rows are read in `weights`.

use std::path::{Path, PathBuf};

use aludel_formats::{TensorView, gguf, safetensors};

use crate::error::Result;
use crate::layout::TensorLayout;

/// What a GGUF file divides each rotary frequency by. `config.json` has keys for it.
pub const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// What a GGUF file divides rotary frequencies by in short and in long texts. `config.json` has keys for it.
pub(crate) const LONGROPE_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];

/// An open weight file or folder.
#[derive(Debug)]
pub enum Files {
    /// A Hugging Face folder.
    Folder(safetensors::Weights),
    /// A GGUF file.
    Gguf(gguf::File),
}

impl Files {
    /// The file or folder.
    pub fn path(&self) -> PathBuf {
        match self {
            Files::Folder(weights) => weights.path().to_owned(),
            Files::Gguf(file) => file.path().to_owned(),
        }
    }

    /// The tensor of that name in the file, as it is stored.
    pub(crate) fn view(&self, name: &str) -> Result<TensorView<'_>> {
        Ok(match self {
            Files::Folder(weights) => weights.get(name)?,
            Files::Gguf(file) => file.tensor(name)?,
        })
    }

    /// The file that holds the tensor of that name.
    pub(crate) fn path_of(&self, name: &str) -> &Path {
        match self {
            Files::Folder(weights) => weights.path_of(name),
            Files::Gguf(file) => file.path_of(name),
        }
    }

    /// Gives the memory of a tensor's bytes back, which can be read again.
    pub(crate) fn release(&self, name: &str) {
        match self {
            Files::Folder(weights) => weights.release(name),
            Files::Gguf(file) => file.release(name),
        }
    }

    /// Gives the memory of all bytes back, which can be read again.
    pub(crate) fn release_all(&self) {
        match self {
            Files::Folder(weights) => weights.release_all(),
            Files::Gguf(file) => file.release_all(),
        }
    }

    /// The names of all tensors, as the file has them.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Files::Folder(weights) => weights.names().collect(),
            Files::Gguf(file) => file.tensors().map(|tensor| tensor.name).collect(),
        }
    }

    /// What a tensor is called in this file.
    pub(crate) fn stored_name<'a>(&self, tensor: &'a TensorLayout) -> &'a str {
        match self {
            Files::Folder(_) => &tensor.name,
            Files::Gguf(_) => &tensor.gguf_name,
        }
    }
}
