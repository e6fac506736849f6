//! Tests of scores: pass@k, votes, confidence intervals and percentiles.

use super::*;

/// Scores problems that are given as the answers of their samples; "1" is right.
fn scored(problems: &[&[&str]], k: u32) -> score::Score {
    let samples: Vec<Vec<Sample>> = problems
        .iter()
        .map(|answers| answers.iter().map(|&a| sample(a == "1", Some(a).filter(|a| !a.is_empty()))).collect())
        .collect();
    let samples: Vec<Vec<&Sample>> = samples.iter().map(|samples| samples.iter().collect()).collect();
    score(&samples, k, &|_, left, right| left == right)
}

/// From the definition: C(n, k) choices of k samples, of which C(n − c, k) hold none that is right.
fn pass_at_by_counting(n: usize, c: usize, k: usize) -> f64 {
    let choose = |n: usize, k: usize| (0..k).fold(1.0, |all, i| all * (n as f64 - i as f64) / (i + 1) as f64);
    1.0 - if n - c < k { 0.0 } else { choose(n - c, k) / choose(n, k) }
}

#[test]
fn pass_at_k_is_the_unbiased_estimator() {
    for n in 1..=12 {
        for c in 0..=n {
            for k in 1..=n {
                let difference = (pass_at(n, c, k) - pass_at_by_counting(n, c, k)).abs();
                assert!(difference <= 1e-12, "n {n}, c {c}, k {k}: {difference}");
            }
        }
    }
    assert_eq!((pass_at(4, 1, 2), pass_at(16, 0, 16), pass_at(0, 0, 1)), (0.5, 0.0, 0.0));
}

#[test]
fn pass_at_1_does_not_change_with_the_number_of_samples() {
    // every problem is solved by half of its samples, however many there are
    for k in [2, 4, 8, 16, 64] {
        let answers: Vec<&str> = (0..k).map(|at| if at % 2 == 0 { "1" } else { "2" }).collect();
        let score = scored(&[&answers, &answers, &answers], k);
        assert_eq!((score.pass_at_1, score.pass_at_k), (0.5, 1.0), "k {k}");
    }
    // one right sample among k in one problem of two
    for k in [1u32, 8, 16] {
        let mut answers = vec!["2"; k as usize];
        answers[0] = "1";
        let wrong = vec!["2"; k as usize];
        let score = scored(&[&answers, &wrong], k);
        assert_eq!((score.pass_at_1, score.pass_at_k), (0.5 / f64::from(k), 0.5), "k {k}");
    }
}

#[test]
fn the_most_frequent_answer_counts_and_ties_are_shared() {
    let maj = |answers: &[&str]| scored(&[answers], answers.len() as u32).maj_at_k;
    assert_eq!(maj(&["1", "2", "1"]), 1.0);
    assert_eq!(maj(&["2", "2", "1"]), 0.0);
    assert_eq!(maj(&["2", "1"]), 0.5, "a draw between the two");
    assert_eq!(maj(&["3", "2", "1"]), 1.0 / 3.0);
    assert_eq!(maj(&["", "", "1"]), 1.0, "no answer, no vote");
    assert_eq!(maj(&["", ""]), 0.0);
    assert_eq!(maj(&["2", "1", "2", "1", "3"]), 0.5);
}

#[test]
fn answers_vote_together_when_they_have_one_value() {
    let samples = [sample(true, Some("0.5")), sample(false, Some("2")), sample(true, Some("\\frac{1}{2}"))];
    let checker = Verifier::maths().checker().unwrap();
    let score = score(&[samples.iter().collect()], 3, &|_, left, right| checker.is_same(left, right));
    assert_eq!(score.maj_at_k, 1.0);
}

#[test]
fn no_score_is_a_certainty() {
    let all = |right: bool| {
        let problem = |number: usize| Sample { problem: number.to_string(), ..sample(right, Some("1")) };
        let samples: Vec<Sample> = (0..10).map(problem).collect();
        let problems: Vec<Vec<&Sample>> = samples.iter().map(|sample| vec![sample]).collect();
        score(&problems, 1, &|_, left, right| left == right).ci95
    };
    let ([low, high], [least, most]) = (all(true), all(false));
    assert!((0.72..0.73).contains(&low) && high == 1.0 && least == 0.0 && (0.27..0.28).contains(&most));
}

#[test]
fn percentiles_are_values_that_occurred() {
    let found = percentiles(1..=100);
    assert_eq!((found.p50, found.p90, found.p99), (50, 90, 99));
    let found = percentiles([7, 3].into_iter());
    assert_eq!((found.p50, found.p90, found.p99), (3, 7, 7));
    assert_eq!(percentiles(std::iter::empty()).p50, 0);
}
