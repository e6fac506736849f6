//! Rotary positions: channel i of a head turns with channel i + D/2.

use super::Values;
use crate::device::{Context, Indices, Mat};
use crate::rowwise::rope::Table;

pub(crate) fn rotate(ctx: &mut Context, x: Mat, positions: Indices, table: &Table, direction: f32) {
    let [cos, sin] = [table.cos, table.sin].map(|mat| Values::of(ctx, mat));
    let mut turned = Values::of(ctx, x);
    let half = cos.cols;
    for (t, &position) in ctx.entries(positions).iter().enumerate() {
        for head in turned.row_mut(t).chunks_exact_mut(table.head_dim) {
            for i in 0..half {
                let (c, s) = (cos.row(position as usize)[i], direction * sin.row(position as usize)[i]);
                let (low, high) = (head[i], head[i + half]);
                head[i] = low * c - high * s;
                head[i + half] = high * c + low * s;
            }
        }
    }
    ctx.write(x, &turned.values);
}
