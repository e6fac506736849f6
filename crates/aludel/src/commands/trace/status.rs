//! `aludel trace status`: the numbers of a store, for people or as JSON. Counting is the store's matter.

use crate::console::{Console, harmless};
use crate::report::Outcome;
use aludel_traces::store::Snapshot;
use clap::Args;
use std::path::PathBuf;

/// The options of `aludel trace status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// The store
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel trace status --store traces.db
  aludel trace status --store traces.db --json";

/// Shows the numbers.
pub(crate) fn run(args: &StatusArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let status = Snapshot::open(&args.store)?.status()?;
    if args.json {
        console.json_line(&status)?;
        return Ok(Outcome::Done);
    }
    console.line(format_args!(
        "{} prompts, {} answers wanted: {} complete, {} cut, {} failed, {} missing",
        status.prompts, status.wanted, status.complete, status.cut, status.failed, status.missing
    ))?;
    console.line(format_args!(
        "{} prompt tokens, {} completion tokens, ${:.4}",
        status.tokens.prompt, status.tokens.completion, status.cost
    ))?;
    if status.claimed > 0 {
        console.line(format_args!("{} are being asked for", status.claimed))?;
    }
    for run in status.runs.iter().filter(|_| status.runs.len() > 1) {
        console.line(format_args!(
            "{}: {} of {} complete, {} cut, {} failed, ${:.4}; {}",
            harmless(&run.teacher),
            run.complete,
            run.wanted,
            run.cut,
            run.failed,
            run.cost,
            harmless(&run.settings.to_string())
        ))?;
    }
    Ok(Outcome::Done)
}
