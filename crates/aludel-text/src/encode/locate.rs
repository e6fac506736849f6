//! Finds the texts of messages in a rendering. Only the text of the plain rendering, of the messages as they are,
//! counts. Renderings of disguised messages show where in it each text is, and are used only if they lead to the same
//! text. What happens to a text is decided elsewhere.

use std::ops::Range;

use super::texts::{
    CUTS, LetterSubstitution, MarkPosition, Text, TextMarkers, TextSpan, disguised, has_own_letters, texts_of,
};
use crate::error::Error;
use crate::message::Message;
use crate::template::TemplateMessage;

/// Renders messages.
pub(super) type Render<'a> = &'a dyn Fn(&[TemplateMessage]) -> Result<String, Error>;

/// A plain rendering and the texts found in it.
pub(super) struct LocatedTexts<'a> {
    pub(super) text: String,
    pub(super) texts: Vec<Text<'a>>,
    /// In order and disjoint. A text may occur several times, or not at all.
    pub(super) found: Vec<TextSpan>,
}

/// Renders messages and finds their texts.
///
/// # Errors
/// The template's errors; [`Error::ContentNotFound`].
pub(super) fn locate<'a>(
    messages: &'a [Message],
    template_source: &str,
    render: Render<'_>,
) -> Result<LocatedTexts<'a>, Error> {
    let text = render(&disguised(messages, &mut |_, _| None))?;
    let texts = texts_of(messages);
    let search =
        Search { messages, texts: &texts, marks: TextMarkers::new(&texts, template_source), render, plain: &text };
    let all: Vec<usize> = (0..texts.len()).collect();
    let found = match CUTS.iter().find_map(|&cut| search.by_marks(&all, cut)) {
        Some(found) => found,
        None => search.one_by_one(template_source)?,
    };
    Ok(LocatedTexts { text, texts, found })
}

struct Search<'a> {
    messages: &'a [Message],
    texts: &'a [Text<'a>],
    marks: TextMarkers<'a>,
    render: Render<'a>,
    plain: &'a str,
}

impl Search<'_> {
    /// Finds texts by marks; none if the marks change what the template prints.
    fn by_marks(&self, chosen: &[usize], cut: MarkPosition) -> Option<Vec<TextSpan>> {
        let rendered = self.rendered(chosen, &mut |text| Some(self.marks.mark(text, cut)))?;
        let (text, found) = self.marks.take_out(&rendered, cut);
        (text == self.plain).then_some(found)
    }

    /// Finds a text by substituted letters.
    fn by_letters(&self, text: usize) -> Option<Vec<TextSpan>> {
        let mut letters = LetterSubstitution::default();
        let whole = self.texts[text].text;
        let hidden = letters.replace(text, whole, std::slice::from_ref(&(0..whole.len())))?;
        let rendered = self.rendered(&[text], &mut |_| Some(hidden.clone()))?;
        letters.find(self.plain, &rendered, self.texts)
    }

    /// The rendering with some texts disguised; none if the template refuses it.
    fn rendered(&self, chosen: &[usize], disguise: &mut dyn FnMut(usize) -> Option<String>) -> Option<String> {
        let number = |index, field| self.texts.iter().position(|text| text.index == index && text.field == field);
        let messages = disguised(self.messages, &mut |index, field| {
            number(index, field).filter(|number| chosen.contains(number)).and_then(&mut *disguise)
        });
        (self.render)(&messages).ok()
    }

    /// For templates that depend on a text's content: each is searched for alone, so that only the text that the template inspects
    /// is hard to find, and that one is where the others leave only one place.
    fn one_by_one(&self, template_source: &str) -> Result<Vec<TextSpan>, Error> {
        let has_letters = has_own_letters(template_source) || has_own_letters(self.plain);
        let mut found: Vec<TextSpan> = Vec::new();
        let mut hard = Vec::new();
        for text in 0..self.texts.len() {
            let by_letters = || if has_letters { None } else { self.by_letters(text) };
            match CUTS.iter().find_map(|&cut| self.by_marks(&[text], cut)).or_else(by_letters) {
                Some(places) => found.extend(places),
                None => hard.push(text),
            }
        }
        let easy = found.clone();
        for run in hard.chunk_by(|a, b| a + 1 == *b) {
            let start = easy.iter().filter(|found| found.text < run[0]).map(|found| found.range.end).max();
            let end = easy.iter().filter(|found| found.text > run[run.len() - 1]).map(|found| found.range.start).min();
            let gap = start.unwrap_or(0)..end.unwrap_or(self.plain.len());
            found.extend(self.between(run, gap).ok_or_else(|| self.not_found(run[0]))?);
        }
        found.sort_by_key(|found| found.range.start);
        let meet = found.windows(2).find(|pair| pair[0].range.end > pair[1].range.start);
        match meet {
            Some(pair) => Err(self.not_found(pair[1].text)),
            None => Ok(found),
        }
    }

    /// Consecutive texts in a stretch of the rendering, if there is only one way to place them. Those that do not occur in it are
    /// absent.
    fn between(&self, run: &[usize], gap: Range<usize>) -> Option<Vec<TextSpan>> {
        let stretch = self.plain.get(gap.clone())?;
        let mut wanted: Vec<(usize, &str)> = run.iter().map(|&text| (text, self.texts[text].text.trim())).collect();
        wanted.retain(|(_, text)| stretch.contains(text));
        let (mut from, mut until) = (0, stretch.len());
        let mut first = Vec::new();
        for &(_, text) in &wanted {
            let at = from + stretch[from..].find(text)?;
            first.push(at);
            from = at + text.len();
        }
        for (&(_, text), &at) in wanted.iter().zip(&first).rev() {
            until = stretch[..until].rfind(text).filter(|&last| last == at)?;
        }
        let found = wanted.iter().zip(first).map(|(&(number, text), at)| {
            let start = gap.start + at;
            TextSpan { text: number, range: start..start + text.len(), is_whole: true }
        });
        Some(found.collect())
    }

    fn not_found(&self, text: usize) -> Error {
        let text = &self.texts[text];
        Error::ContentNotFound { index: text.index, role: text.role.as_str() }
    }
}
