//! `aludel gradients`: the options that write an adapter's gradients to a file, for comparison with PEFT.

use super::logits::{ComputedDtype, Loaded};
use crate::overwrite::Overwrite;
use crate::report::{ErrorWithHelp, Outcome};
use crate::settings::QuantizeArgs;
use crate::value_parser::integer;
use aludel_formats::{Dtype, TensorSpec, safetensors};
use aludel_kernels::{Context, Region, loss, quant};
use aludel_model::decoder::{Active, Attention, SavedActivations};
use clap::Args;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The options of `aludel gradients`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GradientsArgs {
    /// Model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// Adapter folder to compute gradients of; its dropout is taken as 0
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: PathBuf,

    /// The token ids of one row; the loss is the mean over predicting each from those before it
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required = true, value_parser = integer::<u32>(0..=u64::from(u32::MAX)))]
    pub(crate) ids: Vec<u32>,

    /// Safetensors file to create: each gradient under its weight's name in PEFT
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) overwrite: Overwrite,

    /// Precision of matrix products
    #[arg(long, value_name = "DTYPE", value_enum, default_value_t = ComputedDtype::F32)]
    pub(crate) dtype: ComputedDtype,

    #[command(flatten)]
    pub(crate) quantize: QuantizeArgs,
}

/// Computes the mean loss of predicting each token from those before it, and its gradient by every trained tensor.
pub(crate) fn run(args: &GradientsArgs) -> anyhow::Result<Outcome> {
    if args.ids.len() < 2 {
        let message = "--ids: one token predicts nothing".to_owned();
        return Err(anyhow::Error::new(ErrorWithHelp { message, help: "give at least two token ids".to_owned() }));
    }
    if args.dtype == ComputedDtype::File {
        let message = "--dtype file: weights in their file's quantisation have no backward pass".to_owned();
        return Err(anyhow::Error::new(ErrorWithHelp { message, help: "give --dtype f32 or bf16".to_owned() }));
    }
    args.overwrite.check(&args.output)?;
    let mut loaded = Loaded::open(&args.model, Some(&args.adapter), (args.dtype, &args.quantize), 0, &args.ids)?;
    let Loaded { ctx, decoder, adapter: Some(adapter), pass } = &mut loaded else {
        unreachable!("an adapter was given")
    };
    let count = args.ids.len() - 1;
    let chosen: Vec<u32> = (0..count as u32).collect();
    let flat = ctx.persistent(1, adapter.parameter_count());
    let mut kept = SavedActivations::new(false);
    let mut compute = |ctx: &mut Context| {
        let active = Active { adapter, dropout: None };
        let forward = decoder.forward(ctx, pass, Attention::Rows, Some(active), Some(&mut kept));
        let losses = ctx.alloc(Region::Io, 1, count);
        let dhidden = decoder.head_chunks(ctx, &forward, &chosen, Some(flat), |ctx, logits, range| {
            let targets = ctx.upload_indices(&args.ids[range.start + 1..range.end + 1]);
            let weights = ctx.upload(Region::Io, 1, range.len(), &vec![1.0; range.len()]);
            loss::cross_entropy(ctx, logits, targets, weights, losses.col_range(range.start, range.len()), true);
        });
        if let Some(dhidden) = dhidden {
            decoder.backward(ctx, forward, dhidden, flat);
        }
        ctx.download(losses).iter().map(|&loss| f64::from(loss)).sum::<f64>() / count as f64
    };
    ctx.plan(&mut compute);
    let loss = compute(ctx) as f32;
    let gradients: Vec<f32> = ctx.download(flat).iter().map(|g| g / count as f32).collect();
    let mut tensors: BTreeMap<&str, &[f32]> = adapter.named(&gradients).map(|(e, g)| (e.name.as_str(), g)).collect();
    let mut specs: Vec<TensorSpec> =
        adapter.entries().iter().map(|e| TensorSpec::new(e.name.clone(), Dtype::F32, e.shape())).collect();
    let loss = [loss];
    tensors.insert("loss", &loss);
    specs.push(TensorSpec::new("loss", Dtype::F32, []));
    safetensors::save_file(&args.output, &specs, &safetensors::hf_metadata(), |spec| -> anyhow::Result<_> {
        Ok(Cow::Owned(quant::encode_f32(tensors[spec.name.as_str()])))
    })?;
    Ok(Outcome::Done)
}

const EXAMPLES: &str = "\
Examples:
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
