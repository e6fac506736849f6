//! Which columns of a row are its question and its answer, under their usual names. Two columns for one part have to say the same, but for
//! a right answer to compare with, which stands beside an answer in full.

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
/// The right answer, where another column answers in full, and the answer where none does.
pub(super) const ANSWER: &str = "answer";
/// An answer in full where the right one stands beside it; otherwise it may be the right one itself.
const SOLUTION: &str = "solution";

/// The column of what is asked.
pub(super) fn prompt_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    one_of(row, "prompt", &PROMPTS, prompt_from)
}

/// The column of what is learnt.
pub(super) fn response_of(row: &Columns) -> Result<Option<Column<'_>>, Problem> {
    let in_full = one_of(row, "response", &RESPONSES, |column| reply_from(Some(column), None))?;
    Ok(in_full.or_else(|| {
        let answer = called(row, ANSWER)?;
        let solution = called(row, SOLUTION).filter(|(_, value)| value.kind() == Kind::Text && !value.is_empty());
        Some(solution.unwrap_or(answer))
    }))
}

/// Answers as well-known sets call them, and the column beside which each is one: `attempt` alone may be a number. The reasoning of an answer
/// that carries a model's name stands in the column beside it.
const ANSWERS_OF_SETS: [(&str, &str); 5] = [
    ("generated_solution", "problem"),
    ("deepseek_solution", "deepseek_reasoning"),
    ("attempt", "thinking_trajectories"),
    ("deepseek_attempt", "deepseek_thinking_trajectory"),
    ("gemini_attempt", "gemini_thinking_trajectory"),
];

/// The column of what is learnt, where none is called as usual. Where there are two of them, nobody but the user can tell which counts.
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

/// Refuses a row that has its question and its answer in `columns`, and another text beside them. One that repeats them, as where a template
/// was applied, says nothing more.
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

/// The first of these columns that holds something, or that is there. Another one that holds a text has to say the same.
fn one_of<'a>(
    row: &'a Columns,
    part: &str,
    names: &[&str],
    read: impl Fn(Column<'a>) -> Result<Vec<Message>, Problem>,
) -> Result<Option<Column<'a>>, Problem> {
    let mut full = names.iter().filter_map(|name| called(row, name)).filter(|(_, value)| !value.is_empty());
    let Some(first) = full.next() else { return Ok(first_called(row, names)) };
    // What cannot be read is told by whoever reads it.
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

/// Whether two columns say the same; a text may be a turn of a conversation.
fn agree(one: &[Message], other: &[Message]) -> bool {
    let same = |a: &Message, b: &Message| {
        a.role == b.role && a.content.trim() == b.content.trim() && a.reasoning == b.reasoning
    };
    match (one, other) {
        ([only], turns) | (turns, [only]) => turns.iter().any(|turn| same(turn, only)),
        _ => one == other,
    }
}
