//! DoRA (Liu et al., 2024), LoRA of a weight that is decomposed into magnitude and direction: row n of the weight is
//! `m_n · v_n / ‖v_n‖` with `v = W + s·B·A`, and the norm is held constant in the backward (section 4.3). The products are those of `linear`.
//!
//! With u = drop(x)·Wᵀ + s·drop(x)·Aᵀ·Bᵀ and g = m / ‖v‖, the linear is `y = start + (x − drop(x))·Wᵀ + g ⊙ u`: without dropout the
//! second term is zero. A row of v that is zero gives 0.
//!
//! This file and `linear` import each other: a linear with DoRA is computed here, of products that are plain linears.

use crate::device::{Context, Device, Mat, assert_apart};
use crate::gemm::{Init, Order, Precision, gemm, pack_lhs, pack_rhs};
use crate::linear::{self, FrozenWeight, Input, Lora, LoraBackward, Product, Start};
use crate::operands::Body;
use crate::profile::Kind;
use crate::reference;
use crate::rowwise::dropout::{self, Dropout};
use crate::rowwise::{self, columns};

/// What DoRA has beside A and B.
#[derive(Clone, Copy, Debug)]
pub struct Dora {
    /// m, [1, d_out].
    pub magnitude: Mat,
    /// ‖w‖² of each row of W, [1, d_out]: see [`row_squares`].
    pub squares: Mat,
    /// Each forward writes g and 1 / ‖v‖ there, for its backward too, [2, d_out].
    pub scales: Mat,
    /// Whether they are there already, of the same A, B and m.
    pub has_scales: bool,
}

/// Outputs of one parallel task.
const OUTPUTS: usize = 64;

/// The sum of squares of each row of a weight, as its products have it; `out` is [1, d_out].
///
/// # Panics
/// If there is not a column for each output.
pub fn row_squares(ctx: &mut Context, weight: FrozenWeight, out: Mat) {
    assert_eq!((1, weight.d_out()), (out.rows(), out.cols()));
    if ctx.planning() {
        return;
    }
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::dora::row_squares(ctx, weight, out),
    }
    let squares = match &*weight.body(ctx) {
        Body::Dense(panels) => panels.row_squares(ctx.isa()),
        Body::Coded(panels) => panels.row_squares(ctx.isa()),
        Body::Rows(_) => unreachable!("held by the reference alone"),
    };
    ctx.write(out, &squares);
}

/// Writes g = m / ‖v‖ and 1 / ‖v‖. The norms come from ‖w‖² + 2s·B·(A·Wᵀ) + s²·B·(A·Aᵀ)·Bᵀ, so that v is never made.
fn scales(ctx: &mut Context, weight: FrozenWeight, lora: &Lora, dora: &Dora) {
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::dora::scales(ctx, weight, lora, dora),
    }
    let (r, d_out) = (lora.a.rows(), weight.d_out());
    let mark = ctx.mark();
    let (mixed, gram, turned) = (ctx.scratch(r, d_out), ctx.scratch(r, r), ctx.scratch(d_out, r));
    let a = Input::new(ctx, lora.a, std::iter::once(weight), false);
    linear::forward(ctx, &a, &[Product { weight, lora: None, start: Start::Zero, y: mixed }]);
    times_transposed(ctx, lora.a, lora.a, gram);
    times_transposed(ctx, lora.b, gram, turned);
    if !ctx.planning() {
        let read = [mixed, turned, lora.b, dora.magnitude, dora.squares].map(|mat| mat.place());
        assert_apart(&[dora.scales.place()], &read);
        let _span = ctx.span(Kind::Rowwise);
        let (mixed, turned, b) = (ctx.view(mixed), ctx.view(turned), ctx.view(lora.b));
        let (magnitude, squares, out) = (ctx.view(dora.magnitude), ctx.view(dora.squares), ctx.view(dora.scales));
        let s = f64::from(lora.scale);
        ctx.parallel(d_out.div_ceil(OUTPUTS), |task| {
            let outputs = task * OUTPUTS..d_out.min((task + 1) * OUTPUTS);
            for n in outputs {
                // SAFETY: all but the scales is only read, and each task writes the scales of its own outputs (apart, as asserted).
                unsafe {
                    let factors = b.row(n).iter().zip(turned.row(n)).enumerate();
                    let change: f64 = factors
                        .map(|(j, (b, turned))| {
                            f64::from(*b) * (2.0 * f64::from(mixed.row(j)[n]) + s * f64::from(*turned))
                        })
                        .sum();
                    let square = f64::from(squares.row(0)[n]) + s * change;
                    let inverse = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
                    out.part_mut(0, n, 1)[0] = (f64::from(magnitude.row(0)[n]) * inverse) as f32;
                    out.part_mut(1, n, 1)[0] = inverse as f32;
                }
            }
        });
    }
    ctx.release(mark);
}

/// `out = x·yᵀ` in f32, of matrices that are not large.
fn times_transposed(ctx: &mut Context, x: Mat, y: Mat, out: Mat) {
    let mark = ctx.mark();
    let (x, y) = (pack_lhs(ctx, x, Precision::F32), pack_rhs(ctx, y, Order::Nk, 1.0, Precision::F32));
    gemm(ctx, &[(x, y)], Init::Zero, out);
    ctx.release(mark);
}

/// As [`linear::forward`], some of whose adapters are DoRA's.
pub(crate) fn forward<const N: usize>(ctx: &mut Context, input: &Input, products: &[Product<'_>; N]) {
    let mark = ctx.mark();
    let doras = products.each_ref().map(|product| product.lora.and_then(|(lora, _)| lora.dora));
    for (product, dora) in products.iter().zip(&doras) {
        if let (Some((lora, _)), Some(dora)) = (product.lora, dora)
            && (!dora.has_scales || ctx.planning())
        {
            scales(ctx, product.weight, lora, dora);
        }
    }
    let loras = products.each_ref().map(|product| product.lora.map(|(lora, _)| Lora { dora: None, ..*lora }));
    let dropouts = std::array::from_fn::<_, N, _>(|i| doras[i].and(loras[i]).and_then(|lora| lora.dropout));
    let plain: [Product<'_>; N] = std::array::from_fn(|i| {
        let lora = loras[i].as_ref().zip(products[i].lora.map(|(_, hidden)| hidden));
        let start = if doras[i].is_some() { Start::Zero } else { products[i].start };
        Product { lora, start, ..products[i] }
    });
    if dropouts.iter().all(Option::is_none) {
        linear::forward(ctx, input, &plain);
        for (product, dora) in products.iter().zip(&doras) {
            if let Some(dora) = dora {
                columns::scale_onto(ctx, dora.scales.row_range(0, 1), product.start, product.y);
            }
        }
    } else {
        for i in 0..N {
            let mark = ctx.mark();
            let start = match &dropouts[i] {
                None => {
                    linear::forward(ctx, input, &[plain[i]]);
                    products[i].start
                }
                Some(dropout) => {
                    dropped_product(ctx, input.rows(), dropout, &plain[i]);
                    undropped_product(ctx, input.rows(), dropout, &products[i])
                }
            };
            if let Some(dora) = &doras[i] {
                columns::scale_onto(ctx, dora.scales.row_range(0, 1), start, products[i].y);
            }
            ctx.release(mark);
        }
    }
    ctx.release(mark);
}

/// `u = drop(x)·Wᵀ + s·drop(x)·Aᵀ·Bᵀ`.
fn dropped_product(ctx: &mut Context, x: Mat, dropout: &Dropout, product: &Product<'_>) {
    let mark = ctx.mark();
    let dropped = dropped(ctx, x, dropout);
    let lora = product.lora.map(|(lora, hidden)| (Lora { dropout: None, ..*lora }, hidden));
    let input = Input::new(ctx, dropped, std::iter::once(product.weight), true);
    let lora = lora.as_ref().map(|(lora, hidden)| (lora, *hidden));
    linear::forward(ctx, &input, &[Product { lora, ..*product }]);
    ctx.release(mark);
}

/// `start + (x − drop(x))·Wᵀ`, in scratch.
fn undropped_product(ctx: &mut Context, x: Mat, dropout: &Dropout, product: &Product<'_>) -> Start {
    let (weight, start) = (product.weight, product.start);
    let y = ctx.scratch(product.y.rows(), product.y.cols());
    let mark = ctx.mark();
    let rest = dropped(ctx, x, dropout);
    rowwise::scale(ctx, rest, -1.0);
    rowwise::add(ctx, x, rest);
    let rest = Input::new(ctx, rest, std::iter::once(weight), false);
    linear::forward(ctx, &rest, &[Product { weight, lora: None, start, y }]);
    ctx.release(mark);
    Start::Residual(y)
}

fn dropped(ctx: &mut Context, x: Mat, dropout: &Dropout) -> Mat {
    let dropped = ctx.scratch(x.rows(), x.cols());
    dropout::forward(ctx, x, dropout, dropped);
    dropped
}

/// As [`linear::backward`] with an adapter of DoRA's. With dz = g ⊙ dy the gradients of A and B are LoRA's of dz, and
/// `dm += Σ_t dy ⊙ u / ‖v‖`. u is computed again: kept, it would take as much memory as y.
pub(crate) fn backward(
    ctx: &mut Context,
    dy: &Input,
    weight: FrozenWeight,
    of: LoraBackward<'_>,
    dora: &Dora,
    accumulate: bool,
    dx: Mat,
) {
    let mark = ctx.mark();
    let LoraBackward { lora, x, hidden, gradient } = of;
    let (tokens, d_out) = (dy.rows().rows(), weight.d_out());
    let plain = Lora { dora: None, dropout: None, ..*lora };
    let x = lora.dropout.as_ref().map_or(x, |dropout| dropped(ctx, x, dropout));
    if let Some(magnitude) = gradient.magnitude {
        let mark = ctx.mark();
        let (u, again) = (ctx.scratch(tokens, d_out), ctx.scratch(tokens, lora.a.rows()));
        let input = Input::new(ctx, x, std::iter::once(weight), true);
        linear::forward(ctx, &input, &[Product { weight, lora: Some((&plain, again)), start: Start::Zero, y: u }]);
        columns::add_dots(ctx, dy.rows(), u, dora.scales.row_range(1, 1), magnitude);
        ctx.release(mark);
    }
    let dz = ctx.scratch(tokens, d_out);
    columns::scale(ctx, dy.rows(), dora.scales.row_range(0, 1), dz);
    let dz = Input::new(ctx, dz, std::iter::once(weight), true);
    let of = LoraBackward { lora: &plain, x, hidden, gradient };
    match &lora.dropout {
        None => linear::backward(ctx, &dz, weight, Some(of), accumulate, dx),
        Some(dropout) => {
            // dx (+)= dy·W + mask·(dz·W + s·dz·B·A − dy·W)
            let [through, base] = [(); 2].map(|()| ctx.scratch(dx.rows(), dx.cols()));
            linear::backward(ctx, &dz, weight, Some(of), false, through);
            linear::backward(ctx, dy, weight, None, false, base);
            if !accumulate {
                ctx.zero(dx);
            }
            rowwise::add(ctx, base, dx);
            rowwise::scale(ctx, base, -1.0);
            rowwise::add(ctx, base, through);
            dropout::backward(ctx, through, dropout, dx);
        }
    }
    ctx.release(mark);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, cosine, finite_differences, random, wide};
    use crate::linear::{LoraGradient, Precision};
    use crate::operands::Quantization;
    use crate::quant::BlockType;

    const T: usize = 9;
    const IN: usize = 21;
    const OUT: usize = 70;
    const R: usize = 5;
    const S: f64 = 1.5;

    struct Fixture {
        x: Vec<f32>,
        w: Vec<f32>,
        a: Vec<f32>,
        b: Vec<f32>,
        m: Vec<f32>,
        start: Vec<f32>,
        dy: Vec<f32>,
    }

    /// What DoRA computes in f64. The norms are of `norms`, so that they can be held constant while A and B vary.
    fn expected(f: &Fixture, x: &[f64], a: &[f64], b: &[f64], m: &[f64], mask: &[f64], norms: &[f64]) -> Vec<f64> {
        let mut y = wide(&f.start);
        for t in 0..T {
            let dropped: Vec<f64> = (0..IN).map(|k| x[t * IN + k] * mask[t * IN + k]).collect();
            let hidden: Vec<f64> = (0..R).map(|i| (0..IN).map(|k| dropped[k] * a[i * IN + k]).sum()).collect();
            for n in 0..OUT {
                let w = |k: usize| f64::from(f.w[n * IN + k]);
                let base: f64 = (0..IN).map(|k| x[t * IN + k] * w(k)).sum();
                let base_of_dropped: f64 = (0..IN).map(|k| dropped[k] * w(k)).sum();
                let lora = S * (0..R).map(|i| hidden[i] * b[n * R + i]).sum::<f64>();
                // as PEFT writes it
                let g = m[n] / norms[n];
                y[t * OUT + n] += base + (g - 1.0) * base_of_dropped + g * lora;
            }
        }
        y
    }

    /// ‖W + s·B·A‖ of each row.
    fn norms(w: &[f32], a: &[f32], b: &[f32], (d_out, d_in, r): (usize, usize, usize)) -> Vec<f64> {
        let v = |n: usize, k: usize| {
            let product: f64 = (0..r).map(|i| f64::from(b[n * r + i]) * f64::from(a[i * d_in + k])).sum();
            f64::from(w[n * d_in + k]) + S * product
        };
        (0..d_out).map(|n| (0..d_in).map(|k| v(n, k).powi(2)).sum::<f64>().sqrt()).collect()
    }

    fn check(probability: f32, is_accumulated: bool, mut ctx: Context) {
        let f = Fixture {
            x: random(1, T * IN),
            w: random(2, OUT * IN),
            a: random(3, R * IN),
            b: random(4, OUT * R),
            m: random(5, OUT).iter().map(|m| m + 2.0).collect(),
            start: random(6, T * OUT),
            dy: random(7, T * OUT),
        };
        let weight = FrozenWeight::pack::<()>(&mut ctx, Precision::F32, OUT, IN, |n, row| {
            row.copy_from_slice(&f.w[n * IN..(n + 1) * IN]);
            Ok(())
        })
        .unwrap();
        let mut upload = |rows, values: &[f32]| ctx.upload_persistent(rows, values.len() / rows, values);
        let (x, a, b, magnitude) = (upload(T, &f.x), upload(R, &f.a), upload(OUT, &f.b), upload(1, &f.m));
        let (start, dy, dx) = (upload(T, &f.start), upload(T, &f.dy), upload(T, &[1.0; T * IN]));
        let (ones, mask) = (upload(T, &[1.0; T * IN]), upload(T, &[1.0; T * IN]));
        let [squares, of_magnitude] = [(); 2].map(|()| ctx.persistent(1, OUT));
        row_squares(&mut ctx, weight, squares);
        let dora = Dora { magnitude, squares, scales: ctx.persistent(2, OUT), has_scales: false };
        let (y, hidden) = (ctx.persistent(T, OUT), ctx.persistent(T, R));
        let gradient =
            LoraGradient { a: ctx.persistent(R, IN), b: ctx.persistent(OUT, R), magnitude: Some(of_magnitude) };
        let run = |ctx: &mut Context| {
            ctx.reset();
            let numbers: Vec<u32> = (0..T as u32).collect();
            let (examples, positions) = (ctx.upload_indices(&numbers), ctx.upload_indices(&numbers));
            let dropout = (probability > 0.0).then_some(Dropout { probability, key: 11, examples, positions });
            if let Some(dropout) = &dropout {
                dropout::forward(ctx, ones, dropout, mask);
            }
            let lora = Lora { a, b, scale: S as f32, dropout, dora: Some(dora) };
            let input = Input::new(ctx, x, std::iter::once(weight), true);
            let product = Product { weight, lora: Some((&lora, hidden)), start: Start::Residual(start), y };
            linear::forward(ctx, &input, &[product]);
            let saved = LoraBackward { lora: &lora, x, hidden, gradient };
            let dy = Input::new(ctx, dy, std::iter::once(weight), true);
            linear::backward(ctx, &dy, weight, Some(saved), is_accumulated, dx);
        };
        ctx.plan(run);
        run(&mut ctx);
        let mask = wide(&ctx.download(mask));
        let (xw, aw, bw, mw) = (wide(&f.x), wide(&f.a), wide(&f.b), wide(&f.m));
        let norms = norms(&f.w, &f.a, &f.b, (OUT, IN, R));
        assert_close("y", &ctx.download(y), &expected(&f, &xw, &aw, &bw, &mw, &mask, &norms), 1e-5);
        let loss = |y: Vec<f64>| y.iter().zip(&f.dy).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
        let mut dx_expected = finite_differences(&xw, 1e-4, |x| loss(expected(&f, x, &aw, &bw, &mw, &mask, &norms)));
        dx_expected.iter_mut().for_each(|g| *g += if is_accumulated { 1.0 } else { 0.0 });
        assert_close("dx", &ctx.download(dx), &dx_expected, 1e-5);
        let da = finite_differences(&aw, 1e-4, |a| loss(expected(&f, &xw, a, &bw, &mw, &mask, &norms)));
        assert_close("dA", &ctx.download(gradient.a), &da, 1e-5);
        let db = finite_differences(&bw, 1e-4, |b| loss(expected(&f, &xw, &aw, b, &mw, &mask, &norms)));
        assert_close("dB", &ctx.download(gradient.b), &db, 1e-5);
        let dm = finite_differences(&mw, 1e-4, |m| loss(expected(&f, &xw, &aw, &bw, m, &mask, &norms)));
        assert_close("dm", &ctx.download(of_magnitude), &dm, 1e-5);
    }

    #[test]
    fn forward_and_backward_match_f64_and_finite_differences() {
        for probability in [0.0, 0.3] {
            check(probability, true, Context::cpu(1));
            check(probability, false, Context::cpu(2));
            check(probability, true, Context::reference());
        }
    }

    /// However a weight is held, its norms are those of the values that its products have.
    #[test]
    fn norms_are_those_of_the_weight_as_it_is_multiplied() {
        let (d_in, d_out) = (128, 70);
        let values = random(3, d_out * d_in);
        let row_bytes = BlockType::Q8_0.bytes_for(d_in).unwrap();
        let mut blocks = Vec::new();
        values.chunks_exact(d_in).for_each(|row| crate::quant::encode_int8_row(row, &mut blocks));
        let stored = |n: usize| &blocks[n * row_bytes..(n + 1) * row_bytes];
        let row = |n: usize, out: &mut [f32]| -> Result<(), ()> {
            out.copy_from_slice(&values[n * d_in..(n + 1) * d_in]);
            Ok(())
        };
        let shape = (d_out, d_in);
        for mut ctx in [Context::cpu(2), Context::reference()] {
            let weights = [
                FrozenWeight::pack(&mut ctx, Precision::F32, d_out, d_in, row).unwrap(),
                FrozenWeight::pack(&mut ctx, Precision::Bf16, d_out, d_in, row).unwrap(),
                FrozenWeight::quantize(&mut ctx, Quantization::Nf4, Precision::F32, shape, row).unwrap().unwrap(),
                FrozenWeight::quantize(&mut ctx, Quantization::Nf4, Precision::Bf16, shape, row).unwrap().unwrap(),
                FrozenWeight::quantize(&mut ctx, Quantization::Int8, Precision::F32, shape, row).unwrap().unwrap(),
                FrozenWeight::keep(&mut ctx, BlockType::Q8_0, d_out, d_in, stored).unwrap(),
            ];
            for (i, weight) in weights.into_iter().enumerate() {
                // the rows of the identity give the columns of W
                let identity: Vec<f32> =
                    (0..d_in * d_in).map(|at| if at / d_in == at % d_in { 1.0 } else { 0.0 }).collect();
                let x = ctx.upload_persistent(d_in, d_in, &identity);
                let (y, squares) = (ctx.persistent(d_in, d_out), ctx.persistent(1, d_out));
                let run = |ctx: &mut Context| {
                    let input = Input::new(ctx, x, std::iter::once(weight), false);
                    linear::forward(ctx, &input, &[Product { weight, lora: None, start: Start::Zero, y }]);
                };
                ctx.plan(run);
                run(&mut ctx);
                row_squares(&mut ctx, weight, squares);
                let columns = wide(&ctx.download(y));
                let wanted: Vec<f64> =
                    (0..d_out).map(|n| (0..d_in).map(|k| columns[k * d_out + n].powi(2)).sum()).collect();
                assert_close(&format!("weight {i}"), &ctx.download(squares), &wanted, 1e-4);
            }
        }
    }

    /// A row of zeros with no change has no direction: it gives 0, and no NaN.
    #[test]
    fn a_row_of_zeros_stays_zero() {
        for mut ctx in [Context::cpu(1), Context::reference()] {
            let row = |n: usize, out: &mut [f32]| -> Result<(), ()> {
                out.fill(n as f32);
                Ok(())
            };
            let weight = FrozenWeight::pack(&mut ctx, Precision::F32, 2, IN, row).unwrap();
            let x = ctx.upload_persistent(1, IN, &[1.0; IN]);
            let (a, b) = (ctx.upload_persistent(1, IN, &[1.0; IN]), ctx.upload_persistent(2, 1, &[0.0; 2]));
            let [magnitude, squares] = [(); 2].map(|()| ctx.upload_persistent(1, 2, &[3.0; 2]));
            row_squares(&mut ctx, weight, squares);
            let dora = Dora { magnitude, squares, scales: ctx.persistent(2, 2), has_scales: false };
            let (y, hidden) = (ctx.persistent(1, 2), ctx.persistent(1, 1));
            let run = |ctx: &mut Context| {
                let lora = Lora { a, b, scale: 1.0, dropout: None, dora: Some(dora) };
                let input = Input::new(ctx, x, std::iter::once(weight), true);
                let product = Product { weight, lora: Some((&lora, hidden)), start: Start::Zero, y };
                linear::forward(ctx, &input, &[product]);
            };
            ctx.plan(run);
            run(&mut ctx);
            let direction = (IN as f64).sqrt();
            assert_close("y", &ctx.download(y), &[0.0, 3.0 * direction], 1e-6);
            assert!(cosine(&ctx.download(dora.scales), &[0.0, 3.0, 0.0, 1.0]) > 0.999_999);
        }
    }
}
