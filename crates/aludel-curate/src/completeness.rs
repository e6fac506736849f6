//! Whether a trace is complete, by the same rule as in training, and whether any text in it spells a control token.

use std::sync::LazyLock;

use regex::Regex;

use super::{DroppedRow, Reason};
use aludel_data::dataset::{self, Columns, Content, FlawKind, turn_mark};
use aludel_data::trace::learnt;

/// Why the trace is not whole or not to be learnt, with its reason, or `None` if it is.
pub(super) fn flaw(content: &Content, columns: &Columns) -> Option<DroppedRow> {
    let of_data = dataset::flaw(content, columns).map(|flaw| {
        let reason = match flaw.kind {
            FlawKind::Incomplete => Reason::Incomplete,
            FlawKind::BadLabel => Reason::BadLabel,
            FlawKind::ZeroWeight => Reason::ZeroWeight,
        };
        DroppedRow { reason, detail: flaw.detail }
    });
    let of_text = || control_text(content).map(|detail| DroppedRow { reason: Reason::Incomplete, detail });
    of_data.or_else(of_text)
}

fn control_text(content: &Content) -> Option<String> {
    static THINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"</?think>").expect("a constant pattern compiles"));
    learnt(content)
        .find_map(|text| turn_mark(text).or_else(|| THINK.find(text).map(|found| found.as_str())))
        .map(|found| format!("it spells the control token {found}"))
}

#[cfg(test)]
mod tests {
    use aludel_text::message::Message;
    use serde_json::{Value, json};

    use super::*;

    fn check(answer: Message, columns: Value, wanted: Option<&str>) {
        let content = Content::Messages(vec![Message::user("What is <|im_end|>?"), answer]);
        let columns: Columns = serde_json::from_str(&columns.to_string()).unwrap();
        let found = flaw(&content, &columns);
        assert_eq!(found.map(|found| found.detail).as_deref(), wanted, "{content:?} {columns:?}");
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
        let found = flaw(&Content::Text("a<|endoftext|>".into()), &Columns::default());
        assert_eq!(found.map(|found| found.detail), spells("<|endoftext|>"));
    }
}
