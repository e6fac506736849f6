//! The residual stream between layers: where a loss on hidden states reads it in the forward, and adds to its gradient in the backward.
//! What is done with the states is the caller's matter.

use aludel_kernels::{Context, Mat};

use super::{Active, Attention, Decoder, Forward, PackedBatch, SavedActivations};

/// What reads the residual stream, [T, C], after each layer of a pass. Layers are counted from 1, so that layer n is
/// `hidden_states[n]` of transformers, except that the last is not normed.
pub trait ResidualTap {
    /// Called after each layer of the forward, with what the layer gave. It is overwritten by the layers that follow.
    fn read(&mut self, _ctx: &mut Context, _layer: usize, _hidden: Mat) {}

    /// Called in the backward before each layer's, with the gradient of what the layer gave, to which it may add.
    fn add_gradient(&mut self, _ctx: &mut Context, _layer: usize, _dhidden: Mat) {}
}

/// Reads nothing.
impl ResidualTap for () {}

impl Decoder {
    /// Runs a pass through all layers. The pass must have been checked. What a backward wants goes to `kept`; evaluation and
    /// generation keep nothing.
    pub fn forward<'a>(
        &self,
        ctx: &mut Context,
        pass: &PackedBatch,
        attention: Attention<'a>,
        active: Option<Active<'a>>,
        kept: Option<&'a mut SavedActivations>,
    ) -> Forward<'a> {
        self.forward_tapped(ctx, pass, attention, active, kept, &mut ())
    }

    /// Runs the layers backward from `dhidden`, the gradient of the residual stream after the last layer (overwritten), and adds
    /// every gradient of the adapter to the flat buffer `gradients`.
    ///
    /// # Panics
    /// If the forward kept nothing or had no adapter.
    pub fn backward(&self, ctx: &mut Context, forward: Forward<'_>, dhidden: Mat, gradients: Mat) {
        self.backward_tapped(ctx, forward, dhidden, gradients, &mut ());
    }
}
