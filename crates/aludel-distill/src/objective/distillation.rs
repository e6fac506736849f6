//! The objective of distillation: cross-entropy with the data's tokens, the divergence from a teacher, the distance from its hidden
//! states, or several of these.

use std::collections::BTreeMap;
use std::ops::Range;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::loss::divergence::DivergenceArgs;
use aludel_kernels::{Context, Mat, Region, loss, rowwise};
use aludel_model::decoder::ResidualTap;

use super::balance::{Balance, Share};
use super::{HiddenStates, Objective, Projections, ResidualGradient};
use crate::error::Result;
use crate::supervision::{LossTerm, SupervisedBatch};
use crate::teacher::Teacher;

/// A weighted sum of terms, of which one at least asks a teacher.
pub struct Distillation {
    terms: Vec<(LossTerm, f32)>,
    divergence: DivergenceArgs,
    teacher: Box<dyn Teacher>,
    hidden: Option<HiddenStates>,
    /// Where the terms are balanced, with the width of the residual stream.
    balance: Option<(Balance, usize)>,
    /// The weights of a chunk's tokens in one term.
    weights: Vec<f32>,
}

impl Distillation {
    /// A sum of these terms with their weights.
    pub fn new(terms: Vec<(LossTerm, f32)>, divergence: DivergenceArgs, teacher: Box<dyn Teacher>) -> Distillation {
        Distillation { terms, divergence, teacher, hidden: None, balance: None, weights: Vec::new() }
    }

    /// How hidden states are compared, where one of the terms does that; the teacher must keep those of its layers.
    ///
    /// # Panics
    /// If no term compares hidden states.
    #[must_use]
    pub fn with_hidden(self, hidden: HiddenStates) -> Distillation {
        assert!(self.terms.iter().any(|(term, _)| *term == LossTerm::Hidden), "no term reads the hidden states");
        Distillation { hidden: Some(hidden), ..self }
    }

    /// Keeps the terms' shares of the gradient's norm as their weights are, at a residual stream of this width.
    #[must_use]
    pub fn balanced(self, width: usize) -> Distillation {
        let balance = Some((Balance::new(self.terms.len()), width));
        Distillation { balance, ..self }
    }

    /// Brings the gradient of one term, of the logits of a chunk, to its share.
    fn balance(
        &self,
        ctx: &mut Context,
        number: usize,
        dlogits: Mat,
        range: Range<usize>,
        residual: ResidualGradient<'_>,
    ) {
        let Some((balance, width)) = &self.balance else { return };
        rowwise::scale(ctx, dlogits, balance.factor(number));
        let mark = ctx.mark();
        let dhidden = ctx.scratch(dlogits.rows(), *width);
        residual(ctx, dlogits, dhidden);
        balance.measure(ctx, number, range, dhidden);
        ctx.release(mark);
    }

    /// One term of the loss on a chunk of logits, which become its gradient.
    fn term(
        &mut self,
        ctx: &mut Context,
        number: usize,
        (logits, losses): (Mat, Mat),
        batch: &SupervisedBatch,
        range: Range<usize>,
        gradient: Option<ResidualGradient<'_>>,
    ) {
        let (term, weight) = match self.terms[number] {
            (LossTerm::Ce, _) if batch.is_own => (LossTerm::Ce, 0.0),
            term => term,
        };
        self.weights.clear();
        self.weights.extend(batch.weights[range.clone()].iter().map(|own| own * weight));
        let weights = ctx.upload(Region::Io, 1, range.len(), &self.weights);
        let losses = losses.row_range(number, 1);
        match term {
            LossTerm::Ce => {
                let ids = ctx.upload_indices(&batch.targets[range.clone()]);
                loss::cross_entropy(ctx, logits, ids, weights, losses, gradient.is_some());
            }
            LossTerm::Logits => {
                let (args, own) = (self.divergence, range.clone());
                self.teacher.divergence(ctx, logits, own, weights, args, losses, gradient.is_some());
            }
            LossTerm::Hidden => unreachable!("it reads no logits"),
        }
        if let Some(residual) = gradient {
            self.balance(ctx, number, logits, range, residual);
        }
    }
}

/// Whether a term reads logits.
fn reads_logits(&(term, _): &(LossTerm, f32)) -> bool {
    term != LossTerm::Hidden
}

impl ResidualTap for Distillation {
    fn read(&mut self, ctx: &mut Context, layer: usize, hidden: Mat) {
        if let Some(states) = &mut self.hidden {
            states.read(ctx, layer, hidden);
        }
    }

    fn add_gradient(&mut self, ctx: &mut Context, layer: usize, dhidden: Mat) {
        if let Some(states) = &mut self.hidden {
            states.add_gradient(ctx, layer, dhidden);
        }
    }
}

impl Objective for Distillation {
    fn terms(&self) -> &[(LossTerm, f32)] {
        &self.terms
    }

    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()> {
        self.teacher.begin(ctx, batch)?;
        if let Some(states) = &mut self.hidden {
            states.begin(ctx, batch);
        }
        if let Some((balance, _)) = &mut self.balance {
            balance.begin(ctx, batch.chosen.len());
        }
        Ok(())
    }

    fn reads_logits(&self) -> bool {
        self.terms.iter().any(reads_logits)
    }

    fn compare_states(&mut self, ctx: &mut Context, batch: &SupervisedBatch, losses: Mat, gradient: bool) {
        if let Some(number) = self.terms.iter().position(|(term, _)| *term == LossTerm::Hidden) {
            let states = self.hidden.as_mut().expect("a term compares hidden states, and nothing says which");
            let losses = losses.row_range(number, 1);
            let balance = self.balance.as_ref().map(|(balance, _)| (balance, number));
            let share = Share { weight: self.terms[number].1, balance };
            states.compare(ctx, batch, self.teacher.layer_states(), share, losses, gradient);
        }
    }

    fn gradient_squares(&mut self, ctx: &Context) -> Option<[f64; LossTerm::ALL.len()]> {
        self.balance.as_mut().map(|(balance, _)| balance.sums(ctx, &self.terms))
    }

    fn balance_by(&mut self, norms: &BTreeMap<LossTerm, f64>) {
        if let Some((balance, _)) = &mut self.balance {
            balance.set(&self.terms, norms);
        }
    }

    fn projections(&self) -> Option<&Projections> {
        self.hidden.as_ref()?.projections()
    }

    fn chunk(
        &mut self,
        ctx: &mut Context,
        logits: Mat,
        batch: &SupervisedBatch,
        range: Range<usize>,
        losses: Mat,
        gradient: Option<ResidualGradient<'_>>,
    ) {
        // Each term overwrites the logits that it reads: all but the last work on a copy.
        let Some(last) = self.terms.iter().rposition(reads_logits) else { return };
        let mark = ctx.mark();
        let mut sum = None;
        for number in 0..last {
            if !reads_logits(&self.terms[number]) {
                continue;
            }
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
        if let Some(sum) = sum.filter(|_| gradient.is_some()) {
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
