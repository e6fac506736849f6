//! Standard error for the log: a log line shares no line of a terminal with what progress draws there, and breaks the silence of a log.

use std::io::{self, Write};

use super::{SHOWN, locked, suspend};

/// Standard error for the log.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for shown in locked(&SHOWN).iter() {
            locked(&shown.state).broken_silence(shown.started.elapsed());
        }
        // If standard error is closed, nothing can be said, and the work goes on: told of it, the subscriber would print there that it
        // could not print, and panic.
        let _ = suspend(|| io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
