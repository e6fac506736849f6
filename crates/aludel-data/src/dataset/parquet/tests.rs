//! Files of another writer (`tools/golden/parquet.py`): every type of a column, texts as bytes, and packings that are not read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use aludel_text::message::Message;

use crate::dataset::{ColumnMap, Content, ReadOptions, Row, open};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/parquet/{name}.parquet"))
}

fn rows(name: &str) -> Vec<Row> {
    // Some have an image beside the question, which is passed over only where the columns are named.
    let columns = ColumnMap::from_parts([("prompt", "question"), ("response", "answer")]).unwrap();
    let options = ReadOptions { columns: Some(columns), ..ReadOptions::default() };
    let mut records = open(&[fixture(name)], &options).unwrap();
    std::iter::from_fn(|| records.next_row().unwrap()).collect()
}

fn check_contents(rows: &[Row]) {
    for (row, (question, answer)) in rows.iter().zip([("q", "4"), ("r", "5")]) {
        let wanted = Content::Messages(vec![Message::user(question), Message::assistant(answer)]);
        assert_eq!(row.content.as_ref().unwrap(), &wanted);
    }
    assert_eq!(rows.len(), 2);
}

#[test]
fn every_type_is_read() {
    let rows = rows("kinds");
    check_contents(&rows);
    let written = |row: &Row| -> Vec<(String, String)> {
        row.columns.iter().map(|(name, value)| (name.to_string(), value.written().to_string())).collect()
    };
    let wanted = [
        ("berlin", r#""2026-11-27T08:30:15.250Z""#),
        ("utc", r#""2026-11-27T08:30:15.250Z""#),
        ("local", r#""2026-11-27T08:30:15.250""#),
        ("date", r#""2026-11-27""#),
        ("time", r#""08:30:15.250""#),
        ("duration", "2000000"),
        ("decimal", r#""3.10""#),
        ("wide_decimal", r#""1393796574908163946345982392040522594123776""#),
        ("map", r#"{"1":"a","2":null}"#),
        ("unsigned", "18446744073709551615"),
        ("word", r#""w""#),
        ("large", r#""l""#),
        ("list", r#"[{"a":1,"b":"x"},{"b":"y"}]"#),
        ("float", "0.1"),
        ("half", "1.5"),
        ("bytes", r#""café""#),
        ("image", r#"{"bytes":"\udcff5 bytes that are not UTF-8 text: 89504e47ff"}"#),
    ];
    assert_eq!(written(&rows[0]), wanted.map(|(name, value)| (name.to_string(), value.to_string())));
    let left = [("list", "[]"), ("float", "\"NaN\""), ("bytes", r#""\udcff2 bytes that are not UTF-8 text: fffe""#)];
    assert_eq!(written(&rows[1]), left.map(|(name, value)| (name.to_string(), value.to_string())));
}

/// A number that is none is neither a weight nor the absence of a right answer.
#[test]
fn numbers_that_are_none_are_refused_where_they_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let write = |weight: f64, score: f64| {
        let numbers = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let columns =
            [("question", text("q")), ("answer", text("a")), ("weight", numbers(weight)), ("score", numbers(score))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        open(std::slice::from_ref(&path), &ReadOptions::default()).unwrap().next_row().unwrap().unwrap()
    };
    for (weight, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
        let reason = write(weight, 0.5).content.unwrap_err().reason;
        assert!(reason.contains(&format!("column `weight` is \"{shown}\", and a weight is")), "{reason}");
        let row = write(0.5, weight);
        assert!(row.content.is_ok() && row.weight == 0.5);
        assert_eq!(row.columns.get("score").unwrap().written(), format!("\"{shown}\""));
    }
}

#[test]
fn bytes_are_text_or_are_refused_by_name() {
    check_contents(&rows("binary"));
    let reason = rows("no_text")[0].content.as_ref().unwrap_err().reason.clone();
    assert!(reason.contains("column `question` holds 1 byte that is not UTF-8 text: ff"), "{reason}");
}

#[test]
fn packings_that_are_not_read_are_named() {
    let error = open(&[fixture("brotli")], &ReadOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("brotli.parquet") && error.contains("packed with brotli"), "{error}");
    assert!(!error.contains("damaged"), "{error}");
    // Only those who want such a column miss it.
    check_contents(&rows("brotli_beside"));
    let reason = rows("brotli_answer")[0].content.as_ref().unwrap_err().reason.clone();
    assert!(reason.contains("column `answer` holds what cannot be unpacked") && reason.contains("brotli"), "{reason}");
}
