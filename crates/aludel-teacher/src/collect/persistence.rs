//! Between scheduler and store: missing traces become questions, and answers become rows. The layout on disk is described in
//! `store`.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::Error;
use crate::client::{Answer, Question};
use crate::store::{MissingTrace, MissingTraces, TraceOutcome, TraceRow, Writer};

/// Questions taken from the store per batch: few at first, so that a second process finds work in a short list, too.
const FIRST_BATCH: usize = 16;
const LARGEST_BATCH: usize = 256;

/// A missing answer, and its attempts so far.
pub(super) struct QueuedQuestion {
    wanted: MissingTrace,
    pub(super) question: Arc<Question>,
    pub(super) attempts: u32,
    /// Attempts whose failure does not depend on the question.
    pub(super) refusals: u32,
    /// The endpoint that failed last.
    pub(super) failed_at: Option<usize>,
    order: u64,
}

impl QueuedQuestion {
    pub(super) fn sample(&self) -> u32 {
        self.wanted.sample
    }

    /// The file and line of the prompt.
    pub(super) fn origin(&self) -> String {
        self.wanted.origin.clone()
    }

    /// Its position among all questions of the run.
    pub(super) fn order(&self) -> u64 {
        self.order
    }
}

/// Sends missing traces to the scheduler, batch by batch.
pub(super) fn feed(mut missing: MissingTraces, jobs: &Sender<Result<QueuedQuestion, Error>>) {
    let (mut order, mut size) = (0, FIRST_BATCH);
    loop {
        let batch = match missing.next(size) {
            Ok(batch) => batch,
            Err(error) => {
                // The receiver is gone if the scheduler has ended.
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
            let job = QueuedQuestion { wanted, question, attempts: 0, refusals: 0, failed_at: None, order };
            order += 1;
            if jobs.blocking_send(Ok(job)).is_err() {
                return;
            }
        }
    }
}

/// Turns answers into rows and waits until they are committed.
#[derive(Clone)]
pub(super) struct AnswerWriter {
    writer: Writer,
}

impl AnswerWriter {
    pub(super) fn new(writer: Writer) -> AnswerWriter {
        AnswerWriter { writer }
    }

    /// Stores an answer, complete or cut off.
    pub(super) async fn keep(
        &self,
        job: &QueuedQuestion,
        endpoint: &str,
        answer: Answer,
        cost: Option<f64>,
    ) -> Result<(), Error> {
        self.put(job, endpoint, TraceOutcome::Answered { answer, cost }).await
    }

    /// Stores that a question was refused, so that it is not asked again.
    pub(super) async fn keep_failure(&self, job: &QueuedQuestion, endpoint: &str, words: &str) -> Result<(), Error> {
        self.put(job, endpoint, TraceOutcome::Refused { words: words.to_string() }).await
    }

    async fn put(&self, job: &QueuedQuestion, endpoint: &str, outcome: TraceOutcome) -> Result<(), Error> {
        let wanted = job.wanted.id();
        let row = TraceRow { wanted, outcome, endpoint: endpoint.to_string(), attempts: job.attempts };
        self.writer.put(row).await
    }
}
