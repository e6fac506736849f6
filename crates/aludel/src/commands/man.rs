//! `aludel man`: a manual page for each command, made from the definition of what can be typed.

use crate::console::Console;
use crate::report::Outcome;
use aludel_formats::atomic;
use anyhow::Context as _;
use clap::{Args, Command};
use std::path::{Path, PathBuf};

/// The options of `aludel man`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// Folder for the pages, created if it does not exist; pages of the same names are replaced
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  aludel man --output-dir ~/.local/share/man/man1
  aludel man --output-dir man1

man aludel-train shows the page of aludel train.";

/// Writes the pages of `command`, the whole command line, and says how many.
pub(crate) fn run(args: &ManArgs, command: Command, console: &mut Console) -> anyhow::Result<Outcome> {
    let folder = &args.output_dir;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made the folder of the pages", folder.display()))?;
    let mut command = with_all_options(command);
    command.build();
    let pages = write(&command, "aludel", folder)?;
    console.line(format_args!("{pages} pages in {}", folder.display()))?;
    Ok(Outcome::Done)
}

/// A command with all of its options, including those that `-h` leaves out, and without `help`, which has no page of its own.
fn with_all_options(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(with_all_options)
}

/// The page of a command and those of all below it; how many they are.
fn write(command: &Command, name: &str, folder: &Path) -> anyhow::Result<usize> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_owned()).render(&mut page)?;
    atomic::write_bytes(&folder.join(format!("{name}.1")), &page)?;
    let below = command.get_subcommands().map(|below| write(below, &format!("{name}-{}", below.get_name()), folder));
    Ok(1 + below.sum::<anyhow::Result<usize>>()?)
}
