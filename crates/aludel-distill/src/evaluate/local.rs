//! A model on this machine answers: the engine is kept full, samples of a prompt share its cache, and what ends makes room for what
//! waits. A sample depends on its prompt, its seed and its number alone, never on what runs beside it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_model::generate::{Engine, Event, Finish, Request, RequestId, Sampling};
use aludel_text::Date;

use super::results::{FAILED, Settings};
use super::{Answer, EvalBackend, FinishedSample, Meter, SampleRequest};
use crate::error::Result;
use crate::inference::{LoadedModel, TEMPLATE_TOKENS};
use crate::settings::{StudentSettings, TemplateInputs};
use crate::text_stream::{Text, text_of};

/// The date for templates that print one, unless another is given, so that samples do not depend on the day.
const DATE_UNIX_SECONDS: i64 = 1_767_225_600;

/// A loaded model.
pub struct LocalBackend {
    model: LoadedModel,
    engine: Engine,
    batch: usize,
    settings: Settings,
}

/// A sequence under way.
struct Running {
    task: usize,
    problem: usize,
    sample: u32,
    prompt_tokens: usize,
    opens_thinking: bool,
    tokens: Vec<u32>,
}

/// How long answers are so far.
struct Lengths {
    /// Answers that have ended.
    ended: usize,
    /// Tokens of all answers, including unfinished ones.
    written: u64,
    /// Unfinished answers.
    running: usize,
    /// Their tokens.
    of_running: u64,
    /// Answers that have not begun.
    waiting: usize,
    /// Tokens of an answer at most.
    most: usize,
}

impl Lengths {
    /// Tokens that are still to be written; none before an answer has ended. A plain mean of those that have would be too short, since short
    /// ones end first: what goes on is counted as what it is, longer than it is now (the censored mean of an exponential distribution).
    fn tokens_left(&self) -> Option<f64> {
        let Lengths { ended, written, running, of_running, waiting, most } = *self;
        if ended == 0 {
            return None;
        }
        let mean = (written as f64 / ended as f64).min(most as f64);
        let room = (running * most) as f64 - of_running as f64;
        Some(waiting as f64 * mean + (running as f64 * mean).min(room.max(0.0)))
    }
}

impl LocalBackend {
    /// Loads a model, and an adapter if there is one. `longest_prompt` is the most bytes of a prompt; `batch` sequences run at once, or
    /// as many as the cache has room for. `watch` hears how many weights of how many are read, and may break it off.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template; and that `watch` broke off.
    pub fn open(
        model: &Path,
        adapter: Option<&Path>,
        student: &StudentSettings,
        settings: &Settings,
        longest_prompt: usize,
        batch: Option<usize>,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<LocalBackend> {
        let date = settings.template_date.or_else(|| Some(Date::from_unix_seconds(DATE_UNIX_SECONDS)));
        let inputs = TemplateInputs { date, variables: settings.template_variables.clone() };
        let longest = longest_prompt + TEMPLATE_TOKENS + settings.max_new_tokens;
        let mut model = LoadedModel::open(model, adapter, student, inputs, longest, watch)?;
        let (batch, engine) = model.batch_engine(settings.max_new_tokens, batch, usize::MAX);
        Ok(LocalBackend { model, engine, batch, settings: settings.clone() })
    }

    /// Queues the samples of a problem. One whose prompt leaves no room for an answer is answered by nothing.
    fn submit(
        &mut self,
        ask: &SampleRequest<'_>,
        running: &mut HashMap<RequestId, Running>,
    ) -> Result<Vec<FinishedSample>> {
        let prompt = self.model.prompt(ask.messages)?;
        let prompt_tokens = prompt.ids.len();
        let (task, problem, opens_thinking) = (ask.task, ask.problem, prompt.opens_thinking);
        if prompt_tokens >= self.engine.context_tokens() {
            let unanswered = |sample| {
                let tokens = Vec::new();
                let running = Running { task, problem, sample, prompt_tokens, opens_thinking, tokens };
                self.finished(&running, Ok(Finish::Context))
            };
            return ask.samples.clone().map(unanswered).collect();
        }
        let request = Request {
            prompt: prompt.ids,
            max_new_tokens: self.settings.max_new_tokens,
            sampling: Sampling {
                temperature: self.settings.temperature,
                top_p: self.settings.top_p,
                seed: ask.seed,
                ..Sampling::default()
            },
            stop_ids: self.model.format.stop_ids.clone(),
            top_logprobs: 0,
        };
        let ids = self.engine.submit_many(request, ask.samples.clone())?;
        for (id, sample) in ids.into_iter().zip(ask.samples.clone()) {
            running.insert(id, Running { task, problem, sample, prompt_tokens, opens_thinking, tokens: Vec::new() });
        }
        Ok(Vec::new())
    }

    /// The text of a sequence that has ended or failed, reasoning and answer apart.
    fn finished(&self, sequence: &Running, end: Result<Finish, aludel_model::Error>) -> Result<FinishedSample> {
        let tokenizer = &self.model.format.text.tokenizer;
        let (is_end, failure) = (matches!(end, Ok(Finish::Stop)), end.err().map(|error| error.to_string()));
        let said = &sequence.tokens[..sequence.tokens.len() - usize::from(is_end)];
        let Text { reasoning, content, .. } = text_of(tokenizer, said, sequence.opens_thinking);
        let thinking_tokens = reasoning.as_deref().map_or(Ok(0), |text| tokenizer.count_plain(text))?;
        let answer = Answer {
            reasoning,
            content,
            finish_reason: match (&failure, is_end) {
                (Some(_), _) => FAILED,
                (None, true) => "stop",
                (None, false) => "length",
            }
            .to_owned(),
            truncated: !is_end && failure.is_none(),
            failure,
            prompt_tokens: sequence.prompt_tokens as u64,
            thinking_tokens: thinking_tokens as u64,
            completion_tokens: sequence.tokens.len() as u64,
        };
        Ok(FinishedSample { task: sequence.task, problem: sequence.problem, sample: sequence.sample, answer })
    }

    /// One pass of the engine: the sequences that ended with it.
    fn step(&mut self, running: &mut HashMap<RequestId, Running>, meter: &mut Meter) -> Result<Vec<FinishedSample>> {
        let events = self.engine.step(&mut self.model.ctx).to_vec();
        let mut ended = Vec::new();
        for event in events {
            let Some(sequence) = running.get_mut(&event.request()) else { continue };
            let end = match event {
                Event::Token { token, finish, .. } => {
                    sequence.tokens.push(token);
                    meter.count(sequence.task, 1);
                    finish.map(Ok)
                }
                Event::Failed { position, .. } => Some(Err(aludel_model::Error::Logits { position })),
            };
            if let Some(end) = end
                && let Some(sequence) = running.remove(&event.request())
            {
                ended.push(self.finished(&sequence, end)?);
            }
        }
        meter.tick();
        Ok(ended)
    }
}

impl EvalBackend for LocalBackend {
    fn context(&self) -> Option<usize> {
        Some(self.model.decoder.config().max_position_embeddings)
    }

    fn answer(
        &mut self,
        asks: &[SampleRequest<'_>],
        _is_resumed: bool,
        stop: &AtomicBool,
        meter: &mut Meter,
        take: &mut dyn FnMut(Option<FinishedSample>, &Meter) -> Result<()>,
    ) -> Result<()> {
        let mut running = HashMap::new();
        let mut waiting = asks.iter();
        let mut is_all_asked = false;
        let samples: usize = asks.iter().map(|ask| ask.samples.len()).sum();
        let (mut ended, mut written) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            while running.len() < self.batch && !is_all_asked {
                let Some(ask) = waiting.next() else {
                    is_all_asked = true;
                    break;
                };
                for answered in self.submit(ask, &mut running)? {
                    ended += 1;
                    take(Some(answered), meter)?;
                }
            }
            if running.is_empty() {
                return Ok(());
            }
            let now_ended = self.step(&mut running, meter)?;
            ended += now_ended.len();
            written += now_ended.iter().map(|answered| answered.answer.completion_tokens).sum::<u64>();
            let lengths = Lengths {
                ended,
                written: written + running.values().map(|sequence| sequence.tokens.len() as u64).sum::<u64>(),
                running: running.len(),
                of_running: running.values().map(|sequence| sequence.tokens.len() as u64).sum(),
                waiting: samples - ended - running.len(),
                most: self.settings.max_new_tokens,
            };
            meter.expect(lengths.tokens_left());
            take(None, meter)?;
            for answered in now_ended {
                take(Some(answered), meter)?;
            }
        }
        for id in running.into_keys() {
            self.engine.cancel(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aludel_kernels::rng;

    /// Answers of very different lengths, many at once, as the engine runs them: when half of their tokens are written, what is said to be
    /// left is what is left.
    #[test]
    fn at_half_of_an_evaluation_the_tokens_left_are_what_comes() {
        for (samples, batch, most) in [(240, 16, 512), (1000, 64, 512), (400, 32, 60)] {
            let length =
                |sample: u64| 1 + ((rng::mix(3, sample) % 1000) * (rng::mix(5, sample) % 1000) / 4000) as usize;
            let lengths: Vec<usize> = (0..samples).map(|sample| length(sample).min(most)).collect();
            let all: usize = lengths.iter().sum();
            let (mut next, mut running, mut ended, mut written) = (0, Vec::<(usize, usize)>::new(), 0, 0);
            while written < all / 2 {
                while running.len() < batch && next < lengths.len() {
                    running.push((lengths[next], 0));
                    next += 1;
                }
                for (_, tokens) in &mut running {
                    *tokens += 1;
                    written += 1;
                }
                let before = running.len();
                running.retain(|(length, tokens)| tokens < length);
                ended += before - running.len();
            }
            let said = Lengths {
                ended,
                written: written as u64,
                running: running.len(),
                of_running: running.iter().map(|(_, tokens)| *tokens as u64).sum(),
                waiting: lengths.len() - next,
                most,
            };
            let (said, comes) = (said.tokens_left().unwrap(), (all - written) as f64);
            assert!((said - comes).abs() <= 0.2 * comes, "{samples} in {batch}: {said} of {comes}");
        }
    }

    #[test]
    fn nothing_is_said_of_the_tokens_left_before_an_answer_has_ended() {
        let begun = Lengths { ended: 0, written: 90, running: 3, of_running: 90, waiting: 5, most: 100 };
        assert_eq!(begun.tokens_left(), None);
        // no answer can become longer than it may
        let last = Lengths { ended: 5, written: 590, running: 1, of_running: 90, waiting: 0, most: 100 };
        assert_eq!(last.tokens_left(), Some(10.0));
    }
}
