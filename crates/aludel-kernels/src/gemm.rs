//! The one matrix-multiply driver: packed panels, register-blocked micro-kernels, and sums over several operand pairs.
//!
//! `C = init + Σ_segments L·R`, where a segment is a pair of packed operands; LoRA is the second segment of its linear.
//! Every element of C sums over K in one fixed order, whatever the number of rows, the blocking or the threads: blocks of K
//! carry their partial sums through C, which is f32, so that cutting K changes no bit. Packing A and B panels follows
//! Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

use crate::device::{Context, Mat, View};
use crate::simd::{Isa, multiversion};

/// Columns of a right-hand panel.
pub(crate) const NR: usize = 16;
/// Rows of a left-hand panel.
const MR: usize = 6;
/// Depth of a block of K: one right-hand panel block of it (16 KB) stays in L1. A multiple of [`NR`].
const KC: usize = 256;
/// Rows of one task, a multiple of [`MR`]: with [`KC`] the left-hand block (252 KB) stays in L2.
const MC: usize = 252;
/// Panels of one task.
const PANELS_PER_TASK: usize = 4;

/// How GEMM inputs are rounded. Accumulation is f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Inputs stay f32.
    F32,
    /// Inputs are rounded to bfloat16 (nearest even).
    Bf16,
}

/// Rounds to the nearest bfloat16 (ties to even) and returns it widened again; NaN stays NaN.
#[inline(always)]
pub(crate) fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if x.is_nan() { x } else { f32::from_bits(rounded) }
}

/// Weights packed for the right-hand side of `y = x·Wᵀ`, W being `[d_out, d_in]`: panels of [`NR`] outputs.
/// f32: `[panel][k][NR]`. bf16: `[panel][k/2][NR][2]`, two consecutive k of a column side by side, the order that
/// dot-product instructions want. The last panel and an odd last k are padded with zeros.
pub(crate) enum Panels {
    F32(Vec<f32>),
    Bf16(Vec<u32>),
}

impl Panels {
    pub(crate) fn zeroed(precision: Precision, n: usize, k: usize) -> Panels {
        let panels = n.div_ceil(NR);
        match precision {
            Precision::F32 => Panels::F32(vec![0.0; panels * k * NR]),
            Precision::Bf16 => Panels::Bf16(vec![0; panels * k.div_ceil(2) * NR]),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Panels::F32(p) => p.len() * 4,
            Panels::Bf16(p) => p.len() * 4,
        }
    }

    /// Writes row `n` of W.
    pub(crate) fn set_row(&mut self, n: usize, row: &[f32]) {
        let k = row.len();
        match self {
            Panels::F32(p) => {
                let panel = &mut p[n / NR * k * NR..];
                for (i, &x) in row.iter().enumerate() {
                    panel[i * NR + n % NR] = x;
                }
            }
            Panels::Bf16(p) => {
                let panel = &mut p[n / NR * k.div_ceil(2) * NR..];
                for (i, pair) in row.chunks(2).enumerate() {
                    let low = round_bf16(pair[0]).to_bits() >> 16;
                    let high = pair.get(1).map_or(0, |&x| round_bf16(x).to_bits() & 0xffff_0000);
                    panel[i * NR + n % NR] = high | low;
                }
            }
        }
    }
}

/// A right-hand operand.
#[derive(Clone, Copy)]
pub(crate) enum Rhs<'a> {
    /// `Wᵀ` for packed W `[n, k]`: the forward of a linear.
    Weight { panels: &'a Panels, n: usize, k: usize },
    /// `W` for packed W `[k, n]`: the backward of a linear. Its panels are built block by block in scratch.
    WeightTransposed { panels: &'a Panels, n: usize, k: usize },
    /// f32 panels in scratch, made by [`pack_rhs`].
    Scratch { panels: Mat, n: usize, k: usize },
}

impl Rhs<'_> {
    fn n(&self) -> usize {
        match *self {
            Rhs::Weight { n, .. } | Rhs::WeightTransposed { n, .. } | Rhs::Scratch { n, .. } => n,
        }
    }

    fn k(&self) -> usize {
        match *self {
            Rhs::Weight { k, .. } | Rhs::WeightTransposed { k, .. } | Rhs::Scratch { k, .. } => k,
        }
    }
}

/// A left-hand operand in scratch: panels of [`MR`] rows, `[panel][k][rows of the panel]`, rounded as the precision says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lhs {
    packed: Mat,
    pub(crate) m: usize,
    pub(crate) k: usize,
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

/// How the elements of a source matrix are laid out for [`pack_rhs`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `[n, k]`, like a weight.
    Nk,
    /// `[k, n]`.
    Kn,
}

/// Packs all rows of `x` (`[m, k]`) as a left-hand operand.
pub(crate) fn pack_lhs(ctx: &mut Context, x: Mat, precision: Precision) -> Lhs {
    let (m, k) = (x.rows(), x.cols());
    let packed = ctx.scratch(1, m * k);
    if !ctx.planning() && m * k > 0 {
        let (source, target) = (ctx.view(x), ctx.view(packed));
        let isa = ctx.isa();
        let panels_per_task = 8;
        ctx.parallel(m.div_ceil(MR).div_ceil(panels_per_task), |task| {
            let first = task * panels_per_task * MR;
            for row in (first..m.min(first + panels_per_task * MR)).step_by(MR) {
                let rows = MR.min(m - row);
                // SAFETY: the panel of rows `row..row + rows` takes elements `row·k .. (row + rows)·k` of the packed
                // matrix, and only this task writes them; the source is only read.
                let (from, to) = unsafe {
                    let to = std::slice::from_raw_parts_mut(target.at(row * k), rows * k);
                    (std::slice::from_raw_parts(source.at(row * source.ld()), (rows - 1) * source.ld() + k), to)
                };
                pack_lhs_panel(isa, from, source.ld(), rows, precision == Precision::Bf16, to);
            }
        });
    }
    Lhs { packed, m, k }
}

multiversion! {
    /// `to[i·rows + r] = from[r·ld + i]`, rounded to bf16 if asked.
    fn pack_lhs_panel(from: &[f32], ld: usize, rows: usize, round: bool, to: &mut [f32]) {
        let k = to.len() / rows;
        for r in 0..rows {
            let row = &from[r * ld..r * ld + k];
            if round {
                for (i, &x) in row.iter().enumerate() {
                    to[i * rows + r] = round_bf16(x);
                }
            } else {
                for (i, &x) in row.iter().enumerate() {
                    to[i * rows + r] = x;
                }
            }
        }
    }
}

/// Packs a small f32 matrix, times `scale`, as a right-hand operand.
pub(crate) fn pack_rhs<'a>(ctx: &mut Context, source: Mat, order: Order, scale: f32, precision: Precision) -> Rhs<'a> {
    let (n, k) = match order {
        Order::Nk => (source.rows(), source.cols()),
        Order::Kn => (source.cols(), source.rows()),
    };
    let panels = ctx.scratch(n.div_ceil(NR), k * NR);
    if !ctx.planning() {
        let (from, to) = (ctx.view(source), ctx.view(panels));
        ctx.parallel(panels.rows(), |panel| {
            // SAFETY: each task writes its own row of `panels`; the source is only read.
            let out = unsafe { to.row_mut(panel) };
            for (kk, group) in out.chunks_exact_mut(NR).enumerate() {
                for (c, slot) in group.iter_mut().enumerate() {
                    let column = panel * NR + c;
                    let value = if column >= n {
                        0.0
                    } else {
                        // SAFETY: as above.
                        scale * unsafe { if order == Order::Nk { from.row(column)[kk] } else { from.row(kk)[column] } }
                    };
                    *slot = if precision == Precision::Bf16 { round_bf16(value) } else { value };
                }
            }
        });
    }
    Rhs::Scratch { panels, n, k }
}

/// `c = init + Σ lhs·rhs` over the segments. All left-hand operands have `c.rows()` rows, all right-hand ones
/// `c.cols()` columns.
pub(crate) fn gemm(ctx: &mut Context, segments: &[(Lhs, Rhs<'_>)], init: Init, c: Mat) {
    let (m, n) = (c.rows(), c.cols());
    for (lhs, rhs) in segments {
        assert_eq!((lhs.m, rhs.n(), lhs.k), (m, n, rhs.k()), "operands of different shapes");
    }
    let mark = ctx.mark();
    let block = ctx.thread_scratch(KC * NR);
    if !ctx.planning() && m * n > 0 {
        let job = Job {
            segments,
            lhs: segments.iter().map(|(lhs, _)| ctx.view(lhs.packed)).collect(),
            scratch_rhs: segments
                .iter()
                .map(|(_, rhs)| if let Rhs::Scratch { panels, .. } = rhs { Some(ctx.view(*panels)) } else { None })
                .collect(),
            init,
            source: match init {
                Init::From(mat) | Init::Row(mat) => Some(ctx.view(mat)),
                Init::Zero | Init::Accumulate => None,
            },
            c: ctx.view(c),
            block: ctx.view(block),
            isa: ctx.isa(),
        };
        if let Init::From(mat) = init {
            crate::device::assert_apart(&[c], &[mat]);
        }
        let (row_blocks, column_blocks) = (m.div_ceil(MC), n.div_ceil(NR * PANELS_PER_TASK));
        ctx.parallel(row_blocks * column_blocks, |task| {
            let (row_block, column_block) = (task % row_blocks, task / row_blocks);
            let rows = row_block * MC..m.min((row_block + 1) * MC);
            let first = column_block * PANELS_PER_TASK;
            for panel in first..n.div_ceil(NR).min(first + PANELS_PER_TASK) {
                job.panel(panel, rows.clone());
            }
        });
    }
    ctx.release(mark);
}

struct Job<'a> {
    segments: &'a [(Lhs, Rhs<'a>)],
    lhs: Vec<View>,
    scratch_rhs: Vec<Option<View>>,
    init: Init,
    source: Option<View>,
    c: View,
    block: View,
    isa: Isa,
}

/// A block of a right-hand panel: `k` rows of [`NR`] columns.
#[derive(Clone, Copy)]
enum Block {
    F32(*const f32),
    Bf16(*const u32),
}

impl Job<'_> {
    /// All of K for one panel of columns and a range of rows.
    fn panel(&self, panel: usize, rows: std::ops::Range<usize>) {
        let mut first = true;
        for (s, (lhs, rhs)) in self.segments.iter().enumerate() {
            for k0 in (0..lhs.k).step_by(KC) {
                let depth = KC.min(lhs.k - k0);
                let block = self.block(s, rhs, panel, k0, depth);
                for row in rows.clone().step_by(MR) {
                    let height = MR.min(lhs.m - row);
                    // SAFETY: the left-hand panel that starts at `row` holds `height × k` floats from `row·k` on, of which
                    // block `k0` starts at `k0·height`.
                    let left = unsafe { self.lhs[s].ptr.add(row * lhs.k + k0 * height) };
                    self.tile(height, depth, left, block, row, panel * NR, first);
                }
                first = false;
            }
        }
    }

    /// The block `k0 .. k0 + depth` of a right-hand panel, building it in this thread's scratch where needed.
    fn block(&self, segment: usize, rhs: &Rhs<'_>, panel: usize, k0: usize, depth: usize) -> Block {
        match *rhs {
            Rhs::Weight { panels: Panels::F32(p), k, .. } => Block::F32(p[(panel * k + k0) * NR..].as_ptr()),
            Rhs::Weight { panels: Panels::Bf16(p), k, .. } => {
                Block::Bf16(p[(panel * k.div_ceil(2) + k0 / 2) * NR..].as_ptr())
            }
            Rhs::Scratch { k, .. } => {
                let view = self.scratch_rhs[segment].expect("a view was made for every scratch operand");
                assert!((panel * k + k0 + depth) * NR <= view.rows * view.cols);
                // SAFETY: within the packed matrix, as just asserted.
                Block::F32(unsafe { view.ptr.add((panel * k + k0) * NR) })
            }
            Rhs::WeightTransposed { panels, n, .. } => {
                // SAFETY: this row of the thread scratch belongs to the present thread alone.
                let scratch = unsafe { self.block.row_mut(Context::thread_index()) };
                transpose_block(self.isa, panels, n, panel * NR, k0, depth, scratch);
                Block::F32(scratch.as_ptr())
            }
        }
    }

    /// One register tile: loads what C holds so far, multiplies, stores.
    fn tile(
        &self,
        height: usize,
        depth: usize,
        left: *const f32,
        right: Block,
        row: usize,
        column: usize,
        first: bool,
    ) {
        let width = NR.min(self.c.cols - column);
        let mut edge = [[0f32; NR]; MR];
        // SAFETY: rows `row..row + height` and columns `column..column + width` lie within C, and only this task writes them;
        // the source of `init` has C's shape (or one row) and is not written. The same holds for the rest of the function.
        let c = unsafe { self.c.ptr.add(row * self.c.ld + column) };
        let whole = width == NR;
        let (accumulate_from, ld): (Option<*const f32>, usize) = if first {
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
        if whole {
            // SAFETY: full-width tile inside C and the source.
            unsafe { micro(self.isa, height, depth, left, right, accumulate_from, ld, c, self.c.ld) };
            return;
        }
        if let Some(from) = accumulate_from {
            for (r, values) in edge.iter_mut().enumerate().take(height) {
                // SAFETY: `width` columns of row `r` lie within the source.
                values[..width].copy_from_slice(unsafe { std::slice::from_raw_parts(from.add(r * ld), width) });
            }
        }
        let tile = edge.as_mut_ptr().cast::<f32>();
        // SAFETY: `edge` is a full tile of its own.
        unsafe { micro(self.isa, height, depth, left, right, Some(tile.cast_const()), NR, tile, NR) };
        for (r, values) in edge.iter().enumerate().take(height) {
            // SAFETY: `width` columns of row `r` lie within C.
            unsafe { std::slice::from_raw_parts_mut(c.add(r * self.c.ld), width) }.copy_from_slice(&values[..width]);
        }
    }
}

/// Builds `out[o][j] = W[k0 + o][column + j]` from the forward panels of W `[k, n]` (panels over k, depth n). Columns past
/// n become zeros.
fn transpose_block(isa: Isa, panels: &Panels, n: usize, column: usize, k0: usize, depth: usize, out: &mut [f32]) {
    let width = NR.min(n - column);
    if width < NR {
        out[..depth * NR].fill(0.0);
    }
    for o in (0..depth).step_by(NR) {
        let rows = NR.min(depth - o);
        let target = &mut out[o * NR..(o + rows) * NR];
        let panel = (k0 + o) / NR;
        match panels {
            Panels::F32(p) => transpose_f32(isa, &p[(panel * n + column) * NR..], width, rows, target),
            Panels::Bf16(p) => {
                let start = (panel * n.div_ceil(2) + column / 2) * NR;
                transpose_bf16(isa, &p[start..], width, rows, target);
            }
        }
    }
}

multiversion! {
    fn transpose_f32(from: &[f32], width: usize, rows: usize, to: &mut [f32]) {
        for j in 0..width {
            let source = &from[j * NR..(j + 1) * NR];
            for o in 0..rows {
                to[o * NR + j] = source[o];
            }
        }
    }
}

multiversion! {
    fn transpose_bf16(from: &[u32], width: usize, rows: usize, to: &mut [f32]) {
        for pair in 0..width.div_ceil(2) {
            let source = &from[pair * NR..(pair + 1) * NR];
            for o in 0..rows {
                to[o * NR + 2 * pair] = f32::from_bits(source[o] << 16);
                to[o * NR + 2 * pair + 1] = f32::from_bits(source[o] & 0xffff_0000);
            }
        }
    }
}

/// The micro-kernel: `c[r][0..NR] = from[r] + Σ_k left[k][r]·right[k][0..NR]` for `height` rows.
///
/// # Safety
/// `left` holds `depth × height` floats, `right` a block of `depth`; `from` and `c` point to `height` rows of [`NR`] floats at
/// their leading dimensions; no one else touches those rows of `c`.
#[inline]
unsafe fn micro(
    isa: Isa,
    height: usize,
    depth: usize,
    left: *const f32,
    right: Block,
    from: Option<*const f32>,
    from_ld: usize,
    c: *mut f32,
    ld: usize,
) {
    macro_rules! by_height {
        ($($kernel:ident)::+) => {
            // SAFETY: the contract is passed on; AVX2 kernels run only where `Isa::detect` found AVX2 and FMA.
            unsafe {
                match height {
                    1 => $($kernel)::+::<1>(depth, left, right, from, from_ld, c, ld),
                    2 => $($kernel)::+::<2>(depth, left, right, from, from_ld, c, ld),
                    3 => $($kernel)::+::<3>(depth, left, right, from, from_ld, c, ld),
                    4 => $($kernel)::+::<4>(depth, left, right, from, from_ld, c, ld),
                    5 => $($kernel)::+::<5>(depth, left, right, from, from_ld, c, ld),
                    _ => $($kernel)::+::<MR>(depth, left, right, from, from_ld, c, ld),
                }
            }
        };
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => by_height!(avx2::tile),
        _ => by_height!(portable::tile),
    }
}

mod portable {
    use super::{Block, NR};

    /// # Safety
    /// As [`super::micro`].
    pub(super) unsafe fn tile<const M: usize>(
        depth: usize,
        left: *const f32,
        right: Block,
        from: Option<*const f32>,
        from_ld: usize,
        c: *mut f32,
        ld: usize,
    ) {
        let mut acc = [[0f32; NR]; M];
        // SAFETY: all accesses are within what the contract promises.
        unsafe {
            if let Some(from) = from {
                for (r, row) in acc.iter_mut().enumerate() {
                    row.copy_from_slice(std::slice::from_raw_parts(from.add(r * from_ld), NR));
                }
            }
            for k in 0..depth {
                let mut b = [0f32; NR];
                match right {
                    Block::F32(p) => b.copy_from_slice(std::slice::from_raw_parts(p.add(k * NR), NR)),
                    Block::Bf16(p) => {
                        for (j, slot) in b.iter_mut().enumerate() {
                            let pair = *p.add(k / 2 * NR + j);
                            *slot = f32::from_bits(if k % 2 == 0 { pair << 16 } else { pair & 0xffff_0000 });
                        }
                    }
                }
                for (r, row) in acc.iter_mut().enumerate() {
                    let a = *left.add(k * M + r);
                    for (slot, b) in row.iter_mut().zip(b) {
                        *slot += a * b;
                    }
                }
            }
            for (r, row) in acc.iter().enumerate() {
                std::slice::from_raw_parts_mut(c.add(r * ld), NR).copy_from_slice(row);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Block, NR};

    /// # Safety
    /// As [`super::micro`], and the processor must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile<const M: usize>(
        depth: usize,
        left: *const f32,
        right: Block,
        from: Option<*const f32>,
        from_ld: usize,
        c: *mut f32,
        ld: usize,
    ) {
        let mut acc = [[_mm256_setzero_ps(); 2]; M];
        // SAFETY: all accesses are within what the contract promises; loads and stores are the unaligned forms.
        unsafe {
            if let Some(from) = from {
                for (r, row) in acc.iter_mut().enumerate() {
                    row[0] = _mm256_loadu_ps(from.add(r * from_ld));
                    row[1] = _mm256_loadu_ps(from.add(r * from_ld + 8));
                }
            }
            match right {
                Block::F32(p) => {
                    for k in 0..depth {
                        let b0 = _mm256_loadu_ps(p.add(k * NR));
                        let b1 = _mm256_loadu_ps(p.add(k * NR + 8));
                        step(&mut acc, left.add(k * M), b0, b1);
                    }
                }
                Block::Bf16(p) => {
                    // An even k is the low half of each pair, an odd k the high half: widening is a shift or a mask.
                    let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
                    for pair in 0..depth / 2 {
                        let p0 = _mm256_loadu_si256(p.add(pair * NR).cast());
                        let p1 = _mm256_loadu_si256(p.add(pair * NR + 8).cast());
                        let even0 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p0));
                        let even1 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p1));
                        step(&mut acc, left.add(2 * pair * M), even0, even1);
                        let odd0 = _mm256_castsi256_ps(_mm256_and_si256(p0, high));
                        let odd1 = _mm256_castsi256_ps(_mm256_and_si256(p1, high));
                        step(&mut acc, left.add((2 * pair + 1) * M), odd0, odd1);
                    }
                    if depth % 2 == 1 {
                        let p0 = _mm256_loadu_si256(p.add(depth / 2 * NR).cast());
                        let p1 = _mm256_loadu_si256(p.add(depth / 2 * NR + 8).cast());
                        let even0 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p0));
                        let even1 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p1));
                        step(&mut acc, left.add((depth - 1) * M), even0, even1);
                    }
                }
            }
            for (r, row) in acc.iter().enumerate() {
                _mm256_storeu_ps(c.add(r * ld), row[0]);
                _mm256_storeu_ps(c.add(r * ld + 8), row[1]);
            }
        }
    }

    /// # Safety
    /// `left` holds M floats.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn step<const M: usize>(acc: &mut [[__m256; 2]; M], left: *const f32, b0: __m256, b1: __m256) {
        for (r, row) in acc.iter_mut().enumerate() {
            // SAFETY: `r < M`.
            let a = unsafe { _mm256_broadcast_ss(&*left.add(r)) };
            row[0] = _mm256_fmadd_ps(a, b0, row[0]);
            row[1] = _mm256_fmadd_ps(a, b1, row[1]);
        }
    }
}

/// A product of small tiles within one thread, for attention: packing and multiplying in buffers of the caller.
pub(crate) mod tile {
    use super::{Block, Isa, MR, NR, micro, multiversion};

    /// Rows of a panel of a left-hand tile.
    pub(crate) const LHS_ROWS: usize = MR;

    /// Floats that a packed right-hand tile of `n` columns and depth `k` takes.
    pub(crate) const fn rhs_len(n: usize, k: usize) -> usize {
        n.div_ceil(NR) * NR * k
    }

    multiversion! {
        /// Packs `m` rows of `k` floats, `ld` apart, times `scale`, as a left-hand tile.
        fn pack_lhs_rows(from: &[f32], ld: usize, m: usize, k: usize, scale: f32, to: &mut [f32]) {
            for row in (0..m).step_by(MR) {
                let rows = MR.min(m - row);
                let panel = &mut to[row * k..(row + rows) * k];
                for r in 0..rows {
                    let source = &from[(row + r) * ld..(row + r) * ld + k];
                    for (i, &x) in source.iter().enumerate() {
                        panel[i * rows + r] = x * scale;
                    }
                }
            }
        }
    }

    multiversion! {
        /// Packs the transpose of `k` rows of `m` floats as a left-hand tile.
        fn pack_lhs_columns(from: &[f32], ld: usize, m: usize, k: usize, to: &mut [f32]) {
            for row in (0..m).step_by(MR) {
                let rows = MR.min(m - row);
                let panel = &mut to[row * k..(row + rows) * k];
                for i in 0..k {
                    panel[i * rows..(i + 1) * rows].copy_from_slice(&from[i * ld + row..i * ld + row + rows]);
                }
            }
        }
    }

    multiversion! {
        /// Packs `n` rows of `k` floats (`[n, k]`, `ld` apart) as a right-hand tile.
        fn pack_rhs_nk(from: &[f32], ld: usize, n: usize, k: usize, to: &mut [f32]) {
            for first in (0..n).step_by(NR) {
                let panel = &mut to[first * k..(first + NR) * k];
                let columns = NR.min(n - first);
                if columns < NR {
                    panel.fill(0.0);
                }
                for c in 0..columns {
                    let source = &from[(first + c) * ld..(first + c) * ld + k];
                    for (i, &x) in source.iter().enumerate() {
                        panel[i * NR + c] = x;
                    }
                }
            }
        }
    }

    multiversion! {
        /// Packs `k` rows of `n` floats (`[k, n]`, `ld` apart) as a right-hand tile.
        fn pack_rhs_kn(from: &[f32], ld: usize, n: usize, k: usize, to: &mut [f32]) {
            for first in (0..n).step_by(NR) {
                let panel = &mut to[first * k..(first + NR) * k];
                let columns = NR.min(n - first);
                for i in 0..k {
                    let group = &mut panel[i * NR..(i + 1) * NR];
                    group[..columns].copy_from_slice(&from[i * ld + first..i * ld + first + columns]);
                    group[columns..].fill(0.0);
                }
            }
        }
    }

    /// Rows to a left-hand tile.
    pub(crate) fn lhs_rows(isa: Isa, from: &[f32], ld: usize, m: usize, k: usize, scale: f32, to: &mut [f32]) {
        pack_lhs_rows(isa, from, ld, m, k, scale, to);
    }

    /// Columns to a left-hand tile.
    pub(crate) fn lhs_columns(isa: Isa, from: &[f32], ld: usize, m: usize, k: usize, to: &mut [f32]) {
        pack_lhs_columns(isa, from, ld, m, k, to);
    }

    /// `[n, k]` to a right-hand tile.
    pub(crate) fn rhs_nk(isa: Isa, from: &[f32], ld: usize, n: usize, k: usize, to: &mut [f32]) {
        pack_rhs_nk(isa, from, ld, n, k, to);
    }

    /// `[k, n]` to a right-hand tile.
    pub(crate) fn rhs_kn(isa: Isa, from: &[f32], ld: usize, n: usize, k: usize, to: &mut [f32]) {
        pack_rhs_kn(isa, from, ld, n, k, to);
    }

    /// `c += lhs·rhs` (or `=` unless `accumulate`): `c` holds `m` rows of `n` rounded up to [`NR`] floats, `ld` apart.
    pub(crate) fn multiply(
        isa: Isa,
        lhs: &[f32],
        rhs: &[f32],
        (m, n, k): (usize, usize, usize),
        accumulate: bool,
        c: &mut [f32],
        ld: usize,
    ) {
        let padded = n.next_multiple_of(NR);
        assert!(
            lhs.len() >= m * k
                && rhs.len() >= padded * k
                && padded <= ld
                && (m == 0 || c.len() >= (m - 1) * ld + padded)
        );
        for column in (0..n).step_by(NR) {
            for row in (0..m).step_by(MR) {
                // SAFETY: offsets lie within the three slices, by the assertion above.
                unsafe {
                    let target = c.as_mut_ptr().add(row * ld + column);
                    let from = accumulate.then_some(target.cast_const());
                    let (left, right) = (lhs.as_ptr().add(row * k), Block::F32(rhs.as_ptr().add(column * k)));
                    micro(isa, MR.min(m - row), k, left, right, from, ld, target, ld);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
                gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels, n, k })], Init::Row(bm), out[0]);
                gemm(ctx, &[(lhs, Rhs::WeightTransposed { panels: &panels_t, n, k })], Init::Row(bm), out[1]);
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
                assert_eq!(&results[0], other, "{what}: form {i} differs in some bit");
            }
        }
    }

    #[test]
    fn every_form_agrees_with_f64_and_with_each_other_bit_for_bit() {
        for precision in [Precision::F32, Precision::Bf16] {
            check(Isa::Portable, precision, 1);
            check(Isa::detect(), precision, 1);
            check(Isa::detect(), precision, 3);
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
            gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels, n, k })], Init::Zero, c);
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
                gemm(ctx, &[(lhs, Rhs::Weight { panels: &panels, n, k })], Init::Zero, c);
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

    #[test]
    fn rounding_to_bf16_is_to_nearest_even() {
        for bits in (0..u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            let expected = half::bf16::from_f32(x).to_f32();
            let got = round_bf16(x);
            assert!(got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()), "{x}");
        }
    }
}
