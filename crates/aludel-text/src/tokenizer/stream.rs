//! Decodes ids one at a time into text that never ends within a character. Byte-level tokenizers are decoded byte by
//! byte; the others through the library, with a window that starts where the last complete text ended.

use super::Tokenizer;

/// An incremental decoder; get one from [`Tokenizer::stream`].
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// Byte-level: bytes that do not form a complete character yet.
    bytes: Vec<u8>,
    /// Otherwise: the ids since the last complete text, and how many of them are already out.
    window: Vec<u32>,
    emitted_ids: usize,
}

/// A character has at most four bytes, so an unfinished one never spans more tokens than this.
const LONGEST_UNFINISHED_IDS: usize = 4;

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> StreamDecoder<'a> {
        StreamDecoder { tokenizer, skip_special, bytes: Vec::new(), window: Vec::new(), emitted_ids: 0 }
    }

    /// Takes the next id; returns the text that is complete by now, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        if self.skip_special && self.tokenizer.is_special(id) {
            return None;
        }
        let text = if self.tokenizer.is_byte_level() { self.push_bytes(id) } else { self.push_window(id) };
        (!text.is_empty()).then_some(text)
    }

    /// Ends the stream; gives what was held back, with U+FFFD for bytes that never became a character.
    pub fn finish(&mut self) -> Option<String> {
        let text = if self.tokenizer.is_byte_level() {
            String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned()
        } else {
            let text = self.window_text(self.window.len());
            self.window.clear();
            self.emitted_ids = 0;
            text
        };
        (!text.is_empty()).then_some(text)
    }

    fn push_bytes(&mut self, id: u32) -> String {
        self.tokenizer.append_bytes(id, &mut self.bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.bytes) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.bytes.clear();
                    return text;
                }
                Err(error) => {
                    let whole_bytes = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.bytes[..whole_bytes]));
                    let Some(wrong_bytes) = error.error_len() else {
                        self.bytes.drain(..whole_bytes);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.bytes.drain(..whole_bytes + wrong_bytes);
                }
            }
        }
    }

    fn push_window(&mut self, id: u32) -> String {
        self.window.push(id);
        let text = self.window_text(self.window.len());
        let unfinished_ids = self.window.len() - self.emitted_ids;
        if text.ends_with(char::REPLACEMENT_CHARACTER) && unfinished_ids < LONGEST_UNFINISHED_IDS {
            return String::new();
        }
        // The ids that just came out stay as context for the next ones: a decoder may treat the first token specially.
        self.window.drain(..self.emitted_ids);
        self.emitted_ids = self.window.len();
        text
    }

    /// The text of `window[emitted_ids..end]` in the context of what is before it.
    fn window_text(&self, end: usize) -> String {
        // What a damaged decoder fails on is shown as lost, and not left out.
        let lost = |_| String::from(char::REPLACEMENT_CHARACTER);
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false).unwrap_or_else(lost);
        let before = decode(&self.window[..self.emitted_ids]);
        let all = decode(&self.window[..end]);
        all.strip_prefix(before.as_str()).unwrap_or(&all).to_owned()
    }
}
