//! Sends a list of questions to one teacher, for callers that store the answers themselves, such as evaluation: a number of
//! concurrent requests, each retried after a transient failure. No store, no budget and no second server; those belong to
//! `scheduler`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::budget::Usage;
use super::rate_limit::Rate;
use super::retry::Jitter;
use super::scheduler::UNREAD_TOLD;
use super::{End, Options, runtime};
use crate::Error;
use crate::client::{Answer, Failure, HttpTeacher, Question, RequestParams, Teacher};

/// How often the loop checks the stop flag.
const TICK: Duration = Duration::from_millis(100);

/// A question of a list.
#[derive(Debug, Clone)]
pub struct ListedQuestion {
    /// What is asked.
    pub question: Arc<Question>,
    /// Replaces the seed of the options.
    pub seed: Option<u64>,
    /// The number of the answer among those to the same question.
    pub sample: u32,
}

/// Asks all questions of a list, with `options.concurrency` concurrent requests. `take` gets the index in the list and the result:
/// an answer, or the error message if the server refuses this question alone. `tell` gets the reason for a retry, once for each
/// kind. `samples`, `price` and `budget` of the options are ignored.
///
/// # Errors
/// Those of `take`. A failure of the teacher is not an error: [`End`] reports it.
pub fn ask_list<E: From<Error>>(
    teacher: &Arc<dyn Teacher>,
    list: impl Iterator<Item = ListedQuestion>,
    options: &Options,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&str),
    take: &mut dyn FnMut(usize, Result<Answer, String>) -> Result<(), E>,
) -> Result<End, E> {
    let runtime = runtime()?;
    let end = runtime.block_on(async {
        match teacher.check().await {
            Err(Failure::Broken { words }) => return Ok(End::Silent { words }),
            Err(failure @ Failure::Refused { .. }) => return Ok(End::Refused { words: vec![failure.to_string()] }),
            _ => {}
        }
        let (rate, now) = (Rate::new(options.rates, Instant::now()), Instant::now());
        let requester = Requester {
            teacher,
            options,
            rate,
            mean_tokens: (0, 0),
            jitter: Jitter::new(u64::from(std::process::id())),
            on_their_way: JoinSet::new(),
            waiting: Vec::new(),
            is_any_dropped: false,
            heard: now,
            is_in_trouble: false,
            left: None,
            ending: None,
            told: BTreeSet::new(),
        };
        requester.run(list.enumerate(), stop, tell, take).await
    });
    runtime.shutdown_background();
    end
}

/// The models that a server lists; empty if it has no such route.
///
/// # Errors
/// As [`Teacher::check`].
pub fn listed_models(teacher: &HttpTeacher) -> Result<Vec<String>, Failure> {
    let runtime = runtime().map_err(|reason| Failure::Broken { words: reason.to_string() })?;
    let models = runtime.block_on(teacher.models());
    runtime.shutdown_background();
    models
}

/// A question under way.
struct AskJob {
    index: usize,
    listed: ListedQuestion,
    failures: u32,
    refusals: u32,
    /// When it first failed.
    failing_since: Option<Instant>,
    expected_tokens: u64,
}

struct Requester<'a> {
    teacher: &'a Arc<dyn Teacher>,
    options: &'a Options,
    rate: Rate,
    /// Tokens of all answers, and their number.
    mean_tokens: (u64, u64),
    jitter: Jitter,
    on_their_way: JoinSet<(AskJob, Result<Answer, Failure>)>,
    /// Questions to retry, and when.
    waiting: Vec<(Instant, AskJob)>,
    /// Whether the end came before some of these could be asked again.
    is_any_dropped: bool,
    /// When the server last answered any question.
    heard: Instant,
    is_in_trouble: bool,
    /// Questions that failed too often, with their last error.
    left: Option<(u64, String)>,
    /// Why no further question is asked, and until when answers are awaited.
    ending: Option<(End, Instant)>,
    /// Which unknown words of the server were already reported.
    told: BTreeSet<String>,
}

impl Requester<'_> {
    async fn run<E>(
        mut self,
        list: impl Iterator<Item = (usize, ListedQuestion)>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&str),
        take: &mut dyn FnMut(usize, Result<Answer, String>) -> Result<(), E>,
    ) -> Result<End, E> {
        let mut list = list.peekable();
        loop {
            let now = Instant::now();
            if stop.load(Ordering::Relaxed) {
                self.end(End::Stopped);
            }
            self.ask(&mut list, now);
            let due = self.waiting.iter().map(|(due, _)| *due).chain([self.rate.ready()]);
            let wake = due.filter(|due| *due > now).min().map_or(now + TICK, |due| due.min(now + TICK));
            // With a rate limit there may be no request in flight at the moment.
            let is_all_asked = self.ending.is_some() || list.peek().is_none();
            if self.on_their_way.is_empty() && self.waiting.is_empty() && is_all_asked {
                break;
            }
            if self.ending.as_ref().is_some_and(|(_, deadline)| now >= *deadline) {
                break;
            }
            tokio::select! {
                Some(back) = self.on_their_way.join_next() => {
                    let (job, answer) = back.expect("a question is never cancelled before the end, and does not panic");
                    self.took(job, answer, tell, take)?;
                }
                () = sleep_until(wake) => {}
            }
        }
        // Who is stopped when nothing is left to do has done it all.
        let is_done = self.on_their_way.is_empty() && !self.is_any_dropped && list.peek().is_none();
        let ending = self.ending.filter(|(end, _)| *end != End::Stopped || !is_done);
        Ok(match (ending, self.left) {
            (Some((end, _)), _) => end,
            (None, Some((left, words))) => {
                tell(&words);
                End::Incomplete { left }
            }
            (None, None) => End::Finished,
        })
    }

    /// Fills the free slots, first with questions that are due for a retry.
    fn ask(&mut self, list: &mut impl Iterator<Item = (usize, ListedQuestion)>, now: Instant) {
        if self.ending.is_some() {
            self.is_any_dropped |= !self.waiting.is_empty();
            self.waiting.clear();
            return;
        }
        let most = self.options.concurrency.max(1);
        while self.on_their_way.len() < most && self.rate.ready() <= now {
            let job = match self.waiting.iter().position(|(due, _)| *due <= now) {
                Some(due) => self.waiting.swap_remove(due).1,
                // One more than there are slots may wait for a retry: if all others are at fault, the last one shows it.
                None if self.waiting.len() > most => return,
                None => match list.next() {
                    Some((index, listed)) => {
                        AskJob { index, listed, failures: 0, refusals: 0, failing_since: None, expected_tokens: 0 }
                    }
                    None => return,
                },
            };
            self.send(job, now);
        }
    }

    fn send(&mut self, mut job: AskJob, now: Instant) {
        job.expected_tokens = self.mean_tokens.0 / self.mean_tokens.1.max(1);
        self.rate.asked(job.expected_tokens, now);
        let teacher = Arc::clone(self.teacher);
        let asking =
            RequestParams { seed: job.listed.seed.or(self.options.asking.seed), ..self.options.asking.clone() };
        self.on_their_way.spawn(async move {
            let answer = teacher.ask(&job.listed.question, &asking, job.listed.sample).await;
            (job, answer)
        });
    }

    fn took<E>(
        &mut self,
        job: AskJob,
        answer: Result<Answer, Failure>,
        tell: &mut dyn FnMut(&str),
        take: &mut dyn FnMut(usize, Result<Answer, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let usage = answer.as_ref().map(|answer| Usage::of(&job.listed.question, answer));
        // A server may report any number of tokens.
        let tokens = usage.map_or(0, |usage| usage.prompt.saturating_add(usage.completion).min(u64::from(u32::MAX)));
        self.rate.took(tokens, job.expected_tokens);
        match answer {
            Ok(answer) => {
                self.was_heard();
                for words in &answer.unread {
                    if self.told.len() < UNREAD_TOLD && self.told.insert(words.clone()) {
                        tell(words);
                    }
                }
                self.mean_tokens = (self.mean_tokens.0 + tokens, self.mean_tokens.1 + 1);
                take(job.index, Ok(answer))?;
            }
            Err(failure @ Failure::Question { .. }) => {
                self.was_heard();
                take(job.index, Err(failure.to_string()))?;
            }
            Err(failure @ Failure::Refused { .. }) => self.end(End::Refused { words: vec![failure.to_string()] }),
            Err(failure) => self.failed(job, &failure, tell),
        }
        Ok(())
    }

    fn was_heard(&mut self) {
        self.heard = Instant::now();
        self.is_in_trouble = false;
    }

    /// Retries later, unless this question alone fails too often, or the server answers no question any more.
    fn failed(&mut self, mut job: AskJob, failure: &Failure, tell: &mut dyn FnMut(&str)) {
        let (now, words) = (Instant::now(), failure.to_string());
        if self.ending.is_some() {
            self.is_any_dropped = true;
            return;
        }
        if now - self.heard >= self.options.give_up_after {
            self.end(End::Silent { words });
            return;
        }
        if !self.is_in_trouble {
            self.is_in_trouble = true;
            tell(&words);
        }
        let retry_after = match failure {
            Failure::Busy { retry_after, .. } => *retry_after,
            _ => None,
        };
        job.failures += 1;
        job.refusals += u32::from(matches!(failure, Failure::Busy { status: Some(429), .. }));
        let since = *job.failing_since.get_or_insert(now);
        // While the server answers nothing, the question is not at fault.
        let is_at_fault = self.heard > since || !failure.tells_of_server();
        if job.failures - job.refusals >= self.options.max_attempts && is_at_fault {
            let left = self.left.as_ref().map_or(0, |(left, _)| *left) + 1;
            self.left = Some((left, words));
            return;
        }
        let wait = self.jitter.wait(job.failures, retry_after);
        self.waiting.push((now + wait, job));
    }

    fn end(&mut self, end: End) {
        let deadline = Instant::now() + self.options.grace;
        self.ending.get_or_insert((end, deadline));
    }
}

#[cfg(test)]
mod tests;
