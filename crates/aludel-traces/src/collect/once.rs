//! One question asked once, and what became of it: an answer that is on the disk, a judgement on the question, or a failure.
//! Whether it is asked again is the loop's matter.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::keep::{Job, Keeper};
use super::money::{Price, Usage};
use crate::Error;
use crate::teacher::{Asking, Failure, Teacher};

/// What became of a question that was asked.
pub(super) enum Outcome {
    /// Kept: written, and on the disk.
    Kept {
        usage: Usage,
        cost: f64,
        elapsed: Duration,
        is_complete: bool,
        hides_reasoning: bool,
    },
    /// Kept as a question that is not taken.
    NotTaken {
        words: String,
    },
    Failed(Failure),
    /// The store could not keep it.
    Lost(Error),
}

/// How questions are asked, what answers cost and who keeps them.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) asking: Arc<Asking>,
    pub(super) price: Price,
    pub(super) keeper: Keeper,
}

impl Asker {
    /// Asks a question. It holds its place until its answer is on the disk: a crash can cost no more than those on their way.
    pub(super) async fn ask(&self, job: &Job, teacher: &dyn Teacher) -> Outcome {
        let asked = Instant::now();
        match teacher.ask(&job.question, &self.asking, job.sample()).await {
            Ok(answer) => {
                let usage = Usage::of(&job.question, &answer);
                let (cost, is_complete) = (self.price.of(usage), answer.finish.is_complete());
                let hides_reasoning = answer.hides_reasoning;
                let kept = self.keeper.keep(job, teacher.name(), answer, cost).await;
                // With the commit: so long its place is taken, and where answers come at once, only more places bring more of them.
                let elapsed = asked.elapsed();
                let it = Outcome::Kept { usage, cost, elapsed, is_complete, hides_reasoning };
                kept.map_or_else(Outcome::Lost, |()| it)
            }
            Err(Failure::Question { status, words }) => {
                let kept = self.keeper.keep_failure(job, teacher.name(), &words).await;
                kept.map_or_else(Outcome::Lost, |()| Outcome::NotTaken { words: format!("{words} ({status})") })
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }
}
