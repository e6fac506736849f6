//! Estimates the remaining time of a command: for each kind of work the units done, the units left and the measured time per unit. Time is
//! an argument, so that tests need no clock. `line` formats the estimate.

use std::time::Duration;

/// Older measurements count half as much after this share of the work of their kind so far: a machine may become busy for the rest of a
/// run, and by then most of what is counted must be of the new speed; but what comes and goes many times in a run has to be averaged. A
/// fixed time does either only for runs of one length: `tests` compares them.
const HALF_LIFE_SHARE: f64 = 0.15;
/// Minimum half-life in seconds: at the beginning, units differ in speed.
const LEAST_HALF_LIFE: f64 = 4.0;

/// The half-life of measurements, in seconds, after this many seconds of work.
fn half_life(worked: f64) -> f64 {
    (HALF_LIFE_SHARE * worked).max(LEAST_HALF_LIFE)
}

/// A kind of work that takes time. Its units are the caller's choice, one for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkKind {
    /// Whatever a command does that shows nothing of it.
    Running,
    /// Hashes of files.
    Hashing,
    /// Files from the network.
    Downloading,
    /// Files out of an archive.
    Unpacking,
    /// A model is read and packed.
    Loading,
    /// A teacher is compared with its student.
    CheckingTeacher,
    /// Rows become ids.
    Tokenising,
    /// The rows of new tokens find where to start.
    PlacingTokens,
    /// Optimiser steps.
    Training,
    /// The loss on rows that are not trained on.
    Evaluating,
    /// Answers to `train.sample_prompts`.
    Sampling,
    /// Checkpoints and adapters.
    Saving,
    /// Answers of a model.
    Generating,
    /// Answers of teachers.
    Collecting,
    /// Rows are read.
    Reading,
    /// Rows are judged.
    Judging,
    /// Files are written.
    Writing,
    /// Adapter and base become one model.
    Merging,
    /// A written file and the model that it was made from.
    Comparing,
    /// Passes that are timed.
    Measuring,
    /// Passes of a teacher whose distributions are stored.
    Asking,
}

impl WorkKind {
    /// What is being done, as a line begins.
    pub(crate) fn name(self) -> &'static str {
        match self {
            WorkKind::Running => "still running",
            WorkKind::Hashing => "hashing",
            WorkKind::Downloading => "downloading",
            WorkKind::Unpacking => "unpacking",
            WorkKind::Loading => "loading",
            WorkKind::CheckingTeacher => "checking the teacher",
            WorkKind::Tokenising => "tokenising",
            WorkKind::PlacingTokens => "placing new tokens",
            WorkKind::Training => "training",
            WorkKind::Evaluating => "evaluating",
            WorkKind::Sampling => "sample answers",
            WorkKind::Saving => "saving",
            WorkKind::Generating => "generating",
            WorkKind::Collecting => "collecting",
            WorkKind::Reading => "reading",
            WorkKind::Judging => "judging",
            WorkKind::Writing => "writing",
            WorkKind::Merging => "merging",
            WorkKind::Comparing => "comparing",
            WorkKind::Measuring => "measuring",
            WorkKind::Asking => "asking the teacher",
        }
    }

    /// Whether it comes before what takes the time of a command: while it goes on nothing is known of that, and the time left is its own.
    pub(crate) fn is_preparation(self) -> bool {
        let preparations = [
            WorkKind::Hashing,
            WorkKind::Downloading,
            WorkKind::Unpacking,
            WorkKind::Tokenising,
            WorkKind::PlacingTokens,
        ];
        preparations.contains(&self)
    }
}

/// What a unit of work is taken to cost before any was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum UnmeasuredCost {
    /// Unknown, so that the total is unknown, too.
    Unknown,
    /// Little beside the rest.
    Negligible,
    /// A multiple of the cost of a unit of another kind.
    Times(f64, WorkKind),
}

#[derive(Debug)]
struct WorkEstimate {
    kind: WorkKind,
    until_measured: UnmeasuredCost,
    total: f64,
    done: f64,
    /// Seconds and the units that they took, older ones faded.
    seconds: f64,
    units: f64,
    /// All seconds.
    worked: f64,
}

impl WorkEstimate {
    fn left(&self) -> f64 {
        (self.total - self.done).max(0.0)
    }

    fn measured(&self) -> Option<f64> {
        (self.units > 0.0 && self.seconds > 0.0).then(|| self.seconds / self.units)
    }
}

/// What is to be done, and what was measured of it.
#[derive(Debug)]
pub(crate) struct Estimate {
    works: Vec<WorkEstimate>,
    current: Option<WorkKind>,
    /// Until here time is accounted for.
    since: Duration,
    half_life: fn(f64) -> f64,
}

impl Default for Estimate {
    fn default() -> Estimate {
        Estimate { works: Vec::new(), current: None, since: Duration::ZERO, half_life }
    }
}

impl Estimate {
    /// Sets the total units of a kind, `done` of which were done before anything was measured.
    pub(crate) fn expect(&mut self, kind: WorkKind, done: f64, total: f64, until_measured: UnmeasuredCost) {
        self.works.retain(|work| work.kind != kind);
        self.works.push(WorkEstimate { kind, until_measured, total, done, seconds: 0.0, units: 0.0, worked: 0.0 });
    }

    /// The units in all are found to be others; what was measured stays.
    pub(crate) fn expect_now(&mut self, kind: WorkKind, total: f64) {
        match self.work(kind) {
            Some(work) => work.total = total,
            None => self.expect(kind, 0.0, total, UnmeasuredCost::Unknown),
        }
    }

    /// Whether work of a kind is to be done, or was.
    pub(crate) fn expects(&self, kind: WorkKind) -> bool {
        self.works.iter().any(|work| work.kind == kind)
    }

    /// Forgets what was expected and measured.
    pub(crate) fn forget(&mut self) {
        self.works.clear();
    }

    /// Begins work of a kind now.
    pub(crate) fn begin(&mut self, now: Duration, kind: WorkKind) {
        if self.current == Some(kind) {
            return;
        }
        self.account(now, None);
        self.current = Some(kind);
    }

    /// Sets the units done of a kind.
    pub(crate) fn reach(&mut self, now: Duration, kind: WorkKind, done: f64) {
        self.begin(now, kind);
        self.account(now, Some(done));
    }

    /// Until all is done; `None` as long as that would be a guess.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        let mut seconds = 0.0;
        let mut is_measured = false;
        for work in self.works.iter().filter(|work| work.left() > 0.0) {
            let cost = match (work.measured(), work.until_measured) {
                (Some(cost), _) => cost,
                (None, UnmeasuredCost::Negligible) => continue,
                (None, UnmeasuredCost::Times(times, kind)) => times * self.measured(kind)?,
                (None, UnmeasuredCost::Unknown) => return None,
            };
            is_measured = true;
            let ahead = work.left() * cost;
            // What was worked since the last report is part of the unit that is under way.
            let under_way = match self.current == Some(work.kind) {
                true => now.saturating_sub(self.since).as_secs_f64(),
                false => 0.0,
            };
            seconds += (ahead - under_way).max(0.0);
        }
        let is_all_done = !self.works.is_empty() && self.works.iter().all(|work| work.left() == 0.0);
        (is_measured || is_all_done).then(|| Duration::from_secs_f64(seconds.min(1e9)))
    }

    /// Units a second of a kind of work.
    pub(crate) fn rate(&self, kind: WorkKind) -> Option<f64> {
        Some(1.0 / self.measured(kind)?)
    }

    fn measured(&self, kind: WorkKind) -> Option<f64> {
        self.works.iter().find(|work| work.kind == kind)?.measured()
    }

    fn work(&mut self, kind: WorkKind) -> Option<&mut WorkEstimate> {
        self.works.iter_mut().find(|work| work.kind == kind)
    }

    /// The time since the last account goes to the present kind of work, with the units that it took.
    fn account(&mut self, now: Duration, done: Option<f64>) {
        let spent = now.saturating_sub(self.since).as_secs_f64();
        self.since = now;
        let half_life = self.half_life;
        let Some(work) = self.current.and_then(|kind| self.work(kind)) else { return };
        work.worked += spent;
        let faded = 0.5f64.powf(spent / half_life(work.worked));
        work.seconds = work.seconds * faded + spent;
        work.units *= faded;
        if let Some(done) = done {
            work.units += (done - work.done).max(0.0);
            work.done = done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command as a list of what happens: kind, seconds, and the units that are done afterwards.
    fn at_half(estimate: &mut Estimate, happens: &[(WorkKind, f64, f64)]) -> (f64, f64) {
        let whole: f64 = happens.iter().map(|(_, seconds, _)| seconds).sum();
        let mut now = 0.0;
        for &(kind, seconds, done) in happens {
            if now + seconds > whole / 2.0 {
                break;
            }
            estimate.begin(Duration::from_secs_f64(now), kind);
            now += seconds;
            estimate.reach(Duration::from_secs_f64(now), kind, done);
        }
        let half = Duration::from_secs_f64(whole / 2.0);
        let left = estimate.left(half).expect("half of it is done").as_secs_f64();
        (left, whole / 2.0)
    }

    fn assert_within_a_fifth((said, took): (f64, f64)) {
        assert!((said - took).abs() <= 0.2 * took, "said {said:.0} s, and {took:.0} s it took");
    }

    /// Training as it is told: passes of a step, evaluations of 12 rows each, sample answers, saving. The passes' speed varies.
    fn training(epochs: u64, steps: u64, eval_seconds: f64, wobble: impl Fn(u64) -> f64) -> Vec<(WorkKind, f64, f64)> {
        const TOKENS: f64 = 1000.0;
        let mut happens = vec![(WorkKind::Sampling, 9.0, 1.0)];
        let (mut tokens, mut evaluated) = (0.0, 0.0);
        for step in 1..=epochs * steps {
            for pass in 0..4 {
                tokens += TOKENS;
                happens.push((WorkKind::Training, wobble(4 * step + pass), tokens));
            }
            if step.is_multiple_of(steps) {
                for _ in 0..12 {
                    evaluated += 500.0;
                    happens.push((WorkKind::Evaluating, eval_seconds / 12.0, evaluated));
                }
                happens.push((WorkKind::Sampling, 9.0, 1.0 + (step / steps) as f64));
                happens.push((WorkKind::Saving, 0.4, (step / steps) as f64));
            }
        }
        happens
    }

    fn expected(epochs: u64, steps: u64) -> Estimate {
        let mut estimate = Estimate::default();
        let rounds = epochs as f64;
        estimate.expect(WorkKind::Training, 0.0, 4000.0 * (epochs * steps) as f64, UnmeasuredCost::Unknown);
        estimate.expect(WorkKind::Evaluating, 0.0, 6000.0 * rounds, UnmeasuredCost::Times(0.5, WorkKind::Training));
        estimate.expect(WorkKind::Sampling, 0.0, rounds + 1.0, UnmeasuredCost::Negligible);
        estimate.expect(WorkKind::Saving, 0.0, rounds, UnmeasuredCost::Negligible);
        estimate
    }

    #[test]
    fn at_half_of_a_training_run_the_time_left_is_what_it_takes() {
        for (epochs, steps) in [(1, 40), (3, 24), (8, 5)] {
            for wobble in [&(|_| 1.1) as &dyn Fn(u64) -> f64, &|pass| 0.6 + (pass % 5) as f64 * 0.3, &|pass| {
                if pass < 9 { 3.0 } else { 1.2 }
            }] {
                // an evaluation costs half as much a token as training does, as was taken before one was seen, or less
                for eval_seconds in [3.6, 2.0] {
                    let happens = training(epochs, steps, eval_seconds, wobble);
                    assert_within_a_fifth(at_half(&mut expected(epochs, steps), &happens));
                }
            }
        }
    }

    /// Evaluations that take longer than the steps between them: they count into the time left, and not into the speed of steps.
    #[test]
    fn long_evaluations_are_counted_apart_from_steps() {
        let happens = training(6, 5, 60.0, |_| 1.0);
        let mut estimate = expected(6, 5);
        assert_within_a_fifth(at_half(&mut estimate, &happens));
        let rate = estimate.rate(WorkKind::Training).unwrap();
        assert!((rate - 1000.0).abs() <= 1.0, "{rate}");
    }

    #[test]
    fn a_machine_that_becomes_slower_is_noticed() {
        let happens: Vec<_> =
            (1..=900).map(|row| (WorkKind::Judging, if row < 150 { 1.0 } else { 4.0 }, f64::from(row))).collect();
        let mut estimate = Estimate::default();
        estimate.expect(WorkKind::Judging, 0.0, 900.0, UnmeasuredCost::Unknown);
        assert_within_a_fifth(at_half(&mut estimate, &happens));
    }

    /// How far off the time left is that is said at a share of a run of so many seconds, whose units take twice as long or half as long
    /// where `is_other` says so, and each between 0.7 and 1.3 of that.
    fn error(rule: fn(f64) -> f64, seconds: f64, factor: f64, is_other: &dyn Fn(f64) -> bool, asked_at: f64) -> f64 {
        let unit = seconds / 500.0;
        let (mut now, mut ends) = (0.0, Vec::new());
        while now < seconds {
            let wobble = 0.7 + 0.6 * ((ends.len() as f64 * 0.618_034) % 1.0);
            now += unit * wobble * if is_other(now / seconds) { factor } else { 1.0 };
            ends.push(now);
        }
        let mut estimate = Estimate { half_life: rule, ..Estimate::default() };
        estimate.expect(WorkKind::Training, 0.0, ends.len() as f64, UnmeasuredCost::Unknown);
        estimate.begin(Duration::ZERO, WorkKind::Training);
        let asked = asked_at * now;
        for (index, &end) in ends.iter().enumerate().take_while(|(_, end)| **end <= asked) {
            estimate.reach(Duration::from_secs_f64(end), WorkKind::Training, (index + 1) as f64);
        }
        let said = estimate.left(Duration::from_secs_f64(asked)).unwrap().as_secs_f64();
        (said / (now - asked) - 1.0).abs()
    }

    /// A load that comes or goes at 30% of a run is known at its half, one that does at 60% is known at 80%, and one that comes and goes
    /// ten
    /// times is averaged; in runs of a minute and of ten hours. Neither the mean of all units nor a fixed half-life does all of it.
    #[test]
    fn a_load_that_changes_is_known_soon_in_runs_of_any_length() {
        let worst = |rule: fn(f64) -> f64| {
            let mut worst: f64 = 0.0;
            for seconds in [60.0, 240.0, 3600.0, 36_000.0] {
                for factor in [2.0, 0.5] {
                    for (is_other, asked_at) in [
                        (&(|_| false) as &dyn Fn(f64) -> bool, 0.5),
                        (&|share| share > 0.3, 0.5),
                        (&|share| share > 0.6, 0.8),
                        (&|share: f64| (share * 20.0) as u64 % 2 == 1, 0.5),
                    ] {
                        worst = worst.max(error(rule, seconds, factor, is_other, asked_at));
                    }
                }
            }
            worst
        };
        let (own, mean, fixed) = (worst(half_life), worst(|_| f64::INFINITY), worst(|_| 120.0));
        assert!(own <= 0.2, "{own}");
        assert!(mean > 0.5 && fixed > 0.4, "{mean} {fixed}");
    }

    /// A resumed run: what was done before is neither measured nor still to do.
    #[test]
    fn what_was_there_before_is_no_speed() {
        let mut estimate = Estimate::default();
        estimate.expect(WorkKind::Generating, 90.0, 100.0, UnmeasuredCost::Unknown);
        let happens: Vec<_> = (91..=100).map(|done| (WorkKind::Generating, 7.0, f64::from(done))).collect();
        assert_within_a_fifth(at_half(&mut estimate, &happens));
    }

    #[test]
    fn nothing_is_said_before_anything_was_measured() {
        let second = Duration::from_secs;
        let mut estimate = expected(3, 24);
        assert_eq!(estimate.left(second(0)), None);
        estimate.reach(second(9), WorkKind::Sampling, 1.0);
        assert_eq!(estimate.left(second(9)), None);
        estimate.begin(second(9), WorkKind::Training);
        assert_eq!(estimate.left(second(60)), None);
        estimate.reach(second(70), WorkKind::Training, 1000.0);
        assert!(estimate.left(second(70)).is_some_and(|left| left > second(60)));
        assert_eq!(Estimate::default().left(second(5)), None);
    }

    /// Between two reports the time left falls by what has passed, and never below what other work takes.
    #[test]
    fn the_time_left_falls_while_a_unit_is_under_way() {
        let second = Duration::from_secs;
        let mut estimate = Estimate::default();
        estimate.expect(WorkKind::Training, 0.0, 2.0, UnmeasuredCost::Unknown);
        estimate.expect(WorkKind::Evaluating, 0.0, 1.0, UnmeasuredCost::Times(0.5, WorkKind::Training));
        estimate.begin(second(0), WorkKind::Training);
        estimate.reach(second(10), WorkKind::Training, 1.0);
        assert_eq!(estimate.left(second(10)), Some(second(15)));
        assert_eq!(estimate.left(second(14)), Some(second(11)));
        assert_eq!(estimate.left(second(99)), Some(second(5)));
    }
}
