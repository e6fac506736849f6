//! How long a question waits before a retry: full jitter over an exponential backoff (Brooker, "Exponential Backoff and Jitter",
//! AWS 2015), and never less than the server asks for.

use std::time::Duration;

const FIRST_BOUND: Duration = Duration::from_millis(500);
/// The backoff of one question only spreads retries: an endpoint that is down or refuses is paused as a whole.
const LARGEST_BOUND: Duration = Duration::from_secs(5);
/// The longest pause of an endpoint that refuses everything, unless it names a time.
const LARGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest wait that a server can ask for: one that asks for an hour is tried again after five minutes.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Random numbers for jitter (SplitMix64).
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// The wait of a question before attempt `failures + 1`.
    pub(super) fn wait(&mut self, failures: u32, retry_after: Option<Duration>) -> Duration {
        self.within(LARGEST_BOUND, failures, retry_after)
    }

    /// The pause of an endpoint after this number of rounds in which it refused everything.
    pub(super) fn pause(&mut self, rounds: u32, retry_after: Option<Duration>) -> Duration {
        self.within(LARGEST_PAUSE, rounds, retry_after)
    }

    fn within(&mut self, largest: Duration, failures: u32, retry_after: Option<Duration>) -> Duration {
        let bound = FIRST_BOUND.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(largest);
        let spread = bound.mul_f64(self.share());
        match retry_after {
            // Requests that were given the same time must not all be sent at it.
            Some(least) => least.min(LONGEST_RETRY_AFTER) + spread,
            None => spread,
        }
    }

    /// A number from 0 up to 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_spread_over_a_bound_that_doubles() {
        let mut jitter = Jitter::new(1);
        for (failures, bound) in [(1, 0.5), (2, 1.0), (4, 4.0), (7, 5.0), (99, 5.0)] {
            let waits: Vec<f64> = (0..1000).map(|_| jitter.wait(failures, None).as_secs_f64()).collect();
            assert!(waits.iter().all(|wait| (0.0..bound).contains(wait)));
            let mean = waits.iter().sum::<f64>() / 1000.0;
            assert!((mean / bound - 0.5).abs() < 0.05, "uniform: its mean is half the bound, within 5 standard errors");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_waited_within_reason() {
        let mut jitter = Jitter::new(1);
        let wait = jitter.wait(1, Some(Duration::from_secs(7)));
        assert!(wait >= Duration::from_secs(7) && wait < Duration::from_millis(7500));
        assert!(jitter.wait(1, Some(Duration::from_secs(86_400))) < Duration::from_secs(301));
    }
}
