//! Opens the file of a store: creates a new one, refuses other files, and explains SQLite's errors. The content of the tables is
//! described in the neighbouring modules.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use super::row_hash::{PROMPTS, RUNS, TRACES};
use crate::Error;

/// "Alud", SQLite's application id in the file's header.
const APPLICATION_ID: i32 = 0x416c_7564;

/// Increased whenever the tables change.
pub(super) const SCHEMA_VERSION: i32 = 3;

/// The last version without row hashes and counts. Earlier versions are read as they are, and are upgraded when they are opened for
/// writing.
const WITHOUT_DIGESTS: i32 = 1;

/// Since this version rows have hashes.
pub(super) const WITH_DIGESTS: i32 = 2;

/// Since this version an answer without a known price has no cost; before, its cost was 0.
pub(super) const WITH_UNKNOWN_COSTS: i32 = 3;

const SCHEMA: &str = include_str!("schema.sql");

const COUNTS: &str = include_str!("counts.sql");

/// Recounts the rows.
pub(super) const RECOUNT: &str = include_str!("recount.sql");

/// How every SQLite file begins.
pub(crate) const MAGIC: &[u8] = b"SQLite format 3\0";

/// How long to wait for other processes that are writing, in attempts of 1 to 5 ms: about 5 s. Aludel's writers hold a store for
/// milliseconds; a process that holds it longer, such as a shell with an open transaction, is reported.
const BUSY_TRIES: i32 = 1_600;

/// The wait before another attempt, of varying length, so that two processes do not collide again and again.
fn wait(tries: i32) -> Duration {
    Duration::from_millis(1 + (tries % 5) as u64)
}

/// Opens a store for writing, and creates it if it does not exist.
pub(super) fn for_writing(path: &Path) -> Result<Connection, Error> {
    for_writing_within(path, BUSY_TRIES)
}

/// The same with another number of attempts while another process is writing.
fn for_writing_within(path: &Path, tries: i32) -> Result<Connection, Error> {
    // A link to a store that does not exist yet may dangle.
    match std::fs::metadata(path) {
        Err(reason) if reason.kind() == ErrorKind::NotFound => {}
        _ => check_file(path, true)?,
    }
    check_beside(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrong = |error| wrong(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    prepare(&mut connection, tries).map_err(wrong)?;
    if is_empty(&connection).map_err(wrong)? {
        make(&mut connection).map_err(wrong)?;
    }
    check_schema(path, &connection)?;
    migrate(&mut connection).map_err(wrong)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(wrong)?;
    if mode != "wal" {
        return Err(Error::Store {
            path: path.to_path_buf(),
            reason: "the file system has no shared memory, which a store needs".to_string(),
            mend: "keep the store on a local disk",
        });
    }
    connection.execute_batch("PRAGMA synchronous = FULL").map_err(wrong)?;
    Ok(connection)
}

/// Opens an existing store for reading.
pub(super) fn for_reading(path: &Path) -> Result<Connection, Error> {
    check_file(path, false)?;
    check_beside(path)?;
    for_reading_again(path)
}

/// Opens a store for reading that this process has open. Its files are not opened in any other way: closing a file gives back all locks
/// that the process has on it (POSIX), those of SQLite's other connections among them, and another process would then take the store
/// for one that nobody uses, and cut its shared memory.
pub(super) fn for_reading_again(path: &Path) -> Result<Connection, Error> {
    // Read-write where possible: the last process to close a store cleans up its files.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrong = |error| wrong(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    prepare(&mut connection, BUSY_TRIES).map_err(wrong)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(wrong)?;
    check_schema(path, &connection)?;
    Ok(connection)
}

/// Explains an error of SQLite.
pub(super) fn wrong(path: &Path, error: rusqlite::Error) -> Error {
    let mend = match error.sqlite_error_code() {
        // Not an error of SQLite itself, but a value that could not be converted.
        None | Some(ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation | ErrorCode::TooBig) => {
            "the disk is not at fault but a value: `aludel trace status` tells whether the store is as it was written"
        }
        Some(ErrorCode::DiskFull) => "free some space or move the store to another disk",
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged: sqlite3's `.recover` saves what can be read, into a new file"
        }
        Some(ErrorCode::NotADatabase) => "name a store that `aludel trace` wrote",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process is holding it (`fuser FILE` tells which); end that, or wait until it is done"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "make the file and its folder writable; a store keeps two files beside itself"
        }
        _ => "check that the file and its folder exist and may be written",
    };
    Error::Store { path: path.to_path_buf(), reason: error.to_string(), mend }
}

/// Whether a file is a SQLite file, by its first bytes.
///
/// # Errors
/// [`Error::Data`].
pub fn is_sqlite(path: &Path) -> Result<bool, Error> {
    let mut start = Vec::new();
    let read = match path.is_dir() {
        true => Ok(0),
        false => aludel_files::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)),
    };
    read.map_err(|reason| aludel_data::Error::Read { path: path.to_path_buf(), reason })?;
    Ok(start == MAGIC)
}

/// SQLite opens its files beside a store without checking their types, and would wait for a pipe.
fn check_beside(path: &Path) -> Result<(), Error> {
    for ending in ["-journal", "-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        match aludel_files::open(&beside) {
            Err(reason) if reason.kind() != ErrorKind::NotFound => {
                return Err(aludel_data::Error::Read { path: beside.into(), reason }.into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_file(path: &Path, may_be_empty: bool) -> Result<(), Error> {
    if is_sqlite(path)? {
        return Ok(());
    }
    let length = path.metadata().map_or(0, |about| about.len());
    let what = match () {
        () if path.is_dir() => "this is a folder",
        () if length == 0 && may_be_empty => return Ok(()),
        () if length == 0 => "this file is empty",
        () => "this is no SQLite file",
    };
    Err(none(path, what))
}

fn none(path: &Path, what: &str) -> Error {
    let reason = format!("{what}, and a store of traces is wanted");
    Error::Store { path: path.to_path_buf(), reason, mend: "name a store that `aludel trace` wrote, or a new file" }
}

fn prepare(connection: &mut Connection, tries: i32) -> rusqlite::Result<()> {
    connection.busy_handler(Some(move |tried: i32| {
        std::thread::sleep(wait(tried));
        tried < tries
    }))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000; PRAGMA trusted_schema = OFF")
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && number(connection, "application_id")? == 0)
}

/// Another process may be creating the same file: the second one finds it finished.
fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(COUNTS)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

/// Upgrades a store of an earlier version. Another process may be doing the same.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if number(connection, "user_version")? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = number(&transaction, "user_version")?;
    if version < WITH_DIGESTS {
        for table in [&PROMPTS, &RUNS, &TRACES] {
            let add = format!("ALTER TABLE {} ADD COLUMN digest TEXT NOT NULL DEFAULT ''", table.name);
            transaction.execute_batch(&add)?;
            table.add_digests(&transaction)?;
        }
        transaction.execute_batch(COUNTS)?;
        transaction.execute_batch(RECOUNT)?;
    }
    if version < WITH_UNKNOWN_COSTS {
        allow_unknown_costs(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Drops the constraint on the column `cost`, and the costs of 0 that stood for an unknown price. Only the constraint changes and
/// not the data on disk, so that SQLite's short way of editing the schema is safe.
fn allow_unknown_costs(connection: &Connection) -> rusqlite::Result<()> {
    let version = number(connection, "schema_version")?;
    connection.execute_batch(&format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'cost REAL NOT NULL,', 'cost REAL,')
           WHERE type = 'table' AND name = 'traces';
         PRAGMA schema_version = {};
         PRAGMA writable_schema = RESET",
        version + 1
    ))?;
    let ids: Vec<i64> = {
        let mut find = connection.prepare("SELECT id FROM traces WHERE cost = 0 AND status <> 'failed'")?;
        find.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let find = format!("SELECT {}, digest FROM traces WHERE id = ?1", TRACES.named());
    let mut find = connection.prepare(&find)?;
    let mut digest_of =
        |id: i64| find.query_row([id], |row| Ok((TRACES.of_row(row, 0)?, row.get::<_, String>(TRACES.columns.len())?)));
    let mut clear = connection.prepare("UPDATE traces SET cost = NULL WHERE id = ?1")?;
    let mut write = connection.prepare("UPDATE traces SET digest = ?2 WHERE id = ?1")?;
    for id in ids {
        // A damaged row remains detectable.
        let (digest, written) = digest_of(id)?;
        if digest == written {
            clear.execute([id])?;
            write.execute(params![id, digest_of(id)?.0])?;
        }
    }
    Ok(())
}

fn check_schema(path: &Path, connection: &Connection) -> Result<(), Error> {
    let wrong = |error| wrong(path, error);
    if number(connection, "application_id").map_err(wrong)? != APPLICATION_ID {
        return Err(none(path, "this SQLite file belongs to another program"));
    }
    match number(connection, "user_version").map_err(wrong)? {
        WITHOUT_DIGESTS..=SCHEMA_VERSION => Ok(()),
        version => Err(Error::Store {
            path: path.to_path_buf(),
            reason: format!("the store's schema has version {version}, and this Aludel knows version {SCHEMA_VERSION}"),
            mend: "use the Aludel that wrote it",
        }),
    }
}

pub(super) fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_somebody_holds_is_waited_for_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traces.db");
        let holder = for_writing(&path).unwrap();
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let other = for_writing_within(&path, 3).unwrap();
        let told = wrong(&path, other.execute_batch("BEGIN IMMEDIATE").unwrap_err()).to_string();
        assert!(told.contains("database is locked") && told.contains("another process is holding it"), "{told}");
        // A process that releases the store in time causes no error.
        let patient = for_writing_within(&path, 1_000_000).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || patient.execute_batch("BEGIN IMMEDIATE; COMMIT"));
            std::thread::sleep(wait(4));
            holder.execute_batch("COMMIT").unwrap();
            waiting.join().unwrap().unwrap();
        });
        // The total wait that is documented.
        let all: Duration = (0..=BUSY_TRIES).map(wait).sum();
        assert!((Duration::from_millis(4_500)..Duration::from_millis(5_500)).contains(&all), "{all:?}");
    }
}
