//! A verifier of the user's own: a program that reads rows as JSON lines and answers each with a line. A row is written to its
//! standard input and never becomes part of a command; there is a time limit for each row, and the program is restarted after a
//! failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::Verdict;
use crate::Error;

/// A longer line is not a verdict.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// A running program that judges row by row.
pub(super) struct Conversation {
    argv: Vec<String>,
    timeout: Duration,
    running: Mutex<Option<Running>>,
}

#[derive(Deserialize)]
struct Reply {
    correct: Option<bool>,
}

impl Conversation {
    pub(super) fn new(argv: Vec<String>, timeout: Duration) -> Conversation {
        Conversation { argv, timeout, running: Mutex::new(None) }
    }

    /// Judges one row. A failure makes the row undecided.
    ///
    /// # Errors
    /// [`Error::VerifierCommand`] if the program cannot be started.
    pub(super) fn ask(&self, answer: &str, gold: &str) -> Result<Verdict, Error> {
        let mut row = serde_json::json!({ "answer": answer, "gold": gold }).to_string();
        row.push('\n');
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out while it is used: after a failure it is dropped, which ends the program.
        let program = match running.take() {
            Some(program) => program,
            None => Running::start(&self.argv)?,
        };
        let Some(reply) = program.exchange(row, self.timeout) else { return Ok(Verdict::Undecided) };
        // serde would accept a list of the members in order.
        let reply = Some(reply.trim_start()).filter(|reply| reply.starts_with('{'));
        let Some(reply) = reply.and_then(|reply| serde_json::from_str::<Reply>(reply).ok()) else {
            return Ok(Verdict::Undecided);
        };
        *running = Some(program);
        Ok(match reply.correct {
            Some(true) => Verdict::Right,
            Some(false) => Verdict::Wrong,
            None => Verdict::Undecided,
        })
    }
}

/// The program, and the two threads that keep its pipes from blocking the caller.
struct Running {
    child: Child,
    rows: Sender<String>,
    replies: Receiver<String>,
}

impl Running {
    fn start(argv: &[String]) -> Result<Running, Error> {
        let failed = |reason: String| Error::VerifierCommand { command: argv.join(" "), reason };
        let (program, arguments) = argv.split_first().ok_or_else(|| failed("no program is named".to_string()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|reason| failed(reason.to_string()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("its input and output could not be opened".to_string()));
        };
        let (rows, to_write) = mpsc::channel();
        let (read, replies) = mpsc::channel();
        thread::spawn(move || write_rows(input, &to_write));
        thread::spawn(move || read_replies(output, &read));
        Ok(Running { child, rows, replies })
    }

    fn exchange(&self, row: String, timeout: Duration) -> Option<String> {
        self.rows.send(row).ok()?;
        self.replies.recv_timeout(timeout).ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then only its status has to be collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends when there are no more rows or the program has ended.
fn write_rows(mut input: ChildStdin, rows: &Receiver<String>) {
    for row in rows {
        if input.write_all(row.as_bytes()).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

/// Ends when the program closes its output, writes an overlong line, or the receiver is gone.
fn read_replies(output: ChildStdout, replies: &Sender<String>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = String::new();
        match (&mut output).take(MAX_LINE_BYTES).read_line(&mut line) {
            Ok(length) if length > 0 && line.ends_with('\n') => {
                if replies.send(line).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
