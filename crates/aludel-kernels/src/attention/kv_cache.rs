//! Attention of generation: keys and values of past tokens in blocks that sequences own or share.

use std::ops::Range;

use super::forward::{Query, State};
use super::{BLOCK, Heads, WindowMask, assert_rows_apart, is_harmless, list_pieces, room_for_pieces};
use crate::device::{Context, Mat, assert_apart};
use crate::gemm::tile::{self, Part, Product};
use crate::profile::Kind;
use crate::simd::{exp, lane_max, lane_sum, multiversion, prefetch_l2};

/// Keys and values of past tokens for generation: `[layer][block][kv head]` tiles of [`BLOCK`] positions, packed for the products
/// that read them and rounded as [`Heads::precision`] says.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    keys: Mat,
    values: Mat,
    blocks: usize,
}

impl Cache {
    /// Room for `blocks` blocks in each of `layers` layers.
    pub fn new(ctx: &mut Context, heads: &Heads, layers: usize, blocks: usize) -> Cache {
        let (tiles, precision) = (layers * blocks * heads.key, heads.precision);
        Cache {
            keys: ctx.persistent(tiles, tile::rhs_len(precision, BLOCK, heads.dim)),
            values: ctx.persistent(tiles, tile::rhs_len(precision, heads.dim, BLOCK)),
            blocks,
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    fn tile(&self, heads: &Heads, layer: usize, block: u32, head: usize) -> usize {
        (layer * self.blocks + block as usize) * heads.key + head
    }
}

/// New tokens of one sequence: where they are in the packed matrices.
#[derive(Clone, Debug)]
pub struct Extension {
    /// The new tokens in the packed matrices.
    pub tokens: Range<usize>,
    /// Position of the first of them in its sequence.
    pub start: usize,
    /// The place of the sequence's blocks in [`Extensions::blocks`].
    blocks: Range<usize>,
}

/// The new tokens of the sequences of a pass, and the blocks of each. Used again from pass to pass.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    sequences: Vec<Extension>,
    blocks: Vec<u32>,
    /// Blocks that memory was reserved for.
    room: usize,
}

impl Extensions {
    /// Forgets all sequences.
    pub fn clear(&mut self) {
        self.sequences.clear();
        self.blocks.clear();
        self.room = 0;
    }

    /// Reserves memory for a sequence that may grow to the given number of blocks, so that later passes with it need no more memory.
    pub fn reserve(&mut self, blocks: usize) {
        self.room += blocks;
        self.blocks.reserve(self.room.saturating_sub(self.blocks.len()));
    }

    /// Appends a sequence. `blocks` are enough for all its positions up to the last new one.
    pub fn push(&mut self, tokens: Range<usize>, start: usize, blocks: &[u32]) {
        let first = self.blocks.len();
        self.blocks.extend_from_slice(blocks);
        self.sequences.push(Extension { tokens, start, blocks: first..self.blocks.len() });
    }

    /// The sequences, in the order in which they were appended.
    pub fn sequences(&self) -> &[Extension] {
        &self.sequences
    }

    /// The block that holds a position of a sequence.
    fn block(&self, sequence: &Extension, position: usize) -> u32 {
        self.blocks[sequence.blocks.clone()][position / BLOCK]
    }
}

/// Stores the new tokens' k and v in the cache, then attends from each new token to the positions up to its own that it sees.
///
/// # Panics
/// If the shapes do not fit the cache, or if what is written shares elements with what is read.
pub fn forward_cached(
    ctx: &mut Context,
    heads: &Heads,
    cache: &Cache,
    layer: usize,
    extensions: &Extensions,
    q: Mat,
    k: Mat,
    v: Mat,
    out: Mat,
) {
    let _span = ctx.span(Kind::Attention);
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(State::floats(heads));
    let room = room_for_pieces(ctx, q.rows());
    if !ctx.planning() {
        let sequences = extensions.sequences();
        assert_apart(&[out, cache.keys, cache.values, scratch, room], &[q.span(), k, v]);
        // SAFETY: scratch that was just taken.
        unsafe {
            assert_rows_apart(ctx, room, q.rows(), sequences.iter().map(|sequence| &sequence.tokens));
            assert_blocks_apart(ctx, room, cache, extensions);
        }
        let (qv, kv, vv, ov) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out));
        let (ck, cv, sv, isa) = (ctx.view(cache.keys), ctx.view(cache.values), ctx.view(scratch), ctx.isa());
        ctx.parallel(sequences.len() * heads.key, |i| {
            let (sequence, head) = (&sequences[i / heads.key], i % heads.key);
            for (token, position) in sequence.tokens.clone().zip(sequence.start..) {
                let row = cache.tile(heads, layer, extensions.block(sequence, position), head);
                // SAFETY: the cache overlaps no operand (asserted); a block that is written belongs to one sequence alone (asserted),
                // and this task is the only one for its head.
                unsafe {
                    let key = &kv.row(token)[head * heads.dim..(head + 1) * heads.dim];
                    let value = &vv.row(token)[head * heads.dim..(head + 1) * heads.dim];
                    let (keys, values) = (ck.row_mut(row), cv.row_mut(row));
                    tile::rhs_nk_row(heads.precision, key, position % BLOCK, bytemuck::cast_slice_mut(keys));
                    tile::rhs_kn_row(heads.precision, value, position % BLOCK, BLOCK, bytemuck::cast_slice_mut(values));
                }
            }
        });
        // at most a tile of new positions of one sequence each; tiles keep the 64-position boundaries
        let pieces = sequences.iter().enumerate().flat_map(|(n, sequence)| {
            let end = sequence.start + sequence.tokens.len();
            (sequence.start / BLOCK..end.div_ceil(BLOCK)).map(move |tile| (n, sequence.start.max(tile * BLOCK)))
        });
        // SAFETY: scratch that was just taken.
        let pieces = unsafe { list_pieces(ctx, room, pieces) };
        ctx.parallel(pieces.len() * heads.key, |i| {
            let ([n, first], head) = (pieces[i / heads.key], i % heads.key);
            let (sequence, first) = (&sequences[n as usize], first as usize);
            let positions = first..((first / BLOCK + 1) * BLOCK).min(sequence.start + sequence.tokens.len());
            // SAFETY: the scratch row belongs to this thread; q and the cache are only read from here on; each task writes the
            // columns of its own heads in its own tokens of `out`, which overlaps no operand (asserted).
            unsafe {
                let mut state = State::new(isa, heads, sv.row_mut(Context::thread_index()));
                let row = sequence.tokens.start + positions.start - sequence.start;
                let query = Query { view: qv, row, count: positions.len() };
                let keys = |j: usize| {
                    let count = BLOCK.min(positions.end - j * BLOCK);
                    let row = cache.tile(heads, layer, extensions.block(sequence, j * BLOCK), head);
                    let (key, value) = (bytemuck::cast_slice(ck.row(row)), bytemuck::cast_slice(cv.row(row)));
                    Keys { key, value, count }
                };
                state.run_cached(heads, head, query, positions.start, positions.end, keys);
                state.store(heads, head, query, positions.len(), ov, None);
            }
        });
    }
    ctx.release(mark);
}

/// Asserts that no block is written twice, by two sequences or by one: tasks of different sequences write at once. Rows must
/// have been found apart: then there are no more of these blocks than tokens.
///
/// # Safety
/// `room` is scratch for two entries a token that no one else touches.
unsafe fn assert_blocks_apart(ctx: &Context, room: Mat, cache: &Cache, extensions: &Extensions) {
    // SAFETY: as the caller promises.
    let written: &mut [u32] = bytemuck::cast_slice_mut(unsafe { ctx.view(room).row_mut(0) });
    let mut count = 0;
    for sequence in extensions.sequences().iter().filter(|sequence| !sequence.tokens.is_empty()) {
        let end = sequence.start + sequence.tokens.len();
        for block in sequence.start / BLOCK..end.div_ceil(BLOCK) {
            written[count] = extensions.block(sequence, block * BLOCK);
            count += 1;
        }
    }
    let written = &mut written[..count];
    written.sort_unstable();
    if let Some(last) = written.last() {
        assert!((*last as usize) < cache.blocks, "attention: block {last} of a cache of {}", cache.blocks);
    }
    for pair in written.windows(2) {
        assert!(
            pair[0] != pair[1],
            "attention: block {} would be written twice; each must belong to one sequence",
            pair[0]
        );
    }
}

/// One block of the cache, with the given number of positions in it.
struct Keys<'a> {
    key: &'a [u32],
    value: &'a [u32],
    count: usize,
}

impl State<'_> {
    /// Attends from queries at positions `first ..` to all keys at positions below `end` that they see. Scores have queries down: of a token that is
    /// being generated there are few.
    ///
    /// # Safety
    /// No one writes q meanwhile.
    unsafe fn run_cached<'k>(
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
        self.clear(groups * m, ld);
        for j in heads.first_seen(first) / BLOCK..end.div_ceil(BLOCK) {
            let Keys { key, value, count: n } = keys(j);
            // the heads of one token see the same
            let before = WindowMask::new(heads, first, usize::from(query.count > 1), j * BLOCK);
            if (j + 1) * BLOCK < end {
                // blocks lie anywhere, so that the processor cannot guess the next one
                let next = keys(j + 1);
                [next.key, next.value].into_iter().for_each(prefetch_l2);
            }
            // keys of this block that the first query sees
            let seen = (first + 1).saturating_sub(j * BLOCK);
            // as in `run`: what a query does not see must not reach it
            let is_apart = (seen < n || before.is_any(m)) && !tile::all_units(p, value, is_harmless);
            if is_apart {
                let copy: &mut [u32] = bytemuck::cast_slice_mut(&mut self.turned[..value.len()]);
                copy.copy_from_slice(value);
                tile::clear_units(p, copy, |v| !is_harmless(v));
            }
            for g in 0..groups {
                let rows = g * m..(g + 1) * m;
                let product = Product {
                    wanted: Part::Below { seen },
                    ..Product::new(&self.query[g * packed_query..], key, (m, n, d))
                };
                product.run(isa, p, self.scores, BLOCK);
                let scores = &mut self.scores[..m * BLOCK];
                // the rows beyond belong to the next group, or are unused
                let out_end = if g + 1 == groups { self.out.len() } else { (g + 1) * m * ld };
                let out = &mut self.out[g * m * ld..out_end];
                let (maximum, sum) = (&mut self.maximum[rows.clone()], &mut self.sum[rows]);
                online_softmax(isa, scores, n, seen, before, maximum, sum, &mut out[..m * ld], ld);
                tile::lhs_rows(isa, p, scores, BLOCK, (m, n), 1.0, self.packed_scores);
                let harmless = if is_apart { bytemuck::cast_slice(&self.turned[..value.len()]) } else { value };
                let product = Product {
                    packed_depth: BLOCK,
                    lhs_part: Part::Below { seen },
                    accumulates: true,
                    ..Product::new(self.packed_scores, harmless, (m, d, n))
                };
                product.run(isa, p, out, ld);
                if is_apart {
                    for (key, c) in (0..n).flat_map(|key| (0..d).map(move |c| (key, c))) {
                        let v = tile::rhs_kn_value(p, value, key, c, BLOCK);
                        for i in ((key + 1).saturating_sub(seen)..m).filter(|i| before.keys(*i) <= key) {
                            if !is_harmless(v) {
                                out[i * ld + c] += scores[i * BLOCK + key] * v;
                            }
                        }
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Turns the rows of a tile of scores, `n` wide, into weights relative to each row's new running maximum, and rescales sums and
    /// outputs to it. Row i sees the first `seen + i` keys, less those before its window.
    fn online_softmax(
        scores: &mut [f32],
        n: usize,
        seen: usize,
        before: WindowMask,
        maximum: &mut [f32],
        sum: &mut [f32],
        out: &mut [f32],
        ld: usize,
    ) {
        for (i, (row, out)) in scores.chunks_exact_mut(BLOCK).zip(out.chunks_exact_mut(ld)).enumerate() {
            let (visible, hidden) = row[..n].split_at_mut(n.min(seen + i));
            hidden.fill(0.0);
            let unseen = before.keys(i).min(visible.len());
            if unseen == visible.len() {
                visible.fill(0.0);
                continue;
            }
            // they stay in their lanes, so that sums have the order that they have without a window
            visible[..unseen].fill(f32::NEG_INFINITY);
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
