//! Finds each message's content again in what a template made of it. A mark (private-use characters and a number) is put
//! into the middle of the content before rendering: templates that trim it, look at its ends or search it for tags then
//! do just what they would do without the mark, and the content is found around it afterwards.

use std::ops::Range;

use crate::message::{Message, Role};
use crate::template::TemplateMessage;

const BEGIN: char = '\u{E0A0}';
const END: char = '\u{E0A1}';

/// Messages with marks in them.
pub(super) struct Marks<'a> {
    originals: &'a [Message],
    /// Each starts with this.
    prefix: String,
    marked: Vec<TemplateMessage>,
    /// What each mark stands in; its number is its place here.
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    index: usize,
    left: &'a str,
    right: &'a str,
    is_turn: bool,
}

/// A content in the rendered text.
pub(super) struct Found {
    pub(super) index: usize,
    pub(super) range: Range<usize>,
    /// All of it is there, but for blanks at its ends.
    pub(super) is_whole: bool,
    /// It is the stand-in for the turn to learn.
    pub(super) is_turn: bool,
}

/// A rendered text without its marks.
pub(super) struct TakenOut {
    pub(super) text: String,
    pub(super) contents: Vec<Found>,
    /// Messages of which some content is nowhere in the text.
    pub(super) missing: Vec<usize>,
}

impl<'a> Marks<'a> {
    /// Marks the messages. The content of message `turn` is replaced by its mark alone, so that no template can take it
    /// apart.
    pub(super) fn new(originals: &'a [Message], turn: Option<usize>, template_source: &str) -> Marks<'a> {
        let mut marks = Marks {
            originals,
            prefix: free_prefix(originals, template_source),
            marked: Vec::new(),
            places: Vec::new(),
        };
        for (index, message) in originals.iter().enumerate() {
            let is_turn = turn == Some(index);
            let content = if is_turn { marks.stand_in(index) } else { marks.mark(index, &message.content) };
            let reasoning = message
                .reasoning
                .as_deref()
                .filter(|text| !is_turn && message.role == Role::Assistant && !text.trim().is_empty());
            let reasoning_content = reasoning.map(|text| marks.mark(index, text));
            marks.marked.push(TemplateMessage { role: message.role.as_str(), content, reasoning_content });
        }
        marks
    }

    pub(super) fn originals(&self) -> &'a [Message] {
        self.originals
    }

    pub(super) fn messages(&self) -> &[TemplateMessage] {
        &self.marked
    }

    /// Takes the marks out of a rendered text and finds the content around each.
    pub(super) fn take_out(&self, rendered: &str) -> TakenOut {
        let mut text = String::with_capacity(rendered.len());
        let mut contents: Vec<Found> = Vec::new();
        let mut seen = vec![false; self.places.len()];
        let mut rest = rendered;
        let mut taken_until = 0;
        while let Some((number, before, after)) = self.next_mark(rest) {
            text.push_str(before);
            let place = &self.places[number];
            seen[number] = true;
            let left_bytes = common_end_bytes(&text[taken_until..], place.left);
            let right_bytes = common_start_bytes(after, place.right);
            let start = text.len() - left_bytes;
            text.push_str(&after[..right_bytes]);
            taken_until = text.len();
            let lost_left = &place.left[..place.left.len() - left_bytes];
            let lost_right = &place.right[right_bytes..];
            contents.push(Found {
                index: place.index,
                range: start..text.len(),
                is_whole: lost_left.trim().is_empty() && lost_right.trim().is_empty(),
                is_turn: place.is_turn,
            });
            rest = &after[right_bytes..];
        }
        text.push_str(rest);
        let missing = seen
            .iter()
            .zip(&self.places)
            .filter(|&(&seen, place)| !seen && !place.is_turn)
            .map(|(_, place)| place.index);
        TakenOut { text, contents, missing: missing.collect() }
    }

    /// Puts a mark into the middle of the visible text, so that neither end changes. Blank text stays as it is: it can
    /// do no harm, and templates may ask whether it is blank.
    fn mark(&mut self, index: usize, text: &'a str) -> String {
        let visible = text.trim();
        if visible.is_empty() {
            return text.to_owned();
        }
        let lead_bytes = text.len() - text.trim_start().len();
        let mut middle = lead_bytes + visible.len().div_ceil(2);
        while !text.is_char_boundary(middle) {
            middle += 1;
        }
        let (left, right) = text.split_at(middle);
        let mark = self.place(Place { index, left, right, is_turn: false });
        format!("{left}{mark}{right}")
    }

    fn stand_in(&mut self, index: usize) -> String {
        self.place(Place { index, left: "", right: "", is_turn: true })
    }

    fn place(&mut self, place: Place<'a>) -> String {
        self.places.push(place);
        format!("{}{}{END}", self.prefix, self.places.len() - 1)
    }

    fn next_mark<'t>(&self, text: &'t str) -> Option<(usize, &'t str, &'t str)> {
        let (before, rest) = text.split_once(self.prefix.as_str())?;
        let (number, after) = rest.split_once(END)?;
        let number = number.parse().ok().filter(|&number| number < self.places.len())?;
        Some((number, before, after))
    }
}

/// A start for marks that occurs in no message and not in the template.
fn free_prefix(messages: &[Message], template_source: &str) -> String {
    let is_taken = |prefix: &str| {
        template_source.contains(prefix)
            || messages.iter().any(|message| {
                message.content.contains(prefix) || message.reasoning.as_ref().is_some_and(|text| text.contains(prefix))
            })
    };
    let mut number = 0_usize;
    loop {
        let prefix = format!("{BEGIN}{number}.");
        if !is_taken(&prefix) {
            return prefix;
        }
        number += 1;
    }
}

fn common_end_bytes(text: &str, wanted: &str) -> usize {
    let pairs = text.chars().rev().zip(wanted.chars().rev());
    pairs.take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8()).sum()
}

fn common_start_bytes(text: &str, wanted: &str) -> usize {
    let pairs = text.chars().zip(wanted.chars());
    pairs.take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8()).sum()
}
