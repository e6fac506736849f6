//! Output on terminals of 80 and of 120 columns: no word is broken, only commands and paths may exceed the width, and an interrupted command
//! leaves the cursor at the start of a line.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use common::Workshop;
use common::terminal::Terminal;
use serde_json::json;

/// A student, rows with a right answer, and two evaluations of it.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |i: usize| {
        json!({"prompt": format!("What is {i} more than one, in words as in figures?"), "reasoning": "It is one more. ".repeat(4),
            "response": format!("\\boxed{{{}}}", i + 1), "gold": (i + 1).to_string()})
    };
    workshop.write("rows.jsonl", &(0..24).map(|i| format!("{}\n", row(i))).collect::<String>());
    for name in ["before", "after"] {
        let eval = ["eval", "--model", "student", "--tasks", "rows.jsonl", "--max-new-tokens", "4", "--limit", "5"];
        let said = workshop.run(&[&eval[..], &["--output-dir", name]].concat());
        assert!(said.contains("exit code: 0"), "{said}");
    }
    workshop
}

/// The screen after a command.
fn shown(workshop: &Workshop, arguments: &[&str], columns: u16, lines: u16) -> String {
    let mut terminal = Terminal::run(workshop.command(arguments), columns, lines);
    terminal.ended();
    assert_eq!(terminal.screen.column, 0, "{arguments:?} ends within a line: {:#?}", terminal.screen.lines);
    let lines: Vec<&str> = terminal.screen.lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Every command, with right and wrong arguments: the same words on a terminal of any width as without one.
#[test]
fn no_command_breaks_a_word() {
    let workshop = workshop();
    for line in [
        "inspect --student student --data rows.jsonl --rows 2",
        "inspect --student student --data rows.jsonl --rows 1 --max-length 60",
        "curate --input rows.jsonl --output-dir curated --test-size 0.2",
        "compare before after --output-dir report",
        "compare before nowhere --output-dir report",
        "tasks list",
        "tasks make dice gcd --count 3 --output again/problems.jsonl",
        "train --student student --data rows.jsonl --output-dir run --max-length 60",
        "train --student student --data rows.jsonl --learning-rate -1 --set data.long_rows=keep",
        "train --student student --data rows.jsonl --output-dir before",
        "train --resume",
        "merge --adapter nowhere --output-dir merged",
        "chat --model nowhere --prompt hello",
        "eval --model student --tasks nowhere.jsonl --output-dir out",
        "logits --model nowhere --ids 1 --output out.safetensors",
        "gradients --model nowhere --ids 1 --output out.safetensors",
        "bench train --student nowhere",
        "trace status --store nowhere.db",
        "trace forget --store nowhere.db --unanswered",
        "plan trace --prompts rows.jsonl --store traces.db",
        "demo --studnet student",
        "schema",
        "completions zsh",
        "man --output-dir rows.jsonl",
        "--version",
        "--help",
        "help train",
        "trace --help",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        // The later runs find the output of the first one.
        workshop.run(&arguments);
        let plain = workshop.run(&arguments);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let known = words(&plain);
        for (columns, lines) in [(80, 24), (120, 40)] {
            let text = shown(&workshop, &arguments, columns, lines);
            let folder = workshop.path("").canonicalize().unwrap().display().to_string();
            let broken: Vec<String> =
                words(&text.replace(&folder, "[folder]")).into_iter().filter(|word| !known.contains(word)).collect();
            // Numbers that differ from run to run are not broken either.
            let broken: Vec<_> = broken.iter().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect();
            assert!(broken.is_empty(), "{line} at {columns}: {broken:?} in\n{text}\nwithout a terminal:\n{plain}");
            if ["schema", "completions zsh"].contains(&line) {
                continue;
            }
            let is_copied = |shown: &str| shown.contains(['/', '`']) || shown.contains("aludel ");
            for shown in text.lines() {
                assert!(
                    shown.chars().count() <= usize::from(columns) || is_copied(shown),
                    "{line} at {columns}: {shown}"
                );
            }
        }
    }
}

#[test]
fn long_texts_stand_below_where_they_begin() {
    let workshop = workshop();
    let eval =
        ["eval", "--model", "student", "--tasks", "rows.jsonl", "--max-new-tokens", "4", "--output-dir", "before"];
    let shown = |arguments: &[&str]| shown(&workshop, arguments, 80, 24);
    let inspected = shown(&["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "1"]);
    // The row's place and the memory are those of this machine.
    let (_, of_row) = inspected.split_once("\n  template").unwrap();
    let (of_row, _) = of_row.split_once("\nmemory in training").unwrap();
    insta::assert_snapshot!("terminal_inspect", format!("  template{of_row}"));
    insta::assert_snapshot!(
        "terminal_error",
        shown(&["merge", "--student", "student", "--adapter", "before", "--output-dir", "merged"])
    );
    insta::assert_snapshot!("terminal_problems", shown(&["train", "--learning-rate", "-1", "--max-length", "1"]));
    let said = shown(&[&eval[..], &["--limit", "5"]].concat());
    let warning = said.split_once(" WARN ").unwrap().1.split_once("\ntask").unwrap().0;
    insta::assert_snapshot!("terminal_warning", format!(" WARN {warning}"));
}

/// The second Ctrl-C ends a command at once, and the shell's prompt begins on a line of its own.
#[test]
fn a_second_ctrl_c_leaves_no_line_unended() {
    let workshop = workshop();
    let teacher =
        ScriptedTeacher::start(Crowd { delay: Duration::from_secs(600), ..Crowd::default() }.script()).unwrap();
    let url = teacher.url();
    let trace = ["trace", "--prompts", "rows.jsonl", "--model", "m", "--store", "traces.db", "--teacher", &url];
    let mut terminal = Terminal::run(workshop.command(&trace), 80, 24);
    // The first request asks whether the server is there.
    while !teacher.seen().iter().any(|request| request.method == "POST") {
        std::thread::sleep(Duration::from_millis(5));
    }
    terminal.press_ctrl_c();
    terminal.until(|line| line.contains("a second signal"));
    terminal.press_ctrl_c();
    assert_eq!(terminal.ended(), Some(75), "{:#?}", terminal.screen.lines);
    assert_eq!(terminal.screen.column, 0, "{:#?}", terminal.screen.lines);
}
