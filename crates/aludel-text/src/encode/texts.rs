//! The texts of messages that a template may print, and their disguises: with a mark in them, or with each letter
//! replaced by one that encodes its origin. `locate` interprets the rendering of a disguised message.

use std::ops::Range;

use crate::message::{Message, Role};
use crate::template::TemplateMessage;

const BEGIN: char = '\u{E0A0}';
const END: char = '\u{E0A1}';
/// The two private planes of Unicode, without the code points at their ends that are no characters.
const LETTER_PLANES: [(u32, u32); 2] = [(0xF_0000, 0xF_FFFD), (0x10_0000, 0x10_FFFD)];

/// Which part of a message a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Reasoning,
    Content,
}

/// A text of a message that is not blank. Blank ones are harmless, and need not be found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) index: usize,
    pub(super) role: Role,
    pub(super) field: Field,
    pub(super) text: &'a str,
}

/// The texts in the order in which templates print them.
pub(super) fn texts_of(messages: &[Message]) -> Vec<Text<'_>> {
    let mut texts = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let fields =
            [(Field::Reasoning, message.reasoning.as_deref()), (Field::Content, Some(message.content.as_str()))];
        for (field, text) in fields {
            if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
                texts.push(Text { index, role: message.role, field, text });
            }
        }
    }
    texts
}

/// The messages for a template, each text as `disguise` gives it; none keeps it. Calls stay as they are.
pub(super) fn disguised(
    messages: &[Message],
    disguise: &mut dyn FnMut(usize, Field) -> Option<String>,
) -> Vec<TemplateMessage> {
    let mut shown = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let reasoning = message.reasoning.as_ref().map(|text| {
            let hidden = disguise(index, Field::Reasoning);
            hidden.unwrap_or_else(|| text.clone())
        });
        let content = disguise(index, Field::Content).unwrap_or_else(|| message.content.clone());
        let mut turn = TemplateMessage::new(message.role.as_str(), content, reasoning);
        turn.content = turn.content.filter(|_| !message.is_content_null);
        turn.calls = message.tool_calls.clone();
        (turn.tool_call_id, turn.name) = (message.tool_call_id.clone(), message.tool_name.clone());
        shown.push(turn);
    }
    shown
}

/// Where in a text its mark is. Templates check for words in it, at its ends, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkPosition {
    Middle,
    FirstQuarter,
    LastQuarter,
    Start,
    End,
}

pub(super) const CUTS: [MarkPosition; 5] = [
    MarkPosition::Middle,
    MarkPosition::FirstQuarter,
    MarkPosition::LastQuarter,
    MarkPosition::Start,
    MarkPosition::End,
];

impl MarkPosition {
    /// The two parts of a text: split inside its visible part, and between words where it has several.
    fn split(self, text: &str) -> (&str, &str) {
        let lead_bytes = text.len() - text.trim_start().len();
        let visible = text.trim();
        let (start, end) = (lead_bytes, lead_bytes + visible.len());
        let wanted = match self {
            MarkPosition::Start => return text.split_at(start),
            MarkPosition::End => return text.split_at(end),
            MarkPosition::Middle => start + visible.len().div_ceil(2),
            MarkPosition::FirstQuarter => start + visible.len() / 4,
            MarkPosition::LastQuarter => start + visible.len() * 3 / 4,
        };
        let wanted = (wanted..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(end);
        let between = |(at, letter): (usize, char)| letter.is_whitespace().then_some(at);
        let before = text[start..wanted].char_indices().rev().find_map(between).map(|at| start + at);
        let after = text[wanted..end].char_indices().find_map(between).map(|at| wanted + at);
        let nearest = before.into_iter().chain(after).min_by_key(|at| at.abs_diff(wanted));
        text.split_at(nearest.unwrap_or(wanted))
    }
}

/// A text in a rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextSpan {
    /// Its index among the texts.
    pub(super) text: usize,
    pub(super) range: Range<usize>,
    /// All of it, except white space at its ends.
    pub(super) is_whole: bool,
}

/// Marks (private-use characters and a number) for texts.
pub(super) struct TextMarkers<'a> {
    texts: &'a [Text<'a>],
    /// Prefix of all marks, which occurs in no message and not in the template.
    prefix: String,
}

impl<'a> TextMarkers<'a> {
    pub(super) fn new(texts: &'a [Text<'a>], template_source: &str) -> TextMarkers<'a> {
        let is_taken = |prefix: &String| {
            template_source.contains(prefix.as_str()) || texts.iter().any(|text| text.text.contains(prefix.as_str()))
        };
        let mut number = 0_usize;
        let mut prefix = format!("{BEGIN}{number}.");
        while is_taken(&prefix) {
            number += 1;
            prefix = format!("{BEGIN}{number}.");
        }
        TextMarkers { texts, prefix }
    }

    /// A text with its mark.
    pub(super) fn mark(&self, text: usize, cut: MarkPosition) -> String {
        let (left, right) = cut.split(self.texts[text].text);
        format!("{left}{}{text}{END}{right}", self.prefix)
    }

    /// Removes the marks from a rendered text and finds the text around each.
    pub(super) fn take_out(&self, rendered: &str, cut: MarkPosition) -> (String, Vec<TextSpan>) {
        let mut text = String::with_capacity(rendered.len());
        let mut found: Vec<TextSpan> = Vec::new();
        let mut rest = rendered;
        let mut taken_until = 0;
        while let Some((number, before, after)) = self.next_mark(rest) {
            text.push_str(before);
            let (left, right) = cut.split(self.texts[number].text);
            let left_bytes = common_end_bytes(&text[taken_until..], left);
            let right_bytes = common_start_bytes(after, right);
            let start = text.len() - left_bytes;
            text.push_str(&after[..right_bytes]);
            taken_until = text.len();
            let is_lost_blank =
                left[..left.len() - left_bytes].trim().is_empty() && right[right_bytes..].trim().is_empty();
            found.push(TextSpan { text: number, range: start..text.len(), is_whole: is_lost_blank });
            rest = &after[right_bytes..];
        }
        text.push_str(rest);
        (text, found)
    }

    fn next_mark<'t>(&self, text: &'t str) -> Option<(usize, &'t str, &'t str)> {
        let (before, rest) = text.split_once(self.prefix.as_str())?;
        let (number, after) = rest.split_once(END)?;
        let number = number.parse().ok().filter(|&number| number < self.texts.len())?;
        Some((number, before, after))
    }
}

/// Texts in which letters are replaced one for one, so that counting and cutting give the same results. Each letter encodes which
/// one it replaces. White space stays.
#[derive(Default)]
pub(super) struct LetterSubstitution {
    /// The text, the byte offset in it and the letter that each replaces.
    stand_for: Vec<(usize, usize, char)>,
}

impl LetterSubstitution {
    /// A text in which the letters in the byte `ranges` are replaced; none if there are too many of them.
    pub(super) fn replace(&mut self, number: usize, text: &str, ranges: &[Range<usize>]) -> Option<String> {
        let mut replaced = String::with_capacity(text.len());
        for (at, letter) in text.char_indices() {
            let is_wanted = ranges.iter().any(|range| range.contains(&at));
            replaced.push(if is_wanted && !letter.is_whitespace() {
                self.stand_for.push((number, at, letter));
                letter_of(self.stand_for.len() - 1)?
            } else {
                letter
            });
        }
        Some(replaced)
    }

    /// Where the replaced letters are in the plain rendering; none if the two renderings differ in anything else.
    pub(super) fn find(&self, plain: &str, rendered: &str, texts: &[Text<'_>]) -> Option<Vec<TextSpan>> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut plain_letters, mut rendered_letters) = (plain.char_indices(), rendered.chars());
        loop {
            let ((at, original), letter) = match (plain_letters.next(), rendered_letters.next()) {
                (None, None) => break,
                (Some(original), Some(letter)) => (original, letter),
                _ => return None,
            };
            let Some(&(text, place, stands_for)) = number_of(letter).and_then(|number| self.stand_for.get(number))
            else {
                if letter != original {
                    return None;
                }
                continue;
            };
            if stands_for != original {
                return None;
            }
            let (end, place_end) = (at + original.len_utf8(), place + original.len_utf8());
            match runs.last_mut() {
                Some(run)
                    if run.text == text
                        && texts[text].text.get(run.source.end..place) == Some(&plain[run.range.end..at]) =>
                {
                    (run.source.end, run.range.end) = (place_end, end);
                }
                _ => runs.push(Run { text, source: place..place_end, range: at..end }),
            }
        }
        Some(runs.into_iter().map(|run| run.found(plain, texts[run.text].text)).collect())
    }
}

/// Letters that are consecutive both in a text and in the rendering.
struct Run {
    text: usize,
    source: Range<usize>,
    range: Range<usize>,
}

impl Run {
    /// The run, extended by the white space at the text's ends.
    fn found(&self, plain: &str, text: &str) -> TextSpan {
        let (before, after) = (&text[..self.source.start], &text[self.source.end..]);
        let is_whole = before.trim().is_empty() && after.trim().is_empty();
        let mut range = self.range.clone();
        if is_whole {
            range.start -= common_end_bytes(&plain[..range.start], before);
            range.end += common_start_bytes(&plain[range.end..], after);
        }
        TextSpan { text: self.text, range, is_whole }
    }
}

fn letter_of(number: usize) -> Option<char> {
    let mut number = u32::try_from(number).ok()?;
    for (first, last) in LETTER_PLANES {
        if number <= last - first {
            return char::from_u32(first + number);
        }
        number -= last - first + 1;
    }
    None
}

fn number_of(letter: char) -> Option<usize> {
    let mut before = 0;
    for (first, last) in LETTER_PLANES {
        if (first..=last).contains(&u32::from(letter)) {
            return Some((before + u32::from(letter) - first) as usize);
        }
        before += last - first + 1;
    }
    None
}

/// Whether a text contains letters that could not be distinguished from a disguise.
pub(super) fn has_own_letters(text: &str) -> bool {
    text.chars().any(|letter| number_of(letter).is_some())
}

fn common_end_bytes(text: &str, wanted: &str) -> usize {
    let pairs = text.chars().rev().zip(wanted.chars().rev());
    pairs.take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8()).sum()
}

fn common_start_bytes(text: &str, wanted: &str) -> usize {
    let pairs = text.chars().zip(wanted.chars());
    pairs.take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_between_words() {
        let check = |cut: MarkPosition, text: &str, left: &str| assert_eq!(cut.split(text).0, left, "{cut:?} {text:?}");
        check(MarkPosition::Middle, "think hard /no_think", "think hard");
        check(MarkPosition::Middle, "  detailed ", "  deta");
        check(MarkPosition::Middle, "日本", "日");
        check(MarkPosition::Start, "  ab ", "  ");
        check(MarkPosition::End, "  ab ", "  ab");
        check(MarkPosition::FirstQuarter, "a b c d e f", "a");
    }

    #[test]
    fn letters_say_where_they_came_from() {
        let text = Text { index: 0, role: Role::User, field: Field::Content, text: " a b\n" };
        let mut letters = LetterSubstitution::default();
        let hidden = letters.replace(0, text.text, std::slice::from_ref(&(0..5))).unwrap();
        assert_eq!(hidden.chars().count(), 5);
        let found = |plain: &str, rendered: &str| letters.find(plain, rendered, &[text]);
        let whole = found("<> a b\n>", &format!("<>{hidden}>")).unwrap();
        assert_eq!(whole, [TextSpan { text: 0, range: 2..7, is_whole: true }]);
        assert_eq!(found("<x>", &format!("<{}>", hidden.trim())), None);
        assert_eq!(
            found("a.", &hidden.trim().chars().take(1).chain(['.']).collect::<String>()).unwrap()[0].range,
            0..1
        );
    }
}
