//! `aludel trace`: with prompts it collects; what becomes of a store afterwards are subcommands.

use super::collect::{self, CollectArgs};
use crate::console::Console;
use crate::report::Outcome;
use clap::Args;

/// The options of `aludel trace`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    /// Show a live table of the servers
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    collect: CollectArgs,
}

const EXAMPLES: &str = "\
Examples:
  aludel trace --prompts prompts.jsonl --teacher http://127.0.0.1:8000/v1 --model NAME --store traces.db
  aludel trace --prompts hf:owner/name --preset deepseek --model NAME --store traces.db --max-cost 5
  aludel trace --recipe recipe.toml --samples 4 --prompt-suffix boxed --watch
  aludel plan trace --recipe recipe.toml

A second run asks only for what is missing; several may share one store. A key comes from a variable or a file.";

/// Collects.
pub(crate) fn run(args: &TraceArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    collect::run(&args.collect, args.watch, console)
}
