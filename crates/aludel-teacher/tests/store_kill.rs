//! A process that writes into a store is killed without warning: every row that it saw acknowledged is there afterwards, and what
//! it had claimed is free again.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aludel_data::dataset::{Prompt, Provenance};
use aludel_data::finish_reason::Finish;
use aludel_teacher::client::{Answer, RequestParams};
use aludel_teacher::store::{MissingTraces, Store, TraceOutcome, TraceRow};
use aludel_text::message::Message;

const CHILD: &str = "ALUDEL_TEST_STORE_CHILD";
const PROMPTS: u64 = 2000;

fn register(store: &Store) -> MissingTraces {
    let file: Arc<Path> = Arc::from(Path::new("prompts.jsonl"));
    let prompts = (0..PROMPTS).map(|line| {
        let provenance = Provenance { file: Arc::clone(&file), file_index: 0, line };
        Ok(Prompt { messages: vec![Message::user(format!("{line}?"))], columns: Default::default(), provenance })
    });
    store.register(prompts, &RequestParams::new("teacher"), 1).unwrap()
}

/// Not a test by itself: what the killed process does.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    let mut missing = register(&store);
    loop {
        let batch = missing.next(64).unwrap();
        if batch.is_empty() {
            break;
        }
        std::thread::scope(|scope| {
            for wanted in &batch {
                let writer = store.writer();
                scope.spawn(move || {
                    let asked = wanted.messages[0].content.clone();
                    let answer = Answer {
                        reasoning: None,
                        hides_reasoning: false,
                        unread: Vec::new(),
                        content: asked.clone(),
                        finish: Finish::Stop,
                        prompt_tokens: None,
                        completion_tokens: None,
                        model: None,
                        logprobs: None,
                        first_token_ms: 0,
                        elapsed_ms: 0,
                    };
                    let outcome = TraceOutcome::Answered { answer, cost: None };
                    let row = TraceRow { wanted: wanted.id(), outcome, endpoint: String::new(), attempts: 1 };
                    writer.put_and_wait(row).unwrap();
                    println!("\nkept {asked}");
                    std::io::stdout().flush().unwrap();
                });
            }
        });
    }
}

#[test]
fn a_killed_process_loses_no_acknowledged_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.db");
    let mut acknowledged = HashSet::new();
    for kills in 1..=8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut own = 0;
        for line in lines {
            let Some(kept) = line.strip_prefix("kept ") else { continue };
            assert!(acknowledged.insert(kept.to_string()), "{kept} was asked for again");
            own += 1;
            // What comes after this was written before the end, too.
            if own == 17 * kills {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        let mut find = other.prepare("SELECT content FROM traces").unwrap();
        let kept: Vec<String> = find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let unique: HashSet<String> = kept.iter().cloned().collect();
        assert_eq!(unique.len(), kept.len());
        assert!(acknowledged.is_subset(&unique), "{:?} are lost", acknowledged.difference(&unique).collect::<Vec<_>>());
        acknowledged = unique;
    }
    let store = Store::open(&path).unwrap();
    let claimed = store.snapshot().unwrap().status().unwrap().claimed;
    assert_eq!(claimed, 0, "nobody is there who asks");
    let mut missing = register(&store);
    assert_eq!(missing.count, PROMPTS - acknowledged.len() as u64);
    if cfg!(target_os = "linux") {
        let left = missing.next(PROMPTS as usize).unwrap();
        assert_eq!(left.len() as u64, missing.count, "what the dead had claimed is free");
    }
}
