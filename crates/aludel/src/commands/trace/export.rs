//! `aludel trace export`: a store's traces as a data file that training, curation and other tools read.

use crate::console::{Console, harmless};
use crate::report::{Helped, Outcome};
use aludel_files::counted;
use aludel_teacher::store::{Damage, Rows, export};
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

    /// Leave out traces that are not as they were written, where otherwise a damaged store is refused
    #[arg(long)]
    skip_damaged: bool,

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
    let (rows, damage) = match args.skip_damaged {
        true => Rows::open_damaged(&args.store, !args.all)?,
        false => (Rows::open(&args.store, !args.all)?, Damage::default()),
    };
    let rows = export(&rows, &args.output)?;
    if args.json {
        match damage.is_none() {
            true => console.json_line(&json!({ "rows": rows }))?,
            false => console.json_line(&json!({ "rows": rows, "left_out": damage }))?,
        }
    } else {
        console.line(format_args!("{} in {}", counted(rows as u64, "row", "rows"), args.output.display()))?;
        if !damage.is_none() {
            console.line(format_args!("left out: {}", harmless(&damage.words())))?;
        }
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
