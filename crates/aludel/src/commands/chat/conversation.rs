//! A conversation at the terminal: messages, and commands that begin with a slash. An error with one message is printed, and the
//! conversation continues without that message.

use super::{AnswerOutput, say};
use crate::console::{Console, harmless};
use crate::humanize::grouped;
use crate::report::{Outcome, text_of};
use crate::settings::change;
use aludel_distill::chat::{ChatModel, FinishReason};
use aludel_distill::settings::Recipe;
use aludel_text::{Message, Role};
use anstyle::Style;
use clap::ColorChoice;
use rustyline::error::ReadlineError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A conversation, and whom it is with.
pub(super) struct Conversation<'a> {
    pub(super) talker: ChatModel,
    pub(super) recipe: Recipe,
    /// What was said; first the system message, if there is one.
    pub(super) messages: Vec<Message>,
    /// False during an answer, until Ctrl-C sets it.
    pub(super) interrupted: Arc<AtomicBool>,
    pub(super) shown: AnswerOutput,
    pub(super) console: &'a mut Console,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Message(&'a str),
    Help,
    /// A system message; an empty one takes it away.
    System(&'a str),
    Reset,
    /// `key=value`, or nothing to list all.
    Set(&'a str),
    Quit,
    Unknown(&'a str),
}

const HELP: &str = "\
/reset, /clear     forget the conversation, but not the system message
/system TEXT       set the system message; without a text, take it away
/set               list the settings of generation
/set KEY=VALUE     change one of them; without a value, restore its default
/help              show this
/quit, /exit       leave, as Ctrl-D does
Ctrl-C             stop the answer; at the prompt, leave";

impl Conversation<'_> {
    /// Reads and answers until there is nothing more to read.
    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let mut editor = rustyline::DefaultEditor::new()?;
        if let AnswerOutput::Whole(Some(name)) = &self.shown {
            self.note(&format!("This is {}.", harmless(name)))?;
        }
        self.note("Type a message; /help lists the commands, /quit or Ctrl-D leaves.")?;
        loop {
            let typed = match editor.readline("> ") {
                Ok(typed) => typed,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(Outcome::Done),
                Err(error) => return Err(error.into()),
            };
            // a history that cannot grow is no reason to stop
            let _ = editor.add_history_entry(&typed);
            match read(&typed) {
                Line::Nothing => {}
                Line::Message(text) => self.answer(text)?,
                Line::Help => self.note(HELP)?,
                Line::System(text) => self.set_system(text)?,
                Line::Reset => {
                    self.messages.retain(|message| message.role == Role::System);
                    self.note("The conversation is forgotten.")?;
                }
                Line::Set("") => self.list_settings()?,
                Line::Set(assignment) => self.set(assignment)?,
                Line::Quit => return Ok(Outcome::Done),
                Line::Unknown(name) => {
                    self.note(&format!("There is no command {name}; /help lists those there are."))?
                }
            }
        }
    }

    fn answer(&mut self, text: &str) -> anyhow::Result<()> {
        self.messages.push(Message::user(text));
        self.interrupted.store(false, Ordering::Relaxed);
        let settings = &self.recipe.generate;
        let answer = say(&mut self.talker, &self.messages, settings, &self.interrupted, &self.shown, self.console);
        self.interrupted.store(true, Ordering::Relaxed);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.messages.pop();
                return self.explain(error);
            }
        };
        let cut = match answer.finish_reason {
            FinishReason::Stop => None,
            FinishReason::Cancelled => Some("stopped".to_owned()),
            FinishReason::Length => Some(format!("cut after max_new_tokens = {}", settings.max_new_tokens)),
            FinishReason::Context => Some(self.full()),
        };
        self.recipe.generate.seed = settings.seed.map(|seed| seed.wrapping_add(1) & (u64::MAX >> 1));
        if matches!(self.shown, AnswerOutput::AsJson) {
            self.console.json_line(&answer)?;
            self.console.flush()?;
        }
        if answer.content.is_empty() && answer.finish_reason == FinishReason::Cancelled {
            // nothing was said, so nothing was asked
            self.messages.pop();
        } else {
            // The template decides whether past reasoning is kept.
            let mut message = Message::assistant(answer.content);
            message.reasoning = answer.reasoning;
            self.messages.push(message);
        }
        cut.map_or(Ok(()), |cut| self.note(&format!("[{cut}]")))
    }

    /// Says what was wrong with a message. A damaged model, or a closed output, ends the conversation.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        use aludel_distill::Error as Distill;
        match error.downcast_ref::<Distill>() {
            Some(Distill::Model(aludel_model::Error::Context { .. })) => self.note(&self.full()),
            Some(Distill::Text(_)) => {
                let text = text_of(&error, self.console);
                self.note(&format!("{text}The message was left out."))
            }
            _ => Err(error),
        }
    }

    fn full(&self) -> String {
        let tokens = self.talker.context_tokens();
        format!("the conversation fills the model's context of {} tokens; /reset begins a new one", grouped(tokens))
    }

    fn set_system(&mut self, text: &str) -> anyhow::Result<()> {
        self.messages.retain(|message| message.role != Role::System);
        if text.is_empty() {
            return self.note("There is no system message now.");
        }
        self.messages.insert(0, Message::system(text));
        self.note("The system message is set.")
    }

    fn list_settings(&mut self) -> anyhow::Result<()> {
        let settings = toml::to_string(&self.recipe.generate)?;
        self.note(settings.trim_end())
    }

    fn set(&mut self, assignment: &str) -> anyhow::Result<()> {
        let assignment = assignment.strip_prefix("generate.").unwrap_or(assignment);
        match change(&self.recipe, &format!("generate.{assignment}"), "/set") {
            Ok(recipe) => {
                self.recipe = recipe;
                Ok(())
            }
            Err(problems) => {
                let text = text_of(&problems.into(), &Console::new(ColorChoice::Never));
                self.note(text.trim_end())
            }
        }
    }

    /// Says something that is no answer: on the terminal, or where standard output holds answers only, on standard error.
    fn note(&mut self, text: &str) -> anyhow::Result<()> {
        match self.shown {
            AnswerOutput::AsJson => tracing::info!("{text}"),
            AnswerOutput::Apart => {
                let text = self.console.styled_for_errors(Style::new().dimmed(), text);
                self.console.error(&format!("{text}\n"));
            }
            AnswerOutput::Whole(_) => {
                let text = self.console.styled(Style::new().dimmed(), text);
                self.console.line(text)?;
                self.console.flush()?;
            }
        }
        Ok(())
    }
}

fn read(typed: &str) -> Line<'_> {
    let typed = typed.trim();
    let (word, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let rest = rest.trim();
    match word {
        "" => Line::Nothing,
        "/help" => Line::Help,
        "/system" => Line::System(rest),
        "/reset" | "/clear" => Line::Reset,
        "/set" => Line::Set(rest),
        "/quit" | "/exit" => Line::Quit,
        _ if word.strip_prefix('/').is_some_and(is_name) => Line::Unknown(word),
        _ => Line::Message(typed),
    }
}

/// What a command could be called; a path is no command.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        for (typed, line) in [
            ("  ", Line::Nothing),
            ("hello /quit", Line::Message("hello /quit")),
            ("/quit", Line::Quit),
            ("/clear ", Line::Reset),
            ("/system Be  brief. ", Line::System("Be  brief.")),
            ("/system", Line::System("")),
            ("/set top_k=3", Line::Set("top_k=3")),
            ("/set", Line::Set("")),
            ("/rest", Line::Unknown("/rest")),
            ("/etc/hosts is a file", Line::Message("/etc/hosts is a file")),
            ("/", Line::Message("/")),
            ("é", Line::Message("é")),
        ] {
            assert_eq!(read(typed), line, "{typed:?}");
        }
    }
}
