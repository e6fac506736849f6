//! Sets of real numbers: intervals, points, conditions on one symbol, and their unions, intersections and differences, in one
//! normal form in which equal sets are the same. Other contents of braces are compared in `compare`.

use std::cmp::Ordering;

use super::compare;
use super::relation;
use super::scalar;
use crate::maths::Equality;
use crate::maths::reading::answer::{self, Answer, SetOperation};
use crate::maths::reading::quantity::Quantity;
use crate::maths::reading::token::Bracket;
use crate::maths::values::exact::Budget;
use crate::maths::values::expression::Expression;

/// A set of real numbers, as its boundaries on the line, from left to right.
#[derive(Clone, Debug)]
struct Reals {
    /// Whether it reaches to −∞.
    from_start: bool,
    cuts: Vec<Cut>,
}

/// Directly before or after a number.
#[derive(Clone, Debug)]
struct Cut {
    place: Expression,
    behind: bool,
}

/// A set, and the symbol of its condition, if it was written as one.
#[derive(Clone, Debug)]
pub(super) struct Region {
    name: Option<String>,
    set: Reals,
}

/// Whether an answer can only be a set: a tuple may be an interval, but need not be one.
pub(super) fn is_set(answer: &Answer) -> bool {
    match answer {
        Answer::Set(_) | Answer::Joined { .. } | Answer::Where(_) => true,
        Answer::Relation { signs, .. } => answer::is_inequality(signs) || matches!(signs.as_slice(), ['≠' | '∈' | '∉']),
        Answer::Quantity(quantity) => is_real_line(quantity),
        Answer::Text(text) => is_all(text) || is_none(text),
        _ => false,
    }
}

/// The set that an answer stands for; `None` if it is not a set of real constants, or its boundaries cannot be ordered.
pub(super) fn region(answer: &Answer, budget: &Budget) -> Option<Region> {
    let unnamed = |set| Some(Region { name: None, set });
    match answer {
        Answer::Set(items) | Answer::List(items) => unnamed(points(items, budget)?),
        Answer::Sequence { open, close, items } => unnamed(interval(*open, *close, items, budget)?),
        Answer::Quantity(quantity) if is_real_line(quantity) => unnamed(Reals::all()),
        Answer::Text(text) if is_all(text) => unnamed(Reals::all()),
        Answer::Text(text) if is_none(text) => unnamed(Reals::none()),
        Answer::Relation { sides, signs } => condition(sides, signs, budget),
        Answer::Where(inner) => unnamed(region(inner, budget)?.set),
        Answer::Joined { join, parts } => joined(*join, parts, budget),
        _ => None,
    }
}

/// Whether two sets are the same. Conditions on two different symbols are not.
pub(in crate::maths) fn equal(left: &Region, right: &Region, budget: &Budget) -> Equality {
    if let (Some(left), Some(right)) = (&left.name, &right.name)
        && left != right
    {
        return Equality::Different;
    }
    let (left, right) = (&left.set, &right.set);
    if left.from_start != right.from_start || left.cuts.len() != right.cuts.len() {
        return Equality::Different;
    }
    compare::all(left.cuts.iter().zip(&right.cuts).map(|(left, right)| match left.behind == right.behind {
        true => scalar::equal(&left.place, &right.place, budget),
        false => Equality::Different,
    }))
}

impl Reals {
    fn none() -> Reals {
        Reals { from_start: false, cuts: Vec::new() }
    }

    fn all() -> Reals {
        Reals { from_start: true, cuts: Vec::new() }
    }

    fn point(place: &Expression) -> Reals {
        let cut = |behind| Cut { place: place.clone(), behind };
        Reals { from_start: false, cuts: vec![cut(false), cut(true)] }
    }

    fn complement(self) -> Reals {
        Reals { from_start: !self.from_start, cuts: self.cuts }
    }

    fn is_none(&self) -> bool {
        !self.from_start && self.cuts.is_empty()
    }

    fn is_all(&self) -> bool {
        self.from_start && self.cuts.is_empty()
    }

    /// Combines two sets by `holds`, which decides from membership in either, boundary by boundary.
    fn merged(&self, other: &Reals, holds: fn(bool, bool) -> bool, budget: &Budget) -> Option<Reals> {
        let (mut here, mut there) = (self.from_start, other.from_start);
        let mut merged = Reals { from_start: holds(here, there), cuts: Vec::new() };
        let (mut left, mut right) = (self.cuts.iter().peekable(), other.cuts.iter().peekable());
        let mut inside = merged.from_start;
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Some(merged),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(first), Some(second)) => {
                    let places = scalar::order(&first.place, &second.place, budget)?;
                    places.then(first.behind.cmp(&second.behind))
                }
            };
            let mut cut = None;
            if order.is_le() {
                here = !here;
                cut = left.next();
            }
            if order.is_ge() {
                there = !there;
                cut = right.next().or(cut);
            }
            if holds(here, there) != inside {
                inside = !inside;
                merged.cuts.extend(cut.cloned());
            }
        }
    }

    /// Merges all by halves: long sets then take few passes.
    fn union(sets: &[Reals], budget: &Budget) -> Option<Reals> {
        match sets {
            [] => Some(Reals::none()),
            [one] => Some(one.clone()),
            _ => {
                let (left, right) = sets.split_at(sets.len() / 2);
                Reals::union(left, budget)?.merged(&Reals::union(right, budget)?, |a, b| a || b, budget)
            }
        }
    }
}

/// A plain number or infinity as a bound; `None` for symbols, percentages and units.
fn place(answer: &Answer) -> Option<&Expression> {
    match answer {
        Answer::Quantity(Quantity { expression, percent: false, unit: None, .. }) => {
            let mut names = Vec::new();
            expression.symbols(&mut names);
            names.is_empty().then_some(expression)
        }
        _ => None,
    }
}

fn points(items: &[Answer], budget: &Budget) -> Option<Reals> {
    let points: Option<Vec<Reals>> = items
        .iter()
        .map(|item| place(item).filter(|place| !place.contains(&Expression::Infinity)).map(Reals::point))
        .collect();
    let points = points?;
    // A single bound is not compared with another: whether it is real must be checked.
    if let [Reals { cuts, .. }] = points.as_slice() {
        scalar::order(&cuts[0].place, &Expression::integer(0), budget)?;
    }
    Reals::union(&points, budget)
}

/// The interval between two bounds. Bounds in the wrong order and empty open intervals are not intervals: something else was meant.
fn interval(open: Bracket, close: Bracket, items: &[Answer], budget: &Budget) -> Option<Reals> {
    let [low, high] = items else { return None };
    let (low, high) = (place(low)?, place(high)?);
    let mut set = Reals::none();
    match scalar::infinity_sign(low) {
        Some(false) => set.from_start = true,
        Some(true) => return None,
        None if low.contains(&Expression::Infinity) => return None,
        None => set.cuts.push(Cut { place: low.clone(), behind: open == Bracket::Round }),
    }
    match scalar::infinity_sign(high) {
        Some(true) => {}
        Some(false) => return None,
        None if high.contains(&Expression::Infinity) => return None,
        None => set.cuts.push(Cut { place: high.clone(), behind: close == Bracket::Square }),
    }
    match set.cuts.as_slice() {
        [first, second] => match scalar::order(&first.place, &second.place, budget)? {
            Ordering::Less => {}
            Ordering::Equal if !first.behind && second.behind => {}
            _ => return None,
        },
        [only] => _ = scalar::order(&only.place, &Expression::integer(0), budget)?,
        _ => {}
    }
    Some(set)
}

/// The values of one symbol that fulfil a condition.
fn condition(sides: &[Answer], signs: &[char], budget: &Budget) -> Option<Region> {
    if let Some((name, span)) = relation::interval(sides, signs) {
        let Answer::Sequence { open, close, items } = &span else { return None };
        // 1 < x < 0 holds nowhere.
        let set = interval(*open, *close, items, budget)?;
        return Some(Region { name: Some(name.to_string()), set });
    }
    let ([first, second], [sign]) = (sides, signs) else { return None };
    let (name, other) = match (relation::symbol(first), relation::symbol(second)) {
        (Some(name), _) => (name, second),
        (None, Some(name)) if matches!(sign, '=' | '≠') => (name, first),
        _ => return None,
    };
    let set = match sign {
        '=' => points(std::slice::from_ref(other), budget)?,
        '≠' => match other {
            Answer::List(items) => points(items, budget)?.complement(),
            _ => points(std::slice::from_ref(other), budget)?.complement(),
        },
        '∈' => operand(other, budget)?.set,
        '∉' => operand(other, budget)?.set.complement(),
        _ => return None,
    };
    Some(Region { name: Some(name.to_string()), set })
}

/// A part of a union or a difference: a number stands for the set that holds it, and R for the real line.
fn operand(answer: &Answer, budget: &Budget) -> Option<Region> {
    region(answer, budget).or_else(|| match answer {
        Answer::Quantity(Quantity { expression: Expression::Symbol(name), .. }) if name == "R" => {
            Some(Region { name: None, set: Reals::all() })
        }
        Answer::Quantity(_) => Some(Region { name: None, set: points(std::slice::from_ref(answer), budget)? }),
        _ => None,
    })
}

fn joined(join: SetOperation, parts: &[Answer], budget: &Budget) -> Option<Region> {
    let regions: Option<Vec<Region>> = parts.iter().map(|part| operand(part, budget)).collect();
    let regions = regions?;
    let name = regions.iter().find_map(|region| region.name.clone());
    // x < 1 or y > 2 is not a set of numbers.
    if regions.iter().any(|region| region.name.is_some() && region.name != name) {
        return None;
    }
    let sets: Vec<Reals> = regions.into_iter().map(|region| region.set).collect();
    let all_of = |holds: fn(bool, bool) -> bool| {
        let (first, rest) = sets.split_first()?;
        rest.iter().try_fold(first.clone(), |merged, set| merged.merged(set, holds, budget))
    };
    let set = match join {
        SetOperation::Union => Reals::union(&sets, budget)?,
        SetOperation::Intersection => all_of(|a, b| a && b)?,
        SetOperation::Difference => all_of(|a, b| a && !b)?,
        SetOperation::Listed => {
            // "x > 1, x < 3" means both and "x < 1, x > 3" either: the other reading would be empty or everything.
            let (both, either) = (all_of(|a, b| a && b)?, Reals::union(&sets, budget)?);
            match (both.is_none(), either.is_all()) {
                (true, false) => either,
                (false, true) => both,
                _ => return None,
            }
        }
    };
    Some(Region { name, set })
}

/// The name under which the lexer hands on `\mathbb{R}`.
fn is_real_line(quantity: &Quantity) -> bool {
    matches!(&quantity.expression, Expression::Symbol(name) if name == "mathbb R")
}

fn is_all(text: &str) -> bool {
    matches!(text, "all real numbers" | "all reals" | "all real" | "real numbers" | "the real numbers")
}

fn is_none(text: &str) -> bool {
    matches!(
        text,
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "empty set" | "the empty set"
    )
}
