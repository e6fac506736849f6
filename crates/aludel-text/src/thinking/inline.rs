//! Reasoning inside of a whole answer: which tags models put around it, and where it stands. A tag that is spoken of (in quotes, as
//! code) is text like any other, and so is one that stands where no tag would, as in `a<think>b`.

/// Opening tags with their closing ones: of R1, Qwen and most others, of Claude's imitators, EXAONE Deep, answers made for GRPO,
/// Sky-T1 and its descendants, Seed-OSS, Kimi, Command A and Magistral. Small letters stand for letters of any case.
const PAIRS: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|start_thinking|>", "<|end_thinking|>"),
    ("[THINK]", "[/THINK]"),
];

/// What some of these models put around the answer that follows.
const ANSWERS: [(&str, &str); 2] =
    [("<|begin_of_solution|>", "<|end_of_solution|>"), ("<|start_response|>", "<|end_response|>")];

/// What stands around the names of channels where nobody has parsed the text of gpt-oss. Servers take it apart by other rules than these.
const HARMONY: (&str, &str) = ("<|channel|>", "<|message|>");

/// The reasoning in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline<'a> {
    /// There is none.
    Absent,
    /// It is closed, and an answer follows.
    Closed {
        /// What stands before the closing tag, without an opening one.
        reasoning: String,
        /// What stands behind it.
        answer: &'a str,
    },
    /// The answer begins with reasoning that never closes.
    Open(&'a str),
    /// There is a tag of which nobody can say what belongs to the reasoning.
    Unclear(String),
}

/// Finds the reasoning in a whole answer. It stands between an opening tag at the very start and the first closing one; the opening
/// tag may be missing, as where a template has written it. Of a late one nobody can say what stands before it.
pub fn inline(text: &str) -> Inline<'_> {
    if !text.contains(['<', '[', '◁']) {
        return Inline::Absent;
    }
    let found = Tags::of(text);
    let (channel, message) = HARMONY;
    if found.meant(channel, is_closing).is_some_and(|at| found.find(message, at).is_some()) {
        return Inline::Unclear(format!("`{channel}` with `{message}` is the raw text of a Harmony model (gpt-oss)"));
    }
    let start = text.len() - text.trim_start().len();
    if let Some((open, close)) = PAIRS.into_iter().find(|(open, _)| found.is_at(open, start)) {
        let inside = start + open.len();
        return match found.find(close, inside) {
            Some(end) => closed(text[inside..end].to_owned(), &text[end + close.len()..]),
            None => Inline::Open(&text[inside..]),
        };
    }
    let first = |tag: &dyn Fn(&(&'static str, &'static str)) -> Option<usize>| {
        PAIRS.into_iter().filter_map(|pair| Some((tag(&pair)?, pair))).min()
    };
    let opened = first(&|(open, _)| found.meant(open, is_opening));
    let ended = first(&|(_, close)| found.meant(close, is_closing));
    match (opened, ended) {
        (None, None) => Inline::Absent,
        (Some((at, (open, _))), Some((end, _))) if at < end => {
            Inline::Unclear(format!("`{}` opens in the middle of the answer", &text[at..at + open.len()]))
        }
        (Some((at, (open, _))), None) => Inline::Unclear(format!(
            "`{}` opens in the middle of the answer and is never closed",
            &text[at..at + open.len()]
        )),
        (_, Some((end, (_, close)))) => closed(text[..end].to_owned(), &text[end + close.len()..]),
    }
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

/// What follows closed reasoning must be an answer without more of it.
fn closed(reasoning: String, answer: &str) -> Inline<'_> {
    let found = Tags::of(answer);
    let again = PAIRS.into_iter().find_map(|(open, close)| {
        let (tag, at) = match found.meant(open, is_opening) {
            Some(at) => (open, at),
            None => (close, found.meant(close, is_closing)?),
        };
        Some(&answer[at..at + tag.len()])
    });
    if let Some(tag) = again {
        return Inline::Unclear(format!("`{tag}` stands behind the end of the reasoning"));
    }
    let start = answer.len() - answer.trim_start().len();
    let Some((open, close)) = ANSWERS.into_iter().find(|(open, _)| found.is_at(open, start)) else {
        return Inline::Closed { reasoning, answer };
    };
    let inside = &answer[start + open.len()..];
    match Tags::of(inside).find(close, 0) {
        Some(end) if inside[end + close.len()..].trim().is_empty() => {
            Inline::Closed { reasoning, answer: inside[..end].trim() }
        }
        Some(_) => Inline::Unclear(format!("text follows `{}`", close.to_ascii_lowercase())),
        None => Inline::Unclear(format!("`{open}` is never closed")),
    }
}

/// A text, and the same in small letters.
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

    /// The first place where a tag is meant as one. Whoever speaks of it again and again means none of them.
    fn meant(&self, tag: &str, is_meant: fn(&str, &str) -> bool) -> Option<usize> {
        const MOST: usize = 64;
        let mut places = self.within(tag).match_indices(tag).map(|(at, _)| at).take(MOST);
        places.find(|&at| is_meant(&self.text[..at], &self.text[at + tag.len()..]))
    }
}

/// Whether an opening tag between these texts is one: not spoken of, not in a block of code, not grown onto a word.
fn is_opening(before: &str, after: &str) -> bool {
    let fences = || before.lines().filter(|line| line.trim_start().starts_with("```")).count();
    !before.ends_with(char::is_alphanumeric) && is_closing(before, after) && fences().is_multiple_of(2)
}

/// Whether a closing tag between these texts is one: not spoken of. Reasoning may well end in the middle of a block of code.
fn is_closing(before: &str, after: &str) -> bool {
    let is_quoted =
        before.ends_with(['`', '"', '\'', '“', '‘', '«']) && after.starts_with(['`', '"', '\'', '”', '’', '»']);
    let (before, after) = (before.rsplit('\n').next(), after.split('\n').next());
    let is_odd = before.is_some_and(|line| !line.trim_start().starts_with("```") && line.matches('`').count() % 2 == 1);
    !(is_quoted || is_odd && after.is_some_and(|line| line.contains('`')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, reasoning: &str, answer: &str) {
        match inline(text) {
            Inline::Closed { reasoning: own, answer: said } => {
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
            check(&format!("why{close}because"), "why", "because");
            assert_eq!(inline(&format!("{open}why")), Inline::Open("why"));
        }
        check("<Think>why</THINK>because", "why", "because");
        check("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nb\n<|end_of_solution|>\n", "a", "b");
        check("<think>a<think>b</think>c", "a<think>b", "c");
        check("say \"yes\"</think>b `c`", "say \"yes\"", "b `c`");
        check("a ```code\n</think>b", "a ```code", "b");
        check("<think>a</think>Write `<think>`.", "a", "Write `<think>`.");
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
            "[think] hard",
            "<thinkers>",
        ] {
            assert_eq!(inline(text), Inline::Absent, "{text}");
        }
    }

    #[test]
    fn tags_that_leave_it_open_are_named() {
        for (text, words) in [
            ("Sure. <think>a", "`<think>` opens in the middle of the answer and is never closed"),
            ("Sure.\n<Thinking>\na", "`<Thinking>` opens in the middle of the answer and is never closed"),
            ("Sure. <think>a</think>b", "`<think>` opens in the middle of the answer"),
            ("See: <reasoning>a</reasoning> b", "`<reasoning>` opens in the middle of the answer"),
            ("<think>a</think>b</think>c", "`</think>` stands behind the end of the reasoning"),
            ("<think>a</think>b\n<think>c", "`<think>` stands behind the end of the reasoning"),
            (
                "<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b",
                "`<|begin_of_solution|>` is never closed",
            ),
        ] {
            assert_eq!(inline(text), Inline::Unclear(words.to_owned()), "{text}");
        }
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
