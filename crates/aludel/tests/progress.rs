//! What a terminal shows while a command runs: one line, drawn over and over, that shares no line with the log and says no time left that
//! nothing was measured for; and what a log gets where there is no terminal.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use common::Workshop;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const COLUMNS: u16 = 80;

/// A command in a terminal of its own.
struct Terminal {
    child: Child,
    screen: Screen,
    output: File,
}

impl Terminal {
    fn run(mut command: Command) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        command.env("TERM", "xterm").stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
        let child = command.spawn().unwrap();
        // the command holds the terminal's other end, and must be the only one that does
        drop(command);
        Terminal { child, screen: Screen::default(), output: File::from(ours) }
    }

    /// Reads until a line is drawn that fits, or the command has ended.
    fn until(&mut self, fits: impl Fn(&str) -> bool) {
        let mut seen = self.screen.drawn.len();
        loop {
            if self.screen.drawn[seen..].iter().any(|line| fits(line)) {
                return;
            }
            seen = self.screen.drawn.len();
            let mut bytes = [0; 4096];
            // Linux reports the end of a terminal that nobody holds any more as an error.
            match self.output.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.screen.take(&bytes[..count]),
            }
        }
    }

    /// Stops the command as Ctrl-C does, and gives its exit code.
    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.until(|_| false);
        self.child.wait().unwrap().code()
    }
}

/// As much of a terminal as progress needs: lines, a cursor, and clearing. Whatever was overwritten or cleared is kept as drawn.
#[derive(Default)]
struct Screen {
    lines: Vec<String>,
    row: usize,
    column: usize,
    escape: Option<String>,
    bytes: Vec<u8>,
    /// Each line as it was when it was left, cleared or drawn over.
    drawn: Vec<String>,
    /// The most lines of progress that were seen at once.
    most_at_once: usize,
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(_) => self.bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(self.bytes.drain(..whole).collect()).unwrap();
        text.chars().for_each(|c| self.put(c));
    }

    fn line(&mut self) -> &mut String {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, String::new());
        }
        &mut self.lines[self.row]
    }

    fn left(&mut self) {
        let line = self.line().trim_end().to_owned();
        if !line.is_empty() {
            self.drawn.push(line);
        }
        let shown = self.lines.iter().filter(|line| is_progress(line)).count();
        self.most_at_once = self.most_at_once.max(shown);
    }

    fn put(&mut self, c: char) {
        if let Some(escape) = &mut self.escape {
            escape.push(c);
            if c.is_ascii_alphabetic() {
                let sequence = self.escape.take().unwrap();
                self.obey(&sequence);
            }
            return;
        }
        match c {
            '\u{1b}' => self.escape = Some(String::new()),
            '\r' => {
                self.left();
                self.column = 0;
            }
            '\n' => {
                self.left();
                (self.row, self.column) = (self.row + 1, 0);
            }
            c => {
                let column = self.column;
                let line = self.line();
                let mut letters: Vec<char> = line.chars().collect();
                letters.resize(letters.len().max(column + 1), ' ');
                letters[column] = c;
                *line = letters.into_iter().collect();
                self.column += 1;
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let (numbers, what) = sequence.split_at(sequence.len() - 1);
        let number = numbers.trim_start_matches('[').parse::<usize>();
        match what {
            "K" => {
                self.left();
                let kept = if number == Ok(2) { 0 } else { self.column };
                let line = self.line();
                *line = line.chars().take(kept).collect();
            }
            "A" => self.row = self.row.saturating_sub(number.unwrap_or(1)),
            "B" => self.row += number.unwrap_or(1),
            "G" => self.column = number.unwrap_or(1) - 1,
            "m" => {}
            other => panic!("a sequence {sequence:?} ({other}) that this terminal does not know"),
        }
    }
}

/// Lines of progress end with the time left, and carry no level of the log.
fn is_progress(line: &str) -> bool {
    !line.trim_start().starts_with(LEVELS[0])
        && line.contains(" left")
        && !LEVELS.iter().any(|level| line.contains(level))
}

const LEVELS: [&str; 3] = ["INFO", "WARN", "ERROR"];

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |i: usize| serde_json::json!({"prompt": format!("{i}+1?"), "response": "one more ".repeat(20)});
    workshop.write("rows.jsonl", &(0..40).map(|i| format!("{}\n", row(i))).collect::<String>());
    workshop
}

const TRAIN: &[&str] = &[
    "train",
    "--student",
    "student",
    "--data",
    "rows.jsonl",
    "--output-dir",
    "run",
    "--max-length",
    "256",
    "--max-steps",
    "1000000",
    "--set",
    "train.eval_strategy=steps",
    "--set",
    "train.eval_steps=20",
    "--set",
    "data.test_size=0.5",
];

#[test]
fn a_terminal_shows_one_line_that_nothing_else_shares() {
    let workshop = workshop();
    let mut terminal = Terminal::run(workshop.command(TRAIN));
    // Drawn often enough to have met log lines, and evaluations, in between.
    for step in [20, 60, 100, 140] {
        terminal.until(|line| {
            let at = line.strip_prefix("training step ").and_then(|rest| rest.split('/').next()?.parse::<u64>().ok());
            at.is_some_and(|at| at > step) && !line.contains('–')
        });
    }
    assert_eq!(terminal.interrupt(), Some(75));
    let Screen { drawn, lines, most_at_once, .. } = &terminal.screen;
    assert_eq!(*most_at_once, 1);
    let progress: Vec<&String> = drawn.iter().filter(|line| line.contains(" left")).collect();
    assert!(progress.iter().any(|line| line.contains("tokens/s")), "{drawn:#?}");
    for line in &progress {
        if line.trim_start().starts_with("INFO") {
            assert!(!line.contains("training step"), "{line}");
            continue;
        }
        assert!(LEVELS.iter().all(|level| !line.contains(level)), "shared: {line}");
        assert!(line.chars().count() < usize::from(COLUMNS), "{line}");
        // a million steps are never nearly done
        assert!(!line.ends_with(", 0:00 left"), "{line}");
        // nothing that was measured tells how long these take
        let is_unmeasured = ["hashing", "loading", "sample answers"].iter().any(|work| line.starts_with(work));
        assert!(!is_unmeasured || line.ends_with("– left"), "{line}");
    }
    let left: Vec<&String> = lines.iter().filter(|line| is_progress(line)).collect();
    assert!(left.is_empty(), "still there at the end: {left:?}");
    assert!(lines.iter().any(|line| line.contains("go on with: aludel train")), "{lines:#?}");
}

#[test]
fn a_log_gets_no_bar_and_a_line_for_every_ten_steps() {
    let workshop = workshop();
    let arguments = [&TRAIN[..9], &["--max-steps", "30", "--set", "train.eval_strategy=no"]].concat();
    let output = workshop.command(&arguments).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(!log.contains('\r') && !log.contains('\u{1b}'), "{log:?}");
    let steps: Vec<&str> = log.lines().filter_map(|line| line.trim_start().strip_prefix("INFO step ")).collect();
    for (line, step) in steps.iter().zip(["10/30: loss ", "20/30: loss ", "30/30: loss "]) {
        assert!(line.starts_with(step) && line.ends_with(" left") && line.contains(" elapsed, "), "{line}");
    }
    assert_eq!(steps.len(), 3, "{log}");
}
