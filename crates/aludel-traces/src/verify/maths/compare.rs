//! Whether two answers as a whole are the same: shape by shape, with `scalar` for the values inside them. Where a shape
//! was not understood, the result is undecided and never a guess.

use super::Equality;
use super::answer::{self, Answer, Quantity};
use super::exact::{Budget, Stop};
use super::expression::Expression;
use super::lexer::Bracket;
use super::number::Number;
use super::scalar;
use super::unit::{Unit, Units};

/// Longer unordered collections are compared in order only.
const MAX_UNORDERED: usize = 24;

/// Whether two answers are the same.
pub(super) fn equal(left: &Answer, right: &Answer, budget: &Budget) -> Equality {
    match (left, right) {
        (Answer::Unread, _) | (_, Answer::Unread) => Equality::Undecided,
        (Answer::Relation { sides, signs }, Answer::Relation { sides: other_sides, signs: other_signs }) => {
            relations((sides, signs), (other_sides, other_signs), budget)
        }
        (Answer::Relation { sides, signs }, other) => unwrapped(sides, signs, other, budget),
        (other, Answer::Relation { sides, signs }) => unwrapped(sides, signs, other, budget),
        (Answer::Set(items) | Answer::List(items), other) if items.len() == 1 && !is_collection(other) => {
            equal(&items[0], other, budget)
        }
        (other, Answer::Set(items) | Answer::List(items)) if items.len() == 1 && !is_collection(other) => {
            equal(other, &items[0], budget)
        }
        (Answer::Quantity(left), Answer::Quantity(right)) => quantities(left, right, budget),
        (Answer::Text(left), Answer::Text(right)) => decided(left == right),
        (Answer::Text(text), Answer::Quantity(quantity)) | (Answer::Quantity(quantity), Answer::Text(text)) => {
            text_and_quantity(text, quantity)
        }
        (Answer::List(left) | Answer::Set(left), Answer::List(right) | Answer::Set(right))
        | (Answer::Union(left), Answer::Union(right)) => unordered(left, right, budget),
        // Several values without brackets are a tuple if the other side says so.
        (Answer::List(items), Answer::Sequence { open: Bracket::Round, close: Bracket::Round, items: other })
        | (Answer::Sequence { open: Bracket::Round, close: Bracket::Round, items: other }, Answer::List(items)) => {
            ordered(items, other, budget)
        }
        (
            Answer::Sequence { open, close, items },
            Answer::Sequence { open: other_open, close: other_close, items: other },
        ) => {
            let ends = |open, close, items: &[Answer]| (end(open, items.first()), end(close, items.last()));
            match ends(*open, *close, items) == ends(*other_open, *other_close, other) {
                true => ordered(items, other, budget),
                false => Equality::Different,
            }
        }
        (Answer::Ratio(left), Answer::Ratio(right)) => ratios(left, right, budget),
        (Answer::Ratio(parts), Answer::Quantity(other)) | (Answer::Quantity(other), Answer::Ratio(parts)) => {
            let one = Answer::Quantity(Quantity::plain(Expression::integer(1)));
            ratios(parts, &[Answer::Quantity(other.clone()), one], budget)
        }
        (Answer::Matrix(left), Answer::Matrix(right)) => matrices(left, right, budget),
        // A column may be written as a tuple; whether that was asked for is not known here.
        (Answer::Matrix(_), Answer::Sequence { .. }) | (Answer::Sequence { .. }, Answer::Matrix(_)) => {
            Equality::Undecided
        }
        _ => Equality::Different,
    }
}

fn decided(same: bool) -> Equality {
    if same { Equality::Equal } else { Equality::Different }
}

fn is_collection(answer: &Answer) -> bool {
    matches!(answer, Answer::Set(_) | Answer::List(_) | Answer::Sequence { .. } | Answer::Union(_))
}

/// An interval is open at infinity, whatever bracket was written.
fn end(bracket: Bracket, item: Option<&Answer>) -> Bracket {
    match item {
        Some(Answer::Quantity(quantity)) if quantity.expression.contains(&Expression::Infinity) => Bracket::Round,
        _ => bracket,
    }
}

fn quantities(left: &Quantity, right: &Quantity, budget: &Budget) -> Equality {
    let units = Unit::compare(left.unit.as_ref(), right.unit.as_ref());
    let same = match (left.percent, right.percent) {
        (true, false) => percentage(&left.expression, &right.expression, budget),
        (false, true) => percentage(&right.expression, &left.expression, budget),
        _ => scalar::equal(&left.expression, &right.expression, budget),
    };
    match (same, units) {
        (Equality::Equal, Units::Differ) => Equality::Different,
        (Equality::Equal, Units::Unclear) => Equality::Undecided,
        _ => same,
    }
}

/// 44% is 0.44, and is also the 44 that answers "how many percent?".
fn percentage(percent: &Expression, other: &Expression, budget: &Budget) -> Equality {
    let hundredth = Expression::Number(Number {
        value: dashu_ratio::RBig::from_parts(1.into(), 100u8.into()),
        ..Number::integer(0)
    });
    let share = match percent {
        Expression::Number(number) => Expression::Number(Number {
            value: &number.value / dashu_int::UBig::from(100u8),
            decimals: number.decimals + 2,
            significant: number.significant,
        }),
        other => Expression::Product(vec![other.clone(), hundredth]),
    };
    match scalar::equal(percent, other, budget) {
        Equality::Equal => Equality::Equal,
        _ => scalar::equal(&share, other, budget),
    }
}

fn text_and_quantity(text: &str, quantity: &Quantity) -> Equality {
    match &quantity.expression {
        Expression::Symbol(name) => decided(name.to_lowercase() == text),
        Expression::Euler => decided(text == "e"),
        Expression::Imaginary => decided(text == "i"),
        _ => Equality::Different,
    }
}

fn ordered(left: &[Answer], right: &[Answer], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    all(left.iter().zip(right).map(|(left, right)| equal(left, right, budget)))
}

/// Different if any is, else undecided if any is.
fn all(parts: impl Iterator<Item = Equality>) -> Equality {
    let mut result = Equality::Equal;
    for part in parts {
        match part {
            Equality::Different => return Equality::Different,
            Equality::Undecided => result = Equality::Undecided,
            Equality::Equal => {}
        }
    }
    result
}

/// Each of the left must have a partner of its own on the right.
fn unordered(left: &[Answer], right: &[Answer], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    let in_order = ordered(left, right, budget);
    if in_order == Equality::Equal || left.len() > MAX_UNORDERED {
        return if in_order == Equality::Different { Equality::Undecided } else { in_order };
    }
    let mut free: Vec<&Answer> = right.iter().collect();
    let mut result = Equality::Equal;
    for item in left {
        let found: Vec<Equality> = free.iter().map(|other| equal(item, other, budget)).collect();
        if let Some(index) = found.iter().position(|equality| *equality == Equality::Equal) {
            free.swap_remove(index);
        } else if found.contains(&Equality::Undecided) {
            result = Equality::Undecided;
        } else {
            return Equality::Different;
        }
    }
    result
}

/// Ratios are equal part by part or up to a factor; but 3:15 and 6:30 may also be times of day.
fn ratios(left: &[Answer], right: &[Answer], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    if ordered(left, right, budget) == Equality::Equal {
        return Equality::Equal;
    }
    let expressions = |parts: &[Answer]| -> Option<Vec<Expression>> {
        let expression = |part: &Answer| match part {
            Answer::Quantity(quantity) => Some(quantity.expression.clone()),
            _ => None,
        };
        parts.iter().map(expression).collect()
    };
    let (Some(first), Some(second)) = (expressions(left), expressions(right)) else { return Equality::Undecided };
    let crossed = |left: &Expression, right: &Expression| Expression::Product(vec![left.clone(), right.clone()]);
    let pairs = first.iter().zip(&second);
    let same =
        all(pairs.map(|(left, right)| scalar::equal(&crossed(left, &second[0]), &crossed(right, &first[0]), budget)));
    match same {
        Equality::Equal if is_clock(&first) || is_clock(&second) => Equality::Undecided,
        _ => same,
    }
}

fn is_clock(parts: &[Expression]) -> bool {
    let between = |part: &Expression, low: i64, high: i64| match part {
        Expression::Number(number) => (low.into()..high.into()).contains(&number.value),
        _ => false,
    };
    matches!(parts, [hours, minutes] if between(hours, 0, 25) && between(minutes, 10, 60))
}

fn matrices(left: &[Vec<Answer>], right: &[Vec<Answer>], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    all(left.iter().zip(right).map(|(left, right)| ordered(left, right, budget)))
}

/// The value that a relation gives to a name: the 3 in x = 3, and the last side of a calculation such as 1 + 2 = 3.
fn assigned<'a>(sides: &'a [Answer], signs: &[char]) -> Option<(&'a Answer, &'a Answer)> {
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

/// A relation against what is none.
fn unwrapped(sides: &[Answer], signs: &[char], other: &Answer, budget: &Budget) -> Equality {
    if let Some((_, value)) = assigned(sides, signs) {
        return equal(value, other, budget);
    }
    match (interval(sides, signs), other) {
        (Some((_, interval)), Answer::Sequence { .. }) => equal(&interval, other, budget),
        (Some(_), Answer::Unread | Answer::Union(_)) => Equality::Undecided,
        (None, Answer::Sequence { .. } | Answer::Union(_)) => Equality::Undecided,
        _ => Equality::Different,
    }
}

fn relations(left: (&[Answer], &[char]), right: (&[Answer], &[char]), budget: &Budget) -> Equality {
    if let (Some((name, value)), Some((other_name, other_value))) =
        (assigned(left.0, left.1), assigned(right.0, right.1))
    {
        let same_name = is_constant(name) || is_constant(other_name) || name == other_name;
        let same = equal(value, other_value, budget);
        if same_name || same != Equality::Equal {
            return if same_name { same } else { by_difference(left, right, budget).unwrap_or(Equality::Different) };
        }
        return match is_constant(value) {
            true => Equality::Different,
            false => by_difference(left, right, budget).unwrap_or(Equality::Undecided),
        };
    }
    if let (Some((name, span)), Some((other_name, other_span))) = (interval(left.0, left.1), interval(right.0, right.1))
    {
        return if name == other_name { equal(&span, &other_span, budget) } else { Equality::Different };
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
fn interval<'a>(sides: &'a [Answer], signs: &[char]) -> Option<(&'a str, Answer)> {
    if !answer::is_inequality(signs) {
        return None;
    }
    let symbol = |answer: &'a Answer| match answer {
        Answer::Quantity(Quantity { expression: Expression::Symbol(name), .. }) => Some(name.as_str()),
        _ => None,
    };
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

/// The value of an answer that is a plain number, as a float.
pub(super) fn number(answer: &Answer, budget: &Budget) -> Result<f64, Stop> {
    match answer {
        Answer::Quantity(quantity) => scalar::approximate(&quantity.expression, budget),
        Answer::Relation { sides, signs } => match assigned(sides, signs) {
            Some((_, value @ Answer::Quantity(_))) => number(value, budget),
            _ => Err(Stop::Undefined),
        },
        _ => Err(Stop::Undefined),
    }
}
