//! A circuit breaker: whether an endpoint is worth asking. After some failures in a row it is left alone for a while, then
//! asked one question; that answer decides. What counts as a failure, the loop knows.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it. With three failures in ten at random, one in 15,000 questions would.
const FAILURES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What an endpoint is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Whatever there is.
    Closed,
    /// Nothing before this moment.
    Open(Instant),
    /// One question, to see whether it is back.
    HalfOpen,
    /// Nothing until that question has its answer.
    Probing,
}

#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    state: State,
}

impl Breaker {
    pub(super) fn new() -> Breaker {
        Breaker { failures: 0, pause: FIRST_PAUSE, state: State::Closed }
    }

    pub(super) fn state(&mut self, now: Instant) -> State {
        if let State::Open(until) = self.state
            && until <= now
        {
            self.state = State::HalfOpen;
        }
        self.state
    }

    /// A question is on its way.
    pub(super) fn asked(&mut self) {
        if self.state == State::HalfOpen {
            self.state = State::Probing;
        }
    }

    /// Someone is there, whether they liked the question or not.
    pub(super) fn answered(&mut self) {
        *self = Breaker::new();
    }

    /// Nobody is there, or nobody fit to answer. Says whether this opened the breaker.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        match self.state {
            State::Closed if self.failures >= FAILURES => {
                self.state = State::Open(now + self.pause);
                true
            }
            State::Probing => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.state = State::Open(now + self.pause);
                false
            }
            // Questions that were on their way when it opened tell nothing new.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_decides_after_a_pause_that_grows() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut breaker = Breaker::new();
        for failure in 1..=8 {
            assert_eq!(breaker.state(start), State::Closed);
            assert_eq!(breaker.failed(start), failure == 8);
        }
        assert!(!breaker.failed(start), "late failures neither open it again nor lengthen the pause");
        assert_eq!(breaker.state(at(0.4)), State::Open(at(0.5)));
        assert_eq!(breaker.state(at(0.5)), State::HalfOpen);
        breaker.asked();
        assert_eq!(breaker.state(at(9.0)), State::Probing);
        assert!(!breaker.failed(at(1.0)));
        assert_eq!(breaker.state(at(1.9)), State::Open(at(2.0)));
        assert_eq!(breaker.state(at(2.0)), State::HalfOpen);
        breaker.asked();
        breaker.answered();
        assert_eq!(breaker.state(at(2.0)), State::Closed);
    }

    #[test]
    fn an_answer_in_between_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..100 {
            for _ in 0..7 {
                assert!(!breaker.failed(now));
            }
            breaker.answered();
        }
        assert_eq!(breaker.state(now), State::Closed);
    }
}
