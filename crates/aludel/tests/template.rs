//! The date and variables that chat templates get beside the messages, through the binary, in every command that renders one.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, train_args};

const ROWS: &str = "{\"prompt\": \"1\", \"response\": \"2\"}\n{\"prompt\": \"3\", \"response\": \"4\"}\n";
const SHORT: &[&str] = &[
    "--dtype",
    "f32",
    "--set",
    "data.test_size=0",
    "--set",
    "train.eval_strategy=no",
    "--set",
    "train.warmup_ratio=0",
];

/// A student whose template begins with what `head` prints.
fn workshop(head: &str) -> Workshop {
    let workshop = Workshop::with_student();
    let template = fs::read_to_string(workshop.path("student/chat_template.jinja")).unwrap();
    workshop.write("student/chat_template.jinja", &format!("{head}{template}"));
    workshop.write("rows.jsonl", ROWS);
    workshop
}

/// The text of the first row that `inspect` shows.
fn first_row(workshop: &Workshop, more: &[&str]) -> String {
    let command = ["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "1", "--json"];
    let report = workshop.json(&[&command[..], more].concat());
    report["rows"][0].to_string()
}

#[test]
fn inspect_and_training_tell_the_day_and_a_resumed_run_repeats_it() {
    let workshop = workshop("{{ strftime_now('day %Y-%m-%d. ') }}");
    let shown = first_row(&workshop, &["--set", "data.template_date=2020-02-03"]);
    assert!(shown.contains("day 2020-02-03. "), "{shown}");
    let today = first_row(&workshop, &[]);
    assert!(today.contains("day 20") && !today.contains("day 2020-02-03"), "{today}");

    let train = |more: &[&str]| workshop.run(&train_args("run", &[SHORT, more].concat()));
    let trained = train(&["--max-steps", "1"]);
    assert!(trained.contains("exit code: 0"), "{trained}");
    let recipe = fs::read_to_string(workshop.path("run/recipe.toml")).unwrap();
    let date = recipe.lines().find(|line| line.starts_with("template_date")).unwrap_or_else(|| panic!("{recipe}"));
    // A run that is resumed on another day keeps the date of its start.
    workshop.write("run/recipe.toml", &recipe.replace(date, "template_date = \"2021-01-01\""));
    let resumed = train(&["--max-steps", "1", "--resume"]);
    assert!(resumed.contains("exit code: 1") && resumed.contains("is not what the run was started on"), "{resumed}");
    workshop.write("run/recipe.toml", &recipe);
    let resumed = train(&["--max-steps", "1", "--resume"]);
    assert!(resumed.contains("exit code: 0"), "{resumed}");
}

#[test]
fn rows_that_do_not_tell_the_day_are_good_on_any() {
    let workshop = workshop("");
    let train = |more: &[&str]| workshop.run(&train_args("run", &[SHORT, &["--max-steps", "1"], more].concat()));
    assert!(train(&["--set", "data.template_date=2020-02-03"]).contains("exit code: 0"));
    let resumed = train(&["--set", "data.template_date=2020-02-04", "--resume"]);
    assert!(resumed.contains("exit code: 0"), "{resumed}");
}

#[test]
fn variables_reach_the_template_in_every_command() {
    let workshop = workshop("{{ '[' ~ mood ~ ' ' ~ (tools | tojson) ~ ']' }}");
    let mood = ["--set", "data.template_variables.mood='calm'"];
    let tools = ["--set", "data.template_variables.tools=[{name='b', age=1}]"];
    let given = [mood, tools].concat();
    let shown = first_row(&workshop, &given);
    assert!(shown.contains("[calm [{\\\"name\\\": \\\"b\\\", \\\"age\\\": 1}]]"), "{shown}");

    let ask = |more: &[&str]| {
        let chat =
            ["chat", "--model", "student", "--temperature", "0", "--prompt", "hi", "--max-new-tokens", "1", "--json"];
        workshop.json(&[&chat[..], more].concat())["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(ask(&mood), ask(&[]) + 4, "a token for each letter");

    workshop.write("sums.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\"}\n");
    let evaluate = |more: &[&str]| {
        let eval =
            ["eval", "--model", "student", "--tasks", "sums.jsonl", "--output-dir", "out", "--max-new-tokens", "1"];
        workshop.run(&[&eval[..], more].concat())
    };
    assert!(evaluate(&mood).contains("exit code: 0"));
    assert!(evaluate(&mood).contains("exit code: 0"));
    let other = evaluate(&["--set", "data.template_variables.mood='wild'"]);
    assert!(other.contains("exit code: 1") && other.contains("template_variables"), "{other}");
    let other = evaluate(&[&mood[..], &["--set", "data.template_date=2020-02-03"]].concat());
    assert!(other.contains("exit code: 1") && other.contains("template_date"), "{other}");
}

#[test]
fn what_cannot_be_told_a_template_is_refused_by_name() {
    let workshop = workshop("");
    let refused = |assignment: &str, parts: &[&str]| {
        let command = ["inspect", "--student", "student", "--data", "rows.jsonl", "--set", assignment];
        let said = workshop.run(&command);
        assert!(said.contains("exit code: 2"), "{said}");
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
    };
    refused("data.template_date=2026-02-30", &["data.template_date", "2026-02-30"]);
    refused("data.template_date=tomorrow", &["data.template_date", "tomorrow"]);
    refused("data.template_variables.messages=1", &["data.template_variables.messages", "has this from Aludel"]);
    refused("data.template_variables={\"a b\"=1}", &["data.template_variables.a b", "cannot name"]);
}
