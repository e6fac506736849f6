//! How far a student's next-token distribution is from a teacher's: the divergences, and the ops that compare logits with a whole
//! teacher (`dense`), its likeliest tokens (`top_k`) or draws from it (`sampled`). What is kept of a teacher is chosen in `select`.

mod row;
mod select;
mod tail;
#[cfg(test)]
mod tests;

pub use select::{Draws, sample_of, top_k_of};

use self::row::{cross_entropy_of_draws, divergence_of};
use self::tail::{Listed, divergence_of_classes};
use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::reference;

/// How a student's distribution q differs from a teacher's p. All are 0 where they are equal, and above otherwise. A term whose
/// factor p or q is 0 counts as 0, the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divergence {
    /// KL(p ‖ q) = Σ p·ln(p/q): the student must cover all that the teacher does (Hinton, Vinyals and Dean, 2015; arXiv 1503.02531).
    ForwardKl,
    /// KL(q ‖ p) = Σ q·ln(q/p): the student must not leave what the teacher does (MiniLLM, arXiv 2306.08543).
    ReverseKl,
    /// Generalised Jensen-Shannon, β·KL(p ‖ m) + (1 − β)·KL(q ‖ m) with m = β·p + (1 − β)·q (GKD, arXiv 2306.13649). Close to 0 it
    /// is β·KL(p ‖ q), close to 1 it is (1 − β)·KL(q ‖ p). At 0 and 1 themselves it vanishes for all q; other trainers mean the
    /// forward KL by 0 and the reverse KL by 1.
    Jsd {
        /// The teacher's share of m, above 0 and below 1.
        beta: f32,
    },
    /// Skewed forward KL, KL(p ‖ α·p + (1 − α)·q), which is bounded where q is 0 (DistiLLM, arXiv 2402.03898).
    SkewKl {
        /// The teacher's share of the mixture, at least 0 and below 1; 0 is the forward KL.
        alpha: f32,
    },
    /// Total variation, ½·Σ|p − q|. Its gradient is that of a smooth function except where p = q, and 0 there.
    TotalVariation,
}

impl Divergence {
    /// Whether its constant is within the permitted range.
    pub fn is_defined(self) -> bool {
        match self {
            Divergence::Jsd { beta } => beta > 0.0 && beta < 1.0,
            Divergence::SkewKl { alpha } => (0.0..1.0).contains(&alpha),
            Divergence::ForwardKl | Divergence::ReverseKl | Divergence::TotalVariation => true,
        }
    }
}

/// The distribution that a row of logits stands for: softmax(x / T) of its first columns. The others do not exist: they are padding,
/// of which models of one vocabulary may have different amounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Columns that count, from the first.
    pub vocab: usize,
    /// T, above 0.
    pub temperature: f32,
}

/// What is compared. The loss is T²·D, of every divergence: gradients of logits shrink as 1/T² (Hinton, Vinyals and Dean, 2015), so
/// that the factor keeps their size beside that of other losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DivergenceArgs {
    /// D.
    pub divergence: Divergence,
    /// Makes distributions of the logits of student and teacher.
    pub softmax: Softmax,
}

/// The likeliest tokens of a teacher. All others form one more class, the tail.
#[derive(Clone, Copy, Debug)]
pub struct TopK {
    /// Token ids, [rows · k], each at most once in its row.
    pub ids: Indices,
    /// Logarithms of their probabilities, [rows, k], **at the temperature of the loss**: those at one temperature do not determine
    /// the tail at another. An entry of −∞ is absent, and its id may be any; the token belongs to the tail.
    pub log_probs: Mat,
}

/// Tokens drawn from a teacher.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    /// Token ids, [rows · N]; they may repeat.
    pub ids: Indices,
    /// Importance weights, [rows, N]: summed over the entries of a token, the expected value is its probability, **at the
    /// temperature of the loss**. An entry of weight 0 is absent.
    pub weights: Mat,
}

/// The least mass of a teacher's tail. The sum of the probabilities beside it is not known any better in f32, and with a tail of 0
/// the reverse KL of every student would be infinite.
pub(crate) const LEAST_TAIL: f64 = 1.0 / (1 << 24) as f64;

/// What the probabilities of a row of [`TopK`] may sum to, rounded as caches may round them. Beyond it they are no probabilities.
pub(crate) const MOST_MASS: f64 = 1.05;

/// `losses[i] = weights[i]·T²·D(row i)`, and the student's logits become the gradient of the sum of the losses if `gradient`: 0 in
/// columns beyond the vocabulary. Logits of student and teacher [rows, ≥ vocab]; weights and losses [1, rows]. A NaN in what is
/// compared gives a NaN loss.
///
/// # Panics
/// If the shapes do not fit, if a constant is out of range, or if what is written shares elements with what is read.
pub fn dense(
    ctx: &mut Context,
    student: Mat,
    teacher: Mat,
    weights: Mat,
    args: DivergenceArgs,
    losses: Mat,
    gradient: bool,
) {
    check(student, weights, args.softmax, losses);
    check_divergence(args.divergence);
    assert_eq!(student.rows(), teacher.rows());
    assert!(args.softmax.vocab <= teacher.cols(), "a teacher of {} columns", teacher.cols());
    if ctx.planning() {
        return;
    }
    assert_apart(&[student.place(), losses.place()], &[teacher.place(), weights.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return reference::divergence::dense(ctx, student, teacher, weights, args, losses, gradient);
        }
    }
    let (tv, isa) = (ctx.view(teacher), ctx.isa());
    let DivergenceArgs { divergence, softmax: Softmax { vocab, temperature } } = args;
    for_rows(ctx, student, weights, args.softmax, losses, gradient, |row, logits, scale| {
        // SAFETY: the teacher's logits are only read.
        let teacher = unsafe { &tv.row(row)[..vocab] };
        divergence_of(isa, logits, teacher, divergence, 1.0 / temperature, scale, gradient)
    });
}

/// [`dense`] with what is known of the teacher through its likeliest tokens: D of distributions over k + 1 classes, the last being
/// the tail (none if all tokens are listed). The tail of the teacher has what the listed probabilities leave, at least 2⁻²⁴; that
/// of the student is the sum of all other probabilities, and the gradient goes through it. While the op runs, it changes the
/// student's logits even without `gradient`, and restores them.
///
/// A row in which a token is listed twice, or whose probabilities sum to more than 1.05, has a NaN loss.
///
/// # Panics
/// As [`dense`], or if a listed id is not below `vocab`.
pub fn top_k(
    ctx: &mut Context,
    student: Mat,
    teacher: TopK,
    weights: Mat,
    args: DivergenceArgs,
    losses: Mat,
    gradient: bool,
) {
    check(student, weights, args.softmax, losses);
    check_divergence(args.divergence);
    check_entries(student.rows(), teacher.ids, teacher.log_probs);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference if ctx.planning() => return,
        Device::Reference => {
            return reference::divergence::top_k(ctx, student, teacher, weights, args, losses, gradient);
        }
    }
    let mark = ctx.mark();
    let (k, words) = (teacher.log_probs.cols(), Listed::scratch(teacher.log_probs.cols()));
    let scratch = ctx.thread_scratch(words);
    if !ctx.planning() {
        let read = [teacher.ids.place(), teacher.log_probs.place(), weights.place()];
        assert_apart(&[student.place(), losses.place(), scratch.place()], &read);
        let (ids, pv, sv, isa) = (ctx.entries(teacher.ids), ctx.view(teacher.log_probs), ctx.view(scratch), ctx.isa());
        for_rows(ctx, student, weights, args.softmax, losses, gradient, |row, logits, scale| {
            // SAFETY: what is known of the teacher is only read; each thread has its own row of scratch.
            let (log_probs, scratch) = unsafe { (pv.row(row), sv.part_mut(Context::thread_index(), 0, words)) };
            let listed = Listed { ids: &ids[row * k..(row + 1) * k], log_probs };
            divergence_of_classes(isa, logits, listed, args, scale, gradient, scratch)
        });
    }
    ctx.release(mark);
}

/// Cross-entropy with a teacher that is known through draws: `losses[i] = weights[i]·T²·Σ_j w_j·(−ln q(id_j))`, and the gradient as
/// in [`dense`]. In expectation over the draws this is the cross-entropy of teacher and student: the forward KL and the teacher's
/// entropy, which does not depend on the student, so that the gradient is an unbiased estimate of the forward KL's (arXiv
/// 2503.16870). No other divergence is linear in p, so none of them has such an estimate.
///
/// # Panics
/// As [`dense`], or if the id of an entry is not below `vocab`.
pub fn sampled(
    ctx: &mut Context,
    student: Mat,
    teacher: Samples,
    weights: Mat,
    softmax: Softmax,
    losses: Mat,
    gradient: bool,
) {
    check(student, weights, softmax, losses);
    check_entries(student.rows(), teacher.ids, teacher.weights);
    if ctx.planning() {
        return;
    }
    let read = [teacher.ids.place(), teacher.weights.place(), weights.place()];
    assert_apart(&[student.place(), losses.place()], &read);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => {
            return reference::divergence::sampled(ctx, student, teacher, weights, softmax, losses, gradient);
        }
    }
    let (n, ids) = (teacher.weights.cols(), ctx.entries(teacher.ids));
    let (wv, isa) = (ctx.view(teacher.weights), ctx.isa());
    for_rows(ctx, student, weights, softmax, losses, gradient, |row, logits, scale| {
        // SAFETY: the draws are only read.
        let of_draws = unsafe { wv.row(row) };
        let ids = &ids[row * n..(row + 1) * n];
        cross_entropy_of_draws(isa, logits, ids, of_draws, 1.0 / softmax.temperature, scale, gradient)
    });
}

/// Runs `of_row(row, logits, scale)` for each row of the student: D, and with `gradient` its derivatives by x / T, times `scale`, in
/// place of the logits. What is written must be apart from all that `of_row` reads.
fn for_rows(
    ctx: &Context,
    student: Mat,
    weights: Mat,
    softmax: Softmax,
    losses: Mat,
    gradient: bool,
    of_row: impl Fn(usize, &mut [f32], f32) -> f64 + Send + Sync,
) {
    let Softmax { vocab, temperature } = softmax;
    let (sv, wv, lv) = (ctx.view(student), ctx.view(weights), ctx.view(losses));
    ctx.parallel(student.rows(), |row| {
        // SAFETY: each task writes its own row of the logits and its own loss; the operands are apart (asserted by the ops).
        let (logits, weight, loss) = unsafe { (sv.row_mut(row), wv.row(0)[row], lv.part_mut(0, row, 1)) };
        let (logits, padding) = logits.split_at_mut(vocab);
        // T²·D by the chain rule through x / T
        let of_row = of_row(row, logits, weight * temperature);
        loss[0] = (f64::from(weight) * f64::from(temperature).powi(2) * of_row) as f32;
        if gradient {
            padding.fill(0.0);
        }
    });
}

fn check(student: Mat, weights: Mat, softmax: Softmax, losses: Mat) {
    assert_eq!((student.rows(), student.rows()), (weights.cols(), losses.cols()));
    check_softmax(student, softmax);
}

fn check_softmax(logits: Mat, softmax: Softmax) {
    let Softmax { vocab, temperature } = softmax;
    assert!(vocab > 0 && vocab <= logits.cols(), "a vocabulary of {vocab} in {} columns", logits.cols());
    assert!(temperature > 0.0 && temperature.is_finite(), "a temperature of {temperature}");
}

fn check_divergence(divergence: Divergence) {
    assert!(divergence.is_defined(), "{divergence:?}");
}

fn check_entries(rows: usize, ids: Indices, values: Mat) {
    assert_eq!((rows, rows * values.cols()), (values.rows(), ids.len()));
}
