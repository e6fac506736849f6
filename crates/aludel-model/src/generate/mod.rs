//! The generation engine: submit, step, cancel. Sequences enter and leave between steps; each step is one pass of the decoder over
//! the next tokens of all running sequences, prompts and answers alike. Text (stop strings, reasoning) is the caller's business.

mod sampler;

use std::collections::{HashSet, VecDeque};

use aludel_kernels::attention::{BLOCK, Cache, Extension};
use aludel_kernels::{Context, Region, rowwise};

pub use sampler::Sampling;

use crate::adapter::Adapter;
use crate::decoder::{Active, Attention, Decoder, Keep, Pass};
use crate::error::{Error, Result};

/// Names a submitted sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// What a sequence asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt; not empty.
    pub prompt: Vec<u32>,
    /// The most tokens to generate.
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
    /// `max_new_tokens` were generated, or the context is full.
    Length,
}

/// A token that was generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The sequence.
    pub request: RequestId,
    /// The token.
    pub token: u32,
    /// Its log-probability under the model, before temperature and truncation.
    pub log_probability: f64,
    /// Whether it was the last one.
    pub finish: Option<Finish>,
}

struct Sequence {
    id: RequestId,
    request: Request,
    tokens: Vec<u32>,
    /// Tokens whose keys and values are cached.
    cached: usize,
    /// The most tokens that it may come to.
    limit: usize,
    blocks: Vec<u32>,
}

/// Runs many sequences at once on one decoder.
pub struct Engine {
    cache: Cache,
    free: Vec<u32>,
    running: Vec<Sequence>,
    waiting: VecDeque<Sequence>,
    submitted: u64,
    tokens_per_pass: usize,
    /// Tokens and logits rows of the passes that the arenas have room for. Both count together: room for the most tokens with one
    /// row, and for few tokens with the most rows, is not room for the most of both.
    planned: HashSet<(usize, usize)>,
}

impl Engine {
    /// An engine whose cache holds `context_tokens` tokens in all; a pass takes at most `tokens_per_pass`.
    pub fn new(ctx: &mut Context, decoder: &Decoder, context_tokens: usize, tokens_per_pass: usize) -> Engine {
        let blocks = context_tokens.div_ceil(BLOCK).max(1);
        let layers = decoder.config().num_hidden_layers;
        Engine {
            cache: Cache::new(ctx, decoder.heads(), layers, blocks),
            free: (0..blocks as u32).rev().collect(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            submitted: 0,
            tokens_per_pass: tokens_per_pass.max(1),
            planned: HashSet::new(),
        }
    }

    /// Queues a sequence. It starts as soon as the cache has room for all that it may come to.
    ///
    /// # Errors
    /// An empty prompt, token ids outside the vocabulary, or a prompt that fills the context.
    pub fn submit(&mut self, decoder: &Decoder, adapter: Option<&Adapter>, request: Request) -> Result<RequestId> {
        let capacity = decoder.max_positions().min(self.cache.blocks() * BLOCK);
        let length = request.prompt.len();
        if length == 0 || length >= capacity {
            return Err(Error::Length { length: length.max(1), limit: capacity - 1 });
        }
        decoder.check(&request.prompt, length, adapter)?;
        let id = RequestId(self.submitted);
        self.submitted += 1;
        self.waiting.push_back(Sequence {
            id,
            tokens: request.prompt.clone(),
            cached: 0,
            limit: capacity.min(length + request.max_new_tokens.max(1)),
            blocks: Vec::new(),
            request,
        });
        Ok(id)
    }

    /// Ends a sequence; nothing more is reported of it.
    pub fn cancel(&mut self, id: RequestId) {
        self.waiting.retain(|sequence| sequence.id != id);
        if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            self.leave(at);
        }
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// One pass: at most one new token for each running sequence.
    ///
    /// # Errors
    /// Logits that are not numbers.
    pub fn step(&mut self, ctx: &mut Context, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Vec<Event>> {
        self.admit();
        let (pass, extensions, complete) = self.next_pass();
        if pass.is_empty() {
            return Ok(Vec::new());
        }
        let last: Vec<u32> = complete.iter().map(|&at| extensions[at].tokens.end as u32 - 1).collect();
        let cache = self.cache;
        let run = |ctx: &mut Context| {
            let attention = Attention::Cached { cache: &cache, sequences: &extensions };
            let active = adapter.map(|adapter| Active { adapter, dropout: None });
            let forward = decoder.forward(ctx, &pass, attention, active, Keep::Nothing);
            if last.is_empty() {
                return Vec::new();
            }
            let rows = ctx.upload_indices(&last);
            let hidden = ctx.scratch(last.len(), forward.hidden.cols());
            rowwise::gather_rows(ctx, forward.hidden, rows, hidden);
            let logits = ctx.alloc(Region::Io, last.len(), decoder.vocab_size(adapter));
            decoder.logits(ctx, hidden, adapter, logits);
            ctx.download(logits)
        };
        if self.planned.insert((pass.len(), last.len())) {
            ctx.plan(run);
        }
        ctx.reset();
        let mark = ctx.mark();
        let logits = run(ctx);
        ctx.release(mark);
        for (sequence, extension) in self.running.iter_mut().zip(&extensions) {
            sequence.cached += extension.tokens.len();
        }
        let mut events = Vec::with_capacity(complete.len());
        for (&at, logits) in complete.iter().zip(logits.chunks_exact(decoder.vocab_size(adapter))) {
            events.push(self.running[at].take(logits)?);
        }
        for event in events.iter().filter(|event| event.finish.is_some()) {
            self.cancel(event.request);
        }
        Ok(events)
    }

    fn admit(&mut self) {
        while let Some(next) = self.waiting.front() {
            let needed = next.limit.div_ceil(BLOCK);
            if needed > self.free.len() {
                return;
            }
            if let Some(mut sequence) = self.waiting.pop_front() {
                sequence.blocks = self.free.split_off(self.free.len() - needed);
                self.running.push(sequence);
            }
        }
    }

    /// The tokens of the next pass, one extension for each running sequence (perhaps empty), and which sequences are then complete, so
    /// that their next token can be chosen.
    fn next_pass(&self) -> (Pass, Vec<Extension>, Vec<usize>) {
        let mut pass = Pass::default();
        let (mut extensions, mut complete) = (Vec::new(), Vec::new());
        for (at, sequence) in self.running.iter().enumerate() {
            let pending = &sequence.tokens[sequence.cached..];
            // answers go on whatever prompts are waiting: one token always has room
            let room = self.tokens_per_pass.saturating_sub(pass.len()).max(usize::from(pending.len() == 1));
            let count = pending.len().min(room);
            let start = pass.len();
            pass.ids.extend(&pending[..count]);
            pass.positions.extend((sequence.cached..sequence.cached + count).map(|p| p as u32));
            pass.examples.resize(pass.ids.len(), 0);
            extensions.push(Extension {
                tokens: start..start + count,
                start: sequence.cached,
                blocks: sequence.blocks.clone(),
            });
            if count > 0 && count == pending.len() {
                complete.push(at);
            }
        }
        (pass, extensions, complete)
    }

    fn leave(&mut self, at: usize) {
        let sequence = self.running.remove(at);
        self.free.extend(sequence.blocks);
    }
}

impl Sequence {
    fn take(&mut self, logits: &[f32]) -> Result<Event> {
        let (token, log_probability) = self.request.sampling.choose(logits, &self.tokens)?;
        self.tokens.push(token);
        let finish = if self.request.stop_ids.contains(&token) {
            Some(Finish::Stop)
        } else if self.tokens.len() >= self.limit {
            Some(Finish::Length)
        } else {
            None
        };
        Ok(Event { request: self.id, token, log_probability, finish })
    }
}
