//! Strings with lone surrogates (`\ud83d` without its other half), which JSON allows and UTF-8 text cannot hold; and marker strings
//! for values that are not text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Prefix of a marker string for a value that is not text, followed by a description: a lone surrogate, which no text holds.
pub const NO_TEXT: &str = "\\udcff";

/// Why a string is not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidString(pub(super) String);

impl InvalidString {
    pub(super) fn half() -> InvalidString {
        InvalidString("half of a character pair such as \\ud83d, which is no character".to_string())
    }
}

impl fmt::Display for InvalidString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A string's bytes, with surrogates encoded as if they were characters (WTF-8).
pub(super) struct Wtf8(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Wtf8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wtf8, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Wtf8;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Wtf8, E> {
                Ok(Wtf8(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Reader)
    }
}

/// The name of a member. A lone surrogate in it is spelt out (`\\ud83d`), since the name may never be read.
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let bytes = match String::from_utf8(Wtf8::deserialize(deserializer)?.0) {
            Ok(name) => return Ok(Name(name)),
            Err(error) => error.into_bytes(),
        };
        let (mut spelt, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some((&first, behind)) = rest.split_first() {
            match rest {
                [0xed, a @ 0xa0..=0xbf, b, others @ ..] => {
                    let unit = 0xd000 | u32::from(a & 0x3f) << 6 | u32::from(b & 0x3f);
                    spelt.extend(format!("\\u{unit:04x}").bytes());
                    rest = others;
                }
                _ => {
                    spelt.push(first);
                    rest = behind;
                }
            }
        }
        Ok(Name(String::from_utf8_lossy(&spelt).into_owned()))
    }
}

/// The text of bytes from one or more strings, where the two surrogates of a pair may be adjacent.
///
/// # Errors
/// [`InvalidString`] for a lone surrogate.
pub fn joined(bytes: Vec<u8>) -> Result<String, InvalidString> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error.into_bytes(),
    };
    if let Some(what) = bytes.strip_prefix(b"\xed\xb3\xbf") {
        return Err(InvalidString(String::from_utf8_lossy(what).into_owned()));
    }
    let mut whole = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some((&first, behind)) = rest.split_first() {
        // No character of UTF-8 begins so: D800 to DBFF, then DC00 to DFFF.
        if let [0xed, a @ 0xa0..=0xaf, b, 0xed, c @ 0xb0..=0xbf, d, ..] = rest {
            let bits = |byte: &u8, mask: u8| u32::from(byte & mask);
            let high = bits(a, 0x0f) << 6 | bits(b, 0x3f);
            let low = bits(c, 0x0f) << 6 | bits(d, 0x3f);
            let letter = char::from_u32(0x1_0000 + (high << 10) + low).ok_or_else(InvalidString::half)?;
            whole.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[6..];
        } else {
            whole.push(first);
            rest = behind;
        }
    }
    String::from_utf8(whole).map_err(|_| InvalidString::half())
}

/// The text of JSON with U+FFFD in the place of each lone surrogate.
pub(super) fn without_halves(text: &str) -> Cow<'_, str> {
    // A surrogate is written as an escape: a `\u` of D8 to DF.
    let unit = |text: &str| -> Option<u16> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..=0xdfff).contains(unit))
    };
    let mut changed = String::new();
    let (mut rest, mut kept) = (text, text);
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let length = match unit(escape) {
            Some(0xd800..=0xdbff) if unit(&escape[6..]).is_some_and(|low| low >= 0xdc00) => 12,
            Some(_) => {
                changed.push_str(&kept[..kept.len() - escape.len()]);
                changed.push_str("\\ufffd");
                kept = &escape[6..];
                6
            }
            // The character after a backslash never starts another escape.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        rest = &escape[length..];
    }
    if changed.is_empty() {
        return Cow::Borrowed(text);
    }
    changed.push_str(kept);
    Cow::Owned(changed)
}
