//! Methods of Python's strings, lists, tuples and mappings, for templates. Those that change a value in place are
//! refused, as transformers' sandbox refuses them.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::arguments::Arguments;
use super::budget::{spend, spend_items};
use super::items::{Kind, kind, list, named};
use super::nesting::{check_key, is_same, nested};
use super::text_methods::of_text;
use super::wrong;

const OF_TEXT: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const OF_LIST: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
const OF_MAP: &[&str] =
    &["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// Every name that may be a method, which rewriting must know.
pub(super) fn is_method_name(name: &str) -> bool {
    [OF_TEXT, OF_LIST, OF_MAP].iter().any(|names| names.contains(&name)) || is_number_name(name)
}

fn is_number_name(name: &str) -> bool {
    matches!(name, "real" | "imag" | "numerator" | "denominator" | "is_integer" | "bit_length" | "conjugate" | "hex")
}

/// The types of values that have a method of this name, in words; none where no such value occurs in templates.
pub(in crate::template) fn owners(name: &str) -> Option<&'static str> {
    let is_of = [OF_TEXT, OF_LIST, OF_MAP].map(|names| names.contains(&name));
    Some(match is_of {
        [true, false, false] => "texts",
        [false, true, false] => "lists",
        [false, false, true] => "mappings",
        [true, true, false] => "texts and lists",
        [false, true, true] => "lists and mappings",
        _ if is_number_name(name) => "numbers",
        _ => return None,
    })
}

/// Whether Python has a method of this name on the value.
pub(super) fn has(value: &Value, name: &str) -> bool {
    match kind(value) {
        Kind::Text => OF_TEXT.contains(&name),
        Kind::List => OF_LIST.contains(&name),
        Kind::Tuple => matches!(name, "count" | "index"),
        Kind::Map => OF_MAP.contains(&name),
        Kind::Integer | Kind::Float => is_number_name(name),
        _ => false,
    }
}

/// The cost of looking up a letter in Unicode's tables.
pub(super) const PER_LETTER: usize = 16;

fn changes_letters(name: &str) -> bool {
    matches!(name, "upper" | "lower" | "capitalize" | "title" | "swapcase" | "casefold" | "expandtabs" | "format")
}

/// Calls a method.
///
/// # Errors
/// Methods that are not known, or that change the value.
pub(super) fn call(_: &mut State<'_, '_>, value: &Value, name: &str, given: &[Value]) -> Result<Value, Error> {
    let unknown = || match owners(name) {
        Some(owners) if !has(value, name) => {
            let mend =
                if owners == "texts" { "make it a text first with `| string`" } else { "call it on one of these" };
            wrong(format!("`{name}` is a method of {owners}, and it is called on {}: {mend}", named(value)))
        }
        _ => Error::from(ErrorKind::UnknownMethod),
    };
    match kind(value) {
        Kind::Text => {
            let text = value.as_str().unwrap_or_default();
            spend(text.len() * if changes_letters(name) || name.starts_with("is") { PER_LETTER } else { 1 })?;
            let result = of_text(text, name, given)?.ok_or_else(unknown)?;
            match (value.is_safe(), result.as_str()) {
                // Safe text stays safe, and what is inserted would have to be escaped.
                (true, Some(_)) if matches!(name, "replace" | "join" | "format" | "center" | "ljust" | "rjust") => {
                    Err(wrong(format!("`{name}` of escaped text is not known here: escape its result")))
                }
                (true, Some(result)) => Ok(Value::from_safe_string(result.to_owned())),
                _ => Ok(result),
            }
        }
        Kind::List | Kind::Tuple | Kind::Map if changes(name) => {
            Err(wrong(format!("`{name}` changes a value in place, which chat templates may not do; use a namespace")))
        }
        Kind::List | Kind::Tuple => of_list(value, name, given)?.ok_or_else(unknown),
        Kind::Map => of_map(value, name, given)?.ok_or_else(unknown),
        Kind::Other if value.kind() == ValueKind::Iterable => of_list(value, name, given)?.ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

fn changes(name: &str) -> bool {
    matches!(
        name,
        "append"
            | "clear"
            | "extend"
            | "insert"
            | "pop"
            | "popitem"
            | "remove"
            | "reverse"
            | "setdefault"
            | "sort"
            | "update"
    )
}

fn of_list(value: &Value, name: &str, given: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "count" => {
            let arguments = Arguments::bind("count", &["value"], given)?;
            let wanted = arguments.need(0)?;
            let mut count = 0;
            for item in list(value)? {
                count += usize::from(is_same(wanted, &item)?);
            }
            Value::from(count)
        }
        "index" => {
            let arguments = Arguments::bind("index", &["value", "start", "stop"], given)?;
            let items = list(value)?;
            let (start, stop) = (arguments.integer(1, 0)?, arguments.integer(2, i64::MAX)?);
            let range = bounds(items.len(), start, stop);
            let wanted = arguments.need(0)?;
            let mut found = None;
            for place in range {
                if is_same(wanted, &items[place])? {
                    found = Some(place);
                    break;
                }
            }
            Value::from(found.ok_or_else(|| wrong("`index` does not find its value in the list"))?)
        }
        "copy" if kind(value) == Kind::List && given.is_empty() => value.clone(),
        _ => return Ok(None),
    }))
}

fn of_map(value: &Value, name: &str, given: &[Value]) -> Result<Option<Value>, Error> {
    let keys = || list(value);
    let nothing = |name: &'static str| Arguments::bind(name, &[], given).map(|_| ());
    Ok(Some(match name {
        "keys" => {
            nothing("keys")?;
            view(keys()?)?
        }
        "values" => {
            nothing("values")?;
            view(keys()?.iter().map(|key| value.get_item(key)).collect::<Result<_, _>>()?)?
        }
        "items" => {
            nothing("items")?;
            let pair = |key: Value| Ok(Value::from(Tuple::from([key.clone(), value.get_item(&key)?])));
            view(keys()?.into_iter().map(pair).collect::<Result<_, Error>>()?)?
        }
        "get" => {
            if given.last().is_some_and(Value::is_kwargs) {
                return Err(wrong("`get` takes no named arguments"));
            }
            let arguments = Arguments::bind("get", &["key", "default"], given)?;
            let key = arguments.need(0)?;
            let otherwise = arguments.get(1).cloned().unwrap_or_else(|| Value::from(()));
            check_key(key)?;
            let found = value.get_item(key)?;
            if found.is_undefined() && !keys()?.contains(key) { otherwise } else { found }
        }
        "copy" if given.is_empty() => value.clone(),
        "fromkeys" => {
            let arguments = Arguments::bind("fromkeys", &["keys", "value"], given)?;
            let filled = arguments.get(1).cloned().unwrap_or_else(|| Value::from(()));
            let keys = super::items::iterate(arguments.need(0)?)?;
            keys.iter().try_for_each(check_key)?;
            spend_items(2 * keys.len())?;
            nested(Value::from_pairs(keys.into_iter().map(|key| (key, filled.clone()))))?
        }
        _ => return Ok(None),
    }))
}

/// Keys, values or items: iterated like a list, and not printed like one.
fn view(items: Vec<Value>) -> Result<Value, Error> {
    nested(Value::make_object_iterable(items, |items| Box::new(items.iter().cloned())))
}

/// A stretch of `length` items as Python's slices bound it.
pub(super) fn bounds(length: usize, start: i64, stop: i64) -> std::ops::Range<usize> {
    let length = length as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(0, length) as usize;
    let (start, stop) = (clamp(start), clamp(stop));
    start..stop.max(start)
}

/// Python's white space: that of Unicode, and four separators.
pub(super) fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}
