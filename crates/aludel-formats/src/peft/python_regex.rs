//! Regular expressions of PEFT's settings, which PEFT hands to Python's `re`. What both engines read alike is compiled; what
//! Python reads otherwise, or not at all, is refused by name. What is matched with them is left to `rules`.

use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};

/// Steps of backtracking for one path; an ordinary pattern takes some dozens.
const MOST_STEPS: usize = 100_000;

/// Compiles `whole`, which holds a user's `pattern` where PEFT puts it.
///
/// # Errors
/// What is wrong with the pattern.
pub(super) fn compile(pattern: &str, whole: &str) -> Result<Regex, String> {
    check(pattern)?;
    let compiled = RegexBuilder::new(whole).backtrack_limit(MOST_STEPS).build();
    compiled.map_err(|error| format!("it is no regular expression ({error})"))
}

/// Refuses what Python's `re` does not read as the engine here does.
fn check(pattern: &str) -> Result<(), String> {
    let mut chars = pattern.chars();
    // Python repeats no anchor, no repetition and not nothing; the engine here does.
    let mut can_repeat = false;
    while let Some(char) = chars.next() {
        can_repeat = match char {
            '\\' => escape(&mut chars)?,
            '[' => class(&mut chars)?,
            '(' => group(&mut chars)?,
            '|' | '^' | '$' => false,
            '*' | '+' | '?' | '{' if !can_repeat => return Err(format!("its `{char}` repeats nothing")),
            '*' | '+' | '?' | '{' => {
                if char == '{' {
                    count(&mut chars)?;
                }
                if chars.as_str().starts_with('?') {
                    chars.next();
                }
                false
            }
            _ => true,
        };
    }
    Ok(())
}

/// What follows a backslash outside of a class; whether it can be repeated.
fn escape(chars: &mut Chars<'_>) -> Result<bool, String> {
    match chars.next() {
        Some('b' | 'B' | 'A' | 'Z') => Ok(false),
        Some(char) if is_same_escape(char) => Ok(true),
        Some('0'..='9') => Err("it has a backreference, which is not supported".to_owned()),
        Some(char) => Err(format!("its `\\{char}` is not supported")),
        None => Err("it ends in a backslash".to_owned()),
    }
}

/// Escapes that mean the same inside of a class and outside: kinds of characters, and marks that mean themselves.
fn is_same_escape(char: char) -> bool {
    "dDwWsS".contains(char) || (char.is_ascii_punctuation() && !matches!(char, '<' | '>'))
}

/// `[…]`, after its bracket.
fn class(chars: &mut Chars<'_>) -> Result<bool, String> {
    if chars.as_str().starts_with('^') {
        chars.next();
    }
    if chars.as_str().starts_with(']') {
        return Err("its class begins with `]`: escape it".to_owned());
    }
    while let Some(char) = chars.next() {
        match char {
            ']' => return Ok(true),
            '[' => return Err("its class holds `[`: escape it".to_owned()),
            '&' | '-' | '~' | '|' if chars.as_str().starts_with(char) => {
                return Err(format!("its class holds `{char}{char}`: escape it"));
            }
            '\\' => match chars.next() {
                Some(char) if is_same_escape(char) => {}
                Some(char) => return Err(format!("its `\\{char}` in a class is not supported")),
                None => return Err("it ends in a backslash".to_owned()),
            },
            _ => {}
        }
    }
    Err("its class has no end".to_owned())
}

/// What makes a group special, after its parenthesis.
fn group(chars: &mut Chars<'_>) -> Result<bool, String> {
    let rest = chars.as_str();
    if !rest.starts_with('?') {
        return Ok(false);
    }
    let known = ["?:", "?=", "?!", "?<=", "?<!", "?P<"];
    let Some(opening) = known.into_iter().find(|opening| rest.starts_with(opening)) else {
        let shown: String = rest.chars().take(3).collect();
        return Err(format!("its `({shown}` is not supported"));
    };
    let name = if opening == "?P<" { rest.find('>').unwrap_or(rest.len() - 1) + 1 } else { opening.len() };
    *chars = rest.get(name..).unwrap_or("").chars();
    Ok(false)
}

/// `{2}`, `{2,}` or `{2,3}`, after its brace. Python takes others as text.
fn count(chars: &mut Chars<'_>) -> Result<(), String> {
    let rest = chars.as_str();
    let (counts, after) = rest.split_once('}').unwrap_or(("", ""));
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    let is_number = |text: &str| text.chars().all(|char| char.is_ascii_digit());
    if least.is_empty() || !is_number(least) || !is_number(most) {
        return Err("its `{` begins no count such as {2}: escape it".to_owned());
    }
    *chars = after.chars();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts of Python 3.12's `re.compile` on each, or "other" where it reads the pattern in another sense than the engine here.
    #[test]
    fn what_python_reads_otherwise_is_refused() {
        for pattern in [
            r"q_proj",
            r".*\.layers\.3\..*(q_proj|k_proj)$",
            r"(?!.*embed)(?:q|k)_proj",
            r"model\.layers\.(?P<n>\d{1,2})\.self_attn\.[qk]_proj",
            r"[^\W\d]+?_pro{1}j\b",
            r"(?<=x)y(?<!z)|",
            "q_proj)|(v_proj",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
        for (pattern, said) in [
            (r"(?i)q_proj", "(?i)"),
            (r"(?<n>q)_proj", "(?<n"),
            (r"(?P=n)_proj", "(?P="),
            (r"(q)\1", "backreference"),
            (r"\<q", r"\<"),
            (r"\hq", r"\h"),
            (r"\p{L}", r"\p"),
            (r"[[:alpha:]]q", "`[`"),
            (r"[a-z&&b]", "`&&`"),
            (r"[]a]", "begins with"),
            (r"[abc", "no end"),
            (r"*.q_proj", "repeats nothing"),
            (r"q**", "repeats nothing"),
            (r"q_proj*+", "repeats nothing"),
            (r"^*q", "repeats nothing"),
            (r"a{,3}", "no count"),
            (r"a{x}", "no count"),
            ("q\\", "backslash"),
        ] {
            let reason = check(pattern).unwrap_err();
            assert!(reason.contains(said), "{pattern}: {reason}");
        }
    }

    #[test]
    fn broken_and_bottomless_patterns_end_in_words() {
        assert!(compile("(q", "(q").unwrap_err().contains("no regular expression"));
        let slow = compile("(?:(?=a)a|(?=a)a)+x", r"\A(?:(?:(?=a)a|(?=a)a)+x)\z").unwrap();
        assert!(slow.is_match(&"a".repeat(64)).is_err());
    }
}
