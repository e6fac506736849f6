//! RMSNorm, `y = x / sqrt(mean(x²) + ε) · weight`.

use super::{Values, dot};
use crate::device::{Context, Mat};

fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

pub(crate) fn forward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, y: Mat) {
    let (mut x, weight) = (Values::of(ctx, x), Values::of(ctx, weight));
    for t in 0..x.rows() {
        let scale = inverse_rms(x.row(t), epsilon);
        x.row_mut(t).iter_mut().zip(weight.row(0)).for_each(|(x, w)| *x *= scale * w);
    }
    ctx.write(y, &x.values);
}

/// With g = dy·weight: `dx += (g − x·mean(g·x)/rms²) / rms`.
pub(crate) fn backward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, dy: Mat, dx: Mat) {
    let ([x, weight, mut g], mut sum) = ([x, weight, dy].map(|mat| Values::of(ctx, mat)), Values::of(ctx, dx));
    for t in 0..x.rows() {
        let scale = inverse_rms(x.row(t), epsilon);
        g.row_mut(t).iter_mut().zip(weight.row(0)).for_each(|(g, w)| *g *= w);
        let mean = dot(g.row(t), x.row(t)) / x.cols as f32;
        for ((sum, g), x) in sum.row_mut(t).iter_mut().zip(g.row(t)).zip(x.row(t)) {
            *sum += scale * (g - x * mean * scale * scale);
        }
    }
    ctx.write(dx, &sum.values);
}
