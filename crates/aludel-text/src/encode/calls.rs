//! The row of a turn that calls tools: all that the template prints for it behind the prompt is what the model writes. That
//! the template prints every tool, call and result of a conversation is checked here too; rows of answers are in `row`.

use std::ops::Range;

use serde_json::{Map, Number, Value};

use super::locate::LocatedTexts;
use super::row::{Renderer, Rendering, has_reasoning, is_last, plain};
use super::texts::{Field, TextSpan};
use super::{Part, STAND_IN, Turn};
use crate::error::Error;
use crate::message::{Message, Role};
use crate::template::TemplateMessage;
use crate::tools::{Arguments, Tool, ToolCall, texts_in};

impl Renderer<'_> {
    /// Renders the messages up to an assistant's turn with calls, which is learnt as the template prints it; reasoning that the
    /// template drops is put before it.
    pub(super) fn call_row(&self, messages: &[Message], index: usize) -> Result<Rendering, Error> {
        let located = self.locate(messages, false)?;
        self.check_tools(messages, &located)?;
        let text = located.text.as_str();
        let form = self.form();
        let (mut start, end) = self.bounds_of_call(&located, messages, index)?;
        let message = &messages[index];
        let content = self.content_of_call(&located, message, index, start..end)?;
        let printed = self.reasoning_of_call(&located, message, index, start..end);
        // As in a turn without calls, the opening tag is learnt where the prompt has it already.
        if let Some(reasoning) = &printed
            && let Some(header) = text[..reasoning.start].trim_end().strip_suffix(self.options.think.open.as_str())
        {
            start = start.min(header.len());
        }
        let mut rendering = self.context(&located, messages, index, start)?;
        let mut turn = Turn::empty(index);
        // Where the calls and the text before them begin.
        let mut at = start;
        if let Some(reasoning) = printed {
            rendering.push(&text[start..reasoning.start], Part::Reasoning, false);
            rendering.push(&text[reasoning.clone()], Part::Reasoning, true);
            at = reasoning.end + bytes_of_close(&text[reasoning.end..end], &self.options.think.close);
            turn.reasoning = start..rendering.push(&text[reasoning.end..at], Part::Reasoning, false).end;
        } else {
            if text[start..end].starts_with(form.empty_reasoning.as_str()) {
                at += form.empty_reasoning.len();
            }
            if has_reasoning(message) {
                let reasoning = message.reasoning.as_deref().map(|text| text.trim_matches('\n')).unwrap_or_default();
                rendering.push(&form.open, Part::Reasoning, false);
                rendering.push(reasoning, Part::Reasoning, true);
                turn.reasoning = start..rendering.push(&form.middle, Part::Reasoning, false).end;
                at += text[at..end].len() - text[at..end].trim_start_matches('\n').len();
            } else {
                turn.reasoning = rendering.push(&text[start..at], Part::Reasoning, false);
            }
        }
        let close = &self.options.think.close;
        if let Some(found) = rendering.text()[turn.reasoning.clone()].rfind(close.as_str()) {
            turn.close = turn.reasoning.start + found..turn.reasoning.start + found + close.len();
        }
        let begin = rendering.text().len();
        if let Some(content) = content {
            // Line ends in front of it may have gone with the reasoning.
            let from = content.start.max(at);
            rendering.push(&text[at..from], Part::Answer, false);
            at = content.end.max(from);
            rendering.push(&text[from..at], Part::Answer, true);
        }
        rendering.push(&text[at..end], Part::Answer, false);
        turn.answer = begin..rendering.text().len();
        turn.end_of_turn = self.place_end(&mut rendering, &text[end..]);
        rendering.add_turn(turn);
        Ok(rendering)
    }

    /// Where a turn with calls begins in the rendering, and where what ends it does: as an answer in its place begins and ends;
    /// otherwise at the end of the prompt, and at the last control token.
    fn bounds_of_call(
        &self,
        located: &LocatedTexts<'_>,
        messages: &[Message],
        index: usize,
    ) -> Result<(usize, usize), Error> {
        let text = located.text.as_str();
        let mut stood_in = plain(&messages[..index]);
        stood_in.push(TemplateMessage::new(Role::Assistant.as_str(), STAND_IN.to_owned(), None));
        let answered = self.render(&stood_in, false).unwrap_or_default();
        let around = answered.split_once(STAND_IN);
        let form = self.form();
        let header = around.map(|(header, _)| header.strip_suffix(form.empty_reasoning.as_str()).unwrap_or(header));
        let starts = |header: &&str| text.starts_with(*header);
        let start = match header.filter(starts) {
            Some(header) => header.len(),
            None => {
                let prompt = self.render(&plain(&messages[..index]), true).unwrap_or_default();
                if prompt.is_empty() || !text.starts_with(prompt.as_str()) {
                    return Err(Error::CallNotApart { index });
                }
                prompt.len()
            }
        };
        if !is_last(located, start, index) {
            return Err(Error::TurnNotLast { index });
        }
        let ending = around.map(|(_, ending)| ending).filter(|ending| text[start..].ends_with(ending));
        let end = match ending {
            Some(ending) => text.len() - ending.len(),
            None => {
                let last = self.tokenizer.controls(&text[start..]).pop();
                last.map_or(text.trim_end().len().max(start), |(token, _)| start + token.start)
            }
        };
        Ok((start, end))
    }

    /// Where the text beside the calls is; none for blank text.
    fn content_of_call(
        &self,
        located: &LocatedTexts<'_>,
        message: &Message,
        index: usize,
        turn: Range<usize>,
    ) -> Result<Option<Range<usize>>, Error> {
        if message.content.trim().is_empty() {
            return Ok(None);
        }
        let places = places(located, index, Field::Content);
        match places.as_slice() {
            [found] if found.is_whole && turn.start <= found.range.start && found.range.end <= turn.end => {
                Ok(Some(found.range.clone()))
            }
            _ => Err(Error::TextBesideCallLost { index }),
        }
    }

    /// Where the reasoning of a turn with calls is, if the template prints all of it once, and in front.
    fn reasoning_of_call(
        &self,
        located: &LocatedTexts<'_>,
        message: &Message,
        index: usize,
        turn: Range<usize>,
    ) -> Option<Range<usize>> {
        let places = places(located, index, Field::Reasoning);
        let [found] = places.as_slice() else { return None };
        let before = places_end(located, index).is_none_or(|content| found.range.end <= content);
        let is_there = found.is_whole && turn.start <= found.range.start && found.range.end <= turn.end;
        (has_reasoning(message) && is_there && before).then(|| found.range.clone())
    }

    /// Refuses a conversation of which the template drops a tool, a part of a call, or a result, or in which a text of them spells a
    /// control token. Texts of messages themselves are looked after by `guard`.
    pub(super) fn check_tools(&self, messages: &[Message], located: &LocatedTexts<'_>) -> Result<(), Error> {
        if !messages.iter().any(Message::uses_tools) {
            return Ok(());
        }
        for (index, message) in messages.iter().enumerate() {
            let lost = || located.found.iter().all(|found| located.texts[found.text].index != index);
            if message.role == Role::Tool && !message.content.trim().is_empty() && lost() {
                return Err(Error::ToolsNotRendered { what: format!("the tool's result in message {index}") });
            }
        }
        self.check_literals(messages)?;
        for of in [MarkedPart::Names, MarkedPart::Values] {
            self.check_marks(&MarkedConversation::new(messages, &located.text, of), located)?;
        }
        Ok(())
    }

    /// Refuses a conversation of which a marked part is not in what the template prints.
    fn check_marks(&self, marked: &MarkedConversation, located: &LocatedTexts<'_>) -> Result<(), Error> {
        if marked.marks.is_empty() {
            return Ok(());
        }
        let rendered = self.render_with(&plain(&marked.messages), &marked.tools);
        let is_lost = |mark: &&Marker| match (&rendered, &mark.text) {
            (Ok(rendered), Some(text)) => !rendered.contains(text),
            // A boolean cannot carry a marker, and a template may inspect the called tool. The value must then at least be in the text.
            _ => {
                let before = |found: &&TextSpan| located.texts[found.text].index < mark.message;
                let start = located.found.iter().filter(before).map(|found| found.range.end).max();
                !contains(&located.text[start.unwrap_or(0)..], &mark.stands_for)
            }
        };
        match marked.marks.iter().find(is_lost) {
            None => Ok(()),
            Some(mark) => Err(Error::ToolsNotRendered { what: mark.what.clone() }),
        }
    }

    /// Texts of calls and definitions are a part of what the template prints, so that a control token in them would become one.
    fn check_literals(&self, messages: &[Message]) -> Result<(), Error> {
        for (index, message) in messages.iter().enumerate() {
            let mut texts: Vec<&str> = Vec::new();
            for call in &message.tool_calls {
                texts.extend([Some(call.name.as_str()), call.id.as_deref()].into_iter().flatten());
                for (name, value) in call.arguments.object() {
                    texts.push(name);
                    texts_in(value, &mut texts);
                }
            }
            texts.extend(message.tool_name.as_deref().into_iter().chain(message.tool_call_id.as_deref()));
            message.tools.iter().for_each(|tool| texts_in(tool.definition(), &mut texts));
            let spelled = texts.iter().find_map(|text| Some((self.tokenizer.first_control(text)?.0, *text)));
            if let Some((span, text)) = spelled {
                let literal = text[span].trim().to_owned();
                return Err(Error::ControlInCall { index, literal });
            }
        }
        Ok(())
    }
}

fn places<'l>(located: &'l LocatedTexts<'_>, index: usize, field: Field) -> Vec<&'l TextSpan> {
    let is_it =
        |found: &&TextSpan| located.texts[found.text].index == index && located.texts[found.text].field == field;
    located.found.iter().filter(is_it).collect()
}

/// Where the content of a message begins.
fn places_end(located: &LocatedTexts<'_>, index: usize) -> Option<usize> {
    places(located, index, Field::Content).first().map(|found| found.range.start)
}

/// Bytes up to the end of the closing tag, with the line ends behind it; none where there is no tag.
fn bytes_of_close(text: &str, close: &str) -> usize {
    let Some(at) = text.find(close) else { return 0 };
    let end = at + close.len();
    end + text[end..].len() - text[end..].trim_start_matches('\n').len()
}

/// Whether a text has a value as it is, or as JSON or Python writes it.
fn contains(text: &str, value: &Value) -> bool {
    match value {
        Value::String(value) => {
            let json = Value::from(value.as_str()).to_string();
            text.contains(value.as_str()) || text.contains(&json[1..json.len() - 1])
        }
        Value::Bool(value) => {
            let json = value.to_string();
            text.contains(&json) || text.contains(&[json[..1].to_ascii_uppercase().as_str(), &json[1..]].concat())
        }
        Value::Null => text.contains("null") || text.contains("None"),
        other => text.contains(&other.to_string()),
    }
}

/// A marker that replaces a part of a call or a definition.
struct Marker {
    /// None where the value is kept.
    text: Option<String>,
    stands_for: Value,
    what: String,
    /// The message that it is in; behind the text of those before it, the template prints it.
    message: usize,
}

/// What is marked. A template may inspect one of them to print the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MarkedPart {
    /// Names of tools, arguments and parameters.
    Names,
    /// Values of arguments, and descriptions.
    Values,
}

/// The conversation with a mark in place of each name or value, so that one that is not printed is missed.
struct MarkedConversation {
    of: MarkedPart,
    messages: Vec<Message>,
    tools: Vec<Tool>,
    marks: Vec<Marker>,
    /// What marks begin with: a word, or a number, which are not in the text.
    word: String,
    number: u64,
    /// The message that is being marked.
    message: usize,
}

impl MarkedConversation {
    fn new(messages: &[Message], plain: &str, of: MarkedPart) -> MarkedConversation {
        // Letters and digits alone, since a template may escape others.
        let word = (0..).map(|number: u64| format!("mark{number}n")).find(|word| !plain.contains(word.as_str()));
        let number = (1..).map(|number: u64| 4_700 + number).find(|number| !plain.contains(&number.to_string()));
        let mut marked = MarkedConversation {
            of,
            messages: messages.to_vec(),
            tools: Vec::new(),
            marks: Vec::new(),
            word: word.unwrap_or_default(),
            number: number.unwrap_or_default(),
            message: 0,
        };
        for (index, message) in messages.iter().enumerate() {
            marked.message = index;
            let calls = message.tool_calls.iter().map(|call| marked.call(call, index)).collect();
            marked.messages[index].tool_calls = calls;
            // Definitions may be printed anywhere.
            marked.message = 0;
            let tools: Vec<Tool> = message.tools.iter().map(|tool| marked.tool(tool)).collect();
            marked.tools.extend(tools);
        }
        marked
    }

    /// A mark for a text, or the text itself where texts of its kind are kept.
    fn mark(&mut self, of: MarkedPart, text: &str, what: &str) -> String {
        if of != self.of {
            return text.to_owned();
        }
        let mark = format!("{}{}e", self.word, self.marks.len());
        self.push(Some(mark.clone()), Value::from(text), what);
        mark
    }

    fn push(&mut self, text: Option<String>, stands_for: Value, what: &str) {
        self.marks.push(Marker { text, stands_for, what: what.to_owned(), message: self.message });
    }

    /// A number that is no part of another's.
    fn number(&mut self, stands_for: &Number, what: &str) -> Value {
        const MOST: u64 = 1_000_000;
        let whole = self.number * MOST + self.marks.len() as u64 % MOST;
        let mark = if stands_for.is_f64() { Value::from(whole as f64 + 0.5) } else { Value::from(whole) };
        self.push(Some(mark.to_string()), Value::from(stands_for.clone()), what);
        mark
    }

    fn call(&mut self, call: &ToolCall, index: usize) -> ToolCall {
        let whose = format!("the call of `{}` in message {index}", call.name);
        let name = self.mark(MarkedPart::Names, &call.name, &whose);
        let mut object = Map::new();
        for (name, value) in call.arguments.object() {
            let what = format!("the argument `{name}` of {whose}");
            let key = self.mark(MarkedPart::Names, name, &what);
            object.insert(key, self.value(value, &what));
        }
        ToolCall { id: call.id.clone(), name, arguments: Arguments::replaced(object) }
    }

    fn value(&mut self, value: &Value, what: &str) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.value(item, what)).collect(),
            Value::Object(members) => {
                let marked = |(name, value): (&String, &Value)| {
                    (self.mark(MarkedPart::Names, name, what), self.value(value, what))
                };
                Value::Object(members.iter().map(marked).collect())
            }
            Value::String(text) if text.is_empty() => value.clone(),
            Value::String(text) => Value::from(self.mark(MarkedPart::Values, text, what)),
            Value::Number(number) if self.of == MarkedPart::Values => self.number(number, what),
            Value::Bool(_) | Value::Null if self.of == MarkedPart::Values => {
                self.push(None, value.clone(), what);
                value.clone()
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        }
    }

    /// Its name, its description and the names of its parameters.
    fn tool(&mut self, tool: &Tool) -> Tool {
        let whose = format!("the tool `{}`", tool.name());
        let mut tool = tool.clone();
        let Some(function) = tool.definition_mut().get_mut("function").and_then(Value::as_object_mut) else {
            return tool;
        };
        for (of, name) in [(MarkedPart::Names, "name"), (MarkedPart::Values, "description")] {
            let Some(text) = function.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) else {
                continue;
            };
            let what = if name == "name" { whose.clone() } else { format!("the {name} of {whose}") };
            let mark = self.mark(of, text, &what);
            function.insert(name.to_owned(), Value::from(mark));
        }
        let properties = function.get_mut("parameters").and_then(|parameters| parameters.get_mut("properties"));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            let old = std::mem::take(properties);
            for (name, schema) in old {
                let mark = self.mark(MarkedPart::Names, &name, &format!("the parameter `{name}` of {whose}"));
                properties.insert(mark, schema);
            }
        }
        tool
    }
}
