//! SwiGLU (Shazeer, 2020): `h = silu(gate) · up` with `silu(z) = z / (1 + e⁻ᶻ)`; what its backward wants, whole or in half the
//! memory.

use super::for_rows;
use crate::device::{Context, Mat, assert_apart};
use crate::gemm::pair;
use crate::simd::{exp, multiversion};

/// What the backward wants of gate and up.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// Both as they are, [T, C] each.
    Apart {
        /// gate.
        gate: Mat,
        /// up.
        up: Mat,
    },
    /// Both rounded to bf16, side by side where one f32 would lie, [T, C]: the largest activations of a layer in half the memory.
    Pairs(Mat),
}

/// `out = silu(gate)·up`; all [T, C]. `pairs` receives gate and up for [`Kept::Pairs`].
pub fn forward(ctx: &mut Context, gate: Mat, up: Mat, pairs: Option<Mat>, out: Mat) {
    let shape = |mat: Mat| (mat.rows(), mat.cols());
    assert!([up, out].into_iter().chain(pairs).all(|mat| shape(mat) == shape(gate)), "matrices of different shapes");
    if ctx.planning() {
        return;
    }
    assert_apart(&[out], &[gate, up]);
    let (gv, uv, ov, isa) = (ctx.view(gate), ctx.view(up), ctx.view(out), ctx.isa());
    let Some(pairs) = pairs else {
        // SAFETY: tasks write disjoint rows of `out`, which overlaps no operand (asserted).
        return for_rows(ctx, gate.rows(), |t| unsafe { row(isa, gv.row(t), uv.row(t), ov.row_mut(t)) });
    };
    assert_apart(&[pairs, out], &[gate, up]);
    let pv = ctx.view(pairs);
    // SAFETY: tasks write disjoint rows of `pairs` and `out`, which overlap no operand (asserted).
    for_rows(ctx, gate.rows(), |t| unsafe {
        row(isa, gv.row(t), uv.row(t), ov.row_mut(t));
        row_pairs(isa, gv.row(t), uv.row(t), bytemuck::cast_slice_mut(pv.row_mut(t)));
    });
}

/// [`forward`] once more, from what it kept.
pub fn again(ctx: &mut Context, kept: Kept, out: Mat) {
    let pairs = match kept {
        Kept::Apart { gate, up } => return forward(ctx, gate, up, None, out),
        Kept::Pairs(pairs) => pairs,
    };
    if ctx.planning() {
        return;
    }
    assert_apart(&[out], &[pairs]);
    let (pv, ov, isa) = (ctx.view(pairs), ctx.view(out), ctx.isa());
    // SAFETY: tasks write disjoint rows of `out`, which overlaps no operand (asserted).
    for_rows(ctx, pairs.rows(), |t| unsafe { row_again(isa, bytemuck::cast_slice(pv.row(t)), ov.row_mut(t)) });
}

/// `dgate = dh·up·silu′(gate)` and `dup = dh·silu(gate)`.
pub fn backward(ctx: &mut Context, kept: Kept, dh: Mat, dgate: Mat, dup: Mat) {
    if ctx.planning() {
        return;
    }
    let (hv, dgv, duv, isa) = (ctx.view(dh), ctx.view(dgate), ctx.view(dup), ctx.isa());
    match kept {
        Kept::Apart { gate, up } => {
            assert_apart(&[dgate, dup], &[gate, up, dh]);
            let (gv, uv) = (ctx.view(gate), ctx.view(up));
            // SAFETY: tasks write disjoint rows of dgate and dup, which overlap no operand (asserted).
            for_rows(ctx, dh.rows(), |t| unsafe {
                row_backward(isa, gv.row(t), uv.row(t), hv.row(t), dgv.row_mut(t), duv.row_mut(t));
            });
        }
        Kept::Pairs(pairs) => {
            assert_apart(&[dgate, dup], &[pairs, dh]);
            let pv = ctx.view(pairs);
            // SAFETY: as above.
            for_rows(ctx, dh.rows(), |t| unsafe {
                let pairs = bytemuck::cast_slice(pv.row(t));
                row_backward_pairs(isa, pairs, hv.row(t), dgv.row_mut(t), duv.row_mut(t));
            });
        }
    }
}

/// gate and up of a pair.
#[inline(always)]
fn apart(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

#[inline(always)]
fn product<const FUSED: bool>(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exp::<FUSED>(-gate)) * up
}

#[inline(always)]
fn gradient<const FUSED: bool>(gate: f32, up: f32, dh: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp::<FUSED>(-gate));
    (dh * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)), dh * gate * sigmoid)
}

multiversion! {
    fn row(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            *o = product::<FUSED>(*g, *u);
        }
    }
}

multiversion! {
    fn row_pairs(gate: &[f32], up: &[f32], pairs: &mut [u32]) {
        for ((p, g), u) in pairs.iter_mut().zip(gate).zip(up) {
            *p = pair(*g, *u);
        }
    }
}

multiversion! {
    fn row_again(pairs: &[u32], out: &mut [f32]) {
        for (o, p) in out.iter_mut().zip(pairs) {
            let (g, u) = apart(*p);
            *o = product::<FUSED>(g, u);
        }
    }
}

multiversion! {
    fn row_backward(gate: &[f32], up: &[f32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        for i in 0..gate.len() {
            (dgate[i], dup[i]) = gradient::<FUSED>(gate[i], up[i], dh[i]);
        }
    }
}

multiversion! {
    fn row_backward_pairs(pairs: &[u32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        for i in 0..pairs.len() {
            let (g, u) = apart(pairs[i]);
            (dgate[i], dup[i]) = gradient::<FUSED>(g, u, dh[i]);
        }
    }
}
