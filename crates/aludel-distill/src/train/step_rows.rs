//! The rows of one optimiser step, and their cut into passes: rows of the data, which are read pass by pass, or the same rows with answers
//! that the student wrote.

use std::ops::{ControlFlow, Range};

use aludel_data::token_cache::TokenRow;
use aludel_kernels::rng;
use aludel_model::decoder::StepDropout;

use crate::batch;
use crate::error::Result;
use crate::learner::Learner;
use crate::metrics::OwnAnswersRecord;
use crate::own_answers::OwnAnswers;
use crate::rows::Rows;
use crate::settings::Recipe;
use crate::supervision::PassSums;

/// The rows of a step.
pub(super) struct StepRows {
    /// Their numbers.
    pub(super) numbers: Vec<u32>,
    /// The same rows with the student's own answers, where the step is on-policy.
    own: Option<Vec<(u32, TokenRow)>>,
}

/// Whether step `step` (from 0) is on-policy.
pub(super) fn is_on_policy(recipe: &Recipe, step: u64) -> bool {
    let key = rng::mix(recipe.train.seed, 0x6f6e_706f);
    f64::from(rng::uniform(key, step)) < recipe.distill.lambda
}

impl StepRows {
    /// Rows as the data has them.
    pub(super) fn of_data(numbers: Vec<u32>) -> StepRows {
        StepRows { numbers, own: None }
    }

    /// Rows that the student answers now. `tell` hears how many tokens are written, and may break off.
    ///
    /// # Errors
    /// The rows cannot be read, or the student's logits are no numbers.
    pub(super) fn answered(
        self,
        (writer, learner): (&mut OwnAnswers, &mut Learner),
        rows: &Rows,
        seed: u64,
        tell: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<(StepRows, OwnAnswersRecord)>> {
        let mut own = rows.pass(&self.numbers)?;
        let written = writer.write(learner, &mut own, seed, tell)?;
        Ok(written.map(|written| (StepRows { own: Some(own), ..self }, written)))
    }

    /// Whether the student wrote the answers.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    fn lengths(&self, rows: &Rows) -> Vec<u32> {
        match &self.own {
            Some(own) => own.iter().map(|(_, row)| row.info.tokens).collect(),
            None => self.numbers.iter().map(|&row| rows.lengths()[row as usize]).collect(),
        }
    }

    /// Their tokens.
    pub(super) fn tokens(&self, rows: &Rows) -> u64 {
        self.lengths(rows).into_iter().map(u64::from).sum()
    }

    /// The passes, as ranges of the step's rows.
    pub(super) fn passes(&self, rows: &Rows, tokens_per_pass: usize) -> Vec<Range<usize>> {
        let places: Vec<u32> = (0..self.numbers.len() as u32).collect();
        let passes = batch::passes(&places, &self.lengths(rows), tokens_per_pass);
        let mut start = 0;
        let ranges = passes.into_iter().map(|pass| {
            let range = start..start + pass.len();
            start = range.end;
            range
        });
        ranges.collect()
    }

    /// Adds the gradients of a pass to the learner's.
    ///
    /// # Errors
    /// Its rows cannot be read, and as [`Learner::accumulate`].
    pub(super) fn accumulate(
        &self,
        learner: &mut Learner,
        rows: &Rows,
        pass: Range<usize>,
        dropout: Option<StepDropout>,
    ) -> Result<PassSums> {
        match &self.own {
            Some(own) => learner.accumulate_own(&own[pass], dropout),
            None => learner.accumulate(&rows.pass(&self.numbers[pass])?, dropout),
        }
    }
}
