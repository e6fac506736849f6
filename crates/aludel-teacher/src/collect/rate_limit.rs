//! Requests and tokens per minute: when the next request may be sent. Its tokens are known only afterwards, so each request is
//! charged the average of those before it, and the difference when its answer arrives.

use std::time::Duration;

use tokio::time::Instant;

/// Limits per minute; no limit where they are not set.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Questions a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens per minute, input and output together.
    pub tokens_per_minute: Option<u64>,
}

/// The longest time that one answer delays an endpoint, whatever number of tokens it reports.
const LONGEST: Duration = Duration::from_secs(600);

/// The limits of one endpoint and what is left of them. Requests are spread evenly: a burst of a minute's requests would allow
/// twice the limit within one minute.
#[derive(Debug)]
pub(super) struct Rate {
    rates: Rates,
    next_request: Instant,
    /// Tokens are paid for up to this time.
    tokens_until: Instant,
}

impl Rate {
    pub(super) fn new(rates: Rates, now: Instant) -> Rate {
        Rate { rates, next_request: now, tokens_until: now }
    }

    /// When the next request may be sent; `now` or earlier if immediately.
    pub(super) fn ready(&self) -> Instant {
        self.next_request.max(self.tokens_until)
    }

    /// A request is sent that will take about this number of tokens.
    pub(super) fn asked(&mut self, expected_tokens: u64, now: Instant) {
        if let Some(requests) = self.rates.requests_per_minute {
            self.next_request = self.next_request.max(now) + Duration::from_secs(60).div_f64(requests.max(1) as f64);
        }
        if self.rates.tokens_per_minute.is_some() {
            self.tokens_until = self.tokens_until.max(now) + self.worth(expected_tokens);
        }
    }

    /// It took this number of tokens.
    pub(super) fn took(&mut self, tokens: u64, expected_tokens: u64) {
        match tokens.checked_sub(expected_tokens) {
            Some(more) => self.tokens_until += self.worth(more),
            None => {
                let less = self.worth(expected_tokens - tokens);
                self.tokens_until = self.tokens_until.checked_sub(less).unwrap_or(self.tokens_until);
            }
        }
    }

    fn worth(&self, tokens: u64) -> Duration {
        match self.rates.tokens_per_minute {
            Some(limit) => {
                let seconds = 60.0 * tokens as f64 / limit.max(1) as f64;
                Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
            }
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_minute_has_at_most_its_requests_and_one() {
        let start = Instant::now();
        let mut rate = Rate::new(Rates { requests_per_minute: Some(30), tokens_per_minute: None }, start);
        let mut times = Vec::new();
        let mut now = start;
        for _ in 0..100 {
            now = now.max(rate.ready());
            rate.asked(500, now);
            times.push(now);
        }
        for (index, first) in times.iter().enumerate() {
            let in_minute = times[index..].iter().take_while(|time| **time < *first + Duration::from_secs(60)).count();
            assert!(in_minute <= 31, "{in_minute}");
        }
        assert_eq!(times[30] - start, Duration::from_secs(60));
    }

    #[test]
    fn an_absurd_count_holds_nobody_up_for_long() {
        let start = Instant::now();
        let mut rate = Rate::new(Rates { requests_per_minute: None, tokens_per_minute: Some(1) }, start);
        for _ in 0..3 {
            rate.asked(u64::MAX, start);
            rate.took(u64::MAX, 0);
        }
        assert!(rate.ready() - start <= 6 * LONGEST);
    }

    #[test]
    fn tokens_are_charged_beforehand_and_corrected_afterwards() {
        let start = Instant::now();
        let mut rate = Rate::new(Rates { requests_per_minute: None, tokens_per_minute: Some(6_000) }, start);
        rate.asked(100, start);
        assert_eq!(rate.ready() - start, Duration::from_secs(1));
        rate.took(300, 100);
        assert_eq!(rate.ready() - start, Duration::from_secs(3));
        rate.took(0, 200);
        assert_eq!(rate.ready() - start, Duration::from_secs(1));
    }
}
