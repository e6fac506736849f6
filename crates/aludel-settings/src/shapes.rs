//! Shapes of values that several sections share: a list that may be written as a single item, and Hugging Face's -1
//! for "no limit". They exist for reading; what is written back is always the plain shape.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single item.
    One(T),
    /// A list of items.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The items, as a list.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }
}

/// Reads a list, or a single item as a list of one.
///
/// # Errors
/// A value that is neither.
pub fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    OneOrMany::deserialize(deserializer).map(OneOrMany::into_vec)
}

/// Reads a count, where -1 (as Hugging Face writes it) means that there is no limit.
///
/// # Errors
/// Other negative numbers, and what is no whole number.
pub fn count_or_minus_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let count = i64::deserialize(deserializer)?;
    match count {
        -1 => Ok(None),
        _ => u64::try_from(count).map(Some).map_err(|_| serde::de::Error::custom("a count cannot be negative")),
    }
}
