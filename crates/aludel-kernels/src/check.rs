//! Tolerances, finite differences and a count of allocations, for the tests of this workspace. A comparison passes only
//! if it holds: `!(difference <= tolerance)` fails, so that NaN fails.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;

use crate::quant::BlockType;
use crate::rng;

/// The system's allocator, with a count of what all threads ask of it. For tests of what must not allocate, or not much, which make
/// it theirs with `#[global_allocator]`.
#[derive(Debug, Default)]
pub struct CountingAllocator {
    allocations: AtomicU64,
    /// Bytes held now, and the most of them since the last look.
    held: AtomicU64,
    peak: AtomicU64,
}

impl CountingAllocator {
    /// Nothing counted yet.
    pub const fn new() -> CountingAllocator {
        CountingAllocator { allocations: AtomicU64::new(0), held: AtomicU64::new(0), peak: AtomicU64::new(0) }
    }

    /// The number of allocations and reallocations while `work` ran.
    pub fn count(&self, work: impl FnOnce()) -> u64 {
        let before = self.allocations.load(Ordering::SeqCst);
        work();
        self.allocations.load(Ordering::SeqCst) - before
    }

    /// The most bytes that were held at once while `work` ran, beside those held before.
    pub fn peak_bytes(&self, work: impl FnOnce()) -> u64 {
        let before = self.held.load(Ordering::SeqCst);
        self.peak.store(before, Ordering::SeqCst);
        work();
        self.peak.load(Ordering::SeqCst).saturating_sub(before)
    }

    fn take(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64;
        self.peak.fetch_max(held, Ordering::SeqCst);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes as u64, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::SeqCst);
        self.take(layout.size());
        // SAFETY: the caller's promise is passed on; so it is below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::SeqCst);
        self.take(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::SeqCst);
        // Both may be held while the contents move.
        self.take(size);
        self.give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// `count` reproducible values, normal with standard deviation 1.
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| rng::normal(seed, i)).collect()
}

/// The largest |got − expected| / (1 + |expected|).
///
/// # Panics
/// If the lengths differ.
pub fn largest_difference(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "lengths differ");
    let difference = |(g, e): (&f32, &f64)| {
        let d = (f64::from(*g) - e).abs() / (1.0 + e.abs());
        if d.is_nan() { f64::INFINITY } else { d }
    };
    got.iter().zip(expected).map(difference).fold(0.0, f64::max)
}

/// Panics unless every |got − expected| ≤ tolerance · (1 + |expected|).
///
/// # Panics
/// If they differ by more, are not a number, or differ in length.
pub fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    let difference = largest_difference(got, expected);
    assert!(difference <= tolerance, "{what}: off by {difference:e}, allowed {tolerance:e}");
}

/// Cosine of the angle between two vectors; NaN if either is zero or not finite.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Central differences of `f` at `x`, one element at a time: `(f(x + h·e) − f(x − h·e)) / 2h`.
pub fn finite_differences(x: &[f64], step: f64, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut point = x.to_vec();
    (0..x.len())
        .map(|i| {
            let kept = point[i];
            point[i] = kept + step;
            let above = f(&point);
            point[i] = kept - step;
            let below = f(&point);
            point[i] = kept;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Widens to f64.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
/// Stored blocks of arbitrary codes and values of about ±`largest` at the most, with factors that differ from block to block.
///
/// # Panics
/// If the elements are no whole blocks.
pub fn random_blocks(block_type: BlockType, elements: usize, largest: f32, seed: u64) -> Vec<u8> {
    let count = block_type.bytes_for(elements).expect("whole blocks");
    let mut bytes: Vec<u8> = (0..count).map(|i| rng::mix(seed, i as u64) as u8).collect();
    // where the factors are, which are f16, and what the largest codes and scales make of 1
    let factors: &[(usize, f32)] = match block_type {
        BlockType::Q4_0 => &[(0, 8.0)],
        BlockType::Q4_1 => &[(0, 15.0), (2, -2.0)],
        BlockType::Q5_0 => &[(0, 16.0)],
        BlockType::Q5_1 => &[(0, 31.0), (2, -2.0)],
        BlockType::Q8_0 => &[(0, 128.0)],
        BlockType::Q2_K => &[(80, 15.0 * 3.0), (82, 15.0 * 2.0)],
        BlockType::Q3_K => &[(108, 32.0 * 4.0)],
        BlockType::Q4_K => &[(0, 63.0 * 15.0), (2, 63.0 * 2.0)],
        BlockType::Q5_K => &[(0, 63.0 * 31.0), (2, 63.0 * 2.0)],
        BlockType::Q6_K => &[(208, 128.0 * 32.0)],
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => panic!("{block_type} has no factors"),
    };
    for (i, block) in bytes.chunks_exact_mut(block_type.block_bytes()).enumerate() {
        for (at, whole) in factors {
            let share = 0.5 + 0.5 * (rng::mix(seed ^ 1, (i + at) as u64) as u8 as f32 / 255.0);
            block[*at..at + 2].copy_from_slice(&f16::from_f32(share * largest / whole).to_le_bytes());
        }
    }
    bytes
}
