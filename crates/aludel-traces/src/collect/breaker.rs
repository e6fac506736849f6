//! A circuit breaker: whether an endpoint is worth asking. After some failures in a row it is left alone for a while, then
//! asked one question; that answer decides. What counts as a failure, the loop knows.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it, or as many as there are questions at once, if that is more: failures are told at once, and answers
/// only when a group of them is on the disk, so that some failures in a row mean little.
const FAILURES: usize = 8;
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
    failures: usize,
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

    /// Nobody is there, or nobody fit to answer, of so many who are asked at once. Says whether this opened the breaker.
    pub(super) fn failed(&mut self, at_once: usize, now: Instant) -> bool {
        self.failures += 1;
        match self.state {
            State::Closed if self.failures >= FAILURES.max(at_once) => {
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
            assert_eq!(breaker.failed(4, start), failure == 8);
        }
        assert!(!breaker.failed(4, start), "late failures neither open it again nor lengthen the pause");
        assert_eq!(breaker.state(at(0.4)), State::Open(at(0.5)));
        assert_eq!(breaker.state(at(0.5)), State::HalfOpen);
        breaker.asked();
        assert_eq!(breaker.state(at(9.0)), State::Probing);
        assert!(!breaker.failed(4, at(1.0)));
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
                assert!(!breaker.failed(4, now));
            }
            breaker.answered();
        }
        assert_eq!(breaker.state(now), State::Closed);
        let mut breaker = Breaker::new();
        assert_eq!((1..).find(|_| breaker.failed(64, now)), Some(64), "with 64 at once, 8 in a row are no rarity");
    }
}
