//! The one thread that owns context, decoder and engines: jobs come in by a channel, and each sequence's tokens go out by one of its
//! own. A sequence whose channel was closed is cancelled before the next step. An adapter has an engine of its own over the shared base.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use aludel_distill::inference::{ChatFormat, LoadedAdapters};
use aludel_kernels::Context;
use aludel_model::generate::{Engine, Event, Finish, Request, RequestId};
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::options::Options;

/// Prompt tokens of one pass.
const TOKENS_PER_PASS: usize = 512;
/// What keys and values of all sequences of all engines may take, unless one sequence needs more.
const CACHE_BYTES: usize = 2 << 30;

/// A prompt to be continued.
pub(crate) struct Job {
    /// The place of the model among the loaded ones.
    pub(crate) model: usize,
    pub(crate) request: Request,
    /// One for each sample; that of a sample which is no longer wanted is closed.
    pub(crate) samples: Vec<UnboundedSender<Generated>>,
}

/// What became of a sequence in a step.
#[derive(Debug)]
pub(crate) enum Generated {
    Token {
        token: u32,
        logprob: f32,
        /// The likeliest tokens at this place, where they were asked for.
        top: Vec<(u32, f32)>,
        finish: Option<Finish>,
    },
    /// The sequence has ended without an answer.
    Failed(String),
}

/// The thread, and what there is to know of its models.
pub(crate) struct EngineThread {
    pub(crate) jobs: Sender<Job>,
    pub(crate) formats: Vec<Arc<ChatFormat>>,
    /// The most tokens of a sequence.
    pub(crate) context_tokens: usize,
    pub(crate) thread: JoinHandle<()>,
}

/// Loads the models on a thread of their own, which then answers until all senders of jobs are gone.
///
/// # Errors
/// Whatever is wrong with the models.
pub(crate) fn start(options: &Options, metrics: Arc<Metrics>) -> Result<EngineThread> {
    let (jobs, incoming) = channel();
    let (loaded, opened) = channel();
    let options = options.clone();
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let (mut worker, formats) = match Worker::open(&options, metrics) {
            Ok(opened) => opened,
            Err(error) => {
                // Whoever waited for it has gone, or gets it.
                let _ = loaded.send(Err(error));
                return;
            }
        };
        let context_tokens = worker.context_tokens();
        if loaded.send(Ok((formats, context_tokens))).is_ok() {
            worker.run(&incoming);
        }
    });
    let thread = thread.map_err(Error::Runtime)?;
    let (formats, context_tokens) = opened.recv().map_err(|_| Error::Engine)??;
    Ok(EngineThread { jobs, formats, context_tokens, thread })
}

struct Worker {
    ctx: Context,
    engines: Vec<Engine>,
    /// By the place of the model.
    running: Vec<HashMap<RequestId, UnboundedSender<Generated>>>,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn open(options: &Options, metrics: Arc<Metrics>) -> Result<(Worker, Vec<Arc<ChatFormat>>)> {
        let folders: Vec<_> = options.adapters.iter().map(|(_, folder)| folder.clone()).collect();
        let loaded = LoadedAdapters::open(
            &options.model,
            &folders,
            &options.student,
            &options.template,
            options.context_tokens,
        )?;
        let room = loaded.cache_tokens(CACHE_BYTES / loaded.models.len());
        let LoadedAdapters { mut ctx, decoder, models } = loaded;
        let positions = decoder.max_positions();
        // what no sequence has used takes no memory
        let cache_tokens = room.min(options.max_clients.saturating_mul(positions)).max(positions);
        let tokens_per_pass = TOKENS_PER_PASS.max(options.max_clients);
        let (mut engines, mut formats) = (Vec::new(), Vec::new());
        for (adapter, format) in models {
            engines.push(Engine::new(&mut ctx, Arc::clone(&decoder), adapter, cache_tokens, tokens_per_pass));
            formats.push(Arc::new(format));
        }
        let running = engines.iter().map(|_| HashMap::new()).collect();
        let worker = Worker { ctx, engines, running, metrics };
        worker.count_blocks();
        Ok((worker, formats))
    }

    fn context_tokens(&self) -> usize {
        self.engines.iter().map(Engine::context_tokens).min().unwrap_or(0)
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            if self.engines.iter().all(Engine::is_idle) {
                // nothing to do until the next job comes
                let Ok(job) = jobs.recv() else { return };
                self.submit(job);
            }
            loop {
                match jobs.try_recv() {
                    Ok(job) => self.submit(job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) if self.engines.iter().all(Engine::is_idle) => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            self.cancel_unwanted();
            for model in 0..self.engines.len() {
                self.step(model);
            }
            self.count_blocks();
        }
    }

    fn submit(&mut self, job: Job) {
        let count = u32::try_from(job.samples.len()).unwrap_or(u32::MAX);
        match self.engines[job.model].submit_many(job.request, 0..count) {
            Ok(ids) => self.running[job.model].extend(ids.into_iter().zip(job.samples)),
            Err(error) => {
                for sample in job.samples {
                    // A client that has gone needs no answer.
                    let _ = sample.send(Generated::Failed(error.to_string()));
                }
            }
        }
    }

    /// Gives back what is held for clients that have gone.
    fn cancel_unwanted(&mut self) {
        for (engine, running) in self.engines.iter_mut().zip(&mut self.running) {
            running.retain(|&id, sample| {
                let is_wanted = !sample.is_closed();
                if !is_wanted {
                    engine.cancel(id);
                }
                is_wanted
            });
        }
    }

    fn step(&mut self, model: usize) {
        let (engine, running) = (&mut self.engines[model], &mut self.running[model]);
        if engine.is_idle() {
            return;
        }
        let events = engine.step(&mut self.ctx).to_vec();
        for event in events {
            let id = event.request();
            let Some(sample) = running.get(&id) else { continue };
            let (generated, is_last) = match event {
                Event::Token { token, log_probability, finish, .. } => {
                    self.metrics.generated_tokens.fetch_add(1, Ordering::Relaxed);
                    let top = engine.top_logprobs(id).to_vec();
                    (Generated::Token { token, logprob: log_probability, top, finish }, finish.is_some())
                }
                Event::Failed { position, .. } => {
                    (Generated::Failed(aludel_model::Error::Logits { position }.to_string()), true)
                }
            };
            // Where the client has gone, the sequence is cancelled before the next step.
            let _ = sample.send(generated);
            if is_last {
                running.remove(&id);
            }
        }
    }

    fn count_blocks(&self) {
        let (free, all) =
            self.engines.iter().map(Engine::free_blocks).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let sequences: usize = self.running.iter().map(HashMap::len).sum();
        self.metrics.free_blocks.store(free as u64, Ordering::Relaxed);
        self.metrics.blocks.store(all as u64, Ordering::Relaxed);
        self.metrics.sequences.store(sequences as u64, Ordering::Relaxed);
    }
}
