//! What can be typed: the subcommands and the options that all of them share. Parsing only checks the shape of what
//! was typed; a command's own options stand in its file, and settings are checked where recipes are.

use crate::commands::inspect::InspectArgs;
use clap::{ColorChoice, Parser, Subcommand};

/// Distil a teacher model's reasoning into a small student model that you own.
#[derive(Debug, Parser)]
#[command(name = "aludel", version, max_term_width = 100, disable_help_subcommand = true, after_help = AFTER_HELP)]
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
    /// Show how rows are templated, tokenised and masked, and what training would leave out
    Inspect(InspectArgs),

    /// Print the JSON schema of a recipe: every setting, its meaning and its default
    Schema,
}

const AFTER_HELP: &str = "\
Examples:
  aludel inspect --student student.gguf --data traces.jsonl
  aludel schema > recipe.schema.json

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 75 stopped but resumable.
Logs go to stderr; ALUDEL_LOG=debug shows more of them, ALUDEL_LOG=error fewer.";
