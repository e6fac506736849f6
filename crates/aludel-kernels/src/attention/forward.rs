//! The forward: tiles of queries against all keys that they may see, under an online softmax.

use std::ops::Range;

use super::{BLOCK, Heads, list_pieces, room_for_pieces, split, tiles};
use crate::device::{Context, Mat, View, assert_apart};
use crate::gemm::tile;
use crate::profile::Kind;
use crate::simd::{Isa, exp, lane_max, lane_sum, multiversion};

/// `out = softmax(scale·q·kᵀ + causal mask)·v` within each row of `rows` (token ranges of the packed matrices), and the
/// log-sum-exp of each token and head.
pub fn forward(ctx: &mut Context, heads: &Heads, rows: &[Range<usize>], q: Mat, k: Mat, v: Mat, out: Mat, lse: Mat) {
    let _span = ctx.span(Kind::Attention);
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(State::floats(heads));
    let room = room_for_pieces(ctx, q.rows());
    if !ctx.planning() {
        assert_apart(&[out, lse], &[q, k, v]);
        let (qv, kv, vv, ov, lv) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out), ctx.view(lse));
        let (sv, isa) = (ctx.view(scratch), ctx.isa());
        // one tile of queries of one row each
        let pieces = rows.iter().enumerate().flat_map(|(n, row)| tiles(row.len()).map(move |tile| (n, tile.start)));
        // SAFETY: scratch that was just taken.
        let pieces = unsafe { list_pieces(ctx, room, pieces) };
        // the long ones first: threads then end together
        pieces.sort_unstable_by_key(|&[row, start]| (std::cmp::Reverse(start), row));
        ctx.parallel(pieces.len() * heads.key, |i| {
            let ([row, start], head) = (pieces[i / heads.key], i % heads.key);
            let (row, start) = (&rows[row as usize], start as usize);
            let block = start..row.len().min(start + BLOCK);
            // SAFETY: the scratch row belongs to this thread; q, k, v are only read; each task writes the columns of its own
            // heads in its own tokens of `out` and `lse`, which overlap no operand (asserted).
            unsafe {
                let mut state = State::new(isa, heads, sv.row_mut(Context::thread_index()));
                let query = Query { view: qv, row: row.start + block.start, count: block.len() };
                let keys = |j: usize| {
                    let tokens = j * BLOCK..row.len().min((j + 1) * BLOCK);
                    let (first, count, column) = (row.start + tokens.start, tokens.len(), head * heads.dim);
                    let key = kv.block(first, count, column, heads.dim);
                    Keys::Rows {
                        key,
                        value: vv.block(first, count, column, heads.dim),
                        ld: kv.ld,
                        value_ld: vv.ld,
                        count,
                    }
                };
                state.run(heads, head, query, block.start, block.end, keys);
                state.store(heads, head, query.row, query.count, ov, Some(lv));
            }
        });
    }
    ctx.release(mark);
}

/// `count` tokens of q from `row` on.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) view: View,
    pub(super) row: usize,
    pub(super) count: usize,
}

/// One tile of keys and values.
pub(super) enum Keys<'a> {
    /// Rows, to be packed.
    Rows { key: &'a [f32], value: &'a [f32], ld: usize, value_ld: usize, count: usize },
    /// Packed already.
    Packed { key: &'a [u32], value: &'a [u32], count: usize },
}

/// The running state of one tile of queries: all heads of a group, head by head.
pub(super) struct State<'a> {
    isa: Isa,
    query: &'a mut [u32],
    key: &'a mut [u32],
    value: &'a mut [u32],
    scores: &'a mut [f32],
    packed_scores: &'a mut [u32],
    out: &'a mut [f32],
    maximum: &'a mut [f32],
    sum: &'a mut [f32],
}

impl<'a> State<'a> {
    pub(super) fn floats(heads: &Heads) -> usize {
        State::lens(heads).iter().sum()
    }

    fn lens(heads: &Heads) -> [usize; 8] {
        let (stacked, d, p) = (heads.group() * BLOCK, heads.padded_dim(), heads.precision);
        [
            tile::lhs_len(p, stacked, heads.dim),
            tile::rhs_len(p, BLOCK, heads.dim),
            tile::rhs_len(p, d, BLOCK),
            stacked * BLOCK,
            tile::lhs_len(p, BLOCK, BLOCK),
            stacked * d,
            stacked,
            stacked,
        ]
    }

    pub(super) fn new(isa: Isa, heads: &Heads, mut scratch: &'a mut [f32]) -> State<'a> {
        let rest = &mut scratch;
        let [query, key, value, scores, packed_scores, out, maximum, sum] = State::lens(heads);
        State {
            isa,
            query: split(rest, query),
            key: split(rest, key),
            value: split(rest, value),
            scores: split(rest, scores),
            packed_scores: split(rest, packed_scores),
            out: split(rest, out),
            maximum: split(rest, maximum),
            sum: split(rest, sum),
        }
    }

    /// Attends from queries at positions `first ..` to all keys at positions below `end`.
    ///
    /// # Safety
    /// No one writes q meanwhile.
    pub(super) unsafe fn run<'k>(
        &mut self,
        heads: &Heads,
        head: usize,
        query: Query,
        first: usize,
        end: usize,
        keys: impl Fn(usize) -> Keys<'k>,
    ) {
        let (d, ld, p, isa) = (heads.dim, heads.padded_dim(), heads.precision, self.isa);
        // one token's heads lie at equal distances, like rows: they go through the products together
        let (groups, m, query_ld) = match query.count {
            1 => (1, heads.group(), d),
            count => (heads.group(), count, query.view.ld),
        };
        let packed_query = tile::lhs_len(p, m, d);
        for g in 0..groups {
            let (column, columns) = ((head * heads.group() + g) * d, heads.group() / groups * d);
            // SAFETY: q is only read.
            let rows = unsafe { query.view.block(query.row, query.count, column, columns) };
            let to = &mut self.query[g * packed_query..];
            tile::lhs_rows(isa, p, rows, query_ld, (m, d), heads.scale, to);
        }
        let stacked = groups * m;
        self.out[..stacked * ld].fill(0.0);
        self.maximum[..stacked].fill(f32::NEG_INFINITY);
        self.sum[..stacked].fill(0.0);
        for j in 0..end.div_ceil(BLOCK) {
            let (key, value, n, depth) = match keys(j) {
                Keys::Rows { key, value, ld, value_ld, count } => {
                    tile::rhs_nk(isa, p, key, ld, (count, d), 1.0, self.key);
                    tile::rhs_kn(isa, p, value, value_ld, (d, count), self.value);
                    (&*self.key, &*self.value, count, count)
                }
                Keys::Packed { key, value, count } => (key, value, count, BLOCK),
            };
            // keys of this tile that the first query sees
            let seen = (first + 1).saturating_sub(j * BLOCK);
            for g in 0..groups {
                let (scores, rows) = (&mut self.scores[..m * BLOCK], g * m..(g + 1) * m);
                let query = &self.query[g * packed_query..];
                tile::multiply(isa, p, query, key, (m, n, d), d, false, scores, BLOCK);
                let out = &mut self.out[g * m * ld..(g + 1) * m * ld];
                let (maximum, sum) = (&mut self.maximum[rows.clone()], &mut self.sum[rows]);
                online_softmax(isa, scores, n, seen, maximum, sum, out, ld);
                tile::lhs_rows(isa, p, scores, BLOCK, (m, n), 1.0, self.packed_scores);
                tile::multiply(isa, p, self.packed_scores, value, (m, d, n), depth, true, out, ld);
            }
        }
    }

    /// Writes `out / sum` and the log-sum-exp of the tile.
    ///
    /// # Safety
    /// No one else touches this group's columns of these tokens.
    pub(super) unsafe fn store(
        &self,
        heads: &Heads,
        head: usize,
        row: usize,
        count: usize,
        out: View,
        lse: Option<View>,
    ) {
        let ld = heads.padded_dim();
        for g in 0..heads.group() {
            let query_head = head * heads.group() + g;
            for i in 0..count {
                let r = g * count + i;
                // SAFETY: this group's columns, as the caller promises.
                unsafe {
                    let target = out.part_mut(row + i, query_head * heads.dim, heads.dim);
                    let inverse = 1.0 / self.sum[r];
                    target.iter_mut().zip(&self.out[r * ld..]).for_each(|(t, o)| *t = o * inverse);
                    if let Some(lse) = lse {
                        lse.part_mut(row + i, query_head, 1)[0] = self.maximum[r] + self.sum[r].ln();
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Turns the rows of a tile of scores, `n` wide, into weights relative to each row's new running maximum, and rescales sums and
    /// outputs to it. Row i sees the first `seen + i` keys.
    fn online_softmax(
        scores: &mut [f32],
        n: usize,
        seen: usize,
        maximum: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
        ld: usize,
    ) {
        for (i, (row, out)) in scores.chunks_exact_mut(BLOCK).zip(out.chunks_exact_mut(ld)).enumerate() {
            let (visible, hidden) = row[..n].split_at_mut(n.min(seen + i));
            hidden.fill(0.0);
            if visible.is_empty() {
                continue;
            }
            let highest = lane_max(visible);
            if highest > maximum[i] {
                let correction = exp::<FUSED>(maximum[i] - highest);
                sum[i] *= correction;
                out.iter_mut().for_each(|o| *o *= correction);
                maximum[i] = highest;
            }
            let top = maximum[i];
            visible.iter_mut().for_each(|s| *s = exp::<FUSED>(*s - top));
            sum[i] += lane_sum(visible, visible, |a, _| a);
        }
    }
}
