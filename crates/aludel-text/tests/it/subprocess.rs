//! Runs tasks that may end, fill or hang the process in a process of their own, so that an abort, a stack overflow or a
//! failed allocation can be distinguished from an error. The process is this test program itself, started again for one
//! test that is otherwise ignored. The tasks and their limits are defined in the tests.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the processes that are started.
const IS_APART: &str = "ALUDEL_TEST_APART";
const MARK: &str = "TASK ";

/// What a task took, and what came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// CPU time of its thread, without other work on the machine, if the system reports it.
    pub(crate) time: Duration,
    /// Growth of the process's peak memory in kilobytes, if the system reports it.
    pub(crate) kilobytes: u64,
    /// Its result in one line, or how its process ended without a result.
    pub(crate) words: String,
    /// It did not end by itself, or something in it panicked.
    pub(crate) is_fault: bool,
}

impl Outcome {
    /// As a line for the log.
    pub(crate) fn line(&self) -> String {
        format!("{:.1?}, {} kB, {}", self.time, self.kilobytes, self.words)
    }
}

/// Does all tasks in one new process, in which the test of this name calls [`answer`].
pub(crate) fn run(test: &str, tasks: &[Vec<u8>]) -> Vec<Outcome> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--ignored"])
        .env(IS_APART, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let with_length = |task: &Vec<u8>| [&(task.len() as u64).to_le_bytes(), task.as_slice()].concat();
    let sent: Vec<u8> = tasks.iter().flat_map(with_length).collect();
    let writer = std::thread::spawn(move || {
        // A process that ended reads no more input; its outcome reports that.
        let _ = input.write_all(&sent);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut outcomes: Vec<Outcome> =
        text.lines().filter_map(|line| line.split_once(MARK)).map(|(_, line)| read(line)).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || errors.contains("panicked") {
        let shown: String = errors.chars().take(600).collect();
        let words = format!("after {} tasks: {}, {shown}", outcomes.len(), output.status);
        outcomes.push(Outcome { time: Duration::ZERO, kilobytes: 0, words, is_fault: true });
    }
    outcomes
}

fn read(line: &str) -> Outcome {
    let mut parts = line.splitn(3, ' ');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    let (time, kilobytes) = (Duration::from_micros(number()), number());
    Outcome { time, kilobytes, words: parts.next().unwrap_or_default().to_owned(), is_fault: false }
}

/// In the new process: does what comes in. Anywhere else it does nothing.
pub(crate) fn answer(task: impl Fn(&[u8]) -> String) {
    if std::env::var_os(IS_APART).is_none() {
        return;
    }
    let mut input = std::io::stdin();
    let mut length = [0; 8];
    while input.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u64::from_le_bytes(length) as usize];
        input.read_exact(&mut bytes).unwrap();
        let (before, start) = (peak_kilobytes(), worked());
        let words: String = task(&bytes).chars().take(260).collect::<String>().replace('\n', " ");
        let (time, kilobytes) = (worked().saturating_sub(start), peak_kilobytes().saturating_sub(before));
        println!("{MARK}{} {kilobytes} {words}", time.as_micros());
    }
}

fn worked() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or_default()
}
