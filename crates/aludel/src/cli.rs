//! What can be typed: the subcommands and the options that all of them share. Parsing only checks the shape of what
//! was typed; a command's own options stand in its file, and settings are checked where recipes are. How help looks, which names of other
//! tools are taken and how mistakes are told have files of their own.

mod help;
mod near;
mod number;
mod wrong;

use crate::commands::bench::BenchArgs;
use crate::commands::chat::ChatArgs;
use crate::commands::compare::CompareArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::curate::CurateArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::eval::EvalArgs;
use crate::commands::gradients::GradientsArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::logits::LogitsArgs;
use crate::commands::man::ManArgs;
use crate::commands::merge::MergeArgs;
use crate::commands::plan::PlanArgs;
use crate::commands::tasks::TasksArgs;
use crate::commands::trace::TraceArgs;
use crate::commands::train::TrainArgs;
use crate::version::long_version;
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use number::{decimal, whole};
pub(crate) use wrong::{Wrong, told};

/// Distil a teacher model's reasoning into a small student model that you own.
#[derive(Debug, Parser)]
#[command(name = "aludel", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Colour the output: "auto" does so on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 100
    )]
    pub(crate) color: ColorChoice,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask teachers for traces and keep them in a store; look at a store; write its rows to a file
    Trace(Box<TraceArgs>),

    /// Ask a few prompts, and predict what the rest will take
    Plan(Box<PlanArgs>),

    /// Make a training set of traces: verified, without duplicates, split
    Curate(Box<CurateArgs>),

    /// Train a LoRA adapter on traces
    Train(Box<TrainArgs>),

    /// Make one model folder of an adapter and its student
    Merge(MergeArgs),

    /// Score a model on tasks, or its loss on a data file
    Eval(Box<EvalArgs>),

    /// Say whether a model got better: paired differences of evaluations, and a report to look at
    Compare(CompareArgs),

    /// Talk to a model: one question, or a conversation
    Chat(Box<ChatArgs>),

    /// The whole story on a small student: problems, training, merging, scores before and after, a report
    Demo(DemoArgs),

    /// Problems that Aludel invents, with worked solutions: for training and for testing
    Tasks(TasksArgs),

    /// Show how rows are templated, tokenised and masked, and what training would leave out
    Inspect(InspectArgs),

    /// Write a model's logits for given tokens, for comparison with other implementations
    Logits(LogitsArgs),

    /// Write an adapter's gradients for given tokens, for comparison with PEFT
    Gradients(GradientsArgs),

    /// Measure how fast training and generation are on this machine
    Bench(BenchArgs),

    /// Print the JSON schema of a recipe: every setting, its meaning and its default
    Schema,

    /// Print a shell's completions of commands and options
    Completions(CompletionsArgs),

    /// Write manual pages, one for each command
    Man(ManArgs),
}

/// All that can be typed, as help, completions and manual pages tell it.
pub(crate) fn command() -> clap::Command {
    help::shaped(near::named(Cli::command()), help::ROOT).long_version(long_version())
}

/// What was typed.
///
/// # Errors
/// clap's answer: a mistake, or the help or version that was asked for.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// A command and all below it, each with how it is typed.
fn walk(command: &clap::Command, path: &str, see: &mut dyn FnMut(&clap::Command, &str)) {
    see(command, path);
    for below in command.get_subcommands() {
        walk(below, &format!("{path} {}", below.get_name()), see);
    }
}

const AFTER_HELP: &str = "\
Examples:
  aludel trace --prompts prompts.jsonl --teacher http://127.0.0.1:8000/v1 --model NAME --store traces.db
  aludel curate --input traces.jsonl --output-dir curated
  aludel inspect --student student.gguf --data curated/train.jsonl
  aludel train --student student.gguf --data curated/train.jsonl --output-dir run
  aludel merge --adapter run/adapter --output-dir merged
  aludel eval --model merged --tasks gsm8k --limit 100 --output-dir results
  aludel chat --model merged
  aludel schema > recipe.schema.json

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 75 stopped but resumable, 130 interrupted.

Logs go to stderr; ALUDEL_LOG=debug shows more of them, ALUDEL_LOG=error fewer.

Aludel sends no telemetry.";
