//! A stand-in for the store of traces, until the real one is merged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use aludel_text::message::Message;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::Error;
use crate::dataset::Prompt;
use crate::teacher::{Answer, Asking};

/// An open store.
pub struct Store {
    path: PathBuf,
    writer: Writer,
}

/// One answer that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub key: Vec<u8>,
    pub prompt: i64,
    pub sample: u32,
    pub messages: Vec<Message>,
    pub origin: String,
}

impl Wanted {
    pub fn id(&self) -> (Vec<u8>, i64, u32) {
        (self.key.clone(), self.prompt, self.sample)
    }
}

pub enum Outcome {
    Answered { answer: Answer, cost: f64 },
    Refused { words: String },
}

pub struct TraceRow {
    pub wanted: (Vec<u8>, i64, u32),
    pub outcome: Outcome,
    pub endpoint: String,
    pub attempts: u32,
}

pub struct Missing {
    connection: Connection,
    identity: String,
    after: (i64, u32),
    samples: u32,
    pub count: u64,
}

type Put = (TraceRow, oneshot::Sender<Result<(), Error>>);

#[derive(Clone)]
pub struct Writer(Arc<mpsc::SyncSender<Put>>);

fn wrong(error: rusqlite::Error) -> Error {
    Error::Store { reason: error.to_string() }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(wrong)?;
    connection.busy_timeout(Duration::from_secs(30)).map_err(wrong)?;
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
        CREATE TABLE IF NOT EXISTS prompts (id INTEGER PRIMARY KEY, hash BLOB UNIQUE, messages TEXT, columns TEXT, origin TEXT);
        CREATE TABLE IF NOT EXISTS traces (key BLOB PRIMARY KEY, prompt INTEGER, sample INTEGER, identity TEXT, status TEXT, reasoning TEXT, response TEXT,
            prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, elapsed_ms INTEGER, endpoint TEXT, attempts INTEGER);").map_err(wrong)?;
    Ok(connection)
}

fn key_of(hash: &[u8], identity: &str, sample: u32) -> Vec<u8> {
    blake3::Hasher::new().update(hash).update(identity.as_bytes()).update(&sample.to_le_bytes()).finalize().as_bytes().to_vec()
}

impl Store {
    pub fn open(path: &Path) -> Result<Store, Error> {
        let mut connection = connect(path)?;
        let (put, taken) = mpsc::sync_channel::<Put>(1024);
        std::thread::spawn(move || {
            while let Ok(first) = taken.recv() {
                let mut batch = vec![first];
                let until = std::time::Instant::now() + Duration::from_millis(10);
                while batch.len() < 256 {
                    match taken.recv_timeout(until.saturating_duration_since(std::time::Instant::now())) {
                        Ok(row) => batch.push(row),
                        Err(_) => break,
                    }
                }
                let result = write(&mut connection, &batch);
                for (_, done) in batch {
                    let _ = done.send(result.as_ref().map(|_| ()).map_err(|error| Error::Store { reason: error.to_string() }));
                }
            }
        });
        Ok(Store { path: path.to_path_buf(), writer: Writer(Arc::new(put)) })
    }

    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    pub fn spent(&self) -> Result<(f64, u64), Error> {
        connect(&self.path)?.query_row("SELECT total(cost), total(prompt_tokens)+total(completion_tokens) FROM traces", [], |row| Ok((row.get(0)?, row.get::<_, f64>(1)? as u64))).map_err(wrong)
    }

    pub fn taken_by(&self, prompts: &[Prompt], asking: &Asking) -> Result<Vec<crate::collect::Pilot>, Error> {
        let connection = connect(&self.path)?;
        let identity = serde_json::to_string(asking).unwrap_or_default();
        let mut found = Vec::new();
        for prompt in prompts {
            let messages = serde_json::to_string(&prompt.messages).unwrap_or_default();
            let key = key_of(blake3::hash(messages.as_bytes()).as_bytes(), &identity, 0);
            let row = connection.query_row("SELECT prompt_tokens, completion_tokens, elapsed_ms FROM traces WHERE key=? AND status != 'failed'", [key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
            if let Ok((prompt, completion, elapsed)) = row {
                found.push(crate::collect::Pilot { usage: crate::collect::Usage { prompt: prompt as u64, completion: completion as u64 }, seconds: elapsed as f64 / 1e3 });
            }
        }
        Ok(found)
    }

    pub fn register(&self, prompts: impl Iterator<Item = Result<Prompt, Error>>, asking: &Asking, samples: u32) -> Result<Missing, Error> {
        let connection = connect(&self.path)?;
        let identity = serde_json::to_string(asking).unwrap_or_default();
        connection.execute_batch("CREATE TEMP TABLE job (prompt INTEGER PRIMARY KEY, hash BLOB); BEGIN").map_err(wrong)?;
        let mut count = 0;
        for prompt in prompts {
            let prompt = prompt?;
            let messages = serde_json::to_string(&prompt.messages).unwrap_or_default();
            let hash = blake3::hash(messages.as_bytes()).as_bytes().to_vec();
            let origin = format!("{}, line {}", prompt.provenance.file.display(), prompt.provenance.line);
            connection.execute("INSERT OR IGNORE INTO prompts (hash, messages, columns, origin) VALUES (?,?,?,?)", params![hash, messages, serde_json::to_string(&prompt.columns).unwrap_or_default(), origin]).map_err(wrong)?;
            let id: i64 = connection.query_row("SELECT id FROM prompts WHERE hash=?", [&hash], |row| row.get(0)).map_err(wrong)?;
            if connection.execute("INSERT OR IGNORE INTO job VALUES (?,?)", params![id, hash]).map_err(wrong)? > 0 {
                for sample in 0..samples {
                    let there: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM traces WHERE key=?)", [key_of(&hash, &identity, sample)], |row| row.get(0)).map_err(wrong)?;
                    count += u64::from(!there);
                }
            }
        }
        connection.execute_batch("COMMIT").map_err(wrong)?;
        Ok(Missing { connection, identity, after: (0, u32::MAX), samples, count })
    }
}

impl Missing {
    pub fn next(&mut self, most: usize) -> Result<Vec<Wanted>, Error> {
        let mut found = Vec::new();
        while found.len() < most {
            let (prompt, sample) = if self.after.1.wrapping_add(1) < self.samples && self.after.0 > 0 { (self.after.0, self.after.1 + 1) } else {
                let next: Option<i64> = self.connection.query_row("SELECT min(prompt) FROM job WHERE prompt > ?", [self.after.0], |row| row.get(0)).map_err(wrong)?;
                let Some(next) = next else { break };
                (next, 0)
            };
            self.after = (prompt, sample);
            let (hash, messages, origin): (Vec<u8>, String, String) = self.connection.query_row("SELECT hash, messages, origin FROM prompts WHERE id=?", [prompt], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(wrong)?;
            let key = key_of(&hash, &self.identity, sample);
            let there: bool = self.connection.query_row("SELECT EXISTS (SELECT 1 FROM traces WHERE key=?)", [&key], |row| row.get(0)).map_err(wrong)?;
            if !there {
                found.push(Wanted { key, prompt, sample, messages: serde_json::from_str(&messages).unwrap_or_default(), origin });
            }
        }
        Ok(found)
    }
}

impl Writer {
    pub async fn put(&self, row: TraceRow) -> Result<(), Error> {
        let (done, acknowledged) = oneshot::channel();
        self.0.send((row, done)).map_err(|_| Error::Store { reason: "the writer is gone".to_string() })?;
        acknowledged.await.unwrap_or_else(|_| Err(Error::Store { reason: "the writer is gone".to_string() }))
    }
}

fn write(connection: &mut Connection, batch: &[Put]) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    for (row, _) in batch {
        let (key, prompt, sample) = &row.wanted;
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO traces VALUES (?,?,?,'',?,?,?,?,?,?,?,?,?)")?;
        match &row.outcome {
            Outcome::Answered { answer, cost } => insert.execute(params![key, prompt, sample, if answer.finish.is_complete() { "complete" } else { "cut" }, answer.reasoning, answer.content, answer.prompt_tokens.map(|n| n as i64), answer.completion_tokens.map(|n| n as i64), cost, answer.elapsed_ms as i64, row.endpoint, row.attempts])?,
            Outcome::Refused { words } => insert.execute(params![key, prompt, sample, "failed", None::<String>, words, None::<i64>, None::<i64>, 0.0, 0, row.endpoint, row.attempts])?,
        };
    }
    transaction.commit()
}
