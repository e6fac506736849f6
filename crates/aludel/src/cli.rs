//! The command line: subcommands, and the options that all of them share. Parsing only checks syntax; a command's own options are in its
//! file, and values of settings are checked with the recipe. Help, aliases and usage errors have files of their own.

mod aliases;
mod help;
mod other_tools;
mod own_options;
mod usage_errors;

use crate::commands::bench::BenchArgs;
use crate::commands::cache::CacheArgs;
use crate::commands::chat::ChatArgs;
use crate::commands::compare::CompareArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::curate::CurateArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::eval::EvalArgs;
use crate::commands::export::ExportArgs;
use crate::commands::gradients::GradientsArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::logits::LogitsArgs;
use crate::commands::man::ManArgs;
use crate::commands::merge::MergeArgs;
use crate::commands::plan::PlanArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::tasks::TasksArgs;
use crate::commands::trace::TraceArgs;
use crate::commands::train::TrainArgs;
use crate::value_parser;
use crate::version::long_version;
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use usage_errors::usage_error;

/// Distil a teacher model's reasoning into a small student model that you own.
#[derive(Debug, Parser)]
#[command(name = "aludel", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// The command to run
    #[command(subcommand)]
    pub(crate) command: Command,

    /// When to colour the output: auto (on a terminal, unless NO_COLOR is set), always or never
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
    /// Collect reasoning traces from teacher models into a store
    Trace(Box<TraceArgs>),

    /// Estimate tokens, time and cost of collecting traces
    Plan(Box<PlanArgs>),

    /// Turn traces into a training set: verify, filter, deduplicate
    Curate(Box<CurateArgs>),

    /// Keep a teacher's distributions on disk, to learn from without it
    Cache(Box<CacheArgs>),

    /// Train a LoRA adapter for a student model on traces
    Train(Box<TrainArgs>),

    /// Merge an adapter into its base model
    Merge(MergeArgs),

    /// Export a model as a GGUF file for llama.cpp and Ollama
    Export(Box<ExportArgs>),

    /// Score a model on tasks, or compute its loss on a data file
    Eval(Box<EvalArgs>),

    /// Compare models by their evaluations, with an HTML report
    Compare(CompareArgs),

    /// Chat with a model, or ask it one question
    Chat(Box<ChatArgs>),

    /// Serve a model over HTTP, with a page to talk to it
    Serve(Box<ServeArgs>),

    /// Run the whole pipeline on a small student, with a report
    Demo(DemoArgs),

    /// List and generate synthetic problems with worked solutions
    Tasks(TasksArgs),

    /// Show how training templates, tokenises and masks rows
    Inspect(InspectArgs),

    /// Write a model's logits for given tokens to a file
    Logits(LogitsArgs),

    /// Write an adapter's gradients for given tokens to a file
    Gradients(GradientsArgs),

    /// Measure the speed of training and generation on this machine
    Bench(BenchArgs),

    /// Check this machine, a model, data files or a teacher before a run
    Doctor(DoctorArgs),

    /// Print the JSON schema of a recipe: all settings and defaults
    Schema,

    /// Print shell completions
    Completions(CompletionsArgs),

    /// Write a manual page for each command
    Man(ManArgs),
}

/// All that can be typed, as help, completions and manual pages tell it.
pub(crate) fn command() -> clap::Command {
    help::with_layout(value_parser::allow_negative_numbers(aliases::with_aliases(Cli::command())), help::ROOT)
        .long_version(long_version())
}

/// What was typed.
///
/// # Errors
/// clap's answer: a mistake, or the help or version that was asked for.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// A command and all below it, each with how it is typed.
pub(crate) fn walk(command: &clap::Command, path: &str, see: &mut dyn FnMut(&clap::Command, &str)) {
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

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 75 stopped but resumable, 130 or 143 ended by Ctrl-C or SIGTERM.

Logs go to stderr; ALUDEL_LOG=debug shows more of them, ALUDEL_LOG=error fewer.

Aludel sends no telemetry.";
