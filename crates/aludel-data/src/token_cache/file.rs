//! The cache's file: rows, an index, a footer. Ids are stored as variable-length integers and weights as runs, about two bytes a
//! token in all. The checksums of index and footer are verified on opening, that of a row on reading it, so that a truncated or
//! foreign file is never used.
//!
//! ```text
//! row      ids as varints · (run length varint, weight f32)… · a teacher's context as varints, if any · first 4 bytes of the hash of all this
//! index    for each row: at u64 · bytes u32 · tokens u32 · supervised u32 · file u32 · example u64 · line u64 · prompt u128
//!          then the outcomes as JSON
//! closing  magic 8 · key 32 · rows u64 · index at u64 · file length u64 · hash of index 32 · hash of all this 32
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aludel_formats::atomic::Output;

use super::{CacheKey, Outcomes, RowInfo, TokenRow};
use crate::Error;
use crate::dataset::PromptKey;

const MAGIC: &[u8; 8] = b"ALUROWS1";
const CLOSING_BYTES: usize = 128;
const ENTRY_BYTES: usize = 56;
const CHECKSUM_BYTES: usize = 4;

/// Rows, opened for reading.
#[derive(Debug)]
pub(super) struct RowFile {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
    outcomes: Outcomes,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    bytes: u32,
    info: RowInfo,
}

impl RowFile {
    /// Opens the file; `None` if there is none, or if it is incomplete or has another key.
    pub(super) fn open(path: &Path, key: CacheKey) -> Result<Option<RowFile>, Error> {
        let read_error = |reason: io::Error| Error::Read { path: path.to_path_buf(), reason };
        let file = match aludel_files::open(path) {
            Ok(file) => file,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(read_error(reason)),
        };
        let file_bytes = file.metadata().map_err(read_error)?.len();
        let Some(closing_at) = file_bytes.checked_sub(CLOSING_BYTES as u64) else { return Ok(None) };
        let mut closing = [0; CLOSING_BYTES];
        file.read_exact_at(&mut closing, closing_at).map_err(read_error)?;
        let Some(closing) = Closing::parse(&closing, key, file_bytes) else { return Ok(None) };
        let mut index = vec![0; (closing_at - closing.index_at) as usize];
        file.read_exact_at(&mut index, closing.index_at).map_err(read_error)?;
        if blake3::hash(&index).as_bytes() != &closing.index_hash {
            return Ok(None);
        }
        let (entries, outcomes) = index.split_at(closing.rows * ENTRY_BYTES);
        let entries = entries.chunks_exact(ENTRY_BYTES).map(Entry::parse).collect();
        let Ok(outcomes) = serde_json::from_slice(outcomes) else { return Ok(None) };
        Ok(Some(RowFile { path: path.to_path_buf(), file, entries, outcomes }))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn info(&self, row: usize) -> RowInfo {
        self.entries[row].info
    }

    pub(super) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Where the rows end and the index begins.
    #[cfg(test)]
    pub(super) fn rows_end(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.at + u64::from(entry.bytes))
    }

    pub(super) fn row(&self, row: usize) -> Result<TokenRow, Error> {
        let entry = &self.entries[row];
        let damaged = |reason: &str| Error::CacheRow { path: self.path.clone(), row, reason: reason.to_string() };
        let mut bytes = vec![0; entry.bytes as usize];
        self.file.read_exact_at(&mut bytes, entry.at).map_err(|reason| match reason.kind() {
            io::ErrorKind::UnexpectedEof => damaged("the file was cut off"),
            _ => Error::Read { path: self.path.clone(), reason },
        })?;
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(damaged("it is too short"));
        };
        if checksum_of(body) != *checksum {
            return Err(damaged("its checksum does not agree"));
        }
        let (ids, weights, context) =
            decode_row(body, entry.info.tokens as usize).ok_or_else(|| damaged("its tokens do not add up"))?;
        Ok(TokenRow { ids, weights, context, info: entry.info })
    }
}

/// Rows being written. The file is not valid before the footer is written.
pub(super) struct RowWriter<'a> {
    output: &'a mut Output,
    at: u64,
    index: Vec<u8>,
    rows: u64,
    row: Vec<u8>,
}

impl<'a> RowWriter<'a> {
    pub(super) fn new(output: &'a mut Output) -> RowWriter<'a> {
        RowWriter { output, at: 0, index: Vec::new(), rows: 0, row: Vec::new() }
    }

    pub(super) fn push(&mut self, ids: &[u32], weights: &[f32], context: &[u32], info: RowInfo) -> Result<(), Error> {
        self.row.clear();
        encode_row(ids, weights, &mut self.row);
        context.iter().for_each(|&id| write_varint(id, &mut self.row));
        let checksum = checksum_of(&self.row);
        self.row.extend_from_slice(&checksum);
        self.output.put(&self.row)?;
        Entry { at: self.at, bytes: self.row.len() as u32, info }.write(&mut self.index);
        self.at += self.row.len() as u64;
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(mut self, key: CacheKey, outcomes: &Outcomes) -> Result<(), Error> {
        self.index.extend_from_slice(outcomes_json(outcomes).as_bytes());
        self.output.put(&self.index)?;
        let mut closing = Vec::with_capacity(CLOSING_BYTES);
        closing.extend_from_slice(MAGIC);
        closing.extend_from_slice(&key.0);
        closing.extend_from_slice(&self.rows.to_le_bytes());
        closing.extend_from_slice(&self.at.to_le_bytes());
        closing.extend_from_slice(&(self.at + (self.index.len() + CLOSING_BYTES) as u64).to_le_bytes());
        closing.extend_from_slice(blake3::hash(&self.index).as_bytes());
        let hash = blake3::hash(&closing);
        closing.extend_from_slice(hash.as_bytes());
        Ok(self.output.put(&closing)?)
    }
}

struct Closing {
    rows: usize,
    index_at: u64,
    index_hash: [u8; 32],
}

impl Closing {
    fn parse(bytes: &[u8; CLOSING_BYTES], key: CacheKey, file_bytes: u64) -> Option<Closing> {
        let (content, hash) = bytes.split_at(CLOSING_BYTES - 32);
        let mut fields = Fields(content);
        let own = fields.take() == *MAGIC && fields.take() == key.0 && blake3::hash(content).as_bytes() == hash;
        let rows = u64::from_le_bytes(fields.take());
        let index_at = u64::from_le_bytes(fields.take());
        let whole = u64::from_le_bytes(fields.take()) == file_bytes;
        let index_bytes = file_bytes.checked_sub(CLOSING_BYTES as u64)?.checked_sub(index_at)?;
        let room = rows.checked_mul(ENTRY_BYTES as u64).is_some_and(|entries| entries <= index_bytes);
        (own && whole && room).then(|| Closing { rows: rows as usize, index_at, index_hash: fields.take() })
    }
}

impl Entry {
    fn parse(bytes: &[u8]) -> Entry {
        let mut fields = Fields(bytes);
        let at = u64::from_le_bytes(fields.take());
        let bytes = u32::from_le_bytes(fields.take());
        let tokens = u32::from_le_bytes(fields.take());
        let supervised = u32::from_le_bytes(fields.take());
        let file_index = u32::from_le_bytes(fields.take());
        let example = u64::from_le_bytes(fields.take());
        let line = u64::from_le_bytes(fields.take());
        let prompt_key = PromptKey(u128::from_le_bytes(fields.take()));
        Entry { at, bytes, info: RowInfo { tokens, supervised, example, prompt_key, file_index, line } }
    }

    fn write(&self, index: &mut Vec<u8>) {
        index.extend_from_slice(&self.at.to_le_bytes());
        for word in [self.bytes, self.info.tokens, self.info.supervised, self.info.file_index] {
            index.extend_from_slice(&word.to_le_bytes());
        }
        index.extend_from_slice(&self.info.example.to_le_bytes());
        index.extend_from_slice(&self.info.line.to_le_bytes());
        index.extend_from_slice(&self.info.prompt_key.0.to_le_bytes());
    }
}

/// Takes fixed-size fields off the front of bytes whose length the caller has checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_at(N);
        self.0 = rest;
        let mut bytes = [0; N];
        bytes.copy_from_slice(field);
        bytes
    }
}

fn encode_row(ids: &[u32], weights: &[f32], row: &mut Vec<u8>) {
    for &id in ids {
        write_varint(id, row);
    }
    for run in weights.chunk_by(|left, right| left.to_bits() == right.to_bits()) {
        write_varint(run.len() as u32, row);
        row.extend_from_slice(&run[0].to_le_bytes());
    }
}

fn decode_row(mut bytes: &[u8], tokens: usize) -> Option<(Vec<u32>, Vec<f32>, Vec<u32>)> {
    // A varint has at least one byte, so a count beyond the remaining bytes is wrong, and is not allocated for.
    let mut ids = Vec::with_capacity(tokens.min(bytes.len()));
    for _ in 0..tokens {
        ids.push(read_varint(&mut bytes)?);
    }
    let mut weights = Vec::with_capacity(ids.len());
    while weights.len() < tokens {
        let run = read_varint(&mut bytes)? as usize;
        let (weight, rest) = bytes.split_first_chunk::<4>()?;
        bytes = rest;
        if run == 0 || run > tokens - weights.len() {
            return None;
        }
        weights.resize(weights.len() + run, f32::from_le_bytes(*weight));
    }
    let mut context = Vec::new();
    while !bytes.is_empty() {
        context.push(read_varint(&mut bytes)?);
    }
    Some((ids, weights, context))
}

fn write_varint(mut value: u32, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn checksum_of(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

fn outcomes_json(outcomes: &Outcomes) -> String {
    // Plain numbers and strings, whose serialisation cannot fail.
    serde_json::json!(outcomes).to_string()
}
