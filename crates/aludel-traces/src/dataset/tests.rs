//! Every column shape, every file layout and every way a file can be broken, each through one check; and that arbitrary
//! bytes never do more than give an error.

mod strict;

use std::fs;
use std::io::Write as _;

use proptest::prelude::*;
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
    let mut row = json!({
        "messages": both, "prompt": "p", "reasoning": "r", "response": "s", "completion": "t", "instruction": "i", "output": "o",
        "question": "q", "answer": "a", "text": "x"
    });
    let mut next = |gone: &[&str], wanted: &[Message]| {
        for name in gone {
            row.as_object_mut().unwrap().remove(*name);
        }
        check(row.clone(), wanted);
    };
    next(&[], &[user("m"), thought("r", "n")]);
    next(&["messages"], &[user("p"), thought("r", "s")]);
    next(&["response"], &[user("p"), thought("r", "t")]);
    next(&["completion", "prompt", "reasoning"], &[user("i"), Message::assistant("o")]);
    next(&["instruction"], &[user("q"), Message::assistant("a")]);
    // A null is an absent column.
    check(json!({"messages": null, "question": "q", "answer": "a"}), &[user("q"), Message::assistant("a")]);
}

#[test]
fn reasoning_finds_its_place() {
    check(json!({"prompt": "q", "response": "<think>\nr\n</think>\n\na"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "completion": "r</think>a"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "reasoning": "<think>r</think>", "response": "a"}), &[user("q"), thought("r", "a")]);
    check(json!({"prompt": "q", "reasoning": "r", "response": "<think>r</think>a"}), &[user("q"), thought("r", "a")]);
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
    wrong(&[("prompt", "Question"), ("response", "Response"), ("reasoning", "COT")], &["`COT`", "none of the 1 rows"]);
    wrong(&[("prompt", "Question")], &["no known answer column"]);
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
        json!({"Question": "q", "Answer": "a"}),
        &[
            "data.jsonl, line 1",
            "`Question`, `Answer`",
            "nearest is question/answer",
            "there is `Answer`",
            "data.columns",
        ],
    );
    explain(json!({"prompt": "q", "gold": 1}), &["nearest is prompt/reasoning/response, which lacks `response`"]);
    explain(json!({"prompt": "q", "response": null}), &["`response` (it is null)"]);
    explain(json!({"output": "q"}), &["nearest is instruction/input/output, which lacks `instruction`"]);
    explain(json!({"a": 1, "b": 2}), &["`a`, `b`", "fit no known shape.", "Known shapes: messages, conversations"]);
    explain(json!({}), &["no columns"]);
}

#[test]
fn broken_rows_name_line_and_reason() {
    let options = ReadOptions::default();
    let good = br#"{"question":"q","answer":"a"}"#;
    let with_line = |line: &[u8], mentions: &[&str]| {
        let content = [&good[..], b"\n\n", line, b"\n"].concat();
        check_error(&content, &options, &[&["data.jsonl, line 3", "--skip-bad-rows"], mentions].concat());
    };
    with_line(b"{\"question\": \"q\"", &["not valid JSON", "one line"]);
    with_line(b"{\"question\": NaN}", &["write null"]);
    with_line(b"{\"question\": \"\\ud83d\", \"answer\": \"a\"}", &["column `question` holds half of a character pair"]);
    with_line(b"{\"question\": \"\xff\"}", &["byte 15", "0xff", "UTF-8"]);
    with_line(b"42", &["the row is a number"]);
    with_line(br#"{"question": {"a": 1}, "answer": "x"}"#, &["column `question` holds an object"]);
    with_line(br#"{"question": " ", "answer": "x"}"#, &["column `question` is empty"]);
    with_line(br#"{"question": "q", "answer": "  "}"#, &["both empty"]);
    with_line(br#"{"text": ""}"#, &["column `text` is empty"]);
    with_line(br#"{"messages": "hi"}"#, &["column `messages` holds text"]);
    with_line(br#"{"messages": []}"#, &["empty list"]);
    with_line(br#"{"messages": [1]}"#, &["messages[0] holds a number"]);
    with_line(br#"{"messages": [{"content": "x"}]}"#, &["neither `role` nor `from`"]);
    with_line(br#"{"messages": [{"role": "narrator", "content": "x"}]}"#, &["role `narrator`", "assistant"]);
    with_line(br#"{"messages": [{"role": "user", "content": "x"}]}"#, &["no assistant message"]);
    with_line(br#"{"messages": [{"role": "user", "content": [{"type": "image"}]}]}"#, &["type `image`"]);
    with_line(br#"{"messages": [{"role": "assistant", "tool_calls": [{}]}]}"#, &["tool_calls"]);
}

#[test]
fn bad_rows_are_counted_when_skipped() {
    let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
    let content = b"{\"question\":\"q\",\"answer\":\"a\"}\nbroken\n{\"x\":1}\n{\"question\":\"q\",\"answer\":\"\"}\n{\"text\": \"\xff\"}\nalso\n";
    let (records, counts) = read(content, &options);
    assert_eq!((records.len(), counts.rows, counts.bad_rows()), (1, 1, 5));
    let bad: Vec<(ProblemKind, u64, u64)> = counts.bad.iter().map(|bad| (bad.kind, bad.rows, bad.first_line)).collect();
    let wanted = [
        (ProblemKind::NotJson, 2, 2),
        (ProblemKind::Columns, 1, 3),
        (ProblemKind::NothingToLearn, 1, 4),
        (ProblemKind::NotUtf8, 1, 5),
    ];
    assert_eq!(bad, wanted);
    check_error(b"broken\n{}\n", &options, &["all 2 rows were left out", "line 1", "not valid JSON"]);
}

/// Reads content and compares the lines on which the rows begin.
fn check_lines(content: &[u8], wanted: &[u64]) {
    let (records, _) = read(content, &ReadOptions::default());
    let lines: Vec<u64> = records.iter().map(|record| record.as_ref().unwrap().provenance.line).collect();
    assert_eq!(lines, wanted, "{:?}", String::from_utf8_lossy(content));
}

#[test]
fn layouts_of_every_kind_are_read() {
    check_lines(b"{\"text\":\"a\"}\n{\"text\":\"b\"}\n", &[1, 2]);
    check_lines(b"{\"text\":\"a\"}\n{\"text\":\"b\"}", &[1, 2]);
    check_lines(b"\xef\xbb\xbf{\"text\":\"a\"}\r\n\r\n  \r\n{\"text\":\"b\"}\r\n", &[1, 4]);
    check_lines(b"\n\n{\"text\":\"a\"}\n", &[3]);
    check_lines(b"[{\"text\":\"a\"},{\"text\":\"b\"}]", &[1, 1]);
    check_lines(b"\xef\xbb\xbf \n[\n  {\"text\":\n\"a, ] } \\\" [\"},\r\n  {\"text\":\"b\"}\n]\n", &[3, 5]);
}

#[test]
fn broken_arrays_are_explained() {
    let options = ReadOptions::default();
    check_error(b"[{\"text\":\"a\"},\n{\"text\":\"b\"", &options, &["line 2", "cut off"]);
    check_error(b"[", &options, &["line 1", "cut off"]);
    check_error(b"[{\"text\":\"a\"},\n]", &options, &["line 2", "comma too many"]);
    check_error(b"[{\"text\":\"a\"}]\n[1]", &options, &["line 2", "text follows"]);
    check_error(b"[{\"text\":\"a\"},\n{\"text\": oops}, {\"text\":\"b\"}]", &options, &["line 2", "not valid JSON"]);
    check_error(b"[1]", &options, &["the row is a number"]);
    // One malformed element does not spoil the next.
    let skipping = ReadOptions { skip_bad_rows: true, ..options };
    let (records, counts) = read(b"[{\"text\":\"a\"}, {\"text\": oops}, {\"text\":\"b\"}]", &skipping);
    assert_eq!((records.len(), counts.bad_rows()), (2, 1));
}

#[test]
fn rows_beyond_the_limit_are_told_and_passed_over() {
    let options = ReadOptions { max_row_bytes: 100, ..ReadOptions::default() };
    let long = json!({"text": "x".repeat(1 << 20)}).to_string();
    let exact = json!({"text": "x".repeat(89)}).to_string();
    assert_eq!(exact.len(), 100);
    let skipping = ReadOptions { skip_bad_rows: true, ..options.clone() };
    for (content, line) in [
        (format!("{exact}\n{long}\n{exact}\n"), 2),
        (format!("{exact}\n{long}\r\n{exact}"), 2),
        (format!("[{exact},{long},\n{exact}]"), 1),
    ] {
        check_error(content.as_bytes(), &options, &[&format!("line {line}: the row is longer than 100 bytes")]);
        let (records, counts) = read(content.as_bytes(), &skipping);
        assert_eq!((records.len(), counts.bad_rows()), (2, 1));
    }
    check_error(long.as_bytes(), &skipping, &["all 1 rows"]);
}

#[test]
fn files_that_are_no_data_are_refused() {
    let options = ReadOptions::default();
    for content in [&b""[..], b"\n \n", b"[]", b" [ \n ] ", b"\xef\xbb\xbf"] {
        check_error(content, &options, &["data.jsonl", "holds no row"]);
    }
    for (content, kind) in [
        (&b"\x1f\x8b\x08\0"[..], "this file is damaged (it ends too early)"),
        (b"\x28\xb5\x2f\xfd", "this file is damaged (it ends too early)"),
        (b"PAR1....", "this file is damaged (Parquet error: "),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04", "zip"),
        (b"GGUF\x03", "GGUF model"),
        (b"\xff\xfe{\0", "UTF-16"),
    ] {
        check_error(content, &options, &["data.jsonl", kind]);
    }
    let folder = tempfile::tempdir().unwrap();
    let message = |path: PathBuf| open(&[path], &options).map(|_| ()).unwrap_err().to_string();
    assert!(message(folder.path().to_path_buf()).contains("a folder"));
    assert!(message(folder.path().join("none.jsonl")).contains("none.jsonl: cannot be read"));
    assert!(open(&[], &options).map(|_| ()).unwrap_err().to_string().contains("data.files"));
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn as_parquet(lines: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("rows.jsonl"), folder.path().join("rows.parquet"));
    fs::write(&from, lines).unwrap();
    write_parquet(&from, &to, &to).unwrap();
    fs::read(to).unwrap()
}

const PACKED_ROWS: &str = concat!(
    r#"{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "reasoning_content": "two", "content": "4"}], "gold": 4, "score": 0.5}"#,
    "\n",
    r#"{"messages": [{"role": "user", "content": "Größe?"}, {"role": "assistant", "content": "zwölf"}], "gold": "zwölf", "ok": true}"#,
    "\n",
);

#[test]
fn packed_files_hold_the_same_rows() {
    let plain: Vec<Record> =
        read(PACKED_ROWS.as_bytes(), &ReadOptions::default()).0.into_iter().map(Result::unwrap).collect();
    assert_eq!(plain[0].messages(), Some(&[user("2+2?"), thought("two", "4")][..]));
    let twice = [gzipped(PACKED_ROWS.as_bytes()), gzipped(b"{\"text\": \"more\"}")].concat();
    let array = format!("[{}]", PACKED_ROWS.trim_end().replace('\n', ","));
    for (packed, rows) in [
        (gzipped(PACKED_ROWS.as_bytes()), 2),
        (zstd::encode_all(PACKED_ROWS.as_bytes(), 1).unwrap(), 2),
        (as_parquet(PACKED_ROWS), 2),
        (gzipped(array.as_bytes()), 2),
        (twice, 3),
    ] {
        let (records, counts) = read(&packed, &ReadOptions::default());
        assert_eq!(counts.rows, rows);
        for (packed, plain) in records.iter().zip(&plain) {
            let packed = packed.as_ref().unwrap();
            assert_eq!((&packed.content, packed.prompt_key), (&plain.content, plain.prompt_key));
        }
    }
}

#[test]
fn parquet_keeps_columns_of_several_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    fs::write(&path, as_parquet(PACKED_ROWS)).unwrap();
    let mut records = open(&[path], &ReadOptions::default()).unwrap();
    let rows: Vec<Value> =
        (0..2).map(|_| serde_json::to_value(records.next_row().unwrap().unwrap().columns).unwrap()).collect();
    assert_eq!(rows, [json!({"gold": "4", "score": 0.5}), json!({"gold": "zwölf", "ok": true})]);
    assert!(records.next_row().unwrap().is_none());
    assert_eq!(records.bytes_read(), records.bytes_total());
}

#[test]
fn damaged_packings_are_told() {
    let text: String = (0..3_000).map(|row| format!("{{\"text\": \"row {}\"}}\n", row * 7919)).collect();
    for packed in [gzipped(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap(), as_parquet(&text)] {
        let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        check_error(
            &packed[..packed.len() * 2 / 3],
            &options,
            &["data.jsonl: this file is damaged (", "fetch it or write it again"],
        );
    }
    for (content, kind) in [(&b"PK\x03\x04"[..], "zip archive"), (b"\x1f\x8b", "inside another packing")] {
        check_error(&gzipped(content), &ReadOptions::default(), &["data.jsonl", kind]);
    }
}

#[test]
fn rows_that_fit_no_table_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("rows.jsonl");
    fs::write(&from, "{\"a\": {\"b\": 1}}\n{\"a\": [1]}\n").unwrap();
    let message =
        write_parquet(&from, &folder.path().join("x"), Path::new("out/train.parquet")).unwrap_err().to_string();
    assert!(
        message.contains("out/train.parquet: cannot be written as Parquet") && message.contains("one kind"),
        "{message}"
    );
}

#[test]
fn files_are_read_in_the_order_given() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["b.jsonl", "a.json"].iter().map(|name| folder.path().join(name)).collect();
    fs::write(&paths[0], "{\"text\":\"1\"}\n{\"text\":\"2\"}\n").unwrap();
    fs::write(&paths[1], "[{\"text\":\"3\"}]").unwrap();
    let mut records = open(&paths, &ReadOptions::default()).unwrap();
    let places: Vec<(u32, u64)> = records
        .by_ref()
        .map(|record| record.map(|record| (record.provenance.file_index, record.provenance.line)).unwrap())
        .collect();
    assert_eq!(places, [(0, 1), (0, 2), (1, 1)]);
    assert_eq!(records.counts().rows, 3);
    assert!(records.bytes_read() > 0 && records.bytes_read() <= records.bytes_total() + 1);
    fs::write(&paths[1], "").unwrap();
    let last = open(&paths, &ReadOptions::default()).unwrap().last().unwrap();
    assert!(last.unwrap_err().to_string().contains("a.json: holds no row"));
}

/// Whether two rows ask the same prompt.
fn check_prompts(left: Value, right: Value, same: bool) {
    let key = |row: &Value| read(row.to_string().as_bytes(), &ReadOptions::default()).0[0].as_ref().unwrap().prompt_key;
    assert_eq!(key(&left) == key(&right), same, "{left} and {right}");
}

#[test]
fn prompts_are_compared_by_what_they_ask() {
    let row = |prompt: &str, response: &str| json!({"prompt": prompt, "response": response});
    check_prompts(row("What is\n 2+2?", "4"), row("what is 2+2? ", "four"), true);
    check_prompts(row("What is 2+2?", "4"), row("What is 2+3?", "4"), false);
    check_prompts(row("q", "a"), json!({"question": "q", "answer": "b"}), true);
    check_prompts(row("q", "a"), json!({"system": " ", "prompt": "q", "response": "a"}), true);
    check_prompts(row("q", "a"), json!({"system": "s", "prompt": "q", "response": "a"}), false);
    check_prompts(json!({"text": "a"}), json!({"text": "b"}), false);
    let opening = |answer: &str| json!({"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": answer}]});
    check_prompts(opening("a"), opening("b"), false);
    check_prompts(opening("a"), opening("a"), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic(content in prop::collection::vec(prop::sample::select(b"[]{}\",:\\ \n\r\x00\xff\xefatext0".to_vec()), 0..80)) {
        for skip_bad_rows in [false, true] {
            read(&content, &ReadOptions { skip_bad_rows, max_row_bytes: 40, ..ReadOptions::default() });
        }
    }

    /// Neither a byte that flipped nor a file that was cut does more than give an error or other rows.
    #[test]
    fn damaged_packings_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let packings = [gzipped(PACKED_ROWS.as_bytes()), zstd::encode_all(PACKED_ROWS.as_bytes(), 1).unwrap(), as_parquet(PACKED_ROWS)];
        for mut packed in packings {
            for (place, byte) in &flips {
                let place = place.index(packed.len());
                packed[place] = *byte;
            }
            read(&packed, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() });
            read(&packed[..cut.index(packed.len())], &ReadOptions::default());
        }
    }

    #[test]
    fn array_and_lines_give_the_same(texts in prop::collection::vec("[^\\p{Z}\\p{C}][\\PC\n]{0,40}", 1..8), pretty: bool) {
        let rows: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let array = if pretty { serde_json::to_string_pretty(&rows) } else { serde_json::to_string(&rows) }.unwrap();
        let contents = |content: &str| -> Vec<Content> {
            read(content.as_bytes(), &ReadOptions::default()).0.into_iter().map(|record| record.unwrap().content).collect()
        };
        let wanted: Vec<Content> = texts.into_iter().map(Content::Text).collect();
        prop_assert_eq!(&contents(&lines), &wanted);
        prop_assert_eq!(&contents(&array), &wanted);
    }
}

/// Reads one row for what it asks: the messages, and the names of the columns that are left.
fn check_prompt(options: &ReadOptions, row: Value, wanted: &[Message], left: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, row.to_string()).unwrap();
    let prompts: Vec<_> = open_prompts(&[path], options).unwrap().collect();
    let [Ok(prompt)] = prompts.as_slice() else { panic!("{row}: {prompts:?}") };
    assert_eq!(prompt.messages, wanted, "{row}");
    assert_eq!(prompt.columns.names().collect::<Vec<_>>(), left, "{row}");
}

#[test]
fn prompts_are_read_from_every_shape_with_and_without_answers() {
    let usual = ReadOptions::default();
    let question = || vec![Message::user("q")];
    check_prompt(&usual, json!({"question": "q", "answer": "a", "id": 1}), &question(), &["answer", "id"]);
    check_prompt(&usual, json!({"question": "q"}), &question(), &[]);
    check_prompt(&usual, json!({"prompt": "q", "response": "a", "gold": "g"}), &question(), &["response", "gold"]);
    check_prompt(&usual, json!({"instruction": "q", "input": "i"}), &[Message::user("q\n\ni")], &[]);
    check_prompt(&usual, json!({"text": "q"}), &question(), &[]);
    let system = [Message::system("s"), Message::user("q")];
    check_prompt(&usual, json!({"system": "s", "prompt": "q"}), &system, &[]);
    let turns = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    check_prompt(&usual, json!({"messages": turns, "prompt": "unused", "system": "unused"}), &system, &["prompt"]);
    let turns =
        json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "r"}]);
    let conversation = [Message::user("q"), Message::assistant("a"), Message::user("r")];
    check_prompt(&usual, json!({"conversations": turns}), &conversation, &[]);
    let named = columns(&[("prompt", "problem")]);
    check_prompt(
        &named,
        json!({"problem": "q", "messages": "unused", "solution": "a"}),
        &question(),
        &["messages", "solution"],
    );
}

#[test]
fn rows_that_ask_nothing_are_errors_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, "{\"prompt\": \"q\"}\n{\"prompt\": \" \"}\n{\"other\": 1}\nno JSON\n").unwrap();
    let read = |skip_bad_rows| {
        let mut prompts =
            open_prompts(&[&path].map(Clone::clone), &ReadOptions { skip_bad_rows, ..ReadOptions::default() }).unwrap();
        let read: Vec<_> = prompts.by_ref().collect();
        (read, prompts.counts().bad_rows())
    };
    let (stopped, _) = read(false);
    assert_eq!(stopped.len(), 2);
    assert!(stopped[1].as_ref().unwrap_err().to_string().contains("line 2: column `prompt` is empty"), "{stopped:?}");
    let (skipped, bad) = read(true);
    assert!(skipped.len() == 1 && skipped[0].is_ok() && bad == 3, "{skipped:?}");
}
