//! Reasoning in a column of its own, under any of its names.

use super::Columns;
use super::column::{Column, present};
use super::column_map::{naming, unseen};
use super::problem::{Problem, ProblemKind};
use crate::column_names::same;
use crate::message_fields::{called_reasoning, no_setting, reasoning_in, text_of};

/// A list of this name has an element per sample of the question, as in s1K; other lists are parts of one text.
const SEVERAL: &str = "thinking_trajectories";

/// The reasoning of a row, and all the columns that hold it.
pub(super) struct Reasoning<'a> {
    pub(super) text: String,
    pub(super) columns: Vec<&'a str>,
}

/// The first column named like reasoning that is not empty. Others that are empty or agree belong to it.
pub(super) fn reasoning_of(row: &Columns) -> Result<Option<Reasoning<'_>>, Problem> {
    Reasoning::in_columns(&called_reasoning(row.iter()))
}

/// The reasoning in the assigned column. If that is empty, no other may hold some, which would be ignored.
pub(super) fn reasoning_named<'a>(row: &'a Columns, name: &str) -> Result<Option<Reasoning<'a>>, Problem> {
    let own = present(row, name).map(|column| Reasoning::in_columns(&[column])).transpose()?.flatten();
    let other = called_reasoning(row.iter()).into_iter().filter(|(other, _)| *other != name);
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
                let mend = format!("or name the reasoning's column: {}", naming(&[("reasoning", "…")]));
                Problem::new(ProblemKind::Value, format!("column {reason}, {mend}"))
            };
            if same(name, SEVERAL) && value.items().iter().filter(|item| !item.is_empty()).count() > 1 {
                return Err(wrong(format!(
                    "`{name}` holds several trajectories, and the row has one answer; keep one of them"
                )));
            }
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
