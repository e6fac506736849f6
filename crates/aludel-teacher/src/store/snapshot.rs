//! Reads a consistent snapshot of a store while others write: its counts, and its rows in a fixed order. How rows are exported is
//! described in `export`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aludel_text::message::Message;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::check::{Damage, check, text};
use super::open::WITH_UNKNOWN_COSTS;
use super::owner::Owner;
use super::{PastUsage, TraceKey, open};
use crate::Error;
use crate::client::MOST_TOKENS;
use aludel_data::dataset::Columns;

/// A store as it was when this was opened.
pub struct Snapshot {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// Counts of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Different prompts.
    pub prompts: u64,
    /// Answers that were ever wanted.
    pub wanted: u64,
    /// Whole ones.
    pub complete: u64,
    /// Answers that were cut off.
    pub cut: u64,
    /// Questions that were refused.
    pub failed: u64,
    /// Missing answers, claimed or not.
    pub missing: u64,
    /// Missing answers that a process has claimed.
    pub claimed: u64,
    /// Cost in dollars of answers with a known price; `None` if there are none.
    pub cost: Option<f64>,
    /// Answers without a known price.
    pub unpriced: u64,
    /// Tokens of all answers.
    pub tokens: TokenCounts,
    /// The same for each teacher and its settings.
    pub runs: Vec<RunStatus>,
}

/// Tokens, as servers count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenCounts {
    /// Of questions.
    pub prompt: u64,
    /// Of reasoning and answers.
    pub completion: u64,
}

/// Counts of one teacher with one set of settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStatus {
    /// The model.
    pub teacher: String,
    /// The settings.
    pub settings: Value,
    /// Answers that were ever wanted.
    pub wanted: u64,
    /// Whole ones.
    pub complete: u64,
    /// Answers that were cut off.
    pub cut: u64,
    /// Questions that were refused.
    pub failed: u64,
    /// Cost in dollars of answers with a known price; `None` if there are none.
    pub cost: Option<f64>,
    /// Answers without a known price.
    pub unpriced: u64,
    /// Tokens.
    pub tokens: TokenCounts,
}

/// A trace with all that is known of it.
pub(super) struct Stored {
    pub(super) place: TraceKey,
    pub(super) hash: String,
    pub(super) status: String,
    pub(super) finish_reason: Option<String>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    pub(super) error: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) content: Option<String>,
    pub(super) prompt_hash: String,
    pub(super) messages: Vec<Message>,
    pub(super) columns: Columns,
}

/// A page of rows ends at this number of rows or bytes, whichever comes first.
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

impl Snapshot {
    /// Opens a store for reading.
    ///
    /// # Errors
    /// [`Error::Store`] for a file that is not a store, is damaged, or was written by a newer Aludel; [`Error::Data`].
    pub fn open(path: &Path) -> Result<Snapshot, Error> {
        Snapshot::of(path, open::for_reading(path)?)
    }

    /// Opens a store for reading that this process has open.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub(super) fn open_again(path: &Path) -> Result<Snapshot, Error> {
        Snapshot::of(path, open::for_reading_again(path)?)
    }

    fn of(path: &Path, connection: Connection) -> Result<Snapshot, Error> {
        let begun = connection.execute_batch("BEGIN").and_then(|()| {
            // The first read fixes the snapshot.
            connection.query_row("SELECT count(*) FROM runs", [], |_| Ok(()))
        });
        begun.map_err(|error| open::wrong(path, error))?;
        Ok(Snapshot { path: path.to_path_buf(), connection: Mutex::new(connection) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is intact. Reads all of it.
    ///
    /// # Errors
    /// [`Error::Store`] where nothing can be read.
    pub fn check(&self) -> Result<Damage, Error> {
        self.read(check)
    }

    /// Its numbers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn status(&self) -> Result<Status, Error> {
        self.read(|connection| {
            let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
            let mut status = Status {
                prompts: one("SELECT count(*) FROM prompts")?,
                wanted: one("SELECT coalesce(sum(samples), 0) FROM wanted")?,
                claimed: claimed(connection)?,
                runs: run_statuses(connection)?,
                ..Status::default()
            };
            for run in &status.runs {
                status.complete += run.complete;
                status.cut += run.cut;
                status.failed += run.failed;
                status.cost = run.cost.map(|cost| status.cost.unwrap_or_default() + cost).or(status.cost);
                status.unpriced += run.unpriced;
                status.tokens.prompt = status.tokens.prompt.saturating_add(run.tokens.prompt);
                status.tokens.completion = status.tokens.completion.saturating_add(run.tokens.completion);
            }
            status.missing = status.wanted.saturating_sub(status.complete + status.cut + status.failed);
            Ok(status)
        })
    }

    /// A hash over the keys and states of all traces: equal for equal contents.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn hash(&self) -> Result<String, Error> {
        self.read(|connection| {
            let mut hasher = blake3::Hasher::new();
            let mut find = connection.prepare("SELECT hash, status, created FROM traces ORDER BY hash")?;
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                let [hash, status, created] = [text(row, 0)?, text(row, 1)?, text(row, 2)?];
                hasher.update(format!("{hash} {status} {created}\n").as_bytes());
            }
            Ok(hasher.finalize().to_hex()[..32].to_string())
        })
    }

    /// The log probabilities that came with a trace, by its hash.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn logprobs(&self, hash: &str) -> Result<Option<Value>, Error> {
        let packed: Option<Option<Vec<u8>>> = self.read(|connection| {
            connection.query_row("SELECT logprobs FROM traces WHERE hash = ?1", [hash], |row| row.get(0)).optional()
        })?;
        let Some(packed) = packed.flatten() else { return Ok(None) };
        let text = zstd::decode_all(packed.as_slice()).map_err(|error| self.damaged(hash, &error))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| self.damaged(hash, &error))
    }

    pub(super) fn taken(&self, hash: &str) -> Result<Option<PastUsage>, Error> {
        let find =
            "SELECT prompt_tokens, completion_tokens, elapsed_ms FROM traces WHERE hash = ?1 AND status <> 'failed'";
        self.read(|connection| {
            let take = |row: &Row<'_>| {
                let number = |index| count(row, index).map(Option::unwrap_or_default);
                Ok(PastUsage { prompt_tokens: number(0)?, completion_tokens: number(1)?, elapsed_ms: number(2)? })
            };
            connection.query_row(find, [hash], take).optional()
        })
    }

    /// Teacher and settings of each run.
    pub(super) fn runs(&self) -> Result<HashMap<i64, (String, Value)>, Error> {
        self.read(|connection| {
            let mut find = connection.prepare("SELECT id, teacher, settings FROM runs")?;
            // No trace that is read has damaged settings.
            let rows =
                find.query_map([], |row| Ok((row.get(0)?, (text(row, 1)?, json(row, 2).unwrap_or_default()))))?;
            rows.collect()
        })
    }

    /// The number of traces, including damaged ones.
    pub(super) fn trace_count(&self, complete_alone: bool) -> Result<u64, Error> {
        let find = "SELECT count(*) FROM traces WHERE status = 'complete' OR NOT ?1";
        self.read(|connection| connection.query_row(find, [complete_alone], |row| row.get(0)))
    }

    /// Whether every prompt is one question, with or without a system message before it.
    pub(super) fn asks_single_questions(&self) -> Result<bool, Error> {
        let find = "SELECT NOT EXISTS (SELECT 1 FROM prompts WHERE CASE WHEN json_valid(messages) THEN
            json_array_length(messages) <> 1 + (json_extract(messages, '$[0].role') = 'system')
            OR json_extract(messages, '$[#-1].role') <> 'user' END)";
        self.read(|connection| connection.query_row(find, [], |row| row.get(0)))
    }

    /// The rows after a key, by run, prompt and sample. Excluded rows are not read at all.
    pub(super) fn page(
        &self,
        after: TraceKey,
        complete_alone: bool,
        left_out: &HashSet<i64>,
    ) -> Result<Vec<Stored>, Error> {
        self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT traces.run, traces.prompt, sample, traces.hash, status, finish_reason, prompt_tokens,
                   completion_tokens, error, reasoning, content, prompts.hash, messages, columns, traces.id
                 FROM traces CROSS JOIN prompts ON prompts.id = traces.prompt
                 WHERE (traces.run, traces.prompt, sample) > (?1, ?2, ?3) AND (status = 'complete' OR NOT ?4)
                 ORDER BY traces.run, traces.prompt, sample",
            )?;
            let mut rows = find.query(params![after.0, after.1, after.2, complete_alone])?;
            let mut page = Vec::new();
            let mut bytes = 0;
            while page.len() < PAGE_ROWS
                && bytes < PAGE_BYTES
                && let Some(row) = rows.next()?
            {
                if left_out.contains(&row.get(14)?) {
                    continue;
                }
                let stored = stored(row)?;
                bytes += stored.content.as_ref().map_or(0, String::len);
                bytes += stored.reasoning.as_ref().map_or(0, String::len);
                page.push(stored);
            }
            Ok(page)
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        read(&connection).map_err(|error| open::wrong(&self.path, error))
    }

    fn damaged(&self, hash: &str, error: &dyn std::fmt::Display) -> Error {
        let reason = format!("the log probabilities of trace {hash} are damaged ({error})");
        Error::Store { path: self.path.clone(), reason, mend: "delete that row, and the next run asks for it again" }
    }
}

/// Answers claimed by running processes.
fn claimed(connection: &Connection) -> rusqlite::Result<u64> {
    let mut owners = connection.prepare(
        "SELECT host, pid, started, lease, (SELECT count(*) FROM claims WHERE owner = owners.id) FROM owners",
    )?;
    let owners = owners.query_map([], |row| {
        let owner = Owner { host: row.get(0)?, pid: row.get(1)?, started: row.get(2)? };
        Ok((owner, row.get::<_, i64>(3)?, row.get::<_, u64>(4)?))
    })?;
    let mut claimed = 0;
    for owner in owners {
        let (owner, lease, claims) = owner?;
        claimed += if owner.is_gone_at(lease) { 0 } else { claims };
    }
    Ok(claimed)
}

fn run_statuses(connection: &Connection) -> rusqlite::Result<Vec<RunStatus>> {
    let cost = match open::number(connection, "user_version")? < WITH_UNKNOWN_COSTS {
        true => "nullif(cost, 0)",
        false => "cost",
    };
    // A run without wanted answers and traces was started with a wrong name, for example.
    let mut find = connection.prepare(&format!(
        "SELECT teacher, settings, (SELECT coalesce(sum(samples), 0) FROM wanted WHERE run = runs.id) AS wished,
           count(status) FILTER (WHERE status = 'complete'), count(status) FILTER (WHERE status = 'cut'),
           count(status) FILTER (WHERE status = 'failed'), total({cost}), count({cost}) FILTER (WHERE status <> 'failed'),
           total(prompt_tokens) FILTER (WHERE prompt_tokens BETWEEN 0 AND ?1),
           total(completion_tokens) FILTER (WHERE completion_tokens BETWEEN 0 AND ?1)
         FROM runs LEFT JOIN traces ON traces.run = runs.id GROUP BY runs.id
         HAVING wished > 0 OR count(status) > 0 ORDER BY runs.id",
    ))?;
    // A sum of integers may overflow, which is an error in SQLite; this one is exact for any realistic store.
    let sum = |row: &Row<'_>, index| row.get::<_, f64>(index).map(|sum| sum as u64);
    let rows = find.query_map([MOST_TOKENS], |row| {
        let (complete, cut): (u64, u64) = (row.get(3)?, row.get(4)?);
        let priced: u64 = row.get(7)?;
        Ok(RunStatus {
            teacher: row.get(0)?,
            settings: json(row, 1)?,
            wanted: row.get(2)?,
            complete,
            cut,
            failed: row.get(5)?,
            cost: if priced > 0 { Some(row.get(6)?) } else { None },
            unpriced: (complete + cut).saturating_sub(priced),
            tokens: TokenCounts { prompt: sum(row, 8)?, completion: sum(row, 9)? },
        })
    })?;
    rows.collect()
}

/// A count of tokens or milliseconds; an invalid one becomes none. Stores of earlier versions may hold any number.
fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<u64>> {
    let count: Option<i64> = row.get(index)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count <= MOST_TOKENS))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        place: (row.get(0)?, row.get(1)?, row.get(2)?),
        hash: row.get(3)?,
        status: row.get(4)?,
        finish_reason: row.get(5)?,
        prompt_tokens: count(row, 6)?,
        completion_tokens: count(row, 7)?,
        error: row.get(8)?,
        reasoning: row.get(9)?,
        content: row.get(10)?,
        prompt_hash: row.get(11)?,
        messages: json(row, 12)?,
        columns: json(row, 13)?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    let kind = rusqlite::types::Type::Text;
    serde_json::from_str(&text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error)))
}
