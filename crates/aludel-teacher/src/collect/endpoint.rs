//! One endpoint as the scheduler sees it: its requests in flight, whether it may get another and when, and what answers and
//! failures mean for it. Which request goes to which endpoint is decided in `endpoints`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Usage;
use super::circuit_breaker::{Breaker, State};
use super::concurrency::Concurrency;
use super::progress::{EndpointProgress, EndpointStatus};
use super::rate_limit::{Rate, Rates};
use super::retry::Jitter;
use crate::client::{Failure, Teacher};

pub(super) struct Endpoint {
    pub(super) teacher: Arc<dyn Teacher>,
    concurrency: Concurrency,
    breaker: Breaker,
    rate: Rate,
    /// The endpoint asked for a pause until then.
    paused_until: Instant,
    refusals_in_a_row: u32,
    in_flight: usize,
    /// Why it gets no more requests.
    out: Option<String>,
    tokens: Mean,
    answers: u64,
    failures: u64,
    last_words: Option<String>,
}

/// Whether an endpoint can take a request now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Availability {
    /// Yes; this share of its limit is in use.
    Now(f64),
    /// Not before this time.
    At(Instant),
    /// Once one of its requests has ended.
    WhenAnswered,
    /// Never again.
    Never,
}

/// What is remembered of a request in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlightRequest {
    expected_tokens: u64,
    /// Its result decides whether the endpoint is back.
    pub(super) is_probe: bool,
}

/// What a failure changes for the endpoint, where that is worth reporting.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    None,
    /// It is paused for a while.
    Opened,
    /// It is asked no more.
    Out,
}

#[derive(Debug, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Endpoint {
    pub(super) fn new(teacher: Arc<dyn Teacher>, most_at_once: usize, rates: Rates, now: Instant) -> Endpoint {
        Endpoint {
            teacher,
            concurrency: Concurrency::new(most_at_once),
            breaker: Breaker::new(),
            rate: Rate::new(rates, now),
            paused_until: now,
            refusals_in_a_row: 0,
            in_flight: 0,
            out: None,
            tokens: Mean::default(),
            answers: 0,
            failures: 0,
            last_words: None,
        }
    }

    pub(super) fn availability(&mut self, now: Instant) -> Availability {
        if self.out.is_some() {
            return Availability::Never;
        }
        let limit = match self.breaker.state(now) {
            State::Open(until) | State::Probing(until) => return Availability::At(until),
            // Requests that were in flight when it opened may never end, and must not keep probes from their slots.
            State::HalfOpen if self.in_flight < self.concurrency.most() => {
                // A probe counts as a request: with a low rate limit, an outage must not use up the minutes after it.
                return match self.rate.ready().max(self.paused_until) {
                    ready if ready > now => Availability::At(ready),
                    _ => Availability::Now(0.0),
                };
            }
            State::HalfOpen => return Availability::WhenAnswered,
            State::Closed => self.concurrency.limit(),
        };
        if self.in_flight >= limit {
            return Availability::WhenAnswered;
        }
        match self.rate.ready().max(self.paused_until) {
            ready if ready > now => {
                self.concurrency.idle();
                Availability::At(ready)
            }
            _ => Availability::Now(self.in_flight as f64 / limit as f64),
        }
    }

    /// Sends a request there. The value returned is handed back with the result.
    pub(super) fn asked(&mut self, now: Instant) -> InFlightRequest {
        let expected_tokens = self.tokens.value();
        let is_probe = self.breaker.asked(now);
        self.rate.asked(expected_tokens, now);
        self.in_flight += 1;
        InFlightRequest { expected_tokens, is_probe }
    }

    /// An answer, or a refusal of the question: the endpoint responds.
    pub(super) fn answered(&mut self, usage: Option<(Usage, Duration)>, request: InFlightRequest) {
        self.in_flight -= 1;
        self.breaker.answered(request.is_probe);
        self.refusals_in_a_row = 0;
        let tokens = usage.map_or(0, |(usage, _)| usage.total());
        self.rate.took(tokens, request.expected_tokens);
        let Some((usage, elapsed)) = usage else { return };
        self.answers += 1;
        self.tokens.add(tokens);
        self.concurrency.answered(usage.completion, elapsed);
    }

    /// No answer.
    pub(super) fn failed(
        &mut self,
        failure: &Failure,
        request: InFlightRequest,
        jitter: &mut Jitter,
        now: Instant,
    ) -> Change {
        self.in_flight -= 1;
        self.failures += 1;
        self.rate.took(0, request.expected_tokens);
        self.last_words = Some(failure.to_string());
        match failure {
            Failure::Busy { status: Some(429), retry_after, .. } => {
                // The endpoint responds: the breaker is for endpoints that do not.
                self.breaker.answered(request.is_probe);
                self.concurrency.refused();
                self.refusals_in_a_row += 1;
                let all_refused = (self.concurrency.limit() as u32).min(8);
                if self.refusals_in_a_row >= all_refused {
                    let rounds = self.refusals_in_a_row / all_refused;
                    self.paused_until = self.paused_until.max(now + jitter.pause(rounds, *retry_after));
                }
                Change::None
            }
            // Requests that were in flight fail with the same message.
            Failure::Refused { .. } if self.is_out() => Change::None,
            Failure::Refused { .. } => {
                self.out = self.last_words.clone();
                Change::Out
            }
            _ => match self.breaker.failed(request.is_probe, self.concurrency.limit(), now) {
                true => {
                    self.concurrency.gone();
                    Change::Opened
                }
                false => Change::None,
            },
        }
    }

    /// There was nothing more to ask.
    pub(super) fn idle(&mut self) {
        if self.in_flight < self.concurrency.limit() {
            self.concurrency.idle();
        }
    }

    /// It is asked no more.
    pub(super) fn put_out(&mut self, words: String) {
        self.last_words = Some(words.clone());
        self.out = Some(words);
    }

    pub(super) fn limit(&self) -> usize {
        self.concurrency.limit()
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    pub(super) fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    pub(super) fn progress(&mut self, now: Instant) -> EndpointProgress {
        let condition = match (self.out.is_some(), self.breaker.state(now)) {
            (true, _) => EndpointStatus::Out,
            (_, State::Open(_)) => EndpointStatus::Gone,
            (_, State::HalfOpen | State::Probing(_)) => EndpointStatus::Probed,
            (_, State::Closed) if self.paused_until > now => EndpointStatus::Paused,
            (_, State::Closed) => EndpointStatus::Asked,
        };
        EndpointProgress {
            name: self.teacher.name().to_string(),
            condition,
            in_flight: self.in_flight,
            limit: self.concurrency.limit(),
            answers: self.answers,
            failures: self.failures,
            tokens: self.tokens.sum,
            last_words: self.last_words.clone(),
        }
    }
}

impl Mean {
    fn add(&mut self, value: u64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(&self) -> u64 {
        self.sum / self.count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Answer, BoxFuture, Question, RequestParams};

    /// Is never asked: these tests report results themselves.
    struct Nobody;

    impl Teacher for Nobody {
        fn ask<'a>(&'a self, _: &'a Question, _: &'a RequestParams, _: u32) -> BoxFuture<'a, Result<Answer, Failure>> {
            Box::pin(async { Err(Failure::Broken { words: "gone".to_owned() }) })
        }

        fn name(&self) -> &str {
            "nobody"
        }

        fn check(&self) -> BoxFuture<'_, Result<(), Failure>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn probes_keep_to_the_limit_a_minute() {
        let start = Instant::now();
        let rates = Rates { requests_per_minute: Some(10), tokens_per_minute: None };
        let mut endpoint = Endpoint::new(Arc::new(Nobody), 4, rates, start);
        let gone = Failure::Broken { words: "gone".to_owned() };
        let (mut now, mut asked) = (start, 0);
        while now < start + Duration::from_secs(600) {
            match endpoint.availability(now) {
                Availability::Now(_) => {
                    let request = endpoint.asked(now);
                    asked += 1;
                    endpoint.failed(&gone, request, &mut Jitter::new(1), now);
                }
                Availability::At(until) => now = until,
                other => panic!("nothing is on its way: {other:?}"),
            }
        }
        assert!((90..=101).contains(&asked), "{asked} in ten minutes at ten a minute");
    }
}
