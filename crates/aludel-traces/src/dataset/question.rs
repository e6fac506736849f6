//! Columns that are part of what is asked beside the question itself: passages, code, tables, choices, pictures, tools. Where nobody reads
//! them a row is refused, since the student would learn to answer what it was not told. Which column is the question is `pairs`' matter.

use super::columns::present;
use super::problem::{Problem, ProblemKind};
use super::{Columns, Json};

/// What a question is about, as text. Names are written in any case and with any marks between their words.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "input", "inputs", "context", "passage", "body", "scenario", "story", "narrative", "background", "premise", "excerpt", "transcript",
    "document", "doc", "article", "paragraph", "evidence", "knowledge", "hint", "reading passage", "source text", "supporting text",
    "grounding", "grounding text", "retrieved context", "code", "source code", "starter code", "code snippet", "snippet", "code context",
    "function signature", "table", "schema", "db schema", "sql schema", "sql context", "create table", "chunk",
];

/// The same in lists, or in objects.
#[rustfmt::skip]
const LISTS: &[&str] = &[
    "choices", "options", "history", "chat history", "contexts", "passages", "docs", "articles", "paragraphs", "evidences", "hints",
    "retrieved contexts", "retrieved documents", "retrieved docs", "retrieved passages", "supporting documents", "search results",
    "code snippets", "snippets", "tables", "chunks",
];

/// What the turns of a conversation cannot hold either.
#[rustfmt::skip]
const BESIDE_TURNS: &[&str] = &[
    "images", "image", "image url", "image urls", "image path", "image paths", "audio", "audios", "video", "videos", "attachments", "tools",
    "functions", "documents",
];

/// Whether a column of this name may be part of what is asked.
pub(crate) fn may_be_asked(name: &str) -> bool {
    [TEXTS, LISTS, BESIDE_TURNS].iter().any(|names| is_among(names, name))
}

/// A column that is part of the question and is none of those `used`.
pub fn left_of_question<'a>(row: &'a Columns, used: &[&str]) -> Option<&'a str> {
    let is_conversation = used.iter().any(|name| ["messages", "conversations"].contains(name));
    let is_left = |name: &&str| {
        let value = || present(row, name).map(|(_, value)| value);
        if used.contains(name) {
            false
        } else if is_among(BESIDE_TURNS, name) || (!is_conversation && is_among(LISTS, name)) {
            value().is_some_and(|value| !value.is_empty() && !is_empty_list(value))
        } else {
            !is_conversation && is_among(TEXTS, name) && value().is_some_and(|value| !value.is_empty())
        }
    };
    row.names().find(is_left)
}

/// Refuses a row of which a part of the question would be left out. Whoever names the columns has decided.
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

/// Whether a name is one of these but for case and for what stands between its words.
fn is_among(names: &[&str], name: &str) -> bool {
    let letters = |name: &str| -> String {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let name = letters(name);
    names.iter().any(|known| letters(known) == name)
}

/// Whether a text is a list or an object without members, as tables without types of their own write it.
fn is_empty_list(value: Json<'_>) -> bool {
    let text = value.text().ok().flatten().unwrap_or_default();
    ["[]", "{}", "null", "none"].iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing))
}
