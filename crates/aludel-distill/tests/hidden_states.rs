//! A student learns its teacher's hidden states: gradients against PyTorch's, what passes and devices must not change, and that it learns.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/learning.rs"]
mod learning;

use std::fs;
use std::path::Path;

use aludel_data::token_cache::TokenRow;
use aludel_distill::learner::Learner;
use aludel_distill::objective::{Distillation, HiddenStates};
use aludel_distill::supervision::{LossTerm, PassSums};
use aludel_distill::teacher::OnlineTeacher;
use aludel_formats::safetensors::Weights;
use aludel_kernels::linear::Precision;
use aludel_kernels::loss::divergence::{Divergence, DivergenceArgs, Softmax};
use aludel_kernels::loss::hidden::HiddenLoss;
use aludel_kernels::{Context, optim, quant};
use learning::{load, load_adapter, row};

const VOCAB: usize = 160;

/// What is learnt of which teacher.
#[derive(Clone, Copy)]
struct Case<'a> {
    student: &'a str,
    teacher: &'a str,
    pairs: &'a [[usize; 2]],
    loss: HiddenLoss,
    terms: &'a [(LossTerm, f32)],
    teacher_tokens: usize,
    gradient_checkpointing: bool,
    is_balanced: bool,
}

/// A student narrower than its teacher, of equal depth.
const NARROW: Case<'_> = Case {
    student: "head_dim",
    teacher: "tied",
    pairs: &[[1, 1], [2, 2]],
    loss: HiddenLoss::NormalisedMse,
    terms: &[(LossTerm::Hidden, 1.0)],
    teacher_tokens: 64,
    gradient_checkpointing: true,
    is_balanced: false,
};

/// A student of its teacher's width, and two of its three layers.
const EQUAL: Case<'_> = Case { student: "tied", teacher: "gemma3_scaled", pairs: &[[1, 2], [2, 3]], ..NARROW };

/// The student with its adapter `all_linear`, which is scaled, and the teacher; `is_taught`: it has the student's adapter as it was.
fn learner_of(mut ctx: Context, case: Case<'_>, is_taught: bool, scale: f32) -> Learner {
    let teacher = load(&mut ctx, case.teacher, Precision::F32);
    let taught = is_taught.then(|| load_adapter(&mut ctx, &teacher, case.teacher, "all_linear"));
    let decoder = load(&mut ctx, case.student, Precision::F32);
    let adapter = load_adapter(&mut ctx, &decoder, case.student, "all_linear");
    let widths = [decoder.config().hidden_size, teacher.config().hidden_size];
    let states = HiddenStates::new(&mut ctx, case.pairs.to_vec(), case.loss, widths, Precision::F32, 7);
    let mut teacher = OnlineTeacher::new(teacher, taught, case.teacher_tokens, VOCAB);
    teacher.keep_layers(states.teacher_layers());
    let softmax = Softmax { vocab: VOCAB, temperature: 1.0 };
    let divergence = DivergenceArgs { divergence: Divergence::ForwardKl, softmax };
    let mut objective = Distillation::new(case.terms.to_vec(), divergence, Box::new(teacher));
    if case.terms.iter().any(|(term, _)| *term == LossTerm::Hidden) {
        objective = objective.with_hidden(states);
    }
    if case.is_balanced {
        objective = objective.balanced(widths[0]);
    }
    let mut learner =
        Learner::new(ctx, decoder, adapter, case.gradient_checkpointing).with_objective(Box::new(objective));
    let scaled: Vec<f32> = learner.ctx.download(learner.adapter.parameters()).iter().map(|x| x * scale).collect();
    learner.ctx.write(learner.adapter.parameters(), &scaled);
    learner.plan(120);
    learner
}

fn learner(ctx: Context, case: Case<'_>) -> Learner {
    learner_of(ctx, case, false, 1.0)
}

fn rows() -> Vec<(u32, TokenRow)> {
    [7, 20, 3, 31, 12, 5, 9, 13].iter().enumerate().map(|(number, &length)| row(number as u32, length)).collect()
}

/// The loss, the gradient of the adapter, and that of the projections.
fn gradients(learner: &mut Learner, passes: &[Vec<(u32, TokenRow)>]) -> (f64, Vec<f32>, Vec<f32>) {
    learner.zero_gradients();
    let loss = passes.iter().map(|pass| learner.accumulate(pass, None).unwrap().loss).sum();
    let projections = learner.projections().map(|own| learner.ctx.download(own.state.gradients)).unwrap_or_default();
    (loss, learner.ctx.download(learner.state.gradients), projections)
}

fn relative(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(expected).map(|(a, b)| f64::from(a - b)))
        / norm(&mut expected.iter().map(|&x| x.into())).max(1e-30)
}

/// Tensors of a file that PyTorch wrote.
struct Golden(Weights);

impl Golden {
    fn values(&self, name: &str) -> Vec<f32> {
        let view = self.0.get(name).unwrap();
        let mut out = vec![0.0; view.elements()];
        quant::decode(quant::BlockType::F32, view.bytes, &mut out).unwrap();
        out
    }

    fn number(&self, name: &str) -> f64 {
        self.0.metadata()[name].parse().unwrap()
    }
}

/// The two rows of the models' own fixtures.
fn golden_rows() -> Vec<(u32, TokenRow)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures/tied/golden.json");
    let golden: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let rows = golden["rows"].as_array().unwrap().iter().enumerate();
    rows.map(|(number, own)| {
        let ids: Vec<u32> = serde_json::from_value(own["ids"].clone()).unwrap();
        let weights: Vec<f32> = serde_json::from_value(own["weights"].clone()).unwrap();
        let (_, like) = row(number as u32, ids.len() as u32);
        (number as u32, TokenRow { ids, weights, ..like })
    })
    .collect()
}

#[test]
fn gradients_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hidden.safetensors");
    let golden = Golden(Weights::open_file(path).unwrap());
    let projected = Case { pairs: &[[1, 2], [2, 2]], loss: HiddenLoss::Cosine, ..NARROW };
    let mixed = Case { pairs: &[[1, 1]], terms: &[(LossTerm::Ce, 0.5), (LossTerm::Hidden, 2.0)], ..NARROW };
    for (name, case) in [("same_width", EQUAL), ("projected", projected), ("mixed", mixed)] {
        for gradient_checkpointing in [false, true] {
            for ctx in [Context::cpu(2), Context::reference()] {
                let mut learner = learner(ctx, Case { gradient_checkpointing, ..case });
                if let Some((state, layers)) = learner.projections().map(|own| (own.state, own.layers.clone())) {
                    let values = layers.iter().flat_map(|layer| golden.values(&format!("{name}.projection.{layer}")));
                    learner.ctx.write(state.parameters, &values.collect::<Vec<f32>>());
                }
                let rows = golden_rows();
                let count = learner.evaluate(&rows).unwrap().supervised as f32;
                let (loss, adapter, projections) = gradients(&mut learner, &[rows]);
                let (loss, expected) = (loss / f64::from(count), golden.number(&format!("{name}.loss")));
                assert!((loss - expected).abs() <= 1e-5 * expected, "{name}: {loss}, should be {expected}");
                let mean = |sums: &[f32]| sums.iter().map(|sum| sum / count).collect::<Vec<f32>>();
                for (entry, values) in learner.adapter.named(&adapter) {
                    let expected = golden.values(&format!("{name}.{}", entry.name));
                    let error = relative(&mean(values), &expected);
                    assert!(error <= 1e-4, "{name} {}: {error}", entry.name);
                }
                let own = learner.projections().map(|own| (own.layers.clone(), own.shape));
                for (number, layer) in own.iter().flat_map(|(layers, _)| layers).enumerate() {
                    let expected = golden.values(&format!("{name}.projection.{layer}.gradient"));
                    let part = &projections[number * expected.len()..(number + 1) * expected.len()];
                    let error = relative(&mean(part), &expected);
                    assert!(error <= 1e-4, "{name}, projection of layer {layer}: {error}");
                }
            }
        }
    }
}

/// Per supervised token of the whole step, however it is cut, and whatever the teacher reads at once.
#[test]
fn a_step_is_the_same_however_it_is_cut() {
    let case = Case { terms: &[(LossTerm::Hidden, 1.0), (LossTerm::Logits, 0.5)], ..NARROW };
    let all = rows();
    let (loss, adapter, projections) = gradients(&mut learner(Context::cpu(2), case), std::slice::from_ref(&all));
    assert!(!projections.is_empty());
    for (rows_per_pass, teacher_tokens) in [(1, 64), (2, 64), (8, 1), (8, 1000)] {
        let passes: Vec<_> = all.chunks(rows_per_pass).map(<[_]>::to_vec).collect();
        let mut learner = learner(Context::cpu(2), Case { teacher_tokens, ..case });
        let (got, own, projected) = gradients(&mut learner, &passes);
        for (got, expected) in [(&own, &adapter), (&projected, &projections)] {
            let error = relative(got, expected);
            assert!(error <= 1e-5, "{rows_per_pass} rows: {error}");
        }
        assert!((got - loss).abs() <= 1e-5 * loss);
    }
}

#[test]
fn terms_add_up_with_their_weights() {
    let of = |terms: &[(LossTerm, f32)]| gradients(&mut learner(Context::cpu(2), Case { terms, ..NARROW }), &[rows()]);
    let (ce_loss, ce, _) = of(&[(LossTerm::Ce, 1.0)]);
    let (hidden_loss, hidden, projections) = of(&[(LossTerm::Hidden, 1.0)]);
    for terms in [[(LossTerm::Ce, 0.25), (LossTerm::Hidden, 2.0)], [(LossTerm::Hidden, 2.0), (LossTerm::Ce, 0.25)]] {
        let mut learner = learner(Context::cpu(2), Case { terms: &terms, ..NARROW });
        let (loss, both, projected) = gradients(&mut learner, &[rows()]);
        let expected: Vec<f32> = ce.iter().zip(&hidden).map(|(ce, hidden)| 0.25 * ce + 2.0 * hidden).collect();
        assert!(relative(&both, &expected) <= 1e-5, "{}", relative(&both, &expected));
        let expected: Vec<f32> = projections.iter().map(|x| 2.0 * x).collect();
        assert!(relative(&projected, &expected) <= 1e-5);
        assert!((loss - 0.25 * ce_loss - 2.0 * hidden_loss).abs() <= 1e-5 * loss, "{loss}");
        // An evaluation, which keeps no activations, finds the same.
        let sums = learner.evaluate(&rows()).unwrap();
        let told = learner.unweighted_terms(&sums, false);
        let of_term = |term| told[&term] * sums.supervised as f64;
        assert!((of_term(LossTerm::Ce) - ce_loss).abs() <= 1e-5 * ce_loss);
        assert!((of_term(LossTerm::Hidden) - hidden_loss).abs() <= 1e-5 * hidden_loss);
    }
}

#[test]
fn devices_and_threads_agree() {
    let of = |ctx| gradients(&mut learner(ctx, NARROW), &[rows()]);
    let (loss, adapter, projections) = of(Context::cpu(1));
    assert_eq!(of(Context::cpu(2)), (loss, adapter.clone(), projections.clone()), "threads");
    let (got, own, projected) = of(Context::reference());
    assert!(relative(&own, &adapter) <= 1e-4 && relative(&projected, &projections) <= 1e-4);
    assert!((got - loss).abs() <= 1e-4 * loss);
}

/// The loss before and after 100 steps on some rows.
fn learnt(mut learner: Learner, learning_rate: f32) -> [f64; 2] {
    let rows = rows();
    let before = learner.evaluate(&rows).unwrap().mean_loss();
    for number in 1..=100 {
        learner.zero_gradients();
        let inverse_count = 1.0 / learner.accumulate(&rows, None).unwrap().supervised as f32;
        learner.step(&optim::Step { learning_rate, inverse_count, number, ..optim::Step::default() });
    }
    [before, learner.evaluate(&rows).unwrap().mean_loss()]
}

#[test]
fn a_student_follows_its_teacher() {
    for loss in [HiddenLoss::NormalisedMse, HiddenLoss::Cosine] {
        let same = Case { student: "tied", teacher: "tied", loss, ..NARROW };
        let [before, after] = learnt(learner_of(Context::cpu(2), same, true, 0.5), 3e-3);
        assert!(before > 0.0 && after * 5.0 <= before, "{loss:?}: {before} to {after}");
        let [before, after] = learnt(learner(Context::cpu(2), Case { loss, ..NARROW }), 1e-2);
        assert!(after * 5.0 <= before, "{loss:?}, through projections: {before} to {after}");
    }
}

/// A student that is its own teacher has nothing to learn.
#[test]
fn nothing_is_learnt_of_oneself() {
    let same = Case { student: "tied", teacher: "tied", ..NARROW };
    let (loss, adapter, projections) = gradients(&mut learner_of(Context::cpu(2), same, true, 1.0), &[rows()]);
    assert!(loss.abs() <= 1e-6 && adapter.iter().all(|x| x.abs() <= 1e-4) && projections.is_empty(), "{loss}");
}

/// Projections start from the seed, each pair from numbers of its own.
#[test]
fn projections_start_from_the_seed() {
    let of = |seed| {
        let mut ctx = Context::cpu(1);
        let states =
            HiddenStates::new(&mut ctx, vec![[1, 1], [2, 2]], HiddenLoss::Cosine, [48, 64], Precision::F32, seed);
        let own = states.projections().unwrap();
        [0, 1].map(|number| ctx.download(own.part(own.state.parameters, number)))
    };
    let [first, second] = of(1);
    assert_eq!(of(1), [first.clone(), second.clone()]);
    assert!(first != second && of(2)[0] != first);
    let bound = 1.0 / 48f32.sqrt();
    assert!(first.iter().all(|x| x.abs() <= bound) && first.iter().any(|x| x.abs() > 0.9 * bound));
}

/// The sums of some passes with gradients.
fn sums_of(learner: &mut Learner, passes: &[Vec<(u32, TokenRow)>]) -> PassSums {
    let mut sums = PassSums::default();
    learner.zero_gradients();
    passes.iter().for_each(|pass| sums.add(learner.accumulate(pass, None).unwrap()));
    sums
}

#[test]
fn norms_of_the_terms_gradients_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hidden.safetensors");
    let golden = Golden(Weights::open_file(path).unwrap());
    let terms = [(LossTerm::Ce, 0.5), (LossTerm::Hidden, 2.0)];
    let case = Case { pairs: &[[1, 1]], terms: &terms, is_balanced: true, ..NARROW };
    for ctx in [Context::cpu(2), Context::reference()] {
        let mut learner = learner(ctx, case);
        let state = learner.projections().unwrap().state;
        learner.ctx.write(state.parameters, &golden.values("mixed.projection.1"));
        let sums = sums_of(&mut learner, &[golden_rows()]);
        let norms = learner.gradient_norms(&sums);
        for (term, _) in terms {
            let expected = golden.number(&format!("mixed.norm.{}", term.name()));
            assert!((norms[&term] - expected).abs() <= 1e-4 * expected, "{term:?}: {norms:?}, should be {expected}");
        }
    }
}

/// The gradient of each term is multiplied so that its norm is to the first term's as their weights are; losses stay as they were.
#[test]
fn balanced_terms_keep_their_shares() {
    let of = |terms: &[(LossTerm, f32)]| gradients(&mut learner(Context::cpu(2), Case { terms, ..NARROW }), &[rows()]);
    let terms = [(LossTerm::Ce, 0.5), (LossTerm::Hidden, 2.0), (LossTerm::Logits, 1.0)];
    let parts = terms.map(|term| of(&[term]));
    let all = rows();
    let balanced = Case { terms: &terms, is_balanced: true, ..NARROW };
    let mut one = learner(Context::cpu(2), balanced);
    let sums = sums_of(&mut one, std::slice::from_ref(&all));
    let norms = one.gradient_norms(&sums);
    // The first step is as it would be without balance.
    let first = one.ctx.download(one.state.gradients);
    let add = |factors: [f32; 3]| -> Vec<f32> {
        (0..first.len()).map(|i| parts.iter().zip(factors).map(|((_, own, _), factor)| factor * own[i]).sum()).collect()
    };
    assert!(relative(&first, &add([1.0; 3])) <= 1e-5);
    let factors = terms.map(|(term, weight)| (f64::from(weight) / 0.5 * norms[&LossTerm::Ce] / norms[&term]) as f32);
    assert!(!(0.8..1.25).contains(&factors[1]), "{factors:?}: nothing to balance");
    for rows_per_pass in [1, 2, 8] {
        let passes: Vec<_> = all.chunks(rows_per_pass).map(<[_]>::to_vec).collect();
        let mut learner = learner(Context::cpu(2), balanced);
        learner.balance_by(&norms);
        let (loss, adapter, projections) = gradients(&mut learner, &passes);
        let expected = add(factors);
        assert!(relative(&adapter, &expected) <= 1e-5, "{}", relative(&adapter, &expected));
        let expected: Vec<f32> = parts[1].2.iter().map(|own| factors[1] * own).collect();
        assert!(relative(&projections, &expected) <= 1e-5);
        assert!((loss - sums.loss).abs() <= 1e-5 * loss);
        let again = sums_of(&mut learner, &passes);
        for (term, norm) in learner.gradient_norms(&again) {
            assert!((norm - norms[&term]).abs() <= 1e-5 * norm, "{term:?} with {rows_per_pass} rows a pass");
        }
    }
}
