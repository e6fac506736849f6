//! One column of a row: finding it by its name, reading it as text, and naming it in messages. Which columns make up a row is
//! decided in `columns`.

use super::problem::{Problem, ProblemKind};
use super::{Columns, Json};
use crate::column_names::called;

pub(super) type Column<'a> = (&'a str, Json<'a>);

/// A column's text; a number or a boolean is read as it is written.
pub(super) fn text_of((name, value): Column<'_>) -> Result<String, Problem> {
    let wrong = |what: String| Problem::new(ProblemKind::Value, format!("column `{name}` holds {what}"));
    match value.scalar() {
        Ok(Some(text)) => Ok(text.into_owned()),
        Ok(None) => Err(wrong(format!(
            "{}, and text is wanted; flatten it, or choose other columns with data.columns",
            value.kind().named()
        ))),
        Err(half) => Err(wrong(format!("{half}"))),
    }
}

pub(super) fn present<'a>(row: &'a Columns, name: &str) -> Option<Column<'a>> {
    // Tables write null for a missing value.
    row.entry(name).filter(|(_, value)| !value.is_null())
}

pub(super) fn first_called<'a>(row: &'a Columns, names: &[&str]) -> Option<Column<'a>> {
    names.iter().find_map(|name| called(row, name))
}

/// The names of a row's columns, at most twelve of them.
pub(super) fn found(row: &Columns) -> String {
    const SHOWN: usize = 12;
    if row.is_empty() {
        return "no columns".to_string();
    }
    let names: Vec<&str> = row.names().collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => listed(&names),
        Some(more) => format!("{} and {more} more", listed(&names[..SHOWN])),
    }
}

pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ")
}
