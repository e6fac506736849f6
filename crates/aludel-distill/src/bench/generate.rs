//! Prompts read and answers written by the generation engine, greedily, with the log-probability of every token.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aludel_kernels::{Context, profile::Kind};
use aludel_model::adapter::Adapter;
use aludel_model::decoder::Decoder;
use aludel_model::generate::{Engine, Event, Request, Sampling};
use aludel_model::student::Student;
use serde::Serialize;

use super::{invented_tokens, median};
use crate::error::Result;
use crate::learner::{context, weight_format};
use crate::settings::{Dtype, StudentSettings};

/// Times that what is short is measured.
const ROUNDS: usize = 5;
/// Tokens of the prompt whose first answer token is timed.
const SHORT_PROMPT: usize = 32;

/// What to time.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How many sequences at once, one measurement for each number.
    pub batch_sizes: Vec<usize>,
    /// Tokens of the prompt that is read in one pass.
    pub prefill_length: usize,
    /// Tokens before the first that is written.
    pub prompt_length: usize,
    /// Tokens that each sequence writes.
    pub new_tokens: usize,
}

/// What generation costs.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateBench {
    /// Prompt tokens a second, read in one pass, the first answer token included.
    pub prefill_tokens_per_second: f64,
    /// Tokens written a second, all sequences together, by how many there are.
    pub decode_tokens_per_second: BTreeMap<usize, f64>,
    /// Milliseconds from a short prompt to its first answer token, the model being loaded.
    pub first_token_ms: f64,
    /// Tokens of that prompt.
    pub first_token_prompt: usize,
    /// Milliseconds to open and pack the model.
    pub load_ms: f64,
    /// The precision of products.
    pub dtype: String,
    /// The instruction set in use.
    pub instruction_set: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// Milliseconds of the last decode measurement's mean step, by kind of op.
    pub step_ms: BTreeMap<String, f64>,
}

/// Loads the model and times it. `tell` is called with the passes done and the approximate total.
///
/// # Errors
/// A model or adapter that cannot be loaded, more positions than the model has.
pub fn bench_generate(
    model: &Path,
    adapter: Option<&Path>,
    settings: &StudentSettings,
    options: &GenerateOptions,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<GenerateBench> {
    let begun = Instant::now();
    let student = Student::open(model)?;
    let mut ctx = context(settings)?;
    // those whose prompts are read first write while the others wait
    let most = options.batch_sizes.iter().copied().max().unwrap_or(1);
    let waiting = (most * options.prompt_length).div_ceil(options.prefill_length) + 1;
    let options = GenerateOptions { new_tokens: options.new_tokens + waiting, ..options.clone() };
    let longest = options.prefill_length.max(options.prompt_length + options.new_tokens).max(SHORT_PROMPT) + 1;
    let format = weight_format(settings.dtype, settings.quantize);
    let decoder = Decoder::load(&mut ctx, &student.config, &student.weights, format, longest)?;
    let adapter = adapter.map(|folder| Adapter::load(&mut ctx, &decoder, folder).map(Arc::new)).transpose()?;
    let load_ms = begun.elapsed().as_secs_f64() * 1e3;

    // whole blocks for each sequence
    let context_tokens = most * (longest + 64);
    let precision = decoder.precision();
    let most_tokens = options.prefill_length.max(most);
    let engine = Engine::new(&mut ctx, Arc::new(decoder), adapter, context_tokens, most_tokens);
    // each round of a prompt is a pass; of many, as many as read the prompts, and one for each token
    let decoding = |&size: &usize| (size * options.prompt_length).div_ceil(most_tokens) + options.new_tokens;
    let passes = 2 * (ROUNDS + 1) + options.batch_sizes.iter().map(decoding).sum::<usize>();
    tell(0, passes);
    let mut bench = Bench { ctx, engine, vocab_size: student.config.vocab_size, done: 0, passes, tell };
    let first_token_ms = bench.repeated(SHORT_PROMPT)? * 1e3;
    let prefill_seconds = bench.repeated(options.prefill_length)?;
    let mut decode_tokens_per_second = BTreeMap::new();
    let mut step_ms = BTreeMap::new();
    for &size in &options.batch_sizes {
        let rate = bench.decode(size, options.prompt_length, options.new_tokens, &mut step_ms)?;
        decode_tokens_per_second.insert(size, rate);
    }
    Ok(GenerateBench {
        prefill_tokens_per_second: options.prefill_length as f64 / prefill_seconds,
        decode_tokens_per_second,
        first_token_ms,
        first_token_prompt: SHORT_PROMPT,
        load_ms,
        dtype: match settings.dtype {
            Dtype::File => "file".to_owned(),
            _ => format!("{precision:?}").to_lowercase() + settings.quantize.suffix(),
        },
        instruction_set: bench.ctx.isa().name(),
        threads: bench.ctx.threads(),
        step_ms,
    })
}

struct Bench<'a> {
    ctx: Context,
    engine: Engine,
    vocab_size: usize,
    done: usize,
    passes: usize,
    tell: &'a mut dyn FnMut(usize, usize),
}

impl Bench<'_> {
    /// Time to first token for a prompt of this length, in seconds.
    fn first_token(&mut self, prompt: usize) -> Result<f64> {
        let begun = Instant::now();
        self.submit(0, prompt, 1)?;
        while !self.engine.is_idle() {
            self.step()?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.report_progress();
        Ok(seconds)
    }

    fn report_progress(&mut self) {
        self.done += 1;
        (self.tell)(self.done.min(self.passes), self.passes);
    }

    /// The median of several, after one that is not counted.
    fn repeated(&mut self, prompt: usize) -> Result<f64> {
        self.first_token(prompt)?;
        let seconds: Vec<f64> = (0..ROUNDS).map(|_| self.first_token(prompt)).collect::<Result<_>>()?;
        Ok(median(&seconds))
    }

    /// Tokens a second of `size` sequences, in the steps in which all of them write. The first steps read prompts, and a sequence
    /// whose prompt was read early is done early: those steps do not count.
    fn decode(
        &mut self,
        size: usize,
        prompt: usize,
        new_tokens: usize,
        step_ms: &mut BTreeMap<String, f64>,
    ) -> Result<f64> {
        for seed in 0..size {
            self.submit(seed as u64, prompt, new_tokens)?;
        }
        let (mut seconds, mut spent) = (Vec::new(), [0.0; Kind::ALL.len()]);
        let mut is_all_writing = false;
        while !self.engine.is_idle() {
            let (begun, earlier) = (Instant::now(), Kind::ALL.map(|kind| self.ctx.time_spent(kind)));
            let written = self.step()?;
            let seconds_of_step = begun.elapsed().as_secs_f64();
            // the step in which the last prompt was read ends with a token of each, too
            if written == size && is_all_writing {
                seconds.push(seconds_of_step);
                for (sum, (kind, earlier)) in spent.iter_mut().zip(Kind::ALL.into_iter().zip(earlier)) {
                    *sum += (self.ctx.time_spent(kind) - earlier).as_secs_f64();
                }
            }
            is_all_writing = written == size;
            self.report_progress();
        }
        let steps = seconds.len() as f64;
        step_ms.clear();
        for (kind, spent) in Kind::ALL.into_iter().zip(spent) {
            step_ms.insert(format!("{kind:?}").to_lowercase(), spent * 1e3 / steps);
        }
        step_ms.insert("all".to_owned(), seconds.iter().sum::<f64>() * 1e3 / steps);
        Ok(size as f64 / median(&seconds))
    }

    /// One pass: how many tokens were written.
    fn step(&mut self) -> Result<usize> {
        let events = self.engine.step(&mut self.ctx);
        match events
            .iter()
            .find_map(|event| if let Event::Failed { position, .. } = event { Some(*position) } else { None })
        {
            Some(position) => Err(aludel_model::Error::Logits { position }.into()),
            None => Ok(events.len()),
        }
    }

    fn submit(&mut self, seed: u64, prompt: usize, max_new_tokens: usize) -> Result<()> {
        let request = Request {
            prompt: invented_tokens(seed, prompt, self.vocab_size),
            max_new_tokens,
            sampling: Sampling::default(),
            stop_ids: Vec::new(),
            top_logprobs: 0,
        };
        self.engine.submit(request)?;
        Ok(())
    }
}
