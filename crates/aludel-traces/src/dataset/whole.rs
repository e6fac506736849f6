//! Whether a row is whole: the teacher finished, its reasoning is closed, and there is an answer. One rule for training,
//! inspection and curation; what becomes of a row that is not is theirs to say.

use aludel_text::message::{Message, Role};

use super::{Columns, Content};
use crate::json::{Json, Kind};
use crate::said::{REASONING, Said, reasoning_in, reasoning_tokens};
use crate::teacher::Finish;

/// What a row lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What exactly.
    pub detail: String,
    /// What is there was cut off at a limit, and is good so far.
    pub is_cut: bool,
}

/// Why a row is not whole, or `None` if it is.
pub fn flaw(content: &Content, columns: &Columns) -> Option<Flaw> {
    unfinished(columns).or_else(|| open_reasoning(content)).or_else(|| no_answer(content))
}

/// The last answer's reasoning, where a tag in it opens one that never closes. Closed reasoning was taken out of the answer when
/// it was read.
pub fn unclosed(message: &Message) -> Option<&str> {
    let has_reasoning = message.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty());
    let inside = message.content.trim_start().strip_prefix("<think>")?;
    (!has_reasoning && !message.content.contains("</think>")).then_some(inside)
}

/// Whether the row's model reasoned, as the row says, and none of it is there: encrypted, or counted and left out.
pub(super) fn hides_reasoning(content: &Content, row: &Columns) -> bool {
    if replies(content).any(|turn| turn.reasoning.is_some()) {
        return false;
    }
    let in_usage = || reasoning_tokens(&row.get("usage")?.value().ok()?);
    let in_column = || row.get("reasoning_tokens")?.written().parse::<u64>().ok();
    let counted = in_usage().or_else(in_column).unwrap_or(0);
    let is_withheld = |(name, value): (&str, Json<'_>)| {
        let text = value.written();
        if !["encrypted", "redacted_thinking"].iter().any(|word| text.contains(word)) {
            return false;
        }
        let says = |said: Result<Said, String>| said.is_ok_and(|said| said.is_withheld);
        match REASONING.contains(&name) {
            true => says(reasoning_in(name, value, false)),
            false => value.items().iter().any(|message| says(Said::of(&message.fields(), false))),
        }
    };
    counted > 0 || row.iter().any(is_withheld)
}

/// Whether a name says why an answer ended.
pub(super) fn is_finish(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["finishreason", "finishreasons", "donereason", "stopreason"].iter().any(|known| plain.eq_ignore_ascii_case(known))
}

fn unfinished(columns: &Columns) -> Option<Flaw> {
    // vLLM's `stop_reason` says which text or token it stopped at; its `finish_reason` says why.
    let said =
        |name: &str| columns.iter().find(|(own, value)| is_finish(own) && is_like(own, name) && !value.is_empty());
    let (name, value) = ["finish", "done", "stop"].iter().find_map(|name| said(name))?;
    // One answer may have a list of one reason; of several, all have to be good.
    let reasons = if value.kind() == Kind::List { value.items() } else { vec![value] };
    reasons.into_iter().filter_map(words_of).find_map(|words| {
        // DashScope writes the word where others write null.
        if words.is_empty() || words.eq_ignore_ascii_case("null") || words.eq_ignore_ascii_case("none") {
            return None;
        }
        let finish = Finish::of(&words);
        (!finish.is_complete()).then(|| Flaw { detail: format!("{name} is {words:?}"), is_cut: finish.is_limit() })
    })
}

fn is_like(name: &str, start: &str) -> bool {
    name.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start))
}

/// The words, which SGLang puts into an object.
fn words_of(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Null => None,
        Kind::Text => {
            Some(value.text().ok().flatten().map_or_else(|| value.written().to_string(), |text| text.into_owned()))
        }
        Kind::Object => value.get("type").and_then(words_of).or_else(|| Some(value.written().to_string())),
        _ => Some(value.written().to_string()),
    }
}

fn open_reasoning(content: &Content) -> Option<Flaw> {
    let is_open = replies(content).any(|turn| unclosed(turn).is_some());
    is_open.then(|| Flaw { detail: "the reasoning is never closed".to_string(), is_cut: true })
}

fn no_answer(content: &Content) -> Option<Flaw> {
    let last = replies(content).last()?;
    last.content.trim().is_empty().then(|| Flaw { detail: "the answer is empty".to_string(), is_cut: true })
}

fn replies(content: &Content) -> impl Iterator<Item = &Message> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    messages.iter().filter(|message| message.role == Role::Assistant && message.weight > 0.0)
}
