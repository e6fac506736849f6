//! A model behind a server answers: questions go out several at once, and what may pass is asked again. Tokens are those that the server
//! counts; it counts reasoning and answer together, so that the reasoning's part is taken by its letters.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aludel_data::finish_reason::Finish;
use aludel_teacher::client::{self, Question, RequestParams, Teacher};
use aludel_teacher::collect::{self, End, ListedQuestion, NONE_TAKEN, ask_list};

use super::results::{REFUSED, Settings};
use super::{Answer, EvalBackend, FinishedSample, Meter, SampleRequest};
use crate::error::{Error, Result};

/// Bits of a problem's seed, which has 53, that are left out: some servers take 31 bits, and the sample's number is added.
const SEED_SHIFT: u32 = 23;

/// A served model.
pub struct ServedBackend<'a> {
    teacher: Arc<dyn Teacher>,
    options: collect::Options,
    tell: &'a mut dyn FnMut(&str),
}

impl<'a> ServedBackend<'a> {
    /// Requests samples with these settings; everything else about requests is in the options. `tell` is called for temporary failures.
    pub fn new(
        teacher: Arc<dyn Teacher>,
        settings: &Settings,
        options: collect::Options,
        tell: &'a mut dyn FnMut(&str),
    ) -> ServedBackend<'a> {
        let asking = RequestParams {
            temperature: settings.temperature,
            top_p: settings.top_p,
            max_tokens: Some(u32::try_from(settings.max_new_tokens).unwrap_or(u32::MAX)),
            logprobs: false,
            top_logprobs: None,
            ..options.asking
        };
        ServedBackend { teacher, options: collect::Options { asking, ..options }, tell }
    }

    fn unanswered(&self, reason: String) -> Error {
        Error::Unanswered { endpoint: self.teacher.name().to_owned(), reason }
    }
}

impl EvalBackend for ServedBackend<'_> {
    fn answer(
        &mut self,
        asks: &[SampleRequest<'_>],
        is_resumed: bool,
        stop: &AtomicBool,
        meter: &mut Meter,
        take: &mut dyn FnMut(Option<FinishedSample>, &Meter) -> Result<()>,
    ) -> Result<()> {
        let samples: Vec<(usize, u32)> = asks
            .iter()
            .enumerate()
            .flat_map(|(index, ask)| ask.samples.clone().map(move |sample| (index, sample)))
            .collect();
        let list = samples.iter().map(|&(index, sample)| ListedQuestion {
            question: Arc::new(Question { messages: asks[index].messages.to_vec() }),
            seed: Some(asks[index].seed >> SEED_SHIFT),
            sample,
        });
        // Questions that are not taken count as wrong only once it is known that others are.
        let mut not_taken: Vec<FinishedSample> = Vec::new();
        let mut last_words = String::new();
        let (mut is_any_answered, mut refused) = (is_resumed, 0);
        let answered = |place: usize, answer| {
            let (index, sample) = samples[place];
            FinishedSample { task: asks[index].task, problem: asks[index].problem, sample, answer }
        };
        let (teacher, options) = (&self.teacher, &self.options);
        let end = ask_list(teacher, list, options, stop, self.tell, &mut |place, came| -> Result<()> {
            match came {
                Ok(said) => {
                    is_any_answered = true;
                    let answer = answer_of(said);
                    meter.count(asks[samples[place].0].task, answer.completion_tokens);
                    meter.tick();
                    take(Some(answered(place, answer)), meter)?;
                }
                Err(words) => {
                    refused += 1;
                    last_words.clone_from(&words);
                    not_taken.push(answered(place, Answer { finish_reason: REFUSED.to_owned(), ..Answer::default() }));
                }
            }
            if is_any_answered {
                not_taken.drain(..).try_for_each(|answered| take(Some(answered), meter))?;
            }
            if not_taken.len() as u64 >= NONE_TAKEN {
                return Err(Error::Unanswered { endpoint: teacher.name().to_owned(), reason: last_words.clone() });
            }
            Ok(())
        })?;
        if refused > not_taken.len() {
            let were = if refused == 1 { "answer was refused, and counts" } else { "answers were refused, and count" };
            (self.tell)(&format!("{refused} {were} as wrong: {last_words}"));
        }
        match end {
            End::Finished if not_taken.is_empty() => Ok(()),
            End::Finished => Err(self.unanswered(last_words)),
            End::Refused { words } => Err(self.unanswered(words.join("; "))),
            End::Silent { words } => Err(self.unanswered(words)),
            End::Incomplete { left } => {
                Err(self.unanswered(format!("{left} questions failed {} times each", self.options.max_attempts)))
            }
            // No budget is set.
            End::Stopped | End::Budget { .. } => Ok(()),
        }
    }
}

fn answer_of(said: client::Answer) -> Answer {
    let counted = |tokens: Option<u64>| tokens.unwrap_or_default().min(u64::from(u32::MAX));
    let completion_tokens = counted(said.completion_tokens);
    let content = said.content.trim().to_owned();
    let thought = said.reasoning.as_ref().map_or(0, |reasoning| reasoning.chars().count()) as u64;
    let letters = thought + content.chars().count() as u64;
    Answer {
        thinking_tokens: (completion_tokens * thought).checked_div(letters).unwrap_or_default(),
        reasoning: said.reasoning,
        content,
        truncated: said.finish == Finish::Length,
        finish_reason: said.finish.as_str().to_owned(),
        prompt_tokens: counted(said.prompt_tokens),
        completion_tokens,
        failure: None,
    }
}
