//! Stored blocks as integers: if an encoding is `scale·code + offset` over 16 or 32 elements, its codes can be multiplied
//! directly, or decoded late. The matrix kernels do that.

use super::{BlockType, SMALL, five_bits, scale_at, six_bit_pair, six_bits};

/// Elements whose codes are handed over together.
pub(crate) const CODES: usize = SMALL;

/// 32 elements: element i is `scale·codes[i] + offset`, by the first factors up to element 16 and by the last from there on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coded {
    pub(crate) scales: [f32; 2],
    pub(crate) offsets: [f32; 2],
    pub(crate) codes: [u8; CODES],
}

/// Whether an encoding is of this form: whether it is quantised.
pub(crate) fn has_codes(block_type: BlockType) -> bool {
    block_type.block_len() > 1
}

/// Whether all of its 32 elements have one scale and one offset.
pub(crate) fn has_whole_scales(block_type: BlockType) -> bool {
    has_codes(block_type) && !matches!(block_type, BlockType::Q2_K | BlockType::Q3_K | BlockType::Q6_K)
}

/// Calls `each(i, coded)` for every 32 elements of one stored row, in order. `bytes` are whole blocks of a type that
/// [`has_codes`].
pub(crate) fn codes(block_type: BlockType, bytes: &[u8], mut each: impl FnMut(usize, Coded)) {
    assert!(has_codes(block_type), "{block_type} has no codes");
    for (i, block) in bytes.chunks_exact(block_type.block_bytes()).enumerate() {
        if block_type.block_len() == SMALL {
            each(i, small(block_type, block));
            continue;
        }
        for part in 0..8 {
            let coded = match block_type {
                BlockType::Q2_K | BlockType::Q3_K | BlockType::Q6_K => halves(block_type, block, part),
                _ => sub_block(block_type, block, part),
            };
            each(8 * i + part, coded);
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
    Coded { scales: [scale; 2], offsets: [offset; 2], codes }
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
    Coded { scales: [scale; 2], offsets: [offset; 2], codes }
}

/// Elements of which the first 16 have another scale than the last: those of two sub-blocks.
fn halves(block_type: BlockType, block: &[u8], part: usize) -> Coded {
    let mut coded = Coded { scales: [0.0; 2], offsets: [0.0; 2], codes: [0; CODES] };
    let (run, plane) = (part / 4, part % 4); // each 128 elements are stored alike, 32 of them in a plane
    for half in 0..2 {
        let (sub, start) = (2 * part + half, half * CODES / 2);
        let codes = coded.codes[start..][..CODES / 2].iter_mut().enumerate();
        (coded.scales[half], coded.offsets[half]) = match block_type {
            BlockType::Q2_K => {
                codes.for_each(|(i, code)| *code = block[16 + run * 32 + start + i] >> (plane * 2) & 3);
                let minimum = scale_at(block, 82) * f32::from(block[sub] >> 4);
                (scale_at(block, 80) * f32::from(block[sub] & 15), -minimum)
            }
            BlockType::Q3_K => {
                codes.for_each(|(i, code)| {
                    let low = block[32 + run * 32 + start + i] >> (plane * 2) & 3;
                    *code = low | (block[start + i] >> (run * 4 + plane) & 1) << 2;
                });
                let scale = scale_at(block, 108) * f32::from(six_bits(&block[96..108], sub));
                (scale, -4.0 * scale)
            }
            _ => {
                codes.for_each(|(i, code)| {
                    let low = block[run * 64 + plane % 2 * 32 + start + i] >> (plane / 2 * 4) & 15;
                    *code = low | (block[128 + run * 32 + start + i] >> (plane * 2) & 3) << 4;
                });
                let scale = scale_at(block, 208) * f32::from(block[192 + sub] as i8);
                (scale, -32.0 * scale)
            }
        };
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random_blocks;
    use crate::quant::decode;

    #[test]
    fn codes_are_what_decoding_yields() {
        for block_type in BlockType::ALL.into_iter().filter(|&block_type| has_codes(block_type)) {
            let elements = 512;
            let bytes = random_blocks(block_type, elements, 2.0, 3);
            let mut expected = vec![0f32; elements];
            decode(block_type, &bytes, &mut expected).unwrap();
            let mut blocks = 0;
            codes(block_type, &bytes, |i, coded| {
                for (at, (code, expected)) in coded.codes.iter().zip(&expected[i * CODES..]).enumerate() {
                    let half = at / (CODES / 2);
                    let got = coded.scales[half] * f32::from(*code) + coded.offsets[half];
                    assert!((got - expected).abs() <= 2e-5 * expected.abs().max(1.0), "{block_type} {got} {expected}");
                }
                let is_whole = coded.scales[0] == coded.scales[1] && coded.offsets[0] == coded.offsets[1];
                assert!(is_whole || !has_whole_scales(block_type), "{block_type}");
                blocks += 1;
            });
            assert_eq!(blocks, elements / CODES);
        }
    }
}
