//! `aludel bench`: its options and the output of its results. The measurements are in `aludel_distill::bench`.

use crate::console::Console;
use crate::humanize::duration;
use crate::progress::{Position, Progress, WorkKind};
use crate::report::Outcome;
use crate::run_folder::{adapter_if_named, refuse_as_model};
use crate::settings::{Flags, QuantizeArgs, RecipeArgs, resolve, resolve_flags, scope};
use crate::value_parser::integer;
use aludel_distill::bench::{GenerateBench, GenerateOptions, TrainBench, TrainOptions, bench_generate, bench_train};
use aludel_distill::memory;
use aludel_model::student::Student;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// The options of `aludel bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    what: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Optimiser steps on rows of arbitrary tokens, every one supervised
    Train(Box<TrainArgs>),

    /// Prompts read and answers written, one sequence and several at once
    Generate(Box<GenerateArgs>),
}

/// The options of `aludel bench train`.
#[derive(Debug, Args)]
struct TrainArgs {
    /// Model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    student: PathBuf,

    /// Adapter folder to start from; without it, a new adapter as the settings say
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Tokens of a row
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = integer::<usize>(2..=u64::MAX))]
    sequence_length: usize,

    /// Tokens of an optimiser step
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = integer::<usize>(1..=u64::MAX))]
    tokens_per_step: usize,

    /// Steps that are timed, after one that is not
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = integer::<u16>(1..=65_535))]
    steps: u16,

    #[command(flatten)]
    quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,
}

/// The options of `aludel bench generate`.
#[derive(Debug, Args)]
struct GenerateArgs {
    /// Model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    student: PathBuf,

    /// Adapter folder to apply to it
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// How many sequences are written at once, one measurement for each number
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,8,32", value_parser = integer::<u16>(1..=65_535))]
    batch_sizes: Vec<u16>,

    /// Tokens of a prompt that is read at once
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = integer::<u16>(1..=65_535))]
    prefill_length: u16,

    /// Tokens before the first that is written
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = integer::<u16>(1..=65_535))]
    prompt_length: u16,

    /// Tokens written by each sequence
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = integer::<u16>(1..=65_535))]
    new_tokens: u16,

    /// Precision of matrix products: auto, bf16, f32, or file for the file's own quantisation [default: auto]
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<String>,

    #[command(flatten)]
    quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel bench train --student student.gguf
  aludel bench generate --student student.gguf --batch-sizes 1,4
  aludel bench train --student student.gguf --sequence-length 2048 --set lora.r=16 --set lora.target_modules=all-linear --json";

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.what {
        BenchCommand::Train(args) => train(args, console),
        BenchCommand::Generate(args) => generate(args, console),
    }
}

fn print(bench: &impl Serialize, json: bool, description: String, console: &mut Console) -> anyhow::Result<Outcome> {
    let peak = memory::peak();
    if json {
        let mut value = serde_json::to_value(bench)?;
        value["peak_rss_bytes"] = json!(peak);
        console.json_line(&value)?;
    } else {
        console.line(description)?;
        console.line(format!("peak memory {:.2} GB", peak.unwrap_or(0) as f64 / 1e9))?;
    }
    Ok(Outcome::Done)
}

fn generate(args: &GenerateArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let flags = Flags::default()
        .path("--student", "student.model", Some(&args.student))
        .written("--dtype", "student.dtype", args.dtype.as_ref())
        .written("--threads", "student.threads", args.threads.as_ref());
    let recipe = resolve_flags(args.quantize.set(flags))?;
    let options = GenerateOptions {
        batch_sizes: args.batch_sizes.iter().map(|&size| usize::from(size)).collect(),
        prefill_length: usize::from(args.prefill_length),
        prompt_length: usize::from(args.prompt_length),
        new_tokens: usize::from(args.new_tokens),
    };
    let shown = loading();
    let tell = &mut |done, passes| measuring(&shown, done, passes);
    refuse_as_model(&args.student)?;
    let adapter = adapter_if_named(args.adapter.as_deref())?;
    let bench = bench_generate(&args.student, adapter.as_deref(), &recipe.student, &options, tell)?;
    drop(shown);
    print(&bench, args.json, describe_generate(&bench), console)
}

fn loading() -> Progress {
    let shown = Progress::new();
    shown.begin(WorkKind::Loading);
    shown
}

fn measuring(shown: &Progress, done: usize, passes: usize) {
    let at = Position::of(done as u64, passes as u64, "passes");
    shown.reach_of(WorkKind::Measuring, done as f64, passes as f64, at);
}

fn describe_generate(bench: &GenerateBench) -> String {
    let mut text = format!(
        "loading {}, first token of a prompt of {} tokens {}\nreading {:.0} tokens/s\n",
        duration(bench.load_ms / 1e3),
        bench.first_token_prompt,
        duration(bench.first_token_ms / 1e3),
        bench.prefill_tokens_per_second
    );
    for (size, rate) in &bench.decode_tokens_per_second {
        text += &format!("writing {rate:.1} tokens/s, sequences: {size}\n");
    }
    text + &format!("{} on {}, threads: {}", bench.dtype, bench.instruction_set, bench.threads)
}

fn train(args: &TrainArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let length = args.sequence_length.to_string();
    refuse_as_model(&args.student)?;
    let adapter = adapter_if_named(args.adapter.as_deref())?;
    let flags = Flags::default()
        .path("--student", "student.model", Some(&args.student))
        .path("--adapter", "train.init_adapter", adapter.as_ref())
        .written("--sequence-length", "train.max_length", Some(&length))
        .written("--threads", "student.threads", args.threads.as_ref());
    let recipe = resolve(&args.recipe, args.quantize.set(flags), &scope::BENCH_TRAIN)?;
    let student = Student::open(&args.student)?;
    let options = TrainOptions {
        sequence_length: args.sequence_length,
        tokens_per_step: args.tokens_per_step,
        steps: usize::from(args.steps),
    };
    let shown = loading();
    let bench = bench_train(&student, &recipe, &options, &mut |done, passes| measuring(&shown, done, passes))?;
    drop(shown);
    print(&bench, args.json, describe_train(&bench), console)
}

fn describe_train(bench: &TrainBench) -> String {
    let TrainBench { breakdown_ms: ms, .. } = bench;
    format!(
        "{:.1} tokens/s: {:.1} of {:.1} GFLOP/s, utilisation {:.3}\n\
         {} on {}, threads: {}, rows of {} tokens, steps of {}\n\
         a step in ms: matrix {:.0}, attention {:.0}, row-wise {:.0}, head and loss {:.0}, optimiser {:.0}, other {:.0}",
        bench.tokens_per_second,
        bench.tokens_per_second * bench.model_flops_per_token / 1e9,
        bench.gemm_peak_flops / 1e9,
        bench.utilisation,
        bench.dtype,
        bench.instruction_set,
        bench.threads,
        bench.sequence_length,
        bench.tokens_per_step,
        ms.matrix,
        ms.attention,
        ms.row_wise,
        ms.head_and_loss,
        ms.optimiser,
        ms.other,
    )
}
