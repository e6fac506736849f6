//! Bounds the nesting of values. Whatever makes a list, tuple or mapping of other values checks here first, so that no
//! value is nested deeper than can be dropped, compared or printed on any stack, and none contains itself.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use super::budget::{ITEM, spend};
use super::globals::{Cycler, Group, Joiner};
use super::items::{Kind, Method, kind};
use super::print::is_plain_map;
use super::wrong;

/// Deeper than the data of any template; a variable may bring JSON that is nested deeper, which can be read and not put into more.
const DEEPEST: usize = 130;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_function("__nest", nested);
    environment.add_function("__key", |key: Value| check_key(&key).map(|()| key));
    environment.add_function("__weighed", |value: Value| weigh(&value).map(|()| value));
    environment.add_function("__assigned", assigned);
    environment.add_filter("__assigned", assigned);
    environment.add_function("__named", |value: Value| match kind(&value) {
        Kind::Map => super::budget::spend_items(value.len().unwrap_or_default()).map(|()| value),
        _ => Err(wrong("`**` takes a mapping")),
    });
    environment.add_function("__short", |value: Value| match value.as_str() {
        Some(name) if name.len() > LONGEST_NAME => {
            Err(wrong(format!("the name of an attribute or test has more than {LONGEST_NAME} bytes")))
        }
        _ => Ok(value),
    });
}

const LONGEST_NAME: usize = 1 << 10;

/// A value that was just made of others.
///
/// # Errors
/// It is nested too deep, or contains a namespace, which could come to contain it.
pub(super) fn nested(value: Value) -> Result<Value, Error> {
    walk(&value, DEEPEST, Purpose::Nest)?;
    Ok(value)
}

/// Counts what comparing, printing or hashing a value costs: each part as often as it occurs.
pub(super) fn weigh(value: &Value) -> Result<(), Error> {
    walk(value, 2 * DEEPEST, Purpose::Weigh)
}

/// Whether two values are equal.
///
/// # Errors
/// The budget is used up.
pub(super) fn is_same(left: &Value, right: &Value) -> Result<bool, Error> {
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) if left.len() == right.len() => spend(left.len())?,
        _ if left.as_object().is_some() && right.as_object().is_some() => weigh(left)?,
        _ => {}
    }
    Ok(left == right)
}

/// A value that is about to be the key of a mapping.
///
/// # Errors
/// Python has no hash of it, or the budget is used up.
pub(super) fn check_key(key: &Value) -> Result<(), Error> {
    match kind(key) {
        Kind::List | Kind::Map => Err(wrong("a list or mapping cannot be the key of a mapping")),
        _ => weigh(key),
    }
}

/// What a namespace is given.
fn assigned(value: Value) -> Result<Value, Error> {
    refuse_namespace(&value)?;
    Ok(value)
}

/// A namespace changes in place, so that one within a value could come to contain that value.
pub(super) fn refuse_namespace(value: &Value) -> Result<(), Error> {
    if is_namespace(value) {
        return Err(wrong("a `namespace` within another value is not known here"));
    }
    Ok(())
}

fn is_namespace(value: &Value) -> bool {
    value.kind() == ValueKind::Map && value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To measure the depth; the content of texts does not matter.
    Nest,
    /// To count what it costs to read all of it.
    Weigh,
}

fn walk(value: &Value, room: usize, purpose: Purpose) -> Result<(), Error> {
    let Some(object) = value.as_object() else {
        let text = value.as_str().filter(|_| purpose == Purpose::Weigh);
        return spend(ITEM / 4 + text.map_or(0, str::len));
    };
    let Some(room) = room.checked_sub(1) else {
        return Err(wrong(format!("a value is nested more than {DEEPEST} deep")));
    };
    spend(ITEM)?;
    if purpose == Purpose::Nest {
        refuse_namespace(value)?;
    }
    let inner = |value: &Value| walk(value, room, purpose);
    if let Some(method) = object.downcast_ref::<Method>() {
        return inner(&method.value);
    }
    if let Some(joiner) = object.downcast_ref::<Joiner>() {
        return inner(&joiner.between);
    }
    if let Some(cycler) = object.downcast_ref::<Cycler>() {
        return inner(&cycler.items);
    }
    if let Some(group) = object.downcast_ref::<Group>() {
        return inner(&group.grouper).and_then(|()| inner(&group.list));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.checked().try_for_each(|item| inner(&item?)),
        ValueKind::Map if is_plain_map(value) || is_namespace(value) => {
            value.try_iter()?.checked().try_for_each(|key| {
                // Each value is looked up by its key.
                spend(2 * ITEM)?;
                let key = key?;
                inner(&key)?;
                inner(&value.get_item(&key)?)
            })
        }
        _ => Ok(()),
    }
}
