//! One row against a teacher that is known through its likeliest tokens: a divergence over their classes and that of all others.

use super::row::{divergence_of, highest_and_sum, replace_by_shares};
use super::{DivergenceArgs, LEAST_TAIL, MOST_MASS};
use crate::simd::Isa;

/// The entries of a row of [`super::TopK`].
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) ids: &'a [u32],
    pub(super) log_probs: &'a [f32],
}

impl Listed<'_> {
    /// Words of scratch that k entries need: the classes of student and teacher, and the student's logits.
    pub(super) fn scratch(k: usize) -> usize {
        3 * (k + 1)
    }

    /// The entries that are there.
    fn entries(&self) -> impl DoubleEndedIterator<Item = (usize, f32)> {
        let all = self.ids.iter().zip(self.log_probs);
        all.filter(|(_, log_prob)| **log_prob != f32::NEG_INFINITY).map(|(&id, &log_prob)| (id as usize, log_prob))
    }
}

/// D over the classes. With `gradient`, the student's logits become the gradient by student / T, times `scale`; else they are as before.
pub(super) fn divergence_of_classes(
    isa: Isa,
    student: &mut [f32],
    listed: Listed<'_>,
    args: DivergenceArgs,
    scale: f32,
    gradient: bool,
    scratch: &mut [f32],
) -> f64 {
    let classes = scratch.len() / 3;
    let (of_student, rest) = scratch.split_at_mut(classes);
    let (of_teacher, kept) = rest.split_at_mut(classes);
    let factor = 1.0 / args.softmax.temperature;
    // Listed logits are replaced by −∞, so that sums over the row are those of the tail: the listed ones taken from the whole would
    // leave nothing but rounding. Before that by NaN, which a token that is listed again finds in its place.
    let (mut count, mut mass) = (0, 0.0);
    for (id, log_prob) in listed.entries() {
        kept[count] = std::mem::replace(&mut student[id], f32::NAN);
        of_teacher[count] = log_prob;
        mass += f64::from(log_prob).exp();
        count += 1;
    }
    listed.entries().for_each(|(id, _)| student[id] = f32::NEG_INFINITY);
    let has_tail = count < student.len();
    let (highest, sum) = if has_tail { highest_and_sum(isa, student, factor) } else { (f32::NEG_INFINITY, 0.0) };
    let top = kept[..count].iter().copied().fold(highest, f32::max);
    of_student.iter_mut().zip(&kept[..count]).for_each(|(class, logit)| *class = (logit - top) * factor);
    let mut tail_scale = 0.0;
    if has_tail {
        of_teacher[count] = (1.0 - mass).max(LEAST_TAIL).ln() as f32;
        of_student[count] = if highest > f32::NEG_INFINITY {
            tail_scale = 1.0 / sum;
            (f64::from((highest - top) * factor) + sum.ln()) as f32
        } else if student.iter().any(|x| x.is_nan()) {
            f32::NAN
        } else {
            f32::NEG_INFINITY
        };
    }
    // a NaN is among the classes already
    if mass > MOST_MASS {
        of_teacher[0] = f32::NAN;
    }
    let present = count + usize::from(has_tail);
    let loss =
        divergence_of(isa, &mut of_student[..present], &of_teacher[..present], args.divergence, 1.0, 1.0, gradient);
    if gradient {
        let of_tail = if has_tail { of_student[count] } else { 0.0 };
        if highest > f32::NEG_INFINITY {
            let scale = (f64::from(of_tail) * tail_scale * f64::from(scale)) as f32;
            replace_by_shares(isa, student, highest, factor, scale);
        } else {
            student.fill(of_tail * 0.0);
        }
        listed.entries().zip(&*of_student).for_each(|((id, _), slope)| student[id] = slope * scale);
    } else {
        // from the last: of a token that is listed twice, the first entry has the logit
        listed.entries().rev().zip(kept[..count].iter().rev()).for_each(|((id, _), logit)| student[id] = *logit);
    }
    loss
}
