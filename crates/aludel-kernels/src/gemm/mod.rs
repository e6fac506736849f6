//! The one matrix-multiply driver: packed panels, register-blocked micro-kernels, and sums over several operand pairs.
//!
//! `C = init + Σ_segments L·R`, where a segment is a pair of packed operands; LoRA is the second segment of its linear.
//! Every element of C sums over K in one fixed order, whatever the number of rows, the blocking or the threads: blocks of K
//! carry their partial sums through C, or through scratch in f32, so that cutting K changes no bit. Packing A and B panels follows
//! Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

mod amx;
mod decoded;
mod job;
mod micro;
mod operand;
mod pack;
mod quantized;
mod quantized_panels;
pub(crate) mod tile;
mod tokens;

pub(crate) use amx::busy as amx_busy;
pub(crate) use operand::{Lhs, Order, Panels, Rhs, pack_lhs, pack_rhs, pack_written};
pub(crate) use pack::pair;
pub(crate) use quantized::{Rounded, multiply_coded, round_rows};
pub(crate) use quantized_panels::CodedPanels;
pub(crate) use tokens::add_token_products;

use crate::device::{Context, Mat, View, assert_apart};
use crate::profile::Kind;
use crate::simd::Isa;

/// Columns of a right-hand panel.
pub(crate) const NR: usize = 32;
/// Rows of a left-hand panel.
const MR: usize = 12;
/// Rows of a tile of AMX, and units of K in a row of it.
const TILE: usize = 16;
/// Units of a tile.
const TILE_UNITS: usize = TILE * TILE;

/// How GEMM inputs are rounded. Accumulation is f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Inputs stay f32.
    F32,
    /// Inputs are rounded to bfloat16 (nearest even).
    Bf16,
}

impl Precision {
    /// Packed operands count in units of 4 bytes: an f32, or two bf16 that are neighbours along K.
    pub(crate) const fn units(self, k: usize) -> usize {
        match self {
            Precision::F32 => k,
            Precision::Bf16 => k.div_ceil(2),
        }
    }

    /// Units of right-hand panels, and of left-hand tiles: whole tiles of K for bf16. Those past the last value are zero.
    pub(crate) const fn padded_units(self, k: usize) -> usize {
        match self {
            Precision::F32 => k,
            Precision::Bf16 => k.div_ceil(2).next_multiple_of(TILE),
        }
    }

    /// Values in a unit.
    const fn per_unit(self) -> usize {
        match self {
            Precision::F32 => 1,
            Precision::Bf16 => 2,
        }
    }
}

/// What C starts from.
#[derive(Clone, Copy)]
pub(crate) enum Init {
    Zero,
    /// C itself: the product is added to it.
    Accumulate,
    /// Another matrix of C's shape (a residual).
    From(Mat),
    /// One row, repeated (a bias).
    Row(Mat),
}

impl Init {
    /// The matrix that C starts from, if that is another.
    fn source(&self) -> Option<Mat> {
        match *self {
            Init::From(mat) | Init::Row(mat) => Some(mat),
            Init::Zero | Init::Accumulate => None,
        }
    }

    /// Asserts that C can start from it: of C's shape, or one row of it, and apart from C.
    fn assert_fits(&self, c: Mat) {
        let rows = if let Init::Row(_) = self { 1 } else { c.rows() };
        if let Some(source) = self.source() {
            assert_eq!((source.rows(), source.cols()), (rows, c.cols()), "a sum starts from a matrix of another shape");
            assert_apart(&[c.place()], &[source.place()]);
        }
    }
}

/// The pairs of operands that a product sums over: a weight and its adapter, at most.
pub(crate) type Segments<'a> = [Option<(Lhs, Rhs<'a>)>; 2];

/// `c = init + Σ lhs·rhs` over the segments; without any, nothing happens. All left-hand operands have `c.rows()` rows, all
/// right-hand ones `c.cols()` columns.
#[derive(Clone, Copy)]
pub(crate) struct GemmProduct<'a> {
    pub(crate) segments: Segments<'a>,
    pub(crate) init: Init,
    pub(crate) c: Mat,
}

/// One product of at most two pairs of operands.
pub(crate) fn gemm(ctx: &mut Context, segments: &[(Lhs, Rhs<'_>)], init: Init, c: Mat) {
    assert!(segments.len() <= 2, "a product of {} pairs of operands", segments.len());
    let segments = std::array::from_fn(|i| segments.get(i).copied());
    gemm_all(ctx, &[GemmProduct { segments, init, c }]);
}

/// Products that do not depend on each other, as one op: with few rows, what an op costs to start is a good part of its time, and
/// small products share the threads better together.
pub(crate) fn gemm_all<const N: usize>(ctx: &mut Context, products: &[GemmProduct<'_>; N]) {
    for GemmProduct { segments, init, c } in products {
        for (lhs, rhs) in segments.iter().flatten() {
            assert_eq!((lhs.m, rhs.n(), lhs.k), (c.rows(), c.cols(), rhs.k()), "operands of different shapes");
            assert_eq!(lhs.precision, rhs.precision(), "operands of different precisions");
            assert!(lhs.k > 0, "a product that sums over nothing");
        }
        if let [Some((first, _)), Some((second, _))] = segments {
            assert_eq!(first.precision, second.precision, "pairs of operands of different precisions");
        }
        init.assert_fits(*c);
    }
    let mark = ctx.mark();
    let threads = ctx.threads();
    let is_tiled = |product: &GemmProduct<'_>| {
        let mut segments = product.segments.iter().flatten();
        segments.next().is_some_and(|(lhs, _)| amx::is_used(ctx.isa(), lhs.precision))
    };
    let uses_tiles = products.each_ref().map(is_tiled);
    let floats = products.iter().zip(uses_tiles).map(|(product, uses_tiles)| match uses_tiles {
        true => amx::job::scratch(product, threads),
        false => job::SCRATCH,
    });
    let floats = floats.max().unwrap_or(0);
    let scratch = ctx.thread_scratch(floats);
    if !ctx.planning() {
        // The products run at once: what one of them writes is read and written by none of the others.
        let written = products.each_ref().map(|product| product.c.place());
        assert_apart(&written, &[scratch.place()]);
        for GemmProduct { segments, init, .. } in products {
            let packed = segments.iter().flatten().flat_map(|(lhs, rhs)| [Some(lhs.packed.place()), rhs.place()]);
            for read in packed.chain([init.source().map(|source| source.place())]).flatten() {
                written.iter().chain([&scratch.place()]).for_each(|written| assert_apart(&[*written], &[read]));
            }
        }
        let _span = ctx.span(Kind::Matrix);
        let jobs: [Work<'_>; N] = std::array::from_fn(|i| match uses_tiles[i] {
            true => Work::Tiles(amx::job::TileJob::new(Placed::new(ctx, &products[i], scratch), &products[i], threads)),
            false => Work::Panels(job::PanelJob::new(Placed::new(ctx, &products[i], scratch), &products[i], threads)),
        });
        ctx.parallel(jobs.iter().map(Work::tasks).sum(), |mut task| {
            for job in &jobs {
                if task < job.tasks() {
                    return job.run(task);
                }
                task -= job.tasks();
            }
        });
    }
    ctx.release(mark);
}

/// A product cut into tasks, for the unit that computes it.
enum Work<'a> {
    Panels(job::PanelJob<'a>),
    Tiles(amx::job::TileJob<'a>),
}

impl Work<'_> {
    fn tasks(&self) -> usize {
        match self {
            Work::Panels(job) => job.tasks(),
            Work::Tiles(job) => job.tasks(),
        }
    }

    fn run(&self, task: usize) {
        match self {
            Work::Panels(job) => job.run(task),
            Work::Tiles(job) => job.run(task),
        }
    }
}

/// Up to this number of rows, distributing tasks costs more than it gains in balance.
const FEW_ROWS: usize = 64;
/// Panels of one task, where it has few rows.
const PANELS_OF_FEW_ROWS: usize = 2;

/// The number of groups of panels, increased so that each thread gets as many tasks.
fn even(groups: usize, row_blocks: usize, threads: usize, panels: usize) -> usize {
    ((groups * row_blocks).next_multiple_of(threads) / row_blocks).clamp(1, panels.max(1))
}

/// A product with access to all memory that its tasks touch.
struct Placed<'a> {
    segments: [Option<Segment<'a>>; 2],
    init: Init,
    source: Option<View>,
    c: View,
    scratch: View,
    isa: Isa,
}

impl<'a> Placed<'a> {
    fn new(ctx: &Context, product: &GemmProduct<'a>, scratch: Mat) -> Placed<'a> {
        let GemmProduct { segments, init, c } = *product;
        Placed {
            segments: segments.map(|segment| Some(Segment::new(ctx, segment?))),
            init,
            source: init.source().map(|source| ctx.view(source)),
            c: ctx.view(c),
            scratch: ctx.view(scratch),
            isa: ctx.isa(),
        }
    }
}

/// A pair of operands, with access to those in scratch.
struct Segment<'a> {
    lhs: Lhs,
    left: View<u32>,
    rhs: Rhs<'a>,
    right: Option<View<u32>>,
}

impl<'a> Segment<'a> {
    fn new(ctx: &Context, (lhs, rhs): (Lhs, Rhs<'a>)) -> Segment<'a> {
        let right = if let Rhs::Scratch { panels, .. } = rhs { Some(ctx.view(panels)) } else { None };
        Segment { lhs, left: ctx.view(lhs.packed), rhs, right }
    }

    /// Units `u0 .. u0 + depth` of a right-hand panel, if they need not be built.
    fn ready(&self, panel: usize, u0: usize, depth: usize) -> Option<&[u32]> {
        match self.rhs {
            Rhs::Weight { panels } => panels.ready(panel, u0, depth),
            Rhs::Scratch { k, precision, .. } => {
                let view = self.right.expect("a view was made for every scratch operand");
                let start = (panel * precision.padded_units(k) + u0) * NR;
                assert!(start + depth * NR <= view.rows * view.cols);
                // SAFETY: within the packed matrix, as just asserted, which is only read while it is multiplied.
                Some(unsafe { std::slice::from_raw_parts(view.ptr.add(start), depth * NR) })
            }
            Rhs::WeightTransposed { .. } => None,
        }
    }

    /// Units `u0 .. u0 + depth` of a right-hand panel. What has to be built goes to `scratch`.
    fn block<'b>(&'b self, isa: Isa, panel: usize, u0: usize, depth: usize, scratch: &'b mut [u32]) -> &'b [u32] {
        match self.rhs {
            Rhs::WeightTransposed { panels } => {
                panels.turned_block(isa, panel * NR, u0, depth, scratch);
                &scratch[..depth * NR]
            }
            Rhs::Weight { panels } => panels.block(isa, panel, u0, depth, scratch),
            Rhs::Scratch { .. } => self.ready(panel, u0, depth).expect("scratch is ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pack::round_bf16;
    use super::*;
    use crate::check::{assert_close, random};

    struct Case {
        m: usize,
        n: usize,
        k: usize,
    }

    const CASES: [Case; 12] = [
        Case { m: 0, n: 20, k: 9 },
        Case { m: 3, n: 0, k: 9 },
        Case { m: 17, n: 32, k: 31 },
        Case { m: 33, n: 64, k: 32 },
        Case { m: 513, n: 50, k: 297 },
        Case { m: 1, n: 16, k: 8 },
        Case { m: 5, n: 3, k: 7 },
        Case { m: 13, n: 40, k: 300 },
        Case { m: 260, n: 33, k: 513 },
        Case { m: 6, n: 576, k: 64 },
        Case { m: 7, n: 130, k: 1025 },
        Case { m: 100, n: 1, k: 1 },
    ];

    fn rounded(values: &[f32], precision: Precision) -> Vec<f32> {
        values.iter().map(|&x| if precision == Precision::Bf16 { round_bf16(x) } else { x }).collect()
    }

    /// All right-hand forms of one product against f64 and against the `gemm` crate.
    fn check(isa: Isa, precision: Precision, threads: usize) {
        for Case { m, n, k } in CASES {
            let x = random(1, m * k);
            let w = random(2, n * k);
            let transposed: Vec<f32> = (0..k * n).map(|i| w[(i % n) * k + i / n]).collect();
            let bias = random(3, n);
            let (xr, wr) = (rounded(&x, precision), rounded(&w, precision));
            let mut expected = vec![0f64; m * n];
            for i in 0..m {
                for j in 0..n {
                    let sum: f64 = (0..k).map(|l| f64::from(xr[i * k + l]) * f64::from(wr[j * k + l])).sum();
                    expected[i * n + j] = sum + f64::from(bias[j]);
                }
            }
            let mut panels = Panels::zeroed(precision, n, k);
            w.chunks_exact(k).enumerate().for_each(|(row, values)| panels.set_row(row, values));
            let mut panels_t = Panels::zeroed(precision, k, n);
            transposed.chunks_exact(n.max(1)).enumerate().for_each(|(row, values)| panels_t.set_row(row, values));

            let mut ctx = Context::cpu(threads).with_isa(isa);
            let xm = ctx.upload_persistent(m, k, &x);
            let wm = ctx.upload_persistent(n, k, &w);
            let wt = ctx.upload_persistent(k, n, &transposed);
            let bm = ctx.upload_persistent(1, n, &bias);
            let out: Vec<Mat> = (0..4).map(|_| ctx.persistent(m, n)).collect();
            let run = |ctx: &mut Context| {
                ctx.reset();
                let lhs = pack_lhs(ctx, xm, precision);
                gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels })], Init::Row(bm), out[0]);
                gemm(ctx, &[(lhs, Rhs::WeightTransposed { panels: &panels_t })], Init::Row(bm), out[1]);
                let nk = pack_rhs(ctx, wm, Order::Nk, 1.0, precision);
                gemm(ctx, &[(lhs, nk)], Init::Row(bm), out[2]);
                let kn = pack_rhs(ctx, wt, Order::Kn, 1.0, precision);
                gemm(ctx, &[(lhs, kn)], Init::Row(bm), out[3]);
            };
            ctx.plan(run);
            run(&mut ctx);
            let results: Vec<Vec<f32>> = out.iter().map(|&o| ctx.download(o)).collect();
            let what = format!("{m}×{n}×{k} {precision:?} {isa:?}");
            assert_close(&what, &results[0], &expected, 2e-6 * (k as f64).sqrt().max(2.0));
            for (i, other) in results.iter().enumerate().skip(1) {
                let is_equal = &results[0] == other;
                assert!(is_equal, "{what}: form {i} differs in some bit");
            }
        }
    }

    #[test]
    fn every_form_agrees_with_f64_and_with_each_other_bit_for_bit() {
        for precision in [Precision::F32, Precision::Bf16] {
            for isa in Isa::tested() {
                check(isa, precision, 1);
                check(isa, precision, 3);
            }
        }
    }

    #[test]
    fn agrees_with_the_gemm_crate() {
        let (m, n, k) = (37, 65, 129);
        let (x, w) = (random(1, m * k), random(2, n * k));
        let mut expected = vec![0f32; m * n];
        // SAFETY: the strides describe row-major matrices of these sizes.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                expected.as_mut_ptr(),
                1,
                n as isize,
                false,
                x.as_ptr(),
                1,
                k as isize,
                w.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        let mut panels = Panels::zeroed(Precision::F32, n, k);
        w.chunks_exact(k).enumerate().for_each(|(row, values)| panels.set_row(row, values));
        let mut ctx = Context::cpu(1);
        let (xm, c) = (ctx.upload_persistent(m, k, &x), ctx.persistent(m, n));
        let run = |ctx: &mut Context| {
            let lhs = pack_lhs(ctx, xm, Precision::F32);
            gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels })], Init::Zero, c);
        };
        ctx.plan(run);
        run(&mut ctx);
        let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
        assert_close("gemm crate", &ctx.download(c), &expected, 1e-5);
    }

    #[test]
    fn a_row_has_the_same_bits_alone_or_among_others() {
        Isa::tested().for_each(check_rows);
    }

    fn check_rows(isa: Isa) {
        let (m, n, k) = (300, 48, 700);
        let x = random(5, m * k);
        let w = random(6, n * k);
        let mut panels = Panels::zeroed(Precision::Bf16, n, k);
        w.chunks_exact(k).enumerate().for_each(|(row, values)| panels.set_row(row, values));
        let product = |rows: std::ops::Range<usize>, threads| {
            let mut ctx = Context::cpu(threads).with_isa(isa);
            let xm = ctx.upload_persistent(rows.len(), k, &x[rows.start * k..rows.end * k]);
            let c = ctx.persistent(rows.len(), n);
            let run = |ctx: &mut Context| {
                let lhs = pack_lhs(ctx, xm, Precision::Bf16);
                gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels })], Init::Zero, c);
            };
            ctx.plan(run);
            run(&mut ctx);
            ctx.download(c)
        };
        let all = product(0..m, 2);
        for row in [0, 1, 5, 6, 251, 252, 299] {
            assert_eq!(product(row..row + 1, 1), all[row * n..(row + 1) * n], "{isa:?}, row {row}");
        }
    }
}
