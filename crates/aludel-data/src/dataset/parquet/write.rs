//! Writes rows of JSON lines as Parquet. Column types are inferred; numbers and strings that a column type cannot hold exactly are
//! written as strings.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow_json::reader::{ReaderBuilder, infer_json_schema};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::BATCH_ROWS;
use crate::Error;

/// Writes the rows of a file of JSON lines as Parquet, compressed with zstd. A column gets the type that all its values fit:
/// strings, numbers, booleans, lists and objects; a column of numbers and strings becomes strings, and so does one with a number
/// that would lose digits. Without rows, no file is written.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`], and [`Error::Parquet`] for rows whose values of one column have no type in common.
pub fn write_parquet(lines: &Path, to: &Path, shown_as: &Path) -> Result<(), Error> {
    let read_error = |reason| Error::Read { path: lines.to_path_buf(), reason };
    let refused = |reason: String| Error::Parquet { path: shown_as.to_path_buf(), reason };
    let mut file = BufReader::new(aludel_files::open(lines).map_err(read_error)?);
    let mut infer = |wholes: Wholes| -> Result<(Schema, usize, bool), Error> {
        file.rewind().map_err(read_error)?;
        let mut held = BufReader::new(HeldLines::new(&mut file, wholes));
        let (schema, rows) = infer_json_schema(&mut held, None).map_err(|error| refused(error.to_string()))?;
        Ok((schema, rows, held.get_ref().saw_large))
    };
    let (mut schema, rows, saw_large) = infer(Wholes::Of64Bits)?;
    if rows == 0 {
        return Ok(());
    }
    let mut wholes = Wholes::Of64Bits;
    if saw_large && has_fractions(schema.fields()) {
        // The large number may be in a column of floats, which would round it.
        wholes = Wholes::OfFractions;
        schema = infer(wholes)?.0;
    }
    file.rewind().map_err(read_error)?;
    let schema = Arc::new(schema);
    let held = BufReader::new(HeldLines::new(&mut file, wholes));
    let rows =
        ReaderBuilder::new(Arc::clone(&schema)).with_coerce_primitive(true).with_batch_size(BATCH_ROWS).build(held);
    let rows = rows.map_err(|error| refused(error.to_string()))?;
    let target = File::create(to).map_err(|reason| Error::Write { path: shown_as.to_path_buf(), reason })?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
    let written = ArrowWriter::try_new(target, schema, Some(properties.build())).and_then(|mut writer| {
        for batch in rows {
            writer.write(&batch?)?;
            // Rows are buffered until their row group is complete, which is limited in bytes as well as rows.
            if writer.in_progress_size() > GROUP_BYTES {
                writer.flush()?;
            }
        }
        writer.close().map(|_| ())
    });
    written.map_err(|error| match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(reason) => Error::Write { path: shown_as.to_path_buf(), reason: *reason },
            Err(error) => refused(error.to_string()),
        },
        error => refused(error.to_string()),
    })
}

/// Bytes of a row group.
const GROUP_BYTES: usize = 64 << 20;

fn has_fractions(fields: &Fields) -> bool {
    fields.iter().any(|field| is_fraction(field))
}

fn is_fraction(field: &Field) -> bool {
    match field.data_type() {
        DataType::Float64 => true,
        DataType::List(inner) => is_fraction(inner),
        DataType::Struct(fields) => has_fractions(fields),
        _ => false,
    }
}

/// Integers that a column can hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wholes {
    /// Those of 64 bits.
    Of64Bits,
    /// Integers that a 64-bit float holds exactly, too.
    OfFractions,
}

/// Lines of JSON in which values that a column cannot hold exactly are strings.
struct HeldLines<R> {
    lines: R,
    wholes: Wholes,
    /// An integer was met that a 64-bit float cannot hold exactly.
    saw_large: bool,
    line: Vec<u8>,
    held: Vec<u8>,
    taken: usize,
}

impl<R: BufRead> HeldLines<R> {
    fn new(lines: R, wholes: Wholes) -> HeldLines<R> {
        HeldLines { lines, wholes, saw_large: false, line: Vec::new(), held: Vec::new(), taken: 0 }
    }

    fn hold(&mut self) {
        self.held.clear();
        self.taken = 0;
        let line = &self.line;
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            let rest = &line[at..];
            let length = match byte {
                b'"' => {
                    let length = string_length(rest);
                    hold_text(&rest[..length], &mut self.held);
                    length
                }
                b'-' | b'0'..=b'9' => {
                    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = rest.iter().take_while(|byte| is_part(byte)).count();
                    let number = &rest[..length];
                    let text = str::from_utf8(number).unwrap_or_default();
                    let is_held = is_held(text, self.wholes);
                    self.saw_large |= is_held && !self::is_held(text, Wholes::OfFractions);
                    let quote: &[u8] = if is_held { b"" } else { b"\"" };
                    for part in [quote, number, quote] {
                        self.held.extend_from_slice(part);
                    }
                    length
                }
                _ => {
                    self.held.push(byte);
                    1
                }
            };
            at += length;
        }
    }
}

impl<R: BufRead> Read for HeldLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.held.len() {
            self.line.clear();
            if self.lines.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(0);
            }
            self.hold();
        }
        let read = (&self.held[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// Bytes of the string that begins here, with its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|&byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// A lone surrogate is not text: its escape is spelt out.
fn hold_text(string: &[u8], held: &mut Vec<u8>) {
    let is_text = !string.contains(&b'\\') || serde_json::from_slice::<String>(string).is_ok();
    let mut rest = string;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\').filter(|_| !is_text) {
        let length = 2.min(rest.len() - at);
        held.extend_from_slice(&rest[..at]);
        if matches!(rest[at..], [_, b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]) {
            held.push(b'\\');
        }
        held.extend_from_slice(&rest[at..at + length]);
        rest = &rest[at + length..];
    }
    held.extend_from_slice(rest);
}

/// Whether a column holds a number exactly as it is written, except for its notation.
fn is_held(text: &str, wholes: Wholes) -> bool {
    if !text.contains(['.', 'e', 'E']) {
        return match (text.parse::<i64>(), wholes) {
            (Ok(_), Wholes::Of64Bits) => true,
            (Ok(whole), Wholes::OfFractions) => whole.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS,
            (Err(_), _) => false,
        };
    }
    let Ok(number) = text.parse::<f64>() else { return false };
    number.is_finite() && digits(text).is_some_and(|own| Some(own) == digits(&format!("{number:e}")))
}

/// The digits of a number without surrounding zeros, and the power of ten of the last.
fn digits(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let all = all.trim_start_matches('-').trim_start_matches('0');
    let digits = all.trim_end_matches('0');
    if digits.is_empty() {
        return Some((String::new(), 0));
    }
    let last = exponent.parse::<i64>().ok()?.checked_sub(fraction.len() as i64)?;
    Some((digits.to_string(), last.checked_add((all.len() - digits.len()) as i64)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_or_become_text() {
        for text in ["0", "-7", "9223372036854775807", "0.1", "1.10", "1e300", "-0.0", "1E-5", "0.30000000000000004"] {
            assert!(is_held(text, Wholes::Of64Bits), "{text}");
        }
        for text in ["9223372036854775808", "1180591620717411303424", "0.1000000000000000000001", "1e400", "1e-400"] {
            assert!(!is_held(text, Wholes::Of64Bits), "{text}");
        }
        assert!(is_held("9007199254740992", Wholes::OfFractions));
        assert!(!is_held("9007199254740993", Wholes::OfFractions));
    }

    #[test]
    fn lines_are_changed_where_they_must_be_alone() {
        let held = |line: &str| {
            let mut text = String::new();
            HeldLines::new(line.as_bytes(), Wholes::Of64Bits).read_to_string(&mut text).unwrap();
            text
        };
        let same = "{\"a 1e400\":[1,2.5,-3e7],\"b\":\"\\\"1e400 \\ud83d\\ude00\",\"c\":null}\n{}\n";
        assert_eq!(held(same), same);
        assert_eq!(held(r#"{"a":[1e400,1],"b":"x\\"}"#), r#"{"a":["1e400",1],"b":"x\\"}"#);
        assert_eq!(held(r#"{"a":"cut \ud83d\n"}"#), r#"{"a":"cut \\ud83d\n"}"#);
    }
}
