//! Progress of a training run: maps its events to kinds of work and predicts the remaining work. The bar advances after each pass by the
//! tokens of that pass: a pass goes through all layers, forward and backward, so that its tokens are only done together. The command
//! decides which events are logged.

use super::{Phase, Position, Progress, UnmeasuredCost, WorkKind};
use crate::humanize::grouped;
use aludel_distill::metrics::StepRecord;
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
    /// Its terms, where it has several.
    terms: Vec<String>,
}

impl TrainingProgress {
    pub(crate) fn new(part: Phase) -> TrainingProgress {
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
            terms: Vec::new(),
        }
    }

    /// Takes note of an event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        let progress = &self.progress;
        match event {
            Event::Stage(Stage::Hashing) => progress.begin(WorkKind::Hashing),
            Event::Stage(Stage::Opening) => progress.begin(WorkKind::Loading),
            Event::Stage(Stage::CheckingTeacher) => progress.begin(WorkKind::CheckingTeacher),
            Event::Stage(Stage::Loading) => {
                // Nothing is known yet of what takes the time.
                progress.forget();
                progress.begin(WorkKind::Loading);
            }
            Event::Stage(Stage::Saving) => progress.begin(WorkKind::Saving),
            Event::Hashing { done, total } => {
                progress.reach_of(WorkKind::Hashing, *done as f64, *total as f64, Position::of_bytes(*done, *total));
            }
            Event::Loading { done, total } => progress.loading(*done, *total),
            Event::Tokenising(told) => {
                let at = Position::of_bytes(told.bytes_read, told.bytes_total)
                    .with(format!("{} rows", grouped(told.records)));
                progress.reach_of(WorkKind::Tokenising, told.bytes_read as f64, told.bytes_total as f64, at);
            }
            Event::PlacingTokens { done, total } => {
                let at = Position::of(*done as u64, *total as u64, "rows");
                progress.reach_of(WorkKind::PlacingTokens, *done as f64, *total as f64, at);
            }
            Event::Started(started) => {
                let ahead = started.ahead;
                progress.forget();
                progress.expect(WorkKind::Training, 0.0, ahead.tokens as f64, UnmeasuredCost::Unknown);
                let tokens = (ahead.evaluations * ahead.evaluation_tokens) as f64;
                let cost = UnmeasuredCost::Times(ahead.evaluation_cost, WorkKind::Training);
                progress.expect(WorkKind::Evaluating, 0.0, tokens, cost);
                progress.expect(WorkKind::Sampling, 0.0, ahead.samplings as f64, UnmeasuredCost::Negligible);
                progress.expect(WorkKind::Saving, 0.0, ahead.saves as f64, UnmeasuredCost::Negligible);
                (self.ahead, self.total_steps) = (Some(ahead), started.total_steps);
            }
            Event::Pass { step, tokens, of, planned } => {
                // The step is done when the optimiser has taken it, after its last pass.
                let share = (*tokens as f64 / (*of).max(1) as f64).min(BEFORE_THE_OPTIMISER);
                let at = self.at_step(step - 1, share);
                let at = at.with(format!("{}/{} tokens", grouped(*tokens), grouped(*of)));
                // Work ahead is counted in the data's tokens.
                let done = *planned as f64 * (*tokens as f64 / (*of).max(1) as f64).min(1.0);
                self.progress.reach(WorkKind::Training, self.trained as f64 + done, at);
            }
            Event::Answering { step, tokens } => {
                let at = self.at_step(step - 1, 0.0);
                let at = at.with(format!("{} tokens of own answers", grouped(*tokens)));
                self.progress.reach(WorkKind::Training, self.trained as f64, at);
            }
            Event::Step { record, planned, .. } => {
                (self.trained, self.loss) = (self.trained + planned, Some(record.loss));
                self.terms = terms_in_words(record);
                let at = self.at_step(record.step, 0.0);
                self.progress.reach(WorkKind::Training, self.trained as f64, at);
            }
            Event::Evaluating { done, total, tokens } => {
                let before = self.ahead.map_or(0, |ahead| self.evaluations * ahead.evaluation_tokens);
                let at = Position::of(*done as u64, *total as u64, "rows");
                progress.reach(WorkKind::Evaluating, (before + tokens) as f64, at);
            }
            Event::Evaluated(_) => self.evaluations += 1,
            Event::Sampling { done, total } => {
                let share = *done as f64 / (*total).max(1) as f64;
                let at = Position::of(*done as u64, *total as u64, "tokens");
                progress.reach(WorkKind::Sampling, self.samplings as f64 + share, at);
            }
            Event::Sampled(_) => {
                self.samplings += 1;
                progress.reach(WorkKind::Sampling, self.samplings as f64, Position::default());
            }
            Event::Complete(_) | Event::AdapterFilled { .. } => {}
            Event::Saved(_) => {
                self.saves += 1;
                progress.reach(WorkKind::Saving, self.saves as f64, Position::default());
            }
        }
    }

    /// Time since the beginning, and until the end as far as it is known: the end of a line of the log.
    pub(crate) fn times(&self) -> String {
        self.progress.times()
    }

    /// The steps done, and the share of the next one.
    fn at_step(&self, done: u64, of_next: f64) -> Position {
        let mut at = Position::of(done, self.total_steps, "steps");
        at.share = Some((done as f64 + of_next) / self.total_steps.max(1) as f64);
        at.facts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        at.facts.extend(self.terms.iter().cloned());
        at.facts.extend(self.progress.rate(WorkKind::Training).map(|rate| format!("{rate:.0} tokens/s")));
        at
    }
}

/// The terms of a step's loss, each without its weight; none where it has but one.
fn terms_in_words(record: &StepRecord) -> Vec<String> {
    let words = record.terms.iter().map(|(term, value)| format!("{} {value:.4}", term.name()));
    if record.terms.len() > 1 { words.collect() } else { Vec::new() }
}
