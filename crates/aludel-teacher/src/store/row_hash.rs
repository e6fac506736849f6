//! The hash that each row carries, over each of its columns by name, so that damage to a row is detected. Ids are not hashed: what
//! a row refers to is checked by the hashes of prompts and settings (`hash_of`).

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params};

use aludel_data::key_fields::{Field, Fields};

/// A table whose rows carry a hash.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The hashed columns, in the order in which rows are written.
    pub(super) columns: &'static [&'static str],
}

pub(super) const PROMPTS: Table = Table { name: "prompts", columns: &["hash", "messages", "columns", "origin"] };

pub(super) const RUNS: Table = Table { name: "runs", columns: &["hash", "teacher", "settings", "created"] };

pub(super) const TRACES: Table = Table {
    name: "traces",
    columns: &[
        "hash",
        "run",
        "prompt",
        "sample",
        "status",
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "first_token_ms",
        "elapsed_ms",
        "attempts",
        "endpoint",
        "model",
        "created",
        "error",
        "reasoning",
        "content",
        "logprobs",
    ],
};

/// The content of one column.
struct Cell<'a>(ValueRef<'a>);

impl Field for Cell<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        match self.0 {
            ValueRef::Null => None::<bool>.write(into),
            ValueRef::Integer(number) => number.write(into),
            ValueRef::Real(number) => number.write(into),
            // Text of a damaged file may be invalid UTF-8.
            ValueRef::Text(bytes) => {
                into.push(b'T');
                bytes.write(into);
            }
            ValueRef::Blob(bytes) => bytes.write(into),
        }
    }
}

impl Table {
    /// Its columns, as a query names them.
    pub(super) fn named(&self) -> String {
        self.columns.iter().map(|column| format!("{}.{column}", self.name)).collect::<Vec<_>>().join(", ")
    }

    /// The hash of a row to be written.
    pub(super) fn of(&self, values: &[Value]) -> String {
        self.over(values.iter().map(ValueRef::from))
    }

    /// The hash of a row that was read, whose columns start at index `first` of the query.
    pub(super) fn of_row(&self, row: &Row<'_>, first: usize) -> rusqlite::Result<String> {
        let cells = (first..first + self.columns.len()).map(|index| row.get_ref(index));
        Ok(self.over(cells.collect::<rusqlite::Result<Vec<_>>>()?.into_iter()))
    }

    fn over<'a>(&self, values: impl Iterator<Item = ValueRef<'a>>) -> String {
        let fields = Fields::new(self.name, 1);
        let fields =
            self.columns.iter().zip(values).fold(fields, |fields, (name, value)| fields.with(name, &Cell(value)));
        let mut hash = fields.hash();
        hash.truncate(32);
        hash
    }

    /// Adds hashes to all rows of a store from an earlier version.
    pub(super) fn add_digests(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Table { name, .. } = self;
        let ids: Vec<i64> = {
            let mut find = connection.prepare(&format!("SELECT id FROM {name}"))?;
            find.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        let mut read = connection.prepare(&format!("SELECT {} FROM {name} WHERE id = ?1", self.named()))?;
        let mut write = connection.prepare(&format!("UPDATE {name} SET digest = ?2 WHERE id = ?1"))?;
        for id in ids {
            let digest = read.query_row([id], |row| self.of_row(row, 0))?;
            write.execute(params![id, digest])?;
        }
        Ok(())
    }
}
