//! The store of traces: one SQLite file to which each answer is committed when it arrives, and which knows what is missing. Several
//! processes may share it. `open` creates and checks the file, `writer` commits, `transactions` has the operations, `forget`
//! removes, `row_hash` hashes rows, `check` verifies the hashes, `snapshot` reads, `export` turns traces into rows. The tables are
//! described in `docs/STORE.md`.

mod check;
mod export;
mod forget;
mod inputs;
mod open;
mod owner;
mod row_hash;
mod snapshot;
#[cfg(test)]
mod tests;
mod transactions;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use aludel_text::message::Message;
use aludel_text::tools::{Tool, ToolCall};
use serde::Serialize;
use serde_json::{Value, json};

pub use check::{Damage, DamagedTrace};
pub use export::{Rows, export};
pub use forget::{Forgotten, Selection};
pub use inputs::Inputs;
pub use open::is_sqlite;
pub use snapshot::{RunStatus, Snapshot, Status, TokenCounts};

use crate::Error;
use crate::client::{Answer, RequestParams};
use aludel_data::dataset::Prompt;
use transactions::{Registered, Removed, WriterState};
use writer::Queue;

/// A store that is open for writing. Dropping it writes what is queued and releases its claims.
pub struct Store {
    path: PathBuf,
    writer: Option<Writer>,
    thread: Option<JoinHandle<()>>,
    lists: AtomicI64,
}

/// The key of a trace: run, prompt and sample, by their row ids.
pub type TraceKey = (i64, i64, u32);

/// A missing answer.
#[derive(Clone, Debug, PartialEq)]
pub struct MissingTrace {
    run: i64,
    prompt: i64,
    /// Index of the sample among the prompt's answers.
    pub sample: u32,
    /// What is asked.
    pub messages: Vec<Message>,
    /// File and line of the prompt.
    pub origin: String,
}

/// How asking ended.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are answers")]
#[derive(Clone, Debug, PartialEq)]
pub enum TraceOutcome {
    /// With an answer: complete, or cut off according to the rule for rows.
    Answered {
        /// The answer.
        answer: Answer,
        /// Dollars; `None` where the price is not known.
        cost: Option<f64>,
    },
    /// The question was refused; it is not asked again.
    Refused {
        /// The server's words.
        words: String,
    },
}

/// A trace to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    /// Its key; see [`MissingTrace::id`].
    pub wanted: TraceKey,
    /// How asking ended.
    pub outcome: TraceOutcome,
    /// Who was asked.
    pub endpoint: String,
    /// How often.
    pub attempts: u32,
}

/// Stores traces; can be cloned and sent to other threads. It works until it is dropped, even after its [`Store`] is.
#[derive(Clone)]
pub struct Writer(Queue);

/// The missing answers to a registered list of prompts. Memory use does not depend on the list's length.
pub struct MissingTraces {
    writer: Writer,
    list: i64,
    run: i64,
    samples: u32,
    from: i64,
    /// Answers that were missing when the list was registered.
    pub count: u64,
    /// Answers that existed then, cut ones included.
    pub there: u64,
    /// Questions that had been refused by then.
    pub failed: u64,
    /// Whether the teacher had answered anything with these settings by then.
    pub has_answers: bool,
}

/// Tokens and time of an earlier answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastUsage {
    /// Tokens of the question.
    pub prompt_tokens: u64,
    /// Tokens of reasoning and answer.
    pub completion_tokens: u64,
    /// Milliseconds until the end.
    pub elapsed_ms: u64,
}

/// Prompts that are registered per transaction.
const BATCH_PROMPTS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

impl Store {
    /// Opens a store, and creates it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Store`] for a file that is not a store, is damaged, or was written by a newer Aludel, and where it cannot be
    /// written; [`Error::Data`].
    pub fn open(path: &Path) -> Result<Store, Error> {
        let connection = open::for_writing(path)?;
        let state = WriterState::new(connection, path).map_err(|error| open::wrong(path, error))?;
        let (queue, thread) = Queue::start(state)?;
        let (writer, thread) = (Some(Writer(queue)), Some(thread));
        Ok(Store { path: path.to_path_buf(), writer, thread, lists: AtomicI64::new(0) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps traces.
    pub fn writer(&self) -> Writer {
        self.writer.clone().expect("it is there until the store is dropped")
    }

    /// Registers prompts with the number of answers wanted to each, and determines which are missing. Equal prompts count once. If
    /// the teacher has answered nothing yet, they count as wanted from its first answer on, so that a misspelt model name leaves no
    /// missing answers behind. Blocks: not to be called in an asynchronous task.
    ///
    /// # Errors
    /// Those of the prompts, and [`Error::Store`].
    pub fn register(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &RequestParams,
        samples: u32,
    ) -> Result<MissingTraces, Error> {
        let missing = self.list(prompts, asking, samples)?;
        let (list, run, queue) = (missing.list, missing.run, &missing.writer.0);
        let has_answers = queue.wait(queue.push(true, move |state| state.want(list, run, samples)))?;
        Ok(MissingTraces { has_answers, ..missing })
    }

    /// The number of missing answers to these prompts, without registering them. Blocks: not to be called in an asynchronous task.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub fn lacks(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &RequestParams,
        samples: u32,
    ) -> Result<u64, Error> {
        Ok(self.list(prompts, asking, samples)?.count)
    }

    fn list(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &RequestParams,
        samples: u32,
    ) -> Result<MissingTraces, Error> {
        let writer = self.writer();
        let list = self.lists.fetch_add(1, Ordering::Relaxed);
        let (hash, settings) = run_of(asking);
        let teacher = asking.model.clone();
        let run = writer.0.wait(writer.0.push(true, move |state| state.run(&hash, &teacher, &settings)))?;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let enter =
            |batch: Vec<Registered>| writer.0.wait(writer.0.push(true, move |state| state.register(list, &batch)));
        for prompt in prompts {
            let prompt = registered(&prompt?);
            bytes += prompt.messages.len() + prompt.columns.len();
            batch.push(prompt);
            if batch.len() == BATCH_PROMPTS || bytes >= BATCH_BYTES {
                enter(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        enter(batch)?;
        let [count, there, failed] =
            writer.0.wait(writer.0.push(true, move |state| state.count(list, run, samples)))?;
        Ok(MissingTraces { writer, list, run, samples, from: 0, count, there, failed, has_answers: false })
    }

    /// Tokens and time of the first answers to these prompts, as far as they exist.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn taken_by(&self, prompts: &[Prompt], asking: &RequestParams) -> Result<Vec<PastUsage>, Error> {
        let snapshot = self.snapshot()?;
        let run_hash = run_of(asking).0;
        let taken = prompts.iter().map(|prompt| {
            let hash = hash_of(&[&run_hash, &registered(prompt).hash, "0"]);
            snapshot.taken(&hash)
        });
        taken.filter_map(Result::transpose).collect()
    }

    /// Removes damaged traces, so that they are missing and are asked for again, and returns their number. Blocks: not to be called
    /// in an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Store`], also if the file itself is too damaged to be changed safely.
    pub fn remove_damaged(&self) -> Result<u64, Error> {
        let queue = self.writer().0;
        match queue.wait(queue.push(true, WriterState::remove_damaged))? {
            Removed::Traces(count) => Ok(count),
            Removed::Nothing(reason) => Err(Error::Store {
                path: self.path.clone(),
                reason,
                mend: "the file itself is damaged: sqlite3's `.recover` saves what can be read, into a new file",
            }),
        }
    }

    /// Removes what is selected; unless `really` is set, only reports what would be removed. Blocks: not to be called in an
    /// asynchronous task.
    ///
    /// # Errors
    /// [`Error::Store`], also while another process is asking.
    pub fn forget(&self, selection: Selection, really: bool) -> Result<Forgotten, Error> {
        let queue = self.writer().0;
        queue.wait(queue.push(true, move |state| state.forget(&selection, really)))?.ok_or_else(|| Error::Store {
            path: self.path.clone(),
            reason: "a process is asking for traces of it".to_string(),
            mend: "wait until it has ended, or stop it",
        })
    }

    /// A snapshot of the store.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::open_again(&self.path)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(Writer(queue)) = self.writer.take() else { return };
        if queue.is_last() {
            // The thread finishes the queue, releases the claims, and ends.
            drop(queue);
            let _ = self.thread.take().map(JoinHandle::join);
        } else {
            drop(queue.push(true, |state| {
                state.leave();
                Ok(())
            }));
        }
    }
}

impl Writer {
    /// Stores a trace; the answer is sent once it is committed. Of several traces with the same key, a complete one is kept.
    ///
    /// # Errors
    /// [`Error::Store`]: it could not be written, and nothing of it is stored.
    pub fn put(&self, row: TraceRow) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let pending = self.send(row);
        let closed = self.0.closed();
        async move { pending.await.unwrap_or(Err(closed)) }
    }

    /// As [`Writer::put`], but blocks.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub fn put_and_wait(&self, row: TraceRow) -> Result<(), Error> {
        self.0.wait(self.send(row))
    }

    fn send(&self, row: TraceRow) -> writer::Pending<()> {
        let logprobs = match &row.outcome {
            TraceOutcome::Answered { answer, .. } => answer.logprobs.as_ref().and_then(packed),
            TraceOutcome::Refused { .. } => None,
        };
        self.0.push(false, move |state| state.put(&row, logprobs.as_deref()))
    }
}

impl MissingTraces {
    /// Claims the next missing answers, in order; none if all exist or are claimed by other processes. Claims released by others
    /// are found at the end of the list. Blocks: not to be called in an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn next(&mut self, most: usize) -> Result<Vec<MissingTrace>, Error> {
        loop {
            let MissingTraces { list, run, samples, from, .. } = *self;
            let queue = &self.writer.0;
            let claimed = queue.push(true, move |state| state.claim(list, run, samples, from, most));
            let (found, last) = queue.wait(claimed)?;
            // At the end of the list, once more from its beginning.
            self.from = if found.len() < most { 0 } else { last };
            if !found.is_empty() || from == 0 {
                return Ok(found);
            }
        }
    }
}

impl MissingTrace {
    /// The key of its trace.
    pub fn id(&self) -> TraceKey {
        (self.run, self.prompt, self.sample)
    }
}

impl TraceOutcome {
    fn status(&self) -> &'static str {
        match self {
            TraceOutcome::Answered { answer, .. } if answer.flaw().is_none() => "complete",
            TraceOutcome::Answered { .. } => "cut",
            TraceOutcome::Refused { .. } => "failed",
        }
    }
}

/// The hash and the text of settings, independent of their order. Stores keep the hash: a setting that is added later must leave
/// the text unchanged at its default.
fn run_of(asking: &RequestParams) -> (String, String) {
    let RequestParams { model, temperature, top_p, max_tokens, seed, logprobs, top_logprobs, extra_body } = asking;
    let mut settings = json!({
        "model": model,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
        "logprobs": logprobs,
        "top_logprobs": top_logprobs,
        "extra_body": extra_body,
    });
    settings.sort_all_objects();
    let text = settings.to_string();
    (hash_of(&[&text]), text)
}

/// A message as hashed for its prompt. A field that is added later must leave this unchanged at its default.
#[derive(Serialize)]
struct Asked<'a> {
    role: &'a str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f32>,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Tool]>::is_empty")]
    tools: &'a [Tool],
}

impl Asked<'_> {
    fn of(message: &Message) -> Asked<'_> {
        let Message { role, content, is_content_null, reasoning, weight, tool_calls, tool_call_id, tool_name, tools } =
            message;
        Asked {
            role: role.as_str(),
            content: (!is_content_null).then_some(content),
            reasoning_content: reasoning.as_deref(),
            weight: (*weight != 1.0).then_some(*weight),
            tool_calls,
            tool_call_id: tool_call_id.as_deref(),
            name: tool_name.as_deref(),
            tools,
        }
    }
}

fn registered(prompt: &Prompt) -> Registered {
    let messages: Vec<Asked<'_>> = prompt.messages.iter().map(Asked::of).collect();
    let messages = serde_json::to_string(&messages).expect("messages are text");
    let provenance = &prompt.provenance;
    Registered {
        hash: hash_of(&[&messages]),
        messages,
        columns: serde_json::to_string(&prompt.columns).expect("columns are JSON"),
        origin: format!("{}, line {}", provenance.file.display(), provenance.line),
    }
}

/// 128 bits in hexadecimal; parts are separated by the byte 0xff, which occurs in no UTF-8 text.
fn hash_of(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(&[0xff]);
    }
    hasher.finalize().to_hex()[..32].to_string()
}

fn packed(logprobs: &Value) -> Option<Vec<u8>> {
    // Compressing into memory does not fail.
    zstd::encode_all(logprobs.to_string().as_bytes(), 3).ok()
}
