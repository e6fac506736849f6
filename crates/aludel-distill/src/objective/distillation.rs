//! The objective of distillation: cross-entropy with the data's tokens, the divergence from a teacher, or both.

use std::ops::Range;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::loss::divergence::DivergenceArgs;
use aludel_kernels::{Context, Mat, Region, loss, rowwise};

use super::Objective;
use crate::error::Result;
use crate::supervision::{LossTerm, SupervisedBatch};
use crate::teacher::Teacher;

/// A weighted sum of terms, of which one at least asks a teacher.
pub struct Distillation {
    terms: Vec<(LossTerm, f32)>,
    divergence: DivergenceArgs,
    teacher: Box<dyn Teacher>,
    /// The weights of a chunk's tokens in one term.
    weights: Vec<f32>,
}

impl Distillation {
    /// A sum of these terms with their weights.
    pub fn new(terms: Vec<(LossTerm, f32)>, divergence: DivergenceArgs, teacher: Box<dyn Teacher>) -> Distillation {
        Distillation { terms, divergence, teacher, weights: Vec::new() }
    }

    /// One term of the loss on a chunk of logits, which become its gradient.
    fn term(
        &mut self,
        ctx: &mut Context,
        number: usize,
        (logits, losses): (Mat, Mat),
        batch: &SupervisedBatch,
        range: Range<usize>,
        gradient: bool,
    ) {
        let (term, weight) = self.terms[number];
        self.weights.clear();
        self.weights.extend(batch.weights[range.clone()].iter().map(|own| own * weight));
        let weights = ctx.upload(Region::Io, 1, range.len(), &self.weights);
        let losses = losses.row_range(number, 1);
        match term {
            LossTerm::Ce => {
                let ids = ctx.upload_indices(&batch.targets[range]);
                loss::cross_entropy(ctx, logits, ids, weights, losses, gradient);
            }
            LossTerm::Logits => {
                self.teacher.divergence(ctx, logits, range, weights, self.divergence, losses, gradient);
            }
        }
    }
}

impl Objective for Distillation {
    fn terms(&self) -> &[(LossTerm, f32)] {
        &self.terms
    }

    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()> {
        self.teacher.begin(ctx, batch)
    }

    fn chunk(
        &mut self,
        ctx: &mut Context,
        logits: Mat,
        batch: &SupervisedBatch,
        range: Range<usize>,
        losses: Mat,
        gradient: bool,
    ) {
        // Each term overwrites the logits that it reads: all but the last work on a copy.
        let last = self.terms.len() - 1;
        let mark = ctx.mark();
        let mut sum = None;
        for number in 0..last {
            let copy = ctx.scratch(logits.rows(), logits.cols());
            ctx.copy(logits, copy);
            self.term(ctx, number, (copy, losses), batch, range.clone(), gradient);
            sum = match sum {
                None => Some(copy),
                Some(sum) => {
                    rowwise::add(ctx, copy, sum);
                    Some(sum)
                }
            };
        }
        self.term(ctx, last, (logits, losses), batch, range, gradient);
        if let Some(sum) = sum.filter(|_| gradient) {
            rowwise::add(ctx, sum, logits);
        }
        ctx.release(mark);
    }

    fn teacher(&mut self) -> Option<&mut dyn Teacher> {
        Some(self.teacher.as_mut())
    }

    fn check_rows(&mut self, rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        self.teacher.check_rows(rows)
    }

    fn weight_bytes(&self) -> usize {
        self.teacher.weight_bytes()
    }

    fn max_length(&self) -> Option<usize> {
        self.teacher.max_length()
    }

    fn reach(&mut self, ctx: &mut Context, max_length: usize) {
        self.teacher.reach(ctx, max_length);
    }
}
