//! The way out to the terminal: standard output, its colours, and the log on standard error. Text that came from a
//! file or a model passes through [`harmless`] first, so that it can colour, move or hide nothing.

use aludel_distill::settings::{Problem, Problems};
use anstyle::Style;
use clap::ColorChoice;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use tracing_subscriber::EnvFilter;

/// Standard output, buffered, and the colours that it and standard error take.
pub(crate) struct Console {
    out: BufWriter<Stdout>,
    out_is_colored: bool,
    err_is_colored: bool,
}

impl Console {
    /// Decides on colours once; `NO_COLOR`, `TERM=dumb` and pipes switch them off unless `color` insists.
    pub(crate) fn new(color: ColorChoice) -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
            out_is_colored: is_colored(color, io::stdout().is_terminal()),
            err_is_colored: is_colored(color, io::stderr().is_terminal()),
        }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes a value as JSON, on one line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// Writes a value as JSON to be read by people, too.
    pub(crate) fn indented_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// `text` in a style, if standard output takes colours.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        styled(self.out_is_colored, style, text)
    }

    /// `text` in a style, if standard error takes colours.
    pub(crate) fn styled_for_errors(&self, style: Style, text: &str) -> String {
        styled(self.err_is_colored, style, text)
    }
}

/// Starts the log on standard error, as detailed as `ALUDEL_LOG` says ("info" if it says nothing).
pub(crate) fn start_log(color: ColorChoice) -> anyhow::Result<()> {
    let wanted = std::env::var("ALUDEL_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|reason| {
        let mend = "give error, warn, info, debug or trace";
        Problems::one(Problem::new("ALUDEL_LOG", Some(wanted), reason.to_string(), mend))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_colored(color, io::stderr().is_terminal()))
        .with_target(false)
        .without_time()
        .init();
    Ok(())
}

/// Text with its control characters made visible, line breaks and tabs aside: no escape sequence in it can reach the
/// terminal, and no direction mark can reorder what is read.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
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

fn styled(is_colored: bool, style: Style, text: &str) -> String {
    if !is_colored || text.is_empty() {
        return text.to_owned();
    }
    let mut shown = String::new();
    // Each line is styled by itself, so that a pager that shows only some of them shows them right.
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            shown.push('\n');
        }
        if !line.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{style}{line}{style:#}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        for (text, shown) in [
            ("plain\n\ttext — 中", "plain\n\ttext — 中"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\rb\u{7f}", "a\\u{d}b\\u{7f}"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\u{9b}1m", "\\u{9b}1m"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn a_style_never_spans_a_line_break() {
        let bold = Style::new().bold();
        assert_eq!(styled(true, bold, "a\n\nb"), "\u{1b}[1ma\u{1b}[0m\n\n\u{1b}[1mb\u{1b}[0m");
        assert_eq!(styled(false, bold, "a\nb"), "a\nb");
    }
}
