//! HTML that is safe by construction: names and fixed markup are literals of this program, and everything else enters through [`text`] or
//! an attribute's value, both escaped by one function. The content of the page is in the other files.

use std::borrow::Cow;

/// Markup that is whole and escaped.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Html(String);

impl Html {
    /// The markup.
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        let mut all = String::new();
        parts.into_iter().for_each(|part| all.push_str(&part.0));
        Self(all)
    }
}

/// Markup of this program's own.
pub(super) fn literal(markup: &'static str) -> Html {
    Html(markup.to_owned())
}

/// Text from anywhere.
pub(super) fn text(text: &str) -> Html {
    Html(escape(text).into_owned())
}

/// Symbols of a formula: as [`text`], but a mark at the start stays bare, since accents of MathML are elements of their own. It is
/// written by its number, so that nothing attaches it to the tag before it.
pub(super) fn symbols(symbols: &str) -> Html {
    // Operators that are heard and not seen would be shown by their numbers.
    let seen: String = symbols.chars().filter(|c| !matches!(c, '\u{2061}'..='\u{2064}')).collect();
    match seen.chars().next().filter(|&c| is_mark(c)) {
        None => text(&seen),
        Some(mark) => {
            let rest = &seen[mark.len_utf8()..];
            join([Html(format!("&#x{:x};", u32::from(mark))), Html(escape_from(rest, false).into_owned())])
        }
    }
}

/// Several parts in a row.
pub(super) fn join<const N: usize>(parts: [Html; N]) -> Html {
    parts.into_iter().collect()
}

/// `<name attributes>content</name>`.
pub(super) fn element(name: &'static str, attributes: &[(&'static str, &str)], content: Html) -> Html {
    let mut markup = format!("<{name}");
    for (key, value) in attributes {
        markup.push_str(&format!(" {key}=\"{}\"", escape(value)));
    }
    markup.push('>');
    markup.push_str(&content.0);
    markup.push_str(&format!("</{name}>"));
    Html(markup)
}

/// An element with a class and nothing else.
pub(super) fn classed(name: &'static str, class: &'static str, content: Html) -> Html {
    element(name, &[("class", class)], content)
}

/// Text that means itself wherever it stands in a page, between tags or in quotes: what HTML reads is written as entities, and what
/// would hide, reorder or attach itself to something else is made visible.
fn escape(text: &str) -> Cow<'_, str> {
    escape_from(text, text.chars().next().is_some_and(is_mark))
}

fn escape_from(text: &str, starts_with_mark: bool) -> Cow<'_, str> {
    if !starts_with_mark && !text.contains(|c| entity(c).is_some() || is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + text.len() / 8 + 8);
    if starts_with_mark {
        // A combining mark joins the character before it, which would be the tag's ">": it gets a dotted circle instead.
        escaped.push('\u{25cc}');
    }
    for c in text.chars() {
        match entity(c) {
            Some(entity) => escaped.push_str(entity),
            None if is_hidden(c) => escaped.extend(c.escape_unicode()),
            None => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    }
}

/// Control characters (NUL among them), direction marks and overrides, characters without a width that hide text, and what Unicode
/// says is no character at all.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || (u32::from(c) & 0xfffe == 0xfffe)
}

/// Whether a character attaches itself to the one before it: rust's own escape writes those by their number, and hidden ones, too.
fn is_mark(c: char) -> bool {
    !c.is_control() && !is_hidden(c) && !c.is_ascii() && c.escape_debug().len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_means_itself() {
        for (given, expected) in [
            ("plain — 中文 👩‍🔬\n\tit's", "plain — 中文 👩‍🔬\n\tit&#39;s"),
            ("</script><script>alert(1)</script>", "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("<img src=x onerror=\"a()\">", "&lt;img src=x onerror=&quot;a()&quot;&gt;"),
            ("&lt; stays &amp;", "&amp;lt; stays &amp;amp;"),
            ("a\0b", "a\\u{0}b"),
            ("\u{1b}[31m\r\u{7f}\u{9b}", "\\u{1b}[31m\\u{d}\\u{7f}\\u{9b}"),
            ("\u{202e}live\u{202c}", "\\u{202e}live\\u{202c}"),
            ("\u{2067}x\u{2069}\u{200f}", "\\u{2067}x\\u{2069}\\u{200f}"),
            ("\u{feff}x\u{200b}y\u{ad}", "\\u{feff}x\\u{200b}y\\u{ad}"),
            ("\u{e0041}\u{ffff}", "\\u{e0041}\\u{ffff}"),
            ("\u{338}x", "\u{25cc}\u{338}x"),
            ("e\u{301}", "e\u{301}"),
            ("\u{94d}", "\u{25cc}\u{94d}"),
            ("é is one", "é is one"),
        ] {
            assert_eq!(text(given).0, expected);
        }
    }

    #[test]
    fn symbols_keep_their_marks() {
        for (given, expected) in [
            ("\u{20d7}", "&#x20d7;"),
            ("\u{338}\u{338}<", "&#x338;\u{338}&lt;"),
            ("\u{2061}", ""),
            ("\u{2062}x", "x"),
            ("=\u{338}", "=\u{338}"),
            ("<&\u{202e}", "&lt;&amp;\\u{202e}"),
        ] {
            assert_eq!(symbols(given).0, expected);
        }
    }

    /// Every character, alone, between tags and in an attribute: no byte of it is markup.
    #[test]
    fn no_character_is_markup() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let written = escape(&c.to_string()).into_owned();
            assert!(!written.contains(['<', '>', '"', '\'', '\0', '\u{1b}', '\u{202e}']), "{c:?}: {written}");
            assert!(written.matches('&').count() <= 1 && (!written.contains('&') || written.ends_with(';')), "{c:?}");
        }
    }

    #[test]
    fn elements_nest_and_attributes_are_escaped() {
        let inner = element("b", &[("title", "\" onclick=\"x()")], text("<"));
        let outer = classed("p", "note", join([inner, text(" & more")]));
        assert_eq!(
            outer.into_string(),
            "<p class=\"note\"><b title=\"&quot; onclick=&quot;x()\">&lt;</b> &amp; more</p>"
        );
    }
}
