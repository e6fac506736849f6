//! Compares every codec with gguf-py on the same bytes; `tools/golden/quant.py` wrote the fixture. Results must be
//! equal bit for bit, since both sides do the same few f32 operations in the same order.

use aludel_kernels::quant::{BlockType, SizeMismatch, decode, decode_row, encode_bf16, encode_f16, encode_f32};

const FIXTURE: &str = include_str!("fixtures/quant.txt");

#[test]
fn equals_gguf_py() {
    let mut decoded = Vec::new();
    for line in FIXTURE.lines() {
        let [direction, name, bytes, values] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a fixture line has four fields: {line}")
        };
        let block_type = by_name(name);
        let (bytes, values) = (from_hex(bytes), floats(&from_hex(values)));
        match direction {
            "decode" => {
                check_decode(block_type, &bytes, &values);
                decoded.push(block_type);
            }
            "encode" => check_encode(block_type, &bytes, &values),
            other => panic!("unknown direction {other}"),
        }
    }
    let missing: Vec<_> = BlockType::ALL.into_iter().filter(|t| *t != BlockType::F32 && !decoded.contains(t)).collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
}

fn check_decode(block_type: BlockType, bytes: &[u8], expected: &[f32]) {
    let mut whole = vec![f32::NAN; expected.len()];
    assert_eq!(decode(block_type, bytes, &mut whole), Ok(()));
    assert_bits(block_type, &whole, expected);

    // One block a row: each must come out alone as it did among the others.
    for (row, expected) in expected.chunks_exact(block_type.block_len()).enumerate() {
        let mut one = vec![f32::NAN; block_type.block_len()];
        assert_eq!(decode_row(block_type, bytes, row, &mut one), Ok(()));
        assert_bits(block_type, &one, expected);
    }
}

fn check_encode(block_type: BlockType, expected: &[u8], values: &[f32]) {
    let bytes = match block_type {
        BlockType::F32 => encode_f32(values),
        BlockType::F16 => encode_f16(values),
        BlockType::BF16 => encode_bf16(values),
        other => panic!("{other} has no encoder"),
    };
    for (i, (ours, theirs)) in bytes.chunks(2).zip(expected.chunks(2)).enumerate() {
        assert_eq!(ours, theirs, "{block_type}: half-word {i}");
    }
    assert_eq!(bytes.len(), expected.len());
}

fn assert_bits(block_type: BlockType, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "{block_type}, element {i}: {a} and not {b}");
    }
}

#[test]
fn ids_and_sizes_agree() {
    for block_type in BlockType::ALL {
        assert_eq!(BlockType::from_ggml_id(block_type.ggml_id()), Some(block_type));
        assert_eq!(block_type.bytes_for(3 * block_type.block_len()), Some(3 * block_type.block_bytes()));
    }
    // Q8_1, an IQ type and a number that ggml does not use.
    for id in [9, 16, 4000] {
        assert_eq!(BlockType::from_ggml_id(id), None);
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let check = |result: Result<(), SizeMismatch>, message: &str| {
        assert_eq!(result.unwrap_err().to_string(), message);
    };
    check(
        decode(BlockType::Q4_0, &[0; 17], &mut [0.0; 32]),
        "32 elements of Q4_0 were asked for from 17 bytes; they take exactly 18 bytes",
    );
    check(
        decode(BlockType::Q6_K, &[0; 210], &mut [0.0; 255]),
        "255 elements of Q6_K were asked for from 210 bytes; their number must be a multiple of the block length, 256",
    );
    check(
        decode_row(BlockType::F16, &[0; 8], 2, &mut [0.0; 2]),
        "6 elements of F16 were asked for from 8 bytes; they take exactly 12 bytes",
    );
    assert!(decode_row(BlockType::F32, &[0; 8], usize::MAX, &mut [0.0; 2]).is_err());
}

#[test]
fn not_a_number_stays_so() {
    for bytes in [encode_f16(&[f32::NAN]), encode_bf16(&[f32::NAN])] {
        let block_type = if bytes[1] == 0x7e { BlockType::F16 } else { BlockType::BF16 };
        let mut out = [0.0];
        decode(block_type, &bytes, &mut out).unwrap();
        assert!(out[0].is_nan());
    }
}

fn by_name(name: &str) -> BlockType {
    BlockType::ALL.into_iter().find(|t| t.to_string() == name).unwrap_or_else(|| panic!("{name} is not known"))
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_else(|| panic!("{byte} is no hex digit")) as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&quad| f32::from_le_bytes(quad)).collect()
}
