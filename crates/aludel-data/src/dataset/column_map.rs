//! `data.columns`, which assigns columns to parts. Usual names are described in `columns`.

use serde::{Deserialize, Serialize};

use super::column::listed;
use super::problem::{Problem, ProblemKind};
use crate::Error;

/// `data.columns`: which of the file's columns is which part. Parts that are not assigned are found by their usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMap {
    /// A list of messages (`role`/`content` or `from`/`value`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The prompt: text, or a list of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The answer: text, or a list of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The reasoning of the answer, the last one of a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Plain text, all of it trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ColumnMap {
    /// The map of `data.columns`, as a recipe gives it: part to column.
    ///
    /// # Errors
    /// [`Error::ColumnMap`] for an unknown part, and as [`ColumnMap::validate`].
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<ColumnMap, Error> {
        let mut map = ColumnMap::default();
        for (part, column) in parts {
            let place = match part {
                "messages" => &mut map.messages,
                "prompt" => &mut map.prompt,
                "response" => &mut map.response,
                "reasoning" => &mut map.reasoning,
                "system" => &mut map.system,
                "text" => &mut map.text,
                _ => {
                    let reason = format!(
                        "`{part}` is no part of a row; the parts are messages, prompt, response, reasoning, system and text"
                    );
                    return Err(Error::ColumnMap { reason });
                }
            };
            *place = Some(column.to_string());
        }
        map.validate()?;
        Ok(map)
    }

    /// Whether no column is named.
    pub fn is_empty(&self) -> bool {
        *self == ColumnMap::default()
    }

    /// The columns that it names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let ColumnMap { messages, prompt, response, reasoning, system, text } = self;
        [messages, prompt, response, reasoning, system, text].into_iter().flatten().map(String::as_str)
    }

    /// Refuses combinations of parts that make no row.
    ///
    /// # Errors
    /// [`Error::ColumnMap`] says which parts and what would do.
    pub fn validate(&self) -> Result<(), Error> {
        let parts = [
            ("messages", &self.messages),
            ("prompt", &self.prompt),
            ("response", &self.response),
            ("reasoning", &self.reasoning),
            ("system", &self.system),
            ("text", &self.text),
        ];
        let named: Vec<&str> = parts.iter().filter(|(_, column)| column.is_some()).map(|(part, _)| *part).collect();
        let refuse = |reason: String| Err(Error::ColumnMap { reason });
        if let Some((part, _)) = parts.iter().find(|(_, column)| column.as_ref().is_some_and(String::is_empty)) {
            return refuse(format!("`{part}` is an empty name; give the column's name or leave `{part}` out"));
        }
        if self.text.is_some() && named.len() > 1 {
            return refuse(format!("`text` stands alone, but {} are named; name either", listed(&named)));
        }
        let beside_messages = ["prompt", "response"].into_iter().find(|part| named.contains(part));
        match (&self.messages, beside_messages) {
            (Some(_), Some(part)) => refuse(format!(
                "`messages` already holds the whole conversation, so `{part}` has no place; name either"
            )),
            _ => Ok(()),
        }
    }
}

/// An example of the option, as it can be typed: `--set 'data.columns={ text = "body" }'`.
pub(super) fn naming(parts: &[(&str, &str)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(part, name)| format!("{part} = \"{}\"", name.escape_debug())).collect();
    let columns = format!("data.columns={{ {} }}", parts.join(", "));
    format!("--set '{}'", columns.replace('\'', "'\\''"))
}

/// Why a row is refused in which the assigned column is empty and another one is not.
pub(super) fn unseen(part: &str, name: &str, other: &str) -> Problem {
    Problem::new(
        ProblemKind::Value,
        format!(
            "column `{name}`, which data.columns names for `{part}`, is empty here, and `{other}` is not; name that one, or rename it if \
             it says something else"
        ),
    )
}
