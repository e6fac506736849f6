//! Values of expressions as complex numbers of several hundred bits, if they have no exact fraction. Each is computed at two
//! precisions: a real difference remains when the precision doubles, a rounding error does not.

use dashu_float::round::mode::HalfEven;
use dashu_float::{ConstCache, Context, FBig, Repr};
use dashu_int::IBig;
use dashu_int::ops::Abs;
use dashu_ratio::RBig;

use super::exact::{self, Budget, NoValue, Point};
use super::expression::{Expression, Function};

/// Bits of the two precisions.
pub(in crate::maths) const PRECISIONS: [usize; 2] = [256, 512];

/// Values above 2 to this power are not computed: cancellation could use up the precision.
const MAX_MAGNITUDE: isize = 160;

/// Roots of a higher degree (no written root has one, but powers have) are taken by logarithms: the library computes with as many digits as the degree has units.
const MAX_DEGREE: usize = 100;

type Real = FBig<HalfEven, 2>;

/// A complex number.
#[derive(Clone, Debug)]
pub(in crate::maths) struct Complex {
    re: Real,
    im: Real,
}

/// The kinds of values that roots and logarithms may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum Domain {
    /// Even roots and logarithms of negative numbers have none. Symbols stand for real numbers.
    Real,
    /// They have their principal value.
    Complex,
}

/// Evaluates at one precision.
pub(in crate::maths) struct Evaluator<'a> {
    context: Context<HalfEven>,
    cache: ConstCache,
    domain: Domain,
    point: &'a Point<'a>,
    budget: &'a Budget,
    /// Whether a term was too small beside another to make a difference, and too small to be rounding.
    lost_a_term: bool,
}

/// A result of the library, or why there is none.
macro_rules! finite {
    ($result:expr) => {
        match $result {
            Ok(value) => {
                let value: Real = value.value();
                if value.repr().is_infinite() { Err(NoValue::Undefined) } else { Ok(value) }
            }
            Err(dashu_float::FpError::Overflow(_) | dashu_float::FpError::Underflow(_)) => Err(NoValue::TooLarge),
            Err(_) => Err(NoValue::Undefined),
        }
    };
}

impl<'a> Evaluator<'a> {
    pub(in crate::maths) fn new(
        precision: usize,
        domain: Domain,
        point: &'a Point<'a>,
        budget: &'a Budget,
    ) -> Evaluator<'a> {
        Evaluator {
            context: Context::new(precision),
            cache: ConstCache::new(),
            domain,
            point,
            budget,
            lost_a_term: false,
        }
    }

    pub(in crate::maths) fn value(&mut self, expression: &Expression) -> Result<Complex, NoValue> {
        self.budget.spend(4)?;
        // Rational parts of an irrational expression stay exact as long as possible.
        let result = match expression {
            // With more digits than bits, its last ones would have no effect.
            Expression::Number(number) if exact::bits(&number.value) > PRECISIONS[0] => return Err(NoValue::TooLarge),
            Expression::Number(number) => self.rational(&number.value)?,
            Expression::Symbol(_) => self.rational(&exact::value(expression, self.point, self.budget)?)?,
            Expression::Pi => self.real(self.context.pi::<2>(None).value()),
            Expression::Euler => self.real(self.context.e::<2>().value()),
            Expression::Imaginary => Complex { re: self.zero(), im: self.one() },
            Expression::Infinity => return Err(NoValue::Undefined),
            Expression::Sum(terms) => {
                let mut sum = self.real(self.zero());
                for term in terms {
                    let term = self.value(term)?;
                    self.lost_a_term |= is_lost_beside(&sum, &term) || is_lost_beside(&term, &sum);
                    sum = self.add(&sum, &term)?;
                }
                sum
            }
            Expression::Product(factors) => {
                let mut product = self.real(self.one());
                for factor in factors {
                    let factor = self.value(factor)?;
                    product = self.multiply(&product, &factor)?;
                }
                product
            }
            Expression::Power(pair) => self.power(&pair.0, &pair.1)?,
            Expression::Root(degree, inner) => {
                let inner = self.value(inner)?;
                self.root(&inner, *degree)?
            }
            Expression::Call(function, inner) => self.call(*function, inner)?,
            Expression::Logarithm(pair) => {
                let (base, argument) = (self.value(&pair.0)?, self.value(&pair.1)?);
                let (base, argument) = (self.ln(&base)?, self.ln(&argument)?);
                self.divide(&argument, &base)?
            }
            Expression::Binomial(_) => self.rational(&exact::value(expression, self.point, self.budget)?)?,
        };
        if magnitude(&result.re) > MAX_MAGNITUDE || magnitude(&result.im) > MAX_MAGNITUDE {
            return Err(NoValue::TooLarge);
        }
        Ok(result)
    }

    pub(super) fn rational(&self, value: &RBig) -> Result<Complex, NoValue> {
        let over = Repr::<2>::new(value.numerator().clone(), 0);
        let under = Repr::<2>::new(IBig::from(value.denominator().clone()), 0);
        Ok(self.real(finite!(self.context.div(&over, &under))?))
    }

    pub(in crate::maths) fn subtract(&self, left: &Complex, right: &Complex) -> Result<Complex, NoValue> {
        Ok(Complex { re: self.sub(&left.re, &right.re)?, im: self.sub(&left.im, &right.im)? })
    }

    /// Whether a sum dropped a term, so that two equal values need not be the same. The residue of a zero is not such a term: at
    /// the lower precision it is some 2⁻²⁵⁶ of its parts.
    pub(in crate::maths) fn lost_a_term(&self) -> bool {
        self.lost_a_term
    }

    fn zero(&self) -> Real {
        Real::from_repr(Repr::zero(), self.context)
    }

    fn one(&self) -> Real {
        Real::from_repr(Repr::one(), self.context)
    }

    fn real(&self, re: Real) -> Complex {
        Complex { re, im: self.zero() }
    }

    fn sub(&self, left: &Real, right: &Real) -> Result<Real, NoValue> {
        finite!(self.context.sub(left.repr(), right.repr()))
    }

    fn plus(&self, left: &Real, right: &Real) -> Result<Real, NoValue> {
        finite!(self.context.add(left.repr(), right.repr()))
    }

    fn times(&self, left: &Real, right: &Real) -> Result<Real, NoValue> {
        finite!(self.context.mul(left.repr(), right.repr()))
    }

    fn over(&self, left: &Real, right: &Real) -> Result<Real, NoValue> {
        finite!(self.context.div(left.repr(), right.repr()))
    }

    fn add(&self, left: &Complex, right: &Complex) -> Result<Complex, NoValue> {
        Ok(Complex { re: self.plus(&left.re, &right.re)?, im: self.plus(&left.im, &right.im)? })
    }

    fn multiply(&self, left: &Complex, right: &Complex) -> Result<Complex, NoValue> {
        let re = self.sub(&self.times(&left.re, &right.re)?, &self.times(&left.im, &right.im)?)?;
        let im = self.plus(&self.times(&left.re, &right.im)?, &self.times(&left.im, &right.re)?)?;
        Ok(Complex { re, im })
    }

    fn divide(&self, left: &Complex, right: &Complex) -> Result<Complex, NoValue> {
        if is_zero(&right.re) && is_zero(&right.im) {
            return Err(NoValue::Undefined);
        }
        let norm = self.plus(&self.times(&right.re, &right.re)?, &self.times(&right.im, &right.im)?)?;
        let conjugate = Complex { re: right.re.clone(), im: -right.im.clone() };
        let product = self.multiply(left, &conjugate)?;
        Ok(Complex { re: self.over(&product.re, &norm)?, im: self.over(&product.im, &norm)? })
    }

    fn power(&mut self, base: &Expression, exponent: &Expression) -> Result<Complex, NoValue> {
        let exact = exact::value(exponent, self.point, self.budget);
        let base_value = self.value(base)?;
        let degree = exact.as_ref().ok().and_then(|exact| usize::try_from(exact.denominator().clone()).ok());
        let (Ok(exponent_value), Some(degree)) = (exact, degree.filter(|degree| *degree <= MAX_DEGREE)) else {
            let exponent = self.value(exponent)?;
            if is_zero(&base_value.re) && is_zero(&base_value.im) {
                return Err(NoValue::Undefined);
            }
            let logarithm = self.ln(&base_value)?;
            return self.exp(&self.multiply(&exponent, &logarithm)?);
        };
        let root = if degree == 1 { base_value } else { self.root(&base_value, degree)? };
        let count = i32::try_from(exponent_value.numerator().clone()).map_err(|_| NoValue::TooLarge)?;
        self.integer_power(&root, count)
    }

    fn integer_power(&self, base: &Complex, exponent: i32) -> Result<Complex, NoValue> {
        let mut result = self.real(self.one());
        let mut square = base.clone();
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            self.budget.spend(4)?;
            if left % 2 == 1 {
                result = self.multiply(&result, &square)?;
            }
            left /= 2;
            if left > 0 {
                square = self.multiply(&square, &square)?;
                if magnitude(&square.re).max(magnitude(&square.im)).checked_abs().is_none_or(|size| size > 1 << 20)
                    || square.magnitude() > 2 * MAX_MAGNITUDE
                {
                    return Err(NoValue::TooLarge);
                }
            }
        }
        if exponent < 0 { self.divide(&self.real(self.one()), &result) } else { Ok(result) }
    }

    fn root(&mut self, value: &Complex, degree: usize) -> Result<Complex, NoValue> {
        self.budget.spend(50)?;
        if is_zero(&value.im) {
            let negative = value.re < self.zero();
            let size = value.re.clone().abs();
            let root = if is_zero(&size) { size } else { finite!(self.context.nth_root(degree, size.repr()))? };
            match (negative, degree) {
                (false, _) => return Ok(self.real(root)),
                (true, _) if degree % 2 == 1 => return Ok(self.real(-root)),
                (true, _) if self.domain == Domain::Real => return Err(NoValue::Undefined),
                (true, 2) => return Ok(Complex { re: self.zero(), im: root }),
                _ => {}
            }
        }
        let logarithm = self.ln(value)?;
        let degree = self.rational(&RBig::from(degree))?;
        let part = self.divide(&logarithm, &degree)?;
        self.exp(&part)
    }

    fn ln(&mut self, value: &Complex) -> Result<Complex, NoValue> {
        self.budget.spend(50)?;
        let zero = self.zero();
        if is_zero(&value.im) && value.re > zero {
            let logarithm = finite!(self.context.ln(value.re.repr(), Some(&mut self.cache)))?;
            return Ok(self.real(logarithm));
        }
        if is_zero(&value.im) && (is_zero(&value.re) || self.domain == Domain::Real) {
            return Err(NoValue::Undefined);
        }
        let norm = self.plus(&self.times(&value.re, &value.re)?, &self.times(&value.im, &value.im)?)?;
        let half = self.rational(&RBig::from_parts(1.into(), 2u8.into()))?;
        let size = finite!(self.context.ln(norm.repr(), Some(&mut self.cache)))?;
        let angle = finite!(self.context.atan2(value.im.repr(), value.re.repr(), Some(&mut self.cache)))?;
        Ok(Complex { re: self.times(&size, &half.re)?, im: angle })
    }

    fn exp(&mut self, value: &Complex) -> Result<Complex, NoValue> {
        self.budget.spend(50)?;
        if magnitude(&value.re) > 8 || magnitude(&value.im) > 64 {
            return Err(NoValue::TooLarge);
        }
        self.lost_a_term |= is_lost_beside(&self.real(value.re.clone()), &self.real(self.one()));
        let size = finite!(self.context.exp(value.re.repr(), Some(&mut self.cache)))?;
        if is_zero(&value.im) {
            return Ok(self.real(size));
        }
        let (sin, cos) = self.sin_cos(&value.im)?;
        Ok(Complex { re: self.times(&size, &cos)?, im: self.times(&size, &sin)? })
    }

    fn sin_cos(&mut self, angle: &Real) -> Result<(Real, Real), NoValue> {
        self.budget.spend(50)?;
        if magnitude(angle) > 64 {
            return Err(NoValue::TooLarge);
        }
        // The cosine of what is very small is 1, as far as there are bits.
        self.lost_a_term |= is_lost_beside(&self.real(angle.clone()), &self.real(self.one()));
        let sin = finite!(self.context.sin(angle.repr(), Some(&mut self.cache)))?;
        let cos = finite!(self.context.cos(angle.repr(), Some(&mut self.cache)))?;
        Ok((sin, cos))
    }

    fn call(&mut self, function: Function, inner: &Expression) -> Result<Complex, NoValue> {
        if matches!(function, Function::Factorial | Function::Floor | Function::Ceiling) {
            // Steps: an approximation next to one would decide nothing.
            let whole = Expression::Call(function, Box::new(inner.clone()));
            let value = exact::value(&whole, self.point, self.budget);
            return self
                .rational(&value.map_err(|stop| if stop == NoValue::Irrational { NoValue::TooLarge } else { stop })?);
        }
        let argument = self.value(inner)?;
        match function {
            Function::Exp => return self.exp(&argument),
            Function::Ln => return self.ln(&argument),
            Function::Abs => {
                let norm =
                    self.plus(&self.times(&argument.re, &argument.re)?, &self.times(&argument.im, &argument.im)?)?;
                return Ok(self.real(finite!(self.context.sqrt(norm.repr()))?));
            }
            _ => {}
        }
        if !is_zero(&argument.im) {
            return Err(NoValue::TooLarge); // Trigonometry of complex numbers is left undecided.
        }
        self.real_function(function, &argument.re)
    }

    fn real_function(&mut self, function: Function, argument: &Real) -> Result<Complex, NoValue> {
        self.budget.spend(50)?;
        let value = match function {
            Function::Sin => self.sin_cos(argument)?.0,
            Function::Cos => self.sin_cos(argument)?.1,
            Function::Tan => {
                let (sin, cos) = self.sin_cos(argument)?;
                // A cosine that is nothing but rounding means that the tangent has no value.
                if magnitude(&cos) < -200 {
                    return Err(NoValue::Undefined);
                }
                self.over(&sin, &cos)?
            }
            Function::Arcsin | Function::Arccos if argument.clone().abs() > self.one() => {
                return Err(NoValue::Undefined);
            }
            Function::Arcsin => finite!(self.context.asin(argument.repr(), Some(&mut self.cache)))?,
            Function::Arccos => finite!(self.context.acos(argument.repr(), Some(&mut self.cache)))?,
            Function::Arctan => finite!(self.context.atan(argument.repr(), Some(&mut self.cache)))?,
            _ if magnitude(argument) > 7 => return Err(NoValue::TooLarge),
            Function::Sinh => finite!(self.context.sinh(argument.repr(), Some(&mut self.cache)))?,
            Function::Cosh if is_lost_beside(&self.real(argument.clone()), &self.real(self.one())) => {
                return Err(NoValue::TooLarge);
            }
            Function::Cosh => finite!(self.context.cosh(argument.repr(), Some(&mut self.cache)))?,
            Function::Tanh => finite!(self.context.tanh(argument.repr(), Some(&mut self.cache)))?,
            _ => return Err(NoValue::Undefined),
        };
        Ok(self.real(value))
    }
}

fn is_lost_beside(small: &Complex, large: &Complex) -> bool {
    let (small, large) = (small.magnitude(), large.magnitude());
    small != isize::MIN && large != isize::MIN && small < large.saturating_sub(PRECISIONS[0] as isize + 44)
}

impl Complex {
    /// Which of two real numbers is the smaller; `None` if one is not real.
    pub(in crate::maths) fn order(&self, other: &Complex) -> Option<std::cmp::Ordering> {
        (is_zero(&self.im) && is_zero(&other.im)).then(|| self.re.cmp(&other.re))
    }

    /// The position of the larger part's first bit: the value is below 2 to this power. `isize::MIN` for 0.
    pub(in crate::maths) fn magnitude(&self) -> isize {
        magnitude(&self.re).max(magnitude(&self.im))
    }
}

fn is_zero(value: &Real) -> bool {
    value.repr().significand().is_zero()
}

fn magnitude(value: &Real) -> isize {
    if is_zero(value) {
        return isize::MIN;
    }
    value.repr().exponent().saturating_add(value.repr().digits() as isize)
}
