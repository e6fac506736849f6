//! Marks by which a data set excludes a row: `skip`, `keep`, `is_correct`, `error` and similar ones, as columns or in `metadata`.
//! Such a row is skipped and counted. How an answer ended is read in `finish_columns`, a row's weight in `loss_weight`.

use std::sync::LazyLock;

use aludel_files::shortened;

use super::column_map::ColumnMap;
use super::problem::says;
use super::{Columns, Json, Kind};
use crate::column_names::{Names, is_among, letters};

/// Booleans that exclude a row if they are true.
#[rustfmt::skip]
static OUT: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "skip", "skipped", "exclude", "excluded", "discard", "discarded", "drop", "dropped", "reject", "rejected", "remove", "removed",
    "filtered_out", "bad", "invalid", "incorrect", "wrong", "failed", "failure", "errored", "has_error", "has_errors", "corrupt",
    "corrupted", "is_error", "broken", "unusable", "do_not_use", "do_not_train", "dont_use", "dont_train", "no_train", "blacklisted",
    "flagged", "malformed",
]));
/// Booleans that exclude it if they are false.
#[rustfmt::skip]
static IN: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "include", "included", "keep", "kept", "use", "usable", "is_valid", "accept", "is_accepted", "approved", "correct", "passed", "good",
    "success", "succeeded", "successful", "ok", "solved", "use_for_training", "is_answer_correct", "answer_correct", "answer_is_correct",
]));
/// Those of both lists that say whether the answer is right, which can be verified if there is a reference answer.
#[rustfmt::skip]
static CLAIMS: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "correct", "incorrect", "wrong", "solved", "passed", "is_answer_correct", "answer_correct", "answer_is_correct",
]));
/// Names that can only be a mark, so that 0, 1, yes and no are booleans under them, and any other value is an error. Names with
/// `is` or `was` are of this kind. Under the others, numbers may be counts, and words may be anything.
#[rustfmt::skip]
static MARKS_ALONE: LazyLock<Names> = LazyLock::new(|| Names::of(&[
    "skip", "skipped", "exclude", "excluded", "discarded", "filtered_out", "has_error", "has_errors", "do_not_use", "do_not_train",
    "dont_use", "dont_train", "no_train", "use_for_training",
]));
/// What went wrong, in words.
const ERRORS: &[&str] = &["error", "errors", "error_message", "error_msg", "exception"];
/// A status of the row, and its values that exclude the row.
const STATUS: &[&str] = &["status", "review_status"];
const STATUS_OUT: &[&str] =
    &["rejected", "excluded", "discarded", "skipped", "invalid", "removed", "declined", "filtered_out"];
/// Where notes on a row are kept, a weight among them.
pub(super) const NOTES: [&str; 2] = ["metadata", "meta"];
/// Other columns that contain such marks.
const MORE_NOTES: [&str; 3] = ["info", "extra", "extra_info"];
const NOTHING: [&str; 6] = ["none", "null", "nil", "nan", "n/a", "ok"];

/// A mark against using the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExclusionMark {
    /// The row is excluded; by which mark.
    Marked(String),
    /// The answer is wrong according to the data; by which mark.
    CalledWrong(String),
    /// A text that says so where the row has no answer. If it has one, this is why it is refused.
    Error {
        /// The mark's name.
        mark: String,
        /// A value that is not understood.
        reason: String,
    },
    /// A mark whose value is not understood, and why.
    NotUnderstood(String),
}

/// The first mark against a row; columns that the user named for its parts are not marks. Curation writes `verified` beside a claim
/// that it found to be untrue.
pub(super) fn aside(row: &Columns, map: Option<&ColumnMap>) -> Option<ExclusionMark> {
    let is_part = |name: &str| map.is_some_and(|map| map.names().any(|part| part == name));
    let is_verified = row.get("verified").is_some_and(|value| value.truth() == Some(true));
    let mut others = None;
    for (name, value) in row.iter().filter(|(name, value)| !value.is_empty() && !is_part(name)) {
        match said(name, value) {
            Some(ExclusionMark::Marked(mark)) => return Some(ExclusionMark::Marked(mark)),
            Some(ExclusionMark::CalledWrong(_)) if is_verified => {}
            other => others = others.or(other),
        }
        if is_notes(name) {
            for (own, value) in value.fields().iter().filter(|(_, value)| !value.is_empty()) {
                match said(own, value) {
                    Some(ExclusionMark::Marked(mark)) => return Some(ExclusionMark::Marked(format!("{name}.{mark}"))),
                    Some(ExclusionMark::CalledWrong(mark)) if !is_verified => {
                        others = others.or(Some(ExclusionMark::CalledWrong(format!("{name}.{mark}"))));
                    }
                    Some(ExclusionMark::Error { .. }) => others = others.or(error(&format!("{name}.{own}"), value)),
                    _ => {}
                }
            }
        }
    }
    others
}

/// Whether a column is such a mark with a valid value.
pub(super) fn is_read(name: &str, value: Json<'_>) -> bool {
    let is_said = |name: &str, value: Json<'_>| {
        let is_mark = is_named(&OUT, name) || is_named(&IN, name);
        is_mark && truth(name, value).is_some() || said(name, value).is_some()
    };
    let inside = || is_notes(name) && value.fields().iter().any(|(own, value)| is_said(own, value));
    is_said(name, value) || is_part_valid(name) && !is_score(value) || inside()
}

/// Whether a member of a message is such a mark, and not against it.
pub(super) fn is_in_favour(name: &str, value: Json<'_>) -> bool {
    let is_error = is_among(ERRORS, name);
    let truth = if is_error { value.truth() } else { truth(name, value) };
    let is_known = is_named(&OUT, name) || is_named(&IN, name) || is_error;
    is_known && (truth.is_some() || is_nothing(value)) && said(name, value).is_none()
}

fn is_notes(name: &str) -> bool {
    is_among(&NOTES, name) || is_among(&MORE_NOTES, name)
}

fn said(name: &str, value: Json<'_>) -> Option<ExclusionMark> {
    let mark = || says(name, value);
    let marked = || Some(ExclusionMark::Marked(mark()));
    if is_among(ERRORS, name) {
        return error(name, value);
    }
    if is_part_valid(name) {
        // NuminaMath has words such as "Incomplete" here.
        let says_so = matches!(value.kind(), Kind::Text | Kind::Truth | Kind::Number) && value.truth() != Some(true);
        return if says_so && !is_nothing(value) && !is_score(value) { marked() } else { None };
    }
    if is_among(STATUS, name) {
        let words = value.text().ok().flatten().unwrap_or_default();
        return if is_among(STATUS_OUT, &words) { marked() } else { None };
    }
    let (is_out, is_in) = (is_named(&OUT, name), is_named(&IN, name));
    match truth(name, value) {
        _ if !is_out && !is_in => None,
        Some(truth) => {
            if truth != is_out {
                None
            } else if is_named(&CLAIMS, name) {
                Some(ExclusionMark::CalledWrong(mark()))
            } else {
                marked()
            }
        }
        // A score by a judge is not a boolean.
        None if is_score(value) && !MARKS_ALONE.has(&letters(name).collect::<String>()) => None,
        None if is_alone(name) && matches!(value.kind(), Kind::Text | Kind::Number) && !is_nothing(value) => {
            Some(ExclusionMark::NotUnderstood(format!(
                "column `{}` is {}, and true or false is wanted of a mark that says whether the row is used; give the column another name \
                 if it is none",
                name.escape_debug(),
                shortened(value.written(), 40)
            )))
        }
        None => None,
    }
}

/// An error column. A number may be a distance, a text a part of the task.
fn error(name: &str, value: Json<'_>) -> Option<ExclusionMark> {
    let marked = || Some(ExclusionMark::Marked(format!("{} is set", one_line(name))));
    match value.kind() {
        Kind::Null => None,
        Kind::Truth => {
            if value.truth() == Some(true) {
                marked()
            } else {
                None
            }
        }
        Kind::Number => {
            let code = value.written().parse::<u32>().ok()?;
            if (400..600).contains(&code) { marked() } else { None }
        }
        Kind::Object => {
            let is_full = value.fields().iter().any(|(_, value)| !value.is_empty() && value.truth() != Some(false));
            if is_full { marked() } else { None }
        }
        Kind::List | Kind::Text => {
            if is_nothing(value) || value.truth() == Some(false) {
                return None;
            }
            if value.truth() == Some(true) {
                return marked();
            }
            let reason = format!(
                "the row has `{}`: {}, which may say that its answer failed or belong to its question; take such rows out, or give the \
                 column another name",
                name.escape_debug(),
                shortened(value.written(), 60)
            );
            Some(ExclusionMark::Error { mark: format!("{} is set", one_line(name)), reason })
        }
    }
}

/// A value under a name, as a boolean.
fn truth(name: &str, value: Json<'_>) -> Option<bool> {
    let is_word =
        || ["true", "false"].iter().any(|word| value.written().trim_matches(['"', ' ']).eq_ignore_ascii_case(word));
    if is_alone(name) || is_word() { value.truth() } else { None }
}

/// Whether a value is a number strictly between 0 and 1.
fn is_score(value: Json<'_>) -> bool {
    let number: Option<f64> = value.written().trim_matches(['"', ' ']).parse().ok();
    number.is_some_and(|number| 0.0 < number && number < 1.0)
}

/// A name in messages, on one line.
fn one_line(name: &str) -> String {
    shortened(name, 40).escape_debug().to_string()
}

/// Whether a text says that there is nothing.
fn is_nothing(value: Json<'_>) -> bool {
    let text = value.text().ok().flatten().unwrap_or_default();
    value.kind() == Kind::Text && NOTHING.iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing))
}

/// Whether a name is one of these, by itself or after `is`, in any spelling.
fn is_named(names: &Names, name: &str) -> bool {
    let plain: String = letters(name).collect();
    names.has(&plain) || ["is", "was"].iter().any(|word| plain.strip_prefix(word).is_some_and(|rest| names.has(rest)))
}

/// Whether a name can only be a mark.
fn is_alone(name: &str) -> bool {
    let plain: String = letters(name).collect();
    MARKS_ALONE.has(&plain) || plain.starts_with("is") || plain.starts_with("was")
}

/// Whether a column says that a part of the row is valid: `problem_is_valid`.
fn is_part_valid(name: &str) -> bool {
    let plain: String = letters(name).collect();
    plain.strip_suffix("isvalid").is_some_and(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> Option<ExclusionMark> {
        let columns: Columns = serde_json::from_str(row).unwrap();
        let found = aside(&columns, None);
        let name = columns.names().next().unwrap();
        let value = columns.get(name).unwrap();
        assert!(found.is_none() || value.is_empty() || is_read(name, value), "{row} is read");
        found
    }

    #[test]
    fn marks_leave_a_row_out() {
        for (row, mark) in [
            (r#"{"skip":true}"#, "skip is true"),
            (r#"{"Excluded":1}"#, "Excluded is 1"),
            (r#"{"include":false}"#, "include is false"),
            (r#"{"keep":"False"}"#, "keep is false"),
            (r#"{"use_for_training":"no"}"#, r#"use_for_training is "no""#),
            (r#"{"wasSkipped":1}"#, "wasSkipped is 1"),
            (r#"{"is_accepted":0}"#, "is_accepted is 0"),
            (r#"{"skip\n":true}"#, r"skip\n is true"),
            (r#"{"is_valid":false}"#, "is_valid is false"),
            (r#"{"ok":false}"#, "ok is false"),
            (r#"{"flagged":true}"#, "flagged is true"),
            (r#"{"is_flagged":1}"#, "is_flagged is 1"),
            (r#"{"metadata":{"ok":"False"}}"#, "metadata.ok is false"),
            (r#"{"solution_is_valid":"Problem not solved"}"#, r#"solution_is_valid is "Problem not solved""#),
            (r#"{"error":true}"#, "error is set"),
            (r#"{"error":"true"}"#, "error is set"),
            (r#"{"error":{"code":429,"message":"slow down"}}"#, "error is set"),
            (r#"{"error":503}"#, "error is set"),
            (r#"{"metadata":{"skip":true}}"#, "metadata.skip is true"),
            (r#"{"extra_info":{"is_valid":false}}"#, "extra_info.is_valid is false"),
            (r#"{"status":"Filtered out"}"#, r#"status is "Filtered out""#),
        ] {
            assert_eq!(found(row), Some(ExclusionMark::Marked(mark.to_owned())), "{row}");
        }
    }

    #[test]
    fn that_an_answer_is_wrong_is_a_claim_which_a_verdict_outweighs() {
        for (row, mark) in [
            (r#"{"isCorrect":0}"#, "isCorrect is 0"),
            (r#"{"correct":"False"}"#, "correct is false"),
            (r#"{"incorrect":true}"#, "incorrect is true"),
            (r#"{"meta":{"is_correct":false,"x":1}}"#, "meta.is_correct is false"),
            (r#"{"correct":false,"verified":false}"#, "correct is false"),
        ] {
            assert_eq!(found(row), Some(ExclusionMark::CalledWrong(mark.to_owned())), "{row}");
        }
        assert_eq!(found(r#"{"correct":false,"verified":true,"meta":{"solved":false}}"#), None);
        assert_eq!(found(r#"{"correct":false,"skip":true}"#), Some(ExclusionMark::Marked("skip is true".to_owned())));
    }

    #[test]
    fn what_says_nothing_against_a_row_is_no_mark() {
        for row in [
            r#"{"skip":false,"excluded":0,"include":true,"keep":"yes","valid":1,"is_correct":null,"correct":""}"#,
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":"None","errors":[],"exception":false}"#,
            r#"{"error":{"code":null,"message":""}}"#,
            r#"{"error":0.031}"#,
            r#"{"problem_is_valid":"Yes","solution_is_valid":null}"#,
            r#"{"rejected":"a worse answer","keep":"the first","include":"<stdio.h>","correct":"B","use":"x"}"#,
            r#"{"correct":[true,false],"is_correct":[false]}"#,
            r#"{"metadata":{"skip":false,"is_valid":"maybe"}}"#,
            r#"{"metadata":"skip"}"#,
            // Options and their places, questions with yes and no, counts of tests, splits.
            r#"{"correct":0,"failed":1,"passed":0,"wrong":"yes","keep":"no","use":0,"solved":"no"}"#,
            r#"{"metadata":{"passed":0,"failed":1}}"#,
            // Everyday words are marks only with a literal boolean.
            r#"{"ok":0,"flagged":1,"malformed":"yes"}"#,
            r#"{"ok":"no","flagged":"by hand"}"#,
            r#"{"ok":true,"flagged":false}"#,
            r#"{"train":true,"valid":false,"test":false,"accepted":false,"status":"deleted"}"#,
            r#"{"is_good":0.93,"wasCorrect":"0.5","problem_is_valid":0.2}"#,
        ] {
            assert_eq!(found(row), None, "{row}");
        }
    }

    #[test]
    fn a_mark_that_is_not_understood_is_named() {
        for (row, words) in [
            (r#"{"skip":"perhaps"}"#, "column `skip` is \"perhaps\""),
            (r#"{"is_valid":7}"#, "column `is_valid` is 7"),
            (r#"{"skip":0.7}"#, "column `skip` is 0.7"),
            (r#"{"excluded":"too long"}"#, "column `excluded` is \"too long\""),
        ] {
            let Some(ExclusionMark::NotUnderstood(reason)) = found(row) else { panic!("{row}") };
            assert!(reason.contains(words), "{reason}");
        }
        for (row, words) in [
            (r#"{"error":"TypeError: x is no function"}"#, "`error`: \"TypeError: x is no function\""),
            (r#"{"error":"Request timed out after 600 s"}"#, "`error`: \"Request timed out after 600 s\""),
            (r#"{"error":"capital letter missing"}"#, "`error`: \"capital letter missing\""),
            (r#"{"errors":["capitalization"]}"#, "`errors`: [\"capitalization\"]"),
            (r#"{"error_message":"Wrong quotation marks"}"#, "`error_message`: \"Wrong quotation marks\""),
            (r#"{"metadata":{"error":"HTTPError: 404"}}"#, "`metadata.error`: \"HTTPError: 404\""),
        ] {
            let Some(ExclusionMark::Error { reason, .. }) = found(row) else { panic!("{row}") };
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn columns_that_are_no_marks_are_not_read_as_such() {
        let is_read = |name: &str, value: &str| is_read(name, Json::parse(value).unwrap());
        for (name, value) in
            [("correct", "0"), ("failed", "1"), ("keep", "\"no\""), ("is_good", "0.93"), ("valid", "false")]
        {
            assert!(!is_read(name, value), "{name}");
            assert!(!is_in_favour(name, Json::parse(value).unwrap()), "{name}");
        }
        for (name, value) in [("correct", "true"), ("is_good", "1"), ("skip", "0"), ("metadata", r#"{"error":"x"}"#)] {
            assert!(is_read(name, value), "{name}");
        }
    }
}
