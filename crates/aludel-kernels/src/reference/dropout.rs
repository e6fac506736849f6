//! Dropout: the mask depends on key, example, position and channel.

use super::Values;
use crate::device::{Context, Mat};
use crate::rng;
use crate::rowwise::dropout::Dropout;

/// `mask·x / (1 − p)`.
pub(super) fn dropped(ctx: &Context, x: &Values, how: &Dropout) -> Values {
    let (examples, positions) = (ctx.entries(how.examples), ctx.entries(how.positions));
    let mut out = Values::zeroed(x.rows(), x.cols);
    for t in 0..x.rows() {
        let key = rng::mix(rng::mix(how.key, u64::from(examples[t])), u64::from(positions[t]));
        for (i, (out, x)) in out.row_mut(t).iter_mut().zip(x.row(t)).enumerate() {
            if rng::uniform(key, i as u64) >= how.probability {
                *out = x / (1.0 - how.probability);
            }
        }
    }
    out
}

pub(crate) fn apply(ctx: &mut Context, x: Mat, how: &Dropout, out: Mat, add: bool) {
    let mut result = dropped(ctx, &Values::of(ctx, x), how);
    if add {
        result.add(1.0, &Values::of(ctx, out));
    }
    ctx.write(out, &result.values);
}
