//! Text to ids and back, over the `tokenizers` library. What it adds: text that must stay text (no control token can
//! result from it, whatever it spells), vocabularies from GGUF, a decoder for streams, and new tokens with checked ids.
//! Which text is protected is decided in `encode`.

mod charsmap;
mod components;
mod gguf;
mod mean_sources;
mod pipeline;
mod pre;
mod regexes;
mod roundtrip;
mod steps;
mod stream;
mod to_gguf;
mod validate;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use aludel_files::shortened;
use tokenizers::{AddedToken, DecoderWrapper};

pub use gguf::GgufVocabulary;
pub use stream::StreamDecoder;

use crate::catch_panic::catch_panic;
use crate::error::Error;
use pipeline::{failed, matches_of, overlaps_visibly};
use roundtrip::TextLosses;
use steps::Steps;

/// Ids with the byte span of the text that each stands for. The tokens of one character share its span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokenized {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Byte span of each in the text.
    pub spans: Vec<Range<usize>>,
}

/// Words, digits, white space, lines, combining marks, signs that normalisation changes, and scripts without spaces.
const TRIAL: &str = " Hello  wörld's 12,345\t½ ﷺ\r\n\n a\u{301} 中文 🙂 don't_- <x> [y] ▁ Ġ.";
/// A tokenizer, from a tokenizer.json or a GGUF.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocabulary_size: usize,
    /// Ids that plain text never produces.
    control_ids: HashSet<u32>,
    special_ids: HashSet<u32>,
    /// What [`Tokenizer::add_tokens`] appended to the vocabulary.
    new_ids: HashSet<u32>,
    /// Of a byte-level tokenizer: which byte each letter of a token stands for.
    byte_of_letter: Option<HashMap<char, u8>>,
    steps: Arc<Steps>,
    /// How it may lose text.
    losses: TextLosses,
    /// The file, or what it was made from.
    origin: Arc<str>,
    /// What its file puts before every text.
    beginning: Option<String>,
    growth: validate::ExpansionFactors,
    /// In bytes.
    longest_token: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokenizer").field("vocab_size", &self.vocabulary_size).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a tokenizer.json.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::TokenizerFile`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
        let path = path.as_ref();
        let bytes = aludel_files::read(path, aludel_files::SMALL)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Tokenizer::from_json(&bytes, &path.display().to_string())
    }

    /// Reads the contents of a tokenizer.json; `origin` names them in messages.
    ///
    /// # Errors
    /// [`Error::TokenizerFile`], also where the file's ids are not those that the library would give.
    pub fn from_json(bytes: &[u8], origin: &str) -> Result<Tokenizer, Error> {
        let refuse = |reason: String| Error::TokenizerFile { origin: origin.to_owned(), reason };
        let document: validate::Document =
            serde_json::from_slice(bytes).map_err(|error| refuse(components::fault(bytes, &error.to_string())))?;
        let growth = document.validate(bytes).map_err(refuse)?;
        let built =
            catch_panic(|| serde_json::from_slice::<tokenizers::Tokenizer>(bytes).map_err(|error| error.to_string()));
        let mut inner = built.and_then(|built| built).map_err(|reason| refuse(components::fault(bytes, &reason)))?;
        for validate::AddedTokenEntry { id, content, .. } in &document.added_tokens {
            let given = inner.token_to_id(content);
            if given != Some(*id) {
                let given = given.map_or_else(|| "no token".to_owned(), |given| format!("token {given}"));
                return Err(refuse(format!(
                    "its added token {content:?} has id {id}, but the `tokenizers` library reads it as {given}"
                )));
            }
        }
        // A file may carry truncation and padding settings of a training run: rows are never cut or padded unnoticed.
        inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?.with_padding(None);
        let tokenizer = Tokenizer::over(inner, &document, growth, origin).map_err(refuse)?;
        if tokenizer.vocabulary_size > validate::MOST_IDS as usize {
            return Err(refuse(format!(
                "it has an id of {}, which is no place in a vocabulary",
                tokenizer.vocabulary_size - 1
            )));
        }
        tokenizer.try_out().map_err(|reason| refuse(format!("on a trial text {reason}")))?;
        Ok(tokenizer)
    }

    /// Encodes and decodes a text with all kinds of characters, so that a damaged file is refused when it is opened.
    fn try_out(&self) -> Result<(), String> {
        let added: String = self.added_tokens().iter().take(4).map(|(_, content, _)| content.as_str()).collect();
        let text = format!("{TRIAL}{added}{}{TRIAL}", "a".repeat(300));
        catch_panic(|| {
            // Text that the vocabulary cannot spell is not damage.
            let Ok(pieces) = self.split_pieces(&text) else { return };
            let Ok(tokenized) = self.tokenize_split(pieces) else { return };
            let _ = self.decode_ids(&tokenized.ids, false);
            for &id in tokenized.ids.iter().take(40) {
                let _ = self.decode_ids(&[id], true);
            }
        })
    }

    /// Builds the tokenizer of a GGUF's vocabulary; `origin` names the file in messages.
    ///
    /// # Errors
    /// [`Error::UnknownPreTokenizer`], [`Error::UnknownTokenizerModel`] or [`Error::Vocabulary`].
    pub fn from_gguf(vocabulary: &GgufVocabulary, origin: &str) -> Result<Tokenizer, Error> {
        vocabulary.build(origin)
    }

    /// Encodes text in which control tokens are recognised. Nothing is put before or after it.
    ///
    /// # Errors
    /// [`Error::Tokenize`] or [`Error::TextLost`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.encode_protected(text, &[])?.ids)
    }

    /// Encodes text that stays text: a literal `<|im_end|>` or `<think>` in it never becomes that token.
    ///
    /// # Errors
    /// [`Error::Tokenize`] or [`Error::TextLost`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.encode_protected(text, std::slice::from_ref(&(0..text.len())))?.ids)
    }

    /// Encodes text whose `protected` byte ranges (sorted, disjoint) stay text. If no protected range contains a control token,
    /// everything is encoded at once, so that the ids are those of other tools.
    ///
    /// # Errors
    /// [`Error::Tokenize`]; [`Error::TextLost`] where something of the text is not in the ids.
    ///
    /// # Panics
    /// When a range does not lie on character boundaries of the text.
    pub fn encode_protected(&self, text: &str, protected: &[Range<usize>]) -> Result<Tokenized, Error> {
        let tokenized = self.encode_lossy(text, protected)?;
        self.check_kept(text, &tokenized)?;
        Ok(tokenized)
    }

    /// The number of tokens of a text that stays text; what the vocabulary cannot spell is not counted.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn count_plain(&self, text: &str) -> Result<usize, Error> {
        Ok(self.encode_lossy(text, std::slice::from_ref(&(0..text.len())))?.ids.len())
    }

    /// The ids of what the vocabulary can spell.
    fn encode_lossy(&self, text: &str, protected: &[Range<usize>]) -> Result<Tokenized, Error> {
        let mut pieces = self.split_at_added(text)?;
        let spelled = |(span, id): (Range<usize>, u32)| {
            self.is_control(id) && protected.iter().any(|range| overlaps_visibly(text, &span, range))
        };
        if matches_of(&pieces).into_iter().any(spelled) {
            pieces = self.split_outside(text, protected)?;
        }
        let mut tokenized = self.tokenize_pieces(pieces)?;
        self.spell_out_control(&mut tokenized, text, protected)?;
        Ok(tokenized)
    }

    /// True where the text spells a control token.
    pub fn spells_control(&self, text: &str) -> bool {
        self.first_control(text).is_some()
    }

    /// The first control token that the text spells: its byte span and id.
    pub fn first_control(&self, text: &str) -> Option<(Range<usize>, u32)> {
        // If splitting fails, encoding reports it.
        let pieces = self.split_at_added(text).ok()?;
        matches_of(&pieces).into_iter().find(|&(_, id)| self.is_control(id))
    }

    /// The control tokens that the text spells, in order.
    pub(crate) fn controls(&self, text: &str) -> Vec<(Range<usize>, u32)> {
        let Ok(pieces) = self.split_at_added(text) else { return Vec::new() };
        matches_of(&pieces).into_iter().filter(|&(_, id)| self.is_control(id)).collect()
    }

    /// Decodes ids; those beyond the vocabulary (rows of a padded embedding) give nothing.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        let refuse = |reason: String| Error::Tokenize { what: format!("{} ids to decode", ids.len()), reason };
        self.check_decoded(ids).map_err(refuse)?;
        catch_panic(|| self.decode_ids(ids, skip_special)).and_then(|decoded| decoded).map_err(refuse)
    }

    /// A decoder for ids that arrive one at a time.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder<'_> {
        StreamDecoder::new(self, skip_special)
    }

    /// One more than the largest id. The model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The bytes of text that a token stands for: a part of a character, for some.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        if self.is_byte_level() {
            let mut bytes = Vec::new();
            self.append_bytes(id, &mut bytes);
            return bytes;
        }
        let Some(token) = self.id_to_token(id) else { return Vec::new() };
        // SentencePiece writes bytes without a token of their own as <0xNN>, and spaces as ▁
        let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        match byte.filter(|digits| digits.len() == 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => vec![byte],
            None if self.is_control(id) => token.into_bytes(),
            None => token.replace('▁', " ").into_bytes(),
        }
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as the vocabulary spells it (bytes of a byte-level tokenizer as letters).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether a token is never produced by plain text: those flagged special, and added ones that look like markup (`<think>`,
    /// `<tool_call>`, `[INST]`). Added tokens that are ordinary words or white space are text.
    pub fn is_control(&self, id: u32) -> bool {
        self.control_ids.contains(&id)
    }

    /// True for the tokens that `skip_special` leaves out.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// The token that the file has other tools put before every text. Here nothing is put there unasked.
    pub(crate) fn beginning(&self) -> Option<&str> {
        self.beginning.as_deref()
    }

    /// Adds tokens that are not special (so that decoding shows them) and gives their ids: one that the vocabulary has
    /// keeps its id, new ones follow the vocabulary. With a padded embedding such an id may name a row that exists.
    ///
    /// # Errors
    /// [`Error::AddToken`].
    pub fn add_tokens(&mut self, tokens: &[String]) -> Result<Vec<u32>, Error> {
        let refuse = |token: &str, reason: String| Error::AddToken { token: shortened(token, 80).into_owned(), reason };
        if let Some(blank) = tokens.iter().find(|token| token.trim().is_empty()) {
            let reason = "it has no text; give the text that stands for it, such as \"<think>\"".to_owned();
            return Err(refuse(blank, reason));
        }
        let mut wanted: HashMap<&str, u32> = HashMap::new();
        let (mut ids, mut new, mut missing) = (Vec::with_capacity(tokens.len()), Vec::new(), Vec::new());
        for token in tokens {
            let next = (self.vocabulary_size + new.len()) as u32;
            let id = *wanted.entry(token).or_insert_with(|| {
                let known = self.token_to_id(token);
                if known.is_none() {
                    new.push(next);
                }
                let id = known.unwrap_or(next);
                if !self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id) {
                    missing.push(AddedToken::from(token.as_str(), false).normalized(false));
                }
                id
            });
            ids.push(id);
        }
        // All at once: the library goes over all its added tokens each time.
        if !missing.is_empty() {
            catch_panic(|| self.inner.add_tokens(missing).map_err(|error| error.to_string()))
                .and_then(|added| added)
                .map_err(|reason| refuse(&tokens[0], reason))?;
        }
        for (token, &expected) in tokens.iter().zip(&ids) {
            let given = self.token_to_id(token);
            if given != Some(expected) {
                return Err(refuse(
                    token,
                    format!(
                        "the vocabulary has holes, so that it would get id {given:?} rather than {expected}; use a tokenizer whose ids are dense"
                    ),
                ));
            }
        }
        self.new_ids.extend(new);
        self.count();
        Ok(ids)
    }

    /// True for a token that [`Tokenizer::add_tokens`] made: the model has never seen it, and its embedding means nothing.
    pub fn is_new(&self, id: u32) -> bool {
        self.new_ids.contains(&id)
    }

    /// Ordinary tokens close in meaning to `token`, whose embeddings' mean is a start for its own: the pieces that spell
    /// it today, and single-token words for what it marks ("think", "reasoning" for `<think>`; "answer", "therefore" for
    /// `</think>`; else the word inside the brackets).
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn mean_source_ids(&self, token: &str) -> Result<Vec<u32>, Error> {
        mean_sources::mean_source_ids(self, token)
    }

    /// A hash over everything that decides ids, for caches of encoded rows.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn fingerprint(&self) -> Result<String, Error> {
        Ok(blake3::hash(self.to_json()?.as_bytes()).to_hex().to_string())
    }

    /// The contents of a tokenizer.json.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn to_json(&self) -> Result<String, Error> {
        catch_panic(|| self.inner.to_string(false).map_err(|error| error.to_string()))
            .and_then(|written| written)
            .map_err(|reason| failed("itself, to write it", reason))
    }

    /// The added tokens in order of id: id, text, and whether it is flagged special.
    pub fn added_tokens(&self) -> Vec<(u32, String, bool)> {
        let mut tokens: Vec<_> = self
            .inner
            .get_added_tokens_decoder()
            .iter()
            .map(|(&id, token)| (id, token.content.clone(), token.special))
            .collect();
        tokens.sort_unstable();
        tokens
    }

    pub(crate) fn added_token_settings(&self, id: u32) -> Option<AddedToken> {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id).cloned()
    }

    fn over(
        inner: tokenizers::Tokenizer,
        document: &validate::Document,
        growth: validate::ExpansionFactors,
        origin: &str,
    ) -> Result<Tokenizer, String> {
        let steps = Arc::new(Steps::of(&inner)?);
        let letterless =
            bytes_of_letters().into_iter().filter(|(letter, _)| inner.token_to_id(&letter.to_string()).is_none());
        let letterless = letterless.map(|(_, byte)| byte).collect();
        let unknown_id = document.unknown_id(|token| inner.token_to_id(token));
        let losses = TextLosses::of(&steps, document.has_affixes(), unknown_id, letterless);
        let byte_of_letter = match inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Some(bytes_of_letters()),
            _ => None,
        };
        let mut tokenizer = Tokenizer {
            inner,
            vocabulary_size: 0,
            control_ids: HashSet::new(),
            special_ids: HashSet::new(),
            new_ids: HashSet::new(),
            byte_of_letter,
            steps,
            losses,
            origin: Arc::from(origin),
            beginning: document.post_processor.as_ref().and_then(components::beginning).map(str::to_owned),
            growth,
            longest_token: 0,
        };
        tokenizer.count();
        Ok(tokenizer)
    }

    /// Brings the derived fields in line with the library's tokenizer.
    fn count(&mut self) {
        self.vocabulary_size = 0;
        for (token, id) in self.inner.get_vocab(true) {
            self.vocabulary_size = self.vocabulary_size.max(id as usize + 1);
            self.longest_token = self.longest_token.max(token.len());
        }
        for (id, content, special) in self.added_tokens() {
            if special {
                self.special_ids.insert(id);
            }
            if special || looks_like_markup(&content) {
                self.control_ids.insert(id);
            }
        }
    }

    fn is_byte_level(&self) -> bool {
        self.byte_of_letter.is_some()
    }

    /// The bytes of one token of a byte-level tokenizer. Added tokens are spelt as they are.
    fn append_bytes(&self, id: u32, bytes: &mut Vec<u8>) {
        let Some(token) = self.inner.id_to_token(id) else { return };
        let start = bytes.len();
        let is_added = self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id);
        for letter in token.chars() {
            match self.byte_of_letter.as_ref().and_then(|map| map.get(&letter)).filter(|_| !is_added) {
                Some(&byte) => bytes.push(byte),
                None => {
                    bytes.truncate(start);
                    bytes.extend_from_slice(token.as_bytes());
                    return;
                }
            }
        }
    }
}

fn looks_like_markup(content: &str) -> bool {
    let content = content.trim();
    [('<', '>'), ('[', ']')].into_iter().any(|(open, close)| content.starts_with(open) && content.ends_with(close))
}

/// The letters that byte-level vocabularies write bytes with: printable Latin-1 characters stand for themselves, the
/// other bytes for the characters from U+0100 on, in order.
fn bytes_of_letters() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=u8::MAX)
        .map(|byte| {
            if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..) {
                return (char::from(byte), byte);
            }
            next += 1;
            (char::from_u32(next - 1).unwrap_or_default(), byte)
        })
        .collect()
}
