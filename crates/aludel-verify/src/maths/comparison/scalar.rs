//! Whether two expressions have the same value: as written, as exact fractions, else to several hundred bits; with symbols, at
//! points that depend only on their names. Nothing is simplified.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use crate::maths::Equality;
use crate::maths::values::exact::{self, Budget, NoValue, Point};
use crate::maths::values::expression::{Expression, Function};
use crate::maths::values::number::Number;
use crate::maths::values::real::{Domain, Evaluator, PRECISIONS};

/// The number of points, and how many of them must have a value on both sides.
const POINTS: u64 = 20;
const POINTS_NEEDED: usize = 3;

/// Whether two expressions are equal.
pub(in crate::maths) fn equal(left: &Expression, right: &Expression, budget: &Budget) -> Equality {
    if left == right {
        return Equality::Equal;
    }
    if left.contains(&Expression::Infinity) || right.contains(&Expression::Infinity) {
        return match (infinity_sign(left), infinity_sign(right)) {
            (Some(left), Some(right)) if left == right => Equality::Equal,
            (None, _) if left.contains(&Expression::Infinity) => Equality::Undecided,
            (_, None) if right.contains(&Expression::Infinity) => Equality::Undecided,
            _ => Equality::Different,
        };
    }
    let mut names = Vec::new();
    left.symbols(&mut names);
    right.symbols(&mut names);
    if names.is_empty() {
        return match compare_at(left, right, &[], Domain::Complex, budget) {
            Ok(true) => Equality::Equal,
            Ok(false) => match (rounding(left, right, budget), rounding(right, left, budget)) {
                (Equality::Equal, _) | (_, Equality::Equal) => Equality::Equal,
                (Equality::Undecided, _) | (_, Equality::Undecided) => Equality::Undecided,
                _ => Equality::Different,
            },
            Err(_) => Equality::Undecided,
        };
    }
    match at_points(&names, |point| compare_at(left, right, point, Domain::Real, budget)) {
        Equality::Equal if have_other_domains(left, right, &names, budget) => Equality::Undecided,
        Equality::Different if agree_at_integers(left, right, &names, budget) => Equality::Undecided,
        equality => equality,
    }
}

/// Whether one has a value at a point where the other has none, as √x·√x and x have. Factorials and binomials are defined for
/// integers alone, and are not compared in this way.
fn have_other_domains(left: &Expression, right: &Expression, names: &[&str], budget: &Budget) -> bool {
    if left.is_discrete() || right.is_discrete() {
        return false;
    }
    let has_value = |expression: &Expression, point: &Point<'_>| match exact::value(expression, point, budget) {
        Err(NoValue::Irrational) => {
            Evaluator::new(PRECISIONS[0], Domain::Real, point, budget).value(expression).map(|_| ())
        }
        other => other.map(|_| ()),
    };
    let differs = |point: &Point<'_>| {
        let found = (has_value(left, point), has_value(right, point));
        matches!(found, (Ok(()), Err(NoValue::Undefined)) | (Err(NoValue::Undefined), Ok(())))
    };
    (0..POINTS).any(|index| differs(&point(names, index)))
}

/// Whether two agree wherever n, k or m is a whole number, which is not said: (−1)^{2n} and 1.
fn agree_at_integers(left: &Expression, right: &Expression, names: &[&str], budget: &Budget) -> bool {
    let is_integer = |name: &str| matches!(name, "n" | "k" | "m" | "N" | "j");
    if !names.iter().any(|name| is_integer(name)) {
        return false;
    }
    let (mut agreed, mut names) = (0, names.to_vec());
    names.sort_unstable();
    for index in 0..POINTS {
        let whole = |name: &&str| coordinate(name, index % 4) + RBig::from(index / 4);
        let sign = |rank: usize| if (index >> rank.min(2)) % 2 == 1 { -RBig::ONE } else { RBig::ONE };
        let value = |(rank, name): (usize, &&str)| match is_integer(name) {
            true => whole(name) * sign(rank),
            false => coordinate(name, index) * sign(rank),
        };
        let point: Vec<(&str, RBig)> =
            names.iter().enumerate().map(|(rank, name)| (*name, value((rank, name)))).collect();
        match compare_at(left, right, &point, Domain::Real, budget) {
            Ok(true) => agreed += 1,
            Ok(false) => return false,
            Err(_) => {}
        }
    }
    agreed >= POINTS_NEEDED
}

/// Whether two expressions with symbols differ by nothing but a constant: what they differ by has the same value wherever it is taken.
pub(super) fn differ_by_constant(left: &Expression, right: &Expression, budget: &Budget) -> Equality {
    let difference = Expression::Sum(vec![left.clone(), right.clone().negated()]);
    let elsewhere = difference.renamed(&|name| format!("{name} elsewhere"));
    equal(&difference, &elsewhere, budget)
}

/// Whether one expression is the other times a constant, which may have to be positive.
pub(in crate::maths) fn proportional(
    left: &Expression,
    right: &Expression,
    positive: bool,
    budget: &Budget,
) -> Equality {
    let mut names = Vec::new();
    left.symbols(&mut names);
    right.symbols(&mut names);
    if names.is_empty() {
        return Equality::Undecided;
    }
    let mut factor: Option<RBig> = None;
    at_points(&names, |point| {
        let left = exact::value(left, point, budget)?;
        let right = exact::value(right, point, budget)?;
        if right.is_zero() || left.is_zero() {
            return if left == right { Err(NoValue::Undefined) } else { Ok(false) };
        }
        let ratio = left / right;
        let sign_fits = !positive || ratio > RBig::ZERO;
        Ok(sign_fits && *factor.get_or_insert_with(|| ratio.clone()) == ratio)
    })
}

/// Which of two real constants is smaller; `None` if they have no real value, or if it is undecided.
pub(in crate::maths) fn order(left: &Expression, right: &Expression, budget: &Budget) -> Option<Ordering> {
    if let (Ok(left), Ok(right)) = (exact::value(left, &[], budget), exact::value(right, &[], budget)) {
        return Some(left.cmp(&right));
    }
    let difference = Expression::Sum(vec![left.clone(), right.clone().negated()]);
    let zero = Expression::integer(0);
    if compare_at(left, right, &[], Domain::Real, budget).ok()? {
        return Some(Ordering::Equal);
    }
    let mut evaluator = Evaluator::new(PRECISIONS[1], Domain::Real, &[], budget);
    let difference = evaluator.value(&difference).ok()?;
    let zero = evaluator.value(&zero).ok()?;
    difference.order(&zero)
}

fn point<'a>(names: &[&'a str], index: u64) -> Vec<(&'a str, RBig)> {
    let mut names = names.to_vec();
    names.sort_unstable();
    let place = |(rank, name): (usize, &'a str)| {
        let size = coordinate(name, index);
        (name, if is_negative(name, rank, index) { -size } else { size })
    };
    names.into_iter().enumerate().map(place).collect()
}

fn at_points(names: &[&str], mut holds: impl FnMut(&Point<'_>) -> Result<bool, NoValue>) -> Equality {
    let mut agreed = 0;
    for index in 0..POINTS {
        let point = point(names, index);
        match holds(&point) {
            Ok(true) => agreed += 1,
            Ok(false) => return Equality::Different,
            Err(_) => {}
        }
    }
    if agreed >= POINTS_NEEDED { Equality::Equal } else { Equality::Undecided }
}

/// Whether a symbol is negative at a point. The first four go through all combinations of signs within the last 16 points, so
/// that |x| is never taken for x, nor |xy| for xy.
fn is_negative(name: &str, rank: usize, index: u64) -> bool {
    match rank {
        _ if index < 4 => false,
        0..=3 => ((index - 4) >> rank) % 2 == 1,
        _ => blake3::hash(format!("{index} {name}").as_bytes()).as_bytes()[0].is_multiple_of(2),
    }
}

/// The size of a number, which depends only on the symbol's name and the point's index. The first four are integers, so that
/// factorials and powers have values; the last eight lie within the domain of √(1 − x²).
fn coordinate(name: &str, index: u64) -> RBig {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&index.to_le_bytes()).update(name.as_bytes());
    let bytes = hasher.finalize();
    let pick = |at: usize, from: u32, to: u32| {
        let number = u32::from_le_bytes([bytes.as_bytes()[at], bytes.as_bytes()[at + 1], 0, 0]);
        from + number % (to - from)
    };
    let under = pick(2, 2, 14);
    match index {
        0..=3 => RBig::from(pick(0, 2, 40)),
        4..=11 => RBig::from_parts(pick(0, 1, 97).into(), under.into()),
        _ => RBig::from_parts(pick(0, 1, under.max(2)).into(), under.into()),
    }
}

/// Whether both have the same value at a point.
fn compare_at(
    left: &Expression,
    right: &Expression,
    point: &Point<'_>,
    domain: Domain,
    budget: &Budget,
) -> Result<bool, NoValue> {
    match (exact::value(left, point, budget), exact::value(right, point, budget)) {
        (Ok(left), Ok(right)) => return Ok(left == right),
        (Err(stop @ (NoValue::Undefined | NoValue::TooLarge)), _)
        | (_, Err(stop @ (NoValue::Undefined | NoValue::TooLarge))) => {
            return Err(stop);
        }
        _ => {}
    }
    let mut differences = [0; 2];
    let mut scale = 0;
    let mut lost = false;
    for (difference, precision) in differences.iter_mut().zip(PRECISIONS) {
        let mut evaluator = Evaluator::new(precision, domain, point, budget);
        let (left, right) = (evaluator.value(left)?, evaluator.value(right)?);
        *difference = evaluator.subtract(&left, &right)?.magnitude();
        scale = left.magnitude().max(right.magnitude());
        lost |= precision == PRECISIONS[0] && evaluator.lost_a_term();
    }
    let [low, high] = differences;
    let vanishes = high == isize::MIN || high <= scale.saturating_sub(400) || high <= low.saturating_sub(128);
    // What was too small to be added may be the very difference.
    if vanishes && lost { Err(NoValue::TooLarge) } else { Ok(vanishes) }
}

/// Compares a decimal with another value that rounds to it at its last place: the same from six places and six digits on (0.333333
/// stands for 1/3); undecided from three digits on, if the value is not a decimal itself (3.14 may be all that was required of π);
/// else different.
fn rounding(decimal: &Expression, value: &Expression, budget: &Budget) -> Equality {
    let Some((number, _)) = decimal_of(decimal) else { return Equality::Different };
    let written = decimal_of(value).map_or(0, |(other, _)| other.decimals);
    let is_longer = written == 0 || written >= number.decimals;
    let found = match (number.is_rounded() && is_longer, number.may_be_rounded() && written == 0) {
        (true, _) => Equality::Equal,
        (false, true) => Equality::Undecided,
        (false, false) => return Equality::Different,
    };
    if rounds_as_written(decimal, value, budget) { found } else { Equality::Different }
}

/// Whether `value` rounds to `decimal` at its last written place.
pub(super) fn rounds_as_written(decimal: &Expression, value: &Expression, budget: &Budget) -> bool {
    let Some((number, negative)) = decimal_of(decimal) else { return false };
    let half_unit = RBig::from_parts(1.into(), dashu_int::UBig::from(10u8).pow(number.decimals) * 2u8);
    let decimal = if negative { -number.value.clone() } else { number.value.clone() };
    is_within(value, &Expression::Number(Number::exact(decimal)), &half_unit, &RBig::ZERO, budget) == Some(true)
}

/// A number as it is written, and whether a minus stands before it.
fn decimal_of(expression: &Expression) -> Option<(&Number, bool)> {
    match expression {
        Expression::Number(number) => Some((number, false)),
        Expression::Product(factors) => match factors.as_slice() {
            [minus, Expression::Number(number)] if *minus == Expression::integer(-1) => Some((number, true)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether two real constants are no further apart than `absolute + relative · |right|`; `None` if that is undecided.
pub(in crate::maths) fn is_within(
    left: &Expression,
    right: &Expression,
    absolute: &RBig,
    relative: &RBig,
    budget: &Budget,
) -> Option<bool> {
    // A share of infinity would include every number.
    if infinity_sign(right).is_some() {
        return None;
    }
    let fixed = Expression::Number(Number::exact(absolute.clone()));
    let share = Expression::Number(Number::exact(relative.clone()));
    let size = Expression::Call(Function::Abs, Box::new(right.clone()));
    let (low, high) = if order(left, right, budget)?.is_le() { (left, right) } else { (right, left) };
    let limit = Expression::Sum(vec![low.clone(), fixed, Expression::Product(vec![share, size])]);
    Some(order(high, &limit, budget)?.is_le())
}

/// Whether an expression is ∞ (true) or −∞.
pub(super) fn infinity_sign(expression: &Expression) -> Option<bool> {
    match expression {
        Expression::Infinity => Some(true),
        Expression::Product(factors) => match factors.as_slice() {
            [minus, Expression::Infinity] if *minus == Expression::integer(-1) => Some(false),
            _ => None,
        },
        _ => None,
    }
}
