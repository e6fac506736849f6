//! Weights that stay quantised and are decoded to panels of f32 or bf16 while they are multiplied, 32 inputs of 32 outputs at a time:
//! in half a byte to a byte and a bit for each value, with a forward and a backward. Each block of a product is decoded once for all
//! rows that a task multiplies it with. Products with integers are `quantized`'s matter.

use super::pack::put;
use super::{CodedPanels, NR, Precision};
use crate::floats::Floats;
use crate::quant::nf4::{self, LEVELS, Scales};
use crate::simd::{Isa, multiversion};

/// Inputs that are decoded together.
pub(super) const CHUNK: usize = 32;
/// Codes of NF4 in a word, those of neighbouring inputs of one output.
const CODES: usize = 8;
/// Words of a chunk for one output.
const WORDS: usize = CHUNK / CODES;

/// How a weight is stored that is decoded in products.
pub(super) enum Stored {
    /// In the 4-bit NormalFloat.
    Nf4(Nf4Panels),
    /// In integer codes.
    Coded(CodedPanels),
}

impl Stored {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Stored::Nf4(panels) => 4 * (panels.codes.len() + panels.scales.len()),
            Stored::Coded(panels) => panels.bytes(),
        }
    }

    /// Inputs `32·chunk .. 32·(chunk + 1)` of the outputs of a panel, `[unit][NR]`. Outputs past the last are zeros.
    pub(super) fn decode(&self, isa: Isa, precision: Precision, panel: usize, chunk: usize, out: &mut [u32]) {
        let out = &mut out[..precision.units(CHUNK) * NR];
        match self {
            Stored::Nf4(panels) => {
                let (words, scales) = panels.chunk(panel, chunk);
                decode_nf4(isa, precision, words, scales, out);
            }
            Stored::Coded(panels) => panels.decode(isa, precision, panel, chunk, out),
        }
    }
}

/// A weight `[d_out, d_in]` in NF4: `[panel][chunk][word][NR]` codes, of 8 inputs in a word, and `[panel][block of 64 inputs][NR]`
/// scales, which were quantised to 8 bits once and are kept as f32.
pub(super) struct Nf4Panels {
    blocks: usize,
    codes: Floats,
    scales: Floats,
}

impl Nf4Panels {
    /// Quantises rows as they come; the first error of `row` is returned.
    pub(super) fn quantise<E>(
        isa: Isa,
        (n, k): (usize, usize),
        mut row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Nf4Panels, E> {
        assert!(k.is_multiple_of(nf4::BLOCK), "{k} inputs are no whole blocks");
        let (panels, blocks) = (n.div_ceil(NR), k / nf4::BLOCK);
        let mut packed = Nf4Panels::zeroed((n, k));
        let words: &mut [u32] = bytemuck::cast_slice_mut(packed.codes.as_mut_slice());
        let (mut values, mut codes, mut scales) = (vec![0f32; k], vec![0u8; k], vec![0f32; n * blocks]);
        for (output, scales) in scales.chunks_mut(blocks.max(1)).enumerate().take(n) {
            row(output, &mut values)?;
            nf4::quantise_row(isa, &values, &mut codes, scales);
            let first = output / NR * (k / CODES) * NR + output % NR;
            for (word, codes) in words[first..].iter_mut().step_by(NR).zip(codes.chunks_exact(CODES)) {
                *word = codes.iter().rev().fold(0, |word, code| word << 4 | u32::from(*code));
            }
        }
        let decoded = Scales::quantise(&scales).decode();
        let target = packed.scales.as_mut_slice();
        for (i, scale) in decoded.into_iter().enumerate() {
            let (output, block) = (i / blocks, i % blocks);
            target[(output / NR * blocks + block) * NR + output % NR] = scale;
        }
        debug_assert_eq!(target.len(), panels * blocks * NR);
        Ok(packed)
    }

    /// Of zeros, no page of which is touched.
    pub(super) fn zeroed((n, k): (usize, usize)) -> Nf4Panels {
        let (panels, blocks) = (n.div_ceil(NR), k / nf4::BLOCK);
        Nf4Panels {
            blocks,
            codes: Floats::zeroed_huge(panels * k / CODES * NR),
            scales: Floats::zeroed_huge(panels * blocks * NR),
        }
    }

    fn chunk(&self, panel: usize, chunk: usize) -> (&[u32; WORDS * NR], &[f32; NR]) {
        const PER_BLOCK: usize = nf4::BLOCK / CHUNK;
        let words = (panel * self.blocks * PER_BLOCK + chunk) * WORDS * NR;
        let scales = (panel * self.blocks + chunk / PER_BLOCK) * NR;
        let words: &[u32] = bytemuck::cast_slice(&self.codes.as_slice()[words..][..WORDS * NR]);
        let scales = &self.scales.as_slice()[scales..][..NR];
        (words.try_into().expect("WORDS·NR words"), scales.try_into().expect("NR scales"))
    }
}

fn decode_nf4(isa: Isa, precision: Precision, words: &[u32; WORDS * NR], scales: &[f32; NR], out: &mut [u32]) {
    match isa {
        Isa::Portable | Isa::Avx2 => decode_nf4_plain(isa, precision, words, scales, out),
        // SAFETY: the context's instruction set is one that the processor has.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::decode_nf4(precision, words, scales, out) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => isa.is_of_another_processor(),
    }
}

multiversion! {
    fn decode_nf4_plain(precision: Precision, words: &[u32; WORDS * NR], scales: &[f32; NR], out: &mut [u32]) {
        for (at, pairs) in (0..CHUNK / 2).zip(0..) {
            let pairs: usize = pairs;
            let (word, shift) = (pairs / (CODES / 2) * NR, pairs % (CODES / 2) * 8);
            for lane in 0..NR {
                let codes = words[word + lane] >> shift;
                let (first, second) = (LEVELS[(codes & 15) as usize], LEVELS[(codes >> 4 & 15) as usize]);
                put(precision, out, at, lane, first * scales[lane], second * scales[lane]);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{CHUNK, CODES, LEVELS, NR, Precision, WORDS};

    /// # Safety
    /// AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub(super) unsafe fn decode_nf4(
        precision: Precision,
        words: &[u32; WORDS * NR],
        scales: &[f32; NR],
        out: &mut [u32],
    ) {
        assert!(out.len() >= precision.units(CHUNK) * NR);
        // SAFETY: 16 levels; half a panel of scales and words; and room for all units of the chunk, as just asserted.
        unsafe {
            let levels = _mm512_loadu_ps(LEVELS.as_ptr());
            for half in (0..NR).step_by(16) {
                let scale = _mm512_loadu_ps(scales.as_ptr().add(half));
                for at in 0..CHUNK / 2 {
                    let word = _mm512_loadu_si512(words.as_ptr().add(at / (CODES / 2) * NR + half).cast());
                    // a permutation looks at the lowest four bits
                    let codes = _mm512_srlv_epi32(word, _mm512_set1_epi32((at % (CODES / 2) * 8) as i32));
                    let first = _mm512_mul_ps(_mm512_permutexvar_ps(codes, levels), scale);
                    let second = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4), levels), scale);
                    let to = out.as_mut_ptr();
                    match precision {
                        Precision::Bf16 => {
                            let (low, high) = (round(first), round(second));
                            let pairs = _mm512_or_si512(
                                _mm512_srli_epi32(low, 16),
                                _mm512_and_si512(high, _mm512_set1_epi32(0xffff_0000_u32 as i32)),
                            );
                            _mm512_storeu_si512(to.add(at * NR + half).cast(), pairs);
                        }
                        Precision::F32 => {
                            _mm512_storeu_ps(to.add(2 * at * NR + half).cast(), first);
                            _mm512_storeu_ps(to.add((2 * at + 1) * NR + half).cast(), second);
                        }
                    }
                }
            }
        }
    }

    /// Finite values rounded to bf16, in the upper half of each lane: nearest, ties to even.
    #[target_feature(enable = "avx512f")]
    fn round(x: __m512) -> __m512i {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)))
    }
}
