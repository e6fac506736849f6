//! Masks keys in what a server says, in whatever form it repeats them: unchanged, in another case, cut or split by punctuation and
//! white space, escaped, or encoded. Text without a key stays unchanged, byte for byte. `read` reads text in each form; what a key
//! is and where it is sent is described in `secret` and `http`.

mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use super::{Answer, Failure, Finish};
use read::{Letter, letters, unescaped};

/// The replacement for a key.
const MARK: &str = "…";

/// This number of consecutive characters of a key are taken for it: servers show the beginning and the end of a key to identify it.
/// Shorter keys are masked only after `Bearer`, since they could be any word.
const PIECE: usize = 8;

/// The number of characters where they could be a number or a word.
const PLAIN_PIECE: usize = 12;

/// Placeholders that people write where a server requires a key and does not check it.
const PLACEHOLDERS: [&str; 10] = [
    "password",
    "not-needed",
    "notneeded",
    "no-key-required",
    "sk-no-key-required",
    "lm-studio",
    "changeme",
    "placeholder",
    "your-api-key",
    "your_api_key",
];

/// Prefixes of keys of well-known services: they alone reveal nothing.
const PREFIXES: [&str; 5] = ["sk-proj-", "sk-ant-api03-", "sk-or-v1-", "sk-svcacct-", "github_pat_"];

/// Minimum length of a key after such a prefix.
const BEHIND_PREFIX: usize = 4;

/// Finds keys in text.
#[derive(Default)]
pub(super) struct Mask {
    /// Letters and digits of each key, in lower case.
    keys: Vec<Key>,
    /// All substrings of the keys' letters and digits.
    pieces: Pieces,
    /// All substrings of the keys themselves, for decoded text.
    encoded: Pieces,
}

/// A key to search for.
struct Key {
    letters: Vec<u8>,
    /// Its words: runs of letters between punctuation or digits.
    words: HashSet<Vec<u8>>,
    /// Only the whole key counts, and no substring.
    is_whole: bool,
}

/// [`PIECE`] consecutive bytes, as one number.
type Piece = u64;

/// A set of substrings, with a filter before it that rejects most look-ups.
#[derive(Default)]
struct Pieces {
    all: HashSet<Piece>,
    filter: Vec<u64>,
}

impl Pieces {
    fn add(&mut self, bytes: &[u8]) {
        self.filter.resize(1024, 0);
        for window in bytes.array_windows::<PIECE>() {
            let piece = u64::from_be_bytes(*window);
            let [word, bit] = Pieces::place(piece);
            self.filter[word] |= 1 << bit;
            self.all.insert(piece);
        }
    }

    fn holds(&self, piece: Piece) -> bool {
        let [word, bit] = Pieces::place(piece);
        self.filter.get(word).is_some_and(|bits| bits >> bit & 1 == 1) && self.all.contains(&piece)
    }

    fn place(piece: Piece) -> [usize; 2] {
        let hash = piece.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        [(hash >> 6) as usize, (hash & 63) as usize]
    }
}

impl Mask {
    /// Masks a key and its substrings from now on.
    pub(super) fn add_key(&mut self, key: &str) {
        self.add(key, false);
    }

    /// Masks a text from now on, only as a whole: a header's value that need not be secret.
    pub(super) fn add_whole(&mut self, text: &str) {
        self.add(text, true);
    }

    fn add(&mut self, key: &str, is_whole: bool) {
        let key = key.trim();
        if PLACEHOLDERS.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(key)) {
            return;
        }
        let letters = only_letters(key.as_bytes());
        if letters.len() < PIECE {
            // It could be any word, except after this one.
            let mut shown = b"bearer".to_vec();
            shown.extend(&letters);
            if !letters.is_empty() && shown.len() >= PIECE {
                self.pieces.add(&shown);
                self.keys.push(Key { letters: shown, words: HashSet::new(), is_whole: true });
            }
            return;
        }
        let words = key.split(|letter: char| !letter.is_ascii_alphabetic()).map(|word| only_letters(word.as_bytes()));
        self.pieces.add(&letters);
        if !is_whole {
            self.encoded.add(key.as_bytes());
        }
        self.keys.push(Key { letters, words: words.collect(), is_whole });
    }

    /// The text with keys masked.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.found(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            masked.push_str(&text[end..range.start]);
            masked.push_str(MARK);
            end = range.end;
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }

    /// An answer with keys masked. Log probabilities of tokens that spell a key are removed completely.
    pub(super) fn answer(&self, mut answer: Answer) -> Answer {
        let mut is_changed = self.change(&mut answer.content);
        if let Some(reasoning) = &mut answer.reasoning {
            is_changed |= self.change(reasoning);
        }
        for words in &mut answer.unread {
            self.change(words);
        }
        if let Some(model) = &mut answer.model {
            self.change(model);
        }
        if let Finish::Other(words) = &mut answer.finish {
            self.change(words);
        }
        if let Some(logprobs) = &mut answer.logprobs {
            let mut spelt = String::new();
            spell(logprobs, &mut spelt);
            if is_changed || !self.found(&spelt).is_empty() {
                answer.logprobs = None;
            } else {
                self.value(logprobs);
            }
        }
        answer
    }

    /// A failure with keys masked in its message.
    pub(super) fn failure(&self, mut failure: Failure) -> Failure {
        let (Failure::Busy { words, .. }
        | Failure::Broken { words }
        | Failure::Question { words, .. }
        | Failure::Refused { words, .. }) = &mut failure;
        self.change(words);
        failure
    }

    fn change(&self, text: &mut String) -> bool {
        let Cow::Owned(masked) = self.text(text) else { return false };
        *text = masked;
        true
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                self.change(text);
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => {
                if fields.keys().any(|name| !self.found(name).is_empty()) {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(name, value)| (self.text(&name).into_owned(), value))
                        .collect();
                }
                fields.values_mut().for_each(|value| self.value(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The ranges of keys, in order and disjoint.
    fn found(&self, text: &str) -> Vec<Range<usize>> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.find(letters(text), &mut found);
        if text.contains(['%', '\\', '&']) {
            // Escaped text may have been escaped twice.
            self.find(unescaped(letters(text)), &mut found);
            self.find(unescaped(unescaped(letters(text))), &mut found);
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }

    fn find(&self, letters: impl Iterator<Item = Letter>, found: &mut Vec<Range<usize>>) {
        let mut plain = Run::default();
        let mut base64 = read::Base64::default();
        let mut hex = read::Hex::default();
        for letter in letters {
            if let Some(pieces) = base64.next(&letter) {
                found
                    .extend(pieces.into_iter().filter(|(piece, _)| self.encoded.holds(*piece)).map(|(_, range)| range));
            }
            if let Some((piece, range)) = hex.next(&letter) {
                found.extend(self.encoded.holds(piece).then_some(range));
            }
            match letter.letter {
                c if c.is_ascii_alphanumeric() => {
                    let is_piece = plain.next(c.to_ascii_lowercase() as u8, &letter.at, &self.pieces);
                    if !is_piece {
                        found.extend(plain.end().filter(|(piece, _)| self.counts(piece)).map(|(_, range)| range));
                    }
                }
                // No key continues after a letter of another script, or after a masked key.
                c if c.is_alphanumeric() || c == '…' => {
                    found.extend(plain.end().filter(|(piece, _)| self.counts(piece)).map(|(_, range)| range));
                    plain = Run::default();
                }
                // Anything between letters may have been inserted.
                _ => {}
            }
        }
        found.extend(plain.end().filter(|(piece, _)| self.counts(piece)).map(|(_, range)| range));
    }

    /// Whether consecutive letters of a key are enough to reveal it.
    fn counts(&self, piece: &[u8]) -> bool {
        let is_of = |key: &&Key| key.letters.windows(piece.len()).any(|window| window == piece);
        if !self.keys.iter().any(|key| is_of(&key)) {
            // Overlapping substrings, of one key or of two.
            return piece.len() >= PLAIN_PIECE && self.keys.iter().any(|key| !key.is_whole);
        }
        self.keys.iter().filter(is_of).any(|key| {
            if piece.len() == key.letters.len() {
                return true;
            }
            let is_prefix = PREFIXES.iter().map(|prefix| only_letters(prefix.as_bytes())).any(|prefix| {
                prefix.starts_with(piece)
                    || piece.strip_prefix(&*prefix).is_some_and(|behind| behind.len() < BEHIND_PREFIX)
            });
            let is_plain = piece.iter().all(u8::is_ascii_digit) || key.words.contains(piece);
            !key.is_whole && !is_prefix && (!is_plain || piece.len() >= PLAIN_PIECE)
        })
    }
}

/// Consecutive letters and digits, and the substring of a key that they are in.
#[derive(Default)]
struct Run {
    /// The last [`PIECE`] of them, with their positions.
    last: u64,
    at: [Range<usize>; PIECE],
    count: usize,
    piece: Option<(Vec<u8>, Range<usize>)>,
}

impl Run {
    /// Adds a letter. Returns whether it belongs to a substring of a key.
    fn next(&mut self, letter: u8, at: &Range<usize>, pieces: &Pieces) -> bool {
        self.last = self.last << 8 | u64::from(letter);
        self.at[self.count % PIECE] = at.clone();
        self.count += 1;
        if self.count < PIECE || !pieces.holds(self.last) {
            return false;
        }
        let start = self.at[self.count % PIECE].start;
        match &mut self.piece {
            Some((piece, range)) => {
                piece.push(letter);
                range.end = at.end;
            }
            None => self.piece = Some((self.last.to_be_bytes().to_vec(), start..at.end)),
        }
        true
    }

    /// The substring that has ended, if there is one.
    fn end(&mut self) -> Option<(Vec<u8>, Range<usize>)> {
        self.piece.take()
    }
}

fn only_letters(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|letter| letter.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// The tokens of log probabilities, concatenated.
fn spell(value: &Value, into: &mut String) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| spell(value, into)),
        Value::Object(fields) => {
            into.push_str(fields.get("token").and_then(Value::as_str).unwrap_or_default());
            fields.iter().filter(|(name, _)| *name != "top_logprobs").for_each(|(_, value)| spell(value, into));
        }
        _ => {}
    }
}
