//! The pool with real threads. They stand apart from it, since `loom/` takes its file and has no real threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pool::{Order, Pool, thread_index};

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 5] {
        let mut pool = Pool::new(threads);
        for round in 0..2_000 {
            let tasks = round % 7 * 2;
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            let order = if round % 2 == 0 { Order::ByThread } else { Order::AsNumbered };
            pool.run(tasks, order, &|task| {
                assert!(thread_index() < threads);
                counts[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads} threads, round {round}");
            if round % 500 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(2)); // workers fall asleep
            }
        }
    }
}

#[test]
fn a_panic_is_passed_on_and_the_pool_goes_on() {
    let mut pool = Pool::new(3);
    for wrong in 0..20 {
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(20, Order::ByThread, &|task| assert_ne!(task, wrong))));
        assert!(outcome.is_err());
    }
    let sum = AtomicUsize::new(0);
    pool.run(10, Order::ByThread, &|task| {
        sum.fetch_add(task, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 45);
}
