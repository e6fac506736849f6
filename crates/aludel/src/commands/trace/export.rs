//! `aludel trace export`: a store's traces as a data file that training, curation and other tools read.

use crate::console::{Console, harmless};
use crate::next_command::after_collecting;
use crate::overwrite::Overwrite;
use crate::report::{ErrorWithHelp, Outcome};
use aludel_files::counted;
use aludel_teacher::store::{Damage, Rows, export};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// The options of `aludel trace export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Store of traces
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// File to write: Parquet if its name ends in .parquet, else JSONL
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    overwrite: Overwrite,

    /// Also write traces that were cut off, and questions that were refused
    #[arg(long)]
    all: bool,

    /// Leave out damaged traces instead of refusing a damaged store
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
    args.overwrite.check(&args.output)?;
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
        if rows > 0 {
            console.next(&after_collecting(&args.output))?;
        }
    }
    match rows {
        0 => Err(ErrorWithHelp {
            message: format!("{}: holds no trace to export", args.store.display()),
            help: "see what it holds with `aludel trace status`; --all takes those that are not complete, too"
                .to_owned(),
        }
        .into()),
        _ => Ok(Outcome::Done),
    }
}
