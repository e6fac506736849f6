//! The block codecs of ggml: decode the bytes of a stored tensor to `f32`, and encode `f32`, in the three plain formats here and in blocks
//! in `encode`.
//! Bytes and type ids come from the format readers; packing a decoded tile into the layout of a matrix kernel is left
//! to the linear layer.

mod codes;
mod encode;
pub(crate) mod nf4;

pub(crate) use codes::{CODES, Coded, codes, has_codes, has_whole_scales};
pub use encode::{encode, is_encoded};

use half::{bf16, f16};

/// How the elements of a stored tensor are encoded, named as ggml names it.
///
/// A *block* is the smallest run of consecutive elements of one row that can be decoded alone; the plain formats have
/// blocks of a single element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(non_camel_case_types, reason = "these are the names that every GGUF tool prints")]
pub enum BlockType {
    /// IEEE single precision.
    F32 = 0,
    /// IEEE half precision.
    F16 = 1,
    /// 32 × 4 bits around zero, one f16 scale.
    Q4_0 = 2,
    /// 32 × 4 bits, f16 scale and minimum.
    Q4_1 = 3,
    /// 32 × 5 bits around zero, one f16 scale.
    Q5_0 = 6,
    /// 32 × 5 bits, f16 scale and minimum.
    Q5_1 = 7,
    /// 32 × 8 bits, one f16 scale.
    Q8_0 = 8,
    /// 256 × 2 bits; sixteen 4-bit scales and minima under two f16 scales.
    Q2_K = 10,
    /// 256 × 3 bits; sixteen 6-bit scales under one f16 scale.
    Q3_K = 11,
    /// 256 × 4 bits; eight 6-bit scales and minima under two f16 scales.
    Q4_K = 12,
    /// 256 × 5 bits; eight 6-bit scales and minima under two f16 scales.
    Q5_K = 13,
    /// 256 × 6 bits; sixteen 8-bit scales under one f16 scale.
    Q6_K = 14,
    /// The upper half of an IEEE single.
    BF16 = 30,
}

impl BlockType {
    /// Every encoding that [`decode`] reads, in the order of ggml's ids.
    pub const ALL: [BlockType; 13] = [
        BlockType::F32,
        BlockType::F16,
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q2_K,
        BlockType::Q3_K,
        BlockType::Q4_K,
        BlockType::Q5_K,
        BlockType::Q6_K,
        BlockType::BF16,
    ];

    /// The encoding with this `ggml_type` number, or `None` where it is not one that [`decode`] reads.
    pub fn from_ggml_id(id: u32) -> Option<BlockType> {
        BlockType::ALL.into_iter().find(|block_type| block_type.ggml_id() == id)
    }

    /// The `ggml_type` number that GGUF files store.
    pub fn ggml_id(self) -> u32 {
        self as u32
    }

    /// Elements in one block.
    pub fn block_len(self) -> usize {
        match self {
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => 1,
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q8_0 => SMALL,
            BlockType::Q2_K | BlockType::Q3_K | BlockType::Q4_K | BlockType::Q5_K | BlockType::Q6_K => SUPER,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            BlockType::F32 => 4,
            BlockType::F16 | BlockType::BF16 => 2,
            BlockType::Q4_0 => 18,
            BlockType::Q4_1 => 20,
            BlockType::Q5_0 => 22,
            BlockType::Q5_1 => 24,
            BlockType::Q8_0 => 34,
            BlockType::Q2_K => 84,
            BlockType::Q3_K => 110,
            BlockType::Q4_K => 144,
            BlockType::Q5_K => 176,
            BlockType::Q6_K => 210,
        }
    }

    /// Bytes that `elements` consecutive elements take, or `None` where they do not fill whole blocks (or the product
    /// overflows).
    pub fn bytes_for(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for BlockType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, formatter)
    }
}

/// The stored bytes do not belong to that many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{elements} elements of {block_type} were asked for from {bytes} bytes; {}", self.mend())]
pub struct SizeMismatch {
    /// The encoding of the tensor.
    pub block_type: BlockType,
    /// Elements requested.
    pub elements: usize,
    /// Bytes given.
    pub bytes: usize,
}

impl SizeMismatch {
    fn mend(&self) -> String {
        match self.block_type.bytes_for(self.elements) {
            Some(bytes) => format!("they take exactly {bytes} bytes"),
            None => format!("their number must be a multiple of the block length, {}", self.block_type.block_len()),
        }
    }
}

/// Decodes whole blocks: `out[i]` becomes element `i` of `bytes`, in f32 arithmetic without fused multiply-add, so that
/// the values equal those of gguf-py bit for bit. Layouts after ggml (`ggml-quants.c`).
///
/// # Errors
/// [`SizeMismatch`] unless `bytes` holds exactly `out.len()` elements in whole blocks.
pub fn decode(block_type: BlockType, bytes: &[u8], out: &mut [f32]) -> Result<(), SizeMismatch> {
    if block_type.bytes_for(out.len()) != Some(bytes.len()) {
        return Err(SizeMismatch { block_type, elements: out.len(), bytes: bytes.len() });
    }
    match block_type {
        BlockType::F32 => each(bytes, out, f32::from_le_bytes),
        BlockType::F16 => each(bytes, out, |pair| f16::from_le_bytes(pair).to_f32()),
        BlockType::BF16 => each(bytes, out, |pair| bf16::from_le_bytes(pair).to_f32()),
        BlockType::Q4_0 => blocks(bytes, out, q4_0),
        BlockType::Q4_1 => blocks(bytes, out, q4_1),
        BlockType::Q5_0 => blocks(bytes, out, q5_0),
        BlockType::Q5_1 => blocks(bytes, out, q5_1),
        BlockType::Q8_0 => blocks(bytes, out, q8_0),
        BlockType::Q2_K => blocks(bytes, out, q2_k),
        BlockType::Q3_K => blocks(bytes, out, q3_k),
        BlockType::Q4_K => blocks(bytes, out, q4_k),
        BlockType::Q5_K => blocks(bytes, out, q5_k),
        BlockType::Q6_K => blocks(bytes, out, q6_k),
    }
    Ok(())
}

/// Decodes row `row` of a stored `[rows, out.len()]` tensor.
///
/// # Errors
/// [`SizeMismatch`] where a row of `out.len()` elements does not fill whole blocks, or the tensor ends before the row
/// does; the message then counts the elements up to the end of that row.
pub fn decode_row(block_type: BlockType, tensor: &[u8], row: usize, out: &mut [f32]) -> Result<(), SizeMismatch> {
    let stored = block_type.bytes_for(out.len()).and_then(|row_bytes| {
        let start = row.checked_mul(row_bytes)?;
        tensor.get(start..start.checked_add(row_bytes)?)
    });
    match stored {
        Some(bytes) => decode(block_type, bytes, out),
        None => {
            let elements = out.len().saturating_mul(row.saturating_add(1));
            Err(SizeMismatch { block_type, elements, bytes: tensor.len() })
        }
    }
}

/// Stores `values` as little-endian f32.
pub fn encode_f32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Stores `values` as little-endian f16, rounded to nearest, ties to even; what is too large becomes infinite, NaN
/// stays NaN.
pub fn encode_f16(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
}

/// Appends a row as blocks of [`BlockType::Q8_0`] that all have one scale, that of the largest magnitude.
pub(crate) fn encode_int8_row(values: &[f32], out: &mut Vec<u8>) {
    let largest = values.iter().fold(0f32, |largest, value| value.abs().max(largest));
    // the next f16 upwards, so that no code is beyond 127
    let exact = largest / 127.0;
    let mut scale = f16::from_f32(exact);
    if scale.to_f32() < exact {
        scale = f16::from_bits(scale.to_bits() + 1);
    }
    let scale = if scale.is_finite() { scale } else { f16::MAX };
    let inverse = if largest > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    for block in values.chunks_exact(SMALL) {
        out.extend(scale.to_le_bytes());
        out.extend(block.iter().map(|value| (value * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
    }
}

/// Stores `values` as little-endian bf16, rounded to nearest, ties to even; NaN stays NaN.
pub fn encode_bf16(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
}

/// Elements in a block of the older encodings.
const SMALL: usize = 32;
/// Elements in a block of the K encodings.
const SUPER: usize = 256;

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (element, value) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *value = read(*element);
    }
}

/// Runs one codec over all blocks. The sizes are const so that each codec sees arrays and its indexing needs no checks.
fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    codec: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<LEN>().0) {
        codec(block, values);
    }
}

fn scale_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

// In all four- and five-bit layouts of 32 elements, byte i holds element i in its low half and element i + 16 in its
// high half; the fifth bits are a 32-bit word, bit i for element i.

fn q4_0(block: &[u8; 18], out: &mut [f32; SMALL]) {
    let scale = scale_at(block, 0);
    for i in 0..16 {
        out[i] = scale * (i32::from(block[2 + i] & 15) - 8) as f32;
        out[i + 16] = scale * (i32::from(block[2 + i] >> 4) - 8) as f32;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; SMALL]) {
    let (scale, minimum) = (scale_at(block, 0), scale_at(block, 2));
    for i in 0..16 {
        out[i] = scale * f32::from(block[4 + i] & 15) + minimum;
        out[i + 16] = scale * f32::from(block[4 + i] >> 4) + minimum;
    }
}

fn q5_0(block: &[u8; 22], out: &mut [f32; SMALL]) {
    let scale = scale_at(block, 0);
    let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for i in 0..16 {
        let (low, upper) = five_bits(block[6 + i], high, i);
        out[i] = scale * (low as i32 - 16) as f32;
        out[i + 16] = scale * (upper as i32 - 16) as f32;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; SMALL]) {
    let (scale, minimum) = (scale_at(block, 0), scale_at(block, 2));
    let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for i in 0..16 {
        let (low, upper) = five_bits(block[8 + i], high, i);
        out[i] = scale * low as f32 + minimum;
        out[i + 16] = scale * upper as f32 + minimum;
    }
}

/// Elements `i` and `i + 16` of a five-bit block.
fn five_bits(nibbles: u8, high: u32, i: usize) -> (u32, u32) {
    let fifth = |bit: usize| (high >> bit & 1) << 4;
    (u32::from(nibbles & 15) | fifth(i), u32::from(nibbles >> 4) | fifth(i + 16))
}

fn q8_0(block: &[u8; 34], out: &mut [f32; SMALL]) {
    let scale = scale_at(block, 0);
    for i in 0..SMALL {
        out[i] = f32::from(block[2 + i] as i8) * scale;
    }
}

// The K layouts: sub-blocks of 16 or 32 elements, each with a small integer scale (and minimum) of its own. Quants are
// spread so that 32 neighbouring bytes hold 32 neighbouring elements at one bit position, the next 32 at the next.

/// `[scales 16][quants 64][d f16][dmin f16]`; a scale byte holds the scale low, the minimum high.
fn q2_k(block: &[u8; 84], out: &mut [f32; SUPER]) {
    let (scale, minimum) = (scale_at(block, 80), scale_at(block, 82));
    for (sub, values) in out.chunks_exact_mut(16).enumerate() {
        let sub_scale = scale * f32::from(block[sub] & 15);
        let sub_minimum = minimum * f32::from(block[sub] >> 4);
        let (half, shift, start) = (sub / 8, sub % 8 / 2 * 2, sub % 2 * 16);
        let quants = &block[16 + half * 32 + start..][..16];
        for (value, quant) in values.iter_mut().zip(quants) {
            *value = sub_scale * f32::from(quant >> shift & 3) - sub_minimum;
        }
    }
}

/// `[third bits 32][low quants 64][scales 12][d f16]`; a third bit that is set means "do not subtract 4".
fn q3_k(block: &[u8; 110], out: &mut [f32; SUPER]) {
    let scale = scale_at(block, 108);
    let packed = &block[96..108];
    for (sub, values) in out.chunks_exact_mut(16).enumerate() {
        let sub_scale = scale * f32::from(six_bits(packed, sub));
        let (half, plane, start) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        for (i, value) in values.iter_mut().enumerate() {
            let low = i32::from(block[32 + half * 32 + start + i] >> (plane * 2) & 3);
            let keep = i32::from(block[start + i] >> (half * 4 + plane) & 1);
            *value = sub_scale * (low - 4 * (1 - keep)) as f32;
        }
    }
}

/// Sixteen 6-bit scales around 32: four low bits in nibbles of bytes 0..8, two high bits in pairs of bytes 8..12.
fn six_bits(packed: &[u8], sub: usize) -> i8 {
    let low = packed[sub % 8] >> (sub / 8 * 4) & 15;
    let high = packed[8 + sub % 4] >> (sub / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// `[d f16][dmin f16][scales 12][nibbles 128]`.
fn q4_k(block: &[u8; 144], out: &mut [f32; SUPER]) {
    let (scale, minimum) = (scale_at(block, 0), scale_at(block, 2));
    for (sub, values) in out.chunks_exact_mut(32).enumerate() {
        let (sub_scale, sub_minimum) = six_bit_pair(&block[4..16], sub);
        let (sub_scale, sub_minimum) = (scale * sub_scale, minimum * sub_minimum);
        let quants = &block[16 + sub / 2 * 32..][..32];
        for (value, quant) in values.iter_mut().zip(quants) {
            *value = sub_scale * f32::from(quant >> (sub % 2 * 4) & 15) - sub_minimum;
        }
    }
}

/// `[d f16][dmin f16][scales 12][fifth bits 32][nibbles 128]`; fifth bits of sub-block `s` are bit `s` of each byte.
fn q5_k(block: &[u8; 176], out: &mut [f32; SUPER]) {
    let (scale, minimum) = (scale_at(block, 0), scale_at(block, 2));
    for (sub, values) in out.chunks_exact_mut(32).enumerate() {
        let (sub_scale, sub_minimum) = six_bit_pair(&block[4..16], sub);
        let (sub_scale, sub_minimum) = (scale * sub_scale, minimum * sub_minimum);
        let nibbles = &block[48 + sub / 2 * 32..][..32];
        for ((value, nibble), high) in values.iter_mut().zip(nibbles).zip(&block[16..48]) {
            let quant = (nibble >> (sub % 2 * 4) & 15) | (high >> sub & 1) << 4;
            *value = sub_scale * f32::from(quant) - sub_minimum;
        }
    }
}

/// Scale and minimum of sub-block `sub`: six low bits in place for the first four, else a nibble of the last four bytes
/// under the two bits that the first eight have spare.
fn six_bit_pair(packed: &[u8], sub: usize) -> (f32, f32) {
    let (scale, minimum) = if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        let nibbles = packed[sub + 4];
        (nibbles & 15 | packed[sub - 4] >> 6 << 4, nibbles >> 4 | packed[sub] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// `[low nibbles 128][high pairs 64][scales 16][d f16]`.
fn q6_k(block: &[u8; 210], out: &mut [f32; SUPER]) {
    let scale = scale_at(block, 208);
    for (sub, values) in out.chunks_exact_mut(16).enumerate() {
        let sub_scale = scale * f32::from(block[192 + sub] as i8);
        let (half, plane, start) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        // Planes 0 and 1 are the low nibbles of the half's first and second 32 bytes, planes 2 and 3 the high ones.
        let nibbles = &block[half * 64 + plane % 2 * 32 + start..][..16];
        let pairs = &block[128 + half * 32 + start..][..16];
        for ((value, nibble), pair) in values.iter_mut().zip(nibbles).zip(pairs) {
            let quant = (nibble >> (plane / 2 * 4) & 15) | (pair >> (plane * 2) & 3) << 4;
            *value = sub_scale * (i32::from(quant) - 32) as f32;
        }
    }
}
