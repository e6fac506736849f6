//! What can be told of a collection while it runs: counts, pace, money, and how each endpoint fares. How it is shown is the
//! binary's matter.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// The pace is that of so long a time.
const WINDOW: Duration = Duration::from_secs(30);

/// How far a collection is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Answers that this run was to collect.
    pub wanted: u64,
    /// Answers that were there before it, cut ones among them.
    pub there: u64,
    /// Questions that no server took before it.
    pub there_failed: u64,
    /// Answers that it has kept, cut ones among them.
    pub done: u64,
    /// Of these, answers that were cut off.
    pub cut: u64,
    /// Of these, answers that came to their end and are none: empty, or with reasoning that never closes.
    pub unanswered: u64,
    /// Of these, answers beside which the server said something that is not understood.
    pub with_unread: u64,
    /// Of these, answers of a model that reasoned, as the server says, without any of the reasoning.
    pub without_reasoning: u64,
    /// Questions that no server takes.
    pub failed: u64,
    /// Questions that failed too often, and are left for another run.
    pub left: u64,
    /// Questions that were asked at all, once or more often.
    pub asked: u64,
    /// Questions on their way.
    pub in_flight: usize,
    /// Questions that wait to be asked again.
    pub waiting: usize,
    /// Tokens of this run's questions.
    pub prompt_tokens: u64,
    /// Tokens of this run's reasoning and answers.
    pub completion_tokens: u64,
    /// Completion tokens a second, lately.
    pub tokens_per_second: f64,
    /// Dollars of this run; `None` where the price is not known.
    pub cost: Option<f64>,
    /// Since the start.
    pub seconds: f64,
    /// Until the end, at the run's pace so far; `None` before the first answer.
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

/// How one endpoint fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointProgress {
    /// What to call it.
    pub name: String,
    /// Whether it is asked.
    pub condition: Condition,
    /// Questions on their way there.
    pub in_flight: usize,
    /// The most at once, at present.
    pub limit: usize,
    /// Answers from there.
    pub answers: u64,
    /// Failures there.
    pub failures: u64,
    /// Tokens of its questions and answers.
    pub tokens: u64,
    /// What it said when it last failed.
    pub last_words: Option<String>,
}

/// Whether an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is.
    Asked,
    /// It asked to be left alone for a while.
    Paused,
    /// It does not answer, and is left alone for a while.
    Gone,
    /// One question is to show whether it is back.
    Probed,
    /// It refuses everything, and is asked no more.
    Out,
}

/// Something worth a line in a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// An endpoint does not answer, and is left alone for a while.
    Gone {
        /// The endpoint.
        endpoint: String,
        /// What it said last.
        words: String,
    },
    /// An endpoint refuses everything, and is asked no more.
    Out {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        words: String,
    },
    /// A model reasons, and its server does not show it; told once.
    HidesReasoning {
        /// The endpoint.
        endpoint: String,
    },
    /// Something that a server says is not understood; told once.
    Unread {
        /// The endpoint.
        endpoint: String,
        /// What, in words.
        what: String,
    },
    /// There is a bound for the cost, and so many answers in the store have no known price and are not counted.
    Unpriced {
        /// How many.
        answers: u64,
    },
    /// A question that no server takes.
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

/// What whoever watches is told.
#[derive(Debug)]
pub enum Event {
    /// How far it is, several times a second.
    Progress(Box<Progress>),
    /// What happened.
    Notice(Notice),
}

/// Tokens a second over the last half minute.
#[derive(Debug)]
pub(super) struct Pace {
    marks: VecDeque<(Instant, u64)>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { marks: VecDeque::from([(now, 0)]) }
    }

    /// Notes how many there are in all, and gives the pace.
    pub(super) fn at(&mut self, now: Instant, tokens: u64) -> f64 {
        self.marks.push_back((now, tokens));
        while self.marks.len() > 2 && self.marks[1].0 + WINDOW <= now {
            self.marks.pop_front();
        }
        let (since, before) = self.marks[0];
        (tokens - before) as f64 / (now - since).as_secs_f64().max(1e-3)
    }
}
