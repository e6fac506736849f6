//! What an answer is as a whole: a quantity with its unit, a set, a tuple or interval, a relation, a matrix, a text.
//! Shapes are told apart on the tokens; what stands inside them is read by `expression`.

use super::expression::Expression;
use super::lexer::{self, Bracket, Token};
use super::parser::{self, PlusMinus};
use super::unit::{self, Unit};

const MAX_NESTING: usize = 12;

/// An answer that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Quantity(Quantity),
    /// Words only.
    Text(String),
    /// Values side by side, without brackets.
    List(Vec<Answer>),
    /// Values in braces.
    Set(Vec<Answer>),
    /// Values in brackets; two of them may be an interval.
    Sequence {
        open: Bracket,
        close: Bracket,
        items: Vec<Answer>,
    },
    /// Intervals and sets joined.
    Union(Vec<Answer>),
    /// Rows of a matrix.
    Matrix(Vec<Vec<Answer>>),
    /// `x = 3`, `1 < x ≤ 2`: one sign fewer than sides.
    Relation {
        sides: Vec<Answer>,
        signs: Vec<char>,
    },
    /// `3:4:5`, or a time of day.
    Ratio(Vec<Answer>),
    /// Something that is not understood.
    Unread,
}

impl Answer {
    /// Whether all of it was understood and none of it is words.
    pub(super) fn is_maths(&self) -> bool {
        match self {
            Answer::Unread | Answer::Text(_) => false,
            Answer::Quantity(_) => true,
            Answer::List(items)
            | Answer::Set(items)
            | Answer::Union(items)
            | Answer::Ratio(items)
            | Answer::Sequence { items, .. } => items.iter().all(Answer::is_maths),
            Answer::Matrix(rows) => rows.iter().flatten().all(Answer::is_maths),
            Answer::Relation { sides, .. } => sides.iter().all(Answer::is_maths),
        }
    }
}

/// A number or expression with what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantity {
    pub(super) expression: Expression,
    pub(super) percent: bool,
    pub(super) unit: Option<Unit>,
}

impl Quantity {
    pub(super) fn plain(expression: Expression) -> Quantity {
        Quantity { expression, percent: false, unit: None }
    }
}

/// Reads a whole answer.
pub(super) fn read(text: &str) -> Answer {
    let Some(mut tokens) = lexer::tokens(text) else { return Answer::Unread };
    while matches!(tokens.last(), Some(Token::Sign(',' | ';' | ':') | Token::Row)) {
        tokens.pop();
    }
    answer(&tokens, 0)
}

fn answer(tokens: &[Token], nesting: usize) -> Answer {
    if tokens.is_empty() || nesting > MAX_NESTING {
        return Answer::Unread;
    }
    if let Some(text) = text(tokens) {
        return text;
    }
    if tokens == [Token::Sign('∅')] {
        return Answer::Set(Vec::new());
    }
    listed(tokens, nesting)
        .or_else(|| united(tokens, nesting))
        .or_else(|| related(tokens, nesting))
        .or_else(|| ratio(tokens, nesting))
        .or_else(|| matrix(tokens, nesting))
        .or_else(|| bracketed(tokens, nesting))
        .or_else(|| quantity(tokens))
        .unwrap_or(Answer::Unread)
}

/// Words only, or one letter that was set as text.
fn text(tokens: &[Token]) -> Option<Answer> {
    let mut words = Vec::new();
    for token in tokens {
        match token {
            Token::Word(word) => words.push(word.to_lowercase()),
            Token::Sign('∧') => words.push("and".to_string()),
            Token::Sign('∨') => words.push("or".to_string()),
            Token::Sign(',' | '\'' | '-' | ';') => {}
            Token::Open(Bracket::Round | Bracket::Group) | Token::Close(Bracket::Round | Bracket::Group) => {}
            // A letter among words is a word: "Yes, I do"; by itself it is a symbol.
            Token::Symbol { name, .. } => words.push(name.to_lowercase()),
            _ => return None,
        }
    }
    let has_word = tokens.iter().any(|token| matches!(token, Token::Word(_)));
    has_word.then(|| Answer::Text(words.join(" ")))
}

/// `a, b and c`, `x = 1 or x = 2`.
fn listed(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let parts = split(tokens, |sign| matches!(sign, ',' | ';' | '∧' | '∨'));
    if parts.len() < 2 {
        return None;
    }
    let items: Vec<Answer> =
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| answer(part, nesting + 1)).collect();
    let conjunction = split(tokens, |sign| sign == '∧').len() > 1;
    let inequalities = items.iter().all(|item| matches!(item, Answer::Relation { signs, .. } if is_inequality(signs)));
    Some(match inequalities {
        // What two inequalities have in common is an interval, but which is not worked out.
        true if conjunction => Answer::Unread,
        true => Answer::Union(items),
        false if items.len() == 1 => items.into_iter().next()?,
        false => Answer::List(items),
    })
}

fn united(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let parts = split(tokens, |sign| sign == '∪');
    (parts.len() > 1).then(|| Answer::Union(parts.into_iter().map(|part| answer(part, nesting + 1)).collect()))
}

fn is_relation(sign: char) -> bool {
    sign == '=' || sign == '≈' || sign == '∈' || sign == '≠' || is_inequality(&[sign])
}

/// Whether all signs order.
pub(super) fn is_inequality(signs: &[char]) -> bool {
    signs.iter().all(|sign| matches!(sign, '<' | '>' | '≤' | '≥'))
}

fn related(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let sides = split(tokens, is_relation);
    if sides.len() < 2 {
        return None;
    }
    let mut signs = Vec::new();
    let mut at = 0;
    for side in &sides[..sides.len() - 1] {
        at += side.len();
        if let Token::Sign(sign) = tokens[at] {
            signs.push(sign);
        }
        at += 1;
    }
    let sides: Vec<Answer> = sides.into_iter().map(|side| answer(side, nesting + 1)).collect();
    Some(Answer::Relation { sides, signs })
}

fn ratio(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let parts = split(tokens, |sign| sign == ':');
    (parts.len() > 1).then(|| Answer::Ratio(parts.into_iter().map(|part| answer(part, nesting + 1)).collect()))
}

fn matrix(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let [Token::MatrixBegin, inner @ .., Token::MatrixEnd] = tokens else { return None };
    if inner.iter().any(|token| matches!(token, Token::MatrixBegin | Token::MatrixEnd)) {
        return None;
    }
    let rows = inner.split(|token| *token == Token::Row).filter(|row| !row.is_empty());
    let cells =
        |row: &[Token]| row.split(|token| *token == Token::Column).map(|cell| answer(cell, nesting + 1)).collect();
    Some(Answer::Matrix(rows.map(cells).collect()))
}

/// A tuple, interval, set, or something in superfluous brackets.
fn bracketed(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let [Token::Open(open), inner @ .., Token::Close(close)] = tokens else { return None };
    if matching_close(tokens) != Some(tokens.len() - 1) {
        return None;
    }
    let parts = split(inner, |sign| matches!(sign, ',' | ';'));
    if *open == Bracket::Brace && *close == Bracket::Brace && inner.is_empty() {
        return Some(Answer::Set(Vec::new()));
    }
    let items: Vec<Answer> = parts.iter().map(|part| answer(part, nesting + 1)).collect();
    match (open, close) {
        (Bracket::Brace, Bracket::Brace) => Some(Answer::Set(items)),
        (Bracket::Group, Bracket::Group) if items.len() > 1 => Some(Answer::Set(items)),
        (Bracket::Round | Bracket::Square, Bracket::Round | Bracket::Square) if items.len() > 1 => {
            Some(Answer::Sequence { open: *open, close: *close, items })
        }
        _ if open == close && items.len() == 1 => items.into_iter().next(),
        _ => None,
    }
}

fn quantity(tokens: &[Token]) -> Option<Answer> {
    let (currency, tokens) = match tokens {
        [Token::Sign(sign @ ('$' | '€' | '£' | '¥' | '₹')), rest @ ..] => (Some(*sign), rest),
        [Token::Sign('-'), Token::Sign(sign @ ('$' | '€' | '£' | '¥' | '₹')), rest @ ..] => {
            let Answer::Quantity(mut quantity) = quantity(rest)? else { return None };
            quantity.expression = quantity.expression.negated();
            quantity.unit = quantity.unit.or_else(|| Unit::from_words([sign.to_string().as_str()]));
            return Some(Answer::Quantity(quantity));
        }
        _ => (None, tokens),
    };
    let tokens = skip_leading_words(tokens);
    let (tokens, letter_unit) = split_letter_unit(tokens);
    let read = parser::read(tokens, PlusMinus::Plus)?;
    let (scale, rest) = scale(&tokens[read.length..]);
    let (percent, mut unit) = suffix(rest)?;
    if let Some(currency) = currency {
        unit = Unit::from_words([currency.to_string().as_str()]);
    }
    if let Some(letter) = letter_unit {
        unit = Unit::from_words([letter]);
    }
    let quantity = |expression| {
        let expression = match scale {
            1 => expression,
            _ => Expression::Product(vec![expression, Expression::integer(scale)]),
        };
        Answer::Quantity(Quantity { expression, percent, unit: unit.clone() })
    };
    if read.plus_minus {
        let other = parser::read(tokens, PlusMinus::Minus)?;
        return Some(Answer::Set(vec![quantity(read.expression), quantity(other.expression)]));
    }
    Some(quantity(read.expression))
}

/// "about 5", "approximately $5".
fn skip_leading_words(tokens: &[Token]) -> &[Token] {
    match tokens {
        [Token::Word(word), rest @ ..]
            if matches!(word.to_lowercase().as_str(), "about" | "approximately" | "exactly" | "only" | "rs") =>
        {
            rest
        }
        _ => tokens,
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

/// Words behind a number that change its value or leave it open, so that they are no unit.
const NO_UNITS: [&str; 22] = [
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
    "mod",
    "modulo",
    "half",
    "is",
];

/// Percent sign or unit behind an expression; `None` where something else stands there.
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

/// Splits at signs that stand in no bracket. One part means that there was none.
fn split(tokens: &[Token], separates: impl Fn(char) -> bool) -> Vec<&[Token]> {
    let mut depth = 0usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Open(_) | Token::MatrixBegin => depth += 1,
            Token::Close(_) | Token::MatrixEnd => depth = depth.saturating_sub(1),
            Token::Sign(sign) if depth == 0 && separates(*sign) => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// Where the bracket closes that the first token opens.
fn matching_close(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Open(_) | Token::MatrixBegin => depth += 1,
            Token::Close(_) | Token::MatrixEnd => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}
