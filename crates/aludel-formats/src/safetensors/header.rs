//! Checks a safetensors header before and after the `safetensors` crate parses it. That crate refuses what it must, but
//! lets the later of two equal names win and seldom names the tensor at fault; this module does both.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::Entry;
use crate::error::{Error, Result};

/// Maximum header length: a tenth of the format's own limit, and a hundred times what a large model needs.
const LONGEST_HEADER_BYTES: u64 = 10_000_000;
const LENGTH_BYTES: usize = 8;

type Parsed = (Vec<Entry>, HashMap<String, String>);

/// The tensors and the metadata of a file whose bytes these are.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed> {
    let header = header_of(path, bytes)?;
    let data_bytes = bytes.len() - LENGTH_BYTES - header.len();
    check(path, header, data_bytes as u64)?;
    let (header_bytes, parsed) =
        SafeTensors::read_metadata(bytes).map_err(|error| explain(path, bytes.len() as u64, &error))?;
    let data_start = LENGTH_BYTES + header_bytes;
    let mut entries = Vec::new();
    for name in parsed.offset_keys() {
        // The names are the parser's own, so each has its info.
        let Some(info) = parsed.info(&name) else { continue };
        let (start, end) = info.data_offsets;
        entries.push(Entry {
            dtype_name: info.dtype.to_string(),
            shape: info.shape.clone(),
            bytes: data_start + start..data_start + end,
            name,
        });
    }
    Ok((entries, parsed.metadata().clone().unwrap_or_default()))
}

fn header_of<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b [u8]> {
    let file_bytes = bytes.len() as u64;
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(Error::Truncated {
            path: path.to_owned(),
            what: "the header's length".to_owned(),
            offset: 0,
            needed_bytes: LENGTH_BYTES as u64,
            file_bytes,
        });
    };
    let claimed_bytes = u64::from_le_bytes(*length);
    let limit_bytes = LONGEST_HEADER_BYTES.min(rest.len() as u64);
    if claimed_bytes > limit_bytes {
        return Err(Error::HeaderSize { path: path.to_owned(), claimed_bytes, limit_bytes });
    }
    Ok(&rest[..claimed_bytes as usize])
}

/// Refuses what the parser would accept, or would refuse without naming the tensor.
fn check(path: &Path, header: &[u8], data_bytes: u64) -> Result<()> {
    let header_end = (LENGTH_BYTES + header.len()) as u64;
    let raw: RawHeader = serde_json::from_slice(header)
        .map_err(|reason| Error::Json { path: path.to_owned(), reason: format!("in the header, {reason}") })?;
    let mut names = HashSet::new();
    let mut placed: Vec<(u64, u64, &str)> = Vec::new();
    for (name, info) in &raw.0 {
        if !names.insert(name) {
            return Err(Error::Duplicate { path: path.to_owned(), what: "tensor", name: name.clone() });
        }
        let Some(info) = info else { continue };
        let (start, end) = info.data_offsets;
        if start > end || end > data_bytes {
            return Err(Error::OffsetOutside {
                path: path.to_owned(),
                tensor: name.clone(),
                start: start.saturating_add(header_end),
                end: end.saturating_add(header_end),
                file_bytes: header_end + data_bytes,
            });
        }
        check_size(path, name, info)?;
        if start < end {
            placed.push((start, end, name));
        }
    }
    placed.sort_unstable();
    match placed.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => {
            let (first, second) = (pair[0].2.to_owned(), pair[1].2.to_owned());
            Err(Error::Overlap { path: path.to_owned(), first, second })
        }
        None => Ok(()),
    }
}

fn check_size(path: &Path, name: &str, info: &RawInfo) -> Result<()> {
    let elements = info.shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
    let wanted_bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize() as u64));
    let found_bytes = info.data_offsets.1 - info.data_offsets.0;
    if wanted_bits.is_some_and(|bits| bits.is_multiple_of(8) && bits / 8 == found_bytes) {
        return Ok(());
    }
    let reason = match wanted_bits {
        Some(bits) => format!(
            "it needs {} bytes but is given {found_bytes}; the file is damaged, so get it again",
            bits.div_ceil(8)
        ),
        None => {
            "its size overflows; the file is damaged or made to do harm, so get it again from its source".to_owned()
        }
    };
    let (path, tensor, dtype) = (path.to_owned(), name.to_owned(), info.dtype.to_string());
    Err(Error::Shape { path, tensor, dtype, shape: info.shape.clone(), reason })
}

fn explain(path: &Path, file_bytes: u64, error: &SafeTensorError) -> Error {
    let reason = match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            format!(
                "the tensors do not end where the file ends ({file_bytes} bytes); it was cut short or added to, so get it again"
            )
        }
        other => format!("{other}; the file is damaged or its writer is broken, so get it again or write it anew"),
    };
    Error::Malformed { path: path.to_owned(), place: "the header".to_owned(), reason }
}

/// The header's entries in order, equal names included; `None` for the metadata.
struct RawHeader(Vec<(String, Option<RawInfo>)>);

#[derive(Deserialize)]
struct RawInfo {
    dtype: safetensors::Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let info = match name.as_str() {
                        "__metadata__" => {
                            map.next_value::<HashMap<String, String>>()?;
                            None
                        }
                        _ => Some(map.next_value::<RawInfo>()?),
                    };
                    entries.push((name, info));
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
