//! One attempt at a question and its result: a stored answer, a refusal of the question, or a failure. Whether to retry is decided
//! by `scheduler`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Price, Usage};
use super::persistence::{AnswerWriter, QueuedQuestion};
use crate::Error;
use crate::client::{Failure, RequestParams, Teacher};

/// The result of an attempt.
pub(super) enum AttemptOutcome {
    /// An answer, committed to the store.
    Kept {
        usage: Usage,
        cost: Option<f64>,
        elapsed: Duration,
        is_ended: bool,
        /// It ended by itself and is incomplete all the same.
        is_flawed: bool,
        hides_reasoning: bool,
        unread: Vec<String>,
    },
    /// The server refuses the question. This is stored only after the teacher has answered another one: until then the model's name
    /// or a setting may be the cause.
    NotTaken {
        words: String,
        status: Option<u16>,
        is_kept: bool,
    },
    Failed(Failure),
    /// The store could not commit it.
    Lost(Error),
}

/// What attempts need: request parameters, the price, and the way to the store.
#[derive(Clone)]
pub(super) struct Requester {
    pub(super) asking: Arc<RequestParams>,
    pub(super) price: Option<Price>,
    /// Whether the teacher has answered anything.
    pub(super) is_known: Arc<AtomicBool>,
    pub(super) answer_writer: AnswerWriter,
}

impl Requester {
    /// Asks a question. It keeps its slot until its answer is committed, so that a crash costs at most the requests in flight.
    pub(super) async fn ask(&self, job: &QueuedQuestion, teacher: &dyn Teacher) -> AttemptOutcome {
        let asked = Instant::now();
        match teacher.ask(&job.question, &self.asking, job.sample()).await {
            Ok(answer) => {
                let usage = Usage::of(&job.question, &answer);
                let (cost, is_ended) = (self.price.map(|price| price.of(usage)), answer.finish.is_complete());
                let is_flawed = is_ended && answer.flaw().is_some();
                let (hides_reasoning, unread) = (answer.hides_reasoning, answer.unread.clone());
                let kept = self.answer_writer.keep(job, teacher.name(), answer, cost).await;
                // Includes the commit, since the slot is taken until then: if answers arrive immediately, only more slots increase
                // throughput.
                let elapsed = asked.elapsed();
                let it = AttemptOutcome::Kept { usage, cost, elapsed, is_ended, is_flawed, hides_reasoning, unread };
                kept.map_or_else(AttemptOutcome::Lost, |()| it)
            }
            Err(Failure::Question { status, words }) => {
                if !self.is_known.load(Ordering::Relaxed) {
                    return AttemptOutcome::NotTaken { words, status, is_kept: false };
                }
                let kept = self.answer_writer.keep_failure(job, teacher.name(), &words).await;
                kept.map_or_else(AttemptOutcome::Lost, |()| AttemptOutcome::NotTaken { words, status, is_kept: true })
            }
            Err(failure) => AttemptOutcome::Failed(failure),
        }
    }
}
