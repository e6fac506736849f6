//! Whether a row is complete: the teacher finished, its reasoning is closed, there is an answer, and no mark excludes it. One rule
//! for training, inspection, curation and teachers' answers; how they treat an incomplete row is decided there.

use aludel_text::message::{Message, Role};
use aludel_text::thinking::{InlineReasoning, inline};

use super::flaw::{Flaw, FlawKind};
use super::problem::says;
use super::{Columns, Content, finish_columns, loss_weight, row_marks};
use crate::column_names::{called, is_among, same};
use crate::finish_reason::Finish;
use crate::json::Json;
use crate::message_fields::{MessageParts, is_reasoning, reasoning_in, reasoning_tokens};

/// Why a row is incomplete, or `None`.
pub fn flaw(content: &Content, columns: &Columns) -> Option<Flaw> {
    marked(content, columns).or_else(|| open_reasoning(content)).or_else(|| no_answer(content))
}

/// Why an answer from a teacher is incomplete, by the rule for rows.
pub fn flaw_of_answer(reasoning: Option<&str>, content: &str, finish: &Finish) -> Option<Flaw> {
    if !finish.is_complete() {
        let detail = format!("finish_reason is {:?}", finish.as_str());
        return Some(Flaw::incomplete(detail, finish.is_limit()));
    }
    if let (None, InlineReasoning::Unclear(detail)) = (reasoning, inline(content)) {
        return Some(Flaw::incomplete(detail, false));
    }
    let reasoning = reasoning.map(str::to_owned);
    let content = Content::Messages(vec![Message { reasoning, ..Message::assistant(content) }]);
    open_reasoning(&content).or_else(|| no_answer(&content))
}

/// The reasoning of the last answer, if its opening tag is never closed. Closed reasoning was separated from the answer when it was
/// read.
pub fn unclosed(message: &Message) -> Option<&str> {
    let has_reasoning = message.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty());
    match inline(&message.content) {
        InlineReasoning::Open(inside) if !has_reasoning => Some(inside),
        _ => None,
    }
}

/// Whether the row's model reasoned, according to the row, which contains none of it: encrypted, or counted and left out.
pub(super) fn hides_reasoning(content: &Content, row: &Columns) -> bool {
    if replies(content).any(|turn| turn.reasoning.is_some()) {
        return false;
    }
    let in_usage = || reasoning_tokens(&called(row, "usage")?.1.value().ok()?);
    let in_column = || called(row, "reasoning_tokens")?.1.written().parse::<u64>().ok();
    let counted = in_usage().or_else(in_column).unwrap_or(0);
    let is_withheld = |(name, value): (&str, Json<'_>)| {
        let text = value.written();
        if !["encrypted", "redacted_thinking"].iter().any(|word| text.contains(word)) {
            return false;
        }
        let says = |said: Result<MessageParts, String>| said.is_ok_and(|said| said.is_withheld);
        match is_reasoning(name) {
            true => says(reasoning_in(name, value, false)),
            false => value.items().iter().any(|message| says(MessageParts::of(&message.fields(), false))),
        }
    };
    counted > 0 || row.iter().any(is_withheld)
}

/// What the row's own columns say against its answer.
fn marked(content: &Content, columns: &Columns) -> Option<Flaw> {
    let of_kind = |kind| move |detail| Flaw { detail, kind, is_cut: false };
    let calls = replies(content).last().is_some_and(|turn| !turn.tool_calls.is_empty());
    bad_answer(columns)
        .map(of_kind(FlawKind::BadLabel))
        .or_else(|| loss_weight::unlearnt(columns).map(of_kind(FlawKind::ZeroWeight)))
        .or_else(|| finish_columns::flaw_in(columns.iter().filter(|column| !calls || !says_called(*column))))
}

/// Whether a member says that the answer ended since the model calls a tool. A turn that ends with its calls is whole.
pub(super) fn says_called((_, value): (&str, Json<'_>)) -> bool {
    value.text().ok().flatten().is_some_and(|words| Finish::of(&words) == Finish::ToolCalls)
}

/// Whether a column describes the answer: its finish reason, its quality, its reasoning tokens.
pub fn speaks_of_answer(name: &str, value: Json<'_>) -> bool {
    label(name, value).is_some()
        || same(name, "reasoning_tokens")
        || finish_columns::speaks_of_answer(name, value)
        || row_marks::is_read(name, value)
}

/// Whether a column is a label for the quality of the answer.
pub(super) fn is_label(name: &str, value: Json<'_>) -> bool {
    label(name, value).is_some()
}

/// Whether a column's name is that of such a label, whatever it holds.
pub(super) fn may_be_label(name: &str) -> bool {
    same(name, LABEL)
}

/// A name that classes have, too: TRL's KTO knows true and false under it, classifiers have numbers and words.
const LABEL: &str = "label";
/// Names that nothing but KTO has: 0 and 1 are truth values under them.
const KTO_LABELS: [&str; 2] = ["kto_label", "kto_tag"];

/// What KTO's label says of an answer: whether it is a good one. The one rule for all commands.
fn label(name: &str, value: Json<'_>) -> Option<bool> {
    let is_word =
        || ["true", "false"].iter().any(|word| value.written().trim_matches(['"', ' ']).eq_ignore_ascii_case(word));
    let is_kto = is_among(&KTO_LABELS, name) || (same(name, LABEL) && is_word());
    value.truth().filter(|_| is_kto)
}

/// KTO marks answers that are not to be learnt so.
fn bad_answer(columns: &Columns) -> Option<String> {
    let (name, value) = columns.iter().find(|(name, value)| label(name, *value) == Some(false))?;
    Some(format!("{}, which marks a bad answer", says(name, value)))
}

fn open_reasoning(content: &Content) -> Option<Flaw> {
    let is_open = replies(content).any(|turn| unclosed(turn).is_some());
    is_open.then(|| Flaw::incomplete("the reasoning is never closed", true))
}

fn no_answer(content: &Content) -> Option<Flaw> {
    let last = replies(content).last()?;
    (last.content.trim().is_empty() && last.tool_calls.is_empty())
        .then(|| Flaw::incomplete("the answer is empty", true))
}

fn replies(content: &Content) -> impl Iterator<Item = &Message> {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    messages.iter().filter(|message| message.role == Role::Assistant && message.weight > 0.0)
}
