//! Control tokens of chat templates (`<|im_end|>`, `</s>`) in the text of a row, where they are plain text: at the end of an answer
//! they are left over from the teacher's template and are removed, elsewhere they are reported.

use std::sync::LazyLock;

use aludel_text::message::{Message, Role};
use regex::Regex;

use super::Content;

/// Tokens that end a turn or a text in the templates of the usual families.
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

/// Those without bars or a long name, with which a sentence may end.
const PLAIN_ENDS: [&str; 3] = ["<eos>", "[EOS]", "</s>"];

/// Which control tokens the rows contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftTokens {
    /// Tokens were removed from the end of an answer.
    pub(super) is_taken_off: bool,
    /// The first one left in the text.
    pub(super) left: Option<String>,
}

/// Removes the tokens at the ends of answers, and finds those that are left.
pub(super) fn settle(content: &mut Content) -> LeftTokens {
    let mut found = LeftTokens::default();
    match content {
        Content::Text(text) => {
            found.is_taken_off |= take_off(text);
            found.left = first_in(text);
        }
        Content::Messages(messages) => {
            for message in messages.iter_mut().filter(|message| message.role == Role::Assistant) {
                found.is_taken_off |= take_off(&mut message.content);
            }
            let mut texts = messages.iter().flat_map(texts_of);
            found.left = texts.find_map(first_in);
        }
    }
    found
}

fn texts_of(message: &Message) -> impl Iterator<Item = &str> {
    message.reasoning.as_deref().into_iter().chain([message.content.as_str()])
}

fn take_off(text: &mut String) -> bool {
    let mut rest = text.trim_end();
    while let Some(shorter) = without_end(rest) {
        rest = shorter;
    }
    let is_shorter = rest.len() < text.trim_end().len();
    if is_shorter {
        text.truncate(rest.len());
    }
    is_shorter
}

/// A text without the token at its end. After a space, or alone, a plain one may be what the answer is about.
fn without_end(text: &str) -> Option<&str> {
    let (end, before) = ENDS.iter().find_map(|end| Some((end, text.strip_suffix(end)?)))?;
    let is_alone = || before.trim().is_empty();
    let is_behind_another = || ENDS.iter().any(|end| before.trim_end().ends_with(end));
    let is_named =
        PLAIN_ENDS.contains(end) && !is_llama(text) && (is_alone() || (before.ends_with(' ') && !is_behind_another()));
    (!is_named && !is_html(end, text)).then(|| before.trim_end())
}

/// In HTML `</s>` closes `<s>`, with or without attributes; in Llama 2's template `<s>` is a control token, too.
fn is_html(mark: &str, text: &str) -> bool {
    let is_element =
        |(at, open): (usize, &str)| text[at + open.len()..].starts_with(|c: char| c == '>' || c.is_whitespace());
    mark == "</s>" && !is_llama(text) && text.match_indices("<s").any(is_element)
}

/// Whether a text is written in Llama 2's template, which has a space before its last token.
fn is_llama(text: &str) -> bool {
    text.trim_start().starts_with("<s>") || text.contains("[INST]")
}

fn first_in(text: &str) -> Option<String> {
    turn_mark(text).map(str::to_owned)
}

/// The first control token of a template that a text contains.
pub fn turn_mark(text: &str) -> Option<&str> {
    // `<|im_end|>` and similar ones, DeepSeek's with wide bars, and the names without bars.
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"<[|｜][^<>|｜\n]{1,40}[|｜]>|\[\|[a-z]{1,20}\|\]|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk|unused\d{1,3})>|<\|(?:channel|turn|think)>|<(?:channel|turn)\|>|</s>|\[EOS\]",
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
            ("a\n</s>", "a"),
            ("a [EOS] <|im_end|>", "a [EOS]"),
            ("a<|im_end|> </s>", "a"),
        ] {
            let mut content = Content::Messages(vec![Message::user("q"), Message::assistant(text)]);
            let left = turn_mark(wanted).map(str::to_owned);
            assert_eq!(settle(&mut content), LeftTokens { is_taken_off: true, left }, "{text}");
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
            "The special token is <eos>",
            "The special token is [EOS]\n",
            "The special token is </s>",
            "</s>",
            "<p><s class=\"old\">$5</s>",
            "It was <s\nid=a>$5</s>",
        ] {
            let mut content = Content::Messages(vec![Message::user("q"), Message::assistant(text)]);
            let left = turn_mark(text).map(str::to_owned);
            let is_html = text.contains("<s") && text.contains("</s>");
            assert_eq!(left.is_none(), is_html, "{text}");
            assert_eq!(settle(&mut content), LeftTokens { is_taken_off: false, left }, "{text}");
        }
        for (text, wanted, left) in [
            ("<s>[INST] q [/INST] a </s>", "<s>[INST] q [/INST] a", Some("[INST]")),
            ("[INST] <s> q [/INST] a</s>", "[INST] <s> q [/INST] a", Some("[INST]")),
            ("<s>a </s>", "<s>a", None),
        ] {
            let mut content = Content::Text(text.to_owned());
            assert_eq!(
                settle(&mut content),
                LeftTokens { is_taken_off: true, left: left.map(str::to_owned) },
                "{text}"
            );
            assert_eq!(content, Content::Text(wanted.to_owned()));
        }
        let mut asked = Content::Messages(vec![Message::user("q</s>"), Message::assistant("a")]);
        assert_eq!(settle(&mut asked).left.as_deref(), Some("</s>"));
        let mut plain = Content::Text("once <|endoftext|>".to_owned());
        assert!(settle(&mut plain).is_taken_off && plain == Content::Text("once".to_owned()));
    }
}
