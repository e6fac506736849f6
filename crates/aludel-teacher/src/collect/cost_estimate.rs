//! Predicts the cost of the rest from a pilot: tokens, time and dollars, each with an interval. The pilot's prompts are a random
//! sample, so that Student's t bounds the difference between their mean and that of the others. The time also depends on how
//! servers handle more concurrent requests than the pilot had, which no pilot shows.

use serde::Serialize;

use super::budget::{Price, Usage};
use super::concurrency::{FIRST, LEAST_ROUND};
use super::rate_limit::Rates;
use crate::store::PastUsage;

/// One answer of the pilot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pilot {
    /// Its tokens.
    pub(super) usage: Usage,
    /// How long it took.
    pub(super) seconds: f64,
}

impl From<PastUsage> for Pilot {
    fn from(taken: PastUsage) -> Pilot {
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

/// The predicted cost of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Answers that the prediction is based on.
    pub pilot: u64,
    /// Answers still missing.
    pub missing: u64,
    /// Tokens of their questions.
    pub prompt_tokens: Interval,
    /// Tokens of reasoning and answers.
    pub completion_tokens: Interval,
    /// Dollars, if the price is known.
    pub cost: Option<Interval>,
    /// Seconds, including rate limits: the lower bound assumes that a request takes as long as in the pilot at any concurrency, the
    /// upper bound that servers handle no more concurrent requests than in the pilot.
    pub seconds: Interval,
}

/// Concurrency of the run and of the pilot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// The most of each teacher.
    pub(super) at_once: usize,
    /// Teachers.
    pub(super) teachers: usize,
    /// What the pilot took from its first question to its last answer; `None` where not all of it was asked in one go.
    pub(super) pilot_seconds: Option<f64>,
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
    load: Load,
) -> Option<Prediction> {
    if pilot.len() < 2 {
        return None;
    }
    let sum = |value: &dyn Fn(&Pilot) -> f64| sum_of(&pilot.iter().map(value).collect::<Vec<_>>(), missing);
    let prompt_tokens = sum(&|one| one.usage.prompt as f64);
    let completion_tokens = sum(&|one| one.usage.completion as f64);
    let tokens = sum(&|one| one.usage.total() as f64);
    let seconds = time(&pilot.iter().map(|one| one.seconds).collect::<Vec<_>>(), missing, load);
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

/// How long `missing` further questions take that take so long each.
///
/// Asked c at once, questions of W seconds in all take W / c, and then as long as the last ones on their way outlast the others: at most
/// (1 − 1/c) of the longest (Graham's bound for list scheduling), and on average the longest of c less the mean. A server that is busy with
/// c questions already makes each of more than c take longer: the pilot's c bounds the time from above, the most that are asked at once from
/// below. What is expected lies between, at the geometric mean.
fn time(pilot: &[f64], missing: u64, load: Load) -> Interval {
    let sum = sum_of(pilot, missing);
    let (mean, most) = (sum.expected / missing.max(1) as f64, pilot.iter().copied().fold(0.0, f64::max));
    let slots = |each: usize| (each.max(1) * load.teachers.max(1)) as f64;
    let at_once = slots(load.at_once).min(missing.max(1) as f64);
    // What the pilot's load was, by Little's law; or what it is where such a pilot is asked alone, and at most what it can have been.
    let total: f64 = pilot.iter().sum();
    let of_alone = slots(load.at_once.min(FIRST as usize)).min(pilot.len() as f64);
    let alone = total / of_alone + (1.0 - 1.0 / of_alone) * most;
    let of_pilot = (total / load.pilot_seconds.unwrap_or(alone).max(1e-9)).max(1.0);
    let most_of_pilot = load.pilot_seconds.map_or(slots(load.at_once), |_| of_pilot);
    let busy = of_pilot.min(at_once);
    let outlasts = |at_once: f64| (longest(pilot, at_once) - mean).max(0.0);
    let if_unbounded = rising(mean, missing, load) + outlasts(at_once);
    let if_shared = sum.expected / busy + outlasts(busy);
    // Fewer at once than in the pilot may take less each.
    let low = sum.low / at_once.max(most_of_pilot);
    let longest_yet = longest(pilot, at_once) + LONGEST_TAIL * deviation(pilot);
    Interval {
        low,
        expected: (if_unbounded * if_shared).sqrt().max(low),
        high: sum.high / busy + (1.0 - 1.0 / at_once) * longest_yet,
    }
}

/// So many deviations above its mean lies the 97.5% quantile of the longest of many, whose tails fall as the exponential's (Gumbel).
const LONGEST_TAIL: f64 = 3.1;

/// The time of questions that take the mean each, while more and more are asked at once as long as that pays.
fn rising(mean: f64, missing: u64, load: Load) -> f64 {
    let most = load.at_once.max(1) as f64;
    let (mut left, mut limit, mut seconds) = (missing as f64 / load.teachers.max(1) as f64, FIRST.min(most), 0.0);
    while limit < most && left > 0.0 {
        let round = left.min(limit.max(f64::from(LEAST_ROUND)));
        // A round takes no less than one question.
        seconds += mean * (round / limit).max(1.0);
        left -= round;
        limit = (2.0 * limit).min(most);
    }
    seconds + mean * left / limit
}

/// The mean of the longest of `count` draws: of those that there are, by the ranks of the longest among them, and beyond their number by
/// the logarithm, as an exponential tail goes on.
fn longest(values: &[f64], count: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let known = sorted.len() as f64;
    let draws = count.clamp(1.0, known);
    let share = |rank: usize| (rank as f64 / known).powf(draws);
    let within: f64 = sorted.iter().enumerate().map(|(at, value)| value * (share(at + 1) - share(at))).sum();
    within + deviation(values) * (count / draws).ln().max(0.0)
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

fn sum_of(values: &[f64], missing: u64) -> Interval {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let missing = missing as f64;
    let half = quantile(values.len() - 1) * deviation(values) * (missing * missing / count + missing).sqrt();
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

    const LOAD: Load = Load { at_once: 4, teachers: 1, pilot_seconds: None };

    /// Numbers from 0 to 1, the same each time.
    struct Draws(u64);

    impl Draws {
        fn share(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        }

        fn exponential(&mut self) -> f64 {
            -self.share().ln()
        }
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // Exponential answers are as skewed as real ones; of 95% promised, 85% must be kept with 20 prompts.
        let mut draws = Draws(1);
        let mut held = 0;
        for _ in 0..400 {
            let mut answer = || {
                let usage = Usage { prompt: 10, completion: (1000.0 * draws.exponential()) as u64 };
                Pilot { usage, seconds: 1.0 }
            };
            let pilot: Vec<Pilot> = (0..20).map(|_| answer()).collect();
            let rest: u64 = (0..500).map(|_| answer().usage.completion).sum();
            let predicted = predict(&pilot, 500, None, Rates::default(), LOAD).unwrap();
            let within = predicted.completion_tokens;
            held += u32::from(within.low <= rest as f64 && rest as f64 <= within.high);
            assert_eq!(predicted.prompt_tokens, Interval { low: 5000.0, expected: 5000.0, high: 5000.0 });
        }
        assert!(held >= 340, "{held} of 400");
    }

    /// A server that shares what it can do among all questions on their way, none of which is done in less than its own time, and as
    /// many of them as are asked at once at most; that rises as in a run. Gives how long each took, and how long all.
    fn served(work: &[f64], capacity: f64, most: f64) -> (Vec<f64>, f64) {
        let (mut limit, mut round) = (FIRST.min(most), 0.0);
        let (mut now, mut next, mut took) = (0.0, 0, Vec::new());
        let mut on_their_way: Vec<(f64, f64)> = Vec::new();
        while took.len() < work.len() {
            while next < work.len() && (on_their_way.len() as f64) < limit {
                on_their_way.push((work[next], now));
                next += 1;
            }
            let speed = (capacity / on_their_way.len() as f64).min(1.0);
            let first =
                (0..on_their_way.len()).min_by(|&a, &b| on_their_way[a].0.total_cmp(&on_their_way[b].0)).unwrap();
            let (left, asked) = on_their_way.swap_remove(first);
            now += left / speed;
            on_their_way.iter_mut().for_each(|(other, _)| *other -= left);
            took.push(now - asked);
            round += 1.0;
            if round >= limit.max(f64::from(LEAST_ROUND)) {
                (limit, round) = ((2.0 * limit).min(most), 0.0);
            }
        }
        (took, now)
    }

    /// Pilots and the rest on servers of any capacity, on lengths that differ little and much, in few waves and in many: of 95% promised,
    /// 85% must be kept everywhere, with 20 prompts.
    #[test]
    fn the_time_is_held_whatever_servers_can_do_at_once() {
        let (mut draws, mut too_short) = (Draws(7), Vec::new());
        let lengths: [fn(&mut Draws) -> f64; 3] =
            [|_| 9.0, |draws| 5.0 + 10.0 * draws.share(), |draws| 10.0 * draws.exponential()];
        for (kind, length) in lengths.into_iter().enumerate() {
            for (capacity, at_once) in [(1e9, 64), (1e9, 8), (2.0, 64), (6.0, 64), (20.0, 64), (20.0, 16), (100.0, 256)]
            {
                for missing in [5, 30, 100, 1000] {
                    let mut held = 0;
                    for round in 0..60 {
                        let pilot: Vec<f64> = (0..20).map(|_| length(&mut draws)).collect();
                        let rest: Vec<f64> = (0..missing).map(|_| length(&mut draws)).collect();
                        let (took, seconds) = served(&pilot, capacity, at_once as f64);
                        let pilot_seconds = (round % 2 == 0).then_some(seconds);
                        let load = Load { at_once, teachers: 1, pilot_seconds };
                        let said = time(&took, missing, load);
                        let (_, real) = served(&rest, capacity, at_once as f64);
                        assert!(said.low <= said.expected && said.expected <= said.high, "{said:?}");
                        held += u32::from(said.low <= real * 1.000_001 && real <= said.high * 1.000_001);
                    }
                    if held < 51 {
                        too_short
                            .push(format!("lengths {kind}, {capacity} of {at_once} at once, {missing}: {held} of 60"));
                    }
                }
            }
        }
        assert!(too_short.is_empty(), "{too_short:#?}");
    }

    #[test]
    fn few_waves_and_an_unknown_load_are_less_certain() {
        let pilot: Vec<f64> = (0..20).map(|at| 5.0 + f64::from(at)).collect();
        let width = |missing, pilot_seconds| {
            let said = time(&pilot, missing, Load { at_once: 8, teachers: 1, pilot_seconds });
            said.high / said.low
        };
        assert!(width(20, Some(40.0)) > 1.5 * width(2000, Some(40.0)));
        // All eight were busy: the same load goes on.
        let steady = time(&[9.0; 20], 800, Load { at_once: 8, teachers: 1, pilot_seconds: Some(22.5) });
        assert_eq!((steady.low, steady.expected), (900.0, 900.0));
        assert!((900.0..910.0).contains(&steady.high), "{steady:?}");
    }

    #[test]
    fn limits_a_minute_lengthen_the_time() {
        let pilot = [Pilot { usage: Usage { prompt: 10, completion: 90 }, seconds: 36.0 }; 20];
        let load = Load { at_once: 8, teachers: 1, pilot_seconds: Some(90.0) };
        let hours = |rates| predict(&pilot, 800, None, rates, load).unwrap().seconds.expected / 3600.0;
        assert_eq!(hours(Rates::default()), 1.0);
        assert_eq!(hours(Rates { requests_per_minute: Some(5), tokens_per_minute: None }), 800.0 / 300.0);
        assert_eq!(hours(Rates { requests_per_minute: None, tokens_per_minute: Some(100) }), 800.0 / 60.0);
        assert!(predict(&pilot[..1], 800, None, Rates::default(), load).is_none());
    }
}
