//! The typed values of GGUF metadata, and their encoding. Decoding is left to the reader, lookup by key to
//! [`Metadata`](super::Metadata).

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the type that it names")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of one element type. Arrays of arrays are legal in the format, used by no known file, and refused here.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the type that it names")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

pub(super) const ARRAY_TYPE_ID: u32 = 9;

impl Value {
    /// The value's type, and for short values the value, for messages.
    pub fn describe(&self) -> String {
        match self {
            Value::U8(number) => format!("the u8 {number}"),
            Value::I8(number) => format!("the i8 {number}"),
            Value::U16(number) => format!("the u16 {number}"),
            Value::I16(number) => format!("the i16 {number}"),
            Value::U32(number) => format!("the u32 {number}"),
            Value::I32(number) => format!("the i32 {number}"),
            Value::U64(number) => format!("the u64 {number}"),
            Value::I64(number) => format!("the i64 {number}"),
            Value::F32(number) => format!("the f32 {number}"),
            Value::F64(number) => format!("the f64 {number}"),
            Value::Bool(truth) => format!("the bool {truth}"),
            Value::String(text) => format!("a string of {} bytes", text.len()),
            Value::Array(array) => format!("an array of {} {}", array.len(), array.element_type()),
        }
    }

    /// The value as an integer, whichever integer type it is stored as.
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Value::U8(number) => Some(number.into()),
            Value::I8(number) => Some(number.into()),
            Value::U16(number) => Some(number.into()),
            Value::I16(number) => Some(number.into()),
            Value::U32(number) => Some(number.into()),
            Value::I32(number) => Some(number.into()),
            Value::U64(number) => Some(number.into()),
            Value::I64(number) => Some(number.into()),
            _ => None,
        }
    }

    pub(super) fn type_id(&self) -> u32 {
        match self {
            Value::U8(_) => 0,
            Value::I8(_) => 1,
            Value::U16(_) => 2,
            Value::I16(_) => 3,
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::String(_) => 8,
            Value::Array(_) => ARRAY_TYPE_ID,
            Value::U64(_) => 10,
            Value::I64(_) => 11,
            Value::F64(_) => 12,
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Value::U8(number) => bytes.push(*number),
            Value::I8(number) => bytes.extend(number.to_le_bytes()),
            Value::U16(number) => bytes.extend(number.to_le_bytes()),
            Value::I16(number) => bytes.extend(number.to_le_bytes()),
            Value::U32(number) => bytes.extend(number.to_le_bytes()),
            Value::I32(number) => bytes.extend(number.to_le_bytes()),
            Value::F32(number) => bytes.extend(number.to_le_bytes()),
            Value::Bool(truth) => bytes.push(u8::from(*truth)),
            Value::String(text) => encode_string(text, bytes),
            Value::Array(array) => array.encode(bytes),
            Value::U64(number) => bytes.extend(number.to_le_bytes()),
            Value::I64(number) => bytes.extend(number.to_le_bytes()),
            Value::F64(number) => bytes.extend(number.to_le_bytes()),
        }
    }
}

impl Array {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(items) => items.len(),
            Array::I8(items) => items.len(),
            Array::U16(items) => items.len(),
            Array::I16(items) => items.len(),
            Array::U32(items) => items.len(),
            Array::I32(items) => items.len(),
            Array::F32(items) => items.len(),
            Array::Bool(items) => items.len(),
            Array::String(items) => items.len(),
            Array::U64(items) => items.len(),
            Array::I64(items) => items.len(),
            Array::F64(items) => items.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as integers, whichever integer type they are stored as; `None` for other types.
    pub fn to_integers(&self) -> Option<Vec<i128>> {
        fn widen<T: Copy + Into<i128>>(items: &[T]) -> Option<Vec<i128>> {
            Some(items.iter().map(|item| (*item).into()).collect())
        }
        match self {
            Array::U8(items) => widen(items),
            Array::I8(items) => widen(items),
            Array::U16(items) => widen(items),
            Array::I16(items) => widen(items),
            Array::U32(items) => widen(items),
            Array::I32(items) => widen(items),
            Array::U64(items) => widen(items),
            Array::I64(items) => widen(items),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::String(_) => None,
        }
    }

    fn element_type(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::F32(_) => "f32",
            Array::Bool(_) => "bool",
            Array::String(_) => "strings",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F64(_) => "f64",
        }
    }

    fn element_type_id(&self) -> u32 {
        match self {
            Array::U8(_) => 0,
            Array::I8(_) => 1,
            Array::U16(_) => 2,
            Array::I16(_) => 3,
            Array::U32(_) => 4,
            Array::I32(_) => 5,
            Array::F32(_) => 6,
            Array::Bool(_) => 7,
            Array::String(_) => 8,
            Array::U64(_) => 10,
            Array::I64(_) => 11,
            Array::F64(_) => 12,
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.element_type_id().to_le_bytes());
        bytes.extend((self.len() as u64).to_le_bytes());
        match self {
            Array::U8(items) => bytes.extend(items),
            Array::I8(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::U16(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::I16(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::U32(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::I32(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::F32(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::Bool(items) => bytes.extend(items.iter().map(|item| u8::from(*item))),
            Array::String(items) => items.iter().for_each(|item| encode_string(item, bytes)),
            Array::U64(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::I64(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
            Array::F64(items) => bytes.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        }
    }
}

pub(super) fn encode_string(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

macro_rules! values_from {
    ($($type:ty => $variant:ident),* $(,)?) => { $(
        impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value)
            }
        }
        impl From<Vec<$type>> for Value {
            fn from(items: Vec<$type>) -> Value {
                Value::Array(Array::$variant(items))
            }
        }
    )* };
}
values_from!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32, f64 => F64, bool => Bool, String => String);

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}
