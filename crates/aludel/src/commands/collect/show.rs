//! Output of a collection: progress and notices while it runs, on request the live table, and the summary at its end. Texts of servers are
//! escaped by `harmless`.

use super::progress_text::facts;
use super::warnings::Warnings;
use super::watch::Watch;
use crate::commands::collect::Console;
use crate::console::harmless;
use crate::humanize::{cost, duration, grouped, interval};
use crate::progress::{self, Position, WorkKind};
use crate::table::Table;
use aludel_files::counted;
use aludel_teacher::collect::{End, Event, Notice, Prediction, Progress};
use anstyle::Style;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Displays the progress of a collection.
pub(super) struct CollectDisplay {
    /// None while the table is there.
    progress: Option<progress::Progress>,
    watch: Option<Watch>,
    stop: Arc<AtomicBool>,
    is_stopping: bool,
    kept_lines: Vec<String>,
    warnings: Warnings,
}

impl CollectDisplay {
    /// With `watch`, and where standard error is a terminal, a live table of endpoints takes the place of the bar until someone
    /// sets `stop`: from then on, a second signal may end the process at any moment, and the terminal must be whole by then.
    pub(super) fn new(watch: bool, stop: &Arc<AtomicBool>) -> anyhow::Result<CollectDisplay> {
        let is_terminal = std::io::stderr().is_terminal();
        let watch = if watch && is_terminal { Some(Watch::start()?) } else { None };
        let progress = watch.is_none().then(progress::Progress::new);
        let stop = Arc::clone(stop);
        Ok(CollectDisplay {
            progress,
            watch,
            stop,
            is_stopping: false,
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

    /// Removes progress bar or table, and prints which warnings came more than once. Returns all of them.
    pub(super) fn finish(mut self) -> anyhow::Result<Warnings> {
        self.progress = None;
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
        if self.stop.load(Ordering::Relaxed) && !self.is_stopping && !progress.is_all_settled() {
            self.is_stopping = true;
            // A terminal that cannot be given back is no reason to lose answers on their way.
            let _ = self.close_table();
            let left = progress.in_flight;
            tracing::info!("stopping: {left} answers on their way are waited for; a second signal ends at once");
        }
        if let Some(watch) = &mut self.watch {
            watch.draw(progress);
            return;
        }
        let settled = progress.done + progress.failed;
        let mut at = Position::of(settled, progress.wanted, "answers");
        at.facts = facts(progress);
        let shown = self.progress.get_or_insert_with(progress::Progress::new);
        shown.reach_of(WorkKind::Collecting, settled as f64, progress.wanted as f64, at);
    }

    fn notice(&mut self, notice: &Notice) {
        let (line, kind) = notice_text(notice);
        if !self.warnings.is_first(&kind) {
            return;
        }
        match &mut self.watch {
            Some(watch) => {
                watch.note(&line);
                self.kept_lines.push(line);
            }
            None => tracing::warn!("{line}"),
        }
    }
}

/// A notice in words, and what those of its kind have in common.
fn notice_text(notice: &Notice) -> (String, String) {
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

/// The summary of a run, on one line.
pub(super) fn summary(progress: &Progress, store: &Path) -> String {
    if let Some(nothing) = nothing_to_ask(progress) {
        return format!("{nothing}, in {}", store.display());
    }
    let there = match progress.there {
        0 => String::new(),
        there => format!(" ({} there already)", counted(there, "other was", "others were")),
    };
    let cut = if progress.cut > 0 { format!(", {} of them cut off", grouped(progress.cut)) } else { String::new() };
    let hidden = match progress.without_reasoning {
        0 => String::new(),
        hidden => format!(", {} of them without the reasoning that the model had", grouped(hidden)),
    };
    let unanswered = match progress.unanswered {
        0 => String::new(),
        empty => format!(", {} of them not whole (empty, or reasoning that never closes)", grouped(empty)),
    };
    let unread = match progress.with_unread {
        0 => String::new(),
        some => format!(", {} of them beside what is not understood", grouped(some)),
    };
    let not_asked = match progress.not_asked() {
        0 => String::new(),
        not_asked => format!(", {not_asked} not asked"),
    };
    format!(
        "kept: {} of {} answers{there}{cut}{unanswered}{hidden}{unread}; {} questions not answered{not_asked}; {} + {} tokens, {}, {} in {}",
        grouped(progress.done),
        grouped(progress.wanted),
        grouped(progress.not_answered()),
        grouped(progress.prompt_tokens),
        grouped(progress.completion_tokens),
        cost(progress.cost),
        duration(progress.seconds),
        store.display()
    )
}

/// The message if the store already has every answer.
fn nothing_to_ask(progress: &Progress) -> Option<String> {
    let Progress { wanted, there, there_failed, .. } = *progress;
    let answers = counted(there, "answer is", "answers are");
    match (wanted, there_failed) {
        (0, 0) if there > 1 => Some(format!("nothing to ask: all {answers} there already")),
        (0, 0) => Some(format!("nothing to ask: {answers} there already")),
        (0, failed) => {
            let questions = counted(failed, "question was", "questions were");
            Some(format!("nothing to ask: {answers} there already, and {questions} not taken"))
        }
        _ => None,
    }
}

/// The prediction as a table.
pub(super) fn prediction(console: &mut Console, prediction: &Prediction, pilot: &Progress) -> anyhow::Result<()> {
    console.line(format_args!(
        "pilot: {} answers, {} asked now ({}); still missing: {}",
        grouped(prediction.pilot),
        grouped(pilot.done),
        cost(pilot.cost),
        grouped(prediction.missing)
    ))?;
    console.line("")?;
    predicted(prediction).print(console)?;
    console.paragraph(
        Style::new().dimmed(),
        "from and to: 95%, by Student's t over the pilot's prompts; time from what it is if servers answer any number of questions at once \
         as fast as the pilot's, to what it is if they can do no more at once than they did of the pilot",
    )?;
    Ok(())
}

/// What the rest will take, a row for each thing.
fn predicted(prediction: &Prediction) -> Table {
    let whole = |value: f64| grouped(value.round().max(0.0) as u64);
    let mut table = Table::new("the rest").numbers(["expected", "from", "to"]);
    let mut row = |name: &str, cells: [String; 3]| table.row([name.to_owned()].into_iter().chain(cells));
    row("prompt tokens", interval(&prediction.prompt_tokens, whole));
    row("completion tokens", interval(&prediction.completion_tokens, whole));
    row("time", interval(&prediction.seconds, duration));
    match &prediction.cost {
        Some(dollars) => row("cost", interval(dollars, |dollars| cost(Some(dollars)))),
        None => row("cost", [cost(None), String::new(), String::new()]),
    }
    table
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

#[cfg(test)]
mod tests {
    use super::*;
    use aludel_teacher::collect::Interval;

    #[test]
    fn a_run_without_questions_tells_what_is_there() {
        let of = |there, there_failed| {
            summary(&Progress { there, there_failed, ..Progress::default() }, Path::new("traces.db"))
        };
        assert_eq!(of(30, 0), "nothing to ask: all 30 answers are there already, in traces.db");
        assert_eq!(of(1, 0), "nothing to ask: 1 answer is there already, in traces.db");
        let refused = "nothing to ask: 11 answers are there already, and 1 question was not taken, in traces.db";
        assert_eq!(of(11, 1), refused);
        let some = Progress { wanted: 3, asked: 3, done: 3, there: 27, ..Progress::default() };
        let told = summary(&some, Path::new("traces.db"));
        assert!(told.starts_with("kept: 3 of 3 answers (27 others were there already); 0 questions"), "{told}");
    }

    #[test]
    fn what_was_answered_failed_and_was_never_asked_adds_up() {
        let told = |done, failed, left, asked| {
            let progress = Progress { wanted: 200, done, failed, left, asked, ..Progress::default() };
            summary(&progress, Path::new("traces.db"))
        };
        // A misspelt model: 64 requests at once, and none will be answered.
        assert!(told(0, 0, 0, 64).starts_with("kept: 0 of 200 answers; 64 questions not answered, 136 not asked; "));
        assert!(
            told(120, 3, 2, 130).starts_with("kept: 120 of 200 answers; 10 questions not answered, 70 not asked; ")
        );
        assert!(told(197, 2, 1, 200).starts_with("kept: 197 of 200 answers; 3 questions not answered; "));
    }

    #[test]
    fn a_prediction_is_a_table_as_any_other() {
        let of = |low, expected, high| Interval { low, expected, high };
        let mut prediction = Prediction {
            pilot: 20,
            missing: 4980,
            prompt_tokens: of(481_000.4, 512_000.0, 543_000.0),
            completion_tokens: of(3_100_000.0, 4_200_000.0, 5_300_000.0),
            cost: Some(of(1.5, 2.25, 3.0)),
            seconds: of(420.0, 1900.0, 7300.0),
        };
        let wanted = "\
the rest            expected       from         to
prompt tokens        512,000    481,000    543,000
completion tokens  4,200,000  3,100,000  5,300,000
time                  32 min      7 min        2 h
cost                   $2.25      $1.50      $3.00
";
        assert_eq!(predicted(&prediction).text(80), wanted);
        prediction.cost = None;
        let lines = predicted(&prediction).text(80);
        let last = lines.lines().last().unwrap();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["cost", "price", "unknown"]);
        assert!(lines.lines().all(|line| line.trim_end() == line), "{lines}");
    }
}
