//! Whether a teacher and a student fit together, checked before the first step: one file for each thing that is checked, each of which
//! returns findings (`finding`). Which of them end the run is decided here. Nothing is trained here.

pub mod finding;
mod ids;
mod predictions;
mod sample;
mod template;
mod tokenisation;
mod turns;

use std::ops::ControlFlow;
use std::path::Path;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::Context;
use aludel_model::student::Student;
use aludel_text::Tokenizer;

use crate::error::{Error, Result};
use crate::settings::{DistillSettings, PairCheck, Recipe};
use crate::teacher::Teacher;

pub use finding::{Check, Finding, Mismatch, Severity};
pub use predictions::{Predictions, sampled_rows};

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
    Err(Error::Pair { student: student.to_owned(), teacher, mismatch: Mismatch::new(findings) })
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
