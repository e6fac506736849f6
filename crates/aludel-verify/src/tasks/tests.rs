//! Every problem of every family: each calculation of the solution against exact arithmetic, the answer as the verifier
//! finds it, lengths, distinctness, and that train, test and the held-out question share no problem. The families' own files
//! hold the answers against an independent calculation; those of dice and equations stand here.

use std::collections::{HashMap, HashSet};

use super::dice::{self, Event, Spec as DiceSpec};
use super::equations::{self, Spec as EquationSpec};
use super::fraction::Fraction;
use super::puzzle::{Puzzle, written};
use super::*;
use crate::{Verdict, maths};

/// Checks a problem's form: every calculation holds, the answer is in the box, and the solution is short.
fn check(problem: &Problem) {
    let place = format!("{}: {} / {}", problem.id, problem.question, problem.reasoning);
    let calculations = check_calculations(&problem.reasoning, &place);
    assert!(
        calculations >= 1 || ["kinship", "calendar", "percentages"].contains(&problem.family),
        "no calculation in {place}"
    );
    assert!(problem.response.contains(&format!("\\boxed{{{}}}", problem.answer)), "{place} / {}", problem.response);
    assert_eq!(maths::verdict(&problem.response, &problem.answer), Verdict::Right, "{place} / {}", problem.response);
    assert_eq!(verdict(problem, &problem.response), Verdict::Right, "{place} / {:?}", problem.verifier);
    let pieces = pieces(&problem.reasoning) + pieces(&problem.response);
    assert!((15..=150).contains(&pieces), "{pieces} pieces: {place}");
    assert!(problem.question.len() < 190 && !problem.question.contains(['{', '}']), "{place}");
}

/// The verdict of the problem's own verifier on an answer.
fn verdict(problem: &Problem, answer: &str) -> Verdict {
    problem.verifier.checker().unwrap().verdict(answer, &problem.answer).unwrap()
}

/// About the number of tokens of a small vocabulary: words, single digits and signs.
fn pieces(text: &str) -> usize {
    let mut count = 0;
    let mut in_word = false;
    for letter in text.chars() {
        let word = letter.is_alphabetic();
        count += usize::from(!letter.is_whitespace() && (!word || !in_word));
        in_word = word;
    }
    count
}

/// Evaluates each `expression = expression` without letters in a text and returns how many there were.
fn check_calculations(text: &str, place: &str) -> usize {
    let bare = |word: &&str| word.chars().all(|letter| "0123456789+-×/()".contains(letter));
    let starts = |words: &[&str]| words.first().is_some_and(|word| !["+", "-", "×", "/"].contains(word));
    let mut checked = 0;
    for clause in text.split([':', ';', ',', '.']).flat_map(|clause| clause.split(" and ")) {
        let sides: Vec<Vec<&str>> = clause.split('=').map(|side| side.split_whitespace().collect()).collect();
        for pair in sides.windows(2) {
            // "there are 3 × 3 = 9 outcomes": words around a calculation are no part of it; "x + 3 = 9" is none.
            let words = pair[0].iter().rev().take_while(|word| bare(word)).count();
            let left = &pair[0][pair[0].len() - words..];
            let right: Vec<&str> = pair[1].iter().copied().take_while(|word| bare(word)).collect();
            if starts(left) && starts(&right) {
                assert_eq!(value(&left.join(" ")), value(&right.join(" ")), "{left:?} = {right:?} in {place}");
                checked += 1;
            }
        }
    }
    checked
}

/// The value of a sum of products of whole numbers.
fn value(expression: &str) -> Fraction {
    let spaced = expression.replace(['(', ')'], "").replace('/', " / ");
    let (mut sum, mut sign) = (Fraction::new(0, 1), 1);
    let (mut term, mut dividing) = (Fraction::new(1, 1), false);
    for word in spaced.split_whitespace() {
        match word {
            "+" | "-" => {
                sum = add(sum, term, sign);
                sign = if word == "+" { 1 } else { -1 };
                (term, dividing) = (Fraction::new(1, 1), false);
            }
            "×" => dividing = false,
            "/" => dividing = true,
            number => {
                let number: i64 = number.parse().unwrap_or_else(|_| panic!("{number:?} in {expression:?}"));
                term = match dividing {
                    true => Fraction::new(term.numerator, term.denominator * number),
                    false => Fraction::new(term.numerator * number, term.denominator),
                };
            }
        }
    }
    add(sum, term, sign)
}

fn add(left: Fraction, right: Fraction, sign: i64) -> Fraction {
    let numerator = left.numerator * right.denominator + sign * right.numerator * left.denominator;
    Fraction::new(numerator, left.denominator * right.denominator)
}

#[test]
fn calculations_are_checked_exactly() {
    assert_eq!(value("6/36"), Fraction::new(1, 6));
    assert_eq!(value("3 × (-4) + 20"), Fraction::new(8, 1));
    assert_eq!(value("10 - 2 - 3"), Fraction::new(5, 1));
    assert_eq!(check_calculations("There are 6 × 6 = 36 outcomes. 3x = 20 - 5 = 15. x + 4 = 7.", ""), 2);
}

#[test]
fn every_problem_is_sound() {
    for family in families() {
        let mut ids = HashSet::new();
        let mut questions: HashMap<String, String> = HashMap::new();
        for index in 0..family.distinct() {
            for wording in [index as u64, 1_000_003 * index as u64] {
                let problem = family.problem(index, wording);
                assert_eq!(problem.id, family.id(index));
                check(&problem);
                let other = questions.entry(problem.question).or_insert(problem.id.clone());
                assert_eq!(*other, problem.id, "two problems of one question");
            }
            ids.insert(family.id(index));
        }
        assert_eq!(ids.len(), family.distinct(), "{}: two problems of one name", family.name());
    }
}

#[test]
fn families_are_large_at_every_difficulty() {
    let families = families();
    assert_eq!(families.len(), 12);
    for family in families {
        assert!(family.distinct() >= 1_000, "{} has {}", family.name(), family.distinct());
        for difficulty in Difficulty::ALL {
            let count = (0..family.distinct()).filter(|&index| family.difficulty(index) == difficulty).count();
            let least = if difficulty == Difficulty::Easy { 500 } else { 100 };
            assert!(count >= least, "{} has {count} that are {difficulty}", family.name());
        }
    }
}

#[test]
fn dice_answers_equal_counting_all_outcomes() {
    let happens = |event: Event, first: i64, second: i64| match event {
        Event::SumIs(sum) => first + second == sum,
        Event::SumAtLeast(sum) => first + second >= sum,
        Event::SumAtMost(sum) => first + second <= sum,
        Event::SumIsEven => (first + second) % 2 == 0,
        Event::SumIsOdd => (first + second) % 2 == 1,
        Event::SumIsPrime => [2, 3, 5, 7, 11, 13, 17, 19, 23].contains(&(first + second)),
        Event::SameNumber => first == second,
        Event::DifferenceIs(difference) => (first - second).abs() == difference,
        Event::AnyShows(number) => first == number || second == number,
        Event::BothAtLeast(number) => first >= number && second >= number,
        Event::BothAtMost(number) => first <= number && second <= number,
    };
    for spec in dice::puzzles() {
        let DiceSpec { sides, event } = spec;
        let outcomes = (1..=sides.0).flat_map(|first| (1..=sides.1).map(move |second| (first, second)));
        let favorable = outcomes.filter(|(first, second)| happens(event, *first, *second)).count() as i64;
        let wanted = Fraction::new(favorable, sides.0 * sides.1).to_string();
        for wording in 0..4 {
            assert_eq!(written("dice", &spec, wording).answer, wanted, "{}", spec.id());
        }
    }
}

#[test]
fn equation_answers_solve_the_equations() {
    for spec in equations::puzzles() {
        let x = spec.solution();
        let scaled = |factor: i64, shift: i64| {
            add(Fraction::new(factor * x.numerator, x.denominator), Fraction::new(shift, 1), 1)
        };
        let (left, right) = match spec {
            EquationSpec::Plain { a, b, c } | EquationSpec::Fractional { a, b, c } => {
                (scaled(a, b), Fraction::new(c, 1))
            }
            EquationSpec::Brackets { a, b, c } => (scaled(a, a * b), Fraction::new(c, 1)),
            EquationSpec::BothSides { a, b, c, d } => (scaled(a, b), scaled(c, d)),
            EquationSpec::Divided { a, b, c } => (scaled(1, a * b), Fraction::new(a * c, 1)),
            EquationSpec::Quotient { a, b, c } => (scaled(1, b), Fraction::new(a * c, 1)),
        };
        assert_eq!(left, right, "{spec:?}");
        assert_eq!(x.denominator == 1, !matches!(spec, EquationSpec::Fractional { .. }), "{spec:?}");
    }
}

#[test]
fn train_and_test_share_no_problem_and_no_question() {
    for family in families() {
        let all = |side| -> Vec<Problem> {
            Difficulty::ALL
                .into_iter()
                .flat_map(|difficulty| (0..3).map(move |seed| (difficulty, seed)))
                .flat_map(|(difficulty, seed)| generate_at(&*family, side, difficulty, 1_500, seed))
                .collect()
        };
        let (train, test) = (all(ProblemSplit::Train), all(ProblemSplit::Test));
        let ids = |problems: &[Problem]| problems.iter().map(|problem| problem.id.clone()).collect::<HashSet<_>>();
        let questions =
            |problems: &[Problem]| problems.iter().map(|problem| problem.question.clone()).collect::<HashSet<_>>();
        assert!(ids(&train).is_disjoint(&ids(&test)), "{}", family.name());
        assert!(questions(&train).is_disjoint(&questions(&test)), "{}", family.name());
        assert!(ids(&train).len() >= 900 && ids(&test).len() >= 80, "{}", family.name());
        let easy = generate(&*family, ProblemSplit::Test, 50, 2);
        assert!(ids(&easy).len() == 50, "{} has too few easy problems to test with", family.name());
    }
}

#[test]
fn questions_are_answered_as_they_ask() {
    let all = |name: &str| -> Vec<Problem> {
        let family = family(name).unwrap();
        (0..family.distinct())
            .flat_map(|index| (0..6).map(move |wording| (index, wording)))
            .map(|(index, wording)| family.problem(index, wording))
            .collect()
    };
    let boxed = |answer: String| format!("\\boxed{{{answer}}}");
    let mut reduced = 0;
    for problem in all("fractions") {
        let Some((top, bottom)) = problem.answer.split_once('/') else { continue };
        let [top, bottom] = [top, bottom].map(|part| part.parse::<i64>().unwrap());
        let widened = verdict(&problem, &boxed(format!("{}/{}", 3 * top, 3 * bottom)));
        let asks = problem.question.contains("reduce");
        reduced += u32::from(asks);
        assert_eq!(widened, if asks { Verdict::Wrong } else { Verdict::Right }, "{}", problem.question);
        assert_eq!(
            verdict(&problem, &boxed(format!("\\frac{{{top}}}{{{bottom}}}"))),
            Verdict::Right,
            "{}",
            problem.question
        );
    }
    assert!(reduced > 500, "{reduced}");
    // The question itself is no answer to "how many centimetres are 2 metres?".
    let mut converted = 0;
    for problem in all("units") {
        let Some((_, amount)) = problem.question.split_once(" are ") else { continue };
        let amount = amount.trim_end_matches('?');
        if problem.id.ends_with(",0") && problem.question.starts_with("How many ") {
            converted += 1;
            assert_ne!(
                verdict(&problem, &boxed(format!("\\text{{{amount}}}"))),
                Verdict::Right,
                "{}",
                problem.question
            );
        }
        if let Some(asked) = problem.question.strip_prefix("How many ") {
            let named = format!("{} {}", problem.answer, asked.split(' ').next().unwrap());
            assert_eq!(verdict(&problem, &boxed(named)), Verdict::Right, "{}", problem.question);
        }
    }
    assert!(converted > 100, "{converted}");
    for problem in all("percentages") {
        let as_percentage = verdict(&problem, &boxed(format!("{}\\%", problem.answer)));
        let asks = problem.id.starts_with("percentages/share");
        assert_eq!(as_percentage, if asks { Verdict::Right } else { Verdict::Wrong }, "{}", problem.question);
    }
    let hours = all("rates").into_iter().find(|problem| problem.question.contains("How many hours")).unwrap();
    assert_eq!(verdict(&hours, &boxed(format!("{} minutes", hours.answer))), Verdict::Wrong, "{}", hours.question);
    assert_eq!(verdict(&hours, &boxed(format!("{} hours", hours.answer))), Verdict::Right);
}

#[test]
fn distinct_problems_come_once_each() {
    for family in families() {
        let of = |count, seed| generate_distinct(&*family, ProblemSplit::Test, Difficulty::Easy, count, seed);
        let all = of(1_000_000, 1);
        let ids: HashSet<&str> = all.iter().map(|problem| problem.id.as_str()).collect();
        assert_eq!(ids.len(), all.len(), "{}", family.name());
        let there = (0..family.distinct())
            .filter(|&index| family.side(index) == ProblemSplit::Test && family.difficulty(index) == Difficulty::Easy);
        assert_eq!(all.len(), there.count(), "{}", family.name());
        assert_eq!(of(20, 1), all[..20]);
        assert_ne!(of(20, 2), all[..20]);
    }
}

#[test]
fn a_seed_names_its_problems() {
    for family in families() {
        let of = |seed| generate(&*family, ProblemSplit::Train, 50, seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1)[..20], generate(&*family, ProblemSplit::Train, 20, 1));
    }
}

#[test]
fn repeated_problems_come_in_other_words() {
    let dice = family("dice").unwrap();
    let all = generate(&*dice, ProblemSplit::Train, 6_000, 3);
    assert_eq!(all.len(), 6_000);
    let mut wordings: HashMap<&str, HashSet<&str>> = HashMap::new();
    for problem in &all {
        wordings.entry(&problem.id).or_default().insert(&problem.question);
    }
    let sum_of_five = &wordings["dice/6x6/sum-is-5"];
    assert!(sum_of_five.len() >= 12, "{sum_of_five:?}");
}

#[test]
fn held_out_question_is_never_generated() {
    let seed = seed_problem();
    assert_eq!(seed.question, "What's the probability of rolling a 7 with two dice?");
    assert_eq!(seed.answer, "1/6");
    check(&seed);
    let held_out = DiceSpec { sides: (6, 6), event: Event::SumIs(7) };
    let paraphrases: HashSet<String> =
        (0..20_000).map(|wording| written("dice", &held_out, wording).question).collect();
    assert!(paraphrases.len() >= 100 && paraphrases.contains(&seed.question), "{}", paraphrases.len());
    for family in families() {
        assert!((0..family.distinct()).all(|index| family.id(index) != seed.id), "{}", family.name());
        for side in [ProblemSplit::Train, ProblemSplit::Test] {
            for problem in (0..2).flat_map(|seed| generate(&*family, side, 4_000, seed)) {
                assert!(!paraphrases.contains(&problem.question), "{}", problem.question);
            }
        }
    }
}

#[test]
fn problems_become_records_and_lines() {
    let problem = seed_problem();
    let record = problem.record(1);
    let messages = record.messages().unwrap();
    assert_eq!(messages[0], Message::user(problem.question.as_str()));
    assert_eq!(messages[1], Message::assistant(problem.response.as_str()).with_reasoning(problem.reasoning.as_str()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dice.jsonl");
    std::fs::write(&path, problem.json_line()).unwrap();
    let read: Vec<Record> =
        aludel_data::dataset::open(&[path], &Default::default()).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read[0].content, record.content);
    assert_eq!(read[0].prompt_key, record.prompt_key);
}
