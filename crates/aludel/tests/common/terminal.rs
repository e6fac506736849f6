//! A command in a pseudo-terminal of a given size, and an emulation of the screen that suffices to know what it shows.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A command in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    pub(crate) screen: Screen,
    output: File,
    /// The command's end of the terminal, where it outlives the command.
    kept: Option<OwnedFd>,
}

impl Terminal {
    /// Starts it in a terminal of this number of columns and lines.
    pub(crate) fn run(mut command: Command, columns: u16, lines: u16) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        command.env("TERM", "xterm").stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
        let child = command.spawn().unwrap();
        // only the command may hold the other end of the terminal
        drop(command);
        Terminal { child, screen: Screen::default(), output: File::from(ours), kept: None }
    }

    /// Starts it in a terminal that it reads from, too, and that stays when it has ended.
    pub(crate) fn run_typing(mut command: Command) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Terminal { child, screen: Screen::default(), output: File::from(ours), kept: Some(theirs) }
    }

    /// How the terminal treats what is typed.
    pub(crate) fn modes(&self) -> LocalModes {
        tcgetattr(self.kept.as_ref().unwrap()).unwrap().local_modes
    }

    /// Sends SIGTERM, and gives the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Reads until a line is drawn that fits, or the command has ended.
    pub(crate) fn until(&mut self, fits: impl Fn(&str) -> bool) {
        let mut seen = self.screen.drawn.len();
        loop {
            if self.screen.drawn[seen..].iter().any(|line| fits(line)) {
                return;
            }
            seen = self.screen.drawn.len();
            let mut bytes = [0; 4096];
            // Linux reports the end of a closed terminal as an error.
            match self.output.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.screen.take(&bytes[..count]),
            }
        }
    }

    /// Stops the command as Ctrl-C does, and gives its exit code.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.press_ctrl_c();
        self.ended()
    }

    /// Sends what Ctrl-C sends.
    pub(crate) fn press_ctrl_c(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// The exit code, once the command has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.until(|_| false);
        self.child.wait().unwrap().code()
    }
}

/// The features of a terminal that progress uses: lines, a cursor, and clearing. Overwritten or cleared lines are recorded.
#[derive(Default)]
pub(crate) struct Screen {
    pub(crate) lines: Vec<String>,
    row: usize,
    pub(crate) column: usize,
    escape: Option<String>,
    bytes: Vec<u8>,
    /// Each line as it was when it was left, cleared or drawn over.
    pub(crate) drawn: Vec<String>,
    /// The most lines of progress that were seen at once.
    pub(crate) most_at_once: usize,
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

/// Lines of progress end with the time left, carry no level of the log, and are not the further lines of one that does.
pub(crate) fn is_progress(line: &str) -> bool {
    !line.starts_with(' ') && line.contains(" left") && !LEVELS.iter().any(|level| line.contains(level))
}

/// Levels of the log.
pub(crate) const LEVELS: [&str; 3] = ["INFO", "WARN", "ERROR"];
