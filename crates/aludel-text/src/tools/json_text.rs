//! JSON text of definitions and calls: read without loss, and refused with its place and in plain words. What the values mean is decided
//! in `tools`.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A value of JSON text, with all digits of its whole numbers, and no member twice.
///
/// # Errors
/// The parser's reason, the number that would lose digits, or the member that stands twice.
pub fn read_json(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| fault(text, &error))?;
    serde_json::from_str::<Once>(text).map_err(|error| fault(text, &error))?;
    match inexact(text) {
        None => Ok(value),
        Some(number) => Err(format!("the whole number {number} has more digits than can be kept; write it as text")),
    }
}

/// Why a text is not JSON, and where.
fn fault(text: &str, error: &serde_json::Error) -> String {
    const SHOWN: usize = 20;
    if text.trim().is_empty() {
        return "it is empty".to_owned();
    }
    if error.is_eof() {
        return "it ends before its last value does: a quote or a bracket is not closed, or the text was cut off"
            .to_owned();
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    if error.is_data() {
        // One of ours, behind which the place was put.
        return error.to_string().trim_end_matches(&place).to_owned();
    }
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (before + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let (number, rest) = (text[..at].chars().count() + 1, &text[at..]);
    let python =
        [("'", "texts are in double quotes"), ("None", "write null"), ("True", "write true"), ("False", "write false")];
    let mend = python
        .iter()
        .find(|(word, _)| rest.starts_with(word))
        .map(|(_, mend)| format!(" (this is Python's notation: in JSON {mend})"));
    // Quotes are what is to be seen.
    let seen = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    let shown = match rest.chars().take(SHOWN).map(seen).collect::<String>() {
        nothing if nothing.is_empty() => "the end of the text".to_owned(),
        shown => format!("`{shown}`"),
    };
    format!("character {number} is not expected there: {shown}{}", mend.unwrap_or_default())
}

/// A value whose objects have no member twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        deserializer.deserialize_any(Once)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Once;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Once, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Once)) = members.next_entry::<String, Once>()? {
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("`{}` stands twice in an object", name.escape_debug())));
            }
        }
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        while items.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }
}

/// The first whole number that 64 bits do not hold.
fn inexact(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_of_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = bytes[at..].iter().take_while(|byte| is_of_number(byte)).count();
                let number = &text[at..at + length];
                let is_whole = !number.contains(['.', 'e', 'E']);
                if is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(number);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_members_stay_or_are_refused() {
        assert_eq!(
            read_json(r#"{"a": "1\"23456789012345678901", "b": 18446744073709551615, "c": -5}"#).map(|_| ()),
            Ok(())
        );
        assert!(read_json("-9223372036854775809").is_err());
        let twice = read_json(r#"[{"a": {"b": 1, "c": [null, true], "b": 2}}]"#).unwrap_err();
        assert!(twice.contains("`b` stands twice"), "{twice}");
        assert!(read_json(r#"[{"a": 1}, {"a": -2.5, "b": {"a": "x"}}]"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let python = " (this is Python's notation: in JSON ";
        for (text, told) in [
            ("", "it is empty".to_owned()),
            (
                "[{\"a\": 1}",
                "it ends before its last value does: a quote or a bracket is not closed, or the text was cut off"
                    .to_owned(),
            ),
            ("call f", "character 1 is not expected there: `call f`".to_owned()),
            (
                "{'name': 'add'}",
                format!("character 2 is not expected there: `'name': 'add'}}`{python}texts are in double quotes)"),
            ),
            ("{\"é\": None}", format!("character 7 is not expected there: `None}}`{python}write null)")),
            ("{\"a\": 1,\n \"b\": True}", format!("character 16 is not expected there: `True}}`{python}write true)")),
            ("[1] [2]", "character 5 is not expected there: `[2]`".to_owned()),
            ("[1, ]", "character 5 is not expected there: `]`".to_owned()),
            ("{\"a\": 1, \"a\": 2}", "`a` stands twice in an object".to_owned()),
        ] {
            assert_eq!(read_json(text).unwrap_err(), told, "{text}");
        }
    }
}
