//! SIGTERM and Ctrl-C. A command that saves its progress is asked to stop by the first signal and ended by the second: it exits with 75,
//! since it can be resumed. Any other command is ended by the first: it exits with 130 (Ctrl-C) or 143 (SIGTERM), like in shells.

use crate::next_command::as_typed;
use aludel_formats::atomic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

const SIGNALS: [i32; 2] = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
const STOPPED: i32 = 75;
/// What shells add to the number of the signal that ended a command.
const ENDED_BY: i32 = 128;

/// Whether the command listens itself.
static IS_HEEDED: AtomicBool = AtomicBool::new(false);
/// Whether a signal is ending the process.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Has the first SIGTERM or Ctrl-C end the process, until a command asks to be stopped by them. What is being written is removed.
pub(crate) fn end_on_signals() -> anyhow::Result<()> {
    let mut heard = heard(&Arc::default())?;
    // It ends with the process.
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
        let signal = loop {
            let signal = heard();
            if !IS_HEEDED.load(Ordering::SeqCst) {
                break signal;
            }
        };
        IS_ENDING.store(true, Ordering::SeqCst);
        // Nothing is put into place from here on.
        let _abandoned = atomic::abandon();
        crate::progress::end_line();
        tracing::warn!("interrupted: no incomplete output is left; start again with: {}", as_typed());
        signal_hook::low_level::exit(ENDED_BY + signal);
    })?;
    Ok(())
}

/// Set by the first signal, once a command listens.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether a signal has asked a command to stop that can be resumed.
pub(crate) fn is_stopping() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// If a signal is ending the process, waits for the end: results and errors in the meantime are not printed.
pub(crate) fn let_end() {
    while IS_ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// A flag that the first SIGTERM or Ctrl-C sets; the second ends the process. The first is answered at once, since what is under way may
/// take a while to end. `continued_with` is the command that goes on with what was kept.
pub(crate) fn stop_on_signals(continued_with: String) -> anyhow::Result<Arc<AtomicBool>> {
    listen(Some("stopping as soon as what is being computed ends; a second signal ends at once"), continued_with)
}

/// As [`stop_on_signals`], for a command that says itself what it waits for.
pub(crate) fn stop_on_signals_quietly(continued_with: String) -> anyhow::Result<Arc<AtomicBool>> {
    listen(None, continued_with)
}

/// Says how a stopped command goes on. What was kept is said before.
pub(crate) fn tell_how_to_continue() {
    tracing::info!("continue with: {}", as_typed());
}

/// Has SIGTERM end a conversation: the terminal is left as it was found, since a line that is being typed has changed how it behaves, and
/// the exit code is what shells have for SIGTERM.
#[cfg(unix)]
pub(crate) fn end_conversation_on_sigterm() -> anyhow::Result<()> {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let found = tcgetattr(std::io::stdin()).ok();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?;
    // It ends with the process.
    std::thread::Builder::new().name("sigterm".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        if let Some(found) = found {
            // Whether it works or not, the process ends.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &found);
        }
        crate::console::leave_terminal();
        signal_hook::low_level::exit(ENDED_BY + signal);
    })?;
    Ok(())
}

/// Elsewhere the system ends the process.
#[cfg(not(unix))]
pub(crate) fn end_conversation_on_sigterm() -> anyhow::Result<()> {
    Ok(())
}

fn listen(answer: Option<&'static str>, continued_with: String) -> anyhow::Result<Arc<AtomicBool>> {
    // Commands that are made of others listen once.
    if let Some(stop) = STOP.get() {
        return Ok(Arc::clone(stop));
    }
    let (stop, is_ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in SIGNALS {
        // A terminal that takes nothing more would keep the thread from ending the process: one more signal does.
        signal_hook::flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&is_ending))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    IS_HEEDED.store(true, Ordering::SeqCst);
    let mut heard = heard(&stop)?;
    // It ends with the process.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        heard();
        if let Some(answer) = answer {
            tracing::info!("{answer}");
        }
        heard();
        is_ending.store(true, Ordering::Relaxed);
        crate::progress::end_line();
        tracing::info!("ended at once; what was kept before stays; continue with: {continued_with}");
        signal_hook::low_level::exit(STOPPED);
    })?;
    Ok(Arc::clone(STOP.get_or_init(|| stop)))
}

/// Waits for the next signal, and says which it was.
#[cfg(unix)]
fn heard(_: &Arc<AtomicBool>) -> anyhow::Result<impl FnMut() -> i32 + Send + use<>> {
    let mut signals = signal_hook::iterator::Signals::new(SIGNALS)?;
    Ok(move || signals.forever().next().unwrap_or(signal_hook::consts::SIGINT))
}

/// Where the system has no pipe for signals, the flag is looked at now and then.
#[cfg(not(unix))]
fn heard(stop: &Arc<AtomicBool>) -> anyhow::Result<impl FnMut() -> i32 + Send + use<>> {
    const LOOKS_APART: std::time::Duration = std::time::Duration::from_millis(50);
    for signal in SIGNALS {
        // Without it the signal is not heard.
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    let again = Arc::new(AtomicBool::new(false));
    let mut flag = Arc::clone(stop);
    Ok(move || {
        while !flag.load(Ordering::Relaxed) {
            std::thread::sleep(LOOKS_APART);
        }
        flag = Arc::clone(&again);
        flag.store(false, Ordering::Relaxed);
        for signal in SIGNALS {
            // Without it a second signal is not heard, and the first has stopped the work.
            let _ = signal_hook::flag::register(signal, Arc::clone(&again));
        }
        signal_hook::consts::SIGINT
    })
}
