//! Losses of a student's hidden states against a teacher's of the same width, which the size of the states does not count in. What
//! makes the widths equal is a linear layer of its own.

use crate::device::{Context, Device, Mat, assert_apart};
use crate::reference;
use crate::rowwise::for_rows;
use crate::simd::{LANES, folded, multiversion};

/// How a student's state s differs from a teacher's t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenLoss {
    /// Mean squared error of normalised states, `mean((s / rms(s) − t / rms(t))²)`. It is twice the cosine loss.
    NormalisedMse,
    /// `1 − cos(s, t)`.
    Cosine,
}

impl HiddenLoss {
    /// Its multiple of `‖s / ‖s‖ − t / ‖t‖‖²`, which both are.
    fn factor(self) -> f32 {
        match self {
            HiddenLoss::NormalisedMse => 1.0,
            HiddenLoss::Cosine => 0.5,
        }
    }
}

/// `losses[i] = weights[i]·loss(row i)`. States [rows, C]; weights and losses [1, rows]. A NaN or an infinity gives a NaN loss, and so
/// does a row of zeros, which has no direction.
///
/// # Panics
/// If the shapes do not fit, or if `losses` shares elements with what is read.
pub fn forward(ctx: &mut Context, student: Mat, teacher: Mat, kind: HiddenLoss, weights: Mat, losses: Mat) {
    check(student, teacher, weights);
    assert_eq!(student.rows(), losses.cols());
    if ctx.planning() {
        return;
    }
    assert_apart(&[losses.place()], &[student.place(), teacher.place(), weights.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::hidden::forward(ctx, student, teacher, kind, weights, losses),
    }
    let [sv, tv, wv, lv] = [student, teacher, weights, losses].map(|mat| ctx.view(mat));
    let isa = ctx.isa();
    for_rows(ctx, student.rows(), |row| {
        // SAFETY: each task writes its own loss, which lies apart from the operands (asserted).
        unsafe {
            let loss = row_loss(isa, sv.row(row), tv.row(row));
            lv.part_mut(0, row, 1)[0] = wv.row(0)[row] * kind.factor() * loss;
        }
    });
}

/// `dstudent += ∂(sum of the losses)/∂student`: with units ŝ = s / ‖s‖ and t̂ = t / ‖t‖, that of the cosine loss is
/// `((ŝ − t̂) − (1 − cos)·ŝ) / ‖s‖`.
///
/// # Panics
/// If the shapes do not fit, or if `dstudent` shares elements with what is read.
pub fn backward(ctx: &mut Context, student: Mat, teacher: Mat, kind: HiddenLoss, weights: Mat, dstudent: Mat) {
    check(student, teacher, weights);
    assert_eq!((student.rows(), student.cols()), (dstudent.rows(), dstudent.cols()));
    if ctx.planning() {
        return;
    }
    assert_apart(&[dstudent.place()], &[student.place(), teacher.place(), weights.place()]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::hidden::backward(ctx, student, teacher, kind, weights, dstudent),
    }
    let [sv, tv, wv, dv] = [student, teacher, weights, dstudent].map(|mat| ctx.view(mat));
    let isa = ctx.isa();
    for_rows(ctx, student.rows(), |row| {
        // SAFETY: tasks write disjoint rows of `dstudent`, which lies apart from the operands (asserted).
        unsafe {
            let scale = 2.0 * kind.factor() * wv.row(0)[row];
            row_gradient(isa, sv.row(row), tv.row(row), scale, dv.row_mut(row));
        }
    });
}

fn check(student: Mat, teacher: Mat, weights: Mat) {
    assert_eq!((student.rows(), student.cols()), (teacher.rows(), teacher.cols()));
    assert_eq!(student.rows(), weights.cols());
}

/// 1 / ‖x‖. The squares are summed in f64: those of large activations may not fit into a float.
#[inline(always)]
fn inverse_norm(x: &[f32]) -> f32 {
    let mut lanes = [0f64; LANES];
    for x in x.chunks(LANES) {
        for (sum, x) in lanes.iter_mut().zip(x) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    (1.0 / lanes.iter().sum::<f64>().sqrt()) as f32
}

/// `‖s / ‖s‖ − t / ‖t‖‖²`: the sum of squares has digits where 1 − cos would have none.
#[inline(always)]
fn distance(student: &[f32], teacher: &[f32], of_student: f32, of_teacher: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    for (student, teacher) in student.chunks(LANES).zip(teacher.chunks(LANES)) {
        for ((sum, s), t) in lanes.iter_mut().zip(student).zip(teacher) {
            let difference = s * of_student - t * of_teacher;
            *sum += difference * difference;
        }
    }
    folded(lanes)
}

multiversion! {
    fn row_loss(student: &[f32], teacher: &[f32]) -> f32 {
        distance(student, teacher, inverse_norm(student), inverse_norm(teacher))
    }
}

multiversion! {
    fn row_gradient(student: &[f32], teacher: &[f32], scale: f32, dstudent: &mut [f32]) {
        let (of_student, of_teacher) = (inverse_norm(student), inverse_norm(teacher));
        let less_cosine = 0.5 * distance(student, teacher, of_student, of_teacher);
        let scale = scale * of_student;
        for ((d, s), t) in dstudent.iter_mut().zip(student).zip(teacher) {
            let (s, t) = (s * of_student, t * of_teacher);
            *d += scale * ((s - t) - less_cosine * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, finite_differences, random, wide};

    const KINDS: [HiddenLoss; 2] = [HiddenLoss::NormalisedMse, HiddenLoss::Cosine];

    /// Losses, and the gradient added to ones.
    fn run(ctx: &mut Context, student: &[f32], teacher: &[f32], weights: &[f32], kind: HiddenLoss) -> [Vec<f32>; 2] {
        let (rows, cols) = (weights.len(), student.len() / weights.len());
        let [s, t] = [student, teacher].map(|values| ctx.upload_persistent(rows, cols, values));
        let weights = ctx.upload_persistent(1, rows, weights);
        let losses = ctx.persistent(1, rows);
        let gradient = ctx.upload_persistent(rows, cols, &vec![1.0; rows * cols]);
        forward(ctx, s, t, kind, weights, losses);
        backward(ctx, s, t, kind, weights, gradient);
        [ctx.download(losses), ctx.download(gradient)]
    }

    /// By the definition.
    fn exact(student: &[f64], teacher: &[f64], kind: HiddenLoss) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let rms = |x: &[f64]| (dot(x, x) / x.len() as f64).sqrt();
        let (of_student, of_teacher) = (rms(student), rms(teacher));
        match kind {
            HiddenLoss::NormalisedMse => {
                let squares = student.iter().zip(teacher).map(|(s, t)| (s / of_student - t / of_teacher).powi(2));
                squares.sum::<f64>() / student.len() as f64
            }
            HiddenLoss::Cosine => 1.0 - dot(student, teacher) / (dot(student, student) * dot(teacher, teacher)).sqrt(),
        }
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_definitions() {
        let (rows, cols) = (3, 37);
        let (student, teacher) = (random(1, rows * cols), random(2, rows * cols));
        // the teacher is a hundred times larger, which must not matter
        let teacher: Vec<f32> = teacher.iter().zip(&student).map(|(t, s)| 100.0 * (t + s)).collect();
        let weights = [1.0, 0.5, 2.0];
        for kind in KINDS {
            let of_row = |x: &[f64], row: usize| {
                let range = row * cols..(row + 1) * cols;
                f64::from(weights[row]) * exact(&x[range.clone()], &wide(&teacher[range]), kind)
            };
            let expected: Vec<f64> = (0..rows).map(|row| of_row(&wide(&student), row)).collect();
            let slopes = finite_differences(&wide(&student), 1e-5, |x| (0..rows).map(|row| of_row(x, row)).sum());
            let slopes: Vec<f64> = slopes.iter().map(|slope| 1.0 + slope).collect();
            let processors = [1, 2].map(Context::cpu).into_iter();
            let all = processors.chain(crate::Isa::tested().map(|isa| Context::cpu(1).with_isa(isa)));
            for mut ctx in all.chain([Context::reference()]) {
                let [losses, gradient] = run(&mut ctx, &student, &teacher, &weights, kind);
                assert_close(&format!("{kind:?}: losses"), &losses, &expected, 1e-6);
                assert_close(&format!("{kind:?}: gradient"), &gradient, &slopes, 1e-6);
            }
        }
    }

    #[test]
    fn states_of_one_direction_have_no_loss_and_close_ones_have_digits() {
        let cols = 576;
        let teacher = random(3, cols);
        let doubled: Vec<f32> = teacher.iter().map(|x| 2.0 * x).collect();
        let near: Vec<f32> = teacher.iter().zip(random(4, cols)).map(|(t, e)| t + 1e-3 * e).collect();
        // squares that no float holds, and such as are 0
        let [large, small] = [1e25, 1e-25].map(|factor| teacher.iter().map(|x| x * factor).collect::<Vec<f32>>());
        let mut ctx = Context::cpu(2);
        for kind in KINDS {
            let [losses, gradient] = run(&mut ctx, &doubled, &teacher, &[1.0], kind);
            assert_eq!((losses[0], gradient), (0.0, vec![1.0; cols]));
            let [losses, _] = run(&mut ctx, &large, &small, &[1.0], kind);
            assert!(losses[0].abs() <= 1e-12, "{losses:?}");
            let (got, expected) =
                (run(&mut ctx, &near, &teacher, &[1.0], kind), exact(&wide(&near), &wide(&teacher), kind));
            assert!((f64::from(got[0][0]) - expected).abs() <= 1e-3 * expected, "{got:?}, should be {expected}");
        }
    }

    #[test]
    fn rows_without_a_direction_have_a_nan_loss() {
        for (mut ctx, kind) in
            KINDS.into_iter().flat_map(|kind| [(Context::cpu(1), kind), (Context::reference(), kind)])
        {
            for broken in [[0.0, 0.0], [f32::NAN, 1.0], [1.0, f32::INFINITY]] {
                assert!(run(&mut ctx, &broken, &[1.0, 2.0], &[1.0], kind)[0][0].is_nan(), "{broken:?}");
                assert!(run(&mut ctx, &[1.0, 2.0], &broken, &[1.0], kind)[0][0].is_nan(), "{broken:?}");
            }
        }
    }
}
