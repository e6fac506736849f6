//! RMSNorm (Zhang and Sennrich, 2019): `y = x / sqrt(mean(x²) + ε) · weight`, row by row.

use super::for_rows;
use crate::device::{Context, Device, Mat, assert_apart};
use crate::gemm::Precision;
use crate::operands::Input;
use crate::reference;
use crate::simd::{lane_sum, multiversion};

/// `y = norm(x)`; x and y are [T, C], weight [1, C].
///
/// # Panics
/// If the shapes differ, or if `y` shares elements with what is read.
pub fn forward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, y: Mat) {
    assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[y.place()], &[x.place(), weight.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rms_norm::forward(ctx, x, weight, epsilon, y),
    }
    let (write, yv) = (writer(ctx, x, weight, epsilon), ctx.view(y));
    // SAFETY: tasks write disjoint rows of y, which overlaps no operand (asserted).
    for_rows(ctx, x.rows(), |t| unsafe { write(t, yv.row_mut(t)) });
}

/// `norm(x)` as an input that exists in packed form alone.
pub fn packed(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, precision: Precision) -> Input {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            let y = ctx.scratch(x.rows(), x.cols());
            forward(ctx, x, weight, epsilon, y);
            return Input::unpacked(y);
        }
    }
    let [y] = Input::written(ctx, (x.rows(), x.cols()), precision, &[x.place(), weight.place()], |ctx| {
        let write = writer(ctx, x, weight, epsilon);
        move |t, [y]: [&mut [f32]; 1]| write(t, y)
    });
    y
}

/// Writes a row of `norm(x)`.
fn writer(ctx: &Context, x: Mat, weight: Mat, epsilon: f32) -> impl Fn(usize, &mut [f32]) + Send + Sync + use<> {
    assert_eq!(weight.cols(), x.cols());
    let (xv, wv, isa) = (ctx.view(x), ctx.view(weight), ctx.isa());
    // SAFETY: x and the weight are only read while their norm is written elsewhere.
    move |t, y| unsafe { row(isa, xv.row(t), wv.row(0), epsilon, y) }
}

/// `dx += ∂L/∂x`: with x̂ = x/rms and g = dy·weight, the gradient is `(g − x̂·mean(g·x̂)) / rms`. The weight is frozen.
///
/// # Panics
/// If the shapes differ, or if `dx` shares elements with what is read.
pub fn backward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, dy: Mat, dx: Mat) {
    assert_eq!((x.rows(), x.cols(), x.rows(), x.cols()), (dy.rows(), dy.cols(), dx.rows(), dx.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[dx.place()], &[x.place(), weight.place(), dy.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rms_norm::backward(ctx, x, weight, epsilon, dy, dx),
    }
    let (xv, wv, gv, dv, isa) = (ctx.view(x), ctx.view(weight), ctx.view(dy), ctx.view(dx), ctx.isa());
    // SAFETY: tasks write disjoint rows of dx, which overlaps no operand (asserted).
    for_rows(ctx, x.rows(), |t| unsafe {
        row_backward(isa, xv.row(t), wv.row(0), epsilon, gv.row(t), dv.row_mut(t));
    });
}

multiversion! {
    fn row(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
        let scale = 1.0 / (lane_sum(x, x, |a, b| a * b) / x.len() as f32 + epsilon).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * w;
        }
    }
}

multiversion! {
    fn row_backward(x: &[f32], weight: &[f32], epsilon: f32, dy: &[f32], dx: &mut [f32]) {
        let count = x.len() as f32;
        let scale = 1.0 / (lane_sum(x, x, |a, b| a * b) / count + epsilon).sqrt();
        // Σ g·x, with g = dy·weight formed on the fly in dx's lane order
        let mut lanes = [0f32; 16];
        let (whole, rest) = (dy.len() / 16 * 16, dy.len() % 16);
        let groups = dy[..whole].as_chunks::<16>().0.iter().zip(weight[..whole].as_chunks::<16>().0);
        for ((g, w), x) in groups.zip(x[..whole].as_chunks::<16>().0) {
            for lane in 0..16 {
                lanes[lane] += g[lane] * w[lane] * x[lane];
            }
        }
        for lane in 0..rest {
            lanes[lane] += dy[whole + lane] * weight[whole + lane] * x[whole + lane];
        }
        let shared = lanes.iter().sum::<f32>() * scale * scale / count;
        for (((d, g), w), x) in dx.iter_mut().zip(dy).zip(weight).zip(x) {
            *d += scale * (g * w - x * shared);
        }
    }
}
