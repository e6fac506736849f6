//! A problem as it is read from a row of a file, with its columns and choices. The columns are selected in `task` for
//! users' files, and in `benchmarks` for those of benchmarks.

use aludel_data::dataset::{self, Columns, Json, Kind};
use aludel_text::Message;
use aludel_verify::Verifier;

/// A problem as it is read.
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) question: String,
    pub(super) messages: Vec<Message>,
    pub(super) gold: String,
    pub(super) verifier: Verifier,
}

/// The first of these columns, in any spelling, that holds something.
pub(super) fn first<'a>(columns: &'a Columns, names: &[&str]) -> Option<(&'a str, Json<'a>)> {
    let is_empty = |value: Json<'_>| value.is_empty() && matches!(value.kind(), Kind::Null | Kind::Text);
    names.iter().find_map(|name| dataset::called(columns, name).filter(|(_, value)| !is_empty(*value)))
}

/// Text as it is meant, anything else as it is written.
pub(super) fn text_of(value: Json<'_>) -> Result<String, String> {
    match value.text() {
        Ok(Some(text)) => Ok(text.into_owned()),
        Ok(None) => Ok(value.written().to_owned()),
        Err(reason) => Err(format!("the row holds {reason}, where text is wanted")),
    }
}

pub(super) const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

pub(super) fn listed_choices(choices: &[String]) -> String {
    let lines = LETTERS.chars().zip(choices).map(|(letter, choice)| format!("\n{letter}. {choice}"));
    format!("\n{}\n\nAnswer with the letter of the right choice in \\boxed{{}}.", lines.collect::<String>())
}
