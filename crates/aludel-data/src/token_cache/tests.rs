//! Rows come back as they were put in, whatever they hold and however many threads made them; files that are torn,
//! foreign or damaged are built again or refused; outcomes are counted.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::dataset::{ColumnMap, ProblemKind, ReadOptions, open};

/// A data file of plain text rows, and a folder for caches.
struct Bench {
    folder: tempfile::TempDir,
    options: ReadOptions,
    encoded: AtomicUsize,
}

impl Bench {
    fn new(texts: &[&str]) -> Bench {
        let lines: String = texts.iter().map(|text| format!("{}\n", serde_json::json!({ "text": text }))).collect();
        Bench::of(&lines)
    }

    fn of(content: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.jsonl"), content).unwrap();
        Bench { folder, options: ReadOptions::default(), encoded: AtomicUsize::new(0) }
    }

    fn key(&self) -> CacheKey {
        DataHashes::of(&self.files(), &|_| ControlFlow::Continue(()))
            .unwrap()
            .key(&self.options, &[("tokenizer", "bytes")])
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.folder.path().join("data.jsonl")]
    }

    fn path(&self) -> PathBuf {
        Cache::path(&self.folder.path().join("cache"), self.key())
    }

    fn build(&self, threads: usize) -> Result<Cache, Error> {
        let encode = |record: &Record| {
            self.encoded.fetch_add(1, Ordering::Relaxed);
            encode(record)
        };
        let records = || open(&self.files(), &self.options);
        Cache::open_or_build(&self.folder.path().join("cache"), self.key(), threads, records, encode, &mut |_| {
            ControlFlow::Continue(())
        })
    }
}

/// One token a byte, vowels supervised; a few words stand for outcomes.
fn encode(record: &Record) -> Result<Vec<EncodedRow>, String> {
    let crate::dataset::Content::Text(text) = &record.content else { return Err("not text".to_string()) };
    let ids: Vec<u32> = text.bytes().map(|byte| u32::from(byte) * 1000).collect();
    let weights: Vec<f32> = text.bytes().map(|byte| if b"aeiou".contains(&byte) { 1.0 } else { 0.0 }).collect();
    match text.as_str() {
        "fail" => Err("it failed".to_string()),
        "none" => Ok(vec![EncodedRow::Dropped(DropReason::Unsupervised)]),
        "cut" => Ok(vec![EncodedRow::Kept { ids, weights, context: Vec::new(), truncated: true, reasoning: false }]),
        "two" => {
            Ok(vec![EncodedRow::Kept { ids, weights, context: Vec::new(), truncated: false, reasoning: false }; 2])
        }
        _ => Ok(vec![EncodedRow::Kept { ids, weights, context: Vec::new(), truncated: false, reasoning: false }]),
    }
}

#[test]
fn rows_come_back_in_order() {
    let bench = Bench::new(&["aha", "two", "b", "ox"]);
    let cache = bench.build(2).unwrap();
    assert_eq!(cache.lengths(), [3, 3, 3, 2]);
    assert_eq!((cache.len(), cache.is_empty()), (4, false));
    let row = cache.row(0).unwrap();
    assert_eq!(row.ids, [97_000, 104_000, 97_000]);
    assert_eq!(row.weights, [1.0, 0.0, 1.0]);
    let places: Vec<(u64, u64, u32)> =
        (0..4).map(|row| cache.info(row)).map(|info| (info.example, info.line, info.supervised)).collect();
    assert_eq!(places, [(0, 1, 2), (1, 2, 1), (1, 2, 1), (3, 4, 1)]);
    assert_eq!(cache.info(1).prompt_key, cache.info(2).prompt_key);
    assert_ne!(cache.info(0).prompt_key, cache.info(1).prompt_key);
}

#[test]
fn outcomes_are_counted_and_kept() {
    let mut bench = Bench::of(
        "{\"text\":\"aha\"}\n{\"text\":\"none\"}\n{\"text\":\"cut\"}\nbroken\n{\"text\":\"fail\"}\n{\"text\":\"xyz\"}\n",
    );
    bench.options.skip_bad_rows = true;
    let built = bench.build(2).unwrap().outcomes().clone();
    assert_eq!((built.rows, built.truncated, built.too_long, built.unsupervised), (2, 1, 0, 2));
    assert_eq!((built.tokens, built.supervised_tokens), (6, 3));
    assert_eq!(built.records.rows, 4);
    let bad: Vec<(ProblemKind, u64)> = built.records.bad.iter().map(|bad| (bad.kind, bad.first_line)).collect();
    assert_eq!(bad, [(ProblemKind::NotJson, 4), (ProblemKind::Encode, 5)]);
    assert_eq!(bench.build(2).unwrap().outcomes(), &built, "found again with the same counts");
}

/// Builds what must fail; nothing may stay behind.
fn check_error(bench: &Bench, mentions: &[&str]) {
    let message = bench.build(2).map(|_| ()).unwrap_err().to_string();
    for mention in mentions {
        assert!(message.contains(mention), "{mention:?} is not in {message:?}");
    }
    assert!(!bench.folder.path().join("cache").exists());
}

#[test]
fn builds_that_fail_leave_nothing() {
    check_error(&Bench::new(&["aha", "fail"]), &["data.jsonl, line 2: it failed"]);
    check_error(&Bench::of("{\"text\":\"aha\"}\nbroken"), &["line 2", "not valid JSON"]);
    check_error(&Bench::new(&["none", "xyz"]), &["2 have no supervised token"]);
    let mut bench = Bench::new(&["fail"]);
    bench.options.skip_bad_rows = true;
    check_error(&bench, &["all 1 rows were left out", "it failed"]);
}

#[test]
fn cache_is_found_by_content_alone() {
    let bench = Bench::new(&["aha", "b", "ox"]);
    let encoded = |bench: &Bench| bench.encoded.load(Ordering::Relaxed);
    bench.build(1).unwrap();
    assert_eq!(encoded(&bench), 3);
    bench.build(2).unwrap();
    assert_eq!(encoded(&bench), 3, "found, not built again");
    let other_name = bench.folder.path().join("renamed");
    fs::copy(&bench.files()[0], &other_name).unwrap();
    let parts = [("tokenizer", "bytes")];
    let key = |files: &[PathBuf], options: &ReadOptions, parts: &[(&str, &str)]| {
        DataHashes::of(files, &|_| ControlFlow::Continue(())).unwrap().key(options, parts)
    };
    assert_eq!(key(std::slice::from_ref(&other_name), &bench.options, &parts), bench.key());
    assert_ne!(key(&bench.files(), &bench.options, &[("tokenizer", "other")]), bench.key());
    assert_ne!(key(&bench.files(), &ReadOptions { skip_bad_rows: true, ..Default::default() }, &parts), bench.key());
    assert_ne!(key(&[bench.files(), bench.files()].concat(), &bench.options, &parts), bench.key());
    fs::write(&other_name, "{}").unwrap();
    assert_ne!(key(&[other_name], &bench.options, &parts), bench.key());
}

/// Caches are found again by these keys after an upgrade, too: an option that is new leaves them as they are at its default. They change
/// with `READER` alone.
#[test]
fn keys_are_the_same_in_every_version() {
    let columns = [("prompt", "q"), ("response", "a"), ("reasoning", "r"), ("system", "s")];
    let keys = [
        ReadOptions::default(),
        ReadOptions { columns: Some(ColumnMap::from_parts(columns).unwrap()), ..ReadOptions::default() },
        ReadOptions { skip_bad_rows: true, max_row_bytes: 1000, ..ReadOptions::default() },
    ]
    .map(|options| Bench { options, ..Bench::new(&["aha"]) }.key().to_string());
    assert_eq!(
        keys,
        ["3ee58d7bc6e7a476d8b3abe8afe35de3", "8bf4c15086178bf9470f711bfcfcc4d7", "a76f9fec3f862ba74873f2a2ea62d20b"]
    );
}

#[test]
fn a_new_cache_takes_the_place_of_an_older_one() {
    let bench = Bench::new(&["aha", "ox"]);
    let older = bench.build(1).unwrap();
    let older_path = bench.path();
    let stranger = older_path.with_file_name("notes.rows");
    fs::write(&stranger, "mine").unwrap();

    fs::write(&bench.files()[0], "broken").unwrap();
    bench.build(1).unwrap_err();
    assert!(older_path.exists(), "what could not be replaced stays");

    fs::write(&bench.files()[0], "{\"text\":\"eel\"}\n").unwrap();
    bench.build(1).unwrap();
    let mut left: Vec<PathBuf> =
        fs::read_dir(bench.folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    let mut expected = [bench.path(), stranger];
    expected.sort();
    assert_eq!(left, expected);
    assert!(!cfg!(unix) || older.row(1).unwrap().ids == [111_000, 120_000], "what is open can be read to its end");
}

#[test]
fn a_build_can_be_broken_off() {
    let texts = vec!["aha"; 5000];
    let bench = Bench::new(&texts);
    let folder = bench.folder.path().join("cache");
    let mut asked = 0;
    let mut stop_at_second = |_| {
        asked += 1;
        if asked == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let records = || open(&bench.files(), &bench.options);
    let stopped = Cache::open_or_build(&folder, bench.key(), 2, records, encode, &mut stop_at_second);
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(asked, 2);
    assert!(!folder.exists());
}

#[test]
fn threads_change_nothing() {
    let texts: Vec<String> = (0..5000).map(|number| format!("row {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let files = [1, 3].map(|threads| {
        let bench = Bench::new(&texts);
        let mut steps = Vec::new();
        let records = || open(&bench.files(), &bench.options);
        let folder = bench.folder.path().join("cache");
        Cache::open_or_build(&folder, bench.key(), threads, records, encode, &mut |step| {
            steps.push(step);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(steps.last().unwrap().records, 5000);
        // Before the first batch nothing is done, and what was read ahead of the last is not.
        assert_eq!((steps[0].records, steps[0].bytes_read), (0, 0));
        let before_last = &steps[steps.len() - 2];
        assert!(before_last.bytes_read < before_last.bytes_total && before_last.records < 5000, "{before_last:?}");
        assert!(steps.len() >= 4 && steps.is_sorted_by_key(|step| step.bytes_read), "{steps:?}");
        fs::read(bench.path()).unwrap()
    });
    assert!(files[0] == files[1], "the files differ");
}

#[test]
fn torn_and_foreign_files_are_built_again() {
    let bench = Bench::new(&["aha", "b", "ox"]);
    let cache = bench.build(1).unwrap();
    let good = fs::read(bench.path()).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..good.len()).step_by(7).map(|length| good[..length].to_vec()).collect();
    damages.push([&good[..], b"x"].concat());
    damages.push(b"something else altogether".repeat(20));
    // Every byte behind the rows is covered; rows are checked when read.
    let rows_end = cache.file.rows_end() as usize;
    damages.extend((rows_end..good.len()).map(|at| {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        damaged
    }));
    for damaged in damages {
        fs::write(bench.path(), &damaged).unwrap();
        bench.build(1).unwrap();
        assert!(fs::read(bench.path()).unwrap() == good, "{} bytes", damaged.len());
    }
}

#[test]
fn damaged_rows_are_refused() {
    let bench = Bench::new(&["aha", "ox"]);
    let cache = bench.build(1).unwrap();
    let mut bytes = fs::read(bench.path()).unwrap();
    bytes[1] ^= 1;
    fs::write(bench.path(), &bytes).unwrap();
    let message = cache.row(0).unwrap_err().to_string();
    assert!(message.contains("row 0 is damaged") && message.contains("delete this file"), "{message}");
    assert!(cache.row(1).is_ok());
    fs::write(bench.path(), &bytes[..40]).unwrap();
    assert!(cache.row(1).unwrap_err().to_string().contains("cut off"));
}

#[test]
fn two_builders_share_the_work() {
    let bench = Bench::new(&["aha", "b", "ox"]);
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.build(1).unwrap().len())).collect();
        assert!(builders.into_iter().all(|builder| builder.join().unwrap() == 2));
    });
    assert_eq!(bench.encoded.load(Ordering::Relaxed), 3, "one built, the others waited");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_row_survives(rows in prop::collection::vec(
        prop::collection::vec((any::<u32>(), prop::sample::select(vec![0.0f32, 1.0, -0.0, 0.25, f32::MIN_POSITIVE])), 1..40),
        1..6,
    )) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.rows");
        let key = CacheKey([7; 32]);
        // Every other row has one.
        let context_of = |number: usize, ids: &[u32]| ids.iter().rev().copied().take(number % 2 * ids.len()).collect::<Vec<_>>();
        let split = |row: &[(u32, f32)]| -> (Vec<u32>, Vec<f32>) { row.iter().copied().unzip() };
        atomic::write_file::<Error>(&path, |output| {
            let mut writer = file::RowWriter::new(output);
            for (number, row) in rows.iter().enumerate() {
                let (ids, weights) = split(row);
                let info = RowInfo {
                    tokens: ids.len() as u32,
                    supervised: 1,
                    example: number as u64,
                    prompt_key: PromptKey(u128::MAX),
                    file_index: 3,
                    line: u64::MAX,
                };
                let context = context_of(number, &ids);
                writer.push(&ids, &weights, &context, info)?;
            }
            writer.finish(key, &Outcomes::default())
        })
        .unwrap();
        prop_assert!(file::RowFile::open(&path, CacheKey([8; 32])).unwrap().is_none(), "another key");
        let file = file::RowFile::open(&path, key).unwrap().unwrap();
        prop_assert_eq!(file.len(), rows.len());
        for (number, row) in rows.iter().enumerate() {
            let (ids, weights) = split(row);
            let read = file.row(number).unwrap();
            prop_assert_eq!(read.context, context_of(number, &ids));
            prop_assert_eq!(read.ids, ids);
            let bits = |weights: &[f32]| weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read.weights), bits(&weights));
            prop_assert_eq!(read.info.example, number as u64);
        }
    }
}
