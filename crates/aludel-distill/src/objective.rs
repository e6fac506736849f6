//! The training objective. It gets one chunk of logits with the targets of its tokens, and turns the logits into the gradient of the summed
//! loss. It never divides: the optimiser does, once per step.

use aludel_kernels::{Context, Mat, Region, loss};

/// The supervised tokens of a chunk: row i of the logits predicts `targets[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The tokens that should come next.
    pub ids: &'a [u32],
    /// Their weights in the loss.
    pub weights: &'a [f32],
}

/// A loss on logits.
pub trait Objective {
    /// Writes the loss of each row to `losses` [1, rows]; with `gradient`, overwrites the logits [rows, V] with the gradient of the
    /// sum of those losses.
    fn chunk(&self, ctx: &mut Context, logits: Mat, targets: Targets<'_>, losses: Mat, gradient: bool);
}

/// Cross-entropy with the data's own tokens: data distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy;

impl Objective for CrossEntropy {
    fn chunk(&self, ctx: &mut Context, logits: Mat, targets: Targets<'_>, losses: Mat, gradient: bool) {
        let ids = ctx.upload_indices(targets.ids);
        let weights = ctx.upload(Region::Io, 1, targets.weights.len(), targets.weights);
        loss::cross_entropy(ctx, logits, ids, weights, losses, gradient);
    }
}
