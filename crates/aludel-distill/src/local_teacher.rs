//! A model on this machine that is asked as a served teacher is: questions of a collection become sequences of the generation engine,
//! which runs on a thread of its own. When to ask, what to keep and what it may take is decided by `aludel_teacher::collect`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use aludel_data::finish_reason::Finish;
use aludel_kernels::rng;
use aludel_model::generate::{self, Engine, Event, Request, RequestId, Sampling};
use aludel_teacher::client::{Answer, BoxFuture, Failure, Question, RequestParams, Teacher};
use aludel_text::thinking::{InlineReasoning, inline};
use aludel_text::{Message, Tokenizer};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::error::Result;
use crate::evaluate::identity::fingerprint;
use crate::inference::{LoadedModel, TEMPLATE_TOKENS};
use crate::settings::{StudentSettings, TemplateInputs};
use crate::text_stream::{Text, text_of};

/// What stores and messages call a teacher on this machine, where a served one has its address.
pub const LOCAL: &str = "local";

/// A model that answers questions, many at once.
pub struct LocalTeacher {
    /// Closed to end the thread.
    questions: Option<Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
    sequences: usize,
}

/// How a local teacher is loaded.
pub struct LocalTeacherOptions<'a> {
    /// How its weights are held, and on which threads it runs.
    pub student: &'a StudentSettings,
    /// What its template is told.
    pub inputs: TemplateInputs,
    /// Bytes of the longest prompt.
    pub longest_prompt: usize,
    /// Maximum tokens of an answer.
    pub max_new_tokens: usize,
    /// Maximum sequences at once.
    pub concurrency: usize,
    /// The seed for questions that come without one.
    pub seed: u64,
}

/// A question on its way to the engine, and where its answer goes.
struct Asked {
    messages: Vec<Message>,
    asking: RequestParams,
    sample: u32,
    begun: Instant,
    reply: oneshot::Sender<std::result::Result<Answer, Failure>>,
}

/// A sequence under way.
struct Running {
    asked: Asked,
    prompt: Vec<u32>,
    opens_thinking: bool,
    tokens: Vec<u32>,
    log_probabilities: Vec<f32>,
    first_token_ms: u64,
}

/// What the engine's thread owns.
struct Worker {
    model: LoadedModel,
    engine: Engine,
    max_new_tokens: usize,
    seed: u64,
    running: HashMap<RequestId, Running>,
}

/// What the answers of a local teacher depend on beside the fields that all teachers are asked with. The store keeps it with them, so that
/// another model under the same name does not count as having answered.
///
/// # Errors
/// Files that cannot be read.
pub fn identity(
    model: &Path,
    adapter: Option<&Path>,
    student: &StudentSettings,
    inputs: &TemplateInputs,
) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    fields.insert("fingerprint".to_owned(), fingerprint(model, adapter)?.into());
    fields.insert("dtype".to_owned(), student.computed_in().into());
    if !inputs.variables.is_empty() {
        fields.insert("template_variables".to_owned(), inputs.variables.clone().into());
    }
    if let Some(date) = inputs.date {
        fields.insert("template_date".to_owned(), date.to_string().into());
    }
    Ok(Map::from_iter([(LOCAL.to_owned(), Value::Object(fields))]))
}

impl LocalTeacher {
    /// Loads a GGUF or a folder, and an adapter with its tokenizer if it has its own. `watch` is told how many weights of how many are
    /// read, and may break it off.
    ///
    /// # Errors
    /// Whatever is wrong with them; a model without a chat template.
    pub fn open(
        model: &Path,
        adapter: Option<&Path>,
        options: LocalTeacherOptions<'_>,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<LocalTeacher> {
        let LocalTeacherOptions { student, inputs, longest_prompt, max_new_tokens, concurrency, seed } = options;
        let context = longest_prompt.saturating_add(TEMPLATE_TOKENS).saturating_add(max_new_tokens);
        let mut model = LoadedModel::open(model, adapter, student, inputs, context, watch)?;
        let (sequences, engine) = model.batch_engine(max_new_tokens, None, concurrency);
        let (questions, asked) = channel();
        let worker = Worker { model, engine, max_new_tokens, seed, running: HashMap::new() };
        let thread = std::thread::spawn(move || worker.run(&asked));
        Ok(LocalTeacher { questions: Some(questions), thread: Some(thread), sequences })
    }

    /// Questions that it answers at once; further ones would only wait.
    pub fn sequences(&self) -> usize {
        self.sequences
    }
}

impl Drop for LocalTeacher {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            // What a panic said is printed already, and questions that waited were told.
            let _ = thread.join();
        }
    }
}

impl Teacher for LocalTeacher {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
        asking: &'a RequestParams,
        sample: u32,
    ) -> BoxFuture<'a, std::result::Result<Answer, Failure>> {
        let ended = || Failure::Refused { status: None, words: "the thread that runs the model has ended".to_owned() };
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let (messages, asking) = (question.messages.clone(), asking.clone());
            let asked = Asked { messages, asking, sample, begun: Instant::now(), reply };
            let questions = self.questions.as_ref().ok_or_else(ended)?;
            questions.send(asked).map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        })
    }

    fn name(&self) -> &str {
        LOCAL
    }

    fn check(&self) -> BoxFuture<'_, std::result::Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

impl Worker {
    /// Answers until nobody can ask any more.
    fn run(mut self, questions: &Receiver<Asked>) {
        loop {
            if self.running.is_empty() {
                match questions.recv() {
                    Ok(asked) => self.submit(asked),
                    Err(_) => return,
                }
            }
            loop {
                match questions.try_recv() {
                    Ok(asked) => self.submit(asked),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.cancel_unwanted();
            self.step();
        }
    }

    fn submit(&mut self, asked: Asked) {
        let prompt = match self.model.prompt(&asked.messages) {
            Ok(prompt) => prompt,
            Err(error) => return refuse(asked, error.to_string()),
        };
        let asking = &asked.asking;
        // Draws are indexed by seed, sample and position: each prompt gets a seed of its own.
        let of_prompt = |seed: u64, id: &u32| rng::mix(seed, u64::from(*id));
        let max_new_tokens = asking.max_tokens.map_or(self.max_new_tokens, |tokens| tokens as usize);
        let request = Request {
            prompt: prompt.ids.clone(),
            max_new_tokens,
            sampling: Sampling {
                temperature: asking.temperature,
                top_p: asking.top_p,
                seed: prompt.ids.iter().fold(asking.seed.unwrap_or(self.seed), of_prompt),
                ..Sampling::default()
            },
            stop_ids: self.model.format.stop_ids.clone(),
            top_logprobs: 0,
        };
        let ids = match self.engine.submit_many(request, asked.sample..asked.sample.saturating_add(1)) {
            Ok(ids) => ids,
            Err(error) => return refuse(asked, error.to_string()),
        };
        let Some(&id) = ids.first() else { return refuse(asked, "its sample has no number".to_owned()) };
        let (tokens, log_probabilities) = (Vec::new(), Vec::new());
        let (prompt, opens_thinking) = (prompt.ids, prompt.opens_thinking);
        let running = Running { asked, prompt, opens_thinking, tokens, log_probabilities, first_token_ms: 0 };
        self.running.insert(id, running);
    }

    /// Ends the sequences whose answers nobody waits for: the collection was stopped.
    fn cancel_unwanted(&mut self) {
        let engine = &mut self.engine;
        self.running.retain(|&id, running| {
            let is_wanted = !running.asked.reply.is_closed();
            if !is_wanted {
                engine.cancel(id);
            }
            is_wanted
        });
    }

    /// One pass of the engine.
    fn step(&mut self) {
        for event in self.engine.step(&mut self.model.ctx).to_vec() {
            let Some(running) = self.running.get_mut(&event.request()) else { continue };
            let end = match event {
                Event::Token { token, log_probability, finish, .. } => {
                    if running.tokens.is_empty() {
                        running.first_token_ms = milliseconds(running.asked.begun);
                    }
                    running.tokens.push(token);
                    running.log_probabilities.push(log_probability);
                    finish.map(Ok)
                }
                Event::Failed { position, .. } => Some(Err(aludel_model::Error::Logits { position })),
            };
            if let Some(end) = end
                && let Some(running) = self.running.remove(&event.request())
            {
                match end {
                    Ok(finish) => running.answer(self.model.format.tokenizer(), finish),
                    Err(error) => refuse(running.asked, error.to_string()),
                }
            }
        }
    }
}

/// Says that this question will never be answered.
fn refuse(asked: Asked, words: String) {
    // Who does not wait any more need not know.
    let _ = asked.reply.send(Err(Failure::Question { status: None, words }));
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Running {
    /// Sends the answer, reasoning apart.
    fn answer(self, tokenizer: &Tokenizer, finish: generate::Finish) {
        let is_end = finish == generate::Finish::Stop;
        let said = &self.tokens[..self.tokens.len() - usize::from(is_end)];
        let Text { reasoning, content, .. } = text_of(tokenizer, said, self.opens_thinking);
        let (reasoning, content) = match (reasoning, inline(&content)) {
            // Other tags than the usual ones, which the text keeps.
            (None, InlineReasoning::Closed { reasoning, answer }) => (reasoning, answer.trim_start().to_owned()),
            (None, InlineReasoning::Open(reasoning)) => (reasoning.to_owned(), String::new()),
            (reasoning, _) => (reasoning.unwrap_or_default(), content),
        };
        let reasoning = Some(reasoning.trim().to_owned()).filter(|reasoning| !reasoning.is_empty());
        let logprobs = self.asked.asking.logprobs.then(|| self.logprobs(tokenizer));
        let answer = Answer {
            reasoning,
            hides_reasoning: false,
            content,
            unread: Vec::new(),
            finish: if is_end { Finish::Stop } else { Finish::Length },
            prompt_tokens: Some(self.prompt.len() as u64),
            completion_tokens: Some(self.tokens.len() as u64),
            model: None,
            logprobs,
            first_token_ms: self.first_token_ms,
            elapsed_ms: milliseconds(self.asked.begun),
        };
        let _ = self.asked.reply.send(Ok(answer));
    }

    /// The log probability of each token, in the shape of OpenAI's protocol, with the ids as vLLM gives them.
    fn logprobs(&self, tokenizer: &Tokenizer) -> Value {
        let token = |(&id, logprob): (&u32, &f32)| {
            let text = tokenizer.decode(&[id], false).ok().or_else(|| tokenizer.id_to_token(id)).unwrap_or_default();
            json!({ "token": text, "logprob": logprob })
        };
        let content: Vec<Value> = self.tokens.iter().zip(&self.log_probabilities).map(token).collect();
        json!({ "content": content, "token_ids": self.tokens, "prompt_token_ids": self.prompt })
    }
}
