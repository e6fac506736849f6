//! Sequences of numbers: equal steps, equal factors, steps that grow, sums of the last two. Solutions write down what
//! happens from each number to the next, and do it once more.

use super::Difficulty;
use super::arithmetic::{difference, product, sum};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::joined;

/// A sequence by its first number and its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Each number is `step` more (less, below 0) than the last; the fifth is asked for.
    Steps { first: i64, step: i64 },
    /// Each number is `factor` times the last; the fifth is asked for.
    Factors { first: i64, factor: i64 },
    /// The first step is `step`, each later one `growth` larger; the fifth is asked for.
    Growing { first: i64, step: i64, growth: i64 },
    /// Each number is the sum of the two before; the sixth is asked for.
    Sums { first: i64, second: i64 },
    /// As `Steps`, and the number at `place` is asked for.
    Place { first: i64, step: i64, place: i64 },
}

/// How many numbers are shown.
const SHOWN: usize = 4;

pub(super) fn puzzles() -> Vec<Sequence> {
    let mut puzzles = Vec::new();
    for first in 1..=60 {
        let steps = (-12..=20).filter(|&step| step != 0 && first + 4 * step >= 0);
        puzzles.extend(steps.map(|step| Sequence::Steps { first, step }));
    }
    for first in 1..=12 {
        puzzles.extend([2, 3].map(|factor| Sequence::Factors { first, factor }));
        puzzles.extend((1..=12).filter(|&second| second != first).map(|second| Sequence::Sums { first, second }));
        for growth in 1..=3 {
            puzzles.extend((1..=9).map(|step| Sequence::Growing { first, step, growth }));
        }
        for step in 2..=9 {
            puzzles.extend((8..=12).chain([20]).map(|place| Sequence::Place { first, step, place }));
        }
    }
    puzzles
}

impl Sequence {
    fn shown(self) -> Vec<i64> {
        let mut numbers = match self {
            Sequence::Sums { first, second } => vec![first, second],
            Sequence::Steps { first, .. }
            | Sequence::Factors { first, .. }
            | Sequence::Growing { first, .. }
            | Sequence::Place { first, .. } => vec![first],
        };
        let shown = SHOWN + usize::from(matches!(self, Sequence::Sums { .. }));
        while numbers.len() < shown {
            let (count, last) = (numbers.len(), numbers[numbers.len() - 1]);
            numbers.push(match self {
                Sequence::Steps { step, .. } | Sequence::Place { step, .. } => last + step,
                Sequence::Factors { factor, .. } => last * factor,
                Sequence::Growing { step, growth, .. } => last + step + (count as i64 - 1) * growth,
                Sequence::Sums { .. } => last + numbers[count - 2],
            });
        }
        numbers
    }
}

impl Puzzle for Sequence {
    fn id(&self) -> String {
        match self {
            Sequence::Steps { first, step } => format!("steps/{first},{step}"),
            Sequence::Factors { first, factor } => format!("factors/{first},{factor}"),
            Sequence::Growing { first, step, growth } => format!("growing/{first},{step},{growth}"),
            Sequence::Sums { first, second } => format!("sums/{first},{second}"),
            Sequence::Place { first, step, place } => format!("place/{first},{step},{place}"),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Sequence::Steps { .. } => Difficulty::Easy,
            Sequence::Growing { .. } | Sequence::Factors { .. } | Sequence::Sums { .. } => Difficulty::Medium,
            Sequence::Place { .. } => Difficulty::Hard,
        }
    }

    fn repeats(&self) -> u64 {
        // Few fall, and a small model that sees mostly rising ones takes every sequence for one of them.
        if matches!(self, Sequence::Steps { step, .. } if *step < 0) { 2 } else { 1 }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let shown = self.shown();
        let listed = joined(&shown);
        if let Sequence::Place { first, step, place } = *self {
            let question = choices.say(
                &[
                    "What is number {place} of the sequence {listed}, ...?",
                    "A sequence begins {listed}. It goes on like that. What is its number {place}?",
                ],
                &[("place", &place), ("listed", &listed)],
            );
            let (steps, added) = (place - 1, (place - 1) * step);
            let worked = format!(
                "{} - {first} = {step}, so each step adds {step}. To number {place} there are {place} - 1 = {steps} steps: {}. {first} + {added} = {}.",
                shown[1],
                product(steps, step),
                first + added
            );
            return WorkedProblem::new(question, worked, first + added);
        }
        let question = choices.say(&NEXT, &[("listed", &listed)]);
        let last = shown[shown.len() - 1];
        let pairs = || shown.windows(2).map(|pair| (pair[0], pair[1]));
        let (worked, answer) = match *self {
            // The first number and the last are farther apart than neighbours: which of them is larger is easier to see.
            Sequence::Steps { first, step } if step > 0 => {
                let (gap, next) = (difference(shown[1], first), sum(last, step));
                (format!("From {first} to {last} it grows. {gap}. {next}."), last + step)
            }
            Sequence::Steps { first, step } => {
                let (gap, next) = (difference(first, shown[1]), difference(last, -step));
                (format!("From {first} to {last} it falls. {gap}. {next}."), last + step)
            }
            Sequence::Factors { factor, .. } => {
                let steps = joined(pairs().map(|(left, right)| format!("{left} × {factor} = {right}")));
                (format!("{steps}. Each time it is {factor} times as much. {}.", product(last, factor)), last * factor)
            }
            Sequence::Growing { growth, .. } => {
                let steps = joined(pairs().map(|(left, right)| format!("{right} - {left} = {}", right - left)));
                let step = last - shown[shown.len() - 2];
                let (next, answer) = (step + growth, last + step + growth);
                let grows = format!("The steps grow by {growth}: {step} + {growth} = {next}.");
                (format!("{steps}. {grows} {last} + {next} = {answer}."), answer)
            }
            Sequence::Sums { .. } | Sequence::Place { .. } => {
                let sums = joined(shown.windows(3).map(|three| format!("{} + {} = {}", three[0], three[1], three[2])));
                let before = shown[shown.len() - 2];
                (
                    format!("{sums}. Each is the sum of the two before. {before} + {last} = {}.", before + last),
                    before + last,
                )
            }
        };
        WorkedProblem::new(question, worked, answer)
    }
}

const NEXT: [&str; 5] = [
    "What number comes next: {listed}?",
    "Find the next number: {listed}, ...",
    "Continue the sequence {listed}. Which number follows?",
    "{listed}, ... What comes next?",
    "What is the next number in the sequence {listed}?",
];

#[test]
fn answers_equal_formulas() {
    for puzzle in puzzles() {
        let wanted = match puzzle {
            Sequence::Steps { first, step } => first + 4 * step,
            Sequence::Factors { first, factor } => first * factor.pow(4),
            Sequence::Growing { first, step, growth } => first + 4 * step + 6 * growth,
            Sequence::Sums { first, second } => 3 * first + 5 * second,
            Sequence::Place { first, step, place } => first + (place - 1) * step,
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
