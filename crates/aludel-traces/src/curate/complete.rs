//! Whether a trace is whole: the teacher finished, its reasoning is closed, there is an answer, and no text in it spells a
//! control token.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::trace::{learnt, replies};
use crate::dataset::Content;

/// What servers say when an answer came to its own end.
const FINISHED: [&str; 8] =
    ["stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "completed", "finished"];

const FINISH_COLUMNS: [&str; 3] = ["finish_reason", "done_reason", "stop_reason"];

/// Why the trace is not whole, or `None` if it is.
pub(super) fn flaw(content: &Content, columns: &Map<String, Value>) -> Option<String> {
    cut_off(columns)
        .or_else(|| open_reasoning(content))
        .or_else(|| no_answer(content))
        .or_else(|| control_text(content))
}

fn cut_off(columns: &Map<String, Value>) -> Option<String> {
    let (name, reason) = FINISH_COLUMNS.iter().find_map(|name| Some((name, columns.get(*name)?.as_str()?)))?;
    let is_finished = FINISHED.iter().any(|finished| finished.eq_ignore_ascii_case(reason.trim()));
    (!is_finished).then(|| format!("{name} is {reason:?}"))
}

/// The reader takes closed reasoning out of the answer; a tag that still opens one was never closed.
fn open_reasoning(content: &Content) -> Option<String> {
    let is_open = |text: &str| text.trim_start().starts_with("<think>") && !text.contains("</think>");
    replies(content).any(|turn| is_open(&turn.content)).then(|| "the reasoning is never closed".to_string())
}

fn no_answer(content: &Content) -> Option<String> {
    let last = replies(content).last()?;
    last.content.trim().is_empty().then(|| "the answer is empty".to_string())
}

fn control_text(content: &Content) -> Option<String> {
    // `<|im_end|>` and its like, DeepSeek's with its wide bars, and the names without bars.
    static CONTROL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"<[|｜][^<>|｜\n]{1,40}[|｜]>|</?think>|<(?:start|end)_of_turn>|\[/?INST\]|<(?:bos|eos|pad|unk)>")
            .expect("a constant pattern compiles")
    });
    learnt(content)
        .find_map(|text| CONTROL.find(text))
        .map(|found| format!("it spells the control token {}", found.as_str()))
}

#[cfg(test)]
mod tests {
    use aludel_text::message::Message;
    use serde_json::json;

    use super::*;

    fn check(answer: Message, columns: Value, wanted: Option<&str>) {
        let content = Content::Messages(vec![Message::user("What is <|im_end|>?"), answer]);
        let columns = columns.as_object().unwrap();
        let found = flaw(&content, columns);
        assert_eq!(found.as_deref(), wanted, "{content:?} {columns:?}");
    }

    #[test]
    fn a_whole_trace_passes() {
        check(Message::assistant("4").with_reasoning("2+2"), json!({}), None);
        check(Message::assistant("4"), json!({"finish_reason": "stop"}), None);
        check(Message::assistant("if a<b then <b>x</b> | y|>"), json!({"finish_reason": "STOP"}), None);
        check(Message::assistant("4"), json!({"finish_reason": null}), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        check(Message::assistant("4"), json!({"finish_reason": "length"}), Some("finish_reason is \"length\""));
        check(Message::assistant("4"), json!({"done_reason": "load"}), Some("done_reason is \"load\""));
        check(Message::assistant("<think>2+2"), json!({}), Some("the reasoning is never closed"));
        check(Message::assistant(" ").with_reasoning("2+2"), json!({}), Some("the answer is empty"));
    }

    #[test]
    fn control_tokens_are_found_wherever_they_are_learnt() {
        let spells = |token: &str| Some(format!("it spells the control token {token}"));
        for token in
            ["<|im_end|>", "<｜end▁of▁sentence｜>", "<|eot_id|>", "</think>", "<think>", "<end_of_turn>", "[INST]"]
        {
            check(Message::assistant(format!("4 {token} 5")), json!({}), spells(token).as_deref());
            check(Message::assistant("4").with_reasoning(format!("a{token}")), json!({}), spells(token).as_deref());
        }
        assert_eq!(flaw(&Content::Text("a<|endoftext|>".into()), &Map::new()), spells("<|endoftext|>"));
    }
}
