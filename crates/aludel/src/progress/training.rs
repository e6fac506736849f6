//! A training run as progress: which of its events is which kind of work, and how much of it lies ahead. The bar moves with each pass by its
//! tokens: a pass goes through all layers, forward and backward, and none of its tokens is done before all of them are. What is logged of
//! the events is the command's matter.

use super::{At, Kind, Part, Progress, Until};
use crate::figures::grouped;
use aludel_distill::train::{Event, RemainingWork, Stage};

/// Of a step all passes are done, and the step is not.
const BEFORE_THE_OPTIMISER: f64 = 0.999;

/// Shows how far a run is.
pub(crate) struct TrainingProgress {
    progress: Progress,
    ahead: Option<RemainingWork>,
    total_steps: u64,
    /// Of this session.
    trained: u64,
    evaluations: u64,
    samplings: u64,
    saves: u64,
    loss: Option<f64>,
}

impl TrainingProgress {
    pub(crate) fn new(part: Part) -> TrainingProgress {
        let progress = Progress::of(part);
        TrainingProgress {
            progress,
            ahead: None,
            total_steps: 0,
            trained: 0,
            evaluations: 0,
            samplings: 0,
            saves: 0,
            loss: None,
        }
    }

    /// Takes note of an event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        let progress = &self.progress;
        match event {
            Event::Stage(Stage::Hashing) => progress.begin(Kind::Hashing),
            Event::Stage(Stage::Opening) => progress.begin(Kind::Loading),
            Event::Stage(Stage::Loading) => {
                // Nothing is known yet of what takes the time.
                progress.forget();
                progress.begin(Kind::Loading);
            }
            Event::Stage(Stage::Saving) => progress.begin(Kind::Saving),
            Event::Hashing { done, total } => {
                progress.reach_of(Kind::Hashing, *done as f64, *total as f64, At::of_bytes(*done, *total));
            }
            Event::Loading { done, total } => progress.loading(*done, *total),
            Event::Tokenising(told) => {
                let at =
                    At::of_bytes(told.bytes_read, told.bytes_total).with(format!("{} rows", grouped(told.records)));
                progress.reach_of(Kind::Tokenising, told.bytes_read as f64, told.bytes_total as f64, at);
            }
            Event::PlacingTokens { done, total } => {
                let at = At::of(*done as u64, *total as u64, "rows");
                progress.reach_of(Kind::PlacingTokens, *done as f64, *total as f64, at);
            }
            Event::Started(started) => {
                let ahead = started.ahead;
                progress.forget();
                progress.expect(Kind::Training, 0.0, ahead.tokens as f64, Until::Unknown);
                let tokens = (ahead.evaluations * ahead.evaluation_tokens) as f64;
                let cost = Until::Times(ahead.evaluation_cost, Kind::Training);
                progress.expect(Kind::Evaluating, 0.0, tokens, cost);
                progress.expect(Kind::Sampling, 0.0, ahead.samplings as f64, Until::Negligible);
                progress.expect(Kind::Saving, 0.0, ahead.saves as f64, Until::Negligible);
                (self.ahead, self.total_steps) = (Some(ahead), started.total_steps);
            }
            Event::Pass { step, tokens, of } => {
                // The step is done when the optimiser has taken it, after its last pass.
                let share = (*tokens as f64 / (*of).max(1) as f64).min(BEFORE_THE_OPTIMISER);
                let at = self.at_step(step - 1, share);
                let at = at.with(format!("{}/{} tokens", grouped(*tokens), grouped(*of)));
                self.progress.reach(Kind::Training, (self.trained + tokens) as f64, at);
            }
            Event::Step { record, .. } => {
                (self.trained, self.loss) = (self.trained + record.tokens, Some(record.loss));
                let at = self.at_step(record.step, 0.0);
                self.progress.reach(Kind::Training, self.trained as f64, at);
            }
            Event::Evaluating { done, total, tokens } => {
                let before = self.ahead.map_or(0, |ahead| self.evaluations * ahead.evaluation_tokens);
                let at = At::of(*done as u64, *total as u64, "rows");
                progress.reach(Kind::Evaluating, (before + tokens) as f64, at);
            }
            Event::Evaluated(_) => self.evaluations += 1,
            Event::Sampling { done, total } => {
                let share = *done as f64 / (*total).max(1) as f64;
                let at = At::of(*done as u64, *total as u64, "tokens");
                progress.reach(Kind::Sampling, self.samplings as f64 + share, at);
            }
            Event::Sampled(_) => {
                self.samplings += 1;
                progress.reach(Kind::Sampling, self.samplings as f64, At::default());
            }
            Event::Saved(_) => {
                self.saves += 1;
                progress.reach(Kind::Saving, self.saves as f64, At::default());
            }
        }
    }

    /// Time since the beginning, and until the end as far as it is known: the end of a line of the log.
    pub(crate) fn times(&self) -> String {
        self.progress.times()
    }

    /// So many steps are done, and of the next such a share.
    fn at_step(&self, done: u64, of_next: f64) -> At {
        let mut at = At::of(done, self.total_steps, "steps");
        at.share = Some((done as f64 + of_next) / self.total_steps.max(1) as f64);
        at.facts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        at.facts.extend(self.progress.rate(Kind::Training).map(|rate| format!("{rate:.0} tokens/s")));
        at
    }
}
