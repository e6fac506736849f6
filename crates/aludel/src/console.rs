//! All output to the terminal: standard output, its colours, and the log on standard error. Everything that is written
//! passes through [`harmless`] here, whatever its source, so that no untrusted text can colour, move or hide anything.

pub(crate) mod escape;
mod wrap;

use crate::progress::{LogWriter, suspend};
use aludel_distill::settings::{Problem, Problems};
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use serde::Serialize;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use escape::harmless;
use escape::harmless_json;

/// Standard output, buffered, and the colours that it and standard error take.
pub(crate) struct Console {
    out: BufWriter<Stdout>,
    out_is_colored: bool,
    err_is_colored: bool,
    out_is_terminal: bool,
    /// Columns of the terminal, or the value of `COLUMNS`; `None` without either.
    width: Option<usize>,
    seal: Seal,
}

/// The width of tables without a terminal.
const USUAL_WIDTH: usize = 80;
/// Wider lines are hard to read.
const WIDEST: usize = 120;
/// What is narrower is no terminal that anybody reads tables on.
const NARROWEST: usize = 20;

/// What our own escape sequences carry until they are written. It is drawn anew by each process, so that no text from outside
/// can hold it: a sequence without it is a stranger's, and is made visible.
struct Seal(String);

impl Console {
    /// Decides on colours once; `NO_COLOR`, `TERM=dumb` and pipes switch them off unless `color` insists.
    pub(crate) fn new(color: ColorChoice) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        Self {
            out_is_terminal,
            out: BufWriter::new(io::stdout()),
            out_is_colored: is_colored(color, out_is_terminal),
            err_is_colored: is_colored(color, io::stderr().is_terminal()),
            width: width(out_is_terminal),
            seal: Seal::new(),
        }
    }

    /// Writes a line; on a terminal, as several that end between words.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        self.wrapped(&text.to_string(), None)
    }

    /// As [`Console::line`]; further lines begin at this column.
    pub(crate) fn hanging(&mut self, column: usize, text: impl fmt::Display) -> io::Result<()> {
        self.wrapped(&text.to_string(), Some(column))
    }

    /// Writes lines as they are: a table's, or those of a file.
    pub(crate) fn verbatim(&mut self, text: impl fmt::Display) -> io::Result<()> {
        let text = self.seal.open(&text.to_string());
        self.write(|out| writeln!(out, "{text}"))
    }

    /// Writes sentences in a style.
    pub(crate) fn paragraph(&mut self, style: Style, text: impl fmt::Display) -> io::Result<()> {
        let text = self.styled(style, &harmless(&text.to_string()));
        self.line(text)
    }

    fn wrapped(&mut self, text: &str, indent: Option<usize>) -> io::Result<()> {
        let text = self.seal.open(text);
        let text = match self.width.filter(|_| self.out_is_terminal) {
            Some(width) => wrap::wrapped(&text, within_reason(width), indent),
            None => text,
        };
        self.write(|out| writeln!(out, "{text}"))
    }

    /// Columns that a table may take.
    pub(crate) fn table_width(&self) -> usize {
        within_reason(self.width.unwrap_or(USUAL_WIDTH))
    }

    /// Whether standard output is a terminal, with a person before it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Writes a piece of what is still being said, and hands it over at once.
    pub(crate) fn piece(&mut self, text: &str) -> io::Result<()> {
        let text = self.seal.open(text);
        self.write(|out| {
            write!(out, "{text}")?;
            out.flush()
        })
    }

    /// Writes a value as JSON, on one line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        Ok(self.write(|out| writeln!(out, "{}", harmless_json(&text)))?)
    }

    /// Writes a value as JSON to be read by people, too.
    pub(crate) fn indented_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        Ok(self.write(|out| writeln!(out, "{}", harmless_json(&text)))?)
    }

    /// Writes while no progress is drawn, where both would share the terminal.
    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> io::Result<()> {
        match self.out_is_terminal {
            true => suspend(|| write(&mut self.out)),
            false => write(&mut self.out),
        }
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write(|out| out.flush())
    }

    /// `text` in a style, if standard output takes colours: to be written by this console.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        if self.out_is_colored { self.seal.close(style, text) } else { text.to_owned() }
    }

    /// Says on standard error what can be typed next: standard output holds results alone.
    pub(crate) fn next(&mut self, command: &str) -> io::Result<()> {
        self.flush()?;
        let label = self.styled_for_errors(AnsiColor::Green.on_default(), "next:");
        self.error_piece(&format!("{label} {command}\n"));
        Ok(())
    }

    /// Writes lines to standard error, on a terminal so that they end between words.
    pub(crate) fn error(&self, text: &str) {
        let text = self.seal.open(text);
        let text = error_width().map_or_else(|| text.clone(), |width| wrap::wrapped(&text, width, None));
        write_error(&text);
    }

    /// Writes to standard error as it is: a piece of what is still being said, or what is to be copied.
    pub(crate) fn error_piece(&self, text: &str) {
        write_error(&self.seal.open(text));
    }

    /// `text` in a style, if standard error takes colours: to be written by [`Console::error`].
    pub(crate) fn styled_for_errors(&self, style: Style, text: &str) -> String {
        if self.err_is_colored { self.seal.close(style, text) } else { text.to_owned() }
    }
}

impl Seal {
    fn new() -> Seal {
        // The one source of randomness in the standard library; a seed of its own for each process.
        Seal(format!("\u{1b}{:016x}", RandomState::new().hash_one("seal")))
    }

    /// `text` in a style, its escape sequences sealed. Each line is styled by itself, so that a pager that shows only some
    /// of them shows them right.
    fn close(&self, style: Style, text: &str) -> String {
        let styled = text.split('\n').map(|line| match line {
            "" => String::new(),
            line => format!("{0}{style}{1}{line}{0}{style:#}{1}", self.0, END_OF_SEALED),
        });
        styled.collect::<Vec<_>>().join("\n")
    }

    /// What may be written: sealed sequences as the terminal wants them, all else harmless.
    fn open(&self, text: &str) -> String {
        let mut parts = text.split(self.0.as_str());
        let mut shown = harmless(parts.next().unwrap_or_default()).into_owned();
        for part in parts {
            let (sequence, rest) = part.split_once(END_OF_SEALED).unwrap_or_default();
            shown.push_str(sequence);
            shown.push_str(&harmless(rest));
        }
        shown
    }
}

/// Ends a sealed sequence; no untrusted text follows the seal.
const END_OF_SEALED: char = '\u{0}';

/// Ends what a terminal shows in the middle of a line: styles end, and pasting is as before.
pub(crate) fn leave_terminal() {
    const PLAIN: &[u8] = b"\x1b[0m\x1b[?2004l\r\n";
    if io::stdout().is_terminal() {
        // Nobody is left to tell if it takes nothing more. The buffer of `Console` is left alone: its holder may be in the middle of it.
        let _ = suspend(|| io::stdout().write_all(PLAIN).and_then(|()| io::stdout().flush()));
    }
}

/// Starts the log on standard error, as detailed as `ALUDEL_LOG` says ("info" if it says nothing).
pub(crate) fn start_log(color: ColorChoice) -> anyhow::Result<()> {
    let wanted = std::env::var("ALUDEL_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|reason| {
        let mend = "give error, warn, info, debug or trace";
        Problems::one(Problem::new("ALUDEL_LOG", Some(wanted), reason.to_string(), mend))
    })?;
    let format = LogLine { is_colored: is_colored(color, io::stderr().is_terminal()) };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogWriter).event_format(format).init();
    Ok(())
}

/// If standard error is closed, the error cannot be reported.
fn write_error(text: &str) {
    let _ = suspend(|| io::stderr().write_all(text.as_bytes()));
}

/// The format of a log line: the level, and the escaped message; on a terminal, further lines are aligned with the message.
struct LogLine {
    is_colored: bool,
}

/// The column of the message, after the level.
const LOG_COLUMN: usize = 6;

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = String::new();
        context.field_format().format_fields(Writer::new(&mut said), event)?;
        let level = event.metadata().level();
        let color = match *level {
            Level::ERROR => AnsiColor::Red,
            Level::WARN => AnsiColor::Yellow,
            Level::INFO => AnsiColor::Green,
            Level::DEBUG => AnsiColor::Blue,
            Level::TRACE => AnsiColor::Magenta,
        };
        let style = if self.is_colored { color.on_default() } else { Style::new() };
        let line = format!("{style}{level:>5}{style:#} {}", harmless(&said));
        match error_width() {
            Some(width) => writeln!(writer, "{}", wrap::wrapped(&line, width, Some(LOG_COLUMN))),
            None => writeln!(writer, "{line}"),
        }
    }
}

/// How wide lines on standard output may be: what `COLUMNS` says, else the terminal.
fn width(out_is_terminal: bool) -> Option<usize> {
    let measured = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    columns_told().or_else(|| measured().filter(|_| out_is_terminal))
}

/// How wide lines on standard error may be; none where it is no terminal.
fn error_width() -> Option<usize> {
    let err = io::stderr();
    let measured = || terminal_size::terminal_size_of(&err).map(|(width, _)| usize::from(width.0));
    columns_told().or_else(measured).filter(|_| err.is_terminal()).map(within_reason)
}

fn columns_told() -> Option<usize> {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|&columns| columns > 0)
}

fn within_reason(width: usize) -> usize {
    width.clamp(NARROWEST, WIDEST)
}

fn is_colored(color: ColorChoice, is_terminal: bool) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_never_spans_a_line_break() {
        let seal = Seal::new();
        assert_eq!(seal.open(&seal.close(Style::new().bold(), "a\n\nb")), "\u{1b}[1ma\u{1b}[0m\n\n\u{1b}[1mb\u{1b}[0m");
    }

    #[test]
    fn untrusted_sequences_are_shown_inside_and_outside_of_a_style() {
        let seal = Seal::new();
        let text = format!("\u{1b}[2J{}\u{1b}0123456789abcdef[2J\0", seal.close(Style::new().bold(), "\u{1b}[8mx\0"));
        let shown = "\\u{1b}[2J\u{1b}[1m\\u{1b}[8mx\\u{0}\u{1b}[0m\\u{1b}0123456789abcdef[2J\\u{0}";
        assert_eq!(seal.open(&text), shown);
    }
}
