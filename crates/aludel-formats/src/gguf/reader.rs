//! Reads a GGUF file through a memory map and trusts nothing in it: each count is checked against the remaining bytes
//! before anything is allocated for it, each tensor against the file's end and its neighbours. Tensors are returned as
//! borrowed bytes; decoding them is left to `aludel-kernels`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use super::split::Part;
use super::value::{ARRAY_TYPE_ID, Array, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MOST_DIMENSIONS};
use crate::error::{Error, Result, nearest};
use crate::mapping::{Mapped, map_file};
use crate::tensor::{Dtype, TensorView, byte_count, ggml_type_name};

/// The longest key or tensor name; the format's own limit for keys.
const LONGEST_NAME_BYTES: u64 = 65_535;
/// Maximum header length: a sparse file costs nothing to make, and strings grow when they are read. The
/// largest vocabularies take some 20 MiB.
const LONGEST_HEADER_BYTES: usize = 128 << 20;
/// Maximum alignment; published files use 32, the largest pages are 2 MiB.
const LARGEST_ALIGNMENT: u32 = 1 << 21;

/// An open GGUF file, or all parts of one, whose structure has been checked from end to end.
#[derive(Debug)]
pub struct File {
    /// As it was given.
    path: PathBuf,
    version: u32,
    /// Of the first part.
    metadata: Metadata,
    parts: Vec<(PathBuf, Mapped)>,
    /// Each with the number of its part.
    tensors: Vec<(usize, Entry)>,
    index: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// In the file.
    bytes: Range<usize>,
}

impl File {
    /// Maps the file and checks all of its structure. Of a file that was split, any part stands for all of them.
    ///
    /// # Errors
    /// A variant of [`enum@Error`] for each way in which a GGUF file can be malformed, truncated, inconsistent or
    /// unsupported; [`Error::MissingPart`].
    pub fn open(path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let given = open_one(path)?;
        let Some(part) = Part::of(&given.1.metadata)? else {
            return File::of_parts(path, vec![(path.to_owned(), given)]);
        };
        let mut given = Some(given);
        let mut opened = Vec::new();
        for (number, file) in part.files(path)?.into_iter().enumerate() {
            if number != part.number && !aludel_files::is_there(&file) {
                return Err(Error::MissingPart { path: path.to_owned(), part: file, count: part.count });
            }
            let one = match given.take_if(|_| number == part.number) {
                Some(given) => given,
                None => open_one(&file)?,
            };
            part.check_other(&file, number, &one.1.metadata)?;
            opened.push((file, one));
        }
        part.check_tensors(path, opened.iter().map(|(_, (_, parsed))| parsed.tensors.len()).sum())?;
        File::of_parts(path, opened)
    }

    fn of_parts(path: &Path, opened: Vec<(PathBuf, (Mapped, Parsed))>) -> Result<File> {
        let mut file = File {
            path: path.to_owned(),
            version: 0,
            metadata: Metadata::default(),
            parts: Vec::new(),
            tensors: Vec::new(),
            index: HashMap::new(),
        };
        for (number, (path, (map, parsed))) in opened.into_iter().enumerate() {
            if number == 0 {
                (file.version, file.metadata) = (parsed.version, parsed.metadata);
            }
            for entry in parsed.tensors {
                if file.index.insert(entry.name.clone(), file.tensors.len()).is_some() {
                    return Err(Error::Duplicate { path, what: "tensor", name: entry.name });
                }
                file.tensors.push((number, entry));
            }
            file.parts.push((path, map));
        }
        Ok(file)
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The part that holds the tensor of that name; the path that was opened, if none does.
    pub fn path_of(&self, name: &str) -> &Path {
        self.index.get(name).map_or(&self.path, |index| &self.parts[self.tensors[*index].0].0)
    }

    /// The format version that the file states.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The keys and values, of the first part.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] with the nearest names.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.find_tensor(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.tensors.iter().map(|(_, entry)| entry.name.as_str())),
        })
    }

    /// The tensor of that name, if there is one (`output.weight` is absent where the head is tied).
    pub fn find_tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.index.get(name).map(|index| self.view(&self.tensors[*index]))
    }

    /// All tensors, in the order of parts and in them the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|entry| self.view(entry))
    }

    /// Gives the memory of a tensor back to the system: mapped bytes that were read count as the process's. They can be read again.
    pub fn release(&self, name: &str) {
        if let Some(index) = self.index.get(name) {
            let (part, entry) = &self.tensors[*index];
            self.parts[*part].1.release(&entry.bytes);
        }
    }

    /// Gives the memory of the whole file back. Reading a tensor maps pages of its neighbours, too, which [`File::release`] leaves.
    pub fn release_all(&self) {
        self.parts.iter().for_each(|part| part.1.release(&(0..part.1.len())));
    }

    fn view<'a>(&'a self, (part, entry): &'a (usize, Entry)) -> TensorView<'a> {
        TensorView {
            name: &entry.name,
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            bytes: &self.parts[*part].1[entry.bytes.clone()],
        }
    }
}

fn open_one(path: &Path) -> Result<(Mapped, Parsed)> {
    let map = map_file(path)?;
    let parsed = parse(path, &map)?;
    Ok((map, parsed))
}

struct Parsed {
    version: u32,
    metadata: Metadata,
    tensors: Vec<Entry>,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed> {
    let header = &bytes[..bytes.len().min(LONGEST_HEADER_BYTES)];
    let mut cursor = Cursor { path, bytes: header, position: 0, file_bytes: bytes.len() };
    let version = read_version(&mut cursor)?;
    // The least that one entry can take: name length, type and value; name length, dimension count, type and offset.
    let tensor_count = cursor.count("the tensor count", 8 + 4 + 4 + 8)?;
    let key_count = cursor.count("the metadata key count", 8 + 4 + 1)?;
    let metadata = read_metadata(&mut cursor, key_count)?;
    let alignment = read_alignment(path, &metadata)?;
    let announced = read_tensor_infos(&mut cursor, tensor_count)?;
    let data_start = cursor.position.next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(announced.len());
    for (entry, offset) in announced {
        tensors.push(place(path, bytes.len(), data_start, alignment, entry, offset)?);
    }
    check_overlap(path, &tensors)?;
    Ok(Parsed { version, metadata, tensors })
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32> {
    let path = cursor.path;
    let magic = cursor.bytes.get(..MAGIC.len()).unwrap_or(cursor.bytes);
    if magic != MAGIC {
        let found = format!("\"{}\"", magic.escape_ascii());
        return Err(Error::NotGguf { path: path.to_owned(), found, mend: mend_for_magic(magic) });
    }
    cursor.position = MAGIC.len();
    let version = cursor.u32("the version")?;
    // A small number read in the wrong byte order has its low half empty.
    if version != 0 && version & 0xffff == 0 {
        return Err(Error::BigEndian { path: path.to_owned() });
    }
    if !(2..=3).contains(&version) {
        return Err(Error::GgufVersion { path: path.to_owned(), version });
    }
    Ok(version)
}

fn mend_for_magic(magic: &[u8]) -> &'static str {
    match magic {
        b"PK\x03\x04" => "this is a zip file (a wheel or a pickled checkpoint), so unpack the .gguf from it",
        b"vers" => "this is a Git LFS pointer, so fetch the file itself with `git lfs pull`",
        b"ggml" | b"ggjt" | b"lmgg" | b"tjgg" => "this is an older format of llama.cpp, so convert it to GGUF",
        b"FUGG" => "its bytes are reversed, so take the little-endian file",
        _ => "give a .gguf file or a folder with config.json",
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, key_count: usize) -> Result<Metadata> {
    let mut metadata = Metadata::for_file(cursor.path.to_owned());
    for _ in 0..key_count {
        let key = cursor.name("a metadata key")?;
        let value = read_value(cursor, &key)?;
        if !metadata.insert(key.clone(), value) {
            return Err(Error::Duplicate { path: cursor.path.to_owned(), what: "metadata key", name: key });
        }
    }
    Ok(metadata)
}

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value> {
    let what = || format!("the value of key \"{key}\"");
    Ok(match cursor.u32(&what())? {
        0 => Value::U8(u8::from_le_bytes(cursor.fixed(what)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.fixed(what)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.fixed(what)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.fixed(what)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.fixed(what)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.fixed(what)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.fixed(what)?)),
        7 => Value::Bool(read_bool(cursor, what)?),
        8 => Value::String(cursor.string(what)?),
        ARRAY_TYPE_ID => Value::Array(read_array(cursor, key)?),
        10 => Value::U64(u64::from_le_bytes(cursor.fixed(what)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.fixed(what)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.fixed(what)?)),
        other => return Err(unknown_type(cursor.path, what(), other)),
    })
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array> {
    let what = || format!("the array of key \"{key}\"");
    let type_id = cursor.u32(&what())?;
    Ok(match type_id {
        0 => Array::U8(read_fixed_items(cursor, what, u8::from_le_bytes)?),
        1 => Array::I8(read_fixed_items(cursor, what, i8::from_le_bytes)?),
        2 => Array::U16(read_fixed_items(cursor, what, u16::from_le_bytes)?),
        3 => Array::I16(read_fixed_items(cursor, what, i16::from_le_bytes)?),
        4 => Array::U32(read_fixed_items(cursor, what, u32::from_le_bytes)?),
        5 => Array::I32(read_fixed_items(cursor, what, i32::from_le_bytes)?),
        6 => Array::F32(read_fixed_items(cursor, what, f32::from_le_bytes)?),
        7 => {
            let count = cursor.count(&what(), 1)?;
            Array::Bool((0..count).map(|_| read_bool(cursor, what)).collect::<Result<_>>()?)
        }
        8 => {
            let count = cursor.count(&what(), 8)?;
            Array::String((0..count).map(|_| cursor.string(what)).collect::<Result<_>>()?)
        }
        10 => Array::U64(read_fixed_items(cursor, what, u64::from_le_bytes)?),
        11 => Array::I64(read_fixed_items(cursor, what, i64::from_le_bytes)?),
        12 => Array::F64(read_fixed_items(cursor, what, f64::from_le_bytes)?),
        ARRAY_TYPE_ID => {
            let reason = "arrays of arrays are not supported, and no known model needs one".to_owned();
            return Err(Error::Malformed { path: cursor.path.to_owned(), place: what(), reason });
        }
        other => return Err(unknown_type(cursor.path, what(), other)),
    })
}

fn read_fixed_items<const N: usize, T>(
    cursor: &mut Cursor<'_>,
    what: impl Fn() -> String,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let count = cursor.count(&what(), N)?;
    // The count was checked against the remaining bytes, so the product cannot overflow.
    let bytes = cursor.take(count * N, what)?;
    let (items, _) = bytes.as_chunks::<N>();
    Ok(items.iter().map(|item| decode(*item)).collect())
}

fn read_bool(cursor: &mut Cursor<'_>, what: impl Fn() -> String) -> Result<bool> {
    match cursor.fixed(&what)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => {
            let reason = format!(
                "a bool is stored as {other}, but only 0 and 1 are right; the file is damaged, so get it again"
            );
            Err(Error::Malformed { path: cursor.path.to_owned(), place: what(), reason })
        }
    }
}

fn unknown_type(path: &Path, place: String, type_id: u32) -> Error {
    let reason = format!(
        "value type {type_id} does not exist (0 to 12 do); the file is damaged or newer than version 3, so get it again, or as version 3"
    );
    Error::Malformed { path: path.to_owned(), place, reason }
}

fn read_alignment(path: &Path, metadata: &Metadata) -> Result<usize> {
    let alignment: u32 = metadata.find(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
        let reason = format!("{alignment} is no alignment; a power of two up to {LARGEST_ALIGNMENT} would be right");
        return Err(Error::Malformed { path: path.to_owned(), place: format!("key \"{ALIGNMENT_KEY}\""), reason });
    }
    Ok(alignment as usize)
}

fn read_tensor_infos(cursor: &mut Cursor<'_>, tensor_count: usize) -> Result<Vec<(Entry, u64)>> {
    // Nothing is reserved for the count, and names must differ, so memory grows only with what is really there.
    let mut names = HashSet::new();
    let mut announced = Vec::new();
    for _ in 0..tensor_count {
        let (entry, offset) = read_tensor_info(cursor)?;
        if !names.insert(entry.name.clone()) {
            return Err(Error::Duplicate { path: cursor.path.to_owned(), what: "tensor", name: entry.name });
        }
        announced.push((entry, offset));
    }
    Ok(announced)
}

/// One tensor's announcement: everything but its place, and its offset in the data part.
fn read_tensor_info(cursor: &mut Cursor<'_>) -> Result<(Entry, u64)> {
    let name = cursor.name("a tensor name")?;
    let what = || format!("the description of tensor \"{name}\"");
    let dimensions = cursor.u32(&what())?;
    if dimensions > MOST_DIMENSIONS {
        let reason = format!("it claims {dimensions} dimensions, but at most {MOST_DIMENSIONS} are possible");
        return Err(Error::Malformed { path: cursor.path.to_owned(), place: what(), reason });
    }
    let mut extents = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        extents.push(u64::from_le_bytes(cursor.fixed(what)?));
    }
    extents.reverse();
    let type_id = cursor.u32(&what())?;
    let offset = u64::from_le_bytes(cursor.fixed(what)?);
    let Some(dtype) = Dtype::from_ggml_type_id(type_id) else {
        let supported: Vec<&str> =
            Dtype::all().filter(|dtype| dtype.ggml_type_id().is_some()).map(Dtype::name).collect();
        return Err(Error::UnsupportedDtype {
            path: cursor.path.to_owned(),
            tensor: name,
            dtype: ggml_type_name(type_id),
            supported: supported.join(", "),
        });
    };
    let shape: Option<Vec<usize>> = extents.iter().map(|extent| usize::try_from(*extent).ok()).collect();
    let sized = shape.and_then(|shape| byte_count(dtype, &shape).map(|length| (shape, length)));
    let Some((shape, length)) = sized else {
        let row_elements = extents.last().copied().unwrap_or(1);
        let reason = if row_elements.is_multiple_of(dtype.block_len() as u64) {
            "its size overflows; the file is damaged or made to do harm, so get it again from its source".to_owned()
        } else {
            let block_len = dtype.block_len();
            format!(
                "a row of {row_elements} elements does not fill whole blocks of {block_len}; the file is damaged, so get it again"
            )
        };
        let (path, dtype) = (cursor.path.to_owned(), dtype.name().to_owned());
        return Err(Error::Shape { path, tensor: name, dtype, shape: extents, reason });
    };
    Ok((Entry { name, dtype, shape, bytes: 0..length }, offset))
}

/// Gives the tensor its place in the file, which must hold all of it.
fn place(
    path: &Path,
    file_bytes: usize,
    data_start: usize,
    alignment: usize,
    mut entry: Entry,
    offset: u64,
) -> Result<Entry> {
    if !offset.is_multiple_of(alignment as u64) {
        let (path, tensor, alignment) = (path.to_owned(), entry.name, alignment as u64);
        return Err(Error::Misaligned { path, tensor, offset, alignment });
    }
    let length = entry.bytes.len() as u64;
    let start = offset.saturating_add(data_start as u64);
    let end = start.saturating_add(length);
    if end > file_bytes as u64 {
        let (path, tensor, file_bytes) = (path.to_owned(), entry.name, file_bytes as u64);
        return Err(Error::OffsetOutside { path, tensor, start, end, file_bytes });
    }
    // Both are within the mapped file, so they fit.
    entry.bytes = start as usize..end as usize;
    Ok(entry)
}

fn check_overlap(path: &Path, tensors: &[Entry]) -> Result<()> {
    let mut by_start: Vec<&Entry> = tensors.iter().filter(|entry| !entry.bytes.is_empty()).collect();
    by_start.sort_by_key(|entry| (entry.bytes.start, entry.bytes.end));
    match by_start.windows(2).find(|pair| pair[1].bytes.start < pair[0].bytes.end) {
        Some(pair) => {
            Err(Error::Overlap { path: path.to_owned(), first: pair[0].name.clone(), second: pair[1].name.clone() })
        }
        None => Ok(()),
    }
}

/// A position in the file from which checked pieces are taken.
struct Cursor<'a> {
    path: &'a Path,
    /// The part of the file that a header may take.
    bytes: &'a [u8],
    position: usize,
    /// The length of the complete file.
    file_bytes: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize, what: impl Fn() -> String) -> Result<&'a [u8]> {
        let taken = self.bytes[self.position..].get(..length).ok_or_else(|| self.end_error(length, what()))?;
        self.position += length;
        Ok(taken)
    }

    fn end_error(&self, length: usize, what: String) -> Error {
        let path = self.path.to_owned();
        if self.file_bytes > self.bytes.len() {
            let limit_mib = LONGEST_HEADER_BYTES >> 20;
            let reason = format!(
                "the header is longer than {limit_mib} MiB, as no real model's is; the file is damaged, so get it again"
            );
            return Error::Malformed { path, place: what, reason };
        }
        let (offset, needed_bytes, file_bytes) = (self.position as u64, length as u64, self.file_bytes as u64);
        Error::Truncated { path, what, offset, needed_bytes, file_bytes }
    }

    fn fixed<const N: usize>(&mut self, what: impl Fn() -> String) -> Result<[u8; N]> {
        let taken = self.take(N, what)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed(|| what.to_owned())?))
    }

    /// A count of entries that take at least `entry_bytes` each, which the rest of the file must be able to hold.
    fn count(&mut self, what: &str, entry_bytes: usize) -> Result<usize> {
        let count = u64::from_le_bytes(self.fixed(|| what.to_owned())?);
        let limit = ((self.bytes.len() - self.position) / entry_bytes) as u64;
        if count > limit {
            return Err(Error::HugeCount { path: self.path.to_owned(), what: what.to_owned(), count, limit });
        }
        Ok(count as usize)
    }

    fn string(&mut self, what: impl Fn() -> String) -> Result<String> {
        let length = u64::from_le_bytes(self.fixed(&what)?);
        let start = self.position;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX), &what)?;
        let text = std::str::from_utf8(bytes).map_err(|reason| {
            let reason =
                format!("the text at byte {start} is not UTF-8 ({reason}); the file is damaged, so get it again");
            Error::Malformed { path: self.path.to_owned(), place: what(), reason }
        })?;
        Ok(text.to_owned())
    }

    fn name(&mut self, what: &str) -> Result<String> {
        // Checked before it is used, so that a damaged length is reported as such and nothing large is allocated.
        let mut ahead = Cursor { ..*self };
        let length = u64::from_le_bytes(ahead.fixed(|| what.to_owned())?);
        if length > LONGEST_NAME_BYTES {
            let reason = format!(
                "it claims {length} bytes, but at most {LONGEST_NAME_BYTES} are allowed; the file is damaged, so get it again"
            );
            let place = format!("{what} at byte {}", self.position);
            return Err(Error::Malformed { path: self.path.to_owned(), place, reason });
        }
        self.string(|| what.to_owned())
    }
}
