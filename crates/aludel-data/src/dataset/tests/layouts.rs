//! Every layout of a file and every way a row or a file can be broken; arbitrary bytes never do more than give an error.

use proptest::prelude::*;

use super::*;

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

#[test]
fn files_are_read_in_the_order_given() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["b.jsonl", "a.json"].iter().map(|name| folder.path().join(name)).collect();
    fs::write(&paths[0], "{\"text\":\"1\"}\n{\"text\":\"2\"}\n").unwrap();
    fs::write(&paths[1], "[{\"text\":\"3\"}]").unwrap();
    let mut records = open(&paths, &ReadOptions::default()).unwrap();
    assert_eq!(records.divided_counts(), None);
    records.divide_counts(1);
    let places: Vec<(u32, u64)> = records
        .by_ref()
        .map(|record| record.map(|record| (record.provenance.file_index, record.provenance.line)).unwrap())
        .collect();
    assert_eq!(places, [(0, 1), (0, 2), (1, 1)]);
    assert_eq!(records.counts().rows, 3);
    assert_eq!(records.divided_counts().map(|parts| parts.each_ref().map(|counts| counts.rows)), Some([2, 1]));
    assert!(records.bytes_read() > 0 && records.bytes_read() <= records.bytes_total() + 1);
    fs::write(&paths[1], "").unwrap();
    let last = open(&paths, &ReadOptions::default()).unwrap().last().unwrap();
    assert!(last.unwrap_err().to_string().contains("a.json: holds no row"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic(content in prop::collection::vec(prop::sample::select(b"[]{}\",:\\ \n\r\x00\xff\xefatext0".to_vec()), 0..80)) {
        for skip_bad_rows in [false, true] {
            read(&content, &ReadOptions { skip_bad_rows, max_row_bytes: 40, ..ReadOptions::default() });
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
