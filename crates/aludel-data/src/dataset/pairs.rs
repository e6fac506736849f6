//! The columns of a row's question and answer, by their usual names. Two columns for one part must agree, except for a reference
//! answer beside a full answer.

use aludel_text::message::Message;

use super::column::{Column, first_called, text_of};
use super::column_map::naming;
use super::messages::{prompt_from, reply_from};
use super::problem::{Problem, ProblemKind};
use super::reasoning::Reasoning;
use super::{Columns, Kind};
use crate::column_names::{called, same};

/// What is asked.
pub(super) const PROMPTS: [&str; 3] = ["prompt", "instruction", "question"];
/// What is answered.
pub(super) const RESPONSES: [&str; 3] = ["response", "completion", "output"];
/// The reference answer if another column holds a full answer, and the answer if none does.
pub(super) const ANSWER: &str = "answer";
/// A full answer if there is a reference answer; otherwise it may be the reference answer itself.
const SOLUTION: &str = "solution";

/// The prompt column.
pub(super) fn prompt_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    one_of(row, "prompt", &PROMPTS, prompt_from)
}

/// The response column.
pub(super) fn response_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    let in_full = one_of(row, "response", &RESPONSES, |column| reply_from(Some(column), None))?;
    Ok(in_full.or_else(|| {
        let answer = called(row, ANSWER)?;
        let solution = called(row, SOLUTION).filter(|(_, value)| value.kind() == Kind::Text && !value.is_empty());
        Some(solution.unwrap_or(answer))
    }))
}

/// Answers as well-known sets call them, each with the column beside which it is one: `attempt` alone may be a number. The
/// reasoning of an answer that carries a model's name is in the column beside it.
const ANSWERS_OF_SETS: [(&str, &str); 5] = [
    ("generated_solution", "problem"),
    ("deepseek_solution", "deepseek_reasoning"),
    ("attempt", "thinking_trajectories"),
    ("deepseek_attempt", "deepseek_thinking_trajectory"),
    ("gemini_attempt", "gemini_thinking_trajectory"),
];

/// The response column under an unusual name. If there are two candidates, only the user can decide.
pub(super) fn response_of_set<'a>(
    row: &'a Columns,
    reasoning: Option<&Reasoning<'a>>,
) -> Result<Option<Column<'a>>, Problem> {
    let is_text = |column: &Column<'_>| column.1.kind() == Kind::Text && !column.1.is_empty();
    let mut found = ANSWERS_OF_SETS.iter().filter_map(|(name, beside)| {
        let own = called(row, name).filter(is_text)?;
        called(row, beside).map(|beside| (own, beside))
    });
    let Some((own, beside)) = found.next() else { return Ok(None) };
    let wrong = |what: String| {
        let reasoning = if same(beside.0, "problem") {
            String::new()
        } else {
            format!(", reasoning = \"{}\"", beside.0.escape_debug())
        };
        let named = format!("data.columns = {{ response = \"{}\"{reasoning} }}", own.0.escape_debug());
        Problem::new(ProblemKind::Columns, format!("{what}; name what is learnt, such as {named}"))
    };
    let (own_name, beside_name) = (own.0.escape_debug(), beside.0.escape_debug());
    if let Some((other, _)) = found.next() {
        return Err(wrong(format!("the row has two answers, `{own_name}` and `{}`", other.0.escape_debug())));
    }
    let is_of_another = |reasoning: &&Reasoning<'_>| {
        let is_elsewhere = beside.1.is_empty() || !reasoning.columns.iter().any(|name| same(name, beside.0));
        is_elsewhere && !same(beside.0, "problem")
    };
    match reasoning.filter(is_of_another).and_then(|reasoning| reasoning.columns.first()) {
        None => Ok(Some(own)),
        Some(other) => Err(wrong(format!(
            "the row has `{own_name}` with its reasoning in `{beside_name}`, and another one in `{}`",
            other.escape_debug()
        ))),
    }
}

/// Refuses a row that has its question and its answer in `columns`, and another text beside them. A text that repeats them, for
/// example with a template applied, adds nothing.
pub(super) fn no_text_beside(row: &Columns, columns: &[Column<'_>]) -> Result<(), Problem> {
    let Some(text) = called(row, "text").filter(|(_, value)| value.kind() == Kind::Text && !value.is_empty()) else {
        return Ok(());
    };
    let (name, text) = (text.0, text_of(text)?);
    let parts: Vec<String> = columns.iter().filter_map(|column| text_of(*column).ok()).collect();
    let repeats = parts.iter().all(|part| text.contains(part.trim()));
    if repeats || parts.iter().any(|part| part.trim() == text.trim()) {
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    Err(Problem::new(
        ProblemKind::Columns,
        format!(
            "the row has `{name}` beside `{}`, and they do not say the same; name what counts: {}, or {}",
            names.join("`, `"),
            naming(&[("text", name)]),
            naming(&[("prompt", "…"), ("response", "…")])
        ),
    ))
}

/// The first of these columns that is not empty, or that exists. Another one with text must agree.
fn one_of<'a>(
    row: &'a Columns,
    part: &str,
    names: &[&str],
    read: impl Fn(Column<'a>) -> Result<Vec<Message>, Problem>,
) -> Result<Option<Column<'a>>, Problem> {
    let mut full = names.iter().filter_map(|name| called(row, name)).filter(|(_, value)| !value.is_empty());
    let Some(first) = full.next() else { return Ok(first_called(row, names)) };
    // A value that cannot be read is reported by its reader.
    let own = read(first);
    let differs = |other: &Column<'a>| match (&own, read(*other)) {
        (Ok(own), Ok(other)) => !agree(own, &other),
        _ => other.1.kind() == Kind::Text && other.1.written() != first.1.written(),
    };
    let is_text = |column: &Column<'_>| !matches!(column.1.kind(), Kind::Object | Kind::Truth);
    match full.filter(is_text).find(differs) {
        None => Ok(Some(first)),
        Some((other, _)) => Err(Problem::new(
            ProblemKind::Columns,
            format!(
                "the row has `{}` and `{other}`, and they do not say the same; name the one that counts: {}",
                first.0,
                naming(&[(part, first.0)])
            ),
        )),
    }
}

/// Whether two columns agree; a text may be a turn of a conversation.
fn agree(one: &[Message], other: &[Message]) -> bool {
    let same = |a: &Message, b: &Message| {
        a.role == b.role && a.content.trim() == b.content.trim() && a.reasoning == b.reasoning
    };
    match (one, other) {
        ([only], turns) | (turns, [only]) => turns.iter().any(|turn| same(turn, only)),
        _ => one == other,
    }
}
