// The ops that versions are compared on, at sizes of SmolLM2-135M; `kernels` is one version. Operands of a step of generation are
// gone through in turn, so that weights come from memory.

use std::cell::RefCell;
use std::rc::Rc;

use kernels::attention::{self, Heads};
use kernels::check::random;
use kernels::head::Head;
use kernels::linear::{self, FrozenWeight, Input, Lora, LoraBackward, LoraGradient, Precision, Product, Start};
use kernels::optim::{self, State, Step};
use kernels::quant::BlockType;
use kernels::rowwise::dropout::{self, Dropout};
use kernels::rowwise::gated::{self, Activation};
use kernels::rowwise::rms_norm;
use kernels::{Context, Mat};

use crate::Op;

const TOKENS: usize = 1024;
const HIDDEN: usize = 576;
const INNER: usize = 1536;
const KEY: usize = 192;
const RANK: usize = 8;
const VOCAB: usize = 49_152;
const CHUNK: usize = 252;

type Make = fn() -> Op;

pub fn ops() -> Vec<(&'static str, Make)> {
    vec![
        ("linear bf16", || forward("linear bf16", Precision::Bf16, INNER)),
        ("linear bf16, residual", || forward("linear bf16, residual", Precision::Bf16, HIDDEN)),
        ("linear f32", || forward("linear f32", Precision::F32, INNER)),
        ("linear bf16 back", || backward("linear bf16 back", Precision::Bf16, INNER)),
        ("linear bf16 back, added", || backward("linear bf16 back, added", Precision::Bf16, KEY)),
        ("linear bf16 back, LoRA", || adapted("linear bf16 back, LoRA")),
        ("attention forward", || attention("attention forward", false)),
        ("attention back", || attention("attention back", true)),
        ("head back", || head("head back")),
        ("decode q4_1", || decode("decode q4_1", Some(BlockType::Q4_1), 1)),
        ("decode q8_0", || decode("decode q8_0", Some(BlockType::Q8_0), 1)),
        ("decode q4_1, 8 rows", || decode("decode q4_1, 8 rows", Some(BlockType::Q4_1), 8)),
        ("decode bf16", || decode("decode bf16", None, 1)),
        ("norm forward", || norm("norm forward", false)),
        ("norm back", || norm("norm back", true)),
        ("gated activation forward", || gated("gated activation forward", false)),
        ("gated activation back", || gated("gated activation back", true)),
        ("dropout", || dropout("dropout")),
        ("optimiser", || optimiser("optimiser")),
    ]
}

/// An op that takes its scratch from a planned arena and writes `out`.
fn op(name: &'static str, mut ctx: Context, out: Mat, mut work: impl FnMut(&mut Context) + 'static) -> Op {
    ctx.plan(&mut work);
    let ctx = Rc::new(RefCell::new(ctx));
    let shared = Rc::clone(&ctx);
    let run = move || {
        let mut ctx = shared.borrow_mut();
        ctx.reset();
        work(&mut ctx);
    };
    Op { name, run: Box::new(run), result: Box::new(move || ctx.borrow().download(out)) }
}

fn values(ctx: &mut Context, seed: u64, rows: usize, cols: usize) -> Mat {
    ctx.upload_persistent(rows, cols, &random(seed, rows * cols))
}

fn weight(ctx: &mut Context, precision: Precision, d_out: usize, d_in: usize) -> FrozenWeight {
    let values = random(1, d_out * d_in);
    let packed = FrozenWeight::pack::<()>(ctx, precision, d_out, d_in, |n, row| {
        row.copy_from_slice(&values[n * d_in..(n + 1) * d_in]);
        Ok(())
    });
    packed.unwrap()
}

fn multiply(ctx: &mut Context, x: Mat, weight: FrozenWeight, y: Mat) {
    let input = Input::new(ctx, x, std::iter::once(weight), false);
    linear::forward(ctx, &input, &[Product { weight, lora: None, start: Start::Zero, y }]);
}

/// Sets of operands of a linear in training: more than caches hold, as in a step, which goes through all layers.
const SETS: usize = 16;

/// x + x·Wᵀ, or without the sum where channels differ.
fn forward(name: &'static str, precision: Precision, d_out: usize) -> Op {
    let mut ctx = Context::cpu(0);
    let sets: Vec<_> = (0..SETS)
        .map(|_| {
            let x = values(&mut ctx, 2, TOKENS, HIDDEN);
            (weight(&mut ctx, precision, d_out, HIDDEN), x, ctx.persistent(TOKENS, d_out))
        })
        .collect();
    let mut turn = 0;
    op(name, ctx, sets[0].2, move |ctx| {
        let (weight, x, y) = &sets[turn];
        let start = if d_out == HIDDEN { Start::Residual(*x) } else { Start::Zero };
        let input = Input::new(ctx, *x, std::iter::once(*weight), false);
        linear::forward(ctx, &input, &[Product { weight: *weight, lora: None, start, y: *y }]);
        turn = (turn + 1) % SETS;
    })
}

/// dx = dy·W, and dx += dy·W for the small linears.
fn backward(name: &'static str, precision: Precision, d_out: usize) -> Op {
    let mut ctx = Context::cpu(0);
    let sets: Vec<_> = (0..SETS)
        .map(|_| {
            let dy = values(&mut ctx, 2, TOKENS, d_out);
            (weight(&mut ctx, precision, d_out, HIDDEN), dy, ctx.persistent(TOKENS, HIDDEN))
        })
        .collect();
    let mut turn = 0;
    op(name, ctx, sets[0].2, move |ctx| {
        let (weight, dy, dx) = &sets[turn];
        let dy = Input::new(ctx, *dy, std::iter::once(*weight), false);
        linear::backward(ctx, &dy, *weight, None, d_out == KEY, *dx);
        turn = (turn + 1) % SETS;
    })
}

/// The backward of an adapted linear; its result is the gradient of B.
fn adapted(name: &'static str) -> Op {
    let mut ctx = Context::cpu(0);
    let sets: Vec<_> = (0..SETS)
        .map(|_| {
            let weight = weight(&mut ctx, Precision::Bf16, HIDDEN, HIDDEN);
            let mut block = |seed| values(&mut ctx, seed, TOKENS, HIDDEN);
            (weight, block(2), block(3), block(4))
        })
        .collect();
    let lora =
        Lora { a: values(&mut ctx, 5, RANK, HIDDEN), b: values(&mut ctx, 6, HIDDEN, RANK), scale: 2.0, dropout: None, dora: None };
    let hidden = values(&mut ctx, 7, TOKENS, RANK);
    let gradient = LoraGradient { a: ctx.persistent(RANK, HIDDEN), b: ctx.persistent(HIDDEN, RANK), magnitude: None };
    let mut turn = 0;
    op(name, ctx, gradient.b, move |ctx| {
        let (weight, x, dy, dx) = &sets[turn];
        ctx.zero(gradient.b);
        let dy = Input::new(ctx, *dy, std::iter::once(*weight), true);
        let lora = LoraBackward { lora: &lora, x: *x, hidden, gradient };
        linear::backward(ctx, &dy, *weight, Some(lora), false, *dx);
        turn = (turn + 1) % SETS;
    })
}

/// The backward of the head, for a chunk of rows.
fn head(name: &'static str) -> Op {
    let mut ctx = Context::cpu(0);
    let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::Bf16, VOCAB, HIDDEN, |n, row| {
        row.iter_mut().enumerate().for_each(|(k, x)| *x = ((n * 31 + k * 17) % 97) as f32 / 97.0 - 0.5);
        Ok(())
    });
    let weight = weight.unwrap();
    let (hidden, logits) = (values(&mut ctx, 1, CHUNK, HIDDEN), values(&mut ctx, 2, CHUNK, VOCAB));
    let dhidden = ctx.persistent(CHUNK, HIDDEN);
    op(name, ctx, dhidden, move |ctx| {
        Head { weight, trained: None }.backward(ctx, hidden, logits, dhidden, None);
    })
}

fn decode(name: &'static str, kept: Option<BlockType>, tokens: usize) -> Op {
    let mut ctx = Context::cpu(0);
    let (x, y) = (values(&mut ctx, 2, tokens, HIDDEN), ctx.persistent(tokens, INNER));
    let weights: Vec<FrozenWeight> = (0..64)
        .map(|_| match kept {
            None => weight(&mut ctx, Precision::Bf16, INNER, HIDDEN),
            Some(block_type) => {
                let mut row: Vec<u8> =
                    (0..block_type.bytes_for(HIDDEN).unwrap()).map(|i| (i * 59 % 251) as u8).collect();
                for block in row.chunks_exact_mut(block_type.block_bytes()) {
                    (block[1], block[3]) = (0x2c, 0x29); // factors of ordinary size
                }
                FrozenWeight::keep(&mut ctx, block_type, INNER, HIDDEN, |_| &row).unwrap()
            }
        })
        .collect();
    let mut turn = 0;
    op(name, ctx, y, move |ctx| {
        multiply(ctx, x, weights[turn], y);
        turn = (turn + 1) % weights.len();
    })
}

fn attention(name: &'static str, is_backward: bool) -> Op {
    let mut ctx = Context::cpu(0);
    let heads = Heads { query: 9, key: 3, dim: 64, scale: 0.125, window: None, precision: Precision::Bf16 };
    let (q, k, v) = (
        values(&mut ctx, 1, TOKENS, HIDDEN),
        values(&mut ctx, 2, TOKENS, KEY),
        values(&mut ctx, 3, TOKENS, KEY),
    );
    let (out, lse, dout) =
        (ctx.persistent(TOKENS, HIDDEN), ctx.persistent(TOKENS, 9), values(&mut ctx, 4, TOKENS, HIDDEN));
    let (dq, dk, dv) = (ctx.persistent(TOKENS, HIDDEN), ctx.persistent(TOKENS, KEY), ctx.persistent(TOKENS, KEY));
    let rows = std::iter::once(0..TOKENS).collect::<Vec<_>>();
    let written = if is_backward { dq } else { out };
    let forward = |ctx: &mut Context| {
        let rows = attention::Rows::upload(ctx, &rows, TOKENS);
        attention::forward(ctx, &heads, rows, q, k, v, out, lse);
    };
    ctx.plan(forward);
    forward(&mut ctx);
    op(name, ctx, written, move |ctx| {
        let rows = attention::Rows::upload(ctx, &rows, TOKENS);
        if is_backward {
            attention::backward(ctx, &heads, rows, (q, k, v), (out, lse, dout), (dq, dk, dv));
        } else {
            attention::forward(ctx, &heads, rows, q, k, v, out, lse);
        }
    })
}

fn norm(name: &'static str, is_backward: bool) -> Op {
    let mut ctx = Context::cpu(0);
    let (x, weight) = (values(&mut ctx, 1, TOKENS, HIDDEN), values(&mut ctx, 2, 1, HIDDEN));
    let (dy, y) = (values(&mut ctx, 3, TOKENS, HIDDEN), ctx.persistent(TOKENS, HIDDEN));
    op(name, ctx, y, move |ctx| {
        if is_backward {
            ctx.zero(y);
            rms_norm::backward(ctx, x, weight, 1e-5, dy, y);
        } else {
            rms_norm::forward(ctx, x, weight, 1e-5, y);
        }
    })
}

fn gated(name: &'static str, is_backward: bool) -> Op {
    let mut ctx = Context::cpu(0);
    let [gate, up, dh] = [1, 2, 3].map(|seed| values(&mut ctx, seed, TOKENS, INNER));
    let pairs = ctx.persistent_packed(TOKENS, INNER);
    let [out, dgate, dup] = [(); 3].map(|()| ctx.persistent(TOKENS, INNER));
    gated::forward(&mut ctx, Activation::Silu, gate, up, Some(pairs), out);
    op(name, ctx, if is_backward { dgate } else { out }, move |ctx| {
        if is_backward {
            gated::backward(ctx, Activation::Silu, gated::SavedGate::Pairs(pairs), dh, dgate, dup);
        } else {
            gated::forward(ctx, Activation::Silu, gate, up, Some(pairs), out);
        }
    })
}

fn dropout(name: &'static str) -> Op {
    let mut ctx = Context::cpu(0);
    let (x, out) = (values(&mut ctx, 1, TOKENS, HIDDEN), ctx.persistent(TOKENS, HIDDEN));
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    op(name, ctx, out, move |ctx| {
        let positions = ctx.upload_indices(&positions);
        dropout::forward(ctx, x, &Dropout { probability: 0.1, key: 7, examples: positions, positions }, out);
    })
}

/// Parameters drift a little from run to run; both versions run equally often before they are compared.
fn optimiser(name: &'static str) -> Op {
    let mut ctx = Context::cpu(0);
    let count = 921_600;
    let [parameters, gradients] = [1, 2].map(|seed| values(&mut ctx, seed, 1, count));
    let state = State { parameters, gradients, first: ctx.persistent(1, count), second: ctx.persistent(1, count), undecayed: 0 };
    let norm = ctx.persistent(1, 1);
    op(name, ctx, parameters, move |ctx| {
        optim::step(ctx, &[state], &Step { max_grad_norm: 1.0, ..Step::default() }, norm);
    })
}
