//! Splits JSON lines or a JSON array into the bytes of its rows, one at a time, so that a file of any size passes through a few
//! buffers. What a row means is decided in `columns`; this module only knows lines, brackets and limits.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decompress::{Packing, Unpacked};
use super::problem::{Problem, ProblemKind};
use crate::Error;

/// One row as it stands in the file, or why it could not be read.
pub(super) struct RawRow {
    /// The line, counted from 1, on which the row begins.
    pub(super) line: u64,
    /// The row's bytes, never blank.
    pub(super) bytes: Result<Vec<u8>, Problem>,
}

/// The rows of one file, in order.
pub(super) struct RawRows {
    reader: BufReader<Box<dyn Read + Send>>,
    packing: Packing,
    max_row_bytes: usize,
    line: u64,
    layout: Layout,
    /// The rest of a row that is too long. The error is returned immediately, and the rest skipped only if the next row is
    /// requested.
    rest: Option<Rest>,
    file_bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

enum Rest {
    Line,
    Element(Element),
}

enum Layout {
    /// One object a line.
    Lines,
    /// Inside a JSON array, before an element.
    Array { elements: u64 },
    /// Behind the array's closing bracket.
    Closed,
    /// Everything was read.
    Ended,
}

impl RawRows {
    /// Opens a file and detects its layout.
    pub(super) fn open(path: &Path, max_row_bytes: usize) -> Result<RawRows, Error> {
        let Unpacked { text: reader, packing, file_bytes, bytes_read } = Unpacked::open(path)?;
        let mut rows = RawRows {
            reader,
            packing,
            max_row_bytes,
            line: 1,
            layout: Layout::Lines,
            rest: None,
            file_bytes,
            bytes_read,
        };
        rows.enter().map_err(|reason| packing.read_error(path, reason))?;
        Ok(rows)
    }

    /// The error for a failed read.
    pub(super) fn read_error(&self, path: &Path, reason: io::Error) -> Error {
        self.packing.read_error(path, reason)
    }

    /// Bytes of the file read so far, before decompression.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The size of the file when it was opened.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The next row, or `None` at the end of the file.
    pub(super) fn next_row(&mut self) -> io::Result<Option<RawRow>> {
        if !self.skip_rest()? {
            return Ok(Some(self.unclosed(self.line)));
        }
        match self.layout {
            Layout::Lines => self.next_line(),
            Layout::Array { elements } => self.next_element(elements),
            Layout::Closed => self.after_array(),
            Layout::Ended => Ok(None),
        }
    }

    /// Skips the rest of a row that was too long; whether the file continues after it.
    fn skip_rest(&mut self) -> io::Result<bool> {
        match self.rest.take() {
            None => Ok(true),
            Some(Rest::Line) => {
                self.reader.skip_until(b'\n')?;
                self.line += 1;
                Ok(true)
            }
            Some(Rest::Element(mut element)) => self.element(&mut element, None),
        }
    }

    /// Skips a byte order mark and white space, and enters the array if there is one.
    fn enter(&mut self) -> io::Result<()> {
        if self.reader.buffer().starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
        }
        if self.skip_white_space()? == Some(b'[') {
            self.reader.consume(1);
            self.layout = Layout::Array { elements: 0 };
        }
        Ok(())
    }

    fn next_line(&mut self) -> io::Result<Option<RawRow>> {
        loop {
            let line = self.line;
            let mut bytes = Vec::new();
            let limit = self.max_row_bytes as u64 + 1;
            if self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
                self.layout = Layout::Ended;
                return Ok(None);
            }
            if bytes.len() > self.max_row_bytes && !bytes.ends_with(b"\n") {
                self.rest = Some(Rest::Line);
                return Ok(Some(RawRow { line, bytes: Err(too_long(self.max_row_bytes)) }));
            }
            self.line += 1;
            bytes.truncate(bytes.trim_ascii_end().len());
            if !bytes.is_empty() {
                return Ok(Some(RawRow { line, bytes: Ok(bytes) }));
            }
        }
    }

    /// Reads one element of the array by counting brackets outside of strings: its content is checked later, so that one malformed
    /// element does not affect the next.
    fn next_element(&mut self, elements: u64) -> io::Result<Option<RawRow>> {
        let first = self.skip_white_space()?;
        let line = self.line;
        if first == Some(b']') && elements == 0 {
            self.reader.consume(1);
            self.layout = Layout::Closed;
            return self.after_array();
        }
        let mut element = Element { number: elements, ..Element::default() };
        let mut bytes = Vec::new();
        if !self.element(&mut element, Some(&mut bytes))? {
            return Ok(Some(self.unclosed(line)));
        }
        if bytes.len() > self.max_row_bytes {
            return Ok(Some(RawRow { line, bytes: Err(too_long(self.max_row_bytes)) }));
        }
        bytes.truncate(bytes.trim_ascii_end().len());
        let bytes = match bytes.is_empty() {
            true => Err(Problem::new(ProblemKind::NotJson, "an empty element: there is a comma too many")),
            false => Ok(bytes),
        };
        Ok(Some(RawRow { line, bytes }))
    }

    /// Reads to the end of an element, or until it is too long if its bytes are wanted; whether the array continues after it.
    fn element(&mut self, element: &mut Element, mut bytes: Option<&mut Vec<u8>>) -> io::Result<bool> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                self.layout = Layout::Ended;
                return Ok(false);
            }
            let end = element.scan(buffer);
            let taken = end.unwrap_or(buffer.len());
            if let Some(bytes) = &mut bytes {
                let room = (self.max_row_bytes + 1).saturating_sub(bytes.len());
                bytes.extend_from_slice(&buffer[..taken.min(room)]);
            }
            self.line += count_newlines(&buffer[..taken]);
            let closing = end.map(|end| buffer[end]);
            self.reader.consume(taken + usize::from(closing.is_some()));
            match closing {
                Some(b']') => self.layout = Layout::Closed,
                Some(_) => self.layout = Layout::Array { elements: element.number + 1 },
                None if bytes.as_ref().is_some_and(|bytes| bytes.len() > self.max_row_bytes) => {
                    self.rest = Some(Rest::Element(std::mem::take(element)));
                }
                None => continue,
            }
            return Ok(true);
        }
    }

    fn unclosed(&self, line: u64) -> RawRow {
        let reason =
            "the file ends inside the JSON array (no closing `]`): it was cut off, or a quote or bracket is missing";
        RawRow { line, bytes: Err(Problem::new(ProblemKind::NotJson, reason)) }
    }

    /// Only white space may follow the array; anything else means, for example, that two files were concatenated.
    fn after_array(&mut self) -> io::Result<Option<RawRow>> {
        self.layout = Layout::Ended;
        let Some(_) = self.skip_white_space()? else { return Ok(None) };
        let problem =
            Problem::new(ProblemKind::NotJson, "text follows the array's closing `]`; a file holds one array");
        Ok(Some(RawRow { line: self.line, bytes: Err(problem) }))
    }

    /// Consumes white space, counting lines, and shows the next byte without consuming it.
    fn skip_white_space(&mut self) -> io::Result<Option<u8>> {
        let mut skipped = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.line += count_newlines(&buffer[..blank]);
            let next = buffer.get(blank).copied();
            self.reader.consume(blank);
            if next.is_some() {
                return Ok(next);
            }
            skipped += blank;
            if skipped > self.max_row_bytes {
                let reason =
                    format!("line {}: {skipped} bytes of white space in a row, where rows should be", self.line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
}

/// The state of a scan through an array element.
#[derive(Default)]
struct Element {
    /// The number of backslashes before it.
    number: u64,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Element {
    /// Scans on and returns the index of the `,` or `]` that ends the element, if it is in these bytes.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, &byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b',' | b']' if self.depth == 0 => return Some(index),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        None
    }
}

fn count_newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn too_long(max_row_bytes: usize) -> Problem {
    let detail = match max_row_bytes >> 20 {
        0 => format!("the row is longer than {max_row_bytes} bytes, which is the limit of a row"),
        mebibytes => format!("the row is longer than {mebibytes} MiB, which is the limit of a row"),
    };
    Problem::new(ProblemKind::TooLong, detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MOST: usize = 1 << 20;

    /// A row's line, and its length or its error.
    type Told = (u64, Result<usize, String>);

    /// The rows of a file, and how much of the file was read before the first was returned.
    fn told(path: &Path) -> (u64, Vec<Told>) {
        let mut rows = RawRows::open(path, MOST).unwrap();
        let first = rows.next_row().unwrap().unwrap();
        let read = rows.bytes_read();
        let all = std::iter::once(first).chain(std::iter::from_fn(|| rows.next_row().unwrap()));
        (
            read,
            all.map(|row| (row.line, row.bytes.map(|bytes| bytes.len()).map_err(|problem| problem.detail))).collect(),
        )
    }

    #[test]
    fn a_row_is_refused_as_soon_as_it_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let too_long = Err("the row is longer than 1 MiB, which is the limit of a row".to_owned());
        // Letters that compress badly, so that a part of a compressed file is a part of the row.
        let long: String = (0..131_072_u64).map(|at| blake3::hash(&at.to_le_bytes()).to_hex().to_string()).collect();
        for (text, after) in [
            (format!("{{\"text\": \"{long}\"}}\n{{}}\n"), (2, Ok(2))),
            (format!("[{{\"text\": \"{long}\",\n\"more\": [\"{long}\"]}},\n{{}}]"), (3, Ok(2))),
        ] {
            let plain = folder.path().join("plain");
            std::fs::write(&plain, &text).unwrap();
            let gzip = folder.path().join("gzip");
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            std::fs::write(&gzip, encoder.finish().unwrap()).unwrap();
            let zstd = folder.path().join("zstd");
            std::fs::write(&zstd, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
            for path in [&plain, &gzip, &zstd] {
                let (read, rows) = told(path);
                let all = std::fs::metadata(path).unwrap().len();
                assert!(read < all / 2, "{}: {read} of {all} bytes", path.display());
                assert_eq!(rows, [(1, too_long.clone()), after.clone()], "{}", path.display());
            }
        }
    }

    /// A sparse file of this length: reading it to its end would take minutes.
    #[cfg(unix)]
    #[test]
    fn a_row_of_thirty_gigabytes_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"{\"text\": \"a\"}\n{\"text\": \"").unwrap();
        file.set_len(30 << 30).unwrap();
        let options = crate::dataset::ReadOptions::default();
        let mut records = crate::dataset::open(std::slice::from_ref(&path), &options).unwrap();
        assert!(records.next().unwrap().is_ok());
        let error = records.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("rows.jsonl, line 2: the row is longer than 64 MiB"), "{error}");
        assert!(records.bytes_read() < 70 << 20, "{}", records.bytes_read());
    }

    #[test]
    fn white_space_without_end_is_no_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blank");
        std::fs::write(&path, "\n".repeat(2 * MOST)).unwrap();
        let error = RawRows::open(&path, MOST).err().unwrap().to_string();
        assert!(error.contains("bytes of white space in a row"), "{error}");
    }
}
