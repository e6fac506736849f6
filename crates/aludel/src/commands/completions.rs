//! `aludel completions`: shell completions, generated from the definition of the command line.

use crate::console::Console;
use crate::report::Outcome;
use clap::{Args, Command};
use clap_complete::Shell;

/// The options of `aludel completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  aludel completions bash > ~/.local/share/bash-completion/completions/aludel
  aludel completions zsh > ~/.zfunc/_aludel
  aludel completions fish > ~/.config/fish/completions/aludel.fish

zsh reads ~/.zfunc if it is in fpath before compinit is called.";

/// Prints those of `command`, the whole command line.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "aludel", &mut script);
    console.verbatim(String::from_utf8(script)?.trim_end())?;
    Ok(Outcome::Done)
}
