//! Ops on single token rows: RMSNorm, rotary positions, the gated activation, dropout, and moving rows by index. T is
//! tokens, C channels, H heads, D channels of a head. All values are f32.

pub mod gated;

use crate::device::{Context, Indices, Mat, assert_apart};
use crate::gemm::Precision;
use crate::operands::Input;
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
                cos: ctx.upload_persistent(positions, half, &cos),
                sin: ctx.upload_persistent(positions, half, &sin),
            }
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
        assert_eq!(x.cols() % (2 * table.cos.cols()), 0);
        if ctx.planning() {
            return;
        }
        let (xv, cv, sv, isa) = (ctx.view(x), ctx.view(table.cos), ctx.view(table.sin), ctx.isa());
        assert_apart(&[x], &[positions.memory()]);
        let positions = ctx.indices(positions);
        for_rows(ctx, x.rows(), |t| {
            let position = positions[t] as usize;
            // SAFETY: tasks write disjoint rows of x; the tables are separate matrices and only read.
            unsafe { row(isa, xv.row_mut(t), cv.row(position), sv.row(position), direction) };
        });
    }

    multiversion! {
        fn row(x: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
            let half = cos.len();
            for head in x.chunks_exact_mut(2 * half) {
                let (low, high) = head.split_at_mut(half);
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
mod tests {
    use super::gated::Activation;
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};
    use crate::device::Region;
    use crate::simd::Isa;

    const T: usize = 3;

    /// A context with persistent operands only: these ops take no scratch.
    fn upload(ctx: &mut Context, rows: usize, values: &[f32]) -> Mat {
        ctx.upload_persistent(rows, values.len() / rows, values)
    }

    fn each_isa(test: impl Fn(Context)) {
        test(Context::cpu(1).with_isa(Isa::Portable));
        test(Context::cpu(2));
    }

    /// A list of the present pass may lie where a matrix of the pass before lay.
    #[test]
    #[should_panic(expected = "overlaps another operand")]
    fn an_index_list_is_not_overwritten_while_it_is_read() {
        let mut ctx = Context::cpu(1);
        let table = rope::Table::new(&mut ctx, &[1.0, 0.5], 8, 1.0);
        ctx.plan(|ctx| ctx.alloc(Region::Io, 4, 4));
        let stale = ctx.alloc(Region::Io, 4, 4);
        ctx.reset();
        let positions = ctx.upload_indices(&[0, 1, 2, 3]);
        rope::forward(&mut ctx, stale, positions, &table);
    }

    /// Nor may a handle to scratch that was given back meet an op's own scratch.
    #[test]
    #[should_panic(expected = "overlaps another operand")]
    fn scratch_that_was_given_back_is_no_operand() {
        let mut ctx = Context::cpu(1);
        let weight = ctx.persistent(1, 4);
        let work = |ctx: &mut Context| {
            let mark = ctx.mark();
            let stale = ctx.scratch(4, 4);
            ctx.release(mark);
            rms_norm::packed(ctx, stale, weight, 1e-5, Precision::F32)
        };
        ctx.plan(work);
        work(&mut ctx);
    }

    #[test]
    fn rms_norm_matches_f64_and_finite_differences() {
        each_isa(|mut ctx| {
            let c = 37;
            let (x, w, dy) = (random(1, T * c), random(2, c), random(3, T * c));
            let epsilon = 1e-5f64;
            let reference = |x: &[f64]| -> Vec<f64> {
                x.chunks(c)
                    .flat_map(|row| {
                        let rms = (row.iter().map(|v| v * v).sum::<f64>() / c as f64 + epsilon).sqrt();
                        row.iter().zip(&w).map(move |(v, w)| v / rms * f64::from(*w)).collect::<Vec<_>>()
                    })
                    .collect()
            };
            let loss = |x: &[f64]| reference(x).iter().zip(&dy).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
            let (xm, wm, gm) = (upload(&mut ctx, T, &x), upload(&mut ctx, 1, &w), upload(&mut ctx, T, &dy));
            let (y, dx) = (ctx.persistent(T, c), upload(&mut ctx, T, &vec![0.5; T * c]));
            rms_norm::forward(&mut ctx, xm, wm, 1e-5, y);
            assert_close("norm", &ctx.download(y), &reference(&wide(&x)), 1e-6);
            rms_norm::backward(&mut ctx, xm, wm, 1e-5, gm, dx);
            let expected: Vec<f64> = finite_differences(&wide(&x), 1e-5, loss).iter().map(|g| g + 0.5).collect();
            assert_close("norm backward adds", &ctx.download(dx), &expected, 1e-5);
        });
    }

    #[test]
    fn gated_activations_match_f64_and_finite_differences() {
        let silu = |g: f64| g / (1.0 + (-g).exp());
        let gelu = |g: f64| 0.5 * g * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (g + 0.044715 * g.powi(3))).tanh());
        check_gated(Activation::Silu, silu);
        check_gated(Activation::GeluTanh, gelu);
    }

    fn check_gated(activation: Activation, act: impl Fn(f64) -> f64) {
        each_isa(|mut ctx| {
            let c = 21;
            let (gate, up, dh) = (random(1, T * c), random(2, T * c), random(3, T * c));
            // some far from zero, where the curve is flat or straight
            let gate: Vec<f32> = gate.iter().enumerate().map(|(i, g)| if i % 5 == 0 { g * 8.0 } else { *g }).collect();
            let f = |g: f64, u: f64| act(g) * u;
            let mats: Vec<Mat> = [&gate, &up, &dh].iter().map(|v| upload(&mut ctx, T, v)).collect();
            let (out, dgate, dup) = (ctx.persistent(T, c), ctx.persistent(T, c), ctx.persistent(T, c));
            gated::forward(&mut ctx, activation, mats[0], mats[1], None, out);
            let expected: Vec<f64> = wide(&gate).iter().zip(wide(&up)).map(|(g, u)| f(*g, u)).collect();
            assert_close("gated", &ctx.download(out), &expected, 2e-6);
            let kept = gated::Kept::Apart { gate: mats[0], up: mats[1] };
            gated::backward(&mut ctx, activation, kept, mats[2], dgate, dup);
            let both: Vec<f64> = wide(&gate).into_iter().chain(wide(&up)).collect();
            let loss = |v: &[f64]| (0..T * c).map(|i| f(v[i], v[T * c + i]) * f64::from(dh[i])).sum::<f64>();
            let gradient = finite_differences(&both, 1e-5, loss);
            assert_close("dgate", &ctx.download(dgate), &gradient[..T * c], 2e-6);
            assert_close("dup", &ctx.download(dup), &gradient[T * c..], 1e-6);
        });
    }

    /// Kept as pairs, gate and up are those rounded to bf16, bit for bit.
    #[test]
    fn gated_activations_from_pairs_are_those_of_rounded_inputs() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            each_isa(|mut ctx| {
                let c = 37;
                let round =
                    |values: Vec<f32>| values.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect::<Vec<_>>();
                let (gate, up, dh) = (random(1, T * c), random(2, T * c), random(3, T * c));
                let [g, u, d] = [&gate, &up, &dh].map(|v| upload(&mut ctx, T, v));
                let rounded = [round(gate), round(up)].map(|v| upload(&mut ctx, T, &v));
                let apart = gated::Kept::Apart { gate: rounded[0], up: rounded[1] };
                let [pairs, out, a, b] = [(); 4].map(|()| ctx.persistent(T, c));
                gated::forward(&mut ctx, activation, g, u, Some(pairs), out);
                let exact = ctx.download(out);
                gated::forward(&mut ctx, activation, g, u, None, out);
                assert_eq!(exact, ctx.download(out));
                let mut results = [apart, gated::Kept::Pairs(pairs)].into_iter().map(|kept| {
                    gated::again(&mut ctx, activation, kept, out);
                    gated::backward(&mut ctx, activation, kept, d, a, b);
                    [out, a, b].map(|mat| ctx.download(mat))
                });
                assert_eq!(results.next(), results.next());
            });
        }
    }

    #[test]
    fn rope_turns_by_position_and_back() {
        each_isa(|mut ctx| {
            let (heads, d) = (2, 8);
            let frequencies: Vec<f64> = (0..d / 2).map(|i| 100f64.powf(-2.0 * i as f64 / d as f64)).collect();
            let table = rope::Table::new(&mut ctx, &frequencies, 16, 1.0);
            let x = random(1, T * heads * d);
            let xm = upload(&mut ctx, T, &x);
            ctx.plan(|ctx| ctx.upload_indices(&[0; T]));
            let positions = ctx.upload_indices(&[0, 7, 15]);
            rope::forward(&mut ctx, xm, positions, &table);
            let mut expected = wide(&x);
            for (t, p) in [0.0, 7.0, 15.0].into_iter().enumerate() {
                for h in 0..heads {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let (low, high) = ((t * heads + h) * d + i, (t * heads + h) * d + i + d / 2);
                        let (a, b, angle): (f64, f64, f64) = (expected[low], expected[high], p * frequency);
                        expected[low] = a * angle.cos() - b * angle.sin();
                        expected[high] = b * angle.cos() + a * angle.sin();
                    }
                }
            }
            assert_close("rope", &ctx.download(xm), &expected, 1e-6);
            rope::backward(&mut ctx, xm, positions, &table);
            assert_close("rope back", &ctx.download(xm), &wide(&x), 1e-6);
        });
    }

    #[test]
    fn dropout_masks_by_example_and_position_not_by_place() {
        let c = 400;
        let mut ctx = Context::cpu(1);
        let x = upload(&mut ctx, 2, &vec![1.0; 2 * c]);
        let out = ctx.persistent(2, c);
        ctx.plan(|ctx| {
            for _ in 0..4 {
                ctx.upload_indices(&[0, 0]);
            }
        });
        let run = |ctx: &mut Context, examples: [u32; 2], positions: [u32; 2]| {
            let (examples, positions) = (ctx.upload_indices(&examples), ctx.upload_indices(&positions));
            dropout::forward(ctx, x, &dropout::Dropout { probability: 0.2, key: 9, examples, positions }, out);
            ctx.download(out)
        };
        let first = run(&mut ctx, [5, 8], [3, 4]);
        let swapped = run(&mut ctx, [8, 5], [4, 3]);
        assert_eq!(first[..c], swapped[c..]);
        assert_eq!(first[c..], swapped[..c]);
        assert_ne!(first[..c], first[c..]);
        let zeros = first.iter().filter(|v| **v == 0.0).count() as f64 / (2 * c) as f64;
        assert!((zeros - 0.2).abs() <= 0.05, "{zeros}");
        assert!(first.iter().all(|v| *v == 0.0 || *v == 1.25));
    }
}
