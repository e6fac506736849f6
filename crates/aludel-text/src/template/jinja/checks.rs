//! Jinja2's tests, which follow `is`, where the engine's own differ. The names of all its filters and tests are here
//! too, since templates may query them.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use super::budget::spend;
use super::items::{Kind, check_iterable, kind};
use super::methods::PER_LETTER;
use super::operators::{holds, integer, number};
use super::print::text_of;
use super::wrong;

const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];
const TESTS: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

pub(super) fn register(environment: &mut Environment<'_>) {
    for (operator, names) in [
        ("==", &["==", "eq", "equalto"][..]),
        ("!=", &["!=", "ne"][..]),
        ("<", &["<", "lt", "lessthan"][..]),
        ("<=", &["<=", "le"][..]),
        (">", &[">", "gt", "greaterthan"][..]),
        (">=", &[">=", "ge"][..]),
        ("in", &["in"][..]),
    ] {
        for name in names {
            environment.add_test(*name, move |left: Value, right: Value| holds(operator, &left, &right));
        }
    }
    environment.add_test("odd", |value: Value| has_remainder(&value, &Value::from(2), 1.0));
    environment.add_test("even", |value: Value| has_remainder(&value, &Value::from(2), 0.0));
    environment.add_test("divisibleby", |value: Value, by: Value| has_remainder(&value, &by, 0.0));
    environment.add_test("lower", |value: Value| has_case(&text_of(&value)?, char::is_uppercase));
    environment.add_test("upper", |value: Value| has_case(&text_of(&value)?, char::is_lowercase));
    environment.add_test("sameas", |value: Value, other: Value| {
        spend(value.as_str().map_or(0, str::len))?;
        Ok::<_, Error>(minijinja::tests::is_sameas(&value, &other))
    });
    environment.add_test("iterable", |value: Value| check_iterable(&value).is_ok());
    environment.add_test("mapping", |value: Value| kind(&value) == Kind::Map);
    environment.add_test("sequence", |value: Value| {
        matches!(kind(&value), Kind::Undefined | Kind::Text | Kind::List | Kind::Tuple | Kind::Map)
            || value.kind() == ValueKind::Iterable && value.len().is_some()
    });
    environment.add_test("callable", |value: Value| {
        let name = value.as_object().map_or("", |object| object.type_name());
        value.is_undefined() || ["Function", "Macro", "Method", "Joiner"].iter().any(|kind| name.contains(kind))
    });
    environment.add_test("filter", |value: Value| is_name_in(&value, FILTERS));
    environment.add_test("test", |value: Value| is_name_in(&value, TESTS));
}

fn has_remainder(value: &Value, by: &Value, wanted: f64) -> Result<bool, Error> {
    let whole = integer(value).zip(integer(by));
    let (Some(a), Some(b)) = (number(value), number(by)) else { return Err(wrong("this test takes numbers")) };
    if matches!(kind(value), Kind::None | Kind::Text | Kind::Undefined) || b == 0.0 {
        return Err(wrong("this test takes numbers, and no 0 to divide by"));
    }
    Ok(match whole {
        // The smallest number has no remainder by -1 that the processor would give.
        Some((a, b)) => a.wrapping_rem_euclid(b) == wanted as i128,
        None => a.rem_euclid(b) == wanted,
    })
}

fn has_case(text: &str, other: fn(char) -> bool) -> Result<bool, Error> {
    spend(PER_LETTER * text.len())?;
    Ok(text.chars().any(|letter| letter.is_uppercase() || letter.is_lowercase()) && !text.chars().any(other))
}

fn is_name_in(value: &Value, names: &[&str]) -> Result<bool, Error> {
    match kind(value) {
        Kind::List | Kind::Map => Err(wrong("a list or mapping is no name")),
        _ => Ok(value.as_str().is_some_and(|name| names.contains(&name))),
    }
}
