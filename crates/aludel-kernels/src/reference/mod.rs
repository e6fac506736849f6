//! The ops once more, as plain loops over f32 values that the host downloads and uploads: one small file an op, written for reading.
//! Nothing is packed, rounded, cut into tiles or run on threads. What is built on the ops passes its golden tests on this device as
//! on the others, so that it depends on handles alone, and the fast ops can be compared with these.
//!
//! An op and its file here name each other: the op dispatches to it, and it takes the op's types. These circles are meant; a device is
//! nothing without the ops, and the ops are where devices are chosen.

pub(crate) mod attention;
pub(crate) mod columns;
pub(crate) mod cross_entropy;
pub(crate) mod divergence;
pub(crate) mod dora;
pub(crate) mod dropout;
pub(crate) mod embedding;
pub(crate) mod gated;
pub(crate) mod head;
pub(crate) mod hidden;
pub(crate) mod linear;
pub(crate) mod optim;
pub(crate) mod projection;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod sampling;
pub(crate) mod teacher;

use crate::device::{Context, Mat};

/// A matrix on the host.
struct Values {
    values: Vec<f32>,
    cols: usize,
}

impl Values {
    fn new(values: Vec<f32>, cols: usize) -> Values {
        Values { values, cols }
    }

    fn of(ctx: &Context, mat: Mat) -> Values {
        Values::new(ctx.download(mat), mat.cols())
    }

    fn zeroed(rows: usize, cols: usize) -> Values {
        Values::new(vec![0.0; rows * cols], cols)
    }

    fn rows(&self) -> usize {
        self.values.len() / self.cols.max(1)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.cols..(row + 1) * self.cols]
    }

    /// `self·otherᵀ`.
    fn times_transposed(&self, other: &Values) -> Values {
        let mut product = Values::zeroed(self.rows(), other.rows());
        for i in 0..self.rows() {
            for j in 0..other.rows() {
                product.row_mut(i)[j] = dot(self.row(i), other.row(j));
            }
        }
        product
    }

    fn transposed(&self) -> Values {
        let mut turned = Values::zeroed(self.cols, self.rows());
        for i in 0..self.rows() {
            for j in 0..self.cols {
                turned.row_mut(j)[i] = self.row(i)[j];
            }
        }
        turned
    }

    /// `self += factor·other`.
    fn add(&mut self, factor: f32, other: &Values) {
        self.values.iter_mut().zip(&other.values).for_each(|(to, from)| *to += factor * from);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
