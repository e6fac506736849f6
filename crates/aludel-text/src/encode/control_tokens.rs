//! Prevents text of messages from becoming control tokens where a template prints it in pieces, changed, or more than
//! once. Texts that are completely in the rendering are protected already; this handles the rest.

use std::ops::Range;

use super::locate::{LocatedTexts, Render};
use super::texts::{LetterSubstitution, TextSpan, disguised, has_own_letters};
use crate::error::Error;
use crate::message::Message;
use crate::tokenizer::Tokenizer;

/// Searches the rendering for letters of messages outside of the texts found.
///
/// # Errors
/// [`Error::ContentRewritten`] where a control token may have come out of a message's text; [`Error::Tokenize`].
pub(super) fn uncovered(
    located: &LocatedTexts<'_>,
    messages: &[Message],
    tokenizer: &Tokenizer,
    render: Render<'_>,
) -> Result<Vec<TextSpan>, Error> {
    let suspects: Vec<(usize, Vec<Range<usize>>)> = (0..located.texts.len())
        .filter_map(|number| Some((number, suspect_ranges(located, number, tokenizer)?)))
        .collect();
    let Some((first, _)) = suspects.first() else { return Ok(Vec::new()) };
    let mut letters = LetterSubstitution::default();
    let hidden: Option<Vec<(usize, String)>> = suspects
        .iter()
        .map(|(number, ranges)| Some((*number, letters.replace(*number, located.texts[*number].text, ranges)?)))
        .collect();
    let Some(hidden) = hidden.filter(|_| !has_own_letters(&located.text)) else {
        return refuse(located, *first, tokenizer, None);
    };
    let harmless = render(&disguised(messages, &mut |index, field| {
        let is_it = |number: usize| located.texts[number].index == index && located.texts[number].field == field;
        hidden.iter().find(|(number, _)| is_it(*number)).map(|(_, text)| text.clone())
    }));
    let Ok(harmless) = harmless else { return refuse(located, *first, tokenizer, None) };
    if let Some(found) = letters.find(&located.text, &harmless, &located.texts) {
        let is_covered = |range: &Range<usize>| {
            located.found.iter().any(|found| found.range.start <= range.start && range.end <= found.range.end)
        };
        return Ok(found.into_iter().filter(|found| !is_covered(&found.range)).collect());
    }
    // The template depends on the content of the text. Then at least the control tokens must be its own.
    let protected: Vec<Range<usize>> = located.found.iter().map(|found| found.range.clone()).collect();
    let ids = tokenizer.encode_protected(&located.text, &protected)?.ids;
    let made: Vec<u32> = ids.into_iter().filter(|&id| tokenizer.is_control(id)).collect();
    let own: Vec<u32> = tokenizer.controls(&harmless).into_iter().map(|(_, id)| id).collect();
    if made == own {
        return Ok(Vec::new());
    }
    let stranger = made.iter().zip(own.iter().map(Some).chain(std::iter::repeat(None))).find(|&(a, b)| Some(a) != b);
    let literal = stranger.and_then(|(&id, _)| tokenizer.id_to_token(id));
    refuse(located, *first, tokenizer, literal)
}

/// The parts of a text to search for: its control tokens, or all of it if it did not survive completely.
fn suspect_ranges(located: &LocatedTexts<'_>, number: usize, tokenizer: &Tokenizer) -> Option<Vec<Range<usize>>> {
    let text = located.texts[number].text;
    let mut places = located.found.iter().filter(|found| found.text == number).peekable();
    let is_whole = places.peek().is_some() && places.all(|found| found.is_whole);
    if !is_whole {
        return Some(std::iter::once(0..text.len()).collect());
    }
    let spelled: Vec<Range<usize>> = tokenizer.controls(text).into_iter().map(|(span, _)| span).collect();
    (!spelled.is_empty()).then_some(spelled)
}

/// Without proof that it is harmless, only text without a control token is accepted.
fn refuse(
    located: &LocatedTexts<'_>,
    suspect: usize,
    tokenizer: &Tokenizer,
    literal: Option<String>,
) -> Result<Vec<TextSpan>, Error> {
    let spelled = located.texts.iter().find_map(|text| {
        let (span, _) = tokenizer.first_control(text.text)?;
        Some((text, text.text.get(span)?.trim().to_owned()))
    });
    let (text, literal) = match (spelled, literal) {
        (Some(spelled), _) => spelled,
        (None, Some(literal)) => (&located.texts[suspect], literal),
        (None, None) => return Ok(Vec::new()),
    };
    Err(Error::ContentRewritten { index: text.index, role: text.role.as_str(), literal })
}
