//! The loss of a model on rows that it was not trained on: prepared, cut into passes and summed by the very functions that training
//! evaluates with.

use std::ops::ControlFlow;

use aludel_data::dataset::{self, PromptKey};
use aludel_data::token_cache::{DropReason, EncodedRow, RowInfo, TokenRow};
use aludel_formats::peft;
use aludel_model::student::Student;
use serde::Serialize;

use crate::batch::passes;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::merge::adapter_text;
use crate::objective;
use crate::own_answers::{OwnAnswers, has_prompt};
use crate::prepare::Preparer;
use crate::settings::{DistillSettings, MaxLength, NO_CONTEXT_OF_OWN_ANSWERS, Problem, Problems, Recipe};
use crate::supervision::PassSums;
use crate::teacher::preflight::{self, Finding, RowsToCheck};
use crate::trained_prompts::TrainedPrompts;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Loss {
    /// Nats for each supervised token.
    pub loss: f64,
    /// e^loss.
    pub perplexity: f64,
    /// Rows that were evaluated.
    pub rows: usize,
    /// Their tokens.
    pub tokens: u64,
    /// Their supervised tokens.
    pub supervised_tokens: u64,
    /// Rows among them whose end was cut off.
    pub truncated: usize,
    /// Rows left out as longer than `max_length`.
    pub too_long: usize,
    /// The longest row that is taken: `train.max_length`, or the student's positions.
    pub max_length: usize,
    /// Rows left out that have no supervised token.
    pub unsupervised: usize,
    /// Rows left out that could not be read.
    pub bad_rows: usize,
    /// Evaluated rows whose prompt the adapter was trained on, if its run recorded that.
    pub known: Option<usize>,
}

/// How far an evaluation on rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsProgress {
    /// So many weights of so many are read.
    Loading {
        /// Read.
        done: u64,
        /// Of all models.
        total: u64,
    },
    /// So many rows of so many are done.
    Rows {
        /// Done.
        done: usize,
        /// Of all.
        total: usize,
    },
}

/// The loss of the recipe's student, with `train.init_adapter` if that is set, on `data.files`.
///
/// # Errors
/// A student, an adapter or rows that training would refuse, and data of which no row is left.
pub fn held_out_loss(recipe: &Recipe, tell: &dyn Fn(RowsProgress)) -> Result<Loss> {
    // A column that only a teacher sees stays one.
    let teacher_context_column = recipe.distill.teacher_context_column.clone();
    let recipe =
        Recipe { distill: DistillSettings { teacher_context_column, ..DistillSettings::default() }, ..recipe.clone() };
    let Evaluated { sums, mut found, .. } = evaluate_rows(&recipe, None, tell)?;
    found.loss = sums.mean_loss();
    found.perplexity = found.loss.exp();
    Ok(found)
}

/// What the rows of `data.files` gave.
pub(super) struct Evaluated {
    pub(super) sums: PassSums,
    /// The summed loss of each row, and its supervised tokens.
    pub(super) rows: Vec<(f64, u64)>,
    /// How many rows there were, and what became of the others.
    pub(super) found: Loss,
    /// In what the teacher, if there is one, differs from the model.
    pub(super) pair_notes: Vec<Finding>,
}

/// Rows that the student answers at a time.
const ANSWERED_AT_ONCE: usize = 32;

/// The recipe's objective on the rows of `data.files`, without training; with `own_answers`, the seed of their draws, on rows whose answers
/// the student writes itself.
pub(super) fn evaluate_rows(
    recipe: &Recipe,
    own_answers: Option<u64>,
    tell: &dyn Fn(RowsProgress),
) -> Result<Evaluated> {
    if own_answers.is_some() && recipe.distill.teacher_context().is_some() {
        let mend = "leave distill.teacher_system and distill.teacher_context_column out, or --own-answers";
        return Err(Problems::one(Problem::new("--own-answers", None, NO_CONTEXT_OF_OWN_ANSWERS, mend)).into());
    }
    let mut student = Student::open(recipe.student_model()?)?;
    let mut recipe = recipe.clone();
    let positions = student.config.max_position_embeddings;
    let judged = objective::max_length(&recipe)?.unwrap_or(positions);
    let max_length = recipe.train.max_length.limit().min(positions).min(judged);
    recipe.train.max_length = MaxLength::Tokens(max_length);
    let known = TrainedPrompts::of_both(&student.path, recipe.train.init_adapter.as_deref())?;
    let mut added = student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
    if let Some(folder) = &recipe.train.init_adapter {
        student.text = adapter_text(&student, folder)?;
        student.template = student.text.template(&student.path.display().to_string()).ok();
        added = peft::read(folder)?.config.embedding_tokens().to_vec();
    }
    let mut pair_notes = match recipe.distill.has_teacher() && recipe.distill.teacher.is_some() {
        true => preflight::check_texts(&student, &recipe)?,
        false => Vec::new(),
    };
    let (rows, mut found) = prepared(&student, &recipe, max_length)?;
    if own_answers.is_some()
        && let Some(row) = rows.iter().find(|row| !has_prompt(row))
    {
        let path = recipe.data.files.get(row.info.file_index as usize).cloned().unwrap_or_default();
        return Err(Error::NoPrompt { place: format!("{}:{}", path.display(), row.info.line) });
    }
    found.known = known.map(|known| rows.iter().filter(|row| known.has(row.info.prompt_key)).count());
    let mut learner = Learner::load_watched(&student, &added, &recipe, None, &|done, total| {
        tell(RowsProgress::Loading { done, total });
        ControlFlow::Continue(())
    })?;
    let lengths: Vec<u32> = rows.iter().map(|row| row.info.tokens).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
    learner.check_rows(&mut rows.iter().map(|row| Ok(row.clone())))?;
    learner.reach(max_length);
    let longest = if own_answers.is_some() { max_length } else { longest };
    learner.plan_evaluation(recipe.train.tokens_per_pass.max(longest));
    let of_rows = RowsToCheck { count: rows.len(), read: &|row| Ok(rows[row].clone()) };
    let total = rows.len();
    let told = |done| {
        tell(RowsProgress::Rows { done, total });
        ControlFlow::Continue(())
    };
    let mut watch = || told(0);
    let checked = learner
        .ask_teacher(|ctx, teacher| preflight::check_teacher(ctx, teacher, &student, &recipe, of_rows, &mut watch));
    if let Some(findings) = checked {
        pair_notes.extend(findings?);
    }
    let rows: Vec<(u32, TokenRow)> = (0..).zip(rows).collect();
    let at_once = if own_answers.is_some() { ANSWERED_AT_ONCE } else { rows.len() };
    let mut writer = own_answers.map(|seed| {
        let writer = OwnAnswers::new(&mut learner, &student, &recipe, max_length, at_once.min(rows.len()));
        (writer, seed)
    });
    let (mut sums, mut by_row, mut done) = (PassSums::default(), Vec::new(), 0);
    for some in rows.chunks(at_once) {
        let answered;
        let some = match &mut writer {
            Some((writer, seed)) => {
                let mut own = some.to_vec();
                let written = writer.write(&mut learner, &mut own, *seed, &mut |_| told(done))?;
                // Nobody stops it: a signal ends the process.
                found.truncated += written.ok_or(Error::Stopped)?.cut as usize;
                answered = own;
                &answered[..]
            }
            None => some,
        };
        let lengths: Vec<u32> = some.iter().map(|(_, row)| row.info.tokens).collect();
        let places: Vec<u32> = (0..some.len() as u32).collect();
        let all = passes(&places, &lengths, recipe.train.tokens_per_pass);
        let read = |pass: &[u32]| Ok(pass.iter().map(|&place| some[place as usize].clone()).collect());
        let mut each = |loss, tokens| by_row.push((loss, tokens));
        let here = learner.evaluate_passes(&all, read, &mut |here| told(done + here), &mut each)?;
        sums.add(here.ok_or(Error::Stopped)?);
        done += some.len();
    }
    (found.tokens, found.supervised_tokens) = (sums.tokens, sums.supervised);
    Ok(Evaluated { sums, rows: by_row, found, pair_notes })
}

/// The rows, and counts of the excluded ones.
fn prepared(student: &Student, recipe: &Recipe, max_length: usize) -> Result<(Vec<TokenRow>, Loss)> {
    let preparer = Preparer::new(student, recipe);
    let mut records = dataset::open(&recipe.data.files, &recipe.row_options())?;
    let (mut rows, mut found) = (Vec::new(), Loss { max_length, ..Loss::default() });
    for (example, record) in records.by_ref().enumerate() {
        let record = record?;
        let encoded = match preparer.token_rows(&record) {
            Ok(encoded) => encoded,
            Err(_) if recipe.data.skip_bad_rows => {
                found.bad_rows += 1;
                continue;
            }
            Err(reason) => {
                let place = &record.provenance;
                return Err(Error::TaskRow { path: place.file.to_path_buf(), line: place.line, reason });
            }
        };
        for row in encoded {
            match row {
                EncodedRow::Kept { ids, .. } if ids.len() > max_length => found.too_long += 1,
                EncodedRow::Kept { ids, mut weights, context, truncated, .. } => {
                    // How much a row counts in training is no matter of how well it is told: perplexity is of tokens.
                    weights.iter_mut().filter(|weight| **weight != 0.0).for_each(|weight| *weight = 1.0);
                    found.truncated += usize::from(truncated);
                    let supervised = weights.iter().filter(|&&weight| weight != 0.0).count() as u32;
                    let info = RowInfo {
                        tokens: ids.len() as u32,
                        supervised,
                        example: example as u64,
                        prompt_key: PromptKey::of(&record.content),
                        file_index: record.provenance.file_index,
                        line: record.provenance.line,
                    };
                    rows.push(TokenRow { ids, weights, context, info });
                }
                EncodedRow::Dropped(DropReason::Unsupervised) => found.unsupervised += 1,
            }
        }
    }
    found.bad_rows += records.counts().bad_rows() as usize;
    found.rows = rows.len();
    match rows.is_empty() {
        true => Err(aludel_data::Error::NothingToTrain {
            too_long: found.too_long as u64,
            unsupervised: found.unsupervised as u64,
        }
        .into()),
        false => Ok((rows, found)),
    }
}
