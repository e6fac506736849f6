//! The `aludel` command: parses, dispatches, prints and exits. Only this crate does any of the last three. Commands are
//! in files of their own under `commands`; error messages are laid out in `report`.

mod card;
mod cli;
mod commands;
mod console;
mod html_report;
mod hub;
mod humanize;
mod keys;
mod next_command;
mod overwrite;
mod progress;
mod provenance;
mod report;
mod run_folder;
mod settings;
mod shell_path;
mod signals;
mod table;
mod value_parser;
mod version;

use clap::ColorChoice;
use clap::error::ErrorKind;
use cli::Command;
use console::Console;
use progress::Progress;
use report::Outcome;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(answer) => return answered(&answer),
    };
    let mut console = Console::new(cli.color);
    let result = console::start_log(cli.color)
        .and_then(|()| fail_at_size_limits())
        .and_then(|()| end_on_signals(&cli.command))
        .and_then(|()| run(&cli.command, &mut console));
    signals::let_end();
    report::exit(result, &mut console)
}

/// Prints clap's result: help and version unchanged, usage errors in the format of all errors.
fn answered(answer: &clap::Error) -> ExitCode {
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // If it is closed, the error cannot be reported.
            let _ = answer.print();
            ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(report::WRONG_USAGE))
        }
        _ => {
            let typed: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            let console = Console::new(color_typed(&typed));
            report::wrong_usage(&cli::usage_error(answer, &cli::command(), &typed), &console)
        }
    }
}

/// The colour that was asked for, where the rest of what was typed cannot be read.
fn color_typed(words: &[String]) -> ColorChoice {
    let typed = words.iter().enumerate().find_map(|(at, word)| match word.as_str() {
        "--color" => words.get(at + 1).map(String::as_str),
        word => word.strip_prefix("--color="),
    });
    typed.and_then(|typed| typed.parse().ok()).unwrap_or(ColorChoice::Auto)
}

/// Makes a write beyond the user's limit on file sizes an error that names the file, like that of a full disk: by default the
/// system's signal would end the process without a word.
fn fail_at_size_limits() -> anyhow::Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}

/// A conversation has its own way with Ctrl-C.
fn end_on_signals(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Chat(_) => Ok(()),
        _ => signals::end_on_signals(),
    }
}

/// Whether a command may take long and nobody types meanwhile: it then breaks its own silence.
fn may_take_long(command: &Command) -> bool {
    match command {
        Command::Trace(_)
        | Command::Plan(_)
        | Command::Curate(_)
        | Command::Compare(_)
        | Command::Train(_)
        | Command::Eval(_)
        | Command::Demo(_)
        | Command::Merge(_)
        | Command::Export(_)
        | Command::Tasks(_)
        | Command::Cache(_)
        | Command::Inspect(_)
        | Command::Logits(_)
        | Command::Gradients(_)
        | Command::Bench(_)
        | Command::Doctor(_) => true,
        Command::Chat(_) | Command::Serve(_) | Command::Schema | Command::Completions(_) | Command::Man(_) => false,
    }
}

fn run(command: &Command, console: &mut Console) -> anyhow::Result<Outcome> {
    let _shown = may_take_long(command).then(Progress::of_the_process);
    match command {
        Command::Trace(args) => commands::trace::run(args, console),
        Command::Plan(args) => commands::plan::run(args, console),
        Command::Curate(args) => commands::curate::run(args, console),
        Command::Compare(args) => commands::compare::run(args, console),
        Command::Train(args) => commands::train::run(args, console),
        Command::Eval(args) => commands::eval::run(args, console),
        Command::Chat(args) => commands::chat::run(args, console),
        Command::Serve(args) => commands::serve::run(args, console),
        Command::Demo(args) => commands::demo::run(args, console),
        Command::Merge(args) => commands::merge::run(args, console),
        Command::Export(args) => commands::export::run(args, console),
        Command::Tasks(args) => commands::tasks::run(args, console),
        Command::Cache(args) => commands::cache::run(args, console),
        Command::Inspect(args) => commands::inspect::run(args, console),
        Command::Logits(args) => commands::logits::run(args),
        Command::Gradients(args) => commands::gradients::run(args),
        Command::Bench(args) => commands::bench::run(args, console),
        Command::Doctor(args) => commands::doctor::run(args, console),
        Command::Schema => commands::schema::run(console),
        Command::Completions(args) => commands::completions::run(args, cli::command(), console),
        Command::Man(args) => commands::man::run(args, cli::command(), console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser as _};

    /// Each command, with the least that it takes.
    #[test]
    fn every_command_that_may_take_long_breaks_its_silence() {
        let (long, short) = (true, false);
        let lines = [
            (long, "trace --recipe r"),
            (long, "plan trace --recipe r"),
            (long, "curate --input a --output-dir o"),
            (long, "cache --output-dir o"),
            (long, "train --recipe r"),
            (long, "merge --adapter a --output-dir o"),
            (long, "eval --model m --tasks t --output-dir o"),
            (long, "eval --loss --model m --data d"),
            (long, "compare a b --output-dir o"),
            (long, "demo"),
            (long, "tasks list"),
            (long, "inspect --student s --data d"),
            (long, "logits --model m --ids 1 --output o"),
            (long, "gradients --model m --adapter a --ids 1 --output o"),
            (long, "bench train --student s"),
            (long, "export --model m --output o"),
            (long, "doctor"),
            // A server says what it does.
            (short, "serve --model m"),
            // Somebody types, or waits for a word that streams.
            (short, "chat --model m"),
            (short, "schema"),
            (short, "completions bash"),
            (short, "man --output-dir o"),
        ];
        let mut left: Vec<String> =
            cli::Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for (is_long, line) in lines {
            let words = std::iter::once("aludel").chain(line.split(' '));
            let parsed = cli::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(may_take_long(&parsed.command), is_long, "{line}");
            left.retain(|name| Some(name.as_str()) != line.split(' ').next());
        }
        assert!(left.is_empty(), "not in the list: {left:?}");
    }
}
