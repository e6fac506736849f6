//! The members of JSON objects: the columns of a row, which are copied from file to file, and the fields of nested objects.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::halves::Name;
use super::{Json, Kind};

/// The members of an object, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(pub(super) Vec<(String, Json<'a>)>, pub(super) Option<String>);

impl<'a> Fields<'a> {
    /// A member that exists and is not `null`.
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    /// The first of these members that is not empty.
    pub fn first(&self, names: &[&'static str]) -> Option<(&'static str, Json<'a>)> {
        names.iter().find_map(|&name| Some((name, self.get(name).filter(|value| !value.is_empty())?)))
    }

    /// The first of these members that holds anything, and be it white space.
    pub fn first_given(&self, names: &[&'static str]) -> Option<(&'static str, Json<'a>)> {
        let is_given = |value: &Json<'a>| match value.kind() {
            Kind::Text => value.wide().is_some_and(|text| !text.is_empty()),
            _ => !value.is_empty(),
        };
        names.iter().find_map(|&name| Some((name, self.get(name).filter(is_given)?)))
    }

    /// A name that two members have, so that it is unclear which counts.
    pub fn twice(&self) -> Option<&str> {
        self.1.as_deref()
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// The columns of a row, in order, each with the text of its file.
#[derive(Clone, Debug, Default)]
pub struct Columns(Vec<(String, Box<RawValue>)>);

impl Columns {
    /// A column, whether `null` or not.
    pub fn get(&self, name: &str) -> Option<Json<'_>> {
        self.entry(name).map(|(_, value)| value)
    }

    /// A column and its name as stored in the row.
    pub fn entry(&self, name: &str) -> Option<(&str, Json<'_>)> {
        self.iter().find(|(own, _)| *own == name)
    }

    /// Whether there is such a column.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Json<'_>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), Json(value)))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a column, replacing one of the same name.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        // Only maps with keys other than text cannot be written as JSON, and no caller sets one.
        let Ok(raw) = to_raw_value(value) else { return };
        self.retain(|own| own != name);
        self.0.push((name.to_string(), raw));
    }

    /// Sets a column where there is none of that name.
    pub fn set_missing(&mut self, name: &str, value: &impl Serialize) {
        if !self.contains(name) {
            self.set(name, value);
        }
    }

    /// Adds the columns of another row, each under the name that `renamed` gives it, except those that exist already.
    pub fn take_on(&mut self, other: &Columns, renamed: impl Fn(&str) -> String) {
        let own = self.0.len();
        for (name, value) in &other.0 {
            let name = renamed(name);
            if self.0[..own].iter().all(|(own, _)| *own != name) {
                self.0.push((name, value.clone()));
            }
        }
    }

    /// Keeps the columns whose names are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| wanted(name));
    }
}

impl From<Map<String, Value>> for Columns {
    fn from(map: Map<String, Value>) -> Columns {
        let mut columns = Columns::default();
        map.iter().for_each(|(name, value)| columns.set(name, value));
        columns
    }
}

/// The order of columns makes no difference.
impl PartialEq for Columns {
    fn eq(&self, other: &Columns) -> bool {
        let written = |columns: &Columns| -> BTreeMap<String, String> {
            columns.iter().map(|(name, value)| (name.to_string(), value.written().to_string())).collect()
        };
        written(self) == written(other)
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
        let Pairs(pairs, twice) = Pairs::<Box<RawValue>>::deserialize(deserializer)?;
        if let Some(name) = twice {
            let message = format!("`{name}` stands twice, and it cannot be told which of the two counts");
            return Err(serde::de::Error::custom(message));
        }
        Ok(Columns(pairs.into_iter().map(|(name, value)| (name, compact(value))).collect()))
    }
}

/// A row is written on one line, so white space between the parts of a value is removed.
fn compact(value: Box<RawValue>) -> Box<RawValue> {
    let text = value.get();
    if !text.starts_with(['[', '{']) {
        return value;
    }
    let (mut in_string, mut escaped) = (false, false);
    let mut is_wanted = |letter: char| {
        if in_string {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return true;
        }
        in_string = letter == '"';
        !letter.is_ascii_whitespace()
    };
    let shorter: String = text.chars().filter(|&letter| is_wanted(letter)).collect();
    if shorter.len() == text.len() { value } else { RawValue::from_string(shorter).unwrap_or(value) }
}

/// The members of an object, and a name that occurs twice. The last of these counts, in the position of the first.
pub(super) struct Pairs<V>(pub(super) Vec<(String, V)>, pub(super) Option<String>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<V>, D::Error> {
        struct Reader<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Vec<(String, V)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(pairs)
            }
        }
        let (pairs, twice) = once_each(deserializer.deserialize_map(Reader(PhantomData))?);
        Ok(Pairs(pairs, twice))
    }
}

fn once_each<V>(pairs: Vec<(String, V)>) -> (Vec<(String, V)>, Option<String>) {
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string()) else {
        return (pairs, None);
    };
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<(String, V)> = Vec::new();
    for (name, value) in pairs {
        match places.get(&name) {
            Some(&place) => kept[place].1 = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    (kept, Some(twice))
}
