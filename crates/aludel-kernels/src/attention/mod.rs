//! Causal attention over packed rows (training) and over cached blocks (generation), tiled so that no S×S matrix exists.
//!
//! The method is FlashAttention (Dao et al., 2022; Dao, 2023): an online softmax over tiles of 64 keys, and a backward
//! that recomputes each tile from the saved log-sum-exp. Tiles begin at multiples of 64 positions of their own row, so a row's
//! result does not depend on what it is packed with. A window bounds how far back a query sees; tiles wholly before it are skipped. Shapes: q [T, H·D], k and v [T, Hkv·D], after RoPE; log-sum-exp [T, H].
//! Scores, softmax and all sums are f32; the factors of products are rounded as [`Heads::precision`] says.

mod backward;
mod forward;
mod kv_cache;

use std::ops::Range;

pub use backward::backward;
pub use forward::forward;
pub(crate) use kv_cache::Sequence;
pub use kv_cache::{Cache, CachedRows, Extensions, forward_cached};

use crate::device::{Context, List, Mat};
use crate::gemm::{NR, Precision};

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
    /// How many positions a query sees, its own included; where there is no number, all up to its own.
    pub window: Option<usize>,
    /// How the factors of products are rounded.
    pub precision: Precision,
}

impl Heads {
    pub(crate) fn group(&self) -> usize {
        self.query / self.key
    }

    /// Row distance of a tile of D columns.
    fn padded_dim(&self) -> usize {
        self.dim.next_multiple_of(NR)
    }

    /// The first position that a query sees.
    pub(crate) fn first_seen(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// The position after the last query that sees a key.
    fn window_end(&self, key: usize) -> usize {
        self.window.map_or(usize::MAX, |window| key.saturating_add(window))
    }
}

/// The keys at the beginning of a tile that lie before the windows of a tile of queries.
#[derive(Clone, Copy)]
struct WindowMask {
    /// The first query's position, and how far apart the positions of rows are.
    first: usize,
    step: usize,
    /// The position of the first query that does not see the tile's first key.
    limit: usize,
}

impl WindowMask {
    fn new(heads: &Heads, first: usize, step: usize, tile_start: usize) -> WindowMask {
        WindowMask { first, step, limit: heads.window_end(tile_start) }
    }

    /// How many keys the query of a row does not see.
    #[inline(always)]
    fn keys(self, row: usize) -> usize {
        (self.first + row * self.step + 1).saturating_sub(self.limit)
    }

    /// Whether one of the first `rows` rows does not see a key.
    fn is_any(self, rows: usize) -> bool {
        self.keys(rows - 1) > 0
    }
}

/// Takes the next `len` elements off a scratch buffer.
fn split<'a, T>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [T]
where
    T: bytemuck::Pod,
{
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    bytemuck::cast_slice_mut(head)
}

/// Whether a value can be multiplied by the weight 0 of a token that does not see it: 0 · ∞ is no number. Values near the largest become
/// infinite where they are rounded.
fn is_harmless(value: f32) -> bool {
    value.abs() <= 3.3e38
}

/// The rows of a pass: ranges of tokens of the packed matrices, which must not overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    ranges: List<[u32; 2]>,
    /// Tokens of the longest.
    longest: usize,
}

impl Rows {
    /// Copies them to the device, for one pass of `tokens` tokens. There is room for a row a token: a pass that was planned with one long
    /// row may have many short ones.
    pub fn upload(ctx: &mut Context, rows: &[Range<usize>], tokens: usize) -> Rows {
        let longest = rows.iter().map(Range::len).max().unwrap_or(0);
        let ranges = ctx.alloc_list(tokens.max(rows.len())).range(0, rows.len());
        ctx.write_list(ranges, rows.iter().map(|row| [row.start as u32, row.end as u32]));
        Rows { ranges, longest }
    }

    pub(crate) fn ranges<'a>(&self, ctx: &'a Context) -> impl ExactSizeIterator<Item = Range<usize>> + Clone + use<'a> {
        ctx.entries(self.ranges).iter().map(range)
    }
}

fn range(ends: &[u32; 2]) -> Range<usize> {
    ends[0] as usize..ends[1] as usize
}

/// What an op makes its tasks of, head by head: the number of a row (or sequence), and a position in it.
type Piece = [u32; 2];

/// Scratch for the pieces of rows with the given number of tokens in all. No piece is empty, so there are no more of them than tokens.
fn room_for_pieces(ctx: &mut Context, tokens: usize) -> Mat<u32> {
    ctx.scratch_packed(1, 2 * tokens)
}

/// The pieces, in scratch.
///
/// # Safety
/// `room` is scratch that no one else touches, and the context outlives the list.
unsafe fn list_pieces<'a>(
    ctx: &Context,
    room: Mat<u32>,
    pieces: impl Iterator<Item = (usize, usize)>,
) -> &'a mut [Piece] {
    // SAFETY: as the caller promises.
    let all: &mut [Piece] = bytemuck::cast_slice_mut(unsafe { ctx.view(room).row_mut(0) });
    let mut count = 0;
    for (row, position) in pieces {
        all[count] = [row as u32, position as u32];
        count += 1;
    }
    &mut all[..count]
}

/// Asserts that no token belongs to two rows: tasks of different rows write at once.
///
/// # Safety
/// `room` is scratch of at least as many elements as there are tokens that no one else touches.
unsafe fn assert_rows_apart(ctx: &Context, room: Mat<u32>, tokens: usize, rows: impl Iterator<Item = Range<usize>>) {
    // SAFETY: as the caller promises.
    let is_taken = unsafe { &mut ctx.view(room).row_mut(0)[..tokens] };
    is_taken.fill(0);
    for row in rows {
        assert!(row.start <= row.end && row.end <= tokens, "attention: row {row:?} of {tokens} tokens");
        for (token, is_taken) in row.clone().zip(&mut is_taken[row.clone()]) {
            assert!(*is_taken == 0, "attention: token {token} belongs to two rows; rows must not overlap");
            *is_taken = 1;
        }
    }
}

/// The tiles of a row: ranges of at most [`BLOCK`] positions.
fn tiles(positions: usize) -> impl Iterator<Item = Range<usize>> {
    (0..positions).step_by(BLOCK).map(move |start| start..positions.min(start + BLOCK))
}

#[cfg(test)]
mod tests;
