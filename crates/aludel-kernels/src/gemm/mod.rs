//! The one matrix-multiply driver: packed panels, register-blocked micro-kernels, and sums over several operand pairs.
//!
//! `C = init + Σ_segments L·R`, where a segment is a pair of packed operands; LoRA is the second segment of its linear.
//! Every element of C sums over K in one fixed order, whatever the number of rows, the blocking or the threads: blocks of K
//! carry their partial sums through C, which is f32, so that cutting K changes no bit. Packing A and B panels follows
//! Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

mod coded;
mod micro;
mod operand;
mod pack;
pub(crate) mod tile;
mod tokens;

pub(crate) use coded::{CodedPanels, Rounded, multiply_coded, round_rows};
use micro::Tile;
pub(crate) use operand::{Lhs, Order, Panels, Rhs, pack_lhs, pack_rhs, pack_written};
pub(crate) use pack::pair;
pub(crate) use tokens::add_token_products;

use std::ops::Range;

use crate::device::{Context, Mat, View, assert_apart};
use crate::profile::Kind;
use crate::simd::{Isa, prefetch};

/// Columns of a right-hand panel.
pub(crate) const NR: usize = 32;
/// Rows of a left-hand panel.
const MR: usize = 12;
/// Units of a block of K: one right-hand panel block of it (36 KB) streams from L2. A multiple of [`NR`].
const KC: usize = 288;
/// Rows of one task, a multiple of [`MR`]: with [`KC`] the left-hand block (580 KB) stays in L2, and a pass of 1,024 tokens is two
/// such blocks, for each of which a transposed block of a weight is built once.
const MC: usize = 516;
/// Panels of one task, where it has few rows: handing out tasks then costs more than it evens out.
const PANELS_OF_FEW_ROWS: usize = 2;
/// So many rows are few.
const FEW_ROWS: usize = 64;
/// Units of K from which on a left-hand operand (2 MB for [`MC`] rows) is better read once for several panels.
const DEEP: usize = 4 * KC;
/// Floats of C that one task holds in L2 while it goes through several blocks of K: the left-hand block then serves several panels.
const TASK_FLOATS: usize = 74_000;

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
            assert_apart(&[c], &[source]);
        }
    }
}

/// The pairs of operands that a product sums over: a weight and its adapter, at most.
pub(crate) type Segments<'a> = [Option<(Lhs, Rhs<'a>)>; 2];

/// `c = init + Σ lhs·rhs` over the segments; without any, nothing happens. All left-hand operands have `c.rows()` rows, all
/// right-hand ones `c.cols()` columns.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) segments: Segments<'a>,
    pub(crate) init: Init,
    pub(crate) c: Mat,
}

/// One product of at most two pairs of operands.
pub(crate) fn gemm(ctx: &mut Context, segments: &[(Lhs, Rhs<'_>)], init: Init, c: Mat) {
    assert!(segments.len() <= 2, "a product of {} pairs of operands", segments.len());
    let segments = std::array::from_fn(|i| segments.get(i).copied());
    gemm_all(ctx, &[Product { segments, init, c }]);
}

/// Products that do not depend on each other, as one op: with few rows, what an op costs to start is a good part of its time, and
/// small products share the threads better together.
pub(crate) fn gemm_all<const N: usize>(ctx: &mut Context, products: &[Product<'_>; N]) {
    for Product { segments, init, c } in products {
        for (lhs, rhs) in segments.iter().flatten() {
            assert_eq!((lhs.m, rhs.n(), lhs.k), (c.rows(), c.cols(), rhs.k()), "operands of different shapes");
            assert_eq!(lhs.precision, rhs.precision(), "operands of different precisions");
        }
        init.assert_fits(*c);
    }
    let mark = ctx.mark();
    let block = ctx.thread_scratch(KC * NR);
    if !ctx.planning() {
        // The products run at once: what one of them writes is read and written by none of the others.
        let written = products.each_ref().map(|product| product.c);
        assert_apart(&written, &[block]);
        for Product { segments, init, .. } in products {
            let packed = segments.iter().flatten().flat_map(|(lhs, rhs)| [Some(lhs.packed), rhs.memory()]);
            for read in packed.chain([init.source()]).flatten() {
                written.iter().chain([&block]).for_each(|written| assert_apart(&[*written], &[read]));
            }
        }
        let _span = ctx.span(Kind::Matrix);
        let jobs = products.each_ref().map(|product| Job::new(ctx, product, block));
        ctx.parallel(jobs.iter().map(Job::tasks).sum(), |mut task| {
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

/// In how many groups the panels of a product are dealt out. Bits do not depend on it.
fn groups(product: &Product<'_>, threads: usize) -> usize {
    let (rows, panels) = (product.c.rows(), product.c.cols().div_ceil(NR));
    if rows <= FEW_ROWS {
        return panels.div_ceil(PANELS_OF_FEW_ROWS);
    }
    if product.segments.iter().flatten().all(|(lhs, _)| lhs.precision.units(lhs.k) <= DEEP) {
        return panels;
    }
    let row_blocks = rows.div_ceil(MC);
    let groups = panels.div_ceil((TASK_FLOATS / (rows.min(MC) * NR)).max(1));
    // as many tasks for each thread
    ((groups * row_blocks).next_multiple_of(threads) / row_blocks).clamp(1, panels.max(1))
}

struct Job<'a> {
    segments: [Option<Segment<'a>>; 2],
    init: Init,
    source: Option<View>,
    c: View,
    block: View,
    isa: Isa,
    /// Panels are dealt out in so many groups of almost equal size.
    groups: usize,
}

/// A pair of operands, with access to those in scratch.
struct Segment<'a> {
    lhs: Lhs,
    left: View,
    rhs: Rhs<'a>,
    right: Option<View>,
}

impl<'a> Segment<'a> {
    fn new(ctx: &Context, (lhs, rhs): (Lhs, Rhs<'a>)) -> Segment<'a> {
        let right = if let Rhs::Scratch { panels, .. } = rhs { Some(ctx.view(panels)) } else { None };
        Segment { lhs, left: ctx.view(lhs.packed), rhs, right }
    }
}

impl<'a> Job<'a> {
    fn new(ctx: &Context, product: &Product<'a>, block: Mat) -> Job<'a> {
        let Product { segments, init, c } = *product;
        Job {
            segments: segments.map(|segment| Some(Segment::new(ctx, segment?))),
            init,
            source: init.source().map(|source| ctx.view(source)),
            c: ctx.view(c),
            block: ctx.view(block),
            isa: ctx.isa(),
            groups: groups(product, ctx.threads()),
        }
    }

    fn row_blocks(&self) -> usize {
        self.c.rows.div_ceil(MC)
    }

    fn panels(&self) -> usize {
        self.c.cols.div_ceil(NR)
    }

    fn tasks(&self) -> usize {
        let is_empty = self.segments.iter().all(Option::is_none);
        if is_empty { 0 } else { self.row_blocks() * self.groups }
    }

    fn run(&self, task: usize) {
        let (row_block, group) = (task % self.row_blocks(), task / self.row_blocks());
        let rows = row_block * MC..self.c.rows.min((row_block + 1) * MC);
        let panels = self.panels() * group / self.groups..self.panels() * (group + 1) / self.groups;
        let mut first = true;
        for segment in self.segments.iter().flatten() {
            let units = segment.lhs.precision.units(segment.lhs.k);
            for u0 in (0..units).step_by(KC) {
                for panel in panels.clone() {
                    self.panel(segment, panel, rows.clone(), u0..units.min(u0 + KC), first);
                }
                first = false;
            }
        }
    }

    /// One block of K for one panel of columns and a range of rows; the first block starts the sums.
    fn panel(&self, segment: &Segment<'_>, panel: usize, rows: Range<usize>, units: Range<usize>, first: bool) {
        let (lhs, depth) = (segment.lhs, units.len());
        let right = self.block(segment, panel, units.start, depth);
        for row in rows.clone().step_by(MR) {
            let height = MR.min(lhs.m - row);
            // SAFETY: the left-hand panel that starts at `row` holds `height` times all units from `row` times as many on, of which
            // this block starts at `units.start·height`.
            let left = unsafe {
                let start = row * lhs.precision.units(lhs.k) + units.start * height;
                segment.left.ptr.cast::<u32>().add(start)
            };
            if first && row + MR < rows.end {
                self.fetch(row + MR, panel * NR);
            }
            let operands = Operands { precision: lhs.precision, height, depth, left, right };
            self.tile(operands, row, panel * NR, first);
        }
    }

    /// Brings near what the tile at `row` and `column` starts from and what it writes: its sums cannot begin before the one is there, and
    /// stores wait for the other.
    fn fetch(&self, row: usize, column: usize) {
        let source = if let Init::From(_) = self.init { self.source.as_ref() } else { None };
        for view in source.into_iter().chain([&self.c]) {
            for r in row..self.c.rows.min(row + MR) {
                // SAFETY: within C, or a source of C's shape; nothing is read.
                prefetch(unsafe { view.ptr.add(r * view.ld + column) }, NR.min(self.c.cols - column));
            }
        }
    }

    /// Units `u0 .. u0 + depth` of a right-hand panel, building them in this thread's scratch where needed.
    fn block(&self, segment: &Segment<'_>, panel: usize, u0: usize, depth: usize) -> *const u32 {
        match segment.rhs {
            Rhs::Weight { panels, .. } => panels.block(panel, u0, depth).as_ptr(),
            Rhs::Scratch { k, precision, .. } => {
                let view = segment.right.expect("a view was made for every scratch operand");
                let start = (panel * precision.units(k) + u0) * NR;
                assert!(start + depth * NR <= view.rows * view.cols);
                // SAFETY: within the packed matrix, as just asserted.
                unsafe { view.ptr.cast::<u32>().add(start).cast_const() }
            }
            Rhs::WeightTransposed { panels, .. } => {
                // SAFETY: this row of the thread scratch belongs to the present thread alone.
                let scratch = unsafe { self.block.row_mut(Context::thread_index()) };
                let scratch = bytemuck::cast_slice_mut(scratch);
                panels.turned_block(self.isa, panel * NR, u0, depth, scratch);
                scratch.as_ptr()
            }
        }
    }

    /// One register tile: loads what C holds so far, multiplies, stores.
    fn tile(&self, operands: Operands, row: usize, column: usize, first: bool) {
        let Operands { precision, height, depth, left, right } = operands;
        let columns = NR.min(self.c.cols - column);
        // SAFETY: rows `row..row + height` and columns `column..column + columns` lie within C, and only this task writes them;
        // the source of `init` has C's shape (or one row) and is not written. The same holds for the rest of the function.
        let c = unsafe { self.c.ptr.add(row * self.c.ld + column) };
        let (from, from_ld): (Option<*const f32>, usize) = if first {
            match (self.init, self.source) {
                (Init::Accumulate, _) => (Some(c), self.c.ld),
                (Init::From(_), Some(source)) => {
                    // SAFETY: as above.
                    (Some(unsafe { source.ptr.add(row * source.ld + column) }), source.ld)
                }
                // SAFETY: as above; a leading dimension of 0 repeats the one row.
                (Init::Row(_), Some(source)) => (Some(unsafe { source.ptr.add(column) }), 0),
                _ => (None, 0),
            }
        } else {
            (Some(c), self.c.ld)
        };
        let width = columns.div_ceil(16);
        let tile = Tile { precision, height, width, depth, left, right, right_ld: NR, from, from_ld, c, ld: self.c.ld };
        if columns == 16 * width {
            // SAFETY: the tile lies inside C and the source.
            unsafe { micro::tile(self.isa, &tile) };
            return;
        }
        let mut edge = [[0f32; NR]; MR];
        if let Some(from) = from {
            for (r, values) in edge.iter_mut().enumerate().take(height) {
                // SAFETY: `columns` columns of row `r` lie within the source.
                let source = unsafe { std::slice::from_raw_parts(from.add(r * from_ld), columns) };
                values[..columns].copy_from_slice(source);
            }
        }
        let target = edge.as_mut_ptr().cast::<f32>();
        let inner = Tile { from: Some(target.cast_const()), from_ld: NR, c: target, ld: NR, ..tile };
        // SAFETY: `edge` is a full tile of its own.
        unsafe { micro::tile(self.isa, &inner) };
        for (r, values) in edge.iter().enumerate().take(height) {
            // SAFETY: `columns` columns of row `r` lie within C.
            let target = unsafe { std::slice::from_raw_parts_mut(c.add(r * self.c.ld), columns) };
            target.copy_from_slice(&values[..columns]);
        }
    }
}

/// The blocks that a register tile multiplies.
#[derive(Clone, Copy)]
struct Operands {
    precision: Precision,
    height: usize,
    depth: usize,
    left: *const u32,
    right: *const u32,
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

    const CASES: [Case; 7] = [
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
            transposed.chunks_exact(n).enumerate().for_each(|(row, values)| panels_t.set_row(row, values));

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
            for &isa in Isa::supported() {
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
        let (m, n, k) = (300, 48, 700);
        let x = random(5, m * k);
        let w = random(6, n * k);
        let mut panels = Panels::zeroed(Precision::Bf16, n, k);
        w.chunks_exact(k).enumerate().for_each(|(row, values)| panels.set_row(row, values));
        let product = |rows: std::ops::Range<usize>, threads| {
            let mut ctx = Context::cpu(threads);
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
            assert_eq!(product(row..row + 1, 1), all[row * n..(row + 1) * n], "row {row}");
        }
    }
}
