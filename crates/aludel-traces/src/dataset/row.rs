//! One row: the bytes of its line made columns, what is learnt from it, or why nothing can be.

use super::column_map::ColumnMap;
use super::problem::Problem;
use super::record::{Content, Provenance};
use super::{Columns, Json, ProblemKind, columns, weight, whole};
use crate::Error;

/// A row that was never in a file, read as one would be.
pub(crate) fn row_of(columns: Columns, provenance: Provenance) -> Row {
    read_columns(columns, None, provenance)
}

pub(super) fn read_columns(mut row: Columns, map: Option<&ColumnMap>, provenance: Provenance) -> Row {
    let value_problem = |reason: String| Problem::new(ProblemKind::Value, reason);
    let read = columns::content_of(&row, map)
        .and_then(|found| Ok((found, weight::weight_of_row(&row).map_err(value_problem)?)));
    match read {
        Ok((found, weight)) => {
            let used: Vec<String> = found.columns.iter().map(ToString::to_string).collect();
            let content = found.content;
            let hides_reasoning = whole::hides_reasoning(&content, &row);
            row.retain(|name| !used.iter().any(|used| used == name));
            Row { content: Ok(content), columns: row, weight: weight.unwrap_or(1.0), hides_reasoning, provenance }
        }
        Err(problem) => {
            let lacks_answer = problem.kind == ProblemKind::NothingToLearn
                || (problem.kind == ProblemKind::Columns && columns::lacks_answer_only(&row, map));
            let content = Err(Unusable { lacks_answer, ..problem.into() });
            Row { content, columns: row, weight: 1.0, hides_reasoning: false, provenance }
        }
    }
}

/// A row and all that its columns hold.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is learnt from it, or why nothing can be.
    pub content: Result<Content, Unusable>,
    /// The columns that are not part of the content; all of them where there is none.
    pub columns: Columns,
    /// How much it counts in training, as a column of it says.
    pub weight: f32,
    /// Its model reasoned, as it says, and it holds none of that.
    pub hides_reasoning: bool,
    /// Where it stands.
    pub provenance: Provenance,
}

/// Why a row cannot be used.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// The kind of reason.
    pub kind: ProblemKind,
    /// What exactly is wrong.
    pub reason: String,
    /// Whether the row is in order but for an answer that is not there.
    pub lacks_answer: bool,
}

impl Unusable {
    /// The error that ends the reading at this row.
    pub fn into_error(self, provenance: &Provenance) -> Error {
        let (path, line, reason) = (provenance.file.to_path_buf(), provenance.line, self.reason);
        match self.kind {
            // Every row of the file has these columns: leaving rows out is no way to mend it.
            ProblemKind::Columns => Error::Columns { path, line, reason },
            _ => Error::Row { path, line, reason },
        }
    }
}

impl From<Problem> for Unusable {
    fn from(problem: Problem) -> Unusable {
        Unusable { kind: problem.kind, reason: problem.detail, lacks_answer: false }
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Columns, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(
            ProblemKind::NotUtf8,
            format!("byte {} of the row (0x{:02x}) is not UTF-8; save the file as UTF-8", at + 1, bytes[at]),
        )
    })?;
    let wrong = |detail: String| Problem::new(ProblemKind::NotJson, detail);
    let syntax = |error: serde_json::Error| wrong(syntax_reason(text, &error));
    if text.trim_ascii_start().starts_with('{') {
        return serde_json::from_str(text).map_err(syntax);
    }
    let kind = Json::parse(text).map_err(syntax)?.kind().named();
    Err(wrong(format!("the row is {kind}, and a JSON object is wanted{PLAIN}")))
}

/// How text that is no JSON is given.
const PLAIN: &str = " (plain text is given with a column `text`, a line for each text: {\"text\": \"…\"}; a table such as CSV as JSON lines or \
    Parquet)";

/// The parser's reason, and what is usually behind it.
fn syntax_reason(text: &str, error: &serde_json::Error) -> String {
    let hint = match () {
        () if !text.trim_ascii_start().starts_with(['{', '[']) => PLAIN,
        () if error.is_eof() => {
            " (in JSONL a row is one line: a row over several lines, or a file that was cut off, ends too early)"
        }
        () if text.contains("NaN") || text.contains("Infinity") => " (JSON knows neither NaN nor Infinity: write null)",
        () if text.contains("\\ud") || text.contains("\\uD") => {
            " (half of a character pair such as \\ud83d is no character)"
        }
        () => "",
    };
    // The parser counts lines inside of the row, and a row is usually one: its line in the file is named already.
    let reason = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = reason.strip_suffix(&place).unwrap_or(&reason);
    let row_line = if error.line() > 1 { format!("line {} of the row, ", error.line()) } else { String::new() };
    format!("not valid JSON: {reason} at {row_line}column {}{hint}", error.column())
}
