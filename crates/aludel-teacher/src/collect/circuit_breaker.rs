//! A circuit breaker: whether to send requests to an endpoint. After several consecutive failures it opens, and only a probe is
//! sent at intervals; probes alone close it again. What counts as a failure is decided by the caller.

use std::time::Duration;

use tokio::time::Instant;

/// Consecutive failures that open it, or the number of concurrent requests if that is larger: failures are reported immediately and
/// answers only after a group of them is committed, so that a few consecutive failures mean little.
const FAILURES: usize = 8;

/// The interval between probes, whatever their results. The end of an outage should be noticed early, and a request per second is
/// cheap.
const PAUSE: Duration = Duration::from_secs(1);

/// Which requests an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Whatever there is.
    Closed,
    /// None before this time.
    Open(Instant),
    /// One request, to see whether the endpoint is back: a probe.
    HalfOpen,
    /// None until the probe is answered, or until this time: an answer may take minutes.
    Probing(Instant),
}

#[derive(Debug)]
pub(super) struct Breaker {
    failures: usize,
    state: State,
}

impl Breaker {
    pub(super) fn new() -> Breaker {
        Breaker { failures: 0, state: State::Closed }
    }

    pub(super) fn state(&mut self, now: Instant) -> State {
        if let State::Open(until) | State::Probing(until) = self.state
            && until <= now
        {
            self.state = State::HalfOpen;
        }
        self.state
    }

    /// A request was sent. Returns whether it is a probe.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        let is_probe = self.state(now) == State::HalfOpen;
        if is_probe {
            self.state = State::Probing(now + PAUSE);
        }
        is_probe
    }

    /// The endpoint responded, whether or not it accepts the question. While the breaker is open this can only be a probe's
    /// response: requests that were in flight before say nothing about the present.
    pub(super) fn answered(&mut self, was_probe: bool) {
        if was_probe || self.state == State::Closed {
            *self = Breaker::new();
        }
    }

    /// The endpoint did not respond or was not able to, with this number of concurrent requests. Returns whether this opened the
    /// breaker.
    pub(super) fn failed(&mut self, was_probe: bool, at_once: usize, now: Instant) -> bool {
        self.failures += 1;
        match self.state {
            State::Closed if self.failures >= FAILURES.max(at_once) => {
                self.state = State::Open(now + PAUSE);
                true
            }
            State::Probing(until) if was_probe => {
                self.state = State::Open(until);
                false
            }
            // Failures of requests that were in flight when it opened are no news.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for failure in 1..=8 {
            assert_eq!(breaker.state(now), State::Closed);
            assert_eq!(breaker.failed(false, 4, now), failure == 8);
        }
        breaker
    }

    #[test]
    fn one_question_a_second_decides() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut breaker = opened(start);
        assert_eq!(breaker.state(at(0.9)), State::Open(at(1.0)));
        assert_eq!(breaker.state(at(1.0)), State::HalfOpen);
        assert!(breaker.asked(at(1.0)));
        assert_eq!(breaker.state(at(1.5)), State::Probing(at(2.0)));
        assert!(!breaker.failed(true, 4, at(1.5)));
        assert_eq!(breaker.state(at(1.5)), State::Open(at(2.0)));
        assert!(breaker.asked(at(2.0)));
        assert_eq!(breaker.state(at(3.0)), State::HalfOpen, "a probe that takes its time does not hold up the next");
        breaker.answered(true);
        assert_eq!(breaker.state(at(3.0)), State::Closed);
        assert!(!breaker.asked(at(3.0)));
    }

    #[test]
    fn questions_of_the_time_before_it_opened_decide_nothing() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.answered(false);
        assert!(!breaker.failed(false, 4, now));
        assert_eq!(breaker.state(now), State::Open(now + PAUSE), "neither an answer nor a failure moves it");
        let later = now + PAUSE;
        assert!(breaker.asked(later));
        breaker.failed(false, 4, later);
        breaker.answered(false);
        assert_eq!(breaker.state(later), State::Probing(later + PAUSE));
    }

    #[test]
    fn an_answer_in_between_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..100 {
            for _ in 0..7 {
                assert!(!breaker.failed(false, 4, now));
            }
            breaker.answered(false);
        }
        assert_eq!(breaker.state(now), State::Closed);
        let mut breaker = Breaker::new();
        let opening = (1..).find(|_| breaker.failed(false, 64, now));
        assert_eq!(opening, Some(64), "with 64 at once, 8 in a row are no rarity");
    }
}
