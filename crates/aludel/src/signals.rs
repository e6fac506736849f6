//! How long work is stopped: the first SIGTERM or Ctrl-C asks for it, the second ends the process at once. Both exit with 75, since
//! whoever uses this keeps on the disk what is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGNALS: [i32; 2] = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
const STOPPED: i32 = 75;

/// A flag that the first SIGTERM or Ctrl-C sets; the second ends the process.
pub(crate) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    listen(None)
}

/// As [`stop_on_signals`], and says at once that the signal was heard: what is under way may take a while to end.
pub(crate) fn stop_on_signals_aloud(under_way: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    listen(Some(under_way))
}

fn listen(under_way: Option<&'static str>) -> anyhow::Result<Arc<AtomicBool>> {
    let (stop, is_ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in SIGNALS {
        // A terminal that takes nothing more would keep the thread from ending the process: one more signal does.
        signal_hook::flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&is_ending))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut heard = heard(&stop)?;
    // It ends with the process.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        heard();
        if let Some(under_way) = under_way {
            tracing::info!("stopping as soon as {under_way} ends; a second signal ends at once");
        }
        heard();
        is_ending.store(true, Ordering::Relaxed);
        crate::progress::end_line();
        tracing::info!("ended at once; what was kept before stays, and the same command continues from there");
        signal_hook::low_level::exit(STOPPED);
    })?;
    Ok(stop)
}

/// Waits for the next signal.
#[cfg(unix)]
fn heard(_: &Arc<AtomicBool>) -> anyhow::Result<impl FnMut() + Send + use<>> {
    let mut signals = signal_hook::iterator::Signals::new(SIGNALS)?;
    Ok(move || {
        signals.forever().next();
    })
}

/// Where the system has no pipe for signals, the flag is looked at now and then.
#[cfg(not(unix))]
fn heard(stop: &Arc<AtomicBool>) -> anyhow::Result<impl FnMut() + Send + use<>> {
    const LOOKS_APART: std::time::Duration = std::time::Duration::from_millis(50);
    let again = Arc::new(AtomicBool::new(false));
    let mut flags = vec![Arc::clone(&again), Arc::clone(stop)];
    Ok(move || {
        let Some(flag) = flags.pop() else { return };
        while !flag.load(Ordering::Relaxed) {
            std::thread::sleep(LOOKS_APART);
        }
        for signal in SIGNALS {
            // Without it a second signal is not heard, and the first has stopped the work.
            let _ = signal_hook::flag::register(signal, Arc::clone(&again));
        }
    })
}
