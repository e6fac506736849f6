//! Rotary position embedding (Su et al., 2021) in the half-split form that Hugging Face checkpoints use: channel i of a
//! head turns together with channel i + D/2.

use super::for_rows;
use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::reference;
use crate::simd::multiversion;

/// Tables of cosines and sines, [positions, D/2].
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub(crate) cos: Mat,
    pub(crate) sin: Mat,
    /// D, of which the first channels are rotated.
    pub(crate) head_dim: usize,
}

impl Table {
    /// Tables for positions 0 .. `positions`, with the given inverse frequencies (one per pair of channels) and a
    /// factor on both (1 except for scaled variants). Angles are computed in f64.
    pub fn new(ctx: &mut Context, inverse_frequencies: &[f64], positions: usize, factor: f64) -> Table {
        Table::of_sets(ctx, &[(inverse_frequencies, positions)], factor)
    }

    /// Tables of several sets of inverse frequencies, each with its number of positions, one below the other: the rows of a set begin where
    /// those of the set before it end.
    ///
    /// # Panics
    /// If the sets have different numbers of frequencies, or if there is none.
    pub fn of_sets(ctx: &mut Context, sets: &[(&[f64], usize)], factor: f64) -> Table {
        let half = sets[0].0.len();
        assert!(sets.iter().all(|(frequencies, _)| frequencies.len() == half), "sets of different sizes");
        let positions = sets.iter().map(|(_, positions)| positions).sum();
        let values = |f: fn(f64) -> f64| {
            let of_set = |&(frequencies, positions): &(&[f64], usize)| {
                let angle = move |i: usize| (i / half) as f64 * frequencies[i % half];
                (0..positions * half).map(move |i| (f(angle(i)) * factor) as f32).collect::<Vec<_>>()
            };
            sets.iter().flat_map(of_set).collect::<Vec<_>>()
        };
        let (cos, sin) = (values(f64::cos), values(f64::sin));
        Table {
            head_dim: 2 * half,
            cos: ctx.upload_persistent(positions, half, &cos),
            sin: ctx.upload_persistent(positions, half, &sin),
        }
    }

    /// The same for heads that have further channels, which are not rotated.
    ///
    /// # Panics
    /// If a head has fewer channels than are rotated.
    pub fn with_head_dim(self, head_dim: usize) -> Table {
        assert!(head_dim >= 2 * self.cos.cols(), "heads of {head_dim} channels with {} pairs", self.cos.cols());
        Table { head_dim, ..self }
    }

    /// Number of rows: positions, of all sets.
    pub fn positions(&self) -> usize {
        self.cos.rows()
    }
}

/// Rotates every head of x ([T, H·D]) in place by its token's position.
pub fn forward(ctx: &mut Context, x: Mat, positions: Indices, table: &Table) {
    rotate(ctx, x, positions, table, 1.0);
}

/// The gradient of a rotation is the rotation back, in place.
pub fn backward(ctx: &mut Context, dx: Mat, positions: Indices, table: &Table) {
    rotate(ctx, dx, positions, table, -1.0);
}

fn rotate(ctx: &mut Context, x: Mat, positions: Indices, table: &Table, direction: f32) {
    assert_eq!(x.rows(), positions.len());
    assert_eq!(x.cols() % table.head_dim, 0);
    if ctx.planning() {
        return;
    }
    assert_apart(&[x.place()], &[positions.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::rope::rotate(ctx, x, positions, table, direction),
    }
    let (xv, cv, sv, isa) = (ctx.view(x), ctx.view(table.cos), ctx.view(table.sin), ctx.isa());
    let positions = ctx.entries(positions);
    for_rows(ctx, x.rows(), |t| {
        let position = positions[t] as usize;
        // SAFETY: tasks write disjoint rows of x; the tables are separate matrices and only read.
        unsafe { row(isa, xv.row_mut(t), table.head_dim, cv.row(position), sv.row(position), direction) };
    });
}

multiversion! {
    fn row(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], direction: f32) {
        let half = cos.len();
        for head in x.chunks_exact_mut(head_dim) {
            let (low, high) = head[..2 * half].split_at_mut(half);
            for i in 0..half {
                let (a, b, s) = (low[i], high[i], sin[i] * direction);
                low[i] = a * cos[i] - b * s;
                high[i] = b * cos[i] + a * s;
            }
        }
    }
}
