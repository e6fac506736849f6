//! A product cut into tasks for vector units: blocks of K, tiles of [`MR`] rows in registers. Partial sums are kept in
//! C.

use std::ops::Range;

use super::micro::{self, Tile};
use super::{FEW_ROWS, GemmProduct, Init, MR, NR, PANELS_OF_FEW_ROWS, Placed, Precision, Segment, even};
use crate::device::Context;
use crate::simd::prefetch;

/// Units of a block of K: one right-hand panel block of it (36 KB) streams from L2. A multiple of [`NR`].
const KC: usize = 288;
/// Rows of one task, a multiple of [`MR`]: with [`KC`] the left-hand block (580 KB) stays in L2, and a pass of 1,024 tokens is two
/// such blocks, for each of which a transposed block of a weight is built once.
const MC: usize = 516;
/// Units of K from which on a left-hand operand (2 MB for [`MC`] rows) is better read once for several panels.
const DEEP: usize = 4 * KC;
/// Floats of C that one task holds in L2 while it goes through several blocks of K: the left-hand block then serves several panels.
const TASK_FLOATS: usize = 74_000;

/// Floats of scratch that a thread needs: a block that is built.
pub(super) const SCRATCH: usize = KC * NR;

/// In how many groups the panels of a product are dealt out. Bits do not depend on it.
fn groups(product: &GemmProduct<'_>, threads: usize) -> usize {
    let (rows, panels) = (product.c.rows(), product.c.cols().div_ceil(NR));
    if rows <= FEW_ROWS {
        return panels.div_ceil(PANELS_OF_FEW_ROWS);
    }
    if product.segments.iter().flatten().all(|(lhs, _)| lhs.precision.units(lhs.k) <= DEEP) {
        return panels;
    }
    let row_blocks = rows.div_ceil(MC);
    let groups = panels.div_ceil((TASK_FLOATS / (rows.min(MC) * NR)).max(1));
    even(groups, row_blocks, threads, panels)
}

pub(super) struct PanelJob<'a> {
    op: Placed<'a>,
    /// Panels are dealt out in the given number of groups of almost equal size.
    groups: usize,
}

impl<'a> PanelJob<'a> {
    pub(super) fn new(op: Placed<'a>, product: &GemmProduct<'a>, threads: usize) -> PanelJob<'a> {
        PanelJob { op, groups: groups(product, threads) }
    }

    fn row_blocks(&self) -> usize {
        self.op.c.rows.div_ceil(MC)
    }

    fn panels(&self) -> usize {
        self.op.c.cols.div_ceil(NR)
    }

    pub(super) fn tasks(&self) -> usize {
        let is_empty = self.op.segments.iter().all(Option::is_none);
        if is_empty { 0 } else { self.row_blocks() * self.groups }
    }

    pub(super) fn run(&self, task: usize) {
        let (row_block, group) = (task % self.row_blocks(), task / self.row_blocks());
        let rows = row_block * MC..self.op.c.rows.min((row_block + 1) * MC);
        let panels = self.panels() * group / self.groups..self.panels() * (group + 1) / self.groups;
        let mut first = true;
        for segment in self.op.segments.iter().flatten() {
            let units = segment.lhs.precision.units(segment.lhs.k);
            for u0 in (0..units).step_by(KC) {
                for panel in panels.clone() {
                    self.panel(segment, panel, rows.clone(), u0..units.min(u0 + KC), first);
                }
                first = false;
            }
        }
    }

    /// One block of K for one panel of columns and a range of rows; the first block starts the sums.
    fn panel(&self, segment: &Segment<'_>, panel: usize, rows: Range<usize>, units: Range<usize>, first: bool) {
        let (lhs, depth) = (segment.lhs, units.len());
        // SAFETY: this row of the thread scratch belongs to the present thread alone.
        let scratch = bytemuck::cast_slice_mut(unsafe { self.op.scratch.row_mut(Context::thread_index()) });
        let right = segment.block(self.op.isa, panel, units.start, depth, scratch).as_ptr();
        for row in rows.clone().step_by(MR) {
            let height = MR.min(lhs.m - row);
            // SAFETY: the left-hand panel that starts at `row` holds `height` times all units from `row` times as many on, of which
            // this block starts at `units.start·height`.
            let left = unsafe {
                let start = row * lhs.precision.units(lhs.k) + units.start * height;
                segment.left.ptr.add(start)
            };
            if first && row + MR < rows.end {
                self.fetch(row + MR, panel * NR);
            }
            let operands = Operands { precision: lhs.precision, height, depth, left, right };
            self.tile(operands, row, panel * NR, first);
        }
    }

    /// Brings near what the tile at `row` and `column` starts from and what it writes: its sums cannot begin before the one is there, and
    /// stores wait for the other.
    fn fetch(&self, row: usize, column: usize) {
        let source = if let Init::From(_) = self.op.init { self.op.source.as_ref() } else { None };
        for view in source.into_iter().chain([&self.op.c]) {
            for r in row..self.op.c.rows.min(row + MR) {
                // SAFETY: within C, or a source of C's shape; nothing is read.
                prefetch(unsafe { view.ptr.add(r * view.ld + column) }, NR.min(self.op.c.cols - column));
            }
        }
    }

    /// One register tile: loads what C holds so far, multiplies, stores.
    fn tile(&self, operands: Operands, row: usize, column: usize, first: bool) {
        let Operands { precision, height, depth, left, right } = operands;
        let columns = NR.min(self.op.c.cols - column);
        // SAFETY: rows `row..row + height` and columns `column..column + columns` lie within C, and only this task writes them;
        // the source of `init` has C's shape (or one row) and is not written. The same holds for the rest of the function.
        let c = unsafe { self.op.c.ptr.add(row * self.op.c.ld + column) };
        let (from, from_ld): (Option<*const f32>, usize) = if first {
            match (self.op.init, self.op.source) {
                (Init::Accumulate, _) => (Some(c), self.op.c.ld),
                (Init::From(_), Some(source)) => {
                    // SAFETY: as above.
                    (Some(unsafe { source.ptr.add(row * source.ld + column) }), source.ld)
                }
                // SAFETY: as above; a leading dimension of 0 repeats the one row.
                (Init::Row(_), Some(source)) => (Some(unsafe { source.ptr.add(column) }), 0),
                _ => (None, 0),
            }
        } else {
            (Some(c), self.op.c.ld)
        };
        let width = columns.div_ceil(16);
        let tile =
            Tile { precision, height, width, depth, left, right, right_ld: NR, from, from_ld, c, ld: self.op.c.ld };
        if columns == 16 * width {
            // SAFETY: the tile lies inside C and the source.
            unsafe { micro::tile(self.op.isa, &tile) };
            return;
        }
        let mut edge = [[0f32; NR]; MR];
        if let Some(from) = from {
            for (r, values) in edge.iter_mut().enumerate().take(height) {
                // SAFETY: `columns` columns of row `r` lie within the source.
                let source = unsafe { std::slice::from_raw_parts(from.add(r * from_ld), columns) };
                values[..columns].copy_from_slice(source);
            }
        }
        let target = edge.as_mut_ptr().cast::<f32>();
        let inner = Tile { from: Some(target.cast_const()), from_ld: NR, c: target, ld: NR, ..tile };
        // SAFETY: `edge` is a full tile of its own.
        unsafe { micro::tile(self.op.isa, &inner) };
        for (r, values) in edge.iter().enumerate().take(height) {
            // SAFETY: `columns` columns of row `r` lie within C.
            let target = unsafe { std::slice::from_raw_parts_mut(c.add(r * self.op.c.ld), columns) };
            target.copy_from_slice(&values[..columns]);
        }
    }
}

/// The blocks that a register tile multiplies.
#[derive(Clone, Copy)]
struct Operands {
    precision: Precision,
    height: usize,
    depth: usize,
    left: *const u32,
    right: *const u32,
}
