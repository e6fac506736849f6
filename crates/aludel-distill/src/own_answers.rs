//! Rows that end in the student's own answers: the decoder and adapter, as they are by now, answer the prompts of rows by sampling. What
//! is learnt from these answers is a matter of the objective, at which steps they are written one of the training loop.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::attention::BLOCK;
use aludel_kernels::rng;
use aludel_model::generate::{Engine, Event, Finish, Request, RequestId, Sampling};
use aludel_model::student::Student;
use aludel_text::EncodeOptions;

use crate::error::Result;
use crate::inference::end_ids;
use crate::learner::Learner;
use crate::metrics::OwnAnswersRecord;
use crate::settings::{Recipe, TemplateInputs};

/// Tokens that the cache holds for all answers together, unless one alone needs more: others wait until it has room.
const CACHE_TOKENS: usize = 16_384;
/// Tokens of prompts that are read in one pass, unless training takes fewer.
const TOKENS_PER_PASS: usize = 512;

/// Writes the student's answers.
pub(crate) struct OwnAnswers {
    engine: Engine,
    stop_ids: Vec<u32>,
    max_length: usize,
    max_new_tokens: usize,
    temperature: f64,
}

/// How many tokens of cache there are for answers that give rows of up to `max_length` tokens, `rows` of them at a time.
pub(crate) fn cache_tokens(max_length: usize, rows: usize) -> usize {
    let row = max_length.next_multiple_of(BLOCK);
    row.max(row.saturating_mul(rows).min(CACHE_TOKENS))
}

impl OwnAnswers {
    /// Makes room for answers to `rows` rows at a time that give rows of up to `max_length` tokens.
    pub(crate) fn new(
        learner: &mut Learner,
        student: &Student,
        recipe: &Recipe,
        max_length: usize,
        rows: usize,
    ) -> OwnAnswers {
        let TemplateInputs { date, variables } = recipe.data.template_inputs();
        let options = EncodeOptions { date, variables, ..EncodeOptions::prompt(false) };
        let stop_ids = match &student.template {
            Some(template) => end_ids(&student.eos_token_ids, &student.text, template, &options),
            None => student.eos_token_ids.iter().copied().chain(student.text.eos_id()).collect(),
        };
        let (decoder, adapter) = (Arc::clone(&learner.decoder), Arc::clone(&learner.adapter));
        let tokens_per_pass = recipe.train.tokens_per_pass.min(TOKENS_PER_PASS).max(rows);
        // A token that the teacher does not have cannot be judged.
        let shared = learner.ask_teacher(|_, teacher| teacher.vocab()).unwrap_or(usize::MAX);
        let cache = cache_tokens(max_length, rows);
        let engine = Engine::new(&mut learner.ctx, decoder, Some(adapter), cache, tokens_per_pass).with_vocab(shared);
        OwnAnswers {
            engine,
            stop_ids,
            max_length,
            max_new_tokens: recipe.distill.max_new_tokens,
            temperature: recipe.distill.sampling_temperature,
        }
    }

    /// Replaces the last answer of each row with one that the student writes, in which every token counts as much as the first of the
    /// answer before. The rows have prompts: see [`has_prompt`]. A draw depends on `seed`, the
    /// number of its row, and its place. `tell` hears how many tokens are written, and may break off: then nothing is to be done with
    /// the rows.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub(crate) fn write(
        &mut self,
        learner: &mut Learner,
        rows: &mut [(u32, TokenRow)],
        seed: u64,
        tell: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<OwnAnswersRecord>> {
        let begun = Instant::now();
        let mut asked: HashMap<RequestId, usize> = HashMap::new();
        let mut weights = Vec::with_capacity(rows.len());
        for (index, (number, row)) in rows.iter_mut().enumerate() {
            let prompt = prompt_tokens(&row.weights);
            weights.push(row.weights.get(prompt).copied().unwrap_or(1.0));
            row.ids.truncate(prompt);
            row.weights = vec![0.0; prompt];
            let request = self.engine.submit(Request {
                prompt: row.ids.clone(),
                max_new_tokens: self.max_new_tokens.min(self.max_length.saturating_sub(row.ids.len())),
                sampling: Sampling {
                    temperature: self.temperature,
                    seed: rng::mix(seed, u64::from(*number)),
                    ..Sampling::default()
                },
                stop_ids: self.stop_ids.clone(),
                top_logprobs: 0,
            })?;
            asked.insert(request, index);
        }
        let mut written = OwnAnswersRecord::default();
        while !self.engine.is_idle() {
            for event in self.engine.step(&mut learner.ctx) {
                let Some(&index) = asked.get(&event.request()) else { continue };
                let row = &mut rows[index].1;
                match *event {
                    Event::Token { token, finish, .. } => {
                        row.ids.push(token);
                        row.weights.push(weights[index]);
                        written.tokens += 1;
                        written.cut += u64::from(finish.is_some_and(|finish| finish != Finish::Stop));
                    }
                    Event::Failed { position, .. } => return Err(aludel_model::Error::Logits { position }.into()),
                }
            }
            if tell(written.tokens).is_break() {
                asked.keys().for_each(|&request| self.engine.cancel(request));
                return Ok(None);
            }
        }
        for (_, row) in rows {
            row.info.tokens = row.ids.len() as u32;
            row.info.supervised = row.weights.iter().filter(|&&weight| weight != 0.0).count() as u32;
        }
        written.seconds = begun.elapsed().as_secs_f64();
        Ok(Some(written))
    }
}

/// Whether a row has tokens before its last answer that are more than the first, which nothing predicts. Plain text has none, nor have rows
/// of which everything is learnt.
pub(crate) fn has_prompt(row: &TokenRow) -> bool {
    prompt_tokens(&row.weights) > 1
}

/// The tokens before the last answer of a row: before the last unbroken run of tokens that count. Of a row in which every token counts,
/// the first, which nothing predicts.
fn prompt_tokens(weights: &[f32]) -> usize {
    let counts = |weight: &f32| *weight != 0.0;
    let end = weights.iter().rposition(counts).map_or(0, |last| last + 1);
    let start = weights[..end].iter().rposition(|weight| !counts(weight)).map_or(0, |before| before + 1);
    start.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_all_before_the_last_answer() {
        assert_eq!(prompt_tokens(&[0.0, 0.0, 1.0, 1.0]), 2);
        assert_eq!(prompt_tokens(&[0.0, 1.0, 0.0, 0.0, 0.5, 1.0, 0.0]), 4);
        assert_eq!(prompt_tokens(&[1.0, 1.0]), 1);
        assert_eq!(prompt_tokens(&[0.0, 1.0]), 1);
    }

    #[test]
    fn the_cache_holds_one_row_at_least_and_not_all_of_many() {
        assert_eq!(cache_tokens(100, 1), 128);
        assert_eq!(cache_tokens(100, 4), 512);
        assert_eq!(cache_tokens(1_000, 100), CACHE_TOKENS);
        assert_eq!(cache_tokens(100_000, 4), 100_032);
    }
}
