//! Token embeddings: rows are decoded from the file's own format on lookup, so that no widened copy of the table
//! exists. Trained rows replace, or extend, the frozen ones.

use crate::device::{Context, Device, Indices, Mat, Object, assert_apart};
use crate::head::TrainedRows;
use crate::quant::{self, BlockType, SizeMismatch};
use crate::reference;

/// A frozen embedding table [V, C] in its file's format, held by its context: a handle, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    object: Object,
    vocab_size: usize,
    channels: usize,
}

/// What the context holds.
pub(crate) struct Table {
    block_type: BlockType,
    bytes: Vec<u8>,
}

impl Table {
    /// Decodes one row.
    pub(crate) fn row(&self, id: u32, out: &mut [f32]) {
        quant::decode_row(self.block_type, &self.bytes, id as usize, out)
            .expect("row sizes were checked when the table was made");
    }
}

impl Embedding {
    /// Takes over the table's bytes.
    ///
    /// # Errors
    /// If the bytes are not those of `vocab_size` whole rows.
    pub fn new(
        ctx: &mut Context,
        block_type: BlockType,
        bytes: Vec<u8>,
        vocab_size: usize,
        channels: usize,
    ) -> Result<Embedding, SizeMismatch> {
        if vocab_size > 0 {
            // rows have one size: if the last can be decoded, all can
            quant::decode_row(block_type, &bytes, vocab_size - 1, &mut vec![0.0; channels])?;
        }
        let len = bytes.len();
        Ok(Embedding { object: ctx.keep(Table { block_type, bytes }, len), vocab_size, channels })
    }

    /// V, the frozen rows.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// C.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes that the context holds.
    pub fn bytes(&self) -> usize {
        self.object.bytes()
    }

    /// `out[t] = table[ids[t]]`, trained rows first; out is [T, C].
    ///
    /// # Panics
    /// If the shapes do not fit each other, if `out` shares elements with what is read, or if an id is no token.
    pub fn forward(&self, ctx: &mut Context, ids: Indices, trained: Option<TrainedRows>, out: Mat) {
        assert_eq!((ids.len(), self.channels), (out.rows(), out.cols()));
        if ctx.planning() {
            return;
        }
        assert_apart(&[out.place()], &[ids.place()]);
        if let Some(trained) = trained {
            assert_apart(&[out.place()], &[trained.rows.place(), trained.ids.place()]);
        }
        let table = ctx.object::<Table>(self.object);
        match ctx.device() {
            Device::Cpu => {}
            Device::Reference => return reference::embedding::forward(ctx, &table, ids, trained, out),
        }
        let (ov, rows) = (ctx.view(out), trained.map(|t| (ctx.view(t.rows), ctx.entries(t.ids))));
        let (ids, vocab_size) = (ctx.entries(ids), self.vocab_size);
        ctx.parallel(ids.len(), |t| {
            // SAFETY: each task writes its own row of `out`; trained rows are only read, and apart from it (asserted).
            let target = unsafe { ov.row_mut(t) };
            match rows.and_then(|(view, trained)| Some((view, trained.iter().position(|&id| id == ids[t])?))) {
                // SAFETY: as above.
                Some((view, i)) => target.copy_from_slice(unsafe { view.row(i) }),
                None => {
                    assert!((ids[t] as usize) < vocab_size, "token {} of a vocabulary of {vocab_size}", ids[t]);
                    table.row(ids[t], target);
                }
            }
        });
    }

    /// `drows[i] += Σ_t dx[t]` over the tokens t whose id is `trained[i]`, in token order. Frozen rows get no gradient.
    ///
    /// # Panics
    /// If the shapes do not fit each other, or if `drows` shares elements with what is read.
    pub fn backward(ctx: &mut Context, ids: Indices, trained: TrainedRows, dx: Mat, drows: Mat) {
        assert_eq!((ids.len(), trained.ids.len(), dx.cols()), (dx.rows(), drows.rows(), drows.cols()));
        match ctx.device() {
            Device::Cpu => {}
            Device::Reference => return reference::embedding::backward(ctx, ids, trained, dx, drows),
        }
        let mark = ctx.mark();
        let sums = ctx.thread_scratch(dx.cols());
        if ctx.planning() {
            ctx.release(mark);
            return;
        }
        assert_apart(&[drows.place(), sums.place()], &[dx.place(), ids.place(), trained.ids.place()]);
        let (dv, rv, sv) = (ctx.view(dx), ctx.view(drows), ctx.view(sums));
        let (ids, trained) = (ctx.entries(ids), ctx.entries(trained.ids));
        ctx.parallel(trained.len(), |i| {
            // SAFETY: each task writes its own row of `drows`, which overlaps no operand (asserted); the scratch row belongs to this
            // thread.
            let (target, sum) = unsafe { (rv.row_mut(i), sv.row_mut(Context::thread_index())) };
            let sum = &mut sum[..target.len()];
            // chunks of 256 tokens, as everywhere that tokens are summed
            for (chunk, tokens) in ids.chunks(256).enumerate() {
                sum.fill(0.0);
                for (t, _) in tokens.iter().enumerate().filter(|(_, id)| **id == trained[i]) {
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
        let mut ctx = Context::cpu(2);
        let embedding = Embedding::new(&mut ctx, BlockType::F32, quant::encode_f32(&table), v, c).unwrap();
        assert!(Embedding::new(&mut ctx, BlockType::F32, quant::encode_f32(&table[1..]), v, c).is_err());
        let rows = ctx.upload_persistent(2, c, &[[1.0; 5], [2.0; 5]].concat());
        let trained = TrainedRows::new(&mut ctx, &[3, 7], rows);
        let (out, drows) = (ctx.persistent(5, c), ctx.persistent(2, c));
        ctx.plan(|ctx| {
            let ids = ctx.upload_indices(&[0; 5]);
            Embedding::backward(ctx, ids, trained, out, drows);
        });
        let ids = ctx.upload_indices(&[6, 3, 7, 0, 3]);
        embedding.forward(&mut ctx, ids, Some(trained), out);
        let got = ctx.download(out);
        assert_eq!(got[..c], table[6 * c..]);
        assert_eq!(got[c..3 * c], [[1.0; 5], [2.0; 5]].concat());
        assert_eq!(got[3 * c..4 * c], table[..c]);
        Embedding::backward(&mut ctx, ids, trained, out, drows);
        assert_eq!(ctx.download(drows), [[2.0; 5], [2.0; 5]].concat());
    }
}
