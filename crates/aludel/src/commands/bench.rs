//! `aludel bench`: the options of a measurement, and how its result reads. What is timed stands in `aludel_distill::bench`.

use crate::commands::train::peak_rss_bytes;
use crate::console::Console;
use crate::report::Outcome;
use crate::settings::{Flags, RecipeArgs, resolve};
use aludel_distill::bench::{Options, TrainBench, bench_train};
use aludel_model::student::Student;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// The options of `aludel bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Optimiser steps on rows of arbitrary tokens, every one supervised
    Train(Box<TrainArgs>),
}

/// The options of `aludel bench train`.
#[derive(Debug, Args)]
struct TrainArgs {
    /// The model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    student: PathBuf,

    /// An adapter folder to start from; without it, a new adapter as the settings say
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Tokens of a row
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_two)]
    sequence_length: usize,

    /// Tokens of an optimiser step
    #[arg(long, value_name = "N", default_value_t = 4096)]
    tokens_per_step: usize,

    /// Steps that are timed, after one that is not
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,

    /// Threads; 0 takes one for each core [default: 0]
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLES: &str = "\
Examples:
  aludel bench train --student student.gguf
  aludel bench train --student student.gguf --sequence-length 2048 --set lora.r=16 --set lora.target_modules=all-linear --json";

fn at_least_two(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(tokens) if tokens >= 2 => Ok(tokens),
        _ => Err("a row needs at least 2 tokens: one is predicted from the other".to_owned()),
    }
}

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.what {
        What::Train(args) => train(args, console),
    }
}

fn train(args: &TrainArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let length = args.sequence_length.to_string();
    let flags = Flags::default()
        .path("--student", "student.model", Some(&args.student))
        .path("--adapter", "train.init_adapter", args.adapter.as_ref())
        .written("--sequence-length", "train.max_length", Some(&length))
        .written("--threads", "student.threads", args.threads.as_ref());
    let recipe = resolve(&args.recipe, flags)?;
    let student = Student::open(&args.student)?;
    let options = Options {
        sequence_length: args.sequence_length,
        tokens_per_step: args.tokens_per_step,
        steps: usize::from(args.steps),
    };
    let bench = bench_train(&student, &recipe, &options)?;
    if args.json {
        let mut value = serde_json::to_value(&bench)?;
        value["peak_rss_bytes"] = json!(peak_rss_bytes());
        console.json_line(&value)?;
    } else {
        console.line(describe(&bench))?;
    }
    Ok(Outcome::Done)
}

fn describe(bench: &TrainBench) -> String {
    let TrainBench { breakdown_ms: ms, .. } = bench;
    format!(
        "{:.1} tokens/s: {:.1} of {:.1} GFLOP/s, utilisation {:.3}\n\
         {} on {}, threads: {}, rows of {} tokens, steps of {}\n\
         a step in ms: matrix {:.0}, attention {:.0}, row-wise {:.0}, head and loss {:.0}, optimiser {:.0}, other {:.0}\n\
         peak memory {:.2} GB",
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
        peak_rss_bytes().unwrap_or(0) as f64 / 1e9,
    )
}
