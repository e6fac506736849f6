//! Cuts JSON lines or a JSON array into the bytes of its rows, one at a time, so that a file of any size passes
//! through a few buffers. What a row means is left to `columns`; this room only knows lines, brackets and limits.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::problem::{Problem, ProblemKind};
use super::unpack::{Packing, Unpacked};
use crate::Error;

/// One row as it stands in the file, or why it could not be cut out.
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
    file_bytes: u64,
    bytes_read: Arc<AtomicU64>,
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
    /// Opens a file and finds out how its rows are laid out.
    pub(super) fn open(path: &Path, max_row_bytes: usize) -> Result<RawRows, Error> {
        let Unpacked { text: reader, packing, file_bytes, bytes_read } = Unpacked::open(path)?;
        let mut rows =
            RawRows { reader, packing, max_row_bytes, line: 1, layout: Layout::Lines, file_bytes, bytes_read };
        rows.enter().map_err(|reason| packing.read_error(path, reason))?;
        Ok(rows)
    }

    /// What a failed read says of the file.
    pub(super) fn read_error(&self, path: &Path, reason: io::Error) -> Error {
        self.packing.read_error(path, reason)
    }

    /// Bytes of the file, packed as it is, that were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The size of the file when it was opened.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The next row, or `None` at the end of the file.
    pub(super) fn next_row(&mut self) -> io::Result<Option<RawRow>> {
        match self.layout {
            Layout::Lines => self.next_line(),
            Layout::Array { elements } => self.next_element(elements),
            Layout::Closed => self.after_array(),
            Layout::Ended => Ok(None),
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
            self.line += 1;
            if bytes.len() > self.max_row_bytes && !bytes.ends_with(b"\n") {
                self.reader.skip_until(b'\n')?;
                return Ok(Some(RawRow { line, bytes: Err(too_long(self.max_row_bytes)) }));
            }
            bytes.truncate(bytes.trim_ascii_end().len());
            if !bytes.is_empty() {
                return Ok(Some(RawRow { line, bytes: Ok(bytes) }));
            }
        }
    }

    /// Takes one element of the array by counting brackets outside strings: what is between them is judged later, so
    /// one malformed element does not spoil the next.
    fn next_element(&mut self, elements: u64) -> io::Result<Option<RawRow>> {
        let first = self.skip_white_space()?;
        let line = self.line;
        if first == Some(b']') && elements == 0 {
            self.reader.consume(1);
            self.layout = Layout::Closed;
            return self.after_array();
        }
        let mut element = Element::default();
        let mut bytes = Vec::new();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                self.layout = Layout::Ended;
                let problem = Problem::new(
                    ProblemKind::NotJson,
                    "the file ends inside the JSON array (no closing `]`): it was cut off, or a quote or bracket is missing",
                );
                return Ok(Some(RawRow { line, bytes: Err(problem) }));
            }
            let end = element.scan(buffer);
            let taken = end.unwrap_or(buffer.len());
            let room = (self.max_row_bytes + 1).saturating_sub(bytes.len());
            bytes.extend_from_slice(&buffer[..taken.min(room)]);
            self.line += count_newlines(&buffer[..taken]);
            let closing = end.map(|end| buffer[end]);
            self.reader.consume(taken + usize::from(closing.is_some()));
            if let Some(closing) = closing {
                self.layout = match closing {
                    b']' => Layout::Closed,
                    _ => Layout::Array { elements: elements + 1 },
                };
                break;
            }
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

    /// Behind the array only white space is in order; anything else means that two files were glued together, say.
    fn after_array(&mut self) -> io::Result<Option<RawRow>> {
        self.layout = Layout::Ended;
        let Some(_) = self.skip_white_space()? else { return Ok(None) };
        let problem =
            Problem::new(ProblemKind::NotJson, "text follows the array's closing `]`; a file holds one array");
        Ok(Some(RawRow { line: self.line, bytes: Err(problem) }))
    }

    /// Consumes white space, counting lines, and shows the next byte without consuming it.
    fn skip_white_space(&mut self) -> io::Result<Option<u8>> {
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
        }
    }
}

/// Where a scan through an array element stands.
#[derive(Default)]
struct Element {
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
        0 => format!("the row is longer than {max_row_bytes} bytes, the most a row may have"),
        mebibytes => format!("the row is longer than {mebibytes} MiB, the most a row may have"),
    };
    Problem::new(ProblemKind::TooLong, detail)
}
