//! Finds the final answer in a text: in the last `\boxed{}`, after a marker, after "answer is", else the last formula or number.
//! Only the end of a text is searched, and every search takes linear time.

use std::sync::LazyLock;

use regex::Regex;

/// An answer is in the last bytes of a text; this is their number.
const SEARCHED_BYTES: usize = 1 << 20;

/// A longer text is not an answer by itself.
const BARE_ANSWER_BYTES: usize = 200;

/// The final answer in `text`, or `None` where there is none.
///
/// In this order: the last balanced `\boxed{}` (several that follow one another count as one, as in "`\boxed{1}` and
/// `\boxed{2}`"); the last `<answer>` or `<solution>`; the last `####`; the last "answer is", "answer:" or "answer ="; the whole text
/// where it is nothing but a formula; the last formula or number.
pub fn extract(text: &str) -> Option<&str> {
    let text = end_of(text);
    boxed(text)
        .or_else(|| tagged(text))
        .or_else(|| marked(text))
        .or_else(|| announced(text))
        .or_else(|| bare(text))
        .or_else(|| last_formula_or_number(text))
}

/// The answer that a text marks; unlike [`extract`], without falling back to the last formula or number.
pub(crate) fn extract_marked(text: &str) -> Option<&str> {
    let text = end_of(text);
    boxed(text).or_else(|| tagged(text)).or_else(|| marked(text)).or_else(|| announced(text))
}

/// The marked answer of a text that was cut off, if the cut cannot have shortened it: its box is closed, or something follows it. No
/// other box may have been begun behind it.
pub(crate) fn extract_settled(text: &str) -> Option<&str> {
    let text = end_of(text);
    let found = extract_marked(text)?;
    let rest = &text[found.as_ptr() as usize - text.as_ptr() as usize + found.len()..];
    let is_begun = BOX_COMMANDS.iter().any(|command| rest.contains(command));
    // A point or a comma may be one of a number.
    let is_followed = rest.contains(|next| next != '.' && next != ',');
    ((is_followed || !boxes(text).is_empty()) && !is_begun).then_some(found)
}

/// A pattern of this file.
fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

fn end_of(text: &str) -> &str {
    let mut start = text.len().saturating_sub(SEARCHED_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

const BOX_COMMANDS: [&str; 2] = ["\\boxed", "\\fbox"];

/// The content of the last box that is closed, from the first of the boxes that belong to it.
fn boxed(text: &str) -> Option<&str> {
    let boxes = boxes(text);
    let Some(last) = boxes.last() else { return boxed_without_braces(text) };
    let mut first = last;
    for earlier in boxes.iter().rev().skip(1) {
        if earlier.end >= first.start || !joins(&text[earlier.end..first.start]) {
            break;
        }
        first = earlier;
    }
    if first.start == last.start {
        return not_blank(&text[last.inner_start..last.end - 1]);
    }
    Some(&text[first.start..last.end])
}

struct Boxed {
    /// Where the command begins.
    start: usize,
    inner_start: usize,
    /// After the closing brace.
    end: usize,
}

/// All closed boxes that are not inside of another, in order.
fn boxes(text: &str) -> Vec<Boxed> {
    let bytes = text.as_bytes();
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    let mut found: Vec<Boxed> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if matches!(bytes.get(at + 1), Some(b'{' | b'}' | b'\\')) => at += 1,
            b'{' => open.push((at + 1, box_before(text, at))),
            b'}' => {
                if let Some((inner_start, Some(start))) = open.pop() {
                    while found.last().is_some_and(|inner| inner.start > start) {
                        found.pop();
                    }
                    found.push(Boxed { start, inner_start, end: at + 1 });
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The start of the box command whose brace is at `brace`.
fn box_before(text: &str, brace: usize) -> Option<usize> {
    let before = text[..brace].trim_end_matches(' ');
    BOX_COMMANDS.into_iter().find_map(|command| before.ends_with(command).then(|| before.len() - command.len()))
}

/// `\boxed 5`, which TeX also takes.
fn boxed_without_braces(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("\\boxed ")?;
    let end = rest.find(['$', '\n', ' ']).unwrap_or(rest.len());
    let candidate = rest[..end].trim_end_matches(['.', ',']);
    if candidate.starts_with('{') { None } else { not_blank(candidate) }
}

/// Whether only a comma or an "and" is between two boxes.
fn joins(between: &str) -> bool {
    if between.len() > 40 {
        return false;
    }
    let bare = between.replace("\\)", "").replace("\\(", "").replace("\\text{", "").replace("\\quad", "");
    let bare: String =
        bare.chars().filter(|character| !character.is_whitespace() && !"${}\\".contains(*character)).collect();
    matches!(bare.as_str(), "," | "and" | ",and" | "or" | ",or" | "&")
}

/// The last `<answer>…</answer>` or `<solution>…</solution>`, in any case; also one whose end was cut off. A solution that is worked out
/// there is no answer: an earlier tag may hold one; else it is found in the solution as in any text.
fn tagged(text: &str) -> Option<&str> {
    static OPEN: LazyLock<Regex> = LazyLock::new(|| pattern("(?i)<(?:answer|(solution))>"));
    static CLOSE: LazyLock<Regex> = LazyLock::new(|| pattern("(?i)</(?:answer|solution)>"));
    let mut found = None;
    let mut closes = CLOSE.find_iter(text).peekable();
    for open in OPEN.captures_iter(text) {
        let Some(tag) = open.get(0) else { continue };
        while closes.next_if(|close| close.start() < tag.end()).is_some() {}
        let end = closes.peek().map_or(text.len(), |close| close.start());
        let Some(inside) = tidy(&text[tag.end()..end]) else { continue };
        let is_worked = open.get(1).is_some() && (inside.contains('\n') || inside.len() > BARE_ANSWER_BYTES);
        found = if is_worked { found } else { Some(inside) };
    }
    found
}

/// `#### 42`, as GSM8K has it.
fn marked(text: &str) -> Option<&str> {
    let (before, rest) = text.rsplit_once("####")?;
    // A fourth-level heading is not a marker: an answer is in the last lines.
    let line = rest.lines().next()?;
    let heading = before.ends_with('#') || rest.trim().lines().count() > 2;
    if heading { None } else { tidy(line) }
}

/// What follows the last "answer is", "answer:" or "answer =".
fn announced(text: &str) -> Option<&str> {
    static ANSWER: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?i)\banswer\b[^.:=\n]{0,60}?(?:\bis\b|\bare\b|:|=)[\s:*]*"));
    let start = ANSWER.find_iter(text).last()?.end();
    let rest = &text[start..];
    let line = rest.lines().find(|line| !line.trim().is_empty())?;
    // Displayed mathematics may run over several lines.
    for (open, close) in [("$$", "$$"), ("\\[", "\\]")] {
        if let Some(inner) = rest.trim_start().strip_prefix(open) {
            return tidy(inner.split(close).next()?);
        }
    }
    let sentence = end_of_sentence(line);
    match formulas(sentence).as_slice() {
        [formula, rest @ ..] if !starts_with_number(sentence) => {
            let place = |part: &str| part.as_ptr() as usize - sentence.as_ptr() as usize;
            let before = &sentence[..place(formula)];
            let after = rest.first().map_or("", |next| &sentence[place(formula) + formula.len()..place(next)]);
            // "not $5$" and "$5$ or $6$" are not the answer 5.
            if hedges(before) || joins(after) { tidy(sentence) } else { tidy(formula) }
        }
        _ => tidy(sentence),
    }
}

/// Whether words negate what follows them, or leave it open.
fn hedges(words: &str) -> bool {
    static HEDGE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)\b(?:not|never|no longer|cannot|isn|isn't|can't|neither|either|between|less|more|fewer|greater|smaller|larger|below|above|under|over|at least|at most|up to)\b|n[’']t\b",
        )
    });
    HEDGE.is_match(words)
}

fn starts_with_number(text: &str) -> bool {
    let first = text.trim_start().chars().find(|character| !"*-$€£".contains(*character));
    let dollars = text.matches('$').count();
    first.is_some_and(|first| first.is_ascii_digit()) && (!text.trim_start().starts_with('$') || dollars == 1)
}

/// Up to the full stop that ends the sentence: followed by a space and a word, or by nothing.
fn end_of_sentence(line: &str) -> &str {
    for (index, _) in line.match_indices(". ") {
        let next = line[index + 2..].trim_start().chars().next();
        if next.is_some_and(|next| next.is_alphabetic() || "\\$*".contains(next)) {
            return &line[..index];
        }
    }
    line
}

/// The complete text, if it is nothing but an answer.
fn bare(text: &str) -> Option<&str> {
    let text = tidy(text)?;
    (text.len() <= BARE_ANSWER_BYTES && !text.contains('\n') && crate::maths::is_maths(text)).then_some(text)
}

/// The last formula or number.
fn last_formula_or_number(text: &str) -> Option<&str> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"(?i)\d+(?::\d\d)+(?:\s?[ap]\.?m\b)?|\d{1,3}(?:\.\d{3}){2,}|\d+(?:\.\d+)?e[-+]?\d+|",
            r"(?:[-−]\s?)?[$€£]?(?:[-−])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?(?:\s?%)?"
        ))
    });
    let tail_start = text.len().saturating_sub(1 << 16);
    let tail = &text[(tail_start..text.len()).find(|index| text.is_char_boundary(*index))?..];
    let number = NUMBER.find_iter(tail).last().map(|number| number.as_str());
    let formula = formulas(tail).last().copied().filter(|formula| crate::maths::is_maths(formula));
    let place = |part: &str| part.as_ptr() as usize - tail.as_ptr() as usize + part.len();
    let last = match (formula, number) {
        (Some(formula), Some(number)) if place(number) > place(formula) => number.trim(),
        (Some(formula), _) => tidy(formula)?,
        (None, number) => number?.trim(),
    };
    // "It is not 5." gives no answer: with its "not" it is not read as a number.
    static NOT: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?i)(?:\b(?:not|never|neither)|n[’']t)\s+(?:[^\s.]+\s+){0,2}[$\\(\[]*$"));
    let line = &tail[..place(last) - last.len()];
    let line = &line[line.rfind('\n').map_or(0, |end| end + 1)..];
    match NOT.find(line) {
        Some(negated) => Some(tail[place(last) - last.len() - (line.len() - negated.start())..place(last)].trim()),
        None => Some(last),
    }
}

/// The content of `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, in order.
fn formulas(text: &str) -> Vec<&str> {
    // As in Pandoc, there is no space inside of a dollar sign and no digit after the closing one: "$5 and $6" is money.
    static FORMULA: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?s)\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$([^$\s](?:[^$\n]*[^$\s])?)\$"));
    let is_money = |end: usize| text[end..].starts_with(|next: char| next.is_ascii_digit());
    FORMULA
        .captures_iter(text)
        .filter(|found| found.get(4).is_none_or(|inner| !is_money(inner.end() + 1)))
        .filter_map(|found| found.iter().skip(1).flatten().next().map(|inner| inner.as_str()))
        .collect()
}

/// Without surrounding markup and layout.
fn tidy(text: &str) -> Option<&str> {
    let mut text = text.trim();
    loop {
        let before = text;
        text = text.trim_matches(|character: char| character.is_whitespace() || "*_`".contains(character));
        text = text.trim_end_matches(['.', ',', ';', ':']);
        for (open, close) in [("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")] {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close))
                && !inner.contains(open)
            {
                text = inner;
            }
        }
        if text == before {
            return not_blank(text);
        }
    }
}

fn not_blank(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text)
}
