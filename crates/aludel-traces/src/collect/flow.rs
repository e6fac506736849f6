//! The loop: takes what is missing, asks where it may, keeps each answer the moment it is there, asks again what failed, and
//! knows when to end. How endpoints are judged, what money allows and how long a question waits stand in files of their own;
//! what is missing and what is kept, in the store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::backoff::Jitter;
use super::endpoint::{Change, Endpoint, Leave, Ticket};
use super::keep::{Job, Keeper};
use super::money::{Purse, Spent, Usage};
use super::progress::{Event, Notice, Pace, Progress};
use super::{End, Options};
use crate::Error;
use crate::teacher::{Asking, Failure, Teacher};

/// How often the loop looks at the clock and at whoever wants it to stop.
const TICK: Duration = Duration::from_millis(100);

/// So many questions may wait to be asked again before no further ones are taken: an outage is to fill neither the memory nor the
/// store's list of who asks what.
const MOST_WAITING: usize = 1024;

/// So many waits of a question are short where nothing else is left to ask; after that it seems to be more than bad luck.
const SHORT_WAITS: u32 = 5;

/// After so many questions that are not taken, and no answer, the settings are at fault and not the questions.
const NONE_TAKEN: u64 = 20;

pub(super) struct Flow<'a> {
    options: &'a Options,
    endpoints: Vec<Endpoint>,
    /// What is missing, as the store tells it.
    missing: Receiver<Result<Job, Error>>,
    all_taken: bool,
    /// Questions that were not asked yet; enough of them that no endpoint runs dry.
    fresh: VecDeque<Job>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    on_their_way: JoinSet<Back>,
    keeper: Keeper,
    asking: Arc<Asking>,
    purse: Purse,
    jitter: Jitter,
    progress: Progress,
    pace: Pace,
    started: Instant,
    /// When an answer or a judgement on a question last came, and how many failures since.
    heard: Instant,
    failures_since: u64,
    /// Why no further question is asked, and until when answers are waited for.
    ending: Option<(End, Instant)>,
    left: u64,
}

/// A question that is asked again, once its time has come.
struct Waiting {
    due: Instant,
    order: u64,
    job: Job,
}

/// What became of a question that was asked.
struct Back {
    job: Job,
    endpoint: usize,
    ticket: Ticket,
    outcome: Outcome,
}

enum Outcome {
    /// Kept: written, and on the disk.
    Kept {
        usage: Usage,
        cost: f64,
        elapsed: Duration,
        is_complete: bool,
    },
    /// Kept as a question that is not taken.
    NotTaken {
        words: String,
    },
    Failed(Failure),
    /// The store could not keep it.
    Lost(Error),
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        options: &'a Options,
        teachers: Vec<Arc<dyn Teacher>>,
        missing: Receiver<Result<Job, Error>>,
        wanted: u64,
        keeper: Keeper,
        spent: Spent,
    ) -> Flow<'a> {
        let now = Instant::now();
        let endpoint = |teacher| Endpoint::new(teacher, options.concurrency, options.rates, now);
        Flow {
            options,
            endpoints: teachers.into_iter().map(endpoint).collect(),
            missing,
            all_taken: false,
            fresh: VecDeque::new(),
            waiting: BinaryHeap::new(),
            on_their_way: JoinSet::new(),
            keeper,
            asking: Arc::new(options.asking.clone()),
            purse: Purse::new(options.budget, spent, options.price, options.asking.max_tokens),
            jitter: Jitter::new(u64::from(std::process::id())),
            progress: Progress { wanted, ..Progress::default() },
            pace: Pace::new(now),
            started: now,
            heard: now,
            failures_since: 0,
            ending: None,
            left: 0,
        }
    }

    /// Asks until nothing is missing or something ends it. Gives why, and how far it came.
    pub(super) async fn run(
        mut self,
        stop: &AtomicBool,
        told: &mut dyn FnMut(Event),
    ) -> Result<(End, Progress), Error> {
        self.check_all(told).await;
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.look_around(now, stop);
                told(Event::Progress(Box::new(self.snapshot(now))));
            }
            self.take_more()?;
            let wake = self.ask_all(now).min(next_tick);
            if self.on_their_way.is_empty() && (self.ending.is_some() || self.is_done()) {
                break;
            }
            if self.ending.as_ref().is_some_and(|(_, deadline)| now >= *deadline) {
                self.on_their_way.abort_all();
                break;
            }
            tokio::select! {
                Some(back) = self.on_their_way.join_next() => {
                    self.took(back.expect("a question is never cancelled before the end, and does not panic"), told)?;
                    // All that are back by now: one look at the endpoints serves them all.
                    while let Some(Ok(back)) = self.on_their_way.try_join_next() {
                        self.took(back, told)?;
                    }
                }
                job = self.missing.recv(), if self.wants_more() => match job {
                    Some(job) => self.fresh.push_back(job?),
                    None => self.all_taken = true,
                },
                () = sleep_until(wake) => {}
            }
        }
        let progress = self.snapshot(Instant::now());
        told(Event::Progress(Box::new(progress.clone())));
        let end = match self.ending {
            Some((end, _)) => end,
            None if self.left > 0 => End::Incomplete { left: self.left },
            None => End::Finished,
        };
        Ok((end, progress))
    }

    /// Asks each endpoint whether it is there, all at once. One that refuses is out before the first question.
    async fn check_all(&mut self, told: &mut dyn FnMut(Event)) {
        let mut checks = JoinSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let teacher = Arc::clone(&endpoint.teacher);
            checks.spawn(async move { (index, teacher.check().await) });
        }
        let mut unreachable = Vec::new();
        while let Some(Ok((index, checked))) = checks.join_next().await {
            match checked {
                Err(failure @ Failure::Refused { .. }) => {
                    self.endpoints[index].put_out(failure.to_string());
                    told(Event::Notice(self.out(index)));
                }
                Err(failure @ Failure::Broken { .. }) => unreachable.push((index, failure.to_string())),
                _ => {}
            }
        }
        let silent = self.endpoints.iter().filter(|endpoint| endpoint.is_out()).count() + unreachable.len();
        if silent < self.endpoints.len() {
            return;
        }
        // An address that nobody answers at from the first is more likely a wrong one than a server that is away.
        for (index, words) in unreachable {
            self.endpoints[index].put_out(words);
            told(Event::Notice(self.out(index)));
        }
    }

    /// What the clock alone can bring about.
    fn look_around(&mut self, now: Instant, stop: &AtomicBool) {
        if stop.load(Ordering::Relaxed) {
            self.end(End::Stopped, now + self.options.grace);
        }
        if self.failures_since > 0 && now - self.heard >= self.options.give_up_after {
            let words =
                self.endpoints.iter().find_map(|endpoint| endpoint.last_words()).unwrap_or("nothing").to_string();
            self.end(End::Silent { words }, now);
        }
    }

    /// The first reason to end is the one that is told.
    fn end(&mut self, end: End, deadline: Instant) {
        if self.ending.is_none() {
            self.ending = Some((end, deadline));
        }
    }

    fn is_done(&self) -> bool {
        self.all_taken && self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// Takes of what is missing what is at hand.
    fn take_more(&mut self) -> Result<(), Error> {
        while self.wants_more() {
            match self.missing.try_recv() {
                Ok(job) => self.fresh.push_back(job?),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.all_taken = true,
            }
        }
        Ok(())
    }

    /// Asks as many as may be asked now, first those that failed before. Gives the moment from which more may be.
    fn ask_all(&mut self, now: Instant) -> Instant {
        let later = now + TICK;
        while self.ending.is_none() {
            let due = self.waiting.peek().map(|Reverse(waiting)| waiting.due);
            let is_again = due.is_some_and(|due| due <= now);
            if !is_again && self.fresh.is_empty() {
                self.endpoints.iter_mut().for_each(Endpoint::idle);
                return due.map_or(later, |due| later.min(due));
            }
            if let Err(reason) = self.purse.allows() {
                // What is on its way may turn out smaller than feared.
                if self.on_their_way.is_empty() {
                    self.end(End::Budget { reason }, now);
                }
                return later;
            }
            let again = self.waiting.peek().filter(|_| is_again);
            let avoided = again.and_then(|Reverse(waiting)| waiting.job.failed_at);
            match self.choose(avoided, now) {
                Choice::Endpoint(index) => {
                    let next = if is_again { self.waiting.pop().map(|Reverse(waiting)| waiting.job) } else { None };
                    if let Some(job) = next.or_else(|| self.fresh.pop_front()) {
                        self.ask(job, index, now);
                    }
                }
                Choice::Wait(until) => return later.min(until),
                Choice::Nobody => {
                    let said =
                        |one: &Endpoint| format!("{}: {}", one.teacher.name(), one.last_words().unwrap_or("gone"));
                    let words = self.endpoints.iter().map(said).collect();
                    self.end(End::Refused { words }, now + self.options.grace);
                }
            }
        }
        later
    }

    /// The least busy endpoint that takes a question now; one that just failed with it only if there is no other.
    fn choose(&mut self, avoided: Option<usize>, now: Instant) -> Choice {
        let mut best: Option<(bool, f64, usize)> = None;
        let mut wake: Option<Instant> = None;
        let mut is_anyone_left = false;
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            let leave = endpoint.leave(now);
            is_anyone_left |= leave != Leave::Never;
            match leave {
                Leave::Now(load) => {
                    let rank = (avoided == Some(index), load, index);
                    if best.is_none_or(|best| (rank.0, rank.1) < (best.0, best.1)) {
                        best = Some(rank);
                    }
                }
                Leave::At(until) => wake = Some(wake.map_or(until, |wake| wake.min(until))),
                Leave::WhenAnswered | Leave::Never => {}
            }
        }
        match best {
            Some((_, _, index)) => Choice::Endpoint(index),
            None if is_anyone_left => Choice::Wait(wake.unwrap_or(now + TICK)),
            None => Choice::Nobody,
        }
    }

    fn ask(&mut self, mut job: Job, index: usize, now: Instant) {
        let endpoint = &mut self.endpoints[index];
        let ticket = endpoint.asked(now);
        self.purse.promise();
        job.attempts += 1;
        let (teacher, asking, keeper) = (Arc::clone(&endpoint.teacher), Arc::clone(&self.asking), self.keeper.clone());
        let price = self.options.price;
        self.on_their_way.spawn(async move {
            let asked = Instant::now();
            let outcome = match teacher.ask(&job.question, &asking, job.sample()).await {
                Ok(answer) => {
                    // The endpoint's own time: that of the disk says nothing of how many it can take.
                    let elapsed = asked.elapsed();
                    let usage = Usage::of(&job.question, &answer);
                    let (cost, is_complete) = (price.of(usage), answer.finish.is_complete());
                    // A question holds its place until its answer is on the disk: a crash can cost no more than the limit.
                    let kept = keeper.keep(&job, teacher.name(), answer, cost).await;
                    kept.map_or_else(Outcome::Lost, |()| Outcome::Kept { usage, cost, elapsed, is_complete })
                }
                Err(Failure::Question { status, words }) => {
                    let kept = keeper.keep_failure(&job, teacher.name(), &words).await;
                    kept.map_or_else(Outcome::Lost, |()| Outcome::NotTaken { words: format!("{words} ({status})") })
                }
                Err(failure) => Outcome::Failed(failure),
            };
            Back { job, endpoint: index, ticket, outcome }
        });
    }

    fn took(&mut self, back: Back, told: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let Back { job, endpoint: index, ticket, outcome } = back;
        let now = Instant::now();
        match outcome {
            Outcome::Kept { usage, cost, elapsed, is_complete } => {
                self.endpoints[index].answered(Some((usage, elapsed)), ticket);
                self.purse.settle(Some((cost, usage.total())));
                self.was_heard(now);
                self.progress.done += 1;
                self.progress.cut += u64::from(!is_complete);
                self.progress.cost += cost;
                self.progress.prompt_tokens += usage.prompt;
                self.progress.completion_tokens += usage.completion;
            }
            Outcome::NotTaken { words } => {
                self.endpoints[index].answered(None, ticket);
                self.purse.settle(None);
                self.was_heard(now);
                self.progress.failed += 1;
                told(Event::Notice(Notice::Skipped { origin: job.origin(), words: words.clone() }));
                if self.progress.done == 0 && self.progress.failed >= NONE_TAKEN {
                    let words = format!("none of the first {NONE_TAKEN} questions was taken: {words}");
                    self.end(End::Refused { words: vec![words] }, now + self.options.grace);
                }
            }
            Outcome::Failed(failure) => {
                self.purse.settle(None);
                self.failures_since += 1;
                let words = failure.to_string();
                match self.endpoints[index].failed(&failure, ticket, &mut self.jitter, now) {
                    Change::None => {}
                    Change::Opened => {
                        let endpoint = self.endpoints[index].teacher.name().to_string();
                        told(Event::Notice(Notice::Gone { endpoint, words }));
                    }
                    Change::Out => told(Event::Notice(self.out(index))),
                }
                self.try_again(job, index, &failure, ticket.is_probe, told);
            }
            Outcome::Lost(error) => return Err(error),
        }
        Ok(())
    }

    /// A question whose failure says something of the endpoint alone has not used up an attempt.
    fn try_again(
        &mut self,
        mut job: Job,
        index: usize,
        failure: &Failure,
        was_probe: bool,
        told: &mut dyn FnMut(Event),
    ) {
        let retry_after = match failure {
            Failure::Busy { retry_after, .. } => *retry_after,
            _ => None,
        };
        let says_nothing =
            was_probe || matches!(failure, Failure::Busy { status: Some(429), .. } | Failure::Refused { .. });
        job.refusals += u32::from(says_nothing);
        job.failed_at = Some(index);
        let failures = job.attempts - job.refusals;
        if failures >= self.options.max_attempts {
            self.left += 1;
            told(Event::Notice(Notice::Left { origin: job.origin(), words: failure.to_string() }));
            return;
        }
        let wait = match failure {
            // Another endpoint may answer at once.
            Failure::Refused { .. } => Duration::ZERO,
            // When all is asked, few are left: their waits spare the endpoint little, and make the run longer.
            _ if self.all_taken && self.fresh.is_empty() => {
                self.jitter.wait(job.attempts.saturating_sub(SHORT_WAITS), retry_after)
            }
            _ => self.jitter.wait(job.attempts, retry_after),
        };
        self.wait(job, Instant::now() + wait);
    }

    fn was_heard(&mut self, now: Instant) {
        self.heard = now;
        self.failures_since = 0;
    }

    fn wait(&mut self, job: Job, due: Instant) {
        let order = job.order();
        self.waiting.push(Reverse(Waiting { due, order, job }));
    }

    /// Whether to take more of what is missing.
    fn wants_more(&self) -> bool {
        let limit: usize = self.endpoints.iter().map(Endpoint::limit).sum();
        !self.all_taken && self.ending.is_none() && self.fresh.len() < limit && self.waiting.len() < MOST_WAITING
    }

    fn out(&self, index: usize) -> Notice {
        let endpoint = &self.endpoints[index];
        let words = endpoint.last_words().unwrap_or_default().to_string();
        Notice::Out { endpoint: endpoint.teacher.name().to_string(), words }
    }

    fn snapshot(&mut self, now: Instant) -> Progress {
        let progress = &mut self.progress;
        progress.in_flight = self.on_their_way.len();
        progress.waiting = self.waiting.len();
        progress.tokens_per_second = self.pace.at(now, progress.completion_tokens);
        progress.seconds = (now - self.started).as_secs_f64();
        let settled = progress.done + progress.failed;
        progress.seconds_left =
            (settled > 0).then(|| progress.seconds / settled as f64 * progress.wanted.saturating_sub(settled) as f64);
        progress.endpoints = self.endpoints.iter_mut().map(|endpoint| endpoint.progress(now)).collect();
        progress.clone()
    }
}

enum Choice {
    Endpoint(usize),
    Wait(Instant),
    Nobody,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
