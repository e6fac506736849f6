//! `aludel trace export`: a store's traces as a data file that training, curation and other tools read.

use crate::console::Console;
use crate::report::{Helped, Outcome};
use aludel_traces::store::{Rows, export};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// The options of `aludel trace export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The store
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// The file to write: Parquet if its name ends in .parquet, JSONL otherwise; replaced if it is there
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Write traces that were cut off and questions that were not taken, too
    #[arg(long)]
    all: bool,

    /// Print the number of rows as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel trace export --store traces.db --output traces.jsonl
  aludel trace export --store traces.db --output traces.parquet --all";

/// Writes the file.
pub(crate) fn run(args: &ExportArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let rows = export(&Rows::open(&args.store, !args.all)?, &args.output)?;
    if args.json {
        console.json_line(&json!({ "rows": rows }))?;
    } else {
        console.line(format_args!("{rows} rows in {}", args.output.display()))?;
    }
    match rows {
        0 => Err(Helped {
            message: format!("{}: holds no trace to export", args.store.display()),
            help: "see what it holds with `aludel trace status`; --all takes those that are not complete, too"
                .to_owned(),
        }
        .into()),
        _ => Ok(Outcome::Done),
    }
}
