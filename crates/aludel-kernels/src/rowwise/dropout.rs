//! Inverted dropout (Srivastava et al., 2014) with a mask that is a function of (seed, step, site) and of each token's
//! (example, position), so that repacking or recomputing a row gives the same mask.

use super::for_rows;
use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::reference;
use crate::rng;
use crate::simd::multiversion;

/// One site's dropout in one optimiser step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of a zero, in [0, 1).
    pub probability: f32,
    /// Mix of seed, step and site.
    pub key: u64,
    /// Example number of each token.
    pub examples: Indices,
    /// Position of each token in its example.
    pub positions: Indices,
}

/// `out = mask·x / (1 − p)`; both [T, C].
///
/// # Panics
/// If the shapes differ, if there is not an example and a position for each row, or if `out` shares elements with what is read.
pub fn forward(ctx: &mut Context, x: Mat, dropout: &Dropout, out: Mat) {
    apply(ctx, x, dropout, out, false);
}

/// `dx += mask·dy / (1 − p)`.
///
/// # Panics
/// As [`forward`].
pub fn backward(ctx: &mut Context, dy: Mat, dropout: &Dropout, dx: Mat) {
    apply(ctx, dy, dropout, dx, true);
}

fn apply(ctx: &mut Context, x: Mat, dropout: &Dropout, out: Mat, add: bool) {
    assert_eq!((x.rows(), x.cols()), (out.rows(), out.cols()));
    assert_eq!((x.rows(), x.rows()), (dropout.examples.len(), dropout.positions.len()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place(), dropout.examples.place(), dropout.positions.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::dropout::apply(ctx, x, dropout, out, add),
    }
    let (xv, ov, isa) = (ctx.view(x), ctx.view(out), ctx.isa());
    let (examples, positions) = (ctx.entries(dropout.examples), ctx.entries(dropout.positions));
    for_rows(ctx, x.rows(), |t| {
        let key = rng::mix(rng::mix(dropout.key, u64::from(examples[t])), u64::from(positions[t]));
        // SAFETY: tasks write disjoint rows of `out`, which does not overlap x (asserted).
        unsafe { row(isa, xv.row(t), key, dropout.probability, add, ov.row_mut(t)) };
    });
}

multiversion! {
    fn row(x: &[f32], key: u64, probability: f32, add: bool, out: &mut [f32]) {
        let scale = 1.0 / (1.0 - probability);
        for (i, (o, x)) in out.iter_mut().zip(x).enumerate() {
            let kept = if rng::uniform(key, i as u64) >= probability { x * scale } else { 0.0 };
            *o = if add { *o + kept } else { kept };
        }
    }
}
