//! The rotary tables of a decoder, and the rows of them that the tokens of a pass are rotated by: with LongRoPE they depend on the length
//! of the text that a token belongs to.

use aludel_kernels::rowwise::rope;
use aludel_kernels::{Context, Indices, Mat};

use super::{Decoder, Layer, PackedBatch, Run};
use crate::config::Config;

/// Rotary tables.
pub(super) struct Rotary {
    all: rope::Table,
    /// Of layers with a window, where they have their own.
    local: Option<rope::Table>,
    /// The longest text.
    positions: usize,
    /// The longest text that is rotated by the first rows of the table; those for longer ones stand below them.
    short_positions: usize,
}

impl Rotary {
    pub(super) fn new(ctx: &mut Context, config: &Config, max_positions: usize) -> Rotary {
        let positions = max_positions.min(config.max_position_embeddings);
        let long = config.long_frequencies().filter(|(original, _)| positions > *original);
        let short = config.inverse_frequencies();
        let short_positions = long.as_ref().map_or(positions, |(original, _)| *original);
        let mut sets = vec![(short.as_slice(), short_positions)];
        sets.extend(long.iter().map(|(_, frequencies)| (frequencies.as_slice(), positions)));
        let all = rope::Table::of_sets(ctx, &sets, config.rope_scaling.attention_factor());
        let local = config.local_inverse_frequencies();
        let local = local.map(|frequencies| rope::Table::new(ctx, &frequencies, positions, 1.0));
        let with_head_dim = |table: rope::Table| table.with_head_dim(config.head_dim);
        Rotary { all: with_head_dim(all), local: local.map(with_head_dim), positions, short_positions }
    }

    fn has_long(&self) -> bool {
        self.short_positions < self.positions
    }
}

impl Decoder {
    /// The longest row.
    pub fn max_positions(&self) -> usize {
        self.rotary.positions
    }

    /// Makes the rotary tables reach so many positions.
    pub fn set_positions(&mut self, ctx: &mut Context, max_positions: usize) {
        self.rotary = Rotary::new(ctx, &self.config, max_positions);
    }

    /// Whether a text that grew by a token to this length is rotated by other frequencies than before, so that all of its tokens have to be
    /// computed again.
    pub fn changes_frequencies_at(&self, length: usize) -> bool {
        self.rotary.has_long() && length == self.rotary.short_positions + 1
    }

    /// The rows of the rotary table that the tokens of a pass are rotated by.
    pub(super) fn rotary_rows(&self, ctx: &mut Context, pass: &PackedBatch, positions: Indices) -> Indices {
        if !self.rotary.has_long() {
            return positions;
        }
        assert_eq!(pass.lengths.len(), pass.positions.len(), "each token belongs to a text");
        let short = self.rotary.short_positions as u32;
        let rows = pass.positions.iter().zip(&pass.lengths).map(|(&position, &length)| match length > short {
            true => short + position,
            false => position,
        });
        ctx.upload_list(rows)
    }

    /// Rotates queries and keys by their positions.
    pub(super) fn rotate(&self, ctx: &mut Context, run: &Run<'_>, layer: &Layer, heads: [Mat; 2]) {
        let (table, rows) = self.table(run, layer);
        heads.into_iter().for_each(|x| rope::forward(ctx, x, rows, table));
    }

    /// Turns the gradients of rotated queries and keys back.
    pub(super) fn rotate_back(&self, ctx: &mut Context, run: &Run<'_>, layer: &Layer, gradients: [Mat; 2]) {
        let (table, rows) = self.table(run, layer);
        gradients.into_iter().for_each(|dx| rope::backward(ctx, dx, rows, table));
    }

    /// The rotary table of a layer, and the rows of it.
    fn table(&self, run: &Run<'_>, layer: &Layer) -> (&rope::Table, Indices) {
        match self.rotary.local.as_ref().filter(|_| layer.window.is_some()) {
            Some(local) => (local, run.positions),
            None => (&self.rotary.all, run.rotary_rows),
        }
    }
}
