//! Progress of a collection: counts, throughput, cost, and the state of each endpoint. Displaying it is left to the binary.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Throughput is averaged over this time.
const WINDOW: Duration = Duration::from_secs(30);

/// Progress of a collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Answers that this run has to collect.
    pub wanted: u64,
    /// Answers that were stored before it, cut ones included.
    pub there: u64,
    /// Questions that had been refused before it.
    pub there_failed: u64,
    /// Answers stored by this run, cut ones included.
    pub done: u64,
    /// Of these, answers that were cut off.
    pub cut: u64,
    /// Of these, answers that ended by themselves and are unusable: empty, or with unclosed reasoning.
    pub unanswered: u64,
    /// Of these, answers with unknown fields from the server.
    pub with_unread: u64,
    /// Of these, answers with reasoning that the server reports and does not show.
    pub without_reasoning: u64,
    /// Questions that every server refuses.
    pub failed: u64,
    /// Questions that failed too often, and are left for another run.
    pub left: u64,
    /// Questions that were asked at all, once or more often.
    pub asked: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Questions that wait for a retry.
    pub waiting: usize,
    /// Tokens of this run's questions.
    pub prompt_tokens: u64,
    /// Tokens of this run's reasoning and answers.
    pub completion_tokens: u64,
    /// Completion tokens per second, recently.
    pub tokens_per_second: f64,
    /// Cost of this run in dollars; `None` where the price is not known.
    pub cost: Option<f64>,
    /// Since the start.
    pub seconds: f64,
    /// Estimated time left, from the throughput so far; `None` before the first answer.
    pub seconds_left: Option<f64>,
    /// Each endpoint.
    pub endpoints: Vec<EndpointProgress>,
}

impl Progress {
    /// Questions that were asked and have no answer that is kept.
    pub fn not_answered(&self) -> u64 {
        self.asked.saturating_sub(self.done)
    }

    /// Questions that were never asked.
    pub fn not_asked(&self) -> u64 {
        self.wanted.saturating_sub(self.asked)
    }

    /// Whether each question has its answer, or was given up.
    pub fn is_all_settled(&self) -> bool {
        self.done + self.failed + self.left >= self.wanted
    }
}

/// State of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointProgress {
    /// What to call it.
    pub name: String,
    /// Whether it is asked.
    pub condition: EndpointStatus,
    /// Its requests in flight.
    pub in_flight: usize,
    /// Its maximum concurrent requests at present.
    pub limit: usize,
    /// Answers from there.
    pub answers: u64,
    /// Failures there.
    pub failures: u64,
    /// Tokens of its questions and answers.
    pub tokens: u64,
    /// Its last error.
    pub last_words: Option<String>,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It is.
    Asked,
    /// It asked for a pause.
    Paused,
    /// It does not respond, and is paused.
    Gone,
    /// One request is to show whether it is back.
    Probed,
    /// It refuses everything, and gets no more requests.
    Out,
}

/// An event worth a line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// An endpoint does not respond, and is paused.
    Gone {
        /// The endpoint.
        endpoint: String,
        /// What it said last.
        words: String,
    },
    /// An endpoint refuses everything, and gets no more requests.
    Out {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        words: String,
    },
    /// A model reasons, and its server does not show it; reported once.
    HidesReasoning {
        /// The endpoint.
        endpoint: String,
    },
    /// Something in a server's response is unknown; reported once.
    Unread {
        /// The endpoint.
        endpoint: String,
        /// What, in words.
        what: String,
    },
    /// There is a budget in dollars, and this number of answers in the store have no known price and are not counted.
    Unpriced {
        /// How many.
        answers: u64,
    },
    /// A question that every server refuses.
    Skipped {
        /// Where it stands.
        origin: String,
        /// What the server said.
        words: String,
    },
    /// A question that is left for another run.
    Left {
        /// Where it stands.
        origin: String,
        /// What went wrong last.
        words: String,
    },
}

/// What a caller is notified of.
#[derive(Debug)]
pub enum Event {
    /// Progress, several times a second.
    Progress(Box<Progress>),
    /// What happened.
    Notice(Notice),
}

/// Tokens per second over the last half minute.
#[derive(Debug)]
pub(super) struct Throughput {
    marks: VecDeque<(Instant, u64)>,
}

impl Throughput {
    pub(super) fn new(now: Instant) -> Throughput {
        Throughput { marks: VecDeque::from([(now, 0)]) }
    }

    /// Records the total so far, and returns the throughput.
    pub(super) fn at(&mut self, now: Instant, tokens: u64) -> f64 {
        self.marks.push_back((now, tokens));
        while self.marks.len() > 2 && self.marks[1].0 + WINDOW <= now {
            self.marks.pop_front();
        }
        let (since, before) = self.marks[0];
        (tokens - before) as f64 / (now - since).as_secs_f64().max(1e-3)
    }
}
