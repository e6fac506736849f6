//! Weights in integer codes: how they lie in memory, are packed from a file's blocks, and are decoded. Products that decode them are
//! `decoded`'s matter, products of integers `quantized`'s.

use half::f16;

use super::operand::row_squares;
use super::pack::put;
use super::{NR, Precision};
use crate::floats::Floats;
use crate::quant::{BlockType, CODES, Coded, codes, has_codes};
use crate::simd::{Isa, multiversion};

/// Outputs of a panel.
pub(super) const PANEL: usize = 16;
/// Codes that one integer product takes together, for one output.
pub(super) const GROUP: usize = 4;
/// Bytes of a group of all outputs of a panel, at a byte a code.
const GROUP_BYTES: usize = PANEL * GROUP;

/// How the codes and factors of 32 inputs of the outputs of a panel lie: codes `[group of 4 inputs][output][4]` in planes of some bits, the groups
/// that share a byte one above the other; then factors, `[output]` in f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A plane of 4 bits; a scale and an offset.
    Nibbles,
    /// Whole bytes; a scale and an offset.
    Bytes,
    /// A plane of 2 bits; scales of the first and the last 16 inputs, and offsets of both.
    HalvesOf2Bits,
    /// A plane of 4 bits; scales of the first and the last 16 inputs, for codes around 4.
    HalvesOf3Bits,
    /// A plane of the lower 4 bits, one of the upper 2; scales of the first and the last 16 inputs, for codes around 32.
    HalvesOf6Bits,
}

impl Form {
    fn of(block_type: BlockType) -> Option<Form> {
        match block_type {
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q4_K => Some(Form::Nibbles),
            BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q5_K | BlockType::Q8_0 => Some(Form::Bytes),
            BlockType::Q2_K => Some(Form::HalvesOf2Bits),
            BlockType::Q3_K => Some(Form::HalvesOf3Bits),
            BlockType::Q6_K => Some(Form::HalvesOf6Bits),
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => None,
        }
    }

    /// Bytes of the codes of a block.
    const fn codes_bytes(self) -> usize {
        match self {
            Form::HalvesOf2Bits => 2 * GROUP_BYTES,
            Form::Nibbles | Form::HalvesOf3Bits => LOWER_BYTES,
            Form::HalvesOf6Bits => LOWER_BYTES + 2 * GROUP_BYTES,
            Form::Bytes => 8 * GROUP_BYTES,
        }
    }

    /// Bytes of a block.
    const fn bytes(self) -> usize {
        self.codes_bytes() + if let Form::HalvesOf2Bits = self { 2 * FACTORS_BYTES } else { FACTORS_BYTES }
    }

    /// Puts a code to its place; the codes are zeros before.
    fn put(self, codes: &mut [u8], lane: usize, at: usize, code: u8) {
        let (group, within) = (at / GROUP, lane * GROUP + at % GROUP);
        let mut add = |first: usize, bits: usize, code: u8| {
            let in_a_byte = 8 / bits;
            codes[first + group / in_a_byte * GROUP_BYTES + within] |= code << (group % in_a_byte * bits);
        };
        match self {
            Form::Nibbles | Form::HalvesOf3Bits => add(0, 4, code),
            Form::Bytes => add(0, 8, code),
            Form::HalvesOf2Bits => add(0, 2, code),
            Form::HalvesOf6Bits => {
                add(0, 4, code & 15);
                add(LOWER_BYTES, 2, code >> 4);
            }
        }
    }

    /// The factors of a block, in the order in which they are kept; those of codes around a number have no offsets.
    fn factors(self, coded: &Coded) -> ([f32; 4], usize) {
        let ([first, last], [first_offset, last_offset]) = (coded.scales, coded.offsets);
        match self {
            Form::Nibbles | Form::Bytes => ([first, first_offset, 0.0, 0.0], 2),
            Form::HalvesOf2Bits => ([first, last, first_offset, last_offset], 4),
            Form::HalvesOf3Bits | Form::HalvesOf6Bits => ([first, last, 0.0, 0.0], 2),
        }
    }

    /// Scales and offsets of the first and the last 16 inputs.
    #[inline(always)]
    fn scales_and_offsets(self, factors: &[u8]) -> [[[f32; PANEL]; 2]; 2] {
        let factors: &[[u8; 2]] = factors.as_chunks().0;
        let vector = |at: usize| {
            let mut values = [0f32; PANEL];
            for (value, bytes) in values.iter_mut().zip(&factors[at * PANEL..(at + 1) * PANEL]) {
                *value = widened(u16::from_le_bytes(*bytes));
            }
            values
        };
        // exact: the zero is a power of two
        let around = |zero: f32, scales: [f32; PANEL]| scales.map(|scale| -zero * scale);
        let (first, second) = (vector(0), vector(1));
        match self {
            Form::Nibbles | Form::Bytes => [[first, first], [second, second]],
            Form::HalvesOf2Bits => [[first, second], [vector(2), vector(3)]],
            Form::HalvesOf3Bits => [[first, second], [around(4.0, first), around(4.0, second)]],
            Form::HalvesOf6Bits => [[first, second], [around(32.0, first), around(32.0, second)]],
        }
    }

    /// The codes of a group, those of an output in a word.
    #[inline(always)]
    fn words(self, codes: &[u8], group: usize) -> [u32; PANEL] {
        let plane = |first: usize, bits: usize| {
            let in_a_byte = 8 / bits;
            let (start, shift) = (first + group / in_a_byte * GROUP_BYTES, group % in_a_byte * bits);
            let stored: &[[u8; 4]] = codes[start..start + GROUP_BYTES].as_chunks().0;
            let mask = 0x0101_0101 * ((1 << bits) - 1);
            let mut words = [0u32; PANEL];
            for (word, bytes) in words.iter_mut().zip(stored) {
                *word = u32::from_le_bytes(*bytes) >> shift & mask;
            }
            words
        };
        match self {
            Form::Nibbles | Form::HalvesOf3Bits => plane(0, 4),
            Form::Bytes => plane(0, 8),
            Form::HalvesOf2Bits => plane(0, 2),
            Form::HalvesOf6Bits => {
                let (mut words, upper) = (plane(0, 4), plane(LOWER_BYTES, 2));
                words.iter_mut().zip(upper).for_each(|(word, upper)| *word |= upper << 4);
                words
            }
        }
    }
}

/// Bytes of a plane of 4 bits.
const LOWER_BYTES: usize = 4 * GROUP_BYTES;
/// Bytes of a scale and an offset of all outputs.
pub(super) const FACTORS_BYTES: usize = 2 * 2 * PANEL;

/// Bytes of the codes of a block under one scale.
pub(super) const fn codes_bytes(is_nibbles: bool) -> usize {
    if is_nibbles { Form::Nibbles.codes_bytes() } else { Form::Bytes.codes_bytes() }
}

/// A quantised weight `[d_out, d_in]`: panels of 16 outputs, `[panel][block of 32 inputs]`, each block as its [`Form`] says. Factors of the
/// K encodings, which are products, are rounded to f16; all others are f16 as stored.
pub(crate) struct CodedPanels {
    form: Form,
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
        let (form, blocks) = (packed.form, k / CODES);
        let size = form.bytes();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(packed.bytes.as_mut_slice());
        let mut is_finite = true;
        for output in 0..n {
            codes(block_type, row(output), |i, coded| {
                let block = &mut bytes[(output / PANEL * blocks + i) * size..][..size];
                let (block, kept) = block.split_at_mut(form.codes_bytes());
                let lane = output % PANEL;
                for (at, code) in coded.codes.into_iter().enumerate() {
                    form.put(block, lane, at, code);
                }
                let (factors, count) = form.factors(&coded);
                for (place, factor) in factors[..count].iter().enumerate() {
                    let value = f16::from_f32(*factor);
                    is_finite &= value.is_finite();
                    kept[2 * (place * PANEL + lane)..][..2].copy_from_slice(&value.to_le_bytes());
                }
            });
        }
        is_finite.then_some(packed)
    }

    /// Zeros, no page of which is touched: as [`CodedPanels::pack`] would make them.
    pub(crate) fn zeroed(block_type: BlockType, (n, k): (usize, usize)) -> Option<CodedPanels> {
        let form = Form::of(block_type)?;
        debug_assert!(has_codes(block_type));
        let bytes = Floats::zeroed_huge(n.div_ceil(PANEL) * (k / CODES) * form.bytes() / 4);
        k.is_multiple_of(CODES).then_some(CodedPanels { form, n, k, bytes })
    }

    /// Outputs and inputs.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// Whether codes under one scale take half a byte, and not one.
    ///
    /// # Panics
    /// If 32 codes have more than one scale.
    pub(super) fn is_nibbles(&self) -> bool {
        assert!(matches!(self.form, Form::Nibbles | Form::Bytes), "{:?} is no operand of integer products", self.form);
        self.form == Form::Nibbles
    }

    /// Decodes inputs `32·chunk .. 32·(chunk + 1)` of [`NR`] outputs, as `decoded` asks.
    pub(super) fn decode(&self, isa: Isa, precision: Precision, panel: usize, chunk: usize, out: &mut [u32]) {
        let size = self.form.bytes();
        for part in 0..NR / PANEL {
            let panel = panel * (NR / PANEL) + part;
            if panel * PANEL < self.n {
                let block = &self.panel(panel)[chunk * size..(chunk + 1) * size];
                decode(isa, precision, block, self.form, out, part * PANEL);
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

    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let size = self.k / CODES * self.form.bytes();
        &bytemuck::cast_slice(self.bytes.as_slice())[panel * size..(panel + 1) * size]
    }
}

multiversion! {
    /// One block of a panel to lanes `first_lane ..`.
    fn decode(precision: Precision, block: &[u8], form: Form, out: &mut [u32], first_lane: usize) {
        let (codes, factors) = block.split_at(form.codes_bytes());
        let [scales, offsets] = form.scales_and_offsets(factors);
        for group in 0..CODES / GROUP {
            let (words, half) = (form.words(codes, group), group / (CODES / GROUP / 2));
            let (scales, offsets) = (&scales[half], &offsets[half]);
            for lane in 0..PANEL {
                // not fused: the same bits on every instruction set, and those of the file where its factors are f16
                let value = |at: u32| (words[lane] >> (8 * at) & 255) as f32 * scales[lane] + offsets[lane];
                for pair in 0..GROUP / 2 {
                    let (first, second) = (value(2 * pair as u32), value(2 * pair as u32 + 1));
                    put(precision, out, group * GROUP / 2 + pair, first_lane + lane, first, second);
                }
            }
        }
    }
}

/// A finite f16 as f32.
#[inline(always)]
pub(super) fn widened(bits: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000); // 2¹¹²
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}
