//! The language-model head: hidden rows to logits and back, one chunk of rows at a time, so that the full logits matrix
//! never exists. Trained embedding rows override their frozen columns here. The caller chooses the loss.

use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::gemm::{Init, Order, add_token_products, gemm, pack_lhs, pack_rhs};
use crate::linear::{self, FrozenWeight, Input, Start};
use crate::reference;

/// Rows of a vocabulary matrix that are trained: they replace, or extend, the frozen rows of these ids.
#[derive(Clone, Copy, Debug)]
pub struct TrainedRows {
    /// Token ids, distinct.
    pub ids: Indices,
    /// The rows, [ids, C].
    pub rows: Mat,
    /// One more than the highest id.
    end: usize,
}

impl TrainedRows {
    /// The rows of some ids, [ids, C].
    pub fn new(ctx: &mut Context, ids: &[u32], rows: Mat) -> TrainedRows {
        let end = ids.iter().max().map_or(0, |&id| id as usize + 1);
        TrainedRows { ids: ctx.upload_persistent_indices(ids), rows, end }
    }
}

/// The head's frozen weight [V, C], and the rows trained in its place.
#[derive(Clone, Copy)]
pub struct Head {
    /// The frozen weight.
    pub weight: FrozenWeight,
    /// Trained rows, if any.
    pub trained: Option<TrainedRows>,
}

impl Head {
    /// V: the columns of the logits, trained rows beyond the frozen vocabulary included.
    pub fn vocab_size(&self) -> usize {
        self.weight.d_out().max(self.trained.map_or(0, |trained| trained.end))
    }

    /// Rows of a chunk: enough that turning the weight for the backward costs little, few enough that a chunk's logits stay below
    /// 64 MB. Depends on the vocabulary only.
    pub fn chunk_rows(&self) -> usize {
        (64 * 1024 * 1024 / 4 / self.vocab_size()).clamp(24, 252)
    }

    /// `logits = hidden·Wᵀ`; hidden [rows, C], logits [rows, V].
    ///
    /// # Panics
    /// If the shapes do not fit the head, or if `logits` shares elements with what is read.
    pub fn forward(&self, ctx: &mut Context, hidden: Mat, logits: Mat) {
        assert_eq!((hidden.rows(), self.vocab_size()), (logits.rows(), logits.cols()));
        match ctx.device() {
            Device::Cpu => {}
            Device::Reference => return reference::head::forward(ctx, self, hidden, logits),
        }
        let mark = ctx.mark();
        let frozen = logits.col_range(0, self.weight.d_out());
        let input = Input::new(ctx, hidden, std::iter::once(self.weight), self.trained.is_some());
        let product = linear::Product { weight: self.weight, lora: None, start: Start::Zero, y: frozen };
        linear::forward(ctx, &input, &[product]);
        if let Some(trained) = self.trained {
            let columns = ctx.scratch(hidden.rows(), trained.ids.len());
            let rows = pack_rhs(ctx, trained.rows, Order::Nk, 1.0, self.weight.precision());
            gemm(ctx, &[(input.packed(), rows)], Init::Zero, columns);
            move_columns(ctx, columns, logits, trained.ids, Move::Override);
        }
        ctx.release(mark);
    }

    /// `dhidden = dlogits·W`, and `drows += dlogits[:, ids]ᵀ·hidden` for trained rows. The trained columns of `dlogits` are zeroed.
    ///
    /// # Panics
    /// If the shapes do not fit the head, or if what is written shares elements with what is read.
    pub fn backward(&self, ctx: &mut Context, hidden: Mat, dlogits: Mat, dhidden: Mat, drows: Option<Mat>) {
        match ctx.device() {
            Device::Cpu => {}
            Device::Reference => return reference::head::backward(ctx, self, hidden, dlogits, dhidden, drows),
        }
        let mark = ctx.mark();
        let (precision, body) = (self.weight.precision(), self.weight.body(ctx));
        let frozen = dlogits.col_range(0, self.weight.d_out());
        match self.trained {
            None => {
                let packed = pack_lhs(ctx, frozen, precision);
                gemm(ctx, &[(packed, body.backward_operand())], Init::Zero, dhidden);
            }
            Some(trained) => {
                let columns = ctx.scratch(hidden.rows(), trained.ids.len());
                move_columns(ctx, dlogits, columns, trained.ids, Move::TakeOut);
                let packed = pack_lhs(ctx, frozen, precision);
                let packed_columns = pack_lhs(ctx, columns, precision);
                let rows = pack_rhs(ctx, trained.rows, Order::Kn, 1.0, precision);
                let segments = [(packed, body.backward_operand()), (packed_columns, rows)];
                gemm(ctx, &segments, Init::Zero, dhidden);
                if let Some(drows) = drows {
                    add_token_products(ctx, columns, hidden, 1.0, drows, false);
                }
            }
        }
        ctx.release(mark);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    /// Column i of the source becomes column `ids[i]` of the target.
    Override,
    /// Column `ids[i]` of the source moves to column i of the target, and becomes zero in the source.
    TakeOut,
}

fn move_columns(ctx: &mut Context, source: Mat, target: Mat, ids: Indices, direction: Move) {
    if ctx.planning() {
        return;
    }
    assert_apart(&[source.place(), target.place()], &[ids.place()]);
    let (sv, tv, ids) = (ctx.view(source), ctx.view(target), ctx.entries(ids));
    for row in 0..source.rows() {
        // SAFETY: one thread runs here, and the two matrices are apart (asserted).
        let (from, to) = unsafe { (sv.row_mut(row), tv.row_mut(row)) };
        for (i, &id) in ids.iter().enumerate() {
            match direction {
                Move::Override => to[id as usize] = from[i],
                Move::TakeOut => to[i] = std::mem::take(&mut from[id as usize]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};
    use crate::linear::Precision;

    /// Three trained rows, one of them beyond the frozen vocabulary.
    #[test]
    fn trained_rows_take_part_forward_and_backward() {
        let (rows, c, v) = (5, 11, 29);
        let ids = vec![3u32, 28, 29];
        let total = 30;
        let (hidden, w, trained, g) =
            (random(1, rows * c), random(2, v * c), random(3, 3 * c), random(4, rows * total));
        let reference = |hidden: &[f64], trained: &[f64]| -> Vec<f64> {
            (0..rows * total)
                .map(|e| {
                    let (row, token) = (e / total, e % total);
                    let at = ids.iter().position(|&id| id as usize == token);
                    let weight = |k: usize| at.map_or_else(|| f64::from(w[token * c + k]), |i| trained[i * c + k]);
                    (0..c).map(|k| hidden[row * c + k] * weight(k)).sum()
                })
                .collect()
        };
        let mut ctx = Context::cpu(2);
        let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::F32, v, c, |n, row| {
            row.copy_from_slice(&w[n * c..(n + 1) * c]);
            Ok(())
        })
        .unwrap();
        let (hm, tm, gm) = (
            ctx.upload_persistent(rows, c, &hidden),
            ctx.upload_persistent(3, c, &trained),
            ctx.upload_persistent(rows, total, &g),
        );
        let (logits, dhidden, drows) = (ctx.persistent(rows, total), ctx.persistent(rows, c), ctx.persistent(3, c));
        let head = Head { weight, trained: Some(TrainedRows::new(&mut ctx, &ids, tm)) };
        assert_eq!(head.vocab_size(), total);
        let run = |ctx: &mut Context| {
            head.forward(ctx, hm, logits);
            head.backward(ctx, hm, gm, dhidden, Some(drows));
        };
        ctx.plan(run);
        run(&mut ctx);
        let (hw, tw) = (wide(&hidden), wide(&trained));
        assert_close("logits", &ctx.download(logits), &reference(&hw, &tw), 1e-5);
        let loss = |logits: Vec<f64>| logits.iter().zip(&g).map(|(l, g)| l * f64::from(*g)).sum::<f64>();
        let dh = finite_differences(&hw, 1e-4, |h| loss(reference(h, &tw)));
        assert_close("dhidden", &ctx.download(dhidden), &dh, 1e-5);
        let dt = finite_differences(&tw, 1e-4, |t| loss(reference(&hw, t)));
        assert_close("drows", &ctx.download(drows), &dt, 1e-5);
    }
}
