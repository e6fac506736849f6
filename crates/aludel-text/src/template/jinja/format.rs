//! Python's two ways of formatting: `'%s' % value` and `'{}'.format(value)`. This file matches values to placeholders
//! and lays out text; the engine's formatter writes the digits of numbers.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::Kwargs;
use minijinja::{Error, Value};

use super::arguments::split;
use super::budget::{repeated, spend};
use super::items::{Kind, item, kind, list};
use super::operators::{integer, number, whole};
use super::print::{repr, text_of};
use super::wrong;

const WIDEST: usize = 1 << 16;

/// `template % values`.
pub(super) fn printf(template: &str, values: &Value) -> Result<String, Error> {
    let given = if kind(values) == Kind::Tuple { list(values)? } else { vec![values.clone()] };
    let mut given = given.into_iter();
    let mut next = || given.next().ok_or_else(|| wrong("there are fewer values than the text has places for"));
    spend(4 * template.len())?;
    let mut text = String::new();
    let mut is_named = false;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let mut letters = after;
        let mut value = None;
        if let Some(named) = letters.strip_prefix('(') {
            let end = named.find(')').ok_or_else(|| wrong("a name in a format has no end"))?;
            if kind(values) != Kind::Map {
                return Err(wrong("a format with names takes a mapping"));
            }
            let key = Value::from(&named[..end]);
            let found = values.get_item(&key)?;
            if found.is_undefined() {
                return Err(wrong(format!("the mapping has no `{}`", &named[..end])));
            }
            (value, is_named, letters) = (Some(found), true, &named[end + 1..]);
        }
        let take = |letters: &mut &str, wanted: &dyn Fn(char) -> bool| {
            let end = letters.find(|letter| !wanted(letter)).unwrap_or(letters.len());
            let (taken, rest) = letters.split_at(end);
            *letters = rest;
            taken.to_owned()
        };
        let mut flags = take(&mut letters, &|letter| "-+ #0".contains(letter));
        let mut size = |letters: &mut &str| -> Result<String, Error> {
            if let Some(rest) = letters.strip_prefix('*') {
                *letters = rest;
                let size = integer(&next()?).ok_or_else(|| wrong("`*` takes a whole number"))?;
                return Ok(size.to_string());
            }
            Ok(take(letters, &|letter| letter.is_ascii_digit()))
        };
        let mut width = size(&mut letters)?;
        if let Some(positive) = width.strip_prefix('-') {
            (width, flags) = (positive.to_owned(), format!("{flags}-"));
        }
        let precision = match letters.strip_prefix('.') {
            Some(rest) => {
                letters = rest;
                Some(size(&mut letters)?)
            }
            None => None,
        };
        letters = letters.strip_prefix(['h', 'l', 'L']).unwrap_or(letters);
        let directive = letters.chars().next().ok_or_else(|| wrong("the format ends within a place for a value"))?;
        rest = &letters[directive.len_utf8()..];
        if directive == '%' {
            text.push('%');
            continue;
        }
        let value = value.map_or_else(&mut next, Ok)?;
        let width_letters = bounded(&width)?;
        let digits = precision.as_deref().map(bounded).transpose()?;
        // Digits are laid out letter by letter.
        spend(64 + 8 * (width_letters + digits.unwrap_or_default()))?;
        text.push_str(&one(directive, &flags, width_letters, digits, &value)?);
    }
    text.push_str(rest);
    let is_forgiven = is_named || matches!(kind(values), Kind::Map | Kind::List | Kind::Undefined);
    if next().is_ok() && !is_forgiven {
        return Err(wrong("there are more values than the text has places for"));
    }
    Ok(text)
}

fn bounded(digits: &str) -> Result<usize, Error> {
    match digits.parse::<usize>() {
        Ok(number) if number <= WIDEST => Ok(number),
        Err(_) if digits.is_empty() => Ok(0),
        _ => Err(wrong(format!("a format may be at most {WIDEST} letters wide"))),
    }
}

fn one(directive: char, flags: &str, width: usize, digits: Option<usize>, value: &Value) -> Result<String, Error> {
    let content = match directive {
        's' => text_of(value)?,
        'r' => repr(value)?,
        'a' => ascii(&repr(value)?),
        'c' => match (value.as_str(), integer(value)) {
            (Some(text), _) if text.chars().count() == 1 => text.to_owned(),
            (None, Some(code)) => {
                let letter = u32::try_from(code).ok().and_then(char::from_u32);
                letter.ok_or_else(|| wrong("`%c` takes the number of a letter"))?.to_string()
            }
            _ => return Err(wrong("`%c` takes a letter or its number")),
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let is_whole = matches!(directive, 'd' | 'i' | 'u' | 'x' | 'X' | 'o');
            let value = match (is_whole, integer(value)) {
                (true, Some(number)) => whole(number),
                (true, None) if matches!(directive, 'd' | 'i' | 'u') && kind(value) == Kind::Float => truncated(value)?,
                (false, _) => Value::from(number(value).ok_or_else(|| not_a_number(directive))?),
                _ => return Err(not_a_number(directive)),
            };
            let digits = digits.map_or_else(String::new, |digits| format!(".{digits}"));
            let width = if width == 0 { String::new() } else { width.to_string() };
            let kind = if matches!(directive, 'i' | 'u') { 'd' } else { directive };
            return format(FormatStyle::Printf, &format!("%{flags}{width}{digits}{kind}"), &[value]);
        }
        other => return Err(wrong(format!("`%{other}` is no place for a value"))),
    };
    let content = match digits {
        Some(digits) if directive != 'c' => content.chars().take(digits).collect(),
        _ => content,
    };
    let padding = repeated(" ", width.saturating_sub(content.chars().count()))?;
    Ok(if flags.contains('-') { content + &padding } else { padding + &content })
}

fn not_a_number(directive: char) -> Error {
    wrong(format!("`%{directive}` takes a number"))
}

fn truncated(value: &Value) -> Result<Value, Error> {
    let number = number(value).filter(|number| number.abs() < 1e38);
    Ok(whole(number.ok_or_else(|| wrong("a number is too large for its format"))?.trunc() as i128))
}

fn ascii(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match u32::from(letter) {
            0..=0x7F => escaped.push(letter),
            code @ 0x80..=0xFF => escaped.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xFFFF => escaped.push_str(&format!("\\u{code:04x}")),
            code => escaped.push_str(&format!("\\U{code:08x}")),
        }
    }
    escaped
}

/// `template.format(…)`.
pub(super) fn str_format(template: &str, given: &[Value]) -> Result<String, Error> {
    spend(4 * template.len())?;
    let (positional, named) = split(given);
    let mut text = String::new();
    let mut automatic = 0;
    let mut letters = template.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if !matches!(letter, '{' | '}') {
            text.push(letter);
            continue;
        }
        if letters.next_if(|&(_, next)| next == letter).is_some() {
            text.push(letter);
            continue;
        }
        if letter == '}' {
            return Err(wrong("a single `}` in a format"));
        }
        let end = template[at..].find('}').ok_or_else(|| wrong("a `{` in a format has no end"))? + at;
        let field = &template[at + 1..end];
        if field.contains('{') {
            return Err(wrong("a field within a field of a format is not known here"));
        }
        while letters.next_if(|&(next, _)| next <= end).is_some() {}
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = name.split_once('!').map_or((name, None), |(name, kind)| (name, Some(kind)));
        let value = looked_up(name, positional, named.as_ref(), &mut automatic)?;
        text.push_str(&laid_out(&value, conversion, spec)?);
    }
    Ok(text)
}

fn looked_up(name: &str, positional: &[Value], named: Option<&Kwargs>, automatic: &mut usize) -> Result<Value, Error> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut path) = name.split_at(end);
    let place = if first.is_empty() {
        *automatic += 1;
        Some(*automatic - 1)
    } else {
        first.parse::<usize>().ok()
    };
    let value = match place {
        Some(place) => positional.get(place).cloned(),
        None => named.filter(|named| named.has(first)).and_then(|named| named.get::<Value>(first).ok()),
    };
    let mut value = value.ok_or_else(|| wrong(format!("the format asks for `{first}`, which is not given")))?;
    while !path.is_empty() {
        let Some(rest) = path.strip_prefix('[') else {
            return Err(wrong("an attribute in a format is not known here: write it before the format"));
        };
        let (key, rest) = rest.split_once(']').ok_or_else(|| wrong("a `[` in a format has no end"))?;
        let key = key.parse::<i64>().map_or_else(|_| Value::from(key), Value::from);
        value = item(value, key)?;
        if value.is_undefined() {
            return Err(wrong("the format asks for an item that is not there"));
        }
        path = rest;
    }
    Ok(value)
}

fn laid_out(value: &Value, conversion: Option<&str>, spec: &str) -> Result<String, Error> {
    let value = match conversion {
        None => value.clone(),
        Some("s") => Value::from(text_of(value)?),
        Some("r") => Value::from(repr(value)?),
        Some("a") => Value::from(ascii(&repr(value)?)),
        Some(other) => return Err(wrong(format!("`!{other}` is no conversion"))),
    };
    if spec.is_empty() {
        return text_of(&value);
    }
    let widths = spec.split(|letter: char| !letter.is_ascii_digit()).filter(|width| !width.is_empty());
    for width in widths {
        spend(64 + 8 * bounded(width)?)?;
    }
    match kind(&value) {
        Kind::Text => format(FormatStyle::StrFormat, &format!("{{:{spec}}}"), &[value]),
        Kind::Integer | Kind::Float => {
            if let Some(share) = spec.strip_suffix('%') {
                let number = number(&value).unwrap_or_default() * 100.0;
                let share = if share.contains('.') { format!("{share}f") } else { format!("{share}.6f") };
                return Ok(format(FormatStyle::StrFormat, &format!("{{:{share}}}"), &[Value::from(number)])? + "%");
            }
            let asks_for_type = spec.ends_with(|letter: char| letter.is_ascii_alphabetic());
            let value = match (kind(&value), integer(&value)) {
                // Without a type Python writes the shortest digits, which the engine does not.
                (Kind::Float, _) if !asks_for_type => Value::from(text_of(&value)?),
                (_, Some(number)) => whole(number),
                _ => value,
            };
            if value.as_str().is_some() && spec.contains([',', '_', '.', '+', '0']) {
                return Err(wrong("a float is laid out so only with a type such as `f` here"));
            }
            let is_aligned = spec.contains(['<', '>', '^', '=']);
            let spec = if value.as_str().is_some() && !is_aligned { format!(">{spec}") } else { spec.to_owned() };
            format(FormatStyle::StrFormat, &format!("{{:{spec}}}"), &[value])
        }
        _ => Err(wrong("only texts and numbers can be laid out by a format")),
    }
}
