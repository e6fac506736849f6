//! A product of small tiles within one thread, for attention: packs and multiplies in buffers of the caller, which are
//! measured in units of 4 bytes.

use std::ops::Range;

use super::micro::{self, Tile};
use super::pack::{interleave, pair, transpose};
use super::{MR, NR, Precision, amx};
use crate::simd::Isa;

/// Units that a packed left-hand tile of `m` rows and depth `k` takes.
pub(crate) const fn lhs_len(precision: Precision, m: usize, k: usize) -> usize {
    match precision {
        Precision::F32 => m * k,
        // what tiles of AMX take, which is never less
        Precision::Bf16 => amx::lhs_units(m, k),
    }
}

/// Units that a packed right-hand tile of `n` columns and depth `k` takes.
pub(crate) const fn rhs_len(precision: Precision, n: usize, k: usize) -> usize {
    n.next_multiple_of(NR) * precision.padded_units(k)
}

/// Packs `m` rows of `k` floats, `ld` apart, times `scale`, as a left-hand tile.
pub(crate) fn lhs_rows(
    isa: Isa,
    precision: Precision,
    from: &[f32],
    ld: usize,
    (m, k): (usize, usize),
    scale: f32,
    to: &mut [u32],
) {
    if amx::is_used(isa, precision) {
        for (row, to) in (0..m).step_by(amx::TILE).zip(to.chunks_mut(amx::lhs_units(amx::TILE, k))) {
            amx::pack_rows(&from[row * ld..], ld, (amx::TILE.min(m - row), k), scale, to);
        }
        return;
    }
    let units = precision.units(k);
    for row in (0..m).step_by(MR) {
        let rows = MR.min(m - row);
        let panel = &mut to[row * units..(row + rows) * units];
        transpose(isa, precision, &from[row * ld..], ld, (rows, k), scale, panel, rows);
    }
}

/// Packs the transpose of `k` rows of `m` floats as a left-hand tile.
pub(crate) fn lhs_columns(
    isa: Isa,
    precision: Precision,
    from: &[f32],
    ld: usize,
    (m, k): (usize, usize),
    to: &mut [u32],
) {
    if amx::is_used(isa, precision) {
        for (row, to) in (0..m).step_by(amx::TILE).zip(to.chunks_mut(amx::lhs_units(amx::TILE, k))) {
            amx::pack_columns(&from[row..], ld, (amx::TILE.min(m - row), k), to);
        }
        return;
    }
    let units = precision.units(k);
    for row in (0..m).step_by(MR) {
        let rows = MR.min(m - row);
        let panel = &mut to[row * units..(row + rows) * units];
        interleave(isa, precision, &from[row..], ld, (rows, k), panel, rows);
    }
}

/// Packs `n` rows of `k` floats (`[n, k]`, `ld` apart) as a right-hand tile.
pub(crate) fn rhs_nk(
    isa: Isa,
    precision: Precision,
    from: &[f32],
    ld: usize,
    (n, k): (usize, usize),
    scale: f32,
    to: &mut [u32],
) {
    rhs_panels(precision, n, k, to, |first, columns, to| {
        transpose(isa, precision, &from[first * ld..], ld, (columns, k), scale, to, NR);
    });
}

/// Packs `k` rows of `n` floats (`[k, n]`, `ld` apart) as a right-hand tile.
pub(crate) fn rhs_kn(isa: Isa, precision: Precision, from: &[f32], ld: usize, (n, k): (usize, usize), to: &mut [u32]) {
    rhs_panels(precision, n, k, to, |first, columns, to| {
        interleave(isa, precision, &from[first..], ld, (columns, k), to, NR);
    });
}

/// Writes row `column` of an `[n, k]` source, alone, into a right-hand tile that [`rhs_nk`] would have packed.
pub(crate) fn rhs_nk_row(precision: Precision, row: &[f32], column: usize, to: &mut [u32]) {
    let units = precision.padded_units(row.len());
    let panel = &mut to[column / NR * units * NR..(column / NR + 1) * units * NR];
    let lanes = panel[column % NR..].iter_mut().step_by(NR);
    match precision {
        Precision::F32 => lanes.zip(row).for_each(|(unit, x)| *unit = x.to_bits()),
        Precision::Bf16 => {
            lanes.zip(row.chunks(2)).for_each(|(unit, x)| *unit = pair(x[0], x.get(1).copied().unwrap_or(0.0)));
        }
    }
}

/// Writes row `depth` of a `[k, n]` source, alone, into a right-hand tile that [`rhs_kn`] would have packed, with `k` rows in all. Rows
/// come in order: the first of those that a product takes together (32 in bf16) clears the others, which may be multiplied by zero.
pub(crate) fn rhs_kn_row(precision: Precision, row: &[f32], depth: usize, k: usize, to: &mut [u32]) {
    let units = precision.padded_units(k);
    for (panel, row) in to.chunks_exact_mut(units * NR).zip(row.chunks(NR)) {
        match precision {
            Precision::F32 => {
                panel[depth * NR..].iter_mut().zip(row).for_each(|(unit, x)| *unit = x.to_bits());
            }
            Precision::Bf16 => {
                if depth.is_multiple_of(2 * amx::TILE) {
                    panel[depth / 2 * NR..][..amx::TILE * NR].fill(0);
                }
                for (unit, &x) in panel[depth / 2 * NR..].iter_mut().zip(row) {
                    *unit = if depth.is_multiple_of(2) { pair(x, 0.0) } else { *unit & 0xffff | pair(0.0, x) };
                }
            }
        }
    }
}

/// The value in row `depth` and column `column` of a right-hand tile of [`rhs_kn`] with `k` rows.
pub(crate) fn rhs_kn_value(precision: Precision, tile: &[u32], depth: usize, column: usize, k: usize) -> f32 {
    let (units, per_unit) = (precision.padded_units(k), precision.per_unit());
    let unit = tile[column / NR * units * NR + depth / per_unit * NR + column % NR];
    values_of(precision, unit)[depth % per_unit]
}

/// The values of a unit; with one in a unit, it occurs twice.
fn values_of(precision: Precision, unit: u32) -> [f32; 2] {
    match precision {
        Precision::F32 => [f32::from_bits(unit); 2],
        Precision::Bf16 => [f32::from_bits(unit << 16), f32::from_bits(unit & 0xffff_0000)],
    }
}

/// Whether all values of a packed tile are so.
pub(crate) fn all_units(precision: Precision, tile: &[u32], is_so: impl Fn(f32) -> bool) -> bool {
    tile.iter().all(|unit| values_of(precision, *unit).into_iter().all(&is_so))
}

/// Makes those values of a packed tile zero.
pub(crate) fn clear_units(precision: Precision, tile: &mut [u32], is_cleared: impl Fn(f32) -> bool) {
    for unit in tile {
        let [low, high] = values_of(precision, *unit).map(&is_cleared);
        *unit = match precision {
            Precision::F32 if low => 0,
            Precision::F32 => *unit,
            Precision::Bf16 => *unit & if low { 0xffff_0000 } else { u32::MAX } & if high { 0xffff } else { u32::MAX },
        };
    }
}

/// `to[j·to_ld + i] = from[i·ld + j]` for `rows` rows of `columns` floats. What lies between the rows of `to` may become zero.
pub(crate) fn transposed(
    isa: Isa,
    from: &[f32],
    ld: usize,
    (rows, columns): (usize, usize),
    to: &mut [f32],
    to_ld: usize,
) {
    for row in (0..rows).step_by(16) {
        let (count, to) = (16.min(rows - row), bytemuck::cast_slice_mut(&mut to[row..]));
        transpose(isa, Precision::F32, &from[row * ld..], ld, (count, columns), 1.0, to, to_ld);
    }
}

/// Calls `pack(first column, columns, target)` for every 16 columns; columns past `n` and units past `k` become zero.
fn rhs_panels(precision: Precision, n: usize, k: usize, to: &mut [u32], pack: impl Fn(usize, usize, &mut [u32])) {
    let (units, used) = (precision.padded_units(k), precision.units(k));
    for first in (0..n).step_by(NR) {
        let panel = &mut to[first * units..(first + NR) * units];
        let columns = NR.min(n - first);
        let padding = if columns < NR { 0 } else { used * NR };
        panel[padding..].fill(0);
        for half in (0..columns).step_by(16) {
            pack(first + half, 16.min(columns - half), &mut panel[half..]);
        }
    }
}

/// Which entries of a matrix matter, seen from its rows: all, or those on one side of a diagonal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// Entry (i, j) with `j < seen + i`.
    Below {
        seen: usize,
    },
    /// Entry (i, j) with `i < seen + j`.
    Above {
        seen: usize,
    },
}

impl Part {
    /// Of the given number of rows, those from the first to the last that matter in any of these columns.
    fn rows(self, columns: Range<usize>, rows: usize) -> Range<usize> {
        match self {
            Part::All => 0..rows,
            Part::Below { seen } => (columns.start + 1).saturating_sub(seen).min(rows)..rows,
            Part::Above { seen } => 0..rows.min(seen + columns.end - 1),
        }
    }

    /// Of the given number of columns, those from the first to the last that matter in any of these rows.
    fn columns(self, rows: Range<usize>, columns: usize) -> Range<usize> {
        match self {
            Part::All => 0..columns,
            Part::Below { seen } => 0..columns.min(seen + rows.end - 1),
            Part::Above { seen } => (rows.start + 1).saturating_sub(seen).min(columns)..columns,
        }
    }
}

/// `c = lhs·rhs`, or `c += lhs·rhs` if it `accumulates`.
#[derive(Clone, Copy)]
pub(crate) struct TileProduct<'a> {
    pub(crate) lhs: &'a [u32],
    pub(crate) rhs: &'a [u32],
    /// Rows of c, its columns, and the depth that is summed over.
    pub(crate) shape: (usize, usize, usize),
    /// The depth that the right-hand tile was packed with.
    pub(crate) packed_depth: usize,
    /// Which part of c is needed; the rest may be left as it is.
    pub(crate) wanted: Part,
    /// Outside this part, `lhs` is zero.
    pub(crate) lhs_part: Part,
    /// Outside this part, `rhs` is zero.
    pub(crate) rhs_part: Part,
    pub(crate) accumulates: bool,
}

impl<'a> TileProduct<'a> {
    /// `c = lhs·rhs`, all of it.
    pub(crate) fn new(lhs: &'a [u32], rhs: &'a [u32], shape: (usize, usize, usize)) -> TileProduct<'a> {
        let (wanted, lhs_part, rhs_part) = (Part::All, Part::All, Part::All);
        TileProduct { lhs, rhs, shape, packed_depth: shape.2, wanted, lhs_part, rhs_part, accumulates: false }
    }

    /// What of the depth matters to these rows and columns of c.
    fn depth(&self, rows: Range<usize>, columns: Range<usize>) -> Range<usize> {
        let k = self.shape.2;
        let (left, right) = (self.lhs_part.columns(rows, k), self.rhs_part.rows(columns, k));
        left.start.max(right.start)..left.end.min(right.end)
    }

    /// `c` holds rows of columns rounded up to [`NR`] floats, `ld` apart. What does not matter is skipped in whole register tiles. Where c
    /// has rows beyond those of the product, up to the next multiple of 16 may be overwritten.
    pub(crate) fn run(&self, isa: Isa, precision: Precision, c: &mut [f32], ld: usize) {
        let (m, n, k) = self.shape;
        let (padded, units, packed_units) =
            (n.next_multiple_of(NR), precision.units(k), precision.padded_units(self.packed_depth));
        if amx::is_used(isa, precision) {
            return self.run_tiles(c, ld);
        }
        assert!(
            self.lhs.len() >= m * units
                && units <= packed_units
                && self.rhs.len() >= padded * packed_units
                && padded <= ld
                && (m == 0 || c.len() >= (m - 1) * ld + padded)
        );
        for column in (0..n).step_by(NR) {
            for row in (0..m).step_by(MR) {
                let height = MR.min(m - row);
                let wanted = self.wanted.columns(row..row + height, n);
                if wanted.end <= column || wanted.start >= column + NR {
                    continue;
                }
                let depth = self.depth(row..row + height, column..n.min(column + NR));
                let u0 = depth.start / precision.per_unit();
                let u1 = precision.units(depth.end).max(u0);
                // SAFETY: offsets lie within the three slices, by the assertion above.
                unsafe {
                    let target = c.as_mut_ptr().add(row * ld + column);
                    let tile = Tile {
                        precision,
                        height,
                        width: 2,
                        depth: u1 - u0,
                        left: self.lhs.as_ptr().add(row * units + u0 * height),
                        right: self.rhs.as_ptr().add(column * packed_units + u0 * NR),
                        right_ld: NR,
                        from: self.accumulates.then_some(target.cast_const()),
                        from_ld: ld,
                        c: target,
                        ld,
                    };
                    micro::tile(isa, &tile);
                }
            }
        }
    }

    /// [`Product::run`] on AMX.
    fn run_tiles(&self, c: &mut [f32], ld: usize) {
        use amx::{Run, TILE, TILE_UNITS};
        let (m, n, k) = self.shape;
        let (left_next, packed_units) =
            (Precision::Bf16.padded_units(k) * TILE, Precision::Bf16.padded_units(self.packed_depth));
        let padded = n.next_multiple_of(NR);
        assert!(
            self.lhs.len() >= m.div_ceil(TILE) * left_next
                && left_next <= packed_units * TILE
                && self.rhs.len() >= padded * packed_units
                && padded <= ld
                && (m == 0 || c.len() >= (m - 1) * ld + padded)
        );
        let rows_there = c.len().saturating_sub(padded) / ld + 1;
        for row in (0..m).step_by(2 * TILE) {
            let height = (2 * TILE).min(m - row);
            let wanted = self.wanted.columns(row..row + height, n);
            let is_half = height <= TILE;
            for column in (wanted.start / NR * NR..wanted.end).step_by(NR) {
                let depth = self.depth(row..row + height, column..n.min(column + NR));
                let (first, last) = (depth.start / (2 * TILE), depth.end.div_ceil(2 * TILE));
                let run = Run {
                    left: self.lhs[row / TILE * left_next + first * TILE_UNITS..].as_ptr(),
                    left_next,
                    right: self.rhs[column * packed_units + first * TILE * NR..].as_ptr(),
                    depth: last.saturating_sub(first),
                };
                let target = &mut c[row * ld + column..];
                // SAFETY: the operands hold the tiles of these rows and columns, by the assertion above; c holds `height` rows, and
                // rows that it does not hold go to a tile of their own.
                unsafe {
                    if row + height.next_multiple_of(TILE) <= rows_there {
                        amx::multiply(&[run, Run::NONE], is_half, target.as_mut_ptr(), ld, self.accumulates);
                        continue;
                    }
                    let mut edge = [[0f32; NR]; 2 * TILE];
                    for (edge, target) in edge.iter_mut().zip(target.chunks(ld)).take(height) {
                        edge.copy_from_slice(&target[..NR]);
                    }
                    amx::multiply(&[run, Run::NONE], is_half, edge.as_mut_ptr().cast(), NR, self.accumulates);
                    for (edge, target) in edge.iter().zip(target.chunks_mut(ld)).take(height) {
                        target[..NR].copy_from_slice(edge);
                    }
                }
            }
        }
    }
}
