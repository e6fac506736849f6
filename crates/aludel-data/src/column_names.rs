//! How the names of columns and members are compared: case, punctuation and spaces between words are ignored, since every tool
//! writes them in its own way (`sample_weight`, `sampleWeight`, `Sample-Weight`). The lists of names are defined where they are
//! used.

use std::collections::HashSet;

pub use aludel_text::name_matching::letters;

use crate::json::{Columns, Json};

/// Whether two names are spellings of one.
pub fn same(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

/// Whether a name is one of these, in any spelling.
pub fn is_among(names: &[impl AsRef<str>], name: &str) -> bool {
    names.iter().any(|known| same(known.as_ref(), name))
}

/// A set of names, for many look-ups.
pub struct Names(HashSet<String>);

impl Names {
    /// The set of these names.
    pub fn of(names: &[&str]) -> Names {
        Names(names.iter().map(|name| letters(name).collect()).collect())
    }

    /// Whether a name is in the set, in any spelling.
    pub fn has(&self, letters: &str) -> bool {
        self.0.contains(letters)
    }
}

/// The usual columns of reference answers, in any spelling: the first that is not empty counts, and a short answer is preferred to
/// a worked solution. Two of them must not differ, except for `answer`, which is a full answer if there is another one.
pub const RIGHT_ANSWERS: [&str; 8] = [
    "gold",
    "gold_answer",
    "ground_truth",
    "correct_answer",
    "reference_answer",
    "expected_answer",
    "final_answer",
    "answer",
];

/// Whether a column of this name is read as a reference answer, unless the recipe names others.
pub fn is_for_verdicts(name: &str) -> bool {
    is_among(&RIGHT_ANSWERS, name) || same(name, "verifier")
}

/// A column of this name that is not `null`: the exact spelling before others, and one that is not empty before all that are.
pub fn called<'a>(row: &'a Columns, name: &str) -> Option<(&'a str, Json<'a>)> {
    let own = row.entry(name).filter(|(_, value)| !value.is_null());
    if own.is_some_and(|(_, value)| !value.is_empty()) {
        return own;
    }
    let mut others = row.iter().filter(|(other, value)| *other != name && !value.is_null() && same(other, name));
    let first = others.next();
    let full = first.into_iter().chain(others).find(|(_, value)| !value.is_empty());
    full.or(own).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_are_one() {
        for name in ["sampleWeight", "Sample-Weight", "SAMPLE WEIGHT", "sample.weight", "sampleweight"] {
            assert!(is_among(&["weight", "sample_weight"], name), "{name}");
        }
        for name in ["sample_weights", "sample", "", "_"] {
            assert!(!is_among(&["weight", "sample_weight"], name), "{name}");
        }
    }

    #[test]
    fn the_usual_spelling_and_what_holds_something_come_first() {
        for (row, wanted) in [
            (r#"{"System":"a","system":"b"}"#, Some("system")),
            (r#"{"System":"a","system":""}"#, Some("System")),
            (r#"{"System":"","SYSTEM":"a"}"#, Some("SYSTEM")),
            (r#"{"System":"","system":""}"#, Some("system")),
            (r#"{"System":"","system":null}"#, Some("System")),
            (r#"{"System":null,"systems":"a"}"#, None),
        ] {
            let columns: Columns = serde_json::from_str(row).unwrap();
            assert_eq!(called(&columns, "system").map(|(name, _)| name), wanted, "{row}");
        }
    }
}
