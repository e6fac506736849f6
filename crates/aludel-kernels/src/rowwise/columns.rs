//! Ops on the columns of [T, N] matrices: each times a factor of its own, and sums over the tokens. What the factors mean is left to
//! the callers: the magnitudes of DoRA, the gradients of biases.

use super::for_rows;
use crate::device::{Context, Device, Mat, assert_apart};
use crate::linear::Start;
use crate::profile::Kind;
use crate::reference;
use crate::simd::multiversion;

/// Columns of one parallel task of a sum.
const COLUMNS: usize = 64;

/// `out = factors ⊙ x`; factors are [1, N].
///
/// # Panics
/// If the shapes do not fit each other, or if `out` shares elements with what is read.
pub(crate) fn scale(ctx: &mut Context, x: Mat, factors: Mat, out: Mat) {
    assert_eq!((x.rows(), x.cols(), 1, x.cols()), (out.rows(), out.cols(), factors.rows(), factors.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place(), factors.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::columns::scale(ctx, x, factors, out),
    }
    let (xv, fv, ov) = (ctx.view(x), ctx.view(factors), ctx.view(out));
    for_rows(ctx, x.rows(), |t| {
        // SAFETY: tasks write disjoint rows of `out`, which overlaps nothing that is read (asserted).
        let (x, factors, out) = unsafe { (xv.row(t), fv.row(0), ov.row_mut(t)) };
        out.iter_mut().zip(x.iter().zip(factors)).for_each(|(out, (x, factor))| *out = x * factor);
    });
}

/// `y = start + factors ⊙ y`; factors are [1, N].
///
/// # Panics
/// If the shapes do not fit each other, or if `y` shares elements with what is read.
pub(crate) fn scale_onto(ctx: &mut Context, factors: Mat, start: Start, y: Mat) {
    assert_eq!((1, y.cols()), (factors.rows(), factors.cols()));
    let (start, rows) = match start {
        Start::Zero => (None, 0),
        Start::Bias(bias) => (Some(bias), 1),
        Start::Residual(residual) => (Some(residual), y.rows()),
    };
    if let Some(start) = start {
        assert_eq!((rows, y.cols()), (start.rows(), start.cols()), "a matrix of another shape");
    }
    if ctx.planning() {
        return;
    }
    let read = [Some(factors), start];
    read.iter().flatten().for_each(|read| assert_apart(&[y.place()], &[read.place()]));
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::columns::scale_onto(ctx, factors, start, y),
    }
    let (fv, yv, sv) = (ctx.view(factors), ctx.view(y), start.map(|start| ctx.view(start)));
    for_rows(ctx, y.rows(), |t| {
        // SAFETY: tasks write disjoint rows of y, which overlaps nothing that is read (asserted).
        let (factors, y) = unsafe { (fv.row(0), yv.row_mut(t)) };
        match sv {
            None => y.iter_mut().zip(factors).for_each(|(y, factor)| *y *= factor),
            Some(start) => {
                // SAFETY: as above; a bias has one row for all tokens.
                let start = unsafe { start.row(if rows == 1 { 0 } else { t }) };
                y.iter_mut().zip(factors.iter().zip(start)).for_each(|(y, (factor, start))| *y = start + factor * *y);
            }
        }
    });
}

/// `out += Σ_t x_t`, `out` being [1, N]. The sum of a column has one order.
///
/// # Panics
/// If the shapes do not fit each other, or if `out` shares elements with x.
pub fn add_sums(ctx: &mut Context, x: Mat, out: Mat) {
    add_products(ctx, x, None, out);
}

/// `out += factors ⊙ Σ_t x_t ⊙ with_t`, both [T, N], `out` and the factors [1, N]. The sum of a column has one order.
///
/// # Panics
/// If the shapes do not fit each other, or if `out` shares elements with what is read.
pub(crate) fn add_dots(ctx: &mut Context, x: Mat, with: Mat, factors: Mat, out: Mat) {
    add_products(ctx, x, Some((with, factors)), out);
}

fn add_products(ctx: &mut Context, x: Mat, with: Option<(Mat, Mat)>, out: Mat) {
    assert_eq!((1, x.cols()), (out.rows(), out.cols()));
    if let Some((with, factors)) = with {
        assert_eq!((x.rows(), x.cols(), 1, x.cols()), (with.rows(), with.cols(), factors.rows(), factors.cols()));
    }
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place()]);
    if let Some((with, factors)) = with {
        assert_apart(&[out.place()], &[with.place(), factors.place()]);
    }
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::columns::add_products(ctx, x, with, out),
    }
    let _span = ctx.span(Kind::Rowwise);
    let (xv, ov, isa) = (ctx.view(x), ctx.view(out), ctx.isa());
    let with = with.map(|(with, factors)| (ctx.view(with), ctx.view(factors)));
    ctx.parallel(x.cols().div_ceil(COLUMNS), |task| {
        let columns = task * COLUMNS..x.cols().min((task + 1) * COLUMNS);
        let mut sums = [0f64; COLUMNS];
        let sums = &mut sums[..columns.len()];
        for t in 0..x.rows() {
            // SAFETY: x and what it is multiplied with are only read.
            let (x, with) = unsafe { (xv.row(t), with.map(|(with, _)| with.row(t))) };
            match with {
                None => add(isa, &x[columns.clone()], sums),
                Some(with) => add_dot(isa, &x[columns.clone()], &with[columns.clone()], sums),
            }
        }
        // SAFETY: each task writes its own columns, which overlap nothing that is read (asserted).
        let out = unsafe { ov.part_mut(0, columns.start, columns.len()) };
        match with {
            None => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += *sum as f32),
            Some((_, factors)) => {
                // SAFETY: the factors are only read.
                let factors = unsafe { factors.row(0) };
                let factors = &factors[columns];
                out.iter_mut()
                    .zip(sums.iter().zip(factors))
                    .for_each(|(out, (sum, factor))| *out += (sum * f64::from(*factor)) as f32);
            }
        }
    });
}

multiversion! {
    fn add(x: &[f32], sums: &mut [f64]) {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(*x));
    }
}

multiversion! {
    fn add_dot(x: &[f32], with: &[f32], sums: &mut [f64]) {
        sums.iter_mut().zip(x.iter().zip(with)).for_each(|(sum, (x, with))| *sum += f64::from(*x) * f64::from(*with));
    }
}
