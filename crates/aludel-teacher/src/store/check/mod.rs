//! Checks that a store is intact: each row against its hash, the number of rows against the recorded counts, and the file by
//! SQLite's own check. Repairs are left to the caller.

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

/// The damage found in a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Damage {
    /// Traces that do not match their hashes, or whose prompt or settings do not.
    pub traces: Vec<DamagedTrace>,
    /// Prompts and settings that do not match their hashes; missing rows; damage to the file.
    pub other: Vec<String>,
    /// Traces from a version that stored no hashes, in a store not opened for writing since.
    pub without_hash: u64,
}

/// A trace that does not match its hash.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DamagedTrace {
    #[serde(skip)]
    pub(super) id: i64,
    /// Whether asking again restores it: the trace itself is damaged, and not its prompt or settings alone.
    #[serde(skip)]
    pub(super) is_itself: bool,
    /// Its prompt's location, its sample and its hash, as far as they can be read.
    pub name: String,
}

/// Maximum number of messages per kind of damage.
const SHOWN: usize = 5;

impl Damage {
    /// Whether the store is intact, as far as can be determined.
    pub fn is_none(&self) -> bool {
        self.traces.is_empty() && self.other.is_empty()
    }

    /// A description, with the first few of each kind.
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

/// Checks everything in a store.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Damage> {
    let mut damage = Damage::default();
    let is_hashed = number(connection, "user_version")? >= WITH_DIGESTS;
    file(connection, &mut damage.other);
    // A damaged file may still be readable in part: all findings are reported together.
    if let Err(error) = rows(connection, is_hashed, &mut damage) {
        damage.other.push(format!("not all of it can be read ({error})"));
    }
    Ok(damage)
}

/// SQLite's findings about its file: pages, indexes against tables, and rows that refer to none.
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

/// Answers that exist without a row in `wanted`: those rows are gone, or ask for fewer samples than before. A refusal may be stored
/// before anything is wanted of a run.
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
        // A value of another type matches no row.
        let whole = |index| row.get_ref(index).map(|value| value.as_i64().unwrap_or(-1));
        let (hash, run, prompt, sample, status) = (text(row, 0)?, whole(1)?, whole(2)?, whole(3)?, text(row, 4)?);
        *there.entry((status, run)).or_default() += 1;
        damage.without_hash += u64::from(!is_hashed);
        let (run, asked) = (runs.get(&run), prompts.get(&prompt));
        let hash_of = |run: &Referred, asked: &Referred| hash_of(&[&run.hash, &asked.hash, &sample.to_string()]);
        let refers = run.zip(asked).is_some_and(|(run, asked)| hash_of(run, asked) == hash);
        let are_whole = run.zip(asked).is_some_and(|(run, asked)| run.is_whole && asked.is_whole);
        // A damaged index may hold a trace twice.
        let is_first = seen.insert(hash.clone());
        let is_as_written = !is_hashed || TRACES.of_row(row, 0)? == text(row, digest)?;
        // A trace whose prompt is gone is restored with that prompt; a run that is gone may have many traces, and is left to its
        // owner.
        let is_itself = !is_first || !is_as_written || asked.is_none() || (are_whole && !refers);
        if is_itself || !refers || !are_whole {
            let place = asked.map_or_else(|| format!("prompt {prompt}"), |asked| asked.name.clone());
            let name = format!("sample {sample} of {place} (hash {hash})");
            damage.traces.push(DamagedTrace { id: row.get(digest + 1)?, is_itself, name });
        }
    }
    Ok(())
}

/// Compares the rows with the recorded counts.
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

/// The content of a column as text, whatever its type: damaged rows may hold anything.
pub(super) fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(index)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    })
}
