//! Worker threads for ops that last microseconds. Between two ops of a pass the workers spin, so that the next one
//! starts at once; after a while without work they sleep. Each thread has a range of the tasks, takes them one by one,
//! and then helps others with theirs. Ops number their tasks by rows, so that a thread finds in its own cache what it
//! wrote one op ago.
//!
//! A general work-stealing pool costs some ten microseconds more for each op (`docs/decisions/0007`), and a generated
//! token has a few hundred ops.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

// `loom/` tries the orders in which threads can run this file, with another `sync`.
use crate::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Barrier, Builder, JoinHandle, Mutex, Ordering, SPINS, Thread, UnsafeCell,
    park, spin_loop,
};

/// Bit of [`Shared::state`] that says that the job may be entered; below it the workers inside are counted, above it jobs.
const OPEN: u64 = 1 << 16;
/// One job in [`Shared::state`].
const JOB: u64 = 1 << 17;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The number of the present worker: 0 for whoever started the op, then 1, 2, …
pub(crate) fn thread_index() -> usize {
    INDEX.get()
}

/// Some threads beside the caller's.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
}

struct Shared {
    /// Jobs so far, whether the last may be entered, workers inside.
    state: AtomicU64,
    /// Next task of each thread's stretch.
    next: Vec<Cursor>,
    job: UnsafeCell<Option<PoolJob>>,
    asleep: Vec<AtomicBool>,
    is_ending: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A counter with a cache line for itself.
#[repr(align(64))]
struct Cursor(AtomicUsize);

/// A borrowed closure without its lifetime. [`Pool::run`] does not return before everyone has left it.
#[derive(Clone, Copy)]
struct PoolJob {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    order: Order,
}

/// In which order tasks are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each thread begins with a stretch of its own.
    ByThread,
    /// From the first to the last, whoever is free: for tasks of which the long ones come first, so that threads end together.
    AsNumbered,
}

// SAFETY: `job` is written only while no worker is inside (see `run`), and read only by workers that are.
unsafe impl Sync for Shared {}
// SAFETY: as above; the closure behind the pointer is `Sync`.
unsafe impl Send for Shared {}

impl Pool {
    /// Starts `threads − 1` workers; the caller of [`Pool::run`] is the remaining one.
    pub(crate) fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: (0..threads.max(1)).map(|_| Cursor(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(None),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            is_ending: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        // the start of a thread belongs to building the pool, not to its first use
        let started = Arc::new(Barrier::new(threads.max(1)));
        let workers: Vec<_> = (1..threads)
            .map(|index| {
                let (shared, started) = (Arc::clone(&shared), Arc::clone(&started));
                Builder::new()
                    .name(format!("aludel-{index}"))
                    .spawn(move || {
                        started.wait();
                        shared.work(index);
                    })
                    .expect("the system refuses to start worker threads")
            })
            .collect();
        started.wait();
        let threads = workers.iter().map(|worker| worker.thread().clone()).collect();
        Pool { shared, workers, threads }
    }

    /// Runs `task(0) … task(tasks − 1)` on all threads, each task once. A panic of a task is passed on.
    pub(crate) fn run(&mut self, tasks: usize, order: Order, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: the lifetime is dropped; this function returns only when no worker is inside the job any more.
        let task: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(std::ptr::from_ref(task)) };
        let job = PoolJob { task, tasks, order };
        // SAFETY: no worker is inside: the last job was closed and left before its `run` returned, and `&mut self` keeps others out.
        shared.job.with_mut(|held| unsafe { *held = Some(job) });
        for (thread, cursor) in shared.next.iter().enumerate() {
            cursor.0.store(shared.stretch(thread, job).start, Ordering::Relaxed);
        }
        // before `asleep` is looked at: a worker that falls asleep either sees this job, or is seen asleep
        shared.state.fetch_add(JOB | OPEN, Ordering::SeqCst);
        for (thread, asleep) in self.threads.iter().zip(&shared.asleep) {
            if asleep.swap(false, Ordering::SeqCst) {
                thread.unpark();
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shared.run_tasks(job, 0)));
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        while shared.state.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            spin_loop();
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = outcome.err().or(panic) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.threads.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // a worker passes panics on to `run` and has none of its own
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The life of a worker.
    fn work(&self, index: usize) {
        INDEX.set(index);
        let mut done = 0;
        while !self.is_ending.load(Ordering::SeqCst) {
            let Some(job) = self.next_job(&mut done, index) else { continue };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run_tasks(job, index))) {
                self.next.iter().for_each(|cursor| cursor.0.store(job.tasks, Ordering::Relaxed));
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a job newer than number `done` and enters it; nothing if it woke in vain.
    fn next_job(&self, done: &mut u64, index: usize) -> Option<PoolJob> {
        for _ in 0..SPINS {
            if let Some(job) = self.enter(done) {
                return Some(job);
            }
            spin_loop();
        }
        let asleep = &self.asleep[index - 1];
        // Written by a read-modify-write: if `run` has looked here before, what it did before that is seen by `enter`, and if not, it
        // will find this worker asleep.
        asleep.swap(true, Ordering::SeqCst);
        let job = self.enter(done);
        if job.is_none() && !self.is_ending.load(Ordering::SeqCst) {
            park();
        }
        asleep.store(false, Ordering::SeqCst);
        job
    }

    /// Enters the present job, if it is open and newer than `done`.
    fn enter(&self, done: &mut u64) -> Option<PoolJob> {
        let mut state = self.state.load(Ordering::SeqCst);
        while state & OPEN != 0 && state / JOB != *done {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    *done = state / JOB;
                    // SAFETY: counted as inside, so that `run` neither returns nor writes the job.
                    return self.job.with(|job| unsafe { *job });
                }
                Err(present) => state = present,
            }
        }
        None
    }

    /// The tasks that a thread begins with.
    fn stretch(&self, thread: usize, job: PoolJob) -> Range<usize> {
        let (tasks, threads) = (job.tasks, self.next.len());
        match job.order {
            Order::ByThread => tasks * thread / threads..tasks * (thread + 1) / threads,
            Order::AsNumbered if thread == 0 => 0..tasks,
            Order::AsNumbered => tasks..tasks,
        }
    }

    fn run_tasks(&self, job: PoolJob, index: usize) {
        let threads = self.next.len();
        for thread in (index..threads).chain(0..index) {
            let (cursor, end) = (&self.next[thread].0, self.stretch(thread, job).end);
            while cursor.load(Ordering::Relaxed) < end {
                let task = cursor.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                // SAFETY: `run` keeps the closure alive until everyone has left.
                unsafe { (*job.task)(task) };
            }
        }
    }
}
