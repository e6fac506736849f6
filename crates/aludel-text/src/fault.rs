//! Panics of the engines that read what strangers wrote (the tokenizers and template crates, and a report's formulas), made errors. What
//! can be seen beforehand is refused where it is read; this is for what nobody foresaw.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use aludel_files::shortened;

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
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| words(panic.as_ref()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let shown = shortened(text.unwrap_or("no reason given"), 200);
    format!("its engine fails inside ({shown})")
}
