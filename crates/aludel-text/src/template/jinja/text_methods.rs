//! Methods of Python's strings. `methods` decides which value has which methods, and what they cost.

use minijinja::value::Tuple;
use minijinja::{Error, Value};

use super::arguments::Arguments;
use super::budget::{repeated, spend, spend_items};
use super::format::str_format;
use super::items::{Kind, kind, list, named};
use super::methods::{bounds, is_blank};
use super::operators::whole;
use super::print::is_printable;
use super::{texts, wrong};

/// A letter as Unicode folds it (`CaseFolding.txt`, C and F): the small letters of its large ones, but for these.
fn folded(letter: char) -> String {
    match letter {
        'ı' => letter.to_string(),
        'ẞ' => "ss".to_owned(),
        // Cherokee had no small letters at first, so that its large ones are kept.
        '\u{13a0}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => letter.to_uppercase().collect(),
        _ => letter.to_uppercase().flat_map(char::to_lowercase).collect(),
    }
}

/// Calls a method of a text; none where texts have no such method.
pub(super) fn of_text(text: &str, name: &str, given: &[Value]) -> Result<Option<Value>, Error> {
    let plain = |name: &'static str, result: String| -> Result<Option<Value>, Error> {
        Arguments::bind(name, &[], given)?;
        Ok(Some(Value::from(result)))
    };
    let truth = |name: &'static str, result: bool| -> Result<Option<Value>, Error> {
        Arguments::bind(name, &[], given)?;
        Ok(Some(Value::from(result)))
    };
    let all = |wanted: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(wanted);
    let has_cased = text.chars().any(|letter| letter.is_uppercase() || letter.is_lowercase());
    match name {
        "upper" => plain("upper", text.to_uppercase()),
        "lower" => plain("lower", text.to_lowercase()),
        "capitalize" => plain("capitalize", texts::capitalize(text)),
        "title" => plain("title", title(text)),
        "swapcase" => plain("swapcase", swapcase(text)),
        "casefold" => plain("casefold", text.chars().map(folded).collect()),
        "islower" => truth("islower", has_cased && !text.chars().any(char::is_uppercase)),
        "isupper" => truth("isupper", has_cased && !text.chars().any(char::is_lowercase)),
        "istitle" => truth("istitle", has_cased && title(text) == text),
        "isspace" => truth("isspace", all(&is_blank)),
        "isascii" => truth("isascii", text.is_ascii()),
        "isprintable" => truth("isprintable", text.chars().all(is_printable)),
        "isalpha" if knows_letters(text) => truth("isalpha", all(&char::is_alphabetic)),
        "isalnum" if knows_letters(text) => truth("isalnum", all(&|letter| letter.is_alphanumeric())),
        "isnumeric" if knows_letters(text) => truth("isnumeric", all(&char::is_numeric)),
        "isdigit" if knows_letters(text) => {
            truth("isdigit", all(&|letter| decimal(letter).is_some() || matches!(letter, '²' | '³' | '¹')))
        }
        "isdecimal" if knows_letters(text) => truth("isdecimal", all(&|letter| decimal(letter).is_some())),
        "isidentifier" if text.is_ascii() => {
            let is_name = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
            truth("isidentifier", all(&is_name) && !text.starts_with(|letter: char| letter.is_ascii_digit()))
        }
        "strip" | "lstrip" | "rstrip" => {
            let arguments = Arguments::bind(name, &["chars"], given)?;
            let chars = arguments.text(0)?;
            spend(text.len().saturating_mul(chars.map_or(0, str::len)))?;
            let is_taken = |letter: char| chars.map_or_else(|| is_blank(letter), |chars| chars.contains(letter));
            let text = if name == "rstrip" { text } else { text.trim_start_matches(is_taken) };
            let text = if name == "lstrip" { text } else { text.trim_end_matches(is_taken) };
            Ok(Some(Value::from(text)))
        }
        "removeprefix" => {
            let arguments = Arguments::bind("removeprefix", &["prefix"], given)?;
            Ok(Some(Value::from(text.strip_prefix(arguments.need_text(0)?).unwrap_or(text))))
        }
        "removesuffix" => {
            let arguments = Arguments::bind("removesuffix", &["suffix"], given)?;
            Ok(Some(Value::from(text.strip_suffix(arguments.need_text(0)?).unwrap_or(text))))
        }
        "replace" => {
            let arguments = Arguments::bind("replace", &["old", "new", "count"], given)?;
            let (old, new, count) = (arguments.need_text(0)?, arguments.need_text(1)?, arguments.integer(2, -1)?);
            texts::replaced(text, old, new, usize::try_from(count).ok()).map(|text| Some(Value::from(text)))
        }
        "count" | "find" | "rfind" | "index" | "rindex" | "startswith" | "endswith" => {
            searched(text, name, given).map(Some)
        }
        "split" | "rsplit" => split(text, name == "rsplit", given).map(Some),
        "splitlines" => {
            let arguments = Arguments::bind("splitlines", &["keepends"], given)?;
            let lines = texts::lines(text, arguments.is_true(0, false));
            spend_items(lines.len())?;
            Ok(Some(Value::from(lines.into_iter().map(Value::from).collect::<Vec<_>>())))
        }
        "partition" | "rpartition" => {
            let arguments = Arguments::bind(name, &["sep"], given)?;
            let wanted = arguments.need_text(0)?;
            if wanted.is_empty() {
                return Err(wrong(format!("`{name}` was given an empty text as `sep`; give one to part the text at")));
            }
            let parts = match (name, text.split_once(wanted), text.rsplit_once(wanted)) {
                ("partition", Some((left, right)), _) | ("rpartition", _, Some((left, right))) => [left, wanted, right],
                ("partition", ..) => [text, "", ""],
                _ => ["", "", text],
            };
            Ok(Some(Value::from(Tuple::from(parts.map(Value::from)))))
        }
        "join" => {
            let arguments = Arguments::bind("join", &["values"], given)?;
            let mut parts = Vec::new();
            for item in super::items::iterate(arguments.need(0)?)? {
                let part = item.as_str().ok_or_else(|| {
                    let given = named(&item);
                    wrong(format!("`join` of a text takes texts alone and was given {given}; `map('string')` converts all of a list"))
                })?;
                spend(2 * part.len() + text.len())?;
                parts.push(part.to_owned());
            }
            Ok(Some(Value::from(parts.join(text))))
        }
        "center" | "ljust" | "rjust" | "zfill" => padded(text, name, given).map(Some),
        "expandtabs" => {
            let arguments = Arguments::bind("expandtabs", &["tabsize"], given)?;
            texts::expand_tabs(text, arguments.size(0, 8)?).map(|text| Some(Value::from(text)))
        }
        "format" => str_format(text, given).map(|text| Some(Value::from(text))),
        _ => Ok(None),
    }
}

/// Classes of letters are the same in Python and here but for numbers of other scripts, and for marks.
fn knows_letters(text: &str) -> bool {
    text.chars()
        .all(|letter| letter.is_ascii() || letter.is_alphabetic() || is_blank(letter) || u32::from(letter) < 0x250)
}

/// The value of a decimal digit; those of the widest scripts are known.
pub(super) fn decimal(letter: char) -> Option<u32> {
    const ZEROS: [u32; 12] = [0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xE50, 0xED0, 0xFF10];
    let code = u32::from(letter);
    ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)).map(|zero| code - zero)
}

fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut follows = false;
    for letter in text.chars() {
        let is_cased = letter.is_uppercase() || letter.is_lowercase();
        if follows {
            titled.extend(letter.to_lowercase())
        } else {
            titled.push_str(&texts::capital(letter))
        }
        follows = is_cased;
    }
    titled
}

fn swapcase(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_uppercase() {
            swapped.extend(letter.to_lowercase())
        } else {
            swapped.extend(letter.to_uppercase())
        }
    }
    swapped
}

fn searched(text: &str, name: &str, given: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::bind(name, &["sub", "start", "end"], given)?;
    let count_options = |wanted: &Value| match kind(wanted) {
        Kind::Tuple => spend_items(wanted.len().unwrap_or_default()),
        _ => spend(wanted.as_str().map_or(0, str::len)),
    };
    arguments.get(0).map_or(Ok(()), count_options)?;
    let offset = |number: usize| text.char_indices().nth(number).map_or(text.len(), |(at, _)| at);
    let (range, is_beyond) = if arguments.get(1).is_some() || arguments.get(2).is_some() {
        let count = text.chars().count();
        let bound = |at: usize, otherwise: i64| match arguments.get(at) {
            Some(value) if value.is_none() => Ok(otherwise),
            _ => arguments.integer(at, otherwise),
        };
        let (start, end) = (bound(1, 0)?, bound(2, i64::MAX)?);
        let range = bounds(count, start, end);
        (offset(range.start)..offset(range.end), start > count as i64 || (start >= 0 && end >= 0 && end < start))
    } else {
        (0..text.len(), false)
    };
    let stretch = &text[range.clone()];
    if matches!(name, "startswith" | "endswith") {
        let wanted = arguments.need(0)?;
        let options = if kind(wanted) == Kind::Tuple { list(wanted)? } else { vec![wanted.clone()] };
        let mut is_found = false;
        for option in &options {
            let option = option.as_str().ok_or_else(|| {
                let given = named(option);
                wrong(format!(
                    "`{name}` takes a text or a tuple of texts and was given {given}; `| string` converts it"
                ))
            })?;
            is_found |= if name == "startswith" { stretch.starts_with(option) } else { stretch.ends_with(option) };
        }
        return Ok(Value::from(is_found && !is_beyond));
    }
    let wanted = arguments.need_text(0)?;
    if name == "count" {
        return Ok(Value::from(if is_beyond { 0 } else { stretch.matches(wanted).count() }));
    }
    let found = if name.starts_with('r') { stretch.rfind(wanted) } else { stretch.find(wanted) };
    match found.filter(|_| !is_beyond) {
        Some(at) => Ok(Value::from(text[..range.start + at].chars().count())),
        None if name.ends_with("index") => Err(wrong(format!("`{name}` does not find its text"))),
        None => Ok(Value::from(-1)),
    }
}

fn split(text: &str, from_right: bool, given: &[Value]) -> Result<Value, Error> {
    let name = if from_right { "rsplit" } else { "split" };
    let arguments = Arguments::bind(name, &["sep", "maxsplit"], given)?;
    let most = usize::try_from(arguments.integer(1, -1)?).unwrap_or(usize::MAX - 1);
    let parts: Vec<&str> = match (arguments.text(0)?, from_right) {
        (Some(""), _) => {
            return Err(wrong(format!("`{name}` was given an empty text as `sep`; for each letter use `| list`")));
        }
        (Some(wanted), false) => text.splitn(most.saturating_add(1), wanted).collect(),
        (Some(wanted), true) => {
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), wanted).collect();
            parts.reverse();
            parts
        }
        (None, false) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start_matches(is_blank);
            while !rest.is_empty() {
                let end = if parts.len() == most { None } else { rest.find(is_blank) };
                let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
                parts.push(part);
                rest = after.trim_start_matches(is_blank);
            }
            parts
        }
        (None, true) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_blank);
            while !rest.is_empty() {
                let last = rest.char_indices().rev().find(|&(_, letter)| is_blank(letter));
                let cut = last.filter(|_| parts.len() < most).map(|(at, letter)| (at, at + letter.len_utf8()));
                let (until, start) = cut.unwrap_or((0, 0));
                parts.push(&rest[start..]);
                rest = rest[..until].trim_end_matches(is_blank);
            }
            parts.reverse();
            parts
        }
    };
    spend_items(parts.len())?;
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}

fn padded(text: &str, name: &str, given: &[Value]) -> Result<Value, Error> {
    let names: &'static [&'static str] = if name == "zfill" { &["width"] } else { &["width", "fillchar"] };
    let arguments = Arguments::bind(name, names, given)?;
    arguments.need(0)?;
    let missing = arguments.size(0, 0)?.saturating_sub(text.chars().count());
    if name == "zfill" {
        let sign = text.len() - text.strip_prefix(['+', '-']).unwrap_or(text).len();
        return Ok(Value::from(format!("{}{}{}", &text[..sign], repeated("0", missing)?, &text[sign..])));
    }
    let fill = arguments.text(1)?.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(wrong(format!(
            "`{name}` fills with one letter and was given {} as `fillchar`",
            fill.chars().count()
        )));
    }
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // As Python rounds it: to the left for an odd width.
        _ => missing / 2 + (missing & arguments.size(0, 0)? & 1),
    };
    let whole = format!("{}{text}{}", repeated(fill, left)?, repeated(fill, missing - left)?);
    Ok(Value::from(whole))
}

/// The number that a text holds, as `int()` reads it in a base.
pub(super) fn parse_integer(text: &str, base: u32) -> Option<Value> {
    let text = text.trim_matches(is_blank);
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, text),
    };
    let (prefix, rest) = digits.split_at_checked(2).unwrap_or(("", digits));
    let prefix_base = match prefix {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => 0,
    };
    let is_prefixed = prefix_base != 0 && (base == prefix_base || base == 0);
    let digits = if is_prefixed { rest.strip_prefix('_').unwrap_or(rest) } else { digits };
    let base = if is_prefixed { prefix_base } else { base.max(10).min(if base == 0 { 10 } else { base }) };
    if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let mut number = 0_i128;
    for letter in digits.chars().filter(|&letter| letter != '_') {
        let digit = decimal(letter).or_else(|| letter.to_digit(36)).filter(|&digit| digit < base)?;
        number = number.checked_mul(base.into())?.checked_add(digit.into())?;
    }
    Some(whole(sign * number))
}
