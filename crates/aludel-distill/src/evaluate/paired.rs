//! Paired statistics: two models' shares of right samples on the same problems. A difference, its confidence interval, its p-value, and
//! Holm's correction for several comparisons. `compare` pairs the problems and words the results.

use aludel_kernels::rng;

use super::interval;

/// Draws of signs where all of them are too many.
pub const DRAWS: usize = 10_000;
/// The level at which something counts as measured: intervals cover 1 - LEVEL.
pub const LEVEL: f64 = 0.05;
/// Up to this number of signs, all combinations are enumerated.
const EXACT_SIGNS: usize = 16;
/// Sums that differ by less are equal: they were added in another order.
const ROUNDING: f64 = 1e-9;

/// One question: each model's share of right samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Of the baseline, 0..1.
    pub before: f64,
    /// Of the other model, 0..1.
    pub after: f64,
}

/// A difference of two models on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Questions.
    pub n: usize,
    /// The baseline's mean.
    pub before: f64,
    /// Its 95% interval.
    pub before_ci95: [f64; 2],
    /// The other model's mean.
    pub after: f64,
    /// Its 95% interval.
    pub after_ci95: [f64; 2],
    /// `after - before`.
    pub difference: f64,
    /// Its 95% interval.
    pub ci95: [f64; 2],
    /// Two-sided: how often chance alone, which of the two models gave which result, makes so large a difference.
    pub p: f64,
}

/// The difference of means over questions, those of several tasks perhaps. `problem_of` says which problem a question belongs to,
/// numbered from 0; where each is a problem by itself, these are the numbers from 0 on.
///
/// Intervals are those of `interval`, over problems with all of their questions: what makes a problem hard for both models cancels out.
/// p is that of the sign-flip test over problems, in whole for up to 16 whose results differ, else by [`DRAWS`] draws of this seed.
///
/// # Panics
/// Without any question, or without a problem for each.
pub fn difference(pairs: &[Pair], problem_of: &[usize], seed: u64) -> Difference {
    difference_by(pairs, problem_of, seed, DRAWS)
}

fn difference_by(pairs: &[Pair], problem_of: &[usize], seed: u64, draws: usize) -> Difference {
    let n = pairs.len();
    assert!(n > 0, "a difference of no problems");
    assert_eq!(n, problem_of.len(), "each question belongs to a problem");
    let mean = |of: fn(&Pair) -> f64| pairs.iter().map(of).sum::<f64>() / n as f64;
    let (before, after) = (mean(|pair| pair.before), mean(|pair| pair.after));
    let of = |value: fn(&Pair) -> f64| interval::by_problem(pairs.iter().map(value), problem_of);
    let (before_ci95, after_ci95) =
        (interval::of_share(&of(|pair| pair.before)), interval::of_share(&of(|pair| pair.after)));
    let problems = of(|pair| pair.after - pair.before);
    let ci95 = interval::of_difference(&problems);
    let differences = problems.iter().map(|problem| problem.sum);
    let differences: Vec<f64> = differences.filter(|difference| difference.abs() > ROUNDING).collect();
    let p = p_of_signs(&differences, rng::mix(seed, u64::MAX), draws);
    Difference { n, before, before_ci95, after, after_ci95, difference: after - before, ci95, p }
}

/// The share of sign patterns whose sum is at least as far from 0 as that of the differences themselves.
fn p_of_signs(differences: &[f64], seed: u64, draws: usize) -> f64 {
    let observed = differences.iter().sum::<f64>().abs() - ROUNDING;
    let is_as_far = |sign_of: &dyn Fn(usize) -> bool| {
        let signed = differences.iter().enumerate().map(|(index, value)| if sign_of(index) { *value } else { -value });
        signed.sum::<f64>().abs() >= observed
    };
    if differences.len() <= EXACT_SIGNS {
        let patterns = 1u64 << differences.len();
        let count = (0..patterns).filter(|pattern| is_as_far(&|index| pattern >> index & 1 == 1)).count();
        return count as f64 / patterns as f64;
    }
    let count = (0..draws as u64).filter(|draw| {
        let key = rng::mix(seed, *draw);
        is_as_far(&|index| rng::mix(key, index as u64 / 64) >> (index % 64) & 1 == 1)
    });
    // What was observed is one of the patterns, too; a p of 0 cannot be.
    (count.count() + 1) as f64 / (draws + 1) as f64
}

/// Each p as it is after Holm's correction (1979) for their number: naming those below a level is wrong about any of them no more often
/// than that level.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests;
