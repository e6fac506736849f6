//! Splits the inside of a template's tag into tokens, as Jinja2's lexer does. Their meaning is left to `rewrite`.

/// A token, ready to be written again.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// A text, with its escapes resolved.
    Text(String),
    /// A number in a spelling that every engine reads.
    Number(String),
    Operator(&'static str),
}

/// The tokens inside a tag, and its end.
pub(super) struct TagContents {
    pub(super) tokens: Vec<Token>,
    /// Where the end begins, with its sign.
    pub(super) end: usize,
    /// The end itself: `%}`, `-}}` …
    pub(super) close: &'static str,
}

const OPERATORS: [&str; 26] = [
    "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}", "<", ">", "|", ",",
    ".", ":", "=", ";",
];

/// The tokens from byte `start` to the end of the tag.
///
/// # Errors
/// An invalid token, or an unclosed tag.
pub(super) fn inside(source: &str, start: usize, closes: &[&'static str]) -> Result<TagContents, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        let rest = &source[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else { return Err("a tag has no end".to_owned()) };
        if depth == 0
            && let Some(close) = closes.iter().find(|close| trimmed.starts_with(**close))
        {
            return Ok(TagContents { tokens, end: at, close });
        }
        let is_after_point = tokens.last() == Some(&Token::Operator("."));
        let length = if first.is_ascii_digit() {
            let (token, length) = number(trimmed, is_after_point)?;
            tokens.push(token);
            length
        } else if first == '_' || first.is_alphabetic() {
            let end = trimmed.find(|letter: char| letter != '_' && !letter.is_alphanumeric()).unwrap_or(trimmed.len());
            tokens.push(Token::Name(trimmed[..end].to_owned()));
            end
        } else if matches!(first, '\'' | '"') {
            let length = text_length(trimmed, first).ok_or("a text has no end")?;
            tokens.push(Token::Text(unescaped(&trimmed[1..length - 1])?));
            length
        } else {
            let operator = OPERATORS.iter().find(|operator| trimmed.starts_with(**operator));
            let operator = operator.ok_or_else(|| format!("unexpected {first:?}"))?;
            match *operator {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.checked_sub(1).ok_or_else(|| format!("unexpected `{operator}`"))?,
                _ => {}
            }
            tokens.push(Token::Operator(operator));
            operator.len()
        };
        at += length;
    }
}

/// As in Python.
const LONGEST_NUMBER: usize = 4300;

fn number(text: &str, is_after_point: bool) -> Result<(Token, usize), String> {
    let digits_from = |from: usize, is_digit: &dyn Fn(char) -> bool| {
        let wanted = |letter: char| letter == '_' || is_digit(letter);
        text[from..].find(|letter| !wanted(letter)).map_or(text.len(), |length| from + length)
    };
    let base = match text.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => 10,
    };
    if base != 10 {
        let end = digits_from(2, &|letter| letter.is_digit(base));
        let number = u128::from_str_radix(&text[2..end].replace('_', ""), base);
        return number
            .map(|number| (Token::Number(number.to_string()), end))
            .map_err(|_| "a number is too large".to_owned());
    }
    let decimal = |letter: char| letter.is_ascii_digit();
    let mut end = digits_from(0, &decimal);
    if !is_after_point {
        let has_digit = |at: usize| text[at..].starts_with(decimal);
        if text[end..].starts_with('.') && has_digit(end + 1) {
            end = digits_from(end + 1, &decimal);
        }
        if text[end..].starts_with(['e', 'E']) {
            let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
            if has_digit(end + 1 + sign) {
                end = digits_from(end + 1 + sign, &decimal);
            }
        }
    }
    if text[end..].starts_with(|letter: char| letter.is_alphanumeric()) {
        return Err(format!("unexpected {:?}", &text[..=end]));
    }
    if end > LONGEST_NUMBER {
        return Err(format!("a number has more than {LONGEST_NUMBER} digits"));
    }
    Ok((Token::Number(text[..end].replace('_', "")), end))
}

fn text_length(text: &str, mark: char) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next()?;
        } else if letter == mark {
            return Some(at + 1);
        }
    }
    None
}

/// Python's escapes.
fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let Some(letter) = after.chars().next() else { break };
        let mut length = letter.len_utf8();
        let mut code = |count: usize, base: u32, from: usize| {
            let end = after[from..].find(|letter: char| !letter.is_digit(base)).map_or(after.len(), |end| from + end);
            let end = end.min(from + count);
            length = end;
            u32::from_str_radix(&after[from..end], base).ok().filter(|_| base == 8 || end == from + count)
        };
        let number = match letter {
            'x' => Some(code(2, 16, 1)),
            'u' => Some(code(4, 16, 1)),
            'U' => Some(code(8, 16, 1)),
            '0'..='7' => Some(code(3, 8, 0)),
            _ => None,
        };
        match (number, letter) {
            (Some(number), _) => plain.push(number.and_then(char::from_u32).ok_or("an escape in a text is no letter")?),
            (None, '\n') => {}
            (None, 'a') => plain.push('\u{7}'),
            (None, 'b') => plain.push('\u{8}'),
            (None, 'f') => plain.push('\u{c}'),
            (None, 'n') => plain.push('\n'),
            (None, 'r') => plain.push('\r'),
            (None, 't') => plain.push('\t'),
            (None, 'v') => plain.push('\u{b}'),
            (None, 'N') => return Err("an escape by a letter's name is not known here".to_owned()),
            (None, '\\' | '\'' | '"') => plain.push(letter),
            (None, other) => plain.extend(['\\', other]),
        }
        rest = &after[length..];
    }
    plain.push_str(rest);
    Ok(plain)
}

/// A string in a form that every engine reads.
pub(super) fn written(text: &str) -> String {
    let mut written = String::from("\"");
    for letter in text.chars() {
        match letter {
            '\\' => written.push_str("\\\\"),
            '"' => written.push_str("\\\""),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            letter => written.push(letter),
        }
    }
    written.push('"');
    written
}

/// True for a token that is the operator.
pub(super) fn is_operator(token: Option<&Token>, operator: &str) -> bool {
    matches!(token, Some(Token::Operator(other)) if *other == operator)
}
