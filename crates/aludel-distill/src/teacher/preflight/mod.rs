//! Whether a teacher and a student fit together, checked before the first step: one file for each thing that is checked, each of which
//! returns findings. Here stands what a finding is, and which of them end the run. Nothing is trained here.

mod ids;
mod predictions;
mod sample;
mod template;
mod tokenisation;
mod turns;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::Context;
use aludel_model::student::Student;
use aludel_text::Tokenizer;

use crate::error::{Error, Result};
use crate::settings::{DistillSettings, PairCheck, Recipe};
use crate::teacher::Teacher;

pub use predictions::{Predictions, sampled_rows};

/// One thing in which a teacher does not fit a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What was found: it names the token, the template or the setting.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    /// A student that is to learn from itself.
    pub fn same_model() -> Finding {
        Finding {
            check: Check::SameModel,
            what: "the teacher is the student itself: their distributions are equal before the first step".to_owned(),
            mend: "name another model in distill.teacher to learn from".to_owned(),
        }
    }
}

/// What is checked of a pair, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Each id means the same token for both.
    Ids,
    /// The teacher has every token of the rows.
    MissingTokens,
    /// Both tokenizers make the same ids of a text.
    Tokenisation,
    /// The teacher's predictions are of the token that they are taken for, and not of the one before or after.
    Shift,
    /// The teacher predicts the rows far better than chance.
    Predictions,
    /// The token that ends an answer in the rows ends one for the teacher.
    EndOfTurn,
    /// Rows begin as the teacher's own do, with or without a beginning-of-text token.
    Beginning,
    /// The teacher's chat template writes the control tokens that the student's does.
    ControlTokens,
    /// Both templates render conversations alike.
    Template,
    /// The teacher is another model than the student.
    SameModel,
}

/// What a finding means for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// The numbers would be of other tokens: nothing can be learnt, whatever the settings say.
    Impossible,
    /// Part of what the teacher says would be noise: it ends the run, unless `distill.pair_check` is "warn".
    Wrong,
    /// Worth a line in the log.
    Note,
}

impl Check {
    fn severity(self) -> Severity {
        match self {
            Check::Ids | Check::MissingTokens => Severity::Impossible,
            Check::Tokenisation
            | Check::Shift
            | Check::Predictions
            | Check::EndOfTurn
            | Check::Beginning
            | Check::ControlTokens => Severity::Wrong,
            Check::Template | Check::SameModel => Severity::Note,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.what, self.mend)
    }
}

/// What was found of a pair, and ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch(Vec<Finding>);

impl Mismatch {
    /// The findings, the gravest first.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// What helps with any of them.
    fn way_out(&self) -> &'static str {
        match self.0.iter().any(|finding| finding.check.severity() == Severity::Impossible) {
            true => "learn from the teacher's answers as text (aludel trace)",
            false => "set distill.pair_check=warn to learn from it all the same",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [finding] = self.findings() {
            return write!(formatter, " {finding}, or {}", self.way_out());
        }
        for finding in self.findings() {
            write!(formatter, "\n  {finding}")?;
        }
        write!(formatter, "\n{}", self.way_out())
    }
}

/// Returns the findings that are only told, the gravest first, unless one of them ends the run.
///
/// # Errors
/// [`Error::Pair`] with all findings.
pub fn decide(mut findings: Vec<Finding>, student: &Path, settings: &DistillSettings) -> Result<Vec<Finding>> {
    findings.sort_by_key(|finding| finding.check);
    let ends = |finding: &Finding| match finding.check.severity() {
        Severity::Impossible => true,
        Severity::Wrong => settings.pair_check == PairCheck::Error,
        Severity::Note => false,
    };
    if !findings.iter().any(ends) {
        return Ok(findings);
    }
    let teacher = settings.teacher.clone().or_else(|| settings.cache.clone()).unwrap_or_default();
    Err(Error::Pair { student: student.to_owned(), teacher, mismatch: Mismatch(findings) })
}

/// Checks all that needs no weights: tokens, tokenizers, templates and the ends of answers, on a sample of the recipe's rows. Returns
/// what is only to be told.
///
/// # Errors
/// A teacher that does not open, and [`Error::Pair`].
pub fn check_texts(student: &Student, recipe: &Recipe) -> Result<Vec<Finding>> {
    let settings = &recipe.distill;
    let teacher = Student::open(settings.teacher_model()?)?;
    let mut findings = ids::check(&student.text.tokenizer, &teacher.text.tokenizer);
    if findings.is_empty() {
        let sample = sample::read(student, &teacher, recipe);
        findings.extend(ids::missing_tokens(student, teacher.text.tokenizer.vocab_size(), sample.ids()));
        findings.extend(tokenisation::check(student, &teacher, &sample));
        findings.extend(turns::check(student, &teacher, &sample));
        findings.extend(template::check(student, &teacher, &sample));
    }
    decide(findings, &student.path, settings)
}

/// Asks a teacher about rows, of which `read` gives each by its number: whether it has all their tokens, and on a few of them whether it
/// predicts. Returns what is only to be told. `watch` is asked before each pass.
///
/// # Errors
/// [`Error::Pair`], [`Error::Stopped`] where `watch` breaks off, and those of `read`.
pub fn check_teacher(
    ctx: &mut Context,
    teacher: &mut dyn Teacher,
    student: &Student,
    recipe: &Recipe,
    rows: RowsToCheck<'_>,
    watch: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Vec<Finding>> {
    let (settings, vocab) = (&recipe.distill, teacher.vocab());
    let RowsToCheck { count, read } = rows;
    let mut findings = Vec::new();
    if student.text.tokenizer.vocab_size() > vocab {
        for row in 0..count {
            if row % 1024 == 0 && watch().is_break() {
                return Err(Error::Stopped);
            }
            let ids = read(row)?.ids;
            findings.extend(ids::missing_tokens(student, vocab, std::iter::once(ids.as_slice())));
            if !findings.is_empty() {
                return decide(findings, &student.path, settings);
            }
        }
    }
    let sample = sampled_rows(count, read)?;
    if let Some(found) = Predictions::ask(ctx, teacher, &sample, recipe.train.tokens_per_pass, watch)? {
        findings.extend(found.judge(vocab, settings));
    }
    decide(findings, &student.path, settings)
}

/// The rows of a run, to choose some of.
#[derive(Clone, Copy)]
pub struct RowsToCheck<'a> {
    /// How many there are.
    pub count: usize,
    /// Reads one by its number.
    pub read: &'a dyn Fn(usize) -> Result<TokenRow>,
}

/// Refuses a teacher whose token ids mean other tokens than the student's.
///
/// # Errors
/// [`Error::Pair`].
pub(super) fn check_ids(student: &Student, teacher: &Student, settings: &DistillSettings) -> Result<()> {
    decide(ids::check(&student.text.tokenizer, &teacher.text.tokenizer), &student.path, settings).map(drop)
}

/// A token as messages name it: its text and its id.
fn named(tokenizer: &Tokenizer, id: u32) -> String {
    match tokenizer.id_to_token(id) {
        Some(token) => format!("{token:?} ({id})"),
        None => format!("no token ({id})"),
    }
}
