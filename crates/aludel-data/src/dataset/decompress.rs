//! The compression of a data file: none, gzip, zstd or Parquet, detected by its first bytes and not by its name. All of them become
//! a stream of JSON text, whose rows are read in `read`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

use super::parquet::{ParquetFault, ParquetLines};
use crate::Error;

/// The decompressed text of a data file.
pub(super) struct Unpacked {
    pub(super) text: BufReader<Box<dyn Read + Send>>,
    pub(super) packing: Packing,
    pub(super) file_bytes: u64,
    /// Bytes of the file read and decompressed.
    pub(super) bytes_read: Arc<AtomicU64>,
}

/// The compression of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Nothing,
    Gzip,
    Zstd,
    Parquet,
}

const BUFFER_BYTES: usize = 256 << 10;

/// Number of bytes by which a kind of file is detected.
const START_BYTES: usize = 24;

impl Unpacked {
    /// Opens a file that holds text, compressed or not.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`], or [`Error::FileKind`] for a file of another kind.
    pub(super) fn open(path: &Path) -> Result<Unpacked, Error> {
        let read_error = |reason| Error::Read { path: path.to_path_buf(), reason };
        let refuse = |kind, mend: &str| Err(Error::FileKind { path: path.to_path_buf(), kind, mend: mend.to_owned() });
        if path.is_dir() {
            return refuse("a folder", &files_inside(path));
        }
        let mut file = aludel_files::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        let mut start = Vec::with_capacity(START_BYTES);
        file.by_ref().take(START_BYTES as u64).read_to_end(&mut start).map_err(read_error)?;
        file.rewind().map_err(read_error)?;
        let packing = Packing::of(&start);
        let bytes_read = Arc::new(AtomicU64::new(0));
        let damaged = |reason: String| Error::Damaged { path: path.to_path_buf(), reason };
        let counted = Counted { file, bytes_read: Arc::clone(&bytes_read) };
        let stream: Box<dyn Read + Send> = match packing {
            Packing::Nothing => Box::new(counted),
            Packing::Gzip => Box::new(Gzip::new(counted)),
            Packing::Zstd => Box::new(zstd::Decoder::new(counted).map_err(|error| damaged(error.to_string()))?),
            Packing::Parquet => match ParquetLines::open(counted.file, metadata.len(), Arc::clone(&bytes_read)) {
                Ok(lines) => Box::new(lines),
                Err(ParquetFault::Damaged(reason)) => return Err(damaged(reason)),
                Err(ParquetFault::Packing(packing)) => {
                    return Err(Error::ParquetPacking { path: path.to_path_buf(), packing });
                }
            },
        };
        let mut text = BufReader::with_capacity(BUFFER_BYTES, stream);
        let unpacked = io::BufRead::fill_buf(&mut text).map_err(|error| packing.read_error(path, error))?;
        match not_text(&unpacked[..unpacked.len().min(START_BYTES)]) {
            Some((kind, mend)) => refuse(kind, mend),
            None => Ok(Unpacked { text, packing, file_bytes: metadata.len(), bytes_read }),
        }
    }
}

impl Packing {
    fn of(start: &[u8]) -> Packing {
        match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [b'P', b'A', b'R', b'1', ..] => Packing::Parquet,
            _ => Packing::Nothing,
        }
    }

    /// The error for a failed read: of a compressed file, that it is damaged.
    pub(super) fn read_error(self, path: &Path, reason: io::Error) -> Error {
        let path = path.to_path_buf();
        match self {
            Packing::Nothing => Error::Read { path, reason },
            _ if reason.kind() == io::ErrorKind::UnexpectedEof => {
                Error::Damaged { path, reason: "it ends too early".to_string() }
            }
            Packing::Zstd if reason.to_string().contains("Unknown frame descriptor") => {
                let reason =
                    "what follows its zstd data is none, and all rows before it were whole; cut that off".to_string();
                Error::Damaged { path, reason }
            }
            _ => Error::Damaged { path, reason: reason.to_string() },
        }
    }
}

/// What to name in place of a folder. That of a curation holds rows that were dropped, too.
fn files_inside(folder: &Path) -> String {
    const TO_TRAIN_ON: &str = "train.jsonl";
    const HELD_BACK: &str = "eval.jsonl";
    // A file `.json` may be a model's, or a report.
    const ENDINGS: [&str; 5] = ["jsonl", "parquet", "gz", "zst", "ndjson"];
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_data = |path: &PathBuf| path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
    let mut files: Vec<PathBuf> = names.filter(is_data).collect();
    files.sort();
    let to_train_on = files.iter().find(|file| file.ends_with(TO_TRAIN_ON));
    let held_back = files.iter().find(|file| file.ends_with(HELD_BACK));
    match (to_train_on, files.first()) {
        (Some(file), _) => match held_back {
            Some(held_back) => {
                format!("give {} to train on, or {} to evaluate on", file.display(), held_back.display())
            }
            None => format!("give {}", file.display()),
        },
        (None, Some(file)) => format!("name the files inside it, such as {}", file.display()),
        (None, None) => "name the data files inside it".to_owned(),
    }
}

/// Kinds of file that are known but not supported, by their first bytes.
fn not_text(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let kinds: [(&[u8], &str, &str); 12] = [
        (b"\x1f\x8b", "a gzip file inside another packing", "unpack it once"),
        (b"\x28\xb5\x2f\xfd", "a zstd file inside another packing", "unpack it once"),
        (b"PAR1", "a compressed Parquet file", "unpack it first: Parquet is compressed inside"),
        (b"PARE", "an encrypted Parquet file", "decrypt it first"),
        (b"ARROW1", "an Arrow IPC file", "write it as Parquet or as JSONL"),
        (b"PK\x03\x04", "a zip archive", "unpack it first"),
        (b"BZh", "a bzip2 file", "unpack it first, or pack it with gzip or zstd"),
        (b"GGUF", "a GGUF model", "give a model with --student and a data file with --data"),
        (b"version https://git-lfs", "a pointer to a file that Git LFS keeps", "fetch the file itself: git lfs pull"),
        (
            b"SQLite format 3\0",
            "an SQLite database",
            "a store of traces is read by `aludel curate`, or written out by `aludel trace export`",
        ),
        (b"\xff\xfe", "a UTF-16 text file", "save it as UTF-8"),
        (b"\xfe\xff", "a UTF-16 text file", "save it as UTF-8"),
    ];
    kinds.into_iter().find(|(magic, _, _)| start.starts_with(magic)).map(|(_, kind, mend)| (kind, mend))
}

/// Gzip data of one or several members, as `gzip` concatenates them. Trailing zeros fill a block of a tape or a disk; anything else
/// is reported with its position.
struct Gzip {
    /// None at the end.
    member: Option<GzDecoder<BufReader<Counted>>>,
    bytes_read: Arc<AtomicU64>,
}

impl Gzip {
    fn new(file: Counted) -> Gzip {
        let bytes_read = Arc::clone(&file.bytes_read);
        Gzip { member: Some(GzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file))), bytes_read }
    }
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { break };
            let next = loop {
                let bytes = rest.fill_buf()?;
                let (count, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
                let next = bytes.get(zeros).copied();
                rest.consume(zeros);
                if next.is_some() || count == 0 {
                    break next;
                }
            };
            match next {
                None => {}
                Some(0x1f) => self.member = Some(GzDecoder::new(rest)),
                Some(_) => {
                    let place = self.bytes_read.load(Ordering::Relaxed) - rest.buffer().len() as u64;
                    let reason = format!(
                        "what follows its gzip data at byte {place} is none, and all rows before it were whole; cut that off"
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
            }
        }
        Ok(0)
    }
}

/// A file that counts the bytes that are read from it.
struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
