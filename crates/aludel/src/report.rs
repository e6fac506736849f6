//! How a command ends: the exit code, and errors as people read them, in three lines: what failed, because of what,
//! and what helps. The words themselves come from where the error arose.

use crate::console::{Console, harmless};
use aludel_distill::settings::Problems;
use anstyle::{AnsiColor, Style};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it is done.
    Done,
}

/// An error with a line of help: what the user can do about it.
#[derive(Debug)]
pub(crate) struct Helped {
    /// What failed.
    pub(crate) message: String,
    /// What can be done.
    pub(crate) help: String,
}

impl fmt::Display for Helped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Helped {}

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Prints the error, if there is one, and gives the exit code.
pub(crate) fn exit(result: anyhow::Result<Outcome>, console: &mut Console) -> ExitCode {
    let result = result.and_then(|outcome| console.flush().map(|()| outcome).map_err(anyhow::Error::from));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough, as `head` has: nobody is left to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = text_of(&error, console);
            // If even standard error is closed, the exit code must do.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(if error.is::<Problems>() { WRONG_USAGE } else { FAILED })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn text_of(error: &anyhow::Error, console: &Console) -> String {
    let mut lines = Lines { console, text: String::new() };
    if let Some(problems) = error.downcast_ref::<Problems>() {
        for problem in problems.iter() {
            let value = problem.value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
            let origin = problem.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
            lines.error(&format!("{}{value}{origin}", problem.key));
            lines.because(&problem.reason);
            lines.help(&problem.mend);
        }
        return lines.text;
    }
    let mut said = error.to_string();
    lines.error(&said);
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many errors repeat their source's words in their own.
        if !said.contains(&cause) {
            lines.because(&cause);
            said = cause;
        }
    }
    if let Some(helped) = error.downcast_ref::<Helped>() {
        lines.help(&helped.help);
    }
    lines.text
}

/// Labelled lines; what follows a line break is indented below its label.
struct Lines<'a> {
    console: &'a Console,
    text: String,
}

impl Lines<'_> {
    fn error(&mut self, text: &str) {
        self.push(AnsiColor::Red.on_default().bold(), "error", text);
    }

    fn because(&mut self, text: &str) {
        self.push(AnsiColor::Yellow.on_default(), "because", text);
    }

    fn help(&mut self, text: &str) {
        self.push(AnsiColor::Green.on_default(), "help", text);
    }

    fn push(&mut self, style: Style, label: &str, text: &str) {
        let label = self.console.styled_for_errors(style, &format!("{label}:"));
        let text = harmless(text.trim_end()).replace('\n', "\n  ");
        self.text.push_str(&format!("{label} {text}\n"));
    }
}
