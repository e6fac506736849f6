//! One question asked once, and what became of it: an answer that is on the disk, a judgement on the question, or a failure.
//! Whether it is asked again is the loop's matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Price, Usage};
use super::persistence::{AnswerWriter, Job};
use crate::Error;
use crate::client::{Failure, RequestParams, Teacher};

/// What became of a question that was asked.
pub(super) enum Outcome {
    /// Kept: written, and on the disk.
    Kept {
        usage: Usage,
        cost: Option<f64>,
        elapsed: Duration,
        is_ended: bool,
        /// It ended, and is not whole all the same.
        is_flawed: bool,
        hides_reasoning: bool,
        unread: Vec<String>,
    },
    /// Nobody takes the question. That is kept only once the teacher has answered another: until then its name, or a setting, may be
    /// what is not taken.
    NotTaken {
        words: String,
        status: u16,
        is_kept: bool,
    },
    Failed(Failure),
    /// The store could not keep it.
    Lost(Error),
}

/// How questions are asked, what answers cost and who keeps them.
#[derive(Clone)]
pub(super) struct Requester {
    pub(super) asking: Arc<RequestParams>,
    pub(super) price: Option<Price>,
    /// Whether the teacher has answered anything.
    pub(super) is_known: Arc<AtomicBool>,
    pub(super) answer_writer: AnswerWriter,
}

impl Requester {
    /// Asks a question. It holds its place until its answer is on the disk: a crash can cost no more than those on their way.
    pub(super) async fn ask(&self, job: &Job, teacher: &dyn Teacher) -> Outcome {
        let asked = Instant::now();
        match teacher.ask(&job.question, &self.asking, job.sample()).await {
            Ok(answer) => {
                let usage = Usage::of(&job.question, &answer);
                let (cost, is_ended) = (self.price.map(|price| price.of(usage)), answer.finish.is_complete());
                let is_flawed = is_ended && answer.flaw().is_some();
                let (hides_reasoning, unread) = (answer.hides_reasoning, answer.unread.clone());
                let kept = self.answer_writer.keep(job, teacher.name(), answer, cost).await;
                // With the commit: so long its place is taken, and where answers come at once, only more places bring more of them.
                let elapsed = asked.elapsed();
                let it = Outcome::Kept { usage, cost, elapsed, is_ended, is_flawed, hides_reasoning, unread };
                kept.map_or_else(Outcome::Lost, |()| it)
            }
            Err(Failure::Question { status, words }) => {
                if !self.is_known.load(Ordering::Relaxed) {
                    return Outcome::NotTaken { words, status, is_kept: false };
                }
                let kept = self.answer_writer.keep_failure(job, teacher.name(), &words).await;
                kept.map_or_else(Outcome::Lost, |()| Outcome::NotTaken { words, status, is_kept: true })
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }
}
