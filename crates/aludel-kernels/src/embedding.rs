//! Token embeddings: rows are decoded from the file's own format on lookup, so that no widened copy of the table
//! exists. Trained rows replace, or extend, the frozen ones.

use crate::device::{Context, Indices, Mat, assert_apart};
use crate::head::TrainedRows;
use crate::quant::{self, BlockType, SizeMismatch};

/// A frozen embedding table [V, C] in its file's format.
pub struct Embedding {
    block_type: BlockType,
    bytes: Vec<u8>,
    vocab_size: usize,
    channels: usize,
}

impl Embedding {
    /// Takes over the table's bytes.
    ///
    /// # Errors
    /// If the bytes are not those of `vocab_size` whole rows.
    pub fn new(
        block_type: BlockType,
        bytes: Vec<u8>,
        vocab_size: usize,
        channels: usize,
    ) -> Result<Embedding, SizeMismatch> {
        let embedding = Embedding { block_type, bytes, vocab_size, channels };
        if vocab_size > 0 {
            // rows have one size: if the last can be decoded, all can
            quant::decode_row(block_type, &embedding.bytes, vocab_size - 1, &mut vec![0.0; channels])?;
        }
        Ok(embedding)
    }

    /// V, the frozen rows.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// C.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes one row.
    pub fn row(&self, id: u32, out: &mut [f32]) {
        assert!((id as usize) < self.vocab_size, "token {id} of a vocabulary of {}", self.vocab_size);
        quant::decode_row(self.block_type, &self.bytes, id as usize, out)
            .expect("row sizes were checked when the table was made");
    }

    /// `out[t] = table[ids[t]]`, trained rows first; out is [T, C].
    pub fn forward(&self, ctx: &mut Context, ids: Indices, trained: Option<&TrainedRows>, out: Mat) {
        assert_eq!((ids.len(), self.channels), (out.rows(), out.cols()));
        if ctx.planning() {
            return;
        }
        assert_apart(&[out], &[ids.memory()]);
        if let Some(trained) = trained {
            assert_apart(&[out], &[trained.rows]);
        }
        let (ov, rows) = (ctx.view(out), trained.map(|t| (ctx.view(t.rows), &t.ids)));
        let ids = ctx.indices(ids);
        ctx.parallel(ids.len(), |t| {
            // SAFETY: each task writes its own row of `out`; trained rows are only read, and apart from it (asserted).
            let target = unsafe { ov.row_mut(t) };
            match rows.and_then(|(view, trained)| Some((view, trained.iter().position(|&id| id == ids[t])?))) {
                // SAFETY: as above.
                Some((view, i)) => target.copy_from_slice(unsafe { view.row(i) }),
                None => self.row(ids[t], target),
            }
        });
    }

    /// `drows[i] += Σ_t dx[t]` over the tokens t whose id is `trained[i]`, in token order. Frozen rows get no gradient.
    pub fn backward(ctx: &mut Context, ids: Indices, trained: &TrainedRows, dx: Mat, drows: Mat) {
        assert_eq!((ids.len(), trained.ids.len(), dx.cols()), (dx.rows(), drows.rows(), drows.cols()));
        let mark = ctx.mark();
        let sums = ctx.thread_scratch(dx.cols());
        if ctx.planning() {
            ctx.release(mark);
            return;
        }
        assert_apart(&[drows, sums], &[dx, ids.memory()]);
        let (dv, rv, sv) = (ctx.view(dx), ctx.view(drows), ctx.view(sums));
        let ids = ctx.indices(ids);
        ctx.parallel(trained.ids.len(), |i| {
            // SAFETY: each task writes its own row of `drows`, which overlaps no operand (asserted); the scratch row belongs to this
            // thread.
            let (target, sum) = unsafe { (rv.row_mut(i), sv.row_mut(Context::thread_index())) };
            let sum = &mut sum[..target.len()];
            // chunks of 256 tokens, as everywhere that tokens are summed
            for (chunk, tokens) in ids.chunks(256).enumerate() {
                sum.fill(0.0);
                for (t, _) in tokens.iter().enumerate().filter(|(_, id)| **id == trained.ids[i]) {
                    // SAFETY: only read.
                    let row = unsafe { dv.row(chunk * 256 + t) };
                    sum.iter_mut().zip(row).for_each(|(s, d)| *s += d);
                }
                target.iter_mut().zip(&*sum).for_each(|(t, s)| *t += s);
            }
        });
        ctx.release(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random;

    #[test]
    fn rows_come_from_the_table_or_from_the_trained_block() {
        let (v, c) = (7, 5);
        let table = random(1, v * c);
        let embedding = Embedding::new(BlockType::F32, quant::encode_f32(&table), v, c).unwrap();
        assert!(Embedding::new(BlockType::F32, quant::encode_f32(&table[1..]), v, c).is_err());
        let mut ctx = Context::cpu(2);
        let rows = ctx.upload_persistent(2, c, &[[1.0; 5], [2.0; 5]].concat());
        let trained = TrainedRows { ids: vec![3, 7], rows };
        let (out, drows) = (ctx.persistent(5, c), ctx.persistent(2, c));
        ctx.plan(|ctx| {
            let ids = ctx.upload_indices(&[0; 5]);
            Embedding::backward(ctx, ids, &trained, out, drows);
        });
        let ids = ctx.upload_indices(&[6, 3, 7, 0, 3]);
        embedding.forward(&mut ctx, ids, Some(&trained), out);
        let got = ctx.download(out);
        assert_eq!(got[..c], table[6 * c..]);
        assert_eq!(got[c..3 * c], [[1.0; 5], [2.0; 5]].concat());
        assert_eq!(got[3 * c..4 * c], table[..c]);
        Embedding::backward(&mut ctx, ids, &trained, out, drows);
        assert_eq!(ctx.download(drows), [[2.0; 5], [2.0; 5]].concat());
    }
}
