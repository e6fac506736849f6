//! A product cut into tasks for AMX. A task's part of C stays in scratch, tile rows end to end, until all of K is
//! summed: there it stays in L2, whereas tiles of C itself would be spread over as many pages as they have rows. It is
//! then copied to C row by row.

use std::ops::Range;

use super::{Run, TILE, TILE_UNITS, multiply};
use crate::device::Context;
use crate::gemm::{FEW_ROWS, GemmProduct, Init, NR, PANELS_OF_FEW_ROWS, Placed, Precision, Segment, even};
use crate::simd::{Isa, multiversion, prefetch_l2};

/// Rows that are multiplied at once.
const HEIGHT: usize = 2 * TILE;
/// Tiles of a block of K: 18 KB of a right-hand panel stay in L1 while the rows of a task pass by.
const DEPTH: usize = 9;
/// Units of a block of K.
const KC: usize = DEPTH * TILE;
/// Rows of a task.
const ROWS: usize = 256;
/// Rows of a task whose right-hand blocks are built: the more rows share a block, the less building it costs.
const ROWS_OF_BUILT: usize = 512;
/// Floats of C that a task holds in L2, beside the block of K of its left-hand side.
const FLOATS: usize = 148_000;

/// How a product is cut: row blocks of `rows` rows, and the panels in the given number of groups of almost equal size.
#[derive(Clone, Copy)]
struct Cut {
    rows: usize,
    row_blocks: usize,
    panels: usize,
    groups: usize,
}

impl Cut {
    fn new(product: &GemmProduct<'_>, threads: usize) -> Cut {
        let (m, panels) = (product.c.rows(), product.c.cols().div_ceil(NR));
        let most_rows = match product.segments.iter().flatten().any(|(_, rhs)| rhs.is_built()) {
            true => ROWS_OF_BUILT,
            false => ROWS,
        };
        let row_blocks = m.div_ceil(most_rows).max(1);
        let rows = m.div_ceil(row_blocks).next_multiple_of(HEIGHT).max(HEIGHT);
        let row_blocks = m.div_ceil(rows).max(1);
        let groups = match m {
            ..=FEW_ROWS => panels.div_ceil(PANELS_OF_FEW_ROWS).max(1),
            _ => even(panels.div_ceil((FLOATS / (rows * NR)).max(1)), row_blocks, threads, panels),
        };
        Cut { rows, row_blocks, panels, groups }
    }

    /// The most panels of a group.
    fn group(&self) -> usize {
        self.panels.div_ceil(self.groups)
    }

    fn floats(&self) -> usize {
        self.rows * NR * self.group()
    }
}

/// Floats of scratch that a thread needs: a block of K that is built, and the most that a task's part of C may take. A bound, so that
/// a smaller pass never needs more than the largest, for which memory is planned.
pub(in crate::gemm) fn scratch(product: &GemmProduct<'_>, threads: usize) -> usize {
    let rows = product.c.rows().next_multiple_of(HEIGHT).clamp(HEIGHT, ROWS_OF_BUILT);
    let most = (rows * product.c.cols().next_multiple_of(NR)).min(FLOATS);
    debug_assert!(Cut::new(product, threads).floats() <= most);
    KC * NR + most
}

pub(in crate::gemm) struct TileJob<'a> {
    op: Placed<'a>,
    cut: Cut,
}

/// A block of K of one segment.
#[derive(Clone, Copy)]
struct Block<'s, 'a> {
    segment: &'s Segment<'a>,
    /// The first tile along K, and the first that does not belong to it.
    tiles: (usize, usize),
}

impl<'s, 'a> Block<'s, 'a> {
    /// All of K.
    fn whole(segment: &'s Segment<'a>) -> Self {
        Block { segment, tiles: (0, Precision::Bf16.padded_units(segment.lhs.k) / TILE) }
    }

    /// Its operands for a panel and the first of these rows.
    fn run(&self, isa: Isa, panel: usize, rows: &Range<usize>, built: &mut [u32]) -> Run {
        let (lhs, left, (first, last)) = (self.segment.lhs, self.segment.left, self.tiles);
        let left_next = Precision::Bf16.padded_units(lhs.k) * TILE;
        let right = self.segment.block(isa, panel, first * TILE, (last - first) * TILE, built);
        assert!(right.len() >= (last - first) * 2 * TILE_UNITS && last * TILE_UNITS <= left_next);
        assert!(rows.end.div_ceil(TILE) * left_next <= left.cols);
        let left = left.at(rows.start / TILE * left_next + first * TILE_UNITS);
        Run { left, left_next, right: right.as_ptr(), depth: last - first }
    }

    /// What it will read of a panel, if that is there already.
    fn ahead(self, panel: usize) -> Option<&'s [u32]> {
        let (first, last) = self.tiles;
        self.segment.ready(panel, first * TILE, (last - first) * TILE)
    }
}

/// What a task does for all its panels before it goes on along K.
struct Step<'s, 'a> {
    first: Block<'s, 'a>,
    second: Option<Block<'s, 'a>>,
}

impl<'a> TileJob<'a> {
    pub(in crate::gemm) fn new(op: Placed<'a>, product: &GemmProduct<'a>, threads: usize) -> TileJob<'a> {
        TileJob { op, cut: Cut::new(product, threads) }
    }

    pub(in crate::gemm) fn tasks(&self) -> usize {
        let is_empty = self.op.c.rows * self.op.c.cols == 0;
        if is_empty { 0 } else { self.cut.row_blocks * self.cut.groups }
    }

    pub(in crate::gemm) fn run(&self, task: usize) {
        let Cut { rows, panels, groups, .. } = self.cut;
        let (row_block, group) = (task / groups, task % groups);
        let rows = row_block * rows..self.op.c.rows.min((row_block + 1) * rows);
        let panels = panels * group / groups..panels * (group + 1) / groups;
        // SAFETY: this row of the thread scratch belongs to the present thread alone.
        let scratch = unsafe { self.op.scratch.row_mut(Context::thread_index()) };
        let (built, sums) = scratch.split_at_mut(KC * NR);
        let built: &mut [u32] = bytemuck::cast_slice_mut(built);
        let mut steps = self.steps().peekable();
        let mut adds = false;
        while let Some(step) = steps.next() {
            for (i, panel) in panels.clone().enumerate() {
                let sums = &mut sums[i * self.cut.rows * NR..(i + 1) * self.cut.rows * NR];
                let next = match panel + 1 < panels.end {
                    true => step.first.ahead(panel + 1),
                    false => steps.peek().and_then(|step| step.first.ahead(panels.start)),
                };
                self.panel(&step, panel, rows.clone(), built, next.unwrap_or(&[]), sums, adds);
            }
            adds = true;
        }
        self.finish(rows, panels, sums);
    }

    /// All of K, a block at a time. A short last segment, which is what an adapter is, joins the block before it.
    fn steps(&self) -> impl Iterator<Item = Step<'_, 'a>> {
        let blocks = |segment: &'_ Segment<'a>| Precision::Bf16.padded_units(segment.lhs.k).div_ceil(KC);
        let joined = match &self.op.segments {
            [Some(_), Some(last)] => Some(last).filter(|last| blocks(last) == 1 && !last.rhs.is_built()),
            _ => None,
        };
        let separate = if joined.is_some() { 1 } else { 2 };
        self.op.segments[..separate].iter().flatten().flat_map(move |segment| {
            let tiles = Precision::Bf16.padded_units(segment.lhs.k) / TILE;
            (0..blocks(segment)).map(move |i| Step {
                first: Block { segment, tiles: (i * DEPTH, tiles.min((i + 1) * DEPTH)) },
                second: joined.filter(|_| (i + 1) * DEPTH >= tiles).map(Block::whole),
            })
        })
    }

    /// A step for one panel and all rows of a task. Meanwhile `next` is brought near.
    fn panel(
        &self,
        step: &Step<'_, 'a>,
        panel: usize,
        rows: Range<usize>,
        built: &mut [u32],
        next: &[u32],
        sums: &mut [f32],
        adds: bool,
    ) {
        assert!(sums.len() >= rows.len().next_multiple_of(HEIGHT) * NR && rows.start.is_multiple_of(TILE));
        let first = step.first.run(self.op.isa, panel, &rows, built);
        let second = step.second.map_or(Run::NONE, |block| block.run(self.op.isa, panel, &rows, &mut []));
        let ahead = next.len().div_ceil(rows.len().div_ceil(HEIGHT)).next_multiple_of(TILE);
        for (row, next) in
            (0..rows.len()).step_by(HEIGHT).zip(next.chunks(ahead.max(1)).chain(std::iter::repeat(&[][..])))
        {
            prefetch_l2(next);
            let is_half = rows.len() - row <= TILE;
            let runs = [first.at(row), second.at(row)];
            // SAFETY: rows up to the next multiple of 16 have room, all of K of them, and the panel's blocks are whole, as was
            // asserted where the runs were made; so are the sums.
            unsafe { multiply(&runs, is_half, sums[row * NR..].as_mut_ptr(), NR, adds) };
        }
    }

    /// `c = init + sums` for a task's part of C.
    fn finish(&self, rows: Range<usize>, panels: Range<usize>, sums: &[f32]) {
        let (first, last) = (panels.start * NR, self.op.c.cols.min(panels.end * NR));
        for row in rows.clone() {
            // SAFETY: only this task touches these columns of these rows of C; the source is only read, and apart from C (asserted).
            let (c, from) = unsafe {
                let from = match (self.op.init, self.op.source) {
                    (Init::From(_), Some(source)) => Some(&source.row(row)[first..last]),
                    (Init::Row(_), Some(source)) => Some(&source.row(0)[first..last]),
                    _ => None,
                };
                (self.op.c.part_mut(row, first, last - first), from)
            };
            let sums = &sums[(row - rows.start) * NR..];
            let stride = self.cut.rows * NR;
            match (self.op.init, from) {
                (Init::Accumulate, _) => accumulate(self.op.isa, sums, stride, c),
                (_, Some(from)) => add(self.op.isa, sums, stride, from, c),
                _ => copy(self.op.isa, sums, stride, c),
            }
        }
    }
}

multiversion! {
    fn copy(sums: &[f32], stride: usize, c: &mut [f32]) {
        for_panels(sums, stride, c, |_, c, sum| *c = sum);
    }
}

multiversion! {
    fn add(sums: &[f32], stride: usize, from: &[f32], c: &mut [f32]) {
        let from = &from[..c.len()];
        for_panels(sums, stride, c, |i, c, sum| *c = from[i] + sum);
    }
}

multiversion! {
    fn accumulate(sums: &[f32], stride: usize, c: &mut [f32]) {
        for_panels(sums, stride, c, |_, c, sum| *c += sum);
    }
}

/// Calls `op(i, c[i], sum)` along a row of C; the sums of the next panel lie `stride` floats on.
#[inline(always)]
fn for_panels(sums: &[f32], stride: usize, c: &mut [f32], op: impl Fn(usize, &mut f32, f32)) {
    let (panels, rest) = c.as_chunks_mut::<NR>();
    let (whole, rest_first) = (panels.len(), panels.len() * NR);
    for (panel, c) in panels.iter_mut().enumerate() {
        let sums: &[f32; NR] = sums[panel * stride..][..NR].try_into().expect("NR sums");
        c.iter_mut().zip(sums).enumerate().for_each(|(i, (c, sum))| op(panel * NR + i, c, *sum));
    }
    rest.iter_mut().enumerate().for_each(|(i, c)| op(rest_first + i, c, sums[whole * stride + i]));
}
