//! A product of small tiles within one thread, for attention: packing and multiplying in buffers of the caller, which count
//! in units of 4 bytes.

use super::micro::{self, Tile};
use super::pack::{interleave, transpose};
use super::{MR, NR, Precision};
use crate::simd::Isa;

/// Units that a packed left-hand tile of `m` rows and depth `k` takes.
pub(crate) const fn lhs_len(precision: Precision, m: usize, k: usize) -> usize {
    m * precision.units(k)
}

/// Units that a packed right-hand tile of `n` columns and depth `k` takes.
pub(crate) const fn rhs_len(precision: Precision, n: usize, k: usize) -> usize {
    n.next_multiple_of(NR) * precision.units(k)
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

/// Calls `pack(first column, columns, target)` for every 16 columns; columns past `n` become zero.
fn rhs_panels(precision: Precision, n: usize, k: usize, to: &mut [u32], pack: impl Fn(usize, usize, &mut [u32])) {
    let units = precision.units(k);
    for first in (0..n).step_by(NR) {
        let panel = &mut to[first * units..(first + NR) * units];
        let columns = NR.min(n - first);
        if columns < NR {
            panel.fill(0);
        }
        for half in (0..columns).step_by(16) {
            pack(first + half, 16.min(columns - half), &mut panel[half..]);
        }
    }
}

/// `c += lhs·rhs` (or `=` unless `accumulate`): `c` holds `m` rows of `n` rounded up to [`NR`] floats, `ld` apart.
pub(crate) fn multiply(
    isa: Isa,
    precision: Precision,
    lhs: &[u32],
    rhs: &[u32],
    (m, n, k): (usize, usize, usize),
    accumulate: bool,
    c: &mut [f32],
    ld: usize,
) {
    let (padded, units) = (n.next_multiple_of(NR), precision.units(k));
    assert!(
        lhs.len() >= m * units
            && rhs.len() >= padded * units
            && padded <= ld
            && (m == 0 || c.len() >= (m - 1) * ld + padded)
    );
    for column in (0..n).step_by(NR) {
        for row in (0..m).step_by(MR) {
            // SAFETY: offsets lie within the three slices, by the assertion above.
            unsafe {
                let target = c.as_mut_ptr().add(row * ld + column);
                let tile = Tile {
                    precision,
                    height: MR.min(m - row),
                    width: 2,
                    depth: units,
                    left: lhs.as_ptr().add(row * units),
                    right: rhs.as_ptr().add(column * units),
                    right_ld: NR,
                    from: accumulate.then_some(target.cast_const()),
                    from_ld: ld,
                    c: target,
                    ld,
                };
                micro::tile(isa, &tile);
            }
        }
    }
}
