//! The greatest common divisor, by Euclid's divisions, and the least common multiple, by listing multiples.

use super::Difficulty;
use super::fraction::greatest_common_divisor;
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::joined;

/// Two numbers, `small < large`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Divisors {
    pub(super) small: i64,
    pub(super) large: i64,
    /// Whether the least common multiple is asked for, not the greatest common divisor.
    pub(super) asks_multiple: bool,
}

/// More divisions, or more multiples, than this make a solution too long.
const STEPS: usize = 4;

pub(super) fn puzzles() -> Vec<Divisors> {
    let mut puzzles = Vec::new();
    for large in 4..=90 {
        for small in 3..large {
            let divisors = Divisors { small, large, asks_multiple: false };
            // Pairs without a common divisor would be most of all; some stay.
            let keeps = greatest_common_divisor(small, large) > 1 || (small + large) % 7 == 0;
            if keeps && divisors.divisions().len() <= STEPS {
                puzzles.push(divisors);
            }
            let multiples = small / greatest_common_divisor(small, large);
            if large <= 40 && multiples <= 8 {
                puzzles.push(Divisors { asks_multiple: true, ..divisors });
            }
        }
    }
    puzzles
}

impl Divisors {
    /// Euclid's divisions: what is divided, by what, and the quotient.
    fn divisions(self) -> Vec<(i64, i64, i64)> {
        let (mut left, mut right) = (self.large, self.small);
        let mut divisions = Vec::new();
        while right != 0 {
            divisions.push((left, right, left / right));
            (left, right) = (right, left % right);
        }
        divisions
    }
}

impl Puzzle for Divisors {
    fn id(&self) -> String {
        let kind = if self.asks_multiple { "lcm" } else { "gcd" };
        format!("{kind}/{},{}", self.small, self.large)
    }

    fn difficulty(&self) -> Difficulty {
        let Divisors { small, large, asks_multiple } = *self;
        let multiples = small / greatest_common_divisor(small, large);
        match (asks_multiple, self.divisions().len(), large) {
            (true, _, ..=30) if multiples <= 5 => Difficulty::Easy,
            (false, ..=2, _) => Difficulty::Easy,
            (true, ..) | (false, 3, ..=60) => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let Divisors { small, large, asks_multiple } = *self;
        let divisor = greatest_common_divisor(small, large);
        let (first, second) = if *choices.pick(&[true, false]) { (small, large) } else { (large, small) };
        if asks_multiple {
            let question = choices.say(&LEAST_MULTIPLE, &[("first", &first), ("second", &second)]);
            let count = small / divisor;
            let answer = count * large;
            let tried = (1..=count).map(|times| {
                let multiple = times * large;
                let (quotient, rest) = (multiple / small, multiple % small);
                match rest {
                    0 => format!("{multiple} = {quotient} × {small}"),
                    _ => format!("{multiple} = {quotient} × {small} + {rest}"),
                }
            });
            let steps = format!("Multiples of {large}, by {small}: {}. No rest is left at {answer}.", joined(tried));
            return WorkedProblem::new(question, steps, answer);
        }
        let question = choices.say(&GREATEST_DIVISOR, &[("first", &first), ("second", &second)]);
        let divided = self.divisions().into_iter().map(|(left, right, quotient)| match left - quotient * right {
            0 => format!("{left} = {quotient} × {right}, no rest"),
            rest => format!("{left} = {quotient} × {right} + {rest}"),
        });
        let steps =
            format!("Divide with rest: {}. The last divisor is {divisor}.", divided.collect::<Vec<_>>().join(". "));
        WorkedProblem::new(question, steps, divisor)
    }
}

const GREATEST_DIVISOR: [&str; 5] = [
    "What is the greatest common divisor of {first} and {second}?",
    "Find the gcd of {first} and {second}.",
    "What is the largest number that divides both {first} and {second}?",
    "Compute gcd({first}, {second}).",
    "Find the greatest common factor of {first} and {second}.",
];

const LEAST_MULTIPLE: [&str; 5] = [
    "What is the least common multiple of {first} and {second}?",
    "Find the lcm of {first} and {second}.",
    "What is the smallest number that both {first} and {second} divide?",
    "Compute lcm({first}, {second}).",
    "Two lights flash every {first} and every {second} seconds, now both at once. After how many seconds do they next flash together?",
];

#[test]
fn answers_equal_trying_all_numbers() {
    for puzzle in puzzles() {
        let Divisors { small, large, asks_multiple } = puzzle;
        let wanted = match asks_multiple {
            true => (1..).find(|number| number % small == 0 && number % large == 0).unwrap(),
            false => (1..=small).rev().find(|number| small % number == 0 && large % number == 0).unwrap(),
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
