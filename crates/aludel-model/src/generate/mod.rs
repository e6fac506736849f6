//! The generation engine: submit, step, cancel. Sequences enter and leave between steps; each step is one pass of the decoder over
//! the next tokens of the running sequences, prompts and answers alike. A sequence's tokens depend on its prompt, its sampling and
//! its sample number, and on nothing else that runs. Text (stop strings, reasoning) is left to the caller.

mod kv_blocks;
mod scheduler;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use aludel_kernels::attention::{BLOCK, Cache};
pub use aludel_kernels::sampling::Sampling;
use aludel_kernels::sampling::{self, Choice, Chosen};
use aludel_kernels::{Context, Mat, Region, loss, rowwise};

use scheduler::{Batch, Schedule};

use crate::adapter::Adapter;
use crate::decoder::{Active, Attention, Decoder};
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
    /// How many of the likeliest tokens [`Engine::top_logprobs`] has for each place.
    pub top_logprobs: usize,
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

/// What became of a sequence in a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A token was generated.
    Token {
        /// The sequence.
        request: RequestId,
        /// The token.
        token: u32,
        /// Its log-probability under the model, before temperature and truncation.
        log_probability: f32,
        /// Why it was the last one, if it was.
        finish: Option<Finish>,
    },
    /// The sequence has ended without another token, since its logits are NaN or infinite. The others go on.
    Failed {
        /// The sequence.
        request: RequestId,
        /// Its tokens so far, those of the prompt included.
        position: usize,
    },
}

impl Event {
    /// The sequence.
    pub fn request(&self) -> RequestId {
        match *self {
            Event::Token { request, .. } | Event::Failed { request, .. } => request,
        }
    }

    /// Whether nothing more will be reported of the sequence.
    fn is_last(&self) -> bool {
        matches!(self, Event::Failed { .. } | Event::Token { finish: Some(_), .. })
    }
}

/// Runs many sequences at once on one decoder and, where there is one, one adapter: what is cached and planned is of these two.
pub struct Engine {
    decoder: Arc<Decoder>,
    adapter: Option<Arc<Adapter>>,
    cache: Cache,
    schedule: Schedule,
    /// Of the present pass.
    batch: Batch,
    host: Host,
    submitted: u64,
    /// The most tokens of a sequence, prompt and answer.
    context_tokens: usize,
    /// Tokens that may be chosen: the first so many.
    vocab: usize,
    /// Tokens, rows of logits, and penalised ones among these, of the passes that the arenas have room for. They count together: room
    /// for the most tokens with one row, and for few tokens with the most rows, is not room for the most of both.
    planned: HashSet<(usize, usize, usize)>,
}

/// What the host sees of a pass, one entry for each complete sequence. Used again from pass to pass.
#[derive(Default)]
struct Host {
    choices: Vec<Choice>,
    /// The tokens of sequences that are penalised for what occurred.
    seen: Vec<u32>,
    /// Room for them on the device.
    seen_room: usize,
    tokens: Vec<u32>,
    /// Whether a token could be chosen from the logits, as 0 or 1.
    is_sound: Vec<u32>,
    weights: Vec<f32>,
    losses: Vec<f32>,
    events: Vec<Event>,
    /// Of the sequences that want them: the likeliest tokens at the place of the last token, with their log-probabilities.
    top_logprobs: Vec<(RequestId, Vec<(u32, f32)>)>,
}

impl Engine {
    /// An engine whose cache holds `context_tokens` tokens of all sequences together; a pass takes at most `tokens_per_pass`, and so
    /// no more sequences run at once.
    pub fn new(
        ctx: &mut Context,
        decoder: Arc<Decoder>,
        adapter: Option<Arc<Adapter>>,
        context_tokens: usize,
        tokens_per_pass: usize,
    ) -> Engine {
        let blocks = context_tokens.div_ceil(BLOCK).max(1);
        let layers = decoder.config().num_hidden_layers;
        Engine {
            cache: Cache::new(ctx, decoder.heads(), layers, blocks, tokens_per_pass.clamp(1, blocks)),
            schedule: Schedule::new(blocks, tokens_per_pass),
            batch: Batch::default(),
            host: Host::default(),
            submitted: 0,
            context_tokens: decoder.max_positions().min(blocks * BLOCK),
            planned: HashSet::new(),
            vocab: usize::MAX,
            decoder,
            adapter,
        }
    }

    /// Chooses among the first `vocab` tokens alone: what lies behind them may mean nothing to another model.
    #[must_use]
    pub fn with_vocab(self, vocab: usize) -> Engine {
        Engine { vocab, ..self }
    }

    /// Bytes of a cache for `context_tokens` tokens.
    pub fn cache_bytes(ctx: &Context, decoder: &Decoder, context_tokens: usize) -> usize {
        let blocks = context_tokens.div_ceil(BLOCK).max(1);
        Cache::bytes(ctx, decoder.heads(), decoder.config().num_hidden_layers, blocks)
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
    pub fn submit(&mut self, request: Request) -> Result<RequestId> {
        let id = RequestId(self.submitted);
        self.submit_many(request, 0..1).map(|_| id)
    }

    /// Queues a sequence for each sample number. The prompt is computed once, and its cache blocks are shared. A sample is the same
    /// whichever others are asked for with it, so that missing ones can be asked for later.
    ///
    /// # Errors
    /// An empty prompt, token ids outside the vocabulary, or a prompt that fills the context.
    pub fn submit_many(&mut self, request: Request, samples: Range<u32>) -> Result<Vec<RequestId>> {
        let length = request.prompt.len();
        if length == 0 {
            return Err(Error::EmptyPrompt);
        }
        if length >= self.context_tokens {
            return Err(Error::Context { length, limit: self.context_tokens });
        }
        self.decoder.check(&request.prompt, length, self.adapter.as_deref())?;
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

    /// The likeliest tokens at the place of the token that the last step gave a sequence, with their log-probabilities under the model,
    /// the likeliest first and the lowest id first of equals; empty where [`Request::top_logprobs`] is 0.
    pub fn top_logprobs(&self, id: RequestId) -> &[(u32, f32)] {
        self.host.top_logprobs.iter().find(|(of, _)| *of == id).map_or(&[], |(_, tokens)| tokens.as_slice())
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.schedule.is_idle()
    }

    /// One pass: at most one new token for each running sequence. A sequence whose logits are no numbers fails alone.
    pub fn step(&mut self, ctx: &mut Context) -> &[Event] {
        self.schedule.next_batch(&mut self.batch);
        self.host.events.clear();
        self.host.top_logprobs.clear();
        if self.batch.pass.is_empty() {
            return &[];
        }
        self.run(ctx);
        self.schedule.commit(&self.batch);
        for i in 0..self.batch.complete.len() {
            let event = self.append(i);
            self.host.events.push(event);
        }
        for event in self.host.events.iter().filter(|event| event.is_last()) {
            self.schedule.remove(event.request());
        }
        &self.host.events
    }

    /// Runs the batch and chooses a token for each of its complete sequences, if there are any.
    fn run(&mut self, ctx: &mut Context) {
        let Engine { decoder, adapter, cache, batch, host, planned, schedule, context_tokens, vocab, .. } = self;
        host.list_choices(schedule, batch, *context_tokens);
        let adapter = adapter.as_deref();
        let attention = Attention::Cached { cache, extensions: &batch.extensions };
        let active = adapter.map(|adapter| Active { adapter, dropout: None });
        let size = (batch.pass.len(), batch.last_rows.len(), host.seen_room);
        let mut of_pass = None;
        let mut run = |ctx: &mut Context| {
            let mark = ctx.mark();
            let forward = decoder.forward(ctx, &batch.pass, attention, active, None);
            if batch.last_rows.is_empty() {
                return;
            }
            let rows = ctx.upload_indices(&batch.last_rows);
            let hidden = ctx.scratch(rows.len(), forward.hidden.cols());
            rowwise::gather_rows(ctx, forward.hidden, rows, hidden);
            let logits = ctx.alloc(Region::Io, rows.len(), decoder.vocab_size(adapter));
            decoder.logits(ctx, hidden, adapter, logits);
            ctx.release(mark);
            host.choose(ctx, logits.col_range(0, logits.cols().min(*vocab)));
            of_pass = Some(logits);
        };
        // an `insert` may ask for memory even where the key is there
        if !planned.contains(&size) {
            planned.insert(size);
            ctx.plan(&mut run);
        }
        ctx.reset();
        run(ctx);
        if let Some(logits) = of_pass {
            host.list_top_logprobs(ctx, logits, schedule, batch);
        }
    }

    /// Gives the `i`-th complete sequence its token, if it has one.
    fn append(&mut self, i: usize) -> Event {
        // the log-probability is what training would call the loss, with the other sign
        let (token, log_probability) = (self.host.tokens[i], -self.host.losses[i]);
        let sequence = self.schedule.running_mut(self.batch.complete[i]);
        if self.host.is_sound[i] == 0 {
            return Event::Failed { request: sequence.id, position: sequence.tokens.len() };
        }
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
        let (request, length) = (sequence.id, sequence.tokens.len());
        if finish.is_none() && self.decoder.changes_frequencies_at(length) {
            self.schedule.restart(self.batch.complete[i]);
        }
        Event::Token { request, token, log_probability, finish }
    }
}

impl Host {
    /// How the next token of each complete sequence is chosen.
    fn list_choices(&mut self, schedule: &Schedule, batch: &Batch, context_tokens: usize) {
        self.choices.clear();
        self.seen.clear();
        self.seen_room = 0;
        for &at in &batch.complete {
            let sequence = schedule.running(at);
            let (sampling, tokens) = (&sequence.request.sampling, &sequence.tokens);
            let start = self.seen.len();
            if sampling.repetition_penalty != 1.0 {
                // room for as many as there can be, so that a sequence that grows needs no more memory
                self.seen_room += context_tokens;
                self.seen.reserve(self.seen_room - start);
                self.seen.extend_from_slice(tokens);
            }
            self.choices.push(Choice::new(sampling, sequence.sample, tokens.len(), start..self.seen.len()));
        }
    }

    /// The next token of each complete sequence, chosen where the logits [rows, V] are, whether they were sound, and its loss.
    fn choose(&mut self, ctx: &mut Context, logits: Mat) {
        let rows = logits.rows();
        self.weights.resize(rows, 1.0);
        let choices = ctx.upload_list(self.choices.iter().copied());
        let seen = ctx.alloc_list(self.seen_room).range(0, self.seen.len());
        ctx.write_list(seen, self.seen.iter().copied());
        let chosen = Chosen { tokens: ctx.alloc_list(rows), is_sound: ctx.alloc_list(rows) };
        sampling::choose(ctx, logits, choices, seen, chosen);
        let weights = ctx.upload(Region::Io, 1, rows, &self.weights);
        let losses = ctx.alloc(Region::Io, 1, rows);
        // of each row; nobody reads that of one without a token
        loss::cross_entropy(ctx, logits, chosen.tokens, weights, losses, false);
        ctx.download_list_into(chosen.tokens, &mut self.tokens);
        ctx.download_list_into(chosen.is_sound, &mut self.is_sound);
        ctx.download_into(losses, &mut self.losses);
    }

    /// The likeliest tokens of the complete sequences that want them. Only these rows of logits are copied.
    fn list_top_logprobs(&mut self, ctx: &Context, logits: Mat, schedule: &Schedule, batch: &Batch) {
        for (row, &at) in batch.complete.iter().enumerate() {
            let sequence = schedule.running(at);
            let count = sequence.request.top_logprobs;
            if count == 0 || self.is_sound[row] == 0 {
                continue;
            }
            let scores = ctx.download(logits.row_range(row, 1));
            // the loss is this sum less the logit of the chosen token
            let log_sum_exp = self.losses[row] + scores[self.tokens[row] as usize];
            let tokens = highest(&scores, count).into_iter().map(|id| (id, scores[id as usize] - log_sum_exp));
            self.top_logprobs.push((sequence.id, tokens.collect()));
        }
    }
}

/// The ids of the `count` highest scores, the highest first and the lowest id first of equals.
fn highest(scores: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..scores.len() as u32).collect();
    let order = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}
