//! Progress while a command runs: on a terminal one line that is redrawn, is never mixed with the log, and shows no remaining time before
//! anything was measured; without a terminal, lines in the log.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use common::terminal::{LEVELS, Screen, Terminal, is_progress};
use common::{Workshop, train_args};

const COLUMNS: u16 = 80;

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |i: usize| serde_json::json!({"prompt": format!("{i}+1?"), "response": "one more ".repeat(20)});
    workshop.write("rows.jsonl", &(0..40).map(|i| format!("{}\n", row(i))).collect::<String>());
    workshop
}

const ENDLESS: &[&str] = &[
    "--max-steps",
    "100000",
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
    let mut terminal = Terminal::run(workshop.command(&train_args("run", ENDLESS)), COLUMNS, 24);
    // Drawn often enough to have met log lines, and evaluations, in between.
    for step in [20, 60, 100, 140] {
        terminal.until(|line| {
            let at = line.strip_prefix("training ").and_then(|rest| rest.split('/').next()?.parse::<u64>().ok());
            at.is_some_and(|at| at > step) && !line.contains('–')
        });
    }
    assert_eq!(terminal.interrupt(), Some(75));
    let Screen { drawn, lines, most_at_once, .. } = &terminal.screen;
    assert_eq!(*most_at_once, 1);
    let progress: Vec<&String> =
        drawn.iter().filter(|line| line.contains(" left") && !line.starts_with("      ")).collect();
    assert!(progress.iter().any(|line| line.contains("tokens/s")), "{drawn:#?}");
    for line in &progress {
        if line.trim_start().starts_with("INFO") {
            assert!(!line.contains("training "), "{line}");
            continue;
        }
        assert!(LEVELS.iter().all(|level| !line.contains(level)), "shared: {line}");
        assert!(line.chars().count() < usize::from(COLUMNS), "{line}");
        // far more steps than the test waits for
        assert!(!line.ends_with(", 0:00 left"), "{line}");
        // their duration cannot be predicted from anything measured
        let is_unmeasured = ["hashing", "loading", "sample answers"].iter().any(|work| line.starts_with(work));
        assert!(!is_unmeasured || line.ends_with("– left"), "{line}");
    }
    let left: Vec<&String> = lines.iter().filter(|line| is_progress(line)).collect();
    assert!(left.is_empty(), "still there at the end: {left:?}");
    assert!(lines.iter().any(|line| line.contains("continue with: aludel train")), "{lines:#?}");
}

#[test]
fn a_log_gets_no_bar_and_a_line_for_every_ten_steps() {
    let workshop = workshop();
    let arguments = train_args("run", &["--max-steps", "30", "--set", "train.eval_strategy=no"]);
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
