//! The factors of DoRA, from the norms of the rows of `W + s·B·A`.

use super::Values;
use super::linear::rows;
use crate::device::{Context, Mat};
use crate::dora::Dora;
use crate::linear::{FrozenWeight, Lora};

/// `magnitude / ‖W + s·B·A‖` and `1 / ‖W + s·B·A‖` for each row.
pub(crate) fn scales(ctx: &mut Context, weight: FrozenWeight, lora: &Lora, dora: &Dora) {
    if ctx.planning() {
        return;
    }
    let mut adapted = rows(ctx, weight);
    let product = Values::of(ctx, lora.b).times_transposed(&Values::of(ctx, lora.a).transposed());
    adapted.add(lora.scale, &product);
    let magnitude = Values::of(ctx, dora.magnitude);
    let inverse: Vec<f32> =
        squares(&adapted).iter().map(|sum| if *sum > 0.0 { 1.0 / sum.sqrt() } else { 0.0 }).collect();
    let factors = magnitude.values.iter().zip(&inverse).map(|(magnitude, inverse)| magnitude * inverse);
    let both: Vec<f32> = factors.chain(inverse.iter().copied()).collect();
    ctx.write(dora.scales, &both);
}

/// The sum of squares of each row of a weight.
pub(crate) fn row_squares(ctx: &mut Context, weight: FrozenWeight, out: Mat) {
    let squares = squares(&rows(ctx, weight));
    ctx.write(out, &squares);
}

fn squares(rows: &Values) -> Vec<f32> {
    (0..rows.rows()).map(|n| rows.row(n).iter().map(|w| w * w).sum()).collect()
}
