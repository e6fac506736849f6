//! One file of a cache: rows one after the other, and for each of their supervised tokens a record. Written whole or not at all, and
//! checked by its hash before anything of it is used.
//!
//! The file: 8 bytes of magic, the length of the header in 4 bytes, the header in JSON, the records, and the BLAKE3 hash of all before.

use std::path::Path;

use aludel_formats::{atomic, mapping::MappedFile};
use serde::{Deserialize, Serialize};

use super::record::RecordLayout;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"ALUDELT1";
const HASH_BYTES: usize = 32;
/// Bytes before the header.
const START: usize = MAGIC.len() + size_of::<u32>();

/// What a row is found by: the hash of its ids, and of what the teacher read in place of the tokens before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RowKey([u8; 16]);

impl RowKey {
    /// Of a row with these ids, and a teacher's context, which may be empty.
    pub(super) fn of(ids: &[u32], context: &[u32]) -> RowKey {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = [0; 4 * 64];
        // No token has this id.
        let between: &[u32] = if context.is_empty() { &[] } else { &[u32::MAX] };
        for some in [ids, between, context].into_iter().flat_map(|part| part.chunks(64)) {
            for (four, id) in bytes.as_chunks_mut().0.iter_mut().zip(some) {
                *four = id.to_le_bytes();
            }
            hasher.update(&bytes[..4 * some.len()]);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        RowKey(key)
    }

    /// A number that differs from row to row, for random draws.
    pub(super) fn number(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<RowKey> {
        let mut key = [0; 16];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        (text.len() == 32).then_some(RowKey(key))
    }
}

/// The places of a row whose next token has a record, as runs of them: first place and number.
pub(super) type Runs = Vec<[u32; 2]>;

/// Ascending places as runs.
pub(super) fn runs_of(places: impl IntoIterator<Item = u32>) -> Runs {
    let mut runs: Runs = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some([first, count]) if *first + *count == place => *count += 1,
            _ => runs.push([place, 1]),
        }
    }
    runs
}

/// What a shard says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ShardHeader {
    /// Identifies the cache that it belongs to.
    pub(super) cache: String,
    /// Its rows, in order.
    pub(super) rows: Vec<ShardRow>,
    /// Supervised tokens: records.
    pub(super) tokens: usize,
    /// Over some of them, KL between the teacher's distribution and what is stored of it, nats a token.
    pub(super) stored_kl: f64,
}

/// A row of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRow {
    /// Its key, in hexadecimal digits.
    pub(super) key: String,
    /// Places that have a record.
    pub(super) runs: Runs,
}

impl ShardRow {
    /// A row with records at these places.
    pub(super) fn new(key: RowKey, places: impl IntoIterator<Item = u32>) -> ShardRow {
        ShardRow { key: key.hex(), runs: runs_of(places) }
    }

    /// Its key, where it has one.
    pub(super) fn key(&self) -> Option<RowKey> {
        RowKey::from_hex(&self.key)
    }

    /// Records of the row.
    pub(super) fn tokens(&self) -> usize {
        self.runs.iter().map(|&[_, count]| count as usize).sum()
    }
}

/// Writes a shard.
///
/// # Errors
/// The disk cannot take it.
pub(super) fn write(path: &Path, header: &ShardHeader, records: &[u8]) -> Result<()> {
    let json = serde_json::to_vec(header).map_err(|error| damaged(path, &error.to_string()))?;
    let length = u32::try_from(json.len()).map_err(|error| damaged(path, &error.to_string()))?;
    let mut hasher = blake3::Hasher::new();
    let parts = [&MAGIC[..], &length.to_le_bytes(), &json, records];
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    atomic::write_file(path, |output| {
        parts.iter().try_for_each(|part| output.put(part))?;
        Ok::<_, Error>(output.put(hasher.finalize().as_bytes())?)
    })
}

/// The hash at the end of a shard, which [`Shard::open`] checks.
///
/// # Errors
/// It is missing or too short.
pub(super) fn hash(path: &Path) -> Result<[u8; HASH_BYTES]> {
    let mapping = MappedFile::open(path)?;
    let hash = mapping.bytes().last_chunk();
    hash.copied().ok_or_else(|| damaged(path, "it is no shard of a teacher cache"))
}

/// An open shard, whose bytes are those that were written.
pub(super) struct Shard {
    mapping: MappedFile,
    records: usize,
}

impl Shard {
    /// Opens a shard and checks all of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] with what is wrong.
    pub(super) fn open(path: &Path, layout: &RecordLayout) -> Result<(Shard, ShardHeader)> {
        let mapping = MappedFile::open(path)?;
        let bytes = mapping.bytes();
        let damage = |reason: &str| damaged(path, reason);
        if bytes.len() < START + HASH_BYTES || !bytes.starts_with(MAGIC) {
            return Err(damage("it is no shard of a teacher cache"));
        }
        let (body, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
        if blake3::hash(body).as_bytes()[..] != *hash {
            return Err(damage("its hash does not agree with its bytes"));
        }
        let mut length = [0; 4];
        length.copy_from_slice(&body[MAGIC.len()..START]);
        let records = START.saturating_add(u32::from_le_bytes(length) as usize);
        let json = body.get(START..records).ok_or_else(|| damage("its header ends beyond the file"))?;
        let header: ShardHeader = serde_json::from_slice(json).map_err(|error| damage(&error.to_string()))?;
        let is_sound = |&[first, count]: &[u32; 2]| first.checked_add(count).is_some();
        if !header.rows.iter().flat_map(|row| &row.runs).all(is_sound) {
            return Err(damage("it has places beyond any row"));
        }
        let counted: usize = header.rows.iter().map(ShardRow::tokens).sum();
        if header.tokens.checked_mul(layout.bytes()) != Some(body.len() - records) || counted != header.tokens {
            return Err(damage("it does not hold as many tokens as it says"));
        }
        // What was only read to be checked takes no memory.
        mapping.release();
        Ok((Shard { mapping, records }, header))
    }

    /// The record of a token by its number in the shard.
    pub(super) fn record(&self, number: usize, layout: &RecordLayout) -> &[u8] {
        let start = self.records + number * layout.bytes();
        &self.mapping.bytes()[start..start + layout.bytes()]
    }
}

/// A shard that cannot be used.
pub(super) fn damaged(path: &Path, reason: &str) -> Error {
    let reason = format!("{reason}; delete it and run the same `aludel cache` again, which writes what is missing");
    Error::Damaged { path: path.to_owned(), reason }
}
