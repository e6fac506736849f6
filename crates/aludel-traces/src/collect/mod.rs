//! Collecting traces: every prompt is asked as often as wanted of whichever teachers answer, and each answer is kept the moment
//! it is there. The store knows what is missing, `teacher` how one question is asked; here is when, where and how often, what
//! it may cost, and when to end. Reading keys, printing and signals are the binary's.

mod backoff;
mod breaker;
mod concurrency;
mod endpoint;
mod flow;
mod keep;
mod money;
mod predict;
mod progress;
mod prompts;
mod rate;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use money::{Budget, Price, Usage};
pub use predict::{Interval, Prediction};
pub use progress::{Condition, EndpointProgress, Event, Notice, Progress};
pub use prompts::{BOXED, PromptFiles};
pub use rate::Rates;

use crate::Error;
use crate::teacher::{Asking, Teacher};

/// How traces are collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The model and how it is sampled.
    pub asking: Asking,
    /// Answers to each prompt.
    pub samples: u32,
    /// The most questions at once at each endpoint; fewer as long as more bring nothing.
    pub concurrency: usize,
    /// What each endpoint allows a minute.
    pub rates: Rates,
    /// What tokens cost.
    pub price: Price,
    /// How much may be spent.
    pub budget: Budget,
    /// Failures of one question, refusals for load aside, after which it is left for another run.
    pub max_attempts: u32,
    /// Without any answer for so long, the run ends.
    pub give_up_after: Duration,
    /// A run that is stopped waits so long for answers on their way.
    pub grace: Duration,
}

/// Why a collection ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Nothing is missing.
    Finished,
    /// Questions failed too often, and are left for another run.
    Incomplete {
        /// How many.
        left: u64,
    },
    /// Someone stopped it.
    Stopped,
    /// The next answer could exceed the budget.
    Budget {
        /// What is spent and what the next answer may take.
        reason: String,
    },
    /// No endpoint answered for a long time.
    Silent {
        /// What the last of them said.
        words: String,
    },
    /// No endpoint will answer anyone.
    Refused {
        /// What each of them said.
        words: Vec<String>,
    },
}
