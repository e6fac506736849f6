//! Bounds the regular expressions of an untrusted file before they are compiled. A compiled expression takes memory for each of its
//! parts, and a counted repetition multiplies those within it, so the parts are counted first, for all expressions of a file
//! together. What the expressions are used for is left to the callers.

use std::collections::BTreeSet;

use fancy_regex::Expr;

/// Maximum product of the counted repetitions around one part.
const MOST_REPEATED: usize = 64;
const MOST_LITERALS: usize = 4;
const MOST_CLASSES: usize = 4;

/// Limits for all expressions of one file together.
#[derive(Debug, Clone, Copy)]
pub struct ExpressionLimits {
    /// The longest expression, in bytes.
    pub longest: usize,
    /// Parts of all of them.
    pub parts: usize,
    /// The base count of an expression.
    pub each: usize,
    /// The count of a character class: those of Unicode are tables.
    pub class: usize,
}

/// The parts of an expression.
#[derive(Debug, Default)]
pub struct ExpressionParts {
    /// It needs an engine with backtracking.
    pub goes_back: bool,
    /// Some letters that it contains, for trial texts.
    pub letters: BTreeSet<char>,
    /// Some classes that it contains, as expressions of their own.
    pub classes: Vec<String>,
}

/// Counts the parts of all expressions of one file.
#[derive(Debug)]
pub struct ExpressionCounter {
    allowance: ExpressionLimits,
    parts: usize,
}

impl ExpressionCounter {
    /// Nothing is counted yet.
    pub fn new(allowance: ExpressionLimits) -> ExpressionCounter {
        ExpressionCounter { allowance, parts: 0 }
    }

    /// Parses an expression without compiling it, and counts its parts.
    ///
    /// # Errors
    /// What is wrong with it, to be appended to its name: "is longer than …".
    pub fn look(&mut self, expression: &str) -> Result<ExpressionParts, String> {
        let longest = self.allowance.longest;
        if expression.len() > longest {
            return Err(format!("is longer than {longest} bytes"));
        }
        let tree = Expr::parse_tree(expression).map_err(|error| format!("is no regular expression ({error})"))?;
        let mut looked = ExpressionParts::default();
        self.parts = self.parts.saturating_add(self.allowance.each);
        self.count(&tree.expr, 1, &mut looked)?;
        Ok(looked)
    }

    fn add(&mut self, parts: usize) -> Result<(), String> {
        self.parts = self.parts.saturating_add(parts);
        let most = self.allowance.parts;
        if self.parts > most { Err(format!("has, with those before it, more than {most} parts")) } else { Ok(()) }
    }

    fn count(&mut self, part: &Expr, repeated: usize, looked: &mut ExpressionParts) -> Result<(), String> {
        if repeated > MOST_REPEATED {
            return Err("repeats its parts by count too often".to_owned());
        }
        self.add(repeated)?;
        match part {
            Expr::Literal { val, .. } => {
                let room = MOST_LITERALS.saturating_sub(looked.letters.len());
                looked.letters.extend(val.chars().take(room));
                self.add(repeated.saturating_mul(val.len()))
            }
            Expr::Concat(parts) | Expr::Alt(parts) => {
                parts.iter().try_for_each(|part| self.count(part, repeated, looked))
            }
            Expr::Group(inner) => self.count(inner, repeated, looked),
            Expr::LookAround(inner, _) | Expr::AtomicGroup(inner) => {
                looked.goes_back = true;
                self.count(inner, repeated, looked)
            }
            Expr::Repeat { child, lo, hi, .. } => {
                let count = if *hi == usize::MAX { *lo } else { *hi };
                self.count(child, repeated.saturating_mul(count.max(1)), looked)
            }
            Expr::Assertion(_) => {
                looked.goes_back = true;
                Ok(())
            }
            Expr::Delegate { inner, .. } => {
                if looked.classes.len() < MOST_CLASSES {
                    looked.classes.push(inner.clone());
                }
                self.add(repeated.saturating_mul(self.allowance.class))
            }
            Expr::Empty | Expr::Any { .. } => Ok(()),
            _ => Err("refers to what it has matched, or calls itself, which is not supported".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: ExpressionLimits = ExpressionLimits { longest: 200, parts: 100, each: 10, class: 20 };

    #[test]
    fn expressions_are_counted_together() {
        let looked = |expressions: &[&str]| {
            let mut counted = ExpressionCounter::new(ALLOWANCE);
            expressions.iter().try_for_each(|expression| counted.look(expression).map(|_| ()))
        };
        for (expressions, said) in [
            (&["q_proj", "[ab]+", "(?!x)y"][..], None),
            (&["a{64}"], Some("parts")),
            (&["(?:a{20}){20}"], Some("repeats its parts by count too often")),
            (
                &["a{3}", "a{3}", "a{3}", "a{3}", "a{3}", "a{3}", "a{3}"],
                Some("with those before it, more than 100 parts"),
            ),
            (&[r"\w\d", r"\w\d\s"], Some("more than 100 parts")),
            (&["(a", "b"], Some("is no regular expression")),
            (&[r"(a)\1"], Some("refers to what it has matched")),
        ] {
            let reason = looked(expressions).err();
            assert_eq!(reason.is_some(), said.is_some(), "{expressions:?}: {reason:?}");
            assert!(reason.unwrap_or_default().contains(said.unwrap_or_default()), "{expressions:?}");
        }
        assert_eq!(looked(&[&"a|".repeat(101)]).unwrap_err(), "is longer than 200 bytes");
    }

    #[test]
    fn what_needs_going_back_is_told() {
        let mut counted = ExpressionCounter::new(ExpressionLimits { parts: 1000, ..ALLOWANCE });
        for (expression, goes_back) in [(r"\s+(?!\S)", true), ("(?>a)", true), ("a$", true), (r"\s+|[a-c]{2}", false)] {
            assert_eq!(counted.look(expression).unwrap().goes_back, goes_back, "{expression}");
        }
        let looked = counted.look(r"ab(?:\d|[x-z])").unwrap();
        assert_eq!(looked.letters.into_iter().collect::<String>(), "ab");
        assert_eq!(looked.classes, [r"\d", "[x-z]"]);
    }
}
