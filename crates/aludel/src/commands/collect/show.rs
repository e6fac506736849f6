//! What is said while answers come in, and at the end: a progress bar on a terminal, a line now and then elsewhere, and on
//! request the live table. Words of servers pass through `harmless`.

use super::warnings::Warnings;
use super::watch::Watch;
use crate::commands::collect::Console;
use crate::console::harmless;
use crate::figures::{cost, duration, interval};
use aludel_traces::collect::{End, Event, Notice, Prediction, Progress};
use anstyle::Style;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Lines where there is no terminal come so far apart.
const LINES_APART: Duration = Duration::from_secs(10);

/// Whoever shows how far it is.
pub(super) struct Shown {
    bar: ProgressBar,
    watch: Option<Watch>,
    is_terminal: bool,
    stop: Arc<AtomicBool>,
    is_stopping: bool,
    last_line: Instant,
    kept_lines: Vec<String>,
    warnings: Warnings,
}

impl Shown {
    /// With `watch`, and where standard error is a terminal, a live table of endpoints takes the place of the bar until someone
    /// sets `stop`: from then on, a second signal may end the process at any moment, and the terminal must be whole by then.
    pub(super) fn new(watch: bool, stop: &Arc<AtomicBool>) -> anyhow::Result<Shown> {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let watch = if watch && is_terminal { Some(Watch::start()?) } else { None };
        let stop = Arc::clone(stop);
        Ok(Shown {
            bar,
            watch,
            is_terminal,
            stop,
            is_stopping: false,
            last_line: Instant::now(),
            kept_lines: Vec::new(),
            warnings: Warnings::default(),
        })
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Progress(progress) => self.progress(&progress),
            Event::Notice(notice) => self.notice(&notice),
        }
    }

    /// Takes away whatever moves, and tells which warnings came more than once. Gives all of them.
    pub(super) fn finish(mut self) -> anyhow::Result<Warnings> {
        self.bar.finish_and_clear();
        self.close_table()?;
        self.warnings.repeated().iter().for_each(|line| tracing::warn!("{line}"));
        Ok(self.warnings)
    }

    /// Gives the terminal back and logs what the table has covered.
    fn close_table(&mut self) -> anyhow::Result<()> {
        let closed = self.watch.take().map_or(Ok(()), Watch::end);
        self.kept_lines.drain(..).for_each(|line| tracing::warn!("{line}"));
        Ok(closed?)
    }

    fn progress(&mut self, progress: &Progress) {
        if self.stop.load(Ordering::Relaxed) && !self.is_stopping {
            self.is_stopping = true;
            // A terminal that cannot be given back is no reason to lose answers on their way.
            let _ = self.close_table();
            let left = progress.in_flight;
            self.bar.suspend(|| {
                tracing::info!("stopping: {left} answers on their way are waited for; a second signal ends at once")
            });
        }
        if let Some(watch) = &mut self.watch {
            watch.draw(progress);
            return;
        }
        self.bar.set_length(progress.wanted);
        self.bar.set_position(progress.done + progress.failed);
        self.bar.set_message(pace(progress));
        if !self.is_terminal && self.last_line.elapsed() >= LINES_APART {
            self.last_line = Instant::now();
            tracing::info!("{} of {}, {}", progress.done + progress.failed, progress.wanted, pace(progress));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let (line, kind) = told(notice);
        if !self.warnings.is_first(&kind) {
            return;
        }
        match &mut self.watch {
            Some(watch) => {
                watch.note(&line);
                self.kept_lines.push(line);
            }
            None => self.bar.suspend(|| tracing::warn!("{line}")),
        }
    }
}

/// A notice in words, and what those of its kind have in common.
fn told(notice: &Notice) -> (String, String) {
    let line = match notice {
        Notice::Gone { endpoint, words } => {
            format!("{endpoint} does not answer ({words}); it is tried again now and then")
        }
        Notice::Unpriced { answers } => {
            format!("{answers} answers in the store have no known price, and trace.max_cost does not count them")
        }
        Notice::Out { endpoint, words } => format!("{endpoint} is asked no more: {words}"),
        Notice::HidesReasoning { endpoint } => format!(
            "{endpoint}: the model reasons, and the server does not show it, so that these traces hold answers alone; stop and ask \
             for the reasoning (trace.extra_body), or take another teacher"
        ),
        Notice::Unread { endpoint, what } => format!("{endpoint}: {what}"),
        Notice::Skipped { origin, words } => format!("{origin}: not answered: {words}"),
        Notice::Left { origin, words } => format!("{origin}: left for another run: {words}"),
    };
    let kind = match notice {
        Notice::Gone { endpoint, .. } => format!("{endpoint} did not answer"),
        Notice::Skipped { words, .. } => format!("not answered: {words}"),
        Notice::Left { words, .. } => format!("left for another run: {words}"),
        _ => line.clone(),
    };
    (harmless(&line).into_owned(), harmless(&kind).into_owned())
}

/// Failures, pace, cost and time left, on one line.
pub(super) fn pace(progress: &Progress) -> String {
    let mut line = format!("{:.0} tokens/s", progress.tokens_per_second);
    if progress.failed > 0 {
        line = format!("{} not answered, {line}", progress.failed);
    }
    if progress.cost.is_some() {
        line.push_str(&format!(", {}", cost(progress.cost)));
    }
    if let Some(left) = progress.seconds_left {
        line.push_str(&format!(", {} left", duration(left)));
    }
    line
}

/// What became of a run, on one line.
pub(super) fn summary(progress: &Progress, store: &Path) -> String {
    let cut = if progress.cut > 0 { format!(", {} of them cut off", progress.cut) } else { String::new() };
    let hidden = match progress.without_reasoning {
        0 => String::new(),
        hidden => format!(", {hidden} of them without the reasoning that the model had"),
    };
    let unanswered = match progress.unanswered {
        0 => String::new(),
        empty => format!(", {empty} of them not whole (empty, or reasoning that never closes)"),
    };
    let unread = match progress.with_unread {
        0 => String::new(),
        some => format!(", {some} of them beside what is not understood"),
    };
    format!(
        "kept: {} of {} answers{cut}{unanswered}{hidden}{unread}; {} questions not answered; {} + {} tokens, {}, {} in {}",
        progress.done,
        progress.wanted,
        progress.failed,
        progress.prompt_tokens,
        progress.completion_tokens,
        cost(progress.cost),
        duration(progress.seconds),
        store.display()
    )
}

/// The prediction as a table.
pub(super) fn prediction(console: &mut Console, prediction: &Prediction, pilot: &Progress) -> anyhow::Result<()> {
    console.line(format_args!(
        "pilot: {} answers, {} asked now ({}); still missing: {}",
        prediction.pilot,
        pilot.done,
        cost(pilot.cost),
        prediction.missing
    ))?;
    let head = format!("{:<20}{:>16}{:>16}{:>16}", "the rest", "expected", "from", "to");
    let head = console.styled(Style::new().bold(), &head);
    console.line(head)?;
    let mut row = |name: &str, [expected, low, high]: [String; 3]| {
        console.line(format_args!("{name:<20}{expected:>16}{low:>16}{high:>16}"))
    };
    let whole = |value: f64| format!("{value:.0}");
    row("prompt tokens", interval(&prediction.prompt_tokens, whole))?;
    row("completion tokens", interval(&prediction.completion_tokens, whole))?;
    row("time", interval(&prediction.seconds, duration))?;
    match &prediction.cost {
        Some(dollars) => row("cost", interval(dollars, |dollars| cost(Some(dollars))))?,
        None => row("cost", [cost(None), String::new(), String::new()])?,
    }
    console.line("from and to: 95%, by Student's t over the pilot's prompts")?;
    Ok(())
}

/// The name of an end that scripts go by.
pub(super) fn name(end: &End) -> &'static str {
    match end {
        End::Finished => "finished",
        End::Incomplete { .. } => "incomplete",
        End::Stopped => "stopped",
        End::Budget { .. } => "budget",
        End::Silent { .. } => "silent",
        End::Refused { .. } => "refused",
    }
}

/// Why a run ended early.
pub(super) fn reason(end: &End) -> Option<String> {
    match end {
        End::Finished => None,
        End::Incomplete { left } => Some(format!("{left} questions failed too often and are left for another run")),
        End::Stopped => Some("stopped".to_owned()),
        End::Budget { reason } => Some(format!("the budget is used up: {reason}")),
        End::Silent { words } => Some(format!("no teacher has answered for a long time: {words}")),
        End::Refused { words } => Some(format!("no teacher answers: {}", words.join("; "))),
    }
}
