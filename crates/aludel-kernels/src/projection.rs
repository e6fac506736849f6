//! A linear layer that is trained as a whole, `y = x·Wᵀ`: from the width of one model to that of another. Frozen weights, with or
//! without adapters, are in `linear`. Shapes: x [T, d_in], W [d_out, d_in], y [T, d_out].

use crate::device::{Context, Device, Mat};
use crate::gemm::{Init, Order, Precision, add_token_products, gemm, pack_lhs, pack_rhs};
use crate::reference;

/// `y = x·Wᵀ`.
///
/// # Panics
/// If the shapes do not fit each other, or if `y` shares elements with what is read.
pub fn forward(ctx: &mut Context, x: Mat, weight: Mat, precision: Precision, y: Mat) {
    assert_eq!((x.cols(), y.cols(), x.rows()), (weight.cols(), weight.rows(), y.rows()));
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::projection::forward(ctx, x, weight, y),
    }
    let mark = ctx.mark();
    let operands = (pack_lhs(ctx, x, precision), pack_rhs(ctx, weight, Order::Nk, 1.0, precision));
    gemm(ctx, &[operands], Init::Zero, y);
    ctx.release(mark);
}

/// `dW += dyᵀ·x`, and then `dx = dy·W`, which may be written over x.
///
/// # Panics
/// If the shapes do not fit each other, or if what is written shares elements with what is read, x aside.
pub fn backward(ctx: &mut Context, x: Mat, weight: Mat, dy: Mat, precision: Precision, dweight: Mat, dx: Mat) {
    assert_eq!((x.cols(), dy.cols(), x.rows()), (weight.cols(), weight.rows(), dy.rows()));
    assert_eq!((weight.rows(), weight.cols()), (dweight.rows(), dweight.cols()));
    assert_eq!((x.rows(), x.cols()), (dx.rows(), dx.cols()));
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::projection::backward(ctx, x, weight, dy, dweight, dx),
    }
    let mark = ctx.mark();
    add_token_products(ctx, dy, x, 1.0, dweight, false);
    let operands = (pack_lhs(ctx, dy, precision), pack_rhs(ctx, weight, Order::Kn, 1.0, precision));
    gemm(ctx, &[operands], Init::Zero, dx);
    ctx.release(mark);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};

    #[test]
    fn forward_and_backward_match_f64_and_finite_differences() {
        let (t, d_in, d_out) = (7, 21, 35);
        let (x, w, dy) = (random(1, t * d_in), random(2, d_out * d_in), random(3, t * d_out));
        let product = |x: &[f64], w: &[f64]| -> Vec<f64> {
            let rows = x.chunks_exact(d_in);
            rows.flat_map(|x| w.chunks_exact(d_in).map(|w| x.iter().zip(w).map(|(x, w)| x * w).sum())).collect()
        };
        let loss = |x: &[f64], w: &[f64]| -> f64 { product(x, w).iter().zip(wide(&dy)).map(|(y, d)| y * d).sum() };
        let expected_y = product(&wide(&x), &wide(&w));
        let expected_dx = finite_differences(&wide(&x), 1e-4, |x| loss(x, &wide(&w)));
        let expected_dw: Vec<f64> =
            finite_differences(&wide(&w), 1e-4, |w| loss(&wide(&x), w)).iter().map(|d| 1.0 + d).collect();
        for mut ctx in [Context::cpu(1), Context::cpu(2), Context::reference()] {
            let [xm, wm, dym] = [(t, d_in, &x), (d_out, d_in, &w), (t, d_out, &dy)]
                .map(|(rows, cols, values)| ctx.upload_persistent(rows, cols, values));
            let dw = ctx.upload_persistent(d_out, d_in, &vec![1.0; w.len()]);
            let y = ctx.persistent(t, d_out);
            ctx.plan(|ctx| {
                forward(ctx, xm, wm, Precision::F32, y);
                backward(ctx, xm, wm, dym, Precision::F32, dw, xm);
            });
            forward(&mut ctx, xm, wm, Precision::F32, y);
            backward(&mut ctx, xm, wm, dym, Precision::F32, dw, xm);
            assert_close("y", &ctx.download(y), &expected_y, 1e-5);
            assert_close("dW, added to ones", &ctx.download(dw), &expected_dw, 1e-5);
            assert_close("dx, over x", &ctx.download(xm), &expected_dx, 1e-5);
        }
    }
}
