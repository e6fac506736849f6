//! The pipeline from a text to its ids: splitting at added tokens, normalising what is between them, splitting into
//! words, tokens. Text that is protected from becoming control tokens takes a longer path. The library does all of this
//! as an untrusted file says, so a panic in it becomes an error here, and the size of a text is bounded.

use std::ops::Range;

use aludel_files::shortened;
use tokenizers::tokenizer::normalizer::Range as NormalizedRange;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, Token};

use super::{Tokenized, Tokenizer};
use crate::catch_panic::catch_panic;
use crate::error::Error;

/// Limits for a normaliser that expands text more than those of known families.
const MOST_NORMALIZED: u64 = 8 << 20;
const USUAL_GROWTH: u64 = 12;
const MOST_DECODED: u64 = 64 << 20;

impl Tokenizer {
    pub(super) fn split_at_added(&self, text: &str) -> Result<PreTokenizedString, Error> {
        catch_panic(|| self.split_pieces(text)).and_then(|pieces| pieces).map_err(|reason| failed(text, reason))
    }

    /// Splits at added tokens and normalises what is between them, unless the result would be too large.
    pub(super) fn split_pieces(&self, text: &str) -> Result<PreTokenizedString, String> {
        let (length, growth) = (text.len() as u64, self.growth.normalizer);
        if growth > USUAL_GROWTH && length.saturating_mul(growth) > MOST_NORMALIZED {
            return Err(format!(
                "its normalizer may make {growth} bytes of one, and of these {length} more than the {MOST_NORMALIZED} that are accepted: \
                 cut the text into shorter ones"
            ));
        }
        let pieces = self.steps.split_added(&self.inner, text)?;
        if growth > USUAL_GROWTH / 3 {
            let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
            let normalized: u64 = splits.iter().map(|(part, ..)| part.len() as u64).sum();
            if normalized > (length.saturating_mul(USUAL_GROWTH / 3)).max(MOST_NORMALIZED / 8) {
                return Err(format!("its normalizer makes {normalized} bytes of {length}, which is no text any more"));
            }
        }
        Ok(pieces)
    }

    pub(super) fn decode_ids(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        // Some of the library's decoders require at least one token.
        let is_shown = |&id: &u32| self.inner.id_to_token(id).is_some() && !(skip_special && self.is_special(id));
        if !ids.iter().any(is_shown) {
            return Ok(String::new());
        }
        let special = self.inner.get_added_vocabulary();
        let tokens = ids.iter().filter_map(|&id| self.inner.id_to_token(id));
        let shown = tokens.filter(|token| !(skip_special && special.is_special_token(token)));
        self.steps.decode(shown.collect()).map_err(|error| error.to_string())
    }

    /// Whether the decoded text of the ids is within the limits.
    pub(super) fn check_decoded(&self, ids: &[u32]) -> Result<(), String> {
        let most = |bytes: u64| bytes.saturating_mul(self.growth.decoder) <= MOST_DECODED;
        if most((ids.len() * (self.longest_token + 1)) as u64) {
            return Ok(());
        }
        let bytes: u64 =
            ids.iter().map(|&id| self.inner.id_to_token(id).map_or(1, |token| token.len() + 1) as u64).sum();
        if most(bytes) { Ok(()) } else { Err(format!("they may make more than {MOST_DECODED} bytes")) }
    }

    /// Splits off the added tokens of the text, except control tokens in a protected range.
    pub(super) fn split_outside(&self, text: &str, protected: &[Range<usize>]) -> Result<PreTokenizedString, Error> {
        catch_panic(|| self.split_unprotected(text, protected))
            .and_then(|pieces| pieces)
            .map_err(|reason| failed(text, reason))
    }

    fn split_unprotected(&self, text: &str, protected: &[Range<usize>]) -> Result<PreTokenizedString, String> {
        let mut kept: Vec<(Range<usize>, u32)> = Vec::new();
        let mut search = |range: Range<usize>, is_protected: bool| {
            let matches = matches_of(&self.split_pieces(&text[range.clone()])?).into_iter();
            kept.extend(
                matches
                    .filter(|&(_, id)| !(is_protected && self.is_control(id)))
                    .map(|(span, id)| (span.start + range.start..span.end + range.start, id)),
            );
            Ok::<_, String>(())
        };
        let mut from = 0;
        for range in protected {
            search(from..range.start, false)?;
            search(range.clone(), true)?;
            from = range.end;
        }
        search(from..text.len(), false)?;

        let mut pieces = PreTokenizedString::from(text);
        let split = pieces.split(|_, whole| {
            let mut parts: Vec<(tokenizers::NormalizedString, Option<Vec<Token>>)> = Vec::new();
            let mut from = 0;
            let slice = |range: Range<usize>| whole.slice(NormalizedRange::Normalized(range)).ok_or("a torn character");
            for (span, id) in &kept {
                if from < span.start {
                    parts.push((slice(from..span.start)?, None));
                }
                let matched = slice(span.clone())?;
                let value = matched.get().to_owned();
                let bytes = value.len();
                parts.push((matched, Some(vec![Token::new(*id, value, (0, bytes))])));
                from = span.end;
            }
            if from < text.len() {
                parts.push((slice(from..text.len())?, None));
            }
            Ok(parts)
        });
        split.map_err(|error| error.to_string())?;
        pieces.normalize(|part| self.steps.normalize(part)).map_err(|error| error.to_string())?;
        Ok(pieces)
    }

    pub(super) fn tokenize_pieces(&self, pieces: PreTokenizedString) -> Result<Tokenized, Error> {
        catch_panic(|| self.tokenize_split(pieces))
            .and_then(|tokenized| tokenized)
            .map_err(|reason| failed("a text", reason))
    }

    pub(super) fn tokenize_split(&self, mut pieces: PreTokenizedString) -> Result<Tokenized, String> {
        let mut run = || {
            self.steps.pre_tokenize(&mut pieces)?;
            self.inner.get_model().tokenize_in_pretokenized(&mut pieces, None)?;
            std::mem::replace(&mut pieces, PreTokenizedString::from("")).into_encoding(None, 0, OffsetType::Byte)
        };
        let encoding = run().map_err(|error: tokenizers::Error| error.to_string())?;
        Ok(Tokenized {
            ids: encoding.get_ids().to_vec(),
            spans: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect(),
        })
    }

    /// The vocabulary of the model itself may contain a control token. Such a token in protected text is replaced by the tokens of
    /// its letters.
    pub(super) fn spell_out_control(
        &self,
        tokenized: &mut Tokenized,
        text: &str,
        protected: &[Range<usize>],
    ) -> Result<(), Error> {
        let wrong = |id: u32, span: &Range<usize>| {
            self.is_control(id) && protected.iter().any(|range| overlaps_visibly(text, span, range))
        };
        if !tokenized.ids.iter().zip(&tokenized.spans).any(|(&id, span)| wrong(id, span)) {
            return Ok(());
        }
        let mut spelled = Tokenized::default();
        for (&id, span) in tokenized.ids.iter().zip(&tokenized.spans) {
            let letters = if wrong(id, span) { self.id_to_token(id) } else { None };
            let Some(letters) = letters else {
                spelled.ids.push(id);
                spelled.spans.push(span.clone());
                continue;
            };
            let mut buffer = [0; 4];
            for letter in letters.chars() {
                let letter = letter.encode_utf8(&mut buffer);
                let tokens = catch_panic(|| self.inner.get_model().tokenize(letter).map_err(|error| error.to_string()));
                let tokens = tokens.and_then(|tokens| tokens).map_err(|reason| failed(&letters, reason))?;
                if tokens.is_empty() {
                    return Err(failed(&letters, format!("no token stands for {letter:?} alone; take the text out")));
                }
                for token in tokens {
                    spelled.ids.push(token.id);
                    spelled.spans.push(span.clone());
                }
            }
        }
        *tokenized = spelled;
        Ok(())
    }
}

/// Every added token in the text, with its byte span.
pub(super) fn matches_of(pieces: &PreTokenizedString) -> Vec<(Range<usize>, u32)> {
    pieces
        .get_splits(OffsetReferential::Original, OffsetType::Byte)
        .into_iter()
        .filter_map(|(_, (start, end), tokens)| {
            tokens.as_ref().and_then(|tokens| tokens.first()).map(|token| (start..end, token.id))
        })
        .collect()
}

pub(super) fn failed(what: &str, reason: String) -> Error {
    Error::Tokenize { what: format!("{:?}", shortened(what, 60)), reason }
}

/// Whether the two ranges share visible text: a token that strips the white space beside it reaches into its neighbours, which is
/// harmless.
pub(super) fn overlaps_visibly(text: &str, span: &Range<usize>, range: &Range<usize>) -> bool {
    let (start, end) = (span.start.max(range.start), span.end.min(range.end));
    start < end && text.get(start..end).is_none_or(|shared| !shared.trim().is_empty())
}
