//! The store of traces: one SQLite file in which each answer is kept the moment it is there, and which knows what is missing.
//! Several processes may share it. `open` makes and checks the file, `writer` commits, `transactions` says what is written, `forget` what leaves again,
//! `row_hash` what a row says, `check` whether it still does, `snapshot` reads, `export` makes rows of it. The tables are described in `docs/STORE.md`.

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
use crate::client::{Answer, Asking};
use aludel_data::dataset::Prompt;
use transactions::{Desk, Registered, Removed};
use writer::Queue;

/// A store that is open for writing. Dropping it writes what is queued and gives back what is claimed.
pub struct Store {
    path: PathBuf,
    writer: Option<Writer>,
    thread: Option<JoinHandle<()>>,
    lists: AtomicI64,
}

/// Where a trace belongs: run, prompt and sample, by their numbers in the store.
pub type Place = (i64, i64, u32);

/// One answer that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    run: i64,
    prompt: i64,
    /// Which of the prompt's answers, from 0.
    pub sample: u32,
    /// What is asked.
    pub messages: Vec<Message>,
    /// Where the prompt stands, in words.
    pub origin: String,
}

/// How asking ended.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are answers")]
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With an answer: complete, or cut if it is not whole by the rule for rows.
    Answered {
        /// The answer.
        answer: Answer,
        /// Dollars; `None` where the price is not known.
        cost: Option<f64>,
    },
    /// The question is not taken; it is not asked again.
    Refused {
        /// The server's words.
        words: String,
    },
}

/// A trace to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    /// Where it belongs; see [`Wanted::id`].
    pub wanted: Place,
    /// How asking ended.
    pub outcome: Outcome,
    /// Who was asked.
    pub endpoint: String,
    /// How often.
    pub attempts: u32,
}

/// Keeps traces; may be cloned and sent to wherever they arise. After its [`Store`] is dropped it goes on until it is dropped, too.
#[derive(Clone)]
pub struct Writer(Queue);

/// What a registered list of prompts lacks. Its memory does not grow with the list.
pub struct Missing {
    writer: Writer,
    list: i64,
    run: i64,
    samples: u32,
    from: i64,
    /// Answers that were not there when the list was registered.
    pub count: u64,
    /// Answers that were there by then, cut ones among them.
    pub there: u64,
    /// Questions that had not been taken by then.
    pub failed: u64,
    /// Whether the teacher had answered anything with these settings by then.
    pub has_answers: bool,
}

/// What an earlier answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Tokens of the question.
    pub prompt_tokens: u64,
    /// Tokens of reasoning and answer.
    pub completion_tokens: u64,
    /// Milliseconds until the end.
    pub elapsed_ms: u64,
}

/// Prompts that are registered at once.
const BATCH_PROMPTS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

impl Store {
    /// Opens a store, making it where there is none.
    ///
    /// # Errors
    /// [`Error::Store`] for a file that is no store, is damaged, or was written by a newer Aludel, and where it cannot be
    /// written; [`Error::Data`].
    pub fn open(path: &Path) -> Result<Store, Error> {
        let connection = open::for_writing(path)?;
        let desk = Desk::new(connection, path).map_err(|error| open::wrong(path, error))?;
        let (queue, thread) = Queue::start(desk)?;
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

    /// Enters prompts, of each of which so many answers are wanted, and finds out which are missing. Prompts that say the same
    /// count once. Where the teacher has answered nothing yet, they count as wanted from its first answer on: a misspelt model
    /// leaves nothing to wait for. Not to be called from within an asynchronous task.
    ///
    /// # Errors
    /// Those of the prompts, and [`Error::Store`].
    pub fn register(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &Asking,
        samples: u32,
    ) -> Result<Missing, Error> {
        let missing = self.list(prompts, asking, samples)?;
        let (list, run, queue) = (missing.list, missing.run, &missing.writer.0);
        let has_answers = queue.wait(queue.push(true, move |desk| desk.want(list, run, samples)))?;
        Ok(Missing { has_answers, ..missing })
    }

    /// How many answers to these prompts are not there, none of which is wanted by that. Not to be called from within an asynchronous
    /// task.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub fn lacks(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &Asking,
        samples: u32,
    ) -> Result<u64, Error> {
        Ok(self.list(prompts, asking, samples)?.count)
    }

    fn list(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, Error>>,
        asking: &Asking,
        samples: u32,
    ) -> Result<Missing, Error> {
        let writer = self.writer();
        let list = self.lists.fetch_add(1, Ordering::Relaxed);
        let (hash, settings) = run_of(asking);
        let teacher = asking.model.clone();
        let run = writer.0.wait(writer.0.push(true, move |desk| desk.run(&hash, &teacher, &settings)))?;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let enter =
            |batch: Vec<Registered>| writer.0.wait(writer.0.push(true, move |desk| desk.register(list, &batch)));
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
        let [count, there, failed] = writer.0.wait(writer.0.push(true, move |desk| desk.count(list, run, samples)))?;
        Ok(Missing { writer, list, run, samples, from: 0, count, there, failed, has_answers: false })
    }

    /// What the first answers to these prompts took, as far as they are there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn taken_by(&self, prompts: &[Prompt], asking: &Asking) -> Result<Vec<Taken>, Error> {
        let snapshot = self.snapshot()?;
        let run_hash = run_of(asking).0;
        let taken = prompts.iter().map(|prompt| {
            let hash = hash_of(&[&run_hash, &registered(prompt).hash, "0"]);
            snapshot.taken(&hash)
        });
        taken.filter_map(Result::transpose).collect()
    }

    /// Removes the traces that are not as they were written, so that they are missing and are asked for again, and gives their
    /// number. Not to be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Store`], also where the file itself is so damaged that this would make it worse.
    pub fn remove_damaged(&self) -> Result<u64, Error> {
        let queue = self.writer().0;
        match queue.wait(queue.push(true, Desk::remove_damaged))? {
            Removed::Traces(count) => Ok(count),
            Removed::Nothing(reason) => Err(Error::Store {
                path: self.path.clone(),
                reason,
                mend: "the file itself is damaged: sqlite3's `.recover` saves what can be read, into a new file",
            }),
        }
    }

    /// Forgets what is selected, or with `really` not set only tells what that would be. Not to be called from within an asynchronous
    /// task.
    ///
    /// # Errors
    /// [`Error::Store`], also while a process is asking.
    pub fn forget(&self, selection: Selection, really: bool) -> Result<Forgotten, Error> {
        let queue = self.writer().0;
        queue.wait(queue.push(true, move |desk| desk.forget(&selection, really)))?.ok_or_else(|| Error::Store {
            path: self.path.clone(),
            reason: "a process is asking for traces of it".to_string(),
            mend: "wait until it has ended, or stop it",
        })
    }

    /// The store as it is now.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::open(&self.path)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(Writer(queue)) = self.writer.take() else { return };
        if queue.is_last() {
            // The thread does what is queued, gives back what is claimed, and ends.
            drop(queue);
            let _ = self.thread.take().map(JoinHandle::join);
        } else {
            drop(queue.push(true, |desk| {
                desk.leave();
                Ok(())
            }));
        }
    }
}

impl Writer {
    /// Keeps a trace; the answer means that it is on the disk. If several come in for one place, a complete one stays.
    ///
    /// # Errors
    /// [`Error::Store`]: it could not be written, and nothing of it is kept.
    pub fn put(&self, row: TraceRow) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let pending = self.send(row);
        let closed = self.0.closed();
        async move { pending.await.unwrap_or(Err(closed)) }
    }

    /// As [`Writer::put`], for threads that may wait.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub fn put_and_wait(&self, row: TraceRow) -> Result<(), Error> {
        self.0.wait(self.send(row))
    }

    fn send(&self, row: TraceRow) -> writer::Pending<()> {
        let logprobs = match &row.outcome {
            Outcome::Answered { answer, .. } => answer.logprobs.as_ref().and_then(packed),
            Outcome::Refused { .. } => None,
        };
        self.0.push(false, move |desk| desk.put(&row, logprobs.as_deref()))
    }
}

impl Missing {
    /// Claims the next answers to be asked for, in order; none when all are there or are being asked for by others. What
    /// others gave up is found at the end. Not to be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn next(&mut self, most: usize) -> Result<Vec<Wanted>, Error> {
        loop {
            let Missing { list, run, samples, from, .. } = *self;
            let queue = &self.writer.0;
            let claimed = queue.push(true, move |desk| desk.claim(list, run, samples, from, most));
            let (found, last) = queue.wait(claimed)?;
            // At the end of the list, once more from its beginning.
            self.from = if found.len() < most { 0 } else { last };
            if !found.is_empty() || from == 0 {
                return Ok(found);
            }
        }
    }
}

impl Wanted {
    /// Where its trace belongs.
    pub fn id(&self) -> Place {
        (self.run, self.prompt, self.sample)
    }
}

impl Outcome {
    fn status(&self) -> &'static str {
        match self {
            Outcome::Answered { answer, .. } if answer.flaw().is_none() => "complete",
            Outcome::Answered { .. } => "cut",
            Outcome::Refused { .. } => "failed",
        }
    }
}

/// The hash and the text of settings; their order makes no difference. Stores keep the hash: a setting that is added later must
/// leave the text as it is where it has its default.
fn run_of(asking: &Asking) -> (String, String) {
    let Asking { model, temperature, top_p, max_tokens, seed, logprobs, top_logprobs, extra_body } = asking;
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

/// A message as its prompt's hash knows it. What is added to messages later must leave this as it is where it has its default.
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

/// 128 bits, in hexadecimal; the byte 0xff occurs in no text, so that parts cannot run into each other.
fn hash_of(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(&[0xff]);
    }
    hasher.finalize().to_hex()[..32].to_string()
}

fn packed(logprobs: &Value) -> Option<Vec<u8>> {
    // Packing into memory does not fail.
    zstd::encode_all(logprobs.to_string().as_bytes(), 3).ok()
}
