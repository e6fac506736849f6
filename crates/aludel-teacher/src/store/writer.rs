//! The one thread of a process that writes: takes work from a queue, does several pieces in one transaction, and answers each
//! only when that is on the disk. What the pieces do is `transactions`'s matter.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::open::wrong;
use super::transactions::{HEARTBEAT, WriterState};
use crate::Error;

/// A group is committed when it has so many pieces, or is so old.
const GROUP_ROWS: usize = 256;
const GROUP_AGE: Duration = Duration::from_millis(20);

/// The queue's end that others hold.
#[derive(Clone)]
pub(super) struct Queue {
    jobs: Sender<Job>,
    path: Arc<Path>,
}

/// A piece of work, and how it is answered once it is committed.
struct Job {
    work: Work,
    refuse: Box<dyn FnOnce(Error) -> Answer + Send>,
    /// Somebody waits: the group ends here.
    is_urgent: bool,
}

/// Tells whoever asked; with an error if the commit failed.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// Does a piece of work; the answer says that it is committed.
type Work = Box<dyn FnOnce(&mut WriterState) -> rusqlite::Result<Answer> + Send>;

/// The end that tells, for whichever of work and refusal comes to pass.
type Told<T> = Arc<Mutex<Option<oneshot::Sender<Result<T, Error>>>>>;

/// What the writer will answer.
pub(super) type Pending<T> = oneshot::Receiver<Result<T, Error>>;

impl Queue {
    /// Starts the thread; it ends with the last of the queue's holders.
    pub(super) fn start(state: WriterState) -> Result<(Queue, JoinHandle<()>), Error> {
        let path: Arc<Path> = Arc::from(state.path.as_path());
        let (jobs, taken) = channel();
        let thread = std::thread::Builder::new().name("store".to_string()).spawn(move || write(state, &taken));
        let thread = thread.map_err(|reason| Error::Threads { reason: reason.to_string() })?;
        Ok((Queue { jobs, path }, thread))
    }

    /// Has work done in the next group.
    pub(super) fn push<T: Send + 'static>(
        &self,
        is_urgent: bool,
        work: impl FnOnce(&mut WriterState) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (told, pending) = oneshot::channel();
        let told: Told<T> = Arc::new(Mutex::new(Some(told)));
        let refused = Arc::clone(&told);
        let job = Job {
            work: Box::new(move |state| {
                let done = work(state)?;
                Ok(Box::new(move |error: Option<Error>| tell(&told, error.map_or(Ok(done), Err))) as Answer)
            }),
            refuse: Box::new(move |error| {
                Box::new(move |later: Option<Error>| tell(&refused, Err(later.unwrap_or(error)))) as Answer
            }),
            is_urgent,
        };
        // Without the thread, dropping the job tells the same.
        let _ = self.jobs.send(job);
        pending
    }

    /// Waits for an answer, not from within an asynchronous task.
    pub(super) fn wait<T>(&self, pending: Pending<T>) -> Result<T, Error> {
        pending.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// Whether nobody else holds the queue.
    pub(super) fn is_last(&self) -> bool {
        Arc::strong_count(&self.path) == 1
    }

    /// What is said after the writer has ended.
    pub(super) fn closed(&self) -> Error {
        let reason = "the store is closed".to_string();
        Error::Store { path: self.path.to_path_buf(), reason, mend: "open it again" }
    }
}

fn tell<T>(told: &Told<T>, answer: Result<T, Error>) {
    let told = told.lock().ok().and_then(|mut told| told.take());
    // Whoever asked may have gone.
    let _ = told.map(|told| told.send(answer));
}

fn write(mut state: WriterState, jobs: &Receiver<Job>) {
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

fn gather(first: Option<Job>, jobs: &Receiver<Job>) -> Vec<Job> {
    let until = Instant::now() + GROUP_AGE;
    let mut group: Vec<Job> = first.into_iter().collect();
    while !group.is_empty() && group.len() < GROUP_ROWS && !group.last().is_some_and(|job| job.is_urgent) {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => group.push(job),
            Err(_) => break,
        }
    }
    group
}

/// Says the same error as often as it is wanted.
type Failure = Box<dyn Fn(&Path) -> Error>;

fn commit(state: &mut WriterState, path: &Path, group: Vec<Job>) -> (Vec<Answer>, Option<Failure>) {
    let mut answers = Vec::new();
    let mut begun = state.begin();
    for job in group {
        // A piece that fails takes back what it did, and nothing else.
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

/// SQLite's errors know no copy.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    let code = error.sqlite_error().copied();
    // What SQLite did not refuse is a value that does not fit.
    let code = code.unwrap_or_else(|| rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH));
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}
