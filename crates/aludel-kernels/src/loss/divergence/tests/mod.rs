//! Divergences against their definitions in f64 and finite differences, the processor against the reference device, and the limits.

mod select;

use super::*;
use crate::Isa;
use crate::check::{assert_close, finite_differences, random, wide};

const ALL: [Divergence; 9] = [
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::Jsd { beta: 0.5 },
    Divergence::Jsd { beta: 0.1 },
    Divergence::Jsd { beta: 0.99 },
    Divergence::SkewKl { alpha: 0.0 },
    Divergence::SkewKl { alpha: 0.1 },
    Divergence::SkewKl { alpha: 0.9 },
    Divergence::TotalVariation,
];

/// What an op is given beside the student's logits.
#[derive(Clone)]
enum Teacher {
    Dense { logits: Vec<f32>, cols: usize },
    TopK { ids: Vec<u32>, log_probs: Vec<f32> },
    Sampled { ids: Vec<u32>, weights: Vec<f32> },
}

/// One call of an op.
#[derive(Clone)]
struct Case {
    student: Vec<f32>,
    cols: usize,
    teacher: Teacher,
    weights: Vec<f32>,
    args: DivergenceArgs,
}

impl Case {
    /// Losses, and the student's logits after it.
    fn run(&self, ctx: &mut Context, gradient: bool) -> (Vec<f32>, Vec<f32>) {
        let rows = self.weights.len();
        let student = ctx.upload_persistent(rows, self.cols, &self.student);
        let weights = ctx.upload_persistent(1, rows, &self.weights);
        let losses = ctx.persistent(1, rows);
        let args = self.args;
        match &self.teacher {
            Teacher::Dense { logits, cols } => {
                let teacher = ctx.upload_persistent(rows, *cols, logits);
                dense(ctx, student, teacher, weights, args, losses, gradient);
            }
            Teacher::TopK { ids, log_probs } => {
                let log_probs = ctx.upload_persistent(rows, log_probs.len() / rows, log_probs);
                let teacher = TopK { ids: ctx.upload_persistent_indices(ids), log_probs };
                ctx.plan(|ctx| top_k(ctx, student, teacher, weights, args, losses, gradient));
                top_k(ctx, student, teacher, weights, args, losses, gradient);
            }
            Teacher::Sampled { ids, weights: of_draws } => {
                let of_draws = ctx.upload_persistent(rows, of_draws.len() / rows, of_draws);
                let teacher = Samples { ids: ctx.upload_persistent_indices(ids), weights: of_draws };
                sampled(ctx, student, teacher, weights, args.softmax, losses, gradient);
            }
        }
        (ctx.download(losses), ctx.download(student))
    }

    fn vocab(&self) -> usize {
        self.args.softmax.vocab
    }

    /// The loss of a row, by the definition, for a student's logits in f64.
    fn exact(&self, row: usize, student: &[f64]) -> f64 {
        let temperature = f64::from(self.args.softmax.temperature);
        let scale = f64::from(self.weights[row]) * temperature * temperature;
        let q = softmax(&student[row * self.cols..][..self.vocab()], temperature);
        scale
            * match &self.teacher {
                Teacher::Dense { logits, cols } => {
                    let p = softmax(&wide(&logits[row * cols..][..self.vocab()]), temperature);
                    defined(self.args.divergence, &p, &q)
                }
                Teacher::TopK { ids, log_probs } => {
                    let k = ids.len() / self.weights.len();
                    let entries = ids[row * k..][..k].iter().zip(&log_probs[row * k..][..k]);
                    let listed: Vec<(usize, f64)> = entries
                        .filter(|(_, log_prob)| log_prob.is_finite())
                        .map(|(id, log_prob)| (*id as usize, f64::from(*log_prob).exp()))
                        .collect();
                    let mut p: Vec<f64> = listed.iter().map(|(_, p)| *p).collect();
                    p.push(1.0 - p.iter().sum::<f64>());
                    let mut of_classes: Vec<f64> = listed.iter().map(|(id, _)| q[*id]).collect();
                    let is_listed = |id: usize| listed.iter().any(|(listed, _)| *listed == id);
                    of_classes.push((0..q.len()).filter(|id| !is_listed(*id)).map(|id| q[id]).sum());
                    defined(self.args.divergence, &p, &of_classes)
                }
                Teacher::Sampled { ids, weights } => {
                    let n = ids.len() / self.weights.len();
                    let draws = ids[row * n..][..n].iter().zip(&weights[row * n..][..n]);
                    draws.map(|(id, weight)| -f64::from(*weight) * q[*id as usize].ln()).sum()
                }
            }
    }
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let exponentials: Vec<f64> = logits.iter().map(|x| (x / temperature).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|x| x / sum).collect()
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
}

fn defined(divergence: Divergence, p: &[f64], q: &[f64]) -> f64 {
    let mixture = |share: f32| -> Vec<f64> {
        let share = f64::from(share);
        p.iter().zip(q).map(|(p, q)| share * p + (1.0 - share) * q).collect()
    };
    match divergence {
        Divergence::ForwardKl => kl(p, q),
        Divergence::ReverseKl => kl(q, p),
        Divergence::Jsd { beta } => {
            let m = mixture(beta);
            f64::from(beta) * kl(p, &m) + (1.0 - f64::from(beta)) * kl(q, &m)
        }
        Divergence::SkewKl { alpha } => kl(p, &mixture(alpha)),
        Divergence::TotalVariation => 0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>(),
    }
}

/// `k` entries a row of the teacher's softmax, the last of them absent, at places that depend on the row.
fn listed(teacher: &[f32], rows: usize, softmax_of: Softmax, k: usize) -> Teacher {
    let (mut ids, mut log_probs) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let logits = wide(&teacher[row * softmax_of.vocab..][..softmax_of.vocab]);
        let p = softmax(&logits, f64::from(softmax_of.temperature));
        for i in 0..k {
            let id = (row + i * 3) % softmax_of.vocab;
            ids.push(if i + 1 == k { u32::MAX } else { id as u32 });
            log_probs.push(if i + 1 == k { f32::NEG_INFINITY } else { p[id].ln() as f32 });
        }
    }
    Teacher::TopK { ids, log_probs }
}

/// Cases of three rows for each divergence, temperature and knowledge of the teacher; columns beyond the vocabulary are NaN.
fn cases(vocab: usize, k: usize) -> Vec<Case> {
    let rows = 3;
    let (student, teacher) = (random(1, rows * vocab), random(2, rows * vocab));
    let padded = |values: &[f32], padding: usize, factor: f32| -> Vec<f32> {
        let rows = values.chunks(vocab);
        rows.flat_map(|row| row.iter().map(|x| x * factor).chain(std::iter::repeat_n(f32::NAN, padding))).collect()
    };
    let mut cases = Vec::new();
    for temperature in [1.0, 2.0] {
        let softmax = Softmax { vocab, temperature };
        let dense = Teacher::Dense { logits: padded(&teacher, 5, 2.0), cols: vocab + 5 };
        let doubled: Vec<f32> = teacher.iter().map(|x| 2.0 * x).collect();
        let some = listed(&doubled, rows, softmax, k);
        let draws = Teacher::Sampled {
            ids: (0..rows * 4).map(|i| (i * i % vocab) as u32).collect(),
            weights: (0..rows * 4).map(|i| i as f32 * 0.1).collect(),
        };
        let case = |teacher: &Teacher, divergence: Divergence| Case {
            student: padded(&student, 2, 3.0),
            cols: vocab + 2,
            teacher: teacher.clone(),
            weights: vec![1.0, 0.5, 2.0],
            args: DivergenceArgs { divergence, softmax },
        };
        cases.extend(ALL.iter().flat_map(|divergence| [case(&dense, *divergence), case(&some, *divergence)]));
        cases.push(case(&draws, Divergence::ForwardKl));
    }
    cases
}

fn name(case: &Case) -> String {
    let teacher = match case.teacher {
        Teacher::Dense { .. } => "dense",
        Teacher::TopK { .. } => "top-k",
        Teacher::Sampled { .. } => "sampled",
    };
    format!("{teacher}, {:?}", case.args)
}

#[test]
fn losses_and_gradients_are_those_of_the_definitions() {
    for case in cases(37, 6) {
        let rows = case.weights.len();
        let student: Vec<f64> = case.student.iter().map(|x| if x.is_nan() { 0.0 } else { f64::from(*x) }).collect();
        let exact: Vec<f64> = (0..rows).map(|row| case.exact(row, &student)).collect();
        let slopes = finite_differences(&student, 1e-5, |x| (0..rows).map(|row| case.exact(row, x)).sum());
        for mut ctx in [Context::cpu(2), Context::reference()] {
            let what = format!("{}, {:?}", name(&case), ctx.device());
            let (losses, gradient) = case.run(&mut ctx, true);
            assert_close(&format!("{what}: loss"), &losses, &exact, 2e-6);
            assert_close(&format!("{what}: gradient"), &gradient, &slopes, 2e-6);
            let (alone, kept) = case.run(&mut ctx, false);
            assert_eq!(alone, losses, "{what}");
            assert!(kept.iter().zip(&case.student).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}: logits changed");
        }
    }
}

/// More columns than a block of sums, on every instruction set; threads change no bit.
#[test]
fn the_processor_agrees_with_the_reference_on_large_vocabularies() {
    for case in cases(BLOCKS, 257) {
        let what = name(&case);
        let (losses, gradient) = case.run(&mut Context::reference(), true);
        let scale = gradient.iter().fold(0f32, |most, x| most.max(x.abs()));
        let relative: Vec<f64> = gradient.iter().map(|x| f64::from(x / scale)).collect();
        for isa in Isa::tested() {
            let [one, two] = [1, 2].map(|threads| case.run(&mut Context::cpu(threads).with_isa(isa), true));
            assert_eq!(one, two, "{what}, {}: threads", isa.name());
            assert_close(&format!("{what}, {}: loss", isa.name()), &one.0, &wide(&losses), 3e-6);
            let got: Vec<f32> = one.1.iter().map(|x| x / scale).collect();
            assert_close(&format!("{what}, {}: gradient", isa.name()), &got, &relative, 1e-5);
        }
    }
}

/// Two blocks and a rest.
const BLOCKS: usize = 2 * 4096 + 77;

#[test]
fn equal_distributions_have_no_loss_and_no_gradient() {
    let vocab = 5000;
    let logits: Vec<f32> = random(7, vocab).iter().map(|x| x * 5.0).collect();
    for (divergence, temperature) in ALL.into_iter().flat_map(|divergence| [(divergence, 1.0), (divergence, 3.0)]) {
        let args = DivergenceArgs { divergence, softmax: Softmax { vocab, temperature } };
        let teacher = Teacher::Dense { logits: logits.clone(), cols: vocab };
        let case = Case { student: logits.clone(), cols: vocab, teacher, weights: vec![1.0], args };
        let (losses, gradient) = case.run(&mut Context::cpu(1), true);
        assert_eq!(losses, [0.0], "{args:?}");
        assert!(gradient.iter().all(|x| *x == 0.0), "{args:?}");
        // a constant added to all logits is no difference but for rounding, which counts by its square
        let shifted = Case { student: logits.iter().map(|x| x + 9.0).collect(), ..case };
        let least = if divergence == Divergence::TotalVariation { 1e-5 } else { 1e-9 };
        let (losses, _) = shifted.run(&mut Context::cpu(1), false);
        assert!(losses[0].abs() <= least, "{args:?}: {}", losses[0]);
    }
}

/// A student whose logits are a thousandth from its teacher's: the divergence is below 1e-6.
#[test]
fn small_divergences_have_correct_digits() {
    let vocab = 3000;
    let teacher = random(8, vocab);
    let student: Vec<f32> = teacher.iter().zip(random(9, vocab)).map(|(x, e)| x + 1e-3 * e).collect();
    for divergence in ALL {
        let args = DivergenceArgs { divergence, softmax: Softmax { vocab, temperature: 1.0 } };
        let dense = Teacher::Dense { logits: teacher.clone(), cols: vocab };
        let case = Case { student: student.clone(), cols: vocab, teacher: dense, weights: vec![1.0], args };
        let exact = case.exact(0, &wide(&student));
        let got = f64::from(case.run(&mut Context::cpu(1), false).0[0]);
        assert!((got - exact).abs() <= 1e-2 * exact, "{divergence:?}: {got}, should be {exact}");
    }
}

#[test]
fn the_limits_are_finite_where_the_divergence_is() {
    const NEVER: f32 = f32::NEG_INFINITY;
    let run = |student: &[f32], teacher: &[f32], divergence: Divergence| {
        let vocab = student.len();
        let args = DivergenceArgs { divergence, softmax: Softmax { vocab, temperature: 1.0 } };
        let logits = teacher.to_vec();
        let teacher = Teacher::Dense { logits, cols: vocab };
        let case = Case { student: student.to_vec(), cols: vocab, teacher, weights: vec![1.0], args };
        let results = [Context::cpu(1), Context::reference()].map(|mut ctx| case.run(&mut ctx, true));
        for (loss, gradient) in &results {
            assert!(gradient.iter().all(|x| x.is_finite()), "{divergence:?}, {student:?}: {gradient:?}, loss {loss:?}");
        }
        let [fast, plain] = results.map(|(losses, _)| losses[0]);
        let is_close = (fast - plain).abs() <= 5e-5 * plain.abs();
        assert!(
            is_close || fast == plain,
            "{divergence:?}, {student:?} and {teacher:?}: {fast}, {plain}",
            teacher = case.teacher_logits()
        );
        fast
    };
    for divergence in ALL {
        // a probability that is too small for a float, on either side
        assert!(run(&[0.0, -200.0, 1.0], &[0.0, 0.5, 1.0], divergence).is_finite());
        assert!(run(&[0.0, 0.5, 1.0], &[0.0, -200.0, 1.0], divergence).is_finite());
        // tokens that neither has, or that the student alone has
        assert!(run(&[0.0, NEVER, 1.0], &[0.5, NEVER, 1.0], divergence).is_finite());
        assert!(run(&[3e38, -3e38, 0.0], &[3e38, -3e38, 1.0], divergence) == 0.0);
        assert!(run(&[3e4, -3e4, 0.0], &[2e4, -2e4, 1.0], divergence).abs() <= 1e-6);
    }
    assert_eq!(run(&[0.0, -200.0], &[-200.0, 0.0], Divergence::ForwardKl), 200.0);
    assert_eq!(run(&[0.0, -200.0], &[-200.0, 0.0], Divergence::ReverseKl), 200.0);
    assert_eq!(run(&[0.0, -200.0], &[-200.0, 0.0], Divergence::TotalVariation), 1.0);
    assert_eq!(run(&[0.0, NEVER], &[0.0, 0.0], Divergence::ForwardKl), f32::INFINITY);
    assert!(run(&[0.0, 0.0], &[0.0, NEVER], Divergence::ForwardKl).is_finite());
    assert!((run(&[0.0, NEVER], &[NEVER, 0.0], Divergence::Jsd { beta: 0.5 }) - 2f32.ln()).abs() <= 1e-6);
    assert!((run(&[0.0, NEVER], &[NEVER, 0.0], Divergence::SkewKl { alpha: 0.1 }) + 0.1f32.ln()).abs() <= 1e-6);
}

impl Case {
    fn teacher_logits(&self) -> &[f32] {
        match &self.teacher {
            Teacher::Dense { logits, .. } => logits,
            Teacher::TopK { log_probs: values, .. } | Teacher::Sampled { weights: values, .. } => values,
        }
    }
}

#[test]
fn a_nan_and_what_is_no_distribution_show_in_the_loss() {
    let softmax = Softmax { vocab: 4, temperature: 1.0 };
    let listed = |ids: [u32; 2], log_probs: [f32; 2]| Teacher::TopK { ids: ids.into(), log_probs: log_probs.into() };
    let dense = |logits: [f32; 4]| Teacher::Dense { logits: logits.into(), cols: 4 };
    let draws = |ids: [u32; 2], weights: [f32; 2]| Teacher::Sampled { ids: ids.into(), weights: weights.into() };
    let (fine, sound) = ([0.0, 1.0, 2.0, 3.0], [-1.0, -2.0]);
    let with = |i: usize, x: f32| {
        let mut logits = fine;
        logits[i] = x;
        logits
    };
    for mut ctx in [Context::cpu(1), Context::reference()] {
        for divergence in ALL {
            let args = DivergenceArgs { divergence, softmax };
            let mut loss = |student: [f32; 4], teacher: Teacher| {
                let case = Case { student: student.into(), cols: 4, teacher, weights: vec![1.0], args };
                let (losses, kept) = case.run(&mut ctx, false);
                assert!(kept.iter().zip(&student).all(|(a, b)| a.to_bits() == b.to_bits()), "logits changed");
                let (again, _) = case.run(&mut ctx, true);
                assert_eq!(losses[0].to_bits(), again[0].to_bits());
                losses[0]
            };
            for i in 0..4 {
                for x in [f32::NAN, f32::INFINITY] {
                    assert!(loss(with(i, x), dense(fine)).is_nan());
                    assert!(loss(fine, dense(with(i, x))).is_nan());
                    assert!(loss(with(i, x), listed([0, 1], sound)).is_nan());
                    assert!(loss(with(i, x), draws([0, 1], [0.5, 0.5])).is_nan());
                }
            }
            assert!(loss(fine, listed([0, 1], sound)).is_finite());
            assert!(loss(fine, listed([1, 1], sound)).is_nan(), "a token listed twice");
            assert!(loss(fine, listed([0, 1], [-0.1, -0.2])).is_nan(), "a sum above 1");
            assert!(loss(fine, listed([0, 1], [f32::NAN, -2.0])).is_nan());
            // rounding may leave no tail, or less
            assert!(loss(fine, listed([0, 1], [-0.5, -0.932_752_1])).is_finite());
            assert!(loss(fine, listed([0, 1], [0.5f32.ln(), 0.52f32.ln()])).is_finite());
            assert!(loss(fine, draws([0, 1], [f32::NAN, 0.5])).is_nan());
            assert!(loss(fine, draws([u32::MAX, 1], [0.0, 0.5])).is_finite(), "an absent draw");
        }
    }
}

/// With all tokens listed there is no tail, and with none there is nothing else.
#[test]
fn lists_of_all_tokens_and_of_none_are_the_extremes() {
    let vocab = 23;
    let (student, teacher) = (random(5, vocab), random(6, vocab));
    for divergence in ALL {
        let args = DivergenceArgs { divergence, softmax: Softmax { vocab, temperature: 2.0 } };
        let p = softmax(&wide(&teacher), 2.0);
        let case = |teacher: Teacher| Case { student: student.clone(), cols: vocab, teacher, weights: vec![1.0], args };
        let whole = case(Teacher::Dense { logits: teacher.clone(), cols: vocab });
        let all = case(Teacher::TopK {
            ids: (0..vocab as u32).rev().collect(),
            log_probs: p.iter().rev().map(|p| p.ln() as f32).collect(),
        });
        let none = case(Teacher::TopK { ids: vec![3, 3], log_probs: vec![f32::NEG_INFINITY; 2] });
        for mut ctx in [Context::cpu(1), Context::reference()] {
            let (expected, got) = (whole.run(&mut ctx, true), all.run(&mut ctx, true));
            assert_close("losses", &got.0, &wide(&expected.0), 1e-6);
            assert_close("gradient", &got.1, &wide(&expected.1), 1e-6);
            let (losses, gradient) = none.run(&mut ctx, true);
            assert_eq!((losses[0], gradient), (0.0, vec![0.0; vocab]), "{divergence:?}");
        }
    }
}

/// The tail of a student that is nearly sure of listed tokens: 1 less the rest would be 0.
#[test]
fn a_tail_far_below_rounding_keeps_its_digits() {
    let student = vec![40.0, 1.0, 0.5, -3.0];
    let args = |divergence| DivergenceArgs { divergence, softmax: Softmax { vocab: 4, temperature: 1.0 } };
    let teacher = Teacher::TopK { ids: vec![0], log_probs: vec![0.9f32.ln()] };
    let case = Case { student, cols: 4, teacher, weights: vec![1.0], args: args(Divergence::ForwardKl) };
    let (losses, gradient) = case.run(&mut Context::cpu(1), true);
    let tail = 1f64.exp() + 0.5f64.exp() + (-3f64).exp();
    let exact = 0.9 * 0.9f64.ln() + 0.1 * (0.1f64.ln() + 40.0 - tail.ln());
    assert_close("loss", &losses, &[exact], 1e-6);
    // the tail's gradient, q − 0.1, goes to its tokens by their shares
    assert_close("gradient", &gradient[1..2], &[-0.1 * 1f64.exp() / tail], 1e-6);
}

#[test]
fn constants_out_of_range_are_refused() {
    for (divergence, is_defined) in [
        (Divergence::Jsd { beta: 0.0 }, false),
        (Divergence::Jsd { beta: 1.0 }, false),
        (Divergence::Jsd { beta: f32::NAN }, false),
        (Divergence::SkewKl { alpha: 1.0 }, false),
        (Divergence::SkewKl { alpha: -0.1 }, false),
        (Divergence::SkewKl { alpha: 0.0 }, true),
    ] {
        assert_eq!(divergence.is_defined(), is_defined, "{divergence:?}");
    }
}
