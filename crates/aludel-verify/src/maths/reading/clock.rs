//! `a:b` that may be a time of day or a duration: minutes and seconds of two digits below 60. `3:15` alone is ambiguous, since it
//! may also be a ratio; `3:05` and `3:00` are not ratios, which are not written with a leading zero.

use dashu_ratio::RBig;

use super::token::Token;
use crate::maths::Equality;
use crate::maths::values::exact::{self, Budget};
use crate::maths::values::expression::Expression;
use crate::maths::values::number::Number;
use crate::maths::values::unit::{Unit, Units};

/// A time or a duration, and possibly a ratio.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) struct Clock {
    /// Hours and minutes, or minutes and seconds, or all three; with AM or PM also hours alone.
    parts: Vec<u32>,
    /// Whether it cannot be a ratio.
    definite: bool,
    half: Option<Half>,
    unit: Option<Unit>,
}

/// Of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Am,
    Pm,
}

/// Reads a clock time, a duration such as `1:30 hours`, noon or midnight; `None` for everything else, including other ratios.
pub(in crate::maths) fn read(tokens: &[Token]) -> Option<Clock> {
    let digits = tokens.iter().take_while(|token| matches!(token, Token::Number(_) | Token::Sign(':'))).count();
    let (numbers, words) = tokens.split_at(digits);
    let words: Option<Vec<&str>> = words
        .iter()
        .map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            Token::Symbol { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let words = words?;
    let said = words.concat().to_lowercase();
    let (half, unit) = match said.as_str() {
        "" => (None, None),
        "am" | "midnight" => (Some(Half::Am), None),
        "pm" | "noon" => (Some(Half::Pm), None),
        _ => (None, Some(Unit::from_words(words).filter(Unit::is_time)?)),
    };
    if numbers.is_empty() {
        let named = matches!(said.as_str(), "noon" | "midnight");
        return named.then(|| Clock { parts: vec![12, 0], definite: true, half, unit: None });
    }
    let mut written: Vec<&Number> = Vec::new();
    for part in numbers.split(|token| *token == Token::Sign(':')) {
        let [Token::Number(number)] = part else { return None };
        written.push(number);
    }
    let parts: Option<Vec<u32>> = written.iter().map(|number| whole(number)).collect();
    let parts = parts?;
    let definite = half.is_some() || unit.is_some() || written[1..].iter().any(|number| number.leading_zero);
    let minutes = written[1..]
        .iter()
        .zip(&parts[1..])
        .all(|(number, part)| *part < 60 && (*part >= 10 || number.leading_zero) && number.digits == 2);
    let hours = match half {
        Some(_) => (0..=24).contains(&parts[0]),
        None => definite || parts[0] <= 24,
    };
    let length = if half.is_some() { 1..=3 } else { 2..=3 };
    (minutes && hours && length.contains(&parts.len())).then_some(Clock { parts, definite, half, unit })
}

fn whole(number: &Number) -> Option<u32> {
    if number.decimals > 0 || !number.value.is_int() {
        return None;
    }
    u32::try_from(number.value.numerator().clone()).ok().filter(|value| *value <= 100_000)
}

/// Whether two times or durations are the same. With AM or PM on one side only it is undecided, unless they differ anyhow.
pub(in crate::maths) fn equal(left: &Clock, right: &Clock) -> Equality {
    match (left.half, right.half) {
        (Some(_), Some(_)) => decided(left.time_of_day() == right.time_of_day()),
        (Some(_), None) => half_missing(left, right),
        (None, Some(_)) => half_missing(right, left),
        (None, None) if left.parts == right.parts => match Unit::compare(left.unit.as_ref(), right.unit.as_ref()) {
            Units::Agree => Equality::Equal,
            Units::Differ => Equality::Different,
            Units::Unclear => Equality::Undecided,
        },
        (None, None) => {
            let ratio = !left.definite && !right.definite && proportional(&left.parts, &right.parts);
            let as_midnight = |clock: &Clock| (clock.parts[0] % 24, clock.parts[1..].to_vec());
            let midnight = as_midnight(left) == as_midnight(right);
            // 1:30 may be 1:30:00, and 0:01:30.
            let lengths = left.parts.len() != right.parts.len()
                && left.durations().iter().any(|one| right.durations().contains(one));
            unclear(ratio || midnight || lengths)
        }
    }
}

/// Against a ratio that is not a clock time.
pub(in crate::maths) fn against_ratio(clock: &Clock, ratio: &[Expression], budget: &Budget) -> Equality {
    let values: Option<Vec<RBig>> = ratio.iter().map(|part| exact::value(part, &[], budget).ok()).collect();
    let Some(values) = values else { return Equality::Undecided };
    let parts: Vec<RBig> = clock.parts.iter().map(|part| RBig::from(*part)).collect();
    let scaled = parts.len() == values.len()
        && parts.iter().zip(&values).all(|(part, value)| part * &values[0] == value * &parts[0]);
    unclear(parts == values || (!clock.definite && scaled))
}

/// Against a number: it may be the hours, the minutes or the seconds, or a ratio's value.
pub(in crate::maths) fn against_number(clock: &Clock, number: &Expression, budget: &Budget) -> Equality {
    let Ok(value) = exact::value(number, &[], budget) else { return Equality::Undecided };
    let ratio = match clock.parts[..] {
        [over, under] if !clock.definite && under > 0 => value == RBig::from_parts(over.into(), under.into()),
        _ => false,
    };
    let sizes = clock.durations();
    let is_size = sizes.iter().any(|seconds| {
        [1u32, 60, 3600].into_iter().any(|unit| value == RBig::from_parts((*seconds).into(), unit.into()))
    });
    unclear(ratio || is_size)
}

fn half_missing(with: &Clock, without: &Clock) -> Equality {
    let (time, mut other) = (with.time_of_day(), without.time_of_day());
    if without.parts[0] >= 13 || without.parts[0] == 0 {
        return decided(time == other);
    }
    other.0 = other.0 % 12 + if time.0 >= 12 { 12 } else { 0 };
    unclear(time == other)
}

impl Clock {
    /// Hours, minutes and seconds from midnight.
    fn time_of_day(&self) -> (u32, u32, u32) {
        let part = |index: usize| self.parts.get(index).copied().unwrap_or(0);
        let hours = match (self.half, part(0)) {
            (Some(Half::Am), 12) => 0,
            (Some(Half::Pm), hours) if hours < 12 => hours + 12,
            (_, hours) => hours % 24,
        };
        (hours, part(1), part(2))
    }

    /// In seconds, for each reading.
    fn durations(&self) -> Vec<u64> {
        let seconds = self.parts.iter().fold(0, |sum, part| sum * 60 + u64::from(*part));
        match self.parts.len() {
            1 => vec![seconds * 3600],
            2 => vec![seconds, seconds * 60],
            _ => vec![seconds],
        }
    }
}

fn proportional(left: &[u32], right: &[u32]) -> bool {
    let product = |one: u32, other: u32| u64::from(one) * u64::from(other);
    left.len() == right.len()
        && left.iter().zip(right).all(|(one, other)| product(*one, right[0]) == product(*other, left[0]))
}

fn decided(same: bool) -> Equality {
    if same { Equality::Equal } else { Equality::Different }
}

fn unclear(perhaps: bool) -> Equality {
    if perhaps { Equality::Undecided } else { Equality::Different }
}
