//! Products on AMX, the matrix unit of Intel's servers since Sapphire Rapids: eight tile registers of 16 rows × 64 bytes, and an
//! instruction that multiplies two of them into a third. The instructions are here; [`job`] cuts an op into tasks for them.
//!
//! A right-hand tile, 16 units of K × 16 columns, is half a panel block as [`super::Panels`] lays it out. A left-hand tile is 16 rows
//! × 16 units, row by row; operands lie as `[16 rows][16 units of K][row][unit]`, so that a tile is 1 KB without gaps.
//!
//! Tiles have one shape, set once for each thread: nothing else in the process may load or release a tile configuration.
//!
//! An element of C takes 32 values of K at a time: the products of the even ones and of the odd ones are summed apart, in order, then
//! both sums are added together and to C, each rounded to nearest (Intel, Software Developer's Manual, TDPBF16PS).

pub(super) mod job;

use super::Precision;
#[cfg(target_arch = "x86_64")]
use super::pack;
pub(super) use super::{TILE, TILE_UNITS};
use crate::simd::Isa;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::simd::has_amx;

/// Whether products of this precision are made of tiles.
pub(super) fn is_used(isa: Isa, precision: Precision) -> bool {
    isa == Isa::Amx && precision == Precision::Bf16
}

/// Units of a packed left-hand operand.
pub(super) const fn lhs_units(m: usize, k: usize) -> usize {
    m.next_multiple_of(TILE) * Precision::Bf16.padded_units(k)
}

/// Packs at most 16 rows of `k` floats, `ld` apart, times `scale`. Values of K beyond `k` become zero, rows beyond `rows` are left as
/// they are: they meet no other row.
pub(super) fn pack_rows(from: &[f32], ld: usize, (rows, k): (usize, usize), scale: f32, to: &mut [u32]) {
    assert!(rows <= TILE && (rows == 0 || from.len() >= (rows - 1) * ld + k) && to.len() >= lhs_units(TILE, k));
    #[cfg(target_arch = "x86_64")]
    // SAFETY: AMX is used, or emulated, only beside AVX-512 with bf16; bounds are asserted.
    unsafe {
        pack::avx512::tile_rows(from, ld, (rows, k), scale, to);
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("tiles are used on x86-64 alone, and not times {scale}");
}

/// Packs the transpose of `k` rows of at most 16 floats, `ld` apart: what [`pack_rows`] makes of its columns.
pub(super) fn pack_columns(from: &[f32], ld: usize, (rows, k): (usize, usize), to: &mut [u32]) {
    assert!(rows <= TILE && (k == 0 || from.len() >= (k - 1) * ld + rows) && to.len() >= lhs_units(TILE, k));
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        pack::avx512::tile_columns(from, ld, (rows, k), to);
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("tiles are used on x86-64 alone");
}

/// Tiles of a left-hand operand times tiles of a right-hand panel, `depth` of them along K.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The first tile of 16 rows; those further along K follow it.
    pub(super) left: *const u32,
    /// Units from there to the tiles of the next 16 rows.
    pub(super) left_next: usize,
    /// Blocks of 16 units of K × 32 columns.
    pub(super) right: *const u32,
    /// Tiles along K.
    pub(super) depth: usize,
}

impl Run {
    /// Nothing to add.
    pub(super) const NONE: Run = Run { left: std::ptr::null(), left_next: 0, right: std::ptr::null(), depth: 0 };

    /// The same, `rows` rows further down, a multiple of 16.
    #[inline]
    pub(super) fn at(self, rows: usize) -> Run {
        Run { left: self.left.wrapping_add(rows / TILE * self.left_next), ..self }
    }
}

/// `c = runs[0] + runs[1]`, or `c +=` that if it `adds`, summed in this order: 32 columns, and 32 rows or, if `is_half`, 16. Rows of c
/// lie `ld` floats apart.
///
/// # Safety
/// The runs' tiles are there; `c` has that many rows of 32 floats, which no one else touches; [`Isa::Amx`] was given out.
pub(super) unsafe fn multiply(runs: &[Run; 2], is_half: bool, c: *mut f32, ld: usize, adds: bool) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if has_amx() {
        unit::configure();
        // SAFETY: the contract is passed on, and the unit is configured.
        unsafe {
            match is_half {
                true => unit::multiply_16(runs, c, ld, adds),
                false => unit::multiply_32(runs, c, ld, adds),
            }
        }
        return;
    }
    // SAFETY: the contract is passed on.
    unsafe { emulation::multiply(runs, if is_half { 1 } else { 2 }, c, ld, adds) }
}

/// Multiplications of full tiles between registers, for [`crate::peak`]; returns the floating-point operations.
pub(crate) fn busy(rounds: u64) -> f64 {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if has_amx() {
        unit::configure();
        return unit::busy(rounds);
    }
    let _ = rounds;
    0.0
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit {
    use std::arch::asm;
    use std::cell::Cell;

    use super::{Run, TILE, TILE_UNITS};

    /// Gives all eight tiles of this thread their full size, once.
    #[inline]
    pub(super) fn configure() {
        thread_local! {
            static IS_DONE: Cell<bool> = const { Cell::new(false) };
        }
        /// What `ldtilecfg` reads.
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        if IS_DONE.replace(true) {
            return;
        }
        let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        shapes.row_bytes[..8].fill(64);
        shapes.rows[..8].fill(TILE as u8);
        // SAFETY: the process has the permission; 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) }
    }

    /// The number of bytes in the given number of units or floats.
    const fn bytes(words: usize) -> usize {
        4 * words
    }

    /// One stretch of K for 32 rows: four sums (0 to 3), two left-hand tiles (4, 5), two right-hand ones (6, 7).
    macro_rules! stretch_32 {
        ($name:literal) => {
            concat!(
                "test {n",
                $name,
                "}, {n",
                $name,
                "}\n",
                "jz 4f\n",
                "3:\n",
                "tileloadd tmm6, [{r",
                $name,
                "} + {row} * 2]\n",
                "tileloadd tmm4, [{l",
                $name,
                "} + {row}]\n",
                "tdpbf16ps tmm0, tmm4, tmm6\n",
                "tileloadd tmm7, [{r",
                $name,
                "} + {row} * 2 + 64]\n",
                "tdpbf16ps tmm1, tmm4, tmm7\n",
                "tileloadd tmm5, [{m",
                $name,
                "} + {row}]\n",
                "tdpbf16ps tmm2, tmm5, tmm6\n",
                "tdpbf16ps tmm3, tmm5, tmm7\n",
                "add {l",
                $name,
                "}, 1024\n",
                "add {m",
                $name,
                "}, 1024\n",
                "add {r",
                $name,
                "}, 2048\n",
                "dec {n",
                $name,
                "}\n",
                "jnz 3b\n",
                "4:\n",
            )
        };
    }

    /// The same for 16 rows.
    macro_rules! stretch_16 {
        ($name:literal) => {
            concat!(
                "test {n",
                $name,
                "}, {n",
                $name,
                "}\n",
                "jz 4f\n",
                "3:\n",
                "tileloadd tmm4, [{l",
                $name,
                "} + {row}]\n",
                "tileloadd tmm6, [{r",
                $name,
                "} + {row} * 2]\n",
                "tdpbf16ps tmm0, tmm4, tmm6\n",
                "tileloadd tmm7, [{r",
                $name,
                "} + {row} * 2 + 64]\n",
                "tdpbf16ps tmm1, tmm4, tmm7\n",
                "add {l",
                $name,
                "}, 1024\n",
                "add {r",
                $name,
                "}, 2048\n",
                "dec {n",
                $name,
                "}\n",
                "jnz 3b\n",
                "4:\n",
            )
        };
    }

    /// # Safety
    /// As [`super::multiply`] for 32 rows; the unit is there and configured.
    pub(super) unsafe fn multiply_32(runs: &[Run; 2], c: *mut f32, ld: usize, adds: bool) {
        let [a, b] = runs;
        // SAFETY: only the tiles that the contract names are read, and the rows of c written.
        unsafe {
            asm!(
                "test {t:e}, {t:e}",
                "jz 2f",
                "lea {t}, [{c} + {ld} * 8]",
                "lea {t}, [{t} + {ld} * 8]",
                "tileloadd tmm0, [{c} + {ld}]",
                "tileloadd tmm1, [{c} + {ld} + 64]",
                "tileloadd tmm2, [{t} + {ld}]",
                "tileloadd tmm3, [{t} + {ld} + 64]",
                "jmp 5f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "5:",
                stretch_32!("a"),
                stretch_32!("b"),
                "lea {t}, [{c} + {ld} * 8]",
                "lea {t}, [{t} + {ld} * 8]",
                "tilestored [{c} + {ld}], tmm0",
                "tilestored [{c} + {ld} + 64], tmm1",
                "tilestored [{t} + {ld}], tmm2",
                "tilestored [{t} + {ld} + 64], tmm3",
                // whether it adds, then the lower 16 rows of c
                t = inout(reg) u64::from(adds) => _,
                c = in(reg) c,
                ld = in(reg) bytes(ld),
                row = in(reg) bytes(TILE),
                la = inout(reg) a.left => _,
                ma = inout(reg) a.left.wrapping_add(a.left_next) => _,
                ra = inout(reg) a.right => _,
                na = inout(reg) a.depth => _,
                lb = inout(reg) b.left => _,
                mb = inout(reg) b.left.wrapping_add(b.left_next) => _,
                rb = inout(reg) b.right => _,
                nb = inout(reg) b.depth => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`super::multiply`] for 16 rows; the unit is there and configured.
    pub(super) unsafe fn multiply_16(runs: &[Run; 2], c: *mut f32, ld: usize, adds: bool) {
        let [a, b] = runs;
        // SAFETY: as in `multiply_32`.
        unsafe {
            asm!(
                "test {adds:e}, {adds:e}",
                "jz 2f",
                "tileloadd tmm0, [{c} + {ld}]",
                "tileloadd tmm1, [{c} + {ld} + 64]",
                "jmp 5f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "5:",
                stretch_16!("a"),
                stretch_16!("b"),
                "tilestored [{c} + {ld}], tmm0",
                "tilestored [{c} + {ld} + 64], tmm1",
                adds = in(reg) u32::from(adds),
                c = in(reg) c,
                ld = in(reg) bytes(ld),
                row = in(reg) bytes(TILE),
                la = inout(reg) a.left => _,
                ra = inout(reg) a.right => _,
                na = inout(reg) a.depth => _,
                lb = inout(reg) b.left => _,
                rb = inout(reg) b.right => _,
                nb = inout(reg) b.depth => _,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// See [`super::busy`].
    pub(super) fn busy(rounds: u64) -> f64 {
        for _ in 0..rounds {
            // SAFETY: registers alone; the unit is configured.
            unsafe {
                asm!(
                    "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, nomem),
                );
            }
        }
        (rounds * 4 * 2 * (2 * TILE_UNITS * TILE) as u64) as f64
    }
}

/// The same in plain Rust, to the bit for numbers that are not subnormal: tests of all that is built on tiles then run anywhere.
mod emulation {
    use super::{Run, TILE, TILE_UNITS};

    /// # Safety
    /// As [`super::multiply`], for `blocks` times 16 rows.
    pub(super) unsafe fn multiply(runs: &[Run; 2], blocks: usize, c: *mut f32, ld: usize, adds: bool) {
        for (block, half) in (0..blocks).flat_map(|block| [(block, 0), (block, 1)]) {
            let mut sums = [[0f32; TILE]; TILE];
            // SAFETY: a part of what the contract names.
            let target = unsafe { c.add(block * TILE * ld + half * TILE) };
            for (r, row) in sums.iter_mut().enumerate().filter(|_| adds) {
                // SAFETY: as above.
                row.copy_from_slice(unsafe { std::slice::from_raw_parts(target.add(r * ld), TILE) });
            }
            for run in runs {
                for step in 0..run.depth {
                    // SAFETY: as above.
                    let (left, right) = unsafe {
                        let left = run.left.add(block * run.left_next + step * TILE_UNITS);
                        let right = run.right.add(step * 2 * TILE_UNITS);
                        (
                            std::slice::from_raw_parts(left, TILE_UNITS),
                            std::slice::from_raw_parts(right, 2 * TILE_UNITS),
                        )
                    };
                    add_tile(left, &right[half * TILE..], &mut sums);
                }
            }
            for (r, row) in sums.iter().enumerate() {
                // SAFETY: as above.
                unsafe { std::slice::from_raw_parts_mut(target.add(r * ld), TILE) }.copy_from_slice(row);
            }
        }
    }

    fn add_tile(left: &[u32], right: &[u32], sums: &mut [[f32; TILE]; TILE]) {
        let even = |unit: u32| f32::from_bits(unit << 16);
        let odd = |unit: u32| f32::from_bits(unit & 0xffff_0000);
        for (left, sums) in left.chunks_exact(TILE).zip(sums) {
            let (mut evens, mut odds) = ([0f32; TILE], [0f32; TILE]);
            for (&l, right) in left.iter().zip(right.chunks(2 * TILE)) {
                for (lane, &r) in right[..TILE].iter().enumerate() {
                    evens[lane] += even(l) * even(r);
                    odds[lane] += odd(l) * odd(r);
                }
            }
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += evens[lane] + odds[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random;
    use crate::gemm::pair;

    /// What the unit computes is what its emulation does, to the bit: the one test that says something only where the unit is.
    #[test]
    fn the_emulation_has_the_unit_s_bits() {
        let pairs = |seed, count: usize| -> Vec<u32> {
            random(seed, 2 * count).chunks_exact(2).map(|x| pair(x[0] * 3.0, x[1])).collect()
        };
        let (depth, short) = (5, 2);
        let (left, right) = (pairs(1, 2 * depth * TILE_UNITS), pairs(2, 2 * depth * TILE_UNITS));
        let (left_b, right_b) = (pairs(3, 2 * short * TILE_UNITS), pairs(4, 2 * short * TILE_UNITS));
        let run = |left: &[u32], right: &[u32], depth| Run {
            left: left.as_ptr(),
            left_next: depth * TILE_UNITS,
            right: right.as_ptr(),
            depth,
        };
        let long = run(&left, &right, depth);
        for second in [Run::NONE, run(&left_b, &right_b, short)] {
            for (is_half, adds, ld) in [(false, false, 32), (false, true, 48), (true, false, 48), (true, true, 32)] {
                let mut got = random(5, 32 * ld);
                let mut expected = got.clone();
                // SAFETY: the operands have the tiles that the runs name, c has 32 rows.
                unsafe {
                    multiply(&[long, second], is_half, got.as_mut_ptr(), ld, adds);
                    let blocks = if is_half { 1 } else { 2 };
                    emulation::multiply(&[long, second], blocks, expected.as_mut_ptr(), ld, adds);
                }
                let differing = got.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                assert_eq!(differing, 0, "half {is_half}, adds {adds}");
            }
        }
    }
}
