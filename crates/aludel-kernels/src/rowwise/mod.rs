//! Ops on single token rows: RMSNorm, rotary positions, the gated activation, dropout, and moving rows by index. T is
//! tokens, C channels, H heads, D channels of a head. All values are f32.

pub mod columns;
pub mod dropout;
pub mod gated;
pub mod rms_norm;
pub mod rope;

use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::profile::Kind;
use crate::reference;

/// Rows of one parallel task.
const ROWS_PER_TASK: usize = 32;

/// Runs `op(row)` for each row, spread over the threads.
pub(crate) fn for_rows(ctx: &Context, rows: usize, op: impl Fn(usize) + Send + Sync) {
    let _span = ctx.span(Kind::Rowwise);
    ctx.parallel(rows.div_ceil(ROWS_PER_TASK), |task| {
        (task * ROWS_PER_TASK..rows.min((task + 1) * ROWS_PER_TASK)).for_each(&op);
    });
}

/// `out[i] = x[rows[i]]`.
///
/// # Panics
/// If there is not a row of `out` for each row number, if `out` shares elements with what is read, or if there is no row of a number.
pub fn gather_rows(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    assert_eq!((rows.len(), x.cols()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place(), rows.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rows::gather(ctx, x, rows, out),
    }
    let (xv, ov) = (ctx.view(x), ctx.view(out));
    let rows = ctx.entries(rows);
    // SAFETY: tasks write disjoint rows of `out`, which does not overlap x (asserted).
    for_rows(ctx, rows.len(), |i| unsafe { ov.row_mut(i).copy_from_slice(xv.row(rows[i] as usize)) });
}

/// `out[rows[i]] = x[i]`; the row numbers must be distinct.
///
/// # Panics
/// If there is not a row number for each row of `x`, if `out` shares elements with what is read, or if there is no row of a number.
pub fn scatter_rows(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    assert_eq!((rows.len(), x.cols()), (x.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place(), rows.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rows::scatter(ctx, x, rows, out),
    }
    let _span = ctx.span(Kind::Rowwise);
    let (xv, ov) = (ctx.view(x), ctx.view(out));
    for (i, &row) in ctx.entries(rows).iter().enumerate() {
        // SAFETY: one thread writes, and `out` does not overlap x (asserted).
        unsafe { ov.row_mut(row as usize).copy_from_slice(xv.row(i)) };
    }
}

/// `x *= factor`.
pub fn scale(ctx: &mut Context, x: Mat, factor: f32) {
    if ctx.planning() {
        return;
    }
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rows::scale(ctx, x, factor),
    }
    let xv = ctx.view(x);
    // SAFETY: tasks write disjoint rows of x, the only operand.
    for_rows(ctx, x.rows(), |t| unsafe { xv.row_mut(t).iter_mut().for_each(|x| *x *= factor) });
}

/// `out[i] += Σ_c x[i][c]²`, `out` being [1, rows].
///
/// # Panics
/// If there is not an element of `out` for each row, or if `out` shares elements with x.
pub fn add_squares(ctx: &mut Context, x: Mat, out: Mat) {
    assert_eq!((1, x.rows()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out.place()], &[x.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rows::add_squares(ctx, x, out),
    }
    let (xv, ov) = (ctx.view(x), ctx.view(out));
    for_rows(ctx, x.rows(), |t| {
        // SAFETY: each task writes elements of its own rows, which x does not overlap (asserted).
        let (x, out) = unsafe { (xv.row(t), ov.part_mut(0, t, 1)) };
        out[0] += x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32;
    });
}

/// `y += x`.
///
/// # Panics
/// If the shapes differ, or if the matrices share elements.
pub fn add(ctx: &mut Context, x: Mat, y: Mat) {
    assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[y.place()], &[x.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rows::add(ctx, x, y),
    }
    let (xv, yv) = (ctx.view(x), ctx.view(y));
    for_rows(ctx, x.rows(), |t| {
        // SAFETY: tasks write disjoint rows of y, which does not overlap x (asserted).
        let (x, y) = unsafe { (xv.row(t), yv.row_mut(t)) };
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    });
}

#[cfg(test)]
mod tests;
