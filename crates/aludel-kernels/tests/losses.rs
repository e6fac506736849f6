//! Compares the losses of students against teachers, and what is kept of a teacher for them, with PyTorch on the same logits and
//! hidden states; `tools/golden/losses.py` wrote the fixture.

use aludel_kernels::loss::divergence::{self, Divergence, DivergenceArgs, Samples, Softmax, TopK};
use aludel_kernels::loss::hidden::{self, HiddenLoss};
use aludel_kernels::{Context, Isa, Mat, Region, rng};

const FIXTURE: &str = include_str!("fixtures/losses.txt");
const ROWS: usize = 2;
/// Columns of the student and of the teacher beyond the vocabulary.
const PADDING: [usize; 2] = [3, 1];

/// One line of the fixture.
struct Case<'a> {
    /// What is known of the teacher.
    known: &'a str,
    kind: Kind,
    columns: usize,
    losses: Vec<f32>,
    norms: Vec<f32>,
    elements: Vec<f32>,
}

#[derive(Debug)]
enum Kind {
    Divergence(DivergenceArgs),
    Hidden(HiddenLoss),
}

#[test]
fn equals_pytorch() {
    let lines = FIXTURE.lines().filter(|line| !line.starts_with('#'));
    let mut seen = 0;
    for line in lines {
        let case = parse(line);
        let processors = Isa::supported().iter().map(|isa| Context::cpu(2).with_isa(*isa));
        for mut ctx in processors.chain([Context::reference()]) {
            ctx.plan(|ctx| run(ctx, &case));
            let (losses, gradient) = run(&mut ctx, &case);
            let what = format!("{} {:?} {} {:?}", case.known, case.kind, ctx.isa().name(), ctx.device());
            check(&what, &case, &losses, &gradient);
        }
        seen += 1;
    }
    assert_eq!(seen, 3 * 2 * (2 * 8 + 1) + 2 * 2);
}

fn run(ctx: &mut Context, case: &Case<'_>) -> (Vec<f32>, Vec<f32>) {
    ctx.reset();
    let student = logits(ctx, 1, case.columns);
    let weights = ctx.upload(Region::Io, 1, ROWS, &[1.0, 0.5]);
    let losses = ctx.alloc(Region::Io, 1, ROWS);
    let args = match case.kind {
        Kind::Divergence(args) => args,
        Kind::Hidden(kind) => {
            let teacher = logits(ctx, 2, case.columns);
            let gradient = ctx.alloc(Region::Io, ROWS, case.columns);
            ctx.zero(gradient);
            hidden::forward(ctx, student, teacher, kind, weights, losses);
            hidden::backward(ctx, student, teacher, kind, weights, gradient);
            return (ctx.download(losses), ctx.download(gradient));
        }
    };
    let Softmax { vocab, .. } = args.softmax;
    let teacher = logits(ctx, 2, vocab + PADDING[1]);
    match case.known {
        "dense" => divergence::dense(ctx, student, teacher, weights, args, losses, true),
        "top_k" => {
            let k = (vocab / 4).min(16);
            let top_k = TopK { ids: ctx.alloc_list(ROWS * k), log_probs: ctx.alloc(Region::Io, ROWS, k) };
            divergence::top_k_of(ctx, teacher, args.softmax, top_k);
            divergence::top_k(ctx, student, top_k, weights, args, losses, true);
        }
        "sampled" => {
            let draws = 12;
            let ids: Vec<u32> = (0..(ROWS * draws) as u32).map(|i| (i * i * 7 + 3) % vocab as u32).collect();
            let of_draws: Vec<f32> = (0..ids.len() as u64).map(|i| rng::uniform(3, i)).collect();
            let weights_of_draws = ctx.upload(Region::Io, ROWS, draws, &of_draws);
            let samples = Samples { ids: ctx.upload_indices(&ids), weights: weights_of_draws };
            divergence::sampled(ctx, student, samples, weights, args.softmax, losses, true);
        }
        other => panic!("unknown teacher {other}"),
    }
    (ctx.download(losses), ctx.download(student))
}

fn logits(ctx: &mut Context, key: u64, columns: usize) -> Mat {
    let value = |i: u64| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|part| rng::uniform(key, 4 * i + part));
        6.0 * ((a + b) + (c + d) - 2.0)
    };
    let values: Vec<f32> = (0..(ROWS * columns) as u64).map(value).collect();
    ctx.upload(Region::Io, ROWS, columns, &values)
}

/// Relative 1e-4; elements that hardly count beside the others of their row may differ by 1e-7 of its norm.
fn check(what: &str, case: &Case<'_>, losses: &[f32], gradient: &[f32]) {
    let columns = case.columns;
    let mut chosen: Vec<usize> = (0..columns).step_by(1 + columns / 40).chain([columns - 1]).collect();
    chosen.dedup();
    assert_eq!(case.elements.len(), ROWS * chosen.len());
    for (row, of_row) in gradient.chunks(columns).enumerate() {
        let close = |name: &str, got: f32, expected: f32, least: f32| {
            let off = (got - expected).abs();
            assert!(off <= 1e-4 * expected.abs() + least, "{what}, row {row}, {name}: {got}, should be {expected}");
        };
        close("loss", losses[row], case.losses[row], 0.0);
        let norm = of_row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        close("norm", norm as f32, case.norms[row], 0.0);
        let expected = &case.elements[row * chosen.len()..][..chosen.len()];
        for (column, expected) in chosen.iter().zip(expected) {
            close(&format!("column {column}"), of_row[*column], *expected, 1e-7 * case.norms[row]);
        }
    }
}

fn parse(line: &str) -> Case<'_> {
    let [known, name, constant, temperature, vocab, losses, norms, elements] = line.split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("a fixture line has eight fields: {line}")
    };
    let constant: f32 = constant.parse().expect("a number");
    let softmax =
        Softmax { vocab: vocab.parse().expect("a number"), temperature: temperature.parse().expect("a number") };
    let of = |divergence| (Kind::Divergence(DivergenceArgs { divergence, softmax }), softmax.vocab + PADDING[0]);
    let (kind, columns) = match name {
        "forward_kl" => of(Divergence::ForwardKl),
        "reverse_kl" => of(Divergence::ReverseKl),
        "jsd" => of(Divergence::Jsd { beta: constant }),
        "skew_kl" => of(Divergence::SkewKl { alpha: constant }),
        "total_variation" => of(Divergence::TotalVariation),
        "normalised_mse" => (Kind::Hidden(HiddenLoss::NormalisedMse), softmax.vocab),
        "cosine" => (Kind::Hidden(HiddenLoss::Cosine), softmax.vocab),
        other => panic!("unknown loss {other}"),
    };
    let [losses, norms, elements] = [losses, norms, elements].map(floats);
    Case { known, kind, columns, losses, norms, elements }
}

fn floats(hexadecimal: &str) -> Vec<f32> {
    let bits = hexadecimal.as_bytes().chunks(8).map(|digits| {
        let digits = std::str::from_utf8(digits).expect("hex digits");
        u32::from_str_radix(digits, 16).expect("hex digits").swap_bytes()
    });
    bits.map(f32::from_bits).collect()
}
