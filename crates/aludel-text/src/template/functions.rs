//! What chat templates expect beside Jinja itself, as transformers gives it to them: `raise_exception`, a `tojson` that
//! does not escape for HTML, and the `{% generation %}` block, which marks text and changes none.

use minijinja::value::{Kwargs, Serde};
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;

/// Starts the detail of an error that a template raised itself.
pub(super) const RAISED: &str = "raised by the template: ";

pub(super) fn raise_exception(reason: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{reason}")))
}

pub(super) fn unknown_directive(directive: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("strftime_now does not know {directive}"))
}

/// Python's `json.dumps`: `, ` and `: ` between items, or lines where `indent` is given; `ensure_ascii` is off unless asked for.
pub(super) fn tojson(value: Serde<serde_json::Value>, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get::<Option<usize>>("indent")?;
    let ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    let (item_separator, key_separator) = match (separators.as_deref(), indent) {
        (Some([item, key]), _) => (item.clone(), key.clone()),
        (Some(_), _) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: `separators` takes two strings"));
        }
        (None, Some(_)) => (",".to_owned(), ": ".to_owned()),
        (None, None) => (", ".to_owned(), ": ".to_owned()),
    };
    let mut value = value.0;
    if sort_keys {
        value.sort_all_objects();
    }
    let mut bytes = Vec::new();
    let style = PythonStyle { indent, item_separator, key_separator, depth: 0, has_items: false };
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, style);
    let cannot = |reason: String| Error::new(ErrorKind::BadSerialization, reason);
    value.serialize(&mut serializer).map_err(|error| cannot(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| cannot(error.to_string()))?;
    Ok(Value::from(if ensure_ascii { escape_to_ascii(&text) } else { text }))
}

/// Turns `{% generation %}` and `{% endgeneration %}`, which the engine does not know, into a condition that holds.
pub(super) fn rewrite_generation(source: &str) -> String {
    let mut rewritten = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let (tag, end) = (&rest[start + 2..start + length], start + length + 2);
        rewritten.push_str(&rest[..start]);
        let sign = |letter: Option<char>| letter.filter(|letter| matches!(letter, '-' | '+')).map(String::from);
        let before = sign(tag.chars().next()).unwrap_or_default();
        let after = sign(tag.chars().last()).unwrap_or_default();
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => rewritten.push_str(&format!("{{%{before} if true {after}%}}")),
            "endgeneration" => rewritten.push_str(&format!("{{%{before} endif {after}%}}")),
            _ => rewritten.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    rewritten.push_str(rest);
    rewritten
}

fn escape_to_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            escaped.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

struct PythonStyle {
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    depth: usize,
    has_items: bool,
}

impl PythonStyle {
    fn begin<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> std::io::Result<()> {
        self.depth += 1;
        self.has_items = false;
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> std::io::Result<()> {
        self.depth -= 1;
        if self.has_items {
            self.new_line(writer)?;
        }
        self.has_items = true;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if !first {
            writer.write_all(self.item_separator.as_bytes())?;
        }
        self.new_line(writer)
    }

    fn new_line<W: ?Sized + std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        let Some(indent) = self.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        writer.write_all(" ".repeat(indent * self.depth).as_bytes())
    }
}

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + std::io::Write>(&mut self, _: &mut W) -> std::io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(self.key_separator.as_bytes())
    }

    fn end_object_value<W: ?Sized + std::io::Write>(&mut self, _: &mut W) -> std::io::Result<()> {
        self.has_items = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_become_conditions() {
        let check = |source: &str, expected: &str| assert_eq!(rewrite_generation(source), expected);
        check("a{% generation %}b{% endgeneration %}c", "a{% if true %}b{% endif %}c");
        check("{%- generation -%}b{%-endgeneration%}", "{%- if true -%}b{%- endif %}");
        check("{% if generation %}{% endif %} {{ '{%' }}", "{% if generation %}{% endif %} {{ '{%' }}");
        check("{% generation", "{% generation");
    }
}
