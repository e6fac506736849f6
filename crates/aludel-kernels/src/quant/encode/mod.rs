//! From f32 to ggml's blocks: the types of 32 elements here, those of 256 in `super_blocks`; how scales and codes are chosen is in
//! `search`. What a tensor is stored as is for the caller to decide.

mod search;
mod super_blocks;

use half::f16;

use super::{BlockType, SMALL, SUPER, encode_bf16, encode_f16, encode_f32};
use crate::simd::{Isa, multiversion};
use search::{Fit, affine, nearest, symmetric};

/// Whether [`encode`] writes this type.
pub fn is_encoded(block_type: BlockType) -> bool {
    !matches!(block_type, BlockType::Q2_K | BlockType::Q3_K)
}

/// Stores whole rows of `values` in a type. `importance` has one number for each column of a row, by which its error counts; without it,
/// larger weights count for more.
///
/// Scales are fitted by weighted least squares at several starting points, of which the best is kept.
///
/// # Panics
/// If the type is not one that is encoded ([`is_encoded`]), or the values do not fill whole rows of whole blocks: the caller's mistake.
pub fn encode(block_type: BlockType, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let bytes = block_type.bytes_for(values.len()).expect("rows fill whole blocks");
    let columns = importance.map_or(values.len(), <[f32]>::len).max(1);
    assert!(values.len().is_multiple_of(columns) && columns.is_multiple_of(block_type.block_len()), "rows are whole");
    let isa = Isa::detect();
    let mut out = Vec::with_capacity(bytes);
    match block_type {
        BlockType::F32 => return encode_f32(values),
        BlockType::F16 => return encode_f16(values),
        BlockType::BF16 => return encode_bf16(values),
        BlockType::Q4_0 => small(isa, values, importance, &mut out, q4_0),
        BlockType::Q4_1 => small(isa, values, importance, &mut out, q4_1),
        BlockType::Q5_0 => small(isa, values, importance, &mut out, q5_0),
        BlockType::Q5_1 => small(isa, values, importance, &mut out, q5_1),
        BlockType::Q8_0 => small(isa, values, None, &mut out, q8_0),
        BlockType::Q4_K => blocks_of::<SUPER>(isa, values, importance, &mut out, super_blocks::q4_k),
        BlockType::Q5_K => blocks_of::<SUPER>(isa, values, importance, &mut out, super_blocks::q5_k),
        BlockType::Q6_K => blocks_of::<SUPER>(isa, values, importance, &mut out, super_blocks::q6_k),
        BlockType::Q2_K | BlockType::Q3_K => panic!("{block_type} is not encoded"),
    }
    debug_assert_eq!(out.len(), bytes);
    out
}

/// What encodes one block: the instruction set, the block, what its elements weigh if that was measured, and where the bytes go.
type Codec<const LEN: usize> = fn(Isa, &[f32; LEN], Option<&[f32; LEN]>, &mut Vec<u8>);

fn blocks_of<const LEN: usize>(
    isa: Isa,
    values: &[f32],
    importance: Option<&[f32]>,
    out: &mut Vec<u8>,
    codec: Codec<LEN>,
) {
    let importance = importance.map(|importance| importance.as_chunks::<LEN>().0);
    for (n, block) in values.as_chunks::<LEN>().0.iter().enumerate() {
        codec(isa, block, importance.map(|blocks| &blocks[n % blocks.len()]), out);
    }
}

fn small(isa: Isa, values: &[f32], importance: Option<&[f32]>, out: &mut Vec<u8>, codec: Codec<SMALL>) {
    blocks_of::<SMALL>(isa, values, importance, out, codec);
}

/// By how much the error of each element counts: measured importance times a number that grows with the weight, or that number alone.
#[inline(always)]
fn error_weights<const N: usize>(x: &[f32; N], importance: Option<&[f32; N]>) -> [f32; N] {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / N as f32;
    match importance {
        Some(importance) => std::array::from_fn(|i| importance[i] * (mean_square + x[i] * x[i]).sqrt()),
        None => {
            let root = mean_square.sqrt();
            std::array::from_fn(|i| root + x[i].abs())
        }
    }
}

multiversion! {
    fn fit_symmetric(x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, levels: f32) -> Fit {
        symmetric(x, &error_weights(x, importance), levels)
    }
}

multiversion! {
    fn fit_affine(x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, levels: f32) -> Fit {
        affine(x, &error_weights(x, importance), levels, false)
    }
}

/// The codes of a block for a scale and a minimum as they are stored, 0 to `largest`.
#[inline(always)]
fn codes<const N: usize>(x: &[f32; N], scale: f32, minimum: f32, largest: f32) -> [u8; N] {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    x.map(|x| nearest(((x - minimum) * inverse).max(0.0).min(largest)) as u8)
}

/// Scale and codes of a type around zero, whose codes are stored with `half` added.
fn around_zero(isa: Isa, x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, half: f32) -> (f16, [u8; SMALL]) {
    let scale = f16::from_f32(fit_symmetric(isa, x, importance, half).scale);
    let stored = scale.to_f32();
    let codes = if stored == 0.0 { [half as u8; SMALL] } else { codes(x, stored, -half * stored, 2.0 * half - 1.0) };
    (scale, codes)
}

/// Scale, minimum and codes of a type that has both.
fn with_minimum(
    isa: Isa,
    x: &[f32; SMALL],
    importance: Option<&[f32; SMALL]>,
    largest: f32,
) -> (f16, f16, [u8; SMALL]) {
    let fit = fit_affine(isa, x, importance, largest);
    let (scale, minimum) = (f16::from_f32(fit.scale), f16::from_f32(fit.minimum));
    (scale, minimum, codes(x, scale.to_f32(), minimum.to_f32(), largest))
}

/// Element i in the low half of byte i, element i + 16 in its high half.
fn nibbles(codes: &[u8; SMALL]) -> impl Iterator<Item = u8> + '_ {
    (0..SMALL / 2).map(|i| codes[i] & 15 | codes[i + SMALL / 2] << 4)
}

/// The fifth bits, bit i for element i.
fn fifth_bits(codes: &[u8; SMALL]) -> [u8; 4] {
    let bits = codes.iter().enumerate().fold(0u32, |bits, (i, code)| bits | u32::from(code >> 4 & 1) << i);
    bits.to_le_bytes()
}

fn q4_0(isa: Isa, x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, out: &mut Vec<u8>) {
    let (scale, codes) = around_zero(isa, x, importance, 8.0);
    out.extend(scale.to_le_bytes());
    out.extend(nibbles(&codes));
}

fn q4_1(isa: Isa, x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, out: &mut Vec<u8>) {
    let (scale, minimum, codes) = with_minimum(isa, x, importance, 15.0);
    out.extend(scale.to_le_bytes());
    out.extend(minimum.to_le_bytes());
    out.extend(nibbles(&codes));
}

fn q5_0(isa: Isa, x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, out: &mut Vec<u8>) {
    let (scale, codes) = around_zero(isa, x, importance, 16.0);
    out.extend(scale.to_le_bytes());
    out.extend(fifth_bits(&codes));
    out.extend(nibbles(&codes));
}

fn q5_1(isa: Isa, x: &[f32; SMALL], importance: Option<&[f32; SMALL]>, out: &mut Vec<u8>) {
    let (scale, minimum, codes) = with_minimum(isa, x, importance, 31.0);
    out.extend(scale.to_le_bytes());
    out.extend(minimum.to_le_bytes());
    out.extend(fifth_bits(&codes));
    out.extend(nibbles(&codes));
}

/// The largest magnitude decides: with 8 bits there is nothing to be found by a search.
fn q8_0(_isa: Isa, x: &[f32; SMALL], _importance: Option<&[f32; SMALL]>, out: &mut Vec<u8>) {
    let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = f16::from_f32(largest / 127.0);
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
    out.extend(scale.to_le_bytes());
    out.extend(x.iter().map(|x| nearest((x * inverse).clamp(-127.0, 127.0)) as i8 as u8));
}

#[cfg(test)]
mod tests;
