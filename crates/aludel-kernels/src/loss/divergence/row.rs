//! The arithmetic of one row, vectorised over the vocabulary: a student's logits against a teacher's, or against draws. Sums are short
//! ones in f32 over blocks, and f64 over these: there may be 256,000 columns. What the versions for each instruction set share has no
//! closures, which would be compiled without it.

use super::Divergence;
use crate::simd::{LANES, exp, exp_and_m1, fma, folded, lane_max, ln, multiversion};

/// Columns of a short sum.
const BLOCK: usize = 4096;

/// Σ e^((x − highest)·factor).
#[inline(always)]
fn exp_sum<const FUSED: bool>(row: &[f32], highest: f32, factor: f32) -> f64 {
    let mut sum = 0.0;
    for block in row.chunks(BLOCK) {
        let mut lanes = [0f32; LANES];
        for x in block.chunks(LANES) {
            // the lengths differ once, at the end
            if let Some(x) = x.first_chunk::<LANES>() {
                for lane in 0..LANES {
                    lanes[lane] += exp::<FUSED>((x[lane] - highest) * factor);
                }
            } else {
                for lane in 0..x.len() {
                    lanes[lane] += exp::<FUSED>((x[lane] - highest) * factor);
                }
            }
        }
        sum += f64::from(folded(lanes));
    }
    sum
}

multiversion! {
    /// The highest logit, and Σ e^((x − highest)·factor); NaN if there is no distribution.
    pub(super) fn highest_and_sum(row: &[f32], factor: f32) -> (f32, f64) {
        let highest = lane_max(row);
        (highest, exp_sum::<FUSED>(row, highest, factor))
    }
}

multiversion! {
    /// Each logit becomes its share of the row's sum times `scale`: `e^((x − highest)·factor)·scale`.
    pub(super) fn replace_by_shares(row: &mut [f32], highest: f32, factor: f32, scale: f32) {
        for x in row.iter_mut() {
            *x = exp::<FUSED>((*x - highest) * factor) * scale;
        }
    }
}

multiversion! {
    /// D of softmax(teacher·factor) and softmax(student·factor). With `gradient`, the student's logits become the gradient of D by
    /// student·factor, times `scale`.
    pub(super) fn divergence_of(
        student: &mut [f32],
        teacher: &[f32],
        divergence: Divergence,
        factor: f32,
        scale: f32,
        gradient: bool,
    ) -> f64 {
        let highest = [lane_max(student), lane_max(teacher)];
        let sums = [exp_sum::<FUSED>(student, highest[0], factor), exp_sum::<FUSED>(teacher, highest[1], factor)];
        let pair = Pair {
            factor,
            highest,
            shares: [(1.0 / sums[0]) as f32, (1.0 / sums[1]) as f32],
            shift: (sums[0].ln() - sums[1].ln()) as f32,
        };
        match divergence {
            Divergence::ForwardKl | Divergence::SkewKl { alpha: 0.0 } => {
                run::<FUSED, _>(ForwardKl, pair, student, teacher, scale, gradient)
            }
            Divergence::ReverseKl => run::<FUSED, _>(ReverseKl, pair, student, teacher, scale, gradient),
            Divergence::Jsd { beta } => run::<FUSED, _>(Jsd(beta), pair, student, teacher, scale, gradient),
            Divergence::SkewKl { alpha } => run::<FUSED, _>(SkewKl(alpha), pair, student, teacher, scale, gradient),
            Divergence::TotalVariation => run::<FUSED, _>(TotalVariation, pair, student, teacher, scale, gradient),
        }
    }
}

/// What turns the logits of a student and a teacher into probabilities.
#[derive(Clone, Copy)]
struct Pair {
    factor: f32,
    highest: [f32; 2],
    /// 1 over the sums of exponentials.
    shares: [f32; 2],
    /// The student's log-sum less the teacher's.
    shift: f32,
}

/// One token.
#[derive(Clone, Copy)]
struct Point {
    q: f32,
    p: f32,
    /// ln(q/p) from logits, so that it is exact where a probability is too small for a float. NaN only where both are 0.
    log_ratio: f32,
}

impl Pair {
    #[inline(always)]
    fn at<const FUSED: bool>(&self, student: f32, teacher: f32) -> Point {
        let (x, y) = ((student - self.highest[0]) * self.factor, (teacher - self.highest[1]) * self.factor);
        Point {
            q: exp::<FUSED>(x) * self.shares[0],
            p: exp::<FUSED>(y) * self.shares[1],
            log_ratio: x - y - self.shift,
        }
    }
}

/// A divergence as a sum over tokens.
trait Kind: Copy {
    /// Σ q·g, where it is the same for all distributions; g is the derivative of D by q.
    const TOTAL: Option<f32> = None;

    /// The term of the sum, and q·g. Terms of logarithms are completed by differences of p and q, whose sum is 0, so that each is
    /// the square of something: where distributions are close, nothing cancels, and an error of the log-sums hardly counts.
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2];
}

/// D, and with `gradient` its derivatives by the student's scaled logits, q·(g − Σ q·g).
#[inline(always)]
fn run<const FUSED: bool, K: Kind>(
    kind: K,
    pair: Pair,
    student: &mut [f32],
    teacher: &[f32],
    scale: f32,
    gradient: bool,
) -> f64 {
    if let (Some(total), true) = (K::TOTAL, gradient) {
        let mut loss = 0.0;
        for (x, y) in student.chunks_mut(BLOCK).zip(teacher.chunks(BLOCK)) {
            let mut lanes = [0f32; LANES];
            let whole = x.len() / LANES * LANES;
            for (x, y) in x[..whole].chunks_exact_mut(LANES).zip(y[..whole].chunks_exact(LANES)) {
                for lane in 0..LANES {
                    let at = pair.at::<FUSED>(x[lane], y[lane]);
                    let [term, slope] = kind.terms::<FUSED>(at);
                    lanes[lane] += term;
                    x[lane] = (slope - at.q * total) * scale;
                }
            }
            for (lane, (x, y)) in x[whole..].iter_mut().zip(&y[whole..]).enumerate() {
                let at = pair.at::<FUSED>(*x, *y);
                let [term, slope] = kind.terms::<FUSED>(at);
                lanes[lane] += term;
                *x = (slope - at.q * total) * scale;
            }
            loss += f64::from(folded(lanes));
        }
        return loss;
    }
    let (mut loss, mut total) = (0.0, 0.0);
    for (x, y) in student.chunks(BLOCK).zip(teacher.chunks(BLOCK)) {
        let mut lanes = [[0f32; LANES]; 2];
        let whole = x.len() / LANES * LANES;
        for (x, y) in x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES)) {
            for lane in 0..LANES {
                let [term, slope] = kind.terms::<FUSED>(pair.at::<FUSED>(x[lane], y[lane]));
                lanes[0][lane] += term;
                lanes[1][lane] += slope;
            }
        }
        for (lane, (x, y)) in x[whole..].iter().zip(&y[whole..]).enumerate() {
            let [term, slope] = kind.terms::<FUSED>(pair.at::<FUSED>(*x, *y));
            lanes[0][lane] += term;
            lanes[1][lane] += slope;
        }
        loss += f64::from(folded(lanes[0]));
        total += f64::from(folded(lanes[1]));
    }
    if gradient {
        let total = total as f32;
        for (x, y) in student.iter_mut().zip(teacher) {
            let at = pair.at::<FUSED>(*x, *y);
            let [_, slope] = kind.terms::<FUSED>(at);
            *x = (slope - at.q * total) * scale;
        }
    }
    loss
}

/// p·x, 0 where p is: the limit of p·ln p.
#[inline(always)]
fn times(p: f32, x: f32) -> f32 {
    if p == 0.0 { 0.0 } else { p * x }
}

/// p·ln(p/q) − p + q for ln(q/p) = d: p·(e^d − 1 − d), by its series where d is small.
#[inline(always)]
fn kl_term<const FUSED: bool>(p: f32, q: f32, d: f32) -> f32 {
    let mut series = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        series = fma::<FUSED>(series, d, factor);
    }
    if d.abs() < 0.25 { p * series * d * d } else { (q - p) - times(p, d) }
}

#[derive(Clone, Copy)]
struct ForwardKl;

impl Kind for ForwardKl {
    const TOTAL: Option<f32> = Some(-1.0);

    #[inline(always)]
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2] {
        [kl_term::<FUSED>(at.p, at.q, at.log_ratio), -at.p]
    }
}

#[derive(Clone, Copy)]
struct ReverseKl;

impl Kind for ReverseKl {
    #[inline(always)]
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2] {
        [kl_term::<FUSED>(at.q, at.p, -at.log_ratio), times(at.q, at.log_ratio)]
    }
}

/// A mixture m of p and q at one token, relative to the larger of the two.
struct Mixture {
    /// ln(m/p) and ln(m/q).
    log_of_p: f32,
    log_of_q: f32,
    /// (m − p) / larger, and m / larger.
    above_p: f32,
    size: f32,
}

impl Mixture {
    /// m = share·p + (1 − share)·q.
    #[inline(always)]
    fn at<const FUSED: bool>(share: f32, log_ratio: f32) -> Mixture {
        let is_p_larger = log_ratio <= 0.0;
        let of_larger = if is_p_larger { share } else { 1.0 - share };
        let of_smaller = if is_p_larger { 1.0 - share } else { share };
        // smaller / larger, and that less 1
        let (ratio, less_one) = exp_and_m1::<FUSED>(-log_ratio.abs());
        // near 1 the mixture is 1 + change, and far from it the sum of its parts: each where it loses nothing
        let change = of_smaller * less_one;
        let near = 1.0 + change;
        let is_near = ratio >= 0.5;
        let size = if is_near { near } else { fma::<FUSED>(of_smaller, ratio, of_larger) };
        let lost = if is_near { change - (near - 1.0) } else { 0.0 };
        let log_size = ln::<FUSED>(size, lost);
        let distance = log_ratio.abs();
        Mixture {
            log_of_p: if is_p_larger { log_size } else { log_size + distance },
            log_of_q: if is_p_larger { log_size + distance } else { log_size },
            above_p: if is_p_larger { change } else { -(1.0 - share) * less_one },
            size,
        }
    }
}

#[derive(Clone, Copy)]
struct Jsd(f32);

impl Kind for Jsd {
    #[inline(always)]
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2] {
        let mixture = Mixture::at::<FUSED>(self.0, at.log_ratio);
        let of_student = -(1.0 - self.0) * times(at.q, mixture.log_of_q);
        [of_student - self.0 * times(at.p, mixture.log_of_p), of_student]
    }
}

#[derive(Clone, Copy)]
struct SkewKl(f32);

impl Kind for SkewKl {
    #[inline(always)]
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2] {
        let mixture = Mixture::at::<FUSED>(self.0, at.log_ratio);
        let larger = if at.log_ratio <= 0.0 { at.p } else { at.q };
        let above = times(larger, mixture.above_p);
        // g is −(1 − α)·p/m, of which a constant may be taken away: (1 − α)·(m − p)/m is 0 where p = q
        let slope = (1.0 - self.0) * times(at.q, mixture.above_p / mixture.size);
        [above - times(at.p, mixture.log_of_p), slope]
    }
}

#[derive(Clone, Copy)]
struct TotalVariation;

impl Kind for TotalVariation {
    #[inline(always)]
    fn terms<const FUSED: bool>(self, at: Point) -> [f32; 2] {
        let half = 0.5 * at.q;
        let slope = if at.q > at.p { half } else { -half };
        let slope = if at.q == at.p { 0.0 } else { slope };
        [0.5 * (at.q - at.p).abs(), slope]
    }
}

multiversion! {
    /// Σ w·(−ln q(id)) over draws, q being softmax(student·factor). With `gradient`, the student's logits become the gradient by
    /// student·factor, times `scale`.
    pub(super) fn cross_entropy_of_draws(
        student: &mut [f32],
        ids: &[u32],
        weights: &[f32],
        factor: f32,
        scale: f32,
        gradient: bool,
    ) -> f64 {
        let highest = lane_max(student);
        let sum = exp_sum::<FUSED>(student, highest, factor);
        // a NaN logit that no draw points at shows in the sum
        let (mut loss, mut total) = (0.0 * sum, 0.0);
        for (&id, &weight) in ids.iter().zip(weights) {
            if weight != 0.0 {
                loss += f64::from(weight) * (sum.ln() + f64::from((highest - student[id as usize]) * factor));
                total += f64::from(weight);
            }
        }
        if gradient {
            let share = (total / sum) as f32 * scale;
            for x in student.iter_mut() {
                *x = exp::<FUSED>((*x - highest) * factor) * share;
            }
            for (&id, &weight) in ids.iter().zip(weights) {
                if weight != 0.0 {
                    student[id as usize] -= weight * scale;
                }
            }
        }
        loss
    }
}
