//! A product cut into tasks for AMX. A task's part of C lies in scratch, tile rows end to end, until all of K is summed: it stays in L2
//! there, where tiles of C itself would be spread over as many pages as they have rows. Then it goes to C row by row.

use std::ops::Range;

use super::{Run, TILE, TILE_UNITS, multiply};
use crate::device::{Context, Mat, View};
use crate::gemm::{Init, NR, Precision, Product, Rhs, Segment};
use crate::simd::{Isa, multiversion};

/// Rows that are multiplied at once.
const HEIGHT: usize = 2 * TILE;
/// Tiles of a block of K: 18 KB of a right-hand panel stay in L1 while the rows of a task pass by.
const DEPTH: usize = 9;
/// Units of a block of K.
const KC: usize = DEPTH * TILE;
/// Rows of a task.
const ROWS: usize = 256;
/// Rows of a task whose right-hand blocks are built: the more rows share a block, the less building it costs.
const ROWS_OF_BUILT: usize = 1024;
/// Floats of C that a task holds in L2, beside the block of K of its left-hand side.
const FLOATS: usize = 148_000;
/// So many rows are few: panels are then dealt out by twos, since each is read once and no row waits for another.
const FEW_ROWS: usize = 64;

/// How a product is cut: row blocks of `rows` rows, and the panels in so many groups of almost equal size.
#[derive(Clone, Copy)]
struct Cut {
    rows: usize,
    row_blocks: usize,
    panels: usize,
    groups: usize,
}

impl Cut {
    fn new(product: &Product<'_>, threads: usize) -> Cut {
        let (m, panels) = (product.c.rows(), product.c.cols().div_ceil(NR));
        let is_built = |rhs: &Rhs<'_>| matches!(rhs, Rhs::WeightTransposed { .. });
        let most_rows = match product.segments.iter().flatten().any(|(_, rhs)| is_built(rhs)) {
            true => ROWS_OF_BUILT,
            false => ROWS,
        };
        let row_blocks = m.div_ceil(most_rows).max(1);
        let rows = m.div_ceil(row_blocks).next_multiple_of(HEIGHT).max(HEIGHT);
        let row_blocks = m.div_ceil(rows).max(1);
        let groups = match m {
            ..=FEW_ROWS => panels.div_ceil(2),
            _ => {
                let groups = panels.div_ceil((FLOATS / (rows * NR)).max(1));
                // as many tasks for each thread
                (groups * row_blocks).next_multiple_of(threads) / row_blocks
            }
        };
        Cut { rows, row_blocks, panels, groups: groups.clamp(1, panels.max(1)) }
    }

    /// The most panels of a group.
    fn group(&self) -> usize {
        self.panels.div_ceil(self.groups)
    }

    fn floats(&self) -> usize {
        self.rows * NR * self.group()
    }
}

/// Floats of scratch that a thread needs: a block of K that is built, and a task's part of C.
pub(in crate::gemm) fn scratch(product: &Product<'_>, threads: usize) -> usize {
    KC * NR + Cut::new(product, threads).floats()
}

pub(in crate::gemm) struct Job<'a> {
    segments: [Option<Segment<'a>>; 2],
    init: Init,
    source: Option<View>,
    c: View,
    scratch: View,
    isa: Isa,
    cut: Cut,
}

impl<'a> Job<'a> {
    pub(in crate::gemm) fn new(ctx: &Context, product: &Product<'a>, scratch: Mat) -> Job<'a> {
        let Product { segments, init, c } = *product;
        Job {
            segments: segments.map(|segment| Some(Segment::new(ctx, segment?))),
            init,
            source: init.source().map(|source| ctx.view(source)),
            c: ctx.view(c),
            scratch: ctx.view(scratch),
            isa: ctx.isa(),
            cut: Cut::new(product, ctx.threads()),
        }
    }

    pub(in crate::gemm) fn tasks(&self) -> usize {
        self.cut.row_blocks * self.cut.groups
    }

    pub(in crate::gemm) fn run(&self, task: usize) {
        let Cut { rows, row_blocks, panels, groups } = self.cut;
        let (row_block, group) = (task % row_blocks, task / row_blocks);
        let rows = row_block * rows..self.c.rows.min((row_block + 1) * rows);
        let panels = panels * group / groups..panels * (group + 1) / groups;
        // SAFETY: this row of the thread scratch belongs to the present thread alone.
        let scratch = unsafe { self.scratch.row_mut(Context::thread_index()) };
        let (built, sums) = scratch.split_at_mut(KC * NR);
        let built: &mut [u32] = bytemuck::cast_slice_mut(built);
        let mut adds = false;
        for (segment, tiles) in self.blocks() {
            for (i, panel) in panels.clone().enumerate() {
                let sums = &mut sums[i * self.cut.rows * NR..(i + 1) * self.cut.rows * NR];
                let right = segment.block(self.isa, panel, tiles.start * TILE, tiles.len() * TILE, built);
                self.panel(segment, rows.clone(), tiles.clone(), right, sums, adds);
            }
            adds = true;
        }
        self.finish(rows, panels, sums);
    }

    /// The blocks of K of all segments, as ranges of tiles.
    fn blocks(&self) -> impl Iterator<Item = (&Segment<'a>, Range<usize>)> {
        self.segments.iter().flatten().flat_map(|segment| {
            let tiles = Precision::Bf16.padded_units(segment.lhs.k) / TILE;
            (0..tiles.div_ceil(DEPTH)).map(move |i| (segment, i * DEPTH..tiles.min((i + 1) * DEPTH)))
        })
    }

    /// A block of K of one panel, for all rows of a task.
    fn panel(
        &self,
        segment: &Segment<'_>,
        rows: Range<usize>,
        tiles: Range<usize>,
        right: &[u32],
        sums: &mut [f32],
        adds: bool,
    ) {
        let left_next = Precision::Bf16.padded_units(segment.lhs.k) * TILE;
        assert!(right.len() >= tiles.len() * 2 * TILE_UNITS && sums.len() >= rows.len().next_multiple_of(HEIGHT) * NR);
        assert!(rows.end.next_multiple_of(TILE) / TILE * left_next <= segment.left.cols && rows.start % TILE == 0);
        for row in rows.clone().step_by(HEIGHT) {
            let left = segment.left.at(row / TILE * left_next + tiles.start * TILE_UNITS).cast::<u32>();
            let run = Run { left, left_next, right: right.as_ptr(), depth: tiles.len() };
            let is_half = rows.end - row <= TILE;
            let c = sums[(row - rows.start) * NR..].as_mut_ptr();
            // SAFETY: rows up to the next multiple of 16 were packed, all of K of them; the panel's block and the sums are as large
            // as was asserted.
            unsafe { multiply(&[run, Run::NONE], is_half, c, NR, adds) };
        }
    }

    /// `c = init + sums` for a task's part of C.
    fn finish(&self, rows: Range<usize>, panels: Range<usize>, sums: &[f32]) {
        let (first, last) = (panels.start * NR, self.c.cols.min(panels.end * NR));
        for row in rows.clone() {
            // SAFETY: only this task touches these columns of these rows of C; the source is only read, and apart from C (asserted).
            let (c, from) = unsafe {
                let from = match (self.init, self.source) {
                    (Init::From(_), Some(source)) => Some(&source.row(row)[first..last]),
                    (Init::Row(_), Some(source)) => Some(&source.row(0)[first..last]),
                    _ => None,
                };
                (self.c.part_mut(row, first, last - first), from)
            };
            let sums = &sums[(row - rows.start) * NR..];
            let stride = self.cut.rows * NR;
            match (self.init, from) {
                (Init::Accumulate, _) => accumulate(self.isa, sums, stride, c),
                (_, Some(from)) => add(self.isa, sums, stride, from, c),
                _ => copy(self.isa, sums, stride, c),
            }
        }
    }
}

multiversion! {
    fn copy(sums: &[f32], stride: usize, c: &mut [f32]) {
        for (panel, c) in c.chunks_mut(NR).enumerate() {
            c.copy_from_slice(&sums[panel * stride..panel * stride + c.len()]);
        }
    }
}

multiversion! {
    fn add(sums: &[f32], stride: usize, from: &[f32], c: &mut [f32]) {
        for (panel, (c, from)) in c.chunks_mut(NR).zip(from.chunks(NR)).enumerate() {
            let sums = &sums[panel * stride..panel * stride + c.len()];
            c.iter_mut().zip(from).zip(sums).for_each(|((c, from), sum)| *c = from + sum);
        }
    }
}

multiversion! {
    fn accumulate(sums: &[f32], stride: usize, c: &mut [f32]) {
        for (panel, c) in c.chunks_mut(NR).enumerate() {
            let sums = &sums[panel * stride..panel * stride + c.len()];
            c.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum);
        }
    }
}
