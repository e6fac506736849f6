//! What is minimised. An objective sees one chunk of logits with what is known about its tokens, and turns the logits into the
//! gradient of its summed loss. It never divides: the optimiser does, once a step. What a teacher says of a pass comes from
//! `teacher`.

mod distillation;

use std::ops::Range;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::{Context, Mat, Region, loss};

use aludel_model::student::Student;

use crate::error::Result;
use crate::settings::Recipe;
use crate::supervision::{LossTerm, SupervisedBatch};
use crate::teacher::cache::CachedTeacher;
use crate::teacher::{Loading, OnlineTeacher, Teacher};

pub use distillation::Distillation;

/// A loss on logits.
pub trait Objective {
    /// The terms of the loss, in the order in which `chunk` writes them, each with its weight in the loss.
    fn terms(&self) -> &[(LossTerm, f32)];

    /// Called before the student's forward of a pass, on a reset context: what the objective computes here, or reads from disk, may stay
    /// in the region of saved values until the pass ends.
    ///
    /// # Errors
    /// What a teacher says of these tokens cannot be read.
    fn begin(&mut self, _ctx: &mut Context, _batch: &SupervisedBatch) -> Result<()> {
        Ok(())
    }

    /// Writes the losses of the supervised tokens `range` of a pass, each times its weight, to `losses` [terms, range]; with `gradient`,
    /// overwrites their logits [range, V] with the gradient of the sum of all those losses.
    fn chunk(
        &mut self,
        ctx: &mut Context,
        logits: Mat,
        batch: &SupervisedBatch,
        range: Range<usize>,
        losses: Mat,
        gradient: bool,
    );

    /// The teacher that the objective asks, if any.
    fn teacher(&mut self) -> Option<&mut dyn Teacher> {
        None
    }

    /// Refuses rows that cannot be judged, before training begins.
    ///
    /// # Errors
    /// Those of reading them, and what is missing for one.
    fn check_rows(&mut self, _rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        Ok(())
    }

    /// Bytes of the weights that the objective holds.
    fn weight_bytes(&self) -> usize {
        0
    }

    /// The longest row that the objective can judge, where that is bounded.
    fn max_length(&self) -> Option<usize> {
        None
    }

    /// Makes room for rows of `max_length` tokens.
    fn reach(&mut self, _ctx: &mut Context, _max_length: usize) {}
}

/// What a recipe minimises on rows of up to `max_length` tokens, with the teacher that it needs.
///
/// # Errors
/// A teacher that does not load, or does not fit the student.
pub fn of_recipe(
    ctx: &mut Context,
    student: &Student,
    recipe: &Recipe,
    max_length: usize,
    loading: Loading<'_>,
) -> Result<Box<dyn Objective>> {
    let settings = &recipe.distill;
    if !settings.has_teacher() {
        return Ok(Box::new(CrossEntropy));
    }
    let teacher: Box<dyn Teacher> = match settings.cache {
        Some(_) => Box::new(CachedTeacher::open(student, settings, loading)?),
        None => Box::new(OnlineTeacher::load(ctx, student, settings, max_length, loading)?),
    };
    let divergence = settings.divergence_args(teacher.vocab());
    Ok(Box::new(Distillation::new(settings.terms(), divergence, teacher)))
}

/// The longest row that the objective of a recipe can judge, where that is bounded, without loading it.
///
/// # Errors
/// A teacher that does not open.
pub fn max_length(recipe: &Recipe) -> Result<Option<usize>> {
    match recipe.distill.teacher.is_some() && recipe.distill.has_teacher() {
        true => Ok(Some(OnlineTeacher::positions(&recipe.distill)?)),
        false => Ok(None),
    }
}

/// Cross-entropy with the data's own tokens: data distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy;

impl Objective for CrossEntropy {
    fn terms(&self) -> &[(LossTerm, f32)] {
        &[(LossTerm::Ce, 1.0)]
    }

    fn chunk(
        &mut self,
        ctx: &mut Context,
        logits: Mat,
        batch: &SupervisedBatch,
        range: Range<usize>,
        losses: Mat,
        gradient: bool,
    ) {
        let ids = ctx.upload_indices(&batch.targets[range.clone()]);
        let weights = ctx.upload(Region::Io, 1, range.len(), &batch.weights[range]);
        loss::cross_entropy(ctx, logits, ids, weights, losses, gradient);
    }
}
