//! `aludel trace`: with prompts it collects; operations on a store are subcommands, one file each.

mod export;
mod forget;
mod status;

use super::collect::{self, CollectArgs};
use crate::console::Console;
use crate::report::Outcome;
use clap::{Args, Subcommand};

/// The options of `aludel trace`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: Option<TraceCommand>,

    #[command(flatten)]
    collect: CollectArgs,

    /// Show a live table of the servers
    #[arg(long)]
    watch: bool,

    /// Remove damaged traces from the store and request them again
    #[arg(long)]
    replace_damaged: bool,
}

/// What is done with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Show what a store holds and what is missing
    Status(status::StatusArgs),

    /// Write a store's traces to a JSONL or Parquet file
    Export(export::ExportArgs),

    /// Remove traces and open requests from a store
    Forget(forget::ForgetArgs),
}

const EXAMPLES: &str = "\
Examples:
  aludel trace --prompts prompts.jsonl --teacher http://127.0.0.1:8000/v1 --model NAME --store traces.db
  aludel trace --prompts hf:owner/name --preset deepseek --model NAME --store traces.db --max-cost 5
  aludel trace --prompts prompts.jsonl --teacher teacher.gguf --store traces.db --samples 4
  aludel trace --recipe recipe.toml --samples 4 --prompt-suffix boxed --watch
  aludel trace status --store traces.db
  aludel trace export --store traces.db --output traces.jsonl
  aludel trace forget --store traces.db --unanswered

A second run requests only what is missing; several runs may share one store. API keys come from an environment
variable or a file. `aludel plan trace` estimates tokens, time and cost beforehand.";

/// Collects, or does with a store what was asked for.
pub(crate) fn run(args: &TraceArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.command {
        None => collect::run(&args.collect, args.watch, args.replace_damaged, console),
        Some(TraceCommand::Status(args)) => status::run(args, console),
        Some(TraceCommand::Export(args)) => export::run(args, console),
        Some(TraceCommand::Forget(args)) => forget::run(args, console),
    }
}
