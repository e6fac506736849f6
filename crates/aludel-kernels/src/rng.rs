//! Counter-based random numbers: a value is a pure function of its purpose (seed, step, site, example, position,
//! feature), never of a position in a buffer or of the number of earlier draws. This makes resuming, recomputing and
//! repacking exact. The mixer is the SplitMix64 finaliser (Steele, Lea and Flood, 2014).

/// Mixes one more number into a key.
#[inline(always)]
pub fn mix(key: u64, value: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(value.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform in [0, 1) with 24 bits, for counter `index` under `key`.
#[inline(always)]
pub fn uniform(key: u64, index: u64) -> f32 {
    (mix(key, index) >> 40) as f32 * (1.0 / (1 << 24) as f32)
}

/// Standard normal, for counter `index` under `key` (Box–Muller over two uniforms of that counter).
pub fn normal(key: u64, index: u64) -> f32 {
    let bits = mix(key, index);
    let first = ((bits >> 32) as f64 + 0.5) / 4_294_967_296.0;
    let second = (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    ((-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 200_000u64;
        let mean = |f: &dyn Fn(u64) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let close = |what: &str, got: f64, expected: f64| assert!((got - expected).abs() <= 0.01, "{what}: {got}");
        close("uniform mean", mean(&|i| f64::from(uniform(7, i))), 0.5);
        close("uniform variance", mean(&|i| (f64::from(uniform(7, i)) - 0.5).powi(2)), 1.0 / 12.0);
        close("normal mean", mean(&|i| f64::from(normal(7, i))), 0.0);
        close("normal variance", mean(&|i| f64::from(normal(7, i)).powi(2)), 1.0);
        close("neighbours", mean(&|i| f64::from(normal(7, i) * normal(7, i + 1))), 0.0);
        close("neighbouring keys", mean(&|i| f64::from(normal(i, 3) * normal(i + 1, 3))), 0.0);
    }
}
