//! Columns of the data that are not read. They are carried along and reported, since one of them may have an unexpected name.

use aludel_files::shortened;
use serde::{Deserialize, Serialize};

use super::{Columns, Json, completeness, finish_columns, loss_weight, row_marks};
use crate::column_names::{is_among, same};

/// Columns that Aludel itself adds, in exported traces and in curated rows.
const OWN: [&str; 11] = [
    "prompt_id",
    "hash",
    "origin",
    "verdict",
    "verified",
    "reason",
    "detail",
    "teacher",
    "sampling",
    "sample",
    "store",
];

/// Maximum number of names remembered: more are not columns but data in their place.
const MOST: usize = 1000;
/// Maximum number of names reported, and of characters of each.
const TOLD: usize = 10;
const LETTERS: usize = 40;

/// Columns that are no part of a row's text and are read, as far as their values allow that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnsUsed {
    /// Those that are read in every row so far.
    pub whole: Vec<String>,
    /// Those that hold something else in some rows.
    pub in_part: Vec<String>,
}

/// Adds those of a row's columns that are not empty and not read. A column that is read in one row and not in another is used in part.
pub fn add(names: &mut Vec<String>, used: &mut ColumnsUsed, left: &Columns, is_used: impl Fn(&str) -> bool) {
    let place = |names: &[String], name: &str| names.iter().position(|known| known == name);
    for (name, value) in left.iter().filter(|(name, value)| !value.is_empty() && !is_used(name)) {
        if place(&used.in_part, name).is_some() {
            continue;
        }
        let is_read = is_read(name, value);
        let (own, other) = if is_read { (&mut used.whole, &mut *names) } else { (&mut *names, &mut used.whole) };
        match place(other, name) {
            Some(at) => used.in_part.push(other.remove(at)),
            None if own.len() < MOST && place(own, name).is_none() => own.push(name.to_owned()),
            None => {}
        }
    }
}

/// The columns that are used in part, in a line; `None` if there are none.
pub fn told_in_part(used_in_part: &[String]) -> Option<String> {
    let names = shown(used_in_part)?;
    Some(format!("columns used in some rows only, since they hold something else in the others: {names}"))
}

/// The names in a line; `None` if there are none.
pub fn notice(names: &[String]) -> Option<String> {
    shown(names).map(|names| format!("columns not used: {names}"))
}

/// The first names, and how many more there are.
fn shown(names: &[String]) -> Option<String> {
    let shown: Vec<String> =
        names.iter().take(TOLD).map(|name| shortened(name, LETTERS).escape_debug().to_string()).collect();
    let more = match names.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

/// How a column is read that KTO and classifiers both have, in a line, where it is one of these.
pub fn classes_told(not_used: &[String], used_in_part: &[String]) -> Option<String> {
    let name = not_used.iter().chain(used_in_part).find(|name| completeness::may_be_label(name))?;
    let name = shortened(name, LETTERS).escape_debug().to_string();
    Some(format!(
        "{name}: numbers and words are taken as classes; as a mark of good and bad answers (KTO), write true and false"
    ))
}

/// Whether a column that is no part of the row's text is read for another purpose.
fn is_read(name: &str, value: Json<'_>) -> bool {
    is_among(&OWN, name)
        || same(name, "usage")
        || same(name, "reasoning_tokens")
        || loss_weight::is_read(name, value)
        || finish_columns::is_read(name, value)
        || completeness::is_label(name, value)
        || row_marks::is_read(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_read_in_some_rows_is_used_in_part() {
        for rows in [["true", "1", "false"], ["1", "true", "2"], ["\"spam\"", "false", "null"]] {
            let (mut names, mut used) = (Vec::new(), ColumnsUsed::default());
            for label in rows {
                let row = format!(r#"{{"label": {label}, "kto_label": 1, "source": "x"}}"#);
                add(&mut names, &mut used, &serde_json::from_str(&row).unwrap(), |_| false);
            }
            assert_eq!(
                (names, used.in_part.clone(), used.whole),
                (vec!["source".to_owned()], vec!["label".to_owned()], vec!["kto_label".to_owned()])
            );
            let told = told_in_part(&used.in_part).unwrap();
            assert_eq!(told, "columns used in some rows only, since they hold something else in the others: label");
            assert!(classes_told(&[], &used.in_part).unwrap().starts_with("label: numbers and words"));
        }
    }

    #[test]
    fn columns_that_nobody_reads_are_told() {
        let (mut names, mut used) = (Vec::new(), ColumnsUsed::default());
        for row in [
            r#"{"source":"x","weight":0.5,"finish_reason":"stop","note":null,"metadata":{"finish_reason":"stop"},"hash":"0"}"#,
            r#"{"source":"y","id":7,"train":"train","skip":false,"metadata":{"a":1},"truncated":"a text","label":3,"\u001b[2J":1}"#,
        ] {
            add(&mut names, &mut used, &serde_json::from_str(row).unwrap(), |name| name == "id");
        }
        // What is read of a column of notes is in some rows alone.
        assert_eq!((used.in_part, told_in_part(&[])), (vec!["metadata".to_owned()], None));
        assert_eq!(names, ["source", "train", "truncated", "label", "\u{1b}[2J"]);
        let line = notice(&names).unwrap();
        assert_eq!(line, r"columns not used: source, train, truncated, label, \u{1b}[2J");
        let classes = classes_told(&names, &[]).unwrap();
        assert!(classes.starts_with("label: numbers and words are taken as classes"), "{classes}");
        assert_eq!(classes_told(&["labels".to_owned()], &[]), None);
        assert_eq!(notice(&[]), None);
        let many: Vec<String> = (0..14).map(|number| format!("c{number}")).collect();
        assert!(notice(&many).unwrap().ends_with("c8, c9 and 4 more"));
        let long = notice(&["x".repeat(1000)]).unwrap();
        assert!(long.len() < 80, "{long}");
    }
}
