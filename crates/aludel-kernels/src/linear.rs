//! The linear layer in every precision, frozen, with or without a LoRA adapter: `y = x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ + bias`.
//!
//! W is packed once, when it is loaded (`operands`), and never receives a gradient. LoRA (Hu et al., 2021) is the second segment of the
//! same multiplication: y is written once. What `dora` adds to an adapter is its matter. Shapes: x [T, d_in], W [d_out, d_in], A [r, d_in], B [d_out, r], y [T, d_out].

use crate::device::{Context, Device, Mat};
use crate::dora::{self, Dora};
use crate::gemm::{
    self, Init, Lhs, Order, Rhs, Segments, add_token_products, gemm, gemm_all, multiply_coded, pack_lhs, pack_rhs,
};
use crate::operands::Body;
use crate::reference;
use crate::rowwise::dropout::{self, Dropout};

pub use crate::gemm::Precision;
pub use crate::operands::{FrozenWeight, Input, Quantization};

/// A LoRA adapter of one linear.
#[derive(Clone, Copy, Debug)]
pub struct Lora {
    /// A, [r, d_in].
    pub a: Mat,
    /// B, [d_out, r].
    pub b: Mat,
    /// s: alpha / r, or alpha / √r.
    pub scale: f32,
    /// Dropout on the adapter's input, in training.
    pub dropout: Option<Dropout>,
    /// What DoRA has beside A and B, if it is DoRA.
    pub dora: Option<Dora>,
}

/// What the output starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Nothing.
    Zero,
    /// A bias, [1, d_out].
    Bias(Mat),
    /// The residual stream, [T, d_out].
    Residual(Mat),
}

/// One of the linears that read an input: `y = start + x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ`.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// W.
    pub weight: FrozenWeight,
    /// The adapter, and [T, r] that receives `drop(x)·Aᵀ`, which the backward needs.
    pub lora: Option<(&'a Lora, Mat)>,
    /// What y starts from.
    pub start: Start,
    /// [T, d_out]; written.
    pub y: Mat,
}

/// The products of an input with some weights. They must not depend on each other.
///
/// # Panics
/// If the input was prepared for a weight of another kind, if the shapes do not fit each other, or if the output shares elements with what is read.
pub fn forward<const N: usize>(ctx: &mut Context, input: &Input, products: &[Product<'_>; N]) {
    if products.iter().any(|product| product.lora.is_some_and(|(lora, _)| lora.dora.is_some())) {
        return dora::forward(ctx, input, products);
    }
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return products.iter().for_each(|product| reference::linear::forward(ctx, input.rows(), product));
        }
    }
    let mark = ctx.mark();
    let bodies = products.each_ref().map(|product| product.weight.body(ctx));
    let dense = std::array::from_fn(|i| {
        let (product, body) = (&products[i], &*bodies[i]);
        let segments = segments(ctx, input, product, body);
        let mut init = match product.start {
            Start::Zero => Init::Zero,
            Start::Bias(bias) => Init::Row(bias),
            Start::Residual(residual) => Init::From(residual),
        };
        if let Body::Coded(panels) = body {
            let rounded = input.rounded.expect("the input was prepared for this weight");
            multiply_coded(ctx, rounded, panels, init, product.y);
            init = Init::Accumulate;
        }
        gemm::GemmProduct { segments, init, c: product.y }
    });
    gemm_all::<N>(ctx, &dense);
    ctx.release(mark);
}

/// What the matrix kernel sums over for one linear: x and W where W is dense, and the adapter.
fn segments<'a>(ctx: &mut Context, input: &Input, product: &Product<'_>, body: &'a Body) -> Segments<'a> {
    let base = match body {
        Body::Dense(panels) => Some((input.packed(), Rhs::Weight { panels })),
        Body::Coded(_) => None,
        Body::Rows(_) => unreachable!("held by the reference alone"),
    };
    [base, product.lora.map(|(lora, hidden)| adapted(ctx, input, lora, hidden, product.weight.precision()))]
}

/// Computes `hidden = drop(x)·Aᵀ`; the operands of its product with s·Bᵀ.
fn adapted(ctx: &mut Context, input: &Input, lora: &Lora, hidden: Mat, precision: Precision) -> (Lhs, Rhs<'static>) {
    let dropped = dropped_input(ctx, input, lora, precision);
    let a = pack_rhs(ctx, lora.a, Order::Nk, 1.0, precision);
    gemm(ctx, &[(dropped, a)], Init::Zero, hidden);
    let hidden = pack_lhs(ctx, hidden, precision);
    (hidden, pack_rhs(ctx, lora.b, Order::Nk, lora.scale, precision))
}

/// The gradients of an adapter, matrices of the shapes of A and B inside the flat gradient buffer.
#[derive(Clone, Copy, Debug)]
pub struct LoraGradient {
    /// ∂L/∂A, [r, d_in]; added to.
    pub a: Mat,
    /// ∂L/∂B, [d_out, r]; added to.
    pub b: Mat,
    /// ∂L/∂m of DoRA, [1, d_out]; added to.
    pub magnitude: Option<Mat>,
}

/// What the backward of a linear layer with an adapter needs besides dy: the adapter, what the forward saved, where gradients go.
#[derive(Clone, Copy, Debug)]
pub struct LoraBackward<'a> {
    /// The adapter, with the same dropout as in the forward.
    pub lora: &'a Lora,
    /// The linear's input x, [T, d_in].
    pub x: Mat,
    /// `drop(x)·Aᵀ` from the forward, [T, r].
    pub hidden: Mat,
    /// The adapter's gradients.
    pub gradient: LoraGradient,
}

/// With p = s·dy·B: `dx (+)= dy·W + mask·(p·A)`, `dA += pᵀ·drop(x)`, `dB += s·dyᵀ·hidden`. `accumulate` adds to dx instead of
/// overwriting it.
///
/// # Panics
/// If the shapes do not fit each other, or if what is written shares elements with what is read.
pub fn backward(
    ctx: &mut Context,
    dy: &Input,
    weight: FrozenWeight,
    lora: Option<LoraBackward<'_>>,
    accumulate: bool,
    dx: Mat,
) {
    if let Some(of) = lora
        && let Some(dora) = &of.lora.dora
    {
        return dora::backward(ctx, dy, weight, of, dora, accumulate, dx);
    }
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::linear::backward(ctx, dy.rows(), weight, lora, accumulate, dx),
    }
    let mark = ctx.mark();
    let init = if accumulate { Init::Accumulate } else { Init::Zero };
    let (precision, body) = (weight.precision(), weight.body(ctx));
    let packed = dy.packed();
    let base = (packed, body.backward_operand());
    let Some(LoraBackward { lora, x, hidden, gradient }) = lora else {
        gemm(ctx, &[base], init, dx);
        ctx.release(mark);
        return;
    };
    let p = ctx.scratch(dx.rows(), lora.a.rows());
    let b = pack_rhs(ctx, lora.b, Order::Kn, lora.scale, precision);
    gemm(ctx, &[(packed, b)], Init::Zero, p);
    let packed_p = pack_lhs(ctx, p, precision);
    let a = pack_rhs(ctx, lora.a, Order::Kn, 1.0, precision);
    match &lora.dropout {
        None => {
            gemm(ctx, &[base, (packed_p, a)], init, dx);
            add_token_products(ctx, p, x, 1.0, gradient.a, false);
        }
        Some(dropout) => {
            gemm(ctx, &[base], init, dx);
            let product = ctx.scratch(dx.rows(), dx.cols());
            gemm(ctx, &[(packed_p, a)], Init::Zero, product);
            dropout::backward(ctx, product, dropout, dx);
            dropout::forward(ctx, x, dropout, product);
            add_token_products(ctx, p, product, 1.0, gradient.a, false);
        }
    }
    add_token_products(ctx, hidden, dy.rows(), lora.scale, gradient.b, true);
    ctx.release(mark);
}

fn dropped_input(ctx: &mut Context, input: &Input, lora: &Lora, precision: Precision) -> Lhs {
    match &lora.dropout {
        None => input.packed(),
        Some(dropout) => {
            let rows = input.rows();
            let dropped = ctx.scratch(rows.rows(), rows.cols());
            dropout::forward(ctx, rows, dropout, dropped);
            pack_lhs(ctx, dropped, precision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};

    const T: usize = 9;
    const IN: usize = 21;
    const OUT: usize = 35;
    const R: usize = 5;
    const S: f64 = 1.5;

    struct Fixture {
        x: Vec<f32>,
        w: Vec<f32>,
        a: Vec<f32>,
        b: Vec<f32>,
        residual: Vec<f32>,
        dy: Vec<f32>,
    }

    fn fixture() -> Fixture {
        Fixture {
            x: random(1, T * IN),
            w: random(2, OUT * IN),
            a: random(3, R * IN),
            b: random(4, OUT * R),
            residual: random(5, T * OUT),
            dy: random(6, T * OUT),
        }
    }

    /// f64 reference: y from x, A, B and a dropout mask (already scaled) on the adapter's input.
    fn reference(f: &Fixture, x: &[f64], a: &[f64], b: &[f64], mask: &[f64]) -> Vec<f64> {
        let mut y = wide(&f.residual);
        for t in 0..T {
            let hidden: Vec<f64> =
                (0..R).map(|i| (0..IN).map(|k| x[t * IN + k] * mask[t * IN + k] * a[i * IN + k]).sum()).collect();
            for n in 0..OUT {
                let base: f64 = (0..IN).map(|k| x[t * IN + k] * f64::from(f.w[n * IN + k])).sum();
                y[t * OUT + n] += base + S * (0..R).map(|i| hidden[i] * b[n * R + i]).sum::<f64>();
            }
        }
        y
    }

    #[test]
    #[should_panic(expected = "overlaps another operand")]
    fn products_that_run_at_once_write_apart() {
        let mut ctx = Context::cpu(2);
        let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::F32, OUT, IN, |_, _| Ok(())).unwrap();
        let (x, y) = (ctx.persistent(T, IN), ctx.persistent(T, OUT + 4));
        let work = |ctx: &mut Context| {
            let input = Input::new(ctx, x, std::iter::once(weight), false);
            let product = |first| Product { weight, lora: None, start: Start::Zero, y: y.col_range(first, OUT) };
            forward(ctx, &input, &[product(0), product(4)]);
        };
        ctx.plan(work);
        work(&mut ctx);
    }

    #[test]
    #[should_panic(expected = "a matrix of another shape")]
    fn a_bias_of_another_width_is_refused() {
        let mut ctx = Context::cpu(1);
        let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::F32, OUT, IN, |_, _| Ok(())).unwrap();
        let (x, y, bias) = (ctx.persistent(T, IN), ctx.persistent(T, OUT), ctx.persistent(1, OUT - 1));
        let work = |ctx: &mut Context| {
            let input = Input::new(ctx, x, std::iter::once(weight), false);
            forward(ctx, &input, &[Product { weight, lora: None, start: Start::Bias(bias), y }]);
        };
        ctx.plan(work);
    }

    fn check(probability: f32, mut ctx: Context) {
        let f = fixture();
        let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::F32, OUT, IN, |n, row| {
            row.copy_from_slice(&f.w[n * IN..(n + 1) * IN]);
            Ok(())
        })
        .unwrap();
        let (x, a, b) = (
            ctx.upload_persistent(T, IN, &f.x),
            ctx.upload_persistent(R, IN, &f.a),
            ctx.upload_persistent(OUT, R, &f.b),
        );
        let (residual, dy) = (ctx.upload_persistent(T, OUT, &f.residual), ctx.upload_persistent(T, OUT, &f.dy));
        let (y, hidden, dx) =
            (ctx.persistent(T, OUT), ctx.persistent(T, R), ctx.upload_persistent(T, IN, &vec![1.0; T * IN]));
        let gradient = LoraGradient { a: ctx.persistent(R, IN), b: ctx.persistent(OUT, R), magnitude: None };
        let ones = ctx.upload_persistent(T, IN, &vec![1.0; T * IN]);
        let mask = ctx.upload_persistent(T, IN, &vec![1.0; T * IN]);
        let run = |ctx: &mut Context| {
            ctx.reset();
            let numbers: Vec<u32> = (0..T as u32).collect();
            let (examples, positions) = (ctx.upload_indices(&numbers), ctx.upload_indices(&numbers));
            let dropout = (probability > 0.0).then_some(Dropout { probability, key: 11, examples, positions });
            if let Some(dropout) = &dropout {
                dropout::forward(ctx, ones, dropout, mask);
            }
            let lora = Lora { a, b, scale: S as f32, dropout, dora: None };
            let input = Input::new(ctx, x, std::iter::once(weight), true);
            let lora_hidden = Some((&lora, hidden));
            forward(ctx, &input, &[Product { weight, lora: lora_hidden, start: Start::Residual(residual), y }]);
            let saved = LoraBackward { lora: &lora, x, hidden, gradient };
            let dy = Input::new(ctx, dy, std::iter::once(weight), true);
            backward(ctx, &dy, weight, Some(saved), true, dx);
        };
        ctx.plan(run);
        run(&mut ctx);
        let mask = wide(&ctx.download(mask));
        let (xw, aw, bw) = (wide(&f.x), wide(&f.a), wide(&f.b));
        assert_close("y", &ctx.download(y), &reference(&f, &xw, &aw, &bw, &mask), 1e-5);
        let loss = |y: Vec<f64>| y.iter().zip(&f.dy).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
        let mut dx_expected = finite_differences(&xw, 1e-4, |x| loss(reference(&f, x, &aw, &bw, &mask)));
        dx_expected.iter_mut().for_each(|g| *g += 1.0);
        assert_close("dx", &ctx.download(dx), &dx_expected, 1e-5);
        let da = finite_differences(&aw, 1e-4, |a| loss(reference(&f, &xw, a, &bw, &mask)));
        assert_close("dA", &ctx.download(gradient.a), &da, 1e-5);
        let db = finite_differences(&bw, 1e-4, |b| loss(reference(&f, &xw, &aw, b, &mask)));
        assert_close("dB", &ctx.download(gradient.b), &db, 1e-5);
    }

    #[test]
    fn forward_and_backward_match_f64_and_finite_differences() {
        check(0.0, Context::cpu(1));
        check(0.3, Context::cpu(2));
        check(0.0, Context::reference());
        check(0.3, Context::reference());
    }

    /// A weight kept in its file's codes, with an adapter on it, against the same weight decoded and packed.
    #[test]
    fn a_kept_weight_takes_an_adapter_as_a_packed_one_does() {
        use crate::check::cosine;
        use crate::quant::{BlockType, decode_row};
        use crate::rng;
        let (t, d_in, d_out, r) = (5, 64, 24, 4);
        let row_bytes = BlockType::Q8_0.bytes_for(d_in).unwrap();
        let mut bytes: Vec<u8> = (0..d_out * row_bytes).map(|i| rng::mix(9, i as u64) as u8).collect();
        bytes.chunks_exact_mut(BlockType::Q8_0.block_bytes()).for_each(|block| block[1] = 0x2c); // an ordinary scale
        let outputs = [true, false].map(|is_kept| {
            let mut ctx = Context::cpu(2);
            let weight = if is_kept {
                let row = |n: usize| &bytes[n * row_bytes..(n + 1) * row_bytes];
                FrozenWeight::keep(&mut ctx, BlockType::Q8_0, d_out, d_in, row).unwrap()
            } else {
                let row = |n: usize, out: &mut [f32]| decode_row(BlockType::Q8_0, &bytes, n, out);
                FrozenWeight::pack(&mut ctx, Precision::F32, d_out, d_in, row).unwrap()
            };
            assert_eq!(weight.is_kept(), is_kept);
            let x = ctx.upload_persistent(t, d_in, &random(1, t * d_in));
            let (a, b) = (
                ctx.upload_persistent(r, d_in, &random(2, r * d_in)),
                ctx.upload_persistent(d_out, r, &random(3, d_out * r)),
            );
            let (y, hidden) = (ctx.persistent(t, d_out), ctx.persistent(t, r));
            let run = |ctx: &mut Context| {
                let input = Input::new(ctx, x, std::iter::once(weight), true);
                let lora = Lora { a, b, scale: 2.0, dropout: None, dora: None };
                forward(ctx, &input, &[Product { weight, lora: Some((&lora, hidden)), start: Start::Zero, y }]);
            };
            ctx.plan(run);
            run(&mut ctx);
            ctx.download(y)
        });
        let cosine = cosine(&outputs[0], &outputs[1]);
        assert!(cosine > 0.9995 && cosine < 1.0, "{cosine}");
        assert!(FrozenWeight::keep(&mut Context::cpu(1), BlockType::F32, 1, 32, |_| &[0; 128]).is_none());
    }

    /// A weight that is decoded in its products gives the bits that the decoded weight gives, forward and backward.
    #[test]
    fn a_quantised_weight_computes_as_its_decoded_rows_do() {
        use crate::quant::BlockType;
        use crate::simd::Isa;
        // outputs that fill no panel, and inputs that fill no block of K
        let (d_in, d_out, r) = (768, 83, 5);
        let values = random(2, d_out * d_in);
        let block_types = [
            BlockType::Q4_0,
            BlockType::Q4_1,
            BlockType::Q5_0,
            BlockType::Q5_1,
            BlockType::Q8_0,
            BlockType::Q2_K,
            BlockType::Q3_K,
            BlockType::Q4_K,
            BlockType::Q5_K,
            BlockType::Q6_K,
        ];
        assert!(
            BlockType::ALL.iter().all(|block_type| block_type.block_len() == 1 || block_types.contains(block_type))
        );
        let blocks = |block_type: BlockType| crate::check::random_blocks(block_type, d_out * d_in, 2.0, 9);
        let load = |ctx: &mut Context, what: usize, precision: Precision| -> FrozenWeight {
            let row = |n: usize, out: &mut [f32]| -> Result<(), ()> {
                out.copy_from_slice(&values[n * d_in..(n + 1) * d_in]);
                Ok(())
            };
            if let Some(how) = [Quantization::Nf4, Quantization::Int8].get(what) {
                return FrozenWeight::quantize(ctx, *how, precision, (d_out, d_in), row).unwrap().unwrap();
            }
            let block_type = block_types[what - 2];
            let bytes = blocks(block_type);
            let row_bytes = bytes.len() / d_out;
            let row = |n: usize| &bytes[n * row_bytes..(n + 1) * row_bytes];
            FrozenWeight::keep_decoded(ctx, block_type, precision, (d_out, d_in), row).unwrap()
        };
        let run = |mut ctx: Context, t: usize, weight: &dyn Fn(&mut Context) -> FrozenWeight| {
            let weight = weight(&mut ctx);
            let x = ctx.upload_persistent(t, d_in, &random(1, t * d_in));
            let dy = ctx.upload_persistent(t, d_out, &random(7, t * d_out));
            let (a, b) = (
                ctx.upload_persistent(r, d_in, &random(3, r * d_in)),
                ctx.upload_persistent(d_out, r, &random(4, d_out * r)),
            );
            let (y, hidden, dx) = (ctx.persistent(t, d_out), ctx.persistent(t, r), ctx.persistent(t, d_in));
            let gradient = LoraGradient { a: ctx.persistent(r, d_in), b: ctx.persistent(d_out, r), magnitude: None };
            let work = |ctx: &mut Context| {
                let input = Input::new(ctx, x, std::iter::once(weight), true);
                let lora = Lora { a, b, scale: 2.0, dropout: None, dora: None };
                forward(ctx, &input, &[Product { weight, lora: Some((&lora, hidden)), start: Start::Zero, y }]);
                let dy = Input::new(ctx, dy, std::iter::once(weight), true);
                let saved = LoraBackward { lora: &lora, x, hidden, gradient };
                backward(ctx, &dy, weight, Some(saved), false, dx);
            };
            ctx.plan(work);
            work(&mut ctx);
            [y, dx, gradient.a, gradient.b].map(|mat| ctx.download(mat))
        };
        for what in 0..2 + block_types.len() {
            // what the codes stand for
            let mut ctx = Context::reference();
            let weight = load(&mut ctx, what, Precision::F32);
            let crate::operands::Body::Rows(decoded) = &*weight.body(&ctx) else { unreachable!() };
            match what.checked_sub(2) {
                None => {
                    let error = values.iter().zip(decoded).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                    assert!(error > 0.0 && error < [0.7, 0.03][what], "{what}: {error}");
                }
                Some(i) => {
                    let mut exact = vec![0.0; d_out * d_in];
                    crate::quant::decode(block_types[i], &blocks(block_types[i]), &mut exact).unwrap();
                    // factors of the K encodings are rounded to f16
                    assert_close(&block_types[i].to_string(), decoded, &wide(&exact), 3e-3);
                }
            }
            let packed = |ctx: &mut Context, precision: Precision| {
                let row = |n: usize, out: &mut [f32]| -> Result<(), ()> {
                    out.copy_from_slice(&decoded[n * d_in..(n + 1) * d_in]);
                    Ok(())
                };
                FrozenWeight::pack(ctx, precision, d_out, d_in, row).unwrap()
            };
            // few rows, and several blocks of rows, which is slow where AMX is emulated
            let cases = Isa::tested().flat_map(|isa| [(isa, Precision::F32, 29), (isa, Precision::Bf16, 29)]);
            let blocks = [(Isa::detect(), Precision::F32, 1100), (Isa::detect(), Precision::Bf16, 1100)];
            for (isa, precision, t) in cases.chain(blocks.into_iter().take(if what < 3 { 2 } else { 0 })) {
                let expected = run(Context::cpu(1).with_isa(isa), t, &|ctx| packed(ctx, precision));
                let got = run(Context::cpu(2).with_isa(isa), t, &|ctx| load(ctx, what, precision));
                assert!(got == expected, "{what} {isa:?} {precision:?} {t} rows");
            }
            let bytes = load(&mut Context::cpu(1), what, Precision::Bf16).bytes() as f64 / (96 * d_in) as f64;
            let most = match what.checked_sub(2).map(|i| block_types[i]) {
                None => [0.5625, 1.125][what],
                Some(BlockType::Q2_K) => 0.5,
                Some(BlockType::Q3_K | BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q4_K) => 0.625,
                Some(BlockType::Q6_K) => 0.875,
                Some(_) => 1.125,
            };
            assert!(bytes <= most + 1e-4, "{what}: {bytes} bytes a parameter");
        }
    }
}
