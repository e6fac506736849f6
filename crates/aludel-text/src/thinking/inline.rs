//! Reasoning inside a complete answer: the tags that models put around it, and their positions. A tag that is mentioned
//! (in quotes, as code) is ordinary text, and so is one that is part of a word, as in `a<think>b`. `tags` has other
//! spellings, which count only at the beginning.

use super::code::{MOST, ends_reasoning, is_closing, is_indented, is_opening};
use super::tags::{PAIRS, UnmatchedTag, disguised_tag, leading_tag, stray_tag};

/// Tags that some of these models put around the answer after it.
const ANSWERS: [(&str, &str); 2] =
    [("<|begin_of_solution|>", "<|end_of_solution|>"), ("<|start_response|>", "<|end_response|>")];

/// What surrounds the names of channels where the text of gpt-oss has not been parsed. Servers split it by other rules than these.
const HARMONY: (&str, &str) = ("<|channel|>", "<|message|>");
/// What is left of it where a tokenizer dropped the marks: the names of channels, joined to their text.
const BARE_HARMONY: ([&str; 2], &str) = (["analysis", "commentary"], "assistantfinal");

/// How chat interfaces show reasoning: folded away, with a summary, and quoted line by line.
const FOLDED: &str = "<details";

/// The reasoning in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InlineReasoning<'a> {
    /// There is none.
    Absent,
    /// It is closed, and an answer follows.
    Closed {
        /// What is before the closing tag, without an opening one.
        reasoning: String,
        /// What is behind it.
        answer: &'a str,
    },
    /// The answer begins with reasoning that never closes.
    Open(&'a str),
    /// There is a tag that does not determine what belongs to the reasoning.
    Unclear(String),
}

/// Finds the reasoning in a complete answer. It is between an opening tag at the very start and the first closing one. The opening
/// tag may be missing, if the template has written it; the closing one must then be at the edge of a line or after a sentence. If
/// it comes late, it is unclear what is before it.
pub fn inline(text: &str) -> InlineReasoning<'_> {
    if let Some(channel) = bare_channel(text) {
        return InlineReasoning::Unclear(format!(
            "`{channel}…{}` is the text of a Harmony model (gpt-oss) without its marks",
            BARE_HARMONY.1
        ));
    }
    if let Some(tag) = disguised_tag(text) {
        return InlineReasoning::Unclear(format!(
            "`{}` reads like a tag around reasoning and is none, for characters in it that nobody sees or that are twice as wide",
            tag.escape_debug()
        ));
    }
    if !text.contains(['<', '[', '◁', '&']) {
        return InlineReasoning::Absent;
    }
    let found = Tags::of(text);
    let (channel, message) = HARMONY;
    if found.meant(channel, is_closing).is_some_and(|at| found.find(message, at).is_some()) {
        return InlineReasoning::Unclear(format!(
            "`{channel}` with `{message}` is the raw text of a Harmony model (gpt-oss)"
        ));
    }
    let start = text.len() - text.trim_start().len();
    if let Some(tag) = folded(&text[start..]) {
        return InlineReasoning::Unclear(format!(
            "`{tag}` is how a chat interface (Open WebUI) shows reasoning, quoted below a summary"
        ));
    }
    let known = PAIRS.into_iter().find(|(open, _)| found.is_at(open, start));
    if let Some((open, close)) = known
        && let Some(end) = found.end_of(close, start + open.len())
    {
        return closed(text[start + open.len()..end].to_owned(), &text[end + close.len()..]);
    }
    if let Some(leading) = leading_tag(text, |_| false).filter(|leading| leading.is_reasoning) {
        match leading.answer {
            Some(answer) => return closed(leading.inside.to_owned(), answer),
            None if leading.is_cut() => return InlineReasoning::Open(leading.inside),
            None => return InlineReasoning::Unclear(format!("`{}` opens the answer and is never closed", leading.tag)),
        }
    }
    if let Some((open, _)) = known {
        return InlineReasoning::Open(&text[start + open.len()..]);
    }
    let first = |tag: &dyn Fn(&(&'static str, &'static str)) -> Option<usize>| {
        PAIRS.into_iter().filter_map(|pair| Some((tag(&pair)?, pair))).min()
    };
    let opened = first(&|(open, _)| found.meant(open, is_opening));
    let ended = first(&|pair| found.closing(*pair));
    match (opened, ended) {
        (None, None) => match stray_tag(text) {
            None => InlineReasoning::Absent,
            Some(UnmatchedTag::Closing { tag, before, after }) => closed_alone(before, tag, after),
            Some(UnmatchedTag::Opening { tag }) => {
                InlineReasoning::Unclear(format!("`{tag}` opens in the middle of the answer"))
            }
        },
        (Some((at, (open, _))), Some((end, _))) if at < end => {
            InlineReasoning::Unclear(format!("`{}` opens in the middle of the answer", &text[at..at + open.len()]))
        }
        (Some((at, (open, _))), None) => InlineReasoning::Unclear(format!(
            "`{}` opens in the middle of the answer and is never closed",
            &text[at..at + open.len()]
        )),
        (_, Some((end, (_, close)))) => {
            let (tag, after) = text[end..].split_at(close.len());
            closed_alone(&text[..end], tag, after)
        }
    }
}

/// The element with folded reasoning that a text begins with.
fn folded(text: &str) -> Option<&str> {
    let attributes = text.get(FOLDED.len()..).filter(|_| text[..FOLDED.len()].eq_ignore_ascii_case(FOLDED))?;
    let end = attributes.find('>')?;
    let is_reasoning = attributes[..end].to_ascii_lowercase().replace(['"', '\'', ' '], "").contains("type=reasoning");
    is_reasoning.then(|| &text[..FOLDED.len() + end + 1])
}

/// The channel that a text of a Harmony model begins with, where its marks are missing.
fn bare_channel(text: &str) -> Option<&'static str> {
    let (channels, last) = BARE_HARMONY;
    let text = text.trim_start();
    let text = text.strip_prefix("assistant").unwrap_or(text);
    let channel = channels.into_iter().find(|channel| text.starts_with(channel))?;
    let said = &text[channel.len()..];
    said.contains(last).then_some(channel)
}

/// Reasoning without the tags that are left around it.
pub fn bare(text: &str) -> &str {
    let mut text = text.trim();
    let found = Tags::of(text);
    let opened = PAIRS.iter().find(|(open, _)| found.is_at(open, 0)).map_or(0, |(open, _)| open.len());
    let end = PAIRS.iter().find_map(|(_, close)| {
        let end = text.len().checked_sub(close.len())?;
        (end >= opened && found.is_at(close, end)).then_some(end)
    });
    text = &text[opened..end.unwrap_or(text.len())];
    text.trim()
}

/// The error for a closing tag without an opening one.
fn closed_alone<'a>(before: &str, tag: &str, after: &'a str) -> InlineReasoning<'a> {
    match ends_reasoning(before, after) {
        true => closed(before.to_owned(), after),
        false => InlineReasoning::Unclear(format!("`{tag}` stands in the middle of a sentence, and nothing opened it")),
    }
}

/// What follows closed reasoning must be an answer without further reasoning.
fn closed(reasoning: String, answer: &str) -> InlineReasoning<'_> {
    let found = Tags::of(answer);
    let again = PAIRS.into_iter().find_map(|(open, close)| {
        let (tag, at) = match found.meant(open, is_opening) {
            Some(at) => (open, at),
            None => (close, found.closing((open, close))?),
        };
        Some(&answer[at..at + tag.len()])
    });
    if let Some(tag) = again {
        return InlineReasoning::Unclear(format!("`{tag}` stands behind the end of the reasoning"));
    }
    let start = answer.len() - answer.trim_start().len();
    let Some((open, close)) = ANSWERS.into_iter().find(|(open, _)| found.is_at(open, start)) else {
        return InlineReasoning::Closed { reasoning, answer };
    };
    let inside = &answer[start + open.len()..];
    match Tags::of(inside).find(close, 0) {
        Some(end) if inside[end + close.len()..].trim().is_empty() => {
            InlineReasoning::Closed { reasoning, answer: inside[..end].trim() }
        }
        Some(_) => InlineReasoning::Unclear(format!("text follows `{}`", close.to_ascii_lowercase())),
        None => InlineReasoning::Unclear(format!("`{open}` is never closed")),
    }
}

/// A text, and its lower-case form.
struct Tags<'a> {
    text: &'a str,
    small: String,
}

impl<'a> Tags<'a> {
    fn of(text: &'a str) -> Tags<'a> {
        Tags { text, small: text.to_ascii_lowercase() }
    }

    /// The text in which a tag is looked for as it is written.
    fn within(&self, tag: &str) -> &str {
        if tag.contains(|c: char| c.is_ascii_uppercase()) { self.text } else { &self.small }
    }

    fn is_at(&self, tag: &str, at: usize) -> bool {
        self.within(tag).get(at..).is_some_and(|rest| rest.starts_with(tag))
    }

    fn find(&self, tag: &str, from: usize) -> Option<usize> {
        self.within(tag)[from..].find(tag).map(|at| at + from)
    }

    /// The end of reasoning that is open at a position: the first closing tag that is not merely mentioned, or the first of all.
    fn end_of(&self, close: &str, from: usize) -> Option<usize> {
        let first = self.find(close, from)?;
        let rest = &self.text[from..];
        let mut places = self.within(close)[from..].match_indices(close).map(|(at, _)| at).take(MOST);
        let meant = places.find(|&at| is_closing(&rest[..at], &rest[at + close.len()..]));
        Some(meant.map_or(first, |at| from + at))
    }

    /// The first closing tag that counts as one without an opening tag. By its indent alone it is code only if its opening tag is,
    /// too.
    fn closing(&self, (open, close): (&str, &str)) -> Option<usize> {
        let is_code = |at: usize| {
            let opened = self.within(open)[..at].rfind(open);
            is_indented(&self.text[..at]) && opened.is_some_and(|at| is_indented(&self.text[..at]))
        };
        let mut places = self.within(close).match_indices(close).map(|(at, _)| at).take(MOST);
        places.find(|&at| is_closing(&self.text[..at], &self.text[at + close.len()..]) && !is_code(at))
    }

    /// The first position where a tag counts as one. If it is mentioned very often, none does.
    fn meant(&self, tag: &str, is_meant: fn(&str, &str) -> bool) -> Option<usize> {
        let mut places = self.within(tag).match_indices(tag).map(|(at, _)| at).take(MOST);
        places.find(|&at| is_meant(&self.text[..at], &self.text[at + tag.len()..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, reasoning: &str, answer: &str) {
        match inline(text) {
            InlineReasoning::Closed { reasoning: own, answer: said } => {
                assert_eq!((own.trim(), said.trim()), (reasoning, answer), "{text:?}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn reasoning_is_found_between_known_tags() {
        for (open, close) in PAIRS {
            check(&format!("{open}\nwhy\n{close}\n\nbecause"), "why", "because");
            check(&format!(" \n{open}why{close}because"), "why", "because");
            check(&format!("why{close}\nbecause"), "why", "because");
            check(&format!("why\n{close}because"), "why", "because");
            check(&format!("why.{close}because"), "why.", "because");
            assert_eq!(inline(&format!("{open}why")), InlineReasoning::Open("why"));
        }
        check("<Think>why</THINK>because", "why", "because");
        check("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nb\n<|end_of_solution|>\n", "a", "b");
        check("<think>a<think>b</think>c", "a<think>b", "c");
        check("say \"yes\".</think>b `c`", "say \"yes\".", "b `c`");
        check("a ```code\n</think>b", "a ```code", "b");
        check("<think>a</think>Write `<think>`.", "a", "Write `<think>`.");
        // A tag that is only mentioned inside the reasoning does not end it.
        check("<think>End with `</think>` then.</think>b", "End with `</think>` then.", "b");
        check("<think>So:\n```\n</think>\n```\nDone.</think>b", "So:\n```\n</think>\n```\nDone.", "b");
        check("a\n```\ncode\n</think>b\n```py\nx\n```", "a\n```\ncode", "b\n```py\nx\n```");
        check("<think>a `b </think>c `d`", "a `b", "c `d`");
        check("<think>a</think>b:\n```xml\n<think>\n</think>\n```", "a", "b:\n```xml\n<think>\n</think>\n```");
    }

    #[test]
    fn folded_reasoning_is_not_taken_for_an_answer() {
        for tag in [
            "<details type=\"reasoning\" done=\"true\" duration=\"3\">",
            "<DETAILS type='reasoning'>",
            "<details\ntype = reasoning>",
        ] {
            let text = format!("\n{tag}\n<summary>Thought for 3 seconds</summary>\n> why\n</details>\nbecause");
            assert!(matches!(inline(&text), InlineReasoning::Unclear(words) if words.contains(tag)), "{text}");
        }
        for text in [
            "<details><summary>Solution</summary>x</details>",
            "<details type=\"note\">x</details>",
            "<detail",
            "<detailsé",
            "Use <details type=\"reasoning\"> here.",
        ] {
            assert_eq!(inline(text), InlineReasoning::Absent, "{text}");
        }
    }

    #[test]
    fn words_for_reasoning_are_known_in_any_spelling_at_the_beginning() {
        for (open, close) in [
            ("<think >", "</think >"),
            ("< think>", "</think>"),
            ("<think>", "</ think>"),
            ("<|think|>", "<|end_think|>"),
            ("<|begin_thinking|>", "<|end_thinking|>"),
            ("<unused94>thought", "<unused95>"),
            ("<thoughts>", "</thoughts>"),
            ("<Thought_Process>", "</Thought_Process>"),
            ("<scratchpad>", "</scratchpad>"),
            ("<|think|>", "<|/think|>"),
            ("[think]", "[/think]"),
            ("[THINKING]", "[/THINKING]"),
            ("&lt;think&gt;", "&lt;/think&gt;"),
            ("\\<thinking\\>", "\\</thinking\\>"),
            ("<chain_of_thought>", "</chain_of_thought>"),
        ] {
            check(&format!("{open}\nwhy\n{close}\n\nbecause"), "why", "because");
        }
        assert_eq!(inline("<thoughts>why"), InlineReasoning::Open("why"));
        assert_eq!(inline("<think >why"), InlineReasoning::Open("why"));
        // The opening tag may be missing here, too.
        for close in ["</think >", "</thoughts>", "&lt;/think&gt;", "<|end_think|>", "[/thinking]"] {
            check(&format!("why{close}\nbecause"), "why", "because");
        }
        let words = "`<thoughts>` opens in the middle of the answer";
        assert_eq!(inline("So <thoughts>a</thoughts> b"), InlineReasoning::Unclear(words.to_owned()));
        let words = "`&lt;think&gt;` opens the answer and is never closed";
        assert_eq!(inline("&lt;think&gt;why"), InlineReasoning::Unclear(words.to_owned()));
        for text in [
            "<p>why</p>because",
            "<analysis>why</analysis>because",
            "<reply><thoughts>a</thoughts>b</reply>",
            "Write `</thoughts>` then.",
            "a [/think b",
            "a &amp; b",
        ] {
            assert_eq!(inline(text), InlineReasoning::Absent, "{text}");
        }
    }

    #[test]
    fn channels_without_their_marks_are_named() {
        for (text, channel) in [
            ("analysisWe add them.assistantfinal4", "analysis"),
            ("assistantanalysis2+2assistantcommentaryxassistantfinal4", "analysis"),
            ("commentaryI call it.assistantfinal4", "commentary"),
            ("analysis We add them. assistantfinal 4", "analysis"),
        ] {
            let words =
                format!("`{channel}…assistantfinal` is the text of a Harmony model (gpt-oss) without its marks");
            assert_eq!(inline(text), InlineReasoning::Unclear(words), "{text}");
        }
        for text in ["Analysis of assistantfinal", "analysisWe add them.", "The word is assistantfinal."] {
            assert_eq!(inline(text), InlineReasoning::Absent, "{text}");
        }
    }

    #[test]
    fn tags_that_are_spoken_of_are_text() {
        for text in [
            "because",
            "a<think",
            "a<think>b and b<think>c",
            "if x < think > y",
            "Put `<think>` before it, and `</think>` behind.",
            "The tag \"<think>\" opens it.",
            "```\n<think>\n```\nis how it begins.",
            "```\n<think>\nx\n</think>\n```\nis the form.",
            "Write:\n~~~xml\n<think>x</think>\n~~~\nand then:\n```\ny\n```",
            "Write:\n\n    <think>\n    x\n    </think>\n\nand then.",
            "````\n```\n<think>\n```\n</think>\n````",
            "[think] hard",
            "<thinkers>",
        ] {
            assert_eq!(inline(text), InlineReasoning::Absent, "{text}");
        }
    }

    #[test]
    fn tags_that_leave_it_open_are_named() {
        for (text, words) in [
            ("Sure. <think>a", "`<think>` opens in the middle of the answer and is never closed"),
            ("Sure.\n<Thinking>\na", "`<Thinking>` opens in the middle of the answer and is never closed"),
            ("Sure. <think>a</think>b", "`<think>` opens in the middle of the answer"),
            ("See: <reasoning>a</reasoning> b", "`<reasoning>` opens in the middle of the answer"),
            (
                "The tag is closed by &lt;/think&gt; in HTML.",
                "`&lt;/think&gt;` stands in the middle of a sentence, and nothing opened it",
            ),
            ("By \\</think\\> in it.", "`\\</think\\>` stands in the middle of a sentence, and nothing opened it"),
            ("[/THINK] to end reasoning", "`[/THINK]` stands in the middle of a sentence, and nothing opened it"),
            ("Done </cot> ok", "`</cot>` stands in the middle of a sentence, and nothing opened it"),
            ("It ends with </think> and then", "`</think>` stands in the middle of a sentence, and nothing opened it"),
            ("推理以</think>结束。", "`</think>` stands in the middle of a sentence, and nothing opened it"),
            ("<think>a</think>b</think>c", "`</think>` stands behind the end of the reasoning"),
            ("<think>a</think>b\n<think>c", "`<think>` stands behind the end of the reasoning"),
            (
                "<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b",
                "`<|begin_of_solution|>` is never closed",
            ),
        ] {
            assert_eq!(inline(text), InlineReasoning::Unclear(words.to_owned()), "{text}");
        }
    }

    #[test]
    fn tags_in_disguise_are_named() {
        for (text, tag) in [
            ("<th\u{200b}ink>why</think>because", "<th\\u{200b}ink>"),
            ("<think>why</think\u{200b}>because", "</think\\u{200b}>"),
            ("<think>why<\u{2060}/think>because", "<\\u{2060}/think>"),
            ("<\u{feff}think>\nwhy\n</think>\nbecause", "<\\u{feff}think>"),
            ("＜think＞why＜/think＞because", "＜think＞"),
            ("<ｔｈｉｎｋ>why</think>because", "<ｔｈｉｎｋ>"),
            ("［THINK］why［/THINK］because", "［THINK］"),
            ("why\n＜／think＞\nbecause", "＜／think＞"),
        ] {
            let words = format!(
                "`{tag}` reads like a tag around reasoning and is none, for characters in it that nobody sees or that are twice as wide"
            );
            assert_eq!(inline(text), InlineReasoning::Unclear(words), "{text}");
        }
        for text in [
            "若 x＜y 且 y＞z，则 x＜z。",
            "［注］th\u{200b}ink",
            "Put `＜think＞` before it.",
            "＜p＞why＜/p＞",
            "<p>a\u{200b}b</p>",
        ] {
            assert_eq!(inline(text), InlineReasoning::Absent, "{text}");
        }
        check("<｜begin_of_thought｜>why<｜end_of_thought｜>because", "why", "because");
        check("<think>a\u{200b}b，＜p＞</think>c", "a\u{200b}b，＜p＞", "c");
    }

    #[test]
    fn tags_around_reasoning_are_taken_off() {
        for text in
            ["why", "<think>why</think>", "<think>\nwhy", "why</Think>\n", "<|begin_of_thought|>why<|end_of_thought|>"]
        {
            assert_eq!(bare(text), "why", "{text}");
        }
        assert_eq!((bare("<think></think>"), bare(" ")), ("", ""));
    }
}
