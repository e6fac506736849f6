//! Turns panics of engines on untrusted input (the tokenizers and template crates, and a report's formulas) into
//! errors. What can be detected beforehand is refused where it is read; this catches the rest.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    /// The message and location of the last panic that was caught on this thread.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs an engine on untrusted input. Its arguments must not be used again after a panic.
///
/// # Errors
/// The engine panicked. Its message is about its own code and does not help the user, so it goes to the log, at debug level.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    run_caught(run).map_err(|said| {
        tracing::debug!("an engine failed inside: {said}");
        "its engine fails inside, on something that it does not expect in this input; use another copy of the file, or another model"
            .to_owned()
    })
}

/// The result, or the message of a panic.
fn run_caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // A panic that is caught is reported as an error, and not on standard error as well.
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |information| {
            if IS_CATCHING.get() {
                let said = information.to_string();
                // One that comes while the words are being taken has none.
                SAID.with(|words| words.try_borrow_mut().map(|mut words| *words = said).unwrap_or_default());
            } else {
                before(information);
            }
        }));
    });
    struct RestoreFlag(bool);
    impl Drop for RestoreFlag {
        fn drop(&mut self) {
            IS_CATCHING.set(self.0);
        }
    }
    let _before = RestoreFlag(IS_CATCHING.replace(true));
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| SAID.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_s_words_are_kept_and_not_told_to_the_user() {
        let said = run_caught(|| panic!("no such {}", "state")).unwrap_err();
        assert!(said.contains("no such state") && said.contains("catch_panic.rs"), "{said}");
        // A caught panic has a message of its own.
        let said = run_caught(|| {
            run_caught(|| panic!("inner")).unwrap_err();
            panic!("outer")
        });
        assert!(said.is_err_and(|said| said.contains("outer") && !said.contains("inner")));
        let told = catch_panic(|| panic!("no such state")).unwrap_err();
        assert!(told.contains("in this input") && !told.contains("state"), "{told}");
        assert_eq!(catch_panic(|| 4), Ok(4));
    }
}
