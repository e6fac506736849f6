//! The options of a multiple-choice question as a row lists them: in the question, or in a column. `aludel-verify` matches an answer with
//! them.

use aludel_data::column_names::called;
use aludel_data::dataset::{Columns, Json, Kind};
use aludel_verify::Options;

/// The options of the question, where the row lists them: in its question, or in a column. Where both do, they have to say the same.
pub(super) fn options(question: Option<&str>, columns: &Columns) -> Option<Options> {
    let in_question = question.and_then(Options::in_question);
    let listed =
        ["choices", "options"].iter().find_map(|name| called(columns, name)).and_then(|(_, value)| listed(value));
    match (in_question, listed) {
        (Some(asked), Some(listed)) => (asked == listed).then_some(asked),
        (asked, listed) => asked.or(listed),
    }
}

/// `["12", "14"]`, `{"text": ["12", "14"], "label": ["A", "B"]}`, or `{"A": "12", "B": "14"}`.
fn listed(value: Json<'_>) -> Option<Options> {
    let texts = |list: Json<'_>| list.items().into_iter().map(text_of).collect::<Option<Vec<String>>>();
    let letters = || ('A'..='Z').map(String::from);
    if value.kind() != Kind::Object {
        return Options::new(texts(value)?);
    }
    if let Some(list) = value.get("text") {
        let labels = value.get("label").map(texts);
        let are_letters = |labels: Vec<String>| labels.iter().cloned().eq(letters().take(labels.len()));
        return labels
            .is_none_or(|labels| labels.is_some_and(are_letters))
            .then(|| Options::new(texts(list)?))
            .flatten();
    }
    let lettered = letters().map_while(|letter| value.get(&letter)).map(text_of).collect::<Option<Vec<String>>>()?;
    (lettered.len() == value.fields().iter().count()).then(|| Options::new(lettered)).flatten()
}

/// A right answer as text; lists, objects and numbers as they are written. Half of a character pair is no answer.
pub(super) fn text_of(value: Json<'_>) -> Option<String> {
    match value.kind() {
        _ if value.is_empty() && matches!(value.kind(), Kind::Null | Kind::Text) => None,
        Kind::Text => value.text().ok().flatten().map(|text| text.into_owned()),
        _ => Some(value.written().to_string()),
    }
}
