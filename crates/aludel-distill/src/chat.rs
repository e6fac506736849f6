//! Questions in, answers out: template, generation, streamed text, reasoning split from the answer. Chat and the demo are its
//! clients; sampling itself is left to the engine.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_model::generate::{Engine, Event, Finish, Request, Sampling};
use aludel_text::{Message, Piece};
use serde::Serialize;

use crate::error::Result;
use crate::inference::{LoadedModel, Prompt};
use crate::settings::{GenerateSettings, StudentSettings, TemplateInputs};
use crate::text_stream::{Text, TextStream};

/// The most tokens of a conversation.
const CONTEXT_TOKENS: usize = 8192;
/// Prompt tokens of one pass.
const TOKENS_PER_PASS: usize = 512;

/// A model that answers.
pub struct ChatModel {
    model: LoadedModel,
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

impl ChatModel {
    /// Loads a GGUF or a folder, and an adapter with its tokenizer if it has its own. `inputs` is what the
    /// template is told, and `tell` hears how many weights of how many are read.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template.
    pub fn open(
        model: &Path,
        adapter: Option<&Path>,
        settings: &StudentSettings,
        inputs: TemplateInputs,
        tell: &dyn Fn(u64, u64),
    ) -> Result<ChatModel> {
        let watch = |done, total| {
            tell(done, total);
            ControlFlow::Continue(())
        };
        let mut model = LoadedModel::open(model, adapter, settings, inputs, CONTEXT_TOKENS, &watch)?;
        let engine = model.engine(model.decoder.max_positions(), TOKENS_PER_PASS);
        Ok(ChatModel { model, engine })
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
            stop_ids: self.model.format.stop_ids.clone(),
            top_logprobs: 0,
        };
        let id = self.engine.submit(request)?;
        let mut stream = TextStream::new(&self.model.format.text.tokenizer, opens_thinking, &settings.stop);
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
                if finish != Some(Finish::Stop) {
                    stream.push(token).iter().for_each(&mut *tell);
                    if stream.is_stopped() {
                        self.engine.cancel(id);
                    }
                }
                finish_reason = match finish {
                    Some(Finish::Length) => FinishReason::Length,
                    Some(Finish::Context) => FinishReason::Context,
                    _ => FinishReason::Stop,
                };
            }
        }
        let (pieces, Text { reasoning, content, stopped_by }) = stream.finish();
        pieces.iter().for_each(tell);
        if stopped_by.is_some() {
            finish_reason = FinishReason::Stop;
        }
        Ok(Answer { reasoning, content, finish_reason, usage: Usage { prompt_tokens, completion_tokens } })
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
