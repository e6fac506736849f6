//! The forward pass: tiles of queries against all keys that they attend to, with an online softmax.

use super::{
    BLOCK, Heads, Rows, WindowMask, assert_rows_apart, is_harmless, list_pieces, range, room_for_pieces, split, tiles,
};
use crate::device::{Context, Device, Mat, View, assert_apart};
use crate::gemm::tile::{self, Part, TileProduct};
use crate::profile::Kind;
use crate::reference;
use crate::simd::{Isa, LANES, exp, multiversion};

/// `out = softmax(scale·q·kᵀ + causal mask)·v` within each row of `rows` (token ranges of the packed matrices, which must not
/// overlap), and the log-sum-exp of each token and head.
///
/// # Panics
/// If the shapes do not fit `heads` and `rows`, or if what is written shares elements with what is read.
pub fn forward(ctx: &mut Context, heads: &Heads, rows: Rows, q: Mat, k: Mat, v: Mat, out: Mat, lse: Mat) {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::attention::forward(ctx, heads, rows, (q, k, v), out, lse),
    }
    let _span = ctx.span(Kind::Attention);
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(State::floats(heads));
    let room = room_for_pieces(ctx, q.rows());
    if !ctx.planning() {
        assert_apart(
            &[out.place(), lse.place(), scratch.place(), room.place()],
            &[q.span(), k.span(), v.span(), rows.ranges.place()],
        );
        // SAFETY: scratch that was just taken.
        unsafe { assert_rows_apart(ctx, room, q.rows(), rows.ranges(ctx)) };
        let (qv, kv, vv, ov, lv) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out), ctx.view(lse));
        let (sv, isa) = (ctx.view(scratch), ctx.isa());
        // one tile of queries of one row each
        let pieces =
            rows.ranges(ctx).enumerate().flat_map(|(n, row)| tiles(row.len()).map(move |tile| (n, tile.start)));
        let ranges = ctx.entries(rows.ranges);
        // SAFETY: scratch that was just taken.
        let pieces = unsafe { list_pieces(ctx, room, pieces) };
        // the long ones first: threads then end together
        pieces.sort_unstable_by_key(|&[row, start]| (std::cmp::Reverse(start), row));
        ctx.parallel_longest_first(pieces.len() * heads.key, |i| {
            let ([row, start], head) = (pieces[i / heads.key], i % heads.key);
            let (row, start) = (range(&ranges[row as usize]), start as usize);
            let block = start..row.len().min(start + BLOCK);
            // SAFETY: the scratch row belongs to this thread; q, k, v are only read; each task writes the columns of its own
            // heads in its own tokens of `out` and `lse`, which overlap no operand (asserted).
            unsafe {
                let mut state = State::new(isa, heads, sv.row_mut(Context::thread_index()));
                let query = Query { view: qv, row: row.start + block.start, count: block.len() };
                let keys = |j: usize| {
                    let tokens = j * BLOCK..row.len().min((j + 1) * BLOCK);
                    let (first, count, column) = (row.start + tokens.start, tokens.len(), head * heads.dim);
                    let (key, value) =
                        (kv.block(first, count, column, heads.dim), vv.block(first, count, column, heads.dim));
                    Keys { key, key_ld: kv.ld, value, value_ld: vv.ld, count }
                };
                state.run(heads, head, query, block.start, block.end, keys);
                state.store(heads, head, query, BLOCK, ov, Some(lv));
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
struct Keys<'a> {
    key: &'a [f32],
    key_ld: usize,
    value: &'a [f32],
    value_ld: usize,
    count: usize,
}

/// The running state of one tile of queries: all heads of a group, head by head.
pub(super) struct State<'a> {
    pub(super) isa: Isa,
    pub(super) query: &'a mut [u32],
    key: &'a mut [u32],
    value: &'a mut [u32],
    pub(super) scores: &'a mut [f32],
    pub(super) packed_scores: &'a mut [u32],
    pub(super) out: &'a mut [f32],
    pub(super) turned: &'a mut [f32],
    pub(super) maximum: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
}

impl<'a> State<'a> {
    pub(super) fn floats(heads: &Heads) -> usize {
        State::lens(heads).iter().sum()
    }

    fn lens(heads: &Heads) -> [usize; 9] {
        let (stacked, d, p) = (heads.group() * BLOCK, heads.padded_dim(), heads.precision);
        [
            tile::lhs_len(p, stacked, heads.dim),
            tile::lhs_len(p, BLOCK, heads.dim),
            tile::lhs_len(p, heads.dim, BLOCK),
            BLOCK.max(heads.group()) * BLOCK,
            tile::lhs_len(p, BLOCK.max(heads.group()), BLOCK).max(tile::rhs_len(p, BLOCK, BLOCK)),
            stacked * d,
            stacked * d,
            stacked,
            stacked,
        ]
    }

    pub(super) fn new(isa: Isa, heads: &Heads, mut scratch: &'a mut [f32]) -> State<'a> {
        let rest = &mut scratch;
        let [query, key, value, scores, packed_scores, out, turned, maximum, sum] = State::lens(heads);
        State {
            isa,
            query: split(rest, query),
            key: split(rest, key),
            value: split(rest, value),
            scores: split(rest, scores),
            packed_scores: split(rest, packed_scores),
            out: split(rest, out),
            turned: split(rest, turned),
            maximum: split(rest, maximum),
            sum: split(rest, sum),
        }
    }

    /// The first `rows` rows have seen nothing yet.
    pub(super) fn clear(&mut self, rows: usize, ld: usize) {
        self.out[..rows * ld].fill(0.0);
        self.maximum[..rows].fill(f32::NEG_INFINITY);
        self.sum[..rows].fill(0.0);
    }

    /// Attends from queries at positions `first ..` to all keys at positions below `end` that they see. Scores have keys down and queries across: what
    /// the softmax needs of a query then runs down a column, side by side with its neighbours. The output has channels down: weights
    /// are then a right-hand operand as they lie.
    ///
    /// # Safety
    /// No one writes q meanwhile.
    unsafe fn run<'k>(
        &mut self,
        heads: &Heads,
        head: usize,
        query: Query,
        first: usize,
        end: usize,
        keys: impl Fn(usize) -> Keys<'k>,
    ) {
        let (d, p, isa, m) = (heads.dim, heads.precision, self.isa, query.count);
        let packed_query = tile::rhs_len(p, BLOCK, d);
        for (g, to) in self.query.chunks_exact_mut(packed_query).enumerate() {
            // SAFETY: q is only read.
            let rows = unsafe { query.view.block(query.row, m, (head * heads.group() + g) * d, d) };
            tile::rhs_nk(isa, p, rows, query.view.ld, (m, d), heads.scale, to);
        }
        self.clear(heads.group() * BLOCK, d);
        for j in heads.first_seen(first) / BLOCK..end.div_ceil(BLOCK) {
            let Keys { key, key_ld, value, value_ld, count: n } = keys(j);
            let before = WindowMask::new(heads, first, 1, j * BLOCK);
            tile::lhs_rows(isa, p, key, key_ld, (n, d), 1.0, self.key);
            // keys of this tile that the first query sees
            let seen = (first + 1).saturating_sub(j * BLOCK);
            let is_apart = (seen < n || before.is_any(m)) && !all_harmless(isa, value, value_ld, n, d);
            if is_apart {
                // what a query does not see must not reach it: such values count for those that see them, one by one
                let copy = &mut self.turned[..n * d];
                for (row, copy) in value.chunks(value_ld).zip(copy.chunks_exact_mut(d)) {
                    copy.iter_mut().zip(row).for_each(|(copy, v)| *copy = if is_harmless(*v) { *v } else { 0.0 });
                }
                tile::lhs_columns(isa, p, copy, d, (d, n), self.value);
            } else {
                tile::lhs_columns(isa, p, value, value_ld, (d, n), self.value);
            }
            for g in 0..heads.group() {
                let (rows, scores) = (g * BLOCK..(g + 1) * BLOCK, &mut self.scores[..BLOCK * BLOCK]);
                let product = TileProduct {
                    wanted: Part::Above { seen },
                    ..TileProduct::new(self.key, &self.query[g * packed_query..], (n, m, d))
                };
                product.run(isa, p, scores, BLOCK);
                let out = &mut self.out[g * BLOCK * d..(g + 1) * BLOCK * d];
                let (maximum, sum) = (&mut self.maximum[rows.clone()], &mut self.sum[rows]);
                online_softmax(isa, scores, n, m, seen, before, maximum, sum, out);
                tile::rhs_kn(isa, p, scores, BLOCK, (m, n), self.packed_scores);
                let product = TileProduct {
                    rhs_part: Part::Above { seen },
                    accumulates: true,
                    ..TileProduct::new(self.value, self.packed_scores, (d, m, n))
                };
                product.run(isa, p, out, BLOCK);
                if is_apart {
                    for (key, row) in value.chunks(value_ld).enumerate().take(n) {
                        for (c, v) in row[..d].iter().enumerate().filter(|(_, v)| !is_harmless(**v)) {
                            for i in ((key + 1).saturating_sub(seen)..m).filter(|i| before.keys(*i) <= key) {
                                out[c * BLOCK + i] += scores[key * BLOCK + i] * v;
                            }
                        }
                    }
                }
            }
        }
        // as `run_cached` leaves it: queries down
        let ld = heads.padded_dim();
        for g in 0..heads.group() {
            let to = &mut self.turned[g * BLOCK * ld..];
            tile::transposed(isa, &self.out[g * BLOCK * d..], BLOCK, (d, m), to, ld);
        }
        std::mem::swap(&mut self.out, &mut self.turned);
    }

    /// Writes `out / sum` and the log-sum-exp of the tile. The rows of two heads lie `stride` apart in the state.
    ///
    /// # Safety
    /// No one else touches this group's columns of these tokens.
    pub(super) unsafe fn store(
        &self,
        heads: &Heads,
        head: usize,
        query: Query,
        stride: usize,
        out: View,
        lse: Option<View>,
    ) {
        let ld = heads.padded_dim();
        for g in 0..heads.group() {
            let query_head = head * heads.group() + g;
            for i in 0..query.count {
                let (r, row) = (g * stride + i, query.row + i);
                // SAFETY: this group's columns, as the caller promises.
                unsafe {
                    let target = out.part_mut(row, query_head * heads.dim, heads.dim);
                    scaled(self.isa, &self.out[r * ld..r * ld + heads.dim], 1.0 / self.sum[r], target);
                    if let Some(lse) = lse {
                        lse.part_mut(row, query_head, 1)[0] = self.maximum[r] + self.sum[r].ln();
                    }
                }
            }
        }
    }
}

multiversion! {
    fn all_harmless(values: &[f32], ld: usize, rows: usize, columns: usize) -> bool {
        values.chunks(ld).take(rows).all(|row| row[..columns].iter().fold(true, |all, v| all & is_harmless(*v)))
    }
}

multiversion! {
    fn scaled(from: &[f32], factor: f32, to: &mut [f32]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from * factor);
    }
}

multiversion! {
    /// Turns a tile of scores, `n` keys down and `m` queries across, into weights relative to each query's new running maximum, and
    /// rescales sums and outputs, channels down, to it. Query i sees the first `seen + i` keys, less those before its window: a query
    /// that sees none of them is left as it was. A sum runs over the keys in the order of
    /// [`crate::simd::lane_sum`], so that generation, which has queries down, comes to the same bits.
    fn online_softmax(
        scores: &mut [f32],
        n: usize,
        m: usize,
        seen: usize,
        before: WindowMask,
        maximum: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
    ) {
        const WIDE: usize = BLOCK / LANES;
        let (scores, maximum, sum) =
            (scores.as_chunks_mut().0, maximum.as_chunks_mut().0, sum.as_chunks_mut::<LANES>().0);
        let mut corrections = [[1f32; LANES]; WIDE];
        for group in 0..m.div_ceil(LANES) {
            let first = seen + group * LANES;
            for key in first..n {
                scores[key * WIDE + group][..(key + 1 - first).min(LANES)].fill(f32::NEG_INFINITY);
            }
            let rows = group * LANES..m.min((group + 1) * LANES);
            if before.keys(rows.end - 1) > 0 {
                for row in rows {
                    for key in 0..before.keys(row).min(n) {
                        scores[key * WIDE + group][row % LANES] = f32::NEG_INFINITY;
                    }
                }
            }
            let old: [f32; LANES] = maximum[group];
            let mut top = old;
            for key in 0..n {
                let row: &[f32; LANES] = &scores[key * WIDE + group];
                for lane in 0..LANES {
                    top[lane] = if row[lane] > top[lane] { row[lane] } else { top[lane] };
                }
            }
            // where nothing was seen yet, nothing is subtracted: −∞ − (−∞) is no number
            let base = top.map(|top| if top == f32::NEG_INFINITY { 0.0 } else { top });
            // keys 16 apart are summed first, the 16 sums by halves
            let mut sums = [[0f32; LANES]; LANES];
            for (start, slot) in sums.iter_mut().enumerate() {
                let mut sum = [0f32; LANES];
                for key in (start..n).step_by(LANES) {
                    let row = &mut scores[key * WIDE + group];
                    for lane in 0..LANES {
                        row[lane] = exp::<FUSED>(row[lane] - base[lane]);
                        sum[lane] += row[lane];
                    }
                }
                *slot = sum;
            }
            for width in [8, 4, 2, 1] {
                for start in 0..width {
                    let other = sums[start + width];
                    for lane in 0..LANES {
                        sums[start][lane] += other[lane];
                    }
                }
            }
            let (factor, sum) = (&mut corrections[group], &mut sum[group]);
            for lane in 0..LANES {
                factor[lane] = exp::<FUSED>(old[lane] - base[lane]);
                sum[lane] = sum[lane] * factor[lane] + sums[0][lane];
            }
            maximum[group] = top;
        }
        if corrections.as_flattened()[..m].iter().any(|factor| *factor != 1.0) {
            for out in out.as_chunks_mut::<BLOCK>().0 {
                out.iter_mut().zip(corrections.as_flattened()).for_each(|(out, factor)| *out *= factor);
            }
        }
    }
}
