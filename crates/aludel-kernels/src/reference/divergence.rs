//! Divergences of a student from a teacher, with their gradients, each as its formula says, in f64.

use super::Values;
use crate::device::{Context, Mat};
use crate::loss::divergence::{Divergence, DivergenceArgs, LEAST_TAIL, MOST_MASS, Samples, Softmax, TopK};

pub(crate) fn dense(
    ctx: &mut Context,
    student: Mat,
    teacher: Mat,
    weights: Mat,
    args: DivergenceArgs,
    losses: Mat,
    gradient: bool,
) {
    let teacher = Values::of(ctx, teacher);
    rows(ctx, student, weights, args.softmax, losses, gradient, |row, log_q| {
        divergence(args.divergence, &log_softmax(teacher.row(row), args.softmax), log_q)
    });
}

pub(crate) fn top_k(
    ctx: &mut Context,
    student: Mat,
    teacher: TopK,
    weights: Mat,
    args: DivergenceArgs,
    losses: Mat,
    gradient: bool,
) {
    let (ids, log_probs) = (ctx.entries(teacher.ids).to_vec(), Values::of(ctx, teacher.log_probs));
    let k = log_probs.cols;
    rows(ctx, student, weights, args.softmax, losses, gradient, |row, log_q| {
        let entries = ids[row * k..(row + 1) * k].iter().zip(log_probs.row(row));
        let listed: Vec<(usize, f64)> = entries
            .filter(|(_, log_prob)| **log_prob != f32::NEG_INFINITY)
            .map(|(&id, &log_prob)| (id as usize, f64::from(log_prob)))
            .collect();
        classes(args.divergence, &listed, log_q)
    });
}

/// D over the listed tokens and the tail, and its gradient with respect to the logits of all tokens.
fn classes(kind: Divergence, listed: &[(usize, f64)], log_q: &[f64]) -> (f64, Vec<f64>) {
    let mut is_listed = vec![false; log_q.len()];
    let mut mass = 0.0;
    for &(id, log_prob) in listed {
        mass += if is_listed[id] { f64::NAN } else { log_prob.exp() };
        is_listed[id] = true;
    }
    if mass.is_nan() || mass > MOST_MASS {
        return (f64::NAN, vec![f64::NAN; log_q.len()]);
    }
    let mut p: Vec<f64> = listed.iter().map(|(_, log_prob)| *log_prob).collect();
    let mut q: Vec<f64> = listed.iter().map(|(id, _)| log_q[*id]).collect();
    let others = log_q.iter().zip(&is_listed).filter(|(_, is_listed)| !**is_listed).map(|(x, _)| *x);
    let log_tail = log_sum(others);
    if listed.len() < log_q.len() {
        p.push((1.0 - mass).max(LEAST_TAIL).ln());
        q.push(log_tail);
    }
    let total = log_sum(p.iter().copied());
    p.iter_mut().for_each(|log_p| *log_p -= total);
    let (loss, of_classes) = divergence(kind, &p, &q);
    let of_tail = of_classes.last().copied().unwrap_or(0.0);
    let share = |log_q: f64| if log_tail == f64::NEG_INFINITY { 0.0 } else { (log_q - log_tail).exp() };
    let mut gradient: Vec<f64> = log_q.iter().map(|log_q| of_tail * share(*log_q)).collect();
    for ((id, _), slope) in listed.iter().zip(of_classes) {
        gradient[*id] = slope;
    }
    (loss, gradient)
}

pub(crate) fn sampled(
    ctx: &mut Context,
    student: Mat,
    teacher: Samples,
    weights: Mat,
    softmax: Softmax,
    losses: Mat,
    gradient: bool,
) {
    let (ids, sample_weights) = (ctx.entries(teacher.ids).to_vec(), Values::of(ctx, teacher.weights));
    let n = sample_weights.cols;
    rows(ctx, student, weights, softmax, losses, gradient, |row, log_q| {
        let (mut loss, mut gradient) = (0.0, vec![0.0; log_q.len()]);
        let draws = ids[row * n..(row + 1) * n].iter().zip(sample_weights.row(row));
        for (&id, &weight) in draws.filter(|(_, weight)| **weight != 0.0) {
            let weight = f64::from(weight);
            loss -= weight * log_q[id as usize];
            gradient.iter_mut().zip(log_q).for_each(|(slope, log_q)| *slope += weight * log_q.exp());
            gradient[id as usize] -= weight;
        }
        // a NaN logit that no draw points at
        let sum: f64 = log_q.iter().map(|log_q| log_q.exp()).sum();
        (if sum.is_nan() { f64::NAN } else { loss }, gradient)
    });
}

/// Writes loss and gradient of each row, which `of_row` computes from the student's log-probabilities: the divergence, and its
/// derivatives by x / T.
fn rows(
    ctx: &mut Context,
    student: Mat,
    weights: Mat,
    softmax: Softmax,
    losses: Mat,
    gradient: bool,
    of_row: impl Fn(usize, &[f64]) -> (f64, Vec<f64>),
) {
    let (mut logits, weights) = (Values::of(ctx, student), ctx.download(weights));
    let temperature = f64::from(softmax.temperature);
    let mut sums = Vec::with_capacity(weights.len());
    for (row, weight) in weights.iter().enumerate() {
        let (loss, slopes) = of_row(row, &log_softmax(logits.row(row), softmax));
        let scale = f64::from(*weight) * temperature * temperature;
        sums.push((scale * loss) as f32);
        if gradient {
            let row = logits.row_mut(row);
            row.fill(0.0);
            row.iter_mut().zip(slopes).for_each(|(x, slope)| *x = (scale / temperature * slope) as f32);
        }
    }
    ctx.write(losses, &sums);
    if gradient {
        ctx.write(student, &logits.values);
    }
}

/// The logarithms of softmax(x / T).
pub(super) fn log_softmax(logits: &[f32], softmax: Softmax) -> Vec<f64> {
    let scaled = logits[..softmax.vocab].iter().map(|x| f64::from(*x) / f64::from(softmax.temperature));
    let total = log_sum(scaled.clone());
    scaled.map(|x| x - total).collect()
}

/// ln Σ e^x; −∞ for none.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = values.clone().fold(f64::NEG_INFINITY, |highest, x| if x <= highest { highest } else { x });
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + values.map(|x| (x - highest).exp()).sum::<f64>().ln()
}

/// D(p, q), and its derivatives by the student's logits: of a D with derivative g by q they are q·(g − Σ q·g).
fn divergence(kind: Divergence, log_p: &[f64], log_q: &[f64]) -> (f64, Vec<f64>) {
    let (mut loss, mut slopes) = (0.0, Vec::with_capacity(log_q.len()));
    for (&log_p, &log_q) in log_p.iter().zip(log_q) {
        let (p, q) = (log_p.exp(), log_q.exp());
        let mixed = |share: f64| share * p + (1.0 - share) * q;
        // the term of the sum, and q·g
        let (term, slope) = match kind {
            Divergence::ForwardKl => (times(p, log_p - log_q), -p),
            Divergence::ReverseKl => (times(q, log_q - log_p), times(q, log_q - log_p)),
            Divergence::Jsd { beta } => {
                let beta = f64::from(beta);
                let log_m = mixed(beta).ln();
                let of_student = (1.0 - beta) * times(q, log_q - log_m);
                (beta * times(p, log_p - log_m) + of_student, of_student)
            }
            Divergence::SkewKl { alpha } => {
                let alpha = f64::from(alpha);
                let m = mixed(alpha);
                (times(p, log_p - m.ln()), -(1.0 - alpha) * times(p, q / m))
            }
            Divergence::TotalVariation => {
                let sign = if p == q { 0.0 } else { (q - p).signum() };
                (0.5 * (p - q).abs(), 0.5 * q * sign)
            }
        };
        loss += term;
        slopes.push(slope);
    }
    let total: f64 = slopes.iter().sum();
    slopes.iter_mut().zip(log_q).for_each(|(slope, log_q)| *slope -= log_q.exp() * total);
    (loss, slopes)
}

/// The product, 0 if the first factor is: the limit of p·ln p.
fn times(p: f64, x: f64) -> f64 {
    if p == 0.0 { 0.0 } else { p * x }
}
