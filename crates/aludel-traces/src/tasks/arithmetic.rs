//! Calculations written out in steps that a very small model can do: products and quotients digit by digit, fractions
//! reduced by one small number after another.

use super::fraction::greatest_common_divisor;

/// `7 × 8 = 56`, `23 × 4 = 80 + 12 = 92`; both factors are positive.
pub(super) fn product(left: i64, right: i64) -> String {
    let value = left * right;
    let (long, short) = if left >= right { (left, right) } else { (right, left) };
    let parts: Vec<i64> = digits(long).iter().map(|part| part * short).collect();
    if long <= 12 || short == 1 || parts.len() == 1 {
        return format!("{left} × {right} = {value}");
    }
    if short > 10 && short % 10 != 0 {
        let terms: Vec<i64> = digits(short).iter().map(|part| long * part).collect();
        let steps: Vec<String> = digits(short).iter().map(|&part| product(long, part)).collect();
        return format!("{}, {} = {value}", steps.join(", "), sum_of(&terms));
    }
    format!("{left} × {right} = {} = {value}", sum_of(&parts))
}

/// `56 / 7 = 8`, `92 / 4 = 80 / 4 + 12 / 4 = 20 + 3 = 23`; the divisor divides.
pub(super) fn quotient(dividend: i64, divisor: i64) -> String {
    let value = dividend / divisor;
    let parts = digits(value);
    if value <= 12 || parts.len() == 1 || divisor == 1 {
        return format!("{dividend} / {divisor} = {value}");
    }
    let pieces: Vec<String> = parts.iter().map(|part| format!("{} / {divisor}", part * divisor)).collect();
    format!("{dividend} / {divisor} = {} = {} = {value}", pieces.join(" + "), sum_of(&parts))
}

/// How a fraction is reduced, by one small number after another; a sentence each. No prime above 13 may divide
/// both numbers.
pub(super) fn reduction(numerator: i64, denominator: i64) -> String {
    if numerator % denominator == 0 {
        return format!("{numerator}/{denominator} = {}.", numerator / denominator);
    }
    if greatest_common_divisor(numerator, denominator) == 1 {
        return format!("{numerator}/{denominator} cannot be reduced.");
    }
    let (mut top, mut bottom) = (numerator, denominator);
    let mut steps = Vec::new();
    for divisor in [10, 4, 2, 3, 5, 7, 11, 13] {
        while top % divisor == 0 && bottom % divisor == 0 {
            steps.push(format!("Divide by {divisor}: {top}/{bottom} = {}/{}.", top / divisor, bottom / divisor));
            (top, bottom) = (top / divisor, bottom / divisor);
        }
    }
    steps.join(" ")
}

/// `80 + 12`
pub(super) fn sum_of(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}

/// 123 as 100, 20 and 3; zeros are left out.
fn digits(number: i64) -> Vec<i64> {
    let mut parts = Vec::new();
    let (mut rest, mut place) = (number, 1);
    while rest > 0 {
        if rest % 10 > 0 {
            parts.insert(0, rest % 10 * place);
        }
        (rest, place) = (rest / 10, place * 10);
    }
    parts
}
