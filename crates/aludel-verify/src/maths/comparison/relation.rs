//! Equations, inequalities and assignments: the value that they assign to a name, and whether two of them are equivalent. An
//! inequality becomes an interval; sets are compared in `reals`.

use super::compare;
use super::scalar;
use crate::maths::Equality;
use crate::maths::reading::answer::{self, Answer};
use crate::maths::reading::quantity::Quantity;
use crate::maths::reading::token::Bracket;
use crate::maths::values::exact::Budget;
use crate::maths::values::expression::Expression;

/// The value that a relation assigns to a name: the 3 in x = 3, and the last side of a calculation such as 1 + 2 = 3.
pub(super) fn assigned<'a>(sides: &'a [Answer], signs: &[char]) -> Option<(&'a Answer, &'a Answer)> {
    let (first, last) = (sides.first()?, sides.last()?);
    let equality = signs.iter().all(|sign| matches!(sign, '=' | '≈'));
    let membership = signs == ['∈'];
    match (equality || membership, is_name(first), is_constant(first)) {
        // 3 = x says the same as x = 3.
        (true, false, true) if equality && signs.len() == 1 && is_name(last) => Some((last, first)),
        (true, true, _) | (true, _, true) => Some((first, last)),
        _ => None,
    }
}

/// The names in a list of assignments, if they are not all the same: x = 1, y = 2.
pub(in crate::maths) fn names(items: &[Answer]) -> Option<Vec<String>> {
    let name = |item: &Answer| match item {
        Answer::Relation { sides, signs } if signs.iter().all(|sign| matches!(sign, '=' | '≈')) => {
            match sides.first()? {
                Answer::Text(text) => Some(text.clone()),
                side => symbol(side).map(str::to_string),
            }
        }
        _ => None,
    };
    let names: Option<Vec<String>> = items.iter().map(name).collect();
    names.filter(|names| names.windows(2).any(|pair| pair[0] != pair[1]))
}

/// x, f(x), "the area", (x, y).
fn is_name(answer: &Answer) -> bool {
    match answer {
        Answer::Text(_) => true,
        Answer::Quantity(quantity) => is_name_expression(&quantity.expression),
        Answer::Sequence { items, .. } => items.iter().all(is_name),
        _ => false,
    }
}

fn is_name_expression(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) => true,
        // f(x) reads as a product of symbols.
        Expression::Product(factors) => factors.iter().all(|factor| matches!(factor, Expression::Symbol(_))),
        _ => false,
    }
}

fn is_constant(answer: &Answer) -> bool {
    let Answer::Quantity(quantity) = answer else { return false };
    let mut names = Vec::new();
    quantity.expression.symbols(&mut names);
    names.is_empty()
}

/// A relation against another shape.
pub(super) fn unwrapped(sides: &[Answer], signs: &[char], other: &Answer, budget: &Budget) -> Equality {
    if let Some(values) = calculation(sides, signs) {
        return match is_consistent(&values, budget) {
            true if values.iter().any(|value| compare::equal(value, other, budget) == Equality::Equal) => {
                Equality::Equal
            }
            true => compare::equal(values[values.len() - 1], other, budget),
            false => Equality::Undecided,
        };
    }
    if let Some((_, value)) = assigned(sides, signs) {
        return compare::equal(value, other, budget);
    }
    match (interval(sides, signs), other) {
        (Some((_, interval)), Answer::Sequence { .. }) => compare::equal(&interval, other, budget),
        (_, Answer::Quantity(_) | Answer::Text(_) | Answer::Clock(_)) => Equality::Different,
        _ => Equality::Undecided,
    }
}

/// The constants of a chain such as 1 + 2 = 3 or √10 ≈ 3.16, also behind a name.
fn calculation<'a>(sides: &'a [Answer], signs: &[char]) -> Option<Vec<&'a Answer>> {
    let equality = signs.iter().all(|sign| matches!(sign, '=' | '≈'));
    let values = match sides.first() {
        Some(first) if sides.len() > 2 && is_name(first) => &sides[1..],
        _ => sides,
    };
    let constants = values.len() > 1 && values.iter().all(is_constant);
    (equality && constants).then(|| values.iter().collect())
}

/// Whether each value of a chain is the one before it, or its rounding as far as it is written.
fn is_consistent(values: &[&Answer], budget: &Budget) -> bool {
    values.windows(2).all(|pair| {
        let [Answer::Quantity(before), Answer::Quantity(after)] = pair else { return false };
        compare::equal(pair[0], pair[1], budget) == Equality::Equal
            || scalar::rounds_as_written(&after.expression, &before.expression, budget)
            || scalar::rounds_as_written(&before.expression, &after.expression, budget)
    })
}

pub(in crate::maths) fn equal(left: (&[Answer], &[char]), right: (&[Answer], &[char]), budget: &Budget) -> Equality {
    // a = b and b = a are one equation, whatever a and b are.
    if let (([first, second], [sign @ ('=' | '≠')]), ([other, another], [same])) = (left, right)
        && sign == same
        && compare::equal(first, another, budget) == Equality::Equal
        && compare::equal(second, other, budget) == Equality::Equal
    {
        return Equality::Equal;
    }
    if let (Some((name, value)), Some((other_name, other_value))) =
        (assigned(left.0, left.1), assigned(right.0, right.1))
    {
        let same_name = is_constant(name) || is_constant(other_name) || name == other_name;
        let same = compare::equal(value, other_value, budget);
        if same_name || same != Equality::Equal {
            return if same_name { same } else { by_difference(left, right, budget).unwrap_or(Equality::Different) };
        }
        return match is_constant(value) {
            true => Equality::Different,
            // y = 2x and f(x) = 2x may be the same function.
            false => match by_difference(left, right, budget) {
                Some(Equality::Equal) => Equality::Equal,
                _ => Equality::Undecided,
            },
        };
    }
    if let (Some((name, span)), Some((other_name, other_span))) = (interval(left.0, left.1), interval(right.0, right.1))
    {
        return if name == other_name { compare::equal(&span, &other_span, budget) } else { Equality::Different };
    }
    by_difference(left, right, budget).unwrap_or(Equality::Undecided)
}

/// Relations of two sides are the same if the differences of their sides are, up to a factor.
fn by_difference(left: (&[Answer], &[char]), right: (&[Answer], &[char]), budget: &Budget) -> Option<Equality> {
    let (left, left_sign) = difference(left)?;
    let (right, right_sign) = difference(right)?;
    if left_sign != right_sign {
        return Some(Equality::Different);
    }
    // An equation may be multiplied by anything but 0, an inequality would turn around.
    let positive = !matches!(left_sign, '=' | '≠');
    Some(scalar::proportional(&left, &right, positive, budget))
}

/// The difference of two sides, with > turned into <.
fn difference((sides, signs): (&[Answer], &[char])) -> Option<(Expression, char)> {
    let ([Answer::Quantity(first), Answer::Quantity(second)], [sign]) = (sides, signs) else { return None };
    let (first, second) = (first.expression.clone(), second.expression.clone());
    let (low, high, sign) = match sign {
        '>' => (second, first, '<'),
        '≥' => (second, first, '≤'),
        other => (first, second, *other),
    };
    Some((Expression::Sum(vec![low, high.negated()]), sign))
}

/// The interval that inequalities give to one symbol: x < 3, 1 < x ≤ 2, 2 ≥ x.
pub(in crate::maths) fn interval<'a>(sides: &'a [Answer], signs: &[char]) -> Option<(&'a str, Answer)> {
    if !answer::is_inequality(signs) {
        return None;
    }
    let bracket = |sign: char| if matches!(sign, '≤' | '≥') { Bracket::Square } else { Bracket::Round };
    let rises = |sign: char| matches!(sign, '<' | '≤');
    let infinity = || Answer::Quantity(Quantity::plain(Expression::Infinity));
    let minus_infinity = || Answer::Quantity(Quantity::plain(Expression::Infinity.negated()));
    let between = |open, low: Answer, high: Answer, close| Answer::Sequence { open, close, items: vec![low, high] };
    match (sides, signs) {
        ([first, second], [sign]) => {
            let (name, bound, rises) = match (symbol(first), symbol(second)) {
                (Some(name), None) => (name, second, rises(*sign)),
                (None, Some(name)) => (name, first, !rises(*sign)),
                _ => return None,
            };
            is_constant(bound).then(|| match rises {
                true => (name, between(Bracket::Round, minus_infinity(), bound.clone(), bracket(*sign))),
                false => (name, between(bracket(*sign), bound.clone(), infinity(), Bracket::Round)),
            })
        }
        ([first, middle, last], [left, right]) if rises(*left) == rises(*right) => {
            let name = symbol(middle)?;
            if !is_constant(first) || !is_constant(last) {
                return None;
            }
            Some(match rises(*left) {
                true => (name, between(bracket(*left), first.clone(), last.clone(), bracket(*right))),
                false => (name, between(bracket(*right), last.clone(), first.clone(), bracket(*left))),
            })
        }
        _ => None,
    }
}

/// The name of an answer that is one symbol.
pub(in crate::maths) fn symbol(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Quantity(Quantity { expression: Expression::Symbol(name), unit: None, percent: false, .. }) => {
            Some(name)
        }
        _ => None,
    }
}
