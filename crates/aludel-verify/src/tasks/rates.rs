//! Rates: so much an hour, a piece, a litre. Solutions first find what one unit gives, then how many units there are.

use super::Difficulty;
use super::arithmetic::{product, quotient};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;

/// A problem about steady rates; all numbers are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// `rate` a unit, for `units`: how much in all?
    Total { rate: i64, units: i64 },
    /// `rate` a unit, and `rate × units` in all: how many units?
    Units { rate: i64, units: i64 },
    /// `known` units give `rate × known`: what do `wanted` give?
    Other { rate: i64, known: i64, wanted: i64 },
    /// Two rates together give `(first + second) × units` in all: how many units does it take? A `second` below 0 takes away.
    Joint { first: i64, second: i64, units: i64 },
}

pub(super) fn puzzles() -> Vec<Rate> {
    let mut puzzles = Vec::new();
    for rate in 2..=60 {
        puzzles.extend((2..=10).map(|units| Rate::Total { rate, units }));
        puzzles.extend((2..=10).map(|units| Rate::Units { rate, units }));
    }
    for rate in 2..=12 {
        for known in 2..=9 {
            let wanted = (2..=12).filter(|&wanted| wanted != known);
            puzzles.extend(wanted.map(|wanted| Rate::Other { rate, known, wanted }));
        }
    }
    for first in 3..=20 {
        for second in (-9..=20).filter(|&second| second != 0 && first + second >= 2 && second < first) {
            puzzles.extend((3..=9).map(|units| Rate::Joint { first, second, units }));
        }
    }
    puzzles
}

impl Puzzle for Rate {
    fn id(&self) -> String {
        match self {
            Rate::Total { rate, units } => format!("total/{rate},{units}"),
            Rate::Units { rate, units } => format!("units/{rate},{units}"),
            Rate::Other { rate, known, wanted } => format!("other/{rate},{known},{wanted}"),
            Rate::Joint { first, second, units } => format!("joint/{first},{second},{units}"),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Rate::Total { .. } | Rate::Units { .. } => Difficulty::Easy,
            Rate::Other { .. } => Difficulty::Medium,
            Rate::Joint { .. } => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        match *self {
            Rate::Total { rate, units } => {
                let question = choices.say(&TOTAL, &[("rate", &rate), ("units", &units)]);
                let steps = format!(
                    "The rate is {rate} for each one, and there are {units}. In all: {}.",
                    product(rate, units)
                );
                WorkedProblem::new(question, steps, rate * units)
            }
            Rate::Units { rate, units } => {
                let total = rate * units;
                let question = choices.say(&UNITS, &[("rate", &rate), ("total", &total)]);
                let steps = format!(
                    "The rate is {rate} for each one, and in all it is {total}. How often: {}.",
                    quotient(total, rate)
                );
                WorkedProblem::new(question, steps, units)
            }
            Rate::Other { rate, known, wanted } => {
                let total = rate * known;
                let question = choices.say(&OTHER, &[("known", &known), ("total", &total), ("wanted", &wanted)]);
                let steps = format!(
                    "{known} give {total}, so 1 gives {}. Then {wanted} give {}.",
                    quotient(total, known),
                    product(rate, wanted)
                );
                WorkedProblem::new(question, steps, rate * wanted)
            }
            Rate::Joint { first, second, units } => {
                let both = first + second;
                let total = both * units;
                let (sentences, sign) = if second > 0 { (&FASTER, '+') } else { (&SLOWER, '-') };
                let size = second.abs();
                let question = choices.say(sentences, &[("first", &first), ("second", &size), ("total", &total)]);
                let steps = format!(
                    "In each unit of time it is {first} {sign} {size} = {both}. In all it is {total}. Time: {}.",
                    quotient(total, both)
                );
                WorkedProblem::new(question, steps, units)
            }
        }
    }
}

const TOTAL: [&str; 6] = [
    "A train goes {rate} kilometres in an hour. How far does it go in {units} hours?",
    "One ticket costs {rate} dollars. How much do {units} tickets cost?",
    "A machine makes {rate} toys an hour. How many toys does it make in {units} hours?",
    "There are {rate} eggs in a box. How many eggs are in {units} boxes?",
    "A pump moves {rate} litres a minute. How many litres does it move in {units} minutes?",
    "A worker earns {rate} dollars an hour. How much is that for {units} hours?",
];

const UNITS: [&str; 6] = [
    "A train goes {rate} kilometres in an hour. How many hours does it need for {total} kilometres?",
    "One ticket costs {rate} dollars. How many tickets can you buy for {total} dollars?",
    "A machine makes {rate} toys an hour. How many hours does it need for {total} toys?",
    "There are {rate} eggs in a box. How many boxes hold {total} eggs?",
    "A pump moves {rate} litres a minute. How many minutes does it need for {total} litres?",
    "A worker earns {rate} dollars an hour. How many hours does it take to earn {total} dollars?",
];

const OTHER: [&str; 5] = [
    "{known} pens cost {total} dollars. How much do {wanted} pens cost?",
    "A machine makes {total} toys in {known} hours. How many toys does it make in {wanted} hours?",
    "A car goes {total} kilometres in {known} minutes. How far does it go in {wanted} minutes?",
    "There are {total} eggs in {known} boxes. How many eggs are in {wanted} boxes?",
    "{known} bags weigh {total} kilograms. How many kilograms do {wanted} such bags weigh?",
];

const FASTER: [&str; 3] = [
    "One pump moves {first} litres a minute and another {second}. How many minutes do both need for {total} litres?",
    "Two walkers are {total} kilometres apart and walk towards each other, one {first} kilometres an hour, the other {second}. After how many hours do they meet?",
    "One machine makes {first} toys an hour and another {second}. How many hours do both together need for {total} toys?",
];

const SLOWER: [&str; 3] = [
    "A tap brings {first} litres a minute and a leak loses {second}. After how many minutes are there {total} litres?",
    "A shop gets {first} books a day and sells {second}. After how many days does it have {total} more books?",
    "Somebody earns {first} dollars a day and spends {second}. After how many days are {total} dollars saved?",
];

#[test]
fn answers_equal_what_piles_up_unit_by_unit() {
    for puzzle in puzzles() {
        let add = |rate: i64, units: i64| (0..units).fold(0, |sum, _| sum + rate);
        let wanted = match puzzle {
            Rate::Total { rate, units } => add(rate, units),
            Rate::Units { rate, units } => (1..).find(|&count| add(rate, count) == add(rate, units)).unwrap(),
            Rate::Other { rate, known, wanted } => {
                let one = (1..).find(|&one| add(one, known) == add(rate, known)).unwrap();
                add(one, wanted)
            }
            Rate::Joint { first, second, units } => {
                let total = add(first, units) + add(second, units);
                (1..).find(|&count| add(first, count) + add(second, count) == total).unwrap()
            }
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
