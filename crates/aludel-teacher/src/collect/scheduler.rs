//! The scheduling loop: takes missing traces, sends requests where possible, retries failures, and decides when to end. It owns all
//! mutable state; the queue, the endpoints and a single attempt have files of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::attempt::{AttemptOutcome, Requester};
use super::budget::{BudgetTracker, PriorSpending};
use super::endpoint::{Change, InFlightRequest};
use super::endpoints::{Endpoints, NextEndpoint};
use super::persistence::{AnswerWriter, QueuedQuestion};
use super::progress::{Event, Notice, Progress, Throughput};
use super::queue::Queue;
use super::retry::Jitter;
use super::{End, NONE_TAKEN, Options};
use crate::Error;
use crate::client::{Failure, Teacher};

/// How often the loop checks the clock and the stop flag.
const TICK: Duration = Duration::from_millis(100);

/// Unknown fields that are reported; all of them are counted.
pub(super) const UNREAD_TOLD: usize = 32;

/// A question's first retries are quick where nothing else is left to ask; this is their number.
const SHORT_WAITS: u32 = 5;

pub(super) struct Scheduler<'a> {
    options: &'a Options,
    endpoints: Endpoints,
    queue: Queue,
    on_their_way: JoinSet<Back>,
    requester: Requester,
    spending: BudgetTracker,
    jitter: Jitter,
    progress: Progress,
    throughput: Throughput,
    started: Instant,
    /// When an answer or a refusal of a question last arrived, and the failures since.
    heard: Instant,
    failures_since: u64,
    /// Why no further question is asked, and until when answers are awaited.
    ending: Option<(End, Instant)>,
    /// Which unknown words of an endpoint were already reported.
    told_unread: BTreeSet<(usize, String)>,
    /// Refused questions, until the teacher has answered another one.
    held: Vec<Held>,
}

/// A refused question whose error is not stored yet.
struct Held {
    job: QueuedQuestion,
    endpoint: String,
    words: String,
}

/// A request that has ended.
struct Back {
    job: QueuedQuestion,
    endpoint: usize,
    request: InFlightRequest,
    outcome: AttemptOutcome,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(
        options: &'a Options,
        teachers: Vec<Arc<dyn Teacher>>,
        missing: Receiver<Result<QueuedQuestion, Error>>,
        wanted: u64,
        answer_writer: AnswerWriter,
        spent: PriorSpending,
        is_known: bool,
    ) -> Scheduler<'a> {
        let now = Instant::now();
        let is_known = Arc::new(AtomicBool::new(is_known));
        let requester =
            Requester { asking: Arc::new(options.asking.clone()), price: options.price, is_known, answer_writer };
        Scheduler {
            options,
            endpoints: Endpoints::new(teachers, options.concurrency, options.rates, now),
            queue: Queue::new(missing),
            on_their_way: JoinSet::new(),
            requester,
            spending: BudgetTracker::new(options.budget, spent, options.price, options.asking.max_tokens),
            jitter: Jitter::new(u64::from(std::process::id())),
            progress: Progress { wanted, cost: options.price.map(|_| 0.0), ..Progress::default() },
            throughput: Throughput::new(now),
            started: now,
            heard: now,
            failures_since: 0,
            ending: None,
            told_unread: BTreeSet::new(),
            held: Vec::new(),
        }
    }

    /// Runs until nothing is missing or something ends it. Returns why, and the progress.
    pub(super) async fn run(
        mut self,
        stop: &AtomicBool,
        told: &mut dyn FnMut(Event),
    ) -> Result<(End, Progress), Error> {
        self.endpoints.check(told).await;
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.look_around(now, stop);
                told(Event::Progress(Box::new(self.snapshot(now))));
            }
            if self.ending.is_none() {
                self.queue.take_more(self.endpoints.limit())?;
            }
            let wake = self.ask_all(now).min(next_tick);
            if self.on_their_way.is_empty() && (self.ending.is_some() || self.queue.is_empty()) {
                break;
            }
            if self.ending.as_ref().is_some_and(|(_, deadline)| now >= *deadline) {
                self.on_their_way.abort_all();
                break;
            }
            tokio::select! {
                Some(back) = self.on_their_way.join_next() => {
                    self.took(back.expect("a question is never cancelled before the end, and does not panic"), told)?;
                    // All that have ended by now, so that the endpoints are updated once.
                    while let Some(Ok(back)) = self.on_their_way.try_join_next() {
                        self.took(back, told)?;
                    }
                    self.keep_held().await?;
                }
                taken = self.queue.take_next(), if self.wants_more() => taken?,
                () = sleep_until(wake) => {}
            }
        }
        let progress = self.snapshot(Instant::now());
        told(Event::Progress(Box::new(progress.clone())));
        // Who is stopped when nothing is left to do has done it all.
        let stopped_at_the_end = |(end, _): &(End, Instant)| *end == End::Stopped && progress.is_all_settled();
        let end = match self.ending.take_if(|ending| !stopped_at_the_end(ending)) {
            Some((end, _)) => end,
            None if progress.left > 0 => End::Incomplete { left: progress.left },
            None => self.held.last().map_or(End::Finished, |last| self.none_taken(&last.words)),
        };
        Ok((end, progress))
    }

    /// What depends on the clock alone.
    fn look_around(&mut self, now: Instant, stop: &AtomicBool) {
        if stop.load(Ordering::Relaxed) {
            self.end(End::Stopped, now + self.options.grace);
        }
        if self.failures_since > 0 && now - self.heard >= self.options.give_up_after {
            let words = self.endpoints.any_words();
            self.end(End::Silent { words }, now);
        }
    }

    /// The first reason to end is the one reported.
    fn end(&mut self, end: End, deadline: Instant) {
        if self.ending.is_none() {
            self.ending = Some((end, deadline));
        }
    }

    /// Whether to take more missing traces.
    fn wants_more(&self) -> bool {
        self.ending.is_none() && self.queue.wants_more(self.endpoints.limit())
    }

    /// Sends as many requests as possible, retries first. Returns the time from which more may be sent.
    fn ask_all(&mut self, now: Instant) -> Instant {
        let later = now + TICK;
        while self.ending.is_none() {
            let Some(job) = self.queue.next(now) else {
                self.endpoints.idle();
                return self.queue.due().map_or(later, |due| later.min(due));
            };
            let avoided = job.failed_at;
            if let Err(reason) = self.spending.allows() {
                // Requests in flight may turn out cheaper than reserved.
                if self.on_their_way.is_empty() {
                    self.end(End::Budget { reason }, now);
                }
                return later;
            }
            match self.endpoints.choose(avoided, now) {
                NextEndpoint::Endpoint(index) => {
                    if let Some(job) = self.queue.pop(now) {
                        self.ask(job, index, now);
                    }
                }
                NextEndpoint::Wait(until) => return until.map_or(later, |until| later.min(until)),
                NextEndpoint::Nobody => {
                    self.end(End::Refused { words: self.endpoints.all_words() }, now + self.options.grace);
                }
            }
        }
        later
    }

    fn ask(&mut self, mut job: QueuedQuestion, index: usize, now: Instant) {
        let endpoint = self.endpoints.get(index);
        let request = endpoint.asked(now);
        self.spending.promise();
        self.progress.asked += u64::from(job.attempts == 0);
        job.attempts += 1;
        let (teacher, requester) = (Arc::clone(&endpoint.teacher), self.requester.clone());
        self.on_their_way.spawn(async move {
            let outcome = requester.ask(&job, &*teacher).await;
            Back { job, endpoint: index, request, outcome }
        });
    }

    fn took(&mut self, back: Back, told: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let Back { job, endpoint: index, request, outcome } = back;
        let now = Instant::now();
        match outcome {
            AttemptOutcome::Kept { usage, cost, elapsed, is_ended, is_flawed, hides_reasoning, unread } => {
                self.endpoints.get(index).answered(Some((usage, elapsed)), request);
                self.spending.settle(Some((cost, usage.total())));
                self.was_heard(now);
                self.requester.is_known.store(true, Ordering::Relaxed);
                self.progress.done += 1;
                self.progress.cut += u64::from(!is_ended);
                self.progress.unanswered += u64::from(is_flawed);
                self.progress.with_unread += u64::from(!unread.is_empty());
                self.progress.without_reasoning += u64::from(hides_reasoning);
                if hides_reasoning && self.progress.without_reasoning == 1 {
                    let endpoint = self.endpoints.get(index).teacher.name().to_string();
                    told(Event::Notice(Notice::HidesReasoning { endpoint }));
                }
                for what in unread {
                    let endpoint = self.endpoints.get(index).teacher.name().to_string();
                    if self.told_unread.len() < UNREAD_TOLD && self.told_unread.insert((index, what.clone())) {
                        told(Event::Notice(Notice::Unread { endpoint, what }));
                    }
                }
                self.progress.cost = self.progress.cost.zip(cost).map(|(sum, cost)| sum + cost);
                self.progress.prompt_tokens += usage.prompt;
                self.progress.completion_tokens += usage.completion;
            }
            AttemptOutcome::NotTaken { words, status, is_kept } => {
                let endpoint = self.endpoints.get(index).teacher.name().to_string();
                self.endpoints.get(index).answered(None, request);
                self.spending.settle(None);
                self.was_heard(now);
                self.progress.failed += 1;
                let told_words = status.map_or_else(|| words.clone(), |status| format!("{words} ({status})"));
                told(Event::Notice(Notice::Skipped { origin: job.origin(), words: told_words }));
                if self.progress.done == 0 && self.progress.failed >= NONE_TAKEN {
                    self.end(self.none_taken(&words), now + self.options.grace);
                }
                if !is_kept {
                    self.held.push(Held { job, endpoint, words });
                }
            }
            AttemptOutcome::Failed(failure) => {
                self.spending.settle(None);
                self.failures_since += 1;
                let words = failure.to_string();
                match self.endpoints.get(index).failed(&failure, request, &mut self.jitter, now) {
                    Change::None => {}
                    Change::Opened => {
                        let endpoint = self.endpoints.get(index).teacher.name().to_string();
                        told(Event::Notice(Notice::Gone { endpoint, words }));
                    }
                    Change::Out => told(Event::Notice(self.endpoints.out(index))),
                }
                self.try_again(job, index, &failure, request.is_probe, told);
            }
            AttemptOutcome::Lost(error) => return Err(error),
        }
        Ok(())
    }

    /// Once the teacher has answered a question, refusals depend on the question and are stored.
    async fn keep_held(&mut self) -> Result<(), Error> {
        if self.held.is_empty() || !self.requester.is_known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut kept = JoinSet::new();
        for Held { job, endpoint, words } in self.held.drain(..) {
            let answer_writer = self.requester.answer_writer.clone();
            kept.spawn(async move { answer_writer.keep_failure(&job, &endpoint, &words).await });
        }
        while let Some(kept) = kept.join_next().await {
            kept.expect("what is kept is never cancelled, and does not panic")?;
        }
        Ok(())
    }

    /// Why the settings, and not the questions, seem to be at fault.
    fn none_taken(&self, words: &str) -> End {
        let words = format!("none of the first {} questions was taken: {words}", self.progress.failed);
        End::Refused { words: vec![words] }
    }

    /// A failure that says something about the endpoint alone does not use up an attempt.
    fn try_again(
        &mut self,
        mut job: QueuedQuestion,
        index: usize,
        failure: &Failure,
        was_probe: bool,
        told: &mut dyn FnMut(Event),
    ) {
        let retry_after = match failure {
            Failure::Busy { retry_after, .. } => *retry_after,
            _ => None,
        };
        let says_nothing = was_probe && failure.tells_of_server()
            || matches!(failure, Failure::Busy { status: Some(429), .. } | Failure::Refused { .. });
        job.refusals += u32::from(says_nothing);
        job.failed_at = Some(index);
        let failures = job.attempts - job.refusals;
        if failures >= self.options.max_attempts {
            self.progress.left += 1;
            told(Event::Notice(Notice::Left { origin: job.origin(), words: failure.to_string() }));
            return;
        }
        let wait = match failure {
            // Another endpoint may answer immediately.
            Failure::Refused { .. } => Duration::ZERO,
            // When all is asked, few are left: their waits spare the endpoint little, and prolong the run.
            _ if self.queue.is_all_asked() => self.jitter.wait(job.attempts.saturating_sub(SHORT_WAITS), retry_after),
            _ => self.jitter.wait(job.attempts, retry_after),
        };
        self.queue.wait(job, Instant::now() + wait);
    }

    fn was_heard(&mut self, now: Instant) {
        self.heard = now;
        self.failures_since = 0;
    }

    fn snapshot(&mut self, now: Instant) -> Progress {
        let progress = &mut self.progress;
        progress.in_flight = self.on_their_way.len();
        progress.waiting = self.queue.waiting();
        progress.tokens_per_second = self.throughput.at(now, progress.completion_tokens);
        progress.seconds = (now - self.started).as_secs_f64();
        let settled = progress.done + progress.failed;
        progress.seconds_left =
            (settled > 0).then(|| progress.seconds / settled as f64 * progress.wanted.saturating_sub(settled) as f64);
        progress.endpoints = self.endpoints.progress(now);
        progress.clone()
    }
}
