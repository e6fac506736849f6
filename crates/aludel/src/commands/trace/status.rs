//! `aludel trace status`: the numbers of a store, as text or JSON, and whether it is intact. The store does the counting and checking.

use crate::console::{Console, harmless};
use crate::humanize::{cost_of, grouped};
use crate::report::{ErrorWithHelp, Outcome};
use aludel_teacher::store::{Damage, Snapshot, Status};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// The options of `aludel trace status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Store of traces
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
    let snapshot = Snapshot::open(&args.store)?;
    let damage = snapshot.check()?;
    let status = match snapshot.status() {
        Err(_) if !damage.is_none() => return Err(damaged(args, &damage).into()),
        status => status?,
    };
    if args.json {
        console.json_line(&StatusOutput { status: &status, damage: (!damage.is_none()).then_some(&damage) })?;
    } else {
        show(&status, console)?;
        if damage.without_hash > 0 {
            let words = "traces are of an earlier version and carry no hash; the next `aludel trace` gives them theirs";
            console.line(format_args!("{} {words}", damage.without_hash))?;
        }
    }
    if damage.is_none() { Ok(Outcome::Done) } else { Err(damaged(args, &damage).into()) }
}

/// A store's numbers as JSON.
#[derive(Serialize)]
struct StatusOutput<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// What is not as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a Damage>,
}

fn damaged(args: &StatusArgs, damage: &Damage) -> ErrorWithHelp {
    ErrorWithHelp {
        message: format!("{}: {}", args.store.display(), damage.words()),
        help:
            "`aludel trace --replace-damaged` with the settings of before asks for damaged and missing traces again; \
               `aludel trace export --skip-damaged` writes the others"
                .to_owned(),
    }
}

fn show(status: &Status, console: &mut Console) -> anyhow::Result<()> {
    console.line(format_args!(
        "{} prompts, {} answers wanted: {} complete, {} cut, {} failed, {} missing",
        grouped(status.prompts),
        grouped(status.wanted),
        grouped(status.complete),
        grouped(status.cut),
        grouped(status.failed),
        grouped(status.missing)
    ))?;
    let cost = cost_of(status.cost, status.unpriced).map_or_else(String::new, |cost| format!(", {cost}"));
    console.line(format_args!(
        "{} prompt tokens, {} completion tokens{cost}",
        grouped(status.tokens.prompt),
        grouped(status.tokens.completion)
    ))?;
    if status.claimed > 0 {
        console.line(format_args!("{} are being asked for", grouped(status.claimed)))?;
    }
    for run in status.runs.iter().filter(|_| status.runs.len() > 1) {
        let cost = cost_of(run.cost, run.unpriced).map_or_else(String::new, |cost| format!(", {cost}"));
        console.line(format_args!(
            "{}: {} of {} complete, {} cut, {} failed{cost}; {}",
            harmless(&run.teacher),
            grouped(run.complete),
            grouped(run.wanted),
            grouped(run.cut),
            grouped(run.failed),
            harmless(&run.settings.to_string())
        ))?;
    }
    Ok(())
}
