//! Ops between tokens and rows: embedding, head and loss.

use aludel_kernels::embedding::Embedding;
use aludel_kernels::head::Head;
use aludel_kernels::linear::{FrozenWeight, Precision};
use aludel_kernels::loss;
use aludel_kernels::loss::divergence::{self, Divergence, DivergenceArgs, Draws, Samples, Softmax, TopK};
use aludel_kernels::quant::BlockType;
use aludel_kernels::{Context, Mat, Region};

use crate::case::{Case, HIDDEN, TOKENS, VOCAB, Work, case, values};

/// Rows that go through the head at a time.
const CHUNK: usize = 252;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![embedding(), head(1, false), head(CHUNK, false), head(CHUNK, true), cross_entropy()];
    cases.extend(divergences());
    cases
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

/// Tokens that are kept of a teacher: the likeliest, and draws.
const KEPT: usize = 64;
const DRAWS: usize = 12;

/// A chunk of a student's logits, and what it is compared with.
struct Pair {
    student: Mat,
    teacher: Mat,
    weights: Mat,
    losses: Mat,
    top_k: TopK,
    samples: Samples,
    draws: Draws,
}

impl Pair {
    fn new(ctx: &mut Context) -> Pair {
        let ids = |ctx: &mut Context, count: usize| {
            let ids: Vec<u32> =
                (0..CHUNK).flat_map(|row| (0..count).map(move |i| ((row + i * 389) % VOCAB) as u32)).collect();
            ctx.upload_persistent_indices(&ids)
        };
        let rows = ctx.upload_persistent_indices(&[3; CHUNK]);
        Pair {
            student: values(ctx, CHUNK, VOCAB),
            teacher: values(ctx, CHUNK, VOCAB),
            weights: ctx.upload_persistent(1, CHUNK, &[1.0; CHUNK]),
            losses: ctx.persistent(1, CHUNK),
            top_k: TopK { ids: ids(ctx, KEPT), log_probs: ctx.upload_persistent(CHUNK, KEPT, &[-10.0; CHUNK * KEPT]) },
            samples: Samples {
                ids: ids(ctx, DRAWS),
                weights: ctx.upload_persistent(CHUNK, DRAWS, &[1.0 / DRAWS as f32; CHUNK * DRAWS]),
            },
            draws: Draws { proposal: 0.9, key: 1, examples: rows, positions: rows },
        }
    }
}

/// Losses against a teacher with their gradients, in place of the student's logits, and what is kept of a teacher.
fn divergences() -> Vec<Case> {
    let softmax = Softmax { vocab: VOCAB, temperature: 1.0 };
    let of = |shape: &str, matrices: usize, run: fn(&mut Context, &Pair, Softmax)| {
        let run = move |ctx: &mut Context, pair: &Pair| run(ctx, pair, softmax);
        case("loss", format!("{CHUNK}×{VOCAB} {shape}"), Work::moving(matrices * CHUNK * VOCAB), Pair::new, run)
    };
    vec![
        of("forward kl", 3, |ctx, pair, softmax| dense(ctx, pair, Divergence::ForwardKl, softmax)),
        of("reverse kl", 3, |ctx, pair, softmax| dense(ctx, pair, Divergence::ReverseKl, softmax)),
        of("jsd", 3, |ctx, pair, softmax| dense(ctx, pair, Divergence::Jsd { beta: 0.5 }, softmax)),
        of("top-k", 2, |ctx, pair, softmax| {
            let args = DivergenceArgs { divergence: Divergence::ForwardKl, softmax };
            divergence::top_k(ctx, pair.student, pair.top_k, pair.weights, args, pair.losses, true);
        }),
        of("sampled", 2, |ctx, pair, softmax| {
            divergence::sampled(ctx, pair.student, pair.samples, pair.weights, softmax, pair.losses, true);
        }),
        of("select", 1, |ctx, pair, softmax| divergence::top_k_of(ctx, pair.teacher, softmax, pair.top_k)),
        of("draw", 1, |ctx, pair, softmax| divergence::sample_of(ctx, pair.teacher, softmax, pair.draws, pair.samples)),
    ]
}

fn dense(ctx: &mut Context, pair: &Pair, divergence: Divergence, softmax: Softmax) {
    let args = DivergenceArgs { divergence, softmax };
    divergence::dense(ctx, pair.student, pair.teacher, pair.weights, args, pair.losses, true);
}
