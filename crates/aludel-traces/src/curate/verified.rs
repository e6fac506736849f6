//! Verdicts on answers whose right one is known: which column holds it, and what is found. How answers are compared is
//! `verify`'s matter, which of the right ones are kept that of `choose`.

use super::trace::replies;
use crate::Error;
use crate::dataset::{Columns, Content, Json, Kind};
use crate::verify::{Checker, Verdict};

/// The columns that usually hold a right answer: the first that holds something counts.
pub const RIGHT_ANSWERS: [&str; 2] = ["gold", "answer"];

/// The verdict on a row's last answer; `None` where no right one is known.
///
/// # Errors
/// A verifier command that cannot be started.
pub(super) fn verdict(
    checker: &Checker,
    gold_columns: &[String],
    content: &Content,
    columns: &Columns,
) -> Result<Option<Verdict>, Error> {
    let gold = gold_columns.iter().find_map(|name| Some((columns.get(name)?.kind(), text_of(columns.get(name)?)?)));
    let Some((kind, gold)) = gold else { return Ok(None) };
    let Some(answer) = replies(content).last() else { return Ok(None) };
    let verdict = checker.verdict(&answer.content, &gold)?;
    // Several right answers in one column, or one with notes beside it, are no answer that an answer could differ from.
    let is_understood = !matches!(kind, Kind::List | Kind::Object) || checker.compares_structures();
    Ok(Some(if verdict == Verdict::Wrong && !is_understood { Verdict::Undecided } else { verdict }))
}

/// A right answer as text; lists, objects and numbers as they are written. Half of a character pair is no answer.
fn text_of(value: Json<'_>) -> Option<String> {
    match value.kind() {
        _ if value.is_empty() && matches!(value.kind(), Kind::Null | Kind::Text) => None,
        Kind::Text => value.text().ok().flatten().map(|text| text.into_owned()),
        _ => Some(value.written().to_string()),
    }
}
