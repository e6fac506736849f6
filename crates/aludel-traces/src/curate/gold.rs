//! Which column of a row holds the right answer. What is compared with it, and how, is `verified`'s matter.

use crate::dataset::{Columns, Json, Kind};
use crate::names::{called, same};
use crate::verify::maths::{Equality, equal};

/// The columns that usually hold a right answer, in any spelling: the first that holds something counts. All of them have to say the same
/// but for `answer`, which is an answer in full where another one stands beside it.
pub const RIGHT_ANSWERS: [&str; 7] =
    ["gold", "gold_answer", "ground_truth", "correct_answer", "reference_answer", "expected_answer", "answer"];

/// The column of the right answer: the first of `names` that holds something and is none of those `used` for the question.
///
/// # Errors
/// Two columns of one name, or two of the usual ones, that do not say the same; with their names.
pub fn right_answer<'a>(
    row: &'a Columns,
    names: &[impl AsRef<str>],
    used: &[&str],
) -> Result<Option<(&'a str, Json<'a>)>, String> {
    let is_free = |(name, value): &(&str, Json<'_>)| !used.contains(name) && !is_empty(*value);
    let first = names.iter().find_map(|name| {
        let own = called(row, name.as_ref()).filter(is_free);
        own.or_else(|| row.iter().find(|column| same(column.0, name.as_ref()) && is_free(column)))
    });
    let Some(first) = first else { return Ok(None) };
    let are_usual = names.iter().map(AsRef::as_ref).eq(RIGHT_ANSWERS);
    let is_other_name = |name: &str| !same(name, "answer") && RIGHT_ANSWERS.iter().any(|usual| same(usual, name));
    let counts = |name: &str| same(name, first.0) || are_usual && is_other_name(name);
    let other = row
        .iter()
        .find(|column| column.0 != first.0 && counts(column.0) && is_free(column) && !say_the_same(first.1, column.1));
    match other {
        None => Ok(Some(first)),
        Some((other, _)) => Err(format!(
            "the row has `{}` and `{}`, and they do not say the same; leave the right answer in one of them",
            first.0.escape_debug(),
            other.escape_debug()
        )),
    }
}

fn is_empty(value: Json<'_>) -> bool {
    value.is_empty() && matches!(value.kind(), Kind::Null | Kind::Text)
}

fn say_the_same(one: Json<'_>, other: Json<'_>) -> bool {
    let text = |value: Json<'_>| match value.kind() {
        Kind::Text => value.text().ok().flatten().map(|text| text.trim().to_owned()),
        _ => Some(value.written().to_owned()),
    };
    match (text(one), text(other)) {
        (Some(one), Some(other)) => one == other || equal(&one, &other) == Equality::Equal,
        _ => one.written() == other.written(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_stand_in_columns_of_any_spelling() {
        for (row, found) in [
            (r#"{"gold": "4", "answer": "four"}"#, Ok(Some("gold"))),
            (r#"{"Gold": "4", "answer": "four"}"#, Ok(Some("Gold"))),
            (r#"{"Answer": "4"}"#, Ok(Some("Answer"))),
            (r#"{"ground_truth": "4"}"#, Ok(Some("ground_truth"))),
            (r#"{"GroundTruth": 4, "gold": ""}"#, Ok(Some("GroundTruth"))),
            (r#"{"answer": "So it is 4.", "correct-answer": "4"}"#, Ok(Some("correct-answer"))),
            (r#"{"gold": "1/2", "ground_truth": "0.5"}"#, Ok(Some("gold"))),
            (r#"{"gold": "4", "ground_truth": "5"}"#, Err("`gold` and `ground_truth`")),
            (r#"{"Answer": "4", "answer": "5"}"#, Err("`answer` and `Answer`")),
            (r#"{"Answer": "4", "answer": ""}"#, Ok(Some("Answer"))),
            (r#"{"golden": "4", "label": "5"}"#, Ok(None)),
        ] {
            let columns: Columns = serde_json::from_str(row).unwrap();
            match (right_answer(&columns, &RIGHT_ANSWERS, &[]), found) {
                (Ok(column), Ok(wanted)) => assert_eq!(column.map(|(name, _)| name), wanted, "{row}"),
                (Err(reason), Err(wanted)) => assert!(reason.contains(wanted), "{row}: {reason}"),
                (other, _) => panic!("{row}: {other:?}"),
            }
        }
    }

    #[test]
    fn named_columns_count_in_the_order_of_their_names() {
        let columns: Columns = serde_json::from_str(r#"{"gold": "4", "Ground Truth": "5", "answer": "6"}"#).unwrap();
        let first = right_answer(&columns, &["ground_truth", "gold"], &[]).unwrap().map(|(name, _)| name);
        assert_eq!(first, Some("Ground Truth"));
        let unused = right_answer(&columns, &["gold", "answer"], &["gold"]).unwrap().map(|(name, _)| name);
        assert_eq!(unused, Some("answer"));
    }
}
