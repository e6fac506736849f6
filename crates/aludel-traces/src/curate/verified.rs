//! Verdicts on answers whose right one is known: which column holds it, and what is found. How answers are compared is
//! `verify`'s matter, which of the right ones are kept that of `choose`.

use serde_json::{Map, Value};

use super::trace::replies;
use crate::Error;
use crate::dataset::Content;
use crate::verify::{Checker, Verdict};

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

/// A right answer as text; lists and objects as JSON, for the verifier that compares JSON.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
