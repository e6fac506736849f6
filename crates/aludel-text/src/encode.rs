//! The one way from messages to ids, for training, evaluation and chat alike: render the template, find out which bytes
//! are content, place the reasoning, tokenise so that content stays content, and give each token a weight. A training
//! row holds the context exactly as a chat would show it to the model; turns with different contexts become rows of
//! their own.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::message::Message;
use crate::template::{ChatTemplate, Date};
use crate::thinking::ThinkTags;
use crate::tokenizer::Tokenizer;

mod calls;
mod control_tokens;
mod locate;
mod row;
mod texts;

use row::Renderer;

/// Replaces a turn that the template would take apart.
const STAND_IN: &str = "\u{E0B2}";

/// What the ids are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A prompt: ends with the generation prompt.
    Prompt {
        /// Ends with the opening reasoning tag, where the template's own prompt does not.
        open_thinking: bool,
    },
    /// A training row: the assistant's turns are supervised.
    Train,
}

/// Which tokens of a training row are supervised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// The assistant's reasoning, answer and end of turn.
    #[default]
    Assistant,
    /// The answer and end of turn only.
    Answer,
    /// Every token but the first, prompt and markup included.
    All,
}

/// How to encode.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodeOptions {
    /// What the ids are for.
    pub purpose: Purpose,
    /// Which tokens are supervised, in training rows.
    pub loss_on: LossOn,
    /// The tags around reasoning.
    pub think: ThinkTags,
    /// The date for templates that request it. Without one, a template that checks for the function falls back to its
    /// own date, and one that simply calls it is an error.
    pub date: Option<Date>,
    /// Variables for the template (`enable_thinking`, `tools`, …).
    pub variables: Map<String, Value>,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            purpose: Purpose::Train,
            loss_on: LossOn::default(),
            think: ThinkTags::default(),
            date: None,
            variables: Map::new(),
        }
    }
}

impl EncodeOptions {
    /// Options for a training row.
    pub fn train(loss_on: LossOn) -> EncodeOptions {
        EncodeOptions { loss_on, ..EncodeOptions::default() }
    }

    /// Options for a prompt.
    pub fn prompt(open_thinking: bool) -> EncodeOptions {
        EncodeOptions { purpose: Purpose::Prompt { open_thinking }, ..EncodeOptions::default() }
    }
}

/// What a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The template's own text.
    Markup,
    /// A system message.
    System,
    /// A user message.
    User,
    /// A tool's result.
    Tool,
    /// An earlier assistant turn that is context only.
    Assistant,
    /// Reasoning of a supervised turn, with its tags.
    Reasoning,
    /// Answer of a supervised turn, with the calls of tools.
    Answer,
    /// The end of a supervised turn.
    EndOfTurn,
}

/// Where the parts of a trained turn are in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Index of the message, from 0.
    pub message: usize,
    /// Reasoning with its tags and the white space around them; empty where there is none.
    pub reasoning: Range<usize>,
    /// The closing tag; empty where there is none.
    pub close: Range<usize>,
    /// The answer.
    pub answer: Range<usize>,
    /// White space and token that end the turn.
    pub end_of_turn: Range<usize>,
}

/// A row of ids with information on each.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The rendered text.
    pub text: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Per token: its weight in the loss, which is that of its message, usually 1, or 0. The first is always 0: nothing predicts
    /// it.
    pub weights: Vec<f32>,
    /// Per token: its bytes in `text`. Tokens of one character share its span.
    pub spans: Vec<Range<usize>>,
    /// Per token: what it belongs to.
    pub parts: Vec<Part>,
    /// The supervised turns; empty for a prompt.
    pub turns: Vec<Turn>,
    /// The text ends inside an opened reasoning block.
    pub opens_thinking: bool,
}

impl Encoded {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True for a row without tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of supervised tokens.
    pub fn supervised(&self) -> usize {
        self.weights.iter().filter(|&&weight| weight > 0.0).count()
    }
}

/// Encodes messages. A prompt gives one row. For training, turns share a row as long as the context of the later one
/// begins with the row of the earlier one; where it does not (a template that deletes reasoning from past turns), each
/// turn is a row of its own. Messages after the last assistant turn are left out of training rows, and so are those after the
/// last turn that counts; what a message counts is what its tokens count.
///
/// # Errors
/// [`Error::BadMessages`], [`Error::NothingSupervised`], the template's errors, [`Error::ContentRewritten`], [`Error::TurnNotRendered`],
/// [`Error::TurnNotLast`], [`Error::Tokenize`] or [`Error::TextLost`].
pub fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Vec<Encoded>, Error> {
    if messages.is_empty() {
        return Err(Error::BadMessages { what: "no messages".to_owned(), needed: "at least a user message" });
    }
    let renderer = Renderer::new(template, tokenizer, options, messages);
    let renderings = match options.purpose {
        Purpose::Prompt { open_thinking } => vec![renderer.prompt(messages, open_thinking)?],
        Purpose::Train => renderer.training_rows(messages)?,
    };
    renderings.into_iter().map(|rendering| renderer.tokenize(rendering)).collect()
}

/// The texts of the rows that [`encode()`] would make of a conversation for training, without the work of tokenising them.
///
/// # Errors
/// As [`encode()`], but for [`Error::Tokenize`] and [`Error::TextLost`].
pub fn render(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Vec<String>, Error> {
    let rows = Renderer::new(template, tokenizer, options, messages).training_rows(messages)?;
    Ok(rows.into_iter().map(|row| row.text).collect())
}

/// Encodes plain text for training on all of it: no template, and nothing in it becomes a control token. The tokens
/// `before` (a beginning-of-text token) and `after` (an end-of-text token) are put around it.
///
/// # Errors
/// [`Error::Tokenize`] or [`Error::TextLost`].
pub fn encode_text(
    tokenizer: &Tokenizer,
    text: &str,
    before: Option<u32>,
    after: Option<u32>,
) -> Result<Encoded, Error> {
    let tokenized = tokenizer.encode_protected(text, std::slice::from_ref(&(0..text.len())))?;
    let mut encoded = Encoded {
        text: text.to_owned(),
        weights: vec![1.0; tokenized.ids.len()],
        parts: vec![Part::Answer; tokenized.ids.len()],
        ids: tokenized.ids,
        spans: tokenized.spans,
        turns: Vec::new(),
        opens_thinking: false,
    };
    if let Some(id) = before {
        encoded.ids.insert(0, id);
        encoded.weights.insert(0, 1.0);
        encoded.parts.insert(0, Part::Markup);
        encoded.spans.insert(0, 0..0);
    }
    if let Some(id) = after {
        encoded.ids.push(id);
        encoded.weights.push(1.0);
        encoded.parts.push(Part::EndOfTurn);
        encoded.spans.push(text.len()..text.len());
    }
    if let Some(first) = encoded.weights.first_mut() {
        *first = 0.0;
    }
    Ok(encoded)
}

/// The token that ends an assistant's turn in this template, for a generator to stop at.
///
/// # Errors
/// As [`encode()`].
pub fn end_of_turn_id(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    options: &EncodeOptions,
) -> Result<Option<u32>, Error> {
    let messages = [Message::user("?"), Message::assistant("!")];
    let options = EncodeOptions { purpose: Purpose::Train, ..options.clone() };
    let rows = encode(template, tokenizer, &messages, &options)?;
    let row = rows.last();
    Ok(row.and_then(|row| {
        let mut tokens = row.ids.iter().zip(&row.parts);
        tokens.find(|&(&id, &part)| part == Part::EndOfTurn && tokenizer.is_control(id)).map(|(&id, _)| id)
    }))
}
