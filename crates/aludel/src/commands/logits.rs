//! `aludel logits`: the options that write a model's logits to a file, for comparison with other implementations.

use crate::overwrite::Overwrite;
use crate::report::Outcome;
use crate::run_folder::{adapter_if_named, refuse_as_model};
use crate::settings::{Flags, QuantizeArgs, resolve_flags};
use crate::value_parser::integer;
use aludel_distill::learner::{context, weight_format};
use aludel_distill::settings::Dtype;
use aludel_formats::{TensorSpec, safetensors};
use aludel_kernels::{Context, Region, quant};
use aludel_model::adapter::Adapter;
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch};
use aludel_model::student::Student;
use clap::{Args, ValueEnum};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The options of `aludel logits`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogitsArgs {
    /// Model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// Adapter folder to apply to it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,

    /// The token ids of one row
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required = true, value_parser = integer::<u32>(0..=u64::from(u32::MAX)))]
    pub(crate) ids: Vec<u32>,

    /// Safetensors file to create: tensor `logits`, f32, [ids, vocabulary]
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) overwrite: Overwrite,

    /// Precision of matrix products
    #[arg(long, value_name = "DTYPE", value_enum, default_value_t = ComputedDtype::F32)]
    pub(crate) dtype: ComputedDtype,

    #[command(flatten)]
    pub(crate) quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = integer::<usize>(0..=1024))]
    pub(crate) threads: usize,
}

/// Runs the tokens through the model and writes the logits of all of them.
pub(crate) fn run(args: &LogitsArgs) -> anyhow::Result<Outcome> {
    args.overwrite.check(&args.output)?;
    let mut loaded =
        Loaded::open(&args.model, args.adapter.as_deref(), (args.dtype, &args.quantize), args.threads, &args.ids)?;
    let Loaded { ctx, decoder, adapter, pass } = &mut loaded;
    let vocab_size = decoder.vocab_size(adapter.as_ref());
    let compute = |ctx: &mut Context| {
        let active = adapter.as_ref().map(|adapter| Active { adapter, dropout: None });
        let forward = decoder.forward(ctx, pass, Attention::Rows, active, None);
        let logits = ctx.alloc(Region::Io, pass.len(), vocab_size);
        decoder.logits(ctx, forward.hidden, adapter.as_ref(), logits);
        ctx.download(logits)
    };
    ctx.plan(compute);
    let logits = compute(ctx);
    let spec = TensorSpec::new("logits", aludel_formats::Dtype::F32, [pass.len(), vocab_size]);
    safetensors::save_file(&args.output, &[spec], &safetensors::hf_metadata(), |_| -> anyhow::Result<_> {
        Ok(Cow::Owned(quant::encode_f32(&logits)))
    })?;
    Ok(Outcome::Done)
}

/// A model, perhaps an adapter, and one row of tokens that fit them.
pub(crate) struct Loaded {
    pub(crate) ctx: Context,
    pub(crate) decoder: Decoder,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) pass: PackedBatch,
}

impl Loaded {
    pub(crate) fn open(
        model: &Path,
        adapter: Option<&Path>,
        (dtype, quantize): (ComputedDtype, &QuantizeArgs),
        threads: usize,
        ids: &[u32],
    ) -> anyhow::Result<Loaded> {
        refuse_as_model(model)?;
        let adapter = adapter_if_named(adapter)?;
        let student = Student::open(model)?;
        let dtype = Dtype::from(dtype).of_products().to_owned();
        let flags = Flags::default().written("--threads", "student.threads", Some(&threads.to_string())).written(
            "--dtype",
            "student.dtype",
            Some(&dtype),
        );
        let settings = resolve_flags(quantize.set(flags))?.student;
        let mut ctx = context(&settings)?;
        let format = weight_format(settings.dtype, settings.quantize);
        let decoder = Decoder::load(&mut ctx, &student.config, &student.weights, format, ids.len())?;
        let adapter = match adapter {
            Some(folder) => Some(Adapter::load(&mut ctx, &decoder, &folder)?),
            None => None,
        };
        decoder.check(ids, ids.len(), adapter.as_ref())?;
        let mut pass = PackedBatch::default();
        pass.push(0, ids);
        Ok(Loaded { ctx, decoder, adapter, pass })
    }
}

/// The precision of matrix products, where a comparison must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputedDtype {
    /// f32 throughout
    F32,
    /// bf16 factors, f32 sums
    Bf16,
    /// the file's own quantisation, where it has one
    File,
}

impl From<ComputedDtype> for Dtype {
    fn from(dtype: ComputedDtype) -> Self {
        match dtype {
            ComputedDtype::F32 => Self::F32,
            ComputedDtype::Bf16 => Self::Bf16,
            ComputedDtype::File => Self::File,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
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
