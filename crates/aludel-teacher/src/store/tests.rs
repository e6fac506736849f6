//! The store from the outside: what is acknowledged is seen by others, what is missing is asked once, what is no store is
//! refused, and what comes out is what went in.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::owner::Owner;
use super::*;
use aludel_data::dataset::{Content, Provenance, ReadOptions};
use aludel_data::finish_reason::Finish;
use aludel_data::trace::TraceSource;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.path("traces.db")).unwrap()
    }
}

fn prompt(number: u64, text: &str) -> Prompt {
    let provenance = Provenance { file: Arc::from(Path::new("prompts.jsonl")), file_index: 0, line: number };
    let columns = json!({"gold": number.to_string()}).as_object().unwrap().clone().into();
    Prompt { messages: vec![Message::user(text)], columns, provenance }
}

fn prompts(count: u64) -> Vec<Prompt> {
    (1..=count).map(|number| prompt(number, &format!("What is {number}?"))).collect()
}

fn missing(store: &Store, prompts: &[Prompt], samples: u32) -> MissingTraces {
    store.register(prompts.iter().cloned().map(Ok), &RequestParams::new("teacher"), samples).unwrap()
}

fn answer(content: &str, finish: Finish) -> Answer {
    Answer {
        reasoning: Some("because".to_string()),
        hides_reasoning: false,
        unread: Vec::new(),
        content: content.to_string(),
        finish,
        prompt_tokens: Some(3),
        completion_tokens: Some(5),
        model: None,
        logprobs: None,
        first_token_ms: 1,
        elapsed_ms: 2,
    }
}

fn row(wanted: &MissingTrace, outcome: TraceOutcome) -> TraceRow {
    TraceRow { wanted: wanted.id(), outcome, endpoint: "http://localhost".to_string(), attempts: 1 }
}

fn answered(wanted: &MissingTrace, content: &str, finish: Finish) -> TraceRow {
    row(wanted, TraceOutcome::Answered { answer: answer(content, finish), cost: Some(0.25) })
}

fn put(store: &Store, row: TraceRow) {
    store.writer().put_and_wait(row).unwrap();
}

fn status(store: &Store) -> Status {
    store.snapshot().unwrap().status().unwrap()
}

#[test]
fn what_is_acknowledged_is_there_for_others_at_once() {
    let bench = Bench::new();
    let store = bench.store();
    let wanted = missing(&store, &prompts(300), 1).next(300).unwrap();
    assert_eq!(wanted.len(), 300);
    let other = rusqlite::Connection::open(bench.path("traces.db")).unwrap();
    let count = || other.query_row("SELECT count(*) FROM traces", [], |row| row.get::<_, u64>(0)).unwrap();
    for (index, wanted) in wanted.iter().take(3).enumerate() {
        put(&store, answered(wanted, "one", Finish::Stop));
        assert_eq!(count(), index as u64 + 1);
    }
    let writer = store.writer();
    let pending: Vec<_> = wanted[3..].iter().map(|wanted| writer.put(answered(wanted, "x", Finish::Stop))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut acknowledged, mut seen) = (3, 0);
    for pending in pending {
        runtime.block_on(pending).unwrap();
        acknowledged += 1;
        seen = count();
        assert!(seen >= acknowledged, "{acknowledged} acknowledged and {seen} there");
    }
    assert_eq!(seen, 300);
}

#[test]
fn only_what_is_missing_is_asked_and_only_once() {
    let bench = Bench::new();
    let store = bench.store();
    let mut list = missing(&store, &[prompts(3), prompts(2)].concat(), 2);
    assert_eq!(list.count, 6, "prompts that say the same count once");
    let first = list.next(4).unwrap();
    let places: Vec<(&str, u32)> =
        first.iter().map(|wanted| (wanted.messages[0].content.as_str(), wanted.sample)).collect();
    assert_eq!(places, [("What is 1?", 0), ("What is 1?", 1), ("What is 2?", 0), ("What is 2?", 1)]);
    for wanted in &first[1..] {
        put(&store, answered(wanted, "a", Finish::Stop));
    }
    // A second handle gets what neither is there nor claimed, and what was claimed once its owner has left.
    let second = bench.store();
    let mut rest = missing(&second, &prompts(3), 2);
    assert_eq!((rest.count, rest.next(9).unwrap().len(), rest.next(9).unwrap().len()), (3, 2, 0));
    assert_eq!((status(&second).claimed, status(&second).missing), (3, 3));
    drop((list, store));
    assert_eq!(rest.next(9).unwrap(), first[..1]);
    // Other settings are other traces.
    let asking = RequestParams { temperature: 0.7, ..RequestParams::new("teacher") };
    assert_eq!(second.register(prompts(3).into_iter().map(Ok), &asking, 1).unwrap().count, 3);
    assert_eq!(second.taken_by(&prompts(3), &RequestParams::new("teacher")).unwrap().len(), 1);
}

#[test]
fn answers_are_wanted_from_the_first_one_on() {
    let bench = Bench::new();
    let (store, second) = (bench.store(), bench.store());
    let mut list = missing(&store, &prompts(3), 2);
    let other = missing(&second, &prompts(5), 1);
    let first = list.next(1).unwrap();
    assert_eq!((list.count, list.has_answers, status(&store).wanted, status(&store).runs.len()), (6, false, 0, 0));
    put(&store, row(&first[0], TraceOutcome::Refused { words: "no".to_string() }));
    assert_eq!((status(&store).wanted, status(&store).failed), (0, 1), "a refusal may be of the model");
    let next = list.next(1).unwrap();
    put(&store, answered(&next[0], "a", Finish::Stop));
    assert_eq!((status(&store).wanted, status(&store).missing), (6, 4));
    // Another process learns it with its own first answer, and a later list at once.
    drop(other);
    assert!(missing(&second, &prompts(5), 1).has_answers);
    assert_eq!((status(&store).wanted, status(&store).prompts), (8, 5));
    // The first sample of the first prompt is there, as one that was refused.
    assert_eq!(second.lacks(prompts(7).into_iter().map(Ok), &RequestParams::new("teacher"), 1).unwrap(), 6);
    assert_eq!(status(&store).wanted, 8, "what is only counted is not wanted");
}

/// All that a message says of tools is kept, and is a part of the key.
#[test]
fn messages_keep_what_they_say_of_tools() {
    let conversation = json!([
        {"role": "user", "content": "a", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "b", "tool_call_id": "c", "name": "f"},
    ]);
    let messages: Vec<Message> = serde_json::from_value(conversation).unwrap();
    let kept = |messages: &[Message]| registered(&Prompt { messages: messages.to_vec(), ..prompt(1, "") });
    let whole = kept(&messages);
    assert_eq!(serde_json::from_str::<Vec<Message>>(&whole.messages).unwrap(), messages);
    for (index, changed) in [
        (0, Message { tools: Vec::new(), ..messages[0].clone() }),
        (1, Message { is_content_null: false, ..messages[1].clone() }),
        (2, Message { tool_call_id: None, ..messages[2].clone() }),
        (2, Message { tool_name: None, ..messages[2].clone() }),
    ] {
        let mut others = messages.clone();
        others[index] = changed;
        assert_ne!(kept(&others).hash, whole.hash);
    }
}

/// Stores that were written by earlier versions are asked by these keys.
#[test]
fn keys_are_the_same_in_every_version() {
    let settings = r#"{"extra_body":{},"logprobs":false,"max_tokens":null,"model":"teacher","seed":null,"temperature":0.6,"top_logprobs":null,"top_p":0.95}"#;
    assert_eq!(
        run_of(&RequestParams::new("teacher")),
        ("341ec593045bbb0a31d11f717dc9b1ce".to_string(), settings.to_string())
    );
    let messages = vec![Message::system("a"), Message::user("b"), Message::assistant("c").with_reasoning("d")];
    let registered = registered(&Prompt { messages, ..prompt(1, "") });
    let text = r#"[{"role":"system","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c","reasoning_content":"d"}]"#;
    assert_eq!((registered.messages.as_str(), registered.hash.as_str()), (text, "84cf6a8b28307982b544aba8eab27a8f"));
}

#[test]
fn claims_of_a_process_that_is_gone_are_taken_over() {
    let bench = Bench::new();
    let store = bench.store();
    let mut list = missing(&store, &prompts(2), 1);
    let here = Owner::of_this_process();
    let dead = |owner: &Owner, lease: i64| {
        let other = rusqlite::Connection::open(bench.path("traces.db")).unwrap();
        let insert = "INSERT INTO owners (host, pid, started, lease) VALUES (?1, ?2, ?3, ?4)";
        other.execute(insert, rusqlite::params![owner.host, owner.pid, owner.started, lease]).unwrap();
        let owner = other.last_insert_rowid();
        let claim = "INSERT INTO claims SELECT runs.id, prompts.id, 0, ?1 FROM runs, prompts ORDER BY 2 LIMIT 1";
        other.execute(claim, [owner]).unwrap();
    };
    let far = owner::now_ms() + 1_000_000;
    // The same number given again, a machine that is silent for too long, and one that is not.
    dead(&Owner { started: "1".to_string(), ..here }, if cfg!(target_os = "linux") { far } else { 0 });
    let wanted = list.next(1).unwrap();
    assert_eq!(wanted[0].messages[0].content, "What is 1?");
    put(&store, answered(&wanted[0], "a", Finish::Stop));
    let elsewhere = |lease| dead(&Owner { host: "elsewhere".to_string(), pid: 1, started: "1".to_string() }, lease);
    let place = |sql: &str| rusqlite::Connection::open(bench.path("traces.db")).unwrap().execute(sql, []).unwrap();
    elsewhere(far);
    assert_eq!(place("UPDATE claims SET prompt = (SELECT max(id) FROM prompts)"), 1);
    assert_eq!(list.next(1).unwrap(), []);
    place("UPDATE owners SET lease = 0 WHERE host = 'elsewhere'");
    assert_eq!(list.next(1).unwrap()[0].messages[0].content, "What is 2?");
}

#[test]
fn a_complete_trace_stays_and_money_counts_for_all() {
    let bench = Bench::new();
    let store = bench.store();
    let wanted = &missing(&store, &prompts(1), 1).next(1).unwrap()[0];
    let refused = || row(wanted, TraceOutcome::Refused { words: "too long".to_string() });
    let now = || {
        let status = status(&store);
        ((status.complete, status.cut, status.failed), status.cost)
    };
    put(&store, refused());
    assert_eq!(now(), ((0, 0, 1), None));
    put(&store, answered(wanted, "half", Finish::Length));
    assert_eq!(now(), ((0, 1, 0), Some(0.25)));
    put(&store, refused());
    assert_eq!(now(), ((0, 1, 0), Some(0.25)));
    put(&store, answered(wanted, "whole", Finish::Stop));
    assert_eq!(now(), ((1, 0, 0), Some(0.5)));
    put(&store, answered(wanted, "another", Finish::Stop));
    let rows: Vec<Value> = Rows::open(store.path(), true).unwrap().iter().map(|row| json!(row.unwrap())).collect();
    assert_eq!((rows.len(), &rows[0]["response"]), (1, &json!("whole")));
    let status = status(&store);
    assert_eq!((status.cost, status.tokens.prompt + status.tokens.completion), (Some(0.5), 8));
}

#[test]
fn a_row_that_cannot_be_written_spoils_no_other() {
    let bench = Bench::new();
    let store = bench.store();
    let wanted = missing(&store, &prompts(2), 1).next(2).unwrap();
    let writer = store.writer();
    let good = writer.put(answered(&wanted[0], "a", Finish::Stop));
    let bad = writer.put(TraceRow { wanted: (99, 99, 0), ..answered(&wanted[0], "b", Finish::Stop) });
    let last = writer.put(answered(&wanted[1], "c", Finish::Stop));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(good).is_ok());
    assert!(matches!(runtime.block_on(bad), Err(Error::Store { .. })));
    assert!(runtime.block_on(last).is_ok());
    assert_eq!(status(&store).complete, 2);
}

#[test]
fn every_text_comes_back_as_it_was() {
    let bench = Bench::new();
    let store = bench.store();
    let texts = [
        "a\0b",
        "\u{1b}[31m\u{7f}\u{202e}",
        "\\ud83d and \\u0000",
        "line\r\nline\u{2028}",
        &"長い".repeat(1_700_000),
        "",
    ];
    let asked: Vec<Prompt> =
        texts.iter().zip(1..).map(|(text, number)| prompt(number, &format!("{number}: {text}"))).collect();
    for (wanted, text) in missing(&store, &asked, 1).next(9).unwrap().iter().zip(texts) {
        let logprobs = Some(json!({"content": [{"token": text, "logprob": -0.5}]}));
        let answer = Answer { reasoning: Some(text.to_string()), logprobs, ..answer(text, Finish::Stop) };
        put(&store, row(wanted, TraceOutcome::Answered { answer, cost: Some(0.0) }));
    }
    // The empty answer is kept, and is none.
    assert_eq!((status(&store).complete, status(&store).cut), (5, 1));
    let rows = Rows::open(store.path(), false).unwrap();
    export(&rows, &bench.path("out.jsonl")).unwrap();
    let snapshot = store.snapshot().unwrap();
    for ((row, text), asked) in rows.iter().zip(texts).zip(asked) {
        let row = json!(row.unwrap());
        assert!(row["response"] == text && row["reasoning"] == text && row["prompt"] == asked.messages[0].content);
        let logprobs = snapshot.logprobs(row["hash"].as_str().unwrap()).unwrap().unwrap();
        assert!(logprobs["content"][0]["token"] == text);
    }
    let read: Vec<_> =
        aludel_data::dataset::open(&[bench.path("out.jsonl")], &ReadOptions::default()).unwrap().collect();
    assert_eq!(read.len(), texts.len());
    for (record, text) in read.into_iter().zip(texts) {
        if text.is_empty() {
            assert!(record.is_err(), "there is nothing to learn in it");
            continue;
        }
        let Content::Messages(messages) = record.unwrap().content else { panic!("a conversation is wanted") };
        assert!(messages[1].content == text);
    }
}

#[test]
fn what_the_row_of_a_prompt_says_is_not_said_of_the_answer() {
    let bench = Bench::new();
    let store = bench.store();
    let marks = json!({"done": false, "label": false, "kto_tag": "false", "truncated": true, "stop_reason": "max_tokens", "aborted": true,
        "metadata": {"finish_reason": "length", "id": 7}, "meta": {"id": 7}, "reasoning_tokens": 7, "code": "x", "choices": ["a"],
        "is_complete": false, "gold": "4", "answer": "4"});
    let columns = marks.as_object().unwrap().clone().into();
    let wanted = missing(&store, &[Prompt { columns, ..prompt(1, "2+2?") }], 1).next(1).unwrap();
    let answer = Answer { reasoning: None, ..answer("4", Finish::Stop) };
    put(&store, row(&wanted[0], TraceOutcome::Answered { answer, cost: Some(0.0) }));
    let rows = Rows::open(store.path(), true).unwrap();
    export(&rows, &bench.path("out.jsonl")).unwrap();
    let mut read = aludel_data::dataset::open(&[bench.path("out.jsonl")], &ReadOptions::default()).unwrap();
    let record = read.next().unwrap().unwrap();
    assert_eq!((record.flaw, read.counts().without_reasoning), (None, 0));
    let trace = rows.traces().unwrap().next().unwrap().unwrap();
    let columns = serde_json::to_value(rows.iter().next().unwrap().unwrap()).unwrap();
    for (name, value) in marks.as_object().unwrap() {
        let kept =
            if ["meta", "gold", "answer"].contains(&name.as_str()) { name.clone() } else { format!("prompt_{name}") };
        assert_eq!(&columns[&kept], value, "{name}");
    }
    drop(trace);
}

/// Complete, cut and failed ones.
fn filled(bench: &Bench) -> Store {
    let store = bench.store();
    for (index, wanted) in missing(&store, &prompts(6), 2).next(12).unwrap().iter().enumerate() {
        put(
            &store,
            match index {
                3 => answered(wanted, "half", Finish::Length),
                7 => row(wanted, TraceOutcome::Refused { words: "no".to_string() }),
                _ => answered(wanted, &format!("answer {index}"), Finish::Stop),
            },
        );
    }
    store
}

#[test]
fn curation_reads_a_store_as_it_reads_its_export() {
    let bench = Bench::new();
    let store = filled(&bench);
    let rows = Rows::open(store.path(), false).unwrap();
    for name in ["traces.jsonl", "traces.parquet"] {
        assert_eq!(export(&rows, &bench.path(name)).unwrap(), 12);
        let read = |paths: &[PathBuf]| -> Vec<_> {
            let inputs = Inputs::open(paths, &ReadOptions::default()).unwrap();
            let traces = inputs.traces().unwrap().map(Result::unwrap);
            traces.map(|trace| (trace.content, trace.columns, trace.origin.line)).collect()
        };
        let (own, exported) = (read(&[bench.path("traces.db")]), read(&[bench.path(name)]));
        assert_eq!(own, exported, "{name}");
        assert_eq!(read(&[bench.path(name), bench.path("traces.db")]), [exported, own].concat());
    }
    let complete = Rows::open(store.path(), true).unwrap();
    assert_eq!(export(&complete, &bench.path("complete.parquet")).unwrap(), 10);
    let first = complete.iter().next().unwrap().unwrap();
    let names: Vec<&str> = first.names().collect();
    let lineage = ["teacher", "sampling", "sample", "usage", "prompt_id", "hash", "store", "gold"];
    assert_eq!(names, [&["prompt", "reasoning", "response", "finish_reason"][..], &lineage].concat());
    let left: Vec<_> = fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_prompt_s_own_columns_take_no_other_s_place() {
    let bench = Bench::new();
    let store = bench.store();
    let mut asked = prompt(1, "Why?");
    asked.columns =
        json!({"hash": 1, "thinking": "old", "messages": [], "answer": "42", "Completion": "old", "text": "old", "question": "old",
            "systemInstruction": "old"})
            .as_object().unwrap().clone().into();
    asked.messages = vec![Message::user("a"), Message::assistant("b"), Message::user("c")];
    put(&store, answered(&missing(&store, &[asked], 1).next(1).unwrap()[0], "new", Finish::Stop));
    let inputs = Inputs::open(&[store.path().to_path_buf()], &ReadOptions::default()).unwrap();
    let trace = inputs.traces().unwrap().next().unwrap().unwrap();
    let Ok(Content::Messages(messages)) = trace.content else { panic!("a conversation is wanted") };
    assert_eq!(messages.last().unwrap(), &Message::assistant("new").with_reasoning("because"));
    assert_eq!(messages.len(), 4);
    let olds = ["prompt_thinking", "prompt_Completion", "prompt_text", "prompt_question", "prompt_systemInstruction"];
    assert!(olds.iter().all(|name| trace.columns.get(name).is_some_and(|value| value.written() == "\"old\"")));
    let columns = ["prompt_hash", "answer"].map(|name| trace.columns.get(name).unwrap().value().unwrap());
    assert_eq!(columns, [json!(1), json!("42")]);
}

#[test]
fn columns_of_prompts_keep_their_text() {
    let bench = Bench::new();
    let store = bench.store();
    let text = r#"{"gold":1180591620717411303424,"price":1.10,"note":"cut \ud83d"}"#;
    let asked = Prompt { columns: serde_json::from_str(text).unwrap(), ..prompt(1, "Why?") };
    put(&store, answered(&missing(&store, &[asked], 1).next(1).unwrap()[0], "new", Finish::Stop));
    export(&Rows::open(store.path(), true).unwrap(), &bench.path("out.jsonl")).unwrap();
    let exported = fs::read_to_string(bench.path("out.jsonl")).unwrap();
    assert!(exported.trim_end().ends_with(&text[1..]), "{exported}");
}

#[test]
fn what_lies_beside_a_store_is_looked_at_before_sqlite_opens_it() {
    let bench = Bench::new();
    drop(bench.store());
    for ending in ["-journal", "-wal", "-shm"] {
        let beside = bench.path(&format!("traces.db{ending}"));
        let _ = std::fs::remove_file(&beside);
        std::fs::create_dir(&beside).unwrap();
        for refused in [Store::open(&bench.path("traces.db")).err(), Snapshot::open(&bench.path("traces.db")).err()] {
            let refused = refused.unwrap().to_string();
            assert!(refused.contains(&format!("traces.db{ending}")) && refused.contains("a folder"), "{refused}");
        }
        std::fs::remove_dir(&beside).unwrap();
    }
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_was() {
    let bench = Bench::new();
    drop(filled(&bench));
    let own = fs::read(bench.path("traces.db")).unwrap();
    let edited = |name: &str, sql: &str| {
        fs::write(bench.path(name), if name == "foreign.db" { &[][..] } else { &own }).unwrap();
        rusqlite::Connection::open(bench.path(name)).unwrap().execute_batch(sql).unwrap();
    };
    edited("newer.db", "PRAGMA user_version = 4");
    edited("foreign.db", "CREATE TABLE songs (name TEXT)");
    fs::write(bench.path("text.db"), "{\"prompt\": \"a\"}\n").unwrap();
    fs::write(bench.path("torn.db"), &own[..own.len() / 2]).unwrap();
    for (name, words) in [
        ("newer.db", "version 4, and this Aludel knows version 3"),
        ("foreign.db", "belongs to another program"),
        ("text.db", "this is no SQLite file"),
        ("torn.db", "malformed"),
        ("", "this is a folder"),
    ] {
        let before = fs::read(bench.path(name)).ok();
        for refused in [Store::open(&bench.path(name)).err(), Snapshot::open(&bench.path(name)).err()] {
            let message = refused.expect(name).to_string();
            assert!(message.contains(words), "{name}: {message}");
        }
        assert_eq!(fs::read(bench.path(name)).ok(), before, "{name}");
    }
    assert!(matches!(Snapshot::open(&bench.path("none.db")), Err(Error::Data(aludel_data::Error::Read { .. }))));
    fs::write(bench.path("empty.db"), "").unwrap();
    assert!(Snapshot::open(&bench.path("empty.db")).is_err());
    assert!(Store::open(&bench.path("empty.db")).is_ok());
    let rows = Rows::open(&bench.path("traces.db"), true).unwrap();
    assert!(matches!(export(&rows, &bench.path("traces.db")), Err(Error::Store { .. })));
}

#[test]
fn the_documented_queries_run() {
    let bench = Bench::new();
    let store = filled(&bench);
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/STORE.md")).unwrap();
    let queries: Vec<&str> = text.split("```sql\n").skip(1).map(|part| part.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 5);
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    for query in queries {
        let mut query = connection.prepare(query).unwrap();
        assert!(query.query([]).unwrap().next().unwrap().is_some(), "an example finds something");
    }
    for table in ["prompts", "runs", "wanted", "traces", "owners", "claims", "counts"] {
        let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        let columns = columns.query_map([table], |row| row.get::<_, String>(0)).unwrap();
        for column in columns.map(Result::unwrap) {
            assert!(text.contains(&format!("`{column}`")), "{table}.{column} is not described");
        }
    }
}
