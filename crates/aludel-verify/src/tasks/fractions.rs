//! Fractions: of a number, added and subtracted, multiplied and divided. Solutions find common denominators by writing both
//! fractions anew, and reduce by one small number after another.

use super::Difficulty;
use super::arithmetic::{difference, product, reduction, sum};
use super::fraction::{Fraction, greatest_common_divisor};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::fill;

/// A fraction as it is written in a question; it is in lowest terms but for those that are added over one denominator.
type Written = (i64, i64);

/// A problem about fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The fraction of a whole number that its denominator divides.
    Of {
        part: Written,
        whole: i64,
    },
    Add {
        left: Written,
        right: Written,
    },
    Subtract {
        left: Written,
        right: Written,
    },
    Multiply {
        left: Written,
        right: Written,
    },
    Divide {
        left: Written,
        right: Written,
    },
}

pub(super) fn puzzles() -> Vec<Task> {
    let mut puzzles = Vec::new();
    let proper = |largest: i64| (2..=largest).flat_map(|bottom| (1..bottom).map(move |top| (top, bottom)));
    let reduced = |&(top, bottom): &Written| greatest_common_divisor(top, bottom) == 1;
    for part in proper(10).filter(reduced) {
        puzzles.extend((2..=20).map(|times| Task::Of { part, whole: times * part.1 }));
    }
    for bottom in 3..=15 {
        for top in 1..bottom {
            let left = (top, bottom);
            puzzles.extend((1..=top).map(|other| Task::Add { left, right: (other, bottom) }));
            puzzles.extend((1..top).map(|other| Task::Subtract { left, right: (other, bottom) }));
        }
    }
    for left in proper(8).filter(reduced) {
        for right in proper(8).filter(reduced) {
            let is_larger = left.0 * right.1 > right.0 * left.1;
            if left.1 != right.1 && is_larger && common(left, right) <= 40 {
                puzzles.extend([Task::Add { left, right }, Task::Subtract { left, right }]);
            }
            if is_larger || left == right {
                puzzles.push(Task::Multiply { left, right });
            }
            if left != right {
                puzzles.push(Task::Divide { left, right });
            }
        }
    }
    puzzles
}

/// The least common denominator.
fn common(left: Written, right: Written) -> i64 {
    left.1 * right.1 / greatest_common_divisor(left.1, right.1)
}

fn shown((top, bottom): Written) -> String {
    format!("{top}/{bottom}")
}

/// The last step: the fraction that came out, reduced.
fn finished((top, bottom): Written) -> (String, Fraction) {
    let sentence = match top % bottom {
        0 => format!("{top}/{bottom} = {}.", top / bottom),
        _ => reduction(top, bottom).0,
    };
    (sentence, Fraction::new(top, bottom))
}

/// How often `divisor` goes into `whole`, at most 20 times: ten at once, then the rest.
fn share(whole: i64, divisor: i64) -> String {
    let (ten, value) = (10 * divisor, whole / divisor);
    let steps = match whole - ten {
        ..0 => format!("{whole} is less: {whole} / {divisor} = {value}"),
        0 => format!("{whole} is the same: {whole} / {divisor} = {value}"),
        rest => {
            let more = value - 10;
            format!("{whole} is more: {whole} - {ten} = {rest}, {rest} / {divisor} = {more}, 10 + {more} = {value}")
        }
    };
    format!("{divisor} × 10 = {ten}, {steps}")
}

/// Sum or difference over the common denominator.
fn combined(left: Written, right: Written, sign: i64) -> (String, Fraction) {
    let bottom = common(left, right);
    let widened = |part: Written| {
        let times = bottom / part.1;
        let widened = (part.0 * times, bottom);
        match times {
            1 => (format!("{} stays.", shown(part)), widened),
            _ => (format!("By {times}: {} = {}.", shown(part), shown(widened)), widened),
        }
    };
    let ((first, wide_left), (second, wide_right)) = (widened(left), widened(right));
    let opening = match left.1 == right.1 {
        true => String::new(),
        false => format!("Both go into {bottom}. {first} {second} "),
    };
    let (top, reckoned) = match sign {
        1 => (wide_left.0 + wide_right.0, sum(wide_left.0, wide_right.0)),
        _ => (wide_left.0 - wide_right.0, difference(wide_left.0, wide_right.0)),
    };
    let tops = format!("Tops: {reckoned}.");
    let (reduced, answer) = finished((top, bottom));
    (format!("{opening}{tops} {reduced}"), answer)
}

impl Puzzle for Task {
    fn id(&self) -> String {
        match *self {
            Task::Of { part, whole } => format!("of/{},{whole}", shown(part)),
            Task::Add { left, right } => format!("add/{},{}", shown(left), shown(right)),
            Task::Subtract { left, right } => format!("subtract/{},{}", shown(left), shown(right)),
            Task::Multiply { left, right } => format!("multiply/{},{}", shown(left), shown(right)),
            Task::Divide { left, right } => format!("divide/{},{}", shown(left), shown(right)),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Task::Of { .. } => Difficulty::Easy,
            Task::Add { left, right } | Task::Subtract { left, right } if left.1 == right.1 => Difficulty::Easy,
            Task::Multiply { .. } => Difficulty::Medium,
            Task::Add { .. } | Task::Subtract { .. } | Task::Divide { .. } => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        match *self {
            Task::Of { part: (top, bottom), whole } => {
                let part = shown((top, bottom));
                let question = choices.say(&OF, &[("part", &part), ("whole", &whole)]);
                let one = whole / bottom;
                let steps =
                    format!("1/{bottom} of {whole}: {}. {top} of them: {}.", share(whole, bottom), product(top, one));
                WorkedProblem::new(question, steps, top * one)
            }
            Task::Add { left, right } => {
                let (left, right) = if *choices.pick(&[true, false]) { (left, right) } else { (right, left) };
                let (steps, answer) = combined(left, right, 1);
                calculated(choices, (left, '+', right), steps, answer)
            }
            Task::Subtract { left, right } => {
                let (steps, answer) = combined(left, right, -1);
                calculated(choices, (left, '-', right), steps, answer)
            }
            Task::Multiply { left, right } => {
                let (steps, answer) = multiplied(left, right);
                calculated(choices, (left, '×', right), steps, answer)
            }
            Task::Divide { left, right } => {
                let turned = (right.1, right.0);
                let (steps, answer) = multiplied(left, turned);
                let steps = format!("Turn the second over: {} times {}. {steps}", shown(left), shown(turned));
                calculated(choices, (left, '÷', right), steps, answer)
            }
        }
    }
}

fn multiplied(left: Written, right: Written) -> (String, Fraction) {
    let (tops, bottoms) = (product(left.0, right.0), product(left.1, right.1));
    let (reduced, answer) = finished((left.0 * right.0, left.1 * right.1));
    (format!("Tops: {tops}. Bottoms: {bottoms}. {reduced}"), answer)
}

/// A calculation, one of whose wordings asks for lowest terms.
fn calculated(
    choices: &mut Choices,
    (left, sign, right): (Written, char, Written),
    steps: String,
    answer: Fraction,
) -> WorkedProblem {
    const REDUCED: &str = "Compute {it} and reduce the result.";
    let calculation = format!("{} {sign} {}", shown(left), shown(right));
    let wording = *choices.pick(&["What is {it}?", "Calculate {it}.", REDUCED, "{it} = ?", "How much is {it}?"]);
    let question = fill(wording, &[("it", &calculation)]);
    WorkedProblem { lowest_terms: wording == REDUCED, ..WorkedProblem::new(question, steps, answer) }
}

const OF: [&str; 5] = [
    "What is {part} of {whole}?",
    "How much is {part} of {whole}?",
    "A cook uses {part} of {whole} eggs. How many eggs is that?",
    "{part} of {whole} pupils are ill. How many pupils are ill?",
    "Calculate {part} of {whole}.",
];

#[test]
fn answers_equal_counting_small_shares() {
    for puzzle in puzzles() {
        // A unit is cut into as many equal shares as all denominators together; shares are counted.
        let shares = |(top, bottom): Written, unit: i64| (0..top).map(|_| unit / bottom).sum::<i64>();
        let wanted = match puzzle {
            Task::Of { part, whole } => Fraction::new(shares(part, whole), 1),
            Task::Add { left, right } => {
                let unit = left.1 * right.1;
                Fraction::new(shares(left, unit) + shares(right, unit), unit)
            }
            Task::Subtract { left, right } => {
                let unit = left.1 * right.1;
                Fraction::new(shares(left, unit) - shares(right, unit), unit)
            }
            Task::Multiply { left, right } => {
                let unit = left.1 * right.1;
                Fraction::new(shares(left, shares(right, unit)), unit)
            }
            Task::Divide { left, right } => {
                let unit = left.1 * right.1;
                Fraction::new(shares(left, unit), shares(right, unit))
            }
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
