//! The number of concurrent requests per endpoint: raised while that increases tokens per second, lowered when the endpoint reports
//! overload or gets slower. A pure state machine over results; who sends requests and when is decided by `scheduler`.

use std::time::Duration;

/// The initial limit; it doubles until a raise brings no gain.
pub(super) const FIRST: f64 = 8.0;
/// Minimum answers per round: fewer do not allow a comparison with the next limit.
pub(super) const LEAST_ROUND: u32 = 16;
/// Rounds at one limit before a raise is tried again.
const HOLD_ROUNDS: u32 = 8;
/// The raise after that, as a share: large enough for the gain to exceed the noise of a round, so that one raise that seemed not to
/// pay, because a disk or server was slow for a moment, does not keep the limit low for minutes.
const STEP: f64 = 0.5;
/// From this share of overload errors on, the endpoint is overloaded.
const TOO_MANY_REFUSALS: f64 = 0.5;

/// The adaptive limit of one endpoint: grows while that pays and is halved on overload, with a slow start as in TCP.
///
/// Throughput at a limit L is estimated by Little's law as L · (1 − share refused) · tokens / seconds, where the seconds are those
/// of good answers. Errors that occur at any load do not change it, so that they do not slow a run down twice.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: f64,
    most: f64,
    /// Below it the limit doubles, above it grows by half.
    threshold: f64,
    round: Round,
    /// The limit before the last raise, and its throughput.
    before: Option<(f64, f64)>,
    /// The best throughput at the present limit.
    best: f64,
    hold: u32,
}

#[derive(Debug, Default)]
struct Round {
    good: u32,
    refused: u32,
    tokens: f64,
    seconds: f64,
    /// There was no question or no permission to send one, so that the limit was not reached.
    was_idle: bool,
}

impl Concurrency {
    pub(super) fn new(most: usize) -> Concurrency {
        let most = most.max(1) as f64;
        Concurrency {
            limit: FIRST.min(most),
            most,
            threshold: most,
            round: Round::default(),
            before: None,
            best: 0.0,
            hold: 0,
        }
    }

    /// Maximum concurrent requests at present.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// The upper bound of the limit.
    pub(super) fn most(&self) -> usize {
        self.most as usize
    }

    /// An answer with this number of tokens arrived after this time.
    pub(super) fn answered(&mut self, tokens: u64, elapsed: Duration) {
        self.round.good += 1;
        self.round.tokens += tokens.max(1) as f64;
        self.round.seconds += elapsed.as_secs_f64().max(1e-4);
        self.end_round();
    }

    /// The endpoint refused because of its load.
    pub(super) fn refused(&mut self) {
        self.round.refused += 1;
        self.end_round();
    }

    /// Fewer requests were sent than the limit allows.
    pub(super) fn idle(&mut self) {
        self.round.was_idle = true;
    }

    /// The endpoint was unreachable, which says nothing about its capacity: it restarts at half of its limit and soon has all of
    /// it.
    pub(super) fn gone(&mut self) {
        self.threshold = self.threshold.max(self.limit);
        self.set((self.limit / 2.0).max(FIRST.min(self.limit)));
        self.round = Round::default();
        self.hold = 0;
    }

    fn end_round(&mut self) {
        let seen = self.round.good + self.round.refused;
        if seen < LEAST_ROUND.max(self.limit as u32) {
            return;
        }
        let round = std::mem::take(&mut self.round);
        let refused = f64::from(round.refused) / f64::from(seen);
        if refused >= TOO_MANY_REFUSALS {
            self.threshold = (self.limit / 2.0).max(1.0);
            self.set(self.threshold);
            self.hold = HOLD_ROUNDS;
            return;
        }
        if round.was_idle {
            return;
        }
        let throughput = self.limit * (1.0 - refused) * round.tokens / round.seconds;
        if let Some((limit, earlier)) = self.before.take()
            && throughput < earlier * (1.0 + (self.limit / limit - 1.0) / 4.0)
        {
            // The last raise brought no gain.
            self.threshold = limit;
            self.set(limit);
            self.best = earlier;
            self.hold = HOLD_ROUNDS;
            return;
        }
        if throughput < 0.6 * self.best {
            self.set((self.limit * 0.8).max(1.0));
            self.hold = HOLD_ROUNDS;
            return;
        }
        self.best = self.best.max(throughput);
        if self.hold > 0 {
            self.hold -= 1;
            return;
        }
        self.raise(throughput);
    }

    fn raise(&mut self, throughput: f64) {
        let limit = self.limit;
        let wanted =
            if limit < self.threshold { (limit * 2.0).min(self.threshold) } else { limit + (limit * STEP).max(1.0) };
        if wanted.min(self.most) > limit {
            self.set(wanted.min(self.most));
            self.before = Some((limit, throughput));
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit;
        self.before = None;
        self.best = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::retry::Jitter;

    /// Answers of 100 tokens from a server with this number of `slots`, a second each; further requests queue.
    fn settle(most: usize, slots: f64, answers: u32) -> usize {
        let mut concurrency = Concurrency::new(most);
        for _ in 0..answers {
            let waiting = (concurrency.limit() as f64 / slots).max(1.0);
            concurrency.answered(100, Duration::from_secs_f64(waiting));
        }
        concurrency.limit()
    }

    #[test]
    fn it_rises_while_more_at_once_brings_more() {
        assert_eq!(settle(256, 1e9, 2000), 256);
        assert_eq!(settle(5, 1e9, 100), 5);
    }

    #[test]
    fn it_stays_near_what_a_queueing_server_works_on() {
        for slots in [1.0, 4.0, 12.0, 40.0] {
            let limit = settle(256, slots, 20_000) as f64;
            assert!(limit >= slots.min(8.0) && limit <= (2.5 * slots).max(9.0), "{slots} slots: {limit}");
        }
    }

    #[test]
    fn refusals_halve_it_and_errors_at_any_load_do_not() {
        let mut concurrency = Concurrency::new(64);
        for _ in 0..32 {
            concurrency.refused();
        }
        assert!(concurrency.limit() <= 4, "{}", concurrency.limit());
        let mut concurrency = Concurrency::new(64);
        for number in 0..2000 {
            match number % 10 {
                0 => concurrency.refused(),
                _ => concurrency.answered(100, Duration::from_secs(1)),
            }
        }
        assert_eq!(concurrency.limit(), 64);
    }

    #[test]
    fn a_hard_limit_of_the_server_is_found() {
        let mut concurrency = Concurrency::new(256);
        let allowed = 20;
        for _ in 0..2000 {
            let at_once = concurrency.limit();
            for _ in 0..at_once.min(allowed) {
                concurrency.answered(100, Duration::from_secs(1));
            }
            for _ in allowed..at_once.max(allowed) {
                concurrency.refused();
            }
        }
        assert!((8..=32).contains(&concurrency.limit()), "{}", concurrency.limit());
    }

    /// A server with this number of `slots`, half a second per request, which fails three of ten requests at any load, a fifth of
    /// those with 429. Returns the answers per second and the limit at the end.
    fn rough(concurrency: &mut Concurrency, slots: usize, seconds: f64, seed: u64) -> (f64, usize) {
        let mut dice = Jitter::new(seed);
        let (mut now, mut answers) = (0.0, 0);
        let mut free = vec![0.0; slots];
        let mut on_their_way: Vec<(f64, f64)> = Vec::new();
        while now < seconds {
            while on_their_way.len() < concurrency.limit() {
                let slot = free.iter_mut().min_by(|a, b| f64::total_cmp(a, b)).unwrap();
                *slot = slot.max(now) + 0.5;
                on_their_way.push((*slot, now));
            }
            let next =
                (0..on_their_way.len()).min_by(|a, b| on_their_way[*a].0.total_cmp(&on_their_way[*b].0)).unwrap();
            let (back, asked) = on_their_way.swap_remove(next);
            now = back;
            match dice.share() {
                share if share < 0.06 => concurrency.refused(),
                share if share < 0.3 => {}
                _ => {
                    answers += 1;
                    concurrency.answered(8, Duration::from_secs_f64(now - asked));
                }
            }
        }
        (f64::from(answers) / seconds, concurrency.limit())
    }

    #[test]
    fn errors_at_any_load_leave_a_server_busy() {
        for slots in [4, 8, 24, 48, 96] {
            let throughput = |seed| {
                let mut concurrency = Concurrency::new(128);
                rough(&mut concurrency, slots, 20.0, seed);
                rough(&mut concurrency, slots, 120.0, seed + 100).0
            };
            let mean = (1..=10).map(throughput).sum::<f64>() / 10.0;
            let share = mean / (0.7 * 2.0 * slots as f64);
            assert!(share >= 0.95, "{slots} slots: {share} of what they can");
        }
    }

    #[test]
    fn a_raise_that_seemed_not_to_pay_is_soon_made_up_for() {
        let reached = |seed| {
            let mut concurrency = Concurrency { threshold: 8.0, hold: HOLD_ROUNDS, ..Concurrency::new(32) };
            rough(&mut concurrency, 64, 40.0, seed).1 as f64
        };
        let mean = (1..=20).map(reached).sum::<f64>() / 20.0;
        assert!(mean >= 28.0, "{mean} of 32 after 40 s at 8");
    }

    #[test]
    fn an_outage_told_again_and_again_costs_no_more_than_one() {
        let mut concurrency = Concurrency::new(32);
        rough(&mut concurrency, 64, 20.0, 1);
        assert_eq!(concurrency.limit(), 32);
        for _ in 0..5 {
            concurrency.gone();
        }
        assert_eq!(rough(&mut concurrency, 64, 5.0, 2).1, 32);
    }

    #[test]
    fn after_an_outage_it_is_soon_where_it_was() {
        let mut concurrency = Concurrency::new(64);
        for _ in 0..500 {
            concurrency.answered(100, Duration::from_secs(1));
        }
        concurrency.gone();
        assert_eq!(concurrency.limit(), 32);
        for _ in 0..64 {
            concurrency.answered(100, Duration::from_secs(1));
        }
        assert_eq!(concurrency.limit(), 64);
    }
}
