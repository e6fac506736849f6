//! The decoder's last steps: the last norm and the language-model head, for generation at once and for losses chunk by chunk.

use std::ops::Range;

use aludel_kernels::head::Head;
use aludel_kernels::profile::Kind;
use aludel_kernels::rowwise::{self, rms_norm};
use aludel_kernels::{Context, Mat};

use super::{Decoder, Forward};
use crate::adapter::Adapter;

impl Decoder {
    pub(super) fn lm_head(&self, adapter: Option<&Adapter>) -> Head {
        Head { weight: self.head, trained: adapter.and_then(|a| a.head_rows(self.config.tie_word_embeddings)) }
    }

    /// Logits of some rows of the residual stream, all at once, [rows, V]; for generation, where rows are few.
    pub fn logits(&self, ctx: &mut Context, hidden: Mat, adapter: Option<&Adapter>, logits: Mat) {
        let _span = ctx.span(Kind::Head);
        let mark = ctx.mark();
        let normed = ctx.scratch(hidden.rows(), hidden.cols());
        self.head_inputs(ctx, hidden, normed);
        self.lm_head(adapter).forward(ctx, normed, logits);
        ctx.release(mark);
    }

    /// Rows whose logits are computed at once.
    pub fn head_chunk_rows(&self, adapter: Option<&Adapter>) -> usize {
        self.lm_head(adapter).chunk_rows()
    }

    /// Logits of rows that are as the head reads them, [rows, V].
    pub fn head_logits(&self, ctx: &mut Context, inputs: Mat, adapter: Option<&Adapter>, logits: Mat) {
        let _span = ctx.span(Kind::Head);
        self.lm_head(adapter).forward(ctx, inputs, logits);
    }

    /// Rows of the residual stream as the head reads them, after the last norm.
    pub fn head_inputs(&self, ctx: &mut Context, hidden: Mat, normed: Mat) {
        rms_norm::forward(ctx, hidden, self.norm, self.config.rms_norm_eps as f32, normed);
    }

    /// The gradient of rows of the residual stream, [rows, C], from that of their logits, which stays as it is; nothing trained gets one.
    pub fn residual_gradient(
        &self,
        ctx: &mut Context,
        hidden: Mat,
        adapter: Option<&Adapter>,
        dlogits: Mat,
        dhidden: Mat,
    ) {
        let mark = ctx.mark();
        let (epsilon, head) = (self.config.rms_norm_eps as f32, self.lm_head(adapter));
        let [normed, dnormed] = [(); 2].map(|()| ctx.scratch(hidden.rows(), hidden.cols()));
        // The head takes the columns of trained rows out of the gradient.
        let own = ctx.scratch(dlogits.rows(), dlogits.cols());
        ctx.copy(dlogits, own);
        rms_norm::forward(ctx, hidden, self.norm, epsilon, normed);
        head.backward(ctx, normed, own, dnormed, None);
        ctx.zero(dhidden);
        rms_norm::backward(ctx, hidden, self.norm, epsilon, dnormed, dhidden);
        ctx.release(mark);
    }

    /// The head on the chosen tokens of a forward, one chunk at a time: `objective(ctx, logits, range)` sees the logits of tokens
    /// `chosen[range]`, may read them, and for a backward overwrites them with the gradient of its summed loss.
    ///
    /// With `gradients`, returns the gradient of the residual stream, [T, C] in scratch, and adds to trained rows.
    pub fn head_chunks(
        &self,
        ctx: &mut Context,
        forward: &Forward<'_>,
        chosen: &[u32],
        gradients: Option<Mat>,
        mut objective: impl FnMut(&mut Context, Mat, Range<usize>),
    ) -> Option<Mat> {
        let _span = ctx.span(Kind::Head);
        let adapter = forward.run.active.map(|a| a.adapter);
        let head = self.lm_head(adapter);
        let hidden = forward.hidden;
        let dhidden = gradients.map(|_| ctx.scratch(hidden.rows(), hidden.cols()));
        if let Some(dhidden) = dhidden {
            ctx.zero(dhidden);
        }
        let epsilon = self.config.rms_norm_eps as f32;
        for start in (0..chosen.len()).step_by(head.chunk_rows()) {
            let range = start..chosen.len().min(start + head.chunk_rows());
            let mark = ctx.mark();
            let rows = ctx.upload_indices(&chosen[range.clone()]);
            let mut block = || ctx.scratch(range.len(), hidden.cols());
            let (gathered, normed) = (block(), block());
            rowwise::gather_rows(ctx, hidden, rows, gathered);
            rms_norm::forward(ctx, gathered, self.norm, epsilon, normed);
            let logits = ctx.scratch(range.len(), head.vocab_size());
            head.forward(ctx, normed, logits);
            objective(ctx, logits, range.clone());
            if let (Some(gradients), Some(dhidden)) = (gradients, dhidden) {
                let (dnormed, dgathered) =
                    (ctx.scratch(range.len(), hidden.cols()), ctx.scratch(range.len(), hidden.cols()));
                let drows = adapter.and_then(|a| a.head_rows_gradient(gradients, self.config.tie_word_embeddings));
                head.backward(ctx, normed, logits, dnormed, drows);
                ctx.zero(dgathered);
                rms_norm::backward(ctx, gathered, self.norm, epsilon, dnormed, dgathered);
                rowwise::scatter_rows(ctx, dgathered, rows, dhidden);
            }
            ctx.release(mark);
        }
        dhidden
    }
}
