//! Calculations written out in steps that a very small model can do: tens before ones, with what is still to be done carried along
//! (`62 - 43 = 62 - 40 - 3`), products and quotients digit by digit, fractions reduced at once while they are small.

use super::fraction::greatest_common_divisor;

/// `38 + 9 = 47`, `38 + 13 = 38 + 10 + 3 = 48 + 3 = 51`, `8 + 13 = 13 + 8 = 21`.
pub(super) fn sum(left: i64, right: i64) -> String {
    if left < 10 && right >= 10 {
        return format!("{left} + {right} = {right} + {left} = {}", left + right);
    }
    match tens_and_ones(right) {
        Some((tens, ones)) => {
            let so_far = left + tens;
            format!("{left} + {right} = {left} + {tens} + {ones} = {so_far} + {ones} = {}", left + right)
        }
        None => format!("{left} + {right} = {}", left + right),
    }
}

/// `38 - 9 = 29`, `62 - 43 = 62 - 40 - 3 = 22 - 3 = 19`.
pub(super) fn difference(left: i64, right: i64) -> String {
    match tens_and_ones(right) {
        Some((tens, ones)) => {
            let so_far = left - tens;
            format!("{left} - {right} = {left} - {tens} - {ones} = {so_far} - {ones} = {}", left - right)
        }
        None => format!("{left} - {right} = {}", left - right),
    }
}

/// 43 as 40 and 3; `None` for a number that has only one of the two.
fn tens_and_ones(number: i64) -> Option<(i64, i64)> {
    (number >= 10 && number % 10 > 0).then_some((number - number % 10, number % 10))
}

/// `7 × 8 = 56`, `23 × 4 = 20 × 4 + 3 × 4 = 80 + 12 = 80 + 10 + 2 = 90 + 2 = 92`; both factors are positive.
pub(super) fn product(left: i64, right: i64) -> String {
    let value = left * right;
    let (long, short) = if left >= right { (left, right) } else { (right, left) };
    let parts = digits(long);
    if long <= 12 || short == 1 || parts.len() == 1 || short >= 100 {
        return format!("{left} × {right} = {value}");
    }
    if short > 10 && short % 10 != 0 {
        let terms: Vec<i64> = digits(short).iter().map(|part| long * part).collect();
        let steps: Vec<String> = digits(short).iter().map(|&part| product(long, part)).collect();
        return format!("{}, {} = {value}", steps.join(", "), sum_of(&terms));
    }
    let products: Vec<String> = parts.iter().map(|part| format!("{part} × {short}")).collect();
    let terms: Vec<i64> = parts.iter().map(|part| part * short).collect();
    let added = match terms[..] {
        [first, second] => sum(first, second),
        _ => format!("{} = {value}", sum_of(&terms)),
    };
    format!("{left} × {right} = {} = {added}", products.join(" + "))
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

/// `6/8 = 3/4.` or `5/8 stays.`: a sentence, and what the fraction becomes in lowest terms.
pub(super) fn reduction(top: i64, bottom: i64) -> (String, (i64, i64)) {
    let divisor = greatest_common_divisor(top, bottom);
    let reduced = (top / divisor, bottom / divisor);
    let sentence = match divisor {
        1 => format!("{top}/{bottom} stays."),
        _ => format!("{top}/{bottom} = {}/{}.", reduced.0, reduced.1),
    };
    (sentence, reduced)
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
