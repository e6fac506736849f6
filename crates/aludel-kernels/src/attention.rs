//! Causal attention over packed rows (training) and over cached blocks (generation), tiled so that no S×S matrix exists.
//!
//! The method is FlashAttention (Dao et al., 2022; Dao, 2023): an online softmax over tiles of 64 keys, and a backward
//! that recomputes each tile from the saved log-sum-exp. Tiles begin at multiples of 64 positions of their own row, and the
//! query heads that share a key head are computed together, so a row's result does not depend on what it is packed with.
//! Shapes: q [T, H·D], k and v [T, Hkv·D], after RoPE; log-sum-exp [T, H]. All values and sums are f32.

use std::ops::Range;

use crate::device::{Context, Mat, View, assert_apart};
use crate::gemm::tile;
use crate::simd::{Isa, exp, lane_max, lane_sum, multiversion};

/// Positions of one tile, and of one block of the key-value cache.
pub const BLOCK: usize = 64;

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// H, query heads.
    pub query: usize,
    /// Hkv, key and value heads; divides H.
    pub key: usize,
    /// D, channels of a head.
    pub dim: usize,
    /// Factor on q·k, usually 1/√D.
    pub scale: f32,
}

impl Heads {
    fn group(&self) -> usize {
        self.query / self.key
    }
}

/// `out = softmax(scale·q·kᵀ + causal mask)·v` within each row of `rows` (token ranges of the packed matrices), and the
/// log-sum-exp of each token and head.
pub fn forward(ctx: &mut Context, heads: &Heads, rows: &[Range<usize>], q: Mat, k: Mat, v: Mat, out: Mat, lse: Mat) {
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(Forward::floats(heads));
    if !ctx.planning() {
        assert_apart(&[out, lse], &[q, k, v]);
        let (qv, kv, vv, ov, lv) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out), ctx.view(lse));
        let (sv, isa) = (ctx.view(scratch), ctx.isa());
        let tasks = Task::all(heads, rows);
        ctx.parallel(tasks.len(), |i| {
            let task = &tasks[i];
            // SAFETY: the scratch row belongs to this thread; q, k, v are only read; each task writes the columns of its own
            // heads in its own tokens of `out` and `lse`, which overlap no operand (asserted).
            unsafe {
                let mut state = Forward::new(isa, heads, sv.row_mut(Context::thread_index()));
                let query = Query { view: qv, row: task.row.start + task.block.start, count: task.block.len() };
                let keys = |j: usize| {
                    let tokens = j * BLOCK..task.row.len().min((j + 1) * BLOCK);
                    let (first, count, column) = (task.row.start + tokens.start, tokens.len(), task.head * heads.dim);
                    let key = kv.block(first, count, column, heads.dim);
                    Keys { key, value: vv.block(first, count, column, heads.dim), ld: kv.ld, value_ld: vv.ld, count }
                };
                state.run(heads, task.head, query, task.block.start, task.block.end, keys);
                state.store(heads, task.head, query.row, query.count, ov, Some(lv));
            }
        });
    }
    ctx.release(mark);
}

/// Keys and values of past tokens for generation: blocks of [`BLOCK`] positions, `[layer][block][kv head][64][D]`.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    keys: Mat,
    values: Mat,
    blocks: usize,
}

impl Cache {
    /// Room for `blocks` blocks in each of `layers` layers.
    pub fn new(ctx: &mut Context, heads: &Heads, layers: usize, blocks: usize) -> Cache {
        let rows = layers * blocks * heads.key * BLOCK;
        Cache { keys: ctx.persistent(rows, heads.dim), values: ctx.persistent(rows, heads.dim), blocks }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    fn row(&self, heads: &Heads, layer: usize, block: u32, head: usize) -> usize {
        ((layer * self.blocks + block as usize) * heads.key + head) * BLOCK
    }
}

/// New tokens of one sequence: where they stand in the packed matrices, and the sequence's blocks.
#[derive(Clone, Debug)]
pub struct Extension {
    /// The new tokens in the packed matrices.
    pub tokens: Range<usize>,
    /// Position of the first of them in its sequence.
    pub start: usize,
    /// The sequence's blocks, enough for all its positions up to the last new one.
    pub blocks: Vec<u32>,
}

/// Stores the new tokens' k and v in the cache, then attends from each new token to all positions up to its own.
pub fn forward_cached(
    ctx: &mut Context,
    heads: &Heads,
    cache: &Cache,
    layer: usize,
    sequences: &[Extension],
    q: Mat,
    k: Mat,
    v: Mat,
    out: Mat,
) {
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(Forward::floats(heads));
    if !ctx.planning() {
        assert_apart(&[out, cache.keys, cache.values], &[q, k, v]);
        let (qv, kv, vv, ov) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out));
        let (ck, cv, sv, isa) = (ctx.view(cache.keys), ctx.view(cache.values), ctx.view(scratch), ctx.isa());
        for sequence in sequences {
            for (token, position) in sequence.tokens.clone().zip(sequence.start..) {
                for head in 0..heads.key {
                    let row = cache.row(heads, layer, sequence.blocks[position / BLOCK], head) + position % BLOCK;
                    let columns = head * heads.dim..(head + 1) * heads.dim;
                    // SAFETY: only this thread runs here, and the cache overlaps no operand (asserted).
                    unsafe {
                        ck.row_mut(row).copy_from_slice(&kv.row(token)[columns.clone()]);
                        cv.row_mut(row).copy_from_slice(&vv.row(token)[columns]);
                    }
                }
            }
        }
        let tasks = CachedTask::all(heads, sequences);
        ctx.parallel(tasks.len(), |i| {
            let CachedTask { sequence, head, positions } = &tasks[i];
            // SAFETY: as in `forward`; the cache is only read from here on.
            unsafe {
                let mut state = Forward::new(isa, heads, sv.row_mut(Context::thread_index()));
                let row = sequence.tokens.start + positions.start - sequence.start;
                let query = Query { view: qv, row, count: positions.len() };
                let keys = |j: usize| {
                    let count = BLOCK.min(positions.end - j * BLOCK);
                    let row = cache.row(heads, layer, sequence.blocks[j], *head);
                    let key = ck.block(row, count, 0, heads.dim);
                    Keys { key, value: cv.block(row, count, 0, heads.dim), ld: ck.ld, value_ld: cv.ld, count }
                };
                state.run(heads, *head, query, positions.start, positions.end, keys);
                state.store(heads, *head, row, positions.len(), ov, None);
            }
        });
    }
    ctx.release(mark);
}

/// One key head and one tile of queries (or keys) of one row. `block` is relative to the row.
struct Task {
    row: Range<usize>,
    head: usize,
    block: Range<usize>,
}

impl Task {
    fn all(heads: &Heads, rows: &[Range<usize>]) -> Vec<Task> {
        let mut tasks = Vec::new();
        for row in rows {
            for start in (0..row.len()).step_by(BLOCK) {
                let block = start..row.len().min(start + BLOCK);
                tasks.extend((0..heads.key).map(|head| Task { row: row.clone(), head, block: block.clone() }));
            }
        }
        tasks
    }
}

/// One key head and at most a tile of new positions of one sequence; tiles keep the 64-position boundaries.
struct CachedTask<'a> {
    sequence: &'a Extension,
    head: usize,
    positions: Range<usize>,
}

impl CachedTask<'_> {
    fn all<'a>(heads: &Heads, sequences: &'a [Extension]) -> Vec<CachedTask<'a>> {
        let mut tasks = Vec::new();
        for sequence in sequences {
            let end = sequence.start + sequence.tokens.len();
            let mut start = sequence.start;
            while start < end {
                let positions = start..end.min((start / BLOCK + 1) * BLOCK);
                start = positions.end;
                tasks.extend((0..heads.key).map(|head| CachedTask { sequence, head, positions: positions.clone() }));
            }
        }
        tasks
    }
}

/// `count` tokens of q from `row` on.
#[derive(Clone, Copy)]
struct Query {
    view: View,
    row: usize,
    count: usize,
}

/// One tile of keys and values.
struct Keys<'a> {
    key: &'a [f32],
    value: &'a [f32],
    ld: usize,
    value_ld: usize,
    count: usize,
}

/// The running state of one tile of queries: all heads of a group, stacked (head-major).
struct Forward<'a> {
    isa: Isa,
    query: &'a mut [f32],
    key: &'a mut [f32],
    value: &'a mut [f32],
    scores: &'a mut [f32],
    packed_scores: &'a mut [f32],
    out: &'a mut [f32],
    maximum: &'a mut [f32],
    sum: &'a mut [f32],
}

fn split<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

/// Row distance of a tile of D columns.
fn padded(dim: usize) -> usize {
    dim.next_multiple_of(16)
}

impl<'a> Forward<'a> {
    fn floats(heads: &Heads) -> usize {
        let stacked = heads.group() * BLOCK;
        let tile = tile::rhs_len(BLOCK, padded(heads.dim));
        stacked * padded(heads.dim) * 2 + tile * 2 + stacked * BLOCK * 2 + stacked * 2
    }

    fn new(isa: Isa, heads: &Heads, mut scratch: &'a mut [f32]) -> Forward<'a> {
        let rest = &mut scratch;
        let stacked = heads.group() * BLOCK;
        let tile = tile::rhs_len(BLOCK, padded(heads.dim));
        Forward {
            isa,
            query: split(rest, stacked * padded(heads.dim)),
            key: split(rest, tile),
            value: split(rest, tile),
            scores: split(rest, stacked * BLOCK),
            packed_scores: split(rest, stacked * BLOCK),
            out: split(rest, stacked * padded(heads.dim)),
            maximum: split(rest, stacked),
            sum: split(rest, stacked),
        }
    }

    /// Attends from queries at positions `first ..` to all keys at positions below `end`.
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
        let (d, ld, isa) = (heads.dim, padded(heads.dim), self.isa);
        let stacked = heads.group() * query.count;
        // SAFETY: q is only read.
        unsafe { stack_lhs(isa, heads, head, query, heads.scale, self.query) };
        self.out[..stacked * ld].fill(0.0);
        self.maximum[..stacked].fill(f32::NEG_INFINITY);
        self.sum[..stacked].fill(0.0);
        for j in 0..end.div_ceil(BLOCK) {
            let keys = keys(j);
            tile::rhs_nk(isa, keys.key, keys.ld, keys.count, d, self.key);
            tile::multiply(isa, self.query, self.key, (stacked, keys.count, d), false, self.scores, BLOCK);
            for r in 0..stacked {
                // keys of this tile that the query may see
                let visible = keys.count.min((first + r % query.count + 1).saturating_sub(j * BLOCK));
                let scores = &mut self.scores[r * BLOCK..r * BLOCK + keys.count];
                let out = &mut self.out[r * ld..r * ld + d];
                online_softmax(isa, scores, visible, &mut self.maximum[r], &mut self.sum[r], out);
            }
            tile::lhs_rows(isa, self.scores, BLOCK, stacked, keys.count, 1.0, self.packed_scores);
            tile::rhs_kn(isa, keys.value, keys.value_ld, d, keys.count, self.value);
            tile::multiply(isa, self.packed_scores, self.value, (stacked, d, keys.count), true, self.out, ld);
        }
    }

    /// Writes `out / sum` and the log-sum-exp of the tile.
    ///
    /// # Safety
    /// No one else touches this group's columns of these tokens.
    unsafe fn store(&self, heads: &Heads, head: usize, row: usize, count: usize, out: View, lse: Option<View>) {
        let ld = padded(heads.dim);
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

/// Packs the rows of a group's heads, stacked head by head, as one left-hand tile.
///
/// # Safety
/// No one writes the source meanwhile.
unsafe fn stack_lhs(isa: Isa, heads: &Heads, head: usize, source: Query, scale: f32, to: &mut [f32]) {
    // One panel of the left-hand layout may span two heads, so the heads are first laid end to end.
    let (d, group) = (heads.dim, heads.group());
    let stacked = group * source.count;
    if group == 1 {
        // SAFETY: only read, as the caller promises.
        let rows = unsafe { source.view.block(source.row, source.count, head * d, d) };
        tile::lhs_rows(isa, rows, source.view.ld, stacked, d, scale, to);
        return;
    }
    for g in 0..group {
        for i in 0..source.count {
            let r = g * source.count + i;
            let (panel, within) = (r / tile::LHS_ROWS, r % tile::LHS_ROWS);
            let rows = tile::LHS_ROWS.min(stacked - panel * tile::LHS_ROWS);
            // SAFETY: only read, as the caller promises.
            let values = unsafe { source.view.block(source.row + i, 1, (head * group + g) * d, d) };
            let target = &mut to[panel * tile::LHS_ROWS * d..];
            for (c, &x) in values.iter().enumerate() {
                target[c * rows + within] = x * scale;
            }
        }
    }
}

multiversion! {
    /// Turns a tile row of scores into weights relative to the new running maximum, and rescales sum and output to it.
    fn online_softmax(scores: &mut [f32], visible: usize, maximum: &mut f32, sum: &mut f32, out: &mut [f32]) {
        let (seen, hidden) = scores.split_at_mut(visible);
        hidden.fill(0.0);
        if seen.is_empty() {
            return;
        }
        let highest = lane_max(seen);
        if highest > *maximum {
            let correction = exp(*maximum - highest);
            *sum *= correction;
            out.iter_mut().for_each(|o| *o *= correction);
            *maximum = highest;
        }
        let top = *maximum;
        seen.iter_mut().for_each(|s| *s = exp(*s - top));
        *sum += lane_sum(seen, seen, |a, _| a);
    }
}

/// The gradients of q, k and v, overwritten. `out` and `lse` are the forward's, `dout` [T, H·D].
///
/// With P = exp(scale·q·kᵀ − lse): `dV = Pᵀ·dO`, `dS = P∘(dO·Vᵀ − rowsum(dO∘O))·scale`, `dQ = dS·K`, `dK = dSᵀ·Q`. One round of
/// tasks owns tiles of keys, another tiles of queries: no two tasks write the same gradient.
pub fn backward(
    ctx: &mut Context,
    heads: &Heads,
    rows: &[Range<usize>],
    (q, k, v): (Mat, Mat, Mat),
    (out, lse, dout): (Mat, Mat, Mat),
    (dq, dk, dv): (Mat, Mat, Mat),
) {
    let mark = ctx.mark();
    let delta = ctx.scratch(q.rows(), heads.query);
    let scratch = ctx.thread_scratch(Backward::floats(heads));
    if !ctx.planning() {
        assert_apart(&[dq, dk, dv, delta], &[q, k, v, out, lse, dout]);
        let job = BackwardJob {
            heads: *heads,
            isa: ctx.isa(),
            q: ctx.view(q),
            k: ctx.view(k),
            v: ctx.view(v),
            dout: ctx.view(dout),
            lse: ctx.view(lse),
            delta: ctx.view(delta),
        };
        let (ov, sv, isa, d) = (ctx.view(out), ctx.view(scratch), ctx.isa(), heads.dim);
        let (dqv, dkv, dvv) = (ctx.view(dq), ctx.view(dk), ctx.view(dv));
        ctx.parallel(q.rows().div_ceil(BLOCK), |task| {
            for t in task * BLOCK..job.q.rows.min((task + 1) * BLOCK) {
                // SAFETY: tasks write disjoint rows of delta, which overlaps no operand (asserted).
                unsafe { row_dots(isa, ov.row(t), job.dout.row(t), d, job.delta.row_mut(t)) };
            }
        });
        let tasks = Task::all(heads, rows);
        ctx.parallel(2 * tasks.len(), |i| {
            let task = &tasks[i / 2];
            // SAFETY: the scratch row belongs to this thread; inputs are only read; each task writes its own head's columns of
            // its own tokens: of dk and dv where it owns keys, of dq where it owns queries.
            unsafe {
                let mut state = Backward::new(heads, sv.row_mut(Context::thread_index()));
                if i % 2 == 0 {
                    job.keys(task, &mut state, dkv, dvv);
                } else {
                    job.queries(task, &mut state, dqv);
                }
            }
        });
    }
    ctx.release(mark);
}

multiversion! {
    fn row_dots(a: &[f32], b: &[f32], d: usize, out: &mut [f32]) {
        for ((a, b), out) in a.chunks_exact(d).zip(b.chunks_exact(d)).zip(out) {
            *out = lane_sum(a, b, |x, y| x * y);
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
}

/// Scratch of one backward task.
struct Backward<'a> {
    left: &'a mut [f32],
    right: &'a mut [f32],
    scores: &'a mut [f32],
    slopes: &'a mut [f32],
    packed: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl<'a> Backward<'a> {
    fn floats(heads: &Heads) -> usize {
        let d = padded(heads.dim);
        BLOCK * d + tile::rhs_len(BLOCK, d) + 3 * BLOCK * BLOCK + 2 * BLOCK * d
    }

    fn new(heads: &Heads, mut scratch: &'a mut [f32]) -> Backward<'a> {
        let (rest, d) = (&mut scratch, padded(heads.dim));
        Backward {
            left: split(rest, BLOCK * d),
            right: split(rest, tile::rhs_len(BLOCK, d)),
            scores: split(rest, BLOCK * BLOCK),
            slopes: split(rest, BLOCK * BLOCK),
            packed: split(rest, BLOCK * BLOCK),
            first: split(rest, BLOCK * d),
            second: split(rest, BLOCK * d),
        }
    }
}

/// A pair of tiles of one query head: token ranges of the packed matrices.
struct Pair {
    query_head: usize,
    head: usize,
    queries: Range<usize>,
    keys: Range<usize>,
    /// Whether the two tiles are the same positions, so that the causal mask cuts through.
    diagonal: bool,
}

impl BackwardJob {
    /// dK and dV of one tile of keys: all queries at or after it, all heads of the group, in a fixed order.
    ///
    /// # Safety
    /// No one writes the inputs; no one else touches this head's columns of these tokens of dk and dv.
    unsafe fn keys(&self, task: &Task, state: &mut Backward<'_>, dk: View, dv: View) {
        let (d, isa) = (self.heads.dim, self.isa);
        let ld = padded(d);
        let keys = task.row.start + task.block.start..task.row.start + task.block.end;
        state.first.fill(0.0);
        state.second.fill(0.0);
        for group in 0..self.heads.group() {
            for start in (task.block.start..task.row.len()).step_by(BLOCK) {
                let queries = task.row.start + start..task.row.start + task.row.len().min(start + BLOCK);
                let pair = Pair {
                    query_head: task.head * self.heads.group() + group,
                    head: task.head,
                    diagonal: start == task.block.start,
                    queries,
                    keys: keys.clone(),
                };
                // SAFETY: the inputs are only read.
                unsafe { self.tile(&pair, state) };
                let (m, n) = (pair.queries.len(), keys.len());
                let column = pair.query_head * d;
                // SAFETY: only read.
                let (query, slope) = unsafe {
                    (self.q.block(pair.queries.start, m, column, d), self.dout.block(pair.queries.start, m, column, d))
                };
                tile::lhs_columns(isa, state.scores, BLOCK, n, m, state.packed);
                tile::rhs_kn(isa, slope, self.dout.ld, d, m, state.right);
                tile::multiply(isa, state.packed, state.right, (n, d, m), true, state.second, ld);
                tile::lhs_columns(isa, state.slopes, BLOCK, n, m, state.packed);
                tile::rhs_kn(isa, query, self.q.ld, d, m, state.right);
                tile::multiply(isa, state.packed, state.right, (n, d, m), true, state.first, ld);
            }
        }
        for (i, token) in keys.enumerate() {
            // SAFETY: this head's columns, as the caller promises.
            unsafe {
                dk.part_mut(token, task.head * d, d).copy_from_slice(&state.first[i * ld..i * ld + d]);
                dv.part_mut(token, task.head * d, d).copy_from_slice(&state.second[i * ld..i * ld + d]);
            }
        }
    }

    /// dQ of one tile of queries, for each head of the group: all keys up to it.
    ///
    /// # Safety
    /// No one writes the inputs; no one else touches this group's columns of these tokens of dq.
    unsafe fn queries(&self, task: &Task, state: &mut Backward<'_>, dq: View) {
        let (d, isa) = (self.heads.dim, self.isa);
        let ld = padded(d);
        let queries = task.row.start + task.block.start..task.row.start + task.block.end;
        for group in 0..self.heads.group() {
            let query_head = task.head * self.heads.group() + group;
            state.first.fill(0.0);
            for start in (0..=task.block.start).step_by(BLOCK) {
                let keys = task.row.start + start..task.row.start + task.row.len().min(start + BLOCK);
                let diagonal = start == task.block.start;
                let pair = Pair { query_head, head: task.head, queries: queries.clone(), keys, diagonal };
                // SAFETY: the inputs are only read.
                unsafe { self.tile(&pair, state) };
                let (m, n) = (queries.len(), pair.keys.len());
                // SAFETY: only read.
                let key = unsafe { self.k.block(pair.keys.start, n, task.head * d, d) };
                tile::lhs_rows(isa, state.slopes, BLOCK, m, n, 1.0, state.packed);
                tile::rhs_kn(isa, key, self.k.ld, d, n, state.right);
                tile::multiply(isa, state.packed, state.right, (m, d, n), true, state.first, ld);
            }
            for (i, token) in queries.clone().enumerate() {
                // SAFETY: this group's columns, as the caller promises.
                unsafe { dq.part_mut(token, query_head * d, d).copy_from_slice(&state.first[i * ld..i * ld + d]) };
            }
        }
    }

    /// Fills `scores` with P and `slopes` with dS for one pair of tiles.
    ///
    /// # Safety
    /// No one writes the inputs.
    unsafe fn tile(&self, pair: &Pair, state: &mut Backward<'_>) {
        let (d, isa, scale) = (self.heads.dim, self.isa, self.heads.scale);
        let (m, n) = (pair.queries.len(), pair.keys.len());
        let (query_column, key_column) = (pair.query_head * d, pair.head * d);
        // SAFETY: all of these are only read.
        let (query, slope, key, value) = unsafe {
            (
                self.q.block(pair.queries.start, m, query_column, d),
                self.dout.block(pair.queries.start, m, query_column, d),
                self.k.block(pair.keys.start, n, key_column, d),
                self.v.block(pair.keys.start, n, key_column, d),
            )
        };
        tile::lhs_rows(isa, query, self.q.ld, m, d, scale, state.left);
        tile::rhs_nk(isa, key, self.k.ld, n, d, state.right);
        tile::multiply(isa, state.left, state.right, (m, n, d), false, state.scores, BLOCK);
        tile::lhs_rows(isa, slope, self.dout.ld, m, d, 1.0, state.left);
        tile::rhs_nk(isa, value, self.v.ld, n, d, state.right);
        tile::multiply(isa, state.left, state.right, (m, n, d), false, state.slopes, BLOCK);
        for (i, token) in pair.queries.clone().enumerate() {
            let visible = if pair.diagonal { (i + 1).min(n) } else { n };
            // SAFETY: only read.
            let (lse, delta) =
                unsafe { (self.lse.row(token)[pair.query_head], self.delta.row(token)[pair.query_head]) };
            let row = i * BLOCK..i * BLOCK + n;
            softmax_slopes(isa, visible, lse, delta, scale, &mut state.scores[row.clone()], &mut state.slopes[row]);
        }
    }
}

multiversion! {
    fn softmax_slopes(visible: usize, lse: f32, delta: f32, scale: f32, scores: &mut [f32], slopes: &mut [f32]) {
        scores[visible..].fill(0.0);
        slopes[visible..].fill(0.0);
        for (s, g) in scores[..visible].iter_mut().zip(&mut slopes[..visible]) {
            *s = exp(*s - lse);
            *g = *s * (*g - delta) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};

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
                    let weights: Vec<f64> = (row.start..=t).map(|s| score(s).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for c in 0..d {
                        let sum: f64 =
                            (row.start..=t).zip(&weights).map(|(s, w)| w * v[s * k_ld + h / group * d + c]).sum();
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
        let tokens = rows.last().map_or(0, |r| r.end);
        let (wide_columns, narrow) = (heads.query * heads.dim, heads.key * heads.dim);
        let mut ctx = Context::cpu(threads).with_isa(isa);
        let columns = [wide_columns, narrow, narrow, wide_columns];
        let [q, k, v, dout] = std::array::from_fn(|i| ctx.upload_persistent(tokens, columns[i], values[i]));
        let [dq, dk, dv, out] = std::array::from_fn(|i| ctx.persistent(tokens, columns[i]));
        let lse = ctx.persistent(tokens, heads.query);
        let work = |ctx: &mut Context| {
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
        let portable = run(heads, rows, [&q, &k, &v, &dout], Isa::Portable, 1);
        assert_close(&what, &portable.out, &expected, 2e-5);
        for (a, b) in got.gradients.iter().zip(&portable.gradients) {
            assert_close(&what, a, &wide(b), 5e-5);
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
        check(&Heads { query: 1, key: 1, dim: 16, scale: 0.25 }, &[0..1, 1..4]);
        check(&Heads { query: 3, key: 1, dim: 8, scale: 0.4 }, &[0..7, 7..18]);
        check(&Heads { query: 4, key: 2, dim: 20, scale: 0.2 }, &[0..5, 5..12]);
        check(&Heads { query: 4, key: 2, dim: 16, scale: 0.25 }, &[0..65, 65..200]);
    }

    /// Long rows, several tiles: the backward against f64 differences along random directions.
    #[test]
    fn long_rows_match_directional_differences() {
        let heads = Heads { query: 2, key: 1, dim: 8, scale: 0.35 };
        let rows = [0..150, 150..220];
        let (wide_len, narrow_len) = (220 * 16, 220 * 8);
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
            assert!((slope - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{which}: {slope} {expected}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_or_packed_and_from_the_cache() {
        let heads = Heads { query: 4, key: 2, dim: 16, scale: 0.25 };
        let (before, length) = (37, 150);
        let tokens = before + length;
        let (q, k, v) = (random(1, tokens * 64), random(2, tokens * 32), random(3, tokens * 32));
        let dout = random(4, tokens * 64);
        let packed = run(&heads, &[0..before, before..tokens], [&q, &k, &v, &dout], Isa::detect(), 2);
        let (w, n) = (before * 64, before * 32);
        let row = 0..length;
        let only_row = std::slice::from_ref(&row);
        let alone = run(&heads, only_row, [&q[w..], &k[n..], &v[n..], &dout[w..]], Isa::detect(), 1);
        assert_eq!(packed.out[w..], alone.out);
        assert_eq!(packed.gradients[0][w..], alone.gradients[0]);
        assert_eq!(packed.gradients[1][n..], alone.gradients[1]);
        assert_eq!(packed.gradients[2][n..], alone.gradients[2]);

        // the same row token by token and in pieces, through scattered cache blocks
        let mut ctx = Context::cpu(2);
        let cache = Cache::new(&mut ctx, &heads, 2, 5);
        let blocks = vec![4, 0, 2];
        let mut cached = Vec::new();
        for (start, end) in [(0, 70), (70, 71), (71, 72), (72, 140), (140, length)] {
            let count = end - start;
            let part = |values: &[f32], first: usize, columns: usize| {
                values[first + start * columns..first + end * columns].to_vec()
            };
            let qm = ctx.upload_persistent(count, 64, &part(&q, w, 64));
            let km = ctx.upload_persistent(count, 32, &part(&k, n, 32));
            let vm = ctx.upload_persistent(count, 32, &part(&v, n, 32));
            let out = ctx.persistent(count, 64);
            let extension = [Extension { tokens: 0..count, start, blocks: blocks.clone() }];
            let work = |ctx: &mut Context| forward_cached(ctx, &heads, &cache, 1, &extension, qm, km, vm, out);
            ctx.plan(work);
            work(&mut ctx);
            cached.extend(ctx.download(out));
        }
        assert_eq!(cached, alone.out);
    }
}
