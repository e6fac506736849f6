//! SwiGLU (Shazeer, 2020): `h = silu(gate) · up` with `silu(z) = z / (1 + e⁻ᶻ)`; what its backward wants, whole or in half the
//! memory.

use super::for_rows;
use crate::device::{Context, Mat, assert_apart};
use crate::gemm::pair;
use crate::linear::{Input, Precision};
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

impl Kept {
    /// All matrices.
    fn all(self) -> [Mat; 2] {
        match self {
            Kept::Apart { gate, up } => [gate, up],
            Kept::Pairs(pairs) => [pairs, pairs],
        }
    }

    fn shape(self) -> (usize, usize) {
        let [mat, _] = self.all();
        (mat.rows(), mat.cols())
    }
}

/// `out = silu(gate)·up`; all [T, C]. `pairs` receives gate and up for [`Kept::Pairs`].
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn forward(ctx: &mut Context, gate: Mat, up: Mat, pairs: Option<Mat>, out: Mat) {
    assert_eq!((gate.rows(), gate.cols()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out], &[gate, up]);
    pairs.iter().for_each(|pairs| assert_apart(&[*pairs], &[out]));
    let (write, ov) = (writer(ctx, gate, up, pairs), ctx.view(out));
    // SAFETY: tasks write disjoint rows of `out`, which overlaps no operand (asserted).
    for_rows(ctx, gate.rows(), |t| unsafe { write(t, ov.row_mut(t)) });
}

/// `silu(gate)·up` as an input that exists in packed form alone.
pub fn packed(ctx: &mut Context, gate: Mat, up: Mat, pairs: Option<Mat>, precision: Precision) -> Input {
    let touched = [gate, up, pairs.unwrap_or(up)];
    let [out] = Input::written(ctx, (gate.rows(), gate.cols()), precision, &touched, |ctx| {
        let write = writer(ctx, gate, up, pairs);
        move |t, [out]: [&mut [f32]; 1]| write(t, out)
    });
    out
}

/// Writes a row of `silu(gate)·up`, and of `pairs`.
fn writer(ctx: &Context, gate: Mat, up: Mat, pairs: Option<Mat>) -> impl Fn(usize, &mut [f32]) + Send + Sync + use<> {
    let shape = |mat: Mat| (mat.rows(), mat.cols());
    assert!([up].into_iter().chain(pairs).all(|mat| shape(mat) == shape(gate)), "matrices of different shapes");
    pairs.iter().for_each(|pairs| assert_apart(&[*pairs], &[gate, up]));
    let (gv, uv, pv, isa) = (ctx.view(gate), ctx.view(up), pairs.map(|pairs| ctx.view(pairs)), ctx.isa());
    move |t, out| {
        // SAFETY: gate and up are only read meanwhile; each row of `pairs`, which overlaps neither (asserted), is written with its own
        // row of the output.
        unsafe {
            row(isa, gv.row(t), uv.row(t), out);
            if let Some(pv) = &pv {
                row_pairs(isa, gv.row(t), uv.row(t), bytemuck::cast_slice_mut(pv.row_mut(t)));
            }
        }
    }
}

/// [`forward`] once more, from what it kept.
///
/// # Panics
/// If `out` shares elements with what is read.
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
///
/// # Panics
/// If what is written shares elements with what is read.
pub fn backward(ctx: &mut Context, kept: Kept, dh: Mat, dgate: Mat, dup: Mat) {
    if ctx.planning() {
        return;
    }
    let [first, second] = kept.all();
    assert_apart(&[dgate, dup], &[first, second, dh]);
    let (write, dgv, duv) = (backward_writer(ctx, kept, dh), ctx.view(dgate), ctx.view(dup));
    // SAFETY: tasks write disjoint rows of dgate and dup, which overlap no operand (asserted).
    for_rows(ctx, dh.rows(), |t| unsafe { write(t, [dgv.row_mut(t), duv.row_mut(t)]) });
}

/// [`backward`] with both gradients in packed form alone.
pub fn packed_backward(ctx: &mut Context, kept: Kept, dh: Mat, precision: Precision) -> [Input; 2] {
    let [first, second] = kept.all();
    Input::written(ctx, kept.shape(), precision, &[first, second, dh], |ctx| backward_writer(ctx, kept, dh))
}

/// Writes a row of dgate and of dup.
fn backward_writer(ctx: &Context, kept: Kept, dh: Mat) -> impl Fn(usize, [&mut [f32]; 2]) + Send + Sync + use<> {
    assert_eq!(kept.shape(), (dh.rows(), dh.cols()));
    let (views, hv, isa) = (kept.all().map(|mat| ctx.view(mat)), ctx.view(dh), ctx.isa());
    // SAFETY: the operands are only read meanwhile.
    move |t, [dgate, dup]| unsafe {
        let [first, second] = [views[0].row(t), views[1].row(t)];
        match kept {
            Kept::Apart { .. } => row_backward(isa, first, second, hv.row(t), dgate, dup),
            Kept::Pairs(_) => row_backward_pairs(isa, bytemuck::cast_slice(first), hv.row(t), dgate, dup),
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
