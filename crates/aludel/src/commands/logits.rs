//! `aludel logits`: the options that write a model's logits to a file, for comparison with other implementations.

use aludel_distill::settings::Dtype;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The options of `aludel logits`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogitsArgs {
    /// The model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// An adapter folder to put on it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,

    /// The token ids of one row
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required = true)]
    pub(crate) ids: Vec<u32>,

    /// A safetensors file, made by this command: tensor `logits`, f32, [ids, vocabulary]
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,

    /// The precision of matrix products
    #[arg(long, value_name = "DTYPE", value_enum, default_value_t = ComputedDtype::F32)]
    pub(crate) dtype: ComputedDtype,
}

/// The precision of matrix products, where a comparison must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputedDtype {
    /// f32 throughout
    F32,
    /// bf16 factors, f32 sums
    Bf16,
}

impl From<ComputedDtype> for Dtype {
    fn from(dtype: ComputedDtype) -> Self {
        match dtype {
            ComputedDtype::F32 => Self::F32,
            ComputedDtype::Bf16 => Self::Bf16,
        }
    }
}

const EXAMPLES: &str = "\
Example:
  aludel logits --model student.gguf --ids 1,4093,198 --output logits.safetensors";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn ids_are_a_list() {
        let args: LogitsArgs = parsed(&["--model", "m", "--ids", "1,2,3", "--output", "o.safetensors"]);
        assert_eq!((args.ids, Dtype::from(args.dtype)), (vec![1, 2, 3], Dtype::F32));
    }
}
