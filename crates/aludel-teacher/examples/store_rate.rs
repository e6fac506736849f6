//! How many small rows a second go through a store's writer, each waited for by one of many threads:
//! `store_rate FILE ROWS THREADS` prints a line of JSON. The file must not be there yet.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use aludel_data::dataset::{Prompt, Provenance};
use aludel_data::finish_reason::Finish;
use aludel_teacher::client::{Answer, RequestParams};
use aludel_teacher::store::{Store, TraceOutcome, TraceRow};
use aludel_text::message::Message;
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rows, threads] = arguments.as_slice() else { return Err("usage: store_rate FILE ROWS THREADS".into()) };
    let (rows, threads): (u64, usize) = (rows.parse()?, threads.parse()?);
    let store = Store::open(Path::new(file))?;
    let from: Arc<Path> = Arc::from(Path::new("prompts"));
    let prompts = (0..rows).map(|line| {
        let provenance = Provenance { file: Arc::clone(&from), file_index: 0, line };
        Ok(Prompt {
            messages: vec![Message::user(format!("What is {line} + 1?"))],
            columns: Default::default(),
            provenance,
        })
    });
    let start = Instant::now();
    let missing = store.register(prompts, &RequestParams::new("teacher"), 1)?;
    let registering = start.elapsed().as_secs_f64();
    let count = missing.count;
    let missing = Mutex::new(missing);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&store, &missing))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a thread failed".to_string())))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    let rate = (count as f64 / seconds).round();
    println!(
        "{}",
        json!({"rows": count, "threads": threads, "rows_per_second": rate, "seconds": seconds, "registering_seconds": registering, "peak_memory": peak})
    );
    Ok(())
}

fn work(store: &Store, missing: &Mutex<aludel_teacher::store::MissingTraces>) -> Result<(), String> {
    let writer = store.writer();
    loop {
        let batch = missing.lock().map_err(|error| error.to_string())?.next(256).map_err(|error| error.to_string())?;
        if batch.is_empty() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let pending: Vec<_> = batch.iter().map(|wanted| writer.put(row(wanted.id()))).collect();
        for pending in pending {
            runtime.block_on(pending).map_err(|error| error.to_string())?;
        }
    }
}

fn row(wanted: aludel_teacher::store::TraceKey) -> TraceRow {
    let answer = Answer {
        hides_reasoning: false,
        unread: Vec::new(),
        reasoning: Some("One more than that.".repeat(5)),
        content: "It is \\boxed{42}.".to_string(),
        finish: Finish::Stop,
        prompt_tokens: Some(10),
        completion_tokens: Some(40),
        model: None,
        logprobs: None,
        first_token_ms: 1,
        elapsed_ms: 2,
    };
    TraceRow {
        wanted,
        outcome: TraceOutcome::Answered { answer, cost: None },
        endpoint: "http://localhost".to_string(),
        attempts: 1,
    }
}
