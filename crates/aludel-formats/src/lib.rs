//! Files that hold models, and nothing about what models compute: GGUF, safetensors, Hugging Face folders and PEFT
//! adapters are read through checked views of a mapped file and written so that a crash cannot lose the old ones.
//! Decoding a tensor's bytes is left to `aludel-kernels`, the meaning of a config or a tensor name to `aludel-model`.
//!
//! Every file is untrusted: a count, length, offset or product is checked before it is used, and a malformed file is an
//! [`Error`] that names the file, the place and the remedy, never a panic.

pub mod atomic;
pub mod error;
mod folder;
pub mod gguf;
pub mod hf;
mod json;
pub mod lock;
pub mod manifest;
pub mod mapping;
pub mod peft;
pub mod safetensors;
pub mod tensor;

pub use error::{Error, Result};
pub use tensor::{Dtype, TensorSpec, TensorView};
