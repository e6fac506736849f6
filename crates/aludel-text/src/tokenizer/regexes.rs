//! Checks whether the expressions of a tokenizer.json can be searched for in time. The engine backtracks where an
//! expression looks ahead, and the library allows it a million steps at each position.

use std::time::{Duration, Instant};

use aludel_files::expression::{Allowance, Counted, Looked};
use fancy_regex::{Regex, RegexBuilder};

/// What all expressions of a file may take together: 190 classes of Unicode, say, of 90 KB each, which are compiled three times. Families
/// have up to 40.
const ALLOWANCE: Allowance = Allowance { longest: 4096, parts: 4000, each: 20, class: 20 };
/// Tries at one place of a trial text, which is this long. What looks ahead behind a repetition takes about as many as it is long; two
/// repetitions that share a stretch take its square.
const MOST_TRIES: usize = 5000;
const TRIAL_LETTERS: usize = 200;
/// Far beyond what models' own expressions take, so that a busy machine refuses none of them.
const LONGEST_TRIAL: Duration = Duration::from_secs(1);

/// What the expressions of one file may take together.
pub(super) struct Trials {
    counted: Counted,
    until: Instant,
}

impl Default for Trials {
    fn default() -> Trials {
        Trials { counted: Counted::new(ALLOWANCE), until: Instant::now() + LONGEST_TRIAL }
    }
}

/// # Errors
/// What is wrong with it.
pub(super) fn check(expression: &str, trials: &mut Trials) -> Result<(), String> {
    let Looked { goes_back, mut letters, classes } = trials.counted.look(expression)?;
    if !goes_back {
        return Ok(());
    }
    for class in classes.iter().filter_map(|class| Regex::new(class).ok()) {
        let is_in = |letter: &char| class.is_match(letter.encode_utf8(&mut [0; 4])).unwrap_or(false);
        letters.extend((' '..='~').rev().find(is_in));
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
