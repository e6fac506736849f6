//! `aludel gradients`: the options that write an adapter's gradients to a file, for comparison with PEFT.

use super::logits::ComputedDtype;
use clap::Args;
use std::path::PathBuf;

/// The options of `aludel gradients`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GradientsArgs {
    /// The model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// The adapter folder whose gradients are wanted; its dropout is taken as 0
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: PathBuf,

    /// The token ids of one row; the loss is the mean over predicting each from those before it
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required = true)]
    pub(crate) ids: Vec<u32>,

    /// A safetensors file, made by this command: each gradient under its weight's name in PEFT
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,

    /// The precision of matrix products
    #[arg(long, value_name = "DTYPE", value_enum, default_value_t = ComputedDtype::F32)]
    pub(crate) dtype: ComputedDtype,
}

const EXAMPLES: &str = "\
Example:
  aludel gradients --model student.gguf --adapter run/adapter --ids 1,4093,198 --output gradients.safetensors";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn the_precision_is_f32_unless_asked_otherwise() {
        let required = ["--model", "m", "--adapter", "a", "--ids", "1,2", "--output", "o.safetensors"];
        let args: GradientsArgs = parsed(&required);
        assert_eq!(args.dtype, ComputedDtype::F32);
        let args: GradientsArgs = parsed(&[&required[..], &["--dtype", "bf16"]].concat());
        assert_eq!((args.dtype, args.ids), (ComputedDtype::Bf16, vec![1, 2]));
    }
}
