//! Binds arguments as Python does: by position or by name, each at most once. Their meaning is left to the functions
//! that bind them.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, Value};

use super::items::named;
use super::wrong;

/// The arguments of a function, filter or method.
pub(super) type CallArguments = Rest<ValueOrKwargs>;

/// Arguments by the names of their parameters.
pub(super) struct Arguments<'a> {
    name: &'a str,
    names: &'static [&'static str],
    values: Vec<Option<Value>>,
}

/// Positional arguments and those with names.
pub(super) fn split(values: &[Value]) -> (&[Value], Option<Kwargs>) {
    match values.split_last() {
        Some((last, first)) if last.is_kwargs() => (first, Kwargs::try_from(last.clone()).ok()),
        _ => (values, None),
    }
}

impl<'a> Arguments<'a> {
    /// Binds the arguments to the parameters of `name`.
    ///
    /// # Errors
    /// Too many arguments, one that is unknown, or one given twice.
    pub(super) fn bind(name: &'a str, names: &'static [&'static str], given: &[Value]) -> Result<Arguments<'a>, Error> {
        let (positional, by_name) = split(given);
        if positional.len() > names.len() {
            return Err(wrong(format!("`{name}` takes {} arguments and was given {}", names.len(), positional.len())));
        }
        let mut values: Vec<Option<Value>> = positional.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        for key in by_name.iter().flat_map(Kwargs::args) {
            let Some(at) = names.iter().position(|name| *name == key) else {
                return Err(wrong(format!("`{name}` has no argument `{key}`")));
            };
            if values[at].is_some() {
                return Err(wrong(format!("`{name}` was given its argument `{key}` twice")));
            }
            values[at] = by_name.as_ref().and_then(|named| named.get::<Value>(key).ok());
        }
        Ok(Arguments { name, names, values })
    }

    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.values[at].as_ref()
    }

    /// A required argument.
    pub(super) fn need(&self, at: usize) -> Result<&Value, Error> {
        self.get(at).ok_or_else(|| wrong(format!("`{}` lacks its argument `{}`", self.name, self.names[at])))
    }

    pub(super) fn is_true(&self, at: usize, otherwise: bool) -> bool {
        self.get(at).map_or(otherwise, Value::is_true)
    }

    /// An integer; a boolean counts as one, as in Python.
    pub(super) fn integer(&self, at: usize, otherwise: i64) -> Result<i64, Error> {
        let Some(value) = self.get(at) else { return Ok(otherwise) };
        match value.kind() {
            ValueKind::Bool => Ok(value.is_true().into()),
            ValueKind::Number if value.is_integer() => i64::try_from(value.clone()).map_err(|_| {
                wrong(format!("`{}` was given a number as `{}` that is too large", self.name, self.names[at]))
            }),
            _ => Err(self.other(at, "a whole number", "int")),
        }
    }

    /// A number of letters or copies: not negative, and within the limits of a template.
    pub(super) fn size(&self, at: usize, otherwise: usize) -> Result<usize, Error> {
        const MOST: usize = 1 << 20;
        let size = self.integer(at, otherwise as i64)?;
        match usize::try_from(size) {
            Ok(size) if size > MOST => {
                Err(wrong(format!("`{}` may take at most {MOST} as `{}`", self.name, self.names[at])))
            }
            Ok(size) => Ok(size),
            Err(_) => Ok(0),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<Option<&str>, Error> {
        match self.get(at) {
            None => Ok(None),
            Some(value) if value.is_none() => Ok(None),
            Some(value) => match value.as_str() {
                Some(text) => Ok(Some(text)),
                None => Err(self.other(at, "text", "string")),
            },
        }
    }

    pub(super) fn need_text(&self, at: usize) -> Result<&str, Error> {
        self.need(at)?;
        self.text(at)?.ok_or_else(|| self.other(at, "text", "string"))
    }

    /// The error for an argument of the wrong type, with the filter that converts it.
    fn other(&self, at: usize, wanted: &str, filter: &str) -> Error {
        let given = named(self.get(at).unwrap_or(&Value::UNDEFINED));
        let (name, parameter) = (self.name, self.names[at]);
        wrong(format!("`{name}` takes {wanted} as `{parameter}` and was given {given}; `| {filter}` converts it"))
    }
}
