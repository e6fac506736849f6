//! Verdicts on answers whose right one is known: which column holds it, what is found, and which of the right answers to one
//! prompt are kept (rejection sampling). How answers are compared is `verify`'s matter.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Judged, Keep, Reason, drop_row, shuffled};
use crate::Error;
use crate::dataset::{Content, PromptKey};
use crate::verify::{Checker, Verdict};

use super::trace::replies;

/// The verdict on a row's last answer; `None` where no right one is known.
///
/// # Errors
/// A verifier command that cannot be started.
pub(super) fn verdict(
    checker: &Checker,
    gold_columns: &[String],
    content: &Content,
    columns: &Map<String, Value>,
) -> Result<Option<Verdict>, Error> {
    let Some(gold) = gold_columns.iter().find_map(|name| text_of(columns.get(name)?)) else { return Ok(None) };
    let Some(answer) = replies(content).last() else { return Ok(None) };
    checker.verdict(&answer.content, &gold).map(Some)
}

/// Leaves of the right answers to each prompt those that are wanted.
pub(super) fn choose(rows: &mut [Judged], keep: Keep, seed: u64) {
    let wanted = match keep {
        Keep::All => return,
        Keep::Shortest => 1,
        Keep::Count(count) => count as usize,
    };
    let mut right_rows: HashMap<PromptKey, Vec<usize>> = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        if row.is_kept() && row.verdict == Some(Verdict::Right) {
            right_rows.entry(row.prompt).or_default().push(number);
        }
    }
    for mut numbers in right_rows.into_values().filter(|numbers| numbers.len() > wanted) {
        match keep {
            Keep::Shortest => numbers.sort_by_key(|number| (rows[*number].learnt_bytes, *number)),
            _ => numbers.sort_by_key(|number| shuffled(rows[*number].hash, seed)),
        }
        let detail = format!("its prompt has {} right answers, and {wanted} is wanted", numbers.len());
        for number in &numbers[wanted..] {
            drop_row(&mut rows[*number], Reason::NotChosen, detail.clone());
        }
    }
}

/// Leaves at most so many rows of each prompt, right ones before others.
pub(super) fn cap(rows: &mut [Judged], most: u64, seed: u64) {
    let mut rows_of: HashMap<PromptKey, Vec<usize>> = HashMap::new();
    for (number, row) in rows.iter().enumerate().filter(|(_, row)| row.is_kept()) {
        rows_of.entry(row.prompt).or_default().push(number);
    }
    for mut numbers in rows_of.into_values().filter(|numbers| numbers.len() as u64 > most) {
        numbers
            .sort_by_key(|number| (rows[*number].verdict != Some(Verdict::Right), shuffled(rows[*number].hash, seed)));
        let detail = format!("its prompt has {} rows, and {most} are wanted at most", numbers.len());
        for number in &numbers[most as usize..] {
            drop_row(&mut rows[*number], Reason::PromptCap, detail.clone());
        }
    }
}

/// A right answer as text; lists and objects as JSON, for the verifier that compares JSON.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
