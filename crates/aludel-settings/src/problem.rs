//! What can be wrong with a setting, in words: the key, its value, the reason and the remedy. Problems are gathered, so
//! that three mistakes in a recipe are reported at once. Colour and layout are left to the caller.

use std::fmt;

use aludel_files::shortened;

/// One thing wrong with one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The setting's full name, `section.key`.
    pub key: String,
    /// The value as it was given; `None` where nothing was.
    pub value: Option<String>,
    /// Why it cannot be taken.
    pub reason: String,
    /// What to do about it: a clause that says what would be right.
    pub mend: String,
    /// Where the value was given (a file, a flag), if the caller knows.
    pub origin: Option<String>,
    /// The key is no setting, or not in this place: several such keys are told together.
    pub is_unknown_name: bool,
}

impl Problem {
    /// A problem whose origin is not known yet.
    pub fn new(key: &str, value: Option<String>, reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value,
            reason: reason.into(),
            mend: mend.into(),
            origin: None,
            is_unknown_name: false,
        }
    }

    /// A key that is no setting, or not in this place.
    pub fn unknown_name(key: &str, value: Option<String>, reason: &str, mend: impl Into<String>) -> Self {
        Self { is_unknown_name: true, ..Self::new(key, value, reason, mend) }
    }

    /// A setting that is needed and was not given.
    pub fn missing(key: &str, reason: &str, mend: &str) -> Self {
        Self::new(key, None, reason, mend)
    }
}

/// The beginning of a remedy that lists all settings of a section.
pub const LISTS_SETTINGS: &str = "the settings of ";
/// As [`LISTS_SETTINGS`], of sections.
pub const LISTS_SECTIONS: &str = "the sections are ";

/// Of a key, a value or a mend, in letters: a person reads no more, and a recipe may hold a megabyte.
const LONGEST: usize = 300;

/// A setting as messages name it.
fn setting(key: &str, value: Option<&String>, origin: Option<&String>) -> String {
    let value = value.map(|value| format!(" = {}", shortened(value, LONGEST))).unwrap_or_default();
    let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
    format!("{}{value}{origin}", shortened(key, LONGEST))
}

impl Problem {
    /// The mend as it stands in a list of several unknown names: without all the names that there are.
    pub fn brief_mend(&self) -> &str {
        let lists_all = [LISTS_SETTINGS, LISTS_SECTIONS].iter().any(|beginning| self.mend.starts_with(beginning));
        if lists_all { "unknown here" } else { &self.mend }
    }

    /// The setting as messages name it: key, value and origin, as far as a person reads them.
    pub fn setting(&self) -> String {
        setting(&self.key, self.value.as_ref(), self.origin.as_ref())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; {}", self.setting(), self.reason, self.mend)
    }
}

/// One or more problems with a recipe; never empty.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.list())]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single problem.
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems: first keys and values that cannot be read, then values out of range.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }

    /// The problems as a list of one's own.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// Notes where each value came from; `origin_of` is asked with the full key.
    #[must_use]
    pub fn with_origins(mut self, origin_of: impl Fn(&str) -> Option<String>) -> Self {
        for problem in &mut self.0 {
            problem.origin = problem.origin.take().or_else(|| origin_of(&problem.key));
        }
        self
    }

    fn list(&self) -> String {
        self.0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// Something accepted that does not do what its name says elsewhere: worth a line in the log, no reason to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The setting's full name, `section.key`.
    pub key: String,
    /// The value as it was given.
    pub value: String,
    /// What is done instead.
    pub instead: String,
}

impl Notice {
    /// What was accepted, in words; `origin` is where it was given.
    pub fn describe(&self, origin: Option<&String>) -> String {
        format!("{}: {}", setting(&self.key, Some(&self.value), origin), self.instead)
    }
}

/// Gathers the problems of one section.
pub struct Checker<'a> {
    section: &'static str,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Checker<'a> {
    /// For the section of this name.
    pub fn new(section: &'static str, problems: &'a mut Vec<Problem>) -> Self {
        Self { section, problems }
    }

    /// Notes a problem unless `holds`; `right` names what would be right. Write a range as `(low..=high).contains(&x)`:
    /// it is false for NaN.
    pub fn that(&mut self, holds: bool, key: &str, value: impl fmt::Debug, reason: &str, right: &str) {
        if !holds {
            let key = format!("{}.{key}", self.section);
            self.problems.push(Problem::new(&key, Some(format!("{value:?}")), reason, format!("give {right}")));
        }
    }

    /// Notes a problem found elsewhere, with its own mend.
    pub fn wrong(&mut self, key: &str, value: impl fmt::Debug, reason: &str, mend: &str) {
        let key = format!("{}.{key}", self.section);
        self.problems.push(Problem::new(&key, Some(format!("{value:?}")), reason, mend));
    }

    /// What every `test_size` must be.
    pub fn test_size(&mut self, size: f64) {
        self.that(
            (0.0..1.0).contains(&size) || (size >= 1.0 && size.fract() == 0.0),
            "test_size",
            size,
            "it is the share of rows held back for evaluation, or their number",
            "a number from 0 up to, but not including, 1, for example 0.1, or a whole number of rows",
        );
    }

    /// What every `temperature` and `top_p` must be.
    pub fn sampling(&mut self, temperature: f64, top_p: f64) {
        self.that(
            (0.0..=100.0).contains(&temperature),
            "temperature",
            temperature,
            "logits cannot be divided by it",
            "a number from 0 (always the likeliest token) to 100, for example 0.6",
        );
        self.that(
            top_p > 0.0 && top_p <= 1.0,
            "top_p",
            top_p,
            "it is a probability to be reached, and 0 would leave no token",
            "a number above 0, up to 1 (all tokens)",
        );
    }

    /// What every `seed` must be.
    pub fn seed(&mut self, seed: u64) {
        self.that(
            i64::try_from(seed).is_ok(),
            "seed",
            seed,
            "a recipe file cannot hold a number this large",
            "a whole number from 0 to 9223372036854775807",
        );
    }
}
