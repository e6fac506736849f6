//! Gated activations, `h = act(gate)·up`.

use crate::device::{Context, Mat};
use crate::gemm::pair;
use crate::rowwise::gated::{Activation, SavedGate, apart};

/// `act(x) = x·σ(z(x))`, and its derivative.
fn activate(activation: Activation, x: f32) -> (f32, f32) {
    let (z, slope) = match activation {
        Activation::Silu => (x, 1.0),
        Activation::GeluTanh => {
            let factor = 2.0 * (2.0 / std::f32::consts::PI).sqrt();
            (factor * (x + 0.044_715 * x * x * x), factor * (1.0 + 3.0 * 0.044_715 * x * x))
        }
    };
    let sigmoid = 1.0 / (1.0 + (-z).exp());
    (x * sigmoid, sigmoid * (1.0 + x * slope * (1.0 - sigmoid)))
}

fn product(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(gate, up)| activate(activation, *gate).0 * up).collect()
}

/// gate and up.
fn both(ctx: &Context, kept: SavedGate) -> (Vec<f32>, Vec<f32>) {
    match kept {
        SavedGate::Apart { gate, up } => (ctx.download(gate), ctx.download(up)),
        SavedGate::Pairs(pairs) => ctx.download(pairs).into_iter().map(apart).unzip(),
    }
}

pub(crate) fn forward(
    ctx: &mut Context,
    activation: Activation,
    gate: Mat,
    up: Mat,
    pairs: Option<Mat<u32>>,
    out: Mat,
) {
    let (gate, up) = both(ctx, SavedGate::Apart { gate, up });
    ctx.write(out, &product(activation, &gate, &up));
    if let Some(pairs) = pairs {
        let values: Vec<u32> = gate.iter().zip(&up).map(|(gate, up)| pair(*gate, *up)).collect();
        ctx.write(pairs, &values);
    }
}

pub(crate) fn again(ctx: &mut Context, activation: Activation, pairs: Mat<u32>, out: Mat) {
    let (gate, up) = both(ctx, SavedGate::Pairs(pairs));
    ctx.write(out, &product(activation, &gate, &up));
}

pub(crate) fn backward(ctx: &mut Context, activation: Activation, kept: SavedGate, dh: Mat, dgate: Mat, dup: Mat) {
    let ((gate, up), dh) = (both(ctx, kept), ctx.download(dh));
    let (mut of_gate, mut of_up) = (Vec::with_capacity(dh.len()), Vec::with_capacity(dh.len()));
    for ((gate, up), dh) in gate.iter().zip(&up).zip(&dh) {
        let (value, slope) = activate(activation, *gate);
        of_gate.push(dh * up * slope);
        of_up.push(dh * value);
    }
    ctx.write(dgate, &of_gate);
    ctx.write(dup, &of_up);
}
