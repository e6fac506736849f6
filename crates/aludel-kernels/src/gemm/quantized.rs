//! Products with weights that stay in their file's quantisation: integer codes with a scale and an offset for every 32
//! inputs of an output. The other factor is rounded to 8 bits, with a scale for every 32; integer products are exact,
//! sums over blocks f32. For generation, which reads all weights for a few tokens and is bound by their bytes.
//!
//! `Σ_k w·x = Σ_blocks scale·s·Σ codes·q + offset·s·Σ q`, with x ≈ s·q.

use half::f16;

use super::operand::row_squares;
use super::pack::put;
use super::{Init, NR, Precision};
use crate::device::{Context, Mat, View, assert_apart};
use crate::floats::Floats;
use crate::profile::Kind;
use crate::quant::{BlockType, CODES, Coded, code_bits, codes};
use crate::simd::{Isa, multiversion};

/// Outputs of a panel.
const PANEL: usize = 16;
/// Panels of one task.
const PANELS_PER_TASK: usize = 4;
/// Codes that one integer product takes together, for one output.
const GROUP: usize = 4;
/// Rows whose sums are held in registers at once.
const ROWS: usize = 8;

/// A quantised weight `[d_out, d_in]`: panels of 16 outputs, `[panel][block of 32 inputs]`, each block holding its codes
/// `[group of 4 inputs][output][4]`, then 16 scales and 16 offsets as f16. Codes of at most 4 bits lie two in a byte: those of an even
/// group low, of the next group high. Factors of the K encodings, which are products, are rounded to f16; all others are f16 as stored.
pub(crate) struct CodedPanels {
    is_nibbles: bool,
    n: usize,
    k: usize,
    bytes: Floats,
}

impl CodedPanels {
    /// Packs the stored rows of a tensor; `row(n)` gives the bytes of row n. `None` for encodings that are not of this form, and where a
    /// factor is beyond what f16 holds.
    pub(crate) fn pack<'a>(
        block_type: BlockType,
        (n, k): (usize, usize),
        row: impl Fn(usize) -> &'a [u8],
    ) -> Option<CodedPanels> {
        let mut packed = CodedPanels::zeroed(block_type, (n, k))?;
        let (is_nibbles, blocks) = (packed.is_nibbles, k / CODES);
        let codes_size = codes_bytes(is_nibbles);
        let size = codes_size + FACTORS_BYTES;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(packed.bytes.as_mut_slice());
        let mut is_finite = true;
        for output in 0..n {
            codes(block_type, row(output), |i, Coded { scale, offset, codes }| {
                let block = &mut bytes[(output / PANEL * blocks + i) * size..][..size];
                let lane = output % PANEL;
                for (at, code) in codes.into_iter().enumerate() {
                    let (group, within) = (at / GROUP, lane * GROUP + at % GROUP);
                    if is_nibbles {
                        block[group / 2 * PANEL * GROUP + within] |= code << (group % 2 * 4);
                    } else {
                        block[group * PANEL * GROUP + within] = code;
                    }
                }
                for (place, value) in [(lane, f16::from_f32(scale)), (PANEL + lane, f16::from_f32(offset))] {
                    is_finite &= value.is_finite();
                    block[codes_size + 2 * place..][..2].copy_from_slice(&value.to_le_bytes());
                }
            });
        }
        is_finite.then_some(packed)
    }

    /// Zeros, no page of which is touched: as [`CodedPanels::pack`] would make them.
    pub(crate) fn zeroed(block_type: BlockType, (n, k): (usize, usize)) -> Option<CodedPanels> {
        let is_nibbles = code_bits(block_type)? <= 4;
        let size = codes_bytes(is_nibbles) + FACTORS_BYTES;
        let bytes = Floats::zeroed_huge(n.div_ceil(PANEL) * (k / CODES) * size / 4);
        k.is_multiple_of(CODES).then_some(CodedPanels { is_nibbles, n, k, bytes })
    }

    /// Outputs and inputs.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// Decodes inputs `32·chunk .. 32·(chunk + 1)` of [`NR`] outputs, as `decoded` asks.
    pub(super) fn decode(&self, isa: Isa, precision: Precision, panel: usize, chunk: usize, out: &mut [u32]) {
        let size = codes_bytes(self.is_nibbles) + FACTORS_BYTES;
        for part in 0..NR / PANEL {
            let panel = panel * (NR / PANEL) + part;
            if panel * PANEL < self.n {
                let block = &self.panel(panel)[chunk * size..(chunk + 1) * size];
                decode(isa, precision, block, self.is_nibbles, out, part * PANEL);
            } else {
                out.chunks_exact_mut(NR).for_each(|unit| unit[part * PANEL..(part + 1) * PANEL].fill(0));
            }
        }
    }

    /// The sum of squares of each row.
    pub(crate) fn row_squares(&self, isa: Isa) -> Vec<f32> {
        row_squares(Precision::F32, (self.n, self.k / CODES), |panel, chunk, out| {
            self.decode(isa, Precision::F32, panel, chunk, out);
            out.len()
        })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() * 4
    }

    fn panel(&self, panel: usize) -> &[u8] {
        let size = self.k / CODES * (codes_bytes(self.is_nibbles) + FACTORS_BYTES);
        &bytemuck::cast_slice(self.bytes.as_slice())[panel * size..(panel + 1) * size]
    }
}

multiversion! {
    /// One block of a panel to lanes `first_lane ..`.
    fn decode(precision: Precision, block: &[u8], is_nibbles: bool, out: &mut [u32], first_lane: usize) {
        let (codes, factors) = block.split_at(codes_bytes(is_nibbles));
        let factors: &[[u8; 2]] = factors.as_chunks().0;
        let [mut scales, mut offsets] = [[0f32; PANEL]; 2];
        for lane in 0..PANEL {
            scales[lane] = widened(u16::from_le_bytes(factors[lane]));
            offsets[lane] = widened(u16::from_le_bytes(factors[PANEL + lane]));
        }
        for group in 0..CODES / GROUP {
            let (place, shift, mask) = match is_nibbles {
                true => (group / 2, group % 2 * 4, 15),
                false => (group, 0, 255),
            };
            let words: &[[u8; 4]] = codes[place * PANEL * GROUP..(place + 1) * PANEL * GROUP].as_chunks().0;
            for lane in 0..PANEL {
                let word = u32::from_le_bytes(words[lane]) >> shift;
                // not fused: the same bits on every instruction set, and those of the file where its factors are f16
                let value = |at: u32| (word >> (8 * at) & mask) as f32 * scales[lane] + offsets[lane];
                for half in 0..GROUP / 2 {
                    let (first, second) = (value(2 * half as u32), value(2 * half as u32 + 1));
                    put(precision, out, group * GROUP / 2 + half, first_lane + lane, first, second);
                }
            }
        }
    }
}

/// A finite f16 as f32.
#[inline(always)]
fn widened(bits: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000); // 2¹¹²
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// Bytes of the scales and offsets of a block.
const FACTORS_BYTES: usize = 2 * 2 * PANEL;

/// Bytes of the codes of a block.
const fn codes_bytes(is_nibbles: bool) -> usize {
    PANEL * CODES / if is_nibbles { 2 } else { 1 }
}

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
    assert_eq!((x.k, x.quants.rows(), weight.n), (weight.k, c.rows(), c.cols()), "operands of different shapes");
    if ctx.planning() || c.rows() == 0 {
        return;
    }
    let _span = ctx.span(Kind::Matrix);
    init.assert_fits(c);
    assert_apart(&[c.place()], &[x.quants.span(), x.scales.span(), x.sums.span()]);
    let job = Job {
        weight,
        quants: ctx.view(x.quants),
        scales: ctx.view(x.scales),
        sums: ctx.view(x.sums),
        init,
        source: init.source().map(|source| ctx.view(source)),
        c: ctx.view(c),
        isa: ctx.isa(),
    };
    let panels = weight.n.div_ceil(PANEL);
    ctx.parallel(panels.div_ceil(PANELS_PER_TASK), |task| {
        for panel in task * PANELS_PER_TASK..panels.min((task + 1) * PANELS_PER_TASK) {
            for row in (0..job.c.rows).step_by(ROWS) {
                job.tile(panel, row, ROWS.min(job.c.rows - row));
            }
        }
    });
}

struct Job<'a> {
    weight: &'a CodedPanels,
    quants: View<u32>,
    scales: View,
    sums: View,
    init: Init,
    source: Option<View>,
    c: View,
    isa: Isa,
}

impl Job<'_> {
    /// At most [`ROWS`] rows of C and one panel of its columns.
    fn tile(&self, panel: usize, row: usize, rows: usize) {
        let (column, columns) = (panel * PANEL, PANEL.min(self.weight.n - panel * PANEL));
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
        add_products(self.isa, self.weight.panel(panel), self.weight.is_nibbles, &x, &mut sums[..rows]);
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
    use crate::check::{largest_difference, random, wide};
    use crate::quant::decode_row;
    use crate::rng;

    #[test]
    fn products_are_those_of_the_decoded_weight() {
        for block_type in [BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_1, BlockType::Q8_0, BlockType::Q4_K] {
            for (m, n) in [(1, 16), (3, 40), (19, 7)] {
                let k = 512;
                let row_bytes = block_type.bytes_for(k).unwrap();
                let mut bytes: Vec<u8> = (0..n * row_bytes).map(|i| rng::mix(5, i as u64) as u8).collect();
                for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
                    (block[1], block[3]) = (0x2c, 0xa9); // scales of ordinary size
                }
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
