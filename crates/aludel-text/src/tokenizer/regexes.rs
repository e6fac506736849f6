//! Checks whether the expressions of a tokenizer.json can be searched for in time. The engine backtracks where an
//! expression looks ahead, and the library allows it a million steps at each position.

use aludel_files::expression::{ExpressionCounter, ExpressionLimits, ExpressionParts};
use fancy_regex::{Regex, RegexBuilder};

/// Limits for all expressions of a file together: for example 190 Unicode classes of 90 KB each, which are compiled three times.
/// Known families have up to 40.
const ALLOWANCE: ExpressionLimits = ExpressionLimits { longest: 4096, parts: 4000, each: 20, class: 20 };
/// Steps until the next match in a trial text of this length. An expression with a look-ahead after a repetition takes about as
/// many as the text is long; two repetitions that share a stretch take its square.
const MOST_TRIES: usize = 5000;
const TRIAL_LETTERS: usize = 200;
/// The number of steps that a search took is not reported; it is bounded by limits, the lowest first, within which the search
/// finishes.
const LIMITS: [usize; 3] = [30, 2 * TRIAL_LETTERS, MOST_TRIES];
/// Steps of all trials of a file, counted by those limits. Models' own expressions take a few hundredths. No clock is used: the
/// result must not depend on the machine's load.
const MOST_TRIES_OF_A_FILE: usize = 50_000_000;

/// The remaining limits for the expressions of one file.
pub(super) struct RegexTrials {
    counted: ExpressionCounter,
    tries_left: usize,
}

impl Default for RegexTrials {
    fn default() -> RegexTrials {
        RegexTrials { counted: ExpressionCounter::new(ALLOWANCE), tries_left: MOST_TRIES_OF_A_FILE }
    }
}

/// # Errors
/// What is wrong with it.
pub(super) fn check(expression: &str, trials: &mut RegexTrials) -> Result<(), String> {
    let ExpressionParts { goes_back, mut letters, classes } = trials.counted.look(expression)?;
    if !goes_back {
        return Ok(());
    }
    for class in classes.iter().filter_map(|class| Regex::new(class).ok()) {
        let is_in = |letter: &char| class.is_match(letter.encode_utf8(&mut [0; 4])).unwrap_or(false);
        letters.extend((' '..='~').rev().find(is_in));
    }
    let mut engines = LimitedRegex::new(expression)?;
    letters.extend(['a', 'A', '0', ' ', '\n', '.', '中']);
    for &first in &letters {
        for &second in &letters {
            for end in ['!', 'a'] {
                let text: String = [first, second].into_iter().cycle().take(TRIAL_LETTERS).chain([end]).collect();
                let Some(tries) = engines.tries(&text) else {
                    return Err(format!(
                        "goes back too often, as on {:?} repeated",
                        [first, second].iter().collect::<String>()
                    ));
                };
                trials.tries_left = trials
                    .tries_left
                    .checked_sub(tries)
                    .ok_or("goes back so often that it cannot be tried on all letters that it names")?;
            }
        }
    }
    Ok(())
}

/// An expression under each of [`LIMITS`], compiled where the one before was too low.
struct LimitedRegex<'a> {
    expression: &'a str,
    compiled: Vec<Regex>,
}

impl LimitedRegex<'_> {
    fn new(expression: &str) -> Result<LimitedRegex<'_>, String> {
        let mut engines = LimitedRegex { expression, compiled: Vec::new() };
        engines.under(0)?;
        Ok(engines)
    }

    fn under(&mut self, limit: usize) -> Result<&Regex, String> {
        while self.compiled.len() <= limit {
            let builder = &mut RegexBuilder::new(self.expression);
            let engine = builder.backtrack_limit(LIMITS[self.compiled.len()]).build();
            self.compiled.push(engine.map_err(|error| format!("cannot be compiled: {error}"))?);
        }
        Ok(&self.compiled[limit])
    }

    /// The limit within which all matches in a text are found; none if a search takes more than [`MOST_TRIES`].
    fn tries(&mut self, text: &str) -> Option<usize> {
        let (mut tries, mut at, mut limit) = (0, 0, 0);
        while at <= text.len() {
            match self.under(limit).ok()?.find_from_pos(text, at) {
                Err(_) if limit + 1 < LIMITS.len() => {
                    tries += LIMITS[limit];
                    limit += 1;
                }
                Err(_) => return None,
                Ok(found) => {
                    tries += LIMITS[limit];
                    limit = 0;
                    let Some(found) = found else { break };
                    let is_empty = found.end() == at;
                    // after an empty match the search continues at the next character
                    at =
                        found.end() + text[found.end()..].chars().next().filter(|_| is_empty).map_or(0, char::len_utf8);
                    if is_empty && found.end() == text.len() {
                        break;
                    }
                }
            }
        }
        Some(tries)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pre::GPT2;
    use super::*;

    /// Models' own expressions stay far below the limits, and those that backtrack exceed them or are refused by name.
    #[test]
    fn tries_are_counted_without_a_clock() {
        let left = |expressions: &[&str]| {
            let mut trials = RegexTrials::default();
            expressions.iter().try_for_each(|expression| check(expression, &mut trials)).map(|()| trials.tries_left)
        };
        let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        for expression in [GPT2, llama3, r"\s+(?!\S)|o"] {
            let used = MOST_TRIES_OF_A_FILE - left(&[expression]).unwrap();
            println!("{used} of {MOST_TRIES_OF_A_FILE}: {expression}");
            assert!(used > 0 && used <= MOST_TRIES_OF_A_FILE / 10, "{expression}: {used}");
        }
        assert_eq!(left(&[GPT2]), left(&[GPT2]), "the same file takes the same");
        assert!(left(&[r"a*a*a*a*(?!x)b|."]).unwrap_err().contains("goes back too often"));
        let error = left(&[r"(?:.{0,60}.{0,60}(?=[^\s\S]))|."; 20]).unwrap_err();
        assert!(error.contains("cannot be tried on all letters"), "{error}");
    }
}
