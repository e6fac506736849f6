//! How fast training and generation are on this machine, on invented tokens. How results are shown is left to the caller.

mod generate;
mod train;

pub use generate::{GenerateBench, GenerateOptions, bench_generate};
pub use train::{Breakdown, TrainBench, TrainOptions, bench_train, flops_per_token};

use aludel_kernels::rng;

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Arbitrary tokens.
fn invented_tokens(seed: u64, count: usize, vocab_size: usize) -> Vec<u32> {
    (0..count as u64).map(|t| (rng::mix(seed, t) % vocab_size as u64) as u32).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        assert_eq!((super::median(&[3.0, 1.0, 2.0]), super::median(&[4.0, 1.0])), (2.0, 2.5));
    }
}
