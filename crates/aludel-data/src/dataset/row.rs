//! One row: from the bytes of its line to columns and content, or why it cannot be used.

use aludel_text::message::Role;
use aludel_text::thinking::{InlineReasoning, inline, leading_tag};

use super::column::text_of;
use super::column_map::ColumnMap;
use super::problem::Problem;
use super::record::{Content, Provenance};
use super::row_marks::{ExclusionMark, aside};
use super::{AnswerTag, Columns, Json, ProblemKind, ReadOptions, columns, completeness, loss_weight, template_tokens};
use crate::Error;
use crate::column_names::same;

/// A row that did not come from a file, read like one.
pub fn row_of(columns: Columns, options: &ReadOptions, provenance: Provenance) -> Row {
    read_columns(columns, options, provenance)
}

pub(super) fn read_columns(mut row: Columns, options: &ReadOptions, provenance: Provenance) -> Row {
    let map = options.columns.as_ref();
    let value_problem = |reason: String| Problem::new(ProblemKind::Value, reason);
    let read = columns::content_of(&row, map, options.context_column.as_deref()).and_then(|found| {
        let weight = loss_weight::weight_of_row(&row).map_err(value_problem)?;
        let mut used: Vec<String> = found.columns.iter().map(ToString::to_string).collect();
        let content = with_tags_read(found.content, options)?;
        let context = options.context_column.as_deref().map(|name| context_of(&row, name)).transpose()?.flatten();
        used.extend(options.context_column.clone());
        Ok((content, weight, used, context))
    });
    let lacks_answer = match &read {
        Ok(_) => false,
        Err(problem) => {
            problem.kind == ProblemKind::NothingToLearn
                || (problem.kind == ProblemKind::Columns && columns::lacks_answer_only(&row, map))
        }
    };
    let mut called_wrong = None;
    // Other faults of an excluded row do not matter.
    let problem = match aside(&row, map) {
        Some(ExclusionMark::Marked(mark)) => Some(Problem::new(ProblemKind::SetAside, mark)),
        Some(ExclusionMark::Error { mark, .. }) if lacks_answer => Some(Problem::new(ProblemKind::SetAside, mark)),
        // A user who assigns the columns has decided what the others are.
        Some(ExclusionMark::Error { reason, .. }) if map.is_none_or(ColumnMap::is_empty) => Some(value_problem(reason)),
        Some(ExclusionMark::NotUnderstood(reason)) => Some(value_problem(reason)),
        Some(ExclusionMark::CalledWrong(mark)) => {
            called_wrong = Some(mark);
            None
        }
        _ => None,
    };
    match (read, problem) {
        (Ok((mut content, weight, used, context)), None) => {
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
                context,
                provenance,
            }
        }
        (Err(problem), None) | (_, Some(problem)) => {
            Row::unusable(Unusable { lacks_answer, ..problem.into() }, row, provenance)
        }
    }
}

/// The text that only a teacher sees; none where the row leaves it empty. A row without the column may have it misspelt.
fn context_of(row: &Columns, name: &str) -> Result<Option<String>, Problem> {
    let missing = || {
        let reason = format!(
            "it has no column `{name}` (distill.teacher_context_column); write null for a row of which the teacher sees no more"
        );
        Problem::new(ProblemKind::Value, reason)
    };
    let (name, value) = row.entry(name).ok_or_else(missing)?;
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(text_of((name, value))?).filter(|text| !text.trim().is_empty()))
}

/// A conversation with tags at the beginning of answers read according to `data.answer_tags`; tags that only the user can interpret
/// are refused.
fn with_tags_read(mut content: Content, options: &ReadOptions) -> Result<Content, Problem> {
    let Content::Messages(messages) = &mut content else { return Ok(content) };
    let meaning = |word: &str| options.answer_tags.iter().find(|(known, _)| same(known, word)).map(|(_, tag)| *tag);
    for message in messages.iter_mut().filter(|message| message.role == Role::Assistant && message.reasoning.is_none())
    {
        if inline(&message.content) != InlineReasoning::Absent {
            continue;
        }
        let Some(found) = leading_tag(&message.content, |word| meaning(word).is_some()) else { continue };
        let (tag, word) = (found.tag.escape_debug(), &found.word);
        let not_whole = |reason: String| Err(Problem::new(ProblemKind::NotWhole, reason));
        match (meaning(word), found.answer) {
            (Some(AnswerTag::Text), _) => {}
            // All of the answer is one element, for example if XML was requested.
            (None, Some(answer)) if answer.trim().is_empty() => {}
            (Some(AnswerTag::Reasoning), Some(answer)) => {
                let reasoning = found.inside.trim().to_owned();
                message.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
                message.content = answer.trim_start().to_owned();
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

/// A row with all its columns.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its content, or why there is none.
    pub content: Result<Content, Unusable>,
    /// The columns that are not part of the content; all of them if there is none.
    pub columns: Columns,
    /// Its weight in training, from a column.
    pub weight: f32,
    /// The column that says another weight than 1.
    pub weighted_by: Option<String>,
    /// The model reasoned, according to the row, which contains none of it.
    pub hides_reasoning: bool,
    /// End-of-turn tokens were removed from the end of an answer.
    pub ended_by_mark: bool,
    /// The first end-of-turn token in its text, where it is plain text.
    pub turn_mark: Option<String>,
    /// A mark by which the data calls its answer wrong. It is not trained on unless a verdict contradicts it.
    pub called_wrong: Option<String>,
    /// What only a teacher sees of it.
    pub context: Option<String>,
    /// Where it stands.
    pub provenance: Provenance,
}

impl Row {
    /// A row that is not trained on.
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
            context: None,
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
    /// Whether the row is valid except for a missing answer.
    pub lacks_answer: bool,
}

impl Unusable {
    /// The error that ends the reading at this row.
    pub fn into_error(self, provenance: &Provenance) -> Error {
        let (path, line, reason) = (provenance.file.to_path_buf(), provenance.line, self.reason);
        match self.kind {
            // Every row of the file has these columns: skipping rows does not help.
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

/// How data that is not JSON can be converted.
const PLAIN: &str = " (plain text is given with a column `text`, a line for each text: {\"text\": \"…\"}; a table such as CSV as JSON lines or \
    Parquet)";

/// The parser's reason, and its usual cause.
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
    // The parser counts lines inside of the row, which usually is one: its line in the file is named already.
    let reason = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = reason.strip_suffix(&place).unwrap_or(&reason);
    let row_line = if error.line() > 1 { format!("line {} of the row, ", error.line()) } else { String::new() };
    format!("not valid JSON: {reason} at {row_line}column {}{hint}", error.column())
}
