use super::*;
use crate::evaluate::results::{ModelName, Percentiles, TaskResult};

fn task(name: &str, n: usize, fingerprint: &str) -> TaskResult {
    TaskResult {
        name: name.to_owned(),
        n,
        k: 1,
        pass_at_1: 0.0,
        ci95: [0.0, 0.0],
        maj_at_k: 0.0,
        pass_at_k: 0.0,
        truncated: 0.0,
        looping: 0.0,
        no_answer: 0.0,
        undecided: 0.0,
        failed: 0.0,
        mean_thinking_tokens: 0.0,
        thinking_tokens_percentiles: Percentiles::default(),
        mean_completion_tokens: 0.0,
        tokens_per_second: None,
        fingerprint: fingerprint.to_owned(),
        warnings: Vec::new(),
    }
}

fn sample(task: &str, problem: usize, sample: u32, correct: bool) -> Sample {
    Sample {
        task: task.to_owned(),
        problem: format!("{task}-{problem:03}"),
        sample,
        seed: 0,
        question: String::new(),
        gold: String::new(),
        reasoning: None,
        content: String::new(),
        extracted: None,
        correct,
        undecided: false,
        truncated: false,
        looping: false,
        no_answer: false,
        prompt_tokens: 0,
        thinking_tokens: 0,
        completion_tokens: 0,
        finish_reason: "stop".to_owned(),
        failure: None,
    }
}

/// An evaluation with this number of problems per task, of which those in a range are right.
fn evaluated(label: &str, tasks: &[(&str, usize, std::ops::Range<usize>)]) -> Evaluated {
    let settings = Settings {
        samples: 1,
        temperature: 0.0,
        top_p: 1.0,
        max_new_tokens: 256,
        seed: 0,
        dtype: None,
        template_date: None,
        template_variables: serde_json::Map::new(),
    };
    let (version, date) = ("0".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    let model = ModelName { name: label.to_owned(), ..ModelName::default() };
    let results_of = tasks.iter().map(|(name, n, _)| task(name, *n, "same")).collect();
    let samples = tasks
        .iter()
        .flat_map(|(name, n, right)| (0..*n).map(move |problem| sample(name, problem, 0, right.contains(&problem))));
    Evaluated {
        folder: PathBuf::from(label),
        label: label.to_owned(),
        samples: samples.collect(),
        results: Results {
            version,
            date,
            machine: None,
            commit: None,
            command: Vec::new(),
            model,
            settings,
            tasks: results_of,
        },
    }
}

#[test]
fn undecided_answers_are_counted_and_none_is_right() {
    let before = evaluated("before", &[("two-dice", 20, 0..10)]);
    let mut after = before.clone();
    for sample in &mut after.samples[..4] {
        (sample.correct, sample.undecided) = (false, true);
    }
    let found = compare(&before, &after, 0).unwrap();
    let task = &found.tasks[0];
    assert_eq!((task.undecided, task.lost.len(), task.as_before), ([0, 4], 4, 6));
}

#[test]
fn a_gain_is_told_with_its_figures() {
    let before = evaluated("before", &[("two-dice", 200, 0..6)]);
    let after = evaluated("after", &[("two-dice", 200, 3..145)]);
    let found = compare(&before, &after, 0).unwrap();
    let [low, high] = found.pooled.after_ci95.map(|share| 100.0 * share);
    // 142 of 200: 71 ± 1.96 · sqrt(71 · 29 / 200)
    assert!((low - 64.7).abs() <= 1.0 && (high - 77.3).abs() <= 1.0, "{low} {high}");
    assert_eq!(found.verdict.sentence, format!("two-dice: 3% → 71% [{low:.0}, {high:.0}], n = 200"));
    assert_eq!(found.verdict.change, Change::Gain);
    let task = &found.tasks[0];
    assert_eq!((task.won.len(), task.lost.len(), task.as_before, task.both_wrong.len()), (139, 3, 3, 55));
    assert_eq!(task.lost, ["two-dice-000", "two-dice-001", "two-dice-002"]);
    assert!(found.differs.is_empty());
}

#[test]
fn chance_is_no_gain() {
    let before = evaluated("before", &[("gcd", 100, 0..30)]);
    let after = evaluated("after", &[("gcd", 100, 2..36)]);
    let verdict = compare(&before, &after, 0).unwrap().verdict;
    assert_eq!(verdict.change, Change::NotMeasurable);
    assert!(verdict.sentence.starts_with("no measurable gain: gcd: 30% → 34% ["), "{}", verdict.sentence);
    assert!(
        verdict.sentence.contains("+4.0 points [") && verdict.sentence.ends_with("p = 0.29"),
        "{}",
        verdict.sentence
    );
    let same = compare(&before, &before, 0).unwrap();
    assert_eq!((same.verdict.change, same.pooled.p), (Change::NotMeasurable, 1.0));
}

#[test]
fn what_was_forgotten_is_named_beside_a_gain() {
    let before = evaluated("before", &[("dice", 100, 0..5), ("ages", 100, 0..60), ("gcd", 100, 0..20)]);
    let after = evaluated("after", &[("dice", 100, 0..95), ("ages", 100, 0..30), ("gcd", 100, 1..22)]);
    let found = compare(&before, &after, 0).unwrap();
    assert!(found.verdict.sentence.starts_with("3 tasks together: 28% → 49% ["), "{}", found.verdict.sentence);
    let changes: Vec<Change> = found.tasks.iter().map(|task| task.change).collect();
    assert_eq!(changes, [Change::Gain, Change::Loss, Change::NotMeasurable]);
    assert_eq!((found.verdict.gained.len(), found.verdict.forgotten.len()), (1, 1));
    assert!(found.verdict.forgotten[0].starts_with("ages: 60% → 30% ["), "{:?}", found.verdict.forgotten);
    assert!(found.tasks[2].p_holm >= found.tasks[2].difference.p);
    let worse = compare(&after, &before, 0).unwrap().verdict;
    assert_eq!(worse.change, Change::Loss);
    assert!(worse.sentence.starts_with("it got worse: 3 tasks together: 49% → 28% ["), "{}", worse.sentence);
}

#[test]
fn several_samples_of_a_problem_are_one_share() {
    let mut before = evaluated("before", &[("gcd", 2, 0..2)]);
    before.samples.extend([sample("gcd", 0, 1, false), sample("gcd", 1, 1, true), sample("gcd", 1, 2, false)]);
    let shares = before.shares("gcd");
    assert_eq!(shares.into_iter().collect::<Vec<_>>(), [("gcd-000", 0.5), ("gcd-001", 2.0 / 3.0)]);
}

/// Six problems in ten wordings each, five of them won and one as before: p is 2 / 2^5 by problems, and next to nothing by questions.
#[test]
fn other_words_do_not_make_a_gain_certain() {
    let mut before = evaluated("before", &[("gcd", 60, 0..0)]);
    let mut after = evaluated("after", &[("gcd", 60, 0..50)]);
    let alone = compare(&before, &after, 0).unwrap();
    assert_eq!(alone.verdict.change, Change::Gain);
    for evaluated in [&mut before, &mut after] {
        for (number, sample) in evaluated.samples.iter_mut().enumerate() {
            let (problem, wording) = (number / 10, number % 10 + 1);
            sample.problem = if wording == 1 { format!("p{problem}") } else { format!("p{problem}#{wording}") };
        }
    }
    let found = compare(&before, &after, 0).unwrap();
    assert_eq!((found.pooled.n, found.pooled.difference, found.pooled.p), (60, alone.pooled.difference, 2.0 / 32.0));
    assert_eq!((found.verdict.change, found.tasks[0].won.len()), (Change::NotMeasurable, 50));
}

#[test]
fn only_equal_problems_are_compared_and_the_rest_is_told() {
    let before = evaluated("before", &[("dice", 10, 0..5), ("ages", 10, 0..5), ("gcd", 10, 0..5), ("old", 10, 0..5)]);
    let mut after = evaluated("after", &[("dice", 10, 0..5), ("ages", 20, 0..5), ("gcd", 10, 0..5), ("new", 10, 0..5)]);
    after.results.tasks[2].fingerprint = "other".to_owned();
    after.results.settings.max_new_tokens = 512;
    let found = compare(&before, &after, 0).unwrap();
    assert_eq!(found.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["dice"]);
    let expected = [
        "ages: 10 problems in before, 20 in after",
        "gcd: its problems, prompts or verifier are not the same (fingerprints differ)",
        "old: only in before",
        "new: only in after",
        "the setting max_new_tokens: 256 before, 512 after",
    ];
    assert_eq!(found.differs, expected);
    let error = compare(&before, &evaluated("other", &[("new", 10, 0..1)]), 0).unwrap_err().to_string();
    assert!(error.contains("no task in common") && error.contains("dice: only in before"), "{error}");
}

#[test]
fn figures_read_well() {
    let one = |before, after, difference, n| Difference {
        n,
        before,
        before_ci95: [0.0, 1.0],
        after,
        after_ci95: [after - 0.05, after + 0.05],
        difference,
        ci95: [difference - 0.05, difference + 0.05],
        p: 0.0432,
    };
    assert_eq!(scores("a", &one(0.5, 0.511, 0.011, 1000)), "a: 50.0% → 51.1% [46.1, 56.1], n = 1000");
    assert_eq!(points(&one(0.5, 0.511, 0.011, 1000), 0.0432), "+1.1 points [-3.9, +6.1], p = 0.043");
    assert_eq!(points(&one(0.7, 0.2, -0.5, 10), 0.0432), "-50 points [-55, -45], p = 0.043");
    assert_eq!([p_value(0.0004), p_value(0.25), p_value(1.0)], ["p < 0.001", "p = 0.25", "p = 1.00"]);
}
