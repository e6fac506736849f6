//! How long work is stopped: the first SIGTERM or Ctrl-C asks for it, the second ends the process at once. Both exit with 75, since
//! whoever uses this keeps on the disk what is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A flag that the first SIGTERM or Ctrl-C sets; the second ends the process.
pub(crate) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// As [`stop_on_signals`], and says at once that the signal was heard: what is under way may take a while to end.
pub(crate) fn stop_on_signals_aloud(under_way: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    const LOOKS_APART: Duration = Duration::from_millis(100);
    let stop = stop_on_signals()?;
    let watched = Arc::clone(&stop);
    // Without the thread the signal is heard all the same. It ends with the process.
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while !watched.load(Ordering::Relaxed) {
            std::thread::sleep(LOOKS_APART);
        }
        tracing::info!("stopping after {under_way}; a second signal ends at once");
    });
    Ok(stop)
}
