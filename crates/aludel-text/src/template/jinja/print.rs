//! Prints values as Python does: `str` and `repr`. Numbers, strings and collections are printed. What Python would
//! print as the name and address of an object is an error, since no template needs it.

use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{Error, Output, State, Value};

use super::budget::{ITEM, spend};
use super::items::{Kind, kind};
use super::wrong;

const DEEPEST: usize = 60;

/// Prints what is in `{{ }}`.
pub(super) fn formatter(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => out.write_str(&text_of(value)?)?,
    }
    Ok(())
}

/// Python's `str(value)`.
pub(super) fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            spend(text.len())?;
            Ok(text.to_owned())
        }
        ValueKind::Undefined => Ok(String::new()),
        _ => repr(value),
    }
}

/// Python's `repr(value)`.
pub(super) fn repr(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_repr(&mut text, value, 0)?;
    Ok(text)
}

fn write_repr(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(wrong(format!("a value that is nested more than {DEEPEST} deep cannot be printed")));
    }
    // Escapes make up to ten letters of one.
    spend(ITEM + value.as_str().map_or(0, |text| 4 * text.len()))?;
    match value.kind() {
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if value.is_integer() => text.push_str(&value.to_string()),
        ValueKind::Number => text.push_str(&float(f64::try_from(value.clone())?)),
        ValueKind::String if value.is_safe() => {
            text.push_str("Markup(");
            quote(text, value.as_str().unwrap_or_default());
            text.push(')');
        }
        ValueKind::String => quote(text, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            let is_tuple = kind(value) == Kind::Tuple;
            text.push(if is_tuple { '(' } else { '[' });
            let mut count = 0;
            for item in value.try_iter()?.checked() {
                if count > 0 {
                    text.push_str(", ");
                }
                write_repr(text, &item?, depth + 1)?;
                count += 1;
            }
            if is_tuple && count == 1 {
                text.push(',');
            }
            text.push(if is_tuple { ')' } else { ']' });
        }
        ValueKind::Map if is_plain_map(value) => {
            text.push('{');
            for (number, key) in value.try_iter()?.checked().enumerate() {
                let key = key?;
                if number > 0 {
                    text.push_str(", ");
                }
                write_repr(text, &key, depth + 1)?;
                text.push_str(": ");
                write_repr(text, &value.get_item(&key)?, depth + 1)?;
            }
            text.push('}');
        }
        ValueKind::Iterable => {
            return Err(wrong(
                "a sequence that is made as it is read cannot be printed; Jinja2 prints its address: add `| list`",
            ));
        }
        _ => return Err(wrong("a function or object cannot be printed: Jinja2 prints its address")),
    }
    Ok(())
}

/// Macros, loops and namespaces look like maps to the engine; Python knows better.
pub(super) fn is_plain_map(value: &Value) -> bool {
    const OTHERS: [&str; 5] = ["Macro", "Loop", "Namespace", "Module", "Closure"];
    value.kind() == ValueKind::Map
        && value.as_object().is_some_and(|object| !OTHERS.iter().any(|other| object.type_name().ends_with(other)))
}

/// A float as Python writes it: the shortest digits that read back to it, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let short = format!("{number:e}");
    let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let mut text = number.to_string();
        if !text.contains('.') {
            text.push_str(".0");
        }
        return text;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A text in quotes: single ones, unless only double ones need no escaping.
fn quote(text: &mut String, content: &str) {
    let mark = if content.contains('\'') && !content.contains('"') { '"' } else { '\'' };
    text.push(mark);
    for letter in content.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            letter if letter == mark => {
                text.push('\\');
                text.push(letter);
            }
            letter if is_printable(letter) => text.push(letter),
            letter => {
                let code = u32::from(letter);
                let _ = match code {
                    0..=0xFF => write!(text, "\\x{code:02x}"),
                    0x100..=0xFFFF => write!(text, "\\u{code:04x}"),
                    _ => write!(text, "\\U{code:08x}"),
                };
            }
        }
    }
    text.push(mark);
}

/// Python's `str.isprintable`, but for code points that no version of Unicode has given a meaning.
pub(super) fn is_printable(letter: char) -> bool {
    let is_format = matches!(u32::from(letter),
        0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x180E | 0x200B..=0x200F | 0x202A..=0x202E
        | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F | 0x1BCA0..=0x1BCA3
        | 0x1D173..=0x1D17A | 0xE0000..=0xE007F);
    let is_private = matches!(u32::from(letter), 0xE000..=0xF8FF | 0xF0000..=0x10FFFF | 0xFFFE..=0xFFFF);
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || is_format || is_private)
}
