//! JSON values as text: a value keeps the text of its file until it is read, so that a number keeps its digits, and an unread
//! string may hold lone surrogates (`halves`). What rows and answers mean is left to their readers; `columns` has the members of
//! objects.

mod columns;
mod halves;

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

pub use columns::{Columns, Fields};
pub use halves::InvalidString;
pub use halves::{NO_TEXT, joined};

use columns::Pairs;
use halves::{Wtf8, without_halves};

/// A value, as its text.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a RawValue);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Truth,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl Kind {
    /// The kind with its article, for messages.
    pub fn named(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Truth => "a truth value",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Object => "an object",
        }
    }
}

impl<'a> Json<'a> {
    /// A text that is one JSON value.
    ///
    /// # Errors
    /// The parser's own.
    pub fn parse(text: &'a str) -> serde_json::Result<Json<'a>> {
        serde_json::from_str(text).map(Json)
    }

    /// The value as it is written.
    pub fn written(self) -> &'a str {
        self.0.get()
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.written().as_bytes().first() {
            Some(b'"') => Kind::Text,
            Some(b'[') => Kind::List,
            Some(b'{') => Kind::Object,
            Some(b't' | b'f') => Kind::Truth,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether it is `null`, by which tables mark a missing value.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is empty: `null`, text without letters, a list or object without members.
    pub fn is_empty(self) -> bool {
        match self.kind() {
            Kind::Null => true,
            Kind::Text => self.wide().is_some_and(|text| text.iter().all(u8::is_ascii_whitespace)),
            Kind::List => self.items().is_empty(),
            Kind::Object => self.fields().0.is_empty(),
            Kind::Truth | Kind::Number => false,
        }
    }

    /// What a string says.
    ///
    /// # Errors
    /// [`InvalidString`].
    pub fn text(self) -> Result<Option<Cow<'a, str>>, InvalidString> {
        if self.kind() != Kind::Text {
            return Ok(None);
        }
        let inside = &self.written()[1..self.written().len() - 1];
        if !inside.contains('\\') {
            return Ok(Some(Cow::Borrowed(inside)));
        }
        if let Some(what) = inside.strip_prefix(NO_TEXT) {
            return Err(InvalidString(what.to_string()));
        }
        // What passes the scan and fails here is a lone surrogate.
        serde_json::from_str(self.written())
            .map(|text: String| Some(Cow::Owned(text)))
            .map_err(|_| InvalidString::half())
    }

    /// The content of a string, and a number or a boolean as it is written; `None` for the rest.
    ///
    /// # Errors
    /// [`InvalidString`].
    pub fn scalar(self) -> Result<Option<Cow<'a, str>>, InvalidString> {
        match self.kind() {
            Kind::Text => self.text(),
            Kind::Number | Kind::Truth => Ok(Some(Cow::Borrowed(self.written()))),
            Kind::Null | Kind::List | Kind::Object => Ok(None),
        }
    }

    /// Its boolean value. Tables without types write it as text or as a number.
    pub fn truth(self) -> Option<bool> {
        match self.scalar().ok().flatten()?.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" => Some(true),
            "false" | "no" => Some(false),
            number => match number.parse::<f32>().ok()? {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            },
        }
    }

    /// The bytes of a string, with a lone surrogate as three of them; see [`joined`].
    pub fn wide(self) -> Option<Vec<u8>> {
        (self.kind() == Kind::Text).then(|| serde_json::from_str(self.written()).map(|Wtf8(bytes)| bytes).ok())?
    }

    /// The members of a list; none of anything else.
    pub fn items(self) -> Vec<Json<'a>> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.written()).unwrap_or_default();
        items.into_iter().map(Json).collect()
    }

    /// The members of an object; none of anything else.
    pub fn fields(self) -> Fields<'a> {
        let members: Option<Pairs<&'a RawValue>> = serde_json::from_str(self.written()).ok();
        let (members, twice) = members.map_or_else(Default::default, |Pairs(members, twice)| (members, twice));
        Fields(members.into_iter().map(|(name, value)| (name, Json(value))).collect(), twice)
    }

    /// A member of an object that exists and is not `null`.
    pub fn get(self, name: &str) -> Option<Json<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        self.fields().get(name)
    }

    /// The value in memory, where numbers may lose digits; lone surrogates become U+FFFD, and numbers out of range null.
    ///
    /// # Errors
    /// The parser's limit: the value is nested too deeply.
    pub fn value(self) -> serde_json::Result<Value> {
        const DEPTH: usize = 128;
        serde_json::from_str(&without_halves(self.written()))
            .or_else(|error: serde_json::Error| self.with_nulls(DEPTH).ok_or(error))
    }

    /// The value with null for each number that is out of range, unless it is nested deeper than this.
    fn with_nulls(self, depth: usize) -> Option<Value> {
        let below = depth.checked_sub(1)?;
        match self.kind() {
            Kind::List => self.items().into_iter().map(|item| item.with_nulls(below)).collect(),
            Kind::Object => {
                let members = self.fields().0.into_iter();
                members.map(|(name, value)| Some((name, value.with_nulls(below)?))).collect()
            }
            Kind::Number => Some(serde_json::from_str(self.written()).unwrap_or_default()),
            _ => serde_json::from_str(&without_halves(self.written())).ok(),
        }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Columns {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_nobody_reads_comes_back_as_it_was() {
        for text in [
            r#"{"a":1180591620717411303424,"b":1.10,"c":[1e400,0.1000000000000000055511151231257827,-0]}"#,
            r#"{"half":"cut \ud83d","deep":{"x":["\udc00"]},"escaped":"\u0041 é"}"#,
            "{}",
        ] {
            assert_eq!(serde_json::to_string(&columns(text)).unwrap(), text);
        }
        // A row is one line, whatever it was before; spaces inside of text stay.
        let spread = "{\"a\": [1,\r\n  2, \"b  \\\" c\"], \"d\": {\n\"e\" :\t3}}";
        assert_eq!(serde_json::to_string(&columns(spread)).unwrap(), r#"{"a":[1,2,"b  \" c"],"d":{"e":3}}"#);
        let twice = serde_json::from_str::<Columns>(r#"{"a":1,"b":2,"a":3}"#).unwrap_err().to_string();
        assert!(twice.contains("`a` stands twice"), "{twice}");
    }

    #[test]
    fn text_is_what_the_string_says() {
        let row = columns(r#"{"plain":"é","escaped":"a\n\ud83d\ude00","half":"a\ud83d","number":1.10,"no":null}"#);
        let text = |name: &str| row.get(name).unwrap().scalar().map(|text| text.map(Cow::into_owned));
        assert_eq!(text("plain"), Ok(Some("é".to_string())));
        assert_eq!(text("escaped"), Ok(Some("a\n😀".to_string())));
        assert_eq!(text("half"), Err(InvalidString::half()));
        assert_eq!(text("number"), Ok(Some("1.10".to_string())));
        assert_eq!(text("no"), Ok(None));
        assert_eq!(row.get("half").unwrap().value().unwrap(), "a\u{fffd}");
        assert_eq!(row.get("escaped").unwrap().value().unwrap(), "a\n😀");
        let twice = columns(r#"{"x":"\\ud83d \ud83d\ud83d\ude00 \udc00"}"#);
        assert_eq!(twice.get("x").unwrap().value().unwrap(), "\\ud83d \u{fffd}😀 \u{fffd}");
    }

    #[test]
    fn numbers_that_no_memory_holds_are_null_in_it() {
        let value = |text: &str| Json::parse(text).unwrap().value();
        assert_eq!(
            value(r#"{"a":1e400,"b":[-1e999,2],"c":"\ud83d"}"#).unwrap(),
            serde_json::json!({"a":null,"b":[null,2],"c":"\u{fffd}"})
        );
        let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(200), "]".repeat(200));
        assert!(value(&deep("1")).is_err() && value(&deep("1e400")).is_err());
    }

    #[test]
    fn a_name_with_half_of_a_pair_is_carried_along() {
        let row = columns(r#"{"cut \ud83d":1,"\ud83d\ude00":2,"plain":3}"#);
        assert_eq!(row.names().collect::<Vec<_>>(), ["cut \\ud83d", "😀", "plain"]);
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"cut \\ud83d":1,"😀":2,"plain":3}"#);
    }

    #[test]
    fn halves_of_a_pair_are_joined() {
        let wide = |text: &str| Json::parse(text).unwrap().wide().unwrap();
        let both = [wide(r#""a\ud83d""#), wide(r#""\ude00b""#)].concat();
        assert_eq!(joined(both), Ok("a😀b".to_string()));
        assert_eq!(joined(wide(r#""ab\ud83d""#)), Err(InvalidString::half()));
        assert_eq!(joined([wide(r#""\ude00""#), wide(r#""\ud83d""#)].concat()), Err(InvalidString::half()));
    }
}
