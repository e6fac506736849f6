//! Whether a fraction is in lowest terms, and whether a question asks for one that is.

use std::sync::LazyLock;

use dashu_int::IBig;
use dashu_ratio::RBig;
use regex::Regex;

use super::reading::lexer;
use super::reading::token::Token;
use super::values::number::Number;

/// How a rational number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An integer, or a fraction or mixed number that cannot be reduced.
    LowestTerms,
    /// A fraction or mixed number that can be.
    Reducible,
    /// With a decimal point.
    Decimal,
}

impl Form {
    /// The form of an answer; of a calculation such as 18/15 = 6/5, of its last side. `None` for all but a single number, with or
    /// without words behind it.
    pub(super) fn of(answer: &str) -> Option<Form> {
        let tokens = lexer::tokens(answer)?;
        let last = tokens.iter().rposition(|token| matches!(token, Token::Sign('=' | '≈')));
        let mut tokens = last.map_or(tokens.as_slice(), |at| &tokens[at + 1..]);
        // A unit, or whatever else is said of the number: "18/15 cannot be reduced".
        if let Some(words) = tokens.iter().position(|token| matches!(token, Token::Word(_))) {
            tokens = &tokens[..words];
        }
        while let [Token::Sign('-' | '+'), rest @ ..] = tokens {
            tokens = rest;
        }
        // Brackets around all of it.
        while let [Token::Open(_), inner @ .., Token::Close(_)] = tokens
            && !inner.iter().any(|token| matches!(token, Token::Open(_) | Token::Close(_)))
        {
            tokens = inner;
        }
        let is_integer = |number: &Number| number.decimals == 0 && number.value.is_int();
        let (whole, rest) = match tokens {
            [Token::Number(number)] if is_integer(number) => return Some(Form::LowestTerms),
            [Token::Number(_)] => return Some(Form::Decimal),
            [Token::Number(_), Token::Sign('/'), ..] => (None, tokens),
            [Token::Number(whole), rest @ ..] => (Some(whole), rest),
            _ => (None, tokens),
        };
        let (over, under) = match rest {
            [Token::Number(over), Token::Sign('/'), Token::Number(under)] => (over, under),
            [Token::Command("frac"), Token::Number(over), Token::Number(under)] => (over, under),
            [
                Token::Command("frac"),
                Token::Open(_),
                Token::Number(over),
                Token::Close(_),
                Token::Open(_),
                Token::Number(under),
                Token::Close(_),
            ]
            | [
                Token::Command("frac"),
                Token::Open(_),
                Token::Sign('-'),
                Token::Number(over),
                Token::Close(_),
                Token::Open(_),
                Token::Number(under),
                Token::Close(_),
            ] => (over, under),
            _ => return None,
        };
        if ![Some(over), Some(under), whole].into_iter().flatten().all(is_integer) {
            return Some(Form::Decimal);
        }
        if under.value.is_zero() {
            return Some(Form::Reducible);
        }
        // The fraction of a mixed number is less than one.
        let is_proper = whole.is_none() || over.value < under.value;
        let reduced: RBig = &over.value / &under.value;
        let is_reduced = is_proper && IBig::from(reduced.denominator().clone()) == *under.value.numerator();
        Some(if is_reduced { Form::LowestTerms } else { Form::Reducible })
    }
}

/// Whether a question asks for a result in lowest terms: "Reduce 18/15", "Simplify your answer", "in lowest terms", "in simplest form".
/// A price that is reduced and a fraction that need not be are none.
pub(super) fn are_asked_for(question: &str) -> bool {
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"(?i)\b(?:lowest|simplest)\s+(?:terms|(?:possible\s+)?form|fraction)\b",
            r"|\b(?:reduced|irreducible|simplified)\s+(?:form|(?:common\s+)?fraction)\b|\bfully\s+(?:reduced|simplified)\b",
            // As a request: at the beginning of a sentence or of a clause, before what may be a number.
            r"|(?:^|[.?!:;,\n]\s*|\b(?:and|then|please)\s+)(?:fully\s+|completely\s+)?(?:simplify|reduce)\s*:?\s+",
            r"(?:[-\d$\\(]|(?:(?:the|this|your|its|any|each|following|final|resulting)\s+)*(?:fractions?|answers?|results?|ratio|quotient|expressions?|it)\b|(?:if|where|when)\s+(?:possible|necessary|needed)\b|as\s+(?:much|far)\b|completely\b|fully\b)",
            r"|(?:^|[.?!:;,\n]\s*|\b(?:and|then|please)\s+)(?:simplify|reduce)\s*(?:[.!:]|$)",
        ))
    });
    static NOT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)(?:\b(?:not|never|without|cannot)|n['’]t)\s+(?:\w+\s+){0,4}?(?:simplif|reduc|lowest|simplest)|\bunsimplified\b|\bunreduced\b",
        )
    });
    ASKED.is_match(question) && !NOT.is_match(question)
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_numbers() {
        use Form::{Decimal, LowestTerms, Reducible};
        for (answer, form) in [
            ("6/5", Some(LowestTerms)),
            (r"\frac{6}{5}", Some(LowestTerms)),
            ("1 1/5", Some(LowestTerms)),
            ("18/15 = 6/5", Some(LowestTerms)),
            ("7", Some(LowestTerms)),
            ("18/15", Some(Reducible)),
            (r"-\frac{18}{15}", Some(Reducible)),
            ("1 3/15", Some(Reducible)),
            ("14/2", Some(Reducible)),
            ("6/5 = 18/15", Some(Reducible)),
            ("5/0", Some(Reducible)),
            ("18/15 cannot be reduced", Some(Reducible)),
            ("6/5 hours", Some(LowestTerms)),
            (r"\frac{18}{15}\text{ hours}", Some(Reducible)),
            ("1.2", Some(Decimal)),
            ("1.2/1", Some(Decimal)),
            ("120%", None),
            ("six fifths", None),
            (r"\frac{2\sqrt3}{4}", None),
        ] {
            assert_eq!(Form::of(answer), form, "{answer}");
        }
    }

    #[test]
    fn questions_that_ask_for_lowest_terms() {
        for (question, asked) in [
            ("Reduce 18/15.", true),
            ("Reduce 18/15 to lowest terms.", true),
            (r"Simplify $\frac{18}{15}$.", true),
            (r"Simplify \frac{18}{15}", true),
            ("Simplify: 18/15", true),
            ("Simplify the fraction 18/15.", true),
            ("What is 18/15 in simplest form?", true),
            ("What is 18/15 in lowest terms?", true),
            ("Add 1/6 and 1/6 and simplify.", true),
            ("Add 1/6 and 1/6, and reduce the result.", true),
            ("What is 1/6 + 1/6? Please reduce your answer.", true),
            ("What is 1/6 + 1/6? Simplify your answer if possible.", true),
            ("Give the probability as a reduced fraction.", true),
            ("Express your answer as an irreducible fraction.", true),
            ("Express your answer as a common fraction in simplest form.", true),
            ("The shop will reduce the price by 1/4. What share is left?", false),
            ("Reduce the price of 20 dollars by 1/4.", false),
            ("The price was reduced by 3/6. What share is left?", false),
            ("What is 1/6 + 1/6? You need not simplify your answer.", false),
            ("What is 1/6 + 1/6? Do not reduce the fraction.", false),
            ("What is 1/6 + 1/6? It doesn't have to be in lowest terms.", false),
            ("Give the fraction without simplifying. Leave it unsimplified.", false),
            ("Which is the lowest of them?", false),
            ("What is 1/6 + 1/6?", false),
            ("", false),
        ] {
            assert_eq!(are_asked_for(question), asked, "{question}");
        }
    }
}
