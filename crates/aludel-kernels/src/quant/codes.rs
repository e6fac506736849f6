//! Stored blocks as integers: if an encoding is `scale·code + offset` over 32 elements, its codes can be multiplied
//! directly. The matrix kernels do the multiplication.

use super::{BlockType, SMALL, five_bits, scale_at, six_bit_pair};

/// Elements under one scale and offset.
pub(crate) const CODES: usize = SMALL;

/// 32 elements: element i is `scale·codes[i] + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coded {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    pub(crate) codes: [u8; CODES],
}

/// Bits of a code, or `None` for encodings that are not of this form.
pub(crate) fn code_bits(block_type: BlockType) -> Option<u32> {
    match block_type {
        BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q4_K => Some(4),
        BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q5_K => Some(5),
        BlockType::Q8_0 => Some(8),
        _ => None,
    }
}

/// Calls `each(i, coded)` for every 32 elements of one stored row, in order. `bytes` are whole blocks of a type that
/// [`code_bits`] knows.
pub(crate) fn codes(block_type: BlockType, bytes: &[u8], mut each: impl FnMut(usize, Coded)) {
    assert!(code_bits(block_type).is_some(), "{block_type} has no codes");
    for (i, block) in bytes.chunks_exact(block_type.block_bytes()).enumerate() {
        match block_type {
            BlockType::Q4_K | BlockType::Q5_K => {
                (0..8).for_each(|sub| each(8 * i + sub, sub_block(block_type, block, sub)))
            }
            _ => each(i, small(block_type, block)),
        }
    }
}

fn small(block_type: BlockType, block: &[u8]) -> Coded {
    let scale = scale_at(block, 0);
    let mut codes = [0; CODES];
    let offset = match block_type {
        BlockType::Q8_0 => {
            codes.iter_mut().zip(&block[2..]).for_each(|(code, byte)| *code = byte.wrapping_add(128));
            -128.0 * scale
        }
        BlockType::Q4_0 | BlockType::Q4_1 => {
            let nibbles = if block_type == BlockType::Q4_0 { &block[2..] } else { &block[4..] };
            for (i, byte) in nibbles.iter().enumerate() {
                (codes[i], codes[i + 16]) = (byte & 15, byte >> 4);
            }
            if block_type == BlockType::Q4_0 { -8.0 * scale } else { scale_at(block, 2) }
        }
        _ => {
            let at = if block_type == BlockType::Q5_0 { 2 } else { 4 };
            let high = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            for (i, &byte) in block[at + 4..].iter().enumerate() {
                let (low, upper) = five_bits(byte, high, i);
                (codes[i], codes[i + 16]) = (low as u8, upper as u8);
            }
            if block_type == BlockType::Q5_0 { -16.0 * scale } else { scale_at(block, 2) }
        }
    };
    Coded { scale, offset, codes }
}

fn sub_block(block_type: BlockType, block: &[u8], sub: usize) -> Coded {
    let (scale, minimum) = six_bit_pair(&block[4..16], sub);
    let (scale, offset) = (scale_at(block, 0) * scale, -(scale_at(block, 2) * minimum));
    let nibbles = &block[if block_type == BlockType::Q4_K { 16 } else { 48 } + sub / 2 * 32..];
    let mut codes = [0; CODES];
    for (i, code) in codes.iter_mut().enumerate() {
        *code = nibbles[i] >> (sub % 2 * 4) & 15;
        if block_type == BlockType::Q5_K {
            *code |= (block[16 + i] >> sub & 1) << 4;
        }
    }
    Coded { scale, offset, codes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::decode;
    use crate::rng;

    #[test]
    fn codes_are_what_decoding_yields() {
        for block_type in BlockType::ALL.into_iter().filter(|&block_type| code_bits(block_type).is_some()) {
            let elements = 512;
            let count = block_type.bytes_for(elements).unwrap();
            let mut bytes: Vec<u8> = (0..count).map(|i| rng::mix(3, i as u64) as u8).collect();
            for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
                (block[1], block[3]) = (0x2c, 0xa9); // scales of ordinary size
            }
            let mut expected = vec![0f32; elements];
            decode(block_type, &bytes, &mut expected).unwrap();
            codes(block_type, &bytes, |i, coded| {
                for (code, expected) in coded.codes.iter().zip(&expected[i * CODES..]) {
                    let got = coded.scale * f32::from(*code) + coded.offset;
                    assert!((got - expected).abs() <= 2e-5 * expected.abs().max(1.0), "{block_type} {got} {expected}");
                    assert!(u32::from(*code) < 1 << code_bits(block_type).unwrap());
                }
            });
        }
    }
}
