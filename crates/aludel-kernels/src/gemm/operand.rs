//! The operands of the driver: frozen weights, packed once; small matrices and activations, packed in scratch.

use super::decoded::{CHUNK, Nf4Panels, Stored};
use super::pack::{pair, transpose, turn};
use super::{CodedPanels, MR, NR, Precision, amx};
use crate::device::{Context, Mat, Place, View, assert_apart};
use crate::floats::Floats;
use crate::profile::Kind;
use crate::simd::Isa;

/// Weights for the right-hand side of `y = x·Wᵀ`, W being `[d_out, d_in]`: panels of [`NR`] outputs,
/// `[panel][unit of d_in][NR]`. The last panel is padded with zeros, and K to whole tiles.
pub(crate) struct Panels {
    precision: Precision,
    n: usize,
    k: usize,
    body: Body,
}

enum Body {
    /// As they are multiplied.
    Units(Floats),
    /// In fewer bytes, and decoded in each product.
    Stored(Stored),
}

impl Panels {
    pub(crate) fn zeroed(precision: Precision, n: usize, k: usize) -> Panels {
        let units = Floats::zeroed_huge(n.div_ceil(NR) * precision.padded_units(k) * NR);
        Panels { precision, n, k, body: Body::Units(units) }
    }

    /// Quantises the rows of a weight to NF4. The first error of `row` is returned.
    pub(crate) fn nf4<E>(
        isa: Isa,
        precision: Precision,
        (n, k): (usize, usize),
        row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Panels, E> {
        Ok(Panels { precision, n, k, body: Body::Stored(Stored::Nf4(Nf4Panels::quantise(isa, (n, k), row)?)) })
    }

    /// [`Panels::nf4`] of zeros, to plan with.
    pub(crate) fn nf4_outline(precision: Precision, n: usize, k: usize) -> Panels {
        Panels { precision, n, k, body: Body::Stored(Stored::Nf4(Nf4Panels::zeroed((n, k)))) }
    }

    /// A weight in integer codes.
    pub(crate) fn coded(precision: Precision, panels: CodedPanels) -> Panels {
        let (n, k) = panels.shape();
        Panels { precision, n, k, body: Body::Stored(Stored::Coded(panels)) }
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.body {
            Body::Units(units) => units.len() * 4,
            Body::Stored(stored) => stored.bytes(),
        }
    }

    /// All rows as they are multiplied, but in f32.
    pub(crate) fn decoded_rows(&self) -> Vec<f32> {
        let mut rows = vec![0f32; self.n * self.k];
        let Body::Stored(stored) = &self.body else { panic!("only for weights that are decoded") };
        let mut out = [0; CHUNK * NR];
        for (panel, chunk) in (0..self.n.div_ceil(NR)).flat_map(|panel| (0..self.k / CHUNK).map(move |c| (panel, c))) {
            stored.decode(Isa::Portable, Precision::F32, panel, chunk, &mut out);
            for (i, unit) in out.chunks_exact(NR).enumerate() {
                for (lane, bits) in unit.iter().enumerate().take(self.n - panel * NR) {
                    rows[(panel * NR + lane) * self.k + chunk * CHUNK + i] = f32::from_bits(*bits);
                }
            }
        }
        rows
    }

    /// The sum of squares of each row, as it is multiplied.
    pub(crate) fn row_squares(&self, isa: Isa) -> Vec<f32> {
        let chunks = self.k.div_ceil(CHUNK);
        row_squares(self.precision, (self.n, chunks), |panel, chunk, out| {
            let units = self.precision.units(CHUNK);
            let depth = units.min(self.precision.padded_units(self.k) - chunk * units);
            let mut scratch = [0; CHUNK * NR];
            let block = self.block(isa, panel, chunk * units, depth, &mut scratch);
            out[..block.len()].copy_from_slice(block);
            block.len()
        })
    }

    fn is_stored(&self) -> bool {
        matches!(self.body, Body::Stored(_))
    }

    /// Writes row `n` of W.
    pub(crate) fn set_row(&mut self, n: usize, row: &[f32]) {
        assert!(n < self.n && row.len() == self.k);
        let start = n / NR * self.precision.padded_units(self.k) * NR + n % NR;
        let Body::Units(units) = &mut self.body else { panic!("a quantised weight is written as a whole") };
        let target: &mut [u32] = bytemuck::cast_slice_mut(&mut units.as_mut_slice()[start..]);
        match self.precision {
            Precision::F32 => target.iter_mut().step_by(NR).zip(row).for_each(|(unit, x)| *unit = x.to_bits()),
            Precision::Bf16 => target
                .iter_mut()
                .step_by(NR)
                .zip(row.chunks(2))
                .for_each(|(unit, x)| *unit = pair(x[0], x.get(1).copied().unwrap_or(0.0))),
        }
    }

    /// Units `u0 .. u0 + depth` of a panel, if they need not be decoded.
    pub(super) fn ready(&self, panel: usize, u0: usize, depth: usize) -> Option<&[u32]> {
        let Body::Units(units) = &self.body else { return None };
        let start = (panel * self.precision.padded_units(self.k) + u0) * NR;
        Some(bytemuck::cast_slice(&units.as_slice()[start..start + depth * NR]))
    }

    /// Units `u0 .. u0 + depth` of a panel, whole chunks of 32 inputs; what has to be decoded goes to `scratch`.
    pub(super) fn block<'b>(
        &'b self,
        isa: Isa,
        panel: usize,
        u0: usize,
        depth: usize,
        scratch: &'b mut [u32],
    ) -> &'b [u32] {
        let stored = match &self.body {
            Body::Units(_) => return self.ready(panel, u0, depth).expect("as they are multiplied"),
            Body::Stored(stored) => stored,
        };
        let per_chunk = self.precision.units(CHUNK);
        assert!(u0.is_multiple_of(per_chunk) && depth.is_multiple_of(per_chunk), "whole chunks are decoded");
        let out = &mut scratch[..depth * NR];
        for (i, out) in out.chunks_exact_mut(per_chunk * NR).enumerate() {
            stored.decode(isa, self.precision, panel, u0 / per_chunk + i, out);
        }
        out
    }

    /// Units `u0 .. u0 + depth` along the outputs of W, for inputs `column .. column + NR`: a block of the packed transpose. `u0` is
    /// a multiple of the units of [`NR`] outputs.
    pub(super) fn turned_block(&self, isa: Isa, column: usize, u0: usize, depth: usize, out: &mut [u32]) {
        let columns = NR.min(self.k - column);
        let per_panel = self.precision.units(NR);
        for u in (u0..u0 + depth).step_by(per_panel) {
            let first = self.precision.units(column);
            let mut decoded = [0; NR * NR];
            let panel = self.block(isa, u / per_panel, first, self.precision.units(columns), &mut decoded);
            let rows = per_panel.min(u0 + depth - u);
            let start = (u - u0) * NR;
            if rows == per_panel {
                turn(isa, self.precision, panel, columns, &mut out[start..]);
            } else {
                let mut whole = [0u32; NR * NR];
                turn(isa, self.precision, panel, columns, &mut whole);
                out[start..start + rows * NR].copy_from_slice(&whole[..rows * NR]);
            }
        }
    }
}

/// The sums of squares of `n` rows, of panels that `block(panel, chunk, out)` writes chunk by chunk, `[unit][NR]`; it returns how much
/// it wrote.
pub(super) fn row_squares(
    precision: Precision,
    (n, chunks): (usize, usize),
    block: impl Fn(usize, usize, &mut [u32]) -> usize,
) -> Vec<f32> {
    let (mut squares, mut out) = (Vec::with_capacity(n), [0; CHUNK * NR]);
    for panel in 0..n.div_ceil(NR) {
        let mut sums = [0f64; NR];
        for chunk in 0..chunks {
            let len = block(panel, chunk, &mut out);
            for unit in out[..len].chunks_exact(NR) {
                for (sum, &bits) in sums.iter_mut().zip(unit) {
                    *sum += match precision {
                        Precision::F32 => f64::from(f32::from_bits(bits)).powi(2),
                        // two bf16 in a unit, each the upper half of an f32
                        Precision::Bf16 => [bits << 16, bits & 0xffff_0000]
                            .map(|half| f64::from(f32::from_bits(half)).powi(2))
                            .into_iter()
                            .sum(),
                    };
                }
            }
        }
        squares.extend(sums.iter().take(n - panel * NR).map(|sum| *sum as f32));
    }
    squares
}

/// A right-hand operand.
#[derive(Clone, Copy)]
pub(crate) enum Rhs<'a> {
    /// `Wᵀ` for packed W `[n, k]`: the forward of a linear.
    Weight { panels: &'a Panels },
    /// `W` for packed W `[k, n]`: the backward of a linear. Its panels are built block by block in scratch.
    WeightTransposed { panels: &'a Panels },
    /// Panels in scratch, made by [`pack_rhs`].
    Scratch { panels: Mat<u32>, precision: Precision, n: usize, k: usize },
}

impl Rhs<'_> {
    /// Whether its panels are built block by block, each time they are multiplied.
    pub(super) fn is_built(&self) -> bool {
        match self {
            Rhs::Weight { panels } => panels.is_stored(),
            Rhs::WeightTransposed { .. } => true,
            Rhs::Scratch { .. } => false,
        }
    }

    pub(super) fn n(&self) -> usize {
        match *self {
            Rhs::Weight { panels } => panels.n,
            Rhs::WeightTransposed { panels } => panels.k,
            Rhs::Scratch { n, .. } => n,
        }
    }

    pub(super) fn k(&self) -> usize {
        match *self {
            Rhs::Weight { panels } => panels.k,
            Rhs::WeightTransposed { panels } => panels.n,
            Rhs::Scratch { k, .. } => k,
        }
    }

    /// The scratch that it lies in, if it does.
    pub(super) fn place(&self) -> Option<Place> {
        match *self {
            Rhs::Weight { .. } | Rhs::WeightTransposed { .. } => None,
            Rhs::Scratch { panels, .. } => Some(panels.place()),
        }
    }

    pub(super) fn precision(&self) -> Precision {
        match *self {
            Rhs::Weight { panels } | Rhs::WeightTransposed { panels } => panels.precision,
            Rhs::Scratch { precision, .. } => precision,
        }
    }
}

/// A left-hand operand in scratch: for vector units panels of [`MR`] rows, `[panel][unit of k][rows of the panel]`, for AMX tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lhs {
    pub(super) packed: Mat<u32>,
    pub(super) precision: Precision,
    pub(crate) m: usize,
    pub(crate) k: usize,
}

impl Lhs {
    fn new(ctx: &mut Context, (m, k): (usize, usize), precision: Precision) -> Lhs {
        let units = match amx::is_used(ctx.isa(), precision) {
            true => amx::lhs_units(m, k),
            false => m * precision.units(k),
        };
        Lhs { packed: ctx.scratch_packed(1, units), precision, m, k }
    }
}

/// Packs rows of a left-hand operand, a panel or a row of tiles at a time.
#[derive(Clone, Copy)]
struct Packer {
    isa: Isa,
    precision: Precision,
    is_tiled: bool,
    k: usize,
}

impl Packer {
    fn new(ctx: &Context, lhs: &Lhs) -> Packer {
        let (isa, precision) = (ctx.isa(), lhs.precision);
        Packer { isa, precision, is_tiled: amx::is_used(isa, precision), k: lhs.k }
    }

    /// Rows that are packed together.
    fn height(&self) -> usize {
        if self.is_tiled { amx::TILE } else { MR }
    }

    /// Runs `op(first row, rows)` for each panel of `m` rows, spread over the threads.
    fn for_panels(&self, ctx: &Context, m: usize, op: impl Fn(usize, usize) + Send + Sync) {
        let height = self.height();
        ctx.parallel(m.div_ceil(height * PANELS_PER_TASK), |task| {
            let first = task * PANELS_PER_TASK * height;
            let rows = first..m.min(first + PANELS_PER_TASK * height);
            rows.step_by(height).for_each(|row| op(row, height.min(m - row)));
        });
    }

    /// Packs rows `row .. row + rows`, `from` holding them `ld` apart.
    ///
    /// # Safety
    /// `packed` is the operand's memory, and no one else touches these rows of it.
    unsafe fn pack(&self, from: &[f32], ld: usize, (row, rows): (usize, usize), packed: View<u32>) {
        let (units, height) = match self.is_tiled {
            true => (self.precision.padded_units(self.k), amx::TILE),
            false => (self.precision.units(self.k), rows),
        };
        assert!((row + height) * units <= packed.cols);
        // SAFETY: the rows before take `units` units each; a panel takes as many times its height, as just asserted.
        let to = unsafe { std::slice::from_raw_parts_mut(packed.at(row * units), height * units) };
        match self.is_tiled {
            true => amx::pack_rows(from, ld, (rows, self.k), 1.0, to),
            false => transpose(self.isa, self.precision, from, ld, (rows, self.k), 1.0, to, rows),
        }
    }
}

/// How the elements of a source matrix are laid out for [`pack_rhs`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `[n, k]`, like a weight.
    Nk,
    /// `[k, n]`.
    Kn,
}

/// Panels that one task packs.
const PANELS_PER_TASK: usize = 4;

/// Packs all rows of `x` (`[m, k]`) as a left-hand operand.
pub(crate) fn pack_lhs(ctx: &mut Context, x: Mat, precision: Precision) -> Lhs {
    let (m, k) = (x.rows(), x.cols());
    let lhs = Lhs::new(ctx, (m, k), precision);
    if !ctx.planning() && m * k > 0 {
        let _span = ctx.span(Kind::Matrix);
        assert_apart(&[lhs.packed.place()], &[x.span()]);
        let (source, target, packer) = (ctx.view(x), ctx.view(lhs.packed), Packer::new(ctx, &lhs));
        packer.for_panels(ctx, m, |row, rows| {
            // SAFETY: the source is only read, and each panel written by its own task.
            unsafe { packer.pack(source.block(row, rows, 0, k), source.ld(), (row, rows), target) };
        });
    }
    lhs
}

/// Packs left-hand operands of `m` rows and depth `k` while they are computed: `writer` makes what writes row i of each, and touches
/// nothing but `touched`. Their floats stay in the caches of the core that packs them.
pub(crate) fn pack_written<const N: usize, W>(
    ctx: &mut Context,
    (m, k): (usize, usize),
    precision: Precision,
    touched: &[Place],
    writer: impl FnOnce(&Context) -> W,
) -> [Lhs; N]
where
    W: Fn(usize, [&mut [f32]; N]) + Send + Sync,
{
    let operands = [(); N].map(|()| Lhs::new(ctx, (m, k), precision));
    let mark = ctx.mark();
    let packer = Packer::new(ctx, &operands[0]);
    let part = packer.height() * k;
    let floats = ctx.thread_scratch(N * part);
    if !ctx.planning() && m * k > 0 {
        let _span = ctx.span(Kind::Rowwise);
        operands
            .iter()
            .map(|lhs| lhs.packed.place())
            .chain([floats.place()])
            .for_each(|own| assert_apart(&[own], touched));
        let (floats, targets) = (ctx.view(floats), operands.map(|lhs| ctx.view(lhs.packed)));
        let write = writer(ctx);
        packer.for_panels(ctx, m, |row, rows| {
            // SAFETY: this row of the thread scratch belongs to the present thread alone.
            let floats = unsafe { floats.row_mut(Context::thread_index()) };
            for r in 0..rows {
                let mut parts = floats.chunks_exact_mut(part);
                write(row + r, std::array::from_fn(|_| &mut parts.next().expect("N parts")[r * k..(r + 1) * k]));
            }
            for (target, part) in targets.iter().zip(floats.chunks_exact(part)) {
                // SAFETY: each panel is written by its own task.
                unsafe { packer.pack(part, k, (row, rows), *target) };
            }
        });
    }
    ctx.release(mark);
    operands
}

/// Packs a small matrix, times `scale`, as a right-hand operand.
pub(crate) fn pack_rhs<'a>(ctx: &mut Context, source: Mat, order: Order, scale: f32, precision: Precision) -> Rhs<'a> {
    let (n, k) = match order {
        Order::Nk => (source.rows(), source.cols()),
        Order::Kn => (source.cols(), source.rows()),
    };
    let panels = ctx.scratch_packed(n.div_ceil(NR), precision.padded_units(k) * NR);
    if !ctx.planning() {
        let _span = ctx.span(Kind::Matrix);
        assert_apart(&[panels.place()], &[source.place()]);
        let (from, to) = (ctx.view(source), ctx.view(panels));
        let per_unit = precision.per_unit();
        let unit = |first: f32, second: f32| match precision {
            Precision::F32 => (scale * first).to_bits(),
            Precision::Bf16 => pair(scale * first, scale * second),
        };
        ctx.parallel(panels.rows(), |panel| {
            let (first, columns) = (panel * NR, NR.min(n - panel * NR));
            // SAFETY: the source is only read.
            let row = |i: usize| unsafe { from.row(i) };
            // SAFETY: each task writes its own row of `panels`.
            let out = unsafe { to.row_mut(panel) };
            out.fill(0);
            match order {
                Order::Nk => {
                    for column in 0..columns {
                        let units = out[column..].iter_mut().step_by(NR);
                        for (slot, x) in units.zip(row(first + column).chunks(per_unit)) {
                            *slot = unit(x[0], x.get(1).copied().unwrap_or(0.0));
                        }
                    }
                }
                Order::Kn => {
                    let part = |kk: usize| &row(kk)[first..first + columns];
                    for (u, slots) in out.chunks_exact_mut(NR).enumerate().take(precision.units(k)) {
                        let (kk, has_second) = (u * per_unit, per_unit == 2 && u * 2 + 1 < k);
                        let second = if has_second { part(kk + 1) } else { &[0.0; NR][..columns] };
                        for (slot, (x, y)) in slots.iter_mut().zip(part(kk).iter().zip(second)) {
                            *slot = unit(*x, *y);
                        }
                    }
                }
            }
        });
    }
    Rhs::Scratch { panels, precision, n, k }
}
