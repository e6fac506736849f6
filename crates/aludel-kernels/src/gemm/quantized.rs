//! Products with weights that stay in their file's quantisation: integer codes with a scale and an offset for every 32
//! inputs of an output. The other factor is rounded to 8 bits, with a scale for every 32; integer products are exact,
//! sums over blocks f32. For generation, which reads all weights for a few tokens and is bound by their bytes.
//!
//! `Σ_k w·x = Σ_blocks scale·s·Σ codes·q + offset·s·Σ q`, with x ≈ s·q.

use half::f16;

use super::Init;
use super::quantized_panels::{CodedPanels, FACTORS_BYTES, GROUP, PANEL, codes_bytes};
use crate::device::{Context, Mat, View, assert_apart};
use crate::profile::Kind;
use crate::quant::CODES;
use crate::simd::{Isa, multiversion};

/// Panels of one task.
const PANELS_PER_TASK: usize = 4;
/// Rows whose sums are held in registers at once.
const ROWS: usize = 8;

/// Rows of x in 8 bits, in scratch: `[row][k]` bytes, and for every 32 of them the scale s and s·Σq.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounded {
    quants: Mat<u32>,
    scales: Mat,
    sums: Mat,
    k: usize,
}

/// Rounds the rows of x ([m, k]) to 8 bits.
pub(crate) fn round_rows(ctx: &mut Context, x: Mat) -> Rounded {
    let (m, k) = (x.rows(), x.cols());
    assert_eq!(k % CODES, 0);
    let rounded = Rounded {
        quants: ctx.scratch_packed(m, k / 4),
        scales: ctx.scratch(m, k / CODES),
        sums: ctx.scratch(m, k / CODES),
        k,
    };
    if !ctx.planning() {
        let _span = ctx.span(Kind::Matrix);
        assert_apart(&[rounded.quants.place(), rounded.scales.place(), rounded.sums.place()], &[x.place()]);
        let (xv, isa) = (ctx.view(x), ctx.isa());
        let (qv, sv, uv) = (ctx.view(rounded.quants), ctx.view(rounded.scales), ctx.view(rounded.sums));
        const ROWS_PER_TASK: usize = 16;
        ctx.parallel(m.div_ceil(ROWS_PER_TASK), |task| {
            for row in task * ROWS_PER_TASK..m.min((task + 1) * ROWS_PER_TASK) {
                // SAFETY: tasks write disjoint rows of scratch of their own; x is only read.
                unsafe {
                    let quants = bytemuck::cast_slice_mut(qv.row_mut(row));
                    round_row(isa, xv.row(row), quants, sv.row_mut(row), uv.row_mut(row));
                }
            }
        });
    }
    rounded
}

multiversion! {
    fn round_row(x: &[f32], quants: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
        const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding and subtracting it rounds to the nearest integer
        let blocks = x.as_chunks::<CODES>().0.iter().zip(quants.as_chunks_mut::<CODES>().0);
        for ((x, quants), (scale, sum)) in blocks.zip(scales.iter_mut().zip(sums)) {
            let highest = x.iter().fold(0f32, |highest, x| if x.abs() > highest { x.abs() } else { highest });
            let inverse = if highest > 0.0 { 127.0 / highest } else { 0.0 };
            let mut total = 0i32;
            for (q, x) in quants.iter_mut().zip(x) {
                let rounded = (x * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
                *q = rounded as i8;
                total += rounded;
            }
            // NaN and infinity must not vanish in integers
            *scale = if x.iter().all(|x| x.is_finite()) { highest / 127.0 } else { f32::NAN };
            *sum = *scale * total as f32;
        }
    }
}

/// `c = init + x·Wᵀ`, x rounded by [`round_rows`].
pub(crate) fn multiply_coded(ctx: &mut Context, x: Rounded, weight: &CodedPanels, init: Init, c: Mat) {
    assert_eq!(
        (x.k, x.quants.rows(), weight.shape().0),
        (weight.shape().1, c.rows(), c.cols()),
        "operands of different shapes"
    );
    if ctx.planning() || c.rows() == 0 {
        return;
    }
    let _span = ctx.span(Kind::Matrix);
    init.assert_fits(c);
    assert_apart(&[c.place()], &[x.quants.span(), x.scales.span(), x.sums.span()]);
    let job = CodedJob {
        weight,
        quants: ctx.view(x.quants),
        scales: ctx.view(x.scales),
        sums: ctx.view(x.sums),
        init,
        source: init.source().map(|source| ctx.view(source)),
        c: ctx.view(c),
        isa: ctx.isa(),
    };
    let panels = weight.shape().0.div_ceil(PANEL);
    ctx.parallel(panels.div_ceil(PANELS_PER_TASK), |task| {
        for panel in task * PANELS_PER_TASK..panels.min((task + 1) * PANELS_PER_TASK) {
            for row in (0..job.c.rows).step_by(ROWS) {
                job.tile(panel, row, ROWS.min(job.c.rows - row));
            }
        }
    });
}

struct CodedJob<'a> {
    weight: &'a CodedPanels,
    quants: View<u32>,
    scales: View,
    sums: View,
    init: Init,
    source: Option<View>,
    c: View,
    isa: Isa,
}

impl CodedJob<'_> {
    /// At most [`ROWS`] rows of C and one panel of its columns.
    fn tile(&self, panel: usize, row: usize, rows: usize) {
        let (column, columns) = (panel * PANEL, PANEL.min(self.weight.shape().0 - panel * PANEL));
        let mut sums = [[0f32; PANEL]; ROWS];
        for (r, sums) in sums.iter_mut().enumerate().take(rows) {
            // SAFETY: only this task touches these columns of C; the source is only read, and apart from C (asserted).
            let start = unsafe {
                match (self.init, self.source) {
                    (Init::Accumulate, _) => self.c.row(row + r),
                    (Init::From(_), Some(source)) => source.row(row + r),
                    (Init::Row(_), Some(source)) => source.row(0),
                    _ => continue,
                }
            };
            sums[..columns].copy_from_slice(&start[column..column + columns]);
        }
        // SAFETY: scratch that is only read while this op runs.
        let x = unsafe {
            let blocks = self.scales.cols;
            X {
                quants: self.quants.block(row, rows, 0, self.quants.cols),
                scales: self.scales.block(row, rows, 0, blocks),
                sums: self.sums.block(row, rows, 0, blocks),
                blocks,
            }
        };
        add_products(self.isa, self.weight.panel(panel), self.weight.is_nibbles(), &x, &mut sums[..rows]);
        for (r, sums) in sums.iter().enumerate().take(rows) {
            // SAFETY: as above.
            unsafe { self.c.part_mut(row + r, column, columns) }.copy_from_slice(&sums[..columns]);
        }
    }
}

/// Some rows of a [`Rounded`], end to end.
struct X<'a> {
    /// `[row][block][group]`, 4 bytes each.
    quants: &'a [u32],
    scales: &'a [f32],
    sums: &'a [f32],
    blocks: usize,
}

/// `sums[r][o] += Σ_k w[o][k]·x[r][k]` for one panel.
fn add_products(isa: Isa, panel: &[u8], is_nibbles: bool, x: &X<'_>, sums: &mut [[f32; PANEL]]) {
    let rows = sums.len();
    assert!(rows <= ROWS && x.quants.len() == rows * x.blocks * CODES / GROUP);
    assert!(x.scales.len() == rows * x.blocks && x.sums.len() == rows * x.blocks);
    assert_eq!(panel.len(), x.blocks * (codes_bytes(is_nibbles) + FACTORS_BYTES));
    #[cfg(target_arch = "x86_64")]
    macro_rules! by_rows {
        ($($rows:literal)*) => {
            match (rows, is_nibbles) {
                // SAFETY: the context's instruction set is one that the processor has; sizes are asserted above.
                $(($rows, true) => unsafe { avx512::add_products::<$rows, true>(panel, x, sums) },
                // SAFETY: as above.
                ($rows, false) => unsafe { avx512::add_products::<$rows, false>(panel, x, sums) },)*
                _ => {}
            }
        };
    }
    match isa {
        Isa::Portable | Isa::Avx2 => add_products_plain(isa, panel, is_nibbles, x, sums),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => by_rows!(1 2 3 4 5 6 7 8),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => isa.is_of_another_processor(),
    }
}

multiversion! {
    fn add_products_plain(
        panel: &[u8],
        is_nibbles: bool,
        x: &X<'_>,
        sums: &mut [[f32; PANEL]],
    ) {
        for (b, block) in panel.chunks_exact(codes_bytes(is_nibbles) + FACTORS_BYTES).enumerate() {
            let (codes, factors) = block.split_at(codes_bytes(is_nibbles));
            let factor = |i: usize| f16::from_le_bytes([factors[2 * i], factors[2 * i + 1]]).to_f32();
            for (r, sums) in sums.iter_mut().enumerate() {
                let mut dots = [0i32; PANEL];
                for group in 0..CODES / GROUP {
                    let quants = x.quants[(r * x.blocks + b) * CODES / GROUP + group].to_le_bytes();
                    let (start, shift) = if is_nibbles { (group / 2, group % 2 * 4) } else { (group, 0) };
                    let bytes = &codes[start * PANEL * GROUP..(start + 1) * PANEL * GROUP];
                    for (dot, bytes) in dots.iter_mut().zip(bytes.as_chunks::<GROUP>().0) {
                        for (byte, quant) in bytes.iter().zip(quants) {
                            let code = if is_nibbles { byte >> shift & 15 } else { *byte };
                            *dot += i32::from(code) * i32::from(quant as i8);
                        }
                    }
                }
                let (scale, sum) = (x.scales[r * x.blocks + b], x.sums[r * x.blocks + b]);
                for (o, (total, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    *total += dot as f32 * (factor(o) * scale) + factor(PANEL + o) * sum;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{CODES, FACTORS_BYTES, GROUP, PANEL, X, codes_bytes};

    /// # Safety
    /// AVX-512 with int8 products; sizes as [`super::add_products`] asserts them, for `M` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
    pub(super) unsafe fn add_products<const M: usize, const NIBBLES: bool>(
        panel: &[u8],
        x: &X<'_>,
        sums: &mut [[f32; PANEL]],
    ) {
        const GROUPS: usize = CODES / GROUP;
        let low = _mm512_set1_epi8(15);
        // SAFETY: all offsets stay inside slices whose sizes were asserted.
        unsafe {
            let mut acc = [_mm512_setzero_ps(); M];
            for (acc, sums) in acc.iter_mut().zip(&*sums) {
                *acc = _mm512_loadu_ps(sums.as_ptr());
            }
            let mut block = panel.as_ptr();
            for b in 0..x.blocks {
                let mut dots = [_mm512_setzero_si512(); M];
                let quants = x.quants.as_ptr().add(b * GROUPS);
                let quant =
                    |r: usize, group: usize| _mm512_set1_epi32(*quants.add(r * x.blocks * GROUPS + group) as i32);
                if NIBBLES {
                    for pair in 0..GROUPS / 2 {
                        let bytes = _mm512_loadu_si512(block.add(64 * pair).cast());
                        let even = _mm512_and_si512(bytes, low);
                        let odd = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
                        for (r, dot) in dots.iter_mut().enumerate() {
                            *dot = _mm512_dpbusd_epi32(*dot, even, quant(r, 2 * pair));
                            *dot = _mm512_dpbusd_epi32(*dot, odd, quant(r, 2 * pair + 1));
                        }
                    }
                } else {
                    for group in 0..GROUPS {
                        let bytes = _mm512_loadu_si512(block.add(64 * group).cast());
                        for (r, dot) in dots.iter_mut().enumerate() {
                            *dot = _mm512_dpbusd_epi32(*dot, bytes, quant(r, group));
                        }
                    }
                }
                let factors = block.add(codes_bytes(NIBBLES));
                let scale = _mm512_cvtph_ps(_mm256_loadu_si256(factors.cast()));
                let offset = _mm512_cvtph_ps(_mm256_loadu_si256(factors.add(2 * PANEL).cast()));
                for (r, (acc, dot)) in acc.iter_mut().zip(dots).enumerate() {
                    let at = r * x.blocks + b;
                    let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*x.scales.as_ptr().add(at)));
                    *acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *acc);
                    *acc = _mm512_fmadd_ps(offset, _mm512_set1_ps(*x.sums.as_ptr().add(at)), *acc);
                }
                block = block.add(codes_bytes(NIBBLES) + FACTORS_BYTES);
            }
            for (acc, sums) in acc.iter().zip(sums) {
                _mm512_storeu_ps(sums.as_mut_ptr(), *acc);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{largest_difference, random, random_blocks, wide};
    use crate::quant::{BlockType, decode_row};

    #[test]
    fn products_are_those_of_the_decoded_weight() {
        for block_type in [BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_1, BlockType::Q8_0, BlockType::Q4_K] {
            for (m, n) in [(1, 16), (3, 40), (19, 7)] {
                let k = 512;
                let row_bytes = block_type.bytes_for(k).unwrap();
                let bytes = random_blocks(block_type, n * k, 2.0, 5);
                let panels =
                    CodedPanels::pack(block_type, (n, k), |row| &bytes[row * row_bytes..(row + 1) * row_bytes])
                        .unwrap();
                let (x, residual) = (random(1, m * k), random(2, m * n));
                let mut expected = wide(&residual);
                let mut row = vec![0f32; k];
                let mut size = 0f64;
                for o in 0..n {
                    decode_row(block_type, &bytes, o, &mut row).unwrap();
                    for t in 0..m {
                        let products = row.iter().zip(&x[t * k..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
                        expected[t * n + o] += products.clone().sum::<f64>();
                        size = size.max(products.map(|p| p * p).sum::<f64>().sqrt());
                    }
                }
                let mut results = Vec::new();
                for isa in Isa::tested() {
                    let mut ctx = Context::cpu(2).with_isa(isa);
                    let (xm, rm) = (ctx.upload_persistent(m, k, &x), ctx.upload_persistent(m, n, &residual));
                    let c = ctx.persistent(m, n);
                    let work = |ctx: &mut Context| {
                        let rounded = round_rows(ctx, xm);
                        multiply_coded(ctx, rounded, &panels, Init::From(rm), c);
                    };
                    ctx.plan(work);
                    work(&mut ctx);
                    results.push(ctx.download(c));
                    // 8 bits of x: each product is off by some thousandths of itself, at random
                    let off = largest_difference(&results[results.len() - 1], &expected);
                    assert!(off <= 0.03 * size, "{block_type} {isa:?} {m}×{n}: off by {off} of {size}");
                }
                let plain = wide(&results[0]);
                let off = results.iter().map(|result| largest_difference(result, &plain)).fold(0.0, f64::max);
                assert!(off <= 1e-5 * size.max(1.0), "{block_type}: instruction sets differ by {off}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let bytes = vec![0u8; BlockType::Q8_0.bytes_for(32).unwrap()];
        let panels = CodedPanels::pack(BlockType::Q8_0, (1, 32), |_| &bytes).unwrap();
        let mut x = random(1, 32);
        x[7] = f32::NAN;
        let mut ctx = Context::cpu(1);
        let (xm, c) = (ctx.upload_persistent(1, 32, &x), ctx.persistent(1, 1));
        let work = |ctx: &mut Context| {
            let rounded = round_rows(ctx, xm);
            multiply_coded(ctx, rounded, &panels, Init::Zero, c);
        };
        ctx.plan(work);
        work(&mut ctx);
        assert!(ctx.download(c)[0].is_nan());
    }
}
