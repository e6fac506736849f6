//! The generation engine: submit, step, cancel. Sequences enter and leave between steps; each step is one pass of the decoder over
//! the next tokens of the running sequences, prompts and answers alike. A sequence's tokens depend on its prompt, its sampling and
//! its sample number, and on nothing else that runs. Text (stop strings, reasoning) is the caller's business.

mod blocks;
mod sampler;
mod schedule;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use aludel_kernels::attention::{BLOCK, Cache};
use aludel_kernels::{Context, Mat, Region, loss, rowwise};

use sampler::Sampler;
pub use sampler::Sampling;
use schedule::{Batch, Schedule};

use crate::adapter::Adapter;
use crate::decoder::{Active, Attention, Decoder, Keep};
use crate::error::{Error, Result};

/// Names a submitted sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// What a sequence asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt; not empty.
    pub prompt: Vec<u32>,
    /// The most tokens to generate; 0 is taken as 1.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that end the sequence; they are reported, too.
    pub stop_ids: Vec<u32>,
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token came.
    Stop,
    /// `max_new_tokens` were generated.
    Length,
    /// Prompt and answer fill the model's positions, or the cache.
    Context,
}

/// A token that was generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The sequence.
    pub request: RequestId,
    /// The token.
    pub token: u32,
    /// Its log-probability under the model, before temperature and truncation.
    pub log_probability: f32,
    /// Why it was the last one, if it was.
    pub finish: Option<Finish>,
}

/// Runs many sequences at once on one decoder.
pub struct Engine {
    cache: Cache,
    schedule: Schedule,
    sampler: Sampler,
    submitted: u64,
    /// The most tokens of a sequence, prompt and answer.
    context_tokens: usize,
    /// Tokens and logits rows of the passes that the arenas have room for. Both count together: room for the most tokens with one
    /// row, and for few tokens with the most rows, is not room for the most of both.
    planned: HashSet<(usize, usize)>,
}

impl Engine {
    /// An engine whose cache holds `context_tokens` tokens of all sequences together; a pass takes at most `tokens_per_pass`, and so
    /// no more sequences run at once.
    pub fn new(ctx: &mut Context, decoder: &Decoder, context_tokens: usize, tokens_per_pass: usize) -> Engine {
        let blocks = context_tokens.div_ceil(BLOCK).max(1);
        let layers = decoder.config().num_hidden_layers;
        Engine {
            cache: Cache::new(ctx, decoder.heads(), layers, blocks),
            schedule: Schedule::new(blocks, tokens_per_pass),
            sampler: Sampler::default(),
            submitted: 0,
            context_tokens: decoder.max_positions().min(blocks * BLOCK),
            planned: HashSet::new(),
        }
    }

    /// The most tokens of a sequence, prompt and answer together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Blocks of the cache, of 64 tokens each, that no sequence holds; and blocks in all.
    pub fn free_blocks(&self) -> (usize, usize) {
        (self.schedule.pool().free(), self.schedule.pool().len())
    }

    /// Queues a sequence: sample 0 of [`Engine::submit_many`].
    ///
    /// # Errors
    /// As [`Engine::submit_many`].
    pub fn submit(&mut self, decoder: &Decoder, adapter: Option<&Adapter>, request: Request) -> Result<RequestId> {
        let id = RequestId(self.submitted);
        self.submit_many(decoder, adapter, request, 0..1).map(|_| id)
    }

    /// Queues a sequence for each sample number. The prompt is computed once, and its cache blocks are shared. A sample is the same
    /// whichever others are asked for with it, so that missing ones can be asked for later.
    ///
    /// # Errors
    /// An empty prompt, token ids outside the vocabulary, or a prompt that fills the context.
    pub fn submit_many(
        &mut self,
        decoder: &Decoder,
        adapter: Option<&Adapter>,
        request: Request,
        samples: Range<u32>,
    ) -> Result<Vec<RequestId>> {
        let length = request.prompt.len();
        if length == 0 {
            return Err(Error::EmptyPrompt);
        }
        if length >= self.context_tokens {
            return Err(Error::Context { length, limit: self.context_tokens });
        }
        decoder.check(&request.prompt, length, adapter)?;
        let request = Arc::new(request);
        let ids = samples.map(|sample| {
            let id = RequestId(self.submitted);
            self.submitted += 1;
            self.schedule.submit(id, Arc::clone(&request), sample);
            id
        });
        Ok(ids.collect())
    }

    /// Ends a sequence; nothing more is reported of it.
    pub fn cancel(&mut self, id: RequestId) {
        self.schedule.remove(id);
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.schedule.is_idle()
    }

    /// One pass: at most one new token for each running sequence.
    ///
    /// # Errors
    /// [`Error::Logits`] names the sequence whose logits are not numbers. It has ended; the others lost nothing, and go on with the
    /// next step.
    pub fn step(&mut self, ctx: &mut Context, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Vec<Event>> {
        let batch = self.schedule.next_batch();
        if batch.pass.is_empty() {
            return Ok(Vec::new());
        }
        let Some(logits) = self.run(ctx, decoder, adapter, &batch) else {
            self.schedule.commit(&batch);
            return Ok(Vec::new());
        };
        let values = ctx.download(logits);
        let mut tokens = Vec::with_capacity(logits.rows());
        for (&(at, _), row) in batch.complete.iter().zip(values.chunks_exact(logits.cols())) {
            let sequence = self.schedule.running(at);
            let sampling = &sequence.request.sampling;
            let Some(token) = self.sampler.choose(sampling, row, &sequence.tokens, sequence.sample) else {
                // The pass does not count: the next one computes the same for the others.
                let error = Error::Logits { request: sequence.id, position: sequence.tokens.len() };
                self.schedule.remove(sequence.id);
                return Err(error);
            };
            tokens.push(token);
        }
        let log_probabilities = log_probabilities(ctx, logits, &tokens);
        self.schedule.commit(&batch);
        let chosen = tokens.into_iter().zip(log_probabilities);
        let events: Vec<Event> =
            batch.complete.iter().zip(chosen).map(|(&(at, _), chosen)| self.append(at, chosen)).collect();
        for event in events.iter().filter(|event| event.finish.is_some()) {
            self.schedule.remove(event.request);
        }
        Ok(events)
    }

    /// Runs a batch; the logits of its complete sequences, if there are any, valid until the next pass.
    fn run(&mut self, ctx: &mut Context, decoder: &Decoder, adapter: Option<&Adapter>, batch: &Batch) -> Option<Mat> {
        let last: Vec<u32> = batch.complete.iter().map(|&(_, row)| row).collect();
        let cache = self.cache;
        let run = |ctx: &mut Context| {
            let attention = Attention::Cached { cache: &cache, sequences: &batch.extensions };
            let active = adapter.map(|adapter| Active { adapter, dropout: None });
            let mark = ctx.mark();
            let forward = decoder.forward(ctx, &batch.pass, attention, active, Keep::Nothing);
            if last.is_empty() {
                return None;
            }
            let rows = ctx.upload_indices(&last);
            let hidden = ctx.scratch(last.len(), forward.hidden.cols());
            rowwise::gather_rows(ctx, forward.hidden, rows, hidden);
            let logits = ctx.alloc(Region::Io, last.len(), decoder.vocab_size(adapter));
            decoder.logits(ctx, hidden, adapter, logits);
            ctx.release(mark);
            Some(logits)
        };
        if self.planned.insert((batch.pass.len(), last.len())) {
            ctx.plan(|ctx| run(ctx).map(|logits| log_probabilities(ctx, logits, &vec![0; last.len()])));
        }
        ctx.reset();
        run(ctx)
    }

    fn append(&mut self, at: usize, (token, log_probability): (u32, f32)) -> Event {
        let sequence = self.schedule.running_mut(at);
        sequence.tokens.push(token);
        let new_tokens = sequence.tokens.len() - sequence.request.prompt.len();
        let finish = if sequence.request.stop_ids.contains(&token) {
            Some(Finish::Stop)
        } else if new_tokens >= sequence.request.max_new_tokens {
            Some(Finish::Length)
        } else if sequence.tokens.len() >= self.context_tokens {
            Some(Finish::Context)
        } else {
            None
        };
        Event { request: sequence.id, token, log_probability, finish }
    }
}

/// ln p of one token in each row of logits [rows, V]: what training would call its loss, with the other sign.
fn log_probabilities(ctx: &mut Context, logits: Mat, tokens: &[u32]) -> Vec<f32> {
    let targets = ctx.upload_indices(tokens);
    let weights = ctx.upload(Region::Io, 1, tokens.len(), &vec![1.0; tokens.len()]);
    let losses = ctx.alloc(Region::Io, 1, tokens.len());
    loss::cross_entropy(ctx, logits, targets, weights, losses, false);
    ctx.download(losses).into_iter().map(|loss| -loss).collect()
}
