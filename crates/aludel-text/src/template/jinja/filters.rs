//! Jinja2's filters on single values: numbers, defaults, attributes and JSON. Those on strings and on sequences have
//! files of their own.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use super::arguments::{Arguments, CallArguments};
use super::budget::{ITEM, repeated, spend};
use super::items::{Kind, kind};
use super::methods::is_blank;
use super::operators::{integer, number, whole};
use super::print::{float, is_plain_map};
use super::text_methods::{decimal, parse_integer};
use super::{methods, wrong};

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("int", to_integer);
    environment.add_filter("float", to_float);
    environment.add_filter("round", round);
    environment.add_filter("abs", |value: Value| match (integer(&value), number(&value)) {
        (Some(number), _) => Ok(whole(number.abs())),
        (None, Some(number)) => Ok(Value::from(number.abs())),
        _ => Err(wrong("`abs` takes a number")),
    });
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
    environment.add_filter("attr", |value: Value, name: String| match spend(name.len()).map(|()| kind(&value))? {
        Kind::Undefined => value.get_attr(&name),
        Kind::None | Kind::Integer | Kind::Float | Kind::Text | Kind::List | Kind::Tuple | Kind::Map => {
            if methods::has(&value, &name) { super::items::attribute(value, name) } else { Ok(Value::UNDEFINED) }
        }
        Kind::Other => super::items::attribute(value, name),
    });
    environment.add_filter("tojson", to_json);
}

fn refuse_undefined(name: &str, value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(wrong(format!("`{name}` of an undefined value"))) } else { Ok(()) }
}

/// The result of Python's `float(value)`; `None` if it is no number.
pub(super) fn read_float(value: &Value) -> Result<Option<f64>, Error> {
    refuse_undefined("float", value)?;
    let Some(text) = value.as_str() else { return Ok(number(value).filter(|_| kind(value) != Kind::None)) };
    let text = text.trim_matches(is_blank);
    spend(2 * methods::PER_LETTER * text.len())?;
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return Ok(None);
    }
    let mut digits = String::with_capacity(text.len());
    for letter in text.chars().filter(|&letter| letter != '_') {
        match decimal(letter) {
            Some(digit) => digits.push_str(&digit.to_string()),
            None => digits.push(letter),
        }
    }
    Ok(digits.parse().ok())
}

fn to_integer(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("int", &["default", "base"], &given.into_values())?;
    refuse_undefined("int", &value)?;
    let base = arguments.integer(1, 10)?;
    let base = u32::try_from(base).ok().filter(|base| *base == 0 || (2..=36).contains(base));
    let base = base.ok_or_else(|| wrong("`int` takes a base of 0 or from 2 to 36"))?;
    let otherwise = || arguments.get(0).cloned().unwrap_or_else(|| Value::from(0));
    let read = match value.as_str() {
        Some(text) => parse_integer(text, base),
        None => integer(&value).map(whole),
    };
    if let Some(number) = read {
        return Ok(number);
    }
    let Some(number) = read_float(&value)? else { return Ok(otherwise()) };
    match number.is_finite() {
        true if number.abs() < 1e38 => Ok(whole(number.trunc() as i128)),
        true => Err(wrong("`int` of so large a number")),
        false if value.as_str().is_some() || number.is_nan() => Ok(otherwise()),
        false => Err(wrong("`int` of an infinite number")),
    }
}

fn to_float(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("float", &["default"], &given.into_values())?;
    let otherwise = || arguments.get(0).cloned().unwrap_or_else(|| Value::from(0.0));
    Ok(read_float(&value)?.map_or_else(otherwise, Value::from))
}

fn round(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("round", &["precision", "method"], &given.into_values())?;
    let digits = arguments.integer(0, 0)?;
    if digits.abs() > 300 {
        return Err(wrong("`round` takes at most 300 digits"));
    }
    let method = arguments.text(1)?.unwrap_or("common");
    let amount = number(&value).filter(|_| matches!(kind(&value), Kind::Integer | Kind::Float));
    let amount = amount.ok_or_else(|| wrong("`round` takes a number"))?;
    if method != "common" {
        let scale = 10_f64.powi(digits as i32);
        return match method {
            "ceil" => Ok(Value::from((amount * scale).ceil() / scale)),
            "floor" => Ok(Value::from((amount * scale).floor() / scale)),
            _ => Err(wrong("`round` knows the methods common, ceil and floor")),
        };
    }
    if let Some(number) = integer(&value) {
        let unit = if digits < 0 { 10_i128.checked_pow(digits.unsigned_abs() as u32) } else { Some(1) };
        let Some(unit) = unit else { return Ok(Value::from(0)) };
        let (quotient, remainder) = (number.div_euclid(unit), number.rem_euclid(unit));
        let is_up = remainder * 2 > unit || (remainder * 2 == unit && quotient % 2 != 0);
        return Ok(whole((quotient + i128::from(is_up)) * unit));
    }
    if !amount.is_finite() {
        return Ok(value);
    }
    if digits < 0 {
        let unit = 10_f64.powi(-digits as i32);
        return Ok(Value::from((amount / unit).round_ties_even() * unit));
    }
    let rounded = format!("{amount:.*}", digits as usize).parse::<f64>();
    rounded.map(Value::from).map_err(|_| wrong("`round` takes a number"))
}

fn default(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("default", &["default_value", "boolean"], &given.into_values())?;
    let is_replaced = value.is_undefined() || (arguments.is_true(1, false) && !value.is_true());
    Ok(if is_replaced { arguments.get(0).cloned().unwrap_or_else(|| Value::from("")) } else { value })
}

/// How Python's `json.dumps` lays out JSON.
struct Layout {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

const DEEPEST: usize = 100;

/// transformers' `tojson`, which is `json.dumps` and escapes nothing for HTML.
fn to_json(value: Value, given: CallArguments) -> Result<Value, Error> {
    let names = &["ensure_ascii", "indent", "separators", "sort_keys"];
    let arguments = Arguments::bind("tojson", names, &given.into_values())?;
    let indent = match arguments.get(1) {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_owned(),
            None => repeated(" ", arguments.size(1, 0)?)?,
        }),
    };
    let separators = match arguments.get(2) {
        Some(value) if !value.is_none() => {
            let texts: Vec<Value> = super::items::iterate(value)?;
            match texts.iter().map(Value::as_str).collect::<Vec<_>>().as_slice() {
                [Some(item), Some(key)] => Some(((*item).to_owned(), (*key).to_owned())),
                _ => return Err(wrong("`tojson` takes two texts as `separators`")),
            }
        }
        _ => None,
    };
    let usual = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    let (item_separator, key_separator) = separators.unwrap_or(usual);
    let (ensure_ascii, sort_keys) = (arguments.is_true(0, false), arguments.is_true(3, false));
    let layout = Layout { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    let mut text = String::new();
    write_json(&mut text, &value, &layout, 0)?;
    Ok(Value::from(text))
}

fn write_json(text: &mut String, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(wrong(format!("`tojson` of a value that is nested more than {DEEPEST} deep")));
    }
    // Escapes make up to six letters of one.
    spend(ITEM + value.as_str().map_or(0, |text| 4 * text.len()))?;
    let new_line = |text: &mut String, depth: usize| -> Result<(), Error> {
        if let Some(indent) = &layout.indent {
            text.push('\n');
            text.push_str(&repeated(indent, depth)?);
        }
        Ok(())
    };
    let separate = |text: &mut String, separator: &str| -> Result<(), Error> {
        spend(separator.len())?;
        text.push_str(separator);
        Ok(())
    };
    match value.kind() {
        ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&json_number(value)),
        ValueKind::String => write_json_text(text, value.as_str().unwrap_or_default(), layout.ensure_ascii),
        ValueKind::Seq => {
            let items = super::items::list(value)?;
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    separate(text, &layout.item_separator)?;
                }
                new_line(text, depth + 1)?;
                write_json(text, item, layout, depth + 1)?;
            }
            if !items.is_empty() {
                new_line(text, depth)?;
            }
            text.push(']');
        }
        ValueKind::Map if is_plain_map(value) => {
            let mut keys = super::items::list(value)?;
            if layout.sort_keys {
                super::sequences::sort_by_order(&mut keys, |key| key)?;
            }
            text.push('{');
            for (number, key) in keys.iter().enumerate() {
                if number > 0 {
                    separate(text, &layout.item_separator)?;
                }
                new_line(text, depth + 1)?;
                let name = match key.kind() {
                    ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                    ValueKind::Number => json_number(key),
                    ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
                    ValueKind::None => "null".to_owned(),
                    _ => return Err(wrong("`tojson` takes texts, numbers, truth and none as keys")),
                };
                spend(4 * name.len())?;
                write_json_text(text, &name, layout.ensure_ascii);
                separate(text, &layout.key_separator)?;
                write_json(text, &value.get_item(key)?, layout, depth + 1)?;
            }
            if !keys.is_empty() {
                new_line(text, depth)?;
            }
            text.push('}');
        }
        ValueKind::Undefined => return Err(wrong("`tojson` of an undefined value")),
        _ => return Err(wrong("`tojson` takes none, truth, numbers, texts, lists and mappings")),
    }
    Ok(())
}

fn json_number(value: &Value) -> String {
    match number(value) {
        Some(number) if !value.is_integer() => match float(number).as_str() {
            "nan" => "NaN".to_owned(),
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            text => text.to_owned(),
        },
        _ => value.to_string(),
    }
}

fn write_json_text(text: &mut String, content: &str, ensure_ascii: bool) {
    text.push('"');
    for letter in content.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            letter if letter < ' ' || (ensure_ascii && letter > '~') => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}
