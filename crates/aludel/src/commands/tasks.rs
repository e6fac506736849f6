//! `aludel tasks`: the problems that Aludel invents itself, listed by family and written out as data for training or for an
//! evaluation. How they are made is the business of `aludel_verify::tasks`.

use crate::console::Console;
use crate::humanize::grouped;
use crate::next_command::after_making;
use crate::overwrite::Overwrite;
use crate::report::{ErrorWithHelp, Outcome};
use crate::table::Table;
use crate::value_parser::integer;
use aludel_distill::settings::nearest;
use aludel_formats::atomic;
use aludel_verify::tasks::{Difficulty, Family, ProblemSplit, families, family, generate_at, generate_distinct};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::PathBuf;

/// The options of `aludel tasks`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TasksArgs {
    #[command(subcommand)]
    action: TasksCommand,
}

#[derive(Debug, Subcommand)]
enum TasksCommand {
    /// List the families and how many problems they have
    List(ListArgs),

    /// Write problems with worked solutions to a JSONL file
    Make(MakeArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MAKE_EXAMPLES)]
struct MakeArgs {
    /// Families, as `aludel tasks list` names them, or "all"
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Number of problems per family, all different; fewer where the family has fewer
    #[arg(long, value_name = "N", value_parser = integer::<u32>(1..=1_000_000))]
    count: u32,

    /// Random seed of the problems and their order
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = integer::<u64>(0..=u64::MAX))]
    seed: u64,

    /// Which problems: those for training, or those kept for testing; no problem is in both
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    split: Split,

    /// easy, medium or hard; or 1, 2, 3
    #[arg(long, value_name = "D", default_value_t)]
    difficulty: Difficulty,

    /// Fill up to --count with rewordings where a family has fewer problems
    #[arg(long)]
    reworded: bool,

    /// File to write
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,

    #[command(flatten)]
    overwrite: Overwrite,

    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Split {
    Train,
    Test,
}

const EXAMPLES: &str = "\
Examples:
  aludel tasks list
  aludel tasks make dice --count 400 --seed 1 --output dice.jsonl
  aludel tasks make all --count 50 --seed 2 --split test --output test.jsonl";

const MAKE_EXAMPLES: &str = "\
Examples:
  aludel tasks make dice --count 400 --seed 1 --output dice.jsonl
  aludel tasks make ages rates --count 200 --difficulty medium --output stories.jsonl
  aludel tasks make all --count 50 --seed 2 --split test --output test.jsonl

Each line has id, difficulty, prompt, reasoning, response and answer, and can be trained on as it
is; where the question asks for lowest terms or a unit, `verifier` says so.";

/// Lists or writes.
pub(crate) fn run(args: &TasksArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    match &args.action {
        TasksCommand::List(args) => list(args, console)?,
        TasksCommand::Make(args) => make(args, console)?,
    }
    Ok(Outcome::Done)
}

fn list(args: &ListArgs, console: &mut Console) -> anyhow::Result<()> {
    let counts = |family: &dyn Family| {
        let of = |difficulty| (0..family.distinct()).filter(|&index| family.difficulty(index) == difficulty).count();
        Difficulty::ALL.map(of)
    };
    if args.json {
        let listed: Vec<Value> = families()
            .iter()
            .map(|family| {
                let [easy, medium, hard] = counts(family.as_ref());
                json!({ "name": family.name(), "about": family.about(), "problems": family.distinct(),
                    "easy": easy, "medium": medium, "hard": hard })
            })
            .collect();
        return console.json_line(&json!({ "families": listed }));
    }
    let mut table = Table::new("family").numbers(["easy", "medium", "hard", "all"]).words("about");
    for family in families() {
        let [easy, medium, hard] = counts(family.as_ref());
        let (name, all, about) = (family.name(), family.distinct(), family.about());
        let counts = [easy, medium, hard, all].map(|count| count.to_string());
        table.row([name.to_owned()].into_iter().chain(counts).chain([about.to_owned()]));
    }
    Ok(table.print(console)?)
}

fn make(args: &MakeArgs, console: &mut Console) -> anyhow::Result<()> {
    let side = match args.split {
        Split::Train => ProblemSplit::Train,
        Split::Test => ProblemSplit::Test,
    };
    args.overwrite.check(&args.output)?;
    let mut text = String::new();
    let (mut problems, mut distinct, mut short) = (0, HashSet::new(), Vec::new());
    let count = args.count as usize;
    for family in named(&args.names)? {
        let made = match args.reworded {
            true => generate_at(family.as_ref(), side, args.difficulty, count, args.seed),
            false => generate_distinct(family.as_ref(), side, args.difficulty, count, args.seed),
        };
        problems += made.len();
        short.extend((made.len() < count).then_some((family.name(), made.len())));
        for problem in made {
            text.push_str(&problem.json_line());
            text.push('\n');
            distinct.insert(problem.id);
        }
    }
    atomic::write_bytes(&args.output, text.as_bytes())
        .with_context(|| format!("{}: the problems cannot be written", args.output.display()))?;
    let distinct = distinct.len();
    if args.json {
        let output = args.output.display().to_string();
        let fewer: Map<String, Value> = short.iter().map(|(name, made)| (name.to_string(), json!(made))).collect();
        return console.json_line(
            &json!({ "output": output, "problems": problems, "distinct": distinct, "fewer_than_asked": fewer }),
        );
    }
    for (name, made) in short {
        let words = "all that there are at this difficulty and split; --reworded asks them again in other words";
        console.line(format_args!("{name}: {} problems, not {}: {words}", grouped(made), grouped(count)))?;
    }
    let different = if distinct == problems {
        "all different".to_owned()
    } else {
        format!("{} of them different", grouped(distinct))
    };
    console.line(format_args!("{} problems, {different}, in {}", grouped(problems), args.output.display()))?;
    Ok(console.next(&after_making(&args.output, matches!(args.split, Split::Test)))?)
}

/// The families of the names, each once.
fn named(names: &[String]) -> anyhow::Result<Vec<Box<dyn Family>>> {
    let mut seen = HashSet::new();
    let mut chosen = Vec::new();
    for name in names {
        let found = match name.as_str() {
            "all" => families(),
            _ => vec![family(name).ok_or_else(|| unknown(name))?],
        };
        chosen.extend(found.into_iter().filter(|family| seen.insert(family.name())));
    }
    Ok(chosen)
}

fn unknown(name: &str) -> ErrorWithHelp {
    let known: Vec<String> = families().iter().map(|family| family.name().to_owned()).collect();
    let near = nearest(name, &known).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    ErrorWithHelp {
        message: format!("{name}: there is no family of problems of this name"),
        help: format!("{near}name one of {}, or all", known.join(", ")),
    }
}
