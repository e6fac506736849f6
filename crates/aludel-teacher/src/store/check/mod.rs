//! Whether a store is as it was written: each row against the hash that it carries, the rows that there are against the counts of
//! those who wrote them, and the file itself as SQLite checks it. What is done about damage is the caller's matter.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aludel_files::{counted, noun};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::hash_of;
use super::open::{WITH_DIGESTS, number};
use super::row_hash::{PROMPTS, RUNS, TRACES, Table};

/// What of a store is not as it was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Damage {
    /// Traces that are not as they were written, or whose prompt or settings are not.
    pub traces: Vec<DamagedTrace>,
    /// Prompts and settings that are not as they were written; where rows are missing; what is wrong with the file.
    pub other: Vec<String>,
    /// Traces of a store that was written before traces carried hashes, and not opened for writing since.
    pub without_hash: u64,
}

/// A trace that is not as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DamagedTrace {
    #[serde(skip)]
    pub(super) id: i64,
    /// Whether asking again brings it back: it is damaged itself, and not its prompt or settings alone.
    #[serde(skip)]
    pub(super) is_itself: bool,
    /// Which one: its prompt's place, its sample and its hash, as far as they can be read.
    pub name: String,
}

/// So much of a kind of damage is shown.
const SHOWN: usize = 5;

impl Damage {
    /// Whether all is as it was written, as far as that can be told.
    pub fn is_none(&self) -> bool {
        self.traces.is_empty() && self.other.is_empty()
    }

    /// In words, the first few of each kind.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |all: Vec<&str>| {
            parts.extend(all.iter().take(SHOWN).map(|part| part.to_string()));
            parts.extend((all.len() > SHOWN).then(|| format!("and {} more", all.len() - SHOWN)));
        };
        add(self.traces.iter().map(|trace| trace.name.as_str()).collect());
        add(self.other.iter().map(String::as_str).collect());
        let count = self.traces.len();
        let begin = match count {
            0 => String::new(),
            1 => "1 trace is not as it was written: ".to_string(),
            _ => format!("{count} traces are not as they were written: "),
        };
        format!("{begin}{}", parts.join("; "))
    }
}

/// Looks at everything in a store.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Damage> {
    let mut damage = Damage::default();
    let is_hashed = number(connection, "user_version")? >= WITH_DIGESTS;
    file(connection, &mut damage.other);
    // A file that is damaged may still be read in part: what is found is told together.
    if let Err(error) = rows(connection, is_hashed, &mut damage) {
        damage.other.push(format!("not all of it can be read ({error})"));
    }
    Ok(damage)
}

/// What SQLite says of its file: pages, indexes against tables, and rows that refer to none.
fn file(connection: &Connection, found: &mut Vec<String>) {
    let mut ask = |sql: &str, words: &dyn Fn(&Row<'_>) -> rusqlite::Result<Option<String>>| {
        let asked = connection.prepare(sql).and_then(|mut query| {
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                found.extend(words(row)?);
            }
            Ok(())
        });
        if let Err(error) = asked {
            found.push(format!("the file cannot be checked ({error})"));
        }
    };
    ask("PRAGMA integrity_check(10)", &|row| {
        let words = text(row, 0)?;
        Ok((words != "ok").then(|| format!("SQLite says of the file: {}", words.replace('\n', " "))))
    });
    ask("SELECT \"table\", \"parent\", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2", &|row| {
        Ok(Some(format!(
            "{} of {} {} to rows of {} that are missing",
            counted(row.get::<_, i64>(2)?.unsigned_abs(), "row", "rows"),
            text(row, 0)?,
            noun(row.get::<_, i64>(2)?.unsigned_abs(), "refers", "refer"),
            text(row, 1)?
        )))
    });
}

fn rows(connection: &Connection, is_hashed: bool, damage: &mut Damage) -> rusqlite::Result<()> {
    let mut there = BTreeMap::new();
    let (prompts, runs) = (referred(connection, &PROMPTS, is_hashed)?, referred(connection, &RUNS, is_hashed)?);
    for (table, all) in [(&PROMPTS, &prompts), (&RUNS, &runs)] {
        there.insert((table.name.to_string(), 0), all.len() as i64);
        let damaged = all.values().filter(|row| !row.is_whole);
        damage.other.extend(damaged.map(|row| format!("{} is not as it was written", row.name)));
    }
    traces(connection, is_hashed, &prompts, &runs, &mut there, damage)?;
    if is_hashed {
        count(connection, there, &mut damage.other)?;
        wanted(connection, &mut damage.other)?;
    }
    Ok(())
}

/// Answers that are there and that nothing says are wanted: their rows of `wanted` are gone, or say less than they did. A refusal may
/// come before anything is wanted of a run.
fn wanted(connection: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut find = connection.prepare(
        "SELECT run, count(*), sum(unwanted) FROM
           (SELECT run, count(*) - coalesce((SELECT samples FROM wanted
              WHERE wanted.run = answers.run AND wanted.prompt = answers.prompt), 0) AS unwanted
            FROM traces AS answers NOT INDEXED WHERE status <> 'failed' GROUP BY run, prompt)
         WHERE unwanted > 0 GROUP BY run ORDER BY run",
    )?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let [run, prompts, answers] = [row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?];
        let prompts = counted(prompts.unsigned_abs(), "prompt", "prompts");
        let answers = counted(answers.unsigned_abs(), "answer", "answers");
        found.push(format!("run {run} has {answers} to {prompts} that the table `wanted` does not name"));
    }
    Ok(())
}

/// A row that traces refer to.
struct Referred {
    hash: String,
    name: String,
    is_whole: bool,
}

fn referred(connection: &Connection, table: &Table, is_hashed: bool) -> rusqlite::Result<HashMap<i64, Referred>> {
    let digest = if is_hashed { "digest" } else { "''" };
    let mut find =
        connection.prepare(&format!("SELECT {}, {digest}, id FROM {} NOT INDEXED", table.named(), table.name))?;
    let mut rows = find.query([])?;
    let mut all = HashMap::new();
    let digest = table.columns.len();
    while let Some(row) = rows.next()? {
        let (hash, is_run) = (text(row, 0)?, table.name == RUNS.name);
        // The hash is that of the messages, or of the settings.
        let is_own = hash == hash_of(&[&text(row, if is_run { 2 } else { 1 })?]);
        let name = match is_run {
            true => format!("the run of the teacher `{}`", text(row, 1)?),
            false => format!("the prompt of {}", text(row, 3)?),
        };
        let is_whole = is_own && (!is_hashed || table.of_row(row, 0)? == text(row, digest)?);
        all.insert(row.get(digest + 1)?, Referred { hash, name, is_whole });
    }
    Ok(all)
}

fn traces(
    connection: &Connection,
    is_hashed: bool,
    prompts: &HashMap<i64, Referred>,
    runs: &HashMap<i64, Referred>,
    there: &mut BTreeMap<(String, i64), i64>,
    damage: &mut Damage,
) -> rusqlite::Result<()> {
    let digest = if is_hashed { "digest" } else { "''" };
    let mut find = connection.prepare(&format!("SELECT {}, {digest}, id FROM traces NOT INDEXED", TRACES.named()))?;
    let mut rows = find.query([])?;
    let mut seen = HashSet::new();
    let digest = TRACES.columns.len();
    while let Some(row) = rows.next()? {
        // Of another type, it is none that there is.
        let whole = |index| row.get_ref(index).map(|value| value.as_i64().unwrap_or(-1));
        let (hash, run, prompt, sample, status) = (text(row, 0)?, whole(1)?, whole(2)?, whole(3)?, text(row, 4)?);
        *there.entry((status, run)).or_default() += 1;
        damage.without_hash += u64::from(!is_hashed);
        let (run, asked) = (runs.get(&run), prompts.get(&prompt));
        let hash_of = |run: &Referred, asked: &Referred| hash_of(&[&run.hash, &asked.hash, &sample.to_string()]);
        let refers = run.zip(asked).is_some_and(|(run, asked)| hash_of(run, asked) == hash);
        let are_whole = run.zip(asked).is_some_and(|(run, asked)| run.is_whole && asked.is_whole);
        // An index that is damaged may hold a trace twice.
        let is_first = seen.insert(hash.clone());
        let is_as_written = !is_hashed || TRACES.of_row(row, 0)? == text(row, digest)?;
        // One whose prompt is gone comes back with that prompt; a run that is gone may have many, and is left to its owner.
        let is_itself = !is_first || !is_as_written || asked.is_none() || (are_whole && !refers);
        if is_itself || !refers || !are_whole {
            let place = asked.map_or_else(|| format!("prompt {prompt}"), |asked| asked.name.clone());
            let name = format!("sample {sample} of {place} (hash {hash})");
            damage.traces.push(DamagedTrace { id: row.get(digest + 1)?, is_itself, name });
        }
    }
    Ok(())
}

/// Compares the rows that are there with the counts of those who wrote them.
fn count(
    connection: &Connection,
    mut there: BTreeMap<(String, i64), i64>,
    found: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let mut find = connection.prepare("SELECT run, sum(samples) FROM wanted NOT INDEXED GROUP BY run")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        there.insert(("wanted".to_string(), row.get(0)?), row.get(1)?);
    }
    let mut find = connection.prepare("SELECT what, run, number FROM counts")?;
    let mut rows = find.query([])?;
    let mut counted = BTreeMap::new();
    while let Some(row) = rows.next()? {
        counted.insert((text(row, 0)?, row.get::<_, i64>(1)?), row.get::<_, i64>(2)?);
    }
    for (what, run) in there.keys().chain(counted.keys()).collect::<BTreeSet<_>>() {
        let key = (what.clone(), *run);
        let [there, counted] = [&there, &counted].map(|all| all.get(&key).copied().unwrap_or_default());
        if there != counted {
            let of = if *run == 0 { String::new() } else { format!(" of run {run}") };
            let what = match what.as_str() {
                "wanted" => "answers wanted".to_string(),
                "prompts" | "runs" => what.clone(),
                _ => format!("{what} traces"),
            };
            found.push(format!("{counted} {what}{of} were written, and {there} are there"));
        }
    }
    Ok(())
}

/// What stands in a column, as text, whatever it is: damaged rows may hold anything.
pub(super) fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(index)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    })
}
