//! How long work is stopped: the first SIGTERM or Ctrl-C asks for it, the second ends the process at once. Both exit with 75, since
//! whoever uses this keeps on the disk what is done.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that the first SIGTERM or Ctrl-C sets; the second ends the process.
pub(crate) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
