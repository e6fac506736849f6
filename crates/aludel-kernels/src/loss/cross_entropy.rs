//! Cross-entropy of a chunk of logits with tokens: the summed loss and, in place, the gradient of that sum.

use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::reference;
use crate::simd::{exp, lane_max, lane_sum, multiversion};

/// Cross-entropy: `losses[i] = weight[i]·(log Σ_j e^(logits[i][j]) − logits[i][target[i]])`, and the logits become
/// `weight[i]·(softmax − onehot)` if `gradient`. Logits [rows, V]; weights and losses [1, rows]. A NaN logit gives a NaN loss.
///
/// # Panics
/// If there is not one target, weight and loss for each row of logits, or if what is written shares elements with what is read.
pub fn cross_entropy(ctx: &mut Context, logits: Mat, targets: Indices, weights: Mat, losses: Mat, gradient: bool) {
    assert_eq!((logits.rows(), logits.rows()), (targets.len(), weights.cols()));
    assert_eq!(logits.rows(), losses.cols());
    if ctx.planning() {
        return;
    }
    assert_apart(&[logits.place(), losses.place()], &[weights.place(), targets.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return reference::cross_entropy::cross_entropy(ctx, logits, targets, weights, losses, gradient);
        }
    }
    let (gv, wv, lv, isa) = (ctx.view(logits), ctx.view(weights), ctx.view(losses), ctx.isa());
    let targets = ctx.entries(targets);
    ctx.parallel(logits.rows(), |row| {
        // SAFETY: each task writes its own row of the logits and its own loss; the operands are apart (asserted).
        unsafe {
            let loss = lv.part_mut(0, row, 1);
            loss[0] = row_loss(isa, gv.row_mut(row), targets[row] as usize, wv.row(0)[row], gradient);
        }
    });
}

multiversion! {
    fn row_loss(logits: &mut [f32], target: usize, weight: f32, gradient: bool) -> f32 {
        let highest = lane_max(logits);
        // A short sum per block of 4096, then the blocks in f64: V may be 256,000.
        let sum: f64 = logits.chunks(4096).map(|block| f64::from(lane_sum(block, block, |x, _| exp::<FUSED>(x - highest)))).sum();
        let log_sum = f64::from(highest) + sum.ln();
        let loss = weight * (log_sum - f64::from(logits[target])) as f32;
        if gradient {
            let scale = weight / sum as f32;
            for x in logits.iter_mut() {
                *x = exp::<FUSED>(*x - highest) * scale;
            }
            logits[target] -= weight;
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};

    #[test]
    fn cross_entropy_matches_f64_and_finite_differences() {
        let (rows, v) = (4, 37);
        let logits: Vec<f32> = random(1, rows * v).iter().map(|x| x * 4.0).collect();
        let targets = [0u32, 36, 5, 5];
        let weights = [1.0f32, 0.5, 0.0, 2.0];
        let row_loss = |x: &[f64], row: usize| {
            let row_logits = &x[row * v..(row + 1) * v];
            let log_sum = row_logits.iter().map(|x| x.exp()).sum::<f64>().ln();
            f64::from(weights[row]) * (log_sum - row_logits[targets[row] as usize])
        };
        let mut ctx = Context::cpu(2);
        let (lm, wm) = (ctx.upload_persistent(rows, v, &logits), ctx.upload_persistent(1, rows, &weights));
        let losses = ctx.persistent(1, rows);
        ctx.plan(|ctx| ctx.upload_indices(&targets));
        let targets_device = ctx.upload_indices(&targets);
        cross_entropy(&mut ctx, lm, targets_device, wm, losses, true);
        let expected: Vec<f64> = (0..rows).map(|row| row_loss(&wide(&logits), row)).collect();
        assert_close("loss", &ctx.download(losses), &expected, 1e-6);
        let gradient = finite_differences(&wide(&logits), 1e-5, |x| (0..rows).map(|row| row_loss(x, row)).sum());
        assert_close("gradient", &ctx.download(lm), &gradient, 1e-6);
    }

    #[test]
    fn a_nan_shows_in_the_loss_and_huge_logits_do_not_overflow() {
        let mut ctx = Context::cpu(1);
        let lm = ctx.upload_persistent(2, 3, &[1.0, f32::NAN, 2.0, 3e38, -3e38, 0.0]);
        let (wm, losses) = (ctx.upload_persistent(1, 2, &[1.0, 1.0]), ctx.persistent(1, 2));
        ctx.plan(|ctx| ctx.upload_indices(&[0, 0]));
        let targets = ctx.upload_indices(&[0, 0]);
        cross_entropy(&mut ctx, lm, targets, wm, losses, false);
        let losses = ctx.download(losses);
        assert!(losses[0].is_nan());
        assert_eq!(losses[1], 0.0);
    }
}
