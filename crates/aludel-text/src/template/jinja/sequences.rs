//! Jinja2's filters on sequences. Where Python returns a generator, the result can be iterated but not printed.

use std::cmp::Ordering;

use minijinja::value::{Rest, Tuple};
use minijinja::{Environment, Error, State, Value};

use super::arguments::{Arguments, CallArguments};
use super::budget::{spend, spend_items};
use super::items::{Kind, item, iterate, kind, list};
use super::nesting::{is_same, nested};
use super::operators::order;
use super::print::text_of;
use super::wrong;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("list", |value: Value| iterate(&value).map(Value::from));
    environment.add_filter("join", join);
    environment.add_filter("sort", sort);
    environment.add_filter("unique", unique);
    environment.add_filter("min", |value: Value, given: CallArguments| extreme("min", &value, given, Ordering::Less));
    environment
        .add_filter("max", |value: Value, given: CallArguments| extreme("max", &value, given, Ordering::Greater));
    environment.add_filter("sum", sum);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("items", items);
    environment.add_filter("reverse", reverse);
    environment.add_filter("slice", slice);
    environment.add_filter("batch", batch);
    environment.add_filter("groupby", groupby);
    environment.add_filter("map", map);
    for (name, wanted, by_attribute) in
        [("select", true, false), ("reject", false, false), ("selectattr", true, true), ("rejectattr", false, true)]
    {
        environment.add_filter(name, move |state: &mut State<'_, '_>, value: Value, given: Rest<Value>| {
            chosen(state, &value, &given, wanted, by_attribute)
        });
    }
    environment.add_filter("random", |_: Value| {
        Err::<Value, _>(wrong("the filter `random` would make prompts differ from run to run"))
    });
}

const MOST_MAPPED: usize = 16;

fn generated(items: Vec<Value>) -> Value {
    Value::make_object_iterable(items, |items| Box::new(items.iter().cloned()))
}

/// `value.a.b` or `value.0`, as the argument `attribute` of filters has it.
fn attribute(value: &Value, path: &Value) -> Result<Value, Error> {
    let Some(path) = path.as_str() else { return item(value.clone(), path.clone()) };
    spend(path.len())?;
    let mut found = value.clone();
    for part in path.split('.') {
        let key = part.parse::<i64>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
        found = item(found, key.map_or_else(|| Value::from(part), Value::from))?;
    }
    Ok(found)
}

fn folded(value: Value, case_sensitive: bool) -> Result<Value, Error> {
    Ok(match value.as_str() {
        Some(text) if !case_sensitive => {
            spend(4 * text.len())?;
            Value::from(text.to_lowercase())
        }
        _ => value,
    })
}

/// Sorts stably by what Python would compare.
pub(super) fn sort_by_order<T>(items: &mut [T], key: impl Fn(&T) -> &Value) -> Result<(), Error> {
    let mut failed = None;
    items.sort_by(|a, b| match spend(16).and_then(|()| order("<", key(a), key(b))) {
        Ok(ordering) => ordering.unwrap_or(Ordering::Equal),
        Err(error) => {
            failed.get_or_insert(error);
            Ordering::Equal
        }
    });
    failed.map_or(Ok(()), Err)
}

fn sorted(items: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>, Error> {
    let mut items = items;
    if reverse {
        items.reverse();
    }
    sort_by_order(&mut items, |(key, _)| key)?;
    if reverse {
        items.reverse();
    }
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

fn sort(value: Value, given: CallArguments) -> Result<Value, Error> {
    let names = &["reverse", "case_sensitive", "attribute"];
    let arguments = Arguments::bind("sort", names, &given.into_values())?;
    let case_sensitive = arguments.is_true(1, false);
    let mut keyed = Vec::new();
    for item in iterate(&value)? {
        spend_items(2)?;
        let key = match arguments.get(2).filter(|path| !path.is_none()) {
            None => folded(item.clone(), case_sensitive)?,
            Some(paths) => match paths.as_str() {
                Some(text) if text.contains(',') => {
                    let parts = text.split(',').map(|path| attribute(&item, &Value::from(path)));
                    let parts = parts.map(|part| part.and_then(|part| folded(part, case_sensitive)));
                    Value::from(parts.collect::<Result<Vec<_>, _>>()?)
                }
                _ => folded(attribute(&item, paths)?, case_sensitive)?,
            },
        };
        keyed.push((key, item));
    }
    sorted(keyed, arguments.is_true(0, false)).map(Value::from)
}

fn unique(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("unique", &["case_sensitive", "attribute"], &given.into_values())?;
    let mut seen: Vec<Value> = Vec::new();
    let mut kept = Vec::new();
    for item in iterate(&value)? {
        let key = match arguments.get(1).filter(|path| !path.is_none()) {
            Some(path) => attribute(&item, path)?,
            None => item.clone(),
        };
        if matches!(kind(&key), Kind::List | Kind::Map) {
            return Err(wrong("`unique` takes values that a mapping could have as keys"));
        }
        let key = folded(key, arguments.is_true(0, false))?;
        let mut is_new = true;
        for other in &seen {
            // Every comparison counts, also of values that differ at once.
            spend(8)?;
            is_new &= !is_same(&key, other)?;
        }
        if is_new {
            seen.push(key);
            kept.push(item);
        }
    }
    Ok(generated(kept))
}

fn extreme(name: &'static str, value: &Value, given: CallArguments, wanted: Ordering) -> Result<Value, Error> {
    let arguments = Arguments::bind(name, &["case_sensitive", "attribute"], &given.into_values())?;
    let mut best: Option<(Value, Value)> = None;
    for item in iterate(value)? {
        let key = match arguments.get(1).filter(|path| !path.is_none()) {
            Some(path) => attribute(&item, path)?,
            None => item.clone(),
        };
        let key = folded(key, arguments.is_true(0, false))?;
        let is_better = match &best {
            Some((other, _)) => order(if wanted == Ordering::Less { "<" } else { ">" }, &key, other)? == Some(wanted),
            None => true,
        };
        if is_better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

fn sum(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("sum", &["attribute", "start"], &given.into_values())?;
    let mut total = arguments.get(1).cloned().unwrap_or_else(|| Value::from(0));
    if total.as_str().is_some() {
        return Err(wrong("`sum` does not join texts; use `join`"));
    }
    for item in iterate(&value)? {
        let item = match arguments.get(0).filter(|path| !path.is_none()) {
            Some(path) => attribute(&item, path)?,
            None => item,
        };
        spend_items(1)?;
        total = super::operators::apply("+", total, &item)?;
    }
    Ok(total)
}

fn join(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("join", &["d", "attribute"], &given.into_values())?;
    let between = arguments.get(0).map_or_else(|| Ok(String::new()), text_of)?;
    let mut joined = String::new();
    for (number, item) in iterate(&value)?.into_iter().enumerate() {
        if number > 0 {
            spend(between.len())?;
            joined.push_str(&between);
        }
        let item = match arguments.get(1).filter(|path| !path.is_none()) {
            Some(path) => attribute(&item, path)?,
            None => item,
        };
        joined.push_str(&text_of(&item)?);
    }
    Ok(Value::from(joined))
}

fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    list(value)?.into_iter().map(|key| Ok((key.clone(), value.get_item(&key)?))).collect()
}

fn dictsort(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("dictsort", &["case_sensitive", "by", "reverse"], &given.into_values())?;
    if kind(&value) != Kind::Map {
        return Err(wrong("`dictsort` takes a mapping"));
    }
    let by_value = match arguments.text(1)?.unwrap_or("key") {
        "key" => false,
        "value" => true,
        _ => return Err(wrong("`dictsort` sorts by `key` or `value`")),
    };
    let keyed = pairs(&value)?.into_iter().map(|(key, value)| {
        let by = if by_value { value.clone() } else { key.clone() };
        Ok((folded(by, arguments.is_true(0, false))?, Value::from(Tuple::from([key, value]))))
    });
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    nested(Value::from(sorted(keyed, arguments.is_true(2, false))?))
}

fn items(value: Value) -> Result<Value, Error> {
    match kind(&value) {
        Kind::Undefined => Ok(generated(Vec::new())),
        Kind::Map => nested(generated(
            pairs(&value)?.into_iter().map(|(key, value)| Value::from(Tuple::from([key, value]))).collect(),
        )),
        _ => Err(wrong("`items` takes a mapping")),
    }
}

fn reverse(value: Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        spend(2 * text.len())?;
        let reversed: String = text.chars().rev().collect();
        return Ok(if value.is_safe() { Value::from_safe_string(reversed) } else { Value::from(reversed) });
    }
    let mut items = iterate(&value)?;
    items.reverse();
    Ok(generated(items))
}

fn slice(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("slice", &["slices", "fill_with"], &given.into_values())?;
    let (items, slices) = (iterate(&value)?, arguments.integer(0, 0)?);
    let slices = usize::try_from(slices).ok().filter(|slices| (1..=1 << 16).contains(slices));
    let slices = slices.ok_or_else(|| wrong("`slice` takes a number of slices above 0"))?;
    spend_items(4 * slices)?;
    let (each, longer) = (items.len() / slices, items.len() % slices);
    let mut rest = items.as_slice();
    let mut cut = Vec::new();
    for number in 0..slices {
        let (part, after) = rest.split_at(each + usize::from(number < longer));
        let mut part = part.to_vec();
        if let Some(fill) = arguments.get(1).filter(|fill| !fill.is_none() && number >= longer) {
            part.push(fill.clone());
        }
        cut.push(Value::from(part));
        rest = after;
    }
    nested(generated(cut))
}

fn batch(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("batch", &["linecount", "fill_with"], &given.into_values())?;
    arguments.need(0)?;
    let size = arguments.size(0, 0)?;
    if size == 0 {
        return Err(wrong("`batch` takes a number of items above 0"));
    }
    let items = iterate(&value)?;
    spend_items(2 * items.len())?;
    let mut batches: Vec<Vec<Value>> = items.chunks(size).map(<[Value]>::to_vec).collect();
    if let (Some(last), Some(fill)) = (batches.last_mut(), arguments.get(1).filter(|fill| !fill.is_none())) {
        spend_items(size)?;
        last.resize(size, fill.clone());
    }
    nested(generated(batches.into_iter().map(Value::from).collect()))
}

fn groupby(value: Value, given: CallArguments) -> Result<Value, Error> {
    let names = &["attribute", "default", "case_sensitive"];
    let arguments = Arguments::bind("groupby", names, &given.into_values())?;
    let path = arguments.need(0)?;
    let case_sensitive = arguments.is_true(2, false);
    let mut keyed = Vec::new();
    for item in iterate(&value)? {
        let key = attribute(&item, path)?;
        let otherwise = arguments.get(1).filter(|fill| !fill.is_none());
        let key = if key.is_undefined() { otherwise.cloned().unwrap_or(key) } else { key };
        keyed.push((folded(key.clone(), case_sensitive)?, (key, item)));
    }
    sort_by_order(&mut keyed, |(folded, _)| folded)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (folded, (key, item)) in keyed {
        spend_items(2)?;
        match groups.last_mut() {
            Some((last, _, items)) if is_same(last, &folded)? => items.push(item),
            _ => groups.push((folded, key, vec![item])),
        }
    }
    let groups = groups.into_iter().map(|(_, grouper, items)| {
        let list = Value::from(items);
        Value::from_object(super::globals::Group { grouper, list })
    });
    nested(Value::from(groups.collect::<Vec<_>>()))
}

fn map(state: &mut State<'_, '_>, value: Value, given: CallArguments) -> Result<Value, Error> {
    let given = given.into_values();
    let (positional, named) = super::arguments::split(&given);
    let mut mapped = Vec::new();
    let path = match &named {
        Some(named) if positional.is_empty() && named.has("attribute") => Some(named.get::<Value>("attribute")?),
        _ => None,
    };
    if let (Some(path), Some(named)) = (path, &named) {
        let otherwise: Option<Value> = named.get("default")?;
        let is_other = |_| wrong("beside `attribute`, `map` takes `default` alone");
        named.assert_all_used().map_err(is_other)?;
        for item in iterate(&value)? {
            let found = attribute(&item, &path)?;
            mapped.push(match &otherwise {
                Some(otherwise) if found.is_undefined() => otherwise.clone(),
                _ => found,
            });
        }
        return nested(generated(mapped));
    }
    let name = positional.first().and_then(Value::as_str);
    let name = name.ok_or_else(|| wrong("`map` takes the name of a filter, or `attribute`"))?;
    // A letter of a text is a text again, which could be mapped without end.
    if given.len() > MOST_MAPPED {
        return Err(wrong(format!("`map` takes at most {MOST_MAPPED} arguments")));
    }
    for item in iterate(&value)? {
        let mut arguments = vec![item];
        arguments.extend_from_slice(&given[1..]);
        spend(name.len())?;
        spend_items(2 + given.len())?;
        mapped.push(state.apply_filter(name, &arguments)?);
    }
    nested(generated(mapped))
}

/// The items that pass a test, or those that do not.
fn chosen(
    state: &mut State<'_, '_>,
    value: &Value,
    given: &[Value],
    wanted: bool,
    by_attribute: bool,
) -> Result<Value, Error> {
    let (path, given) = match given.split_first() {
        Some((path, rest)) if by_attribute => (Some(path), rest),
        None if by_attribute => return Err(wrong("`selectattr` and `rejectattr` take the name of an attribute")),
        _ => (None, given),
    };
    let name = given
        .first()
        .map(|name| name.as_str().ok_or_else(|| wrong("`select` and its like take the name of a test, a text")))
        .transpose()?;
    let mut kept = Vec::new();
    for item in iterate(value)? {
        let tested = path.map_or_else(|| Ok(item.clone()), |path| attribute(&item, path))?;
        let passes = match name {
            None => tested.is_true(),
            Some(name) => {
                spend(name.len())?;
                spend_items(2 + given.len())?;
                let mut arguments = vec![tested];
                arguments.extend_from_slice(&given[1..]);
                state.perform_test(name, &arguments)?
            }
        };
        if passes == wanted {
            kept.push(item);
        }
    }
    Ok(Value::from(kept))
}
