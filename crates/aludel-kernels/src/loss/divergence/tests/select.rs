//! What is kept of a teacher, against sorting and against the probabilities that it stands for.

use super::*;
use crate::check::cosine;
use crate::rng;

fn top_k_rows(ctx: &mut Context, logits: &[f32], rows: usize, softmax: Softmax, k: usize) -> (Vec<u32>, Vec<f32>) {
    let logits = ctx.upload_persistent(rows, logits.len() / rows, logits);
    let chosen = TopK { ids: ctx.upload_persistent_indices(&vec![9; rows * k]), log_probs: ctx.persistent(rows, k) };
    ctx.plan(|ctx| top_k_of(ctx, logits, softmax, chosen));
    top_k_of(ctx, logits, softmax, chosen);
    (ctx.entries(chosen.ids).to_vec(), ctx.download(chosen.log_probs))
}

#[test]
fn the_likeliest_tokens_are_those_that_sorting_finds() {
    let vocab = 3001;
    let smooth: Vec<f32> = random(3, 2 * (vocab + 3)).iter().map(|x| x * 4.0).collect();
    let coarse: Vec<f32> = smooth.iter().map(|x| x.round()).collect();
    let zeros: Vec<f32> = smooth.iter().map(|x| 0.0 * x).collect();
    let rising: Vec<f32> = (0..smooth.len()).map(|i| i as f32 * 1e-3).collect();
    let masked: Vec<f32> = smooth.iter().map(|&x| if x < 9.0 { f32::NEG_INFINITY } else { x }).collect();
    let mut broken = smooth.clone();
    broken[vocab + 50] = f32::NAN;
    for logits in [smooth, coarse, zeros, rising, masked, broken] {
        for (k, temperature) in [(1, 1.0), (63, 2.0), (64, 1.0), (256, 0.5), (vocab, 1.0)] {
            let softmax = Softmax { vocab, temperature };
            let (ids, log_probs) = top_k_rows(&mut Context::reference(), &logits, 2, softmax, k);
            let of_threads = |threads| top_k_rows(&mut Context::cpu(threads), &logits, 2, softmax, k);
            let [one, two] = [1, 2].map(of_threads);
            assert_eq!(one.0, ids, "k = {k}");
            assert_eq!(two.0, ids, "k = {k}");
            assert!(one.1.iter().zip(&two.1).all(|(a, b)| a.to_bits() == b.to_bits()));
            for (got, plain) in one.1.iter().zip(&log_probs) {
                let is_close = (got - plain).abs() <= 4e-6 * plain.abs().max(1.0);
                assert!(
                    is_close || got.to_bits() == plain.to_bits() || (got.is_nan() && plain.is_nan()),
                    "{got}, {plain}"
                );
            }
        }
    }
}

/// The likeliest tokens of a teacher, fed to the op that takes them: as k grows, the loss approaches the whole divergence from below.
#[test]
fn what_is_selected_is_what_the_loss_takes() {
    let vocab = 501;
    let (student, teacher) = (random(11, vocab), random(12, vocab));
    let softmax = Softmax { vocab, temperature: 2.0 };
    let args = DivergenceArgs { divergence: Divergence::ForwardKl, softmax };
    let mut ctx = Context::cpu(2);
    let mut of = |teacher: Teacher| {
        let case = Case { student: student.clone(), cols: vocab, teacher, weights: vec![1.0], args };
        case.run(&mut ctx, false).0[0]
    };
    let whole = of(Teacher::Dense { logits: teacher.clone(), cols: vocab });
    let mut before = 0.0;
    for k in [1, 16, 256, vocab] {
        let (ids, log_probs) = top_k_rows(&mut Context::cpu(1), &teacher, 1, softmax, k);
        let loss = of(Teacher::TopK { ids, log_probs });
        assert!(loss >= before && loss <= whole * (1.0 + 1e-5), "k = {k}: {loss} of {whole}");
        before = loss;
    }
    assert!((before - whole).abs() <= 1e-5 * whole);
}

fn sample_rows(
    ctx: &mut Context,
    logits: &[f32],
    rows: usize,
    n: usize,
    softmax: Softmax,
    (proposal, key): (f32, u64),
) -> (Vec<u32>, Vec<f32>) {
    let logits = ctx.upload_persistent(rows, logits.len() / rows, logits);
    let examples: Vec<u32> = (0..rows as u32).collect();
    let positions: Vec<u32> = (0..rows as u32).map(|row| row * 7).collect();
    let draws = Draws {
        proposal,
        key,
        examples: ctx.upload_persistent_indices(&examples),
        positions: ctx.upload_persistent_indices(&positions),
    };
    let samples = Samples { ids: ctx.upload_persistent_indices(&vec![9; rows * n]), weights: ctx.persistent(rows, n) };
    ctx.plan(|ctx| sample_of(ctx, logits, softmax, draws, samples));
    sample_of(ctx, logits, softmax, draws, samples);
    (ctx.entries(samples.ids).to_vec(), ctx.download(samples.weights))
}

#[test]
fn draws_are_the_same_on_both_devices_and_any_number_of_threads() {
    let (rows, vocab, n) = (5, 3001, 12);
    let mut logits: Vec<f32> = random(13, rows * vocab).iter().map(|x| x * 3.0).collect();
    logits[vocab + 40] = f32::NAN;
    // only the first and the last token can come
    logits[2 * vocab..3 * vocab].fill(f32::NEG_INFINITY);
    (logits[2 * vocab], logits[3 * vocab - 1]) = (0.0, 1.0);
    for (temperature, proposal) in [(1.0, 1.0), (2.0, 0.8), (0.7, 1.5)] {
        let softmax = Softmax { vocab, temperature };
        let [plain, one, two] = [Context::reference(), Context::cpu(1), Context::cpu(2)]
            .map(|mut ctx| sample_rows(&mut ctx, &logits, rows, n, softmax, (proposal, 5)));
        assert_eq!(plain.0, one.0);
        assert_eq!(one.0, two.0);
        assert!(one.1.iter().zip(&two.1).all(|(a, b)| a.to_bits() == b.to_bits()));
        for (row, (got, expected)) in one.1.chunks(n).zip(plain.1.chunks(n)).enumerate() {
            if row == 1 {
                assert!(got.iter().chain(expected).all(|weight| weight.is_nan()));
            } else {
                assert_close("weights", got, &wide(expected), 1e-5);
            }
        }
        if proposal == 1.0 {
            assert!(one.1.iter().all(|weight| weight.is_nan() || *weight == 1.0 / n as f32));
        }
        assert!(one.0[2 * n..3 * n].iter().all(|id| *id == 0 || *id == vocab as u32 - 1));
    }
}

#[test]
fn draws_are_unbiased_and_their_gradient_is_that_of_the_forward_kl() {
    let vocab = 300;
    let (student, teacher) = (random(14, vocab), random(15, vocab));
    let softmax_of = Softmax { vocab, temperature: 1.5 };
    let p = softmax(&wide(&teacher), 1.5);
    let args = DivergenceArgs { divergence: Divergence::ForwardKl, softmax: softmax_of };
    let case = |teacher: Teacher| Case { student: student.clone(), cols: vocab, teacher, weights: vec![1.0], args };
    let (_, exact) = case(Teacher::Dense { logits: teacher.clone(), cols: vocab }).run(&mut Context::cpu(1), true);
    for proposal in [1.0, 0.7] {
        let (rounds, n) = (4000, 8);
        let (mut estimate, mut all) = (vec![0.0f64; vocab], (Vec::new(), Vec::new()));
        let mut ctx = Context::cpu(1);
        for round in 0..rounds {
            let key = rng::mix(3, round);
            let (ids, weights) = sample_rows(&mut ctx, &teacher, 1, n, softmax_of, (proposal, key));
            for (id, weight) in ids.iter().zip(&weights) {
                estimate[*id as usize] += f64::from(*weight) / rounds as f64;
                all.0.push(*id);
                all.1.push(weight / rounds as f32);
            }
        }
        // the deviation of a mean of 32,000 draws, four times
        for (id, (estimate, p)) in estimate.iter().zip(&p).enumerate() {
            let allowed = 4.0 * (p * 2.0 / (rounds * n as u64) as f64).sqrt();
            assert!((estimate - p).abs() <= allowed, "{id}: {estimate}, should be {p}");
        }
        let (_, gradient) = case(Teacher::Sampled { ids: all.0, weights: all.1 }).run(&mut ctx, true);
        let cosine = cosine(&gradient, &exact);
        assert!(cosine >= 0.99, "proposal {proposal}: cosine {cosine}");
    }
}
