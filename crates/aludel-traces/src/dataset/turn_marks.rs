//! Marks by which chat templates set turns apart (`<|im_end|>`, `</s>`), written out in the text of a row. In text they are letters and no
//! tokens: behind an answer they are left over from the teacher's template and are taken off, elsewhere they are told.

use std::sync::LazyLock;

use aludel_text::message::{Message, Role};
use regex::Regex;

use super::Content;

/// What ends a turn or a text in the templates of the usual families.
const ENDS: [&str; 18] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end|>",
    "<|return|>",
    "<|eos|>",
    "<|endofturn|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "[|endofturn|]",
    "<｜end▁of▁sentence｜>",
    "<end_of_turn>",
    "<eos>",
    "[EOS]",
    "</s>",
];

/// What the marks of rows are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Marks were taken off the end of an answer.
    pub(super) is_taken_off: bool,
    /// The first that is left in the text.
    pub(super) left: Option<String>,
}

/// Takes the marks off the ends of answers, and finds those that are left.
pub(super) fn settle(content: &mut Content) -> Found {
    let mut found = Found::default();
    match content {
        Content::Text(text) => {
            found.is_taken_off |= take_off(text);
            found.left = first_in(text);
        }
        Content::Messages(messages) => {
            for message in messages.iter_mut().filter(|message| message.role == Role::Assistant) {
                found.is_taken_off |= take_off(&mut message.content);
            }
            let texts = |message: &Message| [message.reasoning.clone(), Some(message.content.clone())];
            found.left = messages.iter().flat_map(texts).flatten().find_map(|text| first_in(&text));
        }
    }
    found
}

fn take_off(text: &mut String) -> bool {
    let mut rest = text.trim_end();
    while let Some(shorter) = ENDS.iter().filter(|end| !is_html(end, rest)).find_map(|end| rest.strip_suffix(end)) {
        rest = shorter.trim_end();
    }
    let is_shorter = rest.len() < text.trim_end().len();
    if is_shorter {
        text.truncate(rest.len());
    }
    is_shorter
}

/// In HTML `</s>` ends what `<s>` begins.
fn is_html(mark: &str, text: &str) -> bool {
    mark == "</s>" && text.contains("<s>")
}

fn first_in(text: &str) -> Option<String> {
    turn_mark(text).map(str::to_owned)
}

/// The first mark of a turn, or another control token of a template, that a text spells.
pub(crate) fn turn_mark(text: &str) -> Option<&str> {
    // `<|im_end|>` and its like, DeepSeek's with its wide bars, and the names without bars.
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"<[|｜][^<>|｜\n]{1,40}[|｜]>|\[\|[a-z]{1,20}\|\]|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk|unused\d{1,3})>|<\|(?:channel|turn|think)>|<(?:channel|turn)\|>|</s>",
        )
        .expect("a constant pattern compiles")
    });
    MARK.find_iter(text).map(|found| found.as_str()).find(|mark| !is_html(mark, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_off_the_ends_of_answers() {
        for (text, wanted) in [
            ("a<|im_end|>", "a"),
            ("a</s>", "a"),
            ("a <|eot_id|>\n", "a"),
            ("a<end_of_turn>\n<eos>", "a"),
            ("a<｜end▁of▁sentence｜>", "a"),
            ("<|im_end|>", ""),
        ] {
            let mut content = Content::Messages(vec![Message::user("q"), Message::assistant(text)]);
            assert_eq!(settle(&mut content), Found { is_taken_off: true, left: None }, "{text}");
            assert_eq!(content, Content::Messages(vec![Message::user("q"), Message::assistant(wanted)]));
        }
        for text in [
            "It ends with `<|im_end|>`.",
            "<p><s>a</s>",
            "a <|im_start|> b",
            "a [INST]",
            "<unused94> a",
            "<|turn>user",
            "x [|user|] y",
        ] {
            let mut content = Content::Messages(vec![Message::user("q"), Message::assistant(text)]);
            let left = turn_mark(text).map(str::to_owned);
            assert_eq!(left.is_none(), text.contains("<s>"), "{text}");
            assert_eq!(settle(&mut content), Found { is_taken_off: false, left }, "{text}");
        }
        let mut asked = Content::Messages(vec![Message::user("q</s>"), Message::assistant("a")]);
        assert_eq!(settle(&mut asked).left.as_deref(), Some("</s>"));
        let mut plain = Content::Text("once <|endoftext|>".to_owned());
        assert!(settle(&mut plain).is_taken_off && plain == Content::Text("once".to_owned()));
    }
}
