//! A number or an expression with its surroundings: currency signs, "about", scales such as million, percent signs and units. The
//! expression itself is read by `parser`, units by `unit`.

use dashu_ratio::RBig;

use super::answer::Answer;
use super::parser::{self, PlusMinus};
use super::token::Token;
use crate::maths::values::expression::Expression;
use crate::maths::values::number::Number;
use crate::maths::values::unit::{self, Unit};

/// A number or expression with its suffix.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) struct Quantity {
    pub(in crate::maths) expression: Expression,
    pub(in crate::maths) percent: bool,
    pub(in crate::maths) unit: Option<Unit>,
    /// Whether "≈" or "about" says that it is rounded.
    pub(in crate::maths) approximate: bool,
    /// Whether it was written in several units, such as hours and minutes.
    pub(in crate::maths) compound: bool,
}

impl Quantity {
    pub(in crate::maths) fn plain(expression: Expression) -> Quantity {
        Quantity { expression, percent: false, unit: None, approximate: false, compound: false }
    }
}

/// Reads an expression with its currency sign, percent sign or unit; `None` if anything is left.
pub(in crate::maths) fn read(tokens: &[Token]) -> Option<Answer> {
    let (currency, tokens) = match tokens {
        [Token::Sign(sign @ ('$' | '€' | '£' | '¥' | '₹')), rest @ ..] => (Some(*sign), rest),
        [Token::Sign('-'), Token::Sign(sign @ ('$' | '€' | '£' | '¥' | '₹')), rest @ ..] => {
            let Answer::Quantity(mut quantity) = read(rest)? else { return None };
            quantity.expression = quantity.expression.negated();
            quantity.unit = quantity.unit.or_else(|| Unit::from_words([sign.to_string().as_str()]));
            return Some(Answer::Quantity(quantity));
        }
        _ => (None, tokens),
    };
    let (tokens, approximate) = skip_leading_words(tokens);
    let (tokens, letter_unit) = split_letter_unit(tokens);
    let found = parser::read(tokens, PlusMinus::Plus)?;
    let (scale, rest) = scale(&tokens[found.length..]);
    let (percent, mut unit) = suffix(rest)?;
    if let Some(currency) = currency {
        unit = Unit::from_words([currency.to_string().as_str()]);
    }
    if let Some(letter) = letter_unit {
        unit = Unit::from_words([letter]);
    }
    let quantity = |expression| {
        let expression = match (scale, expression) {
            (1, expression) => expression,
            // "5 million" is one number.
            (_, Expression::Number(number)) => Expression::Number(Number::exact(number.value * RBig::from(scale))),
            (_, expression) => Expression::Product(vec![expression, Expression::integer(scale)]),
        };
        Answer::Quantity(Quantity { expression, percent, unit: unit.clone(), approximate, compound: false })
    };
    if found.plus_minus {
        // Whether two signs are the same choice is unknown.
        let signs = |wanted| tokens[..found.length].iter().filter(|token| **token == Token::Sign(wanted)).count();
        if signs('±') > 1 {
            return Some(Answer::Unread);
        }
        let other = parser::read(tokens, PlusMinus::Minus)?;
        return Some(Answer::Set(vec![quantity(found.expression), quantity(other.expression)]));
    }
    Some(quantity(found.expression))
}

/// "about 5", "approximately 5", "exactly 5"; and whether they say that it is rounded.
fn skip_leading_words(tokens: &[Token]) -> (&[Token], bool) {
    match tokens {
        [Token::Word(word), rest @ ..] => match word.to_lowercase().as_str() {
            "about" | "approximately" | "around" | "roughly" | "nearly" | "approx" => (rest, true),
            "exactly" | "only" | "rs" => (rest, false),
            _ => (tokens, false),
        },
        _ => (tokens, false),
    }
}

/// `12 m`: a lone letter behind a number and a space.
fn split_letter_unit(tokens: &[Token]) -> (&[Token], Option<&str>) {
    match tokens {
        [rest @ .., Token::Symbol { name, spaced: true }]
            if matches!(rest, [Token::Number(_)] | [Token::Sign('-'), Token::Number(_)])
                && unit::is_letter_unit(name) =>
        {
            (rest, Some(name))
        }
        _ => (tokens, None),
    }
}

/// "5 million" is a number, and million no unit.
fn scale(tokens: &[Token]) -> (i64, &[Token]) {
    if let [Token::Word(word), rest @ ..] = tokens {
        let scale = match word.to_lowercase().as_str() {
            "dozen" => 12,
            "hundred" => 100,
            "thousand" => 1_000,
            "million" => 1_000_000,
            "billion" => 1_000_000_000,
            "trillion" => 1_000_000_000_000,
            _ => 1,
        };
        if scale > 1 {
            return (scale, rest);
        }
    }
    (1, tokens)
}

/// Words after a number that change its value or leave it open, so that they are not a unit.
const NO_UNITS: [&str; 49] = [
    "squared",
    "cubed",
    "factorial",
    "times",
    "plus",
    "minus",
    "over",
    "divided",
    "multiplied",
    "more",
    "less",
    "fewer",
    "than",
    "if",
    "when",
    "where",
    "not",
    "remainder",
    "repeating",
    "recurring",
    "periodic",
    "rounded",
    "mod",
    "modulo",
    "half",
    "halves",
    "third",
    "thirds",
    "fourth",
    "fourths",
    "fifth",
    "fifths",
    "sixth",
    "sixths",
    "eighth",
    "eighths",
    "tenth",
    "tenths",
    "hundredth",
    "hundredths",
    "thousandth",
    "thousandths",
    "thousands",
    "millions",
    "billions",
    "negative",
    "least",
    "most",
    "is",
];

/// The percent sign or unit after an expression; `None` if something else follows.
fn suffix(tokens: &[Token]) -> Option<(bool, Option<Unit>)> {
    let (percent, tokens) = match tokens {
        [Token::Sign('%'), rest @ ..] => (true, rest),
        _ => (false, tokens),
    };
    let mut words: Vec<String> = Vec::new();
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        match token {
            Token::Word(word) if NO_UNITS.contains(&word.to_lowercase().as_str()) => {
                let unit_before = !words.is_empty() && matches!(word.as_str(), "squared" | "cubed");
                if !unit_before {
                    return None;
                }
                words.push(word.clone());
            }
            Token::Word(word) => words.push(word.clone()),
            Token::Sign('°') => words.push("°".to_string()),
            Token::Sign('/') if !words.is_empty() => words.push("/".to_string()),
            Token::Sign('$') => words.push("$".to_string()),
            Token::Sign('€') => words.push("€".to_string()),
            Token::Sign('∧' | ',' | '-') if !words.is_empty() => {}
            Token::Symbol { name, .. } if words.last().is_some_and(|word| word == "/") => words.push(name.clone()),
            Token::Open(_) | Token::Close(_) if !words.is_empty() => {}
            Token::Sign('^') if !words.is_empty() => {
                let exponent = rest.find(|token| !matches!(token, Token::Open(_)))?;
                let Token::Number(number) = exponent else { return None };
                words.push(format!("^{}", number.value));
            }
            _ => return None,
        }
    }
    Some((percent, Unit::from_words(words.iter().map(String::as_str))))
}
