//! Regular expressions of PEFT's settings, which PEFT passes to Python's `re`. What both engines read alike is
//! compiled; what Python reads differently, or not at all, is refused by name. `rules` does the matching.

use std::cell::Cell;
use std::str::Chars;

use aludel_files::expression::{ExpressionCounter, ExpressionLimits};
use fancy_regex::{Error, Regex, RegexBuilder, RuntimeError};

/// Steps of backtracking for one path; an ordinary pattern takes some dozens.
const MOST_STEPS: usize = 100_000;
/// Steps of the first attempt, so that ordinary patterns use little of the total.
const FIRST_STEPS: usize = 1_000;
/// Steps of all patterns for all paths of a model together: a second or two. Some dozen patterns that look around them take less on the largest
/// models.
const ALL_STEPS: usize = 20_000_000;
/// Bound on all patterns of one config together, without those that are plain names: enough for a list of about a thousand complete paths
/// in one pattern, or about a hundred patterns. A part takes up to 360 bytes, an expression by itself 20 KB and a class of Unicode 90 KB,
/// so the bound is about 95 MB of memory.
const ALLOWANCE: ExpressionLimits = ExpressionLimits { longest: 64 << 10, parts: 256 << 10, each: 128, class: 256 };

/// The patterns of one config, compiled one after the other.
pub(super) struct Compiler(ExpressionCounter);

/// A pattern for the paths of modules.
pub(super) enum Pattern {
    /// A plain name. Most patterns are names, one for each module, and need no regular expression.
    LiteralPattern(LiteralPattern),
    /// All others.
    Expression(Expression),
}

/// A pattern for the engine.
pub(super) struct Expression {
    /// With [`FIRST_STEPS`].
    first: Regex,
    /// It has a look-around, so the engine may backtrack.
    goes_back: bool,
}

/// The backtracking steps that remain for all patterns of a config together.
pub(super) struct StepBudget(Cell<usize>);

impl StepBudget {
    pub(super) fn new() -> StepBudget {
        StepBudget(Cell::new(ALL_STEPS))
    }

    fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.0.get().checked_sub(steps).ok_or_else(|| {
            format!(
                "with all patterns before it, it takes more than {} million steps, since it looks around itself (`(?=`, `(?!`, `(?<`, `\\b`)",
                ALL_STEPS / 1_000_000
            )
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// A literal pattern, in which a dot matches any character: the complete path, or its end after a dot.
pub(super) struct LiteralPattern {
    /// None is any letter.
    letters: Vec<Option<char>>,
    is_whole: bool,
}

impl Compiler {
    pub(super) fn new() -> Compiler {
        Compiler(ExpressionCounter::new(ALLOWANCE))
    }

    /// A pattern for whole paths, as Python's `fullmatch` takes it.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn whole(&mut self, pattern: &str) -> Result<Pattern, String> {
        match LiteralPattern::read(pattern) {
            Some(plain) => Ok(Pattern::LiteralPattern(LiteralPattern { is_whole: true, ..plain })),
            None => self.compile(pattern, &format!(r"\A(?:{pattern})\z")).map(Pattern::Expression),
        }
    }

    /// A pattern for ends of paths: PEFT's `(.*\.)?(KEY)$`, from the beginning of the path.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn end(&mut self, pattern: &str) -> Result<Pattern, String> {
        match LiteralPattern::read(pattern) {
            Some(plain) => Ok(Pattern::LiteralPattern(plain)),
            None => self.compile(pattern, &format!(r"\A(?:(.*\.)?({pattern})$)")).map(Pattern::Expression),
        }
    }

    /// Compiles `whole`, which holds a user's `pattern` where PEFT puts it.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn compile(&mut self, pattern: &str, whole: &str) -> Result<Expression, String> {
        // The length is checked first, because every other check reads the complete pattern.
        if pattern.len() <= ALLOWANCE.longest {
            check(pattern)?;
        }
        self.0.look(whole).map_err(|reason| format!("it {reason}"))?;
        let first = built(whole, FIRST_STEPS)?;
        let goes_back = ["(?=", "(?!", "(?<", r"\b", r"\B"].iter().any(|looks| pattern.contains(looks));
        Ok(Expression { first, goes_back })
    }
}

fn built(whole: &str, steps: usize) -> Result<Regex, String> {
    let built = RegexBuilder::new(whole).backtrack_limit(steps).build();
    built.map_err(|error| format!("it is no regular expression ({error})"))
}

impl Expression {
    /// The pattern, as it was compiled.
    pub(super) fn as_str(&self) -> &str {
        self.first.as_str()
    }

    /// # Errors
    /// A path on which the engine takes too long, or patterns that take too long together.
    pub(super) fn run<T>(
        &self,
        steps: &StepBudget,
        run: impl Fn(&Regex) -> fancy_regex::Result<T>,
    ) -> Result<T, String> {
        let failed = |error: Error| format!("it cannot be matched ({error})");
        if self.goes_back {
            steps.spend(FIRST_STEPS)?;
        }
        match run(&self.first) {
            Err(Error::RuntimeError(RuntimeError::BacktrackLimitExceeded)) => {
                steps.spend(MOST_STEPS)?;
                run(&built(self.as_str(), MOST_STEPS)?).map_err(failed)
            }
            result => result.map_err(failed),
        }
    }
}

impl Pattern {
    /// # Errors
    /// As [`Expression::run`], with the pattern.
    pub(super) fn is_match(&self, path: &str, steps: &StepBudget) -> Result<bool, (&str, String)> {
        match self {
            Pattern::LiteralPattern(plain) => Ok(plain.is_match(path)),
            Pattern::Expression(expression) => {
                expression.run(steps, |regex| regex.is_match(path)).map_err(|what| (expression.as_str(), what))
            }
        }
    }
}

impl LiteralPattern {
    /// None where a pattern is more than a name; `^` before it means that nothing may precede it in a path.
    fn read(pattern: &str) -> Option<LiteralPattern> {
        let (is_whole, name) = pattern.strip_prefix('^').map_or((false, pattern), |name| (true, name));
        let mut letters = Vec::with_capacity(name.len());
        let mut rest = name.chars();
        while let Some(letter) = rest.next() {
            letters.push(match letter {
                '.' => None,
                '\\' => Some(rest.next().filter(|&escaped| escaped == '.')?),
                letter if letter == '_' || letter == '-' || letter.is_ascii_alphanumeric() => Some(letter),
                _ => return None,
            });
        }
        (!letters.is_empty()).then_some(LiteralPattern { letters, is_whole })
    }

    fn is_match(&self, path: &str) -> bool {
        let mut rest = path.chars();
        let is_end = self.letters.iter().rev().all(|wanted| match (rest.next_back(), wanted) {
            (Some(found), Some(letter)) => found == *letter,
            (Some(found), None) => found != '\n',
            (None, _) => false,
        });
        let before = rest.as_str();
        is_end && (before.is_empty() || (!self.is_whole && before.ends_with('.')))
    }
}

/// Refuses what Python's `re` does not read as the engine here does.
fn check(pattern: &str) -> Result<(), String> {
    let mut chars = pattern.chars();
    // Python refuses to repeat an anchor, a repetition or an empty pattern; the engine here accepts it.
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
        let mut compiler = Compiler::new();
        assert!(compiler.end("(q").err().unwrap().contains("it is no regular expression"));
        let slow = compiler.whole("(?:(?=a)a|(?=a)a)+x").unwrap();
        let (_, what) = slow.is_match(&"a".repeat(64), &StepBudget::new()).unwrap_err();
        assert!(what.contains("it cannot be matched"), "{what}");
    }

    /// Names need no engine, and mean what the engine would make of them.
    #[test]
    fn names_match_as_expressions_do() {
        let paths = [
            "q_proj",
            "x.q_proj",
            "xq_proj",
            "q.proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.11.self_attn.q_proj",
            "a\nb",
            "x.a\nb",
            "",
            ".",
            "é_proj",
            "x.é_proj",
            "q_proj.",
            "ab",
            "x.ab",
        ];
        for pattern in [
            "q_proj",
            "^q_proj",
            ".",
            "..",
            "a.b",
            "layers.1.self_attn.q_proj",
            r"model\.layers\.1\.self_attn\.q_proj",
            "._proj",
            r"\.q_proj",
            "^ab",
            "ab",
        ] {
            let mut compiler = Compiler::new();
            for (plain, whole) in [
                (compiler.whole(pattern).unwrap(), format!(r"\A(?:{pattern})\z")),
                (compiler.end(pattern).unwrap(), format!(r"\A(?:(.*\.)?({pattern})$)")),
            ] {
                assert!(matches!(plain, Pattern::LiteralPattern(_)), "{pattern}");
                let engine = Regex::new(&whole).unwrap();
                for path in paths {
                    assert_eq!(
                        plain.is_match(path, &StepBudget::new()).unwrap(),
                        engine.is_match(path).unwrap(),
                        "{whole} on {path:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn patterns_are_bounded_before_they_are_compiled() {
        let compiled = |patterns: &[String]| {
            let mut compiler = Compiler::new();
            patterns.iter().try_for_each(|pattern| compiler.end(pattern).map(|_| ()))
        };
        let paths = |separator: &str| {
            let paths = (0..1_000).map(|layer| format!(r"model\.layers\.{layer}\.self_attn\.(q|k)_proj"));
            paths.collect::<Vec<_>>().join(separator)
        };
        assert_eq!(compiled(&[paths("|")]), Ok(()), "a pattern of whole paths");
        assert_eq!(compiled(&vec![r".*\.layers\.\d+\.(q|k)_proj".to_owned(); 200]), Ok(()));
        assert_eq!(compiled(&vec!["model.layers.12.self_attn.q_proj".to_owned(); 16_000]), Ok(()), "names");
        for (patterns, said) in [
            (vec!["(q|k)_proj|".repeat(1 << 20)], "it is longer than 65536 bytes"),
            (vec![r"\w".repeat(2_000)], "more than 262144 parts"),
            (vec![r"(?:\w{8}){8}.*_proj".to_owned(); 100], "it has, with those before it, more than 262144 parts"),
            (vec![r".*_proj".to_owned(); 10_000], "it has, with those before it, more than 262144 parts"),
            (vec![r"(?:(?:a{64}){64}){64}".to_owned()], "it repeats its parts by count too often"),
        ] {
            let reason = compiled(&patterns).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
    }
}
