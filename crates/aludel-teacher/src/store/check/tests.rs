//! Damage of every kind is told: bits that flip anywhere in the file, rows that change or vanish behind the writer's back. What
//! was whole comes out as it went in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_text::message::Message;
use rusqlite::Connection;
use serde_json::json;

use super::super::row_hash::TRACES;
use super::super::*;
use aludel_data::dataset::Provenance;
use aludel_data::finish_reason::Finish;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("traces.db")
    }

    fn edit(&self, sql: &str) {
        let connection = Connection::open(self.store()).unwrap();
        connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
    }

    fn export(&self, name: &str) -> Result<Vec<u8>, Error> {
        let rows = Rows::open(&self.path(name), false)?;
        export(&rows, &self.path("out.jsonl"))?;
        Ok(fs::read(self.path("out.jsonl")).unwrap())
    }

    fn damage(&self) -> Damage {
        Snapshot::open(&self.store()).unwrap().check().unwrap()
    }
}

fn prompts() -> impl Iterator<Item = Result<Prompt, Error>> {
    (1..=20).map(|line| {
        let provenance = Provenance { file: Arc::from(Path::new("prompts.jsonl")), file_index: 0, line };
        let columns = json!({"gold": line}).as_object().unwrap().clone();
        Ok(Prompt { messages: vec![Message::user(format!("What is {line}?"))], columns: columns.into(), provenance })
    })
}

/// Answers all that is missing, and says how much that was.
fn fill(store: &Store) -> usize {
    let mut missing = store.register(prompts(), &RequestParams::new("teacher"), 1).unwrap();
    let mut count = 0;
    loop {
        let wanted = missing.next(64).unwrap();
        count += wanted.len();
        if wanted.is_empty() {
            return count;
        }
        for wanted in wanted {
            let (run, prompt, sample) = wanted.id();
            let answer = Answer {
                reasoning: Some(format!("reasons of {prompt} ").repeat(if prompt == 7 { 900 } else { 20 })),
                content: format!("answer {run} {prompt} {sample}"),
                finish: if prompt == 9 { Finish::Length } else { Finish::Stop },
                prompt_tokens: Some(3),
                completion_tokens: Some(5),
                model: Some("scripted".to_string()),
                logprobs: (prompt % 4 == 0).then(|| json!({"content": [{"token": "a", "logprob": -0.5}]})),
                first_token_ms: 1,
                elapsed_ms: 2,
                hides_reasoning: false,
                unread: Vec::new(),
            };
            let outcome = TraceOutcome::Answered { answer, cost: Some(0.25) };
            let row = TraceRow { wanted: wanted.id(), outcome, endpoint: "http://localhost".to_string(), attempts: 1 };
            store.writer().put_and_wait(row).unwrap();
        }
    }
}

/// A store of twenty traces.
fn filled() -> Bench {
    let bench = Bench::new();
    assert_eq!(fill(&Store::open(&bench.store()).unwrap()), 20);
    assert_eq!(bench.damage(), Damage::default());
    bench
}

#[test]
fn a_flipped_bit_anywhere_is_named_or_changes_nothing() {
    let bench = filled();
    let whole = bench.export("traces.db").unwrap();
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 20);
    let bytes = fs::read(bench.store()).unwrap();
    let mut state = 7u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * below as u128) >> 64) as usize
    };
    let mut told = 0;
    for number in 0..300 {
        // A third of them where SQLite keeps its own records.
        let at = if number % 3 == 0 { draw(bytes.len() / 4096) * 4096 + draw(128) } else { draw(bytes.len()) };
        let bit = draw(8);
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(bench.path("flipped.db"), flipped).unwrap();
        match bench.export("flipped.db") {
            Ok(rows) => assert!(rows == whole, "byte {at}, bit {bit}: other rows without a word"),
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains("flipped.db: ") && words.contains("; "), "byte {at}, bit {bit}: {words}");
                told += 1;
            }
        }
        for name in ["flipped.db-wal", "flipped.db-shm"] {
            let _ = fs::remove_file(bench.path(name));
        }
    }
    assert!(told >= 60, "{told} of 300");
}

#[test]
fn a_trace_that_changed_is_named_left_out_and_asked_again() {
    let bench = filled();
    let whole = bench.export("traces.db").unwrap();
    for column in row_hash::TRACES.columns.iter().filter(|column| !["run", "prompt", "sample"].contains(column)) {
        let value = match *column {
            "status" => "'failed'".to_string(),
            _ => format!("coalesce({column}, 1) || '2'"),
        };
        bench.edit(&format!("UPDATE traces SET {column} = {value} WHERE prompt = 4"));
        let damage = bench.damage();
        assert_eq!(damage.traces.len(), 1, "{column}: {damage:?}");
        assert!(damage.traces[0].name.contains("prompts.jsonl, line 4"), "{damage:?}");
        let refused = bench.export("traces.db").unwrap_err().to_string();
        assert!(refused.contains("line 4") && refused.contains("--replace-damaged"), "{refused}");
        let (rows, told) = Rows::open_damaged(&bench.store(), false).unwrap();
        assert_eq!((export(&rows, &bench.path("rest.jsonl")).unwrap(), &told), (19, &damage));
        let store = Store::open(&bench.store()).unwrap();
        assert_eq!(store.remove_damaged().unwrap(), 1, "{column}");
        assert_eq!(fill(&store), 1);
        drop(store);
        assert_eq!(bench.damage(), Damage::default(), "{column}");
    }
    let rows = |bytes: &[u8]| -> Vec<Value> {
        let lines = str::from_utf8(bytes).unwrap().lines();
        let mut rows: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        // It tells when traces were kept.
        rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("store")));
        rows
    };
    assert_eq!(rows(&bench.export("traces.db").unwrap()), rows(&whole));
}

#[test]
fn rows_that_vanish_are_missed() {
    let bench = filled();
    bench.edit("DELETE FROM traces WHERE prompt = 3");
    assert_eq!(bench.damage(), Damage::default(), "whoever deletes a row by hand is not told that it is gone");
    assert_eq!(fill(&Store::open(&bench.store()).unwrap()), 1);
    bench.edit(
        "CREATE TABLE kept AS SELECT sql FROM sqlite_schema WHERE name = 'traces_removed'; DROP TRIGGER traces_removed",
    );
    bench.edit("DELETE FROM traces WHERE prompt = 3");
    let sql: String =
        Connection::open(bench.store()).unwrap().query_row("SELECT sql FROM kept", [], |row| row.get(0)).unwrap();
    bench.edit(&format!("{sql}; DROP TABLE kept"));
    let words = bench.export("traces.db").unwrap_err().to_string();
    assert!(words.contains("19 complete traces of run 1 were written, and 18 are there"), "{words}");
    let store = Store::open(&bench.store()).unwrap();
    assert_eq!((store.remove_damaged().unwrap(), fill(&store)), (0, 1));
    drop(store);
    assert_eq!(bench.damage(), Damage::default());
    bench.edit("DELETE FROM prompts WHERE id = 5");
    let damage = bench.damage();
    assert_eq!(damage.traces.len(), 1, "{damage:?}");
    let store = Store::open(&bench.store()).unwrap();
    assert_eq!((store.remove_damaged().unwrap(), fill(&store)), (1, 1));
    drop(store);
    assert_eq!(bench.damage(), Damage::default());
}

#[test]
fn prompts_and_settings_that_changed_are_written_anew_by_the_next_run() {
    for (sql, traces, words) in [
        ("UPDATE prompts SET columns = '{\"gold\":6}' WHERE id = 5", 1, "the prompt of prompts.jsonl, line 5"),
        ("UPDATE prompts SET messages = replace(messages, 'What', 'Whbt') WHERE id = 5", 1, "line 5 is not as it was"),
        ("UPDATE prompts SET messages = '[', digest = '' WHERE id = 5", 1, "line 5 is not as it was"),
        ("UPDATE runs SET settings = '{' WHERE id = 1", 20, "the run of the teacher `teacher`"),
        ("UPDATE runs SET hash = 'x', teacher = 'b'", 20, "the run of the teacher `b`"),
    ] {
        let bench = filled();
        let whole = bench.export("traces.db").unwrap();
        bench.edit(sql);
        let damage = bench.damage();
        assert_eq!((damage.traces.len(), damage.other.len()), (traces, 1), "{sql}: {damage:?}");
        let refused = bench.export("traces.db").unwrap_err().to_string();
        assert!(refused.contains(words), "{sql}: {refused}");
        let (rows, _) = Rows::open_damaged(&bench.store(), false).unwrap();
        assert_eq!(export(&rows, &bench.path("rest.jsonl")).unwrap(), 20 - traces as u64, "{sql}");
        let store = Store::open(&bench.store()).unwrap();
        assert_eq!((store.remove_damaged().unwrap(), fill(&store)), (0, 0), "{sql}: nothing is paid twice");
        drop(store);
        assert_eq!(bench.damage(), Damage::default(), "{sql}");
        assert_eq!(bench.export("traces.db").unwrap(), whole, "{sql}");
    }
}

/// The triggers keep the counts: what tells is that answers are there which nobody wanted. Registering wants them again, and pays
/// for nothing twice.
#[test]
fn rows_of_what_is_wanted_that_vanish_or_say_less_are_told() {
    for (sql, words) in [
        ("DELETE FROM wanted WHERE prompt = 5", "run 1 has 1 answer to 1 prompt that the table `wanted` does not name"),
        ("DELETE FROM wanted", "run 1 has 20 answers to 20 prompts that the table `wanted` does not name"),
        ("UPDATE wanted SET samples = 0 WHERE prompt IN (9, 10)", "run 1 has 2 answers to 2 prompts"),
    ] {
        let bench = filled();
        let whole = bench.export("traces.db").unwrap();
        bench.edit(sql);
        let damage = bench.damage();
        assert_eq!((damage.traces.len(), damage.other.len()), (0, 1), "{sql}: {damage:?}");
        assert!(damage.words().contains(words), "{sql}: {damage:?}");
        assert!(bench.export("traces.db").unwrap_err().to_string().contains(words), "{sql}");
        let store = Store::open(&bench.store()).unwrap();
        assert_eq!((store.remove_damaged().unwrap(), fill(&store)), (0, 0), "{sql}");
        drop(store);
        assert_eq!(bench.damage(), Damage::default(), "{sql}");
        assert_eq!(bench.export("traces.db").unwrap(), whole, "{sql}");
    }
}

/// Curation says what to do, and an export leaves the older file as it was.
#[test]
fn a_store_without_traces_is_no_input_and_its_export_replaces_nothing() {
    let bench = Bench::new();
    drop(Store::open(&bench.store()).unwrap());
    let error = crate::store::Inputs::open(&[bench.store()], &Default::default()).err().unwrap().to_string();
    assert!(error.contains("traces.db: this store holds no traces yet; collect some with `aludel trace"), "{error}");
    let rows = Rows::open(&bench.store(), true).unwrap();
    for name in ["out.jsonl", "out.parquet"] {
        assert_eq!(export(&rows, &bench.path(name)).unwrap(), 0);
        assert!(!bench.path(name).exists());
        fs::write(bench.path(name), "older").unwrap();
        assert_eq!(export(&rows, &bench.path(name)).unwrap(), 0);
        assert_eq!(fs::read(bench.path(name)).unwrap(), b"older");
    }
    assert_eq!(
        fs::read_dir(bench.0.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().contains("out.") })
            .count(),
        2,
        "nothing is left beside them"
    );
}

/// A store as it was before rows carried digests.
fn of_before(bench: &Bench) {
    let (prompts, runs, traces) = ("prompts", "runs", "traces");
    let triggers: String = [
        "prompts_added",
        "prompts_removed",
        "runs_added",
        "runs_removed",
        "wanted_added",
        "wanted_changed",
        "wanted_removed",
        "traces_added",
        "traces_changed",
        "traces_removed",
    ]
    .map(|name| format!("DROP TRIGGER {name};"))
    .concat();
    let columns = [prompts, runs, traces].map(|table| format!("ALTER TABLE {table} DROP COLUMN digest;")).concat();
    bench.edit(&format!("{triggers} DROP TABLE counts; {columns} PRAGMA user_version = 1"));
}

#[test]
fn stores_of_before_are_read_as_they_are_and_then_carry_digests() {
    let bench = filled();
    let whole = bench.export("traces.db").unwrap();
    of_before(&bench);
    let damage = bench.damage();
    assert_eq!((damage.without_hash, damage.is_none()), (20, true), "{damage:?}");
    assert_eq!(bench.export("traces.db").unwrap(), whole);
    let bytes = fs::read(bench.store()).unwrap();
    assert_eq!(fill(&Store::open(&bench.store()).unwrap()), 0);
    assert_eq!(bench.damage(), Damage::default());
    assert_eq!(bench.export("traces.db").unwrap(), whole);
    bench.edit("UPDATE traces SET content = 'other' WHERE prompt = 2");
    assert_eq!(bench.damage().traces.len(), 1);
    // What refers to each other is seen without digests, too.
    fs::write(bench.store(), bytes).unwrap();
    bench.edit(
        "UPDATE traces SET prompt = 21, sample = 3 WHERE prompt = 2; UPDATE prompts SET messages = '[]' WHERE id = 5",
    );
    let damage = bench.damage();
    assert_eq!(damage.traces.len(), 2, "{damage:?}");
    assert!(damage.other.iter().any(|words| words.contains("1 row of traces refers to rows of prompts")), "{damage:?}");
}

/// Before version 3 a cost of 0 stood for an unknown price, too.
#[test]
fn costs_of_before_that_are_0_are_of_an_unknown_price() {
    let bench = filled();
    let whole = bench.export("traces.db").unwrap();
    bench.edit(
        "UPDATE traces SET cost = 0 WHERE prompt > 15; PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'cost REAL,', 'cost REAL NOT NULL,') WHERE name = 'traces';
         PRAGMA writable_schema = RESET",
    );
    // Digests are those of what is there now.
    let connection = rusqlite::Connection::open(bench.store()).unwrap();
    TRACES.add_digests(&connection).unwrap();
    connection.execute_batch("PRAGMA user_version = 2").unwrap();
    assert!(
        connection.execute("UPDATE traces SET cost = NULL", []).is_err(),
        "version 2 knows no cost that is unknown"
    );
    drop(connection);
    let costs = || {
        let status = Snapshot::open(&bench.store()).unwrap().status().unwrap();
        (status.cost, status.unpriced)
    };
    assert_eq!((bench.damage(), costs()), (Damage::default(), (Some(3.75), 5)));
    assert_eq!(fill(&Store::open(&bench.store()).unwrap()), 0);
    assert_eq!((bench.damage(), costs()), (Damage::default(), (Some(3.75), 5)));
    let connection = rusqlite::Connection::open(bench.store()).unwrap();
    let unknown =
        connection.query_row("SELECT count(*) FROM traces WHERE cost IS NULL", [], |row| row.get::<_, i64>(0));
    assert_eq!(unknown.unwrap(), 5);
    assert_eq!(bench.export("traces.db").unwrap(), whole);
}

#[test]
fn counts_that_cannot_be_break_no_sum() {
    let bench = filled();
    bench.edit("UPDATE traces SET prompt_tokens = 9223372036854775807, completion_tokens = -1 WHERE prompt <> 4");
    of_before(&bench);
    let rows = str::from_utf8(&bench.export("traces.db").unwrap()).unwrap().matches("\"usage\":").count();
    assert_eq!(rows, 1, "usage is that of the one trace that has some");
    let store = Store::open(&bench.store()).unwrap();
    let status = store.snapshot().unwrap().status().unwrap();
    assert_eq!((status.cost, status.tokens.prompt + status.tokens.completion), (Some(5.0), 8));
    let taken =
        store.taken_by(&prompts().map(Result::unwrap).collect::<Vec<_>>(), &RequestParams::new("teacher")).unwrap();
    assert_eq!(taken.iter().map(|taken| taken.prompt_tokens).sum::<u64>(), 3);
}

#[test]
fn an_answer_of_whatever_counts_is_kept() {
    let bench = Bench::new();
    let store = Store::open(&bench.store()).unwrap();
    let wanted = store.register(prompts().take(1), &RequestParams::new("teacher"), 1).unwrap().next(1).unwrap();
    let answer = Answer {
        reasoning: None,
        content: "a\0b".to_string(),
        finish: Finish::Stop,
        prompt_tokens: Some(u64::MAX),
        completion_tokens: Some(i64::MAX as u64),
        model: None,
        logprobs: None,
        first_token_ms: u64::MAX,
        elapsed_ms: 1 << 63,
        hides_reasoning: false,
        unread: Vec::new(),
    };
    let outcome = TraceOutcome::Answered { answer, cost: Some(f64::NAN) };
    let row = TraceRow { wanted: wanted[0].id(), outcome, endpoint: String::new(), attempts: u32::MAX };
    store.writer().put_and_wait(row).unwrap();
    drop(store);
    assert_eq!(bench.damage(), Damage::default());
    let status = Snapshot::open(&bench.store()).unwrap().status().unwrap();
    assert_eq!((status.complete, status.tokens, status.cost), (1, TokenCounts::default(), None));
}

#[test]
fn errors_tell_a_full_disk_from_a_value() {
    let failed = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let words = |error| open::wrong(Path::new("traces.db"), error).to_string();
    assert!(words(failed(rusqlite::ffi::SQLITE_FULL)).contains("free some space"));
    assert!(words(failed(rusqlite::ffi::SQLITE_READONLY)).contains("make the file and its folder writable"));
    assert!(words(failed(rusqlite::ffi::SQLITE_BUSY)).contains("another process is holding it"));
    let out_of_range = rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX);
    for error in [failed(rusqlite::ffi::SQLITE_MISMATCH), failed(rusqlite::ffi::SQLITE_TOOBIG), out_of_range] {
        let words = words(error);
        assert!(words.contains("the disk is not at fault but a value") && !words.contains("room"), "{words}");
    }
}
