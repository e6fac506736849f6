//! Verifiers that know no mathematics: text, patterns, numbers, JSON.

use regex::Regex;
use serde_json::{Number, Value};

use super::{Verdict, maths};

pub(super) fn exact(answer_text: &str, gold: &str, ignore_case: bool) -> Verdict {
    let bare = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if ignore_case { text.to_lowercase() } else { text }
    };
    let gold = bare(gold);
    if bare(answer_text) == gold {
        return Verdict::Right;
    }
    match maths::extract_marked(answer_text) {
        Some(answer) => decided(bare(answer) == gold),
        None if answer_text.trim().is_empty() => Verdict::NoAnswer,
        None => Verdict::Wrong,
    }
}

pub(super) fn regex(answer_text: &str, gold: &str, pattern: &Regex) -> Verdict {
    match matched(answer_text, pattern) {
        Some(answer) => decided(answer.trim() == gold.trim()),
        None => Verdict::NoAnswer,
    }
}

/// The last match of a pattern: its first group, or all of it without groups.
pub(super) fn matched<'a>(answer_text: &'a str, pattern: &Regex) -> Option<&'a str> {
    let found = pattern.captures_iter(answer_text).last()?;
    let group = found.iter().skip(1).flatten().next();
    group.or(found.get(0)).map(|answer| answer.as_str())
}

/// Whether something follows the last match of a pattern, so that a text that ends there cannot have cut it short.
pub(super) fn is_followed(answer_text: &str, pattern: &Regex) -> bool {
    matched(answer_text, pattern).is_some_and(|found| {
        let end = found.as_ptr() as usize - answer_text.as_ptr() as usize + found.len();
        end < answer_text.trim_end().len() || answer_text[end..].contains('\n')
    })
}

pub(super) fn numeric(answer_text: &str, gold: &str, absolute: f64, relative: f64) -> Verdict {
    let Some(answer) = maths::extract(answer_text) else { return Verdict::NoAnswer };
    if super::is_no_number(gold) {
        return Verdict::Undecided;
    }
    match maths::is_within(answer, gold, absolute, relative) {
        // 5 + 5 is no number, whatever its value.
        Some(true) if maths::lacks_evaluation(answer, gold) => Verdict::Undecided,
        within => within.map_or(Verdict::Undecided, decided),
    }
}

pub(super) fn json(answer_text: &str, gold: &str) -> Verdict {
    let Ok(gold) = serde_json::from_str(gold) else { return Verdict::Undecided };
    match last_json(answer_text) {
        Some(answer) => same_json(&answer, &gold).map_or(Verdict::Undecided, decided),
        None => Verdict::NoAnswer,
    }
}

fn decided(right: bool) -> Verdict {
    if right { Verdict::Right } else { Verdict::Wrong }
}

/// The whole text, the last fenced block, or the last line that is JSON.
pub(super) fn last_json(text: &str) -> Option<Value> {
    let parse = |text: &str| serde_json::from_str(text.trim()).ok();
    parse(text)
        .or_else(|| {
            let (before, _) = text.rsplit_once("```")?;
            let (_, block) = before.rsplit_once("```")?;
            let without_language = block.split_once('\n').map_or(block, |(_, rest)| rest);
            parse(without_language).or_else(|| parse(block))
        })
        .or_else(|| maths::extract_marked(text).and_then(parse))
        .or_else(|| outermost(text).and_then(parse))
        .or_else(|| text.lines().rev().find(|line| !line.trim().is_empty()).and_then(parse))
}

/// From the first bracket that opens to the last that closes.
fn outermost(text: &str) -> Option<&str> {
    let start = text.find(['{', '['])?;
    let end = text.rfind(['}', ']'])?;
    text.get(start..=end)
}

/// `None` where numbers look the same that are too large to be held exactly.
fn same_json(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            all(left.iter().zip(right).map(|(left, right)| same_json(left, right)))
        }
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
            all(left.iter().map(|(key, value)| right.get(key).map_or(Some(false), |other| same_json(value, other))))
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => Some(false),
        _ => Some(left == right),
    }
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

/// 1 and 1.0 are one number; integers are compared as such.
fn same_number(left: &Number, right: &Number) -> Option<bool> {
    if left.is_f64() || right.is_f64() {
        let (left, right) = (left.as_f64()?, right.as_f64()?);
        // From here on a float does not hold every whole number: what was written may have been another one.
        return (left != right || left.abs() < EXACT_FLOATS).then_some(left == right);
    }
    Some(left == right)
}

/// 2⁵³.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;
