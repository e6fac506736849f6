//! Columns that are part of the prompt beside the question itself: passages, code, tables, choices, images, tools. A row with such
//! a column that is not read is refused, since the student would be trained on answers to incomplete prompts. Which column is the
//! question is decided in `pairs`.

use super::column::present;
use super::problem::{Problem, ProblemKind};
use super::{Columns, Json};
use crate::column_names::{is_among, letters};

/// Context of a question, as text. Names are compared in any spelling.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "input", "inputs", "context", "passage", "body", "scenario", "story", "narrative", "background", "premise", "excerpt", "transcript",
    "document", "doc", "article", "paragraph", "evidence", "knowledge", "hint", "reading passage", "source text", "supporting text",
    "grounding", "grounding text", "retrieved context", "code", "source code", "starter code", "code snippet", "snippet", "code context",
    "function signature", "table", "schema", "db schema", "sql schema", "sql context", "create table", "chunk",
    "hypothesis", "claim", "sentence", "sentence1", "sentence2", "dialogue", "dialog", "fact",
];

/// The same in lists, or in objects.
#[rustfmt::skip]
const LISTS: &[&str] = &[
    "choices", "options", "history", "chat history", "contexts", "passages", "docs", "articles", "paragraphs", "evidences", "hints",
    "retrieved contexts", "retrieved documents", "retrieved docs", "retrieved passages", "supporting documents", "search results",
    "code snippets", "snippets", "tables", "chunks",
    "facts", "endings", "answer choices", "answer options", "previous turns", "conversation history", "dialogue history", "dialog history",
];

/// Context that the turns of a conversation cannot hold either.
#[rustfmt::skip]
const BESIDE_TURNS: &[&str] = &[
    "images", "image", "image url", "image urls", "image path", "image paths", "audio", "audios", "video", "videos", "attachments", "tools",
    "functions", "tool calls", "function call", "documents", "instructions",
];

/// Prefixes before the letter or the number of a choice that has a column of its own.
const CHOICE: [&str; 4] = ["option", "choice", "ending", "alternative"];

/// Whether a column is one choice of several: `option_a`, `choice1`, `opb`. A capital letter alone is one if there are columns for
/// the first two; lower-case ones are more likely numbers of a problem.
fn is_choice(name: &str, is_beside: impl Fn(&str) -> bool) -> bool {
    let plain: String = letters(name).collect();
    let is_letter = |text: &str| text.len() == 1 && ("a"..="j").contains(&text);
    let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = |rest: &str| is_letter(rest) || is_number(rest);
    CHOICE.iter().any(|word| plain.strip_prefix(word).is_some_and(is_one))
        || plain.strip_prefix("op").is_some_and(is_letter)
        || (name.len() == 1 && ("A"..="J").contains(&name) && is_beside("A") && is_beside("B"))
}

/// Whether a column of this name may be part of the prompt.
pub fn may_be_asked(name: &str) -> bool {
    [TEXTS, LISTS, BESIDE_TURNS].iter().any(|names| is_among(names, name)) || is_choice(name, |_| true)
}

/// A column that is part of the prompt and is none of those `used`.
pub fn left_of_question<'a>(row: &'a Columns, used: &[&str]) -> Option<&'a str> {
    let is_conversation = used.iter().any(|name| is_among(&["messages", "conversations"], name));
    let is_full = |name: &str| present(row, name).is_some_and(|(_, value)| !value.is_empty());
    let is_left = |name: &&str| {
        let value = || present(row, name).map(|(_, value)| value);
        if used.contains(name) {
            false
        } else if is_among(BESIDE_TURNS, name) || (!is_conversation && is_among(LISTS, name)) {
            value().is_some_and(|value| !value.is_empty() && !is_empty_list(value))
        } else {
            let is_asked = || is_among(TEXTS, name) || is_choice(name, is_full);
            !is_conversation && value().is_some_and(|value| !value.is_empty()) && is_asked()
        }
    };
    row.names().find(is_left)
}

/// Refuses a row if a part of its prompt would be left out, unless the user assigned the columns.
pub(super) fn no_question_left(row: &Columns, used: &[&str]) -> Result<(), Problem> {
    match left_of_question(row, used) {
        None => Ok(()),
        Some(name) => Err(Problem::new(
            ProblemKind::Columns,
            format!(
                "the row has `{name}` beside `{}`, and it would be left out of the question; write it into the question, give the column \
                 another name, or name the columns that count in data.columns, such as {{ prompt = \"question\", response = \"answer\" }} or \
                 {{ messages = \"messages\" }}",
                used.join("`, `")
            ),
        )),
    }
}

/// Whether a text is an empty list or object, as tables without types write it.
fn is_empty_list(value: Json<'_>) -> bool {
    let text = value.text().ok().flatten().unwrap_or_default();
    ["[]", "{}", "null", "none"].iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing))
}
