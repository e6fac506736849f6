//! Which instruction set the processor offers, and the macro that compiles one plain-Rust body for each of them.
//! Bodies are written with fixed-width arrays so that the compiler vectorises them; the few kernels that need intrinsics
//! live with their op.

/// The instruction sets that a kernel may be compiled for, chosen once when a context is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, any processor.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

impl Isa {
    /// The best instruction set of the running processor.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
        Isa::Portable
    }

    /// The name shown in reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
        }
    }
}

/// Defines `fn name(isa: Isa, args…)`: the body, compiled once per instruction set and chosen by `isa`.
macro_rules! multiversion {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                body($($arg),*)
            }
            match isa {
                // SAFETY: `Isa::Avx2` is only made by `Isa::detect`, after the processor said that it has both features.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;

/// Lanes of the fixed-order reductions: sums run over this many interleaved partial sums on every instruction set, so
/// that a result does not depend on the vector width.
pub(crate) const LANES: usize = 16;

/// Sum of `f(a[i], b[i])` in the fixed lane order.
#[inline(always)]
pub(crate) fn lane_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = a.len() / LANES * LANES;
    for (x, y) in a[..whole].chunks_exact(LANES).zip(b[..whole].chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    for (lane, (x, y)) in a[whole..].iter().zip(&b[whole..]).enumerate() {
        lanes[lane] += f(*x, *y);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Maximum of a slice in the fixed lane order; NaN entries are ignored, as by `f32::max`.
#[inline(always)]
pub(crate) fn lane_max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let whole = a.len() / LANES * LANES;
    for x in a[..whole].chunks_exact(LANES) {
        for lane in 0..LANES {
            lanes[lane] = if x[lane] > lanes[lane] { x[lane] } else { lanes[lane] };
        }
    }
    let tail = a[whole..].iter().copied().fold(f32::NEG_INFINITY, f32::max);
    lanes.iter().copied().fold(tail, f32::max)
}

/// `eˣ` by range reduction and a degree-6 polynomial; relative error below 2e-7 for −87 < x < 88, 0 below, +∞ above.
/// Branch-free, so that loops over it vectorise; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that x − n·ln 2 is exact to the last bit
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding and subtracting it rounds to the nearest integer
    let clamped = if x < -87.3 { -87.3 } else { x };
    let clamped = if clamped > 88.7 { 88.7 } else { clamped };
    let n = (clamped * LOG2_E + ROUND) - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // n is in [−126, 128]: 2ⁿ in two factors, since 2¹²⁸ alone would overflow the exponent field
    let half = (n * 0.5 + ROUND) - ROUND;
    let power = |e: f32| f32::from_bits((((e + ROUND).to_bits() as i32 - ROUND.to_bits() as i32 + 127) << 23) as u32);
    let y = p * power(half) * power(n - half);
    let y = if x < -87.3 { 0.0 } else { y };
    let y = if x > 88.7 { f32::INFINITY } else { y };
    if x.is_nan() { x } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value_everywhere() {
        let mut x = -100.0f32;
        while x < 95.0 {
            let exact = f64::from(x).exp();
            let got = f64::from(exp(x));
            let close = if x < -87.3 {
                got.abs() <= 2e-38
            } else if x > 88.7 {
                got.is_infinite()
            } else {
                (got - exact).abs() <= 3e-7 * exact
            };
            assert!(close, "exp({x}) = {got}, should be {exact}");
            x += 0.003_7;
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    }

    #[test]
    fn lane_sum_covers_every_element() {
        for n in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(lane_sum(&a, &a, |x, _| x), (n * n.max(1) - n) as f32 / 2.0, "n = {n}");
        }
    }
}
