//! Gated activations (Shazeer, 2020): `h = act(gate) · up`; what their backward wants, whole or in half the memory. Each activation is
//! `act(x) = x·σ(z(x))` with the logistic function σ.

use super::for_rows;
use crate::device::{Context, Device, Mat, Place, assert_apart};
use crate::gemm::Precision;
use crate::gemm::pair;
use crate::operands::Input;
use crate::reference;
use crate::simd::{exp, multiversion};

/// The function that the gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x·σ(x)`, of SwiGLU.
    Silu,
    /// GELU (Hendrycks and Gimpel, 2016) by its approximation with tanh, `x·σ(2√(2/π)·(x + 0.044715·x³))`, of GeGLU.
    GeluTanh,
}

/// z(x) of an activation, and its slope.
trait Curve {
    fn argument(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn argument(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

struct GeluTanh;

/// 2√(2/π)
const GELU_FACTOR: f32 = 1.595_769;
const GELU_CUBE: f32 = 0.044_715;

impl Curve for GeluTanh {
    #[inline(always)]
    fn argument(x: f32) -> f32 {
        GELU_FACTOR * (x + GELU_CUBE * x * x * x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        GELU_FACTOR * (1.0 + 3.0 * GELU_CUBE * x * x)
    }
}

/// What the backward wants of gate and up.
#[derive(Clone, Copy, Debug)]
pub enum SavedGate {
    /// Both as they are, [T, C] each.
    Apart {
        /// gate.
        gate: Mat,
        /// up.
        up: Mat,
    },
    /// Both rounded to bf16, side by side where one f32 would lie, [T, C]: the largest activations of a layer in half the memory.
    Pairs(Mat<u32>),
}

impl SavedGate {
    /// Where it lies.
    fn places(self) -> [Place; 2] {
        match self {
            SavedGate::Apart { gate, up } => [gate.place(), up.place()],
            SavedGate::Pairs(pairs) => [pairs.place(); 2],
        }
    }

    fn shape(self) -> (usize, usize) {
        match self {
            SavedGate::Apart { gate, .. } => (gate.rows(), gate.cols()),
            SavedGate::Pairs(pairs) => (pairs.rows(), pairs.cols()),
        }
    }
}

/// `out = act(gate)·up`; all [T, C]. `pairs` receives gate and up for [`SavedGate::Pairs`].
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn forward(ctx: &mut Context, activation: Activation, gate: Mat, up: Mat, pairs: Option<Mat<u32>>, out: Mat) {
    assert_eq!((gate.rows(), gate.cols()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[gate.place(), up.place()]);
    pairs.iter().for_each(|pairs| assert_apart(&[pairs.place()], &[out.place()]));
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::gated::forward(ctx, activation, gate, up, pairs, out),
    }
    let (write, ov) = (writer(ctx, activation, gate, up, pairs), ctx.view(out));
    // SAFETY: tasks write disjoint rows of `out`, which overlaps no operand (asserted).
    for_rows(ctx, gate.rows(), |t| unsafe { write(t, ov.row_mut(t)) });
}

/// `act(gate)·up` as an input that exists in packed form alone.
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn packed(
    ctx: &mut Context,
    activation: Activation,
    gate: Mat,
    up: Mat,
    pairs: Option<Mat<u32>>,
    precision: Precision,
) -> Input {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            let out = ctx.scratch(gate.rows(), gate.cols());
            forward(ctx, activation, gate, up, pairs, out);
            return Input::unpacked(out);
        }
    }
    let touched = [gate.place(), up.place(), pairs.map_or(up.place(), |pairs| pairs.place())];
    let [out] = Input::written(ctx, (gate.rows(), gate.cols()), precision, &touched, |ctx| {
        let write = writer(ctx, activation, gate, up, pairs);
        move |t, [out]: [&mut [f32]; 1]| write(t, out)
    });
    out
}

/// Writes a row of `act(gate)·up`, and of `pairs`.
fn writer(
    ctx: &Context,
    activation: Activation,
    gate: Mat,
    up: Mat,
    pairs: Option<Mat<u32>>,
) -> impl Fn(usize, &mut [f32]) + Send + Sync + use<> {
    let shape = (gate.rows(), gate.cols());
    assert!(shape == (up.rows(), up.cols()), "matrices of different shapes");
    assert!(pairs.is_none_or(|pairs| shape == (pairs.rows(), pairs.cols())), "matrices of different shapes");
    pairs.iter().for_each(|pairs| assert_apart(&[pairs.place()], &[gate.place(), up.place()]));
    let (gv, uv, pv, isa) = (ctx.view(gate), ctx.view(up), pairs.map(|pairs| ctx.view(pairs)), ctx.isa());
    move |t, out| {
        // SAFETY: gate and up are only read meanwhile; each row of `pairs`, which overlaps neither (asserted), is written with its own
        // row of the output.
        unsafe {
            row(isa, activation, gv.row(t), uv.row(t), out);
            if let Some(pv) = &pv {
                row_pairs(isa, gv.row(t), uv.row(t), pv.row_mut(t));
            }
        }
    }
}

/// [`forward`] once more, from what it kept.
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn again(ctx: &mut Context, activation: Activation, kept: SavedGate, out: Mat) {
    let pairs = match kept {
        SavedGate::Apart { gate, up } => return forward(ctx, activation, gate, up, None, out),
        SavedGate::Pairs(pairs) => pairs,
    };
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[pairs.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::gated::again(ctx, activation, pairs, out),
    }
    let (pv, ov, isa) = (ctx.view(pairs), ctx.view(out), ctx.isa());
    // SAFETY: tasks write disjoint rows of `out`, which overlaps no operand (asserted).
    for_rows(ctx, pairs.rows(), |t| unsafe { row_again(isa, activation, pv.row(t), ov.row_mut(t)) });
}

/// `dgate = dh·up·act′(gate)` and `dup = dh·act(gate)`.
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn backward(ctx: &mut Context, activation: Activation, kept: SavedGate, dh: Mat, dgate: Mat, dup: Mat) {
    if ctx.planning() {
        return;
    }
    let [first, second] = kept.places();
    assert_apart(&[dgate.place(), dup.place()], &[first, second, dh.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::gated::backward(ctx, activation, kept, dh, dgate, dup),
    }
    let (write, dgv, duv) = (backward_writer(ctx, activation, kept, dh), ctx.view(dgate), ctx.view(dup));
    // SAFETY: tasks write disjoint rows of dgate and dup, which overlap no operand (asserted).
    for_rows(ctx, dh.rows(), |t| unsafe { write(t, [dgv.row_mut(t), duv.row_mut(t)]) });
}

/// [`backward`] with both gradients in packed form alone.
///
/// # Panics
/// If the shapes differ, or if what is written shares elements with what is read.
pub fn packed_backward(
    ctx: &mut Context,
    activation: Activation,
    kept: SavedGate,
    dh: Mat,
    precision: Precision,
) -> [Input; 2] {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            let [dgate, dup] = [(); 2].map(|()| ctx.scratch(dh.rows(), dh.cols()));
            backward(ctx, activation, kept, dh, dgate, dup);
            return [dgate, dup].map(Input::unpacked);
        }
    }
    let [first, second] = kept.places();
    Input::written(ctx, kept.shape(), precision, &[first, second, dh.place()], |ctx| {
        backward_writer(ctx, activation, kept, dh)
    })
}

/// Writes a row of dgate and of dup.
fn backward_writer(
    ctx: &Context,
    activation: Activation,
    kept: SavedGate,
    dh: Mat,
) -> impl Fn(usize, [&mut [f32]; 2]) + Send + Sync + use<> {
    assert_eq!(kept.shape(), (dh.rows(), dh.cols()));
    let (hv, isa) = (ctx.view(dh), ctx.isa());
    let views = match kept {
        SavedGate::Apart { gate, up } => Ok((ctx.view(gate), ctx.view(up))),
        SavedGate::Pairs(pairs) => Err(ctx.view(pairs)),
    };
    // SAFETY: the operands are only read meanwhile.
    move |t, [dgate, dup]| unsafe {
        match views {
            Ok((gate, up)) => row_backward(isa, activation, gate.row(t), up.row(t), hv.row(t), dgate, dup),
            Err(pairs) => row_backward_pairs(isa, activation, pairs.row(t), hv.row(t), dgate, dup),
        }
    }
}

/// gate and up of a pair.
#[inline(always)]
pub(crate) fn apart(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

#[inline(always)]
fn product<const FUSED: bool, A: Curve>(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exp::<FUSED>(-A::argument(gate))) * up
}

#[inline(always)]
fn gradient<const FUSED: bool, A: Curve>(gate: f32, up: f32, dh: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp::<FUSED>(-A::argument(gate)));
    (dh * up * sigmoid * (1.0 + gate * (1.0 - sigmoid) * A::slope(gate)), dh * gate * sigmoid)
}

#[inline(always)]
fn products<const FUSED: bool, A: Curve>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
        *o = product::<FUSED, A>(*g, *u);
    }
}

#[inline(always)]
fn products_again<const FUSED: bool, A: Curve>(pairs: &[u32], out: &mut [f32]) {
    for (o, p) in out.iter_mut().zip(pairs) {
        let (g, u) = apart(*p);
        *o = product::<FUSED, A>(g, u);
    }
}

#[inline(always)]
fn gradients<const FUSED: bool, A: Curve>(gate: &[f32], up: &[f32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    for i in 0..gate.len() {
        (dgate[i], dup[i]) = gradient::<FUSED, A>(gate[i], up[i], dh[i]);
    }
}

#[inline(always)]
fn gradients_of_pairs<const FUSED: bool, A: Curve>(pairs: &[u32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    for i in 0..pairs.len() {
        let (g, u) = apart(pairs[i]);
        (dgate[i], dup[i]) = gradient::<FUSED, A>(g, u, dh[i]);
    }
}

multiversion! {
    fn row(activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
        match activation {
            Activation::Silu => products::<FUSED, Silu>(gate, up, out),
            Activation::GeluTanh => products::<FUSED, GeluTanh>(gate, up, out),
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
    fn row_again(activation: Activation, pairs: &[u32], out: &mut [f32]) {
        match activation {
            Activation::Silu => products_again::<FUSED, Silu>(pairs, out),
            Activation::GeluTanh => products_again::<FUSED, GeluTanh>(pairs, out),
        }
    }
}

multiversion! {
    fn row_backward(activation: Activation, gate: &[f32], up: &[f32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        match activation {
            Activation::Silu => gradients::<FUSED, Silu>(gate, up, dh, dgate, dup),
            Activation::GeluTanh => gradients::<FUSED, GeluTanh>(gate, up, dh, dgate, dup),
        }
    }
}

multiversion! {
    fn row_backward_pairs(activation: Activation, pairs: &[u32], dh: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        match activation {
            Activation::Silu => gradients_of_pairs::<FUSED, Silu>(pairs, dh, dgate, dup),
            Activation::GeluTanh => gradients_of_pairs::<FUSED, GeluTanh>(pairs, dh, dgate, dup),
        }
    }
}
