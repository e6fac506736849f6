//! Between the loop and the store: what is missing becomes questions, and answers become rows. How rows lie on the disk is the
//! store's matter.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::Error;
use crate::client::{Answer, Question};
use crate::store::{MissingTrace, MissingTraces, Outcome, TraceRow, Writer};

/// Questions that are taken from the store at a time: few at first, so that a second process finds something to do in a short
/// list, too.
const FIRST_BATCH: usize = 16;
const LARGEST_BATCH: usize = 256;

/// One answer that is wanted, and how it went so far.
pub(super) struct Job {
    wanted: MissingTrace,
    pub(super) question: Arc<Question>,
    pub(super) attempts: u32,
    /// Attempts whose failure says nothing of the question.
    pub(super) refusals: u32,
    /// The endpoint that failed last.
    pub(super) failed_at: Option<usize>,
    order: u64,
}

impl Job {
    pub(super) fn sample(&self) -> u32 {
        self.wanted.sample
    }

    /// Where the prompt stands.
    pub(super) fn origin(&self) -> String {
        self.wanted.origin.clone()
    }

    /// Its place among all jobs of the run.
    pub(super) fn order(&self) -> u64 {
        self.order
    }
}

/// Hands what is missing to the loop, batch by batch.
pub(super) fn feed(mut missing: MissingTraces, jobs: &Sender<Result<Job, Error>>) {
    let (mut order, mut size) = (0, FIRST_BATCH);
    loop {
        let batch = match missing.next(size) {
            Ok(batch) => batch,
            Err(error) => {
                // Nobody listens any more if the loop has ended.
                let _ = jobs.blocking_send(Err(error));
                return;
            }
        };
        if batch.is_empty() {
            return;
        }
        size = (size * 2).min(LARGEST_BATCH);
        for wanted in batch {
            let question = Arc::new(Question { messages: wanted.messages.clone() });
            let job = Job { wanted, question, attempts: 0, refusals: 0, failed_at: None, order };
            order += 1;
            if jobs.blocking_send(Ok(job)).is_err() {
                return;
            }
        }
    }
}

/// Turns answers into rows and waits until they are on the disk.
#[derive(Clone)]
pub(super) struct AnswerWriter {
    writer: Writer,
}

impl AnswerWriter {
    pub(super) fn new(writer: Writer) -> AnswerWriter {
        AnswerWriter { writer }
    }

    /// Keeps an answer: complete, or cut wherever the server ended it before its end.
    pub(super) async fn keep(&self, job: &Job, endpoint: &str, answer: Answer, cost: Option<f64>) -> Result<(), Error> {
        self.put(job, endpoint, Outcome::Answered { answer, cost }).await
    }

    /// Keeps that a question is not taken, so that it is not asked again.
    pub(super) async fn keep_failure(&self, job: &Job, endpoint: &str, words: &str) -> Result<(), Error> {
        self.put(job, endpoint, Outcome::Refused { words: words.to_string() }).await
    }

    async fn put(&self, job: &Job, endpoint: &str, outcome: Outcome) -> Result<(), Error> {
        let wanted = job.wanted.id();
        let row = TraceRow { wanted, outcome, endpoint: endpoint.to_string(), attempts: job.attempts };
        self.writer.put(row).await
    }
}
