//! A list of questions put to one teacher, for whoever keeps the answers elsewhere, as evaluation does: so many at once, each again after
//! what may pass. There is no store, no money and no second server here; those belong to `scheduler`.

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
use crate::client::{Answer, Asking, Failure, HttpTeacher, Question, Teacher};

/// How often the loop looks at whoever wants it to stop.
const TICK: Duration = Duration::from_millis(100);

/// A question of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What is asked.
    pub question: Arc<Question>,
    /// Takes the place of the options' seed.
    pub seed: Option<u64>,
    /// The number of the answer among those to the same question.
    pub sample: u32,
}

/// Asks all of a list, `options.concurrency` at once. `take` gets the place in the list and what came: an answer, or the words by which
/// the server refuses this question and no other. `tell` hears why a question has to be asked again, once for each trouble. Of the
/// options, samples, price and budget have no meaning here.
///
/// # Errors
/// Those of `take`. What the teacher does is never an error: [`End`] says it.
pub fn ask_list<E: From<Error>>(
    teacher: &Arc<dyn Teacher>,
    list: impl Iterator<Item = Listed>,
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
        let asker = Asker {
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
        asker.run(list.enumerate(), stop, tell, take).await
    });
    runtime.shutdown_background();
    end
}

/// The models that a server lists; none if it does not know how to.
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
struct Job {
    index: usize,
    listed: Listed,
    failures: u32,
    refusals: u32,
    /// When it first failed.
    failing_since: Option<Instant>,
    expected_tokens: u64,
}

struct Asker<'a> {
    teacher: &'a Arc<dyn Teacher>,
    options: &'a Options,
    rate: Rate,
    /// Tokens of all answers, and their number.
    mean_tokens: (u64, u64),
    jitter: Jitter,
    on_their_way: JoinSet<(Job, Result<Answer, Failure>)>,
    /// Questions that are asked again, and when.
    waiting: Vec<(Instant, Job)>,
    /// Whether the end came before some of these could be asked again.
    is_any_dropped: bool,
    /// When the server last answered anyone.
    heard: Instant,
    is_in_trouble: bool,
    /// Questions that failed too often, and what was said last.
    left: Option<(u64, String)>,
    /// Why no further question is asked, and until when answers are waited for.
    ending: Option<(End, Instant)>,
    /// What of the server's words was told not to be understood.
    told: BTreeSet<String>,
}

impl Asker<'_> {
    async fn run<E>(
        mut self,
        list: impl Iterator<Item = (usize, Listed)>,
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
            // With a limit a minute it may be that nobody is asked at the moment.
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

    /// Fills the places that are free, first with those whose time has come again.
    fn ask(&mut self, list: &mut impl Iterator<Item = (usize, Listed)>, now: Instant) {
        if self.ending.is_some() {
            self.is_any_dropped |= !self.waiting.is_empty();
            self.waiting.clear();
            return;
        }
        let most = self.options.concurrency.max(1);
        while self.on_their_way.len() < most && self.rate.ready() <= now {
            let job = match self.waiting.iter().position(|(due, _)| *due <= now) {
                Some(due) => self.waiting.swap_remove(due).1,
                // One more than there are places may wait: if all but it are at fault, it will tell.
                None if self.waiting.len() > most => return,
                None => match list.next() {
                    Some((index, listed)) => {
                        Job { index, listed, failures: 0, refusals: 0, failing_since: None, expected_tokens: 0 }
                    }
                    None => return,
                },
            };
            self.send(job, now);
        }
    }

    fn send(&mut self, mut job: Job, now: Instant) {
        job.expected_tokens = self.mean_tokens.0 / self.mean_tokens.1.max(1);
        self.rate.asked(job.expected_tokens, now);
        let teacher = Arc::clone(self.teacher);
        let asking = Asking { seed: job.listed.seed.or(self.options.asking.seed), ..self.options.asking.clone() };
        self.on_their_way.spawn(async move {
            let answer = teacher.ask(&job.listed.question, &asking, job.listed.sample).await;
            (job, answer)
        });
    }

    fn took<E>(
        &mut self,
        job: Job,
        answer: Result<Answer, Failure>,
        tell: &mut dyn FnMut(&str),
        take: &mut dyn FnMut(usize, Result<Answer, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let usage = answer.as_ref().map(|answer| Usage::of(&job.listed.question, answer));
        // What a server counts may be any number.
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

    /// Asks again later, unless this question alone fails too often, or nobody is answered any more.
    fn failed(&mut self, mut job: Job, failure: &Failure, tell: &mut dyn FnMut(&str)) {
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
        // While nobody is answered it is not the question that is at fault.
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
