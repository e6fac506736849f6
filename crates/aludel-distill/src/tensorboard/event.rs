//! One record of an event file: TensorFlow's Event and Summary messages in protobuf, framed as TFRecord. Only what a run writes is encoded,
//! and only what a resumed run needs is decoded; `tensorboard` decides which records those are.

/// A value under a tag.
pub(super) enum Value {
    /// For the scalars dashboard.
    Scalar(f32),
    /// For the text dashboard, in Markdown.
    Text(String),
}

/// What a record is, as far as a run wants to know.
pub(super) enum Record {
    /// The first of each file, with who wrote it.
    Version {
        /// As given to [`version`].
        writer: String,
    },
    /// Values at a step.
    Summary {
        /// The step.
        step: u64,
        /// The first value's tag.
        tag: String,
    },
}

/// The record with which a file begins; it has a place for who writes the file.
pub(super) fn version(time: f64, writer: &str) -> Vec<u8> {
    let mut event = Message::default();
    event.double(EVENT_WALL_TIME, time);
    event.bytes(EVENT_FILE_VERSION, b"brain.Event:2");
    event.bytes(EVENT_SOURCE, &Message::of(SOURCE_WRITER, writer.as_bytes()).0);
    framed(&event.0)
}

/// A record of values.
pub(super) fn summary(time: f64, step: u64, values: &[(String, Value)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in values {
        let mut message = Message::default();
        message.bytes(VALUE_TAG, tag.as_bytes());
        match value {
            Value::Scalar(scalar) => message.float(VALUE_SIMPLE_VALUE, *scalar),
            Value::Text(text) => {
                let plugin = Message::of(PLUGIN_NAME, b"text");
                message.bytes(VALUE_METADATA, &Message::of(METADATA_PLUGIN_DATA, &plugin.0).0);
                let mut one = Message::default();
                one.integer(DIMENSION_SIZE, 1);
                let mut tensor = Message::default();
                tensor.integer(TENSOR_DTYPE, DT_STRING);
                tensor.bytes(TENSOR_SHAPE, &Message::of(SHAPE_DIMENSION, &one.0).0);
                tensor.bytes(TENSOR_STRING, text.as_bytes());
                message.bytes(VALUE_TENSOR, &tensor.0);
            }
        }
        summary.bytes(SUMMARY_VALUE, &message.0);
    }
    let mut event = Message::default();
    event.double(EVENT_WALL_TIME, time);
    event.integer(EVENT_STEP, step);
    event.bytes(EVENT_SUMMARY, &summary.0);
    framed(&event.0)
}

// Numbers of fields, by the definitions of event.proto, summary.proto and tensor.proto.
const EVENT_WALL_TIME: u64 = 1;
const EVENT_STEP: u64 = 2;
const EVENT_FILE_VERSION: u64 = 3;
const EVENT_SUMMARY: u64 = 5;
const EVENT_SOURCE: u64 = 10;
const SOURCE_WRITER: u64 = 1;
const SUMMARY_VALUE: u64 = 1;
const VALUE_TAG: u64 = 1;
const VALUE_SIMPLE_VALUE: u64 = 2;
const VALUE_TENSOR: u64 = 8;
const VALUE_METADATA: u64 = 9;
const METADATA_PLUGIN_DATA: u64 = 1;
const PLUGIN_NAME: u64 = 1;
const TENSOR_DTYPE: u64 = 1;
const TENSOR_SHAPE: u64 = 2;
const TENSOR_STRING: u64 = 8;
const SHAPE_DIMENSION: u64 = 2;
const DIMENSION_SIZE: u64 = 1;
const DT_STRING: u64 = 7;

// Wire types.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const DELIMITED: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// A message of one field.
    fn of(field: u64, contents: &[u8]) -> Message {
        let mut message = Message::default();
        message.bytes(field, contents);
        message
    }

    fn bytes(&mut self, field: u64, contents: &[u8]) {
        self.varint(field << 3 | DELIMITED);
        self.varint(contents.len() as u64);
        self.0.extend_from_slice(contents);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | EIGHT_BYTES);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | FOUR_BYTES);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Length, its checksum, contents, their checksum.
fn framed(contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(contents);
    record.extend_from_slice(&masked(contents).to_le_bytes());
    record
}

/// TensorFlow masks checksums, since one over data that holds its own checksum would say little.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The first record of some bytes, and its length; none where they begin with none of ours, whole and unchanged.
pub(super) fn read(bytes: &[u8]) -> Option<(Record, usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*checksum) != masked(length) {
        return None;
    }
    let (event, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let checksum = rest.first_chunk::<4>()?;
    if u32::from_le_bytes(*checksum) != masked(event) {
        return None;
    }
    let whole = 8 + 4 + event.len() + 4;
    let text = |field: Field<'_>| String::from_utf8(field.bytes()?.to_vec()).ok();
    if find(event, EVENT_FILE_VERSION).is_some() {
        let writer = find(event, EVENT_SOURCE).and_then(|source| text(find(source.bytes()?, SOURCE_WRITER)?));
        return Some((Record::Version { writer: writer.unwrap_or_default() }, whole));
    }
    let tag = text(find(find(find(event, EVENT_SUMMARY)?.bytes()?, SUMMARY_VALUE)?.bytes()?, VALUE_TAG)?)?;
    let step = match find(event, EVENT_STEP)? {
        Field::Number(step) => step,
        Field::Bytes(_) => return None,
    };
    Some((Record::Summary { step, tag }, whole))
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        }
    }
}

/// The first field of this number in a message.
fn find(mut message: &[u8], number: u64) -> Option<Field<'_>> {
    loop {
        let key = take_varint(&mut message)?;
        let field = match key & 7 {
            VARINT => Field::Number(take_varint(&mut message)?),
            wire_type => {
                let length = match wire_type {
                    EIGHT_BYTES => 8,
                    FOUR_BYTES => 4,
                    DELIMITED => usize::try_from(take_varint(&mut message)?).ok()?,
                    _ => return None,
                };
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(bytes)
            }
        };
        if key >> 3 == number {
            return Some(field);
        }
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
