//! `aludel trace forget`: removes traces from a store. The store decides what is removed with them.

use crate::console::{Console, harmless};
use crate::humanize::{cost_of, grouped};
use crate::report::{ErrorWithHelp, Outcome};
use aludel_files::counted;
use aludel_teacher::store::{Forgotten, Selection, Snapshot, Store};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// The options of `aludel trace forget`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ForgetArgs {
    /// Store of traces
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// Everything requested from this model, as `aludel trace status` names it
    #[arg(long, value_name = "NAME", required_unless_present_any = ["unanswered", "id"])]
    model: Option<String>,

    /// Requests without an answer; with --model, only those to that model
    #[arg(long)]
    unanswered: bool,

    /// Traces by their "hash", as exports show it
    #[arg(long, value_name = "HASH", num_args = 1.., conflicts_with_all = ["model", "unanswered"])]
    id: Vec<String>,

    /// Remove them; without this, only show what would be removed
    #[arg(long)]
    yes: bool,

    /// Print what was removed, or would be, as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel trace forget --store traces.db --unanswered
  aludel trace forget --store traces.db --model gpt-oss-210b --yes
  aludel trace forget --store traces.db --id 84cf6a8b28307982b544aba8eab27a8f --yes

Removal cannot be undone. A later run with the same prompts and settings requests the answers again.";

/// Forgets traces, or prints what would be forgotten.
pub(crate) fn run(args: &ForgetArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let snapshot = Snapshot::open(&args.store)?;
    let damage = snapshot.check()?;
    if !damage.is_none() {
        return Err(ErrorWithHelp {
            message: format!("{}: {}", args.store.display(), damage.words()),
            help: "repair it first: `aludel trace --replace-damaged` with the settings of before".to_owned(),
        }
        .into());
    }
    let models: Vec<String> = snapshot.status()?.runs.into_iter().map(|run| run.teacher).collect();
    drop(snapshot);
    let Selection { model, .. } = &args.selection();
    let forgotten = Store::open(&args.store)?.forget(args.selection(), args.yes)?;
    if !forgotten.unknown.is_empty() {
        return Err(ErrorWithHelp {
            message: format!("{}: no trace has the hash {}", args.store.display(), forgotten.unknown.join(", ")),
            help: "`aludel trace export --all` writes each trace with its \"hash\"; nothing was forgotten".to_owned(),
        }
        .into());
    }
    if let Some(model) = model.as_ref().filter(|model| forgotten.is_nothing() && !models.contains(model)) {
        return Err(ErrorWithHelp {
            message: format!("{}: nothing was asked of a model {model}", args.store.display()),
            help: format!(
                "it holds traces of {}",
                if models.is_empty() { "no model".to_owned() } else { models.join(", ") }
            ),
        }
        .into());
    }
    if args.json {
        console.json_line(&ForgetOutput { done: args.yes, forgotten: &forgotten })?;
    } else {
        console.line(harmless(&words(&forgotten, args.yes)))?;
        if !args.yes && !forgotten.is_nothing() {
            console.line("nothing is forgotten yet: give the same command with --yes; answers may have cost money, and are then gone")?;
        }
    }
    Ok(Outcome::Done)
}

/// What is printed as JSON.
#[derive(Serialize)]
struct ForgetOutput<'a> {
    /// Whether it is gone.
    done: bool,
    #[serde(flatten)]
    forgotten: &'a Forgotten,
}

impl ForgetArgs {
    fn selection(&self) -> Selection {
        Selection { model: self.model.clone(), unanswered: self.unanswered, ids: self.id.clone() }
    }
}

fn words(forgotten: &Forgotten, is_done: bool) -> String {
    if forgotten.is_nothing() {
        return "there is nothing of the kind to forget".to_owned();
    }
    let Forgotten { complete, cut, failed, missing, prompts, runs, tokens, .. } = forgotten;
    let cost = cost_of(forgotten.cost, forgotten.unpriced).map_or_else(String::new, |cost| format!(", {cost}"));
    let answers = complete + cut;
    let parts = [
        (*missing > 0)
            .then(|| format!("{} wanted and not there", counted(*missing, "answer that is", "answers that are"))),
        (answers > 0).then(|| {
            let answers = counted(answers, "answer", "answers");
            let tokens = format!("{} + {} tokens", grouped(tokens.prompt), grouped(tokens.completion));
            format!("{answers} ({} of them cut off; {tokens}{cost})", grouped(*cut))
        }),
        (*failed > 0).then(|| format!("{} not taken", counted(*failed, "question that was", "questions that were"))),
        (*prompts > 0).then(|| format!("{} without any other answer", counted(*prompts, "prompt", "prompts"))),
        (answers + missing + failed + prompts == 0)
            .then(|| format!("the record of {} that got no answer", counted(*runs, "run", "runs"))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}: {}", if is_done { "forgotten" } else { "would be forgotten" }, parts.join(", "))
}
