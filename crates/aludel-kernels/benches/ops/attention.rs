//! Attention: over the rows of a training pass, its backward, and over the cached past in a decoding step.

use std::ops::Range;

use aludel_kernels::attention::{self, BLOCK, Cache, Extensions, Heads};
use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, Mat};

use crate::case::{Case, HEAD_DIM, HEADS, HIDDEN, KEY_HEADS, TOKENS, Work, case, values};

const KEY: usize = KEY_HEADS * HEAD_DIM;

pub(crate) fn cases() -> Vec<Case> {
    let one: Vec<Range<usize>> = std::iter::once(0..TOKENS).collect();
    let four: Vec<Range<usize>> = (0..4).map(|row| row * TOKENS / 4..(row + 1) * TOKENS / 4).collect();
    vec![
        forward(Precision::Bf16, one.clone()),
        forward(Precision::F32, one.clone()),
        forward(Precision::Bf16, four.clone()),
        backward(Precision::Bf16, one.clone()),
        backward(Precision::F32, one),
        backward(Precision::Bf16, four),
        cached(1, 1024),
        cached(8, 1024),
    ]
}

fn heads(precision: Precision) -> Heads {
    Heads { query: HEADS, key: KEY_HEADS, dim: HEAD_DIM, scale: 0.125, window: None, precision }
}

/// `products` of the size of q·kᵀ, of which the causal half counts, and the given number of floats.
fn work(precision: Precision, rows: &[Range<usize>], products: usize, floats: usize) -> Work {
    let pairs: usize = rows.iter().map(|row| row.len() * (row.len() + 1) / 2).sum();
    Work { operations: (2 * products * HIDDEN * pairs) as f64, precision, bytes: 4.0 * floats as f64 }
}

fn shape(precision: Precision, rows: &[Range<usize>]) -> String {
    format!("{} {}×{} tokens", format!("{precision:?}").to_lowercase(), rows.len(), rows[0].len())
}

/// What the forward reads and writes: q, k, v, out, log-sum-exp.
struct Operands {
    q: Mat,
    k: Mat,
    v: Mat,
    out: Mat,
    lse: Mat,
}

impl Operands {
    fn new(ctx: &mut Context) -> Operands {
        Operands {
            q: values(ctx, TOKENS, HIDDEN),
            k: values(ctx, TOKENS, KEY),
            v: values(ctx, TOKENS, KEY),
            out: values(ctx, TOKENS, HIDDEN),
            lse: values(ctx, TOKENS, HEADS),
        }
    }
}

fn forward(precision: Precision, rows: Vec<Range<usize>>) -> Case {
    let work = work(precision, &rows, 2, TOKENS * (2 * HIDDEN + 2 * KEY + HEADS));
    case("attention", shape(precision, &rows), work, Operands::new, move |ctx, o| {
        let rows = attention::Rows::upload(ctx, &rows, TOKENS);
        attention::forward(ctx, &heads(precision), rows, o.q, o.k, o.v, o.out, o.lse);
    })
}

fn backward(precision: Precision, rows: Vec<Range<usize>>) -> Case {
    let work = work(precision, &rows, 5, TOKENS * (4 * HIDDEN + 4 * KEY + HEADS));
    let make = |ctx: &mut Context| {
        let gradients = (ctx.persistent(TOKENS, HIDDEN), ctx.persistent(TOKENS, KEY), ctx.persistent(TOKENS, KEY));
        (Operands::new(ctx), values(ctx, TOKENS, HIDDEN), gradients)
    };
    let shape = format!("{} back", shape(precision, &rows));
    case("attention", shape, work, make, move |ctx, (o, dout, gradients)| {
        let rows = attention::Rows::upload(ctx, &rows, TOKENS);
        attention::backward(ctx, &heads(precision), rows, (o.q, o.k, o.v), (o.out, o.lse, *dout), *gradients);
    })
}

/// One new token for each of some sequences that have a past of so many.
fn cached(sequences: usize, past: usize) -> Case {
    let heads = heads(Precision::Bf16);
    let read = 2 * 2 * sequences * (past + 1) * KEY; // keys and values, in bf16
    let work = Work {
        operations: (4 * sequences * (past + 1) * HIDDEN) as f64,
        precision: Precision::Bf16,
        bytes: (read + 4 * sequences * (2 * HIDDEN + 2 * KEY)) as f64,
    };
    let blocks_each = (past + 1).div_ceil(BLOCK);
    let make = move |ctx: &mut Context| {
        let cache = Cache::new(ctx, &heads, 1, sequences * blocks_each, sequences);
        let mut extensions = Extensions::default();
        for n in 0..sequences {
            let blocks: Vec<u32> = (0..blocks_each).map(|block| (n * blocks_each + block) as u32).collect();
            extensions.push(n..n + 1, past, &blocks);
        }
        let [q, k, v] = [HIDDEN, KEY, KEY].map(|columns| values(ctx, sequences, columns));
        (cache, extensions.upload(ctx, &cache), [q, k, v], ctx.persistent(sequences, HIDDEN))
    };
    let shape = format!("bf16 {sequences} × past of {past}");
    case("cached attention", shape, work, make, move |ctx, (cache, rows, [q, k, v], out)| {
        attention::forward_cached(ctx, &heads, cache, 0, *rows, *q, *k, *v, *out);
    })
}
