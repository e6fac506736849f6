//! Renders the Markdown of models' answers: paragraphs, lists, emphasis, headings, quotes and code, with the formulas in them. No text can
//! become a link, an image or a tag, and no word or mathematical sign is lost. `formulas` finds the formulas.

use super::formulas::{self, Piece};
use super::grouped;
use super::html::{Html, classed, element, join, literal, text};
use aludel_text::catch_panic::catch_panic;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// Maximum nesting of elements; deeper ones are put into the deepest.
const DEEPEST: usize = 16;
/// Signs that are only themselves here: of links, images and references; of tags and addresses; of entities; of escapes, which LaTeX has
/// other uses for; and of a list that is more often a sum.
const PLAIN: [char; 6] = ['[', ']', '<', '&', '\\', '+'];

/// Text of a model, cut at a number of characters, with how many more there are.
pub(super) fn set_shortened(words: &str, length: usize) -> Html {
    let beginning = formulas::beginning(words, length);
    match words[beginning.len()..].chars().count() {
        0 => set(words),
        more => {
            let more = format!("… ({} more characters)", grouped(more as u64));
            join([set(beginning.trim_end()), classed("p", "more", text(&more))])
        }
    }
}

fn set(words: &str) -> Html {
    let placeholders = Placeholders::unused_in(words);
    catch_panic(|| rendered(words, &placeholders)).unwrap_or_else(|_| formulas::set(words))
}

/// Characters that Markdown gives no meaning, in place of plain signs and of formulas while it is read.
struct Placeholders {
    of_plain: [char; PLAIN.len()],
    of_formula: char,
    /// Of a minus at the beginning of a line, which is no bullet.
    of_minus: char,
}

impl Placeholders {
    /// Private characters that the text does not have. It is shorter than there are of them.
    fn unused_in(words: &str) -> Placeholders {
        let mut unused = ('\u{e000}'..='\u{f8ff}').filter(|&c| !words.contains(c));
        let mut next = || unused.next().unwrap_or('\u{fffd}');
        Placeholders { of_plain: PLAIN.map(|_| next()), of_formula: next(), of_minus: next() }
    }

    fn of(&self, c: char) -> char {
        PLAIN.iter().position(|&plain| plain == c).map_or(c, |at| self.of_plain[at])
    }

    fn back(&self, c: char) -> char {
        if c == self.of_minus {
            return '-';
        }
        self.of_plain.iter().position(|&placeholder| placeholder == c).map_or(c, |at| PLAIN[at])
    }
}

/// An element that is open.
struct OpenElement {
    /// None for what has no element of its own.
    name: Option<&'static str>,
    class: Option<&'static str>,
    /// The number of a list's first item.
    start: Option<String>,
    /// What stands around it where it is no emphasis.
    delimiter: String,
    children: Vec<Html>,
}

impl OpenElement {
    fn new(name: &'static str) -> OpenElement {
        OpenElement { name: Some(name), class: None, start: None, delimiter: String::new(), children: Vec::new() }
    }

    fn close(mut self) -> Html {
        let attributes = [("class", self.class), ("start", self.start.as_deref())];
        let attributes: Vec<_> = attributes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        self.children.push(text(&self.delimiter));
        let content = self.children.into_iter().collect();
        match self.name {
            Some(name) => element(name, &attributes, content),
            None => content,
        }
    }
}

/// With a stand-in for the minus of each line that goes on with the sum of the line before: a bullet has words before it, or nothing.
fn with_minuses_kept(source: &str, placeholders: &Placeholders) -> String {
    let is_in_sum = |c: char| c == placeholders.of_formula || c.is_ascii_digit();
    let is_sum = |line: &str| {
        let is_sign = |c: char| is_in_sum(c) || c.is_whitespace() || ".,*/^()=%×·÷$−-".contains(placeholders.back(c));
        line.contains(is_in_sum) && line.chars().all(|c| is_sign(c) || placeholders.back(c) == '+')
    };
    let mut kept = String::with_capacity(source.len());
    let mut goes_on = false;
    for line in source.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let behind = line[indent..].strip_prefix('-');
        let is_minus = behind.is_some_and(|behind| behind.trim_start_matches(' ').starts_with(is_in_sum));
        match behind.filter(|_| is_minus && goes_on) {
            Some(behind) => {
                kept.push_str(&line[..indent]);
                kept.push(placeholders.of_minus);
                kept.push_str(behind);
            }
            None => {
                kept.push_str(line);
                // The first item of a list is no sum that a second one could continue.
                goes_on = is_sum(line) && !is_minus;
            }
        }
    }
    kept
}

fn rendered(words: &str, placeholders: &Placeholders) -> Html {
    let (mut source, mut formulas) = (String::with_capacity(words.len() + 16), Vec::new());
    for piece in formulas::pieces(words) {
        match piece {
            Piece::Words(words) => source.extend(words.chars().map(|c| placeholders.of(c))),
            Piece::Formula(formula) => {
                source.push(placeholders.of_formula);
                formulas.push(formula);
            }
        }
    }
    let source = with_minuses_kept(&source, placeholders);
    let mut formulas = formulas.into_iter();
    let mut said = |words: &str| -> Html {
        let mut parts = Vec::new();
        let mut plain = String::new();
        for c in words.chars() {
            match c == placeholders.of_formula {
                true => {
                    parts.push(text(&std::mem::take(&mut plain)));
                    parts.extend(formulas.next());
                }
                false => plain.push(placeholders.back(c)),
            }
        }
        parts.push(text(&plain));
        parts.into_iter().collect()
    };
    let mut open = vec![OpenElement { name: None, ..OpenElement::new("div") }];
    for (event, range) in Parser::new_ext(&source, Options::empty()).into_offset_iter() {
        let content = match event {
            Event::Start(tag) => {
                let mut started = started(&tag, &source, range);
                if open.len() >= DEEPEST {
                    started.name = None;
                }
                started.children.push(text(&started.delimiter));
                if let Tag::CodeBlock(CodeBlockKind::Fenced(kind)) = &tag {
                    // Mostly the name of a language; of a fence that never closes, all that follows it.
                    started.children.extend((!kind.is_empty()).then(|| said(&format!("{kind}\n"))));
                }
                open.push(started);
                continue;
            }
            Event::End(_) if open.len() > 1 => open.pop().map(OpenElement::close).unwrap_or_default(),
            Event::Code(words) => element("code", &[], said(&words)),
            Event::SoftBreak | Event::HardBreak => text("\n"),
            Event::Rule => literal("<hr>"),
            Event::Text(words) | Event::Html(words) | Event::InlineHtml(words) => said(&words),
            _ => said(&source[range]),
        };
        if let Some(parent) = open.last_mut() {
            parent.children.push(content);
        }
    }
    let mut html = Html::default();
    while let Some(last) = open.pop() {
        let closed = last.close();
        match open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => html = closed,
        }
    }
    html
}

/// The element of a tag. Emphasis is only what stands between words: in 2*3*4 and 2**3 it is mathematics.
fn started(tag: &Tag<'_>, source: &str, range: std::ops::Range<usize>) -> OpenElement {
    let between_words = || {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !is_word(source[..range.start].chars().next_back()) && !is_word(source[range.end..].chars().next())
    };
    let literally = |length: usize| {
        let delimiter = source.get(range.start..range.start + length).unwrap_or_default().to_owned();
        OpenElement { name: None, delimiter, ..OpenElement::new("span") }
    };
    match tag {
        Tag::Paragraph => OpenElement::new("p"),
        // The page has headings of its own.
        Tag::Heading { .. } => OpenElement { class: Some("heading"), ..OpenElement::new("p") },
        Tag::BlockQuote(_) => OpenElement::new("blockquote"),
        Tag::CodeBlock(_) => OpenElement::new("pre"),
        Tag::List(Some(start)) => OpenElement { start: Some(start.to_string()), ..OpenElement::new("ol") },
        Tag::List(None) => OpenElement::new("ul"),
        Tag::Item => OpenElement::new("li"),
        Tag::Emphasis if between_words() => OpenElement::new("em"),
        Tag::Emphasis => literally(1),
        Tag::Strong if between_words() => OpenElement::new("strong"),
        Tag::Strong => literally(2),
        _ => OpenElement { name: None, ..OpenElement::new("span") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &str) -> String {
        set(words).into_string()
    }

    #[test]
    fn what_models_write_is_set() {
        for (given, expected) in [
            ("one\n\ntwo\nthree", "<p>one</p><p>two\nthree</p>"),
            ("**So:** the *sum*", "<p><strong>So:</strong> the <em>sum</em></p>"),
            ("## Step 1\nadd", "<p class=\"heading\">Step 1</p><p>add</p>"),
            ("3. a\n4. b", "<ol start=\"3\"><li>a</li><li>b</li></ol>"),
            ("- a\n  - `b < c`\n- d", "<ul><li>a<ul><li><code>b &lt; c</code></li></ul></li><li>d</li></ul>"),
            ("```python\nx[0] = \"<b>\"\n```", "<pre>python\nx[0] = &quot;&lt;b&gt;&quot;\n</pre>"),
            ("> so", "<blockquote><p>so</p></blockquote>"),
            ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ] {
            assert_eq!(shown(given), expected, "{given}");
        }
    }

    #[test]
    fn signs_of_mathematics_stay() {
        for (given, expected) in [
            ("2*3*4 = 24", "<p>2*3*4 = 24</p>"),
            ("2**3**2", "<p>2**3**2</p>"),
            ("12\n+ 5", "<p>12\n+ 5</p>"),
            ("12\n- 5\n- 3", "<p>12\n- 5\n- 3</p>"),
            ("12 + 3 =\n  - 5.5\nso", "<p>12 + 3 =\n- 5.5\nso</p>"),
            ("- 12\n- 5", "<ul><li>12</li><li>5</li></ul>"),
            ("The roots:\n- 12\n- 5", "<p>The roots:</p><ul><li>12</li><li>5</li></ul>"),
            ("12\n- a", "<p>12</p><ul><li>a</li></ul>"),
            ("12\n\n- 5", "<p>12</p><ul><li>5</li></ul>"),
            ("a_b_c \\{x\\} \\% \\\\", "<p>a_b_c \\{x\\} \\% \\\\</p>"),
            ("5 < 6 &lt; 7 & 8", "<p>5 &lt; 6 &amp;lt; 7 &amp; 8</p>"),
            ("f[0](x)", "<p>f[0](x)</p>"),
            ("```The answer is 5", "<pre>The answer is 5\n</pre>"),
        ] {
            assert_eq!(shown(given), expected, "{given}");
        }
        let formula = "<math><msup><mi>x</mi><mn>2</mn></msup></math>";
        assert_eq!(
            shown("**$x^2$** is\n- \\(x^2\\)"),
            format!("<p><strong>{formula}</strong> is</p><ul><li>{formula}</li></ul>")
        );
        assert_eq!(shown("$\\unknowncommand{_a_}$"), "<p>$\\unknowncommand{_a_}$</p>");
        let private = "p\u{e000} [a] \u{e001} $x^2$ \u{e006}";
        assert_eq!(shown(private), format!("<p>p\u{e000} [a] \u{e001} {formula} \u{e006}</p>"));
    }

    #[test]
    fn shortened_texts_say_how_much_more_there_is() {
        let page = set_shortened("**ab** cdefg", 7).into_string();
        assert_eq!(page, "<p><strong>ab</strong></p><p class=\"more\">… (5 more characters)</p>");
        assert_eq!(set_shortened("ab", 7).into_string(), "<p>ab</p>");
    }

    /// Hostile text: it produces no tag, address or attribute, none of it is lost, and it is rendered in time.
    #[test]
    fn untrusted_text_is_no_markup() {
        for hostile in [
            "[click](javascript:x()) ![i](http://a/b.png) <http://a/b> https://a/b".to_owned(),
            "[a]: http://a/b \"title\"\n\n[a] [^1]\n\n[^1]: note".to_owned(),
            "<script>x()</script>\n\n<img src=x onerror=y()>\n<!-- c -->\n<a href=\"b\">c</a>".to_owned(),
            "&lt;script&gt; &#60;b&#62; \u{202e}live\u{0}".to_owned(),
            "``` \"><script>\nx".to_owned(),
            "|a|b|\n|-|-|\n|<b>|c|".to_owned(),
            "99999999999999. a\n0. b".to_owned(),
            "> ".repeat(2_000) + "deep",
            "- ".repeat(2_000) + "deep",
            "*a **b ".repeat(1_000),
            "**".repeat(3_000),
            "`".repeat(5_000) + "a",
            "[".repeat(5_000),
            "* _ ".repeat(2_000),
        ] {
            let page = shown(&hostile);
            for absent in
                ["<script", "<img", "<a ", "<a>", "<table", "href=\"", "src=\"", "onerror=\"", "<!--", "\u{202e}", "\0"]
            {
                assert!(!page.contains(absent), "{absent} of {hostile} is in {page}");
            }
            let letters = |text: &str| text.chars().filter(|c| c.is_ascii_alphabetic()).collect::<String>();
            let mut words = String::new();
            let mut rest = page.as_str();
            while let Some((before, behind)) = rest.split_once('<') {
                words.push_str(before);
                rest = behind.split_once('>').unwrap().1;
            }
            words.push_str(rest);
            let words = words.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            let words = words.replace("&amp;", "&").replace("\\u{202e}", "").replace("\\u{0}", "");
            assert_eq!(letters(&words), letters(&hostile), "{page}");
            assert!(page.len() < 60 * hostile.len(), "{} bytes", page.len());
        }
    }
}
