//! Columns times factors, and their sums over the tokens.

use super::Values;
use crate::device::{Context, Mat};

pub(crate) fn scale(ctx: &mut Context, x: Mat, factors: Mat, out: Mat) {
    let scaled = scaled(&Values::of(ctx, x), &Values::of(ctx, factors));
    ctx.write(out, &scaled.values);
}

pub(crate) fn scale_onto(ctx: &mut Context, factors: Mat, start: Option<Mat>, y: Mat) {
    let mut scaled = scaled(&Values::of(ctx, y), &Values::of(ctx, factors));
    if let Some(start) = start {
        let start = Values::of(ctx, start);
        for t in 0..scaled.rows() {
            let start = start.row(if start.rows() == 1 { 0 } else { t });
            scaled.row_mut(t).iter_mut().zip(start).for_each(|(y, start)| *y += start);
        }
    }
    ctx.write(y, &scaled.values);
}

/// `out += factors ⊙ Σ_t x_t ⊙ with_t`, or `out += Σ_t x_t`.
pub(crate) fn add_products(ctx: &mut Context, x: Mat, with: Option<(Mat, Mat)>, out: Mat) {
    let (x, mut sums) = (Values::of(ctx, x), Values::of(ctx, out));
    let with = with.map(|(with, factors)| (Values::of(ctx, with), Values::of(ctx, factors)));
    for t in 0..x.rows() {
        for (n, x) in x.row(t).iter().enumerate() {
            sums.values[n] += match &with {
                None => *x,
                Some((with, factors)) => factors.values[n] * x * with.row(t)[n],
            };
        }
    }
    ctx.write(out, &sums.values);
}

fn scaled(x: &Values, factors: &Values) -> Values {
    let mut scaled = Values::zeroed(x.rows(), x.cols);
    for t in 0..x.rows() {
        for (n, x) in x.row(t).iter().enumerate() {
            scaled.row_mut(t)[n] = factors.values[n] * x;
        }
    }
    scaled
}
