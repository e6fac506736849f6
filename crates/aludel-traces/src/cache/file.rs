//! The cache's file: a header, the rows, an index. Ids are stored as variable-length integers and weights as runs, about
//! two bytes a token in all. Header and index carry checksums that are verified on opening, each row one that is
//! verified on reading, so that a torn or foreign file is never trusted.
//!
//! ```text
//! header   magic 8 · key 32 · rows u64 · index at u64 · file length u64 · hash of index 32 · hash of all this 32
//! row      ids as varints · (run length varint, weight f32)… · first 4 bytes of the hash of all this
//! index    for each row: at u64 · bytes u32 · tokens u32 · supervised u32 · file u32 · example u64 · line u64 · prompt u128
//!          then the outcomes as JSON
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{CacheKey, Outcomes, RowInfo, TokenRow};
use crate::Error;
use crate::dataset::PromptKey;
use crate::folder::{FolderLock, Partial};

const MAGIC: &[u8; 8] = b"ALUROWS1";
const HEADER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 56;
const CHECKSUM_BYTES: usize = 4;

/// Rows open for reading.
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
    /// Opens the file; `None` if there is none or if it is not the whole file that belongs to the key.
    pub(super) fn open(path: &Path, key: CacheKey) -> Result<Option<RowFile>, Error> {
        let read_error = |reason: io::Error| Error::Read { path: path.to_path_buf(), reason };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(read_error(reason)),
        };
        let file_bytes = file.metadata().map_err(read_error)?.len();
        let mut header = [0; HEADER_BYTES];
        if file_bytes < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0).map_err(read_error)?;
        let Some(header) = Header::parse(&header, key, file_bytes) else { return Ok(None) };
        let mut index = vec![0; (file_bytes - header.index_at) as usize];
        file.read_exact_at(&mut index, header.index_at).map_err(read_error)?;
        if blake3::hash(&index).as_bytes() != &header.index_hash {
            return Ok(None);
        }
        let (entries, outcomes) = index.split_at(header.rows * ENTRY_BYTES);
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
        let (ids, weights) =
            decode_row(body, entry.info.tokens as usize).ok_or_else(|| damaged("its tokens do not add up"))?;
        Ok(TokenRow { ids, weights, info: entry.info })
    }
}

/// Rows being written.
pub(super) struct RowWriter {
    partial: Partial,
    at: u64,
    index: Vec<u8>,
    rows: u64,
    row: Vec<u8>,
}

impl RowWriter {
    pub(super) fn create(path: &Path, lock: &FolderLock) -> Result<RowWriter, Error> {
        let mut partial = Partial::create(path, lock)?;
        // The header is written last: until then the file cannot be mistaken for a whole one.
        partial.write_all(&[0; HEADER_BYTES])?;
        Ok(RowWriter { partial, at: HEADER_BYTES as u64, index: Vec::new(), rows: 0, row: Vec::new() })
    }

    pub(super) fn push(&mut self, ids: &[u32], weights: &[f32], info: RowInfo) -> Result<(), Error> {
        self.row.clear();
        encode_row(ids, weights, &mut self.row);
        let checksum = checksum_of(&self.row);
        self.row.extend_from_slice(&checksum);
        self.partial.write_all(&self.row)?;
        Entry { at: self.at, bytes: self.row.len() as u32, info }.write(&mut self.index);
        self.at += self.row.len() as u64;
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(mut self, key: CacheKey, outcomes: &Outcomes) -> Result<(), Error> {
        self.index.extend_from_slice(outcomes_json(outcomes).as_bytes());
        self.partial.write_all(&self.index)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&key.0);
        header.extend_from_slice(&self.rows.to_le_bytes());
        header.extend_from_slice(&self.at.to_le_bytes());
        header.extend_from_slice(&(self.at + self.index.len() as u64).to_le_bytes());
        header.extend_from_slice(blake3::hash(&self.index).as_bytes());
        let hash = blake3::hash(&header);
        header.extend_from_slice(hash.as_bytes());
        self.partial.finish_with_header(&header)
    }
}

struct Header {
    rows: usize,
    index_at: u64,
    index_hash: [u8; 32],
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES], key: CacheKey, file_bytes: u64) -> Option<Header> {
        let (content, hash) = bytes.split_at(HEADER_BYTES - 32);
        let mut fields = Fields(content);
        let own = fields.take() == *MAGIC && fields.take() == key.0 && blake3::hash(content).as_bytes() == hash;
        let rows = u64::from_le_bytes(fields.take());
        let index_at = u64::from_le_bytes(fields.take());
        let whole = u64::from_le_bytes(fields.take()) == file_bytes;
        let index_bytes = file_bytes.checked_sub(index_at)?;
        let room = rows.checked_mul(ENTRY_BYTES as u64).is_some_and(|entries| entries <= index_bytes);
        (own && whole && room).then(|| Header { rows: rows as usize, index_at, index_hash: fields.take() })
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

/// Takes fixed-size fields off the front of bytes whose length was checked by whoever cut them.
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

fn decode_row(mut bytes: &[u8], tokens: usize) -> Option<(Vec<u32>, Vec<f32>)> {
    // A varint has at least one byte, so a count beyond the bytes is a lie, and is not allocated for.
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
    bytes.is_empty().then_some((ids, weights))
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
    // Plain numbers and strings: nothing in it can fail to serialise.
    serde_json::json!(outcomes).to_string()
}
