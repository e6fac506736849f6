//! The innermost loops: one tile of C, at most [`MR`] × 32, summed over a block of K in registers. One version for each
//! instruction set; all read the same layouts. Within one instruction set an element's sum runs over K in one order.

use super::{MR, Precision};
use crate::simd::Isa;

/// One tile: `c[r][0..16·width] = from[r] + Σ_u left[u][r]·right[u][0..16·width]` for `height` rows. Without `from`, from zero.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) precision: Precision,
    /// Rows, 1 to [`MR`]; also the distance between the units of `left`.
    pub(super) height: usize,
    /// 1 for 16 columns, 2 for 32.
    pub(super) width: usize,
    /// Units of K.
    pub(super) depth: usize,
    pub(super) left: *const u32,
    pub(super) right: *const u32,
    /// Distance between the units of `right`.
    pub(super) right_ld: usize,
    pub(super) from: Option<*const f32>,
    pub(super) from_ld: usize,
    pub(super) c: *mut f32,
    pub(super) ld: usize,
}

/// Computes a tile.
///
/// # Safety
/// `left` holds `depth × height` units, `right` `depth` groups of `16·width` units at its leading dimension; `from` and `c` point to `height` rows of `16·width` floats at their
/// leading dimensions; no one else touches those rows of `c`; the processor has the instruction set.
#[inline]
pub(super) unsafe fn tile(isa: Isa, tile: &Tile) {
    debug_assert!((1..=MR).contains(&tile.height) && (1..=2).contains(&tile.width));
    // SAFETY: the contract is passed on.
    unsafe {
        match (isa, tile.precision) {
            (Isa::Portable, _) => portable::tile(tile),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, _) | (Isa::Avx512, Precision::Bf16) => avx2::tile(tile),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, Precision::F32) => avx512::f32(tile),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16 | Isa::Amx, Precision::Bf16) => avx512::bf16(tile),
            #[cfg(not(target_arch = "x86_64"))]
            (Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, _) => isa.is_of_another_processor(),
        }
    }
}

mod portable {
    use super::{Precision, Tile};

    /// Rows and columns of the sums held at once.
    const ROWS: usize = 4;
    const COLUMNS: usize = 16;

    /// # Safety
    /// As [`super::tile`].
    pub(super) unsafe fn tile(tile: &Tile) {
        for column in (0..16 * tile.width).step_by(COLUMNS) {
            for row in (0..tile.height).step_by(ROWS) {
                // SAFETY: a part of the tile.
                unsafe { part(tile, row, ROWS.min(tile.height - row), column) };
            }
        }
    }

    /// # Safety
    /// As [`super::tile`], for `rows` rows from `row` on and [`COLUMNS`] columns from `column` on.
    unsafe fn part(tile: &Tile, row: usize, rows: usize, column: usize) {
        let mut acc = [[0f32; COLUMNS]; ROWS];
        // SAFETY: all accesses are within what the contract promises.
        unsafe {
            if let Some(from) = tile.from {
                for (r, sums) in acc.iter_mut().enumerate().take(rows) {
                    let source = from.add((row + r) * tile.from_ld + column);
                    sums.copy_from_slice(std::slice::from_raw_parts(source, COLUMNS));
                }
            }
            for u in 0..tile.depth {
                let right = &*tile.right.add(u * tile.right_ld + column).cast::<[u32; COLUMNS]>();
                for (r, sums) in acc.iter_mut().enumerate().take(rows) {
                    let left = *tile.left.add(u * tile.height + row + r);
                    match tile.precision {
                        Precision::F32 => add(sums, left, right, |unit| unit),
                        Precision::Bf16 => {
                            add(sums, left, right, |unit| unit << 16);
                            add(sums, left, right, |unit| unit & 0xffff_0000);
                        }
                    }
                }
            }
            for (r, sums) in acc.iter().enumerate().take(rows) {
                let target = tile.c.add((row + r) * tile.ld + column);
                std::slice::from_raw_parts_mut(target, COLUMNS).copy_from_slice(sums);
            }
        }
    }

    #[inline(always)]
    fn add(sums: &mut [f32; COLUMNS], left: u32, right: &[u32; COLUMNS], bits: impl Fn(u32) -> u32) {
        for (sum, &unit) in sums.iter_mut().zip(right) {
            *sum += f32::from_bits(bits(left)) * f32::from_bits(bits(unit));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Precision, Tile};

    /// Rows of the sums held in registers at once, over 16 columns.
    const ROWS: usize = 6;

    /// # Safety
    /// As [`super::tile`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile(tile: &Tile) {
        for column in (0..16 * tile.width).step_by(16) {
            for row in (0..tile.height).step_by(ROWS) {
                // SAFETY: a part of the tile.
                unsafe {
                    match (tile.height - row).min(ROWS) {
                        1 => part::<1>(tile, row, column),
                        2 => part::<2>(tile, row, column),
                        3 => part::<3>(tile, row, column),
                        4 => part::<4>(tile, row, column),
                        5 => part::<5>(tile, row, column),
                        _ => part::<ROWS>(tile, row, column),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`super::tile`], for `M` rows from `row` on and 16 columns from `column` on.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn part<const M: usize>(tile: &Tile, row: usize, column: usize) {
        let mut acc = [[_mm256_setzero_ps(); 2]; M];
        // SAFETY: all accesses are within what the contract promises; loads and stores are the unaligned forms.
        unsafe {
            if let Some(from) = tile.from {
                for (r, sums) in acc.iter_mut().enumerate() {
                    let source = from.add((row + r) * tile.from_ld + column);
                    *sums = [_mm256_loadu_ps(source), _mm256_loadu_ps(source.add(8))];
                }
            }
            let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            for u in 0..tile.depth {
                let right = tile.right.add(u * tile.right_ld + column);
                let left = tile.left.add(u * tile.height + row);
                let b = [_mm256_loadu_si256(right.cast()), _mm256_loadu_si256(right.add(8).cast())];
                match tile.precision {
                    Precision::F32 => step(&mut acc, left, b.map(|b| _mm256_castsi256_ps(b)), |a| a),
                    // the first of a pair is the low half, the second the high half: widening is a shift or a mask
                    Precision::Bf16 => {
                        let even = |pair: __m256i| _mm256_slli_epi32::<16>(pair);
                        let odd = |pair: __m256i| _mm256_and_si256(pair, high);
                        step(&mut acc, left, b.map(|b| _mm256_castsi256_ps(even(b))), even);
                        step(&mut acc, left, b.map(|b| _mm256_castsi256_ps(odd(b))), odd);
                    }
                }
            }
            for (r, sums) in acc.iter().enumerate() {
                let target = tile.c.add((row + r) * tile.ld + column);
                _mm256_storeu_ps(target, sums[0]);
                _mm256_storeu_ps(target.add(8), sums[1]);
            }
        }
    }

    /// # Safety
    /// `left` holds M units.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn step<const M: usize>(
        acc: &mut [[__m256; 2]; M],
        left: *const u32,
        b: [__m256; 2],
        widen: impl Fn(__m256i) -> __m256i,
    ) {
        for (r, sums) in acc.iter_mut().enumerate() {
            // SAFETY: `r < M`.
            let unit = unsafe { *left.add(r) };
            let a = _mm256_castsi256_ps(widen(_mm256_set1_epi32(unit as i32)));
            *sums = [_mm256_fmadd_ps(a, b[0], sums[0]), _mm256_fmadd_ps(a, b[1], sums[1])];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{MR, Tile};

    /// The same bits as 32 bf16.
    fn pairs(units: __m512i) -> __m512bh {
        // SAFETY: both are 64 bytes, and every bit pattern is a value.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(units) }
    }

    macro_rules! by_shape {
        ($tile:ident, $whole:ident: $($height:literal)*) => {
            match ($tile.height, $tile.width) {
                $(($height, 1) => $whole::<$height, 1>($tile), ($height, _) => $whole::<$height, 2>($tile),)*
                (_, 1) => $whole::<MR, 1>($tile),
                _ => $whole::<MR, 2>($tile),
            }
        };
    }

    /// The kernel of one precision: what a processor must have for it, and what a unit of each operand adds to a sum.
    macro_rules! kernel {
        ($tile:ident, $whole:ident, $features:literal, $add:expr) => {
            /// # Safety
            /// As [`super::tile`].
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $tile(tile: &Tile) {
                // SAFETY: the contract is passed on.
                unsafe { by_shape!(tile, $whole: 1 2 3 4 5 6 7 8 9 10 11) }
            }

            /// # Safety
            /// As [`super::tile`], for a tile of `M` rows and `16·V` columns.
            #[target_feature(enable = $features)]
            unsafe fn $whole<const M: usize, const V: usize>(tile: &Tile) {
                let mut acc = [[_mm512_setzero_ps(); V]; M];
                // SAFETY: all accesses are within what the contract promises; loads and stores are the unaligned forms.
                unsafe {
                    if let Some(from) = tile.from {
                        for (r, sums) in acc.iter_mut().enumerate() {
                            for (v, sum) in sums.iter_mut().enumerate() {
                                *sum = _mm512_loadu_ps(from.add(r * tile.from_ld + 16 * v));
                            }
                        }
                    }
                    let (mut left, mut right) = (tile.left, tile.right);
                    for _ in 0..tile.depth {
                        let mut b = [_mm512_setzero_si512(); V];
                        for (v, b) in b.iter_mut().enumerate() {
                            *b = _mm512_loadu_si512(right.add(16 * v).cast());
                        }
                        for (r, sums) in acc.iter_mut().enumerate() {
                            let a = _mm512_set1_epi32(*left.add(r) as i32);
                            for (sum, b) in sums.iter_mut().zip(b) {
                                *sum = $add(*sum, a, b);
                            }
                        }
                        (left, right) = (left.add(M), right.wrapping_add(tile.right_ld));
                    }
                    for (r, sums) in acc.iter().enumerate() {
                        for (v, sum) in sums.iter().enumerate() {
                            _mm512_storeu_ps(tile.c.add(r * tile.ld + 16 * v), *sum);
                        }
                    }
                }
            }
        };
    }

    kernel!(f32, whole_f32, "avx512f", |sum, a, b| {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
    });
    kernel!(bf16, whole_bf16, "avx512f,avx512bf16", |sum, a, b| _mm512_dpbf16_ps(sum, pairs(a), pairs(b)));
}
