//! Filters the output of the LaTeX engine: only the elements, attributes and values listed here become part of the page, and all text is
//! escaped like any other. `formulas` finds the formulas in a text.

use super::html::{Html, element, symbols};
use std::borrow::Cow;

/// Elements within elements. Browsers flatten what is nested deeper than some hundreds.
const DEEPEST: usize = 40;
/// Elements of one formula.
const MOST: usize = 2_000;

/// Elements of MathML Core that only show.
const ELEMENTS: [&str; 24] = [
    "math",
    "mrow",
    "mi",
    "mn",
    "mo",
    "mtext",
    "mspace",
    "msup",
    "msub",
    "msubsup",
    "mfrac",
    "msqrt",
    "mroot",
    "mover",
    "munder",
    "munderover",
    "mtable",
    "mtr",
    "mtd",
    "mpadded",
    "mphantom",
    "mstyle",
    "mmultiscripts",
    "mprescripts",
];

/// Attributes that only say how a formula is set. Others, colours among them, are dropped.
const ATTRIBUTES: [&str; 22] = [
    "display",
    "class",
    "stretchy",
    "symmetric",
    "fence",
    "separator",
    "form",
    "lspace",
    "rspace",
    "minsize",
    "maxsize",
    "largeop",
    "movablelimits",
    "linethickness",
    "width",
    "height",
    "depth",
    "voffset",
    "displaystyle",
    "scriptlevel",
    "accent",
    "mathvariant",
];

/// An element that is open.
struct OpenElement {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Html>,
}

impl OpenElement {
    fn close(mut self) -> Html {
        // A row of one is that one.
        if self.name == "mrow" && self.attributes.is_empty() && self.children.len() == 1 {
            return self.children.remove(0);
        }
        let attributes: Vec<(&'static str, &str)> =
            self.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        element(self.name, &attributes, self.children.into_iter().collect())
    }
}

/// The single `<math>` element of the markup; `None` if it contains anything else, or too much.
pub(super) fn sanitized(markup: &str) -> Option<Html> {
    let mut open: Vec<OpenElement> = Vec::new();
    let (mut rest, mut count) = (markup, 0);
    loop {
        let (before, behind) = rest.split_once('<')?;
        if !before.is_empty() {
            open.last_mut()?.children.push(symbols(&decoded(before)?));
        }
        let (tag, after) = behind.split_once('>')?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let closed = open.pop().filter(|closed| closed.name == name)?.close();
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return rest.is_empty().then_some(closed),
            }
            continue;
        }
        count += 1;
        let started = started(tag.trim_end_matches('/'))?;
        if count > MOST || open.len() >= DEEPEST || (open.is_empty() != (started.name == "math")) {
            return None;
        }
        match tag.ends_with('/') {
            true => open.last_mut()?.children.push(started.close()),
            false => open.push(started),
        }
    }
}

/// Name and attributes of a tag.
fn started(tag: &str) -> Option<OpenElement> {
    let tag = tag.trim_end();
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let name = ELEMENTS.into_iter().find(|&known| known == name)?;
    let mut attributes: Vec<(&'static str, String)> = Vec::new();
    while !rest.trim_start().is_empty() {
        let (key, behind) = rest.trim_start().split_once("=\"")?;
        let (value, after) = behind.split_once('"')?;
        rest = after;
        let known = ATTRIBUTES.into_iter().find(|&known| known == key);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " .-+%".contains(c);
        if let Some(key) = known.filter(|_| value.len() <= 60 && value.chars().all(is_plain))
            && attributes.iter().all(|(there, _)| *there != key)
            && (key, value) != ("display", "inline")
        {
            attributes.push((key, value.to_owned()));
        }
    }
    Some(OpenElement { name, attributes, children: Vec::new() })
}

/// Text whose entities are characters again.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('&') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        let (entity, after) = behind.split_once(';')?;
        decoded.push_str(before);
        decoded.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "nbsp" => '\u{a0}',
            _ => return None,
        });
        rest = after;
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_taken_in() {
        for (given, expected) in [
            ("<math display=\"inline\"><mi>x</mi></math>", "<math><mi>x</mi></math>"),
            (
                "<math><mrow><mrow><mi>x</mi></mrow><mi>y</mi></mrow></math>",
                "<math><mrow><mi>x</mi><mi>y</mi></mrow></math>",
            ),
            (
                "<math display=\"block\"><mo stretchy=\"true\">&lt;&amp;</mo></math>",
                "<math display=\"block\"><mo stretchy=\"true\">&lt;&amp;</mo></math>",
            ),
            ("<math><mspace width=\"1em\" /></math>", "<math><mspace width=\"1em\"></mspace></math>"),
            ("<math style=\"color: red\" onclick=\"x()\"><mi>x</mi></math>", "<math><mi>x</mi></math>"),
            (
                "<math class=\"a&quot; b\"><mtext>x&nbsp;\"'</mtext></math>",
                "<math><mtext>x\u{a0}&quot;&#39;</mtext></math>",
            ),
            ("<math><mi>a\u{202e}b</mi></math>", "<math><mi>a\\u{202e}b</mi></math>"),
        ] {
            assert_eq!(sanitized(given).map(Html::into_string).as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn what_is_not_listed_is_refused_whole() {
        for given in [
            "",
            "x",
            "<mi>x</mi>",
            "<math><mi>x</math>",
            "<math><mi>x</mi></math>x",
            "<math></math><math></math>",
            "<math><math></math></math>",
            "<math><script>x()</script></math>",
            "<math><mtext><img src=\"x\"></mtext></math>",
            "<math><annotation encoding=\"text/html\"></annotation></math>",
            "<math><!-- --></math>",
            "<math><mi a=b></mi></math>",
            "<math><mi>&copy;</mi></math>",
            "<math><mi>&</mi></math>",
            "<math",
        ] {
            assert_eq!(sanitized(given), None, "{given}");
        }
        let nested = |depth: usize| format!("<math>{}{}</math>", "<mrow>".repeat(depth), "</mrow>".repeat(depth));
        assert!(sanitized(&nested(DEEPEST - 1)).is_some());
        assert_eq!(sanitized(&nested(DEEPEST)), None);
        assert_eq!(sanitized(&format!("<math>{}</math>", "<mspace />".repeat(MOST))), None);
    }
}
