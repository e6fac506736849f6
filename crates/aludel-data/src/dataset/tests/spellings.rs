//! Every list of names is read in every spelling, and two spellings of one name that say two things are refused.

use super::*;

/// A question with its answer, and this column beside them.
fn beside(name: &str, value: Value) -> Value {
    let mut row = json!({"prompt": "q", "response": "a"});
    row[name] = value;
    row
}

fn plain() -> [Message; 2] {
    [user("q"), Message::assistant("a")]
}

fn record(row: &Value) -> Record {
    read(row.to_string().as_bytes(), &ReadOptions::default()).0.remove(0).unwrap()
}

fn refused(row: &Value, mentions: &[&str]) {
    check_error(row.to_string().as_bytes(), &ReadOptions::default(), mentions);
}

#[test]
fn questions_and_answers() {
    for row in [
        json!({"Prompt": "q", "Response": "a"}),
        json!({"PROMPT": "q", "completion": "a"}),
        json!({"Question": "q", "Answer": "a"}),
        json!({"Instruction": "q", "Input": "", "Output": "a"}),
        json!({"question": "q", "Solution": "a", "answer": "4"}),
        json!({"Messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
    ] {
        check(row, &plain());
    }
    let row = json!({"Instruction": "q", "Input": "x", "Output": "a", "History": [["b", "c"]]});
    check(row, &[user("b"), Message::assistant("c"), user("q\n\nx"), Message::assistant("a")]);
    assert_eq!(record(&json!({"Text": "once"})).content, Content::Text("once".to_string()));
    refused(&beside("Question", json!("other")), &["`prompt` and `Question`, and they do not say the same"]);
    refused(&beside("Text", json!("other")), &["`Text` beside `prompt`, `response`", "{ text = \"Text\" }"]);
}

#[test]
fn reasoning() {
    for name in [
        "reasoningContent",
        "reasoning-content",
        "chainOfThought",
        "Chain of Thought",
        "thinking_content",
        "thought_process",
        "thinking_trajectory",
        "deepseek_thinking_trajectory",
        "scratchpad",
    ] {
        check(beside(name, json!("r")), &[user("q"), thought("r", "a")]);
    }
    check(beside("thinking_trajectories", json!(["r"])), &[user("q"), thought("r", "a")]);
    let turn = json!({"role": "assistant", "content": "a", "reasoningContent": "r"});
    check(json!({"messages": [{"role": "user", "content": "q"}, turn]}), &[user("q"), thought("r", "a")]);
}

#[test]
fn weights() {
    for name in ["Weight", "sampleWeight", "sample-weight", "lossWeight", "Loss Mask"] {
        assert_eq!(record(&beside(name, json!(0.5))).weight, 0.5, "{name}");
        let record = record(&beside(name, json!(0)));
        assert_eq!((record.weight, record.flaw.unwrap().detail), (0.0, format!("{name} is 0")), "{name}");
    }
    for (name, value) in [("noLoss", true), ("Trainable", false), ("trainOnTurn", false), ("Deleted", true)] {
        assert_eq!(record(&beside(name, json!(value))).weight, 0.0, "{name}");
        assert_eq!(record(&beside(name, json!(!value))).weight, 1.0, "{name}");
    }
    refused(&beside("sampleWeight", json!("heavy")), &["column `sampleWeight` is \"heavy\", and a weight is"]);
    let turn = |name: &str| {
        let mut turn = json!({"role": "assistant", "content": "a"});
        turn[name] = json!(0);
        json!({"messages": [{"role": "user", "content": "q"}, turn]})
    };
    for name in ["Weight", "lossWeight", "trainOnTurn"] {
        refused(&turn(name), &["the weights of all are 0"]);
    }
    refused(&turn("trainDetail"), &["`trainDetail` weighs parts of a text"]);
}

#[test]
fn marks_of_the_end() {
    for (name, value, is_cut) in [
        ("isTruncated", json!(true), true),
        ("Was-Truncated", json!(1), true),
        ("isComplete", json!("no"), true),
        ("endTurn", json!(false), true),
        ("isAborted", json!(true), false),
        ("Status", json!("incomplete"), true),
        ("finish-reason", json!("length"), true),
        ("Label", json!(false), false),
        ("ktoTag", json!(false), false),
    ] {
        let flaw = record(&beside(name, value.clone())).flaw.unwrap();
        assert!(flaw.detail.starts_with(&format!("{name} is {value}")), "{}", flaw.detail);
        assert_eq!(flaw.is_cut, is_cut, "{name}");
    }
    let flaw = record(&beside("responseMetadata", json!({"finishReason": "length"}))).flaw.unwrap();
    assert_eq!(flaw.detail, "responseMetadata.finishReason is \"length\"");
    assert!(record(&beside("reasoningTokens", json!(12))).flaw.is_none());
}

#[test]
fn system_messages() {
    for name in
        ["System", "systemPrompt", "system_message", "system-message", "system_instruction", "systemInstruction"]
    {
        check(beside(name, json!("s")), &[Message::system("s"), user("q"), Message::assistant("a")]);
    }
    let mut row = beside("system", json!("s"));
    row["system_message"] = json!("s");
    check(row.clone(), &[Message::system("s"), user("q"), Message::assistant("a")]);
    row["system_message"] = json!("t");
    refused(&row, &["`system` and `system_message`, and they do not say the same", "{ system = \"system\" }"]);
    check_with(
        &columns(&[("system", "system_message")]),
        row,
        &[Message::system("t"), user("q"), Message::assistant("a")],
    );
    // It may be the system message, and may be the task.
    refused(&beside("instructions", json!("s")), &["`instructions` beside `prompt`, `response`"]);
}

#[test]
fn parts_of_the_question() {
    for name in [
        "optionA",
        "option_1",
        "choice_a",
        "Choice 2",
        "opa",
        "op_b",
        "endings",
        "ending0",
        "answerChoices",
        "hypothesis",
        "dialogue",
        "facts",
        "sentence1",
        "previous_turns",
        "previousTurns",
    ] {
        refused(
            &beside(name, json!("x")),
            &[&format!("`{name}` beside `prompt`, `response`, and it would be left out")],
        );
        check(beside(name, json!("")), &plain());
        check(beside(name, json!(null)), &plain());
    }
    let letters = json!({"prompt": "q", "response": "a", "A": "x", "B": "y"});
    refused(&letters, &["`A` beside `prompt`, `response`"]);
    // Numbers to reckon with, a letter alone, and words that only begin so.
    for row in [
        json!({"a": 1, "b": 2}),
        json!({"A": "x"}),
        json!({"optional": true, "open": "x", "op1": 2, "choice_model": "m"}),
    ] {
        let mut whole = beside("id", json!(1));
        whole.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
        check(whole, &plain());
    }
}

#[test]
fn two_spellings_of_one_name_say_the_same() {
    for (name, other) in
        [("prompt", "Prompt"), ("response", "RESPONSE"), ("system", "System"), ("reasoning", "Reasoning")]
    {
        let mut row = json!({"prompt": "q", "response": "a", "system": "s", "reasoning": "r"});
        let wanted = [Message::system("s"), user("q"), thought("r", "a")];
        row[other] = row[name].clone();
        check(row.clone(), &wanted);
        row[other] = json!("");
        check(row.clone(), &wanted);
        row[other] = json!("something else");
        refused(&row, &[&format!("the row has `{name}` and `{other}`, two spellings of one name")]);
        let part = columns(&[(name, name)]);
        check_with(&part, row.clone(), &wanted);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.jsonl");
        fs::write(&path, row.to_string()).unwrap();
        let asked = open_prompts(&[path], &ReadOptions::default()).unwrap().next().unwrap();
        assert_eq!(asked.is_err(), ["prompt", "system"].contains(&name), "{name}");
    }
}
