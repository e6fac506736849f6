//! Whether two answers as a whole are the same: shape by shape, with `scalar` for the values in them. If a shape was not
//! understood, the result is undecided and never a guess.
//!
//! `compare`, `reals` and `relation` call each other, as answers contain answers: the bounds of a set and the sides of a relation are
//! compared by the rule for whole answers, and whole answers may be sets or relations.

use super::reals;
use super::relation;
use super::scalar;
use super::wording;
use crate::maths::Equality;
use crate::maths::reading::answer::{Answer, SetOperation};
use crate::maths::reading::clock;
use crate::maths::reading::quantity::Quantity;
use crate::maths::reading::token::Bracket;
use crate::maths::values::exact::{self, Budget};
use crate::maths::values::expression::Expression;
use crate::maths::values::number::Number;
use crate::maths::values::unit::{self, Unit, Units};
use dashu_ratio::RBig;

/// Longer unordered collections are compared in order only.
const MAX_UNORDERED: usize = 24;

/// Whether two answers are the same. If a part was not understood, they are not different.
pub(in crate::maths) fn equal(left: &Answer, right: &Answer, budget: &Budget) -> Equality {
    match understood(left, right, budget) {
        Equality::Different if left.has_unread() || right.has_unread() => Equality::Undecided,
        equality => equality,
    }
}

fn understood(left: &Answer, right: &Answer, budget: &Budget) -> Equality {
    if (reals::is_set(left) || reals::is_set(right))
        && !matches!(left, Answer::List(_))
        && !matches!(right, Answer::List(_))
        && let (Some(left), Some(right)) = (reals::region(left, budget), reals::region(right, budget))
    {
        return reals::equal(&left, &right, budget);
    }
    match (left, right) {
        (Answer::Unread, _) | (_, Answer::Unread) => Equality::Undecided,
        (Answer::Relation { sides, signs }, Answer::Relation { sides: other_sides, signs: other_signs }) => {
            relation::equal((sides, signs), (other_sides, other_signs), budget)
        }
        (Answer::Relation { sides, signs }, other) => relation::unwrapped(sides, signs, other, budget),
        (other, Answer::Relation { sides, signs }) => relation::unwrapped(sides, signs, other, budget),
        (Answer::Set(items) | Answer::List(items), other) if items.len() == 1 && !is_collection(other) => {
            equal(&items[0], other, budget)
        }
        (other, Answer::Set(items) | Answer::List(items)) if items.len() == 1 && !is_collection(other) => {
            equal(other, &items[0], budget)
        }
        (Answer::Quantity(left), Answer::Quantity(right)) => quantities(left, right, budget),
        (Answer::Text(left), Answer::Text(right)) => wording::equal(left, right),
        (Answer::Text(text), Answer::Quantity(quantity)) | (Answer::Quantity(quantity), Answer::Text(text)) => {
            wording::against(text, quantity)
        }
        (Answer::Text(text), _) | (_, Answer::Text(text)) if wording::is_open(text) => Equality::Undecided,
        // "2 m and 20 cm" may list two answers.
        (Answer::Quantity(Quantity { compound: true, .. }), Answer::List(_))
        | (Answer::List(_), Answer::Quantity(Quantity { compound: true, .. })) => Equality::Undecided,
        (
            Answer::List(named),
            Answer::List(items)
            | Answer::Set(items)
            | Answer::Sequence { items, open: Bracket::Round, close: Bracket::Round },
        )
        | (
            Answer::List(items)
            | Answer::Set(items)
            | Answer::Sequence { items, open: Bracket::Round, close: Bracket::Round },
            Answer::List(named),
        ) if relation::names(named).is_some() && relation::names(items).is_none() => {
            let is_set = matches!(left, Answer::Set(_)) || matches!(right, Answer::Set(_));
            by_name(named, items, is_set, budget)
        }
        (Answer::Set(left), Answer::Set(right)) => sets(left, right, budget),
        (Answer::List(left) | Answer::Set(left), Answer::List(right) | Answer::Set(right)) => {
            match unordered(left, right, budget) {
                // A value that is written twice may be two equal ones, or a repetition.
                Equality::Different if sets(left, right, budget) != Equality::Different => Equality::Undecided,
                equality => equality,
            }
        }
        (Answer::Joined { join, parts }, Answer::Joined { join: other_join, parts: other }) => {
            joined(*join, parts, *other_join, other, budget)
        }
        // Such a set is not a known set of numbers.
        (Answer::Joined { .. } | Answer::Where(_), _) | (_, Answer::Joined { .. } | Answer::Where(_)) => {
            match (reals::region(left, budget), reals::region(right, budget)) {
                (Some(left), Some(right)) => reals::equal(&left, &right, budget),
                _ => Equality::Undecided,
            }
        }
        (Answer::Clock(left), Answer::Clock(right)) => clock::equal(left, right),
        (Answer::Clock(clock), Answer::Ratio(parts)) | (Answer::Ratio(parts), Answer::Clock(clock)) => {
            match expressions(parts) {
                Some(parts) => clock::against_ratio(clock, &parts, budget),
                None => Equality::Undecided,
            }
        }
        (Answer::Clock(clock), Answer::Quantity(other)) | (Answer::Quantity(other), Answer::Clock(clock)) => {
            clock::against_number(clock, &other.expression, budget)
        }
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
        // In square brackets a program writes its lists, and a mathematician an interval.
        (
            Answer::Sequence { open: Bracket::Square, close: Bracket::Square, items },
            Answer::List(other) | Answer::Set(other),
        )
        | (
            Answer::List(other) | Answer::Set(other),
            Answer::Sequence { open: Bracket::Square, close: Bracket::Square, items },
        ) if unordered(items, other, budget) != Equality::Different => Equality::Undecided,
        // A column may be written as a tuple; whether that was required is unknown here.
        (Answer::Matrix(_), Answer::Sequence { .. }) | (Answer::Sequence { .. }, Answer::Matrix(_)) => {
            Equality::Undecided
        }
        _ => Equality::Different,
    }
}

fn is_collection(answer: &Answer) -> bool {
    matches!(answer, Answer::Set(_) | Answer::List(_) | Answer::Sequence { .. } | Answer::Joined { .. })
}

/// An interval is open at infinity, whatever bracket was written.
fn end(bracket: Bracket, item: Option<&Answer>) -> Bracket {
    match item {
        Some(Answer::Quantity(quantity)) if quantity.expression.contains(&Expression::Infinity) => Bracket::Round,
        _ => bracket,
    }
}

fn quantities(left: &Quantity, right: &Quantity, budget: &Budget) -> Equality {
    if let Some(equality) = in_bases(&left.expression, &right.expression, budget) {
        return equality;
    }
    let units = Unit::compare(left.unit.as_ref(), right.unit.as_ref());
    if let (Units::Differ, Some(one), Some(other)) = (units, &left.unit, &right.unit) {
        return converted((&left.expression, one), (&right.expression, other), budget);
    }
    let same = match (left.percent, right.percent) {
        (true, false) => percentage(&left.expression, &right.expression, budget),
        (false, true) => percentage(&right.expression, &left.expression, budget),
        _ => scalar::equal(&left.expression, &right.expression, budget),
    };
    match (same, units) {
        (Equality::Equal, Units::Unclear) => Equality::Undecided,
        // "1h30" against 1.5 or 90, which do not name a unit.
        (Equality::Equal | Equality::Different, _) if is_part_of(left, right) || is_part_of(right, left) => {
            Equality::Undecided
        }
        (Equality::Different, _) if is_rounding(left, right, budget) || is_rounding(right, left, budget) => {
            Equality::Undecided
        }
        // 180° and π are the same angle, if π is an angle.
        (Equality::Different, _) if is_angle(left, right, budget) || is_angle(right, left, budget) => {
            Equality::Undecided
        }
        (Equality::Different, _) if is_option_and_value(left, right) || is_option_and_value(right, left) => {
            Equality::Undecided
        }
        (Equality::Different, _) if is_antiderivative(&left.expression, &right.expression, budget) => {
            Equality::Undecided
        }
        _ => same,
    }
}

/// The letter of an option against what may be its value: the options are unknown here.
fn is_option_and_value(letter: &Quantity, value: &Quantity) -> bool {
    let mut names = Vec::new();
    value.expression.symbols(&mut names);
    names.is_empty() && matches!(&letter.expression, Expression::Symbol(name) if wording::is_option(name))
}

/// Whether a number without a unit is a quantity that was written in several, in any unit of its kind.
fn is_part_of(number: &Quantity, compound: &Quantity) -> bool {
    let (Some(unit), Ok(number), Ok(value)) = (
        compound.unit.as_ref().filter(|_| compound.compound && number.unit.is_none()),
        exact::value(&number.expression, &[], &Budget::new()),
        exact::value(&compound.expression, &[], &Budget::new()),
    ) else {
        return false;
    };
    let Some((dimension, size)) = unit::size(unit) else { return false };
    unit::sizes(dimension).any(|other| &number * other == &value * &size)
}

/// Whether both are a sum with a constant of integration, such as x² + C and x² + 1 + K, and differ by a constant.
fn is_antiderivative(left: &Expression, right: &Expression, budget: &Budget) -> bool {
    match (without_constant(left), without_constant(right)) {
        (Some(left), Some(right)) => scalar::differ_by_constant(&left, &right, budget) != Equality::Different,
        _ => false,
    }
}

/// A sum without the symbol that is added to it and occurs nowhere else in it.
fn without_constant(expression: &Expression) -> Option<Expression> {
    let Expression::Sum(terms) = expression else { return None };
    let is_constant = |name: &str| matches!(name, "C" | "K" | "c" | "k" | "C_1" | "c_1" | "C_0" | "c_0");
    let at = terms.iter().rposition(|term| matches!(term, Expression::Symbol(name) if is_constant(name)))?;
    let rest: Vec<Expression> =
        terms.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, term)| term.clone()).collect();
    let mut names = Vec::new();
    rest.iter().for_each(|term| term.symbols(&mut names));
    (!names.is_empty() && !rest.iter().any(|term| term.contains(&terms[at]))).then_some(Expression::Sum(rest))
}

/// "about 3.14" may stand for a value that rounds to it; it need not be the number itself.
fn is_rounding(rounded: &Quantity, other: &Quantity, budget: &Budget) -> bool {
    rounded.approximate && scalar::rounds_as_written(&rounded.expression, &other.expression, budget)
}

fn is_angle(degrees: &Quantity, radians: &Quantity, budget: &Budget) -> bool {
    let in_degrees = degrees.unit.as_ref().is_some_and(|unit| unit.is("degree"));
    let in_radians = radians.unit.as_ref().is_none_or(|unit| unit.is("radian"));
    let part = Expression::Number(Number::exact(dashu_ratio::RBig::from_parts(1.into(), 180u8.into())));
    let angle = Expression::Product(vec![degrees.expression.clone(), Expression::Pi, part]);
    in_degrees && in_radians && scalar::equal(&angle, &radians.expression, budget) == Equality::Equal
}

/// Quantities in two different known units: 1 m is 100 cm. If no factor is known between them, the same number means different
/// quantities, and different numbers might mean the same.
fn converted(left: (&Expression, &Unit), right: (&Expression, &Unit), budget: &Budget) -> Equality {
    match (unit::size(left.1), unit::size(right.1)) {
        (Some((dimension, size)), Some((other, other_size))) if dimension == other => {
            // Which size of the calorie is meant is unknown.
            let lefts: Vec<_> = std::iter::once(size).chain(unit::other_sizes(left.1)).collect();
            let rights: Vec<_> = std::iter::once(other_size).chain(unit::other_sizes(right.1)).collect();
            let pairs = lefts.iter().flat_map(|size| rights.iter().map(move |other| (size, other)));
            let mut found = pairs.map(|(size, other)| rescaled((left.0, size), (right.0, other), budget));
            match found.next() {
                Some(Equality::Different) | None if found.any(|found| found != Equality::Different) => {
                    Equality::Undecided
                }
                usual => usual.unwrap_or(Equality::Different),
            }
        }
        // The size of cups and related units depends on the country.
        (Some((one, _)), Some((other, _))) if [one, other].contains(&"cups") && [one, other].contains(&"volume") => {
            Equality::Undecided
        }
        (Some(_), Some(_)) => Equality::Different,
        _ if is_angle_pair(left.1, right.1) => Equality::Undecided,
        _ => match scalar::equal(left.0, right.0, budget) {
            Equality::Different => Equality::Undecided,
            Equality::Equal => Equality::Different,
            Equality::Undecided => Equality::Undecided,
        },
    }
}

/// Whether two quantities are the same whose units have these sizes.
fn rescaled(left: (&Expression, &RBig), right: (&Expression, &RBig), budget: &Budget) -> Equality {
    // Each in the unit of the other, which it may have been rounded to: 1 mile is about 1.61 km.
    let times = |expression: &Expression, factor| {
        Expression::Product(vec![expression.clone(), Expression::Number(Number::exact(factor))])
    };
    let forth = scalar::equal(&times(left.0, left.1 / right.1), right.0, budget);
    let back = scalar::equal(left.0, &times(right.0, right.1 / left.1), budget);
    let found = [Equality::Equal, Equality::Undecided].into_iter().find(|found| forth == *found || back == *found);
    found.unwrap_or(Equality::Different)
}

fn is_angle_pair(left: &Unit, right: &Unit) -> bool {
    left.is("degree") && right.is("radian") || left.is("radian") && right.is("degree")
}

/// Numbers with a base as their index. In the same base they are numbers; 101₂ and 5 are the same number, but a question for one of
/// them does not accept the other. `None` if neither has a base.
fn in_bases(left: &Expression, right: &Expression, budget: &Budget) -> Option<Equality> {
    let decide = |same: bool, plain: Equality| if same { plain } else { Equality::Different };
    Some(match (based(left), based(right)) {
        (None, None) => return None,
        (Some((value, base)), Some((other, other_base))) => {
            let if_same = if base == other_base { Equality::Equal } else { Equality::Undecided };
            decide(value == other, if_same)
        }
        (Some((value, _)), None) => decide(exact::value(right, &[], budget) == Ok(value), Equality::Undecided),
        (None, Some((value, _))) => decide(exact::value(left, &[], budget) == Ok(value), Equality::Undecided),
    })
}

fn based(expression: &Expression) -> Option<(dashu_ratio::RBig, u32)> {
    let Expression::Symbol(name) = expression else { return None };
    let (digits, base) = name.split_once('_')?;
    let digits = match digits.strip_prefix('#') {
        Some(digits) => digits,
        None => Some(digits).filter(|digits| digits.chars().all(|digit| digit.is_ascii_digit()))?,
    };
    let base: u32 = base.parse().ok().filter(|base| (2..=16).contains(base))?;
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    let value = is_number.then(|| dashu_int::UBig::from_str_radix(digits, base).ok())??;
    Some((value.into(), base))
}

/// 44% is 0.44, and may also be the 44 that answers "how many percent?".
fn percentage(percent: &Expression, other: &Expression, budget: &Budget) -> Equality {
    let hundredth = Expression::Number(Number::exact(dashu_ratio::RBig::from_parts(1.into(), 100u8.into())));
    let share = match percent {
        Expression::Number(number) => Expression::Number(Number {
            value: &number.value / dashu_int::UBig::from(100u8),
            decimals: number.decimals + 2,
            ..number.clone()
        }),
        other => Expression::Product(vec![other.clone(), hundredth]),
    };
    match (scalar::equal(percent, other, budget), scalar::equal(&share, other, budget)) {
        (_, Equality::Equal) => Equality::Equal,
        (Equality::Equal | Equality::Undecided, _) | (_, Equality::Undecided) => Equality::Undecided,
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
pub(in crate::maths) fn all(parts: impl Iterator<Item = Equality>) -> Equality {
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

/// Each of the one must be in the other: how often it is written makes no difference.
fn sets(left: &[Answer], right: &[Answer], budget: &Budget) -> Equality {
    if left.len() == right.len() && unordered(left, right, budget) == Equality::Equal {
        return Equality::Equal;
    }
    if left.len().max(right.len()) > MAX_UNORDERED {
        return Equality::Undecided;
    }
    let within = |items: &[Answer], others: &[Answer]| {
        all(items.iter().map(|item| {
            let found: Vec<Equality> = others.iter().map(|other| equal(item, other, budget)).collect();
            match (found.contains(&Equality::Equal), found.contains(&Equality::Undecided)) {
                (true, _) => Equality::Equal,
                (false, true) => Equality::Undecided,
                (false, false) => Equality::Different,
            }
        }))
    };
    all([within(left, right), within(right, left)].into_iter())
}

/// x = 1, y = 2 against 1, 2: the same in the order of names, unclear in any other.
fn by_name(named: &[Answer], items: &[Answer], is_set: bool, budget: &Budget) -> Equality {
    let in_order = relation::names(named).is_some_and(|names| names.is_sorted());
    match ordered(named, items, budget) {
        Equality::Equal if in_order && !is_set => Equality::Equal,
        _ if unordered(named, items, budget) == Equality::Different => Equality::Different,
        _ => Equality::Undecided,
    }
}

/// Joined sets of which not all is known: the same if they are the same part by part, else undecided.
fn joined(
    join: SetOperation,
    left: &[Answer],
    other_join: SetOperation,
    right: &[Answer],
    budget: &Budget,
) -> Equality {
    let same = match join {
        SetOperation::Difference => ordered(left, right, budget),
        _ => unordered(left, right, budget),
    };
    if join == other_join && same == Equality::Equal { Equality::Equal } else { Equality::Undecided }
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

/// Ratios are equal part by part or up to a factor.
fn ratios(left: &[Answer], right: &[Answer], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    if ordered(left, right, budget) == Equality::Equal {
        return Equality::Equal;
    }
    let (Some(first), Some(second)) = (expressions(left), expressions(right)) else { return Equality::Undecided };
    let crossed = |left: &Expression, right: &Expression| Expression::Product(vec![left.clone(), right.clone()]);
    // With 0 everywhere 1:0 and 2:3 would be the same.
    let is_zero = |part: &Expression| exact::value(part, &[], budget).is_ok_and(|value| value.is_zero());
    if is_zero(&first[0]) || is_zero(&second[0]) {
        return Equality::Undecided;
    }
    all(first
        .iter()
        .zip(&second)
        .map(|(left, right)| scalar::equal(&crossed(left, &second[0]), &crossed(right, &first[0]), budget)))
}

/// The parts of a ratio, where each is a plain number or expression.
fn expressions(parts: &[Answer]) -> Option<Vec<Expression>> {
    let expression = |part: &Answer| match part {
        Answer::Quantity(Quantity { expression, percent: false, unit: None, .. }) => Some(expression.clone()),
        _ => None,
    };
    parts.iter().map(expression).collect()
}

fn matrices(left: &[Vec<Answer>], right: &[Vec<Answer>], budget: &Budget) -> Equality {
    if left.len() != right.len() {
        return Equality::Different;
    }
    all(left.iter().zip(right).map(|(left, right)| ordered(left, right, budget)))
}

/// The expression of an answer that is one quantity, or gives a name to one.
pub(in crate::maths) fn number(answer: &Answer) -> Option<&Expression> {
    match answer {
        Answer::Quantity(quantity) if quantity.compound => None,
        Answer::Quantity(quantity) => Some(&quantity.expression),
        Answer::Relation { sides, signs } => match relation::assigned(sides, signs) {
            Some((_, Answer::Quantity(quantity))) => Some(&quantity.expression),
            _ => None,
        },
        _ => None,
    }
}
