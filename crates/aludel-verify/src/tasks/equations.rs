//! Linear equations in one unknown, bare and in words. Solutions undo one operation at a time, each with its own small
//! calculation, and check the result by putting it in.

use super::Difficulty;
use super::fraction::{Fraction, greatest_common_divisor};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;

/// An equation without its wording. The unknown's value is whole in all forms but [`Spec::Fractional`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// a·x + b = c
    Plain { a: i64, b: i64, c: i64 },
    /// a·x + b = c, where a does not divide c − b
    Fractional { a: i64, b: i64, c: i64 },
    /// a·(x + b) = c
    Brackets { a: i64, b: i64, c: i64 },
    /// a·x + b = c·x + d, a > c > 0
    BothSides { a: i64, b: i64, c: i64, d: i64 },
    /// x/a + b = c
    Divided { a: i64, b: i64, c: i64 },
    /// (x + b)/a = c
    Quotient { a: i64, b: i64, c: i64 },
}

/// All equations, about as many of each form. Numbers stay where a very small model can still calculate.
pub(super) fn puzzles() -> Vec<Spec> {
    let mut specs = Vec::new();
    let shifts = |largest: i64| (-largest..=largest).filter(|&shift| shift != 0);
    for a in 2..=9 {
        for b in shifts(12) {
            specs.extend((-4..=9).filter(|x| *x != 0).map(|x| Spec::Plain { a, b, c: a * x + b }));
        }
        for b in shifts(8) {
            let products = (1..=20).filter(|product| product % a != 0);
            specs.extend(products.map(|product| Spec::Fractional { a, b, c: product + b }));
            specs.extend((-4..=12).filter(|x| x + b != 0 && *x != 0).map(|x| Spec::Brackets { a, b, c: a * (x + b) }));
            specs.extend((1..=10).map(|quotient| Spec::Divided { a, b, c: quotient + b }));
            specs.extend((1..=10).filter(|c| a * c != b).map(|c| Spec::Quotient { a, b, c }));
        }
        for c in 1..a {
            for b in shifts(6) {
                specs.extend((1..=6).map(|x| Spec::BothSides { a, b, c, d: (a - c) * x + b }));
            }
        }
    }
    // `2x + 0` is not written like that.
    specs.retain(|spec| !matches!(spec, Spec::BothSides { d: 0, .. }));
    specs
}

impl Puzzle for Spec {
    fn id(&self) -> String {
        match self {
            Spec::Plain { a, b, c } | Spec::Fractional { a, b, c } => format!("plain/{a},{b},{c}"),
            Spec::Brackets { a, b, c } => format!("brackets/{a},{b},{c}"),
            Spec::BothSides { a, b, c, d } => format!("both-sides/{a},{b},{c},{d}"),
            Spec::Divided { a, b, c } => format!("divided/{a},{b},{c}"),
            Spec::Quotient { a, b, c } => format!("quotient/{a},{b},{c}"),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Spec::Plain { .. } if self.solution().numerator > 0 => Difficulty::Easy,
            Spec::Fractional { .. } | Spec::BothSides { .. } => Difficulty::Hard,
            _ => Difficulty::Medium,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let answer = self.solution();
        let in_words = *choices.pick(&[false, true, false]);
        let story = if in_words { self.in_words(choices) } else { None };
        let (question, opening, letter) = match story {
            Some(question) => (question, format!("Let x be the number. Then {}.", self.equation("x")), "x"),
            None => {
                let letter = *choices.pick(&["x", "x", "y", "n"]);
                let equation = self.equation(letter);
                (asked(&equation, letter, choices), format!("The equation is {equation}."), letter)
            }
        };
        let steps = format!("{opening} {}", self.steps(letter, answer));
        let response = if question.contains("number") { "The number is {answer}." } else { "{letter} = {answer}." };
        WorkedProblem { response: response.replace("{letter}", letter), ..WorkedProblem::new(question, steps, answer) }
    }
}

impl Spec {
    /// The value of the unknown.
    pub(super) fn solution(&self) -> Fraction {
        match *self {
            Spec::Plain { a, b, c } | Spec::Fractional { a, b, c } => Fraction::new(c - b, a),
            Spec::Brackets { a, b, c } => Fraction::new(c - a * b, a),
            Spec::BothSides { a, b, c, d } => Fraction::new(d - b, a - c),
            Spec::Divided { a, b, c } => Fraction::new(a * (c - b), 1),
            Spec::Quotient { a, b, c } => Fraction::new(a * c - b, 1),
        }
    }

    fn equation(&self, letter: &str) -> String {
        match *self {
            Spec::Plain { a, b, c } | Spec::Fractional { a, b, c } => format!("{} = {c}", plus(&times(a, letter), b)),
            Spec::Brackets { a, b, c } => format!("{a}({}) = {c}", plus(letter, b)),
            Spec::BothSides { a, b, c, d } => {
                format!("{} = {}", plus(&times(a, letter), b), plus(&times(c, letter), d))
            }
            Spec::Divided { a, b, c } => format!("{} = {c}", plus(&format!("{letter}/{a}"), b)),
            Spec::Quotient { a, b, c } => format!("({})/{a} = {c}", plus(letter, b)),
        }
    }

    /// The equation as a riddle; equations that would read badly have none.
    fn in_words(&self, choices: &mut Choices) -> Option<String> {
        let (b, size) = match *self {
            Spec::Plain { b, .. } | Spec::Fractional { b, .. } | Spec::Brackets { b, .. } => (b, b.abs()),
            Spec::Divided { b, .. } | Spec::Quotient { b, .. } => (b, b.abs()),
            Spec::BothSides { .. } => return None,
        };
        let change = if b > 0 { format!("add {size}") } else { format!("subtract {size}") };
        let (first, second, c) = match *self {
            Spec::Plain { a, c, .. } | Spec::Fractional { a, c, .. } => (format!("multiply it by {a}"), change, c),
            Spec::Divided { a, c, .. } => (format!("divide it by {a}"), change, c),
            Spec::Brackets { a, c, .. } => (change_of_it(b), format!("multiply the result by {a}"), c),
            Spec::Quotient { a, c, .. } => (change_of_it(b), format!("divide the result by {a}"), c),
            Spec::BothSides { .. } => return None,
        };
        let opening = first.replacen("it", "a number", 1);
        Some(choices.say(
            &[
                "I think of a number, {first}, and then {second}. I get {c}. What is my number?",
                "Take a number, {first}, then {second}. The result is {c}. Find the number.",
                "If you {opening}, and then {second}, you get {c}. What is the number?",
            ],
            &[("first", &first), ("second", &second), ("c", &c), ("opening", &opening)],
        ))
    }

    fn steps(&self, letter: &str, answer: Fraction) -> String {
        let x = answer.numerator;
        match *self {
            Spec::Plain { a, b, c } => format!(
                "{} {} Check: {a} × {} = {}, and {} = {c}.",
                undo_shift(&times(a, letter), b, c),
                undo_factor(letter, a, c - b, answer),
                in_sum(x),
                a * x,
                plus(&(a * x).to_string(), b),
            ),
            Spec::Fractional { a, b, c } => {
                format!("{} {}", undo_shift(&times(a, letter), b, c), undo_factor(letter, a, c - b, answer))
            }
            Spec::Brackets { a, b, c } => format!(
                "Divide both sides by {a}: {} = {c}/{a} = {}. {} Check: {} = {}, and {a} × {} = {c}.",
                plus(letter, b),
                c / a,
                undo_shift(letter, b, c / a),
                plus(&x.to_string(), b),
                x + b,
                in_sum(x + b),
            ),
            Spec::BothSides { a, b, c, d } => format!(
                "Subtract {} from both sides: {} = {d}. {}{} Check: {} = {} and {} = {}.",
                times(c, letter),
                plus(&times(a - c, letter), b),
                undo_shift(&times(a - c, letter), b, d),
                if a - c == 1 { String::new() } else { format!(" {}", undo_factor(letter, a - c, d - b, answer)) },
                plus(&format!("{a} × {x}"), b),
                a * x + b,
                plus(&format!("{c} × {x}"), d),
                c * x + d,
            ),
            Spec::Divided { a, b, c } => format!(
                "{} Multiply both sides by {a}: {letter} = {} × {a} = {x}. Check: {x}/{a} = {}, and {} = {c}.",
                undo_shift(&format!("{letter}/{a}"), b, c),
                c - b,
                c - b,
                plus(&(c - b).to_string(), b),
            ),
            Spec::Quotient { a, b, c } => format!(
                "Multiply both sides by {a}: {} = {c} × {a} = {}. {} Check: {} = {}, and {}/{a} = {c}.",
                plus(letter, b),
                a * c,
                undo_shift(letter, b, a * c),
                plus(&x.to_string(), b),
                a * c,
                a * c,
            ),
        }
    }
}

fn asked(equation: &str, letter: &str, choices: &mut Choices) -> String {
    choices.say(
        &[
            "Solve for {letter}: {equation}",
            "Solve the equation {equation}.",
            "What is {letter} if {equation}?",
            "Find {letter} when {equation}.",
            "{equation}. What is the value of {letter}?",
            "Find the value of {letter} in {equation}.",
            "If {equation}, what is {letter}?",
        ],
        &[("letter", &letter), ("equation", &equation)],
    )
}

/// The step that takes a constant to the other side.
fn undo_shift(left: &str, shift: i64, right: i64) -> String {
    let (verb, size) = if shift > 0 { ("Subtract", shift) } else { ("Add", -shift) };
    let preposition = if shift > 0 { "from" } else { "to" };
    format!(
        "{verb} {size} {preposition} both sides: {left} = {} = {}.",
        plus(&right.to_string(), -shift),
        right - shift
    )
}

/// The step that divides by the unknown's factor.
fn undo_factor(letter: &str, factor: i64, product: i64, answer: Fraction) -> String {
    let step = format!("Divide both sides by {factor}: {letter} = {product}/{factor}");
    match (answer.denominator, greatest_common_divisor(product, factor)) {
        (1, _) => format!("{step} = {answer}."),
        (_, 1) => format!("{step}, which cannot be reduced."),
        (_, divisor) => format!("{step}. Divide both by {divisor}: {product}/{factor} = {answer}."),
    }
}

fn times(factor: i64, letter: &str) -> String {
    match factor {
        1 => letter.to_string(),
        _ => format!("{factor}{letter}"),
    }
}

fn plus(left: &str, shift: i64) -> String {
    match shift {
        0.. => format!("{left} + {shift}"),
        _ => format!("{left} - {}", -shift),
    }
}

fn change_of_it(shift: i64) -> String {
    if shift > 0 { format!("add {shift} to it") } else { format!("subtract {} from it", -shift) }
}

/// A number as a factor: a negative one in brackets.
fn in_sum(number: i64) -> String {
    if number < 0 { format!("({number})") } else { number.to_string() }
}
