//! Removing traces and missing answers from a store, with all that refers to them. Whether another process is asking meanwhile is
//! checked by `transactions`, which also decides between a dry run and removal.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::snapshot::TokenCounts;
use crate::client::MOST_TOKENS;

/// What is to be removed; at least one of these is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Everything of this teacher.
    pub model: Option<String>,
    /// Of that, only missing answers.
    pub unanswered: bool,
    /// Traces by their hashes, from any teacher.
    pub ids: Vec<String>,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Forgotten {
    /// Whole answers.
    pub complete: u64,
    /// Answers that were cut.
    pub cut: u64,
    /// Questions that were refused.
    pub failed: u64,
    /// Missing answers.
    pub missing: u64,
    /// Teachers with their settings of which nothing is left.
    pub runs: u64,
    /// Prompts that nothing else refers to.
    pub prompts: u64,
    /// Tokens of the answers.
    pub tokens: TokenCounts,
    /// Cost in dollars of answers with a known price.
    pub cost: Option<f64>,
    /// Answers without a known price.
    pub unpriced: u64,
    /// Hashes that match no trace; nothing is removed then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl Forgotten {
    /// Whether nothing matched.
    pub fn is_nothing(&self) -> bool {
        self.complete + self.cut + self.failed + self.missing + self.runs + self.prompts == 0
    }

    fn add(&mut self, trace: &Trace) {
        match trace.status.as_str() {
            "complete" => self.complete += 1,
            "cut" => self.cut += 1,
            _ => {
                self.failed += 1;
                return;
            }
        }
        self.tokens.prompt += trace.prompt_tokens;
        self.tokens.completion += trace.completion_tokens;
        match trace.cost {
            Some(cost) => self.cost = Some(self.cost.unwrap_or_default() + cost),
            None => self.unpriced += 1,
        }
    }
}

/// What is counted of a trace before it is removed.
struct Trace {
    id: i64,
    run: i64,
    prompt: i64,
    status: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: Option<f64>,
}

const TRACE: &str = "SELECT id, run, prompt, status, prompt_tokens, completion_tokens, cost FROM traces";

impl Trace {
    fn of(row: &Row<'_>) -> rusqlite::Result<Trace> {
        let tokens = |index| -> rusqlite::Result<u64> {
            let count: Option<i64> = row.get(index)?;
            let count = count.and_then(|count| u64::try_from(count).ok());
            Ok(count.filter(|count| *count <= MOST_TOKENS).unwrap_or_default())
        };
        Ok(Trace {
            id: row.get(0)?,
            run: row.get(1)?,
            prompt: row.get(2)?,
            status: row.get(3)?,
            prompt_tokens: tokens(4)?,
            completion_tokens: tokens(5)?,
            cost: row.get(6)?,
        })
    }
}

/// Removes what is selected, and the settings and prompts that nothing refers to any more. None of it counts as missing afterwards:
/// a run with the same prompts asks for it again.
pub(super) fn forget(connection: &Connection, selection: &Selection) -> rusqlite::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    if !selection.ids.is_empty() {
        by_ids(connection, &selection.ids, &mut forgotten)?;
        if !forgotten.unknown.is_empty() {
            return Ok(forgotten);
        }
    } else {
        let mut find = connection.prepare("SELECT id FROM runs WHERE ?1 IS NULL OR teacher = ?1")?;
        let runs = find.query_map([&selection.model], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        for run in runs {
            unanswered(connection, run, &mut forgotten)?;
            if !selection.unanswered {
                traces_of(connection, run, &mut forgotten)?;
            }
        }
    }
    forgotten.runs = connection.execute(
        "DELETE FROM runs WHERE id NOT IN (SELECT run FROM wanted) AND id NOT IN (SELECT run FROM traces)",
        [],
    )? as u64;
    forgotten.prompts = connection.execute(
        "DELETE FROM prompts WHERE id NOT IN (SELECT prompt FROM wanted) AND id NOT IN (SELECT prompt FROM traces)",
        [],
    )? as u64;
    Ok(forgotten)
}

fn by_ids(connection: &Connection, ids: &[String], forgotten: &mut Forgotten) -> rusqlite::Result<()> {
    let mut find = connection.prepare(&format!("{TRACE} WHERE hash = ?1"))?;
    let mut traces = Vec::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        match find.query_row([id], Trace::of).optional()? {
            Some(trace) => traces.push(trace),
            None => forgotten.unknown.push(id.clone()),
        }
    }
    if !forgotten.unknown.is_empty() {
        return Ok(());
    }
    for trace in traces {
        forgotten.add(&trace);
        connection.execute("DELETE FROM traces WHERE id = ?1", [trace.id])?;
        let place = [trace.run, trace.prompt];
        connection.execute("UPDATE wanted SET samples = samples - 1 WHERE run = ?1 AND prompt = ?2", place)?;
        connection.execute("DELETE FROM wanted WHERE run = ?1 AND prompt = ?2 AND samples <= 0", place)?;
    }
    Ok(())
}

/// Only existing answers of the run remain wanted.
fn unanswered(connection: &Connection, run: i64, forgotten: &mut Forgotten) -> rusqlite::Result<()> {
    let there = "(SELECT count(*) FROM traces WHERE traces.run = wanted.run AND traces.prompt = wanted.prompt)";
    let missing = format!("SELECT coalesce(sum(max(samples - {there}, 0)), 0) FROM wanted WHERE run = ?1");
    forgotten.missing += connection.query_row(&missing, [run], |row| row.get::<_, u64>(0))?;
    let settle = format!("UPDATE wanted SET samples = {there} WHERE run = ?1 AND samples > {there}");
    connection.execute(&settle, params![run])?;
    connection.execute("DELETE FROM wanted WHERE run = ?1 AND samples = 0", [run]).map(|_| ())
}

fn traces_of(connection: &Connection, run: i64, forgotten: &mut Forgotten) -> rusqlite::Result<()> {
    let mut find = connection.prepare(&format!("{TRACE} WHERE run = ?1"))?;
    let mut traces = find.query([run])?;
    while let Some(row) = traces.next()? {
        forgotten.add(&Trace::of(row)?);
    }
    drop(traces);
    connection.execute("DELETE FROM traces WHERE run = ?1", [run])?;
    connection.execute("DELETE FROM wanted WHERE run = ?1", [run]).map(|_| ())
}
