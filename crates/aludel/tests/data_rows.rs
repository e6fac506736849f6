//! Rows as other tools write them, through the binary: what is understood is used, and what is not is refused by name, in
//! inspection, training and curation alike.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use aludel_scripted_teacher::{Request, ScriptedTeacher, json as reply};
use common::{Workshop, train_args};
use serde_json::{Value, json};

const INSPECT: [&str; 6] = ["inspect", "--student", "student", "--data", "rows.jsonl", "--json"];

/// A conversation of one question with this answer.
fn asked(answer: Value) -> Value {
    json!({"messages": [{"role": "user", "content": "q"}, answer]})
}

fn inspect(workshop: &Workshop, row: &str, more: &[&str]) -> Value {
    workshop.write("rows.jsonl", &format!("{row}\n"));
    workshop.json(&[&INSPECT, more].concat())
}

/// What of the only row is learnt: the texts of its reasoning and of its answer.
fn learnt(workshop: &Workshop, row: &str) -> (String, String) {
    let report = inspect(workshop, row, &[]);
    let [shown] = report["rows"].as_array().unwrap().as_slice() else { panic!("{row}: {report}") };
    assert_eq!(shown["fate"], "kept", "{row}: {shown}");
    let text = |part: &str| -> String {
        let segments = shown["segments"].as_array().unwrap().iter();
        segments.filter(|s| s["part"] == part && s["supervised"] == true).map(|s| s["text"].as_str().unwrap()).collect()
    };
    (text("reasoning"), text("answer"))
}

fn check(workshop: &Workshop, row: &Value, reasoning: &str, answer: &str) {
    let reasoning = if reasoning.is_empty() { String::new() } else { format!("<think>\n{reasoning}\n</think>\n\n") };
    assert_eq!(learnt(workshop, &row.to_string()), (reasoning, answer.to_owned()), "{row}");
}

/// A row that `inspect` and `train` both refuse with these words.
fn refused(workshop: &Workshop, row: &str, words: &str) {
    workshop.write("rows.jsonl", &format!("{row}\n"));
    let shown = workshop.run(&INSPECT).replace("\\\"", "\"");
    assert!(shown.contains(words), "{words:?} is not in {shown}");
    let trained = workshop.run(&train_args("run", &[]));
    assert!(trained.contains("exit code: 1") && trained.contains(words), "{words:?} is not in {trained}");
    assert!(trained.contains("rows.jsonl, line 1"), "{trained}");
}

fn curate(workshop: &Workshop, rows: &[Value], more: &[&str]) -> Value {
    workshop.write("rows.jsonl", &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    workshop.json(&[&["curate", "--input", "rows.jsonl", "--output-dir", "out", "--json"], more].concat())
}

fn read(workshop: &Workshop, name: &str) -> String {
    fs::read_to_string(workshop.path("out").join(name)).unwrap()
}

#[test]
fn reasoning_is_learnt_under_any_name_and_in_parts() {
    let workshop = Workshop::with_student();
    for message in [
        json!({"reasoning_content": "", "reasoning": "two and two", "content": "4"}),
        json!({"reasoning_content": null, "thinking": "two and two", "content": "4"}),
        json!({"content": [{"type": "thinking", "thinking": "two and two"}, {"type": "text", "text": "4"}]}),
        json!({"content": [{"type": "reasoning", "text": "two and two"}, {"type": "text", "text": "4"}]}),
        json!({"content": "4", "reasoning_details": [{"type": "reasoning.text", "text": "two and two"}]}),
        json!({"content": "4", "reasoning_details": [{"type": "reasoning.summary", "summary": "two and two"}]}),
    ] {
        let mut message = message;
        message["role"] = json!("assistant");
        check(&workshop, &asked(message), "two and two", "4");
    }
    let columns = json!({"prompt": "q", "reasoning_content": "", "reasoning": "two and two", "response": "4"});
    check(&workshop, &columns, "two and two", "4");
    let mut beside = asked(json!({"role": "assistant", "content": "4"}));
    beside["reasoning"] = json!("two and two");
    check(&workshop, &beside, "two and two", "4");
    beside["messages"][1]["reasoning"] = json!("another");
    refused(&workshop, &beside.to_string(), "reasoning of its own");
    let setting = json!({"prompt": "q", "response": "4", "reasoning": "on"});
    refused(&workshop, &setting.to_string(), "a setting and no reasoning");
}

#[test]
fn content_beside_reasoning_is_not_touched() {
    let workshop = Workshop::with_student();
    let answer = "Put </think> on its own line, then answer.";
    let message = json!({"role": "assistant", "reasoning_content": "why", "content": answer});
    check(&workshop, &asked(message), "why", answer);
    check(&workshop, &json!({"prompt": "q", "reasoning": "why", "response": answer}), "why", answer);
    check(&workshop, &json!({"prompt": "q", "response": "<think>why</think>because"}), "why", "because");
}

#[test]
fn what_is_no_text_of_a_turn_is_refused_by_name() {
    let workshop = Workshop::with_student();
    let ended = |message: Value| asked(message).to_string();
    let assistant = |more: Value| {
        let mut message = json!({"role": "assistant", "content": "4"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ended(message)
    };
    refused(&workshop, &assistant(json!({"function_call": {"arguments": "{}"}})), "`function_call` has neither");
    refused(&workshop, &assistant(json!({"refusal": "I cannot."})), "`refusal`");
    refused(&workshop, &assistant(json!({"tool_calls": [{}]})), "`tool_calls[0]` has neither");
    refused(&workshop, &assistant(json!({"channel": "analysis"})), "`channel`");
    refused(&workshop, &ended(json!({"role": "assistant", "content": [{"type": "image_url"}]})), "`image_url`");
    let rows = json!({"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "4"}]});
    refused(&workshop, &rows.to_string(), "messages[0] (user) has no content");
    let rows = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""},
        {"role": "user", "content": "q"}, {"role": "assistant", "content": "4"}]});
    refused(&workshop, &rows.to_string(), "messages[1] is an assistant's turn without content");
    // Text under another key is read, and notes are passed over.
    let rows = json!({"messages": [{"role": "user", "parts": [{"text": "q"}], "timestamp": 5, "refusal": null},
        {"role": "model", "parts": [{"text": "why", "thought": true}, {"text": "4"}], "tool_calls": [], "id": "x"}]});
    check(&workshop, &rows, "why", "4");
}

#[test]
fn weights_are_honoured() {
    let workshop = Workshop::with_student();
    let conversation = |first: Value| {
        let mut message = json!({"role": "assistant", "content": "first"});
        message.as_object_mut().unwrap().extend(first.as_object().unwrap().clone());
        json!({"messages": [{"role": "user", "content": "q"}, message, {"role": "user", "content": "r"},
            {"role": "assistant", "content": "second"}]})
    };
    for not_learnt in [
        json!({"weight": 0}),
        json!({"train": false}),
        json!({"loss": false}),
        json!({"masked": true}),
        json!({"loss_mask": 0}),
    ] {
        let row = conversation(not_learnt);
        check(&workshop, &row, "", "second");
        // It is read all the same, and no end of it is learnt.
        let shown = inspect(&workshop, &row.to_string(), &[]);
        let all: String =
            shown["rows"][0]["segments"].as_array().unwrap().iter().map(|s| s["text"].as_str().unwrap()).collect();
        assert!(all.contains("first<|im_end|>"), "{all}");
        assert_eq!(shown["rows"][0]["supervised_tokens"], json!("second".len() + 1));
        let whole = inspect(&workshop, &row.to_string(), &["--set", "data.loss_on=all"]);
        let ends = |learnt: bool| {
            let segments = whole["rows"][0]["segments"].as_array().unwrap().iter();
            segments.filter(|s| s["supervised"] == learnt).map(|s| s["text"].as_str().unwrap()).collect::<String>()
        };
        assert!(ends(false).contains("first<|im_end|>") && ends(true).contains("second<|im_end|>"), "{whole}");
    }
    check(&workshop, &conversation(json!({"weight": 1})), "", "firstsecond");
    let weights = |row: &Value| -> Vec<f64> {
        let shown = inspect(&workshop, &row.to_string(), &[]);
        shown["rows"][0]["weights"].as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).collect()
    };
    let half = weights(&conversation(json!({"weight": 0.5})));
    assert_eq!((half.iter().filter(|w| **w == 0.5).count(), half.iter().filter(|w| **w == 1.0).count()), (6, 7));
    let row = weights(&json!({"prompt": "q", "response": "4", "weight": 0.25}));
    assert_eq!(row.iter().filter(|w| **w == 0.25).count(), 2, "{row:?}");
    refused(
        &workshop,
        &json!({"prompt": "q", "response": "4", "weight": 0}).to_string(),
        "the row is not to be learnt (weight is 0)",
    );
    refused(
        &workshop,
        &json!({"prompt": "q", "response": "4", "weight": "heavy"}).to_string(),
        "`weight` is \"heavy\"",
    );
    let none = asked(json!({"role": "assistant", "content": "4", "weight": 0}));
    refused(&workshop, &none.to_string(), "the weights of all are 0");
    // What curation writes weighs what it read.
    let conversation = conversation(json!({"weight": 0}));
    curate(&workshop, std::slice::from_ref(&conversation), &["--set", "curate.test_size=0"]);
    let row: Value = serde_json::from_str(&read(&workshop, "train.jsonl")).unwrap();
    check(&workshop, &row, "", "second");
}

#[test]
fn one_rule_says_what_was_cut_off() {
    let workshop = Workshop::with_student();
    let rows = [
        (json!({"prompt": "a", "response": "<think>never ends"}), "the reasoning is never closed"),
        (json!({"prompt": "b", "response": "4 and", "finish_reason": "length"}), "finish_reason is \"length\""),
        (json!({"prompt": "c", "response": "4 and", "finish_reason": "MAX_TOKENS"}), "finish_reason is"),
        (json!({"prompt": "d", "reasoning": "hm", "response": ""}), "the answer is empty"),
        (json!({"prompt": "e", "response": "4", "finishReason": "SAFETY"}), "finishReason is"),
        (json!({"prompt": "f", "response": "4", "stop_reason": "pause_turn"}), "stop_reason is \"pause_turn\""),
        (json!({"prompt": "h", "response": "4", "truncated": true}), "truncated is true"),
        (json!({"prompt": "i", "response": "4", "label": false}), "label is false, which marks a bad answer"),
        (json!({"prompt": "j", "response": "So. <think>4"}), "`<think>` opens in the middle of the answer"),
        (json!({"prompt": "k", "response": "a <think>b</think> c"}), "`<think>` opens in the middle of the answer"),
    ];
    for (row, words) in &rows {
        refused(&workshop, &row.to_string(), words);
    }
    let given: Vec<Value> = rows.iter().map(|(row, _)| row.clone()).collect();
    let with_one_whole = [&given[..], &[json!({"prompt": "g", "response": "4", "finish_reason": "stop"})]].concat();
    assert_eq!(curate(&workshop, &with_one_whole, &["--set", "curate.test_size=0"])["kept"], 1);
    let dropped = |reason: &str| read(&workshop, "dropped.jsonl").matches(&format!(r#""reason":"{reason}""#)).count();
    assert_eq!((dropped("incomplete"), dropped("bad_label")), (given.len() - 1, 1));
    for words in ["STOP", "Stop", "end_turn", "eos", "COMPLETE"] {
        let row = json!({"prompt": "q", "response": "4", "finish_reason": words});
        check(&workshop, &row, "", "4");
        assert_eq!(curate(&workshop, &[row], &["--set", "curate.test_size=0"])["kept"], 1);
    }
    // Where it is allowed, what is there is learnt, and no end that was never written.
    let allowed = |row: &Value| {
        let shown = inspect(&workshop, &row.to_string(), &["--set", "data.allow_cut_reasoning=true"]);
        assert_eq!(shown["rows"][0]["fate"], "cut", "{shown}");
        let segments = shown["rows"][0]["segments"].as_array().unwrap().iter();
        let left = segments.filter(|s| s["supervised"] == true && s["cut"] == false);
        left.map(|s| s["text"].as_str().unwrap()).collect::<String>()
    };
    assert_eq!(allowed(&given[0]), "<think>\nnever ends\n");
    assert_eq!(allowed(&given[1]), "4 and");
    assert_eq!(allowed(&given[3]), "<think>\nhm\n");
    let filtered = inspect(&workshop, &given[4].to_string(), &["--set", "data.allow_cut_reasoning=true"]);
    assert_eq!(filtered["rows"][0]["fate"], "refused");
}

#[test]
fn numbers_keep_their_digits_from_file_to_file() {
    let workshop = Workshop::new();
    let row = |prompt: &str, boxed: &str, gold: &str| {
        format!(
            r#"{{"prompt": "{prompt}", "response": "\\boxed{{{boxed}}}", "gold": {gold}, "price": 1.10, "n": [1E400, 0.10]}}"#
        )
    };
    let rows = [
        row("right", "1180591620717411303424", "1180591620717411303424"),
        row("wrong", "100000000000000000000", "100000000000000000007"),
        row("long", "0.12345678901234567891", "0.12345678901234567891"),
    ];
    workshop.write("rows.jsonl", &rows.join("\n"));
    let options = ["curate", "--output-dir", "out", "--json", "--parquet", "--set", "curate.test_size=0"];
    let report = workshop.json(&[&options[..], &["--input", "rows.jsonl"]].concat());
    assert_eq!((&report["kept"], &report["dropped"]), (&json!(2), &report["dropped"]));
    let (kept, dropped) = (read(&workshop, "train.jsonl"), read(&workshop, "dropped.jsonl"));
    assert!(kept.contains(r#""gold":1180591620717411303424,"price":1.10,"n":[1E400,0.10]"#), "{kept}");
    assert!(kept.contains(r#""gold":0.12345678901234567891,"#), "{kept}");
    assert!(
        dropped.contains(r#""gold":100000000000000000007,"#) && dropped.contains(r#""reason":"wrong""#),
        "{dropped}"
    );
    // A table has no such number: there it is text, and still the right answer.
    fs::rename(workshop.path("out/train.parquet"), workshop.path("rows.parquet")).unwrap();
    let report = workshop.json(&[&options[..], &["--input", "rows.parquet"]].concat());
    assert_eq!(report["kept"], 2);
    let again = read(&workshop, "train.jsonl");
    assert!(again.contains(r#""gold":"1180591620717411303424""#) && again.contains(r#""price":1.1"#), "{again}");
}

#[test]
fn what_nobody_reads_is_carried_as_it_is() {
    let workshop = Workshop::with_student();
    let row = r#"{"prompt":"x","response":"y","meta":"cut \ud83d"}"#;
    assert_eq!(learnt(&workshop, row), (String::new(), "y".to_owned()));
    workshop.write("rows.jsonl", row);
    workshop.json(&["curate", "--input", "rows.jsonl", "--output-dir", "out", "--json", "--set", "curate.test_size=0"]);
    assert!(read(&workshop, "train.jsonl").contains(r#""meta":"cut \ud83d""#));
    refused(&workshop, r#"{"prompt":"x","response":"cut \ud83d"}"#, "column `response` holds half of a character pair");
    let message = r#"{"messages":[{"role":"user","content":"\ud83d"},{"role":"assistant","content":"y"}]}"#;
    refused(&workshop, message, "messages[0]: its content holds half of a character pair");
}

#[test]
fn a_teacher_that_hides_its_reasoning_is_told_by_count() {
    let workshop = Workshop::new();
    let rows: String = (0..3)
        .map(|number| format!("{{\"question\": \"What is {number}?\", \"gold\": 9007199254740993.10}}\n"))
        .collect();
    workshop.write("prompts.jsonl", &rows);
    let script = |request: &Request| match request.method.as_str() {
        "GET" => vec![reply("200 OK", &json!({"data": [{"id": "scripted"}]}))],
        _ => {
            let usage = json!({"prompt_tokens": 3, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}});
            let choice = json!({"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "STOP"});
            vec![reply("200 OK", &json!({"model": "scripted", "choices": [choice], "usage": usage}))]
        }
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let url = teacher.url();
    let trace =
        ["trace", "--prompts", "prompts.jsonl", "--model", "scripted", "--store", "traces.db", "--teacher", &url];
    let said = workshop.run(&trace);
    assert!(
        said.contains("exit code: 0") && said.contains("kept: 3 of 3 answers, 3 of them without the reasoning"),
        "{said}"
    );
    assert_eq!(said.matches("the model reasons, and the server does not show it").count(), 1, "{said}");
    workshop.run(&["trace", "export", "--store", "traces.db", "--output", "traces.jsonl"]);
    let exported = fs::read_to_string(workshop.path("traces.jsonl")).unwrap();
    assert_eq!(exported.matches(r#""finish_reason":"stop""#).count(), 3, "{exported}");
    assert_eq!(exported.matches(r#""gold":9007199254740993.10"#).count(), 3, "{exported}");
}

/// What `trace` calls whole, `curate` keeps, and what neither does is told.
#[test]
fn one_rule_says_which_answers_are_whole() {
    let workshop = Workshop::new();
    let answers =
        ["4", "", "<think>4", "Well. <think>4", "<thought>two and two</thought>4", "4", "So <think>two</think> 4"];
    let rows = (0..answers.len()).map(|number| format!("{{\"question\": \"{number}\"}}\n"));
    workshop.write("prompts.jsonl", &rows.collect::<String>());
    let script = move |request: &Request| match request.method.as_str() {
        "GET" => vec![reply("200 OK", &json!({"data": [{"id": "scripted"}]}))],
        _ => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let number: usize = body["messages"][0]["content"].as_str().unwrap().parse().unwrap();
            let mut message = json!({"role": "assistant", "content": answers[number]});
            if number == 5 {
                message["deep_thought"] = json!("two and two");
            }
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            let usage = json!({"prompt_tokens": 3, "completion_tokens": -1});
            vec![reply("200 OK", &json!({"model": "scripted", "choices": [choice], "usage": usage}))]
        }
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let url = teacher.url();
    let said = workshop.run(&[
        "trace",
        "--prompts",
        "prompts.jsonl",
        "--model",
        "scripted",
        "--store",
        "traces.db",
        "--teacher",
        &url,
    ]);
    assert!(said.contains("exit code: 0"), "{said}");
    assert!(
        said.contains("kept: 7 of 7 answers, 4 of them not whole (empty, or reasoning that never closes), 7 of them beside what is not"),
        "{said}"
    );
    assert_eq!(said.matches("it sends `deep_thought` beside its answer, which is not known here").count(), 1, "{said}");
    // How to mend it is said of what may be text, and not of a count.
    for (what, may_be_text) in
        [("it sends `deep_thought`", true), ("`usage.completion_tokens` is no count of tokens", false)]
    {
        let told: Vec<&str> = said.lines().filter(|line| line.contains(what)).collect();
        let [line] = told[..] else { panic!("{what}: {said}") };
        assert_eq!(
            line.contains("if it belongs to the answer, stop, and have the server put it"),
            may_be_text,
            "{line}"
        );
    }
    assert_eq!(teacher.seen().iter().filter(|request| request.method == "POST").count(), answers.len());
    let status = workshop.run(&["trace", "status", "--store", "traces.db"]);
    assert!(status.contains("3 complete, 4 cut"), "{status}");
    let options = [
        "--output-dir",
        "out",
        "--json",
        "--set",
        "curate.test_size=0",
        "--set",
        "curate.duplicates=false",
        "--set",
        "curate.near_duplicates=false",
    ];
    let report = workshop.json(&[&["curate", "--input", "traces.db"], &options[..]].concat());
    let incomplete = json!({"reason": "incomplete", "seen": 7, "dropped": 4});
    assert_eq!((&report["kept"], &report["filters"][0]), (&json!(3), &incomplete), "{report}");
}

/// What fits no shape for another reason than a missing answer ends curation, as it ends training.
#[test]
fn a_row_that_says_two_things_lacks_no_answer() {
    let workshop = Workshop::with_student();
    for (row, words) in [
        (json!({"text": "t", "prompt": "q", "response": "a"}), "`text` beside `prompt`, `response`"),
        (json!({"question": "q", "instruction": "b", "answer": "a"}), "`instruction` and `question`"),
        (json!({"prompt": "q", "response": "a", "documents": [{"name": "f"}]}), "`documents` beside `prompt`"),
    ] {
        refused(&workshop, &row.to_string(), words);
        let said = workshop.run(&["curate", "--input", "rows.jsonl", "--output-dir", "out"]);
        assert!(said.contains("exit code: 1") && said.contains(words), "{words:?} is not in {said}");
    }
    for row in [json!({"prompt": "q", "response": null, "answer": "4"}), json!({"prompt": "q", "response": null})] {
        let report =
            curate(&workshop, &[row, json!({"prompt": "r", "response": "4"})], &["--set", "curate.test_size=0"]);
        assert_eq!((&report["kept"], &report["filters"][0]["dropped"]), (&json!(1), &json!(1)), "{report}");
    }
}

#[test]
fn rows_without_the_reasoning_that_there_was_are_counted() {
    let workshop = Workshop::with_student();
    let counted =
        json!({"prompt": "q", "response": "4", "usage": {"completion_tokens_details": {"reasoning_tokens": 7}}});
    let encrypted = asked(json!({"role": "assistant", "content": "4",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}));
    let shown = json!({"prompt": "r", "reasoning": "hm", "response": "4", "usage": {"reasoning_tokens": 7}});
    let rows = [counted, encrypted, shown];
    workshop.write("rows.jsonl", &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    assert_eq!(workshop.json(&INSPECT)["totals"]["without_reasoning"], 2);
    let report = curate(&workshop, &rows, &["--set", "curate.test_size=0"]);
    assert_eq!((&report["kept"], &report["without_reasoning"]), (&json!(2), &json!(1)));
}

#[test]
fn nothing_of_a_question_is_left_out_and_nothing_counts_twice() {
    let workshop = Workshop::with_student();
    let inspected = |rows: &str, more: &[&str]| {
        workshop.write("rows.jsonl", &format!("{rows}\n"));
        let arguments = [&["inspect", "--student", "student", "--data", "rows.jsonl", "--full"], more].concat();
        workshop.run(&arguments)
    };
    let said = inspected(r#"{"instruction":"Translate","input":"Hello","response":"Bonjour"}"#, &[]);
    assert!(said.contains("1  kept whole") && said.contains("Translate") && said.contains("Hello"), "{said}");
    let said = inspected(r#"{"system":"","system_prompt":"Be brief","prompt":"q","response":"a"}"#, &[]);
    assert!(said.contains("1  kept whole") && said.contains("Be brief"), "{said}");

    let part = |part: &str| {
        format!(r#"{{"messages":[{{"role":"user","content":[{part}]}},{{"role":"assistant","content":"a"}}]}}"#)
    };
    for (row, words) in [
        (r#"{"instruction":"Why?","context":"Because.","response":"a"}"#.to_owned(), "`context` beside"),
        (r#"{"question":"Which?","choices":["a","b"],"answer":"A"}"#.to_owned(), "`choices` beside"),
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"images":[{"name":"f"}]}"#
                .to_owned(),
            "`images` beside",
        ),
        (r#"{"prompt":"q","response":"a","response":"b"}"#.to_owned(), "`response` stands twice"),
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","content":"b"}]}"#
                .to_owned(),
            "`content` twice",
        ),
        (part(r#"{"type":"text","text":"what is this","image_url":{"url":"x"}}"#), "`image_url` beside `text`"),
        (r#"{"prompt":"q","response":"a","weight":1e30}"#.to_owned(), "from 0 to 10"),
    ] {
        let said = inspected(&row, &[]);
        assert!(said.contains("exit code: 1") && said.contains(words) && said.contains("line 1"), "{row}: {said}");
    }
    let named = ["--set", "data.columns={prompt = \"question\", response = \"answer\"}"];
    let said = inspected(r#"{"question":"Which?","choices":["a","b"],"answer":"A"}"#, &named);
    assert!(said.contains("1  kept whole"), "{said}");

    let cut = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"<think>cut"},{"role":"user","content":"r"},{"role":"assistant","content":"a"}]}"#;
    let said = inspected(cut, &["--set", "data.allow_cut_reasoning=true"]);
    assert!(said.contains("earlier answer's reasoning is never closed"), "{said}");
}

#[test]
fn a_list_of_right_answers_is_no_right_answer() {
    let workshop = Workshop::with_student();
    let rows = [
        json!({"prompt": "2+3?", "response": "\\boxed{5}", "answer": ["6", "5"]}),
        json!({"prompt": "2+2?", "response": "\\boxed{4}", "answer": "4"}),
    ];
    let report = curate(&workshop, &rows, &["--set", "curate.test_size=0", "--set", "curate.require_verified=true"]);
    assert_eq!(report["kept"], 1, "{report}");
    assert!(read(&workshop, "dropped.jsonl").contains("undecided"), "{report}");
    workshop.write("tasks.jsonl", "{\"question\":\"2+3?\",\"answer\":[\"6\",\"5\"]}\n");
    let said = workshop.run(&["eval", "--model", "student", "--tasks", "tasks.jsonl", "--output-dir", "results"]);
    assert!(said.contains("exit code: 1") && said.contains("the right answer is a list"), "{said}");
}

#[test]
fn tables_of_other_writers_are_read_or_refused_by_name() {
    let workshop = Workshop::with_student();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../aludel-data/tests/fixtures/parquet");
    let inspected = |name: &str| {
        fs::copy(format!("{fixtures}/{name}.parquet"), workshop.path("rows.parquet")).unwrap();
        let mut arguments = vec!["inspect", "--student", "student", "--data", "rows.parquet", "--rows", "0"];
        if ["kinds", "binary"].contains(&name) {
            // they have an image beside the question, which is passed over only where the columns are named
            arguments.extend(["--set", "data.columns={prompt = \"question\", response = \"answer\"}"]);
        }
        workshop.run(&arguments)
    };
    for name in ["kinds", "binary", "brotli_beside"] {
        let said = inspected(name);
        assert!(said.contains("2  kept whole"), "{name}: {said}");
    }
    for (name, words) in [
        ("no_text", "column `question` holds 1 byte that is not UTF-8 text"),
        ("brotli", "the columns of this Parquet file are packed with brotli, which is not supported"),
        ("brotli_answer", "column `answer` holds what cannot be unpacked"),
    ] {
        let said = inspected(name);
        assert!(
            said.contains("exit code: 1") && said.contains("rows.parquet") && said.contains(words),
            "{name}: {said}"
        );
        assert!(!said.contains("damaged"), "{name}: {said}");
    }
}
