//! Cross-entropy of each row of logits, and its gradient.

use super::Values;
use crate::device::{Context, Indices, Mat};

pub(crate) fn cross_entropy(
    ctx: &mut Context,
    logits: Mat,
    targets: Indices,
    weights: Mat,
    losses: Mat,
    gradient: bool,
) {
    let (mut rows, weights) = (Values::of(ctx, logits), ctx.download(weights));
    let mut sums = Vec::with_capacity(weights.len());
    for (t, (&target, weight)) in ctx.entries(targets).iter().zip(weights).enumerate() {
        let row = rows.row_mut(t);
        let highest = row.iter().fold(f32::NEG_INFINITY, |highest, &x| if x <= highest { highest } else { x });
        let sum: f64 = row.iter().map(|x| f64::from((x - highest).exp())).sum();
        let log_sum = f64::from(highest) + sum.ln();
        sums.push(weight * (log_sum - f64::from(row[target as usize])) as f32);
        if gradient {
            row.iter_mut().for_each(|x| *x = (*x - highest).exp() / sum as f32 * weight);
            row[target as usize] -= weight;
        }
    }
    ctx.write(losses, &sums);
    if gradient {
        ctx.write(logits, &rows.values);
    }
}
