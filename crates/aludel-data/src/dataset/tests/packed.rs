//! Files that are packed, and Parquet: the same rows as plain ones, and damaged files.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

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
fn what_follows_packed_data_is_told_apart_from_damage() {
    let packed = gzipped(PACKED_ROWS.as_bytes());
    let place = format!(
        "what follows its gzip data at byte {} is none, and all rows before it were whole; cut that off",
        packed.len()
    );
    for (behind, said) in [
        (&b"junk"[..], Some(place.as_str())),
        (b"{\"text\": \"more\"}\n", Some(&place)),
        (&[0; 70_000], None),
        (b"\x1f\x8bjunk", Some("this file is damaged (")),
    ] {
        let (records, counts) = read(&[&packed[..], behind].concat(), &ReadOptions::default());
        assert_eq!(counts.rows, 2);
        let error = records.into_iter().find_map(Result::err).map(|error| error.to_string());
        assert_eq!(error.is_some(), said.is_some(), "{error:?}");
        assert!(error.unwrap_or_default().contains(said.unwrap_or_default()), "{said:?}");
    }
    let zeros = [&packed[..], &[0; 512], &gzipped(b"{\"text\": \"more\"}")].concat();
    assert_eq!(read(&zeros, &ReadOptions::default()).1.rows, 3);
    let junk = [&zstd::encode_all(PACKED_ROWS.as_bytes(), 1).unwrap()[..], b"junk"].concat();
    check_error(
        &junk,
        &ReadOptions::default(),
        &["what follows its zstd data is none, and all rows before it were whole"],
    );
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
}
