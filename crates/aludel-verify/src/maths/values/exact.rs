//! Values of expressions as exact fractions, if they have one: no rounding, and no number above a size limit.

use std::cell::Cell;

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::expression::{Expression, Function};

/// Numbers with more bits than this are not computed.
const MAX_BITS: usize = 16_384;

/// Work budget of one comparison, in operations on numbers.
const BUDGET: u32 = 100_000;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum NoValue {
    /// The value may be irrational: it has to be approximated.
    Irrational,
    /// There is no value, as in 1/0.
    Undefined,
    /// It would take too much time or memory.
    TooLarge,
}

/// The remaining work budget of a comparison. Counted, not timed, so that verdicts do not depend on the machine.
pub(in crate::maths) struct Budget(Cell<u32>);

impl Budget {
    pub(in crate::maths) fn new() -> Budget {
        Budget(Cell::new(BUDGET))
    }

    pub(super) fn spend(&self, operations: u32) -> Result<(), NoValue> {
        let left = self.0.get().checked_sub(operations).ok_or(NoValue::TooLarge)?;
        self.0.set(left);
        Ok(())
    }
}

/// The value, if it is small enough; operations cost more the longer it is, since fractions are reduced each time.
fn bounded(value: RBig, budget: &Budget) -> Result<RBig, NoValue> {
    let bits = bits(&value);
    budget.spend(u32::try_from(bits / 256).unwrap_or(u32::MAX))?;
    if bits > MAX_BITS { Err(NoValue::TooLarge) } else { Ok(value) }
}

/// Values of symbols, by name.
pub(in crate::maths) type Point<'a> = [(&'a str, RBig)];

/// The value of `expression` at `point`.
pub(in crate::maths) fn value(expression: &Expression, point: &Point<'_>, budget: &Budget) -> Result<RBig, NoValue> {
    budget.spend(1)?;
    let result = match expression {
        Expression::Number(number) => number.value.clone(),
        Expression::Symbol(name) => {
            point.iter().find(|(symbol, _)| symbol == name).map(|(_, value)| value.clone()).ok_or(NoValue::Undefined)?
        }
        Expression::Pi | Expression::Euler | Expression::Imaginary => return Err(NoValue::Irrational),
        Expression::Infinity => return Err(NoValue::Undefined),
        Expression::Sum(terms) => {
            let mut sum = RBig::ZERO;
            for term in terms {
                sum = bounded(sum + value(term, point, budget)?, budget)?;
            }
            sum
        }
        Expression::Product(factors) => {
            let mut product = RBig::ONE;
            for factor in factors {
                product = bounded(product * value(factor, point, budget)?, budget)?;
            }
            product
        }
        Expression::Power(pair) => power(&value(&pair.0, point, budget)?, &value(&pair.1, point, budget)?, budget)?,
        Expression::Root(degree, inner) => root(&value(inner, point, budget)?, *degree, budget)?,
        Expression::Call(function, inner) => call(*function, value(inner, point, budget)?, budget)?,
        Expression::Logarithm(pair) => {
            logarithm(&value(&pair.0, point, budget)?, &value(&pair.1, point, budget)?, budget)?
        }
        Expression::Binomial(pair) => {
            binomial(&value(&pair.0, point, budget)?, &value(&pair.1, point, budget)?, budget)?
        }
    };
    bounded(result, budget)
}

/// The bits of a fraction's parts together.
pub(in crate::maths) fn bits(value: &RBig) -> usize {
    dashu_int::ops::BitTest::bit_len(value.numerator()) + dashu_int::ops::BitTest::bit_len(value.denominator())
}

fn power(base: &RBig, exponent: &RBig, budget: &Budget) -> Result<RBig, NoValue> {
    if !exponent.is_int() {
        // a^(p/q) is the q-th root, raised to p.
        let degree = usize::try_from(exponent.denominator().clone()).ok().filter(|degree| *degree <= 100);
        let root = root(base, degree.ok_or(NoValue::Irrational)?, budget)?;
        return power(&root, &RBig::from(exponent.numerator().clone()), budget);
    }
    if base.is_zero() {
        return match exponent.numerator().cmp(&IBig::ZERO) {
            std::cmp::Ordering::Less => Err(NoValue::Undefined),
            std::cmp::Ordering::Equal => Ok(RBig::ONE),
            std::cmp::Ordering::Greater => Ok(RBig::ZERO),
        };
    }
    if base.is_one() {
        return Ok(RBig::ONE);
    }
    if *base == -RBig::ONE {
        let odd = dashu_int::ops::BitTest::bit(exponent.numerator(), 0);
        return Ok(if odd { -RBig::ONE } else { RBig::ONE });
    }
    let exponent = isize::try_from(exponent.numerator().clone()).map_err(|_| NoValue::TooLarge)?;
    let size = bits(base).saturating_sub(1).saturating_mul(exponent.unsigned_abs());
    if size > 2 * MAX_BITS { Err(NoValue::TooLarge) } else { Ok(base.pow(exponent)) }
}

/// The real root, where it is rational.
fn root(value: &RBig, degree: usize, budget: &Budget) -> Result<RBig, NoValue> {
    budget.spend(u32::try_from(8 + bits(value) / 16).unwrap_or(u32::MAX))?;
    let negative = *value < RBig::ZERO;
    if negative && degree.is_multiple_of(2) {
        return Err(NoValue::Irrational);
    }
    let part = |number: UBig| {
        // Below 2 to the degree there is no whole root but 0 and 1.
        if dashu_int::ops::BitTest::bit_len(&number) <= degree && number > UBig::ONE {
            return Err(NoValue::Irrational);
        }
        if number <= UBig::ONE {
            return Ok(number);
        }
        let root = number.nth_root(degree);
        (root.pow(degree) == number).then_some(root).ok_or(NoValue::Irrational)
    };
    let over = IBig::from(part(value.numerator().clone().into_parts().1)?);
    let under = part(value.denominator().clone())?;
    Ok(RBig::from_parts(if negative { -over } else { over }, under))
}

fn call(function: Function, argument: RBig, budget: &Budget) -> Result<RBig, NoValue> {
    match function {
        Function::Abs => Ok(if argument < RBig::ZERO { -argument } else { argument }),
        Function::Floor => Ok(RBig::from(argument.floor())),
        Function::Ceiling => Ok(RBig::from(argument.ceil())),
        Function::Factorial => factorial(&argument, budget),
        Function::Sin | Function::Tan | Function::Arcsin | Function::Arctan | Function::Sinh | Function::Tanh
            if argument.is_zero() =>
        {
            Ok(RBig::ZERO)
        }
        Function::Cos | Function::Cosh | Function::Exp if argument.is_zero() => Ok(RBig::ONE),
        Function::Ln if argument.is_one() => Ok(RBig::ZERO),
        Function::Ln if argument.is_zero() => Err(NoValue::Undefined),
        _ => Err(NoValue::Irrational),
    }
}

fn factorial(argument: &RBig, budget: &Budget) -> Result<RBig, NoValue> {
    if !argument.is_int() || *argument < RBig::ZERO {
        return Err(NoValue::Undefined);
    }
    let count = u32::try_from(argument.numerator().clone()).ok().filter(|count| *count <= 1000);
    let count = count.ok_or(NoValue::TooLarge)?;
    budget.spend(count / 4)?;
    Ok(RBig::from((1..=count).fold(UBig::ONE, |product, factor| product * factor)))
}

fn binomial(over: &RBig, under: &RBig, budget: &Budget) -> Result<RBig, NoValue> {
    if !over.is_int() || !under.is_int() || *under < RBig::ZERO || over < under {
        return Err(NoValue::Undefined);
    }
    let complement = over - under;
    let count = if complement < *under { &complement } else { under };
    let count =
        u32::try_from(count.numerator().clone()).ok().filter(|count| *count <= 1000).ok_or(NoValue::TooLarge)?;
    budget.spend(count)?;
    let mut product = RBig::ONE;
    for index in 0..count {
        product = bounded(product * (over - RBig::from(index)) / RBig::from(index + 1), budget)?;
    }
    Ok(product)
}

/// The logarithm where it is a whole number, and its reciprocal where that is.
fn logarithm(base: &RBig, argument: &RBig, budget: &Budget) -> Result<RBig, NoValue> {
    if *base <= RBig::ZERO || base.is_one() || argument.is_zero() {
        return Err(NoValue::Undefined);
    }
    if *argument < RBig::ZERO {
        return Err(NoValue::Irrational);
    }
    // Of a base below 1 the logarithm is that of its inverse, negated; likewise for the argument.
    let above_one = |value: &RBig| {
        if *value < RBig::ONE { (RBig::ONE / value, true) } else { (value.clone(), false) }
    };
    let ((base, base_inverted), (argument, argument_inverted)) = (above_one(base), above_one(argument));
    let (mut power, mut exponent) = (RBig::ONE, 0i64);
    while power < argument {
        budget.spend(1)?;
        power = bounded(power * &base, budget)?;
        exponent += 1;
    }
    if power != argument {
        return Err(NoValue::Irrational);
    }
    Ok(RBig::from(if base_inverted == argument_inverted { exponent } else { -exponent }))
}
