//! Whether two expressions have the same value: as written, as exact fractions, else to several hundred bits; with
//! symbols, at points that depend on nothing but their names. Nothing is simplified.

use dashu_ratio::RBig;

use super::Equality;
use super::exact::{self, Budget, Point, Stop};
use super::expression::Expression;
use super::real::{Domain, Evaluator, PRECISIONS};

/// Points that are tried, and how many must have a value on both sides.
const POINTS: u64 = 12;
const POINTS_NEEDED: usize = 3;

/// Whether two expressions are equal.
pub(super) fn equal(left: &Expression, right: &Expression, budget: &Budget) -> Equality {
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
            Ok(false) if rounds_to(left, right, budget) || rounds_to(right, left, budget) => Equality::Equal,
            Ok(false) => Equality::Different,
            Err(_) => Equality::Undecided,
        };
    }
    at_points(&names, |point| compare_at(left, right, point, Domain::Real, budget))
}

/// Whether one expression is the other times a constant, which may have to be positive.
pub(super) fn proportional(left: &Expression, right: &Expression, positive: bool, budget: &Budget) -> Equality {
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
            return if left == right { Err(Stop::Undefined) } else { Ok(false) };
        }
        let ratio = left / right;
        let sign_fits = !positive || ratio > RBig::ZERO;
        Ok(sign_fits && *factor.get_or_insert_with(|| ratio.clone()) == ratio)
    })
}

fn at_points(names: &[&str], mut holds: impl FnMut(&Point<'_>) -> Result<bool, Stop>) -> Equality {
    let mut agreed = 0;
    for index in 0..POINTS {
        let point: Vec<(&str, RBig)> = names.iter().map(|name| (*name, coordinate(name, index))).collect();
        match holds(&point) {
            Ok(true) => agreed += 1,
            Ok(false) => return Equality::Different,
            Err(_) => {}
        }
    }
    if agreed >= POINTS_NEEDED { Equality::Equal } else { Equality::Undecided }
}

/// A number that hangs on the symbol's name and the point's index alone. The first four are positive whole numbers,
/// so that factorials and powers have values; the last four lie within the domain of √(1 − x²).
fn coordinate(name: &str, index: u64) -> RBig {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&index.to_le_bytes()).update(name.as_bytes());
    let bytes = hasher.finalize();
    let pick = |at: usize, from: u32, to: u32| {
        let number = u32::from_le_bytes([bytes.as_bytes()[at], bytes.as_bytes()[at + 1], 0, 0]);
        from + number % (to - from)
    };
    let under = pick(2, 2, 14);
    let value = match index {
        0..=3 => RBig::from(pick(0, 2, 40)),
        4..=7 => RBig::from_parts(pick(0, 1, 97).into(), under.into()),
        _ => RBig::from_parts(pick(0, 1, under.max(2)).into(), under.into()),
    };
    if index >= 4 && bytes.as_bytes()[4].is_multiple_of(2) { -value } else { value }
}

/// Whether both have the same value at a point.
fn compare_at(
    left: &Expression,
    right: &Expression,
    point: &Point<'_>,
    domain: Domain,
    budget: &Budget,
) -> Result<bool, Stop> {
    match (exact::value(left, point, budget), exact::value(right, point, budget)) {
        (Ok(left), Ok(right)) => return Ok(left == right),
        (Err(stop @ (Stop::Undefined | Stop::TooLarge)), _) | (_, Err(stop @ (Stop::Undefined | Stop::TooLarge))) => {
            return Err(stop);
        }
        _ => {}
    }
    let mut differences = [0; 2];
    let mut scale = 0;
    for (difference, precision) in differences.iter_mut().zip(PRECISIONS) {
        let mut evaluator = Evaluator::new(precision, domain, point, budget);
        let (left, right) = (evaluator.value(left)?, evaluator.value(right)?);
        *difference = evaluator.subtract(&left, &right)?.magnitude();
        scale = left.magnitude().max(right.magnitude());
    }
    let [low, high] = differences;
    let vanishes = high == isize::MIN || high <= scale.saturating_sub(400) || high <= low.saturating_sub(128);
    Ok(vanishes)
}

/// Whether `decimal` is a decimal of six places or more to which `value` rounds: 0.333333 stands for 1/3.
fn rounds_to(decimal: &Expression, value: &Expression, budget: &Budget) -> bool {
    let (number, negative) = match decimal {
        Expression::Number(number) => (number, false),
        Expression::Product(factors) => match factors.as_slice() {
            [minus, Expression::Number(number)] if *minus == Expression::integer(-1) => (number, true),
            _ => return false,
        },
        _ => return false,
    };
    if !number.is_rounded()
        || matches!(value, Expression::Number(other) if other.decimals > 0 && other.decimals < number.decimals)
    {
        return false;
    }
    let half_unit = RBig::from_parts(1.into(), dashu_int::UBig::from(10u8).pow(number.decimals) * 2u8);
    let sign = if negative { -RBig::ONE } else { RBig::ONE };
    let decimal = &number.value * sign;
    if let Ok(value) = exact::value(value, &[], budget) {
        let difference = value - decimal;
        return difference <= half_unit && -difference <= half_unit;
    }
    let mut evaluator = Evaluator::new(PRECISIONS[0], Domain::Complex, &[], budget);
    let difference = evaluator
        .value(value)
        .and_then(|value| evaluator.subtract(&value, &evaluator.rational(&decimal)?))
        .and_then(|difference| evaluator.at_most(&difference, &half_unit));
    difference.unwrap_or(false)
}

/// The nearest float to a real constant.
pub(super) fn approximate(expression: &Expression, budget: &Budget) -> Result<f64, Stop> {
    if let Ok(value) = exact::value(expression, &[], budget) {
        return Ok(value.to_f64().value());
    }
    let mut evaluator = Evaluator::new(PRECISIONS[0], Domain::Real, &[], budget);
    Ok(evaluator.value(expression)?.to_f64())
}

fn infinity_sign(expression: &Expression) -> Option<bool> {
    match expression {
        Expression::Infinity => Some(true),
        Expression::Product(factors) => match factors.as_slice() {
            [minus, Expression::Infinity] if *minus == Expression::integer(-1) => Some(false),
            _ => None,
        },
        _ => None,
    }
}
