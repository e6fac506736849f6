//! `aludel plan`: predicts the cost of a command before it is run. Each command that can be planned is a subcommand.

use super::collect::{self, CollectArgs};
use crate::console::Console;
use crate::report::Outcome;
use clap::{Args, Subcommand};

/// The options of `aludel plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    command: PlanCommand,
}

#[derive(Debug, Subcommand)]
enum PlanCommand {
    /// Ask 20 prompts, keep the answers, and predict tokens, time and cost of the rest
    #[command(after_help = EXAMPLES)]
    Trace(Box<CollectArgs>),
}

const EXAMPLES: &str = "\
Examples:
  aludel plan trace --prompts prompts.jsonl --teacher http://127.0.0.1:8000/v1 --model NAME --store traces.db
  aludel plan trace --recipe recipe.toml --samples 4 --prompt-price 0.3 --completion-price 1.2 --json

The options are those of `aludel trace`. The pilot's answers lie in the store and are not asked again.";

/// Plans.
pub(crate) fn run(args: &PlanArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.command {
        PlanCommand::Trace(args) => collect::run_plan(args, console),
    }
}
