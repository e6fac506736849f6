//! One row: the bytes of its line made columns, what is learnt from it, or why nothing can be.

use aludel_text::message::{Message, Role};
use aludel_text::thinking::{Inline, inline, leading_tag};

use super::column_map::ColumnMap;
use super::problem::Problem;
use super::record::{Content, Provenance};
use super::row_marks::{Aside, aside};
use super::{AnswerTag, Columns, Json, ProblemKind, ReadOptions, columns, completeness, loss_weight, template_tokens};
use crate::Error;
use crate::column_names::same;

/// A row that was never in a file, read as one would be.
pub fn row_of(columns: Columns, options: &ReadOptions, provenance: Provenance) -> Row {
    read_columns(columns, options, provenance)
}

pub(super) fn read_columns(mut row: Columns, options: &ReadOptions, provenance: Provenance) -> Row {
    let map = options.columns.as_ref();
    let value_problem = |reason: String| Problem::new(ProblemKind::Value, reason);
    let read = columns::content_of(&row, map).and_then(|found| {
        let weight = loss_weight::weight_of_row(&row).map_err(value_problem)?;
        let used: Vec<String> = found.columns.iter().map(ToString::to_string).collect();
        Ok((with_tags_read(found.content, options)?, weight, used))
    });
    let lacks_answer = match &read {
        Ok(_) => false,
        Err(problem) => {
            problem.kind == ProblemKind::NothingToLearn
                || (problem.kind == ProblemKind::Columns && columns::lacks_answer_only(&row, map))
        }
    };
    let mut called_wrong = None;
    // Of a row that is not to be used nobody needs to know what else is wrong with it.
    let problem = match aside(&row, map) {
        Some(Aside::Marked(mark)) => Some(Problem::new(ProblemKind::SetAside, mark)),
        Some(Aside::Error { mark, .. }) if lacks_answer => Some(Problem::new(ProblemKind::SetAside, mark)),
        // Whoever names the columns has decided what the others are.
        Some(Aside::Error { reason, .. }) if map.is_none_or(ColumnMap::is_empty) => Some(value_problem(reason)),
        Some(Aside::NotUnderstood(reason)) => Some(value_problem(reason)),
        Some(Aside::CalledWrong(mark)) => {
            called_wrong = Some(mark);
            None
        }
        _ => None,
    };
    match (read, problem) {
        (Ok((mut content, weight, used)), None) => {
            let marks = template_tokens::settle(&mut content);
            let hides_reasoning = completeness::hides_reasoning(&content, &row);
            row.retain(|name| !used.iter().any(|used| used == name));
            Row {
                content: Ok(content),
                columns: row,
                weighted_by: weight
                    .as_ref()
                    .filter(|(weight, _)| *weight != 1.0 && *weight > 0.0)
                    .map(|(_, column)| column.clone()),
                weight: weight.map_or(1.0, |(weight, _)| weight),
                hides_reasoning,
                ended_by_mark: marks.is_taken_off,
                turn_mark: marks.left,
                called_wrong,
                provenance,
            }
        }
        (Err(problem), None) | (_, Some(problem)) => {
            Row::unusable(Unusable { lacks_answer, ..problem.into() }, row, provenance)
        }
    }
}

/// A conversation in which tags at the beginning of answers are read as `data.answer_tags` says; tags that only the user can tell are
/// refused.
fn with_tags_read(mut content: Content, options: &ReadOptions) -> Result<Content, Problem> {
    let Content::Messages(messages) = &mut content else { return Ok(content) };
    let meaning = |word: &str| options.answer_tags.iter().find(|(known, _)| same(known, word)).map(|(_, tag)| *tag);
    for message in messages.iter_mut().filter(|message| message.role == Role::Assistant && message.reasoning.is_none())
    {
        if inline(&message.content) != Inline::Absent {
            continue;
        }
        let Some(found) = leading_tag(&message.content, |word| meaning(word).is_some()) else { continue };
        let (tag, word) = (found.tag.escape_debug(), &found.word);
        let not_whole = |reason: String| Err(Problem::new(ProblemKind::NotWhole, reason));
        match (meaning(word), found.answer) {
            (Some(AnswerTag::Text), _) => {}
            // All of the answer is one element, as where XML was asked for.
            (None, Some(answer)) if answer.trim().is_empty() => {}
            (Some(AnswerTag::Reasoning), Some(answer)) => {
                let reasoning = found.inside.trim().to_owned();
                let read = Message { weight: message.weight, ..Message::assistant(answer.trim_start()) };
                *message = if reasoning.is_empty() { read } else { read.with_reasoning(reasoning) };
            }
            (Some(AnswerTag::Reasoning), None) => {
                return not_whole(format!("an answer begins with `{tag}`, which is never closed"));
            }
            (None, _) => {
                return not_whole(format!(
                    "an answer begins with `{tag}`, which may stand around reasoning or around a part of the answer; say which: \
                     data.answer_tags = {{ {word} = \"reasoning\" }}, or \"text\""
                ));
            }
        }
    }
    Ok(content)
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
    /// The column that says another weight than 1.
    pub weighted_by: Option<String>,
    /// Its model reasoned, as it says, and it holds none of that.
    pub hides_reasoning: bool,
    /// Marks that end a turn were taken off an answer's end.
    pub ended_by_mark: bool,
    /// The first mark of a turn that its text spells, which is text like any other.
    pub turn_mark: Option<String>,
    /// A mark by which the data says that its answer is wrong. It is not learnt from unless a verdict says otherwise.
    pub called_wrong: Option<String>,
    /// Where it stands.
    pub provenance: Provenance,
}

impl Row {
    /// A row that nothing is learnt from.
    pub(super) fn unusable(why: Unusable, columns: Columns, provenance: Provenance) -> Row {
        Row {
            content: Err(why),
            columns,
            weight: 1.0,
            weighted_by: None,
            hides_reasoning: false,
            ended_by_mark: false,
            called_wrong: None,
            turn_mark: None,
            provenance,
        }
    }
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
            ProblemKind::SetAside => {
                Error::Row { path, line, reason: format!("the row is marked as not to be used ({reason})") }
            }
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
