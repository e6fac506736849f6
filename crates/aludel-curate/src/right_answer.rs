//! The column of a row that holds the reference answer. `verdicts` compares it with the row's answers.

use std::cell::LazyCell;

use super::row_options::options;
use aludel_data::column_names::{RIGHT_ANSWERS, called, is_among, same};
use aludel_data::dataset::{Columns, Json, Kind};
use aludel_verify::maths::{Equality, equal};
use aludel_verify::{Options, Verdict};

/// More letters or words than these are a worked solution, or an answer in full.
const LETTERS: usize = 200;
const WORDS: usize = 8;

/// The column of the right answer: the first of `names` that holds something and is none of those `used` for the question. The `question`
/// may list options, by which a letter and a value say the same.
///
/// # Errors
/// Two columns of one name, or two of the usual ones, that say different things for sure; with their names.
pub fn right_answer<'a>(
    row: &'a Columns,
    names: &[impl AsRef<str>],
    used: &[&str],
    question: Option<&str>,
) -> Result<Option<(&'a str, Json<'a>)>, String> {
    let is_free = |(name, value): &(&str, Json<'_>)| !used.contains(name) && !is_empty(*value);
    let mut found = names.iter().filter_map(|name| {
        let own = called(row, name.as_ref()).filter(is_free);
        own.or_else(|| row.iter().find(|column| same(column.0, name.as_ref()) && is_free(column)))
    });
    let Some(mut first) = found.next() else { return Ok(None) };
    let are_usual = names.iter().map(AsRef::as_ref).eq(RIGHT_ANSWERS);
    let is_other_name = |name: &str| !same(name, "answer") && is_among(&RIGHT_ANSWERS, name);
    if are_usual && is_long(first.1) {
        first = found.find(|(name, value)| is_other_name(name) && !is_long(*value)).unwrap_or(first);
    }
    let counts = |name: &str| same(name, first.0) || are_usual && is_other_name(name);
    let options = LazyCell::new(|| options(question, row));
    let differs = |value: Json<'_>| are_different(first.1, value, || options.as_ref());
    let other =
        row.iter().find(|column| column.0 != first.0 && counts(column.0) && is_free(column) && differs(column.1));
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

/// Whether two right answers are short and different for sure. What is not understood may be the same.
fn are_different<'o>(one: Json<'_>, other: Json<'_>, options: impl FnOnce() -> Option<&'o Options>) -> bool {
    let (Some(first), Some(second)) = (text(one), text(other)) else { return one.written() != other.written() };
    if first == second || is_long(one) || is_long(other) {
        return false;
    }
    match equal(&first, &second) {
        Equality::Equal => false,
        found => match options().and_then(|options| options.verdict(&first, &second)) {
            Some(verdict) => verdict != Verdict::Right,
            None => found == Equality::Different,
        },
    }
}

fn is_long(value: Json<'_>) -> bool {
    let Some(text) = text(value).filter(|_| value.kind() == Kind::Text) else { return false };
    // Signs and commands of a formula are no words.
    let is_word = |word: &&str| word.chars().filter(|c| c.is_alphabetic()).count() > 1 && !word.contains('\\');
    text.contains('\n') || text.chars().count() > LETTERS || text.split_whitespace().filter(is_word).count() > WORDS
}

fn text(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Text => value.text().ok().flatten().map(|text| text.trim().to_owned()),
        _ => Some(value.written().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            match (right_answer(&columns, &RIGHT_ANSWERS, &[], None), found) {
                (Ok(column), Ok(wanted)) => assert_eq!(column.map(|(name, _)| name), wanted, "{row}"),
                (Err(reason), Err(wanted)) => assert!(reason.contains(wanted), "{row}: {reason}"),
                (other, _) => panic!("{row}: {other:?}"),
            }
        }
    }

    #[test]
    fn named_columns_count_in_the_order_of_their_names() {
        let columns: Columns = serde_json::from_str(r#"{"gold": "4", "Ground Truth": "5", "answer": "6"}"#).unwrap();
        let first = right_answer(&columns, &["ground_truth", "gold"], &[], None).unwrap().map(|(name, _)| name);
        assert_eq!(first, Some("Ground Truth"));
        let unused = right_answer(&columns, &["gold", "answer"], &["gold"], None).unwrap().map(|(name, _)| name);
        assert_eq!(unused, Some("answer"));
    }

    #[test]
    fn only_what_differs_for_sure_is_refused() {
        let asked = "Which city?\nA. London\nB. Paris\nC. Rome";
        let solved = "There are two and two of them.\nTogether that is 4.\n#### 4";
        let sentence = "Adding two apples and another two apples gives four apples in all";
        for (row, question, found) in [
            (json!({"gold": "B", "correct_answer": "Paris"}), None, Ok("gold")),
            (json!({"gold": "B", "correct_answer": "Paris"}), Some(asked), Ok("gold")),
            (json!({"gold": "Paris", "correct_answer": "b"}), Some(asked), Ok("gold")),
            (json!({"gold": "C", "correct_answer": "Paris"}), Some(asked), Err("`gold` and `correct_answer`")),
            (
                json!({"gold": "C", "correct_answer": "Paris", "choices": ["London", "Paris", "Rome"]}),
                None,
                Err("`gold` and `correct_answer`"),
            ),
            (json!({"gold": "A", "correct_answer": "B"}), None, Err("`gold` and `correct_answer`")),
            (json!({"ground_truth": solved, "expected_answer": "4"}), None, Ok("expected_answer")),
            (json!({"reference_answer": sentence, "expected_answer": "4"}), None, Ok("expected_answer")),
            (json!({"expected_answer": "4", "reference_answer": solved}), None, Ok("expected_answer")),
            (json!({"ground_truth": solved, "answer": "4"}), None, Ok("ground_truth")),
            (json!({"gold": solved, "ground_truth": sentence}), None, Ok("gold")),
            (json!({"gold": "London", "ground_truth": "Paris"}), None, Err("`gold` and `ground_truth`")),
            (json!({"final_answer": "4", "answer": sentence}), None, Ok("final_answer")),
            (json!({"final_answer": "4", "expected_answer": 5}), None, Err("`expected_answer` and `final_answer`")),
            (json!({"gold": "Mon", "ground_truth": "Monday"}), None, Ok("gold")),
        ] {
            let columns: Columns = serde_json::from_str(&row.to_string()).unwrap();
            match (right_answer(&columns, &RIGHT_ANSWERS, &[], question), found) {
                (Ok(column), Ok(wanted)) => assert_eq!(column.map(|(name, _)| name), Some(wanted), "{row}"),
                (Err(reason), Err(wanted)) => assert!(reason.contains(wanted), "{row}: {reason}"),
                (other, _) => panic!("{row}: {other:?}"),
            }
        }
    }
}
