//! Units of length, weight and time, a large one with a small one beside it. Solutions multiply by how many small ones
//! make a large one, then add; or take the large ones out of the small.

use super::Difficulty;
use super::arithmetic::{product, sum};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::counted;

/// A large unit, its small one, and how many of these it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    large: &'static str,
    small: &'static str,
    factor: i64,
}

const PAIRS: [Pair; 12] = [
    Pair { large: "hour", small: "minute", factor: 60 },
    Pair { large: "week", small: "day", factor: 7 },
    Pair { large: "metre", small: "centimetre", factor: 100 },
    Pair { large: "kilometre", small: "metre", factor: 1000 },
    Pair { large: "day", small: "hour", factor: 24 },
    Pair { large: "kilogram", small: "gram", factor: 1000 },
    Pair { large: "minute", small: "second", factor: 60 },
    Pair { large: "year", small: "month", factor: 12 },
    Pair { large: "yard", small: "foot", factor: 3 },
    Pair { large: "centimetre", small: "millimetre", factor: 10 },
    Pair { large: "foot", small: "inch", factor: 12 },
    Pair { large: "pound", small: "ounce", factor: 16 },
];

/// A length, weight or time of `large` large and `small` small units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) pair: &'static Pair,
    pub(super) large: i64,
    pub(super) small: i64,
    /// Whether it is given in small units, and what is left beside the large ones is asked for.
    pub(super) asks_rest: bool,
}

pub(super) fn puzzles() -> Vec<Amount> {
    let mut puzzles = Vec::new();
    for pair in &PAIRS {
        let small: Vec<i64> = match pair.factor {
            100.. => (0..10).map(|part| part * pair.factor / 10 + part % 3 * pair.factor / 100).collect(),
            _ => (0..pair.factor).filter(|small| pair.factor < 60 || small % 5 == 0).collect(),
        };
        for large in 2..=20 {
            puzzles.extend(small.iter().map(|&small| Amount { pair, large, small, asks_rest: false }));
            if large <= 9 {
                let small = small.iter().filter(|&&small| small > 0);
                puzzles.extend(small.map(|&small| Amount { pair, large, small, asks_rest: true }));
            }
        }
    }
    puzzles
}

impl Puzzle for Amount {
    fn id(&self) -> String {
        let kind = if self.asks_rest { "rest" } else { "all" };
        format!("{kind}/{}/{},{}", self.pair.large, self.large, self.small)
    }

    fn difficulty(&self) -> Difficulty {
        match (self.asks_rest, self.pair.factor) {
            (false, 3 | 7 | 10 | 100 | 1000) => Difficulty::Easy,
            (false, 12 | 60) if self.large <= 10 => Difficulty::Easy,
            (false, _) => Difficulty::Medium,
            (true, _) => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let Pair { large: large_name, small: small_name, factor } = *self.pair;
        let (in_large, total) = (self.large * factor, self.large * factor + self.small);
        let (smalls, larges) = (plural(small_name), plural(large_name));
        let first = format!("1 {large_name} is {factor} {smalls}.");
        if self.asks_rest {
            let question = choices.say(
                &[
                    "How many {smalls} are left when {total} {smalls} are written as whole {larges} and {smalls}?",
                    "Take as many whole {larges} as you can out of {total} {smalls}. How many {smalls} are left?",
                    "{total} {smalls} are how many {smalls} more than the last whole {large}?",
                ],
                &[("smalls", &smalls), ("larges", &larges), ("total", &total), ("large", &large_name)],
            );
            let steps = format!(
                "{first} {}, and one {large_name} more would be {}, which is too much. {total} - {in_large} = {}.",
                product(self.large, factor),
                in_large + factor,
                self.small
            );
            return WorkedProblem::new(question, steps, self.small).in_unit(small_name);
        }
        let amount = match self.small {
            0 => named(self.large, large_name),
            small => format!("{} and {}", named(self.large, large_name), named(small, small_name)),
        };
        let question = choices.say(
            &[
                "How many {smalls} are {amount}?",
                "Convert {amount} to {smalls}.",
                "What is {amount} in {smalls}?",
                "Write {amount} in {smalls}.",
            ],
            &[("smalls", &smalls), ("amount", &amount)],
        );
        let in_small = product(self.large, factor);
        // The solution also states that there is nothing to add, so that a model that learns to check for it does not invent something.
        let added = if self.small == 0 { total.to_string() } else { sum(in_large, self.small) };
        let steps = format!("{first} {}: {in_small}. And {} more: {added}.", named(self.large, large_name), self.small);
        WorkedProblem::new(question, steps, total).in_unit(small_name)
    }
}

fn plural(unit: &str) -> String {
    match unit {
        "foot" => "feet".to_string(),
        "inch" => "inches".to_string(),
        _ => format!("{unit}s"),
    }
}

fn named(count: i64, unit: &str) -> String {
    if count == 1 { counted(1, unit) } else { format!("{count} {}", plural(unit)) }
}

#[test]
fn answers_equal_counting_small_units() {
    for puzzle in puzzles() {
        // Small units are counted one by one, and each full large one is put aside.
        let total = puzzle.pair.factor * puzzle.large + puzzle.small;
        let (mut full, mut rest) = (0, 0);
        for _ in 0..total {
            rest += 1;
            if rest == puzzle.pair.factor {
                (full, rest) = (full + 1, 0);
            }
        }
        assert_eq!((full, rest), (puzzle.large, puzzle.small), "{puzzle:?}");
        let wanted = if puzzle.asks_rest { rest } else { total };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
