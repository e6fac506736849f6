//! The shape of an answer as a whole: a quantity with its unit, a set, a tuple or interval, a relation, a matrix, a text. Shapes
//! are recognised in the tokens; their parts are read by `quantity`.
//!
//! `answer`, `quantity` and `compound` name each other: an answer contains quantities, and a quantity with ± is an answer of two values.

use super::clock::{self, Clock};
use super::compound;
use super::lexer;
use super::quantity::{self, Quantity};
use super::spelled;
use super::token::{Bracket, Token};

const MAX_NESTING: usize = 12;

/// A parsed answer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) enum Answer {
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
    /// A union, intersection or difference of intervals, sets and conditions.
    Joined {
        join: SetOperation,
        parts: Vec<Answer>,
    },
    /// `\{x : x > 2\}`: the values that fulfil a condition, whatever the symbol's name.
    Where(Box<Answer>),
    /// Rows of a matrix.
    Matrix(Vec<Vec<Answer>>),
    /// `x = 3`, `1 < x ≤ 2`: one sign fewer than sides.
    Relation {
        sides: Vec<Answer>,
        signs: Vec<char>,
    },
    /// `3:4:5`.
    Ratio(Vec<Answer>),
    /// A time of day or a duration, and possibly a ratio.
    Clock(Clock),
    /// Something that is not understood.
    Unread,
}

/// How sets are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum SetOperation {
    /// ∪, and conditions with "or" between them.
    Union,
    /// ∩, and conditions with "and" between them.
    Intersection,
    /// The first without all others.
    Difference,
    /// Conditions with a comma between them, which may mean both.
    Listed,
}

impl Answer {
    /// Whether all of it was understood and none of it is words.
    pub(in crate::maths) fn is_maths(&self) -> bool {
        match self {
            Answer::Unread | Answer::Text(_) => false,
            Answer::Quantity(_) | Answer::Clock(_) => true,
            Answer::Where(inner) => inner.is_maths(),
            Answer::List(items)
            | Answer::Set(items)
            | Answer::Joined { parts: items, .. }
            | Answer::Ratio(items)
            | Answer::Sequence { items, .. } => items.iter().all(Answer::is_maths),
            Answer::Matrix(rows) => rows.iter().flatten().all(Answer::is_maths),
            Answer::Relation { sides, .. } => sides.iter().all(Answer::is_maths),
        }
    }

    /// Whether some part was not understood.
    pub(in crate::maths) fn has_unread(&self) -> bool {
        match self {
            Answer::Unread => true,
            Answer::Text(_) | Answer::Quantity(_) | Answer::Clock(_) => false,
            Answer::Where(inner) => inner.has_unread(),
            Answer::List(items)
            | Answer::Set(items)
            | Answer::Joined { parts: items, .. }
            | Answer::Ratio(items)
            | Answer::Relation { sides: items, .. }
            | Answer::Sequence { items, .. } => items.iter().any(Answer::has_unread),
            Answer::Matrix(rows) => rows.iter().flatten().any(Answer::has_unread),
        }
    }

    /// The same, marked as rounded.
    fn approximated(self) -> Answer {
        match self {
            Answer::Quantity(quantity) => Answer::Quantity(Quantity { approximate: true, ..quantity }),
            other => other,
        }
    }
}

/// Reads a whole answer.
pub(in crate::maths) fn read(text: &str) -> Answer {
    let Some(mut tokens) = lexer::tokens(text) else { return Answer::Unread };
    while matches!(tokens.last(), Some(Token::Sign(',' | ';' | ':') | Token::Row)) {
        tokens.pop();
    }
    match spelled::with_numbers(&tokens).map(|tokens| answer(&tokens, 0)) {
        Some(spelled) if spelled.is_maths() => spelled,
        _ => answer(&tokens, 0),
    }
}

fn answer(tokens: &[Token], nesting: usize) -> Answer {
    if tokens.is_empty() || nesting > MAX_NESTING {
        return Answer::Unread;
    }
    if let [Token::Sign('≈'), rest @ ..] = tokens {
        return answer(rest, nesting + 1).approximated();
    }
    if let Some(clock) = clock::read(tokens) {
        return Answer::Clock(clock);
    }
    if let Some(text) = text(tokens) {
        return text;
    }
    if let Some(quantity) = compound::read(tokens) {
        return Answer::Quantity(quantity);
    }
    if tokens == [Token::Sign('∅')] {
        return Answer::Set(Vec::new());
    }
    listed(tokens, nesting)
        .or_else(|| joined(tokens, nesting))
        .or_else(|| related(tokens, nesting))
        .or_else(|| ratio(tokens, nesting))
        .or_else(|| matrix(tokens, nesting))
        .or_else(|| bracketed(tokens, nesting))
        .or_else(|| quantity::read(tokens))
        .unwrap_or(Answer::Unread)
}

/// Words only, or one letter in text mode.
fn text(tokens: &[Token]) -> Option<Answer> {
    let mut words = Vec::new();
    let is_letters = |token: Option<&Token>| matches!(token, Some(Token::Word(_) | Token::Symbol { .. }));
    for (index, token) in tokens.iter().enumerate() {
        match token {
            // A minus at the beginning is not a hyphen.
            Token::Sign('-') if index == 0 || !is_letters(tokens.get(index - 1)) => return None,
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
    let parts = split(tokens, |sign| matches!(sign, ',' | ';' | '∧' | '∨' | '⋀' | '⋁'));
    if parts.len() < 2 {
        return None;
    }
    let items: Vec<Answer> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .flat_map(|part| both_signs(part, answer(part, nesting + 1)))
        .collect();
    if let [one] = items.as_slice() {
        return Some(one.clone());
    }
    // p ∨ q is a formula and no list; x = 1 ∨ x = 2 lists.
    if split(tokens, |sign| matches!(sign, '⋀' | '⋁')).len() > 1 && !items.iter().all(is_condition) {
        return Some(Answer::Unread);
    }
    if items.iter().all(is_condition) && !items.iter().all(is_equation) {
        let between = |wanted: &[char]| split(tokens, |sign| wanted.contains(&sign)).len() > 1;
        let join = match (between(&['∧', '⋀']), between(&['∨', '⋁']), between(&[',', ';'])) {
            (true, false, false) => SetOperation::Intersection,
            (false, true, false) => SetOperation::Union,
            // "x < 1, or x > 3" has one comma and one word between two parts.
            (false, true, true) if parts.iter().any(|part| part.is_empty()) && items.len() == 2 => SetOperation::Union,
            (true, false, true) if parts.iter().any(|part| part.is_empty()) && items.len() == 2 => {
                SetOperation::Intersection
            }
            (false, false, true) => SetOperation::Listed,
            _ => return Some(Answer::Unread),
        };
        return Some(Answer::Joined { join, parts: items });
    }
    // x ≠ 1, 2 excludes both.
    match items.split_first() {
        Some((Answer::Relation { sides, signs }, rest))
            if *signs == ['≠'] && rest.iter().all(|item| matches!(item, Answer::Quantity(_))) =>
        {
            let (name, first) = (sides.first()?.clone(), sides.last()?.clone());
            let left_out = std::iter::once(first).chain(rest.iter().cloned()).collect();
            Some(Answer::Relation { sides: vec![name, Answer::List(left_out)], signs: vec!['≠'] })
        }
        _ => Some(Answer::List(items)),
    }
}

/// In a list, ± stands for two of its items.
fn both_signs(tokens: &[Token], answer: Answer) -> Vec<Answer> {
    match answer {
        Answer::Set(items) if split(tokens, |sign| matches!(sign, '±' | '∓')).len() > 1 => items,
        other => vec![other],
    }
}

fn is_condition(item: &Answer) -> bool {
    match item {
        Answer::Relation { signs, .. } => is_inequality(signs) || matches!(signs.as_slice(), ['=' | '≠' | '∈' | '∉']),
        Answer::Joined { .. } => true,
        _ => false,
    }
}

fn is_equation(item: &Answer) -> bool {
    matches!(item, Answer::Relation { signs, .. } if signs.contains(&'='))
}

/// Sets with ∪, ∩ or ∖ between them. The precedence of two of these is clear only from brackets.
fn joined(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let parts = split(tokens, |sign| matches!(sign, '∪' | '∩' | '∖'));
    if parts.len() < 2 {
        return None;
    }
    let related = parts.iter().filter(|part| split(part, is_relation).len() > 1).count();
    if related == 1 && split(parts[0], is_relation).len() > 1 {
        return None; // x ∈ A ∪ B is a relation.
    }
    let only = |sign: char| split(tokens, |other| other == sign).len() == parts.len();
    let join = match (only('∪'), only('∩'), only('∖')) {
        (true, ..) => SetOperation::Union,
        (_, true, _) => SetOperation::Intersection,
        (_, _, true) => SetOperation::Difference,
        _ => return Some(Answer::Unread),
    };
    if related != 0 && related != parts.len() {
        return Some(Answer::Unread);
    }
    Some(Answer::Joined { join, parts: parts.into_iter().map(|part| answer(part, nesting + 1)).collect() })
}

fn is_relation(sign: char) -> bool {
    matches!(sign, '=' | '≈' | '∈' | '∉' | '≠') || is_inequality(&[sign])
}

/// Whether all signs are inequalities.
pub(in crate::maths) fn is_inequality(signs: &[char]) -> bool {
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
    let mut sides: Vec<Answer> = sides.into_iter().map(|side| answer(side, nesting + 1)).collect();
    for (side, sign) in sides[1..].iter_mut().zip(&signs) {
        if *sign == '≈' {
            *side = std::mem::replace(side, Answer::Unread).approximated();
        }
    }
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
    if *open == Bracket::Brace
        && *close == Bracket::Brace
        && let Some(described) = described(inner, nesting)
    {
        return Some(described);
    }
    let in_braces = matches!(open, Bracket::Brace | Bracket::Group);
    let items: Vec<Answer> = parts
        .iter()
        .flat_map(|part| match (in_braces, answer(part, nesting + 1)) {
            (true, answer) => both_signs(part, answer),
            (false, answer) => vec![answer],
        })
        .collect();
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

/// `x \in \mathbb{R} : x > 2`, `x | x > 2` within braces.
fn described(tokens: &[Token], nesting: usize) -> Option<Answer> {
    let parts = split(tokens, |sign| matches!(sign, '|' | ':'));
    let [named, condition] = parts.as_slice() else { return None };
    let condition = answer(condition, nesting + 1);
    if !is_condition(&condition) {
        return None;
    }
    match (named, answer(named, nesting + 1)) {
        ([Token::Symbol { .. }], _) => Some(Answer::Where(Box::new(condition))),
        (_, domain @ Answer::Relation { .. }) if is_condition(&domain) => {
            Some(Answer::Where(Box::new(Answer::Joined {
                join: SetOperation::Intersection,
                parts: vec![domain, condition],
            })))
        }
        _ => Some(Answer::Unread),
    }
}

/// Splits at signs outside of brackets. One part means that there was none.
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

/// The closing bracket of the one that the first token opens.
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
