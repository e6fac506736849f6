//! Attention against f64, finite differences and itself: packed, alone, cached, with and without a window, on any instruction set.

use super::*;
use crate::check::{assert_close, finite_differences, random, wide};
use crate::simd::Isa;

fn reference(heads: &Heads, rows: &[Range<usize>], q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let (d, group) = (heads.dim, heads.query / heads.key);
    let (q_ld, k_ld) = (heads.query * d, heads.key * d);
    let mut out = vec![0f64; q.len()];
    for row in rows {
        for t in row.clone() {
            for h in 0..heads.query {
                let score = |s: usize| -> f64 {
                    (0..d).map(|c| q[t * q_ld + h * d + c] * k[s * k_ld + h / group * d + c]).sum::<f64>()
                        * f64::from(heads.scale)
                };
                let seen = || (row.start..=t).filter(|s| heads.window.is_none_or(|window| t - s < window));
                let weights: Vec<f64> = seen().map(|s| score(s).exp()).collect();
                let total: f64 = weights.iter().sum();
                for c in 0..d {
                    let sum: f64 = seen().zip(&weights).map(|(s, w)| w * v[s * k_ld + h / group * d + c]).sum();
                    out[t * q_ld + h * d + c] = sum / total;
                }
            }
        }
    }
    out
}

struct Run {
    out: Vec<f32>,
    gradients: [Vec<f32>; 3],
}

fn run(heads: &Heads, rows: &[Range<usize>], values: [&[f32]; 4], isa: Isa, threads: usize) -> Run {
    run_on(Context::cpu(threads).with_isa(isa), heads, rows, values)
}

fn run_on(mut ctx: Context, heads: &Heads, rows: &[Range<usize>], values: [&[f32]; 4]) -> Run {
    let tokens = rows.last().map_or(0, |r| r.end);
    let (wide_columns, narrow) = (heads.query * heads.dim, heads.key * heads.dim);
    let columns = [wide_columns, narrow, narrow, wide_columns];
    let [q, k, v, dout] = std::array::from_fn(|i| ctx.upload_persistent(tokens, columns[i], values[i]));
    let [dq, dk, dv, out] = std::array::from_fn(|i| ctx.persistent(tokens, columns[i]));
    let lse = ctx.persistent(tokens, heads.query);
    let work = |ctx: &mut Context| {
        ctx.reset();
        let rows = Rows::upload(ctx, rows, q.rows());
        forward(ctx, heads, rows, q, k, v, out, lse);
        backward(ctx, heads, rows, (q, k, v), (out, lse, dout), (dq, dk, dv));
    };
    ctx.plan(work);
    work(&mut ctx);
    Run { out: ctx.download(out), gradients: [dq, dk, dv].map(|g| ctx.download(g)) }
}

fn check(heads: &Heads, rows: &[Range<usize>]) {
    let tokens = rows.last().unwrap().end;
    let (wide_len, narrow_len) = (tokens * heads.query * heads.dim, tokens * heads.key * heads.dim);
    let (q, k, v) = (random(1, wide_len), random(2, narrow_len), random(3, narrow_len));
    let dout = random(4, wide_len);
    let what = format!("{heads:?} {rows:?}");
    let expected = reference(heads, rows, &wide(&q), &wide(&k), &wide(&v));
    let got = run(heads, rows, [&q, &k, &v, &dout], Isa::detect(), 2);
    assert_close(&what, &got.out, &expected, 2e-5);
    for other in [Context::cpu(1).with_isa(Isa::Portable), Context::reference()] {
        let other = run_on(other, heads, rows, [&q, &k, &v, &dout]);
        assert_close(&what, &other.out, &expected, 2e-5);
        for (a, b) in got.gradients.iter().zip(&other.gradients) {
            assert_close(&what, a, &wide(b), 5e-5);
        }
    }
    if tokens > 20 {
        return; // finite differences over every element would take minutes
    }
    let loss = |o: Vec<f64>| o.iter().zip(&dout).map(|(o, g)| o * f64::from(*g)).sum::<f64>();
    let (qw, kw, vw) = (wide(&q), wide(&k), wide(&v));
    let differences = [
        finite_differences(&qw, 1e-5, |x| loss(reference(heads, rows, x, &kw, &vw))),
        finite_differences(&kw, 1e-5, |x| loss(reference(heads, rows, &qw, x, &vw))),
        finite_differences(&vw, 1e-5, |x| loss(reference(heads, rows, &qw, &kw, x))),
    ];
    for (name, (got, expected)) in ["dq", "dk", "dv"].iter().zip(got.gradients.iter().zip(&differences)) {
        assert_close(&format!("{what} {name}"), got, expected, 2e-5);
    }
}

#[test]
fn matches_f64_and_finite_differences() {
    check(&Heads { query: 1, key: 1, dim: 16, scale: 0.25, window: None, precision: Precision::F32 }, &[0..1, 1..4]);
    check(&Heads { query: 3, key: 1, dim: 8, scale: 0.4, window: None, precision: Precision::F32 }, &[0..7, 7..18]);
    check(&Heads { query: 4, key: 2, dim: 20, scale: 0.2, window: None, precision: Precision::F32 }, &[0..5, 5..12]);
    let heads = Heads { query: 4, key: 2, dim: 16, scale: 0.25, window: None, precision: Precision::F32 };
    check(&heads, &[0..65, 65..200]);
    for window in [1, 3, 6, 7, 40] {
        check(&Heads { window: Some(window), ..heads }, &[0..7, 7..18]);
    }
    for window in [1, 30, 64, 65, 100, 128] {
        check(&Heads { window: Some(window), ..heads }, &[0..65, 65..280]);
    }
}

/// Rounding the factors to bf16 moves results by about its precision, and no more.
#[test]
fn bf16_is_close_to_f32() {
    let heads = Heads { query: 4, key: 2, dim: 32, scale: 0.2, window: None, precision: Precision::F32 };
    let (rows, tokens) = ([0..70, 70..690], 690);
    let (q, k, v) = (random(1, tokens * 128), random(2, tokens * 64), random(3, tokens * 64));
    let dout = random(4, tokens * 128);
    for isa in Isa::tested() {
        let exact = run(&heads, &rows, [&q, &k, &v, &dout], isa, 2);
        let rounded = run(&Heads { precision: Precision::Bf16, ..heads }, &rows, [&q, &k, &v, &dout], isa, 2);
        let pairs =
            [&exact.out].into_iter().chain(&exact.gradients).zip([&rounded.out].into_iter().chain(&rounded.gradients));
        for (i, (a, b)) in pairs.enumerate() {
            let cosine = crate::check::cosine(a, b);
            assert!(cosine > 0.9999 && cosine < 1.0, "{isa:?} {i}: {cosine}");
        }
    }
}

/// Long rows, several tiles and stretches: the backward against f64 differences along random directions.
#[test]
fn long_rows_match_directional_differences() {
    for window in [None, Some(20), Some(64), Some(100)] {
        check_directions(window, [0..150, 150..220]);
    }
    check_directions(Some(90), [0..640, 640..700]);
    check_directions(Some(530), [0..640, 640..700]);
}

fn check_directions(window: Option<usize>, rows: [Range<usize>; 2]) {
    let heads = Heads { query: 2, key: 1, dim: 8, scale: 0.35, window, precision: Precision::F32 };
    let (wide_len, narrow_len) = (rows[1].end * 16, rows[1].end * 8);
    let (q, k, v) = (random(1, wide_len), random(2, narrow_len), random(3, narrow_len));
    let dout = random(4, wide_len);
    let got = run(&heads, &rows, [&q, &k, &v, &dout], Isa::detect(), 2);
    let loss = |o: Vec<f64>| o.iter().zip(&dout).map(|(o, g)| o * f64::from(*g)).sum::<f64>();
    for which in 0..3 {
        let direction = wide(&random(10 + which as u64, [wide_len, narrow_len, narrow_len][which]));
        let at = |h: f64| {
            let mut values = [wide(&q), wide(&k), wide(&v)];
            values[which].iter_mut().zip(&direction).for_each(|(x, d)| *x += h * d);
            loss(reference(&heads, &rows, &values[0], &values[1], &values[2]))
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        let slope: f64 = got.gradients[which].iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
        assert!((slope - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{window:?} {which}: {slope} {expected}");
    }
}

/// A window that no row reaches changes no bit.
#[test]
fn a_window_as_long_as_the_rows_is_none() {
    let (rows, tokens) = ([0..70, 70..300], 300);
    let (q, k, v) = (random(1, tokens * 128), random(2, tokens * 64), random(3, tokens * 64));
    let dout = random(4, tokens * 128);
    for (isa, precision) in Isa::tested().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)]) {
        let heads = Heads { query: 4, key: 2, dim: 32, scale: 0.2, window: None, precision };
        let plain = run(&heads, &rows, [&q, &k, &v, &dout], isa, 2);
        for (window, is_same) in [(230, true), (1000, true), (usize::MAX, true), (229, false)] {
            let got = run(&Heads { window: Some(window), ..heads }, &rows, [&q, &k, &v, &dout], isa, 3);
            assert_eq!(got.out == plain.out, is_same, "{isa:?} {precision:?} {window}");
            assert_eq!(got.gradients == plain.gradients, is_same, "{isa:?} {precision:?} {window}");
        }
    }
}

const SMALL: Heads = Heads { query: 2, key: 1, dim: 8, scale: 0.3, window: None, precision: Precision::F32 };

/// Forward and backward of 10 tokens in these rows.
fn run_small(rows: &[Range<usize>], backwards: bool) -> Vec<f32> {
    let mut ctx = Context::cpu(2);
    let [q, dout, out, dq] = [1, 2, 3, 4].map(|seed| ctx.upload_persistent(10, 16, &random(seed, 160)));
    let [k, v, dk, dv] = [5, 6, 7, 8].map(|seed| ctx.upload_persistent(10, 8, &random(seed, 80)));
    let lse = ctx.persistent(10, 2);
    let work = |ctx: &mut Context| {
        ctx.reset();
        let rows = Rows::upload(ctx, rows, q.rows());
        match backwards {
            false => forward(ctx, &SMALL, rows, q, k, v, out, lse),
            true => backward(ctx, &SMALL, rows, (q, k, v), (out, lse, dout), (dq, dk, dv)),
        }
    };
    ctx.plan(work);
    work(&mut ctx);
    ctx.download(if backwards { dq } else { out })
}

#[test]
fn rows_may_come_in_any_order() {
    assert_eq!(run_small(&[6..10, 0..6, 3..3], false), run_small(&[0..6, 6..10], false));
    assert_eq!(run_small(&[6..10, 0..6, 3..3], true), run_small(&[0..6, 6..10], true));
}

#[test]
#[should_panic(expected = "token 5 belongs to two rows")]
fn forward_refuses_rows_that_overlap() {
    run_small(&[5..10, 0..6], false);
}

#[test]
#[should_panic(expected = "token 0 belongs to two rows")]
fn backward_refuses_rows_that_overlap() {
    run_small(&[0..10, 0..10], true);
}

#[test]
#[should_panic(expected = "row 4..11 of 10 tokens")]
fn rows_beyond_the_tokens_are_refused() {
    run_small(&[0..4, 4..11], true);
}

/// Attends from 10 new tokens, in sequences of (tokens, start, blocks).
fn run_cached(sequences: &[(Range<usize>, usize, &[u32])]) -> Vec<f32> {
    let mut ctx = Context::cpu(2);
    let cache = Cache::new(&mut ctx, &SMALL, 2, 4, 2);
    let q = ctx.upload_persistent(10, 16, &random(1, 160));
    let [k, v] = [2, 3].map(|seed| ctx.upload_persistent(10, 8, &random(seed, 80)));
    let out = ctx.persistent(10, 16);
    let mut extensions = Extensions::default();
    for (tokens, start, blocks) in sequences {
        extensions.push(tokens.clone(), *start, blocks);
    }
    let rows = extensions.upload(&mut ctx, &cache);
    let work = |ctx: &mut Context| forward_cached(ctx, &SMALL, &cache, 0, rows, q, k, v, out);
    ctx.plan(work);
    work(&mut ctx);
    ctx.download(out)
}

#[test]
fn sequences_may_share_blocks_that_none_writes() {
    let out = run_cached(&[(5..10, 64, &[3, 0]), (0..5, 126, &[3, 1, 2])]);
    assert!(out.iter().all(|value| value.is_finite()));
}

#[test]
#[should_panic(expected = "token 4 belongs to two rows")]
fn the_cached_form_refuses_tokens_of_two_sequences() {
    run_cached(&[(0..5, 0, &[0]), (4..10, 0, &[1])]);
}

#[test]
#[should_panic(expected = "block 3 would be written twice")]
fn the_cached_form_refuses_a_block_that_two_sequences_write() {
    run_cached(&[(0..5, 0, &[3]), (5..10, 70, &[0, 3])]);
}

#[test]
#[should_panic(expected = "block 1 would be written twice")]
fn the_cached_form_refuses_a_block_that_stands_for_two_stretches() {
    run_cached(&[(0..10, 60, &[1, 1])]);
}

#[test]
#[should_panic(expected = "block 4 of a cache of 4")]
fn the_cached_form_refuses_a_block_of_another_layer() {
    run_cached(&[(0..10, 0, &[4])]);
}

#[test]
fn a_row_has_the_same_bits_alone_or_packed_and_from_the_cache() {
    for isa in Isa::tested() {
        for (precision, dim) in
            [(Precision::F32, 40), (Precision::Bf16, 20), (Precision::Bf16, 40), (Precision::Bf16, 96)]
        {
            for window in [None, Some(1), Some(50), Some(64), Some(80)] {
                check_bits(&Heads { query: 4, key: 2, dim, scale: 0.15, window, precision }, isa);
            }
        }
    }
}

/// What is no number in one row or sequence reaches neither others, whatever they share, nor in its own what comes before it or no longer sees it.
#[test]
fn what_is_no_number_reaches_nobody_who_does_not_see_it() {
    for isa in Isa::tested() {
        for (precision, dim) in [(Precision::F32, 40), (Precision::Bf16, 40), (Precision::Bf16, 96)] {
            for window in [None, Some(20)].into_iter().take(if dim == 40 { 2 } else { 1 }) {
                let heads = Heads { query: 4, key: 2, dim, scale: 0.15, window, precision };
                for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX] {
                    check_apart(&heads, isa, bad);
                }
            }
        }
    }
}

fn check_apart(heads: &Heads, isa: Isa, bad: f32) {
    let (wide, narrow) = (heads.query * heads.dim, heads.key * heads.dim);
    let rows = [0..37, 37..187, 187..260];
    // in the middle of a tile of the row in the middle
    let (tokens, place) = (260, 37 + 100);
    let end = heads.window.map_or(187, |window| place + window);
    let (q, k, v) = (random(1, tokens * wide), random(2, tokens * narrow), random(3, tokens * narrow));
    let dout = random(4, tokens * wide);
    let good = run(heads, &rows, [&q, &k, &v, &dout], isa, 2);
    let (mut bad_k, mut bad_v) = (k.clone(), v.clone());
    bad_k[place * narrow + 3] = bad;
    bad_v[place * narrow + 5] = bad;
    for values in [[&q, &k, &bad_v, &dout], [&q, &bad_k, &v, &dout]] {
        let got = run(heads, &rows, values.map(Vec::as_slice), isa, 2);
        assert_eq!(got.out[..place * wide], good.out[..place * wide], "{isa:?} {heads:?} {bad}");
        assert_eq!(got.out[end * wide..], good.out[end * wide..], "{isa:?} {heads:?} {bad}");
        for (i, columns) in [wide, narrow, narrow].into_iter().enumerate() {
            assert_eq!(got.gradients[i][..37 * columns], good.gradients[i][..37 * columns]);
            assert_eq!(got.gradients[i][187 * columns..], good.gradients[i][187 * columns..]);
        }
    }
    let seen = run(heads, &rows, [&q, &k, &bad_v, &dout], isa, 1);
    let is_reached = |token: usize| seen.out[token * wide + 5].abs() > 1e30 || seen.out[token * wide + 5].is_nan();
    assert!((place..end).all(is_reached), "those that see it are not as if it were not there");

    // the same through the cache, whose blocks the first sequence leaves to another
    let mut ctx = Context::cpu(2).with_isa(isa);
    let cache = Cache::new(&mut ctx, heads, 1, 5, 1);
    let mut pass = |row: Range<usize>, v: &[f32], blocks: &[u32]| {
        let count = row.len();
        let part = |values: &[f32], columns: usize| values[row.start * columns..row.end * columns].to_vec();
        let qm = ctx.upload_persistent(count, wide, &part(&q, wide));
        let km = ctx.upload_persistent(count, narrow, &part(&k, narrow));
        let vm = ctx.upload_persistent(count, narrow, &part(v, narrow));
        let out = ctx.persistent(count, wide);
        let mut extensions = Extensions::default();
        extensions.push(0..count, 0, blocks);
        let rows = extensions.upload(&mut ctx, &cache);
        let work = |ctx: &mut Context| forward_cached(ctx, heads, &cache, 0, rows, qm, km, vm, out);
        ctx.plan(work);
        work(&mut ctx);
        ctx.download(out)
    };
    let out = pass(37..187, &bad_v, &[4, 0, 2]);
    assert_eq!(out[..100 * wide], good.out[37 * wide..place * wide], "cached, {isa:?} {heads:?} {bad}");
    assert!((place - 37..end - 37).all(|token| out[token * wide + 5].abs() > 1e30 || out[token * wide + 5].is_nan()));
    assert_eq!(out[(end - 37) * wide..], good.out[end * wide..187 * wide], "cached, {isa:?} {heads:?} {bad}");
    assert_eq!(pass(187..260, &v, &[0, 4]), good.out[187 * wide..], "{isa:?} {heads:?} {bad}");
    assert_eq!(pass(0..37, &v, &[0]), good.out[..37 * wide], "{isa:?} {heads:?} {bad}");
}

/// The reference finds the same through the cache as without it.
#[test]
fn the_reference_attends_through_the_cache() {
    for window in [None, Some(40)] {
        let heads = Heads { query: 4, key: 2, dim: 8, scale: 0.3, window, precision: Precision::Bf16 };
        let (tokens, wide_columns, narrow) = (100, 32, 16);
        let (q, k, v) = (random(1, tokens * wide_columns), random(2, tokens * narrow), random(3, tokens * narrow));
        let row = 0..tokens;
        let whole = run_on(Context::reference(), &heads, std::slice::from_ref(&row), [&q, &k, &v, &q]);
        let mut ctx = Context::reference();
        let cache = Cache::new(&mut ctx, &heads, 2, 5, 1);
        let mut cached = Vec::new();
        for part in [0..70, 70..71, 71..100] {
            let [qm, km, vm] = [(&q, wide_columns), (&k, narrow), (&v, narrow)].map(|(values, columns)| {
                ctx.upload_persistent(part.len(), columns, &values[part.start * columns..part.end * columns])
            });
            let out = ctx.persistent(part.len(), wide_columns);
            let mut extensions = Extensions::default();
            extensions.push(0..part.len(), part.start, &[4, 1]);
            let rows = extensions.upload(&mut ctx, &cache);
            forward_cached(&mut ctx, &heads, &cache, 1, rows, qm, km, vm, out);
            cached.extend(ctx.download(out));
        }
        assert_eq!(cached, whole.out);
    }
}

fn check_bits(heads: &Heads, isa: Isa) {
    let (wide, narrow) = (heads.query * heads.dim, heads.key * heads.dim);
    let (before, length) = (37, 150);
    let tokens = before + length;
    let (q, k, v) = (random(1, tokens * wide), random(2, tokens * narrow), random(3, tokens * narrow));
    let dout = random(4, tokens * wide);
    let packed = run(heads, &[0..before, before..tokens], [&q, &k, &v, &dout], isa, 2);
    let (w, n) = (before * wide, before * narrow);
    let row = 0..length;
    let only_row = std::slice::from_ref(&row);
    let alone = run(heads, only_row, [&q[w..], &k[n..], &v[n..], &dout[w..]], isa, 1);
    assert_eq!(packed.out[w..], alone.out);
    assert_eq!(packed.gradients[0][w..], alone.gradients[0]);
    assert_eq!(packed.gradients[1][n..], alone.gradients[1]);
    assert_eq!(packed.gradients[2][n..], alone.gradients[2]);

    // the same row token by token and in pieces, through scattered cache blocks
    let mut ctx = Context::cpu(2).with_isa(isa);
    let cache = Cache::new(&mut ctx, heads, 2, 5, 1);
    let blocks = [4, 0, 2];
    let mut cached = Vec::new();
    for (start, end) in [(0, 70), (70, 71), (71, 72), (72, 140), (140, length)] {
        let count = end - start;
        let part = |values: &[f32], first: usize, columns: usize| {
            values[first + start * columns..first + end * columns].to_vec()
        };
        let qm = ctx.upload_persistent(count, wide, &part(&q, w, wide));
        let km = ctx.upload_persistent(count, narrow, &part(&k, n, narrow));
        let vm = ctx.upload_persistent(count, narrow, &part(&v, n, narrow));
        let out = ctx.persistent(count, wide);
        let mut extensions = Extensions::default();
        extensions.push(0..count, start, &blocks);
        let rows = extensions.upload(&mut ctx, &cache);
        let work = |ctx: &mut Context| forward_cached(ctx, heads, &cache, 1, rows, qm, km, vm, out);
        ctx.plan(work);
        work(&mut ctx);
        cached.extend(ctx.download(out));
    }
    assert_eq!(cached, alone.out);
}
