//! Lookup of metadata by key. The call names the expected type, and so does the message if the key is missing. Which
//! keys a model needs is left to the callers.

use std::collections::HashMap;
use std::path::PathBuf;

use super::value::{Array, Value};
use crate::error::{Error, Result, nearest};

/// The keys and values of a GGUF file, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// A key that must be there: `metadata.get::<u32>("llama.block_count")?`.
    ///
    /// Any integer type is taken for an expected integer if the value fits, and f64 for f32; nothing else is converted.
    ///
    /// # Errors
    /// [`Error::MissingKey`] with the nearest keys, [`Error::WrongType`] naming the expected and the found type.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.find(key)?.ok_or_else(|| Error::MissingKey {
            path: self.path.clone(),
            key: key.to_owned(),
            nearest: nearest(key, self.keys()),
        })
    }

    /// A key that may be absent; one of the wrong type is still an error.
    ///
    /// # Errors
    /// [`Error::WrongType`].
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match T::from_value(value) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::WrongType {
                path: self.path.clone(),
                key: key.to_owned(),
                wanted: T::WANTED,
                found: value.describe(),
            }),
        }
    }

    /// [`get`](Metadata::get) of a u32.
    pub fn u32(&self, key: &str) -> Result<u32> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of a u64.
    pub fn u64(&self, key: &str) -> Result<u64> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of an f32.
    pub fn f32(&self, key: &str) -> Result<f32> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of a bool.
    pub fn bool(&self, key: &str) -> Result<bool> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of a string.
    pub fn string(&self, key: &str) -> Result<&str> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of an array of strings.
    pub fn strings(&self, key: &str) -> Result<&[String]> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of an array of integers that fit an i32.
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of an array of integers that fit a u32.
    pub fn u32s(&self, key: &str) -> Result<Vec<u32>> {
        self.get(key)
    }

    /// [`get`](Metadata::get) of an array of f32.
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>> {
        self.get(key)
    }

    /// The value as it is stored.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|index| &self.entries[*index].1)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// All keys, in the file's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// All keys and values, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn for_file(path: PathBuf) -> Metadata {
        Metadata { path, ..Metadata::default() }
    }

    /// Adds a key, or returns false if it is already there.
    pub(super) fn insert(&mut self, key: String, value: Value) -> bool {
        if self.contains(&key) {
            return false;
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        true
    }
}

/// A type that a metadata value can be read as.
pub trait FromValue<'a>: Sized {
    /// The type in words, for messages: "a u32".
    const WANTED: &'static str;

    /// The value in this type, `None` if it is of another kind or does not fit.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! integers_from_value {
    ($($type:ty, $wanted:literal, $wanted_array:literal);*) => { $(
        impl FromValue<'_> for $type {
            const WANTED: &'static str = $wanted;
            fn from_value(value: &Value) -> Option<Self> {
                value.as_integer()?.try_into().ok()
            }
        }
        impl FromValue<'_> for Vec<$type> {
            const WANTED: &'static str = $wanted_array;
            fn from_value(value: &Value) -> Option<Self> {
                let Value::Array(array) = value else { return None };
                array.to_integers()?.into_iter().map(|item| item.try_into().ok()).collect()
            }
        }
    )* };
}
integers_from_value!(
    u32, "a u32", "an array of integers that fit a u32";
    i32, "an i32", "an array of integers that fit an i32";
    u64, "a u64", "an array of integers that fit a u64";
    usize, "a count", "an array of counts"
);

impl FromValue<'_> for f32 {
    const WANTED: &'static str = "an f32";
    fn from_value(value: &Value) -> Option<Self> {
        match *value {
            Value::F32(number) => Some(number),
            Value::F64(number) => Some(number as f32),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    const WANTED: &'static str = "a bool";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bool(truth) = value { Some(*truth) } else { None }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WANTED: &'static str = "a string";
    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::String(text) = value { Some(text) } else { None }
    }
}

impl<'a> FromValue<'a> for &'a [String] {
    const WANTED: &'static str = "an array of strings";
    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::Array(Array::String(items)) = value { Some(items) } else { None }
    }
}

impl FromValue<'_> for Vec<f32> {
    const WANTED: &'static str = "an array of f32";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(Array::F32(items)) => Some(items.clone()),
            Value::Array(Array::F64(items)) => Some(items.iter().map(|item| *item as f32).collect()),
            _ => None,
        }
    }
}
