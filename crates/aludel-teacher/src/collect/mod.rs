//! Collecting traces: each prompt is asked the requested number of times, of any teacher that answers, and each answer is committed
//! when it arrives. The store knows what is missing, `client` how one request is made; here is when, where and how often to ask,
//! the budget, and when to end. Reading keys, printing and signals are left to the binary.

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

/// After this number of refused questions without any answer, the settings are taken to be at fault.
pub const NONE_TAKEN: u64 = 20;

/// Options of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The model and its sampling parameters.
    pub asking: RequestParams,
    /// Answers per prompt.
    pub samples: u32,
    /// Maximum concurrent requests per endpoint; lowered while more concurrency brings no throughput.
    pub concurrency: usize,
    /// Rate limits of each endpoint.
    pub rates: Rates,
    /// The price of tokens, if it is known.
    pub price: Option<Price>,
    /// The budget.
    pub budget: Budget,
    /// Failures of one question, except overload errors, after which it is left for another run.
    pub max_attempts: u32,
    /// The run ends after this time without any answer.
    pub give_up_after: Duration,
    /// How long a stopped run waits for requests in flight.
    pub grace: Duration,
}

/// Why a collection ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Nothing is missing.
    Finished,
    /// Some questions failed too often, and are left for another run.
    Incomplete {
        /// How many.
        left: u64,
    },
    /// Someone stopped it.
    Stopped,
    /// The next answer could exceed the budget.
    Budget {
        /// What was spent, and what the next answer may cost.
        reason: String,
    },
    /// No endpoint answered for a long time.
    Silent {
        /// The last error.
        words: String,
    },
    /// No endpoint will answer any request.
    Refused {
        /// The error of each of them.
        words: Vec<String>,
    },
}

/// Prompts, teachers, and the store for answers.
pub struct Collection<'a> {
    /// The prompts.
    pub prompts: PromptFiles,
    /// Where answers are kept.
    pub store: &'a Store,
    /// Servers of one model; which of them answers makes no difference.
    pub teachers: Vec<Arc<dyn Teacher>>,
    /// How it is done.
    pub options: Options,
}

/// The result of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub end: End,
    /// How far it came.
    pub progress: Progress,
}

/// Collects what is missing. `stop` may be set from any thread; `told` receives progress and events.
///
/// # Errors
/// Prompts that cannot be read, and a store that cannot be read or written. A failure of a teacher is not an error: [`End`] reports
/// it.
pub fn collect(collection: &Collection<'_>, stop: &AtomicBool, told: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
    let Collection { store, options, .. } = collection;
    let missing = store.register(collection.prompts.read()?, &options.asking, options.samples)?;
    ask(collection, missing, stop, told)
}

/// Two threads: one is enough for any server, but not for measuring it at the same time.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|reason| Error::Threads { reason: reason.to_string() })
}

/// Asks all missing questions.
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
