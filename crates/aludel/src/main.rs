//! The `aludel` command: parses, dispatches, prints and exits; and is the only crate that does any of the last three.
//! What a command does stands in its own file under `commands`; how errors read, in `report`.

mod cli;
mod commands;
mod console;
mod hub;
mod keys;
mod page;
mod progress;
mod report;
mod settings;
mod signals;

use clap::Parser;
use cli::{Cli, Command};
use console::{Console, harmless};
use report::Outcome;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let cli = parse();
    let mut console = Console::new(cli.color);
    let result = console::start_log(cli.color)
        .and_then(|()| fail_at_size_limits())
        .and_then(|()| run(&cli.command, &mut console));
    report::exit(result, &mut console)
}

/// What was typed, or clap's answer to it. That answer repeats words of the command line, which may be a file's name from
/// anywhere: it is asked for again with those words made harmless.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|_| {
        let shown = std::env::args_os().map(|word| harmless(&word.to_string_lossy()).into_owned());
        Cli::try_parse_from(shown).map_or_else(|error| error.exit(), |_| Cli::parse())
    })
}

/// Makes a write beyond the user's limit on file sizes an error that names the file, like that of a full disk: by default the
/// system's signal would end the process without a word.
fn fail_at_size_limits() -> anyhow::Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}

fn run(command: &Command, console: &mut Console) -> anyhow::Result<Outcome> {
    match command {
        Command::Trace(args) => commands::trace::run(args, console),
        Command::Plan(args) => commands::plan::run(args, console),
        Command::Curate(args) => commands::curate::run(args, console),
        Command::Compare(args) => commands::compare::run(args, console),
        Command::Train(args) => commands::train::run(args, console),
        Command::Eval(args) => commands::eval::run(args, console),
        Command::Chat(args) => commands::chat::run(args, console),
        Command::Demo(args) => commands::demo::run(args, console),
        Command::Merge(args) => commands::merge::run(args, console),
        Command::Tasks(args) => commands::tasks::run(args, console),
        Command::Inspect(args) => commands::inspect::run(args, console),
        Command::Logits(args) => commands::logits::run(args),
        Command::Gradients(args) => commands::gradients::run(args),
        Command::Bench(args) => commands::bench::run(args, console),
        Command::Schema => commands::schema::run(console),
    }
}
