//! Ops on single token rows: RMSNorm, rotary positions, the gated activation, dropout, and moving rows by index. T is
//! tokens, C channels, H heads, D channels of a head. All values are f32.

pub mod gated;

use crate::device::{Context, Indices, Mat, assert_apart};
use crate::linear::{Input, Precision};
use crate::profile::Kind;
use crate::rng;
use crate::simd::{lane_sum, multiversion};

/// Rows of one parallel task.
const ROWS_PER_TASK: usize = 32;

/// Runs `op(row)` for each row, spread over the threads.
fn for_rows(ctx: &Context, rows: usize, op: impl Fn(usize) + Send + Sync) {
    let _span = ctx.span(Kind::Rowwise);
    ctx.parallel(rows.div_ceil(ROWS_PER_TASK), |task| {
        (task * ROWS_PER_TASK..rows.min((task + 1) * ROWS_PER_TASK)).for_each(&op);
    });
}

/// RMSNorm (Zhang and Sennrich, 2019): `y = x / sqrt(mean(x²) + ε) · weight`, row by row.
pub mod rms_norm {
    use super::*;

    /// `y = norm(x)`; x and y are [T, C], weight [1, C].
    pub fn forward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, y: Mat) {
        assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
        if ctx.planning() {
            return;
        }
        assert_apart(&[y], &[x, weight]);
        let (write, yv) = (writer(ctx, x, weight, epsilon), ctx.view(y));
        // SAFETY: tasks write disjoint rows of y, which overlaps no operand (asserted).
        for_rows(ctx, x.rows(), |t| unsafe { write(t, yv.row_mut(t)) });
    }

    /// `norm(x)` as an input that exists in packed form alone.
    pub fn packed(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, precision: Precision) -> Input {
        let [y] = Input::written(ctx, (x.rows(), x.cols()), precision, &[x, weight], |ctx| {
            let write = writer(ctx, x, weight, epsilon);
            move |t, [y]: [&mut [f32]; 1]| write(t, y)
        });
        y
    }

    /// Writes a row of `norm(x)`.
    fn writer(ctx: &Context, x: Mat, weight: Mat, epsilon: f32) -> impl Fn(usize, &mut [f32]) + Send + Sync + use<> {
        assert_eq!(weight.cols(), x.cols());
        let (xv, wv, isa) = (ctx.view(x), ctx.view(weight), ctx.isa());
        // SAFETY: x and the weight are only read while their norm is written elsewhere.
        move |t, y| unsafe { row(isa, xv.row(t), wv.row(0), epsilon, y) }
    }

    /// `dx += ∂L/∂x`: with x̂ = x/rms and g = dy·weight, the gradient is `(g − x̂·mean(g·x̂)) / rms`. The weight is frozen.
    pub fn backward(ctx: &mut Context, x: Mat, weight: Mat, epsilon: f32, dy: Mat, dx: Mat) {
        assert_eq!((x.rows(), x.cols(), x.rows(), x.cols()), (dy.rows(), dy.cols(), dx.rows(), dx.cols()));
        if ctx.planning() {
            return;
        }
        assert_apart(&[dx], &[x, weight, dy]);
        let (xv, wv, gv, dv, isa) = (ctx.view(x), ctx.view(weight), ctx.view(dy), ctx.view(dx), ctx.isa());
        // SAFETY: tasks write disjoint rows of dx, which overlaps no operand (asserted).
        for_rows(ctx, x.rows(), |t| unsafe {
            row_backward(isa, xv.row(t), wv.row(0), epsilon, gv.row(t), dv.row_mut(t));
        });
    }

    multiversion! {
        fn row(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
            let scale = 1.0 / (lane_sum(x, x, |a, b| a * b) / x.len() as f32 + epsilon).sqrt();
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * scale * w;
            }
        }
    }

    multiversion! {
        fn row_backward(x: &[f32], weight: &[f32], epsilon: f32, dy: &[f32], dx: &mut [f32]) {
            let count = x.len() as f32;
            let scale = 1.0 / (lane_sum(x, x, |a, b| a * b) / count + epsilon).sqrt();
            // Σ g·x, with g = dy·weight formed on the fly in dx's lane order
            let mut lanes = [0f32; 16];
            let (whole, rest) = (dy.len() / 16 * 16, dy.len() % 16);
            let groups = dy[..whole].as_chunks::<16>().0.iter().zip(weight[..whole].as_chunks::<16>().0);
            for ((g, w), x) in groups.zip(x[..whole].as_chunks::<16>().0) {
                for lane in 0..16 {
                    lanes[lane] += g[lane] * w[lane] * x[lane];
                }
            }
            for lane in 0..rest {
                lanes[lane] += dy[whole + lane] * weight[whole + lane] * x[whole + lane];
            }
            let shared = lanes.iter().sum::<f32>() * scale * scale / count;
            for (((d, g), w), x) in dx.iter_mut().zip(dy).zip(weight).zip(x) {
                *d += scale * (g * w - x * shared);
            }
        }
    }
}

/// Rotary position embedding (Su et al., 2021) in the half-split form that Hugging Face checkpoints use: channel i of a
/// head turns together with channel i + D/2.
pub mod rope {
    use super::*;

    /// Tables of cosines and sines, [positions, D/2].
    #[derive(Clone, Copy, Debug)]
    pub struct Table {
        cos: Mat,
        sin: Mat,
        /// D, of which the first channels are rotated.
        head_dim: usize,
    }

    impl Table {
        /// Tables for positions 0 .. `positions`, with the given inverse frequencies (one per pair of channels) and a
        /// factor on both (1 except for scaled variants). Angles are computed in f64.
        pub fn new(ctx: &mut Context, inverse_frequencies: &[f64], positions: usize, factor: f64) -> Table {
            let half = inverse_frequencies.len();
            let angle = |i: usize| (i / half) as f64 * inverse_frequencies[i % half];
            let values =
                |f: fn(f64) -> f64| (0..positions * half).map(|i| (f(angle(i)) * factor) as f32).collect::<Vec<_>>();
            let (cos, sin) = (values(f64::cos), values(f64::sin));
            Table {
                head_dim: 2 * half,
                cos: ctx.upload_persistent(positions, half, &cos),
                sin: ctx.upload_persistent(positions, half, &sin),
            }
        }

        /// The same for heads that have further channels, which are not rotated.
        pub fn with_head_dim(self, head_dim: usize) -> Table {
            assert!(head_dim >= 2 * self.cos.cols(), "heads of {head_dim} channels with {} pairs", self.cos.cols());
            Table { head_dim, ..self }
        }

        /// Number of positions covered.
        pub fn positions(&self) -> usize {
            self.cos.rows()
        }
    }

    /// Rotates every head of x ([T, H·D]) in place by its token's position.
    pub fn forward(ctx: &mut Context, x: Mat, positions: Indices, table: &Table) {
        rotate(ctx, x, positions, table, 1.0);
    }

    /// The gradient of a rotation is the rotation back, in place.
    pub fn backward(ctx: &mut Context, dx: Mat, positions: Indices, table: &Table) {
        rotate(ctx, dx, positions, table, -1.0);
    }

    fn rotate(ctx: &mut Context, x: Mat, positions: Indices, table: &Table, direction: f32) {
        assert_eq!(x.rows(), positions.len());
        assert_eq!(x.cols() % table.head_dim, 0);
        if ctx.planning() {
            return;
        }
        let (xv, cv, sv, isa) = (ctx.view(x), ctx.view(table.cos), ctx.view(table.sin), ctx.isa());
        assert_apart(&[x], &[positions.memory()]);
        let positions = ctx.indices(positions);
        for_rows(ctx, x.rows(), |t| {
            let position = positions[t] as usize;
            // SAFETY: tasks write disjoint rows of x; the tables are separate matrices and only read.
            unsafe { row(isa, xv.row_mut(t), table.head_dim, cv.row(position), sv.row(position), direction) };
        });
    }

    multiversion! {
        fn row(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], direction: f32) {
            let half = cos.len();
            for head in x.chunks_exact_mut(head_dim) {
                let (low, high) = head[..2 * half].split_at_mut(half);
                for i in 0..half {
                    let (a, b, s) = (low[i], high[i], sin[i] * direction);
                    low[i] = a * cos[i] - b * s;
                    high[i] = b * cos[i] + a * s;
                }
            }
        }
    }
}

/// Inverted dropout (Srivastava et al., 2014) with a mask that is a function of (seed, step, site) and of each token's
/// (example, position), so that repacking or recomputing a row gives the same mask.
pub mod dropout {
    use super::*;

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
    pub fn forward(ctx: &mut Context, x: Mat, dropout: &Dropout, out: Mat) {
        apply(ctx, x, dropout, out, false);
    }

    /// `dx += mask·dy / (1 − p)`.
    pub fn backward(ctx: &mut Context, dy: Mat, dropout: &Dropout, dx: Mat) {
        apply(ctx, dy, dropout, dx, true);
    }

    fn apply(ctx: &mut Context, x: Mat, dropout: &Dropout, out: Mat, add: bool) {
        assert_eq!((x.rows(), x.cols()), (out.rows(), out.cols()));
        assert_eq!((x.rows(), x.rows()), (dropout.examples.len(), dropout.positions.len()));
        if ctx.planning() {
            return;
        }
        assert_apart(&[out], &[x, dropout.examples.memory(), dropout.positions.memory()]);
        let (xv, ov, isa) = (ctx.view(x), ctx.view(out), ctx.isa());
        let (examples, positions) = (ctx.indices(dropout.examples), ctx.indices(dropout.positions));
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
}

/// `out[i] = x[rows[i]]`.
pub fn gather_rows(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    assert_eq!((rows.len(), x.cols()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out], &[x, rows.memory()]);
    let (xv, ov) = (ctx.view(x), ctx.view(out));
    let rows = ctx.indices(rows);
    // SAFETY: tasks write disjoint rows of `out`, which does not overlap x (asserted).
    for_rows(ctx, rows.len(), |i| unsafe { ov.row_mut(i).copy_from_slice(xv.row(rows[i] as usize)) });
}

/// `out[rows[i]] = x[i]`; the row numbers must be distinct.
pub fn scatter_rows(ctx: &mut Context, x: Mat, rows: Indices, out: Mat) {
    assert_eq!((rows.len(), x.cols()), (x.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[out], &[x, rows.memory()]);
    let _span = ctx.span(Kind::Rowwise);
    let (xv, ov) = (ctx.view(x), ctx.view(out));
    for (i, &row) in ctx.indices(rows).iter().enumerate() {
        // SAFETY: one thread writes, and `out` does not overlap x (asserted).
        unsafe { ov.row_mut(row as usize).copy_from_slice(xv.row(i)) };
    }
}

/// `x *= factor`.
pub fn scale(ctx: &mut Context, x: Mat, factor: f32) {
    if ctx.planning() {
        return;
    }
    let xv = ctx.view(x);
    // SAFETY: tasks write disjoint rows of x, the only operand.
    for_rows(ctx, x.rows(), |t| unsafe { xv.row_mut(t).iter_mut().for_each(|x| *x *= factor) });
}

/// `y += x`.
pub fn add(ctx: &mut Context, x: Mat, y: Mat) {
    assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[y], &[x]);
    let (xv, yv) = (ctx.view(x), ctx.view(y));
    for_rows(ctx, x.rows(), |t| {
        // SAFETY: tasks write disjoint rows of y, which does not overlap x (asserted).
        let (x, y) = unsafe { (xv.row(t), yv.row_mut(t)) };
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    });
}

#[cfg(test)]
mod tests;
