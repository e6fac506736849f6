//! The one way from messages to ids, for training, evaluation and chat alike: render the template, find out which bytes
//! are content, place the reasoning, tokenise so that content stays content, and weigh each token. A training row holds
//! the context exactly as a chat would show it to the model, so that turns whose context differs become rows of their own.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::message::{Message, Role};
use crate::template::{ChatTemplate, Date, Surroundings, TurnForm};
use crate::thinking::ThinkTags;
use crate::tokenizer::Tokenizer;

mod marks;

use marks::{Found, Marks};

/// What the ids are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The model is to go on: ends with the generation prompt.
    Prompt {
        /// Ends with the opening reasoning tag, where the template's own prompt does not.
        open_thinking: bool,
    },
    /// The model is to learn the assistant's turns.
    Train,
}

/// Which tokens of a training row count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// The assistant's reasoning, answer and end of turn.
    #[default]
    Assistant,
    /// The answer and end of turn only.
    Answer,
    /// Every token but the first, prompt and markup too.
    All,
}

/// How to encode.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodeOptions {
    /// What the ids are for.
    pub purpose: Purpose,
    /// Which tokens count, when training.
    pub loss_on: LossOn,
    /// The tags around reasoning.
    pub think: ThinkTags,
    /// The date for templates that ask for it. Without one, a template that asks whether it can ask falls back to its
    /// own date, and one that just asks is an error.
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
    /// Reasoning of a turn that is learnt, with its tags.
    Reasoning,
    /// Answer of a turn that is learnt.
    Answer,
    /// What ends a turn that is learnt.
    EndOfTurn,
}

/// Where the parts of a learnt turn stand in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Place of the message, from 0.
    pub message: usize,
    /// Reasoning with its tags and the blanks around them; empty where there is none.
    pub reasoning: Range<usize>,
    /// The closing tag; empty where there is none.
    pub close: Range<usize>,
    /// The answer.
    pub answer: Range<usize>,
    /// Blanks and token that end the turn.
    pub end_of_turn: Range<usize>,
}

/// A row of ids with what is known about each.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The rendered text.
    pub text: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Per token: whether it counts as a target (1) or not (0). The first never does: nothing predicts it.
    pub weights: Vec<f32>,
    /// Per token: its bytes in `text`. Tokens of one character share its span.
    pub spans: Vec<Range<usize>>,
    /// Per token: what it belongs to.
    pub parts: Vec<Part>,
    /// The learnt turns; empty for a prompt.
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
/// turn is a row of its own. Messages after the last assistant turn are left out of training rows.
///
/// # Errors
/// [`Error::BadMessages`], the template's errors, [`Error::ContentRewritten`], [`Error::TurnNotRendered`],
/// [`Error::TurnNotLast`] or [`Error::Tokenize`].
pub fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Vec<Encoded>, Error> {
    if messages.is_empty() {
        return Err(Error::BadMessages { what: "no messages".to_owned(), needed: "at least a user message" });
    }
    let renderer = Renderer { template, tokenizer, options };
    let renderings = match options.purpose {
        Purpose::Prompt { open_thinking } => vec![renderer.prompt(messages, open_thinking)?],
        Purpose::Train => renderer.training_rows(messages)?,
    };
    renderings.into_iter().map(|rendering| renderer.tokenize(rendering)).collect()
}

/// The texts of the rows that [`encode()`] would make of a conversation for training, without the work of tokenising them.
///
/// # Errors
/// As [`encode()`], but for [`Error::Tokenize`].
pub fn render(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Vec<String>, Error> {
    let rows = Renderer { template, tokenizer, options }.training_rows(messages)?;
    Ok(rows.into_iter().map(|row| row.text).collect())
}

/// Encodes plain text for training on all of it: no template, and nothing in it becomes a control token. The tokens
/// `before` (a beginning-of-text token) and `after` (an end-of-text token) are put around it.
///
/// # Errors
/// [`Error::Tokenize`].
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

/// A stretch of rendered text that is not the template's own.
#[derive(Debug, Clone)]
struct Stretch {
    range: Range<usize>,
    part: Part,
    /// Nothing in it may become a control token.
    protected: bool,
}

#[derive(Debug, Clone, Default)]
struct Rendering {
    text: String,
    /// In order, apart from each other.
    stretches: Vec<Stretch>,
    turns: Vec<Turn>,
}

struct Renderer<'a> {
    template: &'a ChatTemplate,
    tokenizer: &'a Tokenizer,
    options: &'a EncodeOptions,
}

impl Renderer<'_> {
    fn prompt(&self, messages: &[Message], open_thinking: bool) -> Result<Rendering, Error> {
        let marks = Marks::new(messages, None, self.template.source());
        let text = self.template.render(marks.messages(), self.surroundings(true))?;
        let mut rendering = self.find_contents(&marks, &text)?.0;
        if open_thinking && !self.ends_opened(&rendering.text) {
            rendering.text.push_str(&self.form().open);
        }
        Ok(rendering)
    }

    fn training_rows(&self, messages: &[Message]) -> Result<Vec<Rendering>, Error> {
        let turns: Vec<usize> = (0..messages.len()).filter(|&index| messages[index].role == Role::Assistant).collect();
        if turns.is_empty() {
            return Err(Error::BadMessages {
                what: "no assistant message".to_owned(),
                needed: "an assistant's answer to learn from",
            });
        }
        let mut rows: Vec<Rendering> = Vec::new();
        for index in turns {
            let mut row = self.training_row(&messages[..=index], index)?;
            if let Some(earlier) = rows.last()
                && row.text.starts_with(earlier.text.as_str())
            {
                let shared_bytes = earlier.text.len();
                row.stretches.retain(|stretch| stretch.range.start >= shared_bytes);
                row.stretches.splice(..0, earlier.stretches.iter().cloned());
                row.turns.splice(..0, earlier.turns.iter().cloned());
                rows.pop();
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Renders the messages up to an assistant's turn, with that turn as the model is to write it.
    fn training_row(&self, messages: &[Message], index: usize) -> Result<Rendering, Error> {
        let marks = Marks::new(messages, Some(index), self.template.source());
        let text = self.template.render(marks.messages(), self.surroundings(false))?;
        let (mut rendering, places) = self.find_contents(&marks, &text)?;
        let &[place] = places.as_slice() else {
            return Err(Error::TurnNotRendered { index, times: places.len() });
        };
        if rendering.stretches.iter().any(|stretch| stretch.range.end > place) {
            return Err(Error::TurnNotLast { index });
        }
        let trailing = rendering.text.split_off(place);
        self.place_turn(&mut rendering, &messages[index], index, &trailing);
        Ok(rendering)
    }

    /// Writes the learnt turn: reasoning in its tags, the answer, and what ends the turn.
    fn place_turn(&self, rendering: &mut Rendering, message: &Message, index: usize, trailing: &str) {
        let form = self.form();
        let reasoning = message.reasoning.as_deref().map(|text| text.trim_matches('\n')).unwrap_or_default();
        let mut answer = message.content.as_str();
        if form.trims_end {
            answer = answer.trim_end();
        }
        let mut turn = Turn { message: index, reasoning: 0..0, close: 0..0, answer: 0..0, end_of_turn: 0..0 };
        let has_empty_block = !form.empty_reasoning.is_empty() && rendering.text.ends_with(&form.empty_reasoning);
        if reasoning.trim().is_empty() {
            if has_empty_block {
                // The generation prompt stops before it: the model has to write the block itself.
                let end = rendering.text.len();
                turn.reasoning = end - form.empty_reasoning.len()..end;
                rendering.stretches.push(Stretch {
                    range: turn.reasoning.clone(),
                    part: Part::Reasoning,
                    protected: false,
                });
            } else {
                turn.reasoning = rendering.text.len()..rendering.text.len();
            }
            if form.trims_start {
                answer = answer.trim_start();
            }
        } else {
            if has_empty_block {
                rendering.text.truncate(rendering.text.len() - form.empty_reasoning.len());
            }
            answer = answer.trim_start_matches('\n');
            let start = rendering.text.len();
            rendering.push(&form.open, Part::Reasoning, false);
            rendering.push(reasoning, Part::Reasoning, true);
            let middle = rendering.push(&form.middle, Part::Reasoning, false);
            turn.reasoning = start..middle.end;
        }
        let close = &self.options.think.close;
        if let Some(at) = rendering.text[turn.reasoning.clone()].rfind(close.as_str()) {
            turn.close = turn.reasoning.start + at..turn.reasoning.start + at + close.len();
        }
        turn.answer = rendering.push(answer, Part::Answer, true);
        turn.end_of_turn = self.place_end(rendering, trailing);
        rendering.turns.push(turn);
    }

    /// The end of a turn is the first control token behind it, with all that stands before that token. A template that
    /// puts none there gets the model's end-of-sequence token, or the student would never learn to stop.
    fn place_end(&self, rendering: &mut Rendering, trailing: &str) -> Range<usize> {
        if let Some((token, _)) = self.tokenizer.first_control(trailing) {
            let range = rendering.push(&trailing[..token.end], Part::EndOfTurn, false);
            rendering.text.push_str(&trailing[token.end..]);
            return range;
        }
        let start = rendering.text.len();
        rendering.push(trailing.trim_end(), Part::EndOfTurn, false);
        let end = rendering.push(self.template.eos_token(), Part::EndOfTurn, false).end;
        start..end
    }

    /// Takes the marks out of a rendering: gives the text with its contents found, and the places of the turn to learn.
    fn find_contents(&self, marks: &Marks<'_>, text: &str) -> Result<(Rendering, Vec<usize>), Error> {
        let mut rendering = Rendering::default();
        let mut places = Vec::new();
        let found = marks.take_out(text);
        rendering.text = found.text;
        for Found { index, range, is_whole, is_turn } in found.contents {
            if is_turn {
                places.push(range.start);
                continue;
            }
            let message = &marks.originals()[index];
            if !is_whole {
                self.refuse_literal(index, message)?;
            }
            let part = match message.role {
                Role::System => Part::System,
                Role::User => Part::User,
                Role::Tool => Part::Tool,
                Role::Assistant => Part::Assistant,
            };
            rendering.stretches.push(Stretch { range, part, protected: true });
        }
        for index in found.missing {
            self.refuse_literal(index, &marks.originals()[index])?;
        }
        Ok((rendering, places))
    }

    /// Content that was not found whole may only pass where it could do no harm.
    fn refuse_literal(&self, index: usize, message: &Message) -> Result<(), Error> {
        let texts = [Some(message.content.as_str()), message.reasoning.as_deref()];
        for text in texts.into_iter().flatten() {
            if let Some((span, _)) = self.tokenizer.first_control(text) {
                return Err(Error::ContentRewritten {
                    index,
                    role: message.role.as_str(),
                    literal: text.get(span).unwrap_or_default().trim().to_owned(),
                });
            }
        }
        Ok(())
    }

    fn tokenize(&self, rendering: Rendering) -> Result<Encoded, Error> {
        let Rendering { text, stretches, turns } = rendering;
        let mut protected: Vec<Range<usize>> = Vec::new();
        for stretch in stretches.iter().filter(|stretch| stretch.protected && !stretch.range.is_empty()) {
            protected.push(stretch.range.clone());
        }
        let tokenized = self.tokenizer.encode_protected(&text, &protected)?;
        let parts: Vec<Part> = tokenized.spans.iter().map(|span| part_at(&stretches, span.start)).collect();
        let weights = parts.iter().enumerate().map(|(token, &part)| if token == 0 { 0.0 } else { self.weight(part) });
        Ok(Encoded {
            opens_thinking: matches!(self.options.purpose, Purpose::Prompt { .. }) && self.ends_opened(&text),
            text,
            ids: tokenized.ids,
            weights: weights.collect(),
            spans: tokenized.spans,
            parts,
            turns,
        })
    }

    fn weight(&self, part: Part) -> f32 {
        let counts = match (self.options.purpose, self.options.loss_on) {
            (Purpose::Prompt { .. }, _) => false,
            (Purpose::Train, LossOn::All) => true,
            (Purpose::Train, LossOn::Assistant) => matches!(part, Part::Reasoning | Part::Answer | Part::EndOfTurn),
            (Purpose::Train, LossOn::Answer) => matches!(part, Part::Answer | Part::EndOfTurn),
        };
        if counts { 1.0 } else { 0.0 }
    }

    fn ends_opened(&self, text: &str) -> bool {
        text.trim_end().ends_with(self.options.think.open.as_str())
    }

    fn form(&self) -> TurnForm {
        self.template.form(&self.options.think, self.surroundings(false))
    }

    fn surroundings(&self, add_generation_prompt: bool) -> Surroundings<'_> {
        Surroundings { add_generation_prompt, date: self.options.date, variables: Some(&self.options.variables) }
    }
}

impl Rendering {
    fn push(&mut self, text: &str, part: Part, protected: bool) -> Range<usize> {
        let range = self.text.len()..self.text.len() + text.len();
        self.text.push_str(text);
        if !text.is_empty() {
            self.stretches.push(Stretch { range: range.clone(), part, protected });
        }
        range
    }
}

/// A token belongs to where it begins: one that reaches from markup into content is never written by the model, which
/// starts behind the markup.
fn part_at(stretches: &[Stretch], at: usize) -> Part {
    let after = stretches.partition_point(|stretch| stretch.range.start <= at);
    stretches[..after].last().filter(|stretch| stretch.range.contains(&at)).map_or(Part::Markup, |stretch| stretch.part)
}
