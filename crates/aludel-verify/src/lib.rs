//! Whether an answer is right, where the right one is known: mathematics by value, multiple choice, text, patterns,
//! numbers, JSON, or a command of the user's own. An answer is data: nothing in it is executed or fetched.

mod choice;
mod command;
mod error;
pub mod maths;
mod options;
mod plain;
pub mod tasks;
#[cfg(test)]
mod tests;

use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use aludel_files::shortened;
use command::Conversation;
pub use error::Error;
use maths::AnswerFormat;
pub use options::Options;

/// What is found about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is the right one.
    Right,
    /// It is another one.
    Wrong,
    /// The text holds no answer.
    NoAnswer,
    /// Cannot be decided: not understood, too costly, or the verifier failed.
    Undecided,
}

impl Verdict {
    /// As a column: `null` where it is not known.
    pub fn verified(self) -> Option<bool> {
        match self {
            Verdict::Right => Some(true),
            Verdict::Wrong | Verdict::NoAnswer => Some(false),
            Verdict::Undecided => None,
        }
    }
}

/// How answers are compared, as a recipe says it: `{ kind = "maths" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verifier {
    /// The last final answer in the text, by mathematical value (see [`maths`]).
    Maths {
        /// A fraction has to be in lowest terms, and no decimal will do.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lowest_terms: bool,
        /// The unit of the answer, such as "minute", which it may leave out; "%" for a percentage, "1" for what is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
    },
    /// A letter of a multiple choice.
    Choice {
        /// The letters that may be chosen.
        #[serde(default = "default_letters")]
        letters: String,
    },
    /// The marked answer, or the whole text without a mark, equals the gold but for spaces.
    Exact {
        /// Whether upper and lower case are the same.
        #[serde(default)]
        ignore_case: bool,
    },
    /// The last match of a pattern equals the gold: its first group, or all of it without groups.
    Regex {
        /// In the syntax of Rust's `regex`, which takes linear time.
        pattern: String,
    },
    /// A number within `absolute + relative · |gold|` of the gold, as in NumPy's `isclose`.
    Numeric {
        /// Difference that is always allowed.
        #[serde(default)]
        absolute: f64,
        /// Share of the gold's size that is allowed.
        #[serde(default)]
        relative: f64,
    },
    /// The last JSON value in the text equals the gold: objects without order, numbers by value.
    Json {},
    /// A program that reads `{"answer": …, "gold": …}` a line and answers each with a line `{"correct": true}`,
    /// `false` or `null`. It is started once, without a shell, and again after it failed or took too long.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long it may take for one line.
        #[serde(default = "default_timeout_ms")]
        timeout_ms: u64,
    },
}

fn default_letters() -> String {
    "ABCDEFGHIJ".to_string()
}

fn default_timeout_ms() -> u64 {
    10_000
}

/// A verifier made ready: its pattern compiled, its command to be started. It may be shared between threads; a command
/// then answers one of them at a time.
pub struct Checker {
    method: Method,
    compares_structures: bool,
}

enum Method {
    Maths(AnswerFormat),
    Choice(Vec<char>),
    Exact { ignore_case: bool },
    Regex(Regex),
    Numeric { absolute: f64, relative: f64 },
    Json,
    Command(Conversation),
}

impl Verifier {
    /// Mathematics by value, however an answer is written.
    pub const fn maths() -> Verifier {
        Verifier::Maths { lowest_terms: false, unit: None }
    }

    /// A verifier that a row of data names: its kind, or an object with its settings. Data cannot name a command.
    ///
    /// # Errors
    /// What is wrong with it, and what helps.
    pub fn of_data(written: Value) -> Result<Verifier, String> {
        let table = match written {
            Value::String(kind) => serde_json::json!({ "kind": kind }),
            other => other,
        };
        let mend =
            "give maths, choice, exact, numeric, json, or an object such as {\"kind\": \"regex\", \"pattern\": …}";
        match serde_json::from_value(table) {
            Ok(Verifier::Command { .. }) => {
                Err("a file cannot say that a command is to be run; give --verifier instead".to_owned())
            }
            Ok(verifier) => Ok(verifier),
            Err(error) => Err(format!("`verifier` is none ({error}); {mend}")),
        }
    }

    /// Checks the settings and makes the verifier ready.
    ///
    /// # Errors
    /// [`Error::Verifier`] for a pattern that is none, letters that are none, a tolerance below 0 or not a number, an
    /// empty command or a time limit of 0.
    pub fn checker(&self) -> Result<Checker, Error> {
        let refuse = |setting: &'static str, reason: String| Err(Error::Verifier { setting, reason });
        let method = match self {
            Verifier::Maths { unit: Some(unit), .. }
                if !matches!(unit.as_str(), "1" | "%") && !maths::is_unit(unit) =>
            {
                let known = "name a unit such as \"minute\" or \"centimetre\", \"%\" for a percentage, or \"1\" for what is none";
                return refuse("unit", format!("{} is not known as one; {known}", shortened(unit, 40)));
            }
            Verifier::Maths { lowest_terms, unit } => {
                Method::Maths(AnswerFormat { lowest_terms: *lowest_terms, unit: unit.clone() })
            }
            Verifier::Choice { letters } => {
                let letters: Vec<char> = letters.chars().map(|letter| letter.to_ascii_uppercase()).collect();
                if letters.len() < 2 || !letters.iter().all(char::is_ascii_uppercase) {
                    return refuse("letters", "name at least two letters from A to Z, such as \"ABCD\"".to_string());
                }
                Method::Choice(letters)
            }
            Verifier::Exact { ignore_case } => Method::Exact { ignore_case: *ignore_case },
            Verifier::Regex { pattern } => match Regex::new(pattern) {
                Ok(pattern) => Method::Regex(pattern),
                Err(reason) => {
                    // The last line says what is wrong; those before it draw the pattern again.
                    let reason = reason.to_string();
                    let said = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    return refuse("pattern", format!("it is no regular expression: {said}"));
                }
            },
            Verifier::Numeric { absolute, relative } => {
                if !(*absolute >= 0.0 && *relative >= 0.0 && absolute.is_finite() && relative.is_finite()) {
                    return refuse("absolute, relative", "a tolerance is a number from 0 up".to_string());
                }
                Method::Numeric { absolute: *absolute, relative: *relative }
            }
            Verifier::Json {} => Method::Json,
            Verifier::Command { argv, timeout_ms } => {
                if argv.first().is_none_or(String::is_empty) {
                    return refuse("argv", "it is empty; name a program and its arguments".to_string());
                }
                if *timeout_ms == 0 {
                    return refuse("timeout_ms", "0 leaves no time to answer; give at least 1".to_string());
                }
                Method::Command(Conversation::new(argv.clone(), Duration::from_millis(*timeout_ms)))
            }
        };
        Ok(Checker { method, compares_structures: self.compares_structures() })
    }

    /// Whether a right answer may be a list or an object; all others compare what is written as one thing.
    pub fn compares_structures(&self) -> bool {
        matches!(self, Verifier::Json {} | Verifier::Command { .. })
    }
}

/// Whether a right answer is what programs write where a number is missing or went out of range: no answer is wrong because of it.
fn is_no_number(gold: &str) -> bool {
    let gold = gold.trim_matches(|letter: char| letter.is_whitespace() || letter == '$');
    let gold = gold.strip_prefix(['+', '-']).unwrap_or(gold);
    ["nan", "inf", "infinity"].iter().any(|word| gold.eq_ignore_ascii_case(word))
}

impl Checker {
    /// As [`Verifier::compares_structures`].
    pub fn compares_structures(&self) -> bool {
        self.compares_structures
    }

    /// Whether the answer in `answer_text` is `gold`, without regard to the question.
    ///
    /// # Errors
    /// [`Error::VerifierCommand`] if a command cannot be started at all. One that fails on a row, or takes too long,
    /// leaves it undecided.
    pub fn verdict(&self, answer_text: &str, gold: &str) -> Result<Verdict, Error> {
        self.verdict_among(answer_text, gold, None, None)
    }

    /// As [`Checker::verdict`], for a question that may list options: an answer that names one by its letter is compared with the value of
    /// it, and the other way round. Mathematics also looks at the words of the question: an answer that only restates it is wrong, and so is
    /// one that is not in the order or in the lowest terms that it asks for; where it asks for a percentage, `25` and `25%` are the same.
    /// Verifiers that compare in a way of their own (patterns, tolerances, JSON, commands) look neither at options nor at the question.
    ///
    /// # Errors
    /// As [`Checker::verdict`].
    pub fn verdict_among(
        &self,
        answer_text: &str,
        gold: &str,
        question: Option<&str>,
        options: Option<&Options>,
    ) -> Result<Verdict, Error> {
        let looks_at_options = matches!(self.method, Method::Maths(_) | Method::Choice(_) | Method::Exact { .. });
        let (verdict, is_unmet) = match &self.method {
            Method::Maths(demand) => {
                let judgement = maths::judge(answer_text, gold, demand, question);
                (judgement.verdict, judgement.unmet.is_some())
            }
            Method::Choice(letters) => (choice::verdict(answer_text, gold, letters), false),
            Method::Exact { ignore_case } => (plain::exact(answer_text, gold, *ignore_case), false),
            Method::Regex(pattern) => (plain::regex(answer_text, gold, pattern), false),
            Method::Numeric { absolute, relative } => (plain::numeric(answer_text, gold, *absolute, *relative), false),
            Method::Json => (plain::json(answer_text, gold), false),
            Method::Command(conversation) => (conversation.ask(answer_text, gold)?, false),
        };
        let options = options.filter(|_| looks_at_options && verdict != Verdict::Right && !is_unmet);
        Ok(options.and_then(|options| options.verdict(answer_text, gold)).unwrap_or(verdict))
    }

    /// Why an answer with the right value is not right, as a clause: "it was to be in lowest terms", "it only restates the question".
    pub fn unmet(&self, answer_text: &str, gold: &str, question: Option<&str>) -> Option<String> {
        match &self.method {
            Method::Maths(demand) => maths::judge(answer_text, gold, demand, question).unmet,
            _ => None,
        }
    }

    /// Whether a text that was cut off before its end has an answer all the same: one that is marked as final (a box, an answer tag, `####`,
    /// "the answer is") and that the cut cannot have shortened. The last number of such a text is none: it would have gone on. A
    /// command has to tell by itself.
    pub fn is_settled(&self, answer_text: &str) -> bool {
        match &self.method {
            Method::Maths(_) | Method::Numeric { .. } | Method::Choice(_) | Method::Exact { .. } => {
                maths::extract_settled(answer_text).is_some()
            }
            Method::Regex(pattern) => plain::is_followed(answer_text, pattern),
            // A number may have been cut; brackets and quotes are closed.
            Method::Json => plain::last_json(answer_text)
                .is_some_and(|value| value.is_array() || value.is_object() || value.is_string()),
            Method::Command(_) => true,
        }
    }

    /// The answer that is found in a text, as it is written there: what is compared with the gold. A command sees the whole text; here
    /// what a mathematical answer would be stands for it.
    pub fn extract(&self, answer_text: &str) -> Option<String> {
        let found = match &self.method {
            Method::Choice(letters) => return choice::chosen(answer_text, letters).map(String::from),
            Method::Json => return plain::last_json(answer_text).map(|value| value.to_string()),
            Method::Exact { .. } => maths::extract_marked(answer_text).or(Some(answer_text)),
            Method::Regex(pattern) => plain::matched(answer_text, pattern),
            Method::Maths(_) | Method::Numeric { .. } | Method::Command(_) => maths::extract(answer_text),
        };
        found.map(str::trim).filter(|found| !found.is_empty()).map(str::to_string)
    }

    /// Whether two extracted answers are one and the same by this verifier's notion of value; a command's answers are compared letter
    /// by letter.
    pub fn is_same(&self, left: &str, right: &str) -> bool {
        let plainly = |verdict| left == right || verdict == Verdict::Right;
        match &self.method {
            Method::Maths(_) => left == right || maths::equal(left, right) == maths::Equality::Equal,
            Method::Exact { ignore_case } => plainly(plain::exact(left, right, *ignore_case)),
            Method::Numeric { absolute, relative } => plainly(plain::numeric(left, right, *absolute, *relative)),
            Method::Json => plainly(plain::json(left, right)),
            Method::Choice(_) | Method::Regex(_) | Method::Command(_) => left == right,
        }
    }
}
