//! The operations of the writer's thread, inside of its transactions: registering prompts and wanted answers, claims and their
//! owners, and traces. When a transaction begins and ends, and who is notified, is decided by `writer`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::check::check;
use super::forget::{Forgotten, Selection, forget};
use super::owner::{Owner, now_ms};
use super::row_hash::{PROMPTS, RUNS, TRACES, Table};
use super::{MissingTrace, TraceOutcome, TraceRow, hash_of, open};

/// How often a running process renews its lease; and the lease's duration.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_MS: i64 = 60_000;

/// The writer's connection, and the id of its process among the owners.
pub(super) struct WriterState {
    connection: Connection,
    pub(super) path: PathBuf,
    owner: Option<i64>,
    last_beat: Instant,
    /// Lists whose answers are wanted from their run's first answer on.
    wishes: Vec<Wish>,
}

/// The number of answers wanted to each prompt of a list.
#[derive(Clone, Copy)]
struct Wish {
    list: i64,
    run: i64,
    samples: u32,
}

/// A prompt to be registered.
pub(super) struct Registered {
    pub(super) hash: String,
    pub(super) messages: String,
    pub(super) columns: String,
    pub(super) origin: String,
}

/// The result of removing damaged traces.
pub(super) enum Removed {
    /// This number of traces were removed and are missing now.
    Traces(u64),
    /// Nothing was removed: the file itself is damaged.
    Nothing(String),
}

impl WriterState {
    pub(super) fn new(connection: Connection, path: &Path) -> rusqlite::Result<WriterState> {
        // The prompts that this process asks, in order; on disk if the list is long, and removed with the process.
        connection.execute_batch(
            "CREATE TEMP TABLE asked (list INTEGER, position INTEGER PRIMARY KEY, prompt INTEGER, UNIQUE (list, prompt))",
        )?;
        Ok(WriterState {
            connection,
            path: path.to_path_buf(),
            owner: None,
            last_beat: Instant::now(),
            wishes: Vec::new(),
        })
    }

    /// Begins a transaction. At intervals it also renews the lease.
    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.execute("BEGIN IMMEDIATE")?;
        let Some(owner) = self.owner.filter(|_| self.last_beat.elapsed() >= HEARTBEAT) else { return Ok(()) };
        self.beat(owner).inspect_err(|_| {
            // The error that led here is the one to report.
            let _ = self.execute("ROLLBACK");
        })
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let committed = self.execute("COMMIT");
        if committed.is_err() && !self.is_rolled_back() {
            self.execute("ROLLBACK")?;
        }
        committed
    }

    /// Whether no transaction is open: an error may have ended it.
    pub(super) fn is_rolled_back(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Runs a piece of work completely or not at all.
    pub(super) fn apart<T>(
        &mut self,
        work: impl FnOnce(&mut WriterState) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.execute("SAVEPOINT piece")?;
        let done = work(self);
        if done.is_err() && !self.is_rolled_back() {
            self.execute("ROLLBACK TO piece")?;
        }
        if !self.is_rolled_back() {
            self.execute("RELEASE piece")?;
        }
        done
    }

    /// Releases the claims. A failure does not matter: other processes see that this one has ended.
    pub(super) fn leave(&mut self) {
        if let Some(owner) = self.owner.take() {
            let _ = self.connection.execute("DELETE FROM owners WHERE id = ?1", [owner]);
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// The row id of a teacher with these settings. A damaged row is rewritten, so that its traces keep it.
    pub(super) fn run(&mut self, hash: &str, teacher: &str, settings: &str) -> rusqlite::Result<i64> {
        // A process that removes traces must see that this one is about to ask.
        self.own()?;
        let known = format!("SELECT id, digest, {} FROM runs WHERE hash = ?1 OR settings = ?2", RUNS.named());
        let is_whole = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)? == RUNS.of_row(row, 2)?));
        let known: Option<(i64, bool)> = self.connection.query_row(&known, [hash, settings], is_whole).optional()?;
        let values =
            [hash.to_string().into(), teacher.to_string().into(), settings.to_string().into(), now_ms().into()];
        let digest = RUNS.of(&values);
        let write = match known {
            Some((id, true)) => return Ok(id),
            Some((id, false)) => {
                format!(
                    "UPDATE runs SET hash = ?1, teacher = ?2, settings = ?3, created = ?4, digest = ?5 WHERE id = {id}"
                )
            }
            None => {
                "INSERT INTO runs (hash, teacher, settings, created, digest) VALUES (?1, ?2, ?3, ?4, ?5)".to_string()
            }
        };
        self.connection.execute(&write, params_from_iter(values.into_iter().chain([digest.into()])))?;
        self.connection.query_row("SELECT id FROM runs WHERE hash = ?1", [hash], |row| row.get(0))
    }

    /// Registers prompts. A known prompt gets the columns given now, and is rewritten if it is damaged.
    pub(super) fn register(&mut self, list: i64, prompts: &[Registered]) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO prompts (hash, messages, columns, origin, digest) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (hash) DO UPDATE SET messages = excluded.messages, columns = excluded.columns,
               origin = excluded.origin, digest = excluded.digest
             WHERE messages IS NOT excluded.messages OR columns IS NOT excluded.columns
               OR origin IS NOT excluded.origin OR digest IS NOT excluded.digest",
        )?;
        let mut find = self.connection.prepare_cached("SELECT id FROM prompts WHERE hash = ?1")?;
        let mut ask =
            self.connection.prepare_cached("INSERT OR IGNORE INTO temp.asked (list, prompt) VALUES (?1, ?2)")?;
        for prompt in prompts {
            let Registered { hash, messages, columns, origin } = prompt;
            let values = [hash, messages, columns, origin].map(|text| Value::from(text.clone()));
            let digest = PROMPTS.of(&values);
            insert.execute(params_from_iter(values.into_iter().chain([digest.into()])))?;
            let id: i64 = find.query_row([&prompt.hash], |row| row.get(0))?;
            ask.execute(params![list, id])?;
        }
        Ok(())
    }

    /// Records how many answers are wanted to each prompt of a list: now if the run has an answer, else from its first one on. A
    /// model that no server knows therefore leaves no missing answers. Returns whether the run has an answer.
    pub(super) fn want(&mut self, list: i64, run: i64, samples: u32) -> rusqlite::Result<bool> {
        let wish = Wish { list, run, samples };
        let find = "SELECT EXISTS (SELECT 1 FROM traces WHERE run = ?1 AND status <> 'failed')";
        let has_answer = self.connection.query_row(find, [run], |row| row.get(0))?;
        match has_answer {
            true => self.enter(wish)?,
            false => self.wishes.push(wish),
        }
        Ok(has_answer)
    }

    fn enter(&self, Wish { list, run, samples }: Wish) -> rusqlite::Result<()> {
        let mut want = self.connection.prepare_cached(
            "INSERT INTO wanted (run, prompt, samples) SELECT ?2, prompt, ?3 FROM temp.asked WHERE list = ?1
             ON CONFLICT DO UPDATE SET samples = excluded.samples WHERE samples < excluded.samples",
        )?;
        want.execute(params![list, run, samples]).map(|_| ())
    }

    /// The numbers of missing answers, existing answers and refused questions of a list.
    pub(super) fn count(&mut self, list: i64, run: i64, samples: u32) -> rusqlite::Result<[u64; 3]> {
        let (asked, there, failed): (u64, u64, u64) = self.connection.query_row(
            "SELECT (SELECT count(*) FROM temp.asked WHERE list = ?1) * ?3,
               count(*) FILTER (WHERE status <> 'failed'), count(*) FILTER (WHERE status = 'failed')
             FROM temp.asked AS asked JOIN traces ON run = ?2 AND traces.prompt = asked.prompt AND sample < ?3
             WHERE list = ?1",
            params![list, run, samples],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        Ok([asked.saturating_sub(there + failed), there, failed])
    }

    /// Claims the next missing answers of a list that no other process has claimed, from a position on.
    pub(super) fn claim(
        &mut self,
        list: i64,
        run: i64,
        samples: u32,
        from: i64,
        most: usize,
    ) -> rusqlite::Result<(Vec<MissingTrace>, i64)> {
        let owner = self.own()?;
        self.clear_dead(owner)?;
        let mut find = self.connection.prepare_cached(
            "WITH RECURSIVE samples (sample) AS (
               SELECT 0 UNION ALL SELECT sample + 1 FROM samples WHERE sample + 1 < ?3)
             SELECT position, asked.prompt, sample, messages, origin
             FROM temp.asked AS asked CROSS JOIN samples JOIN prompts ON prompts.id = asked.prompt
             WHERE list = ?1 AND position >= ?4
               AND NOT EXISTS (SELECT 1 FROM traces WHERE run = ?2 AND prompt = asked.prompt AND sample = samples.sample)
               AND NOT EXISTS (SELECT 1 FROM claims WHERE run = ?2 AND prompt = asked.prompt AND sample = samples.sample)
             ORDER BY position, sample LIMIT ?5",
        )?;
        let mut claim = self
            .connection
            .prepare_cached("INSERT INTO claims (run, prompt, sample, owner) VALUES (?1, ?2, ?3, ?4)")?;
        let mut rows = find.query(params![list, run, samples, from, most])?;
        let (mut found, mut last) = (Vec::new(), from);
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            let messages: String = row.get(3)?;
            let messages = serde_json::from_str(&messages).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
            })?;
            found.push(MissingTrace { run, prompt: row.get(1)?, sample: row.get(2)?, messages, origin: row.get(4)? });
        }
        drop(rows);
        for wanted in &found {
            claim.execute(params![run, wanted.prompt, wanted.sample, owner])?;
        }
        Ok((found, last))
    }

    /// Stores a trace. A complete one is never replaced; another is replaced by one that is at least as good. The costs and
    /// attempts of both count.
    pub(super) fn put(&mut self, row: &TraceRow, logprobs: Option<&[u8]>) -> rusqlite::Result<()> {
        let (run, prompt, sample) = row.wanted;
        let hashes = "SELECT runs.hash, prompts.hash FROM runs, prompts WHERE runs.id = ?1 AND prompts.id = ?2";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let (run_hash, prompt_hash) = self.connection.prepare_cached(hashes)?.query_row([run, prompt], read)?;
        let hash = hash_of(&[&run_hash, &prompt_hash, &sample.to_string()]);
        let mut older = self.connection.prepare_cached(
            "SELECT status, cost, attempts FROM traces WHERE run = ?1 AND prompt = ?2 AND sample = ?3",
        )?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let older: Option<(String, Option<f64>, i64)> =
            older.query_row(params![run, prompt, sample], read).optional()?;
        let (older, cost_before, attempts_before) = match older {
            Some((status, cost, attempts)) => (Some(status), cost, attempts),
            None => (None, Some(0.0), 0),
        };
        let rank = |status: &str| ["failed", "cut", "complete"].iter().position(|name| *name == status);
        let status = row.outcome.status();
        if older.as_deref().is_none_or(|older| older != "complete" && rank(older) <= rank(status)) {
            let (answer, cost, error) = match &row.outcome {
                TraceOutcome::Answered { answer, cost } => (Some(answer), *cost, None),
                TraceOutcome::Refused { words } => (None, Some(0.0), Some(words)),
            };
            // The cost is unknown if that of one attempt is.
            let cost = cost.filter(|cost| cost.is_finite());
            let cost = cost.zip(cost_before).map(|(cost, before)| (before + cost).min(f64::MAX));
            let text = |text: &str| Value::from(text.to_string());
            // A number that does not fit in a column is stored as none.
            let count = |count: Option<u64>| Value::from(count.and_then(|count| i64::try_from(count).ok()));
            let values: [Value; TRACES.columns.len()] = [
                hash.into(),
                run.into(),
                prompt.into(),
                sample.into(),
                text(status),
                answer.map(|answer| answer.finish.as_str().to_string()).into(),
                count(answer.and_then(|answer| answer.prompt_tokens)),
                count(answer.and_then(|answer| answer.completion_tokens)),
                cost.into(),
                count(answer.map(|answer| answer.first_token_ms)),
                count(answer.map(|answer| answer.elapsed_ms)),
                attempts_before.saturating_add(row.attempts.into()).into(),
                text(&row.endpoint),
                answer.and_then(|answer| answer.model.clone()).into(),
                now_ms().into(),
                error.cloned().into(),
                answer.and_then(|answer| answer.reasoning.clone()).into(),
                answer.map(|answer| answer.content.clone()).into(),
                logprobs.map(<[u8]>::to_vec).into(),
            ];
            let digest = Value::from(TRACES.of(&values));
            let mut insert = self.connection.prepare_cached(&PUT)?;
            insert.execute(params_from_iter(values.iter().chain([&digest])))?;
        }
        let mut release =
            self.connection.prepare_cached("DELETE FROM claims WHERE run = ?1 AND prompt = ?2 AND sample = ?3")?;
        release.execute(params![run, prompt, sample])?;
        if matches!(row.outcome, TraceOutcome::Answered { .. }) {
            self.wishes.iter().filter(|wish| wish.run == run).try_for_each(|wish| self.enter(*wish))?;
            self.wishes.retain(|wish| wish.run != run);
        }
        Ok(())
    }

    /// Removes the traces that are damaged themselves, so that they are missing, and recounts. Damaged prompts and settings remain:
    /// they are rewritten when they are registered again.
    pub(super) fn remove_damaged(&mut self) -> rusqlite::Result<Removed> {
        let is_whole = |connection: &Connection| -> rusqlite::Result<bool> {
            connection.query_row("PRAGMA integrity_check(1)", [], |row| Ok(row.get::<_, String>(0)? == "ok"))
        };
        if !is_whole(&self.connection)? {
            // Indexes can be rebuilt from the tables.
            self.connection.execute_batch("REINDEX")?;
            if !is_whole(&self.connection)? {
                return Ok(Removed::Nothing(check(&self.connection)?.words()));
            }
        }
        let damage = check(&self.connection)?;
        let mut removed = 0;
        for trace in damage.traces.iter().filter(|trace| trace.is_itself) {
            removed += self.connection.execute("DELETE FROM traces WHERE id = ?1", [trace.id])? as u64;
        }
        self.connection.execute("DELETE FROM wanted WHERE prompt NOT IN (SELECT id FROM prompts)", [])?;
        self.connection.execute_batch(open::RECOUNT)?;
        Ok(Removed::Traces(removed))
    }

    /// Removes what is selected, or only reports it; `None` if a process is asking, whose prompts and settings may not be referred
    /// to yet.
    pub(super) fn forget(&mut self, selection: &Selection, really: bool) -> rusqlite::Result<Option<Forgotten>> {
        self.clear_dead(self.owner.unwrap_or_default())?;
        if self.connection.query_row("SELECT EXISTS (SELECT 1 FROM owners)", [], |row| row.get(0))? {
            return Ok(None);
        }
        self.execute("SAVEPOINT forget")?;
        let forgotten = forget(&self.connection, selection);
        if !really || forgotten.is_err() {
            self.execute("ROLLBACK TO forget")?;
        }
        self.execute("RELEASE forget")?;
        forgotten.map(Some)
    }

    /// This process's row among the owners, inserted when it first registers something.
    fn own(&mut self) -> rusqlite::Result<i64> {
        if let Some(owner) = self.owner {
            return Ok(owner);
        }
        let own = Owner::of_this_process();
        let insert = "INSERT INTO owners (host, pid, started, lease) VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(insert, params![own.host, own.pid, own.started, now_ms() + LEASE_MS])?;
        let owner = self.connection.last_insert_rowid();
        self.last_beat = Instant::now();
        self.owner = Some(owner);
        Ok(owner)
    }

    /// If the process slept for longer than its lease, its claims may be gone; it claims again.
    fn beat(&mut self, owner: i64) -> rusqlite::Result<()> {
        let mut update = self.connection.prepare_cached("UPDATE owners SET lease = ?2 WHERE id = ?1")?;
        if update.execute(params![owner, now_ms() + LEASE_MS])? == 0 {
            self.owner = None;
        }
        self.last_beat = Instant::now();
        Ok(())
    }

    /// Releases the claims of processes that have ended.
    fn clear_dead(&mut self, own: i64) -> rusqlite::Result<()> {
        let mut others =
            self.connection.prepare_cached("SELECT id, host, pid, started, lease FROM owners WHERE id <> ?1")?;
        let others = others.query_map([own], |row| {
            let owner = Owner { host: row.get(1)?, pid: row.get(2)?, started: row.get(3)? };
            Ok((row.get::<_, i64>(0)?, owner, row.get::<_, i64>(4)?))
        })?;
        for (id, owner, lease) in others.collect::<rusqlite::Result<Vec<_>>>()? {
            if owner.is_gone_at(lease) {
                self.connection.execute("DELETE FROM owners WHERE id = ?1", [id])?;
            }
        }
        Ok(())
    }
}

/// Inserts a trace, or replaces the one with its key.
static PUT: LazyLock<String> = LazyLock::new(|| {
    let Table { columns, .. } = TRACES;
    let places: Vec<String> = (1..=columns.len() + 1).map(|number| format!("?{number}")).collect();
    let again = columns.iter().chain(&["digest"]).map(|column| format!("{column} = excluded.{column}"));
    format!(
        "INSERT INTO traces ({}, digest) VALUES ({}) ON CONFLICT (run, prompt, sample) DO UPDATE SET {}",
        columns.join(", "),
        places.join(", "),
        again.collect::<Vec<_>>().join(", "),
    )
});
