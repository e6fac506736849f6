//! The fields of `adapter_config.json`, read one by one with their types, so that an error names the field with the
//! wrong value. The meaning of the fields is left to `config`.

use std::collections::BTreeMap;
use std::path::Path;

use aludel_files::shortened;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::selection::{Bias, Patterns, TargetModules, TrainedTokens};
use crate::error::{Error, Result};

/// The modules whose rows PEFT trains by token.
const TABLES: [&str; 2] = ["embed_tokens", "lm_head"];

/// What is left of a config.
pub(super) struct Fields<'p> {
    fields: Map<String, Value>,
    path: &'p Path,
}

impl<'p> Fields<'p> {
    pub(super) fn new(fields: Map<String, Value>, path: &'p Path) -> Fields<'p> {
        Fields { fields, path }
    }

    /// The fields that were not read.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.fields
    }

    /// A field of any kind, null as it is.
    pub(super) fn any(&mut self, key: &str) -> Option<Value> {
        self.fields.shift_remove(key)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        self.nullable(key, "a text")
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool> {
        Ok(self.nullable(key, "true or false")?.unwrap_or(false))
    }

    pub(super) fn number_or_null(&mut self, key: &str) -> Result<Option<f64>> {
        self.nullable(key, "a number")
    }

    /// A field that PEFT computes with, so that null is no value of it.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.any(key).map(|value| self.typed(key, value, "a number")).transpose()
    }

    /// As [`Fields::number`], whole.
    pub(super) fn rank(&mut self, key: &str) -> Result<Option<usize>> {
        self.any(key).map(|value| self.typed(key, value, "a whole number of 1 or more")).transpose()
    }

    pub(super) fn modules(&mut self, key: &str) -> Result<Option<TargetModules>> {
        let wanted = "a list of names, or a pattern,";
        Ok(match self.any(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(pattern)) => Some(TargetModules::Pattern(pattern)),
            Some(names) => Some(TargetModules::Names(self.typed(key, names, wanted)?)),
        })
    }

    pub(super) fn bias(&mut self, key: &str) -> Result<Bias> {
        Ok(self.nullable(key, "\"none\", \"all\" or \"lora_only\"")?.unwrap_or_default())
    }

    pub(super) fn ranks(&mut self, key: &str) -> Result<Patterns<usize>> {
        self.patterns(key, "a whole number of 1 or more")
    }

    pub(super) fn numbers(&mut self, key: &str) -> Result<Patterns<f64>> {
        self.patterns(key, "a number")
    }

    pub(super) fn tokens(&mut self, key: &str) -> Result<Option<TrainedTokens>> {
        let tables = match self.any(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(tables)) => tables,
            Some(ids) => return Ok(Some(TrainedTokens::Embedding(self.ids(key, ids)?))),
        };
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (module, ids) in tables {
            let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
            if !TABLES.contains(&last(&module).as_str()) {
                return Err(self.wrong(
                    key,
                    format!("{module:?} is no table of tokens; \"embed_tokens\" or \"lm_head\" would be right"),
                ));
            }
            if let Some(other) = found.keys().find(|other| last(other) == last(&module)) {
                return Err(
                    self.wrong(key, format!("{other:?} and {module:?} are one table; list its tokens under one name"))
                );
            }
            found.insert(module, self.ids(key, ids)?);
        }
        Ok(Some(TrainedTokens::ByModule(found)))
    }

    fn ids(&self, key: &str, ids: Value) -> Result<Vec<u32>> {
        let Value::Array(ids) = ids else {
            return Err(self.wrong(key, format!("{} is no list of token ids", shown(&ids))));
        };
        let id = |id: &Value| {
            let reason = || format!("{} is no token id; whole numbers from 0 would be right", shown(id));
            id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| self.wrong(key, reason()))
        };
        ids.iter().map(id).collect()
    }

    fn patterns<V: DeserializeOwned>(&mut self, key: &str, wanted: &str) -> Result<Patterns<V>> {
        match self.any(key) {
            None | Some(Value::Null) => Ok(Patterns::default()),
            Some(Value::Object(patterns)) => {
                let value = |(pattern, value): (String, Value)| {
                    let value = self.typed(&format!("{key}.{pattern}"), value, wanted)?;
                    Ok((pattern, value))
                };
                patterns.into_iter().map(value).collect()
            }
            Some(other) => Err(self.wrong(key, format!("{} is no object of patterns and values", shown(&other)))),
        }
    }

    fn nullable<T: DeserializeOwned>(&mut self, key: &str, wanted: &str) -> Result<Option<T>> {
        let given = self.any(key).filter(|value| !value.is_null());
        given.map(|value| self.typed(key, value, wanted)).transpose()
    }

    fn typed<T: DeserializeOwned>(&self, key: &str, value: Value, wanted: &str) -> Result<T> {
        let found = shown(&value);
        serde_json::from_value(value)
            .map_err(|_| self.wrong(key, format!("{found} is not supported; {wanted} would be right")))
    }

    fn wrong(&self, key: &str, reason: String) -> Error {
        Error::Malformed { path: self.path.to_owned(), place: format!("key \"{key}\""), reason }
    }
}

/// A value, shortened for a message: untrusted files have long ones.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string(), 60).into_owned()
}
