//! Detects the processor's instruction set, and has the macro that compiles one plain-Rust body for each set. Bodies
//! use fixed-width arrays so that the compiler vectorises them; the few kernels that need intrinsics are in the files
//! of their ops.

/// The instruction sets that a kernel may be compiled for, chosen once when a context is made. Each contains those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, any processor.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL) and its int8 products (Cascade Lake, Ice Lake).
    Avx512,
    /// The bf16 products of AVX-512 beside it (Zen 4 and later).
    Avx512Bf16,
    /// AMX beside it: tiles of bf16 (Sapphire Rapids and later).
    Amx,
}

impl Isa {
    /// The best instruction set of the running processor.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! has {
                ($($feature:tt),*) => { $(std::is_x86_feature_detected!($feature))&&* };
            }
            let has_avx2 = has!("avx2", "fma", "f16c");
            if has_avx2 && has!("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni") {
                return match has!("avx512bf16") {
                    true if has_amx() => Isa::Amx,
                    true => Isa::Avx512Bf16,
                    false => Isa::Avx512,
                };
            }
            if has_avx2 {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    /// This instruction set and those that it contains, the least first.
    pub fn supported() -> &'static [Isa] {
        let best = Isa::detect();
        &Isa::ALL[..Isa::ALL.iter().take_while(|isa| **isa <= best).count()]
    }

    /// All, the least first.
    pub const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// What tests run: beside what is supported, AMX with its tiles emulated where all that surrounds them is there.
    #[cfg(test)]
    pub(crate) fn tested() -> impl Iterator<Item = Isa> {
        let emulated = (Isa::detect() == Isa::Avx512Bf16).then_some(Isa::Amx);
        Isa::supported().iter().copied().chain(emulated)
    }

    /// For the arms of what this kind of processor never has, so that a match names every instruction set everywhere: one that is new
    /// must not become scalar code in silence.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn is_of_another_processor(self) -> ! {
        unreachable!("{} was given out on a processor of another kind", self.name())
    }

    /// The name that settings and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512-bf16",
            Isa::Amx => "amx",
        }
    }
}

/// Whether this process may use AMX with bf16 products. Requests permission from the system the first time.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_amx() -> bool {
    #[cfg(target_os = "linux")]
    return amx_is_permitted();
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Whether processor and system support tiles with bf16 products. A process must request the 8 KB of state that each of its threads
/// then has (Linux, Documentation/arch/x86/xstate.rst).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_is_permitted() -> bool {
    static IS_THERE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IS_THERE.get_or_init(|| {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        const TILE_AND_BF16: u32 = 1 << 24 | 1 << 22;
        let has_leaf = std::arch::x86_64::__cpuid_count(0, 0).eax >= 7;
        has_leaf
            && std::arch::x86_64::__cpuid_count(7, 0).edx & TILE_AND_BF16 == TILE_AND_BF16
            // SAFETY: the call reads no memory; a kernel that does not know it answers with an error.
            && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
    })
}

/// Defines `fn name(isa: Isa, args…)`: the body, compiled once per instruction set and chosen by `isa`. In the body, the
/// constant `FUSED` says whether the version at hand has fused multiply-adds; see [`fma`]. Bodies that have no use for it leave it
/// unread, which `const _` keeps from being a warning.
macro_rules! multiversion {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $visibility fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            fn portable($($arg: $ty),*) $(-> $ret)? {
                const FUSED: bool = false;
                const _: bool = FUSED;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                const FUSED: bool = true;
                const _: bool = FUSED;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                const FUSED: bool = true;
                const _: bool = FUSED;
                $body
            }
            use $crate::simd::Isa;
            match isa {
                Isa::Portable => portable($($arg),*),
                // SAFETY: a context only holds an `Isa` that `Isa::supported` lists: the processor said that it has the features.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512($($arg),*) },
                #[cfg(not(target_arch = "x86_64"))]
                Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => isa.is_of_another_processor(),
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

/// `a·b + c`, rounded once if `FUSED`. Where the processor has no such instruction it would be a slow call into the C library.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` by range reduction and a degree-6 polynomial; relative error below 3e-7 for −87.3 < x < 88.3, 0 below −87.7, +∞ above
/// 88.4. Branch-free, so that loops over it vectorise; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that x − n·ln 2 is exact to the last bit
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding and subtracting it rounds to the nearest integer
    // the comparisons let NaN pass; the bounds give 2ⁿ the exponents of zero and of infinity
    let x = if -88.03 > x { -88.03 } else { x };
    let x = if 88.8 < x { 88.8 } else { x };
    let shifted = fma::<FUSED>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(n, -LN2_LOW, fma::<FUSED>(n, -LN2_HIGH, x));
    let mut p = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = fma::<FUSED>(p, r, factor);
    }
    // the low bits of `shifted` are n in two's complement
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Prefetches the cache lines of the given number of floats; a hint, which reads nothing.
#[inline(always)]
pub(crate) fn prefetch(floats: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..count).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: any address may be hinted at.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(floats.wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (floats, count);
}

/// Prefetches the cache lines of a slice into L2; a hint, which reads nothing.
#[inline(always)]
pub(crate) fn prefetch_l2(units: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    for line in units.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: any address may be hinted at.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = units;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value_everywhere() {
        let mut x = -100.0f32;
        while x < 95.0 {
            let exact = f64::from(x).exp();
            for got in [exp::<true>(x), exp::<false>(x)].map(f64::from) {
                let close = if x < -87.3 {
                    got.abs() <= 2e-38
                } else if x > 88.3 {
                    got.is_infinite() || (got - exact).abs() <= 3e-7 * exact
                } else {
                    (got - exact).abs() <= 3e-7 * exact
                };
                assert!(close, "exp({x}) = {got}, should be {exact}");
            }
            x += 0.003_7;
        }
        assert!(exp::<true>(f32::NAN).is_nan());
        assert_eq!(exp::<true>(0.0), 1.0);
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<true>(f32::INFINITY), f32::INFINITY);
    }

    #[test]
    fn lane_sum_covers_every_element() {
        for n in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(lane_sum(&a, &a, |x, _| x), (n * n.max(1) - n) as f32 / 2.0, "n = {n}");
        }
    }
}
