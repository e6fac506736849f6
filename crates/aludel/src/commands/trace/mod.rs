//! `aludel trace`: what becomes of a store of traces, one file a subcommand.

mod export;
mod status;

use crate::console::Console;
use crate::report::Outcome;
use clap::{Args, Subcommand};

/// The options of `aludel trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

/// What is done with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Show what is in a store of traces, and what is missing
    Status(status::StatusArgs),

    /// Write a store's traces to a JSONL or Parquet file
    Export(export::ExportArgs),
}

/// Does what was asked for.
pub(crate) fn run(args: &TraceArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.command {
        TraceCommand::Status(args) => status::run(args, console),
        TraceCommand::Export(args) => export::run(args, console),
    }
}
