//! Whole numbers in other bases. Solutions multiply each digit by its place and add, or divide repeatedly and read
//! the rests backwards.

use super::Difficulty;
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::joined;

/// A number and a base from 2 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Based {
    pub(super) number: i64,
    pub(super) base: i64,
    /// Whether it is given in base ten, and asked for in the other.
    pub(super) from_ten: bool,
}

pub(super) fn puzzles() -> Vec<Based> {
    let mut puzzles = Vec::new();
    for base in 2..=9_i64 {
        let last = match base {
            2 => 127,
            _ => 199.min(base.pow(3) - 1),
        };
        for number in base + 1..=last {
            puzzles.extend([true, false].map(|from_ten| Based { number, base, from_ten }));
        }
    }
    puzzles
}

impl Based {
    /// The digits in the base, the first one first.
    fn digits(self) -> Vec<i64> {
        let (mut digits, mut rest) = (Vec::new(), self.number);
        while rest > 0 {
            digits.insert(0, rest % self.base);
            rest /= self.base;
        }
        digits
    }

    fn written(self) -> String {
        self.digits().iter().map(ToString::to_string).collect()
    }
}

impl Puzzle for Based {
    fn id(&self) -> String {
        let kind = if self.from_ten { "to" } else { "from" };
        format!("{kind}/{}/{}", self.base, self.number)
    }

    fn difficulty(&self) -> Difficulty {
        match (self.from_ten, self.base, self.number) {
            (_, _, ..64) => Difficulty::Easy,
            (_, 3.., ..125) => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let Based { number, base, from_ten } = *self;
        let written = self.written();
        let sentences: &[&str] = if from_ten { &TO } else { &FROM };
        let question = choices.say(sentences, &[("number", &number), ("written", &written), ("base", &base)]);
        if from_ten {
            let mut divisions = Vec::new();
            let mut left = number;
            while left > 0 {
                divisions.push(format!("{left} = {} × {base} + {}", left / base, left % base));
                left /= base;
            }
            let steps = format!("Divide by {base}: {}. The rests from last to first: {written}.", joined(divisions));
            return WorkedProblem::new(question, steps, written);
        }
        let digits = self.digits();
        let places: Vec<i64> = (0..digits.len() as u32).rev().map(|power| base.pow(power)).collect();
        let both = || digits.iter().zip(&places);
        let products = both().map(|(digit, place)| format!("{digit} × {place} = {}", digit * place));
        let values = both().map(|(digit, place)| digit * place).filter(|&value| value > 0);
        let sum = values.map(|value| value.to_string()).collect::<Vec<_>>().join(" + ");
        let steps = format!("{}. Sum: {sum} = {number}.", joined(products));
        WorkedProblem::new(question, steps, number)
    }
}

const FROM: [&str; 4] = [
    "Convert {written} from base {base} to base 10.",
    "What is the base {base} number {written} in base 10?",
    "A number is written {written} in base {base}. Which number is it in base 10?",
    "Write {written} (base {base}) in base 10.",
];

const TO: [&str; 4] = [
    "Convert {number} from base 10 to base {base}.",
    "What is the base 10 number {number} in base {base}?",
    "How is {number} written in base {base}?",
    "Write {number} (base 10) in base {base}.",
];

#[test]
fn answers_equal_the_library_s_reading() {
    for puzzle in puzzles() {
        let answer = puzzle.write(&mut Choices::new(1)).answer;
        let (written, value) = match puzzle.from_ten {
            true => (answer, puzzle.number),
            false => (puzzle.written(), answer.parse().unwrap()),
        };
        assert_eq!(i64::from_str_radix(&written, puzzle.base as u32), Ok(value), "{puzzle:?}");
    }
}
