//! One row: the plain rendering of its messages, with its parts located, the supervised turn placed, and a weight for each token.
//! The public interface is in `encode`; `locate` finds the texts.

use std::ops::Range;

use super::control_tokens::uncovered;
use super::locate::{LocatedTexts, locate};
use super::texts::{Field, TextSpan};
use super::{EncodeOptions, Encoded, LossOn, Part, Purpose, STAND_IN, Turn};
use crate::error::Error;
use crate::message::{Message, Role};
use crate::template::{ChatTemplate, TemplateContext, TemplateMessage, TurnForm};
use crate::tokenizer::Tokenizer;
use crate::tools::Tool;

/// A stretch of rendered text that is not the template's own.
#[derive(Debug, Clone)]
struct ContentSpan {
    range: Range<usize>,
    part: Part,
    /// Nothing in it may become a control token.
    protected: bool,
    /// The weight of its message.
    weight: f32,
}

/// A row before it is tokenised.
#[derive(Debug, Clone)]
pub(super) struct Rendering {
    pub(super) text: String,
    /// The weight of what is pushed.
    weight: f32,
    /// In order and disjoint.
    stretches: Vec<ContentSpan>,
    turns: Vec<Turn>,
}

pub(super) struct Renderer<'a> {
    pub(super) template: &'a ChatTemplate,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) options: &'a EncodeOptions,
    /// The tools of the conversation.
    pub(super) tools: Vec<Tool>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(
        template: &'a ChatTemplate,
        tokenizer: &'a Tokenizer,
        options: &'a EncodeOptions,
        messages: &[Message],
    ) -> Renderer<'a> {
        let tools = messages.iter().flat_map(|message| &message.tools).cloned().collect();
        Renderer { template, tokenizer, options, tools }
    }

    pub(super) fn prompt(&self, messages: &[Message], open_thinking: bool) -> Result<Rendering, Error> {
        let located = self.locate(messages, true)?;
        self.check_tools(messages, &located)?;
        let stretches = self.stretches(&located, messages, true)?;
        let mut rendering = Rendering { text: located.text, weight: 1.0, stretches, turns: Vec::new() };
        if open_thinking && !self.ends_opened(&rendering.text) {
            rendering.text.push_str(&self.form().open);
        }
        Ok(rendering)
    }

    pub(super) fn training_rows(&self, messages: &[Message]) -> Result<Vec<Rendering>, Error> {
        let turns: Vec<usize> = (0..messages.len()).filter(|&index| messages[index].role == Role::Assistant).collect();
        if turns.is_empty() {
            return Err(Error::BadMessages {
                what: "no assistant message".to_owned(),
                needed: "an assistant's answer to learn from",
            });
        }
        let mut rows: Vec<Rendering> = Vec::new();
        // A turn of weight 0 is context for a later one, and not supervised by itself.
        let learnt = turns.into_iter().filter(|&index| messages[index].weight > 0.0);
        for index in learnt {
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
        if rows.is_empty() { Err(Error::NothingSupervised) } else { Ok(rows) }
    }

    /// Renders the messages up to an assistant's turn, with that turn as the model is to write it: what the template prints
    /// where that is all of the turn; where it drops the reasoning, or cuts the answer at tags of reasoning within it,
    /// the turn's own texts in what the template prints around them.
    fn training_row(&self, messages: &[Message], index: usize) -> Result<Rendering, Error> {
        if !messages[index].tool_calls.is_empty() {
            return self.call_row(messages, index);
        }
        let as_is = self.locate(messages, false)?;
        self.check_tools(messages, &as_is)?;
        if let Some(row) = self.row_as_rendered(&as_is, messages, index)? {
            return Ok(row);
        }
        let mut stood_in = messages.to_vec();
        stood_in[index] = Message { weight: messages[index].weight, ..Message::assistant(STAND_IN) };
        let located = self.locate(&stood_in, false)?;
        let places: Vec<&TextSpan> =
            located.found.iter().filter(|found| located.texts[found.text].index == index).collect();
        let &[place] = places.as_slice() else {
            return Err(Error::TurnNotRendered { index, times: places.len() });
        };
        if !is_last(&located, place.range.start, index) {
            return Err(Error::TurnNotLast { index });
        }
        let message = &messages[index];
        let tags = &self.options.think;
        let may_differ = [&tags.open, &tags.close].into_iter().any(|tag| message.content.contains(tag.as_str()));
        if !may_differ && !message.content.trim().is_empty() && !self.is_answer_whole(&as_is, index) {
            return Err(Error::TurnRewritten { index });
        }
        let form = self.form();
        let mut answer = message.content.as_str();
        if form.trims_end {
            answer = answer.trim_end();
        }
        if form.trims_start && !has_reasoning(message) {
            answer = answer.trim_start();
        }
        self.row_around(&located, &stood_in, index, place, message, answer)
    }

    fn is_answer_whole(&self, located: &LocatedTexts<'_>, index: usize) -> bool {
        let is_it = |found: &&TextSpan| {
            located.texts[found.text].index == index && located.texts[found.text].field == Field::Content
        };
        let mut places = located.found.iter().filter(is_it).peekable();
        places.peek().is_some() && places.all(|found| found.is_whole)
    }

    /// The row that the template itself makes of the turn; none unless it prints all of the answer, once and last.
    fn row_as_rendered(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        index: usize,
    ) -> Result<Option<Rendering>, Error> {
        let places = |field: Field| -> Vec<&TextSpan> {
            let is_it = |found: &&TextSpan| {
                located.texts[found.text].index == index && located.texts[found.text].field == field
            };
            located.found.iter().filter(is_it).collect()
        };
        let (contents, reasonings) = (places(Field::Content), places(Field::Reasoning));
        let &[content] = contents.as_slice() else { return Ok(None) };
        if !content.is_whole || !is_last(located, content.range.start, index) {
            return Ok(None);
        }
        let message = &messages[index];
        match reasonings.as_slice() {
            [] if !has_reasoning(message) => {
                let answer = &located.text[content.range.clone()];
                self.row_around(located, messages, index, content, message, answer).map(Some)
            }
            [] => {
                let mut answer = message.content.as_str();
                if self.form().trims_end {
                    answer = answer.trim_end();
                }
                self.row_around(located, messages, index, content, message, answer).map(Some)
            }
            &[reasoning] if reasoning.is_whole && reasoning.range.end <= content.range.start => {
                self.row_of_both(located, messages, index, reasoning, content).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The row of a turn whose reasoning and answer are both in the rendering.
    fn row_of_both(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        index: usize,
        reasoning: &TextSpan,
        content: &TextSpan,
    ) -> Result<Rendering, Error> {
        let text = &located.text;
        let tags = &self.options.think;
        let before = text[..reasoning.range.start].trim_end();
        let start = match before.strip_suffix(tags.open.as_str()) {
            Some(header) => header.len(),
            // Another kind of tags: the turn is what follows the prompt.
            None => {
                let prompt = self.render(&plain(&messages[..index]), true).unwrap_or_default();
                let is_prompt = text.starts_with(&prompt) && prompt.len() <= reasoning.range.start;
                if is_prompt { prompt.len() } else { reasoning.range.start }
            }
        };
        let mut rendering = self.context(located, messages, index, start)?;
        rendering.push(&text[start..reasoning.range.start], Part::Reasoning, false);
        rendering.push(&text[reasoning.range.clone()], Part::Reasoning, true);
        let middle = rendering.push(&text[reasoning.range.end..content.range.start], Part::Reasoning, false);
        let mut turn = Turn { message: index, reasoning: start..middle.end, ..Turn::empty(index) };
        if let Some(at) = rendering.text[middle.clone()].rfind(tags.close.as_str()) {
            turn.close = middle.start + at..middle.start + at + tags.close.len();
        }
        self.finish_turn(&mut rendering, turn, &text[content.range.clone()], &text[content.range.end..]);
        Ok(rendering)
    }

    /// The row of a turn of which the template prints the answer alone, or a placeholder for it: its own reasoning is put before it.
    fn row_around(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        index: usize,
        place: &TextSpan,
        message: &Message,
        answer: &str,
    ) -> Result<Rendering, Error> {
        let form = self.form();
        let header = &located.text[..place.range.start];
        let mut rendering = self.context(located, messages, index, header.len())?;
        let mut turn = Turn::empty(index);
        let mut answer = answer;
        let bare_header =
            header.strip_suffix(form.empty_reasoning.as_str()).filter(|_| !form.empty_reasoning.is_empty());
        if !has_reasoning(message) {
            // The generation prompt stops before an empty block: the model has to write it itself.
            let start = bare_header.map_or(header.len(), str::len);
            rendering.text.truncate(start);
            turn.reasoning = rendering.push(&header[start..], Part::Reasoning, false);
        } else {
            if let Some(bare) = bare_header {
                rendering.text.truncate(bare.len());
            }
            let reasoning = message.reasoning.as_deref().map(|text| text.trim_matches('\n')).unwrap_or_default();
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
        self.finish_turn(&mut rendering, turn, answer, &located.text[place.range.end..]);
        Ok(rendering)
    }

    fn finish_turn(&self, rendering: &mut Rendering, mut turn: Turn, answer: &str, trailing: &str) {
        turn.answer = rendering.push(answer, Part::Answer, true);
        turn.end_of_turn = self.place_end(rendering, trailing);
        rendering.turns.push(turn);
    }

    /// The end of a turn is the first control token behind it, with all that is before that token. A template that
    /// puts none there gets the model's end-of-sequence token, or the student would never learn to stop.
    pub(super) fn place_end(&self, rendering: &mut Rendering, trailing: &str) -> Range<usize> {
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

    /// The text before byte `end`, with the texts in it except the supervised turn.
    pub(super) fn context(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        index: usize,
        end: usize,
    ) -> Result<Rendering, Error> {
        let mut stretches = self.stretches(located, messages, false)?;
        stretches.retain(|stretch| stretch.range.end <= end);
        let is_turn = |found: &&TextSpan| located.texts[found.text].index == index;
        let own: Vec<&TextSpan> = located.found.iter().filter(is_turn).collect();
        stretches.retain(|stretch| !own.iter().any(|found| found.range == stretch.range));
        let weight = messages[index].weight;
        Ok(Rendering { text: located.text[..end].to_owned(), weight, stretches, turns: Vec::new() })
    }

    /// The texts of messages in a rendering, in order.
    fn stretches(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<ContentSpan>, Error> {
        let render = |shown: &[TemplateMessage]| self.render(shown, add_generation_prompt);
        let uncovered = uncovered(located, messages, self.tokenizer, &render)?;
        let mut stretches: Vec<ContentSpan> = Vec::new();
        for found in located.found.iter().chain(&uncovered) {
            let part = match located.texts[found.text].role {
                Role::System => Part::System,
                Role::User => Part::User,
                Role::Tool => Part::Tool,
                Role::Assistant => Part::Assistant,
            };
            let weight = messages[located.texts[found.text].index].weight;
            stretches.push(ContentSpan { range: found.range.clone(), part, protected: true, weight });
        }
        stretches.sort_by_key(|stretch| stretch.range.start);
        Ok(stretches)
    }

    pub(super) fn locate<'m>(
        &self,
        messages: &'m [Message],
        add_generation_prompt: bool,
    ) -> Result<LocatedTexts<'m>, Error> {
        let render = |shown: &[TemplateMessage]| self.render(shown, add_generation_prompt);
        locate(messages, self.template.source(), &render).map_err(|error| match error {
            Error::TemplateRun { reason } if messages.iter().any(|message| message.is_content_null) => {
                Error::ToolsNotKnown { reason }
            }
            error => error,
        })
    }

    pub(super) fn render(&self, messages: &[TemplateMessage], add_generation_prompt: bool) -> Result<String, Error> {
        let surroundings = TemplateContext { tools: &self.tools, ..self.surroundings(add_generation_prompt) };
        self.render_in(messages, surroundings)
    }

    /// Renders with other tools than those of the conversation.
    pub(super) fn render_with(&self, messages: &[TemplateMessage], tools: &[Tool]) -> Result<String, Error> {
        let add_generation_prompt = matches!(self.options.purpose, Purpose::Prompt { .. });
        self.render_in(messages, TemplateContext { tools, ..self.surroundings(add_generation_prompt) })
    }

    fn render_in(&self, messages: &[TemplateMessage], surroundings: TemplateContext<'_>) -> Result<String, Error> {
        if messages.iter().all(|message| message.calls.is_empty()) {
            return self.template.render(messages, surroundings);
        }
        let as_text = self.template.takes_text_arguments(self.surroundings(false));
        let mut shown = messages.to_vec();
        for message in &mut shown {
            message.tool_calls = message.calls.iter().map(|call| call.shown(as_text)).collect();
        }
        self.template.render(&shown, surroundings)
    }

    pub(super) fn tokenize(&self, rendering: Rendering) -> Result<Encoded, Error> {
        let Rendering { text, stretches, turns, .. } = rendering;
        let mut protected: Vec<Range<usize>> = Vec::new();
        for stretch in stretches.iter().filter(|stretch| stretch.protected && !stretch.range.is_empty()) {
            protected.push(stretch.range.clone());
        }
        let tokenized = self.tokenizer.encode_protected(&text, &protected)?;
        let (parts, counts): (Vec<Part>, Vec<f32>) =
            tokenized.spans.iter().map(|span| part_at(&stretches, span.start)).unzip();
        let mut weights: Vec<f32> =
            parts.iter().zip(counts).map(|(&part, counts)| self.weight(part) * counts).collect();
        // Nothing predicts the first.
        weights.iter_mut().take(1).for_each(|first| *first = 0.0);
        Ok(Encoded {
            opens_thinking: matches!(self.options.purpose, Purpose::Prompt { .. }) && self.ends_opened(&text),
            text,
            ids: tokenized.ids,
            weights,
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

    pub(super) fn form(&self) -> TurnForm {
        self.template.form(&self.options.think, self.surroundings(false))
    }

    fn surroundings(&self, add_generation_prompt: bool) -> TemplateContext<'_> {
        let variables = Some(&self.options.variables);
        TemplateContext { add_generation_prompt, date: self.options.date, variables, tools: &[] }
    }
}

impl Rendering {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn add_turn(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    pub(super) fn push(&mut self, text: &str, part: Part, protected: bool) -> Range<usize> {
        let range = self.text.len()..self.text.len() + text.len();
        self.text.push_str(text);
        if !text.is_empty() {
            self.stretches.push(ContentSpan { range: range.clone(), part, protected, weight: self.weight });
        }
        range
    }
}

/// What a token belongs to, and its weight. It belongs to where it begins: a token that reaches from markup into content is never
/// generated by the model, which starts after the markup. Markup has the weight of what it follows, so that neither the text nor
/// the end of a turn of weight 0 is supervised.
fn part_at(stretches: &[ContentSpan], at: usize) -> (Part, f32) {
    let after = stretches.partition_point(|stretch| stretch.range.start <= at);
    match stretches[..after].last() {
        Some(stretch) if stretch.range.contains(&at) => (stretch.part, stretch.weight),
        before => (Part::Markup, before.map_or(1.0, |stretch| stretch.weight)),
    }
}

impl Turn {
    pub(super) fn empty(message: usize) -> Turn {
        Turn { message, reasoning: 0..0, close: 0..0, answer: 0..0, end_of_turn: 0..0 }
    }
}

pub(super) fn has_reasoning(message: &Message) -> bool {
    message.reasoning.as_ref().is_some_and(|text| !text.trim().is_empty())
}

/// Nothing of another message than that of this index follows the place.
pub(super) fn is_last(located: &LocatedTexts<'_>, place: usize, index: usize) -> bool {
    located.found.iter().all(|found| located.texts[found.text].index == index || found.range.end <= place)
}

pub(super) fn plain(messages: &[Message]) -> Vec<TemplateMessage> {
    super::texts::disguised(messages, &mut |_, _| None)
}
