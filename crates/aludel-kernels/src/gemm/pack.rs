//! Rearranges rows of f32 into the order that the micro-kernels read: units of 4 bytes, each one f32 or a pair of bf16
//! that are neighbours along the inner dimension K. Two operations cover every operand: a transpose, if the source's
//! rows run along K, and an interleave, if they run across it.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;

use super::Precision;
use crate::simd::{Isa, multiversion};

/// Rounds to the nearest bfloat16 (ties to even) and returns it widened again; NaN stays NaN.
#[inline(always)]
pub(crate) fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if x.is_nan() { x } else { f32::from_bits(rounded) }
}

/// Two values as one unit: the first in the low half.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> u32 {
    (round_bf16(first).to_bits() >> 16) | (round_bf16(second).to_bits() & 0xffff_0000)
}

/// Stores the values of inputs `2·at` and `2·at + 1` of one output in a panel block.
#[inline(always)]
pub(super) fn put(precision: Precision, out: &mut [u32], at: usize, lane: usize, first: f32, second: f32) {
    match precision {
        Precision::Bf16 => out[at * super::NR + lane] = pair(first, second),
        Precision::F32 => {
            out[2 * at * super::NR + lane] = first.to_bits();
            out[(2 * at + 1) * super::NR + lane] = second.to_bits();
        }
    }
}

/// `to[u·stride + r]` = unit u of source row r, times `scale`: rows of `k` floats, `ld` apart. At most 16 rows; lanes from `rows` to
/// `stride` of a unit's group may become zero.
pub(super) fn transpose(
    isa: Isa,
    precision: Precision,
    from: &[f32],
    ld: usize,
    (rows, k): (usize, usize),
    scale: f32,
    to: &mut [u32],
    stride: usize,
) {
    assert!(rows <= 16 && rows <= stride && (rows == 0 || from.len() >= (rows - 1) * ld + k));
    assert!(k == 0 || to.len() >= (precision.units(k) - 1) * stride + rows);
    match (isa, precision) {
        // SAFETY: the context's instruction set is one that the processor has; the bounds are asserted above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Bf16 | Isa::Amx, _) => unsafe {
            avx512::transpose(precision, from, ld, (rows, k), scale, to, stride)
        },
        (Isa::Portable | Isa::Avx2 | Isa::Avx512, Precision::F32) => {
            transpose_f32(isa, from, ld, rows, k, scale, to, stride)
        }
        (Isa::Portable | Isa::Avx2 | Isa::Avx512, Precision::Bf16) => {
            transpose_bf16(isa, from, ld, rows, k, scale, to, stride)
        }
        #[cfg(not(target_arch = "x86_64"))]
        (Isa::Avx512Bf16 | Isa::Amx, _) => isa.is_of_another_processor(),
    }
}

/// `to[u·stride + c]` = unit u of source column c: `k` rows of `columns` floats, `ld` apart. At most 16 columns; lanes from `columns`
/// to `stride` of a unit's group may become zero.
pub(super) fn interleave(
    isa: Isa,
    precision: Precision,
    from: &[f32],
    ld: usize,
    (columns, k): (usize, usize),
    to: &mut [u32],
    stride: usize,
) {
    assert!(columns <= 16 && columns <= stride && (k == 0 || from.len() >= (k - 1) * ld + columns));
    assert!(k == 0 || to.len() >= (precision.units(k) - 1) * stride + columns);
    match (isa, precision) {
        // SAFETY: as in `transpose`.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Bf16 | Isa::Amx, _) => unsafe { avx512::interleave(precision, from, ld, (columns, k), to, stride) },
        (Isa::Portable | Isa::Avx2 | Isa::Avx512, Precision::F32) => {
            interleave_f32(isa, from, ld, columns, k, to, stride)
        }
        (Isa::Portable | Isa::Avx2 | Isa::Avx512, Precision::Bf16) => {
            interleave_bf16(isa, from, ld, columns, k, to, stride)
        }
        #[cfg(not(target_arch = "x86_64"))]
        (Isa::Avx512Bf16 | Isa::Amx, _) => isa.is_of_another_processor(),
    }
}

multiversion! {
    fn transpose_f32(from: &[f32], ld: usize, rows: usize, k: usize, scale: f32, to: &mut [u32], stride: usize) {
        for r in 0..rows {
            for (u, x) in from[r * ld..r * ld + k].iter().enumerate() {
                to[u * stride + r] = (x * scale).to_bits();
            }
        }
    }
}

multiversion! {
    fn transpose_bf16(from: &[f32], ld: usize, rows: usize, k: usize, scale: f32, to: &mut [u32], stride: usize) {
        for r in 0..rows {
            for (u, x) in from[r * ld..r * ld + k].chunks(2).enumerate() {
                to[u * stride + r] = pair(x[0] * scale, x.get(1).map_or(0.0, |x| x * scale));
            }
        }
    }
}

multiversion! {
    fn interleave_f32(from: &[f32], ld: usize, columns: usize, k: usize, to: &mut [u32], stride: usize) {
        for u in 0..k {
            for (slot, x) in to[u * stride..u * stride + columns].iter_mut().zip(&from[u * ld..u * ld + columns]) {
                *slot = x.to_bits();
            }
        }
    }
}

multiversion! {
    fn interleave_bf16(from: &[f32], ld: usize, columns: usize, k: usize, to: &mut [u32], stride: usize) {
        for u in 0..k.div_ceil(2) {
            let slots = &mut to[u * stride..u * stride + columns];
            let first = &from[2 * u * ld..2 * u * ld + columns];
            if 2 * u + 1 < k {
                let second = &from[(2 * u + 1) * ld..(2 * u + 1) * ld + columns];
                slots.iter_mut().zip(first).zip(second).for_each(|((slot, a), b)| *slot = pair(*a, *b));
            } else {
                slots.iter_mut().zip(first).for_each(|(slot, a)| *slot = pair(*a, 0.0));
            }
        }
    }
}

/// Transposes packed weights: `out[u·NR + j]` = unit u, along the panel's outputs, of input j. `panel` holds the units of `columns`
/// inputs of one panel of [`super::NR`] outputs, as [`super::Panels`] lays them out; inputs from `columns` to NR become zero.
pub(super) fn turn(isa: Isa, precision: Precision, panel: &[u32], columns: usize, out: &mut [u32]) {
    const NR: usize = super::NR;
    let units = precision.units(NR);
    assert!(columns <= NR && panel.len() >= precision.units(columns) * NR && out.len() >= units * NR);
    match precision {
        Precision::F32 => {
            let rows = bytemuck::cast_slice(&panel[..columns * NR]);
            out[..units * NR].fill(0);
            for first in (0..columns).step_by(16) {
                let count = 16.min(columns - first);
                transpose(isa, precision, &rows[first * NR..], NR, (count, NR), 1.0, &mut out[first..], NR);
            }
        }
        // a part of a panel is rare
        Precision::Bf16 if columns < NR => turn_bf16(isa, panel, columns, out),
        Precision::Bf16 => match isa {
            Isa::Portable | Isa::Avx2 => turn_bf16(isa, panel, columns, out),
            // SAFETY: as in `transpose`.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::turn_bf16(panel, out) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => isa.is_of_another_processor(),
        },
    }
}

multiversion! {
    fn turn_bf16(panel: &[u32], columns: usize, out: &mut [u32]) {
        const NR: usize = super::NR;
        out[..NR / 2 * NR].fill(0);
        for j in 0..columns {
            let source = &panel[j / 2 * NR..(j / 2 + 1) * NR];
            let half = |unit: u32| if j % 2 == 0 { unit & 0xffff } else { unit >> 16 };
            for u in 0..NR / 2 {
                out[u * NR + j] = half(source[2 * u]) | half(source[2 * u + 1]) << 16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random;

    #[test]
    fn rounding_to_bf16_is_to_nearest_even() {
        for bits in (0..u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            let expected = half::bf16::from_f32(x).to_f32();
            let got = round_bf16(x);
            assert!(got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()), "{x}");
        }
    }

    #[test]
    fn turned_panels_agree_on_every_instruction_set() {
        const NR: usize = super::super::NR;
        for precision in [Precision::F32, Precision::Bf16] {
            for columns in [NR, 16, 5] {
                let panel: Vec<u32> =
                    (0..precision.units(columns) * NR).map(|i| (i as u32).wrapping_mul(0x9e37_79b1)).collect();
                let turned = |isa| {
                    let mut out = vec![7; precision.units(NR) * NR];
                    turn(isa, precision, &panel, columns, &mut out);
                    out
                };
                let expected = turned(Isa::Portable);
                let first = |half: u32| panel[half as usize] & 0xffff;
                if precision == Precision::Bf16 {
                    assert_eq!(expected[0], first(0) | first(1) << 16, "outputs 0 and 1 of input 0");
                }
                Isa::supported()
                    .iter()
                    .for_each(|&isa| assert_eq!(turned(isa), expected, "{isa:?} {precision:?} {columns}"));
            }
        }
    }

    /// Unit u of the values `value(k)`.
    fn unit(precision: Precision, k: usize, u: usize, value: impl Fn(usize) -> f32) -> u32 {
        match precision {
            Precision::F32 => value(u).to_bits(),
            Precision::Bf16 => pair(value(2 * u), if 2 * u + 1 < k { value(2 * u + 1) } else { 0.0 }),
        }
    }

    #[test]
    fn movements_agree_on_every_instruction_set() {
        for &isa in Isa::supported() {
            for precision in [Precision::F32, Precision::Bf16] {
                for (rows, k) in [(12, 64), (1, 1), (5, 33), (16, 35), (11, 100)] {
                    for stride in [rows, 32] {
                        let (ld, what) = (k + 3, format!("{isa:?} {precision:?} {rows}×{k} stride {stride}"));
                        let from = random(7, rows * ld);
                        let mut to = vec![0; precision.units(k) * stride];
                        transpose(isa, precision, &from, ld, (rows, k), 0.5, &mut to, stride);
                        for r in 0..rows {
                            for u in 0..precision.units(k) {
                                let expected = unit(precision, k, u, |i| from[r * ld + i] * 0.5);
                                assert_eq!(to[u * stride + r], expected, "transpose {what}");
                            }
                        }
                        let ld = rows + 2;
                        let from = random(8, k * ld);
                        interleave(isa, precision, &from, ld, (rows, k), &mut to, stride);
                        for c in 0..rows {
                            for u in 0..precision.units(k) {
                                let expected = unit(precision, k, u, |i| from[i * ld + c]);
                                assert_eq!(to[u * stride + c], expected, "interleave {what}");
                            }
                        }
                    }
                }
            }
        }
    }
}
