//! A student learns a teacher's distributions: the terms of the loss, their gradients, and what memory and passes must not change.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/learning.rs"]
mod learning;

use aludel_data::token_cache::TokenRow;
use aludel_distill::learner::Learner;
use aludel_distill::objective::Distillation;
use aludel_distill::supervision::LossTerm;
use aludel_distill::teacher::OnlineTeacher;
use aludel_kernels::linear::Precision;
use aludel_kernels::loss::divergence::{Divergence, DivergenceArgs, Softmax};
use aludel_kernels::{Context, Region, optim};
use aludel_model::adapter::Adapter;
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch};
use learning::{load, load_adapter, row, tokens};

/// Tokens that the small models share.
const VOCAB: usize = 160;
const FORWARD_KL: DivergenceArgs =
    DivergenceArgs { divergence: Divergence::ForwardKl, softmax: Softmax { vocab: VOCAB, temperature: 1.0 } };

/// A student with one adapter, and the same model with another as its teacher.
fn learner(mut ctx: Context, terms: &[(LossTerm, f32)], divergence: DivergenceArgs, tokens_per_pass: usize) -> Learner {
    let teacher = load(&mut ctx, "tied", Precision::F32);
    let taught = load_adapter(&mut ctx, &teacher, "tied", "all_linear");
    let decoder = load(&mut ctx, "tied", Precision::F32);
    let adapter = load_adapter(&mut ctx, &decoder, "tied", "all_linear");
    let teacher = OnlineTeacher::new(teacher, Some(taught), tokens_per_pass, VOCAB);
    let mut learner = Learner::new(ctx, decoder, adapter, true).with_objective(Box::new(Distillation::new(
        terms.to_vec(),
        divergence,
        Box::new(teacher),
    )));
    // Not where the teacher is: its adapter is halved.
    let halved: Vec<f32> = learner.ctx.download(learner.adapter.parameters()).iter().map(|x| x * 0.5).collect();
    learner.ctx.write(learner.adapter.parameters(), &halved);
    learner.plan(100);
    learner
}

fn gradient(learner: &mut Learner, passes: &[Vec<(u32, TokenRow)>]) -> (f64, Vec<f32>) {
    learner.zero_gradients();
    let loss = passes.iter().map(|pass| learner.accumulate(pass, None).unwrap().loss).sum();
    (loss, learner.ctx.download(learner.state.gradients))
}

fn relative(got: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(expected).map(|(a, b)| f64::from(a - b))) / norm(&mut expected.iter().map(|&x| x.into()))
}

fn rows() -> Vec<(u32, TokenRow)> {
    [7, 20, 3, 31, 12, 5, 9, 13].iter().enumerate().map(|(number, &length)| row(number as u32, length)).collect()
}

#[test]
fn a_student_follows_its_teacher() {
    let divergences = [
        Divergence::ForwardKl,
        Divergence::ReverseKl,
        Divergence::Jsd { beta: 0.5 },
        Divergence::SkewKl { alpha: 0.1 },
        Divergence::TotalVariation,
    ];
    for divergence in divergences {
        let args = DivergenceArgs { divergence, softmax: Softmax { temperature: 2.0, ..FORWARD_KL.softmax } };
        let mut learner = learner(Context::cpu(2), &[(LossTerm::Logits, 1.0)], args, 64);
        let rows = rows();
        let before = learner.evaluate(&rows).unwrap().mean_loss();
        for number in 1..=100 {
            learner.zero_gradients();
            let supervised = learner.accumulate(&rows, None).unwrap().supervised;
            let inverse_count = 1.0 / supervised as f32;
            learner.step(&optim::Step { learning_rate: 3e-3, inverse_count, number, ..optim::Step::default() });
        }
        let after = learner.evaluate(&rows).unwrap().mean_loss();
        assert!(before > 0.0 && after * 5.0 <= before, "{divergence:?}: {before} to {after}");
    }
}

#[test]
fn terms_add_up_with_their_weights() {
    let of = |terms: &[(LossTerm, f32)]| gradient(&mut learner(Context::cpu(2), terms, FORWARD_KL, 64), &[rows()]);
    let (ce_loss, ce) = of(&[(LossTerm::Ce, 1.0)]);
    let (logits_loss, logits) = of(&[(LossTerm::Logits, 1.0)]);
    for terms in [[(LossTerm::Ce, 0.25), (LossTerm::Logits, 2.0)], [(LossTerm::Logits, 2.0), (LossTerm::Ce, 0.25)]] {
        let mut learner = learner(Context::cpu(2), &terms, FORWARD_KL, 64);
        let (loss, both) = gradient(&mut learner, &[rows()]);
        let expected: Vec<f32> = ce.iter().zip(&logits).map(|(ce, logits)| 0.25 * ce + 2.0 * logits).collect();
        assert!(relative(&both, &expected) < 1e-5, "{}", relative(&both, &expected));
        assert!((loss - 0.25 * ce_loss - 2.0 * logits_loss).abs() < 1e-5 * loss, "{loss}");
        let sums = learner.evaluate(&rows()).unwrap();
        let told = learner.unweighted_terms(&sums, false);
        let per_token = sums.supervised as f64;
        assert!((told[&LossTerm::Ce] * per_token - ce_loss).abs() < 1e-5 * ce_loss);
        assert!((told[&LossTerm::Logits] * per_token - logits_loss).abs() < 1e-5 * logits_loss);
    }
}

/// Per supervised token of the whole step, however it is cut: rows have uneven numbers of supervised tokens.
#[test]
fn a_step_is_the_same_however_it_is_cut() {
    let terms = [(LossTerm::Ce, 0.5), (LossTerm::Logits, 1.0)];
    let all = rows();
    let (loss, expected) =
        gradient(&mut learner(Context::cpu(2), &terms, FORWARD_KL, 1000), std::slice::from_ref(&all));
    for rows_per_pass in [1, 2] {
        let passes: Vec<_> = all.chunks(rows_per_pass).map(<[_]>::to_vec).collect();
        let (got, gradient) = gradient(&mut learner(Context::cpu(2), &terms, FORWARD_KL, 1000), &passes);
        assert!(relative(&gradient, &expected) < 1e-5, "{}", relative(&gradient, &expected));
        assert!((got - loss).abs() < 1e-5 * loss);
    }
    // Nor does it matter how many rows the teacher reads at once.
    for teacher_tokens in [1, 16, 40] {
        let (got, gradient) =
            gradient(&mut learner(Context::cpu(2), &terms, FORWARD_KL, teacher_tokens), std::slice::from_ref(&all));
        assert!(relative(&gradient, &expected) < 1e-6, "{}", relative(&gradient, &expected));
        assert!((got - loss).abs() < 1e-6 * loss);
    }
}

#[test]
fn devices_and_threads_agree() {
    let terms = [(LossTerm::Ce, 0.5), (LossTerm::Logits, 1.0)];
    let of = |ctx| gradient(&mut learner(ctx, &terms, FORWARD_KL, 30), &[rows()]);
    let (loss, expected) = of(Context::cpu(1));
    assert_eq!(of(Context::cpu(2)), (loss, expected.clone()), "threads");
    let (got, gradient) = of(Context::reference());
    assert!(relative(&gradient, &expected) < 1e-4 && (got - loss).abs() < 1e-4 * loss);
}

/// A student that is its own teacher has nothing to learn.
#[test]
fn nothing_is_learnt_of_oneself() {
    let mut learner = learner(Context::cpu(2), &[(LossTerm::Logits, 1.0)], FORWARD_KL, 64);
    let doubled: Vec<f32> = learner.ctx.download(learner.adapter.parameters()).iter().map(|x| x * 2.0).collect();
    learner.ctx.write(learner.adapter.parameters(), &doubled);
    let (loss, gradient) = gradient(&mut learner, &[rows()]);
    assert!(loss.abs() < 1e-6 && gradient.iter().all(|x| x.abs() < 1e-5), "{loss}");
}

/// ln softmax of a model's logits over the shared tokens after each token of a row that it reads alone.
fn log_probs(ctx: &mut Context, decoder: &Decoder, adapter: &Adapter, ids: &[u32]) -> Vec<Vec<f64>> {
    let mut pass = PackedBatch::default();
    pass.push(0, ids);
    let run = |ctx: &mut Context| {
        let active = Some(Active { adapter, dropout: None });
        let forward = decoder.forward(ctx, &pass, Attention::Rows, active, None);
        let logits = ctx.alloc(Region::Io, ids.len(), decoder.vocab_size(Some(adapter)));
        decoder.logits(ctx, forward.hidden, Some(adapter), logits);
        logits
    };
    ctx.plan(run);
    ctx.reset();
    let logits = run(ctx);
    let columns = logits.cols();
    let rows = ctx.download(logits);
    let normalised = rows.chunks_exact(columns).map(|row| {
        let shared: Vec<f64> = row[..VOCAB].iter().map(|&x| f64::from(x)).collect();
        let most = shared.iter().copied().fold(f64::MIN, f64::max);
        let sum = most + shared.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
        shared.iter().map(|x| x - sum).collect()
    });
    normalised.collect()
}

/// A teacher that sees more than the student before the answer: the distributions that are compared are those of each model on its own
/// row, computed here one row at a time.
#[test]
fn a_teacher_with_a_context_is_compared_at_the_tokens_of_the_answer() {
    let lengths = [(7, 5), (20, 0), (3, 1), (31, 150), (12, 2), (9, 40)];
    let rows: Vec<(u32, TokenRow)> = lengths
        .iter()
        .enumerate()
        .map(|(number, &(length, context))| {
            let (number, row) = row(number as u32, length);
            (number, TokenRow { context: tokens(90 + number, context), ..row })
        })
        .collect();
    let mut ctx = Context::cpu(2);
    let decoder = load(&mut ctx, "tied", Precision::F32);
    let taught = load_adapter(&mut ctx, &decoder, "tied", "all_linear");
    let own = load_adapter(&mut ctx, &decoder, "tied", "all_linear");
    let halved: Vec<f32> = ctx.download(own.parameters()).iter().map(|x| x * 0.5).collect();
    ctx.write(own.parameters(), &halved);
    let expected: Vec<f64> = rows
        .iter()
        .map(|(_, row)| {
            let first = row.weights.iter().position(|&weight| weight > 0.0).unwrap();
            let (seen, before) = match row.context.is_empty() {
                true => (row.ids.clone(), first),
                false => ([&row.context[..], &row.ids[first..]].concat(), row.context.len()),
            };
            let teacher = log_probs(&mut ctx, &decoder, &taught, &seen);
            let student = log_probs(&mut ctx, &decoder, &own, &row.ids);
            let kl = |at: usize| {
                let (p, q) = (&teacher[before + at - 1], &student[first + at - 1]);
                p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
            };
            (0..row.ids.len() - first).map(kl).sum()
        })
        .collect();
    let whole: f64 = expected.iter().sum();
    let mut gradients: Vec<Vec<f32>> = Vec::new();
    for teacher_tokens in [1, 64, 1000] {
        let mut learner = learner(Context::cpu(2), &[(LossTerm::Logits, 1.0)], FORWARD_KL, teacher_tokens);
        learner.check_rows(&mut rows.iter().map(|(_, row)| Ok(row.clone()))).unwrap();
        learner.reach(31);
        learner.plan(100);
        for ((_, row), expected) in rows.iter().zip(&expected) {
            let loss = learner.evaluate(&[(0, row.clone())]).unwrap().loss;
            assert!((loss - expected).abs() <= 1e-4 * expected.abs() + 1e-6, "{loss} for {expected}");
        }
        let (loss, gradient) = gradient(&mut learner, std::slice::from_ref(&rows));
        assert!((loss - whole).abs() <= 1e-4 * whole, "{loss} for {whole}");
        gradients.push(gradient);
    }
    for gradient in &gradients[1..] {
        assert!(relative(gradient, &gradients[0]) <= 1e-5, "{}", relative(gradient, &gradients[0]));
    }
    // What the teacher saw matters.
    let plain = |(number, row): &(u32, TokenRow)| (*number, TokenRow { context: Vec::new(), ..row.clone() });
    let rows: Vec<_> = rows.iter().map(plain).collect();
    let loss = learner(Context::cpu(2), &[(LossTerm::Logits, 1.0)], FORWARD_KL, 64).evaluate(&rows).unwrap().loss;
    assert!((loss - whole).abs() > 0.01 * whole, "{loss} for {whole}");
    // A row that the teacher cannot read is refused by its length.
    let mut learner = learner(Context::cpu(2), &[(LossTerm::Logits, 1.0)], FORWARD_KL, 64);
    let long = TokenRow { context: tokens(1, 100_000), ..row(0, 8).1 };
    let refused = learner.check_rows(&mut std::iter::once(Ok(long))).unwrap_err().to_string();
    assert!(refused.contains("100004") && refused.contains("distill.teacher_system"), "{refused}");
}
