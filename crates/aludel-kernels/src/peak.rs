//! The peak of the arithmetic units: multiply-adds between registers, on all threads at once. Utilisation is measured
//! against it, and the choice between precisions is based on it.

use std::time::Instant;

use crate::linear::Precision;
use crate::simd::Isa;

/// Rounds of one measurement: about a tenth of a second.
const ROUNDS: u64 = 30_000_000;

/// What each thread reads to measure the memory.
const READ_BYTES: usize = 128 << 20;

/// Floating-point operations a second (a multiply-add is two) of the instruction that products of this precision are made
/// of, summed over `threads` threads that run together.
pub fn flops(isa: Isa, precision: Precision, threads: usize) -> f64 {
    let begun = Instant::now();
    let operations: f64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(move || busy(isa, precision, ROUNDS))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum()
    });
    operations / begun.elapsed().as_secs_f64()
}

/// Bytes a second that `threads` threads together read of memory: the best of three readings of buffers that no cache holds.
pub fn memory_read_rate(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads.max(1) as u64).map(|n| vec![n; READ_BYTES / size_of::<u64>()]).collect();
    let once = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(move || std::hint::black_box(buffer.iter().fold(0, |sum, word| sum ^ word)));
            }
        });
        (buffers.len() * READ_BYTES) as f64 / begun.elapsed().as_secs_f64()
    };
    (0..3).map(|_| once()).fold(0.0, f64::max)
}

/// Whether products of bf16 are faster than those of f32: on tiles, and where `vdpbf16ps` is not split into slow steps. Measured:
/// twice the rate of f32 on Zen 4 (`docs/decisions/0055`), half of it on Emerald and Granite Rapids. Other processors are
/// measured, for some milliseconds.
pub fn favours_bf16(isa: Isa) -> bool {
    match isa {
        Isa::Amx => true,
        Isa::Avx512Bf16 => match vendor() {
            Some(b"AuthenticAMD") => true,
            Some(b"GenuineIntel") => false,
            _ => {
                let rate = |precision| flops_briefly(isa, precision);
                rate(Precision::Bf16) > rate(Precision::F32)
            }
        },
        Isa::Portable | Isa::Avx2 | Isa::Avx512 => false,
    }
}

/// What the processor calls its maker.
fn vendor() -> Option<&'static [u8; 12]> {
    #[cfg(target_arch = "x86_64")]
    {
        let leaf = std::arch::x86_64::__cpuid(0);
        let name = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
        let known: [&[u8; 12]; 2] = [b"AuthenticAMD", b"GenuineIntel"];
        known.into_iter().find(|known| known[..] == *name.as_flattened())
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// [`flops`] of this thread in some milliseconds: enough to distinguish units of which one is twice as fast.
fn flops_briefly(isa: Isa, precision: Precision) -> f64 {
    let begun = Instant::now();
    busy(isa, precision, ROUNDS / 30) / begun.elapsed().as_secs_f64()
}

/// Runs the given number of rounds of independent multiply-adds; returns how many operations that was.
fn busy(isa: Isa, precision: Precision, rounds: u64) -> f64 {
    assert!(Isa::supported().contains(&isa), "this processor lacks {}", isa.name());
    match (isa, precision) {
        (Isa::Portable, _) => portable(rounds / 8),
        // SAFETY: the processor has the features, as just asserted. Without products of bf16, AVX-512 multiplies bf16 as AVX2 does.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, _) | (Isa::Avx512, Precision::Bf16) => unsafe { x86::avx2(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, Precision::F32) => unsafe { x86::avx512(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Bf16, Precision::Bf16) => unsafe { x86::bf16(rounds) },
        (Isa::Amx, Precision::Bf16) => crate::gemm::amx_busy(rounds / 4),
        #[cfg(not(target_arch = "x86_64"))]
        (Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16, _) | (Isa::Amx, Precision::F32) => isa.is_of_another_processor(),
    }
}

fn portable(rounds: u64) -> f64 {
    let mut sums = [[1f32; 4]; 8];
    for _ in 0..rounds {
        for sum in sums.iter_mut().flatten() {
            *sum = *sum * 0.999 + 0.001;
        }
    }
    std::hint::black_box(sums);
    (rounds * 8 * 4 * 2) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Enough independent sums to cover the latency of two units.
    const SUMS: usize = 12;

    macro_rules! peak {
        ($name:ident, $features:literal, $zero:expr, $factor:expr, $fma:expr, $operations:literal) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(rounds: u64) -> f64 {
                let mut sums = [$zero; SUMS];
                let factor = $factor;
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $fma(*sum, factor);
                    }
                }
                std::hint::black_box(sums);
                (rounds * SUMS as u64 * $operations) as f64
            }
        };
    }

    peak!(avx2, "avx2,fma", _mm256_setzero_ps(), _mm256_set1_ps(1e-3), |s, f| _mm256_fmadd_ps(f, f, s), 16);
    peak!(avx512, "avx512f", _mm512_setzero_ps(), _mm512_set1_ps(1e-3), |s, f| _mm512_fmadd_ps(f, f, s), 32);
    peak!(
        bf16,
        "avx512f,avx512bf16",
        _mm512_setzero_ps(),
        _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-3), _mm512_set1_ps(1e-3)),
        |s, f| _mm512_dpbf16_ps(s, f, f),
        64
    );
}
