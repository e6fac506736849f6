//! Questions still to be asked: new ones from the store, and those that wait for a retry. Which endpoint they go to and how long
//! they wait is decided elsewhere.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::Instant;

use super::persistence::QueuedQuestion;
use crate::Error;

/// If this number of questions wait for a retry, no new ones are taken: an outage should fill neither the memory nor the store's
/// list of claims.
const MOST_WAITING: usize = 1024;

pub(super) struct Queue {
    /// Missing traces, from the store.
    missing: Receiver<Result<QueuedQuestion, Error>>,
    all_taken: bool,
    /// Questions that were not asked yet; enough for all endpoints.
    fresh: VecDeque<QueuedQuestion>,
    waiting: BinaryHeap<Reverse<Waiting>>,
}

/// A question to retry, once it is due.
struct Waiting {
    due: Instant,
    order: u64,
    job: QueuedQuestion,
}

impl Queue {
    pub(super) fn new(missing: Receiver<Result<QueuedQuestion, Error>>) -> Queue {
        Queue { missing, all_taken: false, fresh: VecDeque::new(), waiting: BinaryHeap::new() }
    }

    /// Whether no question is left.
    pub(super) fn is_empty(&self) -> bool {
        self.is_all_asked() && self.waiting.is_empty()
    }

    /// Whether each question that is left was asked before.
    pub(super) fn is_all_asked(&self) -> bool {
        self.all_taken && self.fresh.is_empty()
    }

    /// The number of questions that wait for a retry.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether to take more missing traces, at this number of concurrent requests.
    pub(super) fn wants_more(&self, at_once: usize) -> bool {
        !self.all_taken && self.fresh.len() < at_once && self.waiting.len() < MOST_WAITING
    }

    /// Takes the missing traces that are available now.
    pub(super) fn take_more(&mut self, at_once: usize) -> Result<(), Error> {
        while self.wants_more(at_once) {
            match self.missing.try_recv() {
                Ok(job) => self.fresh.push_back(job?),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.all_taken = true,
            }
        }
        Ok(())
    }

    /// Waits for the next missing trace. Cancel-safe: nothing is lost when this is dropped before.
    pub(super) async fn take_next(&mut self) -> Result<(), Error> {
        match self.missing.recv().await {
            Some(job) => self.fresh.push_back(job?),
            None => self.all_taken = true,
        }
        Ok(())
    }

    /// The next question, retries first.
    pub(super) fn next(&self, now: Instant) -> Option<&QueuedQuestion> {
        match self.waiting.peek() {
            Some(Reverse(waiting)) if waiting.due <= now => Some(&waiting.job),
            _ => self.fresh.front(),
        }
    }

    /// Removes the next question.
    pub(super) fn pop(&mut self, now: Instant) -> Option<QueuedQuestion> {
        match self.due() {
            Some(due) if due <= now => self.waiting.pop().map(|Reverse(waiting)| waiting.job),
            _ => self.fresh.pop_front(),
        }
    }

    /// When the first retry is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }

    /// Schedules a retry, not before this time.
    pub(super) fn wait(&mut self, job: QueuedQuestion, due: Instant) {
        let order = job.order();
        self.waiting.push(Reverse(Waiting { due, order, job }));
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
