//! 95% intervals: of a share of right answers, and of a difference of two. Both work over problems, each with any number of questions
//! and samples, and both hold their coverage where all or none are right; which problems belong together is left to the callers.

/// How many standard errors hold 95%.
const Z: f64 = 1.959_963_984_540_054;

/// Questions that stand or fall together, being one problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Problem {
    /// How many.
    pub questions: usize,
    /// The sum of their values.
    pub sum: f64,
}

/// Values of questions, gathered by problem. `problem_of` numbers the problem of each from 0 on.
pub fn by_problem(values: impl IntoIterator<Item = f64>, problem_of: &[usize]) -> Vec<Problem> {
    let mut problems = vec![Problem::default(); problem_of.iter().max().map_or(0, |last| last + 1)];
    for (value, &problem) in values.into_iter().zip(problem_of) {
        problems[problem].questions += 1;
        problems[problem].sum += value;
    }
    problems.retain(|problem| problem.questions > 0);
    problems
}

/// The interval of a mean of values in [0, 1], such as shares of right samples.
///
/// It is Wilson's score interval (1927) for as many independent answers as vary like these problems do,
/// n = m (1 − m) / Var(m), which is the number of problems where each is answered once. The variance is that between problems, with one
/// more problem counted, half of it right and half of it wrong: where all are alike, they still say no more than that they are many.
/// [0, 1] of nothing.
pub fn of_share(problems: &[Problem]) -> [f64; 2] {
    let Some(Moments { mean, variance, observed }) = Moments::of(problems, [0.0, 1.0]) else { return [0.0, 1.0] };
    let count = problems.len() as f64;
    // One problem more was counted, which must not make the interval narrower.
    let answers = mean * (1.0 - mean) / (variance * (count + 1.0) / count);
    let z2 = Z * Z / answers;
    let centre = (observed + z2 / 2.0) / (1.0 + z2);
    let half = (observed * (1.0 - observed) * z2 + z2 * z2 / 4.0).sqrt() / (1.0 + z2);
    // The observed value is inside the interval despite rounding.
    [(centre - half).clamp(0.0, observed), (centre + half).clamp(observed, 1.0)]
}

/// The interval of a mean over tokens, Σ sum / Σ tokens, where the tokens of a row stand or fall together: that of a ratio of two means
/// over rows, whose variance is k/(k − 1) · Σ (sumᵢ − mean · tokensᵢ)² / (Σ tokens)² for k rows. None of fewer than two rows.
pub fn of_token_mean(rows: &[(f64, u64)]) -> Option<[f64; 2]> {
    let tokens: f64 = rows.iter().map(|&(_, tokens)| tokens as f64).sum();
    let mean = rows.iter().map(|&(sum, _)| sum).sum::<f64>() / tokens;
    let squares: f64 = rows.iter().map(|&(sum, tokens)| (sum - mean * tokens as f64).powi(2)).sum();
    let count = rows.len() as f64;
    let half = Z * (count / (count - 1.0) * squares).sqrt() / tokens;
    (rows.len() > 1 && tokens > 0.0).then_some([mean - half, mean + half])
}

/// The interval of a mean of differences in [−1, 1], each of two shares on the same question.
///
/// It is that of a normal mean over problems, with one more problem counted, half of it won and half of it lost, as Bonett and Price
/// (2012) add cases to a table of pairs: three problems won of three are no certainty. [−1, 1] of nothing.
pub fn of_difference(problems: &[Problem]) -> [f64; 2] {
    let Some(Moments { mean, variance, observed }) = Moments::of(problems, [-1.0, 1.0]) else { return [-1.0, 1.0] };
    let half = Z * variance.sqrt();
    [(mean - half).clamp(-1.0, observed), (mean + half).clamp(observed, 1.0)]
}

/// The mean over questions of the problems and of one problem more, of average size, half of it at either end; the variance of that mean; and
/// the mean without it.
struct Moments {
    mean: f64,
    variance: f64,
    observed: f64,
}

impl Moments {
    fn of(problems: &[Problem], ends: [f64; 2]) -> Option<Moments> {
        let questions: f64 = problems.iter().map(|problem| problem.questions as f64).sum();
        if questions == 0.0 {
            return None;
        }
        let sum: f64 = problems.iter().map(|problem| problem.sum).sum();
        let size = questions / problems.len() as f64;
        let all = questions + size;
        let mean = (sum + size * (ends[0] + ends[1]) / 2.0) / all;
        // Of a ratio of sums: what each problem adds beyond its questions' part of the mean.
        let own: f64 = problems.iter().map(|problem| (problem.sum - mean * problem.questions as f64).powi(2)).sum();
        let added: f64 = ends.map(|end| (size * (end - mean)).powi(2) / 2.0).iter().sum();
        Some(Moments { mean, variance: (own + added) / (all * all), observed: sum / questions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aludel_kernels::rng;

    /// Problems of one question each.
    fn alone(values: impl IntoIterator<Item = f64>) -> Vec<Problem> {
        values.into_iter().map(|sum| Problem { questions: 1, sum }).collect()
    }

    fn share(right: usize, of: usize) -> [f64; 2] {
        of_share(&alone((0..of).map(|index| f64::from(u8::from(index < right)))))
    }

    /// Against scipy's `binomtest(right, n).proportion_ci(method="wilson")`.
    #[test]
    fn where_each_problem_is_answered_once_it_is_wilsons() {
        for (right, of, expected) in [
            (0, 10, [0.0, 0.277_532_799_862_889_26]),
            (10, 10, [0.722_467_200_137_110_9, 1.0]),
            (3, 10, [0.107_791_267_406_301_02, 0.603_221_852_538_854_6]),
            (1, 200, [0.000_883_168_715_600_976_2, 0.027_773_704_397_892_93]),
        ] {
            let found = share(right, of);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-9);
            assert!(near, "{right} of {of}: {found:?}, not {expected:?}");
        }
    }

    /// The coverage is a sum over all outcomes, without any chance. At p = 0 no interval that holds 0 can cover less than always; and at
    /// (10, 0.02) and (10, 0.5) there are no outcomes between 82% and 98%, or 89% and 97.8%, that could be left out.
    #[test]
    fn an_interval_of_a_share_covers_as_often_as_it_says() {
        for of in [10, 40, 200] {
            for p in [0.0, 0.02, 0.5, 0.98] {
                let covers = |right: usize| {
                    let [low, high] = share(right, of);
                    low <= p && p <= high
                };
                let covered: f64 = (0..=of).filter(|&right| covers(right)).map(|right| chance_of(right, of, p)).sum();
                let most = if p == 0.0 || of == 10 { 1.0 } else { 0.97 };
                assert!((0.93..=most + 1e-12).contains(&covered), "n = {of}, p = {p}: {covered}");
            }
        }
    }

    /// C(of, right) p^right (1 − p)^(of − right), by logarithms: the powers alone would vanish.
    fn chance_of(right: usize, of: usize, p: f64) -> f64 {
        let power = |base: f64, exponent: usize| if exponent == 0 { 0.0 } else { exponent as f64 * base.ln() };
        let choices: f64 = (1..=right).map(|i| ((of - right + i) as f64 / i as f64).ln()).sum();
        (choices + power(p, right) + power(1.0 - p, of - right)).exp()
    }

    /// A draw of a problem's own chance of a right answer: mean `p`; `kind` 0 has all alike, 1 all or nothing, between them both.
    fn chance(p: f64, kind: f64, key: u64, index: u64) -> f64 {
        match f64::from(rng::uniform(rng::mix(key, 1), index)) {
            u if u < kind => f64::from(u8::from(f64::from(rng::uniform(rng::mix(key, 2), index)) < p)),
            _ => p,
        }
    }

    fn samples(of: usize, k: usize, p: f64, kind: f64, key: u64) -> Vec<f64> {
        let right = |problem: u64| {
            let chance = chance(p, kind, key, problem);
            let key = rng::mix(rng::mix(key, 3), problem);
            (0..k as u64).filter(|&sample| f64::from(rng::uniform(key, sample)) < chance).count() as f64 / k as f64
        };
        (0..of as u64).map(right).collect()
    }

    /// Several samples of each problem, problems alike or not, 2,000 draws each: at least 93% but for the draws' own error (three standard
    /// errors are 1.5 points).
    #[test]
    fn with_several_samples_an_interval_covers_enough() {
        for (of, k) in [(10, 4), (40, 4), (40, 16), (200, 4)] {
            for p in [0.02, 0.5, 0.98] {
                for kind in [0.0, 0.3, 0.7, 1.0] {
                    let draws = 2_000;
                    let covers = |draw: u64| {
                        let [low, high] = of_share(&alone(samples(of, k, p, kind, rng::mix(7, draw))));
                        low <= p && p <= high
                    };
                    let covered = (0..draws).filter(|&draw| covers(draw)).count() as f64 / draws as f64;
                    assert!(covered >= 0.915, "n = {of}, k = {k}, p = {p}, kind {kind}: {covered}");
                }
            }
        }
    }

    /// Pairs of answers with chances `before` and `after`, of which a share `tied` has one draw for both.
    #[test]
    fn an_interval_of_a_difference_covers_enough() {
        for of in [10, 40, 200] {
            for (before, after, tied) in [
                (0.0, 0.0, 0.0),
                (0.02, 0.02, 0.5),
                (0.02, 0.45, 0.0),
                (0.02, 0.98, 0.0),
                (0.5, 0.5, 0.8),
                (0.5, 0.5, 0.0),
                (0.0, 1.0, 0.0),
                (0.9, 0.98, 0.5),
            ] {
                let draws = 2_000;
                let covers = |draw: u64| {
                    let key = rng::mix(11, draw);
                    let at = |site: u64, index: u64| f64::from(rng::uniform(rng::mix(key, site), index));
                    let pair = |index: u64| {
                        let first = at(1, index);
                        let second = if at(2, index) < tied { first } else { at(3, index) };
                        f64::from(u8::from(second < after)) - f64::from(u8::from(first < before))
                    };
                    let [low, high] = of_difference(&alone((0..of).map(pair)));
                    let difference = after - before;
                    low <= difference + 1e-12 && difference <= high + 1e-12
                };
                let covered = (0..draws).filter(|&draw| covers(draw)).count() as f64 / draws as f64;
                assert!(covered >= 0.915, "n = {of}, {before} and {after}, {tied}: {covered}");
            }
        }
    }

    /// As many problems, each in four wordings: the interval is as wide as that of the problems, and half as wide for as many problems
    /// more.
    #[test]
    fn wordings_of_a_problem_are_no_further_problems() {
        let values = || (0..40).map(|question| f64::from(question / 4 % 2));
        let together = of_share(&by_problem(values(), &(0..40).map(|question| question / 4).collect::<Vec<_>>()));
        let near = |found: [f64; 2], expected: [f64; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-9);
        assert!(near(together, share(5, 10)), "{together:?}");
        let apart = of_share(&by_problem(values(), &(0..40).collect::<Vec<_>>()));
        assert!(near(apart, share(20, 40)), "{apart:?}");
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        assert_eq!((of_share(&[]), of_difference(&[])), ([0.0, 1.0], [-1.0, 1.0]));
    }
}
