//! Multiple choice: which letter an answer settles on.

use std::sync::LazyLock;

use regex::Regex;

use super::{Verdict, maths};

pub(super) fn verdict(answer_text: &str, gold: &str, letters: &[char]) -> Verdict {
    let Some(gold) = leading_letter(gold, letters) else { return Verdict::Undecided };
    if is_several(answer_text, letters) {
        return Verdict::Undecided;
    }
    match chosen(answer_text, letters) {
        Some(letter) if letter == gold => Verdict::Right,
        Some(_) => Verdict::Wrong,
        None => Verdict::NoAnswer,
    }
}

/// The letter in the marked answer, else one that stands alone or in brackets in the last lines.
pub(super) fn chosen(text: &str, letters: &[char]) -> Option<char> {
    if let Some(marked) = maths::extract_marked(text) {
        return leading_letter(marked, letters).or_else(|| last_bracketed(marked, letters));
    }
    let last_lines = text.trim().lines().rev().filter(|line| !line.trim().is_empty()).take(2);
    last_lines.into_iter().find_map(|line| leading_letter(line, letters).or_else(|| last_bracketed(line, letters)))
}

/// Whether the answer names one letter and then another: "A or B", "(A), (C)", "(A) is wrong, (B) fits".
pub(super) fn is_several(text: &str, letters: &[char]) -> bool {
    static SEVERAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?:^|[\s({*$\[])([A-Za-z])[)\]}*$]*\s*(?:,|/|&|,?\s(?:or|and)\s)\s*(?:or\s|and\s)?(?:\\text\{)?[(\[{*$]*",
            r"([A-Za-z])(?:[)\]}*$.,:\s]*$|[)\]}])"
        ))
        .expect("a constant pattern compiles")
    });
    let answer = maths::extract_marked(text).unwrap_or(text);
    let Some(line) = answer.trim().lines().rev().find(|line| !line.trim().is_empty()) else { return false };
    if let (Some(first), Some(last)) = (leading_letter(line, letters), last_bracketed(line, letters))
        && first != last
    {
        return true;
    }
    SEVERAL.captures_iter(line).any(|found| {
        let letter = |group: usize| found.get(group).and_then(|letter| letter.as_str().chars().next());
        let (Some(first), Some(second)) = (letter(1), letter(2)) else { return false };
        let same_case = first.is_ascii_uppercase() == second.is_ascii_uppercase();
        let (first, second) = (first.to_ascii_uppercase(), second.to_ascii_uppercase());
        same_case && first != second && letters.contains(&first) && letters.contains(&second)
    })
}

/// `B`, `(b)`, `\text{B}`, `**B**`, `B) because`: a letter, and then no other letter or digit. A small letter counts
/// only by itself or in brackets, for "a" is also a word.
pub(super) fn leading_letter(text: &str, letters: &[char]) -> Option<char> {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:\\(?:text|mathrm|textbf|mathbf)\{|[\s(\[{*$])*(?i:option |choice )?[(\[]?([A-Za-z])(?:[\s)\]}*$.:,]+(.*))?$")
            .expect("a constant pattern compiles")
    });
    let first_line = text.trim().lines().next()?;
    let found = LETTER.captures(first_line)?;
    let letter = found.get(1)?;
    let character = letter.as_str().chars().next()?;
    let alone = found.get(2).is_none_or(|rest| rest.as_str().trim().is_empty());
    let closed = first_line[letter.end()..].starts_with([')', ']', '}', ':']);
    // "A student would say…" begins with a word, "A. The student" with a letter.
    let punctuated = first_line[letter.end()..].starts_with([')', ']', '}', ':', '.', ',', '*']);
    let counts = if character.is_ascii_uppercase() { alone || punctuated } else { alone || closed };
    let upper = character.to_ascii_uppercase();
    (counts && letters.contains(&upper)).then_some(upper)
}

fn last_bracketed(text: &str, letters: &[char]) -> Option<char> {
    static BRACKETED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\(([A-Za-z])\)|(?i:option|choice|answer is|answer:)\s+\*{0,2}([A-Z])\b")
            .expect("a constant pattern compiles")
    });
    let found = BRACKETED.captures_iter(text).last()?;
    let letter = found.iter().skip(1).flatten().next()?.as_str().chars().next()?.to_ascii_uppercase();
    letters.contains(&letter).then_some(letter)
}
