//! Exact fractions of small numbers, for answers that can be compared letter by letter.

use std::fmt;

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    pub(super) numerator: i64,
    pub(super) denominator: i64,
}

impl Fraction {
    /// Reduces; the denominator must not be 0.
    pub(super) fn new(numerator: i64, denominator: i64) -> Fraction {
        assert_ne!(denominator, 0, "a fraction has a denominator");
        let divisor = greatest_common_divisor(numerator, denominator) * denominator.signum();
        Fraction { numerator: numerator / divisor, denominator: denominator / divisor }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(formatter, "{}", self.numerator),
            denominator => write!(formatter, "{}/{denominator}", self.numerator),
        }
    }
}

/// The largest number that divides both; 1 for two zeros, so that it can be divided by.
pub(super) fn greatest_common_divisor(left: i64, right: i64) -> i64 {
    let (mut left, mut right) = (left.abs(), right.abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}
