//! What the decoder is run on: the tokens of a pass, what they attend to, the adapter at work, and what is to be kept.

use std::ops::Range;

use aludel_kernels::attention::{Cache, Extensions};

use crate::adapter::Adapter;

/// The tokens of one pass, rows end to end.
#[derive(Clone, Debug, Default)]
pub struct PackedBatch {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Position of each token in its row: RoPE restarts with each.
    pub positions: Vec<u32>,
    /// Length of the text that each token belongs to, as far as the text is known: LongRoPE's frequencies depend on it.
    pub lengths: Vec<u32>,
    /// Example number of each token, for dropout masks that do not depend on packing.
    pub examples: Vec<u32>,
    /// Token ranges of the rows.
    pub rows: Vec<Range<usize>>,
}

impl PackedBatch {
    /// Forgets all rows, and keeps their memory for others.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.positions.clear();
        self.lengths.clear();
        self.examples.clear();
        self.rows.clear();
    }

    /// Appends a row.
    pub fn push(&mut self, example: u32, ids: &[u32]) {
        let start = self.ids.len();
        self.ids.extend(ids);
        self.positions.extend(0..ids.len() as u32);
        self.lengths.resize(self.ids.len(), ids.len() as u32);
        self.examples.resize(self.ids.len(), example);
        self.rows.push(start..self.ids.len());
    }

    /// Tokens in the pass.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What tokens attend to.
#[derive(Clone, Copy)]
pub enum Attention<'a> {
    /// Each row of the pass to itself: training and evaluation.
    Rows,
    /// New tokens to the cached past of their sequences: generation.
    Cached {
        /// The cache.
        cache: &'a Cache,
        /// The sequences of the pass.
        extensions: &'a Extensions,
    },
}

/// An adapter at work, and its dropout in this optimiser step.
#[derive(Clone, Copy)]
pub struct Active<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// Dropout, in training.
    pub dropout: Option<StepDropout>,
}

/// Dropout of one optimiser step.
#[derive(Clone, Copy, Debug)]
pub struct StepDropout {
    /// Probability of a zero.
    pub probability: f32,
    /// Mix of seed and step.
    pub key: u64,
}
