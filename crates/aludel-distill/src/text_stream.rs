//! From the tokens of an answer to its text, one by one: decoding, stop texts, and the separation of reasoning and answer. Chat, the demo,
//! evaluation, sample answers and the server all use it. The engine supplies the tokens.

use aludel_text::{Piece, StreamDecoder, ThinkTags, ThinkingSplitter, Tokenizer};

/// An answer as it is written.
pub struct TextStream<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopTexts<'a>,
    /// None where all text is the answer.
    splitter: Option<ThinkingSplitter>,
    reasoning: String,
    content: String,
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The reasoning, without blank space around it; none if there is nothing of it.
    pub reasoning: Option<String>,
    /// The answer, without blank space around it.
    pub content: String,
    /// The stop text that ended it, if one did.
    pub stopped_by: Option<String>,
}

impl<'a> TextStream<'a> {
    /// Nothing is written yet. `opens_thinking` says that the prompt ends with the opening tag of reasoning; the text ends before the
    /// first of `stops`.
    pub fn new(tokenizer: &'a Tokenizer, opens_thinking: bool, stops: &'a [String]) -> TextStream<'a> {
        let ThinkTags { open, close } = ThinkTags::default();
        let splitter = match opens_thinking {
            true => ThinkingSplitter::opened(open, close),
            false => ThinkingSplitter::new(open, close),
        };
        TextStream { splitter: Some(splitter), ..TextStream::plain(tokenizer, stops) }
    }

    /// As [`TextStream::new`], for a text in which nothing is told apart as reasoning.
    pub fn plain(tokenizer: &'a Tokenizer, stops: &'a [String]) -> TextStream<'a> {
        TextStream {
            decoder: tokenizer.stream(true),
            stops: StopTexts { stops, held: String::new(), stopped_by: None },
            splitter: None,
            reasoning: String::new(),
            content: String::new(),
        }
    }

    /// Takes the next token; gives the pieces of text that are sure by now.
    pub fn push(&mut self, token: u32) -> Vec<Piece> {
        let Some(text) = self.decoder.push(token) else { return Vec::new() };
        let sure = self.stops.push(&text);
        let pieces = self.split(sure);
        self.keep(pieces)
    }

    fn split(&mut self, text: String) -> Vec<Piece> {
        match &mut self.splitter {
            Some(splitter) => splitter.push(&text),
            None if text.is_empty() => Vec::new(),
            None => vec![Piece::Answer(text)],
        }
    }

    /// Whether a stop text came: nothing that follows belongs to the answer.
    pub fn is_stopped(&self) -> bool {
        self.stops.stopped_by.is_some()
    }

    /// The stop text that came.
    pub fn stopped_by(&self) -> Option<&'a str> {
        self.stops.stopped_by
    }

    /// Ends the answer: the last pieces, and the whole text.
    pub fn finish(mut self) -> (Vec<Piece>, Text) {
        let mut sure = String::new();
        if !self.is_stopped() {
            let rest = self.decoder.finish().unwrap_or_default();
            sure = self.stops.push(&rest);
            sure.push_str(&std::mem::take(&mut self.stops.held));
        }
        let mut pieces = self.split(sure);
        pieces.extend(self.splitter.as_mut().map(ThinkingSplitter::finish).unwrap_or_default());
        let pieces = self.keep(pieces);
        let reasoning = Some(self.reasoning.trim().to_owned()).filter(|reasoning| !reasoning.is_empty());
        let content = self.content.trim().to_owned();
        (pieces, Text { reasoning, content, stopped_by: self.stops.stopped_by.map(str::to_owned) })
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
    stopped_by: Option<&'a str>,
}

impl StopTexts<'_> {
    /// The text that is sure: nothing after a stop text.
    fn push(&mut self, text: &str) -> String {
        if self.stopped_by.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        let stops = self.stops.iter().map(String::as_str).filter(|stop| !stop.is_empty());
        if let Some((at, stop)) =
            stops.filter_map(|stop| Some((self.held.find(stop)?, stop))).min_by_key(|found| found.0)
        {
            self.stopped_by = Some(stop);
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
            let mut texts = StopTexts { stops: &stops, held: String::new(), stopped_by: None };
            let mut got = String::new();
            for piece in pieces {
                got.push_str(&texts.push(piece));
            }
            got.push_str(&texts.held);
            assert_eq!((got.as_str(), texts.stopped_by.is_some()), (expected, expected_stop), "{pieces:?}");
        };
        check(&["a E", "N", "D b"], "a ", true);
        check(&["a E", "N", "d b"], "a ENd b", false);
        check(&["one\n", "\ntwo"], "one", true);
        check(&["EN"], "EN", false);
    }
}
