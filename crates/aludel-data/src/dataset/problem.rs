//! Why a single row cannot be used, and how such rows are counted. A problem knows neither file nor line: the reader adds them when it
//! turns one into an error or counts it.

use std::fmt;
use std::path::Path;

use aludel_files::shortened;
use serde::{Deserialize, Serialize};

use crate::json::Json;

/// A reason for skipping a row.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) detail: String,
}

/// The kinds of reason that [`Counts`](super::Counts) distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Not UTF-8.
    NotUtf8,
    /// Not a JSON object.
    NotJson,
    /// Longer than a row may be.
    TooLong,
    /// The columns match no known shape.
    Columns,
    /// A column has a type that its shape does not allow.
    Value,
    /// Neither an answer nor reasoning to train on.
    NothingToLearn,
    /// The weights of all that could be learnt are 0.
    ZeroWeight,
    /// It is unclear where its reasoning ends and its answer begins.
    NotWhole,
    /// It is marked as not to be used.
    SetAside,
    /// The row could not be turned into tokens.
    Encode,
}

/// Rows that cannot be used for one reason; numbers and what is quoted in it may differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadRows {
    /// The kind of reason.
    pub kind: ProblemKind,
    /// How many rows.
    pub rows: u64,
    /// The file of the first of them, as it is displayed.
    pub first_file: String,
    /// Its line.
    pub first_line: u64,
    /// What exactly was wrong with the first.
    pub first_reason: String,
}

impl BadRows {
    /// Counts a row among those of the same reason. Of a kind that has `REASONS` of them, further ones are counted together.
    pub fn add(all: &mut Vec<BadRows>, kind: ProblemKind, file: &Path, line: u64, reason: String) {
        let common = alike(&reason);
        let is_same = |bad: &BadRows| bad.kind == kind && alike(&bad.first_reason) == common;
        let of_kind = all.iter().filter(|bad| bad.kind == kind).count();
        let known = all.iter().position(is_same).or_else(|| {
            let last = || all.iter().rposition(|bad| bad.kind == kind);
            if of_kind > REASONS { last() } else { None }
        });
        match known {
            Some(known) => all[known].rows += 1,
            None => {
                let first_reason =
                    if of_kind == REASONS { format!("other reasons, of which the first is: {reason}") } else { reason };
                all.push(BadRows {
                    kind,
                    rows: 1,
                    first_file: file.display().to_string(),
                    first_line: line,
                    first_reason,
                });
            }
        }
    }

    /// The most frequent first, and of equally frequent ones the earlier.
    pub fn by_rows(all: &[BadRows]) -> Vec<&BadRows> {
        let mut sorted: Vec<&BadRows> = all.iter().collect();
        sorted.sort_by_key(|bad| std::cmp::Reverse(bad.rows));
        sorted
    }
}

/// So many reasons of a kind are told apart.
const REASONS: usize = 20;

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into() }
    }
}

/// What a column or a member says, in one spelling: a truth as `true` or `false`, a number without digits that change nothing.
pub(super) fn says(name: &str, value: Json<'_>) -> String {
    const LETTERS: usize = 40;
    let written = value.written().trim_matches(['"', ' ']);
    let truth = ["true", "false"].into_iter().find(|word| written.eq_ignore_ascii_case(word)).map(str::to_owned);
    let number =
        || written.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| (number + 0.0).to_string());
    let value = truth.or_else(number).unwrap_or_else(|| shortened(value.written(), LETTERS).to_string());
    format!("{} is {value}", shortened(name, LETTERS).escape_debug())
}

/// What reasons of one kind have in common: all but numbers and what is quoted.
pub fn alike(reason: &str) -> String {
    let mut is_quoted = false;
    let mut common = String::new();
    for letter in reason.chars() {
        if letter == '`' {
            is_quoted = !is_quoted;
        } else if !is_quoted && letter.is_ascii_digit() {
            if !common.ends_with('0') {
                common.push('0');
            }
        } else if !is_quoted {
            common.push(letter);
        }
    }
    common
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ProblemKind::NotUtf8 => "not UTF-8",
            ProblemKind::NotJson => "not a JSON object",
            ProblemKind::TooLong => "row too long",
            ProblemKind::Columns => "columns fit no shape",
            ProblemKind::Value => "a column of the wrong kind",
            ProblemKind::NothingToLearn => "nothing to learn",
            ProblemKind::ZeroWeight => "all weights are 0",
            ProblemKind::NotWhole => "not whole",
            ProblemKind::SetAside => "marked as not to be used",
            ProblemKind::Encode => "could not be encoded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        for (values, told) in [
            (&["0", "0.0", "\"0\"", "-0.0e3", "0e0"][..], &["weight is 0"][..]),
            (&["false", "\"False\"", "\" FALSE \""], &["weight is false"]),
            (&["0.50", "5e-1"], &["weight is 0.5"]),
            (&["\"no\""], &["weight is \"no\""]),
        ] {
            for value in values {
                let said = says("weight", Json::parse(value).unwrap());
                assert!(told.contains(&said.as_str()), "{value}: {said}");
            }
        }
    }

    #[test]
    fn rows_are_counted_by_reason_and_the_most_frequent_comes_first() {
        let mut all = Vec::new();
        let mut add =
            |line: u64, reason: String| BadRows::add(&mut all, ProblemKind::Encode, Path::new("f"), line, reason);
        add(1, "the template refuses `x`: system".to_owned());
        (2..9).for_each(|line| add(line, format!("message {line} is empty")));
        add(9, "the template refuses `y`: system".to_owned());
        let told: Vec<_> =
            BadRows::by_rows(&all).iter().map(|bad| (bad.rows, bad.first_line, bad.first_reason.as_str())).collect();
        assert_eq!(told, [(7, 2, "message 2 is empty"), (2, 1, "the template refuses `x`: system")]);
        // However many reasons there are, few are kept, and no row is lost.
        for (line, letter) in (100..).zip("abcdefghijklmnopqrstuvwxyz".chars()) {
            BadRows::add(&mut all, ProblemKind::Encode, Path::new("f"), line, format!("reason {letter}"));
        }
        assert_eq!((all.len(), all.iter().map(|bad| bad.rows).sum::<u64>()), (21, 35));
        assert!(all[20].first_reason.starts_with("other reasons, of which the first is: reason "), "{:?}", all[20]);
        BadRows::add(&mut all, ProblemKind::NotJson, Path::new("f"), 1, "x".to_owned());
        assert_eq!(all.len(), 22, "another kind has its own");
    }
}
