//! The score over all tasks of an evaluation. Each problem counts once, whatever its task, as in a comparison of all tasks. `score` has the
//! score of one task.

use super::compare::Evaluated;
use super::{interval, problem_clusters, score};

/// The score of all tasks together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overall {
    /// Problems of all tasks.
    pub n: usize,
    /// Mean over the problems of being right.
    pub pass_at_1: f64,
    /// Its 95% interval, over problems.
    pub ci95: [f64; 2],
}

/// The score of all tasks; no two of them share a problem.
pub fn overall(evaluated: &Evaluated) -> Overall {
    let (mut shares, mut problem_of, mut first) = (Vec::new(), Vec::new(), 0);
    for task in &evaluated.results.tasks {
        let found = evaluated.shares(&task.name);
        let ids: Vec<&str> = found.keys().copied().collect();
        problem_of.extend(problem_clusters::problems(&ids).iter().map(|problem| first + problem));
        first = problem_of.iter().max().map_or(0, |last| last + 1);
        shares.extend(found.into_values());
    }
    Overall {
        n: shares.len(),
        pass_at_1: score::mean(shares.iter().copied()),
        ci95: interval::of_share(&interval::by_problem(shares, &problem_of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::results::Results;
    use serde_json::json;

    fn evaluated(tasks: &[(&str, usize, usize)]) -> Evaluated {
        let task = |&(name, n, right): &(&str, usize, usize)| {
            json!({"name": name, "n": n, "k": 1, "pass_at_1": right as f64 / n as f64, "ci95": [0, 1], "maj_at_k": 0,
                "pass_at_k": 0, "truncated": 0, "looping": 0, "no_answer": 0, "mean_thinking_tokens": 0,
                "thinking_tokens_percentiles": {"50": 0, "90": 0, "99": 0}, "tokens_per_second": null, "fingerprint": ""})
        };
        let sample = |name: &str, problem: usize, correct: bool| {
            let sample = json!({"task": name, "problem": format!("{name}-{problem}"), "sample": 0, "seed": 0, "question": "",
                "gold": "", "content": "", "extracted": null, "correct": correct, "truncated": false, "looping": false,
                "no_answer": false, "prompt_tokens": 0, "thinking_tokens": 0, "completion_tokens": 1, "finish_reason": "stop"});
            serde_json::from_value(sample).unwrap()
        };
        let results: Results = serde_json::from_value(json!({"version": "", "date": "", "model": {"name": "m"},
            "settings": {"samples": 1, "temperature": 0, "top_p": 1, "max_new_tokens": 1, "seed": 0},
            "tasks": tasks.iter().map(task).collect::<Vec<_>>()}))
        .unwrap();
        let samples = tasks.iter().flat_map(|&(name, n, right)| (0..n).map(move |i| sample(name, i, i < right)));
        Evaluated { folder: Default::default(), label: "m".to_owned(), samples: samples.collect(), results }
    }

    /// Problems have equal weights, so a task counts by its number of problems; the interval is that of all problems.
    #[test]
    fn it_is_the_score_of_one_task_that_holds_all_problems() {
        let together = overall(&evaluated(&[("a", 150, 1), ("b", 50, 0)]));
        let alone = overall(&evaluated(&[("a", 200, 1)]));
        assert_eq!(together, alone);
        assert_eq!((together.n, together.pass_at_1), (200, 0.005));
        // scipy's `binomtest(1, 200).proportion_ci(method="wilson")`
        let wilson = [0.000_883_168_715_600_976_2, 0.027_773_704_397_892_93];
        assert!(together.ci95.iter().zip(wilson).all(|(a, b)| (a - b).abs() <= 1e-9), "{together:?}");
    }
}
