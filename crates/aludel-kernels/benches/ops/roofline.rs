//! The ceiling of an op: it can be no faster than its arithmetic at this machine's peak, nor than its bytes at the bandwidth of this
//! machine's memory (Williams et al., "Roofline", 2009). Both are measured in the same run, on all threads.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, Isa, peak};
use memmap2::{MmapMut, MmapOptions};

use crate::case::Work;

/// What was measured of a case.
pub(crate) struct Row {
    pub(crate) op: &'static str,
    pub(crate) shape: String,
    pub(crate) work: Work,
    pub(crate) seconds: f64,
}

/// What this machine can do; each is the mean of before and after the ops, since a shared machine changes.
pub(crate) struct Ceilings {
    isa: Isa,
    threads: usize,
    measured: Vec<Measured>,
}

struct Measured {
    f32_operations: f64,
    bf16_operations: f64,
    bytes: f64,
}

impl Ceilings {
    pub(crate) fn measure() -> Ceilings {
        let ctx = Context::cpu(0);
        let mut ceilings = Ceilings { isa: ctx.isa(), threads: ctx.threads(), measured: Vec::new() };
        ceilings.measure_again();
        ceilings
    }

    pub(crate) fn measure_again(&mut self) {
        self.measured.push(Measured {
            f32_operations: peak::flops(self.isa, Precision::F32, self.threads),
            bf16_operations: peak::flops(self.isa, Precision::Bf16, self.threads),
            bytes: bandwidth(self.threads),
        });
    }

    fn mean(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        self.measured.iter().map(of).sum::<f64>() / self.measured.len() as f64
    }

    /// The rows as a table in Markdown.
    pub(crate) fn table(&self, rows: &[Row]) -> String {
        let (f32_operations, bf16_operations) = (self.mean(|m| m.f32_operations), self.mean(|m| m.bf16_operations));
        let bandwidth = self.mean(|m| m.bytes);
        let mut out = format!(
            "\n{} on {} threads: {:.0} GFLOP/s in f32, {:.0} in bf16, {:.1} GB/s of memory\n\n\
             | op | shape | time | GFLOP | MB | ceiling | bound by | share |\n| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |\n",
            self.isa.name(),
            self.threads,
            f32_operations / 1e9,
            bf16_operations / 1e9,
            bandwidth / 1e9,
        );
        for Row { op, shape, work, seconds } in rows {
            let peak = if work.precision == Precision::F32 { f32_operations } else { bf16_operations };
            let (compute, memory) = (work.operations / peak, work.bytes / bandwidth);
            let (ceiling, bound) = if compute > memory { (compute, "arithmetic") } else { (memory, "memory") };
            let micros = |seconds: f64| format!("{:.0} µs", seconds * 1e6);
            let (gflop, megabytes) = (work.operations / 1e9, work.bytes / 1e6);
            let (time, best, share) = (micros(*seconds), micros(ceiling), 100.0 * ceiling / seconds);
            let row =
                format!("| {op} | {shape} | {time} | {gflop:.3} | {megabytes:.2} | {best} | {bound} | {share:.0}% |");
            writeln!(out, "{row}").unwrap();
        }
        out
    }
}

/// Bytes that each thread reads in one go: beyond what caches hold.
const STREAM_BYTES: usize = 256 << 20;
/// The best of the given number of goes counts.
const GOES: usize = 5;

/// Bytes a second that all threads together move between memory and themselves: the better of reading alone, and of STREAM's triad
/// (McCalpin, 1995), which reads two streams and writes one. Either may be the faster: a core reads and writes along paths of their own.
fn bandwidth(threads: usize) -> f64 {
    let mut streams: Vec<MmapMut> = (0..threads).map(|_| stream()).collect();
    let mut best = f64::INFINITY;
    for work in [read, triad] {
        for _ in 0..GOES {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for stream in &mut streams {
                    scope.spawn(|| work(black_box(stream)));
                }
            });
            best = best.min(begun.elapsed().as_secs_f64());
        }
    }
    (threads * STREAM_BYTES) as f64 / best
}

/// Huge pages where the system has them.
fn stream() -> MmapMut {
    let mut memory = MmapOptions::new().len(STREAM_BYTES).map_anon().unwrap();
    // A system that refuses gives ordinary pages: then that is what it can do.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    memory
}

/// Reads everything, in more sums than one so that none waits for another.
fn read(bytes: &mut [u8]) {
    let mut sums = [0u64; 16];
    for line in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    black_box(sums);
}

/// Reads two thirds and writes the third: a = b + c.
fn triad(bytes: &mut [u8]) {
    let (a, rest) = bytes.split_at_mut(STREAM_BYTES / 3);
    let (b, c) = rest.split_at(STREAM_BYTES / 3);
    let sources = b.as_chunks::<8>().0.iter().zip(c.as_chunks::<8>().0);
    for (a, (b, c)) in a.as_chunks_mut::<8>().0.iter_mut().zip(sources) {
        *a = u64::from_le_bytes(*b).wrapping_add(u64::from_le_bytes(*c)).to_le_bytes();
    }
}
