//! The row of a turn that calls tools: all that the template prints for it behind the prompt is what the model writes. That
//! the template prints every tool, call and result of a conversation is checked here too; rows of answers are in `row`.

use std::ops::Range;

use serde_json::{Map, Value};

use super::locate::Located;
use super::row::{Renderer, Rendering, has_reasoning, is_last, plain};
use super::texts::{Field, Found};
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
            rendering.push(&text[at..content.start], Part::Answer, false);
            rendering.push(&text[content.clone()], Part::Answer, true);
            at = content.end;
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
        located: &Located<'_>,
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
        located: &Located<'_>,
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
        located: &Located<'_>,
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
    pub(super) fn check_tools(&self, messages: &[Message], located: &Located<'_>) -> Result<(), Error> {
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
        let plain = located.text.as_str();
        let marked = Marked::new(messages, plain);
        if marked.count == 0 {
            return Ok(());
        }
        let rendered = self.render_with(&super::texts::disguised(&marked.messages, &mut |_, _| None), &marked.tools);
        let is_lost: Box<dyn Fn(&Mark) -> bool> = match &rendered {
            Ok(rendered) => Box::new(|mark: &Mark| !rendered.contains(&mark.text)),
            // It looks at what is called. Then all that is in the calls must at least be in the text.
            Err(_) => Box::new(|mark: &Mark| !contains(plain, &mark.stands_for)),
        };
        match marked.marks.iter().find(|mark| is_lost(mark)) {
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

fn places<'l>(located: &'l Located<'_>, index: usize, field: Field) -> Vec<&'l Found> {
    let is_it = |found: &&Found| located.texts[found.text].index == index && located.texts[found.text].field == field;
    located.found.iter().filter(is_it).collect()
}

/// Where the content of a message begins.
fn places_end(located: &Located<'_>, index: usize) -> Option<usize> {
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

/// What stands for a part of a call or a definition.
struct Mark {
    text: String,
    stands_for: Value,
    what: String,
}

/// The conversation with a mark in place of each name, argument and description, so that one that is not printed is missed.
struct Marked {
    messages: Vec<Message>,
    tools: Vec<Tool>,
    marks: Vec<Mark>,
    count: usize,
    prefix: String,
}

impl Marked {
    fn new(messages: &[Message], plain: &str) -> Marked {
        // Letters and digits alone, since a template may escape others.
        let free = (0..).map(|number: usize| format!("mark{number}n")).find(|prefix| !plain.contains(prefix.as_str()));
        let mut marked = Marked {
            messages: messages.to_vec(),
            tools: Vec::new(),
            marks: Vec::new(),
            count: 0,
            prefix: free.unwrap_or_default(),
        };
        for (index, message) in messages.iter().enumerate() {
            let calls = message.tool_calls.iter().map(|call| marked.call(call, index)).collect();
            marked.messages[index].tool_calls = calls;
            let tools: Vec<Tool> = message.tools.iter().map(|tool| marked.tool(tool)).collect();
            marked.tools.extend(tools);
        }
        marked
    }

    fn mark(&mut self, stands_for: Value, what: String) -> String {
        let text = format!("{}{}e", self.prefix, self.count);
        self.count += 1;
        self.marks.push(Mark { text: text.clone(), stands_for, what });
        text
    }

    fn call(&mut self, call: &ToolCall, index: usize) -> ToolCall {
        let whose = format!("the call of `{}` in message {index}", call.name);
        let name = self.mark(Value::from(call.name.as_str()), whose.clone());
        let mut object = Map::new();
        for (name, value) in call.arguments.object() {
            let what = format!("the argument `{name}` of {whose}");
            let key = self.mark(Value::from(name.as_str()), what.clone());
            object.insert(key, self.value(value, &what));
        }
        ToolCall { id: call.id.clone(), name, arguments: Arguments::replaced(object) }
    }

    fn value(&mut self, value: &Value, what: &str) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.value(item, what)).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| {
                    (self.mark(Value::from(name.as_str()), what.to_owned()), self.value(value, what))
                });
                Value::Object(members.collect())
            }
            Value::String(text) if text.is_empty() => value.clone(),
            leaf => Value::from(self.mark(leaf.clone(), what.to_owned())),
        }
    }

    /// Its name, its description and the names of its parameters.
    fn tool(&mut self, tool: &Tool) -> Tool {
        let whose = format!("the tool `{}`", tool.name());
        let mut tool = tool.clone();
        let Some(function) = tool.definition_mut().get_mut("function").and_then(Value::as_object_mut) else {
            return tool;
        };
        for name in ["name", "description"] {
            let Some(text) = function.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) else {
                continue;
            };
            let what = if name == "name" { whose.clone() } else { format!("the {name} of {whose}") };
            let mark = self.mark(Value::from(text), what);
            function.insert(name.to_owned(), Value::from(mark));
        }
        let properties = function.get_mut("parameters").and_then(|parameters| parameters.get_mut("properties"));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            let old = std::mem::take(properties);
            for (name, schema) in old {
                let mark = self.mark(Value::from(name.as_str()), format!("the parameter `{name}` of {whose}"));
                properties.insert(mark, schema);
            }
        }
        tool
    }
}
