//! Tokens whose meaning depends on their neighbours: the x between two numbers, the tilde before one, the minus before a set.

use super::token::{Bracket, Token};

/// ∼ before a number means "about", elsewhere it is unknown; − before a set is a set difference.
pub(super) fn signs_of_several_meanings(tokens: &mut Vec<Token>) -> Option<()> {
    // 12{:}00 only sets the colon closer.
    let set_close = [Token::Open(Bracket::Group), Token::Sign(':'), Token::Close(Bracket::Group)];
    while let Some(at) = tokens.windows(3).position(|three| three == set_close) {
        tokens.splice(at..at + 3, [Token::Sign(':')]);
    }
    let is = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(wanted));
    while let Some(at) = tokens.windows(2).position(|two| is(&two[0], "per") && is(&two[1], "cent")) {
        tokens.splice(at..at + 2, [Token::Sign('%')]);
    }
    for index in 0..tokens.len() {
        let next = tokens.get(index + 1);
        match tokens[index] {
            Token::Sign('∼') if matches!(next, Some(Token::Number(_) | Token::Sign('-' | '$') | Token::Command(_))) =>
            {
                tokens[index] = Token::Sign('≈');
            }
            Token::Sign('∼') => return None,
            Token::Sign('-') if index > 0 && next == Some(&Token::Open(Bracket::Brace)) => {
                tokens[index] = Token::Sign('∖');
            }
            _ => {}
        }
    }
    Some(())
}

/// `3 x 10^5`: between two numbers, an x is a multiplication sign.
pub(super) fn letters_as_times(tokens: &mut [Token]) {
    for index in 1..tokens.len().saturating_sub(1) {
        let between = matches!((&tokens[index - 1], &tokens[index + 1]), (Token::Number(_), Token::Number(_)));
        if between && matches!(&tokens[index], Token::Symbol { name, .. } if name == "x" || name == "X") {
            tokens[index] = Token::Sign('*');
        }
    }
}
