//! Chat templates: a Jinja program from the model's folder, run with a budget and without access to anything. This
//! module renders, and finds out how a template treats an assistant's turn. Which text is content, and what is trained,
//! is decided in `encode`.

mod assistant_turn;
#[cfg(test)]
mod bombs;
mod date;
mod functions;
mod jinja;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, Value};
use serde::Serialize;
use serde_json::Map;

pub(crate) use assistant_turn::TurnForm;
pub use date::Date;

use crate::error::Error;
use crate::thinking::ThinkTags;
use crate::tools::{Tool, ToolCall};

/// Several times the length of any model's template.
const LONGEST_TEMPLATE_BYTES: usize = 1 << 17;
const NAME: &str = "chat_template";
/// Some hundred times what a model's template takes; an endless loop ends within a tenth of a second and 64 MB.
const BASE_FUEL: u64 = 250_000;
/// Work on texts and lists, beside the engine's steps; a growing text needs twice its size for a moment.
const BASE_BYTES: u64 = 12 << 20;
const FUEL_PER_MESSAGE: u64 = 2_000;
/// A template may read each content some dozens of times; reading costs a step for 64 bytes.
const FUEL_PER_CONTENT_BYTE: u64 = 1;
/// The work that a step for messages and their content allows.
const BYTES_PER_FUEL: u64 = 64;
const RECURSION_LIMIT: usize = 100;

/// A compiled chat template, with the two tokens that templates name.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: String,
    eos_token: String,
    /// How an assistant's turn is rendered with the default tags and no variables: needed for each row.
    default_form: OnceLock<TurnForm>,
    /// Whether it takes the arguments of calls as text.
    takes_text_arguments: OnceLock<bool>,
}

impl Clone for ChatTemplate {
    fn clone(&self) -> ChatTemplate {
        ChatTemplate {
            environment: self.environment.clone(),
            source: self.source.clone(),
            bos_token: self.bos_token.clone(),
            eos_token: self.eos_token.clone(),
            default_form: OnceLock::new(),
            takes_text_arguments: OnceLock::new(),
        }
    }
}

/// The inputs of a template beside the messages.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TemplateContext<'a> {
    pub(crate) add_generation_prompt: bool,
    pub(crate) date: Option<Date>,
    pub(crate) variables: Option<&'a Map<String, serde_json::Value>>,
    /// The tools of the conversation, which come before those among the variables.
    pub(crate) tools: &'a [Tool],
}

/// A message as templates see it: with the fields that transformers passes, in its order.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TemplateMessage {
    /// The reasoning again, under the name that some templates read.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<String>,
    pub(crate) role: &'static str,
    pub(crate) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What `tool_calls` are made of, whose arguments are objects or text as the template takes them.
    #[serde(skip)]
    pub(crate) calls: Vec<ToolCall>,
}

impl TemplateMessage {
    pub(crate) fn new(role: &'static str, content: String, reasoning: Option<String>) -> TemplateMessage {
        TemplateMessage {
            thinking: reasoning.clone(),
            role,
            content: Some(content),
            reasoning_content: reasoning,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
            calls: Vec::new(),
        }
    }

    /// Bytes of text in it.
    fn bytes(&self) -> usize {
        let texts = [&self.content, &self.reasoning_content].into_iter().flatten().map(String::len);
        texts.sum::<usize>() + self.tool_calls.iter().map(|call| call.to_string().len()).sum::<usize>()
    }
}

impl ChatTemplate {
    /// Compiles a template. An absent token is the empty string.
    ///
    /// # Errors
    /// [`Error::TemplateSyntax`] or [`Error::TemplateTooLong`].
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<ChatTemplate, Error> {
        if source.len() > LONGEST_TEMPLATE_BYTES {
            return Err(Error::TemplateTooLong { bytes: source.len(), limit: LONGEST_TEMPLATE_BYTES });
        }
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_syntax(syntax.map_err(|error| syntax_error(&error))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.add_function("raise_exception", functions::raise_exception);
        jinja::register(&mut environment);
        let rewritten = jinja::rewrite(source).map_err(|reason| Error::TemplateSyntax { reason })?;
        crate::catch_panic::catch_panic(|| environment.add_template_owned(NAME, rewritten))
            .map_err(|reason| Error::TemplateSyntax { reason })?
            .map_err(|error| syntax_error(&error))?;
        Ok(ChatTemplate {
            environment,
            source: source.to_owned(),
            bos_token: bos_token.unwrap_or_default().to_owned(),
            eos_token: eos_token.unwrap_or_default().to_owned(),
            default_form: OnceLock::new(),
            takes_text_arguments: OnceLock::new(),
        })
    }

    /// The template's text as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The end-of-sequence token that the template was given; empty where the model has none.
    pub fn eos_token(&self) -> &str {
        &self.eos_token
    }

    /// Whether what it renders may depend on the date.
    pub fn asks_for_date(&self) -> bool {
        self.source.contains("strftime_now")
    }

    /// How the template renders an assistant's turn.
    pub(crate) fn form(&self, tags: &ThinkTags, surroundings: TemplateContext<'_>) -> TurnForm {
        let is_default = surroundings.variables.is_none_or(Map::is_empty) && *tags == ThinkTags::default();
        if is_default {
            return self.default_form.get_or_init(|| TurnForm::ask(self, tags, surroundings)).clone();
        }
        TurnForm::ask(self, tags, surroundings)
    }

    /// Whether the arguments of a call are text to the template, since it fails with an object.
    pub(crate) fn takes_text_arguments(&self, surroundings: TemplateContext<'_>) -> bool {
        *self.takes_text_arguments.get_or_init(|| {
            let renders = |arguments: serde_json::Value| {
                let function = serde_json::json!({"name": "f", "arguments": arguments});
                let call = serde_json::json!({"id": "aaaaaaaaa", "type": "function", "function": function});
                let mut turn = TemplateMessage::new("assistant", String::new(), None);
                turn.content = None;
                turn.tool_calls.push(call);
                let messages = [TemplateMessage::new("user", "?".to_owned(), None), turn];
                self.render(&messages, TemplateContext { add_generation_prompt: false, ..surroundings })
            };
            matches!(renders(serde_json::json!({"a": 1})), Err(Error::TemplateRun { .. }))
                && renders(serde_json::json!("{\"a\": 1}")).is_ok()
        })
    }

    pub(crate) fn render(
        &self,
        messages: &[TemplateMessage],
        surroundings: TemplateContext<'_>,
    ) -> Result<String, Error> {
        let content_bytes: usize = messages.iter().map(TemplateMessage::bytes).sum();
        let tool_bytes: usize = surroundings.tools.iter().map(|tool| tool.definition().to_string().len()).sum();
        let units = (messages.len() + surroundings.tools.len()) as u64;
        let for_messages = FUEL_PER_MESSAGE * units + FUEL_PER_CONTENT_BYTE * (content_bytes + tool_bytes) as u64;
        let (fuel, bytes) = (BASE_FUEL + for_messages, BASE_BYTES + BYTES_PER_FUEL * for_messages);
        let context = self.context(messages, surroundings);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template = environment.get_template(NAME).map_err(|error| syntax_error(&error))?;
        let rendered = crate::catch_panic::catch_panic(|| jinja::within(bytes, || template.render(context)));
        rendered.map_err(|reason| Error::TemplateRun { reason })?.map_err(|error| run_error(&error, fuel))
    }

    /// The context of a template.
    fn context(&self, messages: &[TemplateMessage], surroundings: TemplateContext<'_>) -> Value {
        let mut context: Vec<(String, Value)> = Vec::new();
        let is_replaced = |name: &str| name == "tools" && !surroundings.tools.is_empty();
        for (name, value) in surroundings.variables.into_iter().flatten().filter(|(name, _)| !is_replaced(name)) {
            context.push((name.clone(), Value::from(Serde(value))));
        }
        // As in transformers, tokens come after the caller's variables and cannot be replaced by them.
        context.push(("messages".to_owned(), Value::from(Serde(messages))));
        context.push(("bos_token".to_owned(), Value::from(self.bos_token.as_str())));
        context.push(("eos_token".to_owned(), Value::from(self.eos_token.as_str())));
        context.push(("add_generation_prompt".to_owned(), Value::from(surroundings.add_generation_prompt)));
        if !surroundings.tools.is_empty() {
            context.push(("tools".to_owned(), Value::from(Serde(surroundings.tools))));
        }
        for absent in ["tools", "documents"] {
            if !context.iter().any(|(name, _)| name == absent) {
                context.push((absent.to_owned(), Value::from(())));
            }
        }
        if let Some(date) = surroundings.date {
            let strftime = move |format: &str| date.format(format).map_err(functions::unknown_directive);
            context.push(("strftime_now".to_owned(), Value::from_function(strftime)));
        }
        Value::from_pairs(context)
    }
}

fn syntax_error(error: &minijinja::Error) -> Error {
    Error::TemplateSyntax { reason: describe(error) }
}

fn run_error(error: &minijinja::Error, fuel: u64) -> Error {
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => Error::TemplateBudget { fuel },
        ErrorKind::UnknownFunction if detail.contains("strftime_now") => Error::NoDate,
        _ => match detail.strip_prefix(functions::RAISED) {
            Some(reason) => Error::TemplateRefused { reason: reason.to_owned() },
            None => Error::TemplateRun { reason: describe(error) },
        },
    }
}

/// The engine's message; an unknown name is quoted.
fn describe(error: &minijinja::Error) -> String {
    let place = error.line().map_or_else(String::new, |line| format!(" (line {line} of the template)"));
    let detail = error.detail().unwrap_or_default();
    let name = detail.trim_end_matches(" is unknown").rsplit(' ').next().unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::UnknownFilter => "filter",
        ErrorKind::UnknownTest => "test",
        ErrorKind::UnknownFunction => "function",
        ErrorKind::UnknownMethod => "method",
        kind if detail.is_empty() => return format!("{kind}{place}"),
        kind => return format!("{kind}: {detail}{place}"),
    };
    // What people write as a function or a filter is often a method in Jinja2.
    let mend = match jinja::owners(name).filter(|_| what != "method") {
        Some(owners) => format!("; in Jinja2 it is a method of {owners}: write `value.{name}(…)`"),
        None => String::new(),
    };
    format!("it uses the {what} `{name}`, which Aludel does not know{place}{mend}")
}
