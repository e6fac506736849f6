//! From the tokens of an answer to its text, one by one: decoding, stop texts, and the separation of reasoning and answer. Chat, the demo,
//! evaluation and sample answers all use it. The engine supplies the tokens.

use aludel_text::{Piece, StreamDecoder, ThinkTags, ThinkingSplitter, Tokenizer};

/// An answer as it is written.
pub(crate) struct TextStream<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopTexts<'a>,
    splitter: ThinkingSplitter,
    reasoning: String,
    content: String,
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The reasoning, without blank space around it; none if there is nothing of it.
    pub(crate) reasoning: Option<String>,
    /// The answer, without blank space around it.
    pub(crate) content: String,
    /// Whether a stop text ended it.
    pub(crate) is_stopped: bool,
}

impl<'a> TextStream<'a> {
    /// Nothing is written yet. `opens_thinking` says that the prompt ends with the opening tag of reasoning; the text ends before the
    /// first of `stops`.
    pub(crate) fn new(tokenizer: &'a Tokenizer, opens_thinking: bool, stops: &'a [String]) -> TextStream<'a> {
        let ThinkTags { open, close } = ThinkTags::default();
        let splitter = match opens_thinking {
            true => ThinkingSplitter::opened(open, close),
            false => ThinkingSplitter::new(open, close),
        };
        let stops = StopTexts { stops, held: String::new(), is_stopped: false };
        TextStream {
            decoder: tokenizer.stream(true),
            stops,
            splitter,
            reasoning: String::new(),
            content: String::new(),
        }
    }

    /// Takes the next token; gives the pieces of text that are sure by now.
    pub(crate) fn push(&mut self, token: u32) -> Vec<Piece> {
        let Some(text) = self.decoder.push(token) else { return Vec::new() };
        let sure = self.stops.push(&text);
        let pieces = self.splitter.push(&sure);
        self.keep(pieces)
    }

    /// Whether a stop text came: nothing that follows belongs to the answer.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stops.is_stopped
    }

    /// Ends the answer: the last pieces, and the whole text.
    pub(crate) fn finish(mut self) -> (Vec<Piece>, Text) {
        let mut sure = String::new();
        if !self.stops.is_stopped {
            let rest = self.decoder.finish().unwrap_or_default();
            sure = self.stops.push(&rest);
            sure.push_str(&std::mem::take(&mut self.stops.held));
        }
        let mut pieces = self.splitter.push(&sure);
        pieces.extend(self.splitter.finish());
        let pieces = self.keep(pieces);
        let reasoning = Some(self.reasoning.trim().to_owned()).filter(|reasoning| !reasoning.is_empty());
        let content = self.content.trim().to_owned();
        (pieces, Text { reasoning, content, is_stopped: self.stops.is_stopped })
    }

    fn keep(&mut self, pieces: Vec<Piece>) -> Vec<Piece> {
        for piece in &pieces {
            match piece {
                Piece::Reasoning(text) => self.reasoning.push_str(text),
                Piece::Answer(text) => self.content.push_str(text),
            }
        }
        pieces
    }
}

/// The text of an answer that has ended, without the token that ended it.
pub(crate) fn text_of(tokenizer: &Tokenizer, tokens: &[u32], opens_thinking: bool) -> Text {
    let mut stream = TextStream::new(tokenizer, opens_thinking, &[]);
    for &token in tokens {
        stream.push(token);
    }
    stream.finish().1
}

/// Holds back text that may be the beginning of a stop text.
struct StopTexts<'a> {
    stops: &'a [String],
    held: String,
    is_stopped: bool,
}

impl StopTexts<'_> {
    /// The text that is sure: nothing after a stop text.
    fn push(&mut self, text: &str) -> String {
        if self.is_stopped {
            return String::new();
        }
        self.held.push_str(text);
        let found =
            self.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.is_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let is_open = |at: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let keep = self.held.char_indices().map(|(at, _)| at).find(|&at| is_open(at)).unwrap_or(self.held.len());
        let sure = self.held[..keep].to_owned();
        self.held.drain(..keep);
        sure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_found_across_pieces_and_nothing_else_is_lost() {
        let stops = ["END".to_owned(), "\n\n".to_owned()];
        let check = |pieces: &[&str], expected: &str, expected_stop: bool| {
            let mut texts = StopTexts { stops: &stops, held: String::new(), is_stopped: false };
            let mut got = String::new();
            for piece in pieces {
                got.push_str(&texts.push(piece));
            }
            got.push_str(&texts.held);
            assert_eq!((got.as_str(), texts.is_stopped), (expected, expected_stop), "{pieces:?}");
        };
        check(&["a E", "N", "D b"], "a ", true);
        check(&["a E", "N", "d b"], "a ENd b", false);
        check(&["one\n", "\ntwo"], "one", true);
        check(&["EN"], "EN", false);
    }
}
