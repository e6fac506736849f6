//! The language-model head, `logits = hidden·Wᵀ`, where trained rows stand in for those of W.

use super::Values;
use super::linear::rows;
use crate::device::{Context, Mat};
use crate::head::Head;

/// All rows of the vocabulary, [V, C]: those of W, and the trained ones in their places. Also where these are.
fn vocabulary(ctx: &Context, head: &Head) -> (Values, Vec<u32>) {
    let mut all = rows(ctx, head.weight);
    all.values.resize(head.vocab_size() * all.cols, 0.0);
    let Some(trained) = head.trained else { return (all, Vec::new()) };
    let ids = ctx.entries(trained.ids).to_vec();
    let values = Values::of(ctx, trained.rows);
    ids.iter().enumerate().for_each(|(i, &id)| all.row_mut(id as usize).copy_from_slice(values.row(i)));
    (all, ids)
}

pub(crate) fn forward(ctx: &mut Context, head: &Head, hidden: Mat, logits: Mat) {
    if ctx.planning() {
        return;
    }
    let (all, _) = vocabulary(ctx, head);
    ctx.write(logits, &Values::of(ctx, hidden).times_transposed(&all).values);
}

pub(crate) fn backward(ctx: &mut Context, head: &Head, hidden: Mat, dlogits: Mat, dhidden: Mat, drows: Option<Mat>) {
    if ctx.planning() {
        return;
    }
    let (all, ids) = vocabulary(ctx, head);
    let (hidden, gradient) = (Values::of(ctx, hidden), Values::of(ctx, dlogits));
    ctx.write(dhidden, &gradient.times_transposed(&all.transposed()).values);
    let Some(drows) = drows else { return };
    let (of_all, mut sums) = (gradient.transposed().times_transposed(&hidden.transposed()), Values::of(ctx, drows));
    for (i, &id) in ids.iter().enumerate() {
        sums.row_mut(i).iter_mut().zip(of_all.row(id as usize)).for_each(|(sum, d)| *sum += d);
    }
    ctx.write(drows, &sums.values);
}
