//! From samples to scores, by counting only: a sample was judged when it ended, and the verifier decides which answers are the same.

use super::results::{Percentiles, Sample};
use super::{interval, problem_clusters};

/// The scores of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Mean over all samples of being right.
    pub pass_at_1: f64,
    /// Its 95% interval.
    pub ci95: [f64; 2],
    /// Share of problems whose most frequent answer is right.
    pub maj_at_k: f64,
    /// Share of problems that k samples solve.
    pub pass_at_k: f64,
}

/// Scores a task, given the samples of each of its problems.
///
/// pass@1 is the mean over problems of c / n, the right ones among a problem's n samples: unbiased whatever n is. pass@k is the mean of
/// 1 − C(n − c, k) / C(n, k) (Chen et al., 2021), with k = n here. The interval is that of pass@1.
pub fn score(problems: &[Vec<&Sample>], k: u32, is_same: &dyn Fn(usize, &str, &str) -> bool) -> Score {
    let shares: Vec<f64> = problems.iter().map(|samples| pass_at(samples.len(), right(samples), 1)).collect();
    let ids: Vec<&str> =
        problems.iter().map(|samples| samples.first().map_or("", |sample| sample.problem.as_str())).collect();
    let at_k = problems.iter().map(|samples| pass_at(samples.len(), right(samples), k as usize));
    let majorities = problems.iter().enumerate().map(|(at, samples)| majority(samples, &|a, b| is_same(at, a, b)));
    Score {
        pass_at_1: mean(shares.iter().copied()),
        ci95: interval::of_share(&interval::by_problem(shares, &problem_clusters::problems(&ids))),
        maj_at_k: mean(majorities),
        pass_at_k: mean(at_k),
    }
}

fn right(samples: &[&Sample]) -> usize {
    samples.iter().filter(|sample| sample.correct).count()
}

/// 1 − C(n − c, k) / C(n, k): the chance that k of n samples, c of which are right, hold a right one. More than n are taken as n.
pub fn pass_at(n: usize, c: usize, k: usize) -> f64 {
    let k = k.min(n);
    if n == 0 {
        return 0.0;
    }
    if n - c < k {
        return 1.0;
    }
    // the product form: no factorial grows, and k = 1 gives c / n but for the last bit
    if k == 1 {
        return c as f64 / n as f64;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// Whether the most frequent answer is right. Samples without an answer have no vote. Of several that are equally frequent, each counts
/// in equal parts: what a draw between them would score on average.
fn majority(samples: &[&Sample], is_same: &dyn Fn(&str, &str) -> bool) -> f64 {
    let mut groups: Vec<(&str, bool, usize)> = Vec::new();
    for sample in samples {
        let Some(answer) = sample.extracted.as_deref() else { continue };
        // a right answer and a wrong one are never the same, whatever a comparison letter by letter says
        let group = groups.iter_mut().find(|(other, correct, _)| *correct == sample.correct && is_same(other, answer));
        match group {
            Some((.., votes)) => *votes += 1,
            None => groups.push((answer, sample.correct, 1)),
        }
    }
    let most = groups.iter().map(|&(.., votes)| votes).max().unwrap_or(0);
    mean(groups.iter().filter(|&&(.., votes)| votes == most).map(|&(_, correct, _)| f64::from(u8::from(correct))))
}

/// The mean; 0 of nothing.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

/// Nearest-rank percentiles; 0 of nothing.
pub fn percentiles(values: impl Iterator<Item = u64>) -> Percentiles {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let at = |percent: usize| {
        let rank = (percent * values.len()).div_ceil(100).max(1);
        values.get(rank - 1).copied().unwrap_or(0)
    };
    Percentiles { p50: at(50), p90: at(90), p99: at(99) }
}
