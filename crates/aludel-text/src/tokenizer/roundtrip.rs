//! Checks that a text survives a round trip through a tokenizer: text to ids to text is the only proof that nothing is
//! lost. Most tokenizers of the supported families can lose text only in ways that show in the ids' spans, so it is
//! enough to check these; the ids of the others are decoded.

use std::collections::HashSet;
use std::ops::Range;

use aludel_files::shortened;
use serde_json::json;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{NormalizedString, Normalizer};

use super::pipeline::failed;
use super::steps::{Decoding, Normalizing, PreTokenizing, Steps};
use super::{Tokenized, Tokenizer};
use crate::catch_panic::catch_panic;
use crate::error::Error;

/// Letters of a text that a message shows around what is lost.
const SHOWN_LETTERS: usize = 16;

/// In which ways a tokenizer may lose text.
#[derive(Debug, Clone, Default)]
pub(super) struct TextLosses {
    /// Ids must be decoded: its steps may change a text in a way that no span shows.
    reads_back: bool,
    /// Of a byte-level tokenizer: bytes without a token. One that is part of a letter would be lost within the letter's span.
    missing_bytes: HashSet<u8>,
    /// The token of text that the vocabulary cannot spell.
    unknown_id: Option<u32>,
}

impl TextLosses {
    /// `affixes` says that the model spells letters differently within a word and at its ends; the letters are those by which a
    /// byte-level vocabulary writes bytes.
    pub(super) fn of(steps: &Steps, affixes: bool, unknown_id: Option<u32>, letterless: HashSet<u8>) -> TextLosses {
        let missing_bytes = if steps.spells_bytes() { letterless } else { HashSet::new() };
        // Normalisation adds none of these bytes: they occur in control characters, and in letters of unassigned planes.
        let is_rare = |&byte: &u8| byte < 0x80 || matches!(byte, 0xc0 | 0xc1 | 0xf1 | 0xf2 | 0xf5..);
        let may_appear = steps.changes_form() && !missing_bytes.iter().all(is_rare);
        let is_known = steps.spells_bytes() || steps.spells_blanks();
        TextLosses { reads_back: affixes || may_appear || !is_known, missing_bytes, unknown_id }
    }
}

impl Tokenizer {
    /// Checks that no text was lost in its ids. White space may be reduced, and removed at the ends of a text and beside added
    /// tokens, where some tokenizers strip it; letters may be in another Unicode normal form.
    ///
    /// # Errors
    /// [`Error::TextLost`], with the first letter that is lost.
    pub(super) fn check_kept(&self, text: &str, tokenized: &Tokenized) -> Result<(), Error> {
        let unknown = self.first_unknown(text, tokenized);
        if let Some(span) = unknown {
            let token = self.losses.unknown_id.and_then(|id| self.id_to_token(id)).unwrap_or_default();
            let before = text.get(..span.start).unwrap_or_default();
            let lost = text.get(span).unwrap_or_default();
            let after = &text[before.len() + lost.len()..];
            let read = format!("{}{token}{}", end_of(before), start_of(after));
            return Err(self.lost(lost, &format!("{}{lost}{}", end_of(before), start_of(after)), &read));
        }
        if !self.losses.reads_back && is_covered(text, &tokenized.spans) && !self.has_missing_byte(text) {
            return Ok(());
        }
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let (mut from, mut ids) = (0, Vec::new());
        for (&id, span) in tokenized.ids.iter().zip(&tokenized.spans) {
            if !added.contains_key(&id) {
                ids.push(id);
                continue;
            }
            self.check_segment(text.get(from..span.start).unwrap_or_default(), &ids)?;
            ids.clear();
            from = span.end.max(from);
        }
        self.check_segment(text.get(from..).unwrap_or_default(), &ids)
    }

    /// The first text that became the unknown token, which may also occur in a text literally.
    fn first_unknown(&self, text: &str, tokenized: &Tokenized) -> Option<Range<usize>> {
        let unknown = self.losses.unknown_id?;
        let mut tokens = tokenized.ids.iter().zip(&tokenized.spans).filter(|&(&id, _)| id == unknown).peekable();
        tokens.peek()?;
        let name = self.id_to_token(unknown)?;
        tokens
            .find(|(_, span)| text.get((*span).clone()).is_none_or(|part| part.trim() != name))
            .map(|(_, span)| span.clone())
    }

    fn has_missing_byte(&self, text: &str) -> bool {
        let missing = &self.losses.missing_bytes;
        !missing.is_empty() && {
            let mut is_missing = [false; 256];
            missing.iter().for_each(|&byte| is_missing[usize::from(byte)] = true);
            text.bytes().any(|byte| is_missing[usize::from(byte)])
        }
    }

    /// Compares the text between two added tokens with its decoded ids.
    fn check_segment(&self, text: &str, ids: &[u32]) -> Result<(), Error> {
        let refuse = |reason: String| failed(text, reason);
        self.check_decoded(ids).map_err(refuse)?;
        let read = catch_panic(|| {
            let wanted = self.steps.form(text).map_err(|error| error.to_string())?;
            Ok::<_, String>((wanted, self.decode_ids(ids, false)?))
        });
        let (wanted, read) = read.and_then(|read| read).map_err(refuse)?;
        let Some((at, at_read)) = first_difference(&wanted, &read) else { return Ok(()) };
        let (before, after) = wanted.split_at(at);
        let shown = format!("{}{}", end_of(before), start_of(after));
        let read = format!("{}{}", end_of(&read[..at_read]), start_of(&read[at_read..]));
        let lost = after.chars().next().map(String::from).unwrap_or_default();
        Err(self.lost(&lost, &shown, &read))
    }

    fn lost(&self, lost: &str, text: &str, read: &str) -> Error {
        let letters = shortened(lost, SHOWN_LETTERS).into_owned();
        Error::TextLost { origin: self.origin.to_string(), lost: letters, text: text.to_owned(), read: read.to_owned() }
    }
}

impl Steps {
    /// Bytes are mapped to letters and back; apart from that, only the Unicode normal form changes.
    fn spells_bytes(&self) -> bool {
        let in_normalizers = self.normalizers.iter().filter(|step| is_normalizer(step, is_byte_level)).count();
        let in_cutters = self
            .pre_tokenizers
            .iter()
            .filter(|step| matches!(step, PreTokenizing::Plain(PreTokenizerWrapper::ByteLevel(_))))
            .count();
        let is_other = |step: &Normalizing| !is_normalizer(step, is_byte_level) && !is_normalizer(step, is_form);
        let has_sign = |step: &PreTokenizing| matches!(step, PreTokenizing::Plain(PreTokenizerWrapper::Metaspace(_)));
        in_normalizers + in_cutters == 1
            && !self.normalizers.iter().any(is_other)
            && !self.pre_tokenizers.iter().any(has_sign)
            && matches!(self.decoders.as_deref(), Some([Decoding::Plain(DecoderWrapper::ByteLevel(_))]))
    }

    /// White space is written as SentencePiece's sign and back; letters change only their Unicode normal form.
    fn spells_blanks(&self) -> bool {
        let replaces = |step: &NormalizerWrapper| match step {
            NormalizerWrapper::Replace(replace) => is_replacement(replace, " ", "▁"),
            NormalizerWrapper::Prepend(prepend) => prepend.prepend == "▁",
            other => is_form(other),
        };
        let cuts = |step: &PreTokenizing| match step {
            PreTokenizing::Plain(PreTokenizerWrapper::Metaspace(sign)) => sign.get_replacement() == '▁',
            PreTokenizing::Plain(PreTokenizerWrapper::ByteLevel(_)) | PreTokenizing::Words { .. } => false,
            PreTokenizing::Plain(_) | PreTokenizing::Split { .. } => true,
        };
        let reads = |step: &Decoding| match step {
            Decoding::Plain(DecoderWrapper::Replace(replace)) => is_replacement(replace, "▁", " "),
            Decoding::Plain(DecoderWrapper::Metaspace(sign)) => sign.get_replacement() == '▁',
            Decoding::Plain(DecoderWrapper::Strip(strip)) => strip.content == ' ',
            Decoding::Plain(DecoderWrapper::ByteFallback(_) | DecoderWrapper::Fuse(_)) => true,
            Decoding::Plain(_) | Decoding::Replace(..) => false,
        };
        let reads_blanks = |step: &Decoding| {
            matches!(step, Decoding::Plain(DecoderWrapper::Replace(_) | DecoderWrapper::Metaspace(_)))
        };
        let decoders = self.decoders.as_deref().unwrap_or_default();
        self.normalizers.iter().all(|step| is_normalizer(step, replaces))
            && self.pre_tokenizers.iter().all(cuts)
            && decoders.iter().all(reads)
            && decoders.iter().any(reads_blanks)
    }

    fn changes_form(&self) -> bool {
        self.normalizers.iter().any(|step| is_normalizer(step, is_form))
    }

    /// The text in the normaliser's Unicode form, otherwise unchanged.
    fn form(&self, text: &str) -> tokenizers::Result<String> {
        let mut formed = NormalizedString::from(text.trim());
        for step in &self.normalizers {
            if let Normalizing::Plain(step) = step
                && is_form(step)
            {
                step.normalize(&mut formed)?;
            }
        }
        Ok(formed.get().to_owned())
    }
}

fn is_normalizer(step: &Normalizing, wanted: impl Fn(&NormalizerWrapper) -> bool) -> bool {
    match step {
        Normalizing::Plain(step) => wanted(step),
        Normalizing::Replace(..) => false,
    }
}

fn is_byte_level(step: &NormalizerWrapper) -> bool {
    matches!(step, NormalizerWrapper::ByteLevel(_))
}

/// Steps that change the form of letters, by Unicode or by SentencePiece's map.
fn is_form(step: &NormalizerWrapper) -> bool {
    use NormalizerWrapper::{NFC, NFD, NFKC, NFKD, Nmt, Precompiled};
    matches!(step, NFC(_) | NFD(_) | NFKC(_) | NFKD(_) | Nmt(_) | Precompiled(_))
}

/// The library shows the pattern only when it is serialised.
fn is_replacement(replace: &tokenizers::normalizers::Replace, pattern: &str, content: &str) -> bool {
    serde_json::to_value(replace)
        .is_ok_and(|written| written["pattern"] == json!({ "String": pattern }) && written["content"] == content)
}

/// Each byte of the text is in the span of some token.
fn is_covered(text: &str, spans: &[Range<usize>]) -> bool {
    let mut reached = 0;
    for span in spans {
        if span.start > reached {
            return false;
        }
        reached = reached.max(span.end);
    }
    reached >= text.len()
}

/// Where two texts differ, as a byte offset in each; the amount of white space between letters is ignored, but not its absence, if
/// the first has some.
fn first_difference(wanted: &str, read: &str) -> Option<(usize, usize)> {
    let blanks = |text: &str| text.len() - text.trim_start().len();
    let (mut at, mut at_read) = (blanks(wanted), blanks(read));
    let mut is_start = true;
    loop {
        let (skipped, skipped_read) = (blanks(&wanted[at..]), blanks(&read[at_read..]));
        let (next, next_read) = (wanted[at + skipped..].chars().next(), read[at_read + skipped_read..].chars().next());
        match (next, next_read) {
            (None, None) => return None,
            (Some(_), _) if skipped > 0 && skipped_read == 0 && !is_start => return Some((at, at_read)),
            (Some(letter), Some(other)) if letter == other => {
                at += skipped + letter.len_utf8();
                at_read += skipped_read + other.len_utf8();
            }
            _ => return Some((at + skipped, at_read + skipped_read)),
        }
        is_start = false;
    }
}

fn start_of(text: &str) -> String {
    shortened(text, SHOWN_LETTERS).into_owned()
}

fn end_of(text: &str) -> String {
    match text.char_indices().rev().nth(SHOWN_LETTERS - 1) {
        Some((start, _)) if start > 0 => format!("…{}", &text[start..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_but_for_the_number_of_blanks() {
        for (wanted, read, difference) in [
            ("", "", None),
            ("a b", "a  b", None),
            ("a\n\nb ", " a b", None),
            ("ab", "a b", None),
            ("a b", "ab", Some((1, 1))),
            ("aéb", "ab", Some((1, 1))),
            ("a é b", "a b", Some((2, 2))),
            ("abc", "ab", Some((2, 2))),
            ("ab", "abc", Some((2, 2))),
            ("Ab", "ab", Some((0, 0))),
            ("a", "", Some((0, 0))),
        ] {
            assert_eq!(first_difference(wanted, read), difference, "{wanted:?} {read:?}");
        }
    }

    #[test]
    fn spans_cover_a_text_or_leave_some_out() {
        let covers = |ends: &[(usize, usize)]| {
            let spans: Vec<Range<usize>> = ends.iter().map(|&(start, end)| start..end).collect();
            is_covered("abcd", &spans)
        };
        assert!(covers(&[(0, 2), (1, 2), (2, 4)]) && covers(&[(0, 0), (0, 4)]));
        assert!(!covers(&[]) && !covers(&[(1, 4)]) && !covers(&[(0, 1), (2, 4)]) && !covers(&[(0, 3)]));
        assert!(is_covered("", &[]));
    }
}
