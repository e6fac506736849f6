//! What is minimised. An objective sees one chunk of logits with what is known about its tokens, and turns the logits into the
//! gradient of its summed loss; it may read the hidden states between layers, too, and add to their gradient. It never divides: the
//! optimiser does, once a step. What a teacher says of a pass comes from `teacher`.

mod balance;
mod distillation;
mod hidden;

use std::collections::BTreeMap;
use std::ops::Range;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, Mat, Region, loss};
use aludel_model::decoder::ResidualTap;
use aludel_model::student::Student;

use crate::error::Result;
use crate::settings::{Balancing, Recipe};
use crate::supervision::{LossTerm, SupervisedBatch};
use crate::teacher::cache::CachedTeacher;
use crate::teacher::{Loading, OnlineTeacher, Teacher};

pub use distillation::Distillation;
pub use hidden::{HiddenStates, Projections};

/// Writes what the gradient of the logits of a chunk, [range, V], comes to at the residual stream, [range, C].
pub type ResidualGradient<'a> = &'a dyn Fn(&mut Context, Mat, Mat);

/// A loss on logits, hidden states, or both; the latter it reads as a tap on the residual stream.
pub trait Objective: ResidualTap {
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
    /// overwrites their logits [range, V] with the gradient of the sum of all those losses, each with its factor where terms are balanced.
    fn chunk(
        &mut self,
        ctx: &mut Context,
        logits: Mat,
        batch: &SupervisedBatch,
        range: Range<usize>,
        losses: Mat,
        gradient: Option<ResidualGradient<'_>>,
    );

    /// Whether `chunk` is to be called: where no term reads logits, they are not computed.
    fn reads_logits(&self) -> bool {
        true
    }

    /// Called between the forward of the layers and the head: writes the losses of the terms on hidden states to their rows of `losses`
    /// [terms, chosen]. With `gradient`, what is added to the gradient of the residual stream is ready from here on.
    fn compare_states(&mut self, _ctx: &mut Context, _batch: &SupervisedBatch, _losses: Mat, _gradient: bool) {}

    /// The sum over the supervised tokens of the pass of the squared norms of each term's gradient at the residual stream, where they are
    /// measured; asked at the end of a pass with gradients.
    fn gradient_squares(&mut self, _ctx: &Context) -> Option<[f64; LossTerm::ALL.len()]> {
        None
    }

    /// Balances the terms by the norms of their gradients in a step.
    fn balance_by(&mut self, _norms: &BTreeMap<LossTerm, f64>) {}

    /// What is trained beside the adapter, and is gone after training.
    fn projections(&self) -> Option<&Projections> {
        None
    }

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

/// What a recipe minimises on rows of up to `max_length` tokens, with the teacher that it needs. `precision` is that of the student's
/// products.
///
/// # Errors
/// A teacher that does not load, or does not fit the student, and layers that do not exist.
pub fn of_recipe(
    ctx: &mut Context,
    student: &Student,
    recipe: &Recipe,
    max_length: usize,
    precision: Precision,
    loading: Loading<'_>,
) -> Result<Box<dyn Objective>> {
    let settings = &recipe.distill;
    if !settings.has_teacher() {
        return Ok(Box::new(CrossEntropy));
    }
    let mut hidden = None;
    let teacher: Box<dyn Teacher> = match settings.cache {
        Some(_) => Box::new(CachedTeacher::open(student, settings, loading)?),
        None => {
            let mut teacher = OnlineTeacher::load(ctx, student, settings, max_length, loading)?;
            if settings.has_hidden() {
                let (own, of_teacher) = (&student.config, teacher.config());
                let pairs = settings.layer_pairs(own.num_hidden_layers, of_teacher.num_hidden_layers)?;
                let widths = [own.hidden_size, of_teacher.hidden_size];
                let seed = recipe.train.seed;
                let states = HiddenStates::new(ctx, pairs, settings.hidden_loss(), widths, precision, seed);
                teacher.keep_layers(states.teacher_layers());
                hidden = Some(states);
            }
            Box::new(teacher)
        }
    };
    let divergence = settings.divergence_args(teacher.vocab());
    let distillation = Distillation::new(settings.terms(), divergence, teacher);
    let distillation = match hidden {
        Some(hidden) => distillation.with_hidden(hidden),
        None => distillation,
    };
    let width = student.config.hidden_size;
    Ok(Box::new(match settings.balance {
        Balancing::None => distillation,
        Balancing::Gradient => distillation.balanced(width),
    }))
}

/// Refuses layers that a recipe names and a model does not have, before any weights are read.
///
/// # Errors
/// These layers, and a teacher that does not open.
pub fn check_layers(student: &Student, recipe: &Recipe) -> Result<()> {
    if recipe.distill.has_hidden() {
        let teacher = Student::open(recipe.distill.teacher_model()?)?;
        recipe.distill.layer_pairs(student.config.num_hidden_layers, teacher.config.num_hidden_layers)?;
    }
    Ok(())
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

impl ResidualTap for CrossEntropy {}

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
        gradient: Option<ResidualGradient<'_>>,
    ) {
        let ids = ctx.upload_indices(&batch.targets[range.clone()]);
        let weights = ctx.upload(Region::Io, 1, range.len(), &batch.weights[range]);
        loss::cross_entropy(ctx, logits, ids, weights, losses, gradient.is_some());
    }
}
