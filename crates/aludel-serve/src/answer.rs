//! From a prompt to the text of its answers: a job for the engine, and for each sample a task that turns tokens into text as they come.
//! A task ends when nobody reads what it writes, and its sequence with it. Protocols are the callers'.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aludel_distill::inference::Prompt;
use aludel_distill::text_stream::TextStream;
use aludel_model::generate::{Finish, Request, Sampling};
use aludel_text::Piece;
use axum::http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};

use crate::engine::{Generated, Job};
use crate::error::ApiError;
use crate::server::Server;

/// Chunks that wait for a client to read them.
const CHUNKS_WAITING: usize = 64;
/// How long they wait before the client counts as gone.
pub(crate) const READING: Duration = Duration::from_secs(60);

/// What is to be answered.
pub(crate) struct Ask {
    /// The place of the model.
    pub(crate) model: usize,
    pub(crate) prompt: Prompt,
    pub(crate) sampling: Sampling,
    pub(crate) max_new_tokens: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) samples: u32,
    /// Whether tokens are wanted with their log-probabilities, and how many of the likeliest beside each.
    pub(crate) logprobs: Option<usize>,
    /// Whether reasoning is told apart from the answer. All text is the answer otherwise.
    pub(crate) tells_reasoning: bool,
}

/// A part of an answer.
#[derive(Debug)]
pub(crate) enum Chunk {
    Text {
        sample: u32,
        pieces: Vec<Piece>,
        /// What was generated since the last chunk, where log-probabilities are wanted.
        tokens: Vec<TokenInfo>,
    },
    End {
        sample: u32,
        end: End,
        /// The tokens of the sample.
        count: usize,
    },
    Failed(ApiError),
}

/// Why a sample ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The model ended its turn.
    Turn,
    /// A stop text came.
    StopText(String),
    /// It has the most tokens that it may have, or fills the context.
    Length,
}

/// A token with its log-probability, and the likeliest ones in its place.
#[derive(Clone, Debug)]
pub(crate) struct TokenInfo {
    pub(crate) token: u32,
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(u32, f32)>,
}

/// A complete sample.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) reasoning: String,
    pub(crate) content: String,
    pub(crate) tokens: Vec<TokenInfo>,
    pub(crate) end: Option<End>,
    pub(crate) count: usize,
}

/// The chunks of an answer as they are written, and whether all of them came.
#[derive(Debug)]
pub(crate) struct Chunks {
    receiver: Receiver<Chunk>,
    /// Samples that have not ended.
    open: u32,
}

impl Chunks {
    pub(crate) fn new(receiver: Receiver<Chunk>, samples: u32) -> Chunks {
        Chunks { receiver, open: samples }
    }

    /// The next chunk; none once nobody writes any more.
    pub(crate) async fn recv(&mut self) -> Option<Chunk> {
        let chunk = self.receiver.recv().await;
        if let Some(Chunk::End { .. } | Chunk::Failed(_)) = chunk {
            self.open = self.open.saturating_sub(1);
        }
        chunk
    }

    /// Whether a sample has not ended. If nobody writes any more, part of the answer is lost.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.open > 0
    }
}

/// Has a prompt answered. The answers end early if what is returned is dropped.
///
/// # Errors
/// A prompt that leaves no room for an answer; too many answers under way.
pub(crate) fn start(server: &Arc<Server>, ask: Ask) -> Result<Chunks, ApiError> {
    server.metrics.requests.fetch_add(1, Ordering::Relaxed);
    let prompt_tokens = ask.prompt.ids.len();
    if prompt_tokens == 0 {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "the prompt is empty; a model continues at least one token",
        ));
    }
    if prompt_tokens >= server.context_tokens {
        let message = format!(
            "the prompt has {prompt_tokens} tokens and the context {}, of which an answer needs at least one; send less",
            server.context_tokens
        );
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_code("context_length_exceeded"));
    }
    let slots = server.slots.clone().try_acquire_many_owned(ask.samples).map_err(|_| busy(server, ask.samples))?;
    server.metrics.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
    let request = Request {
        prompt: ask.prompt.ids,
        max_new_tokens: ask.max_new_tokens,
        sampling: ask.sampling,
        stop_ids: server.models[ask.model].format.stop_ids().to_vec(),
        top_logprobs: ask.logprobs.unwrap_or(0),
    };
    let (samples, tokens): (Vec<UnboundedSender<_>>, Vec<_>) =
        (0..ask.samples).map(|_| mpsc::unbounded_channel()).unzip();
    server.jobs.send(Job { model: ask.model, request, samples }).map_err(|_| ApiError::engine_stopped())?;
    let (sink, chunks) = mpsc::channel(CHUNKS_WAITING);
    let (slots, stop) = (Arc::new(slots), Arc::new(ask.stop));
    for (sample, tokens) in (0..).zip(tokens) {
        let writer = Writer {
            server: Arc::clone(server),
            model: ask.model,
            sample,
            opens_thinking: ask.prompt.opens_thinking,
            tells_reasoning: ask.tells_reasoning,
            wants_tokens: ask.logprobs.is_some(),
            stop: Arc::clone(&stop),
            sink: sink.clone(),
            _slots: Arc::clone(&slots),
        };
        tokio::spawn(writer.run(tokens));
    }
    Ok(Chunks::new(chunks, ask.samples))
}

fn busy(server: &Server, samples: u32) -> ApiError {
    if samples as usize > server.max_clients {
        let message = format!("{samples} samples; this server has at most {} answers under way", server.max_clients);
        return ApiError::field("n", message);
    }
    server.metrics.busy.fetch_add(1, Ordering::Relaxed);
    let message = format!("{} answers are under way, and no more are taken; ask again later", server.max_clients);
    ApiError { retry_after: Some(1), ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, message).with_code("busy") }
}

/// Writes one sample.
struct Writer {
    server: Arc<Server>,
    model: usize,
    sample: u32,
    opens_thinking: bool,
    tells_reasoning: bool,
    wants_tokens: bool,
    stop: Arc<Vec<String>>,
    sink: Sender<Chunk>,
    /// Those of all samples of the request.
    _slots: Arc<OwnedSemaphorePermit>,
}

impl Writer {
    /// Writes until the end, or until the client has gone. The sequence is cancelled and the slot is free again either way.
    async fn run(self, generated: UnboundedReceiver<Generated>) {
        if !self.write(generated).await {
            self.server.metrics.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether somebody took all of it.
    async fn write(&self, mut generated: UnboundedReceiver<Generated>) -> bool {
        let format = Arc::clone(&self.server.models[self.model].format);
        let stop = Arc::clone(&self.stop);
        let mut stream = match self.tells_reasoning {
            true => TextStream::new(format.tokenizer(), self.opens_thinking, &stop),
            false => TextStream::plain(format.tokenizer(), &stop),
        };
        let mut trim = Trim::new(self.tells_reasoning);
        let (mut tokens, mut count) = (Vec::new(), 0);
        let end = loop {
            let next = tokio::select! {
                next = generated.recv() => next,
                () = self.sink.closed() => return false,
            };
            let (token, logprob, top, finish) = match next {
                Some(Generated::Token { token, logprob, top, finish }) => (token, logprob, top, finish),
                Some(Generated::Failed(reason)) => {
                    let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
                    return self.send(Chunk::Failed(error)).await;
                }
                None => return self.send(Chunk::Failed(ApiError::engine_stopped())).await,
            };
            count += 1;
            // the token that ends a turn is no part of what was said
            if finish != Some(Finish::Stop) {
                if self.wants_tokens {
                    tokens.push(TokenInfo { token, logprob, top });
                }
                let pieces = trim.all(stream.push(token));
                if !pieces.is_empty() {
                    let tokens = std::mem::take(&mut tokens);
                    if !self.send(Chunk::Text { sample: self.sample, pieces, tokens }).await {
                        return false;
                    }
                }
            }
            if let Some(stop) = stream.stopped_by() {
                break End::StopText(stop.to_owned());
            }
            match finish {
                Some(Finish::Stop) => break End::Turn,
                Some(Finish::Length | Finish::Context) => break End::Length,
                None => {}
            }
        };
        // what the engine still has of it is cancelled now
        drop(generated);
        let (pieces, text) = stream.finish();
        // the last bytes may have completed a stop text
        let end = text.stopped_by.map_or(end, End::StopText);
        let pieces = trim.all(pieces);
        if (!pieces.is_empty() || !tokens.is_empty())
            && !self.send(Chunk::Text { sample: self.sample, pieces, tokens }).await
        {
            return false;
        }
        self.send(Chunk::End { sample: self.sample, end, count }).await
    }

    async fn send(&self, chunk: Chunk) -> bool {
        deliver(&self.sink, chunk, READING).await
    }
}

/// Gives a chunk to whoever answers. Whether it was taken: a client that does not read for a while counts as gone. Nothing may be
/// sent after a chunk that was not taken, since the text would have a hole.
async fn deliver(sink: &Sender<Chunk>, chunk: Chunk, patience: Duration) -> bool {
    sink.send_timeout(chunk, patience).await.is_ok()
}

/// Takes the blank space off that is between reasoning and answer, and around the reasoning: it belongs to the tags.
struct Trim {
    tells_reasoning: bool,
    has_reasoning: bool,
    /// Blank space at the end of the reasoning so far.
    held: String,
    /// Nothing of the present part was written.
    is_at_start: bool,
    is_answering: bool,
}

impl Trim {
    fn new(tells_reasoning: bool) -> Trim {
        Trim { tells_reasoning, has_reasoning: false, held: String::new(), is_at_start: true, is_answering: false }
    }

    fn all(&mut self, pieces: Vec<Piece>) -> Vec<Piece> {
        pieces.into_iter().filter_map(|piece| self.one(piece)).collect()
    }

    fn one(&mut self, piece: Piece) -> Option<Piece> {
        if !self.tells_reasoning {
            return Some(piece);
        }
        match piece {
            Piece::Reasoning(text) => {
                self.has_reasoning = true;
                let text = if self.is_at_start { text.trim_start() } else { &text };
                let kept = text.trim_end().len();
                if kept == 0 {
                    self.held.push_str(text);
                    return None;
                }
                self.is_at_start = false;
                let mut whole = std::mem::take(&mut self.held);
                whole.push_str(&text[..kept]);
                self.held.push_str(&text[kept..]);
                Some(Piece::Reasoning(whole))
            }
            Piece::Answer(text) => {
                if !self.is_answering {
                    self.is_answering = true;
                    // an answer without reasoning is as it is
                    self.is_at_start = self.has_reasoning;
                }
                let text = if self.is_at_start { text.trim_start().to_owned() } else { text };
                self.is_at_start &= text.is_empty();
                (!text.is_empty()).then_some(Piece::Answer(text))
            }
        }
    }
}

/// Waits for all samples.
///
/// # Errors
/// What a sample failed by.
pub(crate) async fn collect(mut chunks: Chunks, samples: u32) -> Result<Vec<Whole>, ApiError> {
    let mut all: Vec<Whole> = (0..samples).map(|_| Whole::default()).collect();
    while let Some(chunk) = chunks.recv().await {
        match chunk {
            Chunk::Text { sample, pieces, tokens } => {
                let whole = &mut all[sample as usize];
                whole.tokens.extend(tokens);
                for piece in pieces {
                    match piece {
                        Piece::Reasoning(text) => whole.reasoning.push_str(&text),
                        Piece::Answer(text) => whole.content.push_str(&text),
                    }
                }
            }
            Chunk::End { sample, end, count } => {
                let whole = &mut all[sample as usize];
                (whole.end, whole.count) = (Some(end), count);
            }
            Chunk::Failed(error) => return Err(error),
        }
    }
    match all.iter().all(|whole| whole.end.is_some()) {
        true => Ok(all),
        false => Err(ApiError::engine_stopped()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_nobody_takes_ends_the_answer_and_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (sink, receiver) = mpsc::channel(1);
            let mut chunks = Chunks::new(receiver, 1);
            let end = || Chunk::End { sample: 0, end: End::Turn, count: 1 };
            let text = || Chunk::Text { sample: 0, pieces: Vec::new(), tokens: Vec::new() };
            assert!(deliver(&sink, text(), READING).await);
            assert!(!deliver(&sink, end(), Duration::from_millis(20)).await, "there is room for one");
            drop(sink);
            assert!(matches!(chunks.recv().await, Some(Chunk::Text { .. })));
            assert!(chunks.recv().await.is_none() && chunks.is_incomplete());
            let (sink, receiver) = mpsc::channel(1);
            let mut chunks = Chunks::new(receiver, 1);
            assert!(deliver(&sink, end(), READING).await);
            assert!(chunks.recv().await.is_some() && !chunks.is_incomplete());
            drop(chunks);
            assert!(!deliver(&sink, end(), READING).await, "nobody reads");
        });
    }

    #[test]
    fn blank_space_between_reasoning_and_answer_is_no_part_of_either() {
        let reasoning = |text: &str| Piece::Reasoning(text.to_owned());
        let answer = |text: &str| Piece::Answer(text.to_owned());
        let check = |pieces: Vec<Piece>, expected: (&str, &str)| {
            let mut trim = Trim::new(true);
            let mut got = (String::new(), String::new());
            for piece in pieces.into_iter().flat_map(|piece| trim.all(vec![piece])) {
                match piece {
                    Piece::Reasoning(text) => got.0.push_str(&text),
                    Piece::Answer(text) => got.1.push_str(&text),
                }
            }
            assert_eq!((got.0.as_str(), got.1.as_str()), expected);
        };
        let pieces = ["\n", "a ", "\n", "b", "\n\n"].map(reasoning).to_vec();
        check([pieces, ["\n", "\n c", " d\n"].map(answer).to_vec()].concat(), ("a \nb", "c d\n"));
        check(vec![answer("  x"), answer(" ")], ("", "  x "));
        check(vec![reasoning("\n"), answer("\ny")], ("", "y"));
    }
}
