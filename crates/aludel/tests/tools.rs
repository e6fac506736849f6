//! Conversations with tools through the binary: what is trained on, how templates without tools are handled, and that no command drops a
//! part of them.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::Workshop;
use serde_json::{Value, json};

const INSPECT: [&str; 7] = ["inspect", "--student", "student", "--max-length", "512", "--json", "--data"];
const TRAIN: [&str; 15] = [
    "train",
    "--student",
    "student",
    "--data",
    "rows.jsonl",
    "--output-dir",
    "run",
    "--max-length",
    "512",
    "--max-steps",
    "1",
    "--set",
    "data.test_size=0",
    "--set=train.eval_strategy=no",
    "--set=train.warmup_ratio=0",
];

/// A template that renders definitions, calls and results.
const TEMPLATE: &str = "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}\
    {% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}\
    {% for call in m.tool_calls or [] %}{{ '<call>' + (call.function | tojson) + '</call>' }}{% endfor %}\
    {{ '<|im_end|>' }}\n{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    workshop.write("student/chat_template.jinja", TEMPLATE);
    workshop
}

fn tool(name: &str, parameter: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {parameter: {"type": "number"}}});
    json!({"type": "function", "function": {"name": name, "description": "It adds.", "parameters": parameters}})
}

/// A question of this number that is answered with a call and its result.
fn row(number: u64) -> Value {
    let call = json!({"id": format!("call{number}"), "type": "function",
        "function": {"name": "add", "arguments": {"a": number, "to": [1.5, {"b": null}]}}});
    json!({"messages": [
        {"role": "user", "content": format!("What is {number} and 3?")},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": format!("call{number}"), "name": "add", "content": format!("{{\"sum\": {}}}", number + 3)},
        {"role": "assistant", "content": format!("It is {}.", number + 3)},
    ], "tools": [tool("add", "a"), tool("subtract", "b")]})
}

/// Another notation, whose members a table would mix with those of the first.
fn shared_row() -> Value {
    let call = json!({"name": "search", "arguments": {"query": "é \"quoted\""}});
    json!({"conversations": [
        {"from": "human", "value": "Find it."},
        {"from": "function_call", "value": call.to_string()},
        {"from": "observation", "value": "nothing"},
        {"from": "gpt", "value": "There is nothing."},
    ], "tools": json!([{"name": "search", "description": "Finds.", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}])
        .to_string()})
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// What is learnt of each row, and its whole text.
fn shown(workshop: &Workshop, file: &str) -> Vec<(String, String)> {
    let report = workshop.json(&[&INSPECT[..], &[file]].concat());
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        assert_eq!(row["fate"], "kept", "{row}");
        let text = |of: &dyn Fn(&Value) -> bool| -> String {
            let segments = row["segments"].as_array().unwrap().iter().filter(|segment| of(segment));
            segments.map(|segment| segment["text"].as_str().unwrap()).collect()
        };
        (text(&|segment| segment["supervised"] == true), text(&|_| true))
    })
    .collect()
}

#[test]
fn calls_and_answers_are_learnt_and_nothing_else() {
    let workshop = workshop();
    workshop.write("rows.jsonl", &lines(&[row(2), shared_row()]));
    let rows = shown(&workshop, "rows.jsonl");
    let call = r#"<call>{"name": "add", "arguments": {"a": 2, "to": [1.5, {"b": null}]}}</call><|im_end|>"#;
    assert_eq!(rows[0].0, format!("{call}It is 5.<|im_end|>"));
    let search = r#"<call>{"name": "search", "arguments": {"query": "é \"quoted\""}}</call><|im_end|>"#;
    assert_eq!(rows[1].0, format!("{search}There is nothing.<|im_end|>"));
    // All other fields are read.
    let subtract = r#"{"type": "function", "function": {"name": "subtract", "description": "It adds.","#;
    for part in [subtract, "What is 2 and 3?", "<|im_start|>tool\n{\"sum\": 5}"] {
        assert!(rows[0].1.contains(part), "{part} is not in {}", rows[0].1);
    }
    assert!(rows[1].1.contains(r#"{"type": "function", "function": {"name": "search""#), "{}", rows[1].1);
    let trained = workshop.run(&TRAIN);
    assert!(trained.contains("exit code: 0"), "{trained}");
    let report = workshop.json(&[&INSPECT[..], &["rows.jsonl"]].concat());
    assert_eq!(report["totals"]["columns_not_used"], json!([]), "{}", report["totals"]);
}

#[test]
fn a_template_without_tools_is_refused_in_training_and_inspection() {
    // The student's own template fails on a message without text.
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", &lines(&[row(2)]));
    for command in [&[&INSPECT[..], &["rows.jsonl"]].concat()[..], &TRAIN] {
        let said = workshop.run(command);
        assert!(said.contains("knows no tools") && said.contains("chat_template.jinja"), "{said}");
    }
    workshop.write("student/chat_template.jinja", &TEMPLATE.replace("{{ tool | tojson }}", ""));
    for command in [&[&INSPECT[..], &["rows.jsonl"]].concat()[..], &TRAIN] {
        let said = workshop.run(command);
        assert!(said.contains("does not render the tool `add`") && said.contains("chat_template.jinja"), "{said}");
    }
    let mut without = row(2);
    without["tools"] = json!(null);
    workshop.write("student/chat_template.jinja", &TEMPLATE.replace("call.function | tojson", "call.function.name"));
    workshop.write("rows.jsonl", &lines(&[without]));
    let said = workshop.run(&TRAIN);
    assert!(said.contains("does not render the argument `a` of the call of `add` in message 1"), "{said}");
}

#[test]
fn curation_keeps_all_of_it_in_lines_and_in_tables() {
    let workshop = workshop();
    let rows = [row(2), row(5), shared_row()];
    workshop.write("rows.jsonl", &lines(&rows));
    let before = shown(&workshop, "rows.jsonl");
    let curate = [
        "curate",
        "--input",
        "rows.jsonl",
        "--output-dir",
        "out",
        "--parquet",
        "--json",
        "--set",
        "curate.test_size=0",
    ];
    let report = workshop.json(&[&curate[..], &["--set", "curate.near_duplicates=false"]].concat());
    assert_eq!(report["with_tools"], report["kept"], "{report}");
    let told = workshop.run(&curate.map(|word| if word == "--json" { "--color=never" } else { word }));
    assert!(told.contains("next: aludel train --student hf:Qwen/Qwen2.5-0.5B-Instruct "), "{told}");
    assert!(told.contains("have tools or calls of them, which the student's chat template has to render"), "{told}");
    assert_eq!(report["kept"], json!(3), "{report}");
    for file in ["out/train.jsonl", "out/train.parquet"] {
        assert_eq!(shown(&workshop, file), before, "{file}");
    }
    // Curated once more, they are the same.
    let again =
        ["curate", "--input", "out/train.parquet", "--output-dir", "again", "--json", "--set", "curate.test_size=0"];
    let report = workshop.json(&[&again[..], &["--set", "curate.near_duplicates=false"]].concat());
    assert_eq!(report["kept"], json!(3), "{report}");
    let read = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(workshop.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let parts = |rows: Vec<Value>| -> Vec<[Value; 2]> {
        rows.iter().map(|row| [row["messages"].clone(), row["tools"].clone()]).collect()
    };
    let written = parts(read("out/train.jsonl"));
    assert_eq!(parts(read("again/train.jsonl")), written);
    assert_eq!(written[0][0][1]["tool_calls"][0]["id"], "call2");
    assert_eq!(written[0][0][2]["name"], "add");
    assert_eq!(serde_json::from_str::<Value>(written[0][1].as_str().unwrap()).unwrap(), row(2)["tools"]);
}

#[test]
fn curation_tells_calls_apart() {
    let workshop = workshop();
    // Rows that end with a call: whole, and no duplicates of each other where what they call differs.
    let ending = |argument: u64| {
        let mut row = row(2);
        row["messages"].as_array_mut().unwrap().truncate(2);
        row["messages"][1]["tool_calls"][0]["function"]["arguments"] = json!({"a": argument});
        row["finish_reason"] = json!("tool_calls");
        row["gold"] = json!("5");
        row
    };
    workshop.write("rows.jsonl", &lines(&[ending(2), ending(2), ending(7)]));
    let curate = ["curate", "--input", "rows.jsonl", "--output-dir", "out", "--json", "--set", "curate.test_size=0"];
    let report = workshop.json(&[&curate[..], &["--set", "curate.near_duplicates=false"]].concat());
    let of = |reason: &str| {
        let filters = report["filters"].as_array().unwrap();
        filters.iter().find(|filter| filter["reason"] == reason).map(|filter| filter["dropped"].clone())
    };
    assert_eq!(report["kept"], json!(2), "{report}");
    assert_eq!(of("incomplete"), Some(json!(0)), "{report}");
}

#[test]
fn questions_with_tools_are_refused_by_every_command_that_asks() {
    let workshop = workshop();
    workshop.write("rows.jsonl", &lines(&[row(2)]));
    let asked =
        ["--prompts", "rows.jsonl", "--teacher", "http://127.0.0.1:9/v1", "--model", "m", "--store", "traces.db"];
    for command in [&["trace"][..], &["plan", "trace"]] {
        let said = workshop.run(&[command, &asked].concat());
        assert!(said.contains("exit code: 1") && said.contains("tools or calls of tools"), "{said}");
        assert!(said.contains("rows.jsonl, line 1"), "{said}");
    }
}
