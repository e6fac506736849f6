//! Arguments as Python binds them: by place or by name, each at most once. What they mean is left to those who ask for them.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, Value};

use super::wrong;

/// What a function, filter or method was called with.
pub(super) type Given = Rest<ValueOrKwargs>;

/// Arguments by the names of their parameters.
pub(super) struct Arguments {
    name: &'static str,
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

impl Arguments {
    /// Binds what was given to the parameters of `name`.
    ///
    /// # Errors
    /// Too many arguments, one that is unknown, or one given twice.
    pub(super) fn bind(
        name: &'static str,
        names: &'static [&'static str],
        given: &[Value],
    ) -> Result<Arguments, Error> {
        let (positional, named) = split(given);
        if positional.len() > names.len() {
            return Err(wrong(format!("`{name}` takes {} arguments and was given {}", names.len(), positional.len())));
        }
        let mut values: Vec<Option<Value>> = positional.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        for key in named.iter().flat_map(Kwargs::args) {
            let Some(at) = names.iter().position(|name| *name == key) else {
                return Err(wrong(format!("`{name}` has no argument `{key}`")));
            };
            if values[at].is_some() {
                return Err(wrong(format!("`{name}` was given its argument `{key}` twice")));
            }
            values[at] = named.as_ref().and_then(|named| named.get::<Value>(key).ok());
        }
        Ok(Arguments { name, names, values })
    }

    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.values[at].as_ref()
    }

    /// An argument that must be there.
    pub(super) fn need(&self, at: usize) -> Result<&Value, Error> {
        self.get(at).ok_or_else(|| wrong(format!("`{}` lacks its argument `{}`", self.name, self.names[at])))
    }

    pub(super) fn is_true(&self, at: usize, otherwise: bool) -> bool {
        self.get(at).map_or(otherwise, Value::is_true)
    }

    /// A whole number, where truth counts as one, as in Python.
    pub(super) fn integer(&self, at: usize, otherwise: i64) -> Result<i64, Error> {
        let Some(value) = self.get(at) else { return Ok(otherwise) };
        let refused = || wrong(format!("`{}` takes a whole number as `{}`", self.name, self.names[at]));
        match value.kind() {
            ValueKind::Bool => Ok(value.is_true().into()),
            ValueKind::Number if value.is_integer() => i64::try_from(value.clone()).map_err(|_| refused()),
            _ => Err(refused()),
        }
    }

    /// A number of letters or copies: not negative, and no more than a template may make.
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
                None => Err(wrong(format!("`{}` takes text as `{}`", self.name, self.names[at]))),
            },
        }
    }

    pub(super) fn need_text(&self, at: usize) -> Result<&str, Error> {
        self.need(at)?;
        self.text(at)?.ok_or_else(|| wrong(format!("`{}` takes text as `{}`", self.name, self.names[at])))
    }
}
