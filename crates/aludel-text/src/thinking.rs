//! Splits text into reasoning and answer at its tags, as it streams; `inline` does so for complete, untrusted answers.
//! Every byte that is not part of a tag is returned once, in order; tags may be split over chunks, and the opening tag
//! may be missing. Trimming the blank lines around the tags is left to the caller, who knows whether more text follows.

mod code;
mod inline;
mod tags;

pub use inline::{InlineReasoning, bare, inline};
pub use tags::{LeadingTag, is_reasoning_word, leading_tag};

use serde::{Deserialize, Serialize};

/// The pair of tags around reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThinkTags {
    /// Before the reasoning.
    pub open: String,
    /// After the reasoning.
    pub close: String,
}

impl Default for ThinkTags {
    fn default() -> ThinkTags {
        ThinkTags { open: "<think>".to_owned(), close: "</think>".to_owned() }
    }
}

/// A stretch of streamed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text between the tags.
    Reasoning(String),
    /// Text after them, or all text where there are none.
    Answer(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Only white space so far: an opening tag may follow.
    Start,
    Reasoning,
    Answer,
}

/// Splits text as it streams in. Only one reasoning block is recognised, at the start; later tags are ordinary text.
#[derive(Debug, Clone)]
pub struct ThinkingSplitter {
    tags: ThinkTags,
    state: State,
    /// What text without an opening tag is.
    otherwise: State,
    held: String,
}

impl ThinkingSplitter {
    /// A splitter for text that may open with `open`.
    ///
    /// # Panics
    /// When a tag is empty.
    pub fn new(open: impl Into<String>, close: impl Into<String>) -> ThinkingSplitter {
        let tags = ThinkTags { open: open.into(), close: close.into() };
        assert!(!tags.open.is_empty() && !tags.close.is_empty(), "a tag must have text");
        ThinkingSplitter { tags, state: State::Start, otherwise: State::Answer, held: String::new() }
    }

    /// A splitter for the text after a prompt that ended with the opening tag: it starts inside the reasoning, and an opening tag
    /// that the model repeats is ignored.
    pub fn opened(open: impl Into<String>, close: impl Into<String>) -> ThinkingSplitter {
        let mut splitter = ThinkingSplitter::new(open, close);
        splitter.otherwise = State::Reasoning;
        splitter
    }

    /// Whether the text so far is inside the reasoning.
    pub fn is_reasoning(&self) -> bool {
        self.settled() == State::Reasoning
    }

    /// Adds the next chunk and returns what is certain by now.
    pub fn push(&mut self, chunk: &str) -> Vec<Piece> {
        self.held.push_str(chunk);
        let mut pieces = Vec::new();
        if self.state == State::Start {
            self.leave_start(&mut pieces);
        }
        if self.state == State::Reasoning {
            self.read_reasoning(&mut pieces);
        }
        if self.state == State::Answer && !self.held.is_empty() {
            pieces.push(Piece::Answer(std::mem::take(&mut self.held)));
        }
        pieces
    }

    /// Ends the text and returns the rest.
    pub fn finish(&mut self) -> Vec<Piece> {
        let rest = std::mem::take(&mut self.held);
        if rest.is_empty() {
            return Vec::new();
        }
        vec![if self.is_reasoning() { Piece::Reasoning(rest) } else { Piece::Answer(rest) }]
    }

    /// Decides between reasoning and answer as soon as the first visible text allows it. White space before the opening tag belongs
    /// to the reasoning, so that no byte is lost.
    fn leave_start(&mut self, pieces: &mut Vec<Piece>) {
        let visible = self.held.trim_start();
        let blank_bytes = self.held.len() - visible.len();
        if visible.starts_with(self.tags.open.as_str()) {
            if blank_bytes > 0 {
                pieces.push(Piece::Reasoning(self.held[..blank_bytes].to_owned()));
            }
            self.held.drain(..blank_bytes + self.tags.open.len());
            self.state = State::Reasoning;
        } else if !self.tags.open.starts_with(visible) {
            self.state = self.otherwise;
        }
    }

    fn settled(&self) -> State {
        if self.state == State::Start { self.otherwise } else { self.state }
    }

    fn read_reasoning(&mut self, pieces: &mut Vec<Piece>) {
        if let Some(at) = self.held.find(self.tags.close.as_str()) {
            if at > 0 {
                pieces.push(Piece::Reasoning(self.held[..at].to_owned()));
            }
            self.held.drain(..at + self.tags.close.len());
            self.state = State::Answer;
            return;
        }
        let certain_bytes = self.held.len() - torn_tag_bytes(&self.held, &self.tags.close);
        if certain_bytes > 0 {
            pieces.push(Piece::Reasoning(self.held[..certain_bytes].to_owned()));
            self.held.drain(..certain_bytes);
        }
    }
}

/// Length of the longest end of `text` that a `tag` could start with.
fn torn_tag_bytes(text: &str, tag: &str) -> usize {
    (1..tag.len()).rev().find(|&bytes| tag.is_char_boundary(bytes) && text.ends_with(&tag[..bytes])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(mut splitter: ThinkingSplitter, chunks: &[&str]) -> (String, String) {
        let (mut reasoning, mut answer) = (String::new(), String::new());
        let mut take = |pieces: Vec<Piece>| {
            for piece in pieces {
                match piece {
                    Piece::Reasoning(text) => reasoning.push_str(&text),
                    Piece::Answer(text) => answer.push_str(&text),
                }
            }
        };
        for chunk in chunks {
            take(splitter.push(chunk));
        }
        take(splitter.finish());
        (reasoning, answer)
    }

    fn check(opened: bool, chunks: &[&str], reasoning: &str, answer: &str) {
        let splitter = if opened {
            ThinkingSplitter::opened("<think>", "</think>")
        } else {
            ThinkingSplitter::new("<think>", "</think>")
        };
        assert_eq!(run(splitter, chunks), (reasoning.to_owned(), answer.to_owned()), "{chunks:?}");
    }

    #[test]
    fn streams() {
        check(false, &["<think>a</think>b"], "a", "b");
        check(false, &["<th", "ink>", "a</", "thi", "nk>b"], "a", "b");
        check(false, &["plain <think>x</think>"], "", "plain <think>x</think>");
        check(false, &["<thing"], "", "<thing");
        check(false, &["<thi"], "", "<thi");
        check(false, &["\n", "<think>", "a"], "\na", "");
        check(true, &["a", "</think>", "b</think>c"], "a", "b</think>c");
        check(true, &["a</thin", "g></think>b"], "a</thing>", "b");
        check(true, &["<thi", "nk>\na</think>b"], "\na", "b");
        check(true, &["<thi"], "<thi", "");
        check(true, &["never closed </"], "never closed </", "");
        check(false, &[], "", "");
    }

    proptest! {
        /// However the text is cut into chunks, the pieces are those of the whole text, and no byte is lost or doubled.
        #[test]
        fn chunks_do_not_matter(parts in proptest::collection::vec(
            prop_oneof![Just("<think>".to_owned()), Just("</think>".to_owned()), "[<>/thinké\n ]{0,6}"], 0..8),
            cuts in proptest::collection::vec(0usize..64, 0..8), opened: bool) {
            let text = parts.concat();
            let mut bounds: Vec<usize> =
                cuts.into_iter().filter(|&cut| cut <= text.len() && text.is_char_boundary(cut)).collect();
            bounds.extend([0, text.len()]);
            bounds.sort_unstable();
            let chunks: Vec<&str> = bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let make = || if opened {
                ThinkingSplitter::opened("<think>", "</think>")
            } else {
                ThinkingSplitter::new("<think>", "</think>")
            };
            let (reasoning, answer) = run(make(), &chunks);
            prop_assert_eq!(run(make(), &[&text]), (reasoning.clone(), answer.clone()));
            let tag_bytes = text.len() - reasoning.len() - answer.len();
            prop_assert!([0, 7, 8, 15].contains(&tag_bytes), "{} bytes vanished", tag_bytes);
        }
    }
}
