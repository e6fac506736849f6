//! Numbers that are spelled out: "twelve", "five thousand", "a half", "two and a half", "minus three". Words that only look like numbers,
//! such as the second of two seconds, are left as they are.

use dashu_int::UBig;
use dashu_ratio::RBig;

use super::token::Token;
use crate::maths::values::number::Number;

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(&str, u64); 5] = [
    ("thousand", 1_000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000),
    ("dozen", 12),
];
/// Names of fractions, singular and plural.
const PARTS: [(&str, &str, u64); 13] = [
    ("half", "halves", 2),
    ("third", "thirds", 3),
    ("quarter", "quarters", 4),
    ("fourth", "fourths", 4),
    ("fifth", "fifths", 5),
    ("sixth", "sixths", 6),
    ("seventh", "sevenths", 7),
    ("eighth", "eighths", 8),
    ("ninth", "ninths", 9),
    ("tenth", "tenths", 10),
    ("twelfth", "twelfths", 12),
    ("hundredth", "hundredths", 100),
    ("thousandth", "thousandths", 1000),
];
/// Words that are part of a number without being one by themselves.
const OTHERS: [&str; 18] = [
    "hundred", "hundreds", "dozens", "pair", "couple", "once", "twice", "thrice", "double", "triple", "single",
    "first", "second", "several", "score", "few", "some", "many",
];

/// Whether a lower-case text contains a number word, so that it may be a number.
pub(in crate::maths) fn names_a_number(text: &str) -> bool {
    text.split(' ').any(|word| {
        UNITS.contains(&word)
            || TENS.contains(&word)
            || OTHERS.contains(&word)
            || SCALES.iter().any(|(scale, _)| *scale == word)
            || PARTS.iter().any(|(one, several, _)| *one == word || *several == word)
    })
}

/// The tokens with each spelled number as a number. `None` if there is none, or if number words do not form one.
pub(super) fn with_numbers(tokens: &[Token]) -> Option<Vec<Token>> {
    let words: Vec<String> = tokens.iter().map(word).collect();
    let reader = Reader { tokens, words: &words };
    let mut read = Vec::with_capacity(tokens.len());
    let (mut at, mut is_found) = (0, false);
    while at < tokens.len() {
        let negative = matches!(reader.word(at), "minus" | "negative");
        let start = at + usize::from(negative);
        let behind_number = matches!(read.last(), Some(Token::Number(_)));
        let Some((number, end)) = reader.number(start).filter(|_| !behind_number) else {
            read.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let is_joined = reader.word(end) == "-" && reader.is_number_word(end + 1);
        if is_joined || reader.is_number_word(end) {
            return None;
        }
        if negative {
            read.push(Token::Sign('-'));
        }
        read.push(Token::Number(number));
        (at, is_found) = (end, true);
    }
    is_found.then_some(read)
}

fn word(token: &Token) -> String {
    match token {
        Token::Word(word) => word.to_lowercase(),
        Token::Symbol { name, .. } if name == "a" => "a".to_string(),
        Token::Sign('∧') => "and".to_string(),
        Token::Sign('-') => "-".to_string(),
        _ => String::new(),
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    words: &'a [String],
}

impl Reader<'_> {
    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    fn is_article(&self, at: usize) -> bool {
        matches!(self.word(at), "a" | "an")
    }

    fn is_number_word(&self, at: usize) -> bool {
        let word = self.word(at);
        word == "hundred" || UNITS.contains(&word) || TENS.contains(&word) || scale(word).is_some()
    }

    /// A number from this word on, and its end.
    fn number(&self, at: usize) -> Option<(Number, usize)> {
        if let Some((value, end)) = self.part(at) {
            return Some((Number::exact(value), end));
        }
        let (whole, end) = self.whole(at)?;
        if self.word(end) == "and"
            && let Some((part, end)) = self.part(end + 1).filter(|(part, _)| *part < RBig::ONE)
        {
            return Some((Number::exact(RBig::from(whole) + part), end));
        }
        if self.word(end) == "point" {
            return self.decimal(whole, end + 1);
        }
        Some((Number::exact(RBig::from(whole)), end))
    }

    /// "half", "a third", "two thirds", "one-half".
    fn part(&self, at: usize) -> Option<(RBig, usize)> {
        let (count, mut end) = match self.word(at) {
            "half" if !self.is_article(at + 1) => return Some((RBig::from_parts(1.into(), 2u8.into()), at + 1)),
            "a" | "an" => (1, at + 1),
            _ => self.below_hundred(at)?,
        };
        end += usize::from(self.word(end) == "-");
        let named = |(one, several, _): &&(&str, &str, u64)| self.word(end) == if count == 1 { *one } else { *several };
        let (_, _, under) = PARTS.iter().find(named)?;
        Some((RBig::from_parts(count.into(), UBig::from(*under)), end + 1))
    }

    /// The digits behind "point".
    fn decimal(&self, whole: u64, start: usize) -> Option<(Number, usize)> {
        let digit = |at: usize| UNITS[..10].iter().position(|unit| *unit == self.word(at));
        let digits: Vec<usize> = (start..self.tokens.len()).map_while(digit).take(12).collect();
        let (mut value, mut under) = (RBig::from(whole), 1u64);
        for digit in &digits {
            under *= 10;
            value += RBig::from_parts((*digit as u64).into(), UBig::from(under));
        }
        let number = Number { decimals: digits.len(), significant: digits.len() + 1, ..Number::exact(value) };
        (!digits.is_empty()).then_some((number, start + digits.len()))
    }

    /// "two hundred and five thousand and three".
    fn whole(&self, at: usize) -> Option<(u64, usize)> {
        let (mut total, mut at, mut last_scale) = (0u64, at, u64::MAX);
        loop {
            let (group, end) = match self.is_article(at) && scale(self.word(at + 1)).is_some() {
                true => (1, at + 1),
                false => self.below_thousand(at)?,
            };
            let Some(scale) = scale(self.word(end)) else { return Some((total.checked_add(group)?, end)) };
            if scale >= last_scale {
                return None;
            }
            total = total.checked_add(group.checked_mul(scale)?)?;
            last_scale = scale;
            at = end + 1;
            let next = at + usize::from(self.word(at) == "and");
            if scale == 12 || self.below_thousand(next).is_none() {
                return Some((total, at));
            }
            // "two thousand and a half": "and" begins another part.
            if next > at && self.part(next).is_some() {
                return Some((total, at));
            }
            at = next;
        }
    }

    fn below_thousand(&self, at: usize) -> Option<(u64, usize)> {
        let (count, end) = match self.is_article(at) && self.word(at + 1) == "hundred" {
            true => (1, at + 1),
            false => self.below_hundred(at)?,
        };
        if self.word(end) != "hundred" {
            return Some((count, end));
        }
        let end = end + 1;
        let next = end + usize::from(self.word(end) == "and");
        match self.below_hundred(next).filter(|_| next == end || self.part(next).is_none()) {
            Some((rest, end)) => Some((count * 100 + rest, end)),
            None => Some((count * 100, end)),
        }
    }

    fn below_hundred(&self, at: usize) -> Option<(u64, usize)> {
        let unit = |at: usize| UNITS.iter().position(|unit| *unit == self.word(at)).map(|unit| unit as u64);
        let Some(ten) = TENS.iter().position(|ten| *ten == self.word(at)) else {
            return unit(at).map(|unit| (unit, at + 1));
        };
        let ten = (ten as u64 + 2) * 10;
        let next = at + 1 + usize::from(self.word(at + 1) == "-");
        match unit(next).filter(|unit| (1..10).contains(unit)) {
            Some(unit) => Some((ten + unit, next + 1)),
            None => Some((ten, at + 1)),
        }
    }
}

fn scale(word: &str) -> Option<u64> {
    SCALES.iter().find(|(scale, _)| *scale == word).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use crate::maths::Equality::{Different, Equal, Undecided};
    use crate::maths::tests::check;

    #[test]
    fn numbers_may_be_spelled_out() {
        check(
            Equal,
            &[
                ("twelve", "12"),
                (r"\text{twelve}", "12"),
                ("Twenty-five", "25"),
                ("twenty five", "25"),
                ("one hundred and five", "105"),
                ("one hundred five", "105"),
                ("five thousand", "5,000"),
                ("a thousand", "1000"),
                ("two hundred thousand and three", "200003"),
                ("three million two hundred", "3000200"),
                ("a half", r"\frac12"),
                ("one half", "0.5"),
                ("one-half", "1/2"),
                ("half", "1/2"),
                ("two thirds", r"\frac23"),
                ("three quarters", "75\\%"),
                ("one third", r"\frac{1}{3}"),
                ("two and a half", "2.5"),
                ("two and three quarters", "2.75"),
                ("minus three", "-3"),
                ("negative five", "-5"),
                (r"-\text{five}", "-5"),
                ("three point one four", "3.14"),
                ("twelve apples", "12 apples"),
                ("twelve apples", "12"),
                ("fifty percent", r"50\%"),
                ("two dozen", "24"),
                ("three and five", "3, 5"),
                ("zero", "0"),
                ("ten dollars", r"\$10"),
                ("The Two Towers", "the two towers"),
                ("forty-two", "forty two"),
            ],
        );
        check(
            Different,
            &[
                ("twelve", "13"),
                ("five thousand", "500"),
                ("a half", "1/3"),
                ("two thirds", "3/2"),
                ("minus three", "3"),
                ("twelve", "twenty"),
                ("twenty-five", "20, 5"),
                (r"-\text{five}", r"\text{five}"),
            ],
        );
        check(
            Undecided,
            &[
                ("twelve or so", "12"),
                ("a couple", "2"),
                ("half a dozen", "6"),
                ("five five", "10"),
                ("second", "2"),
                ("twenty thousand million", "20000000000"),
            ],
        );
    }
}
