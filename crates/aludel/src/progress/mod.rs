//! Progress of every command: one line on a terminal that is redrawn, or a log line at intervals without a terminal. `main` keeps one of
//! these for the whole of a command, so that none is silent for long, whatever it does; commands show what they know on top of it.
//! `estimate` has the remaining work and time, `line` the text, `log_writer` keeps
//! log lines apart from what is drawn.

mod estimate;
mod line;
mod log_writer;
mod training;

use crate::console::escape::harmless;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use estimate::Estimate;
pub(crate) use estimate::{UnmeasuredCost, WorkKind};
pub(crate) use line::Position;
use line::Snapshot;
pub(crate) use log_writer::LogWriter;
pub(crate) use training::TrainingProgress;

/// A terminal's line is drawn anew so often.
const DRAWN_APART: Duration = Duration::from_millis(100);

/// Without a terminal, the log is never silent for longer. Somewhat less than half a minute: a busy machine may be late.
const LINES_APART: Duration = Duration::from_secs(25);

/// Where neither a terminal nor anybody says how wide it is.
const COLUMNS: usize = 80;

/// Shows how far a command is, from its making until it is dropped. Of several at once the newest that has
/// begun any work is shown.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    started: Instant,
    state: Mutex<State>,
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    is_ended: Mutex<bool>,
    end: Condvar,
}

/// All that there are, the newest last; whatever writes to a terminal takes away first what is shown. It is locked before any state.
static SHOWN: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one that is shown.
fn current(all: &[Arc<Shared>]) -> Option<&Arc<Shared>> {
    all.iter().rev().find(|shown| locked(&shown.state).work.is_some())
}

/// Does something to the terminal while no progress is drawn there, so that nothing shares a line with it.
pub(crate) fn suspend<T>(write: impl FnOnce() -> T) -> T {
    let shown = current(&locked(&SHOWN)).cloned();
    match shown.as_ref().and_then(|shown| shown.bar.as_ref()) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Takes away what is drawn, and ends the line that a terminal shows a key on (as ^C): the process is about to end.
pub(crate) fn end_line() {
    for shown in locked(&SHOWN).drain(..) {
        shown.clear();
    }
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(b"\n");
    }
}

impl Progress {
    /// Shows nothing until the first work begins.
    pub(crate) fn new() -> Progress {
        Progress::of(Phase::whole())
    }

    /// For the whole of a process, below whatever its command shows: without a terminal, it breaks any silence. On a terminal there is
    /// nothing to see of it.
    pub(crate) fn of_the_process() -> Progress {
        let progress = Progress::with_bar(Phase::whole(), None);
        if !io::stderr().is_terminal() {
            progress.begin(WorkKind::Running);
        }
        progress
    }

    /// As [`Progress::new`], for a part of a command.
    pub(crate) fn of(part: Phase) -> Progress {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let bar = (io::stderr().is_terminal() && !is_dumb).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress::with_bar(part, bar)
    }

    fn with_bar(part: Phase, bar: Option<ProgressBar>) -> Progress {
        let started = Instant::now();
        let mut shown = locked(&SHOWN);
        // The silence before counts, too.
        let quiet_before = shown.last().map(|older| locked(&older.state).silence(older.started.elapsed()));
        let state = State { part, quiet_before: quiet_before.unwrap_or_default(), ..State::default() };
        let shared = Arc::new(Shared {
            started,
            state: Mutex::new(state),
            bar,
            is_ended: Mutex::new(false),
            end: Condvar::new(),
        });
        shown.push(Arc::clone(&shared));
        drop(shown);
        let ticking = Arc::clone(&shared);
        // Without a thread nothing is drawn, and the work is done all the same.
        let ticker = std::thread::Builder::new().name("progress".to_owned()).spawn(move || ticking.run()).ok();
        Progress { shared, ticker }
    }

    /// Sets the total units of a kind of work, `done` of which are already done.
    pub(crate) fn expect(&self, kind: WorkKind, done: f64, total: f64, until_measured: UnmeasuredCost) {
        locked(&self.shared.state).estimate.expect(kind, done, total, until_measured);
    }

    /// As [`Progress::expect`] of nothing that was done before, where it is not expected yet.
    pub(crate) fn expect_once(&self, kind: WorkKind, total: f64, until_measured: UnmeasuredCost) {
        let mut state = locked(&self.shared.state);
        if !state.estimate.expects(kind) {
            state.estimate.expect(kind, 0.0, total, until_measured);
        }
    }

    /// Forgets what was expected: it was of another part of the command.
    pub(crate) fn forget(&self) {
        locked(&self.shared.state).estimate.forget();
    }

    /// Work begins of which it is not known how far it is.
    pub(crate) fn begin(&self, kind: WorkKind) {
        self.shared.now(|state, now| state.begin(now, kind, Position::default()));
    }

    /// Begins work of unknown length.
    pub(crate) fn begin_at(&self, kind: WorkKind, at: Position) {
        self.shared.now(|state, now| state.begin(now, kind, at));
    }

    /// Sets the units done of a kind whose total was set before.
    pub(crate) fn reach(&self, kind: WorkKind, done: f64, at: Position) {
        self.shared.now(|state, now| state.reach(now, kind, done, at));
    }

    /// Sets the units done and the total as far as it is known now.
    pub(crate) fn reach_of(&self, kind: WorkKind, done: f64, total: f64, at: Position) {
        self.shared.now(|state, now| {
            state.estimate.expect_now(kind, total);
            state.reach(now, kind, done, at);
        });
    }

    /// Sets the number of merged weights.
    pub(crate) fn merging(&self, done: u64, total: u64) {
        self.reach_of(WorkKind::Merging, done as f64, total as f64, Position::of_weights(done, total));
    }

    /// So many weights of a kind of work are done.
    pub(crate) fn weights(&self, kind: WorkKind, done: u64, total: u64) {
        self.reach_of(kind, done as f64, total as f64, Position::of_weights(done, total));
    }

    /// So many tokens of a kind of work are done.
    pub(crate) fn tokens(&self, kind: WorkKind, done: u64, total: u64) {
        self.reach_of(kind, done as f64, total as f64, Position::of(done, total, "tokens"));
    }

    /// A model is loaded so far.
    pub(crate) fn loading(&self, done: u64, total: u64) {
        self.reach_of(WorkKind::Loading, done as f64, total as f64, Position::of_weights(done, total));
    }

    /// Time since the beginning, and until the end as far as it is known: for the end of a line of the log.
    pub(crate) fn times(&self) -> String {
        let now = self.shared.started.elapsed();
        locked(&self.shared.state).moment(now, |moment| moment.times()).unwrap_or_default()
    }

    /// Units a second of a kind of work so far.
    pub(crate) fn rate(&self, kind: WorkKind) -> Option<f64> {
        locked(&self.shared.state).estimate.rate(kind)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        *locked(&self.shared.is_ended) = true;
        self.shared.end.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
        self.shared.clear();
        locked(&SHOWN).retain(|shown| !Arc::ptr_eq(shown, &self.shared));
    }
}

impl Shared {
    fn now(&self, change: impl FnOnce(&mut State, Duration)) {
        let mut state = locked(&self.state);
        let is_first = state.work.is_none();
        change(&mut state, self.started.elapsed());
        drop(state);
        if is_first {
            // What was shown before it makes way.
            locked(&SHOWN)
                .iter()
                .filter(|other| !std::ptr::eq(Arc::as_ptr(other), self))
                .for_each(|other| other.clear());
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn run(self: Arc<Shared>) {
        let mut is_ended = locked(&self.is_ended);
        while !*is_ended {
            is_ended = self.end.wait_timeout(is_ended, DRAWN_APART).unwrap_or_else(PoisonError::into_inner).0;
            if !*is_ended && self.is_shown(&locked(&SHOWN)) {
                self.tick();
            }
        }
    }

    fn is_shown(&self, all: &[Arc<Shared>]) -> bool {
        current(all).is_some_and(|shown| std::ptr::eq(Arc::as_ptr(shown), self))
    }

    /// Draws, or writes a line where one is due. The state is not held meanwhile: writing asks for it.
    fn tick(&self) {
        let now = self.started.elapsed();
        match &self.bar {
            Some(bar) => {
                let columns =
                    terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0.into());
                let line = locked(&self.state).moment(now, |moment| moment.terminal_line(columns));
                // Held while it is drawn, or it could be drawn again after it made way.
                let all = locked(&SHOWN);
                if !self.is_shown(&all) {
                    return;
                }
                // Whatever was shown in its place has ended.
                if bar.is_finished() {
                    bar.reset();
                }
                if let Some(line) = line {
                    // It may contain untrusted file names, and must stay one line.
                    bar.set_message(harmless(&line).replace(['\n', '\t'], " "));
                }
            }
            None => {
                let line = locked(&self.state).line_due(now);
                if let Some(line) = line {
                    tracing::info!("{line}");
                }
            }
        }
    }
}

/// A phase of a command that has several, each with progress of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase {
    /// What a line says of it: "model 1/2".
    name: Option<String>,
    then: NextPhases,
}

/// What follows a phase.
#[derive(Debug, Clone, Copy, Default)]
enum NextPhases {
    /// Nothing that takes long.
    #[default]
    Nothing,
    /// Of unknown duration: the remaining time shown is that of this phase.
    Unknown,
    /// It was measured.
    Takes(Duration),
    /// This number of phases, expected to take as long as this one.
    Alike(u32),
}

impl Phase {
    /// All of a command.
    pub(crate) fn whole() -> Phase {
        Phase::default()
    }

    /// A phase before others of unknown duration.
    pub(crate) fn before_others(name: impl Into<String>) -> Phase {
        Phase { name: Some(name.into()), then: NextPhases::Unknown }
    }

    /// A phase before others of this total duration; if it is unknown, as [`Phase::before_others`].
    pub(crate) fn before(name: impl Into<String>, others: Option<Duration>) -> Phase {
        Phase { name: Some(name.into()), then: others.map_or(NextPhases::Unknown, NextPhases::Takes) }
    }

    /// One of several that are alike, counted from 0.
    pub(crate) fn one_of(what: &str, index: usize, count: usize) -> Phase {
        match count {
            0 | 1 => Phase::whole(),
            _ => Phase {
                name: Some(format!("{what} {}/{count}", index + 1)),
                then: NextPhases::Alike(count.saturating_sub(index + 1) as u32),
            },
        }
    }
}

/// What is being done; the time comes from outside.
#[derive(Debug, Default)]
struct State {
    part: Phase,
    estimate: Estimate,
    work: Option<(WorkKind, Position)>,
    /// When the log last had a line.
    last_line: Duration,
    /// For how long it had none before this began; zero once it had one since.
    quiet_before: Duration,
}

impl State {
    fn begin(&mut self, now: Duration, kind: WorkKind, at: Position) {
        self.estimate.begin(now, kind);
        self.work = Some((kind, at));
    }

    fn reach(&mut self, now: Duration, kind: WorkKind, done: f64, at: Position) {
        self.estimate.reach(now, kind, done);
        self.work = Some((kind, at));
    }

    fn moment<T>(&self, now: Duration, read: impl FnOnce(Snapshot<'_>) -> T) -> Option<T> {
        let (kind, at) = self.work.as_ref()?;
        let of_part = self.estimate.left(now);
        let (left, is_of_all) = match (of_part, self.part.then) {
            (left, _) if kind.is_preparation() => (left, false),
            (left, NextPhases::Unknown) => (left, false),
            (left, NextPhases::Nothing) => (left, true),
            (left, NextPhases::Takes(others)) => (left.map(|left| left + others), true),
            (left, NextPhases::Alike(parts)) => (left.map(|left| left + (now + left) * parts), true),
        };
        Some(read(Snapshot { part: self.part.name.as_deref(), kind: *kind, at, elapsed: now, left, is_of_all }))
    }

    /// The line that is due now, if one is.
    fn line_due(&mut self, now: Duration) -> Option<String> {
        if self.silence(now) < LINES_APART {
            return None;
        }
        let line = self.moment(now, |moment| moment.log_line())?;
        self.broken_silence(now);
        Some(line)
    }

    /// For how long the log has had no line.
    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_line) + self.quiet_before
    }

    fn broken_silence(&mut self, now: Duration) {
        (self.last_line, self.quiet_before) = (now, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour of a command without a terminal, in which a unit takes up to ten minutes and nothing else is logged.
    #[test]
    fn without_a_terminal_no_silence_lasts_half_a_minute() {
        let mut state = State::default();
        let (mut lines, mut last) = (0, Duration::ZERO);
        state.begin(Duration::ZERO, WorkKind::Loading, Position::default());
        for tick in 1..=36_000u32 {
            let now = DRAWN_APART * tick;
            if tick == 300 {
                state.estimate.expect(WorkKind::Training, 0.0, 6.0, UnmeasuredCost::Unknown);
                state.begin(now, WorkKind::Training, Position::of(0, 6, "steps"));
            }
            if tick % 6000 == 0 {
                let step = u64::from(tick / 6000);
                state.reach(now, WorkKind::Training, step as f64, Position::of(step, 6, "steps"));
            }
            if let Some(line) = state.line_due(now) {
                assert!(now - last <= Duration::from_secs(30), "{last:?} to {now:?}");
                // nothing is known of the time left before the first step
                assert_eq!(line.contains("– left"), tick < 6000, "{line}");
                (lines, last) = (lines + 1, now);
            }
        }
        assert!(DRAWN_APART * 36_000 - last <= Duration::from_secs(30));
        assert!((120..=144).contains(&lines), "{lines}");
    }

    #[test]
    fn a_part_says_what_follows_it_as_far_as_that_is_known() {
        let second = Duration::from_secs;
        for (part, said) in [
            (Phase::whole(), "generating 10/40 answers, 25%, 1 min 00 s elapsed, 3 min 00 s left"),
            (
                Phase::before_others("before"),
                "before: generating 10/40 answers, 25%, 1 min 00 s elapsed, 3 min 00 s left of generating",
            ),
            (
                Phase::before("run", Some(second(30))),
                "run: generating 10/40 answers, 25%, 1 min 00 s elapsed, 3 min 30 s left",
            ),
            (
                Phase::one_of("model", 0, 3),
                "model 1/3: generating 10/40 answers, 25%, 1 min 00 s elapsed, 11 min 00 s left",
            ),
            (
                Phase::one_of("model", 2, 3),
                "model 3/3: generating 10/40 answers, 25%, 1 min 00 s elapsed, 3 min 00 s left",
            ),
        ] {
            let mut state = State { part, ..State::default() };
            state.begin(second(0), WorkKind::Generating, Position::default());
            state.estimate.expect(WorkKind::Generating, 0.0, 40.0, UnmeasuredCost::Unknown);
            state.reach(second(60), WorkKind::Generating, 10.0, Position::of(10, 40, "answers"));
            assert_eq!(state.line_due(second(60)).as_deref(), Some(said));
        }
    }

    #[test]
    fn other_lines_of_the_log_put_a_line_off() {
        let mut state = State::default();
        let second = Duration::from_secs;
        assert_eq!(state.line_due(second(100)), None, "nothing has begun");
        state.begin(second(0), WorkKind::Loading, Position::default());
        state.broken_silence(second(80));
        assert_eq!(state.line_due(second(100)), None);
        assert_eq!(state.line_due(second(105)).as_deref(), Some("loading, 1 min 45 s elapsed, – left"));
        assert_eq!(state.line_due(second(106)), None);
    }

    /// What a command shows replaces what was shown before it, and the silence goes on all the same.
    #[test]
    fn what_begins_takes_over_the_silence_before_it() {
        let second = Duration::from_secs;
        let mut older = State::default();
        older.begin(second(0), WorkKind::Running, Position::default());
        let mut newer = State { quiet_before: older.silence(second(20)), ..State::default() };
        newer.begin(second(0), WorkKind::Loading, Position::default());
        assert_eq!(newer.line_due(second(4)), None);
        assert!(newer.line_due(second(5)).is_some());
        assert_eq!(newer.line_due(second(29)), None);
        assert!(newer.line_due(second(30)).is_some());
    }

    /// Of a command, and of what it shows one after the other, the newest that has begun is shown.
    #[test]
    fn the_process_is_shown_wherever_a_command_shows_nothing() {
        let is_shown = |progress: &Progress| progress.shared.is_shown(&locked(&SHOWN));
        let process = Progress::of_the_process();
        process.begin(WorkKind::Running);
        assert!(is_shown(&process));
        for _ in 0..2 {
            let loading = Progress::new();
            assert!(is_shown(&process) && !is_shown(&loading), "it has not begun");
            loading.begin(WorkKind::Loading);
            assert!(is_shown(&loading) && !is_shown(&process));
            drop(loading);
            assert!(is_shown(&process));
        }
    }
}
