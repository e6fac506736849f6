//! Percentages against plain numbers. `25%` is the value 0.25. It is also what somebody means by 25 who was asked for a percentage; whether
//! that was asked is said here.

use std::sync::LazyLock;

use regex::Regex;

use crate::maths::Equality;

/// Whether a question asks for a percentage: "What percent of …", "Find the percentage of …", "as a percentage". One that a number stands
/// before is given and not asked for, as in "What is 20 percent of 50?".
pub(crate) fn is_asked_for(question: &str) -> bool {
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        let asks = "what|which|how many|how much|find|calculate|compute|determine|give|express|write|state|estimate|convert|report|as|in|to";
        // No more than a few words stand between, and none that begins another clause.
        Regex::new(&format!(
            r"(?i)\b(?:{asks})\b((?:\s+[\w'’-]+){{0,4}}?)\s+(?:percent|percentage|per\s+cent|%)(?:s\b|\b|\s|[?.,]|$)"
        ))
        .expect("a constant pattern compiles")
    });
    const CLAUSES: [&str; 8] = ["if", "when", "where", "given", "that", "who", "whose", "of"];
    ASKED.captures_iter(question).any(|found| {
        let between: Vec<&str> = found.get(1).map_or("", |words| words.as_str()).split_whitespace().collect();
        let is_given = between.last().is_some_and(|last| is_number(last));
        !is_given && !between.iter().any(|word| CLAUSES.iter().any(|clause| word.eq_ignore_ascii_case(clause)))
    })
}

/// Digits, or a number in words.
fn is_number(word: &str) -> bool {
    const NAMES: [&str; 17] = [
        "five",
        "ten",
        "fifteen",
        "twenty",
        "twenty-five",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "seventy-five",
        "eighty",
        "ninety",
        "hundred",
        "one",
        "two",
        "three",
    ];
    word.contains(|letter: char| letter.is_ascii_digit()) || NAMES.iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// Whether two answers are equal where both are percentages, with their sign or without it.
pub(in crate::maths) fn is_same(left: &str, right: &str) -> bool {
    static SIGN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\\?%|\s*\b(?:percent|per\s+cent|pct)\b").expect("a constant pattern compiles")
    });
    let is_signed = |text: &str| SIGN.is_match(text);
    // Both signed or both bare are compared as they are.
    let bare = |text: &str| SIGN.replace_all(text, "").replace("\\text{}", "").replace("\\text{ }", "");
    is_signed(left) != is_signed(right) && crate::maths::equal(&bare(left), &bare(right)) == Equality::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maths::Equality::{Different, Equal, Undecided};
    use crate::maths::tests::check;

    #[test]
    fn a_percentage_is_its_share_and_maybe_its_number() {
        check(Equal, &[("0.25", "25%"), (r"\frac14", r"25\%"), ("0", "0%"), ("25%", "25 percent"), ("1.2", "120%")]);
        check(Undecided, &[("25", "25%"), ("25", r"25\%"), ("12.5", "12.5 percent")]);
        check(Different, &[("0.26", "25%"), ("26", "25%"), ("25", "0.25")]);
    }

    #[test]
    fn percentages_without_their_sign_are_the_same() {
        for (left, right, same) in [
            ("25", "25%", true),
            (r"25\%", "25", true),
            (r"25 \text{ percent}", "25.0", true),
            ("25%", "25%", false),
            ("25", "25", false),
            ("0.25", "25%", false),
            ("26", "25%", false),
        ] {
            assert_eq!((is_same(left, right), is_same(right, left)), (same, same), "{left} {right}");
        }
    }

    #[test]
    fn what_a_question_asks_for() {
        for (question, asked) in [
            ("What percent of 40 is 10?", true),
            ("What is the percentage of boys in the class?", true),
            ("Find the percent increase in price.", true),
            ("By what percentage did it fall?", true),
            ("How many percent are red?", true),
            ("Give your answer as a percentage.", true),
            ("Express 1/4 as a percent.", true),
            ("Write the share in per cent", true),
            ("What % of them are red?", true),
            ("What is 20 percent of 50?", false),
            ("What is twenty percent of 50?", false),
            ("What is 20% of 50?", false),
            ("If 30 percent are boys, how many girls are there?", false),
            ("The percentage of boys is 40. How many boys are there?", false),
            ("Find the number of boys, given that the percentage of girls is 40.", false),
            ("What number is in the 90th percentile?", false),
            ("How many apples are there?", false),
        ] {
            assert_eq!(is_asked_for(question), asked, "{question}");
        }
    }
}
