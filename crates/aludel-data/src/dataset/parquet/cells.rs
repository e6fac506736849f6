//! The values of a Parquet file as JSON. Numbers, strings, booleans, lists and objects are kept; times, dates and decimals become
//! strings; bytes become strings if they are UTF-8, and otherwise a marker string that says so.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use aludel_files::{counted, noun};

use crate::json::NO_TEXT;

/// The columns of a batch.
pub(super) struct Cells<'a>(Vec<(Vec<u8>, Cell<'a>)>);

/// A column, or a nested one.
struct Cell<'a> {
    array: &'a dyn Array,
    form: Form<'a>,
}

enum Form<'a> {
    Text,
    Bytes,
    Float,
    /// A number or a boolean, as Arrow prints it.
    Bare(ArrayFormatter<'a>),
    /// Any other type, as Arrow prints it on a line.
    Shown(Box<Shown<'a>>),
    List(Box<Cell<'a>>),
    Struct(Vec<(Vec<u8>, Cell<'a>)>),
    Map(Box<(Cell<'a>, Cell<'a>)>),
}

/// A formatter, of the array itself or of its equivalent in another time zone.
enum Shown<'a> {
    As(ArrayFormatter<'a>),
    InUtc(ArrayRef),
}

const FORMAT: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

impl<'a> Cells<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Cells<'a>, ArrowError> {
        let schema = batch.schema_ref();
        let columns = schema.fields().iter().zip(batch.columns());
        let cells = columns.map(|(field, array)| Ok((name(field.name()), Cell::of(array.as_ref())?)));
        cells.collect::<Result<_, ArrowError>>().map(Cells)
    }

    /// Adds a row as a line; `more` are further members, each with a comma after it.
    pub(super) fn push_row(&self, row: usize, more: &[u8], line: &mut Vec<u8>) {
        line.push(b'{');
        line.extend_from_slice(more);
        push_members(&self.0, row, line);
        line.extend_from_slice(b"}\n");
    }
}

impl<'a> Cell<'a> {
    fn of(array: &'a dyn Array) -> Result<Cell<'a>, ArrowError> {
        let form = match array.data_type() {
            DataType::Utf8 => Form::Text,
            DataType::Binary | DataType::FixedSizeBinary(_) => Form::Bytes,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Form::Float,
            DataType::List(_) => Form::List(Box::new(Cell::of(array.as_list::<i32>().values().as_ref())?)),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let cells = columns.map(|(field, array)| Ok((name(field.name()), Cell::of(array.as_ref())?)));
                Form::Struct(cells.collect::<Result<_, ArrowError>>()?)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Form::Map(Box::new((Cell::of(map.keys().as_ref())?, Cell::of(map.values().as_ref())?)))
            }
            kind if kind.is_integer() || *kind == DataType::Boolean || kind.is_null() => {
                Form::Bare(ArrayFormatter::try_new(array, &FORMAT)?)
            }
            DataType::Timestamp(unit, Some(_)) => Form::Shown(Box::new(Shown::InUtc(in_utc(array, *unit)))),
            _ => Form::Shown(Box::new(Shown::As(ArrayFormatter::try_new(array, &FORMAT)?))),
        };
        Ok(Cell { array, form })
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row) || *self.array.data_type() == DataType::Null
    }

    fn push(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.form {
            Form::Text => push_text(self.array.as_string::<i32>().value(row), out),
            Form::Bytes => match str::from_utf8(self.bytes(row)) {
                Ok(text) => push_text(text, out),
                Err(_) => push_no_text(&bytes_in_words(self.bytes(row)), out),
            },
            Form::Float => self.push_float(row, out),
            Form::Bare(formatter) => {
                let at = out.len();
                if std::io::Write::write_fmt(out, format_args!("{}", formatter.value(row))).is_err() {
                    out.truncate(at);
                    out.extend_from_slice(b"null");
                }
            }
            Form::Shown(shown) => match shown.text(row) {
                Ok(text) => push_text(&text, out),
                Err(error) => push_no_text(&format!("a value that cannot be written as text ({error})"), out),
            },
            Form::List(inner) => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                out.push(b'[');
                for item in offsets[row] as usize..offsets[row + 1] as usize {
                    inner.push(item, out);
                    out.push(b',');
                }
                close(b'[', b']', out);
            }
            Form::Struct(members) => {
                out.push(b'{');
                push_members(members, row, out);
                out.push(b'}');
            }
            Form::Map(sides) => {
                let (keys, values) = sides.as_ref();
                let offsets = self.array.as_map().value_offsets();
                out.push(b'{');
                for item in offsets[row] as usize..offsets[row + 1] as usize {
                    let mut key = Vec::new();
                    keys.push(item, &mut key);
                    // JSON keys are strings, whatever the type was.
                    match key.first() {
                        Some(b'"') => out.extend_from_slice(&key),
                        _ => push_text(&String::from_utf8_lossy(&key), out),
                    }
                    out.push(b':');
                    values.push(item, out);
                    out.push(b',');
                }
                close(b'{', b'}', out);
            }
        }
    }

    fn bytes(&self, row: usize) -> &[u8] {
        match self.array.data_type() {
            DataType::FixedSizeBinary(_) => self.array.as_fixed_size_binary().value(row),
            _ => self.array.as_binary::<i32>().value(row),
        }
    }

    /// JSON has no NaN or infinity. They become their names: null would mean a missing value.
    fn push_float(&self, row: usize, out: &mut Vec<u8>) {
        let narrow = |value: f32| (f64::from(value), serde_json::to_vec(&value));
        let (value, written) = match self.array.data_type() {
            DataType::Float16 => narrow(self.array.as_primitive::<Float16Type>().value(row).to_f32()),
            DataType::Float32 => narrow(self.array.as_primitive::<Float32Type>().value(row)),
            _ => {
                let value = self.array.as_primitive::<Float64Type>().value(row);
                (value, serde_json::to_vec(&value))
            }
        };
        match written {
            Ok(written) if value.is_finite() => out.extend(written),
            _ if value.is_nan() => push_text("NaN", out),
            _ => push_text(if value > 0.0 { "Infinity" } else { "-Infinity" }, out),
        }
    }
}

impl Shown<'_> {
    fn text(&self, row: usize) -> Result<String, ArrowError> {
        match self {
            Shown::As(formatter) => formatter.value(row).try_to_string(),
            Shown::InUtc(array) => ArrayFormatter::try_new(array.as_ref(), &FORMAT)?.value(row).try_to_string(),
        }
    }
}

/// Named zones need a time zone database; the instant is the same in any.
fn in_utc(array: &dyn Array, unit: TimeUnit) -> ArrayRef {
    const UTC: &str = "+00:00";
    match unit {
        TimeUnit::Second => Arc::new(array.as_primitive::<TimestampSecondType>().clone().with_timezone(UTC)),
        TimeUnit::Millisecond => Arc::new(array.as_primitive::<TimestampMillisecondType>().clone().with_timezone(UTC)),
        TimeUnit::Microsecond => Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(UTC)),
        TimeUnit::Nanosecond => Arc::new(array.as_primitive::<TimestampNanosecondType>().clone().with_timezone(UTC)),
    }
}

/// The members that are not null.
fn push_members(members: &[(Vec<u8>, Cell<'_>)], row: usize, out: &mut Vec<u8>) {
    for (name, cell) in members.iter().filter(|(_, cell)| !cell.is_null(row)) {
        out.extend_from_slice(name);
        cell.push(row, out);
        out.push(b',');
    }
    if out.last() == Some(&b',') {
        out.pop();
    }
}

fn close(opening: u8, closing: u8, out: &mut Vec<u8>) {
    match out.last() {
        Some(&last) if last == opening => {}
        _ => _ = out.pop(),
    }
    out.push(closing);
}

fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_name(name, &mut out);
    out
}

/// A member's name with its colon.
pub(super) fn push_name(name: &str, out: &mut Vec<u8>) {
    push_text(name, out);
    out.push(b':');
}

/// Bytes that are not text: short ones, such as ids and hashes, are shown in full.
fn bytes_in_words(bytes: &[u8]) -> String {
    const SHORT: usize = 64;
    let mut words = format!(
        "{} {} not UTF-8 text",
        counted(bytes.len() as u64, "byte", "bytes"),
        noun(bytes.len() as u64, "that is", "that are")
    );
    if bytes.len() <= SHORT {
        words.push_str(": ");
        bytes.iter().for_each(|byte| words.push_str(&format!("{byte:02x}")));
    }
    words
}

/// A marker string for a value that is not text.
pub(super) fn push_no_text(what: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(NO_TEXT.as_bytes());
    out.extend_from_slice(what.replace(['"', '\\', '\n'], " ").as_bytes());
    out.push(b'"');
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    // Writing text into memory does not fail.
    out.extend(serde_json::to_vec(text).unwrap_or_default());
}
