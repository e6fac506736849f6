//! Sums over tokens, `Lᵀ·R` for two matrices of token rows: the gradients of adapters and of trained rows. All in f32,
//! since the optimiser uses these sums.

use super::micro::{self, Tile};
use super::pack::interleave;
use super::{MR, NR, Precision};
use crate::device::{Context, Mat, View, assert_apart};
use crate::profile::Kind;

/// Tokens whose contributions are summed before they are added to a gradient, in index order. Fixed, so that the sum does not
/// depend on the number of threads.
const TOKEN_CHUNK: usize = 256;

/// `out[i][j] += scale·Σ_t left[t][i]·right[t][j]` ([r, d]), or its transpose `out[j][i]` ([d, r]). Tokens are summed in chunks
/// of [`TOKEN_CHUNK`], in index order.
pub(crate) fn add_token_products(ctx: &mut Context, left: Mat, right: Mat, scale: f32, out: Mat, transposed: bool) {
    let (tokens, r, d) = (left.rows(), left.cols(), right.cols());
    assert_eq!(tokens, right.rows());
    assert_eq!(if transposed { (d, r) } else { (r, d) }, (out.rows(), out.cols()));
    let mark = ctx.mark();
    let packed = ctx.scratch(1, tokens * r);
    if !ctx.planning() && tokens * r * d > 0 {
        let _span = ctx.span(Kind::Matrix);
        assert_apart(&[out.place(), packed.place()], &[left.span(), right.span()]);
        let (lv, pv, isa) = (ctx.view(left), ctx.view(packed), ctx.isa());
        ctx.parallel(tokens.div_ceil(TOKEN_CHUNK), |chunk| {
            for panel in panels(tokens, r, chunk) {
                // SAFETY: the source is only read; each task writes the panels of its own chunk.
                let (from, to) = unsafe {
                    let to = std::slice::from_raw_parts_mut(pv.at(panel.offset()).cast(), panel.span * panel.height);
                    (lv.block(panel.token, panel.span, panel.first, panel.height), to)
                };
                interleave(isa, Precision::F32, from, lv.ld(), (panel.height, panel.span), to, panel.height);
            }
        });
        let job = TokenJob { packed: pv, right: ctx.view(right), out: ctx.view(out), scale, transposed };
        ctx.parallel(d.div_ceil(NR), |task| {
            let (first, columns) = (task * NR, NR.min(d - task * NR));
            for chunk in 0..tokens.div_ceil(TOKEN_CHUNK) {
                for panel in panels(tokens, r, chunk) {
                    // SAFETY: inputs are only read, and overlap no output (asserted); this task owns its columns of the output.
                    unsafe { job.add(isa, &panel, first, columns) };
                }
            }
        });
    }
    ctx.release(mark);
}

/// At most [`MR`] columns of the left matrix over one chunk of tokens.
struct Panel {
    token: usize,
    span: usize,
    first: usize,
    height: usize,
    columns: usize,
}

impl Panel {
    /// Where it lies in the packed matrix.
    fn offset(&self) -> usize {
        self.token * self.columns + self.span * self.first
    }
}

fn panels(tokens: usize, columns: usize, chunk: usize) -> impl Iterator<Item = Panel> {
    let token = chunk * TOKEN_CHUNK;
    let span = TOKEN_CHUNK.min(tokens - token);
    (0..columns).step_by(MR).map(move |first| Panel { token, span, first, height: MR.min(columns - first), columns })
}

struct TokenJob {
    packed: View,
    right: View,
    out: View,
    scale: f32,
    transposed: bool,
}

impl TokenJob {
    /// Adds one panel's products with columns `first .. first + columns`.
    ///
    /// # Safety
    /// No one writes the operands; no one else touches these columns (rows, if transposed) of the output.
    unsafe fn add(&self, isa: crate::Isa, panel: &Panel, first: usize, columns: usize) {
        let mut sums = [[0f32; NR]; MR];
        // SAFETY: as the caller promises.
        let right = unsafe { self.right.block(panel.token, panel.span, first, columns) };
        let mut edge = [0f32; TOKEN_CHUNK * NR];
        let (right, right_ld) = if columns == NR {
            (right.as_ptr(), self.right.ld())
        } else {
            for (to, from) in edge.chunks_exact_mut(NR).zip(right.chunks(self.right.ld())) {
                to[..columns].copy_from_slice(&from[..columns]);
            }
            (edge.as_ptr(), NR)
        };
        let tile = Tile {
            precision: Precision::F32,
            height: panel.height,
            width: 2,
            depth: panel.span,
            left: self.packed.at(panel.offset()).cast(),
            right: right.cast(),
            right_ld,
            from: None,
            from_ld: NR,
            c: sums.as_mut_ptr().cast(),
            ld: NR,
        };
        // SAFETY: the panel holds `span × height` units; rows of `right` have NR columns; `sums` is a whole tile.
        unsafe { micro::tile(isa, &tile) };
        for (i, row) in (panel.first..).zip(&sums[..panel.height]) {
            for (j, sum) in (first..first + columns).zip(row) {
                let at = if self.transposed { j * self.out.ld() + i } else { i * self.out.ld() + j };
                // SAFETY: an element of the output that only this task touches.
                unsafe { *self.out.at(at) += self.scale * sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, random};

    #[test]
    fn token_sums_are_right_and_do_not_depend_on_threads() {
        for (tokens, r, d) in [(700, 6, 70), (256, 8, 64), (300, 27, 33), (1, 1, 1)] {
            let (l, x) = (random(1, tokens * r), random(2, tokens * d));
            let run = |threads| {
                let mut ctx = Context::cpu(threads);
                let (lm, xm) = (ctx.upload_persistent(tokens, r, &l), ctx.upload_persistent(tokens, d, &x));
                let (out, out_t) = (ctx.persistent(r, d), ctx.persistent(d, r));
                let work = |ctx: &mut Context| {
                    add_token_products(ctx, lm, xm, 2.0, out, false);
                    add_token_products(ctx, lm, xm, 2.0, out_t, true);
                };
                ctx.plan(work);
                work(&mut ctx);
                (ctx.download(out), ctx.download(out_t))
            };
            let (one, one_t) = run(1);
            assert_eq!((one.clone(), one_t.clone()), run(3));
            let sum =
                |e: usize| (0..tokens).map(|t| f64::from(l[t * r + e / d]) * f64::from(x[t * d + e % d])).sum::<f64>();
            let expected: Vec<f64> = (0..r * d).map(|e| 2.0 * sum(e)).collect();
            assert_close(&format!("{tokens} × {r} × {d}"), &one, &expected, 1e-4);
            assert_eq!((0..r * d).map(|e| one_t[e % d * r + e / d]).collect::<Vec<_>>(), one);
        }
    }
}
