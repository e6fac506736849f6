//! Escapes the control characters of untrusted text, for the terminal and for JSON. Styles and writing are in `console`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text with its control characters made visible, line breaks and tabs aside: no escape sequence in it can reach the
/// terminal, and no direction mark can reorder what is read.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |c, shown| shown.extend(c.escape_unicode()))
}

/// The same for JSON, in its own way of writing them: what reads it gets the very same text.
pub(super) fn harmless_json(text: &str) -> Cow<'_, str> {
    escaped(text, |c, shown| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) { escape(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Control characters (those of Latin-1 too, which some terminals obey), every mark that changes the direction of reading,
/// and tags, which are invisible.
fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        for (text, shown) in [
            ("plain\n\ttext — 中", "plain\n\ttext — 中"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\rb\u{7f}", "a\\u{d}b\\u{7f}"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\u{9b}1m", "\\u{9b}1m"),
            ("a\u{61c}b\u{2067}\u{e0041}", "a\\u{61c}b\\u{2067}\\u{e0041}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn json_says_the_same_with_its_control_characters_escaped() {
        let text = serde_json::to_string("\u{9b}2J \u{61c}\u{e0041} é\n").unwrap();
        let shown = harmless_json(&text);
        assert_eq!(shown, r#""\u009b2J \u061c\udb40\udc41 é\n""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), "\u{9b}2J \u{61c}\u{e0041} é\n");
    }
}
