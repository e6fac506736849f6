//! Writes safetensors files one tensor at a time, so that a model is never completely in memory: a single file, or
//! shards with Hugging Face's names and index. Computing the bytes is left to the caller.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{INDEX_FILE_NAME, SINGLE_FILE_NAME};
use crate::atomic;
use crate::error::{Error, Result};
use crate::tensor::TensorSpec;

/// The size up to which tensors share a shard: 4 GB, below the limit on file sizes of FAT32 and of 32-bit tools.
pub const DEFAULT_MAX_SHARD_BYTES: u64 = 4_000_000_000;

/// The metadata that transformers writes and requires: `{"format": "pt"}`.
pub fn hf_metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

/// Writes one file. `bytes_of` is called once for each tensor, widest element type first and then by name: the order in
/// the file, which keeps every tensor aligned to its elements.
///
/// # Errors
/// Those of `bytes_of`; [`Error::ByteCount`] if it gives more or fewer bytes than type and shape need; [`Error::Shape`],
/// [`Error::UnsupportedDtype`] and [`Error::Duplicate`] for tensors that the format cannot hold; and those of
/// [`atomic::write_file`]. After any of them an older file is untouched.
pub fn save_file<'b, E: From<Error>>(
    path: &Path,
    tensors: &[TensorSpec],
    metadata: &BTreeMap<String, String>,
    mut bytes_of: impl FnMut(&TensorSpec) -> Result<Cow<'b, [u8]>, E>,
) -> Result<(), E> {
    let sized = sized(path, tensors)?;
    write(path, sized, metadata, &mut bytes_of)
}

/// Writes a model's weights into `folder`: `model.safetensors` if they fit `max_shard_bytes`, else shards
/// `model-00001-of-0000N.safetensors` and their index. Tensors go into shards in the given order; one that is larger
/// than a shard has a shard of its own. Weights of an earlier save that are not overwritten are removed at the end.
///
/// Each file appears complete; for a folder that appears complete, call this inside of [`atomic::write_dir`].
///
/// # Errors
/// As [`save_file`].
pub fn save_sharded<'b, E: From<Error>>(
    folder: &Path,
    tensors: &[TensorSpec],
    max_shard_bytes: u64,
    metadata: &BTreeMap<String, String>,
    mut bytes_of: impl FnMut(&TensorSpec) -> Result<Cow<'b, [u8]>, E>,
) -> Result<(), E> {
    let sized = sized(&folder.join(SINGLE_FILE_NAME), tensors)?;
    let total_bytes: u64 = sized.iter().map(|tensor| tensor.length as u64).sum();
    let elements: u64 = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum();
    let shards = into_shards(sized, max_shard_bytes);
    let mut written = Vec::new();
    let mut weight_map = BTreeMap::new();
    let count = shards.len();
    for (number, shard) in shards.into_iter().enumerate() {
        let name = shard_name(number, count);
        weight_map.extend(shard.iter().map(|tensor| (tensor.spec.name.clone(), name.clone())));
        write(&folder.join(&name), shard, metadata, &mut bytes_of)?;
        written.push(name);
    }
    if count > 1 {
        let about = IndexMetadata { total_parameters: elements, total_size: total_bytes };
        atomic::write_json(&folder.join(INDEX_FILE_NAME), &Index { metadata: about, weight_map })?;
        written.push(INDEX_FILE_NAME.to_owned());
    }
    Ok(remove_older(folder, &written)?)
}

#[derive(Serialize)]
struct Index {
    metadata: IndexMetadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct IndexMetadata {
    total_parameters: u64,
    total_size: u64,
}

struct SizedTensor<'t> {
    spec: &'t TensorSpec,
    length: usize,
}

/// The tensors with their lengths, once it is sure that the format can hold them.
fn sized<'t>(path: &Path, tensors: &'t [TensorSpec]) -> Result<Vec<SizedTensor<'t>>> {
    let mut names = HashSet::new();
    let mut sized = Vec::with_capacity(tensors.len());
    for spec in tensors {
        let (path, tensor) = (path.to_owned(), spec.name.clone());
        if !names.insert(&spec.name) || spec.name == "__metadata__" {
            return Err(Error::Duplicate { path, what: "tensor", name: tensor });
        }
        if spec.dtype.is_quantised() {
            let (dtype, supported) = (spec.dtype.name().to_owned(), "F32, F16 or BF16".to_owned());
            return Err(Error::UnsupportedDtype { path, tensor, dtype, supported });
        }
        let Some(length) = spec.byte_count() else {
            let shape = spec.shape.iter().map(|extent| *extent as u64).collect();
            let (dtype, reason) = (spec.dtype.name().to_owned(), "its size overflows".to_owned());
            return Err(Error::Shape { path, tensor, dtype, shape, reason });
        };
        sized.push(SizedTensor { spec, length });
    }
    Ok(sized)
}

fn into_shards(tensors: Vec<SizedTensor<'_>>, max_shard_bytes: u64) -> Vec<Vec<SizedTensor<'_>>> {
    let mut shards: Vec<Vec<SizedTensor<'_>>> = vec![Vec::new()];
    let mut filled_bytes = 0u64;
    for tensor in tensors {
        let length = tensor.length as u64;
        if filled_bytes > 0 && filled_bytes.saturating_add(length) > max_shard_bytes {
            shards.push(Vec::new());
            filled_bytes = 0;
        }
        filled_bytes = filled_bytes.saturating_add(length);
        if let Some(shard) = shards.last_mut() {
            shard.push(tensor);
        }
    }
    shards
}

fn shard_name(number: usize, count: usize) -> String {
    match count {
        1 => SINGLE_FILE_NAME.to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
    }
}

fn write<'b, E: From<Error>>(
    path: &Path,
    mut tensors: Vec<SizedTensor<'_>>,
    metadata: &BTreeMap<String, String>,
    bytes_of: &mut impl FnMut(&TensorSpec) -> Result<Cow<'b, [u8]>, E>,
) -> Result<(), E> {
    tensors.sort_by(|left, right| {
        let width = |tensor: &SizedTensor<'_>| tensor.spec.dtype.block_bytes();
        width(right).cmp(&width(left)).then_with(|| left.spec.name.cmp(&right.spec.name))
    });
    let header = header(path, &tensors, metadata)?;
    atomic::write_file(path, |output| {
        output.put(&(header.len() as u64).to_le_bytes())?;
        output.put(&header)?;
        for tensor in &tensors {
            let bytes = bytes_of(tensor.spec)?;
            if bytes.len() != tensor.length {
                return Err(Error::ByteCount {
                    path: path.to_owned(),
                    tensor: tensor.spec.name.clone(),
                    wanted_bytes: tensor.length as u64,
                    found_bytes: bytes.len() as u64,
                }
                .into());
            }
            output.put(&bytes)?;
        }
        Ok(())
    })
}

/// The header, padded with spaces to whole words so that the data after it is aligned.
fn header(path: &Path, tensors: &[SizedTensor<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Header { tensors, metadata })
        .map_err(|reason| Error::Json { path: path.to_owned(), reason: reason.to_string() })?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

struct Header<'t> {
    tensors: &'t [SizedTensor<'t>],
    metadata: &'t BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Info<'t> {
    dtype: &'static str,
    shape: &'t [usize],
    data_offsets: (usize, usize),
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", self.metadata)?;
        }
        let mut start = 0;
        for tensor in self.tensors {
            let end = start + tensor.length;
            let (dtype, shape) = (tensor.spec.dtype.name(), tensor.spec.shape.as_slice());
            map.serialize_entry(&tensor.spec.name, &Info { dtype, shape, data_offsets: (start, end) })?;
            start = end;
        }
        map.end()
    }
}

/// Removes weights that an earlier save left, as readers would take them for these.
fn remove_older(folder: &Path, written: &[String]) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list the folder"))? {
        let entry = entry.map_err(Error::io(folder, "list the folder"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_weights = name == SINGLE_FILE_NAME || name == INDEX_FILE_NAME || is_shard_name(&name);
        if is_weights && !written.contains(&name) {
            fs::remove_file(entry.path()).map_err(Error::io(&entry.path(), "remove the older weights"))?;
        }
    }
    Ok(())
}

fn is_shard_name(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let parts = numbers.and_then(|numbers| numbers.split_once("-of-"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.is_some_and(|(number, count)| is_number(number) && is_number(count))
}
