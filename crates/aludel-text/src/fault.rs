//! Panics of the engines that read what strangers wrote (the tokenizers and template crates, and a report's formulas), made errors. What
//! can be seen beforehand is refused where it is read; this is for what nobody foresaw.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs an engine on what a stranger wrote. What it was given must not be used again after a panic.
///
/// # Errors
/// The words of a panic.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // A panic that becomes an error says what it has to say there, and not on standard error too.
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |information| {
            if !IS_CATCHING.get() {
                before(information);
            }
        }));
    });
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_CATCHING.set(self.0);
        }
    }
    let _before = Before(IS_CATCHING.replace(true));
    // What a panic says is about the engine's own code, and no help to who has the file.
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        "its engine fails inside, on something that it does not expect in this file; use another copy of the file, or another model"
            .to_owned()
    })
}
