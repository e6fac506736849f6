//! Each op against f64 and finite differences, on any instruction set.

use super::gated::Activation;
use super::*;
use crate::check::{assert_close, finite_differences, random, wide};
use crate::device::Region;
use crate::gemm::Precision;
use crate::simd::Isa;

const T: usize = 3;

/// A context with persistent operands only: these ops take no scratch.
fn upload(ctx: &mut Context, rows: usize, values: &[f32]) -> Mat {
    ctx.upload_persistent(rows, values.len() / rows, values)
}

fn each_device(test: impl Fn(Context)) {
    test(Context::cpu(1).with_isa(Isa::Portable));
    test(Context::cpu(2));
    test(Context::reference());
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
    each_device(|mut ctx| {
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
    each_device(|mut ctx| {
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
        let kept = gated::SavedGate::Apart { gate: mats[0], up: mats[1] };
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
        each_device(|mut ctx| {
            let c = 37;
            let round =
                |values: Vec<f32>| values.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect::<Vec<_>>();
            let (gate, up, dh) = (random(1, T * c), random(2, T * c), random(3, T * c));
            let [g, u, d] = [&gate, &up, &dh].map(|v| upload(&mut ctx, T, v));
            let rounded = [round(gate), round(up)].map(|v| upload(&mut ctx, T, &v));
            let apart = gated::SavedGate::Apart { gate: rounded[0], up: rounded[1] };
            let pairs = ctx.persistent_packed(T, c);
            let [out, a, b] = [(); 3].map(|()| ctx.persistent(T, c));
            gated::forward(&mut ctx, activation, g, u, Some(pairs), out);
            let exact = ctx.download(out);
            gated::forward(&mut ctx, activation, g, u, None, out);
            assert_eq!(exact, ctx.download(out));
            let mut results = [apart, gated::SavedGate::Pairs(pairs)].into_iter().map(|kept| {
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
    each_device(|mut ctx| {
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

/// Of heads with more channels than pairs, the others stay; and columns of a wider matrix are rotated as if they lay alone.
#[test]
fn rope_turns_the_first_channels_of_a_head() {
    each_device(|mut ctx| {
        let table = rope::Table::new(&mut ctx, &[1.0, 0.25], 16, 1.5);
        let x = random(1, T * 20);
        let all = upload(&mut ctx, T, &x);
        ctx.plan(|ctx| ctx.upload_indices(&[0; T]));
        let positions = ctx.upload_indices(&[0, 7, 15]);
        rope::forward(&mut ctx, all.col_range(6, 12), positions, &table.with_head_dim(6));
        let got = ctx.download(all);
        for first in [6, 12] {
            let part: Vec<f32> = x.chunks(20).flat_map(|row| row[first..first + 4].to_vec()).collect();
            let narrow = upload(&mut ctx, T, &part);
            rope::forward(&mut ctx, narrow, positions, &table);
            let turned = ctx.download(narrow);
            let there: Vec<f32> = got.chunks(20).flat_map(|row| row[first..first + 4].to_vec()).collect();
            assert_eq!(there, turned, "{first}");
            assert_ne!(there, part, "{first}");
        }
        for column in (0..6).chain([10, 11, 16, 17, 18, 19]) {
            assert!((0..T).all(|t| got[t * 20 + column] == x[t * 20 + column]), "{column}");
        }
    });
}

#[test]
fn tables_of_several_sets_stand_one_below_the_other() {
    each_device(|mut ctx| {
        let sets: [(&[f64], usize); 2] = [(&[1.0, 0.25], 3), (&[0.5, 0.125], 5)];
        let both = rope::Table::of_sets(&mut ctx, &sets, 1.5);
        assert_eq!(both.positions(), 8);
        let x = random(1, T * 4);
        ctx.plan(|ctx| [[0; T]; 2].map(|rows| ctx.upload_indices(&rows)));
        for (first, (frequencies, positions)) in [0, 3].into_iter().zip(sets) {
            let one = rope::Table::new(&mut ctx, frequencies, positions, 1.5);
            ctx.reset();
            let [in_one, in_both] = [[0, 1, 2], [first, first + 1, first + 2]].map(|rows| ctx.upload_indices(&rows));
            let [a, b] = [(one, in_one), (both, in_both)].map(|(table, rows)| {
                let mat = upload(&mut ctx, T, &x);
                rope::forward(&mut ctx, mat, rows, &table);
                ctx.download(mat)
            });
            assert_eq!(a, b);
        }
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

#[test]
fn squares_of_rows_are_added() {
    each_device(|mut ctx| {
        let x = upload(&mut ctx, 2, &[1.0, -2.0, 3.0, 0.5, 0.0, 0.5]);
        let out = ctx.upload_persistent(1, 2, &[1.0, 0.0]);
        add_squares(&mut ctx, x, out);
        assert_eq!(ctx.download(out), [15.0, 0.5]);
    });
}
