//! The operations of [`super`] in whole vectors of AVX-512, and those that make left-hand tiles of AMX.

use std::arch::x86_64::*;

use crate::gemm::{Precision, TILE, TILE_UNITS};

/// # Safety
/// AVX-512 with bf16; bounds as [`super::transpose`] asserts them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
pub(super) unsafe fn transpose(
    precision: Precision,
    from: &[f32],
    ld: usize,
    (rows, k): (usize, usize),
    scale: f32,
    to: &mut [u32],
    stride: usize,
) {
    let per_unit = precision.per_unit();
    let units = precision.units(k);
    let factor = _mm512_set1_ps(scale);
    let mut first = 0;
    if rows == PANEL && stride == PANEL {
        while (first + 16) * per_unit <= k {
            // SAFETY: 16 units of all rows are there, and room for them.
            unsafe {
                let source = from.as_ptr().add(first * per_unit);
                transpose_panel(precision, source, ld, factor, to.as_mut_ptr().add(first * PANEL));
            }
            first += 16;
        }
    }
    for first in (first..units).step_by(16) {
        let mut block = [_mm512_setzero_si512(); 16];
        let left = k - first * per_unit;
        for (r, slot) in block.iter_mut().enumerate().take(rows) {
            // SAFETY: masked to the elements of row r.
            unsafe {
                let source = from.as_ptr().add(r * ld + first * per_unit);
                let low = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(left), source), factor);
                *slot = if precision == Precision::Bf16 {
                    let rest = left.saturating_sub(16);
                    let high = _mm512_maskz_loadu_ps(lanes(rest), source.wrapping_add(16));
                    halves(low, _mm512_mul_ps(high, factor))
                } else {
                    _mm512_castps_si512(low)
                };
            }
        }
        transpose_16(&mut block);
        for (u, row) in (first..units.min(first + 16)).zip(block) {
            store(to, u * stride, rows, row);
        }
    }
}

/// Rows of the panels that [`transpose_panel`] is made for: those of a whole left-hand panel.
const PANEL: usize = 12;

/// 16 units of [`PANEL`] rows, `[unit][row]` without gaps: 12 vectors are made of the rows, and 12 written.
///
/// # Safety
/// AVX-512 with bf16; `source` holds 16 units of each row, `to` has room for 16·PANEL units.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
unsafe fn transpose_panel(precision: Precision, source: *const f32, ld: usize, factor: __m512, to: *mut u32) {
    let mut r = [_mm512_setzero_si512(); PANEL];
    for (i, slot) in r.iter_mut().enumerate() {
        // SAFETY: row i is there.
        unsafe {
            let low = _mm512_mul_ps(_mm512_loadu_ps(source.add(i * ld)), factor);
            *slot = if precision == Precision::Bf16 {
                halves(low, _mm512_mul_ps(_mm512_loadu_ps(source.add(i * ld + 16)), factor))
            } else {
                _mm512_castps_si512(low)
            };
        }
    }
    let mut t = r;
    for i in (0..PANEL).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    // r[3c + g] comes to hold, in lane l, rows 4g .. 4g + 4 of unit 4l + c
    for g in 0..3 {
        r[g] = _mm512_unpacklo_epi64(t[4 * g], t[4 * g + 2]);
        r[3 + g] = _mm512_unpackhi_epi64(t[4 * g], t[4 * g + 2]);
        r[6 + g] = _mm512_unpacklo_epi64(t[4 * g + 1], t[4 * g + 3]);
        r[9 + g] = _mm512_unpackhi_epi64(t[4 * g + 1], t[4 * g + 3]);
    }
    // of units 4l .. 4l + 4, vector v holds what lanes l of r[4v .. 4v + 4] do
    for v in 0..3 {
        let lanes = transpose_lanes([r[4 * v], r[4 * v + 1], r[4 * v + 2], r[4 * v + 3]]);
        for (l, row) in lanes.into_iter().enumerate() {
            // SAFETY: within the 12 vectors.
            unsafe { _mm512_storeu_si512(to.add(16 * (3 * l + v)).cast(), row) };
        }
    }
}

/// # Safety
/// AVX-512 with bf16; bounds as [`super::interleave`] asserts them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
pub(super) unsafe fn interleave(
    precision: Precision,
    from: &[f32],
    ld: usize,
    (columns, k): (usize, usize),
    to: &mut [u32],
    stride: usize,
) {
    let mask = lanes(columns);
    // SAFETY: masked to the columns of a row that exists.
    let row = |i: usize| unsafe { _mm512_maskz_loadu_ps(mask, from.as_ptr().add(i * ld)) };
    if precision == Precision::F32 {
        (0..k).for_each(|u| store(to, u * stride, columns, _mm512_castps_si512(row(u))));
        return;
    }
    let order = side_by_side();
    for u in 0..k.div_ceil(2) {
        let second = if 2 * u + 1 < k { row(2 * u + 1) } else { _mm512_setzero_ps() };
        store(to, u * stride, columns, _mm512_permutexvar_epi16(order, halves(row(2 * u), second)));
    }
}

/// Two times 16 values as 16 pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
fn halves(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 64 bytes, and every bit pattern is a value.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Rows as left-hand tiles: a row of a tile is 32 neighbours of a row.
///
/// # Safety
/// AVX-512 with bf16; bounds as [`amx::pack_rows`] asserts them.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(in crate::gemm) unsafe fn tile_rows(
    from: &[f32],
    ld: usize,
    (rows, k): (usize, usize),
    scale: f32,
    to: &mut [u32],
) {
    let factor = _mm512_set1_ps(scale);
    for (first, tile) in (0..k).step_by(2 * TILE).zip(to.chunks_exact_mut(TILE_UNITS)) {
        let masks = (lanes(k - first), lanes((k - first).saturating_sub(16)));
        for (r, target) in tile.chunks_exact_mut(TILE).enumerate().take(rows) {
            // SAFETY: masked to the elements of row r; the row of the tile is there.
            unsafe {
                let source = from.as_ptr().add(r * ld + first);
                let low = _mm512_mul_ps(_mm512_maskz_loadu_ps(masks.0, source), factor);
                let high = _mm512_mul_ps(_mm512_maskz_loadu_ps(masks.1, source.wrapping_add(16)), factor);
                _mm512_storeu_si512(target.as_mut_ptr().cast(), halves(low, high));
            }
        }
    }
}

/// Columns as left-hand tiles: pairs of rows, transposed.
///
/// # Safety
/// AVX-512 with bf16; bounds as [`amx::pack_columns`] asserts them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
pub(in crate::gemm) unsafe fn tile_columns(from: &[f32], ld: usize, (rows, k): (usize, usize), to: &mut [u32]) {
    let mask = lanes(rows);
    let order = side_by_side();
    for (tile, to) in to.chunks_exact_mut(TILE_UNITS).enumerate().take(k.div_ceil(2 * TILE)) {
        let mut block = [_mm512_setzero_si512(); TILE];
        for (u, slot) in block.iter_mut().enumerate() {
            let first = (tile * TILE + u) * 2;
            let row = |i: usize| match i < k {
                // SAFETY: masked to the columns of a row that exists.
                true => unsafe { _mm512_maskz_loadu_ps(mask, from.as_ptr().add(i * ld)) },
                false => _mm512_setzero_ps(),
            };
            *slot = _mm512_permutexvar_epi16(order, halves(row(first), row(first + 1)));
        }
        transpose_16(&mut block);
        for (r, row) in block.into_iter().enumerate().take(rows) {
            // SAFETY: a row of the tile.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(r * TILE).cast(), row) };
        }
    }
}

/// The halves of two rows of 16, side by side, become 16 pairs.
#[target_feature(enable = "avx512f")]
fn side_by_side() -> __m512i {
    let mut order = [0u16; 32];
    for (i, slot) in order.iter_mut().enumerate() {
        *slot = (i / 2 + i % 2 * 16) as u16;
    }
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
}

/// # Safety
/// AVX-512; `panel` and `out` hold 16 × 32 units.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn turn_bf16(panel: &[u32], out: &mut [u32]) {
    const NR: usize = crate::gemm::NR;
    // (a0 a1)(b0 b1) → (a0 b0)(a1 b1): outputs become neighbours, inputs 64 bits apart
    let (low, high) = (0x0706_0302_0504_0100, 0x0f0e_0b0a_0d0c_0908);
    let swap = _mm512_set_epi64(high, low, high, low, high, low, high, low);
    for outputs in 0..NR / 16 {
        for inputs in 0..NR / 16 {
            let mut block = [_mm512_setzero_si512(); 8];
            for (i, slot) in block.iter_mut().enumerate() {
                // SAFETY: row `8·inputs + i` of the panel, 16 of its units.
                let row =
                    unsafe { _mm512_loadu_si512(panel.as_ptr().add((8 * inputs + i) * NR + 16 * outputs).cast()) };
                *slot = _mm512_shuffle_epi8(row, swap);
            }
            transpose_8(&mut block);
            for (i, row) in block.into_iter().enumerate() {
                store(out, (8 * outputs + i) * NR + 16 * inputs, 16, row);
            }
        }
    }
}

/// The first `count` of 16 lanes.
fn lanes(count: usize) -> __mmask16 {
    if count >= 16 { 0xffff } else { (1 << count) - 1 }
}

/// Stores 16 lanes where there is room, else the first `count`.
#[target_feature(enable = "avx512f")]
fn store(to: &mut [u32], at: usize, count: usize, row: __m512i) {
    let target = &mut to[at..];
    if let Some(target) = target.first_chunk_mut::<16>() {
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), row) };
    } else {
        let count = count.min(target.len());
        // SAFETY: masked to what is there.
        unsafe { _mm512_mask_storeu_epi32(target.as_mut_ptr().cast(), lanes(count), row) };
    }
}

/// Transposes 16 × 16 units.
#[target_feature(enable = "avx512f")]
fn transpose_16(r: &mut [__m512i; 16]) {
    let mut t = *r;
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..16).step_by(4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4g + c] holds, in lane l, rows 4g .. 4g + 4 of column 4l + c
    for c in 0..4 {
        let lanes = transpose_lanes([r[c], r[4 + c], r[8 + c], r[12 + c]]);
        for (l, row) in lanes.into_iter().enumerate() {
            t[4 * l + c] = row;
        }
    }
    *r = t;
}

/// Transposes 4 × 4 lanes of 4 units.
#[target_feature(enable = "avx512f")]
fn transpose_lanes([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (low, high) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
    let (low2, high2) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
    [
        _mm512_shuffle_i32x4::<0x88>(low, low2),
        _mm512_shuffle_i32x4::<0x88>(high, high2),
        _mm512_shuffle_i32x4::<0xdd>(low, low2),
        _mm512_shuffle_i32x4::<0xdd>(high, high2),
    ]
}

/// Transposes 8 × 8 pairs of units.
#[target_feature(enable = "avx512f")]
fn transpose_8(r: &mut [__m512i; 8]) {
    let mut t = *r;
    for i in (0..8).step_by(2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    // t[2g + c] holds, in lane l, rows 2g and 2g + 1 of column 2l + c
    for c in 0..2 {
        let (a, b, d, e) = (t[c], t[2 + c], t[4 + c], t[6 + c]);
        let (low, high) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (low2, high2) = (_mm512_shuffle_i64x2::<0x88>(d, e), _mm512_shuffle_i64x2::<0xdd>(d, e));
        r[c] = _mm512_shuffle_i64x2::<0x88>(low, low2);
        r[4 + c] = _mm512_shuffle_i64x2::<0xdd>(low, low2);
        r[2 + c] = _mm512_shuffle_i64x2::<0x88>(high, high2);
        r[6 + c] = _mm512_shuffle_i64x2::<0xdd>(high, high2);
    }
}
