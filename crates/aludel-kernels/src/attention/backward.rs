//! The backward pass. A task owns one query head and a fixed range of its keys. It goes through tiles of keys and, for
//! each, through the tiles of queries that attend to them, so that each pair of tiles is recomputed only once.
//! Gradients that several tasks contribute to are kept apart and summed afterwards, in order: that of queries by key
//! range, those of keys and values by query head.

use std::ops::Range;

use super::{BLOCK, Heads, Rows, WindowMask, assert_rows_apart, list_pieces, range, room_for_pieces, split, tiles};
use crate::device::{Context, Device, Mat, View, assert_apart};
use crate::gemm::tile::{self, Part, TileProduct};
use crate::profile::Kind;
use crate::reference;
use crate::simd::{Isa, exp, lane_sum, multiversion};

/// Positions of a stretch of keys, if a row has few of them. A function of the row's length only.
const STRETCH: usize = 512;
/// The most stretches of a row.
const MOST_STRETCHES: usize = 4;

/// Length of the stretches that the keys of a row are cut into.
fn stretch(positions: usize) -> usize {
    STRETCH.max(positions.div_ceil(MOST_STRETCHES)).next_multiple_of(BLOCK)
}

/// The gradients of q, k and v, overwritten. `out` and `lse` are the forward's, `dout` [T, H·D].
///
/// With P = exp(scale·q·kᵀ − lse): `dV = Pᵀ·dO`, `dS = P∘(dO·Vᵀ − rowsum(dO∘O))·scale`, `dQ = dS·K`, `dK = dSᵀ·Q`.
///
/// # Panics
/// If the shapes do not fit `heads` and `rows`, or if matrices that are written share elements with each other or with those that are read.
pub fn backward(
    ctx: &mut Context,
    heads: &Heads,
    rows: Rows,
    (q, k, v): (Mat, Mat, Mat),
    (out, lse, dout): (Mat, Mat, Mat),
    (dq, dk, dv): (Mat, Mat, Mat),
) {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return reference::attention::backward(ctx, heads, rows, (q, k, v), (out, lse, dout), (dq, dk, dv));
        }
    }
    let _span = ctx.span(Kind::Attention);
    let mark = ctx.mark();
    let longest = rows.longest;
    let stretches = longest.div_ceil(stretch(longest)).max(1);
    let (tokens, columns) = (q.rows(), heads.query * heads.dim);
    let delta = ctx.scratch(tokens, heads.query);
    let dq_parts = ctx.scratch(stretches * tokens, columns);
    let (dk_parts, dv_parts) = (ctx.scratch(tokens, columns), ctx.scratch(tokens, columns));
    let scratch = ctx.thread_scratch(State::floats(heads, longest));
    let (room, places) = (room_for_pieces(ctx, tokens), ctx.scratch_packed(1, tokens));
    if !ctx.planning() {
        let own = [delta, dq_parts, dk_parts, dv_parts, scratch].map(|mat| mat.place());
        let own = [own[0], own[1], own[2], own[3], own[4], room.place(), places.place()];
        assert_apart(
            &own,
            &[
                q.span(),
                k.span(),
                v.span(),
                out.place(),
                lse.place(),
                dout.span(),
                dq.place(),
                dk.place(),
                dv.place(),
                rows.ranges.place(),
            ],
        );
        assert_apart(
            &[dq.place(), dk.place(), dv.place()],
            &[q.place(), k.place(), v.place(), out.place(), lse.place(), dout.place(), rows.ranges.place()],
        );
        // SAFETY: scratch that was just taken.
        unsafe { assert_rows_apart(ctx, room, tokens, rows.ranges(ctx)) };
        let job = BackwardJob {
            heads: *heads,
            isa: ctx.isa(),
            q: ctx.view(q),
            k: ctx.view(k),
            v: ctx.view(v),
            dout: ctx.view(dout),
            lse: ctx.view(lse),
            delta: ctx.view(delta),
            dq_parts: ctx.view(dq_parts),
            dk_parts: ctx.view(dk_parts),
            dv_parts: ctx.view(dv_parts),
        };
        let (ov, sv) = (ctx.view(out), ctx.view(scratch));
        ctx.parallel(tokens.div_ceil(BLOCK), |task| {
            for t in task * BLOCK..tokens.min((task + 1) * BLOCK) {
                // SAFETY: tasks write disjoint rows of delta, which is scratch of its own.
                unsafe { row_dots(job.isa, ov.row(t), job.dout.row(t), heads.dim, job.delta.row_mut(t)) };
            }
        });
        // a fixed stretch of the keys of one row each
        let ranges = ctx.entries(rows.ranges);
        let pieces = rows
            .ranges(ctx)
            .enumerate()
            .flat_map(|(n, row)| (0..row.len()).step_by(stretch(row.len())).map(move |start| (n, start)));
        // SAFETY: scratch that was just taken.
        let pieces = unsafe { list_pieces(ctx, room, pieces) };
        let keys = |[row, start]: [u32; 2]| {
            let (length, start) = (range(&ranges[row as usize]).len(), start as usize);
            start..length.min(start + stretch(length))
        };
        // the long ones first: threads then end together
        pieces.sort_unstable_by_key(|&piece| {
            let (keys, length) = (keys(piece), range(&ranges[piece[0] as usize]).len());
            (std::cmp::Reverse(keys.len() * (2 * length - keys.start - keys.end)), piece)
        });
        ctx.parallel_longest_first(pieces.len() * heads.query, |i| {
            let piece = pieces[i / heads.query];
            let task = Task { row: range(&ranges[piece[0] as usize]), query_head: i % heads.query, keys: keys(piece) };
            // SAFETY: the scratch row belongs to this thread; inputs are only read; each task writes its own head's columns: of
            // its own part of dq for its row, of dk and dv for its own keys.
            unsafe {
                let mut state = State::new(heads, longest, sv.row_mut(Context::thread_index()));
                job.run(&task, &mut state);
            }
        });
        let (dqv, dkv, dvv) = (ctx.view(dq), ctx.view(dk), ctx.view(dv));
        // SAFETY: scratch that was just taken.
        let places = unsafe { ctx.view(places).row_mut(0) };
        count_stretches(rows.ranges(ctx), places);
        ctx.parallel(tokens.div_ceil(BLOCK), |task| {
            for (t, &count) in places.iter().enumerate().skip(task * BLOCK).take(BLOCK) {
                // SAFETY: tasks write disjoint rows of the gradients, which overlap none of the parts.
                unsafe {
                    let target = dqv.row_mut(t);
                    let mut parts = (0..count as usize).map(|part| job.dq_parts.row(part * tokens + t));
                    match parts.next() {
                        None => target.fill(0.0),
                        Some(first) => {
                            target.copy_from_slice(first);
                            parts.for_each(|part| add(job.isa, target, part));
                        }
                    }
                    sum_groups(job.isa, heads.group(), heads.dim, job.dk_parts.row(t), dkv.row_mut(t));
                    sum_groups(job.isa, heads.group(), heads.dim, job.dv_parts.row(t), dvv.row_mut(t));
                }
            }
        });
    }
    ctx.release(mark);
}

/// For each token, how many stretches of its row begin at or before it. Tokens of no row have none.
fn count_stretches(rows: impl Iterator<Item = Range<usize>>, counts: &mut [u32]) {
    counts.fill(0);
    for row in rows {
        let stretch = stretch(row.len());
        for (position, count) in counts[row.clone()].iter_mut().enumerate() {
            *count = (position / stretch) as u32 + 1;
        }
    }
}

multiversion! {
    fn add(target: &mut [f32], part: &[f32]) {
        target.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
}

multiversion! {
    /// Sums the query heads of each key head, in order: `group` heads of `d` channels.
    fn sum_groups(group: usize, d: usize, parts: &[f32], target: &mut [f32]) {
        for (target, parts) in target.chunks_exact_mut(d).zip(parts.chunks_exact(group * d)) {
            target.copy_from_slice(&parts[..d]);
            for part in parts[d..].chunks_exact(d) {
                target.iter_mut().zip(part).for_each(|(t, p)| *t += p);
            }
        }
    }
}

multiversion! {
    fn row_dots(a: &[f32], b: &[f32], d: usize, out: &mut [f32]) {
        for ((a, b), out) in a.chunks_exact(d).zip(b.chunks_exact(d)).zip(out) {
            *out = lane_sum(a, b, |x, y| x * y);
        }
    }
}

/// One query head of one row, and a stretch of its keys (positions).
struct Task {
    row: Range<usize>,
    query_head: usize,
    keys: Range<usize>,
}

/// Scratch of one task. The queries' operands are packed once for all tiles of keys.
struct State<'a> {
    query_left: &'a mut [u32],
    query_turned: &'a mut [u32],
    slope_left: &'a mut [u32],
    slope_turned: &'a mut [u32],
    key_scores: &'a mut [u32],
    value_scores: &'a mut [u32],
    key_right: &'a mut [u32],
    scores: &'a mut [f32],
    slopes: &'a mut [f32],
    packed: &'a mut [u32],
    dq: &'a mut [f32],
    /// Channels down, keys across.
    dk: &'a mut [f32],
    /// As `dk`.
    dv: &'a mut [f32],
    turned: &'a mut [f32],
}

impl<'a> State<'a> {
    fn lens(heads: &Heads, longest: usize) -> [usize; 14] {
        let (d, padded, p) = (heads.dim, heads.padded_dim(), heads.precision);
        let left = longest.div_ceil(BLOCK) * tile::lhs_len(p, BLOCK, d);
        let turned = longest.div_ceil(BLOCK) * tile::lhs_len(p, d, BLOCK);
        let nk = tile::rhs_len(p, BLOCK, d);
        [
            left,
            turned,
            left,
            turned,
            nk,
            nk,
            tile::rhs_len(p, padded, BLOCK),
            BLOCK * BLOCK,
            BLOCK * BLOCK,
            tile::lhs_len(p, BLOCK, BLOCK).max(tile::rhs_len(p, BLOCK, BLOCK)),
            longest * padded,
            d * BLOCK,
            d * BLOCK,
            BLOCK * padded,
        ]
    }

    fn floats(heads: &Heads, longest: usize) -> usize {
        State::lens(heads, longest).iter().sum()
    }

    fn new(heads: &Heads, longest: usize, mut scratch: &'a mut [f32]) -> State<'a> {
        let [
            query_left,
            query_turned,
            slope_left,
            slope_turned,
            key_scores,
            value_scores,
            key_right,
            scores,
            slopes,
            packed,
            dq,
            dk,
            dv,
            turned,
        ] = State::lens(heads, longest);
        let rest = &mut scratch;
        State {
            query_left: split(rest, query_left),
            query_turned: split(rest, query_turned),
            slope_left: split(rest, slope_left),
            slope_turned: split(rest, slope_turned),
            key_scores: split(rest, key_scores),
            value_scores: split(rest, value_scores),
            key_right: split(rest, key_right),
            scores: split(rest, scores),
            slopes: split(rest, slopes),
            packed: split(rest, packed),
            dq: split(rest, dq),
            dk: split(rest, dk),
            dv: split(rest, dv),
            turned: split(rest, turned),
        }
    }
}

struct BackwardJob {
    heads: Heads,
    isa: Isa,
    q: View,
    k: View,
    v: View,
    dout: View,
    lse: View,
    delta: View,
    /// One for each stretch, one below the other.
    dq_parts: View,
    dk_parts: View,
    dv_parts: View,
}

impl BackwardJob {
    /// All pairs of tiles of one task.
    ///
    /// # Safety
    /// No one writes the inputs; no one else touches this head's columns of this stretch's part of dq, or of these keys of dk and dv.
    unsafe fn run(&self, task: &Task, state: &mut State<'_>) {
        let Heads { dim: d, scale, precision: p, .. } = self.heads;
        let (ld, isa) = (self.heads.padded_dim(), self.isa);
        let (query_column, key_column) = (task.query_head * d, task.query_head / self.heads.group() * d);
        let (left_len, turned_len) = (tile::lhs_len(p, BLOCK, d), tile::lhs_len(p, d, BLOCK));
        let first_tile = task.keys.start / BLOCK;
        state.dq[task.keys.start * ld..task.row.len() * ld].fill(0.0);
        let window_end = self.heads.window_end(task.keys.end - 1);
        let seeing = |end: usize| tiles(task.row.len()).enumerate().take_while(move |(_, queries)| queries.start < end);
        for (i, queries) in seeing(window_end).skip(first_tile) {
            let (first, m) = (task.row.start + queries.start, queries.len());
            // SAFETY: only read.
            let (query, slope) =
                unsafe { (self.q.block(first, m, query_column, d), self.dout.block(first, m, query_column, d)) };
            tile::lhs_rows(isa, p, query, self.q.ld, (m, d), scale, &mut state.query_left[i * left_len..]);
            tile::lhs_columns(isa, p, query, self.q.ld, (d, m), &mut state.query_turned[i * turned_len..]);
            tile::lhs_rows(isa, p, slope, self.dout.ld, (m, d), 1.0, &mut state.slope_left[i * left_len..]);
            tile::lhs_columns(isa, p, slope, self.dout.ld, (d, m), &mut state.slope_turned[i * turned_len..]);
        }
        for (j, keys) in tiles(task.keys.end).enumerate().skip(first_tile) {
            let (first, n) = (task.row.start + keys.start, keys.len());
            // SAFETY: only read.
            let (key, value) =
                unsafe { (self.k.block(first, n, key_column, d), self.v.block(first, n, key_column, d)) };
            tile::rhs_nk(isa, p, key, self.k.ld, (n, d), 1.0, state.key_scores);
            tile::rhs_nk(isa, p, value, self.v.ld, (n, d), 1.0, state.value_scores);
            tile::rhs_kn(isa, p, key, self.k.ld, (d, n), state.key_right);
            for (i, queries) in seeing(self.heads.window_end(keys.end - 1)).skip(j) {
                let m = queries.len();
                let before = WindowMask::new(&self.heads, queries.start, 1, keys.start);
                let (left, turned) = (i * left_len, i * turned_len);
                // of the tile on the diagonal, half is seen
                let seen = if i > j { Part::All } else { Part::Below { seen: 1 } };
                for (lhs, rhs, target) in [
                    (&state.query_left[left..], &*state.key_scores, &mut *state.scores),
                    (&state.slope_left[left..], &*state.value_scores, &mut *state.slopes),
                ] {
                    let product = TileProduct::new(lhs, rhs, (m, n, d));
                    TileProduct { wanted: seen, ..product }.run(isa, p, target, BLOCK);
                }
                for r in 0..m {
                    // SAFETY: only read.
                    let (lse, delta) = unsafe {
                        let token = task.row.start + queries.start + r;
                        (self.lse.row(token)[task.query_head], self.delta.row(token)[task.query_head])
                    };
                    let visible = before.keys(r).min(n)..if i == j { (r + 1).min(n) } else { n };
                    let row = r * BLOCK..r * BLOCK + n;
                    let (scores, slopes) = (&mut state.scores[row.clone()], &mut state.slopes[row]);
                    softmax_slopes(isa, visible, lse, delta, scale, scores, slopes);
                }
                for (lhs, rhs, target) in [
                    (&state.slope_turned[turned..], &*state.scores, &mut *state.dv),
                    (&state.query_turned[turned..], &*state.slopes, &mut *state.dk),
                ] {
                    tile::rhs_kn(isa, p, rhs, BLOCK, (n, m), state.packed);
                    let product = TileProduct::new(lhs, state.packed, (d, n, m));
                    TileProduct { rhs_part: seen, accumulates: i > j, ..product }.run(isa, p, target, BLOCK);
                }
                tile::lhs_rows(isa, p, state.slopes, BLOCK, (m, n), 1.0, state.packed);
                let product = TileProduct::new(state.packed, state.key_right, (m, d, n));
                let dq = &mut state.dq[queries.start * ld..];
                TileProduct { lhs_part: seen, accumulates: true, ..product }.run(isa, p, dq, ld);
            }
            for (gradient, parts) in [(&*state.dk, self.dk_parts), (&*state.dv, self.dv_parts)] {
                tile::transposed(isa, gradient, BLOCK, (d, n), state.turned, ld);
                for (r, row) in state.turned.chunks_exact(ld).enumerate().take(n) {
                    // SAFETY: this head's columns of these keys, as the caller promises.
                    unsafe { parts.part_mut(first + r, query_column, d) }.copy_from_slice(&row[..d]);
                }
            }
        }
        let part = task.keys.start / stretch(task.row.len()) * self.q.rows;
        for position in task.keys.start..task.row.len() {
            // SAFETY: this head's columns of this stretch's part, as the caller promises.
            let target = unsafe { self.dq_parts.part_mut(part + task.row.start + position, query_column, d) };
            target.copy_from_slice(&state.dq[position * ld..position * ld + d]);
        }
    }
}

multiversion! {
    /// One row of a pair of tiles: scores become P, dO·Vᵀ becomes dS. The `visible` keys are seen.
    fn softmax_slopes(visible: Range<usize>, lse: f32, delta: f32, scale: f32, scores: &mut [f32], slopes: &mut [f32]) {
        for values in [&mut *scores, &mut *slopes] {
            values[..visible.start].fill(0.0);
            values[visible.end..].fill(0.0);
        }
        for (s, g) in scores[visible.clone()].iter_mut().zip(&mut slopes[visible]) {
            *s = exp::<FUSED>(*s - lse);
            *g = *s * (*g - delta) * scale;
        }
    }
}
