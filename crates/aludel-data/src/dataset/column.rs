//! One column of a row: how it is found by its name and read as text, and how columns are named in messages. Which columns make a row is
//! `columns`' matter.

use super::problem::{Problem, ProblemKind};
use super::{Columns, Json};
use crate::column_names::called;

pub(super) type Column<'a> = (&'a str, Json<'a>);

/// A column's text; a number or a truth value is taken as it is written.
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
    // A null is what tables write for "not there".
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
