//! Teachers whose distributions over the vocabulary are learnt, and not only their texts: a model in this process, or what it said
//! before, from a cache. Teachers behind servers, which write texts, are the matter of `aludel-teacher`; what is done with the
//! distributions is that of `objective`.

pub mod cache;
mod online;
pub mod preflight;

use std::ops::Range;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::loss::divergence::DivergenceArgs;
use aludel_kernels::{Context, Mat};

use crate::error::Result;
use crate::supervision::SupervisedBatch;

pub use online::{Loading, OnlineTeacher};

/// What a teacher says of the tokens of a pass.
pub trait Teacher {
    /// Called before the student's forward of a pass, on a reset context: see [`Objective::begin`](crate::objective::Objective::begin).
    ///
    /// # Errors
    /// What the teacher says of these tokens cannot be read.
    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()>;

    /// Writes weight · D(teacher, student) of the supervised tokens `range` of the pass to `losses` [1, range], and with `gradient`
    /// overwrites the student's logits [range, V] with the gradient of their sum. Weights are [1, range].
    #[expect(clippy::too_many_arguments, reason = "the operands of one op, and which tokens they are of")]
    fn divergence(
        &self,
        ctx: &mut Context,
        logits: Mat,
        range: Range<usize>,
        weights: Mat,
        args: DivergenceArgs,
        losses: Mat,
        gradient: bool,
    );

    /// The teacher's residual stream at the supervised tokens of the pass that runs, [chosen, C] for each layer whose states are learnt,
    /// in the order in which they were asked for; none where the teacher keeps no states.
    fn layer_states(&self) -> &[Mat] {
        &[]
    }

    /// −ln p of tokens that are given for the supervised tokens of a pass, in place of those that follow in the rows: one list of losses
    /// for each of `targets`, over the columns that both have. None where the teacher cannot tell it of given tokens.
    ///
    /// # Errors
    /// As [`Teacher::begin`].
    fn target_losses(
        &mut self,
        _ctx: &mut Context,
        _batch: &SupervisedBatch,
        _targets: &[&[u32]],
    ) -> Result<Option<Vec<Vec<f32>>>> {
        Ok(None)
    }

    /// Refuses rows that the teacher cannot judge, before training begins.
    ///
    /// # Errors
    /// Those of reading them, and what the teacher lacks of one.
    fn check_rows(&mut self, _rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        Ok(())
    }

    /// How many columns of logits, from the first, mean the same token for teacher and student.
    fn vocab(&self) -> usize;

    /// Bytes of the weights that the teacher holds.
    fn weight_bytes(&self) -> usize;

    /// The longest row that the teacher can read, where that is bounded.
    fn max_length(&self) -> Option<usize>;

    /// Makes room for rows of `max_length` tokens.
    fn reach(&mut self, ctx: &mut Context, max_length: usize);
}
