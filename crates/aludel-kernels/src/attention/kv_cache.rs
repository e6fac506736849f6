//! Attention of generation: keys and values of past tokens in blocks that sequences own or share.

use std::ops::Range;

use super::forward::{Query, State};
use super::{BLOCK, Heads, WindowMask, assert_rows_apart, is_harmless, list_pieces, room_for_pieces};
use crate::device::{Context, Device, Indices, List, Mat, assert_apart};
use crate::gemm::tile::{self, Part, TileProduct};
use crate::profile::Kind;
use crate::reference;
use crate::simd::{exp, lane_max, lane_sum, multiversion, prefetch_l2};

/// Keys and values of past tokens for generation: `[layer][block][kv head]` tiles of [`BLOCK`] positions, packed for the products
/// that read them and rounded as [`Heads::precision`] says.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    pub(crate) keys: Mat<u32>,
    pub(crate) values: Mat<u32>,
    blocks: usize,
    /// Room for the sequences of a pass, and for the blocks of each.
    sequences: List<Sequence>,
    sequence_blocks: Indices,
}

impl Cache {
    /// Room for `blocks` blocks in each of `layers` layers, and for passes of at most the given number of sequences.
    pub fn new(ctx: &mut Context, heads: &Heads, layers: usize, blocks: usize, sequences: usize) -> Cache {
        let tiles = layers * blocks * heads.key;
        let (keys, values) = Cache::tile_words(ctx, heads);
        Cache {
            keys: ctx.persistent_packed(tiles, keys),
            values: ctx.persistent_packed(tiles, values),
            blocks,
            sequences: ctx.persistent_list(sequences),
            sequence_blocks: ctx.persistent_list(sequences * blocks),
        }
    }

    /// Words of a tile of keys, and of one of values.
    fn tile_words(ctx: &Context, heads: &Heads) -> (usize, usize) {
        let precision = heads.precision;
        match ctx.device() {
            Device::Cpu => (tile::rhs_len(precision, BLOCK, heads.dim), tile::rhs_len(precision, heads.dim, BLOCK)),
            Device::Reference => (BLOCK * heads.dim, BLOCK * heads.dim),
        }
    }

    /// Bytes of the keys and values of such a cache.
    pub fn bytes(ctx: &Context, heads: &Heads, layers: usize, blocks: usize) -> usize {
        let (keys, values) = Cache::tile_words(ctx, heads);
        layers * blocks * heads.key * (keys + values) * size_of::<u32>()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// The row of [`Cache::keys`] and [`Cache::values`] that a tile lies in.
    pub(crate) fn tile(&self, heads: &Heads, layer: usize, block: u32, head: usize) -> usize {
        (layer * self.blocks + block as usize) * heads.key + head
    }
}

/// New tokens of one sequence.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Sequence {
    /// The new tokens in the packed matrices, from the first to the one after the last.
    first: u32,
    end: u32,
    /// Position of the first of them in its sequence.
    start: u32,
    /// Where the sequence's blocks are in the list of all of them.
    first_block: u32,
}

impl Sequence {
    pub(crate) fn tokens(&self) -> Range<usize> {
        self.first as usize..self.end as usize
    }

    pub(crate) fn start(&self) -> usize {
        self.start as usize
    }

    /// The position after the last new one.
    pub(crate) fn end_position(&self) -> usize {
        self.start() + self.tokens().len()
    }

    /// The block that holds a position.
    pub(crate) fn block(&self, blocks: &[u32], position: usize) -> u32 {
        blocks[self.first_block as usize + position / BLOCK]
    }
}

/// The new tokens of the sequences of a pass, and the blocks of each, while the host lists them. Used again from pass to pass.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    sequences: Vec<Sequence>,
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

    /// Appends a sequence, its new tokens in the packed matrices and the position of the first of them. `blocks` are enough for all
    /// its positions up to the last new one.
    pub fn push(&mut self, tokens: Range<usize>, start: usize, blocks: &[u32]) {
        let first_block = self.blocks.len() as u32;
        self.blocks.extend_from_slice(blocks);
        let [first, end, start] = [tokens.start, tokens.end, start].map(|n| n as u32);
        self.sequences.push(Sequence { first, end, start, first_block });
    }

    /// New tokens and start position of each sequence, in the order in which they were appended.
    pub fn sequences(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        self.sequences.iter().map(|sequence| (sequence.tokens(), sequence.start()))
    }

    /// Copies them to the device, in place of those of the last pass.
    ///
    /// # Panics
    /// If the cache has no room for as many sequences or blocks.
    pub fn upload(&self, ctx: &mut Context, cache: &Cache) -> CachedRows {
        let sequences = cache.sequences.range(0, self.sequences.len());
        let blocks = cache.sequence_blocks.range(0, self.blocks.len());
        ctx.write_list(sequences, self.sequences.iter().copied());
        ctx.write_list(blocks, self.blocks.iter().copied());
        CachedRows { sequences, blocks }
    }
}

/// [`Extensions`] on the device.
#[derive(Clone, Copy, Debug)]
pub struct CachedRows {
    pub(crate) sequences: List<Sequence>,
    pub(crate) blocks: Indices,
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
    rows: CachedRows,
    q: Mat,
    k: Mat,
    v: Mat,
    out: Mat,
) {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return reference::attention::forward_cached(ctx, heads, cache, layer, rows, (q, k, v), out);
        }
    }
    let _span = ctx.span(Kind::Attention);
    let mark = ctx.mark();
    let scratch = ctx.thread_scratch(State::floats(heads));
    let room = room_for_pieces(ctx, q.rows());
    if !ctx.planning() {
        let (sequences, blocks) = (ctx.entries(rows.sequences), ctx.entries(rows.blocks));
        assert_apart(
            &[out.place(), cache.keys.place(), cache.values.place(), scratch.place(), room.place()],
            &[q.span(), k.place(), v.place(), rows.sequences.place(), rows.blocks.place()],
        );
        // SAFETY: scratch that was just taken.
        unsafe {
            assert_rows_apart(ctx, room, q.rows(), sequences.iter().map(Sequence::tokens));
            assert_blocks_apart(ctx, room, cache, rows);
        }
        let (qv, kv, vv, ov) = (ctx.view(q), ctx.view(k), ctx.view(v), ctx.view(out));
        let (ck, cv, sv, isa) = (ctx.view(cache.keys), ctx.view(cache.values), ctx.view(scratch), ctx.isa());
        ctx.parallel(sequences.len() * heads.key, |i| {
            let (sequence, head) = (&sequences[i / heads.key], i % heads.key);
            for (token, position) in sequence.tokens().zip(sequence.start()..) {
                let row = cache.tile(heads, layer, sequence.block(blocks, position), head);
                // SAFETY: the cache overlaps no operand (asserted); a block that is written belongs to one sequence alone (asserted),
                // and this task is the only one for its head.
                unsafe {
                    let key = &kv.row(token)[head * heads.dim..(head + 1) * heads.dim];
                    let value = &vv.row(token)[head * heads.dim..(head + 1) * heads.dim];
                    let (keys, values) = (ck.row_mut(row), cv.row_mut(row));
                    tile::rhs_nk_row(heads.precision, key, position % BLOCK, keys);
                    tile::rhs_kn_row(heads.precision, value, position % BLOCK, BLOCK, values);
                }
            }
        });
        // at most a tile of new positions of one sequence each; tiles keep the 64-position boundaries
        let pieces = sequences.iter().enumerate().flat_map(|(n, sequence)| {
            let (start, end) = (sequence.start(), sequence.end_position());
            (start / BLOCK..end.div_ceil(BLOCK)).map(move |tile| (n, start.max(tile * BLOCK)))
        });
        // SAFETY: scratch that was just taken.
        let pieces = unsafe { list_pieces(ctx, room, pieces) };
        ctx.parallel(pieces.len() * heads.key, |i| {
            let ([n, first], head) = (pieces[i / heads.key], i % heads.key);
            let (sequence, first) = (&sequences[n as usize], first as usize);
            let positions = first..((first / BLOCK + 1) * BLOCK).min(sequence.end_position());
            // SAFETY: the scratch row belongs to this thread; q and the cache are only read from here on; each task writes the
            // columns of its own heads in its own tokens of `out`, which overlaps no operand (asserted).
            unsafe {
                let mut state = State::new(isa, heads, sv.row_mut(Context::thread_index()));
                let row = sequence.tokens().start + positions.start - sequence.start();
                let query = Query { view: qv, row, count: positions.len() };
                let keys = |j: usize| {
                    let count = BLOCK.min(positions.end - j * BLOCK);
                    let row = cache.tile(heads, layer, sequence.block(blocks, j * BLOCK), head);
                    let (key, value) = (ck.row(row), cv.row(row));
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
unsafe fn assert_blocks_apart(ctx: &Context, room: Mat<u32>, cache: &Cache, rows: CachedRows) {
    // SAFETY: as the caller promises.
    let written = unsafe { ctx.view(room).row_mut(0) };
    let blocks = ctx.entries(rows.blocks);
    let mut count = 0;
    for sequence in ctx.entries(rows.sequences).iter().filter(|sequence| !sequence.tokens().is_empty()) {
        for block in sequence.start() / BLOCK..sequence.end_position().div_ceil(BLOCK) {
            written[count] = sequence.block(blocks, block * BLOCK);
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
                let product = TileProduct {
                    wanted: Part::Below { seen },
                    ..TileProduct::new(&self.query[g * packed_query..], key, (m, n, d))
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
                let product = TileProduct {
                    packed_depth: BLOCK,
                    lhs_part: Part::Below { seen },
                    accumulates: true,
                    ..TileProduct::new(self.packed_scores, harmless, (m, d, n))
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
