//! Answers while training: the learner's own decoder and adapter, as they are, answer `train.sample_prompts` greedily. Nothing that
//! training reads is moved by it. When they are asked is left to the training loop.

use std::ops::ControlFlow;
use std::sync::Arc;

use aludel_kernels::attention::BLOCK;
use aludel_model::generate::{Engine, Event, Finish, Request, RequestId, Sampling};
use aludel_model::student::Student;
use aludel_text::{EncodeOptions, Message};

use crate::error::{Error, Result};
use crate::inference::{Prompt, end_ids, prompt};
use crate::learner::Learner;
use crate::metrics::SampleAnswer;
use crate::settings::{Recipe, TemplateInputs};
use crate::text_stream::{Text, text_of};

/// Tokens that the cache holds for all questions together, unless one alone needs more: others wait until it has room.
const CACHE_TOKENS: usize = 4096;
/// Tokens of prompts that are read in one pass, unless training takes fewer.
const TOKENS_PER_PASS: usize = 512;

/// The questions, rendered, and the engine that answers them.
pub(crate) struct Samples {
    engine: Engine,
    questions: Vec<(String, Prompt)>,
    stop_ids: Vec<u32>,
    max_new_tokens: usize,
}

/// A question under way.
struct Running {
    request: RequestId,
    tokens: Vec<u32>,
    finish: Option<Finish>,
}

impl Samples {
    /// Renders the recipe's questions and makes room for their answers; none where there are no questions.
    ///
    /// # Errors
    /// A student without a template, questions that it refuses or that leave no room for an answer.
    pub(crate) fn new(learner: &mut Learner, student: &Student, recipe: &Recipe) -> Result<Option<Samples>> {
        let settings = &recipe.train;
        if settings.sample_prompts.is_empty() {
            return Ok(None);
        }
        let template = student.text.template(&student.path.display().to_string())?;
        let TemplateInputs { date, variables } = recipe.data.template_inputs();
        let options = EncodeOptions { date, variables, ..EncodeOptions::prompt(false) };
        let positions = learner.decoder.max_positions();
        let mut questions = Vec::new();
        let (mut longest, mut all) = (0, 0);
        for question in &settings.sample_prompts {
            let rendered = prompt(&template, &student.text.tokenizer, &[Message::user(question)], &options)?;
            let tokens = rendered.ids.len();
            if tokens >= positions {
                return Err(Error::SamplePrompt { number: questions.len() + 1, tokens, limit: positions });
            }
            let whole = positions.min(tokens + settings.sample_max_new_tokens).next_multiple_of(BLOCK);
            longest = longest.max(whole);
            all += whole;
            questions.push((question.clone(), rendered));
        }
        let (decoder, adapter) = (Arc::clone(&learner.decoder), Arc::clone(&learner.adapter));
        let tokens_per_pass = settings.tokens_per_pass.min(TOKENS_PER_PASS).max(questions.len());
        let cache_tokens = longest.max(all.min(CACHE_TOKENS));
        let engine = Engine::new(&mut learner.ctx, decoder, Some(adapter), cache_tokens, tokens_per_pass);
        let stop_ids = end_ids(&student.eos_token_ids, &student.text, &template, &options);
        Ok(Some(Samples { engine, questions, stop_ids, max_new_tokens: settings.sample_max_new_tokens }))
    }

    /// Asks all questions. `tell` hears how many tokens of how many at most are written, and may break off: then there are no answers.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub(crate) fn ask(
        &mut self,
        learner: &mut Learner,
        student: &Student,
        tell: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<SampleAnswer>>> {
        let mut running = Vec::new();
        for (_, prompt) in &self.questions {
            let request = self.engine.submit(Request {
                prompt: prompt.ids.clone(),
                max_new_tokens: self.max_new_tokens,
                sampling: Sampling { temperature: 0.0, ..Sampling::default() },
                stop_ids: self.stop_ids.clone(),
                top_logprobs: 0,
            })?;
            running.push(Running { request, tokens: Vec::new(), finish: None });
        }
        let most = self.questions.len() * self.max_new_tokens;
        while !self.engine.is_idle() {
            for event in self.engine.step(&mut learner.ctx) {
                let Some(asked) = running.iter_mut().find(|asked| asked.request == event.request()) else { continue };
                match *event {
                    Event::Token { token, finish, .. } => {
                        asked.tokens.push(token);
                        asked.finish = finish;
                    }
                    Event::Failed { position, .. } => return Err(aludel_model::Error::Logits { position }.into()),
                }
            }
            // What has ended will not become longer, whatever it was allowed.
            let written =
                |asked: &Running| if asked.finish.is_some() { self.max_new_tokens } else { asked.tokens.len() };
            if tell(running.iter().map(written).sum(), most).is_break() {
                running.iter().for_each(|asked| self.engine.cancel(asked.request));
                return Ok(None);
            }
        }
        let answers = self.questions.iter().zip(&running).map(|((question, prompt), asked)| {
            let is_end = asked.finish == Some(Finish::Stop);
            let said = &asked.tokens[..asked.tokens.len() - usize::from(is_end)];
            let Text { reasoning, content, .. } = text_of(&student.text.tokenizer, said, prompt.opens_thinking);
            let (tokens, truncated) = (asked.tokens.len() as u64, !is_end);
            Ok(SampleAnswer { prompt: question.clone(), reasoning, content, tokens, truncated })
        });
        answers.collect::<Result<_>>().map(Some)
    }
}
