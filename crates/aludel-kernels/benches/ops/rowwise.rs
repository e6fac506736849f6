//! Ops on single tokens, and the optimiser. All are bound by memory if their arithmetic is fast enough.

use aludel_kernels::optim::{self, State, Step};
use aludel_kernels::rowwise::dropout::{self, Dropout};
use aludel_kernels::rowwise::gated::{self, Activation};
use aludel_kernels::rowwise::{rms_norm, rope};
use aludel_kernels::{Context, Indices};

use crate::case::{Case, HEAD_DIM, HIDDEN, INNER, TOKENS, Work, case, values};

const EPSILON: f32 = 1e-5;
/// Parameters of an adapter with r = 8 on q, k, v and o.
const PARAMETERS: usize = 921_600;

pub(crate) fn cases() -> Vec<Case> {
    let hidden = format!("{TOKENS}×{HIDDEN}");
    let inner = format!("{TOKENS}×{INNER}");
    let (narrow, wide) = (TOKENS * HIDDEN, TOKENS * INNER);
    vec![
        case(
            "norm",
            hidden.clone(),
            Work::moving(2 * narrow),
            |ctx| (values(ctx, TOKENS, HIDDEN), values(ctx, 1, HIDDEN), ctx.persistent(TOKENS, HIDDEN)),
            |ctx, (x, weight, y)| rms_norm::forward(ctx, *x, *weight, EPSILON, *y),
        ),
        case(
            "norm",
            format!("{hidden} back"),
            Work::moving(4 * narrow),
            |ctx| {
                let [x, dy, dx] = [(); 3].map(|()| values(ctx, TOKENS, HIDDEN));
                (x, values(ctx, 1, HIDDEN), dy, dx)
            },
            |ctx, (x, weight, dy, dx)| rms_norm::backward(ctx, *x, *weight, EPSILON, *dy, *dx),
        ),
        case(
            "rope",
            hidden.clone(),
            Work::moving(2 * narrow + TOKENS * HEAD_DIM),
            |ctx| {
                let frequencies: Vec<f64> = (0..HEAD_DIM / 2).map(|i| 1e4f64.powf(-2.0 * i as f64 / 64.0)).collect();
                (values(ctx, TOKENS, HIDDEN), rope::Table::new(ctx, &frequencies, TOKENS, 1.0))
            },
            |ctx, (x, table)| {
                let positions = positions(ctx);
                rope::forward(ctx, *x, positions, table);
            },
        ),
        case(
            "dropout",
            hidden,
            Work::moving(2 * narrow),
            |ctx| (values(ctx, TOKENS, HIDDEN), ctx.persistent(TOKENS, HIDDEN)),
            |ctx, (x, out)| {
                let positions = positions(ctx);
                let dropout = Dropout { probability: 0.1, key: 7, examples: positions, positions };
                dropout::forward(ctx, *x, &dropout, *out);
            },
        ),
        case(
            "gated activation",
            inner.clone(),
            Work::moving(4 * wide),
            |ctx| {
                let [gate, up, out] = [(); 3].map(|()| values(ctx, TOKENS, INNER));
                (gate, up, ctx.persistent_packed(TOKENS, INNER), out)
            },
            |ctx, (gate, up, pairs, out)| gated::forward(ctx, Activation::Silu, *gate, *up, Some(*pairs), *out),
        ),
        case(
            "gated activation",
            format!("{inner} back"),
            Work::moving(4 * wide),
            |ctx| {
                let [gate, up, out] = [(); 3].map(|()| values(ctx, TOKENS, INNER));
                let pairs = ctx.persistent_packed(TOKENS, INNER);
                gated::forward(ctx, Activation::Silu, gate, up, Some(pairs), out);
                (pairs, out, gate, up)
            },
            |ctx, (pairs, dh, dgate, dup)| {
                gated::backward(ctx, Activation::Silu, gated::SavedGate::Pairs(*pairs), *dh, *dgate, *dup)
            },
        ),
        case(
            "optimiser",
            format!("{PARAMETERS} parameters"),
            // the norm reads the gradients, the update reads four buffers and writes three
            Work::moving(8 * PARAMETERS),
            |ctx| {
                let [parameters, gradients, first, second] = [(); 4].map(|()| values(ctx, 1, PARAMETERS));
                ctx.zero(second);
                (State { parameters, gradients, first, second, undecayed: 0 }, ctx.persistent(1, 1))
            },
            |ctx, (state, norm)| {
                optim::step(ctx, &[*state], &Step { max_grad_norm: 1.0, ..Step::default() }, *norm);
            },
        ),
    ]
}

fn positions(ctx: &mut Context) -> Indices {
    let positions: [u32; TOKENS] = std::array::from_fn(|t| t as u32);
    ctx.upload_indices(&positions)
}
