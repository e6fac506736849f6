//! Questions in, answers out: template, generation, streamed text, reasoning split from the answer. Chat and the demo are its
//! clients; sampling itself is the engine's business.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_model::generate::{Engine, Event, Finish, Request, Sampling};
use aludel_text::{Message, Piece};
use serde::Serialize;

use crate::error::Result;
use crate::inference::{Loaded, Prompt, splitter};
use crate::settings::{GenerateSettings, StudentSettings, TemplateInputs};

/// The most tokens of a conversation.
const CONTEXT_TOKENS: usize = 8192;
/// Prompt tokens of one pass.
const TOKENS_PER_PASS: usize = 512;

/// A model that answers.
pub struct Talker {
    model: Loaded,
    engine: Engine,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What was thought, if anything.
    pub reasoning: Option<String>,
    /// What was said.
    pub content: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens.
    pub usage: Usage,
}

/// Why an answer ended, in the words of OpenAI's API where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// It was cut after `max_new_tokens`.
    Length,
    /// It was cut because the conversation fills the model's context.
    #[serde(rename = "length")]
    Context,
    /// The caller stopped it.
    Cancelled,
}

/// Tokens of a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of the answer, reasoning and end of turn included.
    pub completion_tokens: usize,
}

impl Talker {
    /// Loads a GGUF or a folder, and an adapter with its tokenizer if it has its own. `inputs` is what the
    /// template is told.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template.
    pub fn open(
        model: &Path,
        adapter: Option<&Path>,
        settings: &StudentSettings,
        inputs: TemplateInputs,
    ) -> Result<Talker> {
        let mut model = Loaded::open(model, adapter, settings, inputs, CONTEXT_TOKENS)?;
        let engine = model.engine(model.decoder.max_positions(), TOKENS_PER_PASS);
        Ok(Talker { model, engine })
    }

    /// The most tokens of a conversation, the next answer included.
    pub fn context_tokens(&self) -> usize {
        self.engine.context_tokens()
    }

    /// Answers the last message. Each piece of text is told as soon as it is sure; the answer ends early once `stop` is set, and is
    /// then what was said so far.
    ///
    /// # Errors
    /// A conversation that the template refuses or that fills the context; a damaged model.
    pub fn answer(
        &mut self,
        messages: &[Message],
        settings: &GenerateSettings,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&Piece),
    ) -> Result<Answer> {
        let Prompt { ids: prompt, opens_thinking } = self.model.prompt(messages)?;
        let prompt_tokens = prompt.len();
        let request = Request {
            prompt,
            max_new_tokens: settings.max_new_tokens,
            sampling: sampling(settings),
            stop_ids: self.model.stop_ids.clone(),
        };
        let id = self.engine.submit(request)?;
        let mut splitter = splitter(opens_thinking);
        let mut collected = Collected { reasoning: String::new(), content: String::new(), tell };
        let mut stops = StopTexts::new(&settings.stop);
        let mut decoder = self.model.text.tokenizer.stream(true);
        let (mut completion_tokens, mut finish_reason) = (0, FinishReason::Stop);
        while !self.engine.is_idle() {
            if stop.load(Ordering::Relaxed) {
                self.engine.cancel(id);
                finish_reason = FinishReason::Cancelled;
                break;
            }
            for event in self.engine.step(&mut self.model.ctx).to_vec() {
                let (token, finish) = match event {
                    Event::Token { token, finish, .. } => (token, finish),
                    Event::Failed { position, .. } => return Err(aludel_model::Error::Logits { position }.into()),
                };
                completion_tokens += 1;
                let is_end = finish == Some(Finish::Stop);
                if let Some(text) = if is_end { None } else { decoder.push(token) } {
                    let (sure, stopped) = stops.push(&text);
                    collected.add(splitter.push(&sure));
                    if stopped {
                        self.engine.cancel(id);
                    }
                }
                finish_reason = match finish {
                    Some(Finish::Length) if !stops.stopped => FinishReason::Length,
                    Some(Finish::Context) if !stops.stopped => FinishReason::Context,
                    _ => FinishReason::Stop,
                };
            }
        }
        if !stops.stopped {
            let rest = decoder.finish().unwrap_or_default();
            let (sure, stopped) = stops.push(&rest);
            collected.add(splitter.push(&(sure + &stops.held)));
            if stopped {
                finish_reason = FinishReason::Stop;
            }
        }
        collected.add(splitter.finish());
        let Collected { reasoning, content, .. } = collected;
        Ok(Answer {
            reasoning: Some(reasoning.trim().to_owned()).filter(|reasoning| !reasoning.is_empty()),
            content: content.trim().to_owned(),
            finish_reason,
            usage: Usage { prompt_tokens, completion_tokens },
        })
    }
}

fn sampling(settings: &GenerateSettings) -> Sampling {
    Sampling {
        temperature: settings.temperature,
        top_k: settings.top_k,
        top_p: settings.top_p,
        min_p: settings.min_p,
        repetition_penalty: settings.repetition_penalty,
        seed: settings.seed.unwrap_or(0),
    }
}

struct Collected<'a> {
    reasoning: String,
    content: String,
    tell: &'a mut dyn FnMut(&Piece),
}

impl Collected<'_> {
    fn add(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            (self.tell)(&piece);
            match piece {
                Piece::Reasoning(text) => self.reasoning.push_str(&text),
                Piece::Answer(text) => self.content.push_str(&text),
            }
        }
    }
}

/// Holds back text that may be the beginning of a stop text.
struct StopTexts<'a> {
    stops: &'a [String],
    held: String,
    stopped: bool,
}

impl<'a> StopTexts<'a> {
    fn new(stops: &'a [String]) -> StopTexts<'a> {
        StopTexts { stops, held: String::new(), stopped: false }
    }

    /// The text that is sure, and whether a stop text came.
    fn push(&mut self, text: &str) -> (String, bool) {
        if self.stopped {
            return (String::new(), true);
        }
        self.held.push_str(text);
        let found =
            self.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.stopped = true;
            let sure = self.held[..at].to_owned();
            self.held.clear();
            return (sure, true);
        }
        let is_open = |at: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let keep = self.held.char_indices().map(|(at, _)| at).find(|&at| is_open(at)).unwrap_or(self.held.len());
        let sure = self.held[..keep].to_owned();
        self.held.drain(..keep);
        (sure, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_found_across_pieces_and_nothing_else_is_lost() {
        let stops = ["END".to_owned(), "\n\n".to_owned()];
        let check = |pieces: &[&str], expected: &str, expected_stop: bool| {
            let mut texts = StopTexts::new(&stops);
            let mut got = String::new();
            for piece in pieces {
                got.push_str(&texts.push(piece).0);
            }
            got.push_str(&texts.held);
            assert_eq!((got.as_str(), texts.stopped), (expected, expected_stop), "{pieces:?}");
        };
        check(&["a E", "N", "D b"], "a ", true);
        check(&["a E", "N", "d b"], "a ENd b", false);
        check(&["one\n", "\ntwo"], "one", true);
        check(&["EN"], "EN", false);
    }
}
