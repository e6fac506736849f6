//! What the pool is made of, from the standard library. `loom/` has the same names from loom, which tries all orders of execution.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Barrier, Mutex};
pub(crate) use std::thread::{Builder, JoinHandle, Thread, park};

/// Looks at the state before a worker goes to sleep: some 70 microseconds on a Zen 4.
pub(crate) const SPINS: u32 = 3_000;

/// The standard cell with loom's way in.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// The contents, to be read; that no one writes meanwhile is up to the caller.
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// The contents, to be written; that no one else is there is up to the caller.
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
