//! The only thread of a process that writes: takes work from a queue, groups it into transactions, and answers after the commit.
//! The work itself is defined in `transactions`.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::open::wrong;
use super::transactions::{HEARTBEAT, WriterState};
use crate::Error;

/// A group is committed at this number of pieces of work, or at this age.
const GROUP_ROWS: usize = 256;
const GROUP_AGE: Duration = Duration::from_millis(20);

/// The sending end of the queue.
#[derive(Clone)]
pub(super) struct Queue {
    jobs: Sender<WriteJob>,
    path: Arc<Path>,
}

/// A piece of work, and how its result is sent once it is committed.
struct WriteJob {
    work: Work,
    refuse: Box<dyn FnOnce(Error) -> Answer + Send>,
    /// A caller waits: the group ends here.
    is_urgent: bool,
}

/// Sends the result; an error if the commit failed.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// Runs a piece of work; the answer is sent after the commit.
type Work = Box<dyn FnOnce(&mut WriterState) -> rusqlite::Result<Answer> + Send>;

/// The sender of the result, shared by work and refusal, whichever happens.
type Told<T> = Arc<Mutex<Option<oneshot::Sender<Result<T, Error>>>>>;

/// The result that the writer will send.
pub(super) type Pending<T> = oneshot::Receiver<Result<T, Error>>;

impl Queue {
    /// Starts the thread; it ends when the last handle of the queue is dropped.
    pub(super) fn start(state: WriterState) -> Result<(Queue, JoinHandle<()>), Error> {
        let path: Arc<Path> = Arc::from(state.path.as_path());
        let (jobs, taken) = channel();
        let thread = std::thread::Builder::new().name("store".to_string()).spawn(move || write(state, &taken));
        let thread = thread.map_err(|reason| Error::Threads { reason: reason.to_string() })?;
        Ok((Queue { jobs, path }, thread))
    }

    /// Adds work to the next group.
    pub(super) fn push<T: Send + 'static>(
        &self,
        is_urgent: bool,
        work: impl FnOnce(&mut WriterState) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (told, pending) = oneshot::channel();
        let told: Told<T> = Arc::new(Mutex::new(Some(told)));
        let refused = Arc::clone(&told);
        let job = WriteJob {
            work: Box::new(move |state| {
                let done = work(state)?;
                Ok(Box::new(move |error: Option<Error>| tell(&told, error.map_or(Ok(done), Err))) as Answer)
            }),
            refuse: Box::new(move |error| {
                Box::new(move |later: Option<Error>| tell(&refused, Err(later.unwrap_or(error)))) as Answer
            }),
            is_urgent,
        };
        // If the thread is gone, dropping the job sends the same error.
        let _ = self.jobs.send(job);
        pending
    }

    /// Waits for a result. Blocks: not to be called in an asynchronous task.
    pub(super) fn wait<T>(&self, pending: Pending<T>) -> Result<T, Error> {
        pending.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// Whether there is no other handle of the queue.
    pub(super) fn is_last(&self) -> bool {
        Arc::strong_count(&self.path) == 1
    }

    /// The error after the writer has ended.
    pub(super) fn closed(&self) -> Error {
        let reason = "the store is closed".to_string();
        Error::Store { path: self.path.to_path_buf(), reason, mend: "open it again" }
    }
}

fn tell<T>(told: &Told<T>, answer: Result<T, Error>) {
    let told = told.lock().ok().and_then(|mut told| told.take());
    // The receiver may be gone.
    let _ = told.map(|told| told.send(answer));
}

fn write(mut state: WriterState, jobs: &Receiver<WriteJob>) {
    loop {
        let first = match jobs.recv_timeout(HEARTBEAT) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let group = gather(first, jobs);
        let path = state.path.clone();
        let (answers, failure) = commit(&mut state, &path, group);
        for answer in answers {
            answer(failure.as_ref().map(|failure| failure(&path)));
        }
    }
    state.leave();
}

fn gather(first: Option<WriteJob>, jobs: &Receiver<WriteJob>) -> Vec<WriteJob> {
    let until = Instant::now() + GROUP_AGE;
    let mut group: Vec<WriteJob> = first.into_iter().collect();
    while !group.is_empty() && group.len() < GROUP_ROWS && !group.last().is_some_and(|job| job.is_urgent) {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => group.push(job),
            Err(_) => break,
        }
    }
    group
}

/// Copies of one error, for several receivers.
type Failure = Box<dyn Fn(&Path) -> Error>;

fn commit(state: &mut WriterState, path: &Path, group: Vec<WriteJob>) -> (Vec<Answer>, Option<Failure>) {
    let mut answers = Vec::new();
    let mut begun = state.begin();
    for job in group {
        // A piece of work that fails is rolled back alone.
        let done = match &begun {
            Ok(()) => state.apart(job.work),
            Err(error) => Err(copy(error)),
        };
        answers.push(done.unwrap_or_else(|error| (job.refuse)(wrong(path, error))));
        if begun.is_ok() && state.is_rolled_back() {
            begun = Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
                Some("the group of rows was taken back".to_string()),
            ));
        }
    }
    let outcome = begun.and_then(|()| state.commit());
    let failure = outcome.err().map(|error| Box::new(move |path: &Path| wrong(path, copy(&error))) as Failure);
    (answers, failure)
}

/// SQLite's errors cannot be cloned.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    let code = error.sqlite_error().copied();
    // An error that is not SQLite's is a value that does not fit.
    let code = code.unwrap_or_else(|| rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH));
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}
