//! Losses of hidden states, each as its formula says, in f64.

use super::Values;
use crate::device::{Context, Mat};
use crate::loss::hidden::HiddenLoss;

pub(crate) fn forward(ctx: &mut Context, student: Mat, teacher: Mat, kind: HiddenLoss, weights: Mat, losses: Mat) {
    let (student, teacher, weights) = (Values::of(ctx, student), Values::of(ctx, teacher), ctx.download(weights));
    let of_rows: Vec<f32> = (0..student.rows())
        .map(|row| (f64::from(weights[row]) * loss(student.row(row), teacher.row(row), kind)) as f32)
        .collect();
    ctx.write(losses, &of_rows);
}

fn loss(student: &[f32], teacher: &[f32], kind: HiddenLoss) -> f64 {
    let (of_student, of_teacher) = (norm(student), norm(teacher));
    let units = student.iter().zip(teacher).map(|(s, t)| (f64::from(*s) / of_student, f64::from(*t) / of_teacher));
    match kind {
        // x / rms(x) is √C·x / ‖x‖; the mean over C takes C away again
        HiddenLoss::NormalisedMse => units.map(|(s, t)| (s - t).powi(2)).sum(),
        HiddenLoss::Cosine => 1.0 - units.map(|(s, t)| s * t).sum::<f64>(),
    }
}

pub(crate) fn backward(ctx: &mut Context, student: Mat, teacher: Mat, kind: HiddenLoss, weights: Mat, dstudent: Mat) {
    let (student, teacher, weights) = (Values::of(ctx, student), Values::of(ctx, teacher), ctx.download(weights));
    let mut sums = Values::of(ctx, dstudent);
    for (row, weight) in weights.into_iter().enumerate() {
        let (of_student, of_teacher) = (norm(student.row(row)), norm(teacher.row(row)));
        let units =
            |i: usize| (f64::from(student.row(row)[i]) / of_student, f64::from(teacher.row(row)[i]) / of_teacher);
        let cosine: f64 = (0..student.cols).map(units).map(|(s, t)| s * t).sum();
        let scale = match kind {
            HiddenLoss::NormalisedMse => 2.0,
            HiddenLoss::Cosine => 1.0,
        };
        for i in 0..student.cols {
            let (s, t) = units(i);
            sums.row_mut(row)[i] += (scale * f64::from(weight) / of_student * (cosine * s - t)) as f32;
        }
    }
    ctx.write(dstudent, &sums.values);
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}
