//! Notations whose letters and signs may mean something else than a product, a difference or a quotient: dates and
//! ranges, functions, matrices, differentials. Read as arithmetic, two such answers may come out equal without being so.

use crate::maths::Equality;
use crate::maths::comparison::relation;
use crate::maths::reading::answer::{self, Answer};
use crate::maths::reading::compound;
use crate::maths::reading::lexer;
use crate::maths::reading::token::{Bracket, Token};

/// The verdict on two answers that were compared as arithmetic and are not the same text.
pub(in crate::maths) fn weighed(left: &str, right: &str, computed: Equality) -> Equality {
    let (first, second) = (chains(left), chains(right));
    if !first.is_empty() || !second.is_empty() {
        return chained(&first, &second, computed);
    }
    let lists = || (answer::read(left), answer::read(right));
    let (Some(left), Some(right)) = (lexer::tokens(left), lexer::tokens(right)) else { return computed };
    let doubtful = has_differential(&left)
        || has_differential(&right)
        || computed == Equality::Equal
            && (has_unlike_logic(&left, &right)
                || has_unlike_words(&left, &right, lists)
                || has_reversed_capitals(&left, &right)
                || indices(&left) != indices(&right)
                || has_matrices(&left)
                || has_matrices(&right)
                || has_functions(&left, &right));
    if doubtful { Equality::Undecided } else { computed }
}

/// Whether text is a date, a range, a score or a telephone number rather than one number.
pub(in crate::maths) fn is_chain(text: &str) -> bool {
    !chains(text).is_empty()
}

/// The same parts in the same order are the same date; other parts are another one. Everything else is ambiguous.
fn chained(left: &[Vec<String>], right: &[Vec<String>], computed: Equality) -> Equality {
    if left == right && left.iter().all(|parts| parts.len() == 3) && computed != Equality::Different {
        return Equality::Equal;
    }
    let sorted = |chains: &[Vec<String>]| {
        let mut parts = chains.concat();
        parts.sort();
        parts
    };
    let comparable = left.len() == 1 && right.len() == 1 && left[0].len() == right[0].len();
    match comparable && computed == Equality::Different && sorted(left) != sorted(right) {
        true => Equality::Different,
        false => Equality::Undecided,
    }
}

/// The parts of each bare `3-4`, `2024-01-02` or `2/4/2024` in an answer or a list of answers, without leading zeros. With spaces
/// around its sign, `5 - 3` is a difference.
fn chains(text: &str) -> Vec<Vec<String>> {
    let text = text.replace(" and ", ",").replace(" or ", ",");
    text.split([',', ';']).filter_map(chain).collect()
}

fn chain(item: &str) -> Option<Vec<String>> {
    let mut item = item.trim_matches(|character: char| character.is_whitespace() || "${}.*()[]".contains(character));
    // What is named in front is no part of it; 10-3=7 is arithmetic.
    if let Some((name, value)) = item.rsplit_once('=')
        && !name.contains(|character: char| character.is_ascii_digit())
    {
        item = value.trim_start();
    }
    for command in ["\\text{", "\\mathrm{", "\\textbf{", "\\boxed{", "\\{", "\\(", "\\["] {
        item = item.strip_prefix(command).unwrap_or(item).trim_start();
    }
    let is_sign = |character: char| "-−‐‑/".contains(character);
    let end = item
        .find(|character: char| !character.is_ascii_digit() && character != '.' && !is_sign(character))
        .unwrap_or(item.len());
    let (run, rest) = item.split_at(end);
    let after = rest.trim_start_matches([' ', '}', ')', ']', '$', '\\', '~']);
    let has_unit = after.starts_with(|first: char| first.is_alphabetic()) && rest.starts_with([' ', '}', '\\', '~']);
    let is_layout = ["\\sqrt", "\\frac", "\\dfrac", "\\cdot", "\\times", "\\pi"].iter().any(|it| rest.starts_with(it));
    if is_layout || !(after.is_empty() || has_unit || after.starts_with(['%', '°'])) {
        return None;
    }
    let parts: Vec<&str> = run.split(is_sign).collect();
    let is_number = |part: &&str| part.starts_with(|first: char| first.is_ascii_digit());
    let is_fraction = parts.len() == 2 && run.contains('/');
    (parts.len() > 1 && !is_fraction && parts.iter().all(is_number)).then(|| {
        let bare = |part: &&str| part.trim_start_matches('0').to_string();
        parts.iter().map(bare).collect()
    })
}

/// Whether one is joined by a logical "and" and the other by a logical "or".
fn has_unlike_logic(left: &[Token], right: &[Token]) -> bool {
    let has = |tokens: &[Token], sign| tokens.contains(&Token::Sign(sign));
    ['⋀', '⋁'].iter().any(|sign| has(left, *sign) != has(right, *sign))
        && [left, right]
            .iter()
            .all(|tokens| has(tokens, '⋀') || has(tokens, '⋁') || has(tokens, '∧') || has(tokens, '∨'))
}

/// Whether one says "or" where the other does not, between equations of several names, or where the other says "and" between formulas.
fn has_unlike_words(left: &[Token], right: &[Token], lists: impl Fn() -> (Answer, Answer)) -> bool {
    let has = |tokens: &[Token], signs: [char; 2]| tokens.iter().any(|token| signs.map(Token::Sign).contains(token));
    let (either, both) = (['∨', '⋁'], ['∧', '⋀']);
    if has(left, either) == has(right, either) {
        return false;
    }
    let (first, second) = lists();
    let is_listed = |answer: &Answer, of: fn(&[Answer]) -> bool| matches!(answer, Answer::List(items) if of(items));
    let of_names = |items: &[Answer]| relation::names(items).is_some();
    let of_formulas = |items: &[Answer]| items.iter().any(|item| relation::symbol(item).is_some());
    is_listed(&first, of_names)
        || is_listed(&second, of_names)
        || (has(left, both) || has(right, both)) && (is_listed(&first, of_formulas) || is_listed(&second, of_formulas))
}

/// Whether two capitals are multiplied in different orders: AB and BA differ if they are matrices.
fn has_reversed_capitals(left: &[Token], right: &[Token]) -> bool {
    let (mut left, mut right) = (capitals_in_order(left), capitals_in_order(right));
    left.sort_unstable();
    right.sort_unstable();
    let is_reversed = |(first, second): &(&str, &str)| {
        first != second && (left.contains(&(second, first)) || right.contains(&(second, first)))
    };
    left != right && left.iter().chain(&right).any(is_reversed)
}

/// Maximum number of capitals compared.
const MOST_CAPITALS: usize = 40;

/// Pairs of capitals within one product, in their order; none from denominators.
fn capitals_in_order(tokens: &[Token]) -> Vec<(&str, &str)> {
    let is_capital = |name: &&str| name.len() == 1 && name.starts_with(|first: char| first.is_ascii_uppercase());
    let capital = |at: usize| letter(tokens.get(at)).filter(is_capital);
    let places: Vec<usize> = (0..tokens.len()).filter(|at| capital(*at).is_some()).take(MOST_CAPITALS).collect();
    let mut pairs = Vec::new();
    for (index, from) in places.iter().enumerate() {
        for to in &places[index + 1..] {
            if let (Some(first), Some(second)) = (capital(*from), capital(*to))
                && are_factors(&tokens[*from..*to])
            {
                pairs.push((first, second));
            }
        }
    }
    pairs
}

/// Whether only a product is between the first of these tokens and the one after them: no sign at the lowest depth, no fraction
/// bar.
fn are_factors(between: &[Token]) -> bool {
    let (mut depth, mut lowest, mut separated_at) = (0isize, 0isize, Vec::new());
    for pair in between.windows(2).map(Some).chain([None]) {
        let token = pair.map_or(&between[between.len() - 1], |pair| &pair[0]);
        match token {
            // Numerator and denominator.
            Token::Close(Bracket::Group) if pair.is_some_and(|pair| pair[1] == Token::Open(Bracket::Group)) => {
                return false;
            }
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth -= 1,
            Token::Sign('*' | '^' | '_' | '\'') => {}
            Token::Sign(_) | Token::Column | Token::Row => separated_at.push(depth),
            _ => {}
        }
        lowest = lowest.min(depth);
    }
    !separated_at.contains(&lowest)
}

/// Letters with a number right behind them, which may be an index: x1 is x₁ rather than x · 1.
fn indices(tokens: &[Token]) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    // 1h30 is a time.
    if compound::read(tokens).is_some() {
        return found;
    }
    for (at, pair) in tokens.windows(2).enumerate() {
        let ([Token::Symbol { name, .. }, Token::Number(number)], false) = (pair, matches!(name_of(pair), "e" | "i"))
        else {
            continue;
        };
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        let is_argument = matches!(before, Some(Token::Command(_) | Token::Sign('_' | '^')));
        let goes_on = matches!(tokens.get(at + 2), Some(Token::Sign('^' | '!' | '_')));
        if !is_argument && !goes_on {
            found.push((name.as_str(), number.value.to_string()));
        }
    }
    found.sort();
    found
}

fn name_of(tokens: &[Token]) -> &str {
    letter(tokens.first()).unwrap_or_default()
}

fn letter(token: Option<&Token>) -> Option<&str> {
    match token {
        Some(Token::Symbol { name, .. }) => Some(name),
        _ => None,
    }
}

/// Whether capitals are multiplied and one is inverted or transposed: the order of matrices matters.
fn has_matrices(tokens: &[Token]) -> bool {
    let is_capital = |name: &str| name.len() == 1 && name.starts_with(|first: char| first.is_ascii_uppercase());
    let exponent = |at: usize| {
        let rest = &tokens[at + 1..];
        let rest = rest.strip_prefix(&[Token::Open(Bracket::Group)]).unwrap_or(rest);
        rest.first() == Some(&Token::Sign('-')) || letter(rest.first()) == Some("T")
    };
    let raised = |at: &usize| tokens[*at] == Token::Sign('^') && exponent(*at);
    let count = (0..tokens.len()).filter(raised).count();
    let transposed = (0..tokens.len())
        .filter(raised)
        .filter(|at| letter(tokens.get(at + 1)) == Some("T") || letter(tokens.get(at + 2)) == Some("T"));
    let capitals = tokens.iter().filter(|token| letter(Some(token)).is_some_and(is_capital)).count();
    count > 0 && capitals.saturating_sub(transposed.count()) > 1
}

/// Whether a d stands before a variable.
fn has_differential(tokens: &[Token]) -> bool {
    const VARIABLES: [&str; 11] = ["x", "y", "z", "t", "u", "v", "w", "r", "s", "theta", "d"];
    let is_variable = |token: Option<&Token>| letter(token).is_some_and(|name| VARIABLES.contains(&name));
    (0..tokens.len()).any(|at| {
        let under = match at.checked_sub(1).map(|before| &tokens[before]) {
            Some(Token::Sign('/')) => true,
            Some(Token::Open(_)) => at > 1 && matches!(tokens[at - 2], Token::Close(_) | Token::Sign('/')),
            _ => false,
        };
        let next = tokens.get(at + 1);
        letter(tokens.get(at)) == Some("d") && (is_variable(next) || under && letter(next).is_some())
    })
}

/// Letters that name functions before brackets. Others do if nothing but one symbol or number stands within.
const FUNCTION_LETTERS: [&str; 13] = ["f", "g", "h", "F", "G", "H", "P", "Q", "T", "phi", "varphi", "psi", "sigma"];

/// Whether a letter before brackets names a function. A leading `f(x) =` only says what the value is of.
fn has_functions(left: &[Token], right: &[Token]) -> bool {
    let (name, body) = named(left);
    let (other, other_body) = named(right);
    let same_name = name.is_empty() || other.is_empty() || name == other;
    let is_other_name = |name: &[Token], body: &[Token]| name.is_empty() && body.contains(&Token::Sign('='));
    !same_name
        || (!name.is_empty() && is_other_name(other, other_body))
        || (!other.is_empty() && is_other_name(name, body))
        || calls(body)
        || calls(other_body)
}

/// Splits off `f(x) =`, where no other function stands within.
fn named(tokens: &[Token]) -> (&[Token], &[Token]) {
    let equals = tokens.iter().position(|token| *token == Token::Sign('='));
    match equals {
        Some(at) if at > 3 && call_at(tokens, 0) && tokens[at - 1] == Token::Close(Bracket::Round) => {
            match calls(&tokens[1..at]) {
                true => (&[], tokens),
                false => (&tokens[..at], &tokens[at + 1..]),
            }
        }
        _ => (&[], tokens),
    }
}

fn calls(tokens: &[Token]) -> bool {
    (0..tokens.len()).any(|at| call_at(tokens, at))
}

/// Whether a function's name stands here, perhaps with an index or a power, and then its brackets.
fn call_at(tokens: &[Token], at: usize) -> bool {
    let Some(name) = letter(tokens.get(at)) else { return false };
    let mut next = at + 1;
    while matches!(tokens.get(next), Some(Token::Sign('^' | '_'))) {
        next += 1;
        if tokens.get(next) == Some(&Token::Open(Bracket::Group)) {
            while next < tokens.len() && tokens[next] != Token::Close(Bracket::Group) {
                next += 1;
            }
        } else if tokens.get(next) == Some(&Token::Sign('-')) {
            next += 1;
        }
        next += 1;
    }
    let lone = matches!(
        tokens.get(next..),
        Some([Token::Open(Bracket::Round), Token::Symbol { .. } | Token::Number(_), Token::Close(Bracket::Round), ..])
    );
    let opens = tokens.get(next) == Some(&Token::Open(Bracket::Round));
    opens && (FUNCTION_LETTERS.contains(&name) || lone && next == at + 1)
}
