//! Numbers, expressions and units, and their values: exact fractions, else complex numbers of several hundred bits. Nothing here
//! parses an answer or compares two.

pub(super) mod exact;
pub(super) mod expression;
pub(super) mod number;
pub(super) mod real;
pub(super) mod unit;
