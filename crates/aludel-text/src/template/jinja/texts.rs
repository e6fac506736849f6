//! Jinja2's filters on strings. Each takes any value, and works on Python's `str` of it.

use minijinja::{Environment, Error, Value};

use super::arguments::{Arguments, CallArguments};
use super::budget::{repeated, spend, spend_items};
use super::format::printf;
use super::items::{Kind, iterate, kind, list};
use super::methods::{PER_LETTER, is_blank};
use super::print::{repr, text_of};
use super::wrong;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("upper", |value: Value| map_text(&value, &|text| text.to_uppercase()));
    environment.add_filter("lower", |value: Value| map_text(&value, &|text| text.to_lowercase()));
    environment.add_filter("capitalize", |value: Value| map_text(&value, &capitalize));
    environment.add_filter("title", |value: Value| map_text(&value, &title));
    environment.add_filter(
        "string",
        |value: Value| if value.is_safe() { Ok(value) } else { text_of(&value).map(Value::from) },
    );
    environment.add_filter("trim", trim);
    environment.add_filter("center", center);
    environment.add_filter("indent", indent);
    environment.add_filter("replace", replace);
    environment.add_filter("format", format);
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |value: Value| text_of(&value).map(|text| word_count(&text)));
    environment.add_filter("wordwrap", wordwrap);
    environment.add_filter("striptags", |value: Value| strip_tags(&text_of(&value)?));
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("filesizeformat", file_size);
    environment.add_filter("pprint", pprint);
    environment.add_filter("safe", |value: Value| text_of(&value).map(Value::from_safe_string));
    environment.add_filter("forceescape", |value: Value| text_of(&value).and_then(|text| escaped(&text)));
    for name in ["e", "escape"] {
        environment.add_filter(name, |value: Value| match value.is_safe() {
            true => Ok(value),
            false => text_of(&value).and_then(|text| escaped(&text)),
        });
    }
}

fn map_text(value: &Value, change: &dyn Fn(&str) -> String) -> Result<Value, Error> {
    let text = text_of(value)?;
    spend(PER_LETTER * text.len())?;
    let text = change(&text);
    Ok(if value.is_safe() { Value::from_safe_string(text) } else { Value::from(text) })
}

fn escaped(text: &str) -> Result<Value, Error> {
    spend(5 * text.len())?;
    Ok(Value::from_safe_string(escape(text)))
}

/// As MarkupSafe escapes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A letter as a word begins with it.
pub(super) fn capital(letter: char) -> String {
    match letter {
        'ǆ' | 'ǅ' | 'Ǆ' => "ǅ".to_owned(),
        'ǉ' | 'ǈ' | 'Ǉ' => "ǈ".to_owned(),
        'ǌ' | 'ǋ' | 'Ǌ' => "ǋ".to_owned(),
        'ǳ' | 'ǲ' | 'Ǳ' => "ǲ".to_owned(),
        'ß' => "Ss".to_owned(),
        'ﬀ'..='ﬆ' => {
            let upper: Vec<char> = letter.to_uppercase().collect();
            upper
                .iter()
                .enumerate()
                .map(|(at, &letter)| if at == 0 { letter } else { letter.to_ascii_lowercase() })
                .collect()
        }
        letter => letter.to_uppercase().collect(),
    }
}

pub(super) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| capital(first) + &letters.as_str().to_lowercase())
}

/// Words of this filter begin behind blanks, hyphens and opening brackets.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut begins = true;
    for word in text.split_inclusive(|letter: char| is_blank(letter) || "-({[<".contains(letter)) {
        let mut letters = word.chars();
        let Some(first) = letters.next() else { continue };
        if begins {
            titled.extend(first.to_uppercase())
        } else {
            titled.extend(first.to_lowercase())
        }
        titled.push_str(&letters.as_str().to_lowercase());
        begins = true;
    }
    titled
}

pub(super) fn replaced(text: &str, old: &str, new: &str, most: Option<usize>) -> Result<String, Error> {
    let count = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let count = most.map_or(count, |most| most.min(count));
    spend(count.saturating_mul(new.len()).saturating_add(2 * text.len() + old.len()))?;
    Ok(text.replacen(old, new, count))
}

fn replace(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("replace", &["old", "new", "count"], &given.into_values())?;
    let (old, new) = (text_of(arguments.need(0)?)?, text_of(arguments.need(1)?)?);
    let most = match arguments.get(2) {
        Some(count) if !count.is_none() => usize::try_from(arguments.integer(2, -1)?).ok(),
        _ => None,
    };
    Ok(Value::from(replaced(&text_of(&value)?, &old, &new, most)?))
}

fn trim(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("trim", &["chars"], &given.into_values())?;
    let chars = arguments.text(0)?;
    spend(value.as_str().map_or(0, str::len).saturating_mul(chars.map_or(0, str::len)))?;
    let text = text_of(&value)?;
    let text = text.trim_matches(|letter: char| chars.map_or_else(|| is_blank(letter), |chars| chars.contains(letter)));
    Ok(if value.is_safe() { Value::from_safe_string(text.to_owned()) } else { Value::from(text) })
}

fn center(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("center", &["width"], &given.into_values())?;
    let width = arguments.size(0, 80)?;
    spend(width)?;
    map_text(&value, &|text| {
        let missing = width.saturating_sub(text.chars().count());
        let left = missing / 2 + (missing & width & 1);
        format!("{}{text}{}", " ".repeat(left), " ".repeat(missing - left))
    })
}

/// Lines as Python's `splitlines` cuts them.
pub(super) fn lines(text: &str, keeps_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_end = |letter: char| {
            matches!(letter, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
        };
        let Some(at) = rest.find(is_end) else {
            lines.push(rest);
            break;
        };
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        lines.push(&rest[..if keeps_ends { at + end } else { at }]);
        rest = &rest[at + end..];
    }
    lines
}

pub(super) fn expand_tabs(text: &str, size: usize) -> Result<String, Error> {
    let mut expanded = String::new();
    let mut column = 0;
    for letter in text.chars() {
        if letter == '\t' {
            let blanks = if size == 0 { 0 } else { size - column % size };
            expanded.push_str(&repeated(" ", blanks)?);
            column += blanks;
        } else {
            expanded.push(letter);
            column = if matches!(letter, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    Ok(expanded)
}

fn indent(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("indent", &["width", "first", "blank"], &given.into_values())?;
    let text = value.as_str().ok_or_else(|| wrong("`indent` takes text"))?;
    let margin = match arguments.get(0).and_then(Value::as_str) {
        Some(margin) => margin.to_owned(),
        None => repeated(" ", arguments.size(0, 4)?)?,
    };
    let with_end = format!("{text}\n");
    let lines = lines(&with_end, false);
    spend(lines.len().saturating_mul(margin.len() + 16).saturating_add(2 * text.len()))?;
    let mut indented = String::with_capacity(text.len() + lines.len() * margin.len());
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            indented.push('\n');
        }
        let is_indented =
            if number == 0 { arguments.is_true(1, false) } else { !line.is_empty() || arguments.is_true(2, false) };
        if is_indented {
            indented.push_str(&margin);
        }
        indented.push_str(line);
    }
    Ok(if value.is_safe() { Value::from_safe_string(indented) } else { Value::from(indented) })
}

fn format(value: Value, given: CallArguments) -> Result<Value, Error> {
    let given = given.into_values();
    let (positional, named) = super::arguments::split(&given);
    let values = match named {
        Some(_) if !positional.is_empty() => return Err(wrong("`format` takes values by place or by name, not both")),
        Some(named) => {
            let pair = |name: &str| Ok::<_, Error>((name.to_owned(), named.get::<Value>(name)?));
            Value::from_pairs(named.args().map(pair).collect::<Result<Vec<_>, _>>()?)
        }
        None => Value::from(minijinja::value::Tuple::from(positional.to_vec())),
    };
    printf(&text_of(&value)?, &values).map(Value::from)
}

fn truncate(value: Value, given: CallArguments) -> Result<Value, Error> {
    let arguments = Arguments::bind("truncate", &["length", "killwords", "end", "leeway"], &given.into_values())?;
    let (length, end) = (arguments.integer(0, 255)?, arguments.text(2)?.unwrap_or("..."));
    let leeway = if arguments.get(3).is_none_or(Value::is_none) { 5 } else { arguments.integer(3, 5)? };
    let kept = length.saturating_sub(end.chars().count() as i64);
    if kept < 0 || leeway < 0 {
        return Err(wrong("`truncate` takes a length of at least its end, and a leeway of at least 0"));
    }
    let count = match kind(&value) {
        Kind::Undefined => 0,
        Kind::Text => value.as_str().unwrap_or_default().chars().count(),
        Kind::List | Kind::Tuple | Kind::Map => list(&value)?.len(),
        _ => return Err(wrong("`truncate` takes text")),
    };
    if count as i64 <= length.saturating_add(leeway) {
        return Ok(value);
    }
    let text = value.as_str().ok_or_else(|| wrong("`truncate` takes text"))?;
    spend(4 * text.len() + end.len())?;
    let cut: String = text.chars().take(kept as usize).collect();
    let cut = if arguments.is_true(1, false) {
        cut.as_str()
    } else {
        cut.rsplit_once(' ').map_or(cut.as_str(), |(cut, _)| cut)
    };
    Ok(Value::from(format!("{cut}{end}")))
}

fn word_count(text: &str) -> usize {
    text.split(|letter: char| letter != '_' && !letter.is_alphanumeric()).filter(|word| !word.is_empty()).count()
}

fn wordwrap(value: Value, given: CallArguments) -> Result<Value, Error> {
    let names = &["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let arguments = Arguments::bind("wordwrap", names, &given.into_values())?;
    let text = value.as_str().ok_or_else(|| wrong("`wordwrap` takes text"))?;
    let (width, breaks) = (arguments.size(0, 79)?, arguments.is_true(1, true));
    if width == 0 {
        return Err(wrong("`wordwrap` takes a width above 0"));
    }
    let end = arguments.text(2)?.unwrap_or("\n");
    if arguments.is_true(3, true) && text.contains('-') {
        return Err(wrong("`wordwrap` of a text with hyphens is not known here; give break_on_hyphens=false"));
    }
    let mut wrapped = Vec::new();
    for line in lines(text, false) {
        let lines = wrap_line(line, width, breaks)?;
        spend((lines.len() + 1).saturating_mul(end.len() + 64))?;
        wrapped.push(lines.join(end));
    }
    Ok(Value::from(wrapped.join(end)))
}

/// A line in lines of at most `width` letters, as Python's textwrap fills them.
fn wrap_line(line: &str, width: usize, breaks_words: bool) -> Result<Vec<String>, Error> {
    spend_items(line.len())?;
    let is_space = |letter: char| matches!(letter, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ');
    let mut pieces: Vec<Vec<char>> = Vec::new();
    for letter in line.chars() {
        match pieces.last_mut() {
            Some(piece) if is_space(piece[0]) == is_space(letter) => piece.push(letter),
            _ => pieces.push(vec![letter]),
        }
    }
    pieces.reverse();
    let mut lines = Vec::new();
    while !pieces.is_empty() {
        let mut current: Vec<Vec<char>> = Vec::new();
        let mut length = 0;
        // A word that is cut is moved to the front.
        spend(64 + pieces.last().map_or(0, Vec::len))?;
        if !lines.is_empty() && pieces.last().is_some_and(|piece| is_space(piece[0])) {
            pieces.pop();
        }
        while let Some(piece) = pieces.pop_if(|piece| length + piece.len() <= width) {
            length += piece.len();
            current.push(piece);
        }
        if pieces.last().is_some_and(|piece| piece.len() > width) {
            if breaks_words {
                let room = width - length;
                // Without room this puts an empty piece there, which shields a blank before it, in Python too.
                current.extend(pieces.last_mut().map(|piece| piece.drain(..room).collect()));
            } else if current.is_empty() {
                current.extend(pieces.pop());
            }
        }
        current.pop_if(|piece| piece.first().is_none_or(|&letter| is_space(letter)));
        if !current.is_empty() {
            lines.push(current.concat().into_iter().collect());
        }
    }
    Ok(lines)
}

fn strip_tags(text: &str) -> Result<Value, Error> {
    spend(16 * text.len())?;
    let mut text = text.to_owned();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(open) {
            let Some(end) = rest[at..].find(close) else { break };
            kept.push_str(&rest[..at]);
            rest = &rest[at + end + close.len()..];
        }
        kept.push_str(rest);
        text = kept;
    }
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    unescape(&words.join(" ")).map(Value::from)
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let end = after.find(|letter: char| letter != '#' && !letter.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        rest = next.strip_prefix(';').unwrap_or(next);
        let code = match name
            .strip_prefix('#')
            .map(|number| number.strip_prefix(['x', 'X']).map_or((number, 10), |hex| (hex, 16)))
        {
            Some((digits, base)) => u32::from_str_radix(digits, base).ok().and_then(char::from_u32),
            None if next.starts_with(';') => match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                "nbsp" => Some('\u{a0}'),
                _ => None,
            },
            None => None,
        };
        match code {
            Some(letter) if !letter.is_control() && (u32::from(letter) < 0x80 || u32::from(letter) >= 0xA0) => {
                plain.push(letter)
            }
            _ if name.is_empty() => {
                plain.push('&');
                rest = next;
            }
            _ => return Err(wrong(format!("`striptags` does not know `&{name};` here"))),
        }
    }
    plain.push_str(rest);
    Ok(plain)
}

fn urlencode(value: Value) -> Result<Value, Error> {
    let pair = |key: &Value, value: &Value| {
        Ok::<_, Error>(format!("{}={}", quoted(&text_of(key)?, true)?, quoted(&text_of(value)?, true)?))
    };
    let mut parts = Vec::new();
    match kind(&value) {
        Kind::Map => {
            for key in list(&value)? {
                parts.push(pair(&key, &value.get_item(&key)?)?);
            }
        }
        Kind::List | Kind::Tuple | Kind::Undefined | Kind::Other => {
            for item in iterate(&value)? {
                match iterate(&item)?.as_slice() {
                    [key, value] => parts.push(pair(key, value)?),
                    _ => return Err(wrong("`urlencode` takes pairs")),
                }
            }
        }
        _ => return quoted(&text_of(&value)?, false).map(Value::from),
    }
    Ok(Value::from(parts.join("&")))
}

fn quoted(text: &str, is_query: bool) -> Result<String, Error> {
    // A letter that is escaped is written on its own first.
    spend(32 * text.len())?;
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => quoted.push(char::from(byte)),
            b'/' if !is_query => quoted.push('/'),
            b' ' if is_query => quoted.push('+'),
            byte => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(quoted)
}

fn file_size(value: Value, given: CallArguments) -> Result<String, Error> {
    let arguments = Arguments::bind("filesizeformat", &["binary"], &given.into_values())?;
    let is_binary = arguments.is_true(0, false);
    let bytes = super::filters::read_float(&value)?.ok_or_else(|| wrong("`filesizeformat` takes a number"))?;
    let (base, units) = match is_binary {
        true => (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]),
        false => (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
    };
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc() as i64));
    }
    let mut size = base;
    for (number, unit) in units.iter().enumerate() {
        size *= base;
        if bytes < size || number + 1 == units.len() {
            return Ok(format!("{:.1} {unit}", base * bytes / size));
        }
    }
    Ok(String::new())
}

/// What fits on one line, and no mapping: Python puts those in order and breaks longer ones into lines.
fn pprint(value: Value) -> Result<String, Error> {
    let text = repr(&value)?;
    if text.contains('{') || text.chars().count() > 79 {
        return Err(wrong("`pprint` of a mapping or of a long value is not known here; use `tojson`"));
    }
    Ok(text)
}
