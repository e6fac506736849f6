//! `distill.balance = "gradient"`: the terms of a loss keep the shares that are given of the gradient's norm at the residual stream. The
//! norms of one step set the factors of the next, so that a step stays the same however it is cut into passes.

use std::collections::BTreeMap;
use std::ops::Range;

use aludel_kernels::{Context, Mat, Region, rowwise};

use crate::supervision::LossTerm;

/// A term that has nearly nothing left to learn in one step may have more in the next, which a factor without bounds would blow up.
const LARGEST_FACTOR: f32 = 1000.0;

/// The factors of the terms' gradients, and the norms from which those of the next step come.
pub(super) struct Balance {
    /// One for each term, in the order of the loss.
    factors: Vec<f32>,
    /// Of the pass that runs: the squared norm of each term's gradient at each supervised token, with its factor, [terms, chosen].
    squares: Option<Mat>,
    values: Vec<f32>,
}

/// What a term has of a loss.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    /// Its weight.
    pub(super) weight: f32,
    /// What balances it, and its number there.
    pub(super) balance: Option<(&'a Balance, usize)>,
}

impl Balance {
    /// As the weights say, as long as no step has been measured.
    pub(super) fn new(terms: usize) -> Balance {
        Balance { factors: vec![1.0; terms], squares: None, values: Vec::new() }
    }

    pub(super) fn begin(&mut self, ctx: &mut Context, chosen: usize) {
        let squares = ctx.alloc(Region::Io, self.factors.len(), chosen);
        ctx.zero(squares);
        self.squares = Some(squares);
    }

    /// What the gradient of a term is multiplied by.
    pub(super) fn factor(&self, term: usize) -> f32 {
        self.factors[term]
    }

    /// Takes note of the gradient, with its factor, of the supervised tokens `range` at the residual stream, [range, C].
    ///
    /// # Panics
    /// Before the pass began.
    pub(super) fn measure(&self, ctx: &mut Context, term: usize, range: Range<usize>, gradient: Mat) {
        let squares = self.squares.expect("a gradient before its pass began");
        rowwise::add_squares(ctx, gradient, squares.row_range(term, 1).col_range(range.start, range.len()));
    }

    /// The sum of the squared norms of each term's gradient in the pass that ends, without its factor.
    pub(super) fn sums(&mut self, ctx: &Context, terms: &[(LossTerm, f32)]) -> [f64; LossTerm::ALL.len()] {
        let mut sums = [0.0; LossTerm::ALL.len()];
        if let Some(squares) = self.squares.filter(|squares| squares.cols() > 0) {
            ctx.download_into(squares, &mut self.values);
            for (number, values) in self.values.chunks_exact(squares.cols()).enumerate() {
                let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
                sums[terms[number].0 as usize] = sum / f64::from(self.factors[number]).powi(2);
            }
        }
        sums
    }

    /// Sets the factors by the norms of the terms in a step, which have their weights: each becomes to that of the first term as their
    /// weights are. The first keeps its own.
    pub(super) fn set(&mut self, terms: &[(LossTerm, f32)], norms: &BTreeMap<LossTerm, f64>) {
        let norm = |number: usize| norms.get(&terms[number].0).map_or(0.0, |&norm| norm as f32);
        for number in 1..terms.len() {
            let factor = terms[number].1 / terms[0].1 * (norm(0) / norm(number));
            // A term without a gradient has no share to keep.
            self.factors[number] =
                if factor.is_normal() { factor.clamp(1.0 / LARGEST_FACTOR, LARGEST_FACTOR) } else { 1.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_bring_norms_to_the_shares_of_the_weights() {
        let terms = [(LossTerm::Ce, 0.5), (LossTerm::Hidden, 2.0), (LossTerm::Logits, 1.0)];
        let mut balance = Balance::new(terms.len());
        let norms = BTreeMap::from([(LossTerm::Ce, 3.0), (LossTerm::Hidden, 0.25), (LossTerm::Logits, 0.0)]);
        balance.set(&terms, &norms);
        assert_eq!(balance.factors[0] * 3.0, 3.0);
        assert_eq!(balance.factors[1] * 0.25, 3.0 * 4.0, "four times the first term's");
        assert_eq!(balance.factors[2], 1.0, "no gradient");
        balance.set(&terms, &BTreeMap::from([(LossTerm::Ce, 3.0), (LossTerm::Hidden, 1e-9), (LossTerm::Logits, 1e9)]));
        assert_eq!(balance.factors, [1.0, 1000.0, 0.001], "bounded");
    }
}
