use super::*;

/// Each question is a problem by itself.
fn difference(pairs: &[Pair], seed: u64) -> Difference {
    super::difference(pairs, &(0..pairs.len()).collect::<Vec<_>>(), seed)
}

fn pairs(counts: &[(f64, f64, usize)]) -> Vec<Pair> {
    let repeated = |&(before, after, count): &(f64, f64, usize)| std::iter::repeat_n(Pair { before, after }, count);
    counts.iter().flat_map(repeated).collect()
}

#[test]
fn equal_results_differ_by_nothing() {
    let pairs = pairs(&[(0.0, 0.0, 30), (1.0, 1.0, 10), (0.5, 0.5, 10)]);
    let found = difference(&pairs, 1);
    assert_eq!((found.n, found.difference, found.p), (50, 0.0, 1.0));
    // As many that differ as one in 50 more would: no certainty.
    assert!(found.ci95[0] < -0.02 && found.ci95[1] > 0.02, "{found:?}");
    assert!((found.before - 0.3).abs() <= 1e-12 && (found.after - 0.3).abs() <= 1e-12);
    assert!(found.after_ci95[0] < 0.3 && found.after_ci95[1] > 0.3, "{found:?}");
}

#[test]
fn all_won_is_certain_only_with_enough_problems() {
    let three = difference(&pairs(&[(0.0, 1.0, 3)]), 1);
    assert_eq!((three.difference, three.ci95[1], three.p), (1.0, 1.0, 0.25));
    assert!((0.05..0.15).contains(&three.ci95[0]), "{three:?}");
    let hundred = difference(&pairs(&[(0.0, 1.0, 100)]), 1);
    assert_eq!(hundred.p, 1.0 / (DRAWS + 1) as f64);
}

/// Six won and one lost of seven that differ: the binomial tails (1 + 7) · 2 / 2^7, which is McNemar's exact test.
#[test]
fn a_small_case_is_exact() {
    let found = difference(&pairs(&[(0.0, 1.0, 6), (1.0, 0.0, 1), (1.0, 1.0, 40)]), 1);
    assert_eq!(found.p, 16.0 / 128.0);
    // Differences 1, 2 and 4 quarters: of 8 sums only ±7 are as far as 7, and ±7 and ±5 as far as 5.
    let quarters = |values: &[f64]| values.iter().map(|v| v / 4.0).collect::<Vec<_>>();
    assert_eq!(p_of_signs(&quarters(&[1.0, 2.0, 4.0]), 1, DRAWS), 2.0 / 8.0);
    assert_eq!(p_of_signs(&quarters(&[-1.0, 2.0, 4.0]), 1, DRAWS), 4.0 / 8.0);
    assert_eq!(p_of_signs(&[], 1, DRAWS), 1.0);
}

/// Twenty that differ are drawn, and come close to the binomial tail of 15 or more of 20, twice.
#[test]
fn drawn_signs_come_close_to_all_signs() {
    let found = difference(&pairs(&[(0.0, 1.0, 15), (1.0, 0.0, 5)]), 1);
    assert!((found.p - 0.041_389).abs() <= 0.008, "{}", found.p);
}

#[test]
fn a_large_difference_has_the_interval_of_a_normal_mean() {
    let pairs = pairs(&[(0.0, 1.0, 40), (1.0, 0.0, 10), (0.0, 0.0, 50)]);
    let found = difference(&pairs, 1);
    assert_eq!(found, difference(&pairs, 1));
    // 0.3 ± 1.96 · sqrt((0.5 - 0.09) / 100)
    assert!((found.ci95[0] - 0.1745).abs() <= 0.01 && (found.ci95[1] - 0.4255).abs() <= 0.01, "{found:?}");
}

/// 300 experiments on 80 problems where as many are won as lost: p is below 0.05 in about 5%. Four standard errors of 300 draws are 5 points.
#[test]
fn p_keeps_its_level() {
    let simulate = |won: f32, lost: f32, key: u64| -> Vec<Pair> {
        let pair = |index| match rng::uniform(key, index) {
            u if u < won => Pair { before: 0.0, after: 1.0 },
            u if u < won + lost => Pair { before: 1.0, after: 0.0 },
            _ => Pair { before: 0.0, after: 0.0 },
        };
        (0..80).map(pair).collect()
    };
    let alone: Vec<usize> = (0..80).collect();
    let mut alarms = 0;
    for experiment in 0..300 {
        alarms += usize::from(
            difference_by(&simulate(0.2, 0.2, rng::mix(2, experiment)), &alone, experiment, 1_000).p < LEVEL,
        );
    }
    assert!(alarms <= 30, "{alarms} of 300");
}

/// Three problems in 20 wordings each, all won: the figures are those of three problems, and not of sixty.
#[test]
fn wordings_of_a_problem_are_no_further_problems() {
    let pairs = pairs(&[(0.0, 1.0, 60)]);
    let problem_of: Vec<usize> = (0..60).map(|question| question % 3).collect();
    let found = super::difference(&pairs, &problem_of, 1);
    assert_eq!((found.n, found.difference, found.p), (60, 1.0, 2.0 / 8.0));
    assert!(difference(&pairs, 1).p < 0.001);
}

/// Ten problems, five of them won in all four wordings: the interval is that of 10 problems, about 0.5 ± 1.96 · sqrt(0.25 / 10); as 40
/// problems it would be half as wide.
#[test]
fn an_interval_is_as_wide_as_its_problems_are_few() {
    let pairs: Vec<Pair> = (0..40).map(|question| Pair { before: 0.0, after: f64::from(question / 4 % 2) }).collect();
    let problem_of: Vec<usize> = (0..40).map(|question| question / 4).collect();
    let [low, high] = super::difference(&pairs, &problem_of, 1).ci95;
    assert!((low - 0.19).abs() <= 0.1 && (high - 0.81).abs() <= 0.1, "{low} {high}");
    let [low, high] = difference(&pairs, 1).ci95;
    assert!((low - 0.345).abs() <= 0.03 && (high - 0.655).abs() <= 0.03, "{low} {high}");
}

#[test]
fn holm_multiplies_by_what_is_left_and_never_falls() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert!((got - expected).abs() <= 1e-12, "{corrected:?}");
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[]), Vec::<f64>::new());
}
