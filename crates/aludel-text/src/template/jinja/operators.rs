//! Python's operators on values. The engine's own compare and join what Python refuses to; rewritten templates call
//! these instead.

use std::cmp::Ordering;

use minijinja::value::{Rest, Tuple, ValueKind};
use minijinja::{Environment, Error, Value};

use super::budget::{spend, spend_items};
use super::format::printf;
use super::items::{Kind, iterate, kind, list};
use super::nesting::{check_key, is_same};
use super::print::text_of;
use super::wrong;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_function("__fold", fold);
    environment.add_function("__compare", compare);
    environment.add_function("__neg", |value: Value| match kind(&value) {
        Kind::Integer | Kind::Float => {
            arithmetic("-", Value::from(0), &value).map(|result| match result.is_integer() {
                true => result,
                false => f64::try_from(value).map_or(result, |number| Value::from(-number)),
            })
        }
        _ => Err(impossible("-", &value, &value)),
    });
}

fn name(value: &Value) -> &'static str {
    match kind(value) {
        Kind::Undefined => "an undefined value",
        Kind::None => "none",
        Kind::Integer | Kind::Float => "a number",
        Kind::Text => "text",
        Kind::List => "a list",
        Kind::Tuple => "a tuple",
        Kind::Map => "a mapping",
        Kind::Other => "an object",
    }
}

fn impossible(operator: &str, left: &Value, right: &Value) -> Error {
    wrong(format!("`{operator}` cannot take {} and {}", name(left), name(right)))
}

/// `first op value op value …`, from left to right.
fn fold(first: Value, rest: Rest<Value>) -> Result<Value, Error> {
    let mut result = first;
    for pair in rest.chunks_exact(2) {
        let operator = pair[0].as_str().unwrap_or_default();
        result = apply(operator, result, &pair[1])?;
    }
    Ok(result)
}

pub(super) fn apply(operator: &str, left: Value, right: &Value) -> Result<Value, Error> {
    match (operator, kind(&left), kind(right)) {
        ("~", _, _) => {
            let (left, right) = (text_of(&left)?, text_of(right)?);
            spend(left.len() + right.len())?;
            Ok(Value::from(left + &right))
        }
        ("+", Kind::Text, Kind::Text) => {
            let (a, b) = (left.as_str().unwrap_or_default(), right.as_str().unwrap_or_default());
            spend(a.len() + b.len())?;
            Ok(match (left.is_safe(), right.is_safe()) {
                (false, false) => Value::from([a, b].concat()),
                (true, true) => Value::from_safe_string([a, b].concat()),
                (true, false) => Value::from_safe_string([a, &super::texts::escape(b)].concat()),
                (false, true) => Value::from_safe_string([&super::texts::escape(a), b].concat()),
            })
        }
        ("+", Kind::List, Kind::List) | ("+", Kind::Tuple, Kind::Tuple) => {
            let (mut items, more) = (list(&left)?, list(right)?);
            spend_items(more.len())?;
            items.extend(more);
            Ok(if kind(right) == Kind::Tuple { Value::from(Tuple::from(items)) } else { Value::from(items) })
        }
        ("*", Kind::Text, Kind::Integer) => repeat_text(&left, right),
        ("*", Kind::Integer, Kind::Text) => repeat_text(right, &left),
        ("*", Kind::List | Kind::Tuple, Kind::Integer) => repeat_items(&left, right),
        ("*", Kind::Integer, Kind::List | Kind::Tuple) => repeat_items(right, &left),
        ("%", Kind::Text, _) => {
            let escaped = if left.is_safe() && right.as_str().is_some() && !right.is_safe() {
                Some(Value::from(super::texts::escape(right.as_str().unwrap_or_default())))
            } else {
                None
            };
            let text = printf(left.as_str().unwrap_or_default(), escaped.as_ref().unwrap_or(right))?;
            Ok(if left.is_safe() { Value::from_safe_string(text) } else { Value::from(text) })
        }
        (_, Kind::Integer | Kind::Float, Kind::Integer | Kind::Float) => arithmetic(operator, left, right),
        _ => Err(impossible(operator, &left, right)),
    }
}

fn times(count: &Value) -> Result<usize, Error> {
    let count = integer(count).ok_or_else(|| wrong("a number of repetitions is too large"))?;
    Ok(usize::try_from(count.max(0)).unwrap_or(usize::MAX))
}

fn repeat_text(text: &Value, count: &Value) -> Result<Value, Error> {
    let (content, count) = (text.as_str().unwrap_or_default(), times(count)?);
    let repeated = super::budget::repeated(content, count)?;
    Ok(if text.is_safe() { Value::from_safe_string(repeated) } else { Value::from(repeated) })
}

fn repeat_items(items: &Value, count: &Value) -> Result<Value, Error> {
    let (list, count) = (list(items)?, times(count)?);
    let total = list.len().saturating_mul(count);
    spend_items(total)?;
    let mut repeated = Vec::with_capacity(total);
    for _ in 0..if list.is_empty() { 0 } else { count } {
        repeated.extend(list.iter().cloned());
    }
    Ok(if kind(items) == Kind::Tuple { Value::from(Tuple::from(repeated)) } else { Value::from(repeated) })
}

/// An integer; a boolean counts as one.
pub(super) fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(value.is_true().into()),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<f64> {
    integer(value).map(|number| number as f64).or_else(|| f64::try_from(value.clone()).ok())
}

fn arithmetic(operator: &str, left: Value, right: &Value) -> Result<Value, Error> {
    let too_large = || wrong(format!("the result of `{operator}` is too large"));
    let by_zero = || wrong(format!("`{operator}` by zero"));
    if let (Kind::Integer, Kind::Integer) = (kind(&left), kind(right)) {
        let (Some(a), Some(b)) = (integer(&left), integer(right)) else { return Err(too_large()) };
        let floored = |a: i128, b: i128| {
            let quotient = a.checked_div(b)?;
            Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        };
        let result = match operator {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            "//" | "%" | "/" if b == 0 => return Err(by_zero()),
            "//" => floored(a, b),
            "%" => floored(a, b).and_then(|quotient| a.checked_sub(quotient.checked_mul(b)?)),
            "**" if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            "**" if a == 0 => return Err(by_zero()),
            "**" => return Ok(Value::from((a as f64).powf(b as f64))),
            _ => return Ok(Value::from(a as f64 / b as f64)),
        };
        return result.map(whole).ok_or_else(too_large);
    }
    let (Some(a), Some(b)) = (number(&left), number(right)) else { return Err(too_large()) };
    let result = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" | "//" | "%" if b == 0.0 => return Err(by_zero()),
        "/" => a / b,
        "//" => divided(a, b).0,
        "%" => divided(a, b).1,
        _ if a == 0.0 && b < 0.0 => return Err(by_zero()),
        _ if a < 0.0 && b.fract() != 0.0 => return Err(wrong("`**` of a negative number gives a complex one here")),
        _ => {
            let result = a.powf(b);
            if result.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(too_large());
            }
            result
        }
    };
    Ok(Value::from(result))
}

/// An integer as the engine holds it.
pub(super) fn whole(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

/// Python's quotient and remainder of floats: the remainder has the divisor's sign.
fn divided(a: f64, b: f64) -> (f64, f64) {
    let mut remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder == 0.0 {
        remainder = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (remainder < 0.0) {
        remainder += b;
        quotient -= 1.0;
    }
    let floored = if quotient == 0.0 {
        0.0_f64.copysign(a / b)
    } else if quotient - quotient.floor() > 0.5 {
        quotient.floor() + 1.0
    } else {
        quotient.floor()
    };
    (floored, remainder)
}

/// `first op value op value …`, where each neighbouring pair must hold.
fn compare(first: Value, rest: Rest<Value>) -> Result<bool, Error> {
    let mut left = first;
    for pair in rest.chunks_exact(2) {
        if !holds(pair[0].as_str().unwrap_or_default(), &left, &pair[1])? {
            return Ok(false);
        }
        left = pair[1].clone();
    }
    Ok(true)
}

/// Whether a comparison holds.
pub(super) fn holds(operator: &str, left: &Value, right: &Value) -> Result<bool, Error> {
    Ok(match operator {
        "==" => is_same(left, right)?,
        "!=" => !is_same(left, right)?,
        "in" => is_in(left, right)?,
        "not in" => !is_in(left, right)?,
        "<" => order("<", left, right)?.is_some_and(Ordering::is_lt),
        "<=" => order("<=", left, right)?.is_some_and(Ordering::is_le),
        ">" => order(">", left, right)?.is_some_and(Ordering::is_gt),
        _ => order(">=", left, right)?.is_some_and(Ordering::is_ge),
    })
}

/// The order of two values; none for NaN.
///
/// # Errors
/// Values of kinds that Python does not order.
pub(super) fn order(operator: &str, left: &Value, right: &Value) -> Result<Option<Ordering>, Error> {
    match (kind(left), kind(right)) {
        (Kind::Integer, Kind::Integer) => Ok(integer(left).partial_cmp(&integer(right))),
        (Kind::Integer | Kind::Float, Kind::Integer | Kind::Float) => {
            Ok(number(left).zip(number(right)).and_then(|(a, b)| a.partial_cmp(&b)))
        }
        (Kind::Text, Kind::Text) => {
            let (left, right) = (left.as_str().unwrap_or_default(), right.as_str().unwrap_or_default());
            spend(left.len().min(right.len()))?;
            Ok(left.partial_cmp(right))
        }
        (Kind::List, Kind::List) | (Kind::Tuple, Kind::Tuple) => {
            let (left, right) = (list(left)?, list(right)?);
            for (a, b) in left.iter().zip(&right) {
                if !is_same(a, b)? {
                    return order(operator, a, b);
                }
            }
            Ok(Some(left.len().cmp(&right.len())))
        }
        _ => Err(impossible(operator, left, right)),
    }
}

fn is_in(item: &Value, container: &Value) -> Result<bool, Error> {
    match kind(container) {
        Kind::Text => match item.as_str() {
            Some(part) => {
                let text = container.as_str().unwrap_or_default();
                spend(text.len() + part.len())?;
                Ok(text.contains(part))
            }
            None => Err(impossible("in", item, container)),
        },
        Kind::Map => {
            if matches!(kind(item), Kind::List | Kind::Map) {
                return Err(impossible("in", item, container));
            }
            check_key(item)?;
            is_among(item, &iterate(container)?)
        }
        Kind::List | Kind::Tuple | Kind::Undefined => is_among(item, &iterate(container)?),
        Kind::Other if container.kind() == ValueKind::Iterable => is_among(item, &iterate(container)?),
        _ => Err(impossible("in", item, container)),
    }
}

fn is_among(item: &Value, others: &[Value]) -> Result<bool, Error> {
    for other in others {
        if is_same(item, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}
