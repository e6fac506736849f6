//! The linear layer, `y = start + x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ`.

use super::{Values, dropout};
use crate::device::{Context, Mat};
use crate::linear::{FrozenWeight, LoraBackward, Product, Start};
use crate::operands::Body;

/// W, [d_out, d_in].
pub(super) fn rows(ctx: &Context, weight: FrozenWeight) -> Values {
    match &*weight.body(ctx) {
        Body::Rows(rows) => Values::new(rows.clone(), weight.d_in()),
        Body::Dense(_) | Body::Coded(_) => unreachable!("the reference packs no weight"),
    }
}

pub(crate) fn forward(ctx: &mut Context, x: Mat, product: &Product<'_>) {
    if ctx.planning() {
        return;
    }
    let x = Values::of(ctx, x);
    let mut y = x.times_transposed(&rows(ctx, product.weight));
    if let Some((lora, hidden)) = product.lora {
        let dropped = match &lora.dropout {
            Some(how) => dropout::dropped(ctx, &x, how),
            None => x,
        };
        let low = dropped.times_transposed(&Values::of(ctx, lora.a));
        ctx.write(hidden, &low.values);
        y.add(lora.scale, &low.times_transposed(&Values::of(ctx, lora.b)));
    }
    match product.start {
        Start::Zero => {}
        Start::Residual(residual) => y.add(1.0, &Values::of(ctx, residual)),
        Start::Bias(bias) => {
            let bias = Values::of(ctx, bias);
            (0..y.rows()).for_each(|t| y.row_mut(t).iter_mut().zip(bias.row(0)).for_each(|(y, b)| *y += b));
        }
    }
    ctx.write(product.y, &y.values);
}

/// `dx = dy·W + drop(s·dy·B·A)`, `dA += (s·dy·B)ᵀ·drop(x)` and `dB += s·dyᵀ·hidden`.
pub(crate) fn backward(
    ctx: &mut Context,
    dy: Mat,
    weight: FrozenWeight,
    lora: Option<LoraBackward<'_>>,
    accumulate: bool,
    dx: Mat,
) {
    if ctx.planning() {
        return;
    }
    let dy = Values::of(ctx, dy);
    let mut sum = dy.times_transposed(&rows(ctx, weight).transposed());
    if accumulate {
        sum.add(1.0, &Values::of(ctx, dx));
    }
    if let Some(LoraBackward { lora, x, hidden, gradient }) = lora {
        let mut dhidden = dy.times_transposed(&Values::of(ctx, lora.b).transposed());
        dhidden.values.iter_mut().for_each(|d| *d *= lora.scale);
        let (through, x) = (dhidden.times_transposed(&Values::of(ctx, lora.a).transposed()), Values::of(ctx, x));
        let (through, x) = match &lora.dropout {
            Some(how) => (dropout::dropped(ctx, &through, how), dropout::dropped(ctx, &x, how)),
            None => (through, x),
        };
        sum.add(1.0, &through);
        let (mut da, mut db) = (Values::of(ctx, gradient.a), Values::of(ctx, gradient.b));
        da.add(1.0, &dhidden.transposed().times_transposed(&x.transposed()));
        db.add(lora.scale, &dy.transposed().times_transposed(&Values::of(ctx, hidden).transposed()));
        ctx.write(gradient.a, &da.values);
        ctx.write(gradient.b, &db.values);
    }
    ctx.write(dx, &sum.values);
}
