//! Mathematics in text: finds LaTeX between its delimiters and renders it as MathML, which browsers show without a script. A formula that
//! cannot be rendered, or would take too long, is shown as written.

use super::html::{Html, classed, join, text};
use super::mathml;
use aludel_text::catch_panic::catch_panic;
use pulldown_latex::config::DisplayMode;
use pulldown_latex::{Event, Parser, RenderConfig, Storage, push_mathml};

/// Bytes of one formula. The engine's own depth and work follow from them.
const LONGEST: usize = 2_000;
/// Symbols and groups of one formula: a definition could multiply them.
const MOST_EVENTS: usize = 4_000;
/// Formulas of one text; what follows them stays text.
const MOST_FORMULAS: usize = 400;

/// Commands that define others: what they may expand to has no bound that is worth the time.
const DEFINING: [&str; 11] = [
    "\\def",
    "\\edef",
    "\\gdef",
    "\\xdef",
    "\\let",
    "\\futurelet",
    "\\newcommand",
    "\\renewcommand",
    "\\providecommand",
    "\\newenvironment",
    "\\DeclareMathOperator",
];

/// Environments that are mathematics without any delimiter around them.
const ENVIRONMENTS: [&str; 12] = [
    "equation",
    "equation*",
    "align",
    "align*",
    "aligned",
    "gather",
    "gather*",
    "multline",
    "multline*",
    "cases",
    "pmatrix",
    "bmatrix",
];

/// Untrusted text with its formulas rendered.
pub(super) fn set(words: &str) -> Html {
    parts(words, true)
}

/// A part of a text.
pub(super) enum Piece<'a> {
    /// Words around formulas.
    Words(&'a str),
    /// A formula that was set, or as it was written where it cannot be.
    Formula(Html),
}

/// A text taken apart at its formulas.
pub(super) fn pieces(words: &str) -> Vec<Piece<'_>> {
    pieces_with(words, true)
}

fn pieces_with(words: &str, has_blocks: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut count) = (words, 0);
    while let Some(found) = next(rest).filter(|_| count < MOST_FORMULAS) {
        let (before, behind) = rest.split_at(found.start);
        let (whole, after) = behind.split_at(found.length);
        count += 1;
        pieces.push(Piece::Words(before));
        let set = formula(found.latex, found.is_block && has_blocks);
        pieces.push(Piece::Formula(set.unwrap_or_else(|| text(whole))));
        rest = after;
    }
    pieces.push(Piece::Words(rest));
    pieces
}

fn parts(words: &str, has_blocks: bool) -> Html {
    let set = |piece| match piece {
        Piece::Words(words) => text(words),
        Piece::Formula(formula) => formula,
    };
    pieces_with(words, has_blocks).into_iter().map(set).collect()
}

/// The beginning of a text on a line.
pub(super) fn set_beginning(words: &str, length: usize) -> Html {
    match beginning(words, length) {
        whole if whole.len() == words.len() => inline(words),
        part => join([inline(part.trim_end()), text(" …")]),
    }
}

/// At most this number of characters, without splitting a formula.
pub(super) fn beginning(words: &str, length: usize) -> &str {
    let end = words.char_indices().nth(length).map_or(words.len(), |(end, _)| end);
    let mut at = 0;
    while let Some(found) = next(&words[at..]).filter(|found| at + found.start < end) {
        if at + found.start + found.length > end {
            return &words[..at + found.start];
        }
        at += found.start + found.length;
    }
    &words[..end]
}

/// Untrusted text with its formulas rendered inline.
fn inline(words: &str) -> Html {
    parts(words, false)
}

/// A short answer, which is often one formula without delimiters.
pub(super) fn set_answer(words: &str) -> Html {
    let is_bare = words.contains(['\\', '^', '_']) && !words.contains(['$', '\n']);
    let bare = if is_bare && next(words).is_none() { formula(words, false) } else { None };
    bare.unwrap_or_else(|| set(words))
}

/// A formula in a text.
#[derive(Debug, PartialEq)]
struct Formula<'a> {
    /// Where its delimiter begins.
    start: usize,
    /// Bytes with both delimiters.
    length: usize,
    /// What stands between them.
    latex: &'a str,
    /// Whether it stands on a line of its own.
    is_block: bool,
}

/// The first formula.
fn next(words: &str) -> Option<Formula<'_>> {
    let mut at = 0;
    while let Some(offset) = words[at..].find(['\\', '$', '`']) {
        let start = at + offset;
        let rest = &words[start..];
        // In code, dollars and backslashes are what they are.
        if let Some(code) = rest.strip_prefix("```") {
            at = code.find("```").map(|end| start + 3 + end + 3)?;
            continue;
        }
        if rest.starts_with("\\$") || rest.starts_with("\\\\") {
            at = start + 2;
            continue;
        }
        if let Some((length, latex, is_block)) = at_start(rest) {
            return Some(Formula { start, length, latex, is_block });
        }
        // A pair of dollars that opens nothing is no two single ones.
        at = start + if rest.starts_with("$$") { 2 } else { 1 };
    }
    None
}

/// The formula at the start: its length, what is between its delimiters, and whether it is a block.
fn at_start(rest: &str) -> Option<(usize, &str, bool)> {
    for (open, close, is_block) in [("$$", "$$", true), ("\\[", "\\]", true), ("\\(", "\\)", false)] {
        if let Some(inner) = rest.strip_prefix(open) {
            let end = within(inner).find(close)?;
            let latex = Some(&inner[..end]).filter(|latex| !latex.trim().is_empty())?;
            return Some((open.len() + end + close.len(), latex, is_block));
        }
    }
    if let Some(inner) = rest.strip_prefix('$') {
        return dollars(inner);
    }
    if let Some(inner) = rest.strip_prefix("\\begin{") {
        let (name, _) = inner.split_once('}')?;
        ENVIRONMENTS.contains(&name).then_some(())?;
        let close = format!("\\end{{{name}}}");
        let end = within(rest).find(&close)? + close.len();
        return Some((end, &rest[..end], true));
    }
    rest.starts_with("\\boxed{").then_some(())?;
    let end = "\\boxed".len() + braces(&rest["\\boxed".len()..])?;
    Some((end, &rest[..end], false))
}

/// Single dollars mean money as often as mathematics: what they enclose begins and ends with a symbol, and no figure follows.
fn dollars(inner: &str) -> Option<(usize, &str, bool)> {
    let window = within(inner);
    let mut end = 0;
    loop {
        end += window[end..].find('$')?;
        if !window[..end].ends_with('\\') {
            break;
        }
        end += 1;
    }
    let latex = &inner[..end];
    let is_closed = !inner[end + 1..].starts_with(|c: char| c.is_ascii_digit());
    let is_tight = !latex.is_empty() && latex.trim() == latex;
    (is_closed && is_tight && !latex.contains("\n\n")).then_some((1 + end + 1, latex, false))
}

/// Where a formula at the start of this must have ended.
fn within(words: &str) -> &str {
    let mut end = words.len().min(LONGEST);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    &words[..end]
}

/// The length of a group in braces.
fn braces(words: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut is_escaped = false;
    for (at, c) in within(words).char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 && !is_escaped {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// A formula as MathML, if the engine can set all of it.
fn formula(latex: &str, is_block: bool) -> Option<Html> {
    if latex.len() > LONGEST || DEFINING.iter().any(|command| latex.contains(command)) {
        return None;
    }
    // The box is drawn by the page's style; the engine does not know the command.
    let is_boxed = latex.trim_start().starts_with("\\boxed");
    let plain = latex.replace("\\boxed", "");
    let markup = catch_panic(|| markup(&plain, is_block)).ok()??;
    let set = mathml::sanitized(&markup)?;
    Some(if is_boxed { classed("span", "boxed", set) } else { set })
}

/// What the engine writes; none where it does not understand all of it.
fn markup(latex: &str, is_block: bool) -> Option<String> {
    let storage = Storage::new();
    let mut events: Vec<Event<'_>> = Vec::new();
    for event in Parser::new(latex, &storage) {
        events.push(event.ok().filter(|_| events.len() < MOST_EVENTS)?);
    }
    let display_mode = if is_block { DisplayMode::Block } else { DisplayMode::Inline };
    let mut markup = String::new();
    let events = events.into_iter().map(Ok::<_, std::fmt::Error>);
    push_mathml(&mut markup, events, RenderConfig { display_mode, ..RenderConfig::default() }).ok()?;
    Some(markup)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &str) -> Vec<&str> {
        let (mut rest, mut all) = (words, Vec::new());
        while let Some(found) = next(rest) {
            all.push(found.latex);
            rest = &rest[found.start + found.length..];
        }
        all
    }

    #[test]
    fn formulas_stand_between_their_delimiters() {
        for (words, expected) in [
            ("no mathematics", vec![]),
            ("so \\(x^2\\) and \\[y\\]", vec!["x^2", "y"]),
            ("$x$, $$y + 1$$ and $\\frac{1}{2}$.", vec!["x", "y + 1", "\\frac{1}{2}"]),
            ("\\boxed{\\frac{1}{2}} it is", vec!["\\boxed{\\frac{1}{2}}"]),
            ("\\boxed{\\}}", vec!["\\boxed{\\}}"]),
            ("\\begin{align*}x &= 1\\end{align*}", vec!["\\begin{align*}x &= 1\\end{align*}"]),
            ("it costs $5 and $10", vec![]),
            ("$5/$10", vec![]),
            ("\\$5 and \\$6", vec![]),
            ("$a\\$b$", vec!["a\\$b"]),
            ("$$ $$", vec![]),
            ("$x\n\ny$", vec![]),
            ("```$x$``` then $y$", vec!["y"]),
            ("``` $x$ without an end", vec![]),
            ("\\(never closed $x$", vec!["x"]),
            ("\\begin{document}$x$\\end{document}", vec!["x"]),
            ("\\boxed{never closed", vec![]),
            ("a \\\\(b\\\\) c", vec![]),
        ] {
            assert_eq!(found(words), expected, "{words}");
        }
    }

    #[test]
    fn formulas_become_mathml_and_what_is_none_stays() {
        let shown = |words: &str| set(words).into_string();
        assert!(shown("so $x^2$!").starts_with("so <math><msup><mi>x</mi><mn>2</mn></msup></math>!"));
        assert!(shown("\\[\\frac{1}{2}\\]").contains("<mfrac>"), "{}", shown("\\[\\frac{1}{2}\\]"));
        assert_eq!((beginning("ab \\(never", 2), beginning("ab $x^2$", 5)), ("ab", "ab "));
        let beginning = |length: usize| set_beginning("a $x^2$ b \\[y\\] c", length).into_string();
        assert!(beginning(5) == "a …" && beginning(8).ends_with("</math> …"), "{}", beginning(8));
        assert!(beginning(99).ends_with(" c") && !beginning(99).contains("block"));
        assert!(shown("\\boxed{7}").starts_with("<span class=\"boxed\"><math"));
        assert_eq!(shown("$\\unknowncommand{x}$ &"), "$\\unknowncommand{x}$ &amp;");
        assert_eq!(shown("$\\def\\a{x}\\a$"), "$\\def\\a{x}\\a$");
        assert_eq!(shown("<b>$5 and $6</b>"), "&lt;b&gt;$5 and $6&lt;/b&gt;");
        assert!(set_answer("\\frac{3}{4}").into_string().contains("<mfrac>"));
        assert_eq!(set_answer("3/4").into_string(), "3/4");
        assert_eq!(set_answer("snake_case\\q").into_string(), "snake_case\\q");
    }

    /// Hostile text between delimiters: it produces no markup, does not end the process and does not take long.
    #[test]
    fn hostile_formulas_are_text_or_mathml() {
        let deep = |open: &str, close: &str, count: usize| format!("${}x{}$", open.repeat(count), close.repeat(count));
        for hostile in [
            "$</math><script>x()</script>$".to_owned(),
            "$\\text{</mtext><img src=x onerror=\"y()\">}$".to_owned(),
            "\\(\\href{javascript:x()}{y}\\)".to_owned(),
            "$\\color{red\" onclick=\"x()}y$".to_owned(),
            "$\\textcolor{#ff0000}{y}$".to_owned(),
            "$\u{202e}x\u{0}\u{1b}$".to_owned(),
            "$\\hspace{99999999em}$".to_owned(),
            deep("{", "}", 900),
            deep("\\sqrt{", "}", 280),
            deep("\\sqrt", "", 390),
            deep("x^{", "}", 450),
            deep("\\left(", "\\right)", 140),
            deep("\\frac{1}{", "}", 190),
            deep("\\begin{pmatrix}", "\\end{pmatrix}", 60),
            format!("${}$", "^".repeat(1900)),
            format!("${}$", "x'".repeat(900)),
            format!("${}$", "\\not".repeat(450)),
            format!("${}$", "\\over".repeat(300)),
            format!("${}$", "\\\\&".repeat(600)),
            format!("$\\begin{{array}}{{{}}}x\\end{{array}}$", "c|".repeat(900)),
            "\\(".repeat(5000),
            "$x".repeat(5000),
            "\\boxed{".repeat(2000),
        ] {
            let shown = set(&hostile).into_string();
            for absent in ["<script", "<img", "href=\"", "onclick=\"", "style=", "\u{202e}", "\0"] {
                assert!(!shown.contains(absent), "{absent} of {hostile} is in {shown}");
            }
            assert_eq!(shown.matches('<').count(), shown.matches('>').count());
        }
    }
}
