//! Rows moved by their numbers, scaled and added.

use super::Values;
use crate::device::{Context, Indices, Mat};

pub(crate) fn gather(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    let x = Values::of(ctx, x);
    let gathered: Vec<f32> = ctx.entries(rows).iter().flat_map(|&row| x.row(row as usize).to_vec()).collect();
    ctx.write(out, &gathered);
}

pub(crate) fn scatter(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    let (x, mut scattered) = (Values::of(ctx, x), Values::of(ctx, out));
    for (i, &row) in ctx.entries(rows).iter().enumerate() {
        scattered.row_mut(row as usize).copy_from_slice(x.row(i));
    }
    ctx.write(out, &scattered.values);
}

pub(crate) fn scale(ctx: &mut Context, x: Mat, factor: f32) {
    let mut scaled = Values::of(ctx, x);
    scaled.values.iter_mut().for_each(|x| *x *= factor);
    ctx.write(x, &scaled.values);
}

pub(crate) fn add(ctx: &mut Context, x: Mat, y: Mat) {
    let mut sum = Values::of(ctx, y);
    sum.add(1.0, &Values::of(ctx, x));
    ctx.write(y, &sum.values);
}

pub(crate) fn add_squares(ctx: &mut Context, x: Mat, out: Mat) {
    let (x, mut sums) = (Values::of(ctx, x), Values::of(ctx, out));
    for (row, sum) in sums.values.iter_mut().enumerate() {
        *sum += x.row(row).iter().map(|x| x * x).sum::<f32>();
    }
    ctx.write(out, &sums.values);
}
