//! Equality of mathematical answers: the final answer is found in a text, read whether it is LaTeX or plain, and
//! compared by value. Values are exact fractions where they can be, and numbers of several hundred bits elsewhere;
//! expressions with symbols are compared at fixed points. Nothing here is simplified, so work is bounded by an answer's
//! length and by a count of operations; what is beyond them is undecided.

mod ambiguity;
mod answer_format;
mod comparison;
mod evaluated;
mod judgement;
mod lowest_terms;
mod order;
mod reading;
mod restated;
#[cfg(test)]
mod tests;
mod values;

use super::Verdict;
use ambiguity::{doubt, notation, readings};
pub use answer_format::AnswerFormat;
pub(crate) use answer_format::is_unit;
use comparison::{compare, scalar};
pub(super) use judgement::{judge, lacks_evaluation};
pub use reading::extract::extract;
pub(super) use reading::extract::{extract_marked, extract_settled};
use reading::{answer, lexer};
use values::{exact, number};

/// Whether the final answer in a text equals the reference answer, which may be an answer by itself or a worked solution that marks
/// one, as GSM8K's do. By value alone: what else a verifier looks at is in `judgement`.
pub fn verdict(answer_text: &str, gold: &str) -> Verdict {
    let gold = extract_marked(gold).unwrap_or(gold);
    let Some(answer) = extract(answer_text) else { return Verdict::NoAnswer };
    match equal(answer, gold) {
        Equality::Equal => Verdict::Right,
        Equality::Different if super::is_no_number(gold) => Verdict::Undecided,
        Equality::Different => Verdict::Wrong,
        Equality::Undecided => Verdict::Undecided,
    }
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    /// The two have the same value.
    Equal,
    /// They have not.
    Different,
    /// One of them was not understood, or comparing them would take too long.
    Undecided,
}

/// Compares two final answers without surrounding words (see [`extract`]). Equal and different are results for what was understood;
/// everything else is undecided, unless the texts are the same but for layout.
///
/// - Numbers are equal by value: `1/2`, `\frac12`, `0.5`, `50\%` and "a half" are. A decimal against an exact value that it is not:
///   equal if it is that value rounded at its own last place and has six decimals and six digits or more; undecided if it is the rounding
///   with three digits or more (`1.41` of `\sqrt2`); else different, as `1.4` and `1.414213563` are. A percentage equals its share, and
///   is undecided against its number, which is equal only if a percentage was asked for.
/// - What has another reading in which the two agree is undecided: `3,14` and `3.14`, `5k` and `5000`, `x1` and `x_1`, `5m` and 5 metres,
///   `A` and `a`, `2k\pi` and `2n\pi`, `0x1F` and 31, antiderivatives that differ by a constant.
/// - "≈" and "about" leave a number as it is written: `\approx 3.14` equals 3.14, differs from 3.15, and is undecided
///   against what rounds to it, such as π.
/// - `a:b` is a ratio, equal up to a factor, or a time or duration (two digits below 60 behind the colon), equal part by
///   part. `12:00` and `1:00` differ, since nobody writes a ratio so; `3:15` and `6:30` are undecided. So is a time with AM
///   or PM against the same without, unless its hours tell.
/// - A unit may be missing on one side; two different ones make a difference, but 1 m equals 100 cm.
/// - `x = 5` equals 5, and `y = 5` does not equal `x = 5`. A chain such as √10 ≈ 3.16 equals each of its sides, if it is
///   true.
/// - Bare lists in another order are undecided, since a question may ask for one; sets and solutions have none, tuples have one. Sets, intervals, conditions on one symbol, and what ∪, ∩ and ∖ make of them
///   are equal as sets of real numbers: `(1,3)\cup[3,5)` equals `1 < x < 5`. What a comma between two conditions means is
///   known only where the other meaning would say nothing.
/// - "DNE", "undefined" and "does not exist" are the same, "no solution" is the empty set; beside each other and beside ∞ they are
///   undecided. Other texts are undecided if one has all words of the other, or is short for it. `Choice C` is `C`.
/// - Dates, ranges and scores (`2024-01-02`, `3-4`) are no differences, and are undecided against all but themselves. So are
///   calls of functions such as `f(x)`, products of capitals in another order or with a transposed or inverted one, differentials, and
///   "and" against "or" between equations of several names.
/// - Expressions with symbols are equal if their values are at 20 points, of which at least 3 must have one. That is no
///   proof, but expressions that differ and agree at all of them have to be made on purpose.
pub fn equal(left: &str, right: &str) -> Equality {
    // A failure of the number library leaves the result undecided.
    aludel_text::catch_panic::catch_panic(|| weighed(left, right)).unwrap_or(Equality::Undecided)
}

fn weighed(left: &str, right: &str) -> Equality {
    let (bare, other_bare) = (notation::without_digit_separators(left), notation::without_digit_separators(right));
    let (left, right) = (bare.as_deref().unwrap_or(left), other_bare.as_deref().unwrap_or(right));
    if let Some(same) = readings::same_option(left, right) {
        return if same { Equality::Equal } else { Equality::Different };
    }
    let computed = as_written(left, right);
    match computed == Equality::Undecided || same_spelling(left, right) {
        true => computed,
        false => notation::weighed(left, right, doubt::weighed(left, right, computed)),
    }
}

/// Compares two answers, each read as arithmetic. Behind a number and a space, a unit's symbol is that unit, as in `\text{}`; letters that
/// are equal as a product are the same unit, too.
fn as_written(left: &str, right: &str) -> Equality {
    let (apart, other_apart) = (readings::unit_set_apart(left), readings::unit_set_apart(right));
    if apart.is_none() && other_apart.is_none() {
        return as_arithmetic(left, right);
    }
    match as_arithmetic(apart.as_deref().unwrap_or(left), other_apart.as_deref().unwrap_or(right)) {
        Equality::Equal => Equality::Equal,
        computed => match as_arithmetic(left, right) {
            Equality::Equal => Equality::Equal,
            _ => computed,
        },
    }
}

fn as_arithmetic(left: &str, right: &str) -> Equality {
    let budget = exact::Budget::new();
    let (first, second) = (answer::read(left), answer::read(right));
    match compare::equal(&first, &second, &budget) {
        Equality::Undecided if same_spelling(left, right) => Equality::Equal,
        Equality::Different if readings::names_the_same_points(left, right) => Equality::Undecided,
        Equality::Different => {
            let read = |texts: Vec<String>| texts.iter().map(|text| answer::read(text)).collect::<Vec<_>>();
            let same =
                |one: &answer::Answer, other: &answer::Answer| compare::equal(one, other, &budget) == Equality::Equal;
            let (others, other_others) = (read(readings::others(left, right)), read(readings::others(right, left)));
            // One writer uses commas for points, not both.
            let (swapped, other_swapped) = (read(readings::swapped(left)), read(readings::swapped(right)));
            let is_found = others.iter().chain(&swapped).any(|one| same(one, &second))
                || other_others.iter().chain(&other_swapped).any(|other| same(&first, other))
                || others.iter().any(|one| other_others.iter().any(|other| same(one, other)));
            if is_found { Equality::Undecided } else { Equality::Different }
        }
        equality => equality,
    }
}

/// Whether two answers are real numbers no further apart than `absolute + relative · |right|`, ignoring units and percent signs;
/// `None` if one is not a number, or if it is undecided. Nothing is rounded: a tolerance is the decimal that was written.
pub fn is_within(left: &str, right: &str, absolute: f64, relative: f64) -> Option<bool> {
    aludel_text::catch_panic::catch_panic(|| is_near(left, right, absolute, relative)).ok().flatten()
}

fn is_near(left: &str, right: &str, absolute: f64, relative: f64) -> Option<bool> {
    if doubt::is_chain(left) || doubt::is_chain(right) {
        return None;
    }
    let (left, right) = (answer::read(left), answer::read(right));
    let (left, right) = (compare::number(&left)?, compare::number(&right)?);
    let budget = exact::Budget::new();
    let decimal = |value: f64| {
        let characters: Vec<char> = value.to_string().chars().collect();
        number::read(&characters, false).map(|(number, _)| number.value)
    };
    scalar::is_within(left, right, &decimal(absolute)?, &decimal(relative)?, &budget)
}

/// Whether two texts that could not be read or computed are the same but for spaces and layout.
fn same_spelling(left: &str, right: &str) -> bool {
    let bare = |text: &str| -> String {
        let text = text.replace("\\left", "").replace("\\right", "").replace("\\dfrac", "\\frac");
        let mut kept = String::new();
        let mut is_apart = false;
        for character in text.chars() {
            if character.is_whitespace() || character == '$' {
                is_apart = true;
                continue;
            }
            // 1 2 is not 12.
            if is_apart && character.is_ascii_digit() && kept.ends_with(|last: char| last.is_ascii_digit()) {
                kept.push(' ');
            }
            kept.push(character);
            is_apart = false;
        }
        kept
    };
    if left.len() > lexer::MAX_BYTES * 4 {
        return left == right;
    }
    let left = bare(left);
    !left.is_empty() && left == bare(right)
}

/// Whether a text by itself is a mathematical answer that is understood, and not words.
fn is_maths(text: &str) -> bool {
    answer::read(text).is_maths()
}
