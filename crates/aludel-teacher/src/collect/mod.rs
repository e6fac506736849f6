//! Collecting traces: every prompt is asked as often as wanted of whichever teachers answer, and each answer is kept the moment
//! it is there. The store knows what is missing, `teacher` how one question is asked; here is when, where and how often, what
//! it may cost, and when to end. Reading keys, printing and signals are the binary's.

mod ask_all;
mod attempt;
mod budget;
mod circuit_breaker;
mod concurrency;
mod cost_estimate;
mod endpoint;
mod endpoints;
mod persistence;
mod pilot;
mod progress;
mod prompts;
mod queue;
mod rate_limit;
mod retry;
mod scheduler;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use ask_all::{ListedQuestion, ask_list, listed_models};
pub use budget::{Budget, Price, Usage, dollars};
pub use cost_estimate::{Interval, Prediction};
pub use pilot::{PilotResult, plan};
pub use progress::{EndpointProgress, EndpointStatus, Event, Notice, Progress};
pub use prompts::{BOXED, PromptFiles};
pub use rate_limit::Rates;

use crate::Error;
use crate::client::{RequestParams, Teacher};
use crate::store::{MissingTraces, Store};
use budget::PriorSpending;
use persistence::AnswerWriter;
use scheduler::Scheduler;

/// After so many questions that are not taken, and no answer, the settings are at fault and not the questions.
pub const NONE_TAKEN: u64 = 20;

/// How traces are collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The model and how it is sampled.
    pub asking: RequestParams,
    /// Answers to each prompt.
    pub samples: u32,
    /// The most questions at once at each endpoint; fewer as long as more bring nothing.
    pub concurrency: usize,
    /// What each endpoint allows a minute.
    pub rates: Rates,
    /// What tokens cost, if that is known.
    pub price: Option<Price>,
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

/// What is asked, of whom, and where answers are kept.
pub struct Collection<'a> {
    /// The prompts.
    pub prompts: PromptFiles,
    /// Where answers are kept.
    pub store: &'a Store,
    /// Servers of one model; which of them answers makes no difference to what is missing.
    pub teachers: Vec<Arc<dyn Teacher>>,
    /// How it is done.
    pub options: Options,
}

/// How a collection went.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub end: End,
    /// How far it came.
    pub progress: Progress,
}

/// Collects what is missing. `stop` may be set from anywhere; `told` hears how it goes.
///
/// # Errors
/// Prompts that cannot be read, and a store that cannot be read or written. What teachers do is never an error: [`End`] says it.
pub fn collect(collection: &Collection<'_>, stop: &AtomicBool, told: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
    let Collection { store, options, .. } = collection;
    let missing = store.register(collection.prompts.read()?, &options.asking, options.samples)?;
    ask(collection, missing, stop, told)
}

/// Two threads: one would do for any server, but not for its own measurement.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|reason| Error::Threads { reason: reason.to_string() })
}

/// Asks for what is missing.
fn ask(
    collection: &Collection<'_>,
    missing: MissingTraces,
    stop: &AtomicBool,
    told: &mut dyn FnMut(Event),
) -> Result<Summary, Error> {
    let (wanted, there, there_failed) = (missing.count, missing.there, missing.failed);
    if wanted == 0 {
        let progress = Progress { there, there_failed, ..Progress::default() };
        return Ok(Summary { end: End::Finished, progress });
    }
    let before = collection.store.snapshot()?.status()?;
    let tokens = before.tokens.prompt + before.tokens.completion;
    let cost = before.cost.unwrap_or_default();
    let spent = PriorSpending { cost, tokens, answers: before.complete + before.cut };
    if collection.options.budget.cost.is_some() && before.unpriced > 0 {
        told(Event::Notice(Notice::Unpriced { answers: before.unpriced }));
    }
    let is_known = missing.has_answers;
    let answer_writer = AnswerWriter::new(collection.store.writer());
    let (give, take) = tokio::sync::mpsc::channel(256);
    let runtime = runtime()?;
    let (end, progress) = std::thread::scope(|scope| {
        scope.spawn(move || persistence::feed(missing, &give));
        runtime.block_on(async {
            let teachers = collection.teachers.clone();
            let scheduler = Scheduler::new(&collection.options, teachers, take, wanted, answer_writer, spent, is_known);
            scheduler.run(stop, told).await
        })
    })?;
    runtime.shutdown_background();
    Ok(Summary { end, progress: Progress { there, there_failed, ..progress } })
}
