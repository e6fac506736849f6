//! Kinds of values as Python distinguishes them, their items, and lookups by `.name`, `[key]` and `[a:b:c]`.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, State, Value};

use super::budget::{ITEM, spend, spend_items};
use super::globals::{Group, of_macro};
use super::nesting::{nested, weigh};
use super::operators::integer;
use super::print::is_plain_map;
use super::{methods, wrong};

/// Python's types, as far as templates meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Undefined,
    None,
    /// Integers, and truth, which Python counts among them.
    Integer,
    Float,
    Text,
    List,
    Tuple,
    Map,
    Other,
}

pub(super) fn kind(value: &Value) -> Kind {
    match value.kind() {
        ValueKind::Undefined => Kind::Undefined,
        ValueKind::None => Kind::None,
        ValueKind::Bool => Kind::Integer,
        ValueKind::Number if value.is_integer() => Kind::Integer,
        ValueKind::Number => Kind::Float,
        ValueKind::String => Kind::Text,
        ValueKind::Seq if value.is_tuple() || value.downcast_object_ref::<Group>().is_some() => Kind::Tuple,
        ValueKind::Seq => Kind::List,
        ValueKind::Map if is_plain_map(value) => Kind::Map,
        _ => Kind::Other,
    }
}

/// What a value is, for people.
pub(super) fn named(value: &Value) -> &'static str {
    match kind(value) {
        Kind::Undefined => "an undefined value",
        Kind::None => "none",
        Kind::Integer if value.kind() == ValueKind::Bool => "true or false",
        Kind::Integer | Kind::Float => "a number",
        Kind::Text => "a text",
        Kind::List => "a list",
        Kind::Tuple => "a tuple",
        Kind::Map => "a mapping",
        Kind::Other if value.kind() == ValueKind::Iterable => "what is made as it is read",
        Kind::Other => "an object",
    }
}

/// The items of an iterable; for a mapping its keys.
///
/// # Errors
/// What Python cannot go through.
pub(super) fn iterate(value: &Value) -> Result<Vec<Value>, Error> {
    check_iterable(value)?;
    list(value)
}

/// The value, if Python could go through it.
pub(super) fn check_iterable(value: &Value) -> Result<&Value, Error> {
    match (kind(value), value.kind()) {
        (Kind::None, _) => Err(wrong("none cannot be gone through")),
        (Kind::Integer | Kind::Float, _) => Err(wrong("a number cannot be gone through")),
        (Kind::Other, ValueKind::Map) => Err(wrong("this object cannot be gone through")),
        _ => Ok(value),
    }
}

/// The items of a list or tuple.
pub(super) fn list(value: &Value) -> Result<Vec<Value>, Error> {
    let length = value.len();
    spend_items(length.unwrap_or_default())?;
    let mut items = Vec::with_capacity(length.unwrap_or_default());
    for item in value.try_iter()?.checked() {
        if items.len() >= length.unwrap_or_default() {
            spend(ITEM)?;
        }
        items.push(item?);
    }
    Ok(items)
}

/// `value.name` where Python has an attribute of that name: it comes before an item. Anything else is looked up as an item.
pub(super) fn attribute(value: Value, name: String) -> Result<Value, Error> {
    if methods::has(&value, &name) {
        return nested(Value::from_object(Method { value, name }));
    }
    if let Some(told) = of_macro(&value, &name) {
        return nested(told);
    }
    value.get_attr(&name)
}

/// `value[key]`, where a name that is no key may still be a method.
pub(super) fn item(value: Value, key: Value) -> Result<Value, Error> {
    if key.as_str().is_some() || key.as_object().is_some() {
        weigh(&key)?;
    }
    if let Some(told) = key.as_str().and_then(|name| of_macro(&value, name)) {
        return nested(told);
    }
    // A place in what is made as it is read is found by reading up to it.
    if value.kind() == ValueKind::Iterable {
        spend_items(value.len().unwrap_or_default())?;
    }
    let found = match kind(&key) {
        // Python takes no float as an index, and an undefined one finds nothing.
        _ if value.is_undefined() || value.downcast_object_ref::<Group>().is_some() => value.get_item(&key)?,
        Kind::Float if kind(&value) != Kind::Map => Value::UNDEFINED,
        Kind::Text if matches!(kind(&value), Kind::Text | Kind::List | Kind::Tuple) => Value::UNDEFINED,
        Kind::Undefined => Value::UNDEFINED,
        Kind::Integer if kind(&value) != Kind::Map => match integer(&key) {
            Some(index) => value.get_item(&super::operators::whole(index))?,
            None => Value::UNDEFINED,
        },
        _ => value.get_item(&key)?,
    };
    match key.as_str() {
        Some(name) if found.is_undefined() && methods::has(&value, name) => {
            nested(Value::from_object(Method { name: name.to_owned(), value }))
        }
        _ => Ok(found),
    }
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: Value, start: Value, stop: Value, step: Value) -> Result<Value, Error> {
    if !matches!(kind(&value), Kind::Text | Kind::List | Kind::Tuple) {
        let mend = match kind(&value) {
            Kind::Undefined | Kind::None => "give it a value before, with `| default(…)` say",
            Kind::Integer | Kind::Float => "make it a text first with `| string`",
            _ => "make it a list first with `| list`",
        };
        return Err(wrong(format!(
            "a slice `[start:stop:step]` is of a text, a list or a tuple, and this one is of {}: {mend}",
            named(&value)
        )));
    }
    let bound = |bound: &Value| match kind(bound) {
        Kind::None => Ok(None),
        Kind::Integer => Ok(Some(integer(bound).unwrap_or_default())),
        _ => Err(wrong(format!(
            "a slice `[start:stop:step]` takes whole numbers or none and was given {}; `| int` makes it a whole number",
            named(bound)
        ))),
    };
    let (start, stop, step) = (bound(&start)?, bound(&stop)?, bound(&step)?);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(wrong(
            "a slice `[start:stop:step]` cannot have a step of zero; leave the step out to take each item",
        ));
    }
    let items = if value.as_str().is_some() { Vec::new() } else { list(&value)? };
    let text = value.as_str().unwrap_or_default();
    // Going over a text is what its slices cost; only steps want all its letters at once.
    spend(text.len() * if step == 1 { 2 } else { ITEM })?;
    let letters: Vec<char> = if step == 1 { Vec::new() } else { text.chars().collect() };
    let count = if value.as_str().is_some() { text.chars().count() } else { items.len() } as i128;
    let (low, high) = if step > 0 { (0, count) } else { (-1, count - 1) };
    let clamp = |bound: i128| (if bound < 0 { bound + count } else { bound }).clamp(low, high);
    let from = start.map_or(if step > 0 { low } else { high }, clamp);
    let to = stop.map_or(if step > 0 { high } else { low }, clamp);
    let mut at = from;
    let places = std::iter::from_fn(|| {
        let is_inside = (step > 0 && at < to) || (step < 0 && at > to);
        let place = at as usize;
        at = at.saturating_add(step);
        is_inside.then_some(place)
    });
    Ok(match kind(&value) {
        Kind::Text => {
            let text: String = match step {
                1 => text.chars().skip(from as usize).take((to - from).max(0) as usize).collect(),
                _ => places.map(|place| letters[place]).collect(),
            };
            if value.is_safe() { Value::from_safe_string(text) } else { Value::from(text) }
        }
        Kind::Tuple => Value::from(Tuple::from(places.map(|place| items[place].clone()).collect::<Vec<_>>())),
        _ => Value::from(places.map(|place| items[place].clone()).collect::<Vec<_>>()),
    })
}

/// A method that is not called yet.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) value: Value,
    name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        methods::call(state, &self.value, &self.name, args)
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<method {}>", self.name)
    }
}
