//! The pool of worker threads under loom: its own source, with loom's atomics, cells and threads. Each test runs in all orders of
//! execution that a few preemptions can cause, and fails on a race, a wait without end, or a task that runs twice or never.
//! loom knows no total order of SeqCst operations: what passes here does not need one.
#![cfg(test)]

#[path = "../../src/pool.rs"]
#[expect(dead_code, reason = "the kernels use more of the pool than these tests")]
mod pool;

mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use loom::thread::{Builder, JoinHandle, Thread, park};

    /// A worker looks for a job when it is about to sleep, by the same function as while it spins.
    pub(crate) const SPINS: u32 = 0;

    /// The pool waits for its threads so that their start costs no one time. What is tried here must hold without that.
    pub(crate) struct Barrier;

    impl Barrier {
        pub(crate) fn new(_: usize) -> Barrier {
            Barrier
        }

        pub(crate) fn wait(&self) {}
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::pool::{Order, Pool};
use crate::sync::{AtomicBool, Ordering, UnsafeCell};

/// Values that tasks write and the caller reads after them, both without atomics: loom tells if anything is unordered.
struct Written(Vec<UnsafeCell<u32>>);

// SAFETY: that accesses do not meet is what the tests are for; loom checks it at each of them.
unsafe impl Sync for Written {}

impl Written {
    fn new(tasks: usize) -> Written {
        Written((0..tasks).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, task: usize) {
        // SAFETY: loom checks that no one else is there.
        self.0[task].with_mut(|value| unsafe { *value += 1 });
    }

    fn values(&self) -> Vec<u32> {
        // SAFETY: as above.
        self.0.iter().map(|cell| cell.with(|value| unsafe { *value })).collect()
    }
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(body);
}

/// One job after another, on a worker that spins or sleeps between them: each task once, and what it wrote is seen.
#[test]
fn every_task_of_every_job_runs_once() {
    for order in [Order::ByThread, Order::AsNumbered] {
        model(3, move || {
            let mut pool = Pool::new(2);
            let written = Written::new(2);
            for job in 1..=2 {
                pool.run(2, order, &|task| written.add(task));
                assert_eq!(written.values(), [job, job]);
            }
        });
    }
}

/// A job that needs its worker: the caller's task waits for the worker's, so that one who sleeps on would be noticed.
#[test]
fn a_worker_is_woken() {
    model(3, || {
        let mut pool = Pool::new(2);
        let is_done = AtomicBool::new(false);
        pool.run(2, Order::ByThread, &|task| match task {
            0 => {
                while !is_done.load(Ordering::Acquire) {
                    loom::thread::yield_now();
                }
            }
            _ => is_done.store(true, Ordering::Release),
        });
    });
}

/// Two workers, who may both still be inside a job when the next one comes.
#[test]
fn two_workers_share_a_job() {
    model(2, || {
        let mut pool = Pool::new(3);
        let written = Written::new(3);
        pool.run(3, Order::ByThread, &|task| written.add(task));
        assert_eq!(written.values(), [1; 3]);
    });
}

/// A pool that is dropped ends, with its workers spinning, asleep or not yet begun.
#[test]
fn an_idle_pool_ends() {
    model(3, || drop(Pool::new(3)));
}

/// Whoever panics, the caller hears of it after everyone has left the job, and the next job runs as if nothing had been.
#[test]
fn a_panic_is_passed_on_and_the_pool_goes_on() {
    std::panic::set_hook(Box::new(|_| {}));
    for faulty in 0..2 {
        model(2, move || {
            let mut pool = Pool::new(2);
            let run = AssertUnwindSafe(|| pool.run(2, Order::ByThread, &|task| assert_ne!(task, faulty)));
            assert!(catch_unwind(run).is_err());
            let written = Written::new(2);
            pool.run(2, Order::ByThread, &|task| written.add(task));
            assert_eq!(written.values(), [1, 1]);
        });
    }
    drop(std::panic::take_hook());
}
