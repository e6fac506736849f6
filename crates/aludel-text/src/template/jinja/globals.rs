//! Jinja2's global functions and the objects that they return, and the helpers that rewritten templates call for macros
//! and lookups.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Tuple};
use minijinja::{Environment, Error, State, Value};

use super::arguments::{Arguments, CallArguments, split};
use super::budget::spend_items;
use super::items::{Kind, attribute, check_iterable, item, iterate, kind, slice};
use super::nesting::{check_key, nested};
use super::operators::integer;
use super::wrong;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_function("__attr", attribute);
    environment.add_function("__item", item);
    environment.add_function("__slice", slice);
    environment.add_function("__iter", |value: Value| check_iterable(&value).cloned());
    environment.add_function("__missing", |value: Value| value.downcast_object_ref::<Missing>().is_some());
    environment.add_function("__macro", |inner: Value, name: String, names: Vec<String>, uses: Vec<bool>| {
        let uses = |at: usize| uses.get(at) == Some(&true);
        Value::from_object(Macro {
            inner,
            name,
            names,
            takes_more: uses(0),
            takes_named: uses(1),
            takes_caller: uses(2),
        })
    });
    environment.add_function("cycler", cycler);
    environment.add_function("joiner", |given: CallArguments| {
        let arguments = Arguments::bind("joiner", &["sep"], &given.into_values())?;
        let between = arguments.get(0).cloned().unwrap_or_else(|| Value::from(", "));
        nested(Value::from_object(Joiner { between, calls: AtomicUsize::new(0) }))
    });
    environment.add_function("dict", dict);
    environment.add_function("range", range);
    let native = environment.globals().find(|(name, _)| *name == "namespace").map(|(_, native)| native);
    environment.add_function("namespace", move |state: &mut State<'_, '_>, given: CallArguments| {
        native.as_ref().unwrap_or(&Value::UNDEFINED).call(state, &[dict(given)?])
    });
}

fn dict(given: CallArguments) -> Result<Value, Error> {
    let given = given.into_values();
    let (positional, named) = split(&given);
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    match positional {
        [] => {}
        [map] if kind(map) == Kind::Map => {
            for key in iterate(map)? {
                pairs.push((key.clone(), map.get_item(&key)?));
            }
        }
        [list] => {
            for pair in iterate(list)? {
                match iterate(&pair)?.as_slice() {
                    [key, value] => pairs.push((key.clone(), value.clone())),
                    _ => return Err(wrong("`dict` takes pairs")),
                }
            }
        }
        _ => return Err(wrong("`dict` takes one mapping or list of pairs")),
    }
    for name in named.iter().flat_map(Kwargs::args) {
        if let Some(named) = &named {
            pairs.push((Value::from(name), named.get(name)?));
        }
    }
    pairs.iter().try_for_each(|(key, _)| check_key(key))?;
    spend_items(2 * pairs.len())?;
    nested(Value::from_pairs(pairs))
}

/// The engine's own computes with numbers of a machine word, which larger ones do not fit.
fn range(given: CallArguments) -> Result<Value, Error> {
    const FARTHEST: i128 = 1 << 40;
    let given = given.into_values();
    let bound = |value: &Value| {
        let number = integer(value).filter(|number| number.abs() <= FARTHEST);
        number.map(|number| number as isize).ok_or_else(|| wrong("`range` takes whole numbers, and none too large"))
    };
    let bounds = given.iter().map(bound).collect::<Result<Vec<isize>, _>>()?;
    match *bounds.as_slice() {
        [lower] => minijinja::functions::range(lower, None, None),
        [lower, upper] => minijinja::functions::range(lower, Some(upper), None),
        [lower, upper, step] => minijinja::functions::range(lower, Some(upper), Some(step)),
        _ => Err(wrong("`range` takes from one to three numbers")),
    }
}

/// One of the groups of `groupby`: a pair whose halves have names.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) grouper: Value,
    pub(super) list: Value,
}

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_usize()) {
            (Some("grouper"), _) | (None, Some(0)) => Some(self.grouper.clone()),
            (Some("list"), _) | (None, Some(1)) => Some(self.list.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

#[derive(Debug)]
pub(super) struct Cycler {
    /// A tuple.
    pub(super) items: Value,
    count: usize,
    at: AtomicUsize,
}

fn cycler(given: CallArguments) -> Result<Value, Error> {
    let items = given.into_values();
    if items.is_empty() || items.iter().any(Value::is_kwargs) {
        return Err(wrong("`cycler` takes at least one item, and no names"));
    }
    let (count, items) = (items.len(), Value::from(Tuple::from(items)));
    nested(Value::from_object(Cycler { items, count, at: AtomicUsize::new(0) }))
}

impl Cycler {
    fn current(&self) -> Value {
        self.items.get_item_by_index(self.at.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "current" => Some(self.current()),
            "items" => Some(self.items.clone()),
            "pos" => Some(Value::from(self.at.load(Ordering::Relaxed))),
            _ => None,
        }
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            ("next", []) => {
                let current = self.current();
                let next = (self.at.load(Ordering::Relaxed) + 1) % self.count;
                self.at.store(next, Ordering::Relaxed);
                Ok(current)
            }
            ("reset", []) => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(wrong(format!("a cycler has no method `{method}`, or not with these arguments"))),
        }
    }
}

#[derive(Debug)]
pub(super) struct Joiner {
    pub(super) between: Value,
    calls: AtomicUsize,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        if !args.is_empty() {
            return Err(wrong("a joiner takes no arguments"));
        }
        let is_first = self.calls.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(if is_first { Value::from("") } else { self.between.clone() })
    }
}

/// An argument that a macro was not given, and has a default for.
#[derive(Debug)]
struct Missing;

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// A macro that takes more arguments than it names, or whose defaults read other arguments. The engine's own macros support neither.
#[derive(Debug)]
struct Macro {
    inner: Value,
    name: String,
    names: Vec<String>,
    takes_more: bool,
    takes_named: bool,
    takes_caller: bool,
}

/// The attributes of a macro, except its name and whether it calls its caller, which the engine's own macros have as in Jinja2.
pub(super) const OF_MACRO: [&str; 3] = ["arguments", "catch_kwargs", "catch_varargs"];

/// One of these of the engine's own macros, which take neither more arguments than they name nor other names.
pub(super) fn of_macro(value: &Value, name: &str) -> Option<Value> {
    let is_native = value.as_object().is_some_and(|object| object.type_name().ends_with("macro_object::Macro"));
    if !is_native || !OF_MACRO.contains(&name) {
        return None;
    }
    let names = || value.get_attr(name).and_then(|names| names.try_iter().map(Iterator::collect::<Vec<_>>));
    Some(if name == "arguments" { Value::from(Tuple::from(names().unwrap_or_default())) } else { Value::from(false) })
}

impl Object for Macro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "name" => Value::from(self.name.as_str()),
            "arguments" => Value::from(Tuple::from(self.names.iter().map(Value::from).collect::<Vec<_>>())),
            "catch_varargs" => Value::from(self.takes_more),
            "catch_kwargs" => Value::from(self.takes_named),
            "caller" => Value::from(self.takes_caller),
            _ => return None,
        })
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (positional, named) = split(args);
        let count = self.names.len();
        let mut values: Vec<Value> = positional.iter().take(count).cloned().collect();
        let more = positional.get(count..).unwrap_or_default();
        if !more.is_empty() && !self.takes_more {
            return Err(wrong(format!("a macro takes {count} arguments and was given {}", positional.len())));
        }
        let mut rest = Vec::new();
        let mut caller = None;
        let mut by_name: Vec<Option<Value>> = vec![None; count];
        for name in named.iter().flat_map(Kwargs::args) {
            let Some(value) = named.as_ref().and_then(|named| named.get::<Value>(name).ok()) else { continue };
            match self.names.iter().position(|other| other == name) {
                Some(place) if place < values.len() => {
                    return Err(wrong(format!("a macro was given its argument `{name}` twice")));
                }
                Some(place) => by_name[place] = Some(value),
                None if name == "caller" => caller = Some(value),
                None => rest.push((Value::from(name), value)),
            }
        }
        if !rest.is_empty() && !self.takes_named {
            return Err(wrong("a macro was given an argument by a name that it does not have"));
        }
        for value in by_name.into_iter().skip(values.len()) {
            values.push(value.unwrap_or_else(|| Value::from_object(Missing)));
        }
        spend_items(more.len() + 2 * rest.len())?;
        values.push(nested(Value::from(Tuple::from(more.to_vec())))?);
        values.push(nested(Value::from_pairs(rest))?);
        values.extend(caller.map(|caller| Value::from(Kwargs::from_iter([("caller", caller)]))));
        self.inner.call(state, &values)
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<macro>")
    }
}
