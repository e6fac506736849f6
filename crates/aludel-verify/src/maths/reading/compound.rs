//! Quantities in several units of one kind, the larger before the smaller: `1 hour 30 minutes`, `1h30`, `5 feet and 3 inches`. Two
//! of them with a comma between are a list, not a sum.

use dashu_ratio::RBig;

use super::quantity::Quantity;
use super::token::Token;
use crate::maths::values::expression::Expression;
use crate::maths::values::number::Number;
use crate::maths::values::unit::{self, Unit};

/// Reads a sum of units as a quantity in the smallest of them.
pub(in crate::maths) fn read(tokens: &[Token]) -> Option<Quantity> {
    let mut rest = tokens;
    let mut sum = RBig::ZERO;
    let mut last: Option<(&str, RBig, Unit)> = None;
    let mut terms = 0;
    while !rest.is_empty() {
        if terms > 0 {
            rest = rest.strip_prefix(&[Token::Sign('∧')]).unwrap_or(rest);
        }
        let (number, unit, after) = term(rest, last.as_ref().map(|(_, _, unit)| unit))?;
        let (dimension, size) = unit::size(&unit)?;
        if last.is_some_and(|(other, larger, _)| other != dimension || size >= larger) {
            return None;
        }
        sum += &number.value * &size;
        last = Some((dimension, size, unit));
        (rest, terms) = (after, terms + 1);
    }
    let (_, size, unit) = last.filter(|_| terms > 1)?;
    let expression = Expression::Number(Number::exact(sum / size));
    Some(Quantity { unit: Some(unit), compound: true, ..Quantity::plain(expression) })
}

/// A number with its unit, and what follows. The m after hours is a minute, and so are the two digits in `1h30`.
fn term<'a>(tokens: &'a [Token], before: Option<&Unit>) -> Option<(&'a Number, Unit, &'a [Token])> {
    match tokens {
        [Token::Sign('$'), Token::Number(number), rest @ ..] => Some((number, Unit::from_words(["$"])?, rest)),
        [Token::Number(number)] if number.digits == 2 && before.is_some_and(|unit| unit.is("hour")) => {
            (number.decimals == 0 && number.value < RBig::from(60u8)).then_some(())?;
            Some((number, Unit::from_words(["minute"])?, &[]))
        }
        [Token::Number(number), Token::Word(word) | Token::Symbol { name: word, .. }, rest @ ..] => {
            let minutes = word == "m" && before.is_some_and(|unit| unit.is("hour") || unit.is("day"));
            Some((number, Unit::from_words([if minutes { "minute" } else { word }])?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::maths::Equality::{Different, Equal, Undecided};
    use crate::maths::is_within;
    use crate::maths::tests::check;

    #[test]
    fn quantities_in_several_units_are_sums() {
        check(
            Equal,
            &[
                ("1h30", "90 min"),
                ("1 h 30 min", "90 minutes"),
                ("1h 30m", "5400 s"),
                (r"1 \text{ hour } 30 \text{ minutes}", r"1.5 \text{ hours}"),
                ("1 hour and 30 minutes", "1h30"),
                ("5 feet 3 inches", "63 inches"),
                ("2 kg 300 g", "2300 g"),
                ("2 m and 20 cm", "220 cm"),
                (r"1 \text{ m}^2", r"10000 \text{ cm}^2"),
                ("1 L", r"1000 \text{ cm}^3"),
                (r"\$2 \text{ and } 50 \text{ cents}", r"\$2.50"),
            ],
        );
        check(Different, &[("1h30", "80 min"), ("5 feet 3 inches", "53 inches"), ("1h30", "1h31")]);
        check(
            Undecided,
            &[("1h30", "1:30"), ("90 min", "1:30"), ("1 hour and 30 minutes", "1 hour, 30 minutes"), ("1h30", "90")],
        );
        assert_eq!(is_within("1 h 30 min", "1.5", 0.0, 0.0), None);
    }
}
