//! Reasoning that stands in a column of its own, under any of its names.

use super::Columns;
use super::columns::{Column, present, unseen};
use super::problem::{Problem, ProblemKind};
use crate::said::{REASONING, no_setting, reasoning_in, text_of};

/// Whether a column of this name would be read as part of a row that holds its messages or its text already.
pub(crate) fn is_read_beside(name: &str) -> bool {
    REASONING.contains(&name)
}

/// The reasoning of a row, and all the columns that say it.
pub(super) struct Reasoning<'a> {
    pub(super) text: String,
    pub(super) columns: Vec<&'a str>,
}

/// The first column called like reasoning that holds some. Others that are empty or say the same belong to it.
pub(super) fn reasoning_of(row: &Columns) -> Result<Option<Reasoning<'_>>, Problem> {
    let columns: Vec<Column<'_>> = REASONING.iter().filter_map(|name| present(row, name)).collect();
    Reasoning::in_columns(&columns)
}

/// The reasoning in the column that somebody named. Where that is empty, no other may hold some that nobody sees.
pub(super) fn reasoning_named<'a>(row: &'a Columns, name: &str) -> Result<Option<Reasoning<'a>>, Problem> {
    let own = present(row, name).map(|column| Reasoning::in_columns(&[column])).transpose()?.flatten();
    let other = REASONING.iter().filter(|other| **other != name).filter_map(|other| present(row, other));
    let mut full = other.filter(|column| matches!(Reasoning::in_columns(&[*column]), Ok(Some(_))));
    match (own, full.next()) {
        (None, Some((other, _))) => Err(unseen("reasoning", name, other)),
        (own, _) => Ok(own),
    }
}

impl<'a> Reasoning<'a> {
    pub(super) fn in_columns(columns: &[Column<'a>]) -> Result<Option<Reasoning<'a>>, Problem> {
        let mut found: Option<Reasoning<'a>> = None;
        let mut empty = Vec::new();
        for &(name, value) in columns {
            let wrong = |reason: String| {
                let mend = "or name the reasoning's column: data.columns = { reasoning = \"…\" }";
                Problem::new(ProblemKind::Value, format!("column {reason}, {mend}"))
            };
            let read = reasoning_in(name, value, false).map_err(wrong)?;
            let text = text_of(read.reasoning, &format!("`{name}`")).map_err(wrong)?;
            no_setting(&format!("`{name}`"), &text).map_err(wrong)?;
            match &mut found {
                _ if text.trim().is_empty() => empty.push(name),
                Some(found) if found.text.trim() == text.trim() => found.columns.push(name),
                Some(_) => {}
                None => found = Some(Reasoning { text, columns: vec![name] }),
            }
        }
        if let Some(found) = &mut found {
            found.columns.extend(empty);
        }
        Ok(found)
    }
}
