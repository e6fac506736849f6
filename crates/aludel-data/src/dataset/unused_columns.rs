//! Columns of the data that are not read. They are carried along and reported, since one of them may have an unexpected name.

use aludel_files::shortened;

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

/// Adds those of a row's columns that are not empty and not read.
pub fn add(names: &mut Vec<String>, left: &Columns, is_used: impl Fn(&str) -> bool) {
    for (name, value) in left.iter() {
        if names.len() < MOST
            && !names.iter().any(|known| known == name)
            && !value.is_empty()
            && !is_read(name, value)
            && !is_used(name)
        {
            names.push(name.to_owned());
        }
    }
}

/// The names in a line; `None` if there are none.
pub fn notice(names: &[String]) -> Option<String> {
    let shown: Vec<String> =
        names.iter().take(TOLD).map(|name| shortened(name, LETTERS).escape_debug().to_string()).collect();
    let more = match names.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| format!("columns not used: {}{more}", shown.join(", ")))
}

/// How a column is read that KTO and classifiers both have, in a line, where it is one of these.
pub fn classes_told(names: &[String]) -> Option<String> {
    let name = names.iter().find(|name| completeness::may_be_label(name))?;
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
    fn columns_that_nobody_reads_are_told() {
        let mut names = Vec::new();
        for row in [
            r#"{"source":"x","weight":0.5,"finish_reason":"stop","note":null,"metadata":{"finish_reason":"stop"},"hash":"0"}"#,
            r#"{"source":"y","id":7,"train":"train","skip":false,"metadata":{"a":1},"truncated":"a text","label":3,"\u001b[2J":1}"#,
        ] {
            add(&mut names, &serde_json::from_str(row).unwrap(), |name| name == "id");
        }
        assert_eq!(names, ["source", "train", "metadata", "truncated", "label", "\u{1b}[2J"]);
        let line = notice(&names).unwrap();
        assert_eq!(line, r"columns not used: source, train, metadata, truncated, label, \u{1b}[2J");
        let classes = classes_told(&names).unwrap();
        assert!(classes.starts_with("label: numbers and words are taken as classes"), "{classes}");
        assert_eq!(classes_told(&["labels".to_owned()]), None);
        assert_eq!(notice(&[]), None);
        let many: Vec<String> = (0..14).map(|number| format!("c{number}")).collect();
        assert!(notice(&many).unwrap().ends_with("c8, c9 and 4 more"));
        let long = notice(&["x".repeat(1000)]).unwrap();
        assert!(long.len() < 80, "{long}");
    }
}
