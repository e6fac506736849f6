//! The linear layer that is trained as a whole, `y = x·Wᵀ`.

use super::Values;
use crate::device::{Context, Mat};

pub(crate) fn forward(ctx: &mut Context, x: Mat, weight: Mat, y: Mat) {
    if !ctx.planning() {
        let product = Values::of(ctx, x).times_transposed(&Values::of(ctx, weight));
        ctx.write(y, &product.values);
    }
}

pub(crate) fn backward(ctx: &mut Context, x: Mat, weight: Mat, dy: Mat, dweight: Mat, dx: Mat) {
    if ctx.planning() {
        return;
    }
    let [x, weight, dy, mut sum] = [x, weight, dy, dweight].map(|mat| Values::of(ctx, mat));
    sum.add(1.0, &dy.transposed().times_transposed(&x.transposed()));
    ctx.write(dweight, &sum.values);
    ctx.write(dx, &dy.times_transposed(&weight.transposed()).values);
}
