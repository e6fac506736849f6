//! Every column shape, each through one check; the neighbours have the layouts and packings of files, and prompts.

mod known_sets;
mod layouts;
mod marks;
mod packed;
mod prompts;
mod spellings;
mod strict;
mod tools;

use std::fs;

use serde_json::{Value, json};

use aludel_text::message::Message;

use super::*;

fn read(content: &[u8], options: &ReadOptions) -> (Vec<Result<Record, Error>>, Counts) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, content).unwrap();
    match open(&[path], options) {
        Ok(mut records) => (records.by_ref().collect(), records.counts().clone()),
        Err(error) => (vec![Err(error)], Counts::default()),
    }
}

fn columns(parts: &[(&str, &str)]) -> ReadOptions {
    let columns = ColumnMap::from_parts(parts.iter().copied()).unwrap();
    ReadOptions { columns: Some(columns), ..ReadOptions::default() }
}

/// Reads one row and compares its conversation.
fn check_with(options: &ReadOptions, row: Value, wanted: &[Message]) {
    let (records, _) = read(row.to_string().as_bytes(), options);
    assert_eq!(records.len(), 1, "{row}");
    match &records[0] {
        Ok(record) => assert_eq!(record.messages(), Some(wanted), "{row}"),
        Err(error) => panic!("{row}: {error}"),
    }
}

fn check(row: Value, wanted: &[Message]) {
    check_with(&ReadOptions::default(), row, wanted);
}

/// Reads content that must give exactly one error, the last item, whose message must mention all of this.
fn check_error(content: &[u8], options: &ReadOptions, mentions: &[&str]) {
    let (records, _) = read(content, options);
    let error = records.last().expect("an item").as_ref().expect_err("an error").to_string();
    for mention in mentions {
        assert!(error.contains(mention), "{mention:?} is not in {error:?}");
    }
    assert_eq!(records.iter().filter(|record| record.is_err()).count(), 1, "it ends after an error");
}

fn user(text: &str) -> Message {
    Message::user(text)
}

fn thought(reasoning: &str, answer: &str) -> Message {
    Message::assistant(answer).with_reasoning(reasoning)
}

#[test]
fn every_shape_is_recognised() {
    let plain = [user("q"), Message::assistant("a")];
    check(json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}), &plain);
    check(json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}), &plain);
    check(json!({"prompt": "q", "reasoning": "r", "response": "a"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "reasoning": "r", "response": ""}), &[user("q"), thought("r", "")]);
    check(json!({"prompt": "q", "reasoning": "r"}), &[user("q"), thought("r", "")]);
    check(json!({"prompt": "q", "response": "a"}), &plain);
    check(json!({"prompt": "q", "completion": "a"}), &plain);
    check(json!({"prompt": "q", "completion": "a", "reasoning": "r"}), &[user("q"), thought("r", "a")]);
    check(
        json!({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}),
        &plain,
    );
    check(json!({"instruction": "q", "response": "a"}), &plain);
    check(json!({"instruction": "q", "input": "", "output": "a"}), &plain);
    check(json!({"instruction": "q", "input": "x", "output": "a"}), &[user("q\n\nx"), Message::assistant("a")]);
    let earlier = [user("x"), Message::assistant("y"), user("q"), Message::assistant("a")];
    check(json!({"instruction": "q", "input": "", "output": "a", "history": [["x", "y"]]}), &earlier);
    check(json!({"instruction": "q", "input": "", "output": "a", "history": []}), &plain);
    check(json!({"question": "q", "answer": "a"}), &plain);
    check(json!({"question": "q", "answer": 12}), &[user("q"), Message::assistant("12")]);
    let (records, _) = read(br#"{"text": "once upon"}"#, &ReadOptions::default());
    assert_eq!(records[0].as_ref().unwrap().content, Content::Text("once upon".to_string()));
}

#[test]
fn shared_traces_are_read() {
    let row = json!({
        "id": "x-1", "source": "s", "model": "m", "license": "MIT", "system": null, "prompt": "q",
        "reasoning": "r", "response": "<ANSWER>", "gold": "1", "correct": true
    });
    check(row, &[user("q"), thought("r", "<ANSWER>")]);
    let row = json!({"id": "x-1", "system": "s", "prompt": "q", "reasoning": "r", "response": null, "gold": null});
    check(row, &[Message::system("s"), user("q"), thought("r", "")]);
}

#[test]
fn precedence_is_as_documented() {
    let both = json!([{"role": "user", "content": "m"}, {"role": "assistant", "content": "n"}]);
    let row = json!({"messages": both, "prompt": "p", "reasoning": "r", "response": "s", "output": "o", "text": "x"});
    check(row, &[user("m"), thought("r", "n")]);
    // A null is an absent column.
    check(json!({"messages": null, "question": "q", "answer": "a"}), &[user("q"), Message::assistant("a")]);
}

#[test]
fn two_columns_for_one_part_say_the_same_or_are_refused() {
    let plain = [user("q"), Message::assistant("a")];
    for row in [
        json!({"question": "q", "response": "a", "answer": "4"}),
        json!({"prompt": "q", "completion": "a", "answer": 4}),
        json!({"instruction": "q", "output": "a", "answer": "4"}),
        json!({"question": "q", "solution": "a", "answer": "4"}),
        json!({"prompt": "q", "solution": "a", "answer": "4"}),
        json!({"question": "q", "solution": "", "answer": "a"}),
        json!({"prompt": "q", "response": "a", "solution": "other", "answer": "4"}),
        json!({"prompt": "q", "question": "q ", "response": "a", "output": " a"}),
        json!({"prompt": "q", "response": "", "completion": "a", "output": null}),
        json!({"prompt": "q", "response": "a", "completion": true, "output": {"tokens": 7}}),
        json!({"instruction": "q", "input": "", "output": "a", "text": "Below is…\n### Instruction:\nq\n### Response:\na"}),
        json!({"prompt": "q", "response": "a", "text": "a"}),
    ] {
        check(row, &plain);
    }
    let turns = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]);
    check(
        json!({"prompt": turns, "question": "q", "response": "a"}),
        &[Message::system("s"), user("q"), Message::assistant("a")],
    );
    // The right answer is carried along.
    let (records, _) = read(br#"{"question":"q","response":"","answer":"4"}"#, &ReadOptions::default());
    assert!(records[0].as_ref().unwrap_err().to_string().contains("both empty"));
    for (row, columns_named) in [
        (
            json!({"instruction": "q", "output": "long", "response": "x"}),
            ["`response` and `output`", "response = \"response\""],
        ),
        (
            json!({"prompt": "q", "completion": "b", "response": "a"}),
            ["`response` and `completion`", "response = \"response\""],
        ),
        (
            json!({"prompt": "q", "instruction": "b", "response": "a"}),
            ["`prompt` and `instruction`", "prompt = \"prompt\""],
        ),
        (
            json!({"prompt": "q", "response": "a", "output": "<think>r</think>a"}),
            ["`response` and `output`", "data.columns"],
        ),
        (
            json!({"text": "t", "prompt": "q", "response": "a"}),
            ["`text` beside `prompt`, `response`", "text = \"text\""],
        ),
        (
            json!({"text": "passage", "question": "q", "answer": "a"}),
            ["`text` beside `question`, `answer`", "data.columns"],
        ),
    ] {
        check_error(
            row.to_string().as_bytes(),
            &ReadOptions::default(),
            &[columns_named[0], columns_named[1], "do not say the same"],
        );
    }
    let row = json!({"text": "t", "prompt": "q", "instruction": "b", "completion": "b", "response": "a"});
    check_with(&columns(&[("prompt", "prompt"), ("response", "response")]), row, &plain);
}

#[test]
fn reasoning_finds_its_place() {
    check(json!({"prompt": "q", "response": "<think>\nr\n</think>\n\na"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "completion": "r</think>\na"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "reasoning": "<think>r</think>", "response": "a"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "reasoning": "r", "response": "<think>r</think>\na"}), &[user("q"), thought("r", "a")]);
    let message = json!({"role": "assistant", "content": "a", "reasoning_content": "r"});
    check(json!({"messages": [{"role": "user", "content": "q"}, message]}), &[user("q"), thought("r", "a")]);
    let parts = json!([{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "a"}]);
    let asked = json!([{"type": "text", "text": "a</think>q"}]);
    check(json!({"prompt": asked, "response": parts}), &[user("a</think>q"), thought("r", "a")]);
    let message = json!({"from": "gpt", "value": "<think>r</think>a"});
    check(json!({"conversations": [{"from": "human", "value": "q"}, message]}), &[user("q"), thought("r", "a")]);
    // What a user writes stays as it is.
    check(json!({"prompt": "a</think>b", "response": "c"}), &[user("a</think>b"), Message::assistant("c")]);
}

#[test]
fn conversations_are_put_in_order() {
    let turns = |list: Value| json!({"system": "s", "messages": list});
    let wanted = [Message::system("s"), user("q"), Message::assistant("a")];
    check(turns(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])), &wanted);
    // The conversation's own system message wins, and turns behind the last answer teach nothing.
    check(
        turns(json!([
            {"role": "system", "content": "own"}, {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "ASSISTANT", "content": "a"}, {"role": "user", "content": "and then?"}
        ])),
        &[Message::system("own"), user("q"), Message::assistant("a")],
    );
}

#[test]
fn columns_can_be_named() {
    let row = json!({"Question": "q", "Complex_CoT": "r", "Response": "a", "who": "s"});
    let all = [("prompt", "Question"), ("reasoning", "Complex_CoT"), ("response", "Response"), ("system", "who")];
    check_with(&columns(&all), row.clone(), &[Message::system("s"), user("q"), thought("r", "a")]);
    check_with(
        &columns(&[("reasoning", "cot")]),
        json!({"question": "q", "cot": "r", "answer": "a"}),
        &[user("q"), thought("r", "a")],
    );
    check_with(
        &columns(&[("messages", "dialog")]),
        json!({"prompt": "x", "response": "y", "dialog": [{"role": "user", "content": "q"}, {"role": "bot", "content": "a"}]}),
        &[user("q"), Message::assistant("a")],
    );
    check_with(
        &columns(&[("messages", "dialog"), ("reasoning", "cot")]),
        json!({"dialog": [{"role": "user", "content": "q"}, {"role": "bot", "content": "a"}], "cot": "r"}),
        &[user("q"), thought("r", "a")],
    );
    let (records, _) = read(br#"{"body": "b"}"#, &columns(&[("text", "body")]));
    assert_eq!(records[0].as_ref().unwrap().content, Content::Text("b".to_string()));
    check_with(
        &ReadOptions { columns: Some(ColumnMap::default()), ..ReadOptions::default() },
        json!({"question": "q", "answer": "a"}),
        &[user("q"), Message::assistant("a")],
    );
    let row = row.to_string();
    let wrong = |parts: &[(&str, &str)], mentions: &[&str]| check_error(row.as_bytes(), &columns(parts), mentions);
    wrong(
        &[("prompt", "Problem"), ("response", "Response")],
        &["line 1", "`prompt` is column `Problem`", "`Complex_CoT`"],
    );
    wrong(&[("prompt", "Question"), ("response", "Reply")], &["no `Reply`", "`Response`"]);
    check_with(
        &columns(&[("system", "s")]),
        json!({"prompt": "q", "cot": "r", "s": "t"}),
        &[Message::system("t"), user("q"), thought("r", "")],
    );
    let named = [("prompt", "Question"), ("response", "Response"), ("reasoning", "why")];
    wrong(&named, &["`why`", "is empty here, and `Complex_CoT` is not"]);
    let row = json!({"Question": "q", "Response": "a"}).to_string();
    check_error(row.as_bytes(), &columns(&named), &["`why`", "none of the 1 rows"]);
    let row = json!({"Question": "q", "Reply": "a"}).to_string();
    check_error(row.as_bytes(), &columns(&[("prompt", "Question")]), &["no known answer column"]);
}

#[test]
fn column_maps_that_contradict_themselves_are_refused() {
    let refused = |parts: &[(&str, &str)]| ColumnMap::from_parts(parts.iter().copied()).unwrap_err().to_string();
    assert!(refused(&[("text", "t"), ("prompt", "p")]).contains("`text` stands alone"));
    assert!(refused(&[("messages", "m"), ("response", "p")]).contains("`response` has no place"));
    assert!(refused(&[("prompt", "")]).contains("empty name"));
    assert!(refused(&[("promt", "p")]).contains("`promt` is no part"));
}

#[test]
fn shapes_that_do_not_fit_are_explained() {
    let explain =
        |row: Value, mentions: &[&str]| check_error(row.to_string().as_bytes(), &ReadOptions::default(), mentions);
    explain(
        json!({"Question": "q", "Reply": "a"}),
        &["data.jsonl, line 1", "`Question`, `Reply`", "nearest is question/answer", "lacks `answer`", "data.columns"],
    );
    explain(json!({"prompt": "q", "gold": 1}), &["nearest is prompt/reasoning/response, which lacks `response`"]);
    explain(json!({"prompt": "q", "response": null}), &["`response` (it is null)"]);
    explain(json!({"output": "q"}), &["nearest is instruction/input/output, which lacks `instruction`"]);
    explain(json!({"a": 1, "b": 2}), &["`a`, `b`", "fit no known shape;", "Known shapes: messages, conversations"]);
    explain(json!({}), &["no columns"]);
}

#[test]
fn what_only_a_teacher_sees_is_read_from_its_column() {
    let options = ReadOptions { context_column: Some("hint".to_owned()), ..ReadOptions::default() };
    let context = |row: Value| {
        let (records, counts) = read(row.to_string().as_bytes(), &options);
        assert_eq!(counts.columns_not_used, [""; 0], "{row}");
        records.into_iter().next().unwrap().unwrap().context
    };
    // By the usual names a hint is a part of the question: here it is named for what it is.
    let told = |hint: Value| context(json!({"question": "1 + 1?", "answer": "2", "hint": hint}));
    assert_eq!(told(json!("count")), Some("count".to_owned()));
    assert_eq!(told(json!(2)), Some("2".to_owned()));
    assert_eq!((told(Value::Null), told(json!(" "))), (None, None));
    let row = json!({"question": "1 + 1?", "answer": "2"}).to_string();
    check_error(row.as_bytes(), &options, &["no column `hint`", "distill.teacher_context_column"]);
    let row = json!({"question": "1 + 1?", "answer": "2", "hint": ["a"]}).to_string();
    check_error(row.as_bytes(), &options, &["column `hint` holds a list"]);
    // The answer itself may be what the teacher sees.
    let of_answer = ReadOptions { context_column: Some("answer".to_owned()), ..ReadOptions::default() };
    let (records, _) = read(json!({"question": "1 + 1?", "answer": "2"}).to_string().as_bytes(), &of_answer);
    assert_eq!(records[0].as_ref().unwrap().context.as_deref(), Some("2"));
}
