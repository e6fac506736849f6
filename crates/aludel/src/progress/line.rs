//! The text of progress: one line that fits a terminal, or one for a log. Measurements are in `estimate`.

use super::estimate::WorkKind;
use crate::humanize::grouped;
use std::time::Duration;

/// Minimum and maximum width of the bar, in characters.
const BAR: std::ops::RangeInclusive<usize> = 5..=30;

/// What a line says of the work at hand.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Position {
    /// Where it is: "step 12/24".
    pub(crate) position: String,
    /// The share of it that is done, where that is known.
    pub(crate) share: Option<f64>,
    /// What else is worth telling, the most telling first: "loss 1.6934".
    pub(crate) facts: Vec<String>,
}

impl Position {
    /// Units done of a total; a total of 0 means unknown.
    pub(crate) fn of(done: u64, total: u64, unit: &str) -> Position {
        Position::in_units(done, total, &[(1, unit)])
    }

    /// So many weights of a model of so many.
    pub(crate) fn of_weights(done: u64, total: u64) -> Position {
        Position::in_units(done, total, &[(1, "weights"), (1_000_000, "million weights")])
    }

    /// So many bytes of so many.
    pub(crate) fn of_bytes(done: u64, total: u64) -> Position {
        Position::in_units(done, total, &[(1, "bytes"), (1_000, "kB"), (1_000_000, "MB")])
    }

    /// Units done of a total, in the largest of these units in which progress is visible; the first is 1. The number done is rounded
    /// down, so that the total is only shown at the end.
    pub(crate) fn in_units(done: u64, total: u64, units: &[(u64, &str)]) -> Position {
        const ENOUGH: u64 = 10;
        let largest = units.iter().rev().find(|(size, _)| done.max(total) / size >= ENOUGH);
        let Some(&(size, unit)) = largest.or(units.first()) else { return Position::default() };
        let position = match total {
            0 if done == 0 => String::new(),
            0 => format!("{} {unit}", grouped(done / size)),
            _ if done >= total => format!("{0}/{0} {unit}", grouped(total.div_ceil(size))),
            _ => format!("{}/{} {unit}", grouped(done / size), grouped(total.div_ceil(size))),
        };
        Position { position, share: (total > 0).then(|| done as f64 / total as f64), facts: Vec::new() }
    }

    /// With another fact.
    pub(crate) fn with(mut self, fact: impl Into<String>) -> Position {
        self.facts.push(fact.into());
        self
    }
}

/// A moment of a command.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) part: Option<&'a str>,
    pub(super) kind: WorkKind,
    pub(super) at: &'a Position,
    pub(super) elapsed: Duration,
    /// Until the end of the command, or of the work at hand where `is_of_all` is false; unknown before anything was measured.
    pub(super) left: Option<Duration>,
    pub(super) is_of_all: bool,
}

impl Snapshot<'_> {
    /// One line of a log: all that is known.
    pub(super) fn log_line(&self) -> String {
        let mut parts = vec![self.head()];
        parts.extend(self.percent());
        parts.extend(self.at.facts.iter().cloned());
        parts.push(self.times());
        parts.join(", ")
    }

    /// How long it has taken and will take.
    pub(super) fn times(&self) -> String {
        format!("{} elapsed, {}", duration(self.elapsed), self.time_left(duration))
    }

    /// One line of this number of columns: what does not fit is left out, bar and facts first.
    pub(super) fn terminal_line(&self, columns: usize) -> String {
        let (head, times) = (self.head(), format!("{}, {}", clock(self.elapsed), self.time_left(clock)));
        for facts in (0..=self.at.facts.len()).rev() {
            let facts = &self.at.facts[..facts];
            let tail: Vec<String> =
                self.percent().into_iter().chain(facts.iter().cloned()).chain([times.clone()]).collect();
            let tail = tail.join("  ");
            // a letter less than there are columns: some terminals break the line at the last
            let room = columns.saturating_sub(1 + letters(&head) + 2 + letters(&tail));
            if let Some(share) = self.at.share.filter(|_| room >= *BAR.start() + 4) {
                let width = (room - 4).min(*BAR.end());
                return format!("{head}  {}  {tail}", bar(share, width));
            }
            if letters(&head) + 2 + letters(&tail) < columns || facts.is_empty() {
                return format!("{head}  {tail}");
            }
        }
        head
    }

    fn head(&self) -> String {
        let part = self.part.map_or_else(String::new, |part| format!("{part}: "));
        match self.at.position.is_empty() {
            true => format!("{part}{}", self.kind.name()),
            false => format!("{part}{} {}", self.kind.name(), self.at.position),
        }
    }

    fn percent(&self) -> Option<String> {
        // rounded down: 100% is only shown at the end
        Some(format!("{:.0}%", (100.0 * self.at.share?.clamp(0.0, 1.0)).floor()))
    }

    fn time_left(&self, said: impl Fn(Duration) -> String) -> String {
        let left = self.left.map_or_else(|| "–".to_owned(), said);
        match self.is_of_all || self.left.is_none() {
            true => format!("{left} left"),
            false => format!("{left} left of {}", self.kind.name()),
        }
    }
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).floor() as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(width - full))
}

/// A duration in readable form, to the second below an hour.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time as clocks show it, where there is little room.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: &Position) -> Snapshot<'_> {
        let (elapsed, left) = (Duration::from_secs(125), Some(Duration::from_secs(160)));
        Snapshot { part: None, kind: WorkKind::Training, at, elapsed, left, is_of_all: true }
    }

    fn training() -> Position {
        Position { share: Some(0.459), ..Position::of(11, 24, "steps") }.with("loss 1.6934").with("812 tokens/s")
    }

    #[test]
    fn a_line_fits_its_terminal_and_loses_the_least_first() {
        let at = training();
        let moment = moment(&at);
        for (columns, line) in [
            (
                120,
                "training 11/24 steps  [=============                 ]  45%  loss 1.6934  812 tokens/s  2:05, 2:40 left",
            ),
            (80, "training 11/24 steps  [==    ]  45%  loss 1.6934  812 tokens/s  2:05, 2:40 left"),
            (76, "training 11/24 steps  45%  loss 1.6934  812 tokens/s  2:05, 2:40 left"),
            (65, "training 11/24 steps  [==   ]  45%  loss 1.6934  2:05, 2:40 left"),
            (60, "training 11/24 steps  45%  loss 1.6934  2:05, 2:40 left"),
            (48, "training 11/24 steps  45%  2:05, 2:40 left"),
            (20, "training 11/24 steps  45%  2:05, 2:40 left"),
        ] {
            let said = moment.terminal_line(columns);
            assert_eq!(said, line, "{columns}");
        }
    }

    #[test]
    fn a_log_line_says_the_same_facts() {
        let at = training();
        let line = "training 11/24 steps, 45%, loss 1.6934, 812 tokens/s, 2 min 05 s elapsed, 2 min 40 s left";
        assert_eq!(moment(&at).log_line(), line);
        let loading = Snapshot { kind: WorkKind::Loading, at: &Position::default(), left: None, ..moment(&at) };
        assert_eq!(loading.log_line(), "loading, 2 min 05 s elapsed, – left");
        let at = Position::of_bytes(12_400_000, 40_000_000);
        let tokenising = Snapshot { kind: WorkKind::Tokenising, at: &at, is_of_all: false, ..moment(&at) };
        assert_eq!(
            tokenising.log_line(),
            "tokenising 12/40 MB, 31%, 2 min 05 s elapsed, 2 min 40 s left of tokenising"
        );
    }

    #[test]
    fn counts_are_of_what_is_done_in_units_that_show_it() {
        for (at, said) in [
            (Position::of_bytes(0, 0), "tokenising"),
            (Position::of_bytes(1_200_000, 0), "tokenising 1,200 kB"),
            (Position::of_bytes(0, 512), "tokenising 0/512 bytes, 0%"),
            (Position::of_bytes(299_999, 300_000), "tokenising 299/300 kB, 99%"),
            (Position::of_bytes(300_001, 300_001), "tokenising 301/301 kB, 100%"),
            (Position::of_bytes(39_999_999, 40_000_000), "tokenising 39/40 MB, 99%"),
            (Position::of(7, 8, "rows"), "tokenising 7/8 rows, 87%"),
            (Position::of(3, 0, "rows"), "tokenising 3 rows"),
        ] {
            let moment = Snapshot { kind: WorkKind::Tokenising, left: None, ..moment(&at) };
            assert_eq!(moment.log_line(), format!("{said}, 2 min 05 s elapsed, – left"));
        }
    }

    #[test]
    fn times_are_read_at_a_glance() {
        for (seconds, said) in [
            (0.4, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (605.0, "10 min 05 s"),
            (3599.9, "1 h 00 min"),
            (9000.0, "2 h 30 min"),
            (360_000.0, "100 h 00 min"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), said);
        }
        for (seconds, said) in [(0.4, "0:00"), (59.6, "1:00"), (605.0, "10:05"), (9000.0, "2:30:00")] {
            assert_eq!(clock(Duration::from_secs_f64(seconds)), said);
        }
    }
}
