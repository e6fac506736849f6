//! The 4-bit NormalFloat of QLoRA (Dettmers et al., 2023) as bitsandbytes stores it: 64 values along a row under one scale, each the
//! nearest of 16 levels; the scales of a tensor are quantised once more, to 8 bits, 256 of them under one scale.

use crate::simd::{LANES, multiversion};

/// Values under one scale.
pub(crate) const BLOCK: usize = 64;
/// Scales that are quantised together.
const SCALES: usize = 256;

/// The levels: quantiles of a normal distribution, scaled to ±1, with an exact zero.
pub(crate) const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// What lies between two levels and the next: a value has as many levels below it as of these.
const MIDDLES: [f32; 15] = {
    let mut middles = [0.0; 15];
    let mut i = 0;
    while i < middles.len() {
        middles[i] = (LEVELS[i] + LEVELS[i + 1]) / 2.0;
        i += 1;
    }
    middles
};

multiversion! {
    /// Quantises one row of whole blocks: a code for each value, and the largest magnitude of each block of [`BLOCK`].
    pub(crate) fn quantise_row(row: &[f32], codes: &mut [u8], scales: &mut [f32]) {
        let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BLOCK>().0);
        for ((values, codes), scale) in blocks.zip(scales) {
            let mut lanes = [0f32; LANES];
            for values in values.as_chunks::<LANES>().0 {
                lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane = value.abs().max(*lane));
            }
            *scale = largest(&lanes);
            let inverse = 1.0 / scale.max(1e-38);
            let scaled = values.map(|value| (value * inverse).clamp(-1.0, 1.0));
            // of two equally near levels the lower
            let mut counts = [0u32; BLOCK];
            for middle in MIDDLES {
                counts.iter_mut().zip(&scaled).for_each(|(count, x)| *count += u32::from(middle < *x));
            }
            codes.iter_mut().zip(counts).for_each(|(code, count)| *code = count as u8);
        }
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// The scales of a tensor, in the order of its values, as bitsandbytes keeps them.
pub(crate) struct Scales {
    /// Subtracted from each before it was quantised: their mean.
    offset: f32,
    codes: Vec<u8>,
    /// Of each [`SCALES`] codes.
    factors: Vec<f32>,
}

impl Scales {
    pub(crate) fn quantise(scales: &[f32]) -> Scales {
        let mean = scales.iter().map(|scale| f64::from(*scale)).sum::<f64>() / scales.len().max(1) as f64;
        let offset = mean as f32;
        let levels = dynamic_levels();
        let middles: Vec<f32> = levels.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let (mut codes, mut factors) = (Vec::with_capacity(scales.len()), Vec::new());
        for chunk in scales.chunks(SCALES) {
            let centred: Vec<f32> = chunk.iter().map(|scale| scale - offset).collect();
            let factor = largest(&centred);
            let inverse = 1.0 / factor.max(1e-38);
            // the nearest level, of two equally near ones the lower
            let nearest = |x: f32| middles.partition_point(|middle| *middle < x) as u8;
            codes.extend(centred.iter().map(|x| nearest((x * inverse).clamp(-1.0, 1.0))));
            factors.push(factor);
        }
        Scales { offset, codes, factors }
    }

    /// What the codes stand for.
    pub(crate) fn decode(&self) -> Vec<f32> {
        let levels = dynamic_levels();
        let chunks = self.codes.chunks(SCALES).zip(&self.factors);
        chunks
            .flat_map(|(codes, factor)| codes.iter().map(move |code| levels[usize::from(*code)] * factor + self.offset))
            .collect()
    }
}

/// The 256 levels of the dynamic data type (Dettmers et al., 2022): seven decades, the larger the finer.
fn dynamic_levels() -> [f32; 256] {
    let mut levels = [0f32; 256];
    levels[255] = 1.0;
    let mut count = 0;
    for decade in 0..7 {
        let steps: i32 = 1 << decade;
        let factor = 10f64.powi(decade - 6) as f32;
        let boundary = |i: i32| {
            // as torch.linspace computes it: from the nearer end, with fused multiply-adds
            let step = (1.0f32 - 0.1) / steps as f32;
            if i < (steps + 1) / 2 { step.mul_add(i as f32, 0.1) } else { (-step).mul_add((steps - i) as f32, 1.0) }
        };
        for i in 0..steps {
            let middle = factor * ((boundary(i) + boundary(i + 1)) / 2.0);
            (levels[count], levels[count + 1]) = (middle, -middle);
            count += 2;
        }
    }
    levels.sort_unstable_by(f32::total_cmp);
    levels
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::simd::Isa;

    /// Tensors of `tools/golden/nf4.py`: one hexadecimal line each of weights, codes and scales.
    struct Fixture {
        columns: usize,
        fields: Vec<Vec<u8>>,
    }

    fn fixtures() -> Vec<Fixture> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nf4.txt");
        let text = std::fs::read_to_string(path).unwrap();
        let bytes = |hex: &str| {
            let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (columns, fields) = line.split_once(' ').unwrap();
                Fixture { columns: columns.parse().unwrap(), fields: fields.split(' ').map(bytes).collect() }
            })
            .collect()
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    #[test]
    fn codes_and_scales_are_those_of_bitsandbytes() {
        let fixtures = fixtures();
        assert_eq!(fixtures.len(), 3);
        for Fixture { columns, fields } in fixtures {
            let [weights, codes, scale_codes, factors, offset, decoded] = &fields[..] else { panic!("six fields") };
            let weights: Vec<f32> = weights
                .chunks_exact(2)
                .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16))
                .collect();
            let (mut got, mut scales) = (vec![0; weights.len()], vec![0.0; weights.len() / BLOCK]);
            for isa in Isa::tested() {
                got.fill(0);
                scales.fill(0.0);
                for ((row, codes), scales) in
                    weights.chunks(columns).zip(got.chunks_mut(columns)).zip(scales.chunks_mut(columns / BLOCK))
                {
                    quantise_row(isa, row, codes, scales);
                }
                let packed: Vec<u8> = got.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                assert!(packed == *codes, "codes differ with {isa:?}");
            }
            let nested = Scales::quantise(&scales);
            assert_eq!(nested.codes, *scale_codes);
            assert_eq!(
                nested.factors.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                floats(factors).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            );
            assert_eq!(nested.offset.to_bits(), floats(offset)[0].to_bits());
            let scales = nested.decode();
            for (i, expected) in floats(decoded).into_iter().enumerate() {
                let value = LEVELS[usize::from(got[i])] * scales[i / BLOCK];
                assert_eq!(value.to_bits(), expected.to_bits(), "value {i}: {value} {expected}");
            }
        }
    }
}
