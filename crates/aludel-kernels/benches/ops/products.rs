//! Products with weights: linear layers of a training pass, forward and backward, with and without an adapter; the same
//! layers for the few tokens of a decoding step, packed or in their file's quantisation.

use aludel_kernels::linear::{self, FrozenWeight, Input, Lora, LoraBackward, LoraGradient, Precision, Product, Start};
use aludel_kernels::quant::BlockType;
use aludel_kernels::{Context, Mat};

use crate::case::{Case, HEAD_DIM, HIDDEN, INNER, KEY_HEADS, TOKENS, Work, case, values};

/// Rank of the adapters.
const RANK: usize = 8;

pub(crate) fn cases() -> Vec<Case> {
    let (hidden, inner, key) = (HIDDEN, INNER, KEY_HEADS * HEAD_DIM);
    let (bf16, f32) = (Precision::Bf16, Precision::F32);
    let mut cases = Vec::new();
    for (precision, d_in, d_out) in [
        (bf16, hidden, hidden),
        (bf16, hidden, key),
        (bf16, hidden, inner),
        (bf16, inner, hidden),
        (f32, hidden, inner),
        (f32, inner, hidden),
    ] {
        cases.push(forward("linear", precision, TOKENS, d_in, d_out));
    }
    for (precision, d_in, d_out) in [(bf16, hidden, hidden), (bf16, inner, hidden), (f32, inner, hidden)] {
        cases.push(backward(precision, d_in, d_out));
    }
    cases.push(adapted_forward(hidden, hidden));
    cases.push(adapted_backward(hidden, hidden));
    for tokens in [1, 8] {
        cases.push(forward("decode linear", bf16, tokens, hidden, inner));
        cases.push(forward("decode linear", bf16, tokens, inner, hidden));
        for block_type in [BlockType::Q4_1, BlockType::Q8_0] {
            cases.push(kept(block_type, tokens, hidden, inner));
        }
    }
    cases
}

fn unit(precision: Precision) -> usize {
    if precision == Precision::Bf16 { 2 } else { 4 }
}

fn shape(precision: Precision, tokens: usize, d_in: usize, d_out: usize) -> String {
    format!("{} {tokens}×{d_in}→{d_out}", format!("{precision:?}").to_lowercase())
}

/// A product of `tokens` rows; the weight is read in its precision, x and y are f32.
fn work(precision: Precision, tokens: usize, d_in: usize, d_out: usize) -> Work {
    let bytes = 4 * tokens * (d_in + d_out) + unit(precision) * d_in * d_out;
    Work { operations: 2.0 * (tokens * d_in * d_out) as f64, precision, bytes: bytes as f64 }
}

fn weight(ctx: &mut Context, precision: Precision, d_in: usize, d_out: usize) -> FrozenWeight {
    let packed = FrozenWeight::pack::<()>(ctx, precision, d_out, d_in, |n, row| {
        row.iter_mut().enumerate().for_each(|(k, x)| *x = ((n * 31 + k * 17) % 97) as f32 / 97.0 - 0.5);
        Ok(())
    });
    packed.unwrap()
}

/// Prepares x and multiplies, as a layer does.
fn multiply(ctx: &mut Context, x: Mat, weight: FrozenWeight, lora: Option<(&Lora, Mat)>, y: Mat) {
    let input = Input::new(ctx, x, std::iter::once(weight), lora.is_some());
    linear::forward(ctx, &input, &[Product { weight, lora, start: Start::Zero, y }]);
}

fn forward(op: &'static str, precision: Precision, tokens: usize, d_in: usize, d_out: usize) -> Case {
    let make = move |ctx: &mut Context| {
        (values(ctx, tokens, d_in), weight(ctx, precision, d_in, d_out), ctx.persistent(tokens, d_out))
    };
    let work = work(precision, tokens, d_in, d_out);
    case(op, shape(precision, tokens, d_in, d_out), work, make, |ctx, (x, weight, y)| {
        multiply(ctx, *x, *weight, None, *y)
    })
}

fn kept(block_type: BlockType, tokens: usize, d_in: usize, d_out: usize) -> Case {
    let row_bytes = block_type.bytes_for(d_in).unwrap();
    let make = move |ctx: &mut Context| {
        let mut row: Vec<u8> = (0..row_bytes).map(|i| (i * 59 % 251) as u8).collect();
        for block in row.chunks_exact_mut(block_type.block_bytes()) {
            (block[1], block[3]) = (0x2c, 0x29); // factors of ordinary size
        }
        let weight = FrozenWeight::keep(ctx, block_type, d_out, d_in, |_| &row).unwrap();
        (values(ctx, tokens, d_in), weight, ctx.persistent(tokens, d_out))
    };
    // its products are integer ones, whose peak is not measured: the bytes are what bounds it
    let bytes = 4 * tokens * (d_in + d_out) + d_out * row_bytes;
    let work = Work { operations: 0.0, precision: Precision::Bf16, bytes: bytes as f64 };
    let shape = format!("{} {tokens}×{d_in}→{d_out}", format!("{block_type}").to_lowercase());
    case("decode linear", shape, work, make, |ctx, (x, weight, y)| multiply(ctx, *x, *weight, None, *y))
}

fn backward(precision: Precision, d_in: usize, d_out: usize) -> Case {
    let make = move |ctx: &mut Context| {
        (values(ctx, TOKENS, d_out), weight(ctx, precision, d_in, d_out), ctx.persistent(TOKENS, d_in))
    };
    let work = work(precision, TOKENS, d_in, d_out);
    let shape = format!("{} back", shape(precision, TOKENS, d_in, d_out));
    case("linear", shape, work, make, |ctx, (dy, weight, dx)| {
        let dy = Input::new(ctx, *dy, std::iter::once(*weight), false);
        linear::backward(ctx, &dy, *weight, None, false, *dx);
    })
}

/// What an adapted linear has besides its weight.
struct Adapted {
    x: Mat,
    y: Mat,
    dx: Mat,
    hidden: Mat,
    lora: Lora,
    gradient: LoraGradient,
    weight: FrozenWeight,
}

impl Adapted {
    fn new(ctx: &mut Context, d_in: usize, d_out: usize) -> Adapted {
        Adapted {
            x: values(ctx, TOKENS, d_in),
            y: values(ctx, TOKENS, d_out),
            dx: ctx.persistent(TOKENS, d_in),
            hidden: values(ctx, TOKENS, RANK),
            lora: Lora {
                a: values(ctx, RANK, d_in),
                b: values(ctx, d_out, RANK),
                scale: 2.0,
                dropout: None,
                dora: None,
            },
            gradient: LoraGradient { a: ctx.persistent(RANK, d_in), b: ctx.persistent(d_out, RANK), magnitude: None },
            weight: weight(ctx, Precision::Bf16, d_in, d_out),
        }
    }

    /// `products` of the adapter's size beside the weight's.
    fn work(d_in: usize, d_out: usize, products: usize) -> Work {
        let base = work(Precision::Bf16, TOKENS, d_in, d_out);
        let more = products * TOKENS * RANK * (d_in + d_out);
        Work { operations: base.operations + more as f64, ..base }
    }
}

fn adapted_forward(d_in: usize, d_out: usize) -> Case {
    let work = Adapted::work(d_in, d_out, 2);
    let shape = format!("{} r={RANK}", shape(Precision::Bf16, TOKENS, d_in, d_out));
    case(
        "linear, LoRA",
        shape,
        work,
        move |ctx| Adapted::new(ctx, d_in, d_out),
        |ctx, a| {
            multiply(ctx, a.x, a.weight, Some((&a.lora, a.hidden)), a.y);
        },
    )
}

fn adapted_backward(d_in: usize, d_out: usize) -> Case {
    // p and p·A, and the two gradients
    let mut work = Adapted::work(d_in, d_out, 4);
    work.bytes += (4 * TOKENS * d_in) as f64;
    let shape = format!("{} r={RANK} back", shape(Precision::Bf16, TOKENS, d_in, d_out));
    case(
        "linear, LoRA",
        shape,
        work,
        move |ctx| Adapted::new(ctx, d_in, d_out),
        |ctx, a| {
            let lora = LoraBackward { lora: &a.lora, x: a.x, hidden: a.hidden, gradient: a.gradient };
            let dy = Input::new(ctx, a.y, std::iter::once(a.weight), true);
            linear::backward(ctx, &dy, a.weight, Some(lora), false, a.dx);
        },
    )
}
