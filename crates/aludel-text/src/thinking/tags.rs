//! Tags in the spellings of people, models and escaping tools (`<think>`, `< Think >`, `[THINKING]`, `<|think|>`,
//! `&lt;think&gt;`), and which of their words mean reasoning. `inline` finds reasoning in an answer.

use std::sync::LazyLock;

use super::code::{MOST, is_closing, is_opening};
use crate::name_matching::letters;

/// Opening tags with their closing ones: of R1, Qwen and most others, of Claude's imitators, EXAONE Deep, answers made for GRPO,
/// Sky-T1 and its descendants, Seed-OSS, Kimi, Command A, Magistral and the Gemma family. Small letters stand for letters of any case.
pub(super) const PAIRS: [(&str, &str); 11] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|start_thinking|>", "<|end_thinking|>"),
    ("[THINK]", "[/THINK]"),
    ("<unused94>thought", "<unused95>"),
    ("<|channel>thought", "<channel|>"),
];

/// How a tag is written: what precedes and follows its name, longest first.
const FORMS: [(&str, &str); 6] =
    [("<|", "|>"), ("<｜", "｜>"), ("\\<", "\\>"), ("&lt;", "&gt;"), ("<", ">"), ("[", "]")];
const ESCAPED: [&str; 2] = ["\\<", "&lt;"];
const BRACKET: &str = "[";

/// Words that surround reasoning and nothing else, as their letters, beside those of the known pairs.
const MORE_REASONING: &[&str] = &[
    "thinkingprocess",
    "antthinking",
    "thoughts",
    "thoughtprocess",
    "reasoningprocess",
    "chainofthought",
    "cot",
    "innermonologue",
    "innerthoughts",
    "innerthinking",
    "longcatthink",
    "scratchpad",
];
/// Words that surround reasoning in some data and around a part of the answer in other data.
const EITHER: &[&str] =
    &["analysis", "reason", "reasons", "rationale", "reflection", "deliberation", "monologue", "internal"];
/// Word stems of such tags.
const STEMS: &[&str] = &["think", "thought", "reason", "reflect", "deliberat", "monolog", "scratchpad"];

/// Maximum letters of a tag.
const LONGEST: usize = 60;

/// The prefix of a tag with bars, and whether it closes.
const SIDES: [(&str, bool); 7] = [
    ("begin_of_", false),
    ("start_of_", false),
    ("begin_", false),
    ("start_", false),
    ("end_of_", true),
    ("end_", true),
    ("/", true),
];

/// A tag at the beginning of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    text: &'a str,
    form: &'static str,
    /// The letters of its name, in lower case.
    word: String,
    is_closing: bool,
}

/// A pair of tags at the beginning of an answer whose word may surround reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadingTag<'a> {
    /// The opening tag as it is written.
    pub tag: &'a str,
    /// Its word: letters and digits, in lower case.
    pub word: String,
    /// The text between the tags; all that follows if the closing one is missing.
    pub inside: &'a str,
    /// What follows the closing tag.
    pub answer: Option<&'a str>,
    /// Whether the word surrounds only reasoning.
    pub(super) is_reasoning: bool,
    form: &'static str,
}

impl LeadingTag<'_> {
    /// Whether the closing tag can only be missing because the text was cut off.
    pub(super) fn is_cut(&self) -> bool {
        self.answer.is_none() && !self.is_escaped() && self.form != BRACKET
    }

    pub(super) fn is_escaped(&self) -> bool {
        ESCAPED.contains(&self.form)
    }
}

/// The tags around the beginning of an answer, if their word may surround reasoning, known or not. A tag in brackets counts only
/// with its other half: `[think] hard` is text.
///
/// `is_named` adds the caller's words.
pub fn leading_tag(text: &str, is_named: impl Fn(&str) -> bool) -> Option<LeadingTag<'_>> {
    let text = text.trim_start();
    let tag = Tag::of(text).filter(|tag| !tag.is_closing)?;
    let is_reasoning = is_reasoning_word(&tag.word);
    let (is_sure, is_either) = (is_reasoning || is_named(&tag.word), EITHER.contains(&tag.word.as_str()));
    if !is_sure && !is_either && !STEMS.iter().any(|stem| tag.word.contains(stem)) {
        return None;
    }
    let rest = &text[tag.text.len()..];
    let found = tag.end_in(rest);
    // Another word that is never closed is neither markup nor a tag; a bracket alone is a remark.
    if found.is_none() && (tag.form == BRACKET || !(is_sure || is_either)) {
        return None;
    }
    let (inside, answer) = found.map_or((rest, None), |(at, bytes)| (&rest[..at], Some(&rest[at + bytes..])));
    Some(LeadingTag { tag: tag.text, word: tag.word, inside, answer, is_reasoning, form: tag.form })
}

/// A tag of a word that surrounds only reasoning, somewhere in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnmatchedTag<'a> {
    /// It closes without an opening tag.
    Closing {
        /// The tag.
        tag: &'a str,
        /// What is before it.
        before: &'a str,
        /// What follows it.
        after: &'a str,
    },
    /// It opens after other text.
    Opening {
        /// The tag.
        tag: &'a str,
    },
}

/// The first tag of a word that surrounds only reasoning and is not merely mentioned. Text that begins as markup may have elements
/// of any name, and so may text between escaped tags or in open brackets.
pub(super) fn stray_tag(text: &str) -> Option<UnmatchedTag<'_>> {
    if text.trim_start().starts_with('<') {
        return None;
    }
    let mut seen = 0;
    for (at, _) in text.char_indices().filter(|(at, letter)| {
        matches!(letter, '<' | '[' | '&' | '\\') && !(text[..*at].ends_with('\\') && *letter == '<')
    }) {
        let Some(tag) = Tag::of(&text[at..]).filter(|tag| is_reasoning_word(&tag.word)) else { continue };
        let (before, after) = (&text[..at], &text[at + tag.text.len()..]);
        seen += 1;
        if seen > MOST {
            return None;
        }
        match tag.is_closing {
            true if is_closing(before, after) => return Some(UnmatchedTag::Closing { tag: tag.text, before, after }),
            false if is_opening(before, after) && !ESCAPED.contains(&tag.form) && tag.form != BRACKET => {
                let is_closed = tag.end_in(after).is_some();
                return is_closed.then_some(UnmatchedTag::Opening { tag: tag.text });
            }
            // Its other half belongs to it.
            false => return None,
            true => {}
        }
    }
    None
}

/// The first such tag with invisible characters, or full-width ones in place of the usual. For a reader it is a tag, for a program
/// it is not.
pub(super) fn disguised_tag(text: &str) -> Option<&str> {
    if !text.contains(|letter| usual(letter) != Some(letter)) {
        return None;
    }
    let mut seen = 0;
    for (at, _) in text.char_indices().filter(|(_, letter)| matches!(usual(*letter), Some('<' | '[' | '&' | '\\'))) {
        // The tag as it is read, and for each of its bytes the end of the letter that it stands for.
        let (mut read, mut ends) = (String::new(), Vec::new());
        for (offset, letter) in text[at..].char_indices().take(2 * LONGEST) {
            let Some(usual) = usual(letter) else { continue };
            read.push(usual);
            ends.resize(read.len(), at + offset + letter.len_utf8());
            if matches!(usual, '>' | ']' | '\n') || read.ends_with("&gt;") {
                break;
            }
        }
        let Some(tag) = Tag::of(&read).filter(|tag| is_reasoning_word(&tag.word)) else { continue };
        let end = ends[tag.text.len() - 1];
        let (before, own, after) = (&text[..at], &text[at..end], &text[end..]);
        let is_meant = if tag.is_closing { is_closing } else { is_opening };
        if own != tag.text && is_meant(before, after) {
            return Some(own);
        }
        seen += 1;
        if seen > MOST {
            return None;
        }
    }
    None
}

/// The plain letter for a letter of a tag; none for an invisible one.
fn usual(letter: char) -> Option<char> {
    match letter {
        '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => None,
        '＜' | '＞' | '［' | '］' | '／' | '＿' | '－' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => {
            // Wide forms stand in the order of ASCII.
            char::from_u32(u32::from(letter) - 0xff01 + 0x21)
        }
        other => Some(other),
    }
}

/// Whether a lower-case word surrounds only reasoning.
pub fn is_reasoning_word(word: &str) -> bool {
    static OF_PAIRS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let whole = |open: &'static str| Tag::of(open).filter(|tag| tag.text == open);
        PAIRS.into_iter().filter_map(|(open, _)| Some(whole(open)?.word)).collect()
    });
    MORE_REASONING.contains(&word) || OF_PAIRS.iter().any(|known| known == word)
}

impl<'a> Tag<'a> {
    fn of(text: &'a str) -> Option<Tag<'a>> {
        let (form, end) = FORMS.into_iter().find(|(form, _)| text.starts_with(form))?;
        let inside = &text[form.len()..];
        let bytes = inside.char_indices().take(LONGEST).map(|(at, _)| at).find(|&at| inside[at..].starts_with(end))?;
        let name = &inside[..bytes];
        if name.contains(['\n', '<', '>', '[', ']', '|', '｜', '&', '\\']) {
            return None;
        }
        let name = name.trim();
        let has_bars = form == "<|" || form == "<｜";
        let side = |(side, is_closing): &(&str, bool)| {
            let rest =
                name.get(..side.len()).filter(|own| own.eq_ignore_ascii_case(side)).map(|_| &name[side.len()..])?;
            (has_bars || *side == "/").then(|| (*is_closing, rest.trim()))
        };
        let (is_closing, name) = SIDES.iter().find_map(side).unwrap_or((false, name));
        let with_attributes = name.split_once(char::is_whitespace).filter(|(_, rest)| rest.contains('='));
        let name = with_attributes.map_or(name, |(name, _)| name);
        let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-' | ':');
        let word: String = letters(name).collect();
        if word.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let text = &text[..form.len() + bytes + end.len()];
        Some(Tag { text, form, word, is_closing })
    }

    /// The position and length of its other half: the first that is not merely mentioned, or the first of all.
    fn end_in(&self, text: &str) -> Option<(usize, usize)> {
        let is_half = |tag: &Tag<'_>| tag.is_closing && tag.form == self.form && tag.word == self.word;
        let places = text.match_indices(self.form).filter_map(|(at, _)| {
            let tag = Tag::of(&text[at..]).filter(is_half)?;
            Some((at, tag.text.len()))
        });
        let places: Vec<(usize, usize)> = places.take(MOST).collect();
        let meant = places.iter().find(|&&(at, bytes)| is_closing(&text[..at], &text[at + bytes..]));
        meant.or(places.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_any_spelling() {
        for (text, word, is_closing) in [
            ("<think>", "think", false),
            ("< Think >x", "think", false),
            ("</ think >", "think", true),
            ("&lt;/think&gt;", "think", true),
            ("[THINKING]", "thinking", false),
            ("<|think|>", "think", false),
            ("<|/think|>", "think", true),
            ("\\<think\\>", "think", false),
            ("<chain-of-thought>", "chainofthought", false),
            ("<reasoning effort=\"high\">", "reasoning", false),
        ] {
            let tag = Tag::of(text).unwrap();
            assert_eq!((tag.word.as_str(), tag.is_closing), (word, is_closing), "{text}");
        }
        for text in ["<>", "a<think>", "<think", "< think \n >", "<think/>", "<a<think>", "[x](y)[", "<<think>>"] {
            assert!(Tag::of(text).is_none_or(|tag| tag.word == "x"), "{text}");
        }
    }

    #[test]
    fn words_of_known_pairs_stand_around_reasoning() {
        for word in ["think", "thinking", "thought", "reasoning", "seedthink", "scratchpad"] {
            assert!(is_reasoning_word(word), "{word}");
        }
        for word in ["unused94", "channel", "analysis", "p", ""] {
            assert!(!is_reasoning_word(word), "{word}");
        }
    }

    #[test]
    fn words_that_may_be_reasoning_are_found_at_the_beginning_alone() {
        let found = |text: &'static str| {
            leading_tag(text, |word| word == "plan")
                .map(|found| (found.word, found.inside, found.answer, found.is_reasoning))
        };
        assert_eq!(found("<analysis>r</analysis>a"), Some(("analysis".to_owned(), "r", Some("a"), false)));
        assert_eq!(found("\n[Thoughts]r[/Thoughts]a"), Some(("thoughts".to_owned(), "r", Some("a"), true)));
        assert_eq!(found("<think type='x'>r</think>"), Some(("think".to_owned(), "r", Some(""), true)));
        assert_eq!(found("<inner_reasoning>r</inner_reasoning>a").map(|found| found.3), Some(false));
        assert_eq!(found("<plan>r</plan>a"), Some(("plan".to_owned(), "r", Some("a"), false)));
        assert_eq!(found("<analysis>r"), Some(("analysis".to_owned(), "r", None, false)));
        for text in [
            "So <analysis>r</analysis>a",
            "<thinkers>",
            "[think] hard",
            "[Reasoning](https://example.com)",
            "<p>r</p>a",
            "<result><reason>r</reason></result>",
            "</think>a",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
