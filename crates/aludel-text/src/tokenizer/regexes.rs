//! Expressions of a tokenizer.json: whether they can be searched for in time. The engine goes back and tries again where an expression
//! looks ahead, and the library gives it a million tries at each place.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fancy_regex::{Expr, Regex, RegexBuilder};

const LONGEST: usize = 4096;
/// How often the counted repetitions around one part may repeat it together.
const MOST_REPEATED: usize = 64;
const MOST_PARTS: usize = 2000;
/// Tries at one place of a trial text, which is this long. What looks ahead behind a repetition takes about as many as it is long; two
/// repetitions that share a stretch take its square.
const MOST_TRIES: usize = 5000;
const TRIAL_LETTERS: usize = 200;
const MOST_LITERALS: usize = 4;
/// Letters of classes, one each.
const MOST_OF_CLASSES: usize = 4;
/// Parts of all expressions of a file together, since each takes memory once it is compiled.
const MOST_PARTS_OF_A_FILE: usize = 2000;
/// Far beyond what models' own expressions take, so that a busy machine refuses none of them.
const LONGEST_TRIAL: Duration = Duration::from_secs(1);

/// What the expressions of one file may take together.
pub(super) struct Trials {
    parts: usize,
    until: Instant,
}

impl Default for Trials {
    fn default() -> Trials {
        Trials { parts: 0, until: Instant::now() + LONGEST_TRIAL }
    }
}

/// # Errors
/// What is wrong with it.
pub(super) fn check(expression: &str, trials: &mut Trials) -> Result<(), String> {
    if expression.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    let tree = Expr::parse_tree(expression).map_err(|error| format!("cannot be read: {error}"))?;
    let mut letters = BTreeSet::new();
    let mut looked_at = Looked { parts: 0, classes: 0, goes_back: false, letters: &mut letters };
    looked_at.look(&tree.expr, 1)?;
    trials.parts += looked_at.parts;
    if trials.parts > MOST_PARTS_OF_A_FILE {
        return Err(format!("has, with those before it, more than {MOST_PARTS_OF_A_FILE} parts"));
    }
    if !looked_at.goes_back {
        return Ok(());
    }
    let engine = RegexBuilder::new(expression).backtrack_limit(MOST_TRIES).build();
    let engine = engine.map_err(|error| format!("cannot be compiled: {error}"))?;
    letters.extend(['a', 'A', '0', ' ', '\n', '.', '中']);
    for &first in &letters {
        for &second in &letters {
            if Instant::now() > trials.until {
                return Err("goes back so often that it cannot be tried in time".to_owned());
            }
            for end in ['!', 'a'] {
                let text: String = [first, second].into_iter().cycle().take(TRIAL_LETTERS).chain([end]).collect();
                if engine.find_iter(&text).any(|found| found.is_err()) {
                    return Err(format!(
                        "goes back too often, as on {:?} repeated",
                        [first, second].iter().collect::<String>()
                    ));
                }
            }
        }
    }
    Ok(())
}

struct Looked<'a> {
    parts: usize,
    classes: usize,
    /// It has something that needs an engine which goes back.
    goes_back: bool,
    /// Letters that it names, for trial texts.
    letters: &'a mut BTreeSet<char>,
}

impl Looked<'_> {
    fn look(&mut self, part: &Expr, repeated: usize) -> Result<(), String> {
        self.parts = self.parts.saturating_add(repeated);
        if repeated > MOST_REPEATED || self.parts > MOST_PARTS {
            return Err("repeats its parts by count too often".to_owned());
        }
        match part {
            Expr::Literal { val, .. } => {
                self.parts = self.parts.saturating_add(repeated.saturating_mul(val.len()));
                let room = MOST_LITERALS.saturating_sub(self.letters.len());
                self.letters.extend(val.chars().take(room));
                Ok(())
            }
            Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().try_for_each(|part| self.look(part, repeated)),
            Expr::Group(inner) => self.look(inner, repeated),
            Expr::LookAround(inner, _) | Expr::AtomicGroup(inner) => {
                self.goes_back = true;
                self.look(inner, repeated)
            }
            Expr::Repeat { child, lo, hi, .. } => {
                let count = if *hi == usize::MAX { *lo } else { *hi };
                self.look(child, repeated.saturating_mul(count.max(1)))
            }
            Expr::Assertion(_) => {
                self.goes_back = true;
                Ok(())
            }
            Expr::Delegate { inner, .. } => {
                self.classes += 1;
                if self.classes <= MOST_OF_CLASSES
                    && let Ok(class) = Regex::new(inner)
                {
                    let is_in = |letter: &char| class.is_match(letter.encode_utf8(&mut [0; 4])).unwrap_or(false);
                    self.letters.extend((' '..='~').rev().find(is_in));
                }
                Ok(())
            }
            Expr::Empty | Expr::Any { .. } => Ok(()),
            _ => Err("refers to what it has matched, or calls itself, which no tokenizer needs".to_owned()),
        }
    }
}
