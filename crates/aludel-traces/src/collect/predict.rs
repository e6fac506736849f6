//! What the rest will take, from a pilot: tokens, time and dollars, each with an interval. The pilot's prompts are a random
//! sample, so that Student's t tells how far the mean of the others may lie from theirs.

use serde::Serialize;

use super::money::{Price, Usage};
use super::rate::Rates;
use crate::store::Taken;

/// One answer of the pilot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pilot {
    /// Its tokens.
    pub(super) usage: Usage,
    /// How long it took.
    pub(super) seconds: f64,
}

impl From<Taken> for Pilot {
    fn from(taken: Taken) -> Pilot {
        let usage = Usage { prompt: taken.prompt_tokens, completion: taken.completion_tokens };
        Pilot { usage, seconds: taken.elapsed_ms as f64 / 1e3 }
    }
}

/// An expected value and the bounds within which it lies with 95% confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Interval {
    /// The lower bound, at least 0.
    pub low: f64,
    /// What is expected.
    pub expected: f64,
    /// The upper bound.
    pub high: f64,
}

/// What the rest will take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Answers that the prediction rests on.
    pub pilot: u64,
    /// Answers still missing.
    pub missing: u64,
    /// Tokens of their questions.
    pub prompt_tokens: Interval,
    /// Tokens of reasoning and answers.
    pub completion_tokens: Interval,
    /// Dollars, if the price is known.
    pub cost: Option<Interval>,
    /// Seconds, if `concurrency` questions at once take no longer each than the pilot's did and limits a minute are kept.
    pub seconds: Interval,
}

/// Predicts the sum over `missing` further answers as missing · mean, with the bounds
/// missing · mean ± t · s · √(missing² / n + missing), s being the pilot's standard deviation over its n prompts and t
/// Student's 97.5% quantile for n − 1 degrees of freedom: the spread of the pilot's mean and of the sum itself.
/// `None` for a pilot of fewer than two answers.
pub(super) fn predict(
    pilot: &[Pilot],
    missing: u64,
    price: Option<Price>,
    rates: Rates,
    at_once: usize,
) -> Option<Prediction> {
    if pilot.len() < 2 {
        return None;
    }
    let sum = |value: &dyn Fn(&Pilot) -> f64| sum_of(&pilot.iter().map(value).collect::<Vec<_>>(), missing);
    let prompt_tokens = sum(&|one| one.usage.prompt as f64);
    let completion_tokens = sum(&|one| one.usage.completion as f64);
    let tokens = sum(&|one| one.usage.total() as f64);
    let at_once = (at_once as u64).clamp(1, missing.max(1)) as f64;
    let seconds = sum(&|one| one.seconds).map(|seconds| seconds / at_once);
    let floor = |limit: Option<u64>, amount: f64| limit.map_or(0.0, |limit| amount / limit.max(1) as f64 * 60.0);
    let requests = floor(rates.requests_per_minute, missing as f64);
    let least = |seconds: f64, tokens: f64| seconds.max(requests).max(floor(rates.tokens_per_minute, tokens));
    Some(Prediction {
        pilot: pilot.len() as u64,
        missing,
        prompt_tokens,
        completion_tokens,
        cost: price.map(|price| sum(&|one| price.of(one.usage))),
        seconds: Interval {
            low: least(seconds.low, tokens.low),
            expected: least(seconds.expected, tokens.expected),
            high: least(seconds.high, tokens.high),
        },
    })
}

impl Interval {
    fn map(self, change: impl Fn(f64) -> f64) -> Interval {
        Interval { low: change(self.low), expected: change(self.expected), high: change(self.high) }
    }
}

fn sum_of(values: &[f64], missing: u64) -> Interval {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let missing = missing as f64;
    let half = quantile(values.len() - 1) * (variance * (missing * missing / count + missing)).sqrt();
    let expected = missing * mean;
    Interval { low: (expected - half).max(0.0), expected, high: expected + half }
}

/// Student's 97.5% quantile by the Cornish–Fisher expansion about the normal one (Abramowitz and Stegun 26.7.5); the first
/// four, where that is too coarse, from its definition.
fn quantile(degrees: usize) -> f64 {
    const FEW: [f64; 4] = [12.706, 4.303, 3.182, 2.776];
    if let Some(quantile) = degrees.checked_sub(1).and_then(|index| FEW.get(index)) {
        return *quantile;
    }
    let (x, n) = (1.959_964_f64, degrees as f64);
    let first = (x.powi(3) + x) / 4.0;
    let second = (5.0 * x.powi(5) + 16.0 * x.powi(3) + 3.0 * x) / 96.0;
    let third = (3.0 * x.powi(7) + 19.0 * x.powi(5) + 17.0 * x.powi(3) - 15.0 * x) / 384.0;
    x + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, wanted) in [(1, 12.706), (4, 2.776), (5, 2.571), (10, 2.228), (19, 2.093), (120, 1.980)] {
            assert!((quantile(degrees) - wanted).abs() < 0.005, "{degrees}: {}", quantile(degrees));
        }
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // Exponential answers are as skewed as real ones; of 95% promised, 85% must be kept with 20 prompts.
        let mut state = 1u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (-1000.0 * (((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64).ln()) as u64
        };
        let mut held = 0;
        for _ in 0..400 {
            let mut answer = || Pilot { usage: Usage { prompt: 10, completion: draw() }, seconds: 1.0 };
            let pilot: Vec<Pilot> = (0..20).map(|_| answer()).collect();
            let rest: u64 = (0..500).map(|_| answer().usage.completion).sum();
            let predicted = predict(&pilot, 500, None, Rates::default(), 4).unwrap();
            let within = predicted.completion_tokens;
            held += u32::from(within.low <= rest as f64 && rest as f64 <= within.high);
            assert_eq!(predicted.prompt_tokens, Interval { low: 5000.0, expected: 5000.0, high: 5000.0 });
        }
        assert!(held >= 340, "{held} of 400");
    }

    #[test]
    fn limits_a_minute_lengthen_the_time() {
        let pilot = [Pilot { usage: Usage { prompt: 10, completion: 90 }, seconds: 36.0 }; 20];
        let hours = |rates| predict(&pilot, 1000, None, rates, 10).unwrap().seconds.expected / 3600.0;
        assert_eq!(hours(Rates::default()), 1.0);
        assert_eq!(hours(Rates { requests_per_minute: Some(5), tokens_per_minute: None }), 1000.0 / 300.0);
        assert_eq!(hours(Rates { requests_per_minute: None, tokens_per_minute: Some(100) }), 1000.0 / 60.0);
        assert!(predict(&pilot[..1], 1000, None, Rates::default(), 10).is_none());
    }
}
