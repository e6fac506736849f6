//! Ops between tokens and rows: embedding, head and loss.

use aludel_kernels::embedding::Embedding;
use aludel_kernels::head::Head;
use aludel_kernels::linear::{FrozenWeight, Precision};
use aludel_kernels::loss;
use aludel_kernels::quant::BlockType;
use aludel_kernels::{Context, Mat, Region};

use crate::case::{Case, HIDDEN, TOKENS, VOCAB, Work, case, values};

/// Rows that go through the head at a time.
const CHUNK: usize = 252;

pub(crate) fn cases() -> Vec<Case> {
    vec![embedding(), head(1, false), head(CHUNK, false), head(CHUNK, true), cross_entropy()]
}

/// The table that the student's file has, Q8_0.
fn embedding() -> Case {
    let row_bytes = BlockType::Q8_0.bytes_for(HIDDEN).unwrap();
    let bytes = TOKENS * (row_bytes + 4 * HIDDEN);
    let work = Work { operations: 0.0, precision: Precision::F32, bytes: bytes as f64 };
    let make = move |ctx: &mut Context| {
        // as many rows as are looked up: each is read once
        let table = vec![0x21; TOKENS * row_bytes];
        (Embedding::new(ctx, BlockType::Q8_0, table, TOKENS, HIDDEN).unwrap(), ctx.persistent(TOKENS, HIDDEN))
    };
    case("embedding", format!("q8_0 {TOKENS}×{HIDDEN}"), work, make, |ctx, (table, out)| {
        let ids: [u32; TOKENS] = std::array::from_fn(|t| (t * 389 % TOKENS) as u32);
        let ids = ctx.upload_indices(&ids);
        table.forward(ctx, ids, None, *out);
    })
}

struct Chunk {
    weight: FrozenWeight,
    hidden: Mat,
    logits: Mat,
}

fn head(rows: usize, is_backward: bool) -> Case {
    let bytes = 2 * VOCAB * HIDDEN + 4 * rows * (HIDDEN + VOCAB);
    let work = Work { operations: (2 * rows * VOCAB * HIDDEN) as f64, precision: Precision::Bf16, bytes: bytes as f64 };
    let make = move |ctx: &mut Context| {
        let weight = FrozenWeight::pack::<()>(ctx, Precision::Bf16, VOCAB, HIDDEN, |n, row| {
            row.iter_mut().enumerate().for_each(|(k, x)| *x = ((n * 31 + k * 17) % 97) as f32 / 97.0 - 0.5);
            Ok(())
        });
        Chunk { weight: weight.unwrap(), hidden: values(ctx, rows, HIDDEN), logits: values(ctx, rows, VOCAB) }
    };
    let shape = format!("bf16 {rows}×{HIDDEN}→{VOCAB}{}", if is_backward { " back" } else { "" });
    case("head", shape, work, make, move |ctx, chunk| {
        let head = Head { weight: chunk.weight, trained: None };
        if is_backward {
            head.backward(ctx, chunk.hidden, chunk.logits, chunk.hidden, None);
        } else {
            head.forward(ctx, chunk.hidden, chunk.logits);
        }
    })
}

/// The loss and its gradient, in place of the logits.
fn cross_entropy() -> Case {
    let make = |ctx: &mut Context| (values(ctx, CHUNK, VOCAB), ctx.persistent(1, CHUNK));
    case("loss", format!("{CHUNK}×{VOCAB}"), Work::moving(2 * CHUNK * VOCAB), make, |ctx, (logits, losses)| {
        let targets = ctx.upload_indices(&[77; CHUNK]);
        let weights = ctx.upload(Region::Io, 1, CHUNK, &[1.0; CHUNK]);
        loss::cross_entropy(ctx, *logits, targets, weights, *losses, true);
    })
}
