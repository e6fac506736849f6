//! The remaining budget of a rendering. The engine counts its own instructions and the text they produce; what this
//! crate does for a template (filters, methods, operators, comparisons) is counted here, before it is done. Work is
//! counted in bytes read or written, so that the budget bounds both time and memory.

use std::cell::Cell;

use minijinja::{Error, ErrorKind};

/// The cost of iterating over one item of a sequence, in bytes: about the size of a value.
pub(super) const ITEM: usize = 32;

thread_local! {
    // Methods of values and comparisons are called without the engine's state, so that the remaining budget is kept outside of it.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Renders with a budget of the given number of bytes.
pub(in crate::template) fn within<T>(bytes: u64, render: impl FnOnce() -> T) -> T {
    struct RestoreBudget(u64);
    impl Drop for RestoreBudget {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _before = RestoreBudget(LEFT.replace(bytes));
    render()
}

/// Counts work before it is done.
///
/// # Errors
/// The budget is used up, and remains so.
pub(super) fn spend(bytes: usize) -> Result<(), Error> {
    match LEFT.get().checked_sub(bytes as u64) {
        Some(rest) => {
            LEFT.set(rest);
            Ok(())
        }
        None => {
            LEFT.set(0);
            Err(Error::from(ErrorKind::OutOfFuel))
        }
    }
}

/// Counts `count` items.
///
/// # Errors
/// As [`spend`].
pub(super) fn spend_items(count: usize) -> Result<(), Error> {
    spend(count.saturating_mul(ITEM))
}

/// `text` repeated a number of times.
///
/// # Errors
/// As [`spend`].
pub(super) fn repeated(text: &str, times: usize) -> Result<String, Error> {
    spend(text.len().saturating_mul(times))?;
    Ok(if text.is_empty() { String::new() } else { text.repeat(times) })
}
