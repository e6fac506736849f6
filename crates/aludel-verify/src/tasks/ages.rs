//! Ages: sums and differences of years, multiples, and pairs whose ages together are known. Solutions write one sentence a
//! step.

use super::Difficulty;
use super::arithmetic::{difference, product, quotient, sum};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::counted;

/// A problem about two people; all numbers are years, or how many times as old somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ages {
    /// One is `age`, the other `more` years older (younger below 0), and `later` years pass.
    Other { age: i64, more: i64, later: i64 },
    /// One is `age`, the other `times` as old: how old are both together?
    Together { age: i64, times: i64 },
    /// One is `age`, the other `times` as old, and `later` years pass for the other.
    TimesLater { age: i64, times: i64, later: i64 },
    /// The younger is `age`, the older `more` years older; their ages together are known.
    Split { age: i64, more: i64 },
    /// The younger is `age` and the older `times` as old; their ages together are known.
    SplitTimes { age: i64, times: i64 },
}

pub(super) fn puzzles() -> Vec<Ages> {
    let mut puzzles = Vec::new();
    for age in 5..=40 {
        for more in (-12..=15).filter(|&more| more != 0 && age + more >= 3) {
            puzzles.extend([2, 3, 4, 5, 6, 8, 10].map(|later| Ages::Other { age, more, later }));
        }
        puzzles.extend((1..=30).map(|more| Ages::Split { age, more }));
    }
    for age in 2..=20 {
        for times in 2..=5 {
            puzzles.push(Ages::Together { age, times });
            puzzles.extend((2..=12).map(|later| Ages::TimesLater { age, times, later }));
            puzzles.push(Ages::SplitTimes { age, times });
        }
    }
    puzzles
}

impl Puzzle for Ages {
    fn id(&self) -> String {
        match self {
            Ages::Other { age, more, later } => format!("other/{age},{more},{later}"),
            Ages::Together { age, times } => format!("together/{age},{times}"),
            Ages::TimesLater { age, times, later } => format!("times-later/{age},{times},{later}"),
            Ages::Split { age, more } => format!("split/{age},{more}"),
            Ages::SplitTimes { age, times } => format!("split-times/{age},{times}"),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Ages::Other { .. } => Difficulty::Easy,
            Ages::Together { .. } | Ages::TimesLater { .. } => Difficulty::Medium,
            Ages::Split { .. } | Ages::SplitTimes { .. } => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let [first, second] = choices.people();
        let (a, b) = (first.name, second.name);
        match *self {
            Ages::Other { age, more, later } => {
                let (size, order) = (counted(more.abs(), "year"), if more > 0 { "older" } else { "younger" });
                let question = choices.say(
                    &[
                        "{a} is {age} years old. {b} is {size} {order} than {a}. How old will {b} be in {later} years?",
                        "{b} is {size} {order} than {a}, who is {age}. How old will {b} be in {later} years?",
                        "{a} is {age}, and {b} is {size} {order}. What will be the age of {b} in {later} years?",
                    ],
                    &[("a", &a), ("b", &b), ("age", &age), ("size", &size), ("order", &order), ("later", &later)],
                );
                let now = age + more;
                let reckoned = if more > 0 { sum(age, more) } else { difference(age, -more) };
                let steps = format!("{a} is {age}. {b} is {order}: {reckoned}. In {later} years: {}.", sum(now, later));
                WorkedProblem::new(question, steps, now + later).in_unit("year")
            }
            Ages::Together { age, times } => {
                let question = choices.say(
                    &[
                        "{a} is {age} years old. {b} is {times} times as old as {a}. How old are they together?",
                        "{b} is {times} times as old as {a}, who is {age}. What is the sum of their ages?",
                        "{a} is {age}, and {b} is {times} times as old. What do their ages add up to?",
                    ],
                    &[("a", &a), ("b", &b), ("age", &age), ("times", &times)],
                );
                let other = age * times;
                let steps = format!(
                    "{a} is {age}. {b} is {times} times as old: {}. Together: {}.",
                    product(age, times),
                    sum(age, other)
                );
                WorkedProblem::new(question, steps, age + other).in_unit("year")
            }
            Ages::TimesLater { age, times, later } => {
                let question = choices.say(
                    &[
                        "{a} is {age} years old. {b} is {times} times as old. How old will {b} be in {later} years?",
                        "{b} is {times} times as old as {a}, who is {age}. How old will {b} be in {later} years?",
                    ],
                    &[("a", &a), ("b", &b), ("age", &age), ("times", &times), ("later", &later)],
                );
                let other = age * times;
                let steps = format!(
                    "{a} is {age}. {b} is {times} times as old: {}. In {later} years: {}.",
                    product(age, times),
                    sum(other, later)
                );
                WorkedProblem::new(question, steps, other + later).in_unit("year")
            }
            Ages::Split { age, more } => {
                let (both, size) = (2 * age + more, counted(more, "year"));
                let question = choices.say(
                    &[
                        "{b} is {size} older than {a}. Together they are {both} years old. How old is {b}?",
                        "The ages of {a} and {b} add up to {both}. {b} is {size} older than {a}. How old is {b}?",
                    ],
                    &[("a", &a), ("b", &b), ("size", &size), ("both", &both)],
                );
                let steps = format!(
                    "Without the {more} more, both would be as old as {a}: {}. {a} is half of that: {}. {b}: {}.",
                    difference(both, more),
                    quotient(2 * age, 2),
                    sum(age, more)
                );
                WorkedProblem::new(question, steps, age + more).in_unit("year")
            }
            Ages::SplitTimes { age, times } => {
                let (both, parts) = (age * (times + 1), times + 1);
                let question = choices.say(
                    &[
                        "{b} is {times} times as old as {a}. Together they are {both} years old. How old is {b}?",
                        "The ages of {a} and {b} add up to {both}. {b} is {times} times as old as {a}. How old is {b}?",
                    ],
                    &[("a", &a), ("b", &b), ("times", &times), ("both", &both)],
                );
                let steps = format!(
                    "{a} is 1 part and {b} is {times} parts. 1 + {times} = {parts} parts are {both}. 1 part: {}. {b}: {}.",
                    quotient(both, parts),
                    product(age, times)
                );
                WorkedProblem::new(question, steps, age * times).in_unit("year")
            }
        }
    }
}

#[test]
fn answers_are_the_only_ages_that_fit() {
    for puzzle in puzzles() {
        // All pairs of ages are tried: the first person's, and the other's of whom is asked.
        let fits = |a: i64, b: i64| match puzzle {
            Ages::Other { age, more, .. } => a == age && b - a == more,
            Ages::Together { age, times } | Ages::TimesLater { age, times, .. } => a == age && b == times * a,
            Ages::Split { age, more } => a + b == 2 * age + more && b - a == more,
            Ages::SplitTimes { age, times } => a + b == age * (times + 1) && b == times * a,
        };
        let pairs: Vec<(i64, i64)> =
            (1..=130).flat_map(|a| (1..=130).map(move |b| (a, b))).filter(|&(a, b)| fits(a, b)).collect();
        assert_eq!(pairs.len(), 1, "{puzzle:?}");
        let (a, b) = pairs[0];
        let wanted = match puzzle {
            Ages::Other { later, .. } | Ages::TimesLater { later, .. } => b + later,
            Ages::Together { .. } => a + b,
            Ages::Split { .. } | Ages::SplitTimes { .. } => b,
        };
        assert_eq!(puzzle.write(&mut Choices::new(3)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
