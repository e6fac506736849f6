//! How a command ends: the exit code, and errors in three lines: what failed, the reason, and the remedy. The texts are
//! written where the error occurs.

use crate::console::Console;
use crate::humanize::grouped;
use crate::signals::is_stopping;
use aludel_distill::settings::{Problem, Problems};
use aludel_files::shortened;
use anstyle::{AnsiColor, Style};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it is done.
    Done,
    /// It was stopped and can be resumed.
    Stopped,
    /// Ctrl-C ended it, and there is nothing to resume.
    Interrupted,
    /// It did its work, and found what would stop a run.
    Found,
}

/// An error with a line of help: what the user can do about it.
#[derive(Debug)]
pub(crate) struct ErrorWithHelp {
    /// What failed.
    pub(crate) message: String,
    /// What can be done.
    pub(crate) help: String,
}

impl fmt::Display for ErrorWithHelp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ErrorWithHelp {}

/// Maximum number of problems that are printed at once.
const MOST_PROBLEMS: usize = 20;
/// Minimum number of unknown names that are printed as one list.
const FEWEST_LISTED: usize = 3;
/// Maximum length of that list; recipes of other tools are shorter.
const MOST_LISTED: usize = 200;
/// Of a name and of what to do about it in a list, in letters.
const LONGEST_NAME: usize = 40;
const LONGEST_MEND: usize = 300;

const FAILED: u8 = 1;
pub(crate) const WRONG_USAGE: u8 = 2;
const STOPPED: u8 = 75;
/// What shells give to a command that Ctrl-C ended: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints the error, if there is one, and gives the exit code.
pub(crate) fn exit(result: anyhow::Result<Outcome>, console: &mut Console) -> ExitCode {
    // The output comes before the error about it.
    let flushed = console.flush();
    let result = result.and_then(|outcome| Ok(flushed.map(|()| outcome)?));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Stopped) => ExitCode::from(STOPPED),
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::Found) => ExitCode::from(FAILED),
        // Ctrl-C also ends the reader of a pipe: what was stopped is not done, although nothing could be said of it.
        Err(error) if is_broken_pipe(&error) && is_stopping() => ExitCode::from(STOPPED),
        // The reader of our output has closed the pipe, as `head` does: that is no error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&text_of(&error, console));
            ExitCode::from(if error.is::<Problems>() { WRONG_USAGE } else { FAILED })
        }
    }
}

/// A usage error, in three parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    /// The wrong argument, as it was typed.
    pub(crate) what: String,
    /// Why.
    pub(crate) reason: String,
    /// What to type instead.
    pub(crate) mend: String,
}

/// Prints a usage error, and returns the exit code.
pub(crate) fn wrong_usage(wrong: &UsageError, console: &Console) -> ExitCode {
    let mut lines = ErrorLines { console, text: String::new() };
    lines.error(&wrong.what);
    lines.because(&wrong.reason);
    lines.help(&wrong.mend);
    console.error(&lines.text);
    ExitCode::from(WRONG_USAGE)
}

/// Names that are no settings, in one table: a recipe with several of them was brought along from another tool or version.
fn list_names(names: &[&Problem], lines: &mut ErrorLines<'_>) {
    let label = |problem: &Problem| shortened(&problem.key, LONGEST_NAME).into_owned();
    let shown = &names[..names.len().min(MOST_LISTED)];
    let width = shown.iter().map(|problem| label(problem).chars().count()).max().unwrap_or(0);
    let rows = shown
        .iter()
        .map(|problem| format!("\n{:width$}  {}", label(problem), shortened(problem.brief_mend(), LONGEST_MEND)));
    let mut text = "what to do with each of them:".to_owned() + &rows.collect::<String>();
    if let Some(further @ 1..) = names.len().checked_sub(MOST_LISTED) {
        text.push_str(&format!("\nand {} further ones", grouped(further)));
    }
    let places: Vec<&str> = names.iter().filter_map(|problem| problem.origin.as_deref()).collect();
    let files =
        places.iter().map(|place| place.rsplit_once(':').map_or(*place, |(file, _)| file)).collect::<BTreeSet<_>>();
    let place = if files.is_empty() {
        String::new()
    } else {
        format!(" ({})", files.into_iter().collect::<Vec<_>>().join(", "))
    };
    lines.error(&format!("{} names{place}", grouped(names.len())));
    lines.because("they are no settings, or stand in another place than theirs");
    lines.help(&text);
    lines.help("`aludel schema` lists all settings with their defaults");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The text of an error.
pub(crate) fn text_of(error: &anyhow::Error, console: &Console) -> String {
    let mut lines = ErrorLines { console, text: String::new() };
    if let Some(problems) = error.downcast_ref::<Problems>() {
        let (names, others): (Vec<&Problem>, Vec<&Problem>) =
            problems.iter().partition(|problem| problem.is_unknown_name);
        let are_listed = names.len() >= FEWEST_LISTED;
        if are_listed {
            list_names(&names, &mut lines);
        }
        let single: Vec<&Problem> = if are_listed { others } else { problems.iter().collect() };
        for problem in single.iter().take(MOST_PROBLEMS) {
            if !lines.text.is_empty() {
                lines.text.push('\n');
            }
            lines.error(&problem.setting());
            lines.because(&problem.reason);
            lines.help(&problem.mend);
        }
        if let Some(further @ 1..) = single.len().checked_sub(MOST_PROBLEMS) {
            lines.text.push_str(&format!("\nand {further} further problems\n"));
        }
        return lines.text;
    }
    if let Some(aludel_distill::Error::Several(errors)) = error.downcast_ref() {
        for error in errors {
            if !lines.text.is_empty() {
                lines.text.push('\n');
            }
            one_error(anyhow::Chain::new(error), None, &mut lines);
        }
        return lines.text;
    }
    one_error(error.chain(), error.downcast_ref(), &mut lines);
    lines.text
}

/// An error's reason, and its remedy apart where it has one: for what lists many findings in a form of its own.
pub(crate) fn reason_and_mend(error: &anyhow::Error) -> (String, Option<String>) {
    if let Some(problem) = error.downcast_ref::<Problems>().and_then(|problems| problems.iter().next()) {
        return (format!("{}: {}", problem.setting(), problem.reason), Some(problem.mend.clone()));
    }
    let message = format!("{error:#}");
    if let Some(with_help) = error.downcast_ref::<ErrorWithHelp>() {
        return (message, Some(with_help.help.clone()));
    }
    let (reason, mend) = without_mend(&message);
    (reason.to_owned(), mend.map(str::to_owned))
}

/// An error with its causes.
fn one_error(mut chain: anyhow::Chain<'_>, with_help: Option<&ErrorWithHelp>, lines: &mut ErrorLines<'_>) {
    let mut said = chain.next().map(ToString::to_string).unwrap_or_default();
    let told = ErrorParts::of(&said, with_help.is_none());
    lines.error(told.what);
    if let Some(reason) = told.reason {
        lines.because(reason);
    }
    let mut mends: Vec<String> = told.mend.map(str::to_owned).into_iter().collect();
    for cause in chain.map(ToString::to_string) {
        // Many errors repeat their source's words in their own, or the file that was named already.
        if !said.contains(&cause) {
            let file = said.split_once(": ").map(|(file, _)| format!("{file}: "));
            let news = file.and_then(|file| cause.strip_prefix(&file)).unwrap_or(&cause);
            let (news, mend) = without_mend(news);
            lines.because(news);
            mends.extend(mend.map(str::to_owned));
            said = cause;
        }
    }
    mends.extend(with_help.map(|with_help| with_help.help.clone()));
    mends.iter().for_each(|mend| lines.help(mend));
}

/// What an error says, taken apart. Errors are written as "what: reason; mend".
#[derive(Debug, PartialEq, Eq)]
struct ErrorParts<'a> {
    what: &'a str,
    reason: Option<&'a str>,
    mend: Option<&'a str>,
}

impl ErrorParts<'_> {
    /// The parts of a message; one whose mend stands beside it `has_mend` not itself.
    fn of(message: &str, has_mend: bool) -> ErrorParts<'_> {
        let (told, mend) = if has_mend { without_mend(message) } else { (message, None) };
        match outside_of_quotes(told).find(|(_, rest)| rest.starts_with(": ")) {
            Some((at, _)) => ErrorParts { what: &told[..at], reason: Some(&told[at + 2..]), mend },
            None => ErrorParts { what: told, reason: None, mend },
        }
    }
}

/// A message without its mend, which follows its last semicolon, or is the last line of several.
fn without_mend(message: &str) -> (&str, Option<&str>) {
    let begins = |(at, rest): (usize, &str)| {
        let is_line = rest.starts_with('\n') && !rest[1..].starts_with([' ', '\n']);
        (rest.starts_with("; ").then_some((at, 2))).or(is_line.then_some((at, 1)))
    };
    match outside_of_quotes(message.trim_end()).filter_map(begins).last() {
        Some((at, length)) => (&message[..at], Some(message[at + length..].trim_end())),
        None => (message, None),
    }
}

/// Each place of a text, with what follows there, that stands in no quotes, backticks or parentheses: what stands in those is quoted.
fn outside_of_quotes(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut quoted_by, mut depth) = (None, 0usize);
    text.char_indices().filter_map(move |(at, c)| {
        match (quoted_by, c) {
            (Some(quote), c) if quote == c => quoted_by = None,
            (None, '"' | '`') => quoted_by = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        (quoted_by.is_none() && depth == 0).then_some((at, &text[at..]))
    })
}

/// Labelled lines; what follows a line break is indented below its label.
struct ErrorLines<'a> {
    console: &'a Console,
    text: String,
}

impl ErrorLines<'_> {
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
        let text = text.trim_end().replace('\n', "\n  ");
        self.text.push_str(&format!("{label} {text}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;
    use clap::ColorChoice;

    fn check(error: &anyhow::Error, text: &str) {
        assert_eq!(text_of(error, &Console::new(ColorChoice::Never)), text);
    }

    #[test]
    fn a_message_is_told_in_its_parts() {
        let parts = |what, reason, mend| ErrorParts { what, reason, mend };
        for (message, told) in [
            ("a.gguf: too short; get it again", parts("a.gguf", Some("too short"), Some("get it again"))),
            (
                "r.jsonl, line 3: not JSON: EOF (in JSONL: one line; no more); fix the row",
                parts("r.jsonl, line 3", Some("not JSON: EOF (in JSONL: one line; no more)"), Some("fix the row")),
            ),
            ("no files; name some", parts("no files", None, Some("name some"))),
            ("it failed", parts("it failed", None, None)),
            ("\"a: b; c\" is no name: `d; e`", parts("\"a: b; c\" is no name", Some("`d; e`"), None)),
            ("run: it differs:\n    r: 8\nstart anew", parts("run", Some("it differs:\n    r: 8"), Some("start anew"))),
            ("a: b; c; d\n", parts("a", Some("b; c"), Some("d"))),
        ] {
            assert_eq!(ErrorParts::of(message, true), told);
        }
        assert_eq!(ErrorParts::of("a: b; c", false), parts("a", Some("b; c"), None));
    }

    #[test]
    fn a_chain_reads_downwards_without_repetition() {
        check(
            &anyhow!("a.gguf: too short").context("a.gguf: cannot be opened"),
            "error: a.gguf\nbecause: cannot be opened\nbecause: too short\n",
        );
        check(
            &anyhow!("a.gguf: too short; get it again").context("a.gguf: cannot be opened"),
            "error: a.gguf\nbecause: cannot be opened\nbecause: too short\nhelp: get it again\n",
        );
        check(
            &anyhow!("disk full").context("b: cannot be saved: disk full"),
            "error: b\nbecause: cannot be saved: disk full\n",
        );
        check(&anyhow!("c").context("b").context("a"), "error: a\nbecause: b\nbecause: c\n");
    }

    #[test]
    fn several_errors_are_told_one_by_one() {
        use aludel_distill::Error;
        let exists = |path: &str, typed: &str| Error::RunExists { path: path.into(), typed: typed.to_owned() };
        let (run, other) = (exists("/runs/my run", "'/runs/my run'"), exists("/runs/b", "/runs/b"));
        check(
            &anyhow::Error::new(Error::Several(vec![run, other])),
            "error: /runs/my run\nbecause: this folder already holds a run\nhelp: continue it with `aludel train --output-dir '/runs/my run' \
             --resume`, or give another --output-dir to keep both\n\nerror: /runs/b\nbecause: this folder already holds a run\nhelp: continue \
             it with `aludel train --output-dir /runs/b --resume`, or give another --output-dir to keep both\n",
        );
    }

    #[test]
    fn help_comes_last_and_lines_are_indented() {
        let with_help = ErrorWithHelp { message: "it failed".to_owned(), help: "do this\nthen that".to_owned() };
        check(&anyhow!("of it").context(with_help), "error: it failed\nbecause: of it\nhelp: do this\n  then that\n");
    }
}
