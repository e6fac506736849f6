//! Causal attention: all scores of a head in one matrix, within a row or over cached blocks.

use std::ops::Range;

use super::{Values, dot};
use crate::attention::{BLOCK, Cache, CachedRows, Heads, Rows};
use crate::device::{Context, Mat};

/// `scale·q·k` of a query with the keys of the positions that it sees.
fn scores<'a>(heads: &Heads, query: &[f32], keys: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    keys.map(|key| heads.scale * dot(query, key)).collect()
}

/// The log-sum-exp of scores.
fn log_sum_exp(scores: &[f32]) -> f32 {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    highest + scores.iter().map(|score| (score - highest).exp()).sum::<f32>().ln()
}

/// The channels of a head.
fn channels(heads: &Heads, head: usize) -> Range<usize> {
    head * heads.dim..(head + 1) * heads.dim
}

/// The positions that a query sees.
fn seen(heads: &Heads, position: usize) -> Range<usize> {
    heads.first_seen(position)..position + 1
}

pub(crate) fn forward(ctx: &mut Context, heads: &Heads, rows: Rows, (q, k, v): (Mat, Mat, Mat), out: Mat, lse: Mat) {
    if ctx.planning() {
        return;
    }
    let [q, k, v] = [q, k, v].map(|mat| Values::of(ctx, mat));
    let (mut attended, mut sums) = (Values::of(ctx, out), Values::of(ctx, lse));
    for row in rows.ranges(ctx) {
        for (position, token) in row.clone().enumerate() {
            let tokens = seen(heads, position).map(|position| row.start + position);
            for head in 0..heads.query {
                let of_keys = channels(heads, head / heads.group());
                let query = &q.row(token)[channels(heads, head)];
                let scores = scores(heads, query, tokens.clone().map(|t| &k.row(t)[of_keys.clone()]));
                let sum = log_sum_exp(&scores);
                sums.row_mut(token)[head] = sum;
                let out = &mut attended.row_mut(token)[channels(heads, head)];
                out.fill(0.0);
                for (score, t) in scores.iter().zip(tokens.clone()) {
                    let weight = (score - sum).exp();
                    out.iter_mut().zip(&v.row(t)[of_keys.clone()]).for_each(|(out, v)| *out += weight * v);
                }
            }
        }
    }
    ctx.write(out, &attended.values);
    ctx.write(lse, &sums.values);
}

/// With P the weights: `dV = Pᵀ·dO`, `dS = P∘(dO·Vᵀ − rowsum(dO∘O))·scale`, `dQ = dS·K`, `dK = dSᵀ·Q`.
pub(crate) fn backward(
    ctx: &mut Context,
    heads: &Heads,
    rows: Rows,
    (q, k, v): (Mat, Mat, Mat),
    (out, lse, dout): (Mat, Mat, Mat),
    gradients: (Mat, Mat, Mat),
) {
    if ctx.planning() {
        return;
    }
    let [q, k, v, out, lse, dout] = [q, k, v, out, lse, dout].map(|mat| Values::of(ctx, mat));
    let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|like| Values::zeroed(like.rows(), like.cols));
    for row in rows.ranges(ctx) {
        for (position, token) in row.clone().enumerate() {
            let tokens = seen(heads, position).map(|position| row.start + position);
            for head in 0..heads.query {
                let (of_query, of_keys) = (channels(heads, head), channels(heads, head / heads.group()));
                let (query, dout) = (&q.row(token)[of_query.clone()], &dout.row(token)[of_query.clone()]);
                let delta = dot(dout, &out.row(token)[of_query.clone()]);
                let scores = scores(heads, query, tokens.clone().map(|t| &k.row(t)[of_keys.clone()]));
                for (score, t) in scores.iter().zip(tokens.clone()) {
                    let weight = (score - lse.row(token)[head]).exp();
                    let dscore = weight * (dot(dout, &v.row(t)[of_keys.clone()]) - delta) * heads.scale;
                    for i in 0..heads.dim {
                        let (of_query, of_key) = (of_query.start + i, of_keys.start + i);
                        dv.row_mut(t)[of_key] += weight * dout[i];
                        dq.row_mut(token)[of_query] += dscore * k.row(t)[of_key];
                        dk.row_mut(t)[of_key] += dscore * query[i];
                    }
                }
            }
        }
    }
    let (to_q, to_k, to_v) = gradients;
    [(to_q, dq), (to_k, dk), (to_v, dv)].into_iter().for_each(|(mat, values)| ctx.write(mat, &values.values));
}

/// A tile of the cache holds the keys (or values) of its positions, one after the other, as the bits of f32.
pub(crate) fn forward_cached(
    ctx: &mut Context,
    heads: &Heads,
    cache: &Cache,
    layer: usize,
    rows: CachedRows,
    (q, k, v): (Mat, Mat, Mat),
    out: Mat,
) {
    if ctx.planning() {
        return;
    }
    let [q, k, v] = [q, k, v].map(|mat| Values::of(ctx, mat));
    let (sequences, blocks) = (ctx.entries(rows.sequences).to_vec(), ctx.entries(rows.blocks).to_vec());
    // where a position of a sequence lies
    let place = |sequence: &crate::attention::Sequence, head: usize, position: usize| {
        let row = cache.tile(heads, layer, sequence.block(&blocks, position), head);
        (row, position % BLOCK * heads.dim)
    };
    for sequence in &sequences {
        for (token, position) in sequence.tokens().zip(sequence.start()..) {
            for head in 0..heads.key {
                let (row, column) = place(sequence, head, position);
                for (tiles, values) in [(cache.keys, &k), (cache.values, &v)] {
                    let bits: Vec<u32> = values.row(token)[channels(heads, head)].iter().map(|x| x.to_bits()).collect();
                    ctx.write(tiles.row_range(row, 1).col_range(column, heads.dim), &bits);
                }
            }
        }
    }
    let mut attended = Values::of(ctx, out);
    for sequence in &sequences {
        for (token, position) in sequence.tokens().zip(sequence.start()..) {
            for head in 0..heads.query {
                let [keys, values] = [cache.keys, cache.values].map(|tiles| {
                    let of_position = |position: usize| {
                        let (row, column) = place(sequence, head / heads.group(), position);
                        let bits = ctx.download(tiles.row_range(row, 1).col_range(column, heads.dim));
                        bits.into_iter().map(f32::from_bits).collect::<Vec<f32>>()
                    };
                    seen(heads, position).map(of_position).collect::<Vec<_>>()
                });
                let scores = scores(heads, &q.row(token)[channels(heads, head)], keys.iter().map(|key| &key[..]));
                let sum = log_sum_exp(&scores);
                let out = &mut attended.row_mut(token)[channels(heads, head)];
                out.fill(0.0);
                for (score, value) in scores.iter().zip(&values) {
                    let weight = (score - sum).exp();
                    out.iter_mut().zip(value).for_each(|(out, v)| *out += weight * v);
                }
            }
        }
    }
    ctx.write(out, &attended.values);
}
