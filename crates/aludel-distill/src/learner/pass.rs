//! One pass of rows: what the objective says of them before, the student's forward, its head with the losses, and with gradients the
//! backward. What owns student, adapter and optimiser is the parent.

use std::time::Instant;

use aludel_kernels::{Context, Mat, Region, rowwise};
use aludel_model::adapter::Adapter;
use aludel_model::decoder::{Active, Attention, Decoder, SavedActivations, StepDropout};

use crate::error::Result;
use crate::objective::{Objective, ResidualGradient};
use crate::supervision::{PassSums, SupervisedBatch};

/// What a backward needs: the gradient buffer, the dropout of the step, and room for what the forward keeps.
pub(super) type Backward<'a> = (Mat, Option<StepDropout>, &'a mut SavedActivations);

/// What the objective says of a pass, forward, head and loss; with gradients, also the backward.
pub(super) fn run_pass(
    ctx: &mut Context,
    decoder: &Decoder,
    adapter: &Adapter,
    batch: &mut SupervisedBatch,
    objective: &mut dyn Objective,
    backward: Option<Backward<'_>>,
) -> Result<PassSums> {
    ctx.reset();
    let begun = objective.teacher().map(|_| Instant::now());
    objective.begin(ctx, batch)?;
    let teacher_seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    let (gradients, dropout, kept) = match backward {
        Some((gradients, dropout, kept)) => (Some(gradients), dropout, Some(kept)),
        None => (None, None, None),
    };
    let active = Active { adapter, dropout };
    let forward = decoder.forward_tapped(ctx, &batch.pass, Attention::Rows, Some(active), kept, objective);
    let terms = objective.terms().len();
    let losses = ctx.alloc(Region::Io, terms, batch.chosen.len());
    objective.compare_states(ctx, batch, losses, gradients.is_some());
    let chosen = if objective.reads_logits() { &batch.chosen[..] } else { &[] };
    let dhidden = decoder.head_chunks(ctx, &forward, chosen, gradients, |ctx, logits, range| {
        let losses = losses.col_range(range.start, range.len());
        let own = range.clone();
        let residual = |ctx: &mut Context, dlogits: Mat, dhidden: Mat| {
            let mark = ctx.mark();
            let (rows, gathered) =
                (ctx.upload_indices(&chosen[own.clone()]), ctx.scratch(dhidden.rows(), dhidden.cols()));
            rowwise::gather_rows(ctx, forward.hidden, rows, gathered);
            decoder.residual_gradient(ctx, gathered, Some(adapter), dlogits, dhidden);
            ctx.release(mark);
        };
        let gradient = gradients.map(|_| &residual as ResidualGradient<'_>);
        objective.chunk(ctx, logits, batch, range, losses, gradient);
    });
    if let (Some(dhidden), Some(gradients)) = (dhidden, gradients) {
        decoder.backward_tapped(ctx, forward, dhidden, gradients, objective);
    }
    let squares = gradients.and_then(|_| objective.gradient_squares(ctx)).unwrap_or_default();
    ctx.download_into(losses, &mut batch.losses);
    let (supervised, tokens) = (batch.chosen.len() as u64, batch.pass.len() as u64);
    let mut sums = PassSums { supervised, tokens, squares, teacher_seconds, ..PassSums::default() };
    let count = batch.chosen.len().max(1);
    for ((term, _), losses) in objective.terms().iter().zip(batch.losses.chunks_exact(count)) {
        let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
        sums.terms[*term as usize] = sum;
        sums.loss += sum;
    }
    Ok(sums)
}

/// A pass that only counts memory: nothing is read for it, so nothing fails.
pub(super) fn plan_pass(
    ctx: &mut Context,
    decoder: &Decoder,
    adapter: &Adapter,
    batch: &mut SupervisedBatch,
    objective: &mut dyn Objective,
    backward: Option<Backward<'_>>,
) {
    let planned = run_pass(ctx, decoder, adapter, batch, objective, backward);
    assert!(planned.is_ok(), "planning reads nothing");
}
